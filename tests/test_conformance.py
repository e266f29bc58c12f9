"""The conformance report: it passes what is equal, and says where a difference arises."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given

torch = pytest.importorskip("torch")
pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")

from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from chains import SNN, chain, leaky, module_of  # noqa: E402
from spikesim.conformance import BAR, check  # noqa: E402
from spikesim.conformance.layers import layer as torch_layer  # noqa: E402
from spikesim.conformance.ties import ties  # noqa: E402
from spikesim.conformance.trace import run_alone, run_engine, upstream  # noqa: E402
from strategies import cases  # noqa: E402
from test_cells import ROWS  # noqa: E402

# Equals pass


LIBRARY = {"SpikingJelly": "spikingjelly", "snnTorch": "snntorch", "Norse": "norse"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_table_is_said_by_its_library(row: str) -> None:
    library = LIBRARY.get(row.split()[0], "sinabs")
    pytest.importorskip(library)
    fields = dict(ROWS[row].fields)
    report = check(chain(fields, fields), library)
    assert report.ok, str(report)
    assert {r.verdict for r in report.layers} <= {"equal", "within rounding"}
    # The cell that was run is the one that the row speaks of.
    cell = report.layers[0].cell.split("(")[0]
    named = row.split()[1]
    # A ParametricLIF is a LIF unless the fields' meta says so.
    assert named == "ParametricLIF" or cell.removesuffix("Node") == named
    assert report.seed == 0
    assert report.version


@pytest.mark.filterwarnings("ignore")
def test_the_library_is_what_the_neurons_name() -> None:
    fields = [{**SNN, "meta": {"library": "snntorch", "cell": "Leaky"}}, {}]
    report = check(chain(*fields))
    assert report.ok
    assert report.layer("n0").cell.startswith("Leaky(")
    assert report.layer("n1").cell == "spikesim.reference"
    assert "name no library" in report.notes[0]
    assert report.against == "snntorch, torch"


def test_the_reference_has_every_population() -> None:
    net = chain({"spikes": "signed", "v_threshold_neg": -0.5}, {"refractory": 2, "order": "A"})
    net.connect("n1", "fc0", delay=3)
    report = check(net, "torch")
    assert report.ok
    assert {row.verdict for row in report.layers} == {"equal"}
    assert all(row.alone is not None and row.alone.spikes > 0 for row in report.layers)


@given(case=cases(exact=True))
def test_torchs_layers_give_what_the_reference_gives(case: Any) -> None:
    """The layers of the rebuilt network, each pool, edge, delay and cycle of random networks."""
    gated = [node.name for node in case.net.nodes if node.kind.startswith("rate_max_pool")]
    x, n_steps = case.run_args()
    if gated:  # no layer of torch remembers sums
        with pytest.raises(ss.errors.UnsupportedError, match="no layer of torch for rate_max_pool"):
            check(case.net, "torch", x=x, n_steps=n_steps)
        return
    report = check(case.net, "torch", x=x, n_steps=n_steps)
    assert not any(row.verdict == "differs" for row in report.layers), str(report)


# Differences are caught, and where they arise

CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "threshold": ({"v_threshold": 0.8125}, {}),
    "fires": ({"fires": ">="}, {}),
    "reset timing": ({"reset_timing": "same_step"}, {}),
    "reset": ({"reset": "to_value", "reset_timing": "next_step_before"}, {}),
    "beta": ({"alpha_mem": 0.851}, {}),
    "gain": ({"gain": 1.001}, {}),
    "start": ({"v0": 0.25}, {}),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("place", [0, 1])
def test_a_difference_is_found_in_its_layer(change: str, place: int) -> None:
    # Of the grid of the weights, so that membranes meet the threshold exactly now and then.
    good = {**SNN, "alpha_mem": 0.5}
    fields = [dict(good), dict(good)]
    fields[place] |= CHANGES[change][0]
    net = chain(*fields)
    module = module_of(net, leaky(0.5), leaky(0.5))
    report = check(net, module)
    assert not report.ok
    other = report.layer(f"n{1 - place}")
    row = report.layer(f"n{place}")
    assert row.verdict == "differs", str(report)
    assert row.alone is not None
    assert row.alone.verdict == "differs" or row.ties == "differs"
    # The other layer alone does what its library does; end to end it hears something else.
    assert other.alone is not None
    assert other.alone.verdict == "equal"
    assert other.verdict in ("equal", "follows")
    assert f"n{place}" in str(report)


def test_the_first_difference_is_told_with_its_margin() -> None:
    net = chain({**SNN, "v_threshold": 0.8125}, {**SNN})
    module = module_of(net, leaky(), leaky())
    report = check(net, module, seed=3)
    row = report.layer("n0")
    first = row.end_to_end.first
    assert first is not None
    assert not first.within_rounding
    # Between the thresholds: theirs fires, ours does not.
    assert (first.spikes, first.spikes_theirs) == (0, 1)
    assert 0.75 < first.h <= 0.8125
    assert first.threshold == 0.8125
    assert first.margin == pytest.approx(0.8125 - first.h)
    assert first.v_theirs == pytest.approx(first.h, abs=1e-5)
    # It is where the engine and the module are, looked at by hand.
    x = _raster(net, report)
    ours = net.compile().run(x, record=("spikes", "v"))
    at = (first.step, first.sample, first.neuron)
    assert ours.spikes["n0"].to_dense()[at] == 0
    assert ours.v["n0"][at] == np.float32(first.v)
    assert f"step {first.step}, sample {first.sample}, neuron {first.neuron}" in str(report)
    assert row.end_to_end.different > 0
    assert not row.equal


def _raster(net: ss.Network, report: Any) -> Any:
    from spikesim.conformance.inputs import raster

    x = raster(net.input_shape, report.n_steps, report.samples, report.seed)
    return x * np.float32(report.scale)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", ROWS)
def test_greater_for_at_least_is_found(row: str) -> None:
    """No random input meets a threshold of 0.8; the one that does is looked for."""
    fields = dict(ROWS[row].fields)
    if fields.get("spikes") == "none":
        return
    library = LIBRARY.get(row.split()[0], "sinabs")
    found = check(chain(fields), library).layer("n0")
    # Norse, Lapicque, SpikingJelly where it divides and Sinabs' clamp round otherwise: there it
    # can't be told.
    assert found.ties in ("equal", None)
    exact = fields.get("gain", 1.0) == 1.0 and library != "norse" and "v_min" not in fields
    assert (found.ties == "equal") >= exact

    net = chain(fields)
    other = dict(fields)
    other["fires"] = ">" if fields.get("fires", ">=") == ">=" else ">="
    if fields.get("spikes") == "multi":
        return
    trace = rebuilt(net, library)
    op = ss.Neuron(v_threshold=0.75, **other)
    wrong = ties(op, (20,), trace.probes["n0"])
    assert wrong == {"equal": "differs", None: None}[found.ties]


def rebuilt(net: ss.Network, library: str) -> Any:
    from spikesim.conformance import rebuild

    return rebuild.run(net, np.ones((1, 1, 20), np.float32), lambda *_: library)


def test_a_tie_of_a_run_is_no_rounding_where_no_bit_differs() -> None:
    net = ss.Network((1,))
    net.add(ss.IF(v_threshold=1.0, fires=">"), name="n")
    wrapped = nn.Sequential()
    wrapped.add_module("n", ss.train.IF(v_threshold=1.0, fires=">="))
    x = np.full((8, 1, 1), 0.25, np.float32)
    row = check(net, wrapped, x=x).layer("n")
    assert row.verdict == "differs"
    assert row.ties == "differs"
    first = row.alone.first
    assert (first.step, first.margin) == (3, 0.0)
    assert row.alone.verdict == "differs"
    assert row.alone.max_dv == 0
    net = ss.Network((1,))
    net.add(ss.IF(v_threshold=1.0), name="n")
    row = check(net, wrapped, x=x).layer("n")
    assert (row.verdict, row.ties) == ("equal", "equal")


def test_wrong_weights_are_told_from_a_wrong_population() -> None:
    net = chain(SNN, SNN)
    module = module_of(net, leaky(), leaky())
    module.fc1.weight.data[3, 5] += 0.5
    report = check(net, module)
    row = report.layer("n1")
    assert row.verdict == "differs"
    assert row.alone.verdict == "equal"
    assert "what feeds it" in row.note
    assert report.layer("n0").verdict == "equal"


def test_a_readout_that_differs_is_found() -> None:
    net = chain(SNN)
    net.add(ss.Linear(np.ones((3, 20)) / 16, np.ones(3)), name="out")

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = module_of(net, leaky())
            self.out = nn.Linear(20, 3)
            self.out.weight.data = torch.full((3, 20), 1 / 16)
            self.out.bias.data = torch.ones(3)
            self.n0, self.fc0 = self.body.n0, self.body.fc0

        def forward(self, x: Any) -> Any:
            return self.out(self.n0(self.fc0(x)))

    model = Model()
    del model.body
    assert check(net, model).layer("out").verdict == "equal"
    model.out.bias.data[1] += 0.01
    report = check(net, model)
    assert report.layer("out").verdict == "differs"
    assert report.layer("n0").verdict == "equal"
    assert not report.ok


def test_a_difference_within_rounding_is_told_as_one() -> None:
    # Tenths: sums round, many meet the threshold, and torch adds them in another order.
    rng = np.random.default_rng(0)
    net = ss.Network((200,))
    net.add(ss.Linear(rng.integers(-4, 5, (100, 200)) / 10), name="fc")
    net.add(ss.IF(v_threshold=1.0), name="n0")
    net.add(ss.Linear(rng.integers(-4, 5, (50, 100)) / 10), name="fc1")
    net.add(ss.IF(v_threshold=1.0), name="n1")
    x = (rng.random((50, 4, 200)) < 0.1).astype(np.float32)
    report = check(net, "spikingjelly", x=x)
    row = report.layer("n0")
    assert report.ok
    assert row.verdict == "within rounding"
    run = row.end_to_end
    assert run.parted > 0
    assert run.unexplained == 0
    assert run.first.within_rounding
    assert run.first.margin <= run.first.rounding
    assert report.seed is None


def test_a_large_membrane_excuses_no_other() -> None:
    """The bar of a neuron is by its own values, not by the largest of the layer."""
    net = ss.Network((2,))
    net.add(ss.IF(v_threshold=1.0), name="n")
    wrapped = nn.Sequential()
    wrapped.add_module("n", ss.train.IF(v_threshold=1.0005))
    x = np.zeros((20, 1, 2), np.float32)
    x[:, 0, 0], x[:, 0, 1] = 1000.0, 0.0834
    report = check(net, wrapped, x=x)
    assert report.layer("n").end_to_end.bar > 0.0005  # by which it would pass
    assert report.layer("n").verdict == "differs"


# What is not compared is said


def test_a_population_without_a_cell_is_named_and_stops_nothing() -> None:
    net = chain({"spikes": "signed", "v_threshold_neg": -0.5}, SNN)
    report = check(net, "snntorch")
    assert not report.ok
    row = report.layer("n0")
    assert row.verdict == "no cell"
    assert row.note == "no cell of snntorch has spikes='signed'"
    assert row.end_to_end is None
    assert report.layer("n1").verdict == "equal"
    assert row.note in str(report)


UNSAYABLE: dict[str, list[dict[str, Any]]] = {
    "snntorch": [
        {"fires": ">="},
        {**SNN, "v_leak": 0.25},
        {**SNN, "v_min": -1.0},
        {**SNN, "reset": "to_value", "v_reset": -0.25, "reset_timing": "next_step_before"},
        {**SNN, "reset_timing": "same_step"},
        {**SNN, "alpha_mem": 1.5},
        {"fires": ">", "order": "B"},
        {**SNN, "synapse": "decay_after", "alpha_syn": 0.5, "w_in": 1.0},
        {**SNN, "synapse": "decay_first", "alpha_syn": 0.5, "w_in": 0.5},
        {**SNN, "gain": 0.5, "reset_timing": "same_step_guarded"},
    ],
    "spikingjelly": [
        {"fires": ">"},
        {"alpha_mem": 0.5, "gain": 0.75},
        {"alpha_mem": 0.5, "v_leak": 0.25},
        {"spike_amplitude": 0.5},
        {"reset": "none"},
        {"v_threshold": np.linspace(0.5, 1, 20)},
        {"refractory": 1},
        {"theta_plus": 0.5, "alpha_theta": 0.5},
    ],
    "norse": [
        {"fires": ">=", "reset": "to_value"},
        {"fires": ">", "reset": "subtract"},
        {"fires": ">", "alpha_mem": 0.5, "gain": 0.75},
        {**SNN},
    ],
    "sinabs": [
        {"fires": ">"},
        {"reset": "to_value", "v_reset": -0.25},
        {"alpha_mem": 0.5, "gain": 0.75},
        {"synapse": "decay_first", "alpha_syn": 0.5, "w_in": 1.0},
        {"v_leak": 0.25},
    ],
    "spikesim.train": [{"refractory": 1}, {**SNN}],
}


@pytest.mark.parametrize(
    ("library", "fields"), [(k, f) for k, all_fields in UNSAYABLE.items() for f in all_fields]
)
def test_what_a_library_cannot_say_is_refused(library: str, fields: dict[str, Any]) -> None:
    pytest.importorskip(library.split(".")[0])
    assert check(chain(fields), library).layer("n0").verdict == "no cell"


def test_silence_proves_nothing() -> None:
    net = chain(SNN, {**SNN, "v_threshold": 1e6})
    report = check(net, "snntorch")
    assert report.layer("n1").verdict == "silent"
    assert not report.ok
    assert report.unproved == ("n1",)
    assert "not proved: n1" in str(report)
    assert check(net, "snntorch", allow=("silent",)).ok
    silent = check(chain({**SNN, "v_threshold": 1e9}), "snntorch")
    assert silent.layer("n0").verdict == "silent"
    assert not silent.ok


def test_the_inputs_are_the_seeds_and_make_the_network_work() -> None:
    net = chain({**SNN, "v_threshold": 30.0})
    a, b = check(net, "snntorch", seed=1), check(net, "snntorch", seed=1)
    assert a == b
    assert a.scale > 1
    assert a.layer("n0").end_to_end.spikes > 0
    c = check(net, "snntorch", seed=2, n_steps=7, samples=5)
    assert (c.n_steps, c.samples, c.seed) == (7, 5, 2)
    assert c != a


# JSON


def test_json_says_what_the_report_says() -> None:
    net = chain({**SNN, "v_threshold": 0.8125}, SNN)
    report = check(net, module_of(net, leaky(), leaky()))
    found = json.loads(report.to_json())
    assert found == json.loads(json.dumps(report.to_dict()))
    assert found.keys() == {
        *("against", "version", "ok", "n_steps", "samples", "seed", "scale", "notes", "layers"),
        *("allow", "unproved"),
    }
    row = found["layers"][0]
    assert row.keys() == {
        *(
            "name",
            "cell",
            "neurons",
            "verdict",
            "spikes_equal",
            "end_to_end",
            "alone",
            "ties",
            "note",
        ),
    }
    run = row["end_to_end"]
    assert run.keys() == {
        *("spikes", "spikes_theirs", "different", "parted", "unexplained", "max_dv", "bar"),
        *("beyond", "first", "verdict"),
    }
    assert run["first"].keys() == {
        *("step", "sample", "neuron", "spikes", "spikes_theirs", "v", "v_theirs", "h"),
        *("threshold", "margin", "rounding", "within_rounding", "proved"),
    }
    assert row["verdict"] == "differs"
    assert row["spikes_equal"] is False
    assert found["ok"] is False


def test_the_bar_is_the_projects() -> None:
    assert BAR == 2e-5
    report = check(chain(SNN), "snntorch")
    run = report.layers[0].end_to_end
    assert run.bar > 2e-5
    assert dataclasses.replace(run, beyond=1).verdict == "differs"
    assert dataclasses.replace(run, parted=1, different=1).verdict == "within rounding"
    assert dataclasses.replace(run, different=1).verdict == "follows"


def test_upstream_and_alone() -> None:
    net = chain(SNN, SNN)
    net.connect("n1", "fc0", delay=1)
    assert upstream(net)["n1"] == {"input", "fc0", "n0", "fc1"}
    assert upstream(net)["fc0"] == {"input"}
    x = np.ones((4, 1, 20), np.float32)
    trace, _ = run_engine(net, x)
    alone = run_alone(net.node("n1").op, trace.current["n1"])
    np.testing.assert_array_equal(alone.spikes["n"], trace.spikes["n1"])


def test_a_layer_that_torch_lacks_is_refused() -> None:
    with pytest.raises(ss.errors.UnsupportedError, match="odd: conformance has no layer"):
        torch_layer("odd", ss.ops.Op.__new__(_Odd), (3,))


class _Odd(ss.ops.Op):
    kind = "odd"
