"""The doctor's rules: each is set off by the numbers it is for, and by no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from spikesim.convert.report import (
    ConversionReport,
    ErrorStats,
    Finding,
    LayerErrors,
    LayerReport,
    Limits,
    diagnose,
    dropped_softmax,
    functional_call,
    max_pool,
    reused_module,
    unfolded_batch_norm,
)


def stats(rms: float) -> ErrorStats:
    return ErrorStats(mean=0.0, rms=rms, max=2 * rms, nonzero=0.5)


def errors(
    clipping: float = 0.0,
    quantisation: float = 0.01,
    unevenness: float = 0.0,
    inherited: float = 0.0,
) -> LayerErrors:
    """As if the kinds did not correlate."""
    own = (clipping**2 + quantisation**2 + unevenness**2) ** 0.5
    total = (own**2 + inherited**2) ** 0.5
    return LayerErrors(
        *(stats(e) for e in (clipping, quantisation, unevenness, own, inherited, total))
    )


def layer(name: str = "conv1", **changes: Any) -> LayerReport:
    basic = LayerReport(name, "ReLU", (10,), (1.0, 1.0), (0.5, 0.5), 0.2, 0.2, 0.2, errors())
    return replace(basic, **changes)


def report(*layers: LayerReport, accuracy: float = 0.989, **changes: Any) -> ConversionReport:
    basic = ConversionReport("max", 8, 1000, 0.99, {8: accuracy}, layers=layers)
    return replace(basic, **changes)


def only(found: tuple[Finding, ...], name: str = "conv1") -> Finding:
    mine = [finding for finding in found if finding.name == name]
    assert len(mine) == 1, found
    return mine[0]


def test_a_good_conversion_has_nothing_to_say() -> None:
    assert diagnose(report(layer(), layer("fc"))) == ()
    assert diagnose(ConversionReport("max", 8, 10)) == ()


def test_lost_accuracy_is_named_with_its_size() -> None:
    found = only(diagnose(report(accuracy=0.95)), "network")
    assert found.severity == "warning"
    assert found.what == "accuracy 95.00 % at T = 8, 4.00 points below the ANN's 99.00 %"
    assert only(diagnose(report(accuracy=0.5)), "network").severity == "error"
    assert diagnose(report(accuracy=0.95), Limits(loss=0.05)) == ()


def test_the_steps_that_are_enough_are_advised() -> None:
    table = {1: 0.60, 2: 0.80, 4: 0.90, 8: 0.95, 16: 0.972, 32: 0.985}
    found = only(diagnose(report(accuracy_by_steps=table)), "network")
    advised = report(accuracy_by_steps=table).steps_for(0.98).n_steps
    assert found.advice == f"more steps: T = {advised} is predicted to be within 1 points"
    flat = {1: 0.5, 2: 0.8, 4: 0.88, **dict.fromkeys((8, 16, 32, 64, 128), 0.9)}
    found = only(diagnose(report(accuracy_by_steps=flat)), "network")
    assert found.advice == "more steps do not mend this: see the layers"


def test_without_labels_the_ann_is_the_measure() -> None:
    bad = ConversionReport("max", 8, 1000, agreement_by_steps={8: 0.7})
    found = only(diagnose(bad), "network")
    assert found.severity == "error"
    assert found.what == "30.00 % of the samples predicted otherwise than by the ANN"


def test_more_steps_that_do_worse() -> None:
    found = diagnose(report(accuracy_by_steps={4: 0.989, 8: 0.985, 16: 0.9}))
    assert only(found, "network").what == (
        "accuracy falls from 98.90 % at T = 4 to 90.00 % at T = 16"
    )


def test_dead_units() -> None:
    lossy = {"accuracy": 0.9}
    found = [f for f in diagnose(report(layer(dead_active=0.2), **lossy)) if "never" in f.what]
    assert [f.severity for f in found] == ["warning"]
    assert found[0].what == "20.00 % of the neurons never fire though the ANN's units do"
    assert only(diagnose(report(layer(dead_active=0.2)))).severity == "info"
    silent = only(diagnose(report(layer(dead_silent=0.6))))
    assert silent.severity == "info"
    assert "nor do the ANN's units" in silent.what
    assert diagnose(report(layer(dead_active=0.04, dead_silent=0.4))) == ()


def test_a_silent_layer() -> None:
    found = only(diagnose(report(layer(dead_active=0.75, dead_silent=0.25))))
    assert (found.severity, found.what) == ("error", "no neuron fires at all")
    assert only(diagnose(report(layer(dead_silent=1.0)))).severity == "warning"


def test_saturated_units() -> None:
    clipped = errors(clipping=0.03, quantisation=0.03)
    found = only(diagnose(report(layer(saturated=0.2, errors=clipped))))
    assert found.what == "20.00 % of the neurons fire at every step, all they can say"
    assert found.advice == "raise the threshold: a higher percentile, or the maximum"
    # QCFS saturates where its ANN does: nothing is clipped, nothing is lost.
    assert diagnose(report(layer(saturated=0.2, errors=errors()))) == ()
    # At T = 1 every spike is a spike at every step.
    once = report(layer(saturated=0.2, errors=clipped), n_steps=1)
    assert diagnose(once) == ()


@pytest.mark.parametrize(
    ("kinds", "changes", "kind", "advice"),
    [
        ({"clipping": 0.1}, {}, "clipping", "raise the threshold: a higher percentile"),
        ({"quantisation": 0.1}, {"v0": (0.0, 0.0)}, "quantisation", "start the membranes at half"),
        ({"quantisation": 0.1}, {}, "quantisation", "run more than 8 steps, or train with QCFS"),
        ({"quantisation": 0.1}, {"rate": 0.01}, "quantisation", "one threshold a channel"),
        ({"unevenness": 0.1}, {}, "unevenness", "its input comes in bursts or with both signs"),
    ],
)
def test_the_dominant_kind_has_its_own_cure(
    kinds: dict[str, float], changes: dict[str, Any], kind: str, advice: str
) -> None:
    bad = layer(errors=errors(**kinds), **changes)
    found = only(diagnose(report(bad)))
    assert found.severity == "info"  # it was seen to cost no accuracy
    assert found.what.startswith(f"{kind} is ")
    assert found.advice.startswith(advice)
    # Without labels nothing was seen.
    unknown = report(bad, accuracy_by_steps={}, ann_accuracy=None)
    assert only(diagnose(unknown)).severity == "warning"


def test_no_kind_dominates() -> None:
    even = errors(0.06, 0.06, 0.06)
    assert diagnose(report(layer(errors=even))) == ()


def jump(found: tuple[Finding, ...]) -> Finding:
    return next(f for f in found if "first layer where the error jumps" in f.what)


def test_the_first_guilty_layer_by_its_own_fault() -> None:
    layers = [
        layer("a", errors=errors(quantisation=0.04)),
        layer("b", errors=errors(clipping=0.4, inherited=0.05)),
        layer("c", errors=errors(clipping=0.9, inherited=0.5)),
    ]
    found = jump(diagnose(report(*layers, accuracy=0.5)))
    assert (found.severity, found.name) == ("error", "b")
    assert "0.403 θ; a has 0.075 θ" in found.what
    assert "100 % of its own is clipping" in found.what
    assert found.advice.startswith("raise the threshold")


def test_the_first_guilty_layer_by_what_stands_before_it() -> None:
    """An unfolded batch norm or a lost function shows as error that comes with the input."""
    layers = [layer("a"), layer("b", errors=errors(inherited=0.8)), layer("c")]
    found = jump(diagnose(report(*layers, accuracy=0.5)))
    assert found.name == "b"
    assert found.what.endswith("it came with the input")
    assert "something else than the ANN between a and it" in found.advice
    first = jump(diagnose(report(layer("a", errors=errors(inherited=0.8)), accuracy=0.5)))
    assert "before it: look for a function that was not converted" in first.advice


def test_no_layer_is_guilty_where_nothing_is_lost() -> None:
    layers = [layer("a"), layer("b", errors=errors(inherited=0.8))]
    assert diagnose(report(*layers)) == ()


def test_error_that_grows_without_a_jump() -> None:
    sizes = {"a": 0.06, "b": 0.1, "c": 0.08}
    layers = [layer(name, errors=errors(unevenness=e)) for name, e in sizes.items()]
    found = diagnose(report(*layers, accuracy=0.9))
    grown = next(f for f in found if "without a jump" in f.what)
    assert (grown.severity, grown.name) == ("warning", "b")


def test_errors_come_first() -> None:
    layers = [layer("a", dead_silent=0.6), layer("b", errors=errors(clipping=0.5))]
    found = [f.severity for f in diagnose(report(*layers, accuracy=0.5))]
    assert found == sorted(found, key=["error", "warning", "info"].index)
    assert {"error", "info"} <= set(found)


def test_what_is_found_in_the_ann_is_worded_in_one_place() -> None:
    lost = functional_call("act", "torch.nn.functional.relu", "net.py:12")
    assert lost.severity == "error"
    assert "at net.py:12 and was not converted" in lost.what
    assert functional_call("act", "torch.relu", "", kept=True).severity == "info"
    norm = unfolded_batch_norm("bn1", "it follows a ReLU")
    assert (norm.severity, norm.name) == ("warning", "bn1")
    assert norm.what == "the batch norm is not folded: it follows a ReLU"
    assert max_pool("pool", "RateMaxPool2d").what == "the max pool became RateMaxPool2d"
    assert max_pool("pool", "x", exact=True).advice == ""
    assert "2 times and became relu, relu_2" in reused_module("relu", ["relu", "relu_2"]).what
    assert dropped_softmax("softmax").severity == "info"
