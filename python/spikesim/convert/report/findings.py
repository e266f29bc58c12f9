"""From numbers to findings: what is wrong, in which layer, and what to do about it.

:func:`diagnose` judges what was measured. The functions after it word what is found in the ANN
itself, so that the same thing is always said in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spikesim.convert.report.entries import SEVERITIES, Finding, Severity
from spikesim.convert.report.errors import LayerErrors
from spikesim.convert.report.layers import LayerReport

if TYPE_CHECKING:
    from spikesim.convert.report.report import ConversionReport


@dataclass(frozen=True)
class Limits:
    """From where on something is a finding; fractions are 0 to 1, errors in units of θ."""

    dead_active: float = 0.05
    """Neurons that never fire though the ANN's do."""

    dead: float = 0.5
    """Neurons that never fire."""

    saturated: float = 0.05
    """Neurons and samples with a spike at every step, where the layer clips too."""

    loss: float = 0.01
    """Accuracy below the ANN's, or samples predicted otherwise: a warning."""

    large_loss: float = 0.1
    """The same: an error."""

    own_error: float = 0.05
    """Root mean square of what a layer does itself."""

    jump: float = 2.0
    """Total error of a layer as a multiple of the largest before it."""


def diagnose(report: ConversionReport, limits: Limits | None = None) -> tuple[Finding, ...]:
    """What the numbers of a report say; errors first, then warnings, then information.

    Args:
        report: Its own findings are left out of account, and not repeated.
        limits: From where on something is a finding; None: the defaults.

    Returns:
        The findings; empty where there is nothing to say.

    Example:
        >>> from spikesim.convert.report import ConversionReport
        >>> diagnose(ConversionReport("max", 4, 1000, 0.99, {4: 0.5}))[0].severity
        'error'
    """
    bounds = Limits() if limits is None else limits
    loss = lost(report)
    found = [*_accuracy(report, loss, bounds)]
    if loss is not None and loss > bounds.loss:
        found += _guilty(report, bounds)
    for layer in report.layers:
        found += _units(layer, report.n_steps, loss, bounds)
        found += _kinds(layer, report.n_steps, loss, bounds)
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def lost(report: ConversionReport) -> float | None:
    """Accuracy lost at `n_steps`; without labels, the samples predicted otherwise; else None."""
    if report.accuracy is not None and report.ann_accuracy is not None:
        return report.ann_accuracy - report.accuracy
    agreed = report.agreement_by_steps.get(report.n_steps)
    return None if agreed is None else 1 - agreed


def _accuracy(report: ConversionReport, loss: float | None, limits: Limits) -> Iterator[Finding]:
    if loss is not None and loss > limits.loss:
        what, advice = _shortfall(report, loss, limits)
        severity: Severity = "error" if loss > limits.large_loss else "warning"
        yield Finding(severity, "network", what, advice)
    for table, word in (
        (report.accuracy_by_steps, "accuracy"),
        (report.agreement_by_steps, "agreement with the ANN"),
    ):
        if not table:
            continue
        best, last = max(table, key=lambda t: table[t]), max(table)
        if table[best] - table[last] > limits.loss:
            yield Finding(
                "warning",
                "network",
                f"{word} falls from {_pc(table[best])} at T = {best} to {_pc(table[last])} "
                f"at T = {last}",
                "more steps should not do worse: a threshold that is too low, a lost bias or a "
                "reset that throws charge away does this",
            )
            return


def _shortfall(report: ConversionReport, loss: float, limits: Limits) -> tuple[str, str]:
    if report.accuracy is not None and report.ann_accuracy is not None:
        what = (
            f"accuracy {_pc(report.accuracy)} at T = {report.n_steps}, "
            f"{100 * loss:.2f} points below the ANN's {_pc(report.ann_accuracy)}"
        )
        goal = max(0.0, report.ann_accuracy - limits.loss)
        predicted = report.steps_for(goal)
    else:
        what = f"{_pc(loss)} of the samples predicted otherwise than by the ANN"
        predicted = report.steps_for(1 - limits.loss, of="agreement")
    if predicted.n_steps is not None and predicted.n_steps > report.n_steps:
        within = f"within {100 * limits.loss:g} points"
        return what, f"more steps: T = {predicted.n_steps} is predicted to be {within}"
    if predicted.how == "unreachable":
        return what, "more steps do not mend this: see the layers"
    return what, "try more steps, and see the layers"


def _guilty(report: ConversionReport, limits: Limits) -> Iterator[Finding]:
    """The first layer where the error jumps, or the one that adds most to it."""
    measured = [(layer, layer.errors) for layer in report.layers if layer.errors is not None]
    # What rounding down to spikes costs a perfect layer at v0 = 0, at most.
    largest, before = 0.6 / report.n_steps, ""
    for layer, errors in measured:
        total = errors.local if errors.total is None else errors.total
        if total.rms > limits.jump * largest and total.rms > limits.own_error:
            after = f"; {before or 'an ideal layer'} has {largest:.3f} θ"
            what = f"the first layer where the error jumps: {total.rms:.3f} θ{after}"
            inherited = 0.0 if errors.inherited is None else errors.inherited.rms
            if inherited > errors.local.rms:
                between = f"between {before} and it" if before else "before it"
                yield Finding(
                    "error",
                    layer.name,
                    f"{what}; it came with the input",
                    f"the network computes something else than the ANN {between}: look for a "
                    "function that was not converted, an unfolded batch norm, another "
                    "preprocessing",
                )
            else:
                kind, share = _dominant(errors)
                words = f"{what}; {100 * share:.0f} % of its own is {kind}"
                yield Finding("error", layer.name, words, _cure(kind, layer, report.n_steps))
            return
        largest, before = max(largest, total.rms), layer.name
    if measured:
        layer, errors = max(measured, key=lambda pair: pair[1].local.rms)
        kind, share = _dominant(errors)
        yield Finding(
            "warning",
            layer.name,
            f"the error grows from layer to layer without a jump; this one adds most, "
            f"{errors.local.rms:.3f} θ, {100 * share:.0f} % of it {kind}",
            _cure(kind, layer, report.n_steps),
        )


def _units(
    layer: LayerReport, n_steps: int, loss: float | None, limits: Limits
) -> Iterator[Finding]:
    severity = _weight(loss, limits)
    if layer.dead == 1.0:
        yield Finding(
            "error" if layer.dead_active > 0 else "warning",
            layer.name,
            "no neuron fires at all",
            "what follows hears biases only: lower its threshold, or look at what reaches it",
        )
        return
    if layer.dead_active > limits.dead_active:
        yield Finding(
            severity,
            layer.name,
            f"{_pc(layer.dead_active)} of the neurons never fire though the ANN's units do",
            "their activation is below θ/T: take one threshold a channel or a lower percentile, "
            "start the membranes at half the threshold, or run more steps",
        )
    elif layer.dead > limits.dead:
        yield Finding(
            "info",
            layer.name,
            f"{_pc(layer.dead)} of the neurons never fire, nor do the ANN's units",
            "nothing is lost; they could be pruned",
        )
    clips = layer.errors is None or layer.errors.clipping.rms > limits.own_error / 2
    # At T = 1 every spike is a spike at every step.
    if n_steps > 1 and layer.saturated > limits.saturated and clips:
        yield Finding(
            severity,
            layer.name,
            f"{_pc(layer.saturated)} of the neurons fire at every step, all they can say",
            "raise the threshold: a higher percentile, or the maximum",
        )


def _kinds(
    layer: LayerReport, n_steps: int, loss: float | None, limits: Limits
) -> Iterator[Finding]:
    errors = layer.errors
    if errors is None or errors.local.rms <= limits.own_error:
        return
    kind, share = _dominant(errors)
    if share <= 0.5:
        return
    yield Finding(
        _weight(loss, limits),
        layer.name,
        f"{kind} is {100 * share:.0f} % of its own error of {errors.local.rms:.3f} θ",
        _cure(kind, layer, n_steps),
    )


def _weight(loss: float | None, limits: Limits) -> Severity:
    """What may cost accuracy is a warning, unless it was seen not to."""
    return "warning" if loss is None or loss > limits.loss else "info"


def _dominant(errors: LayerErrors) -> tuple[str, float]:
    shares = errors.shares
    kind = max(shares, key=lambda name: shares[name])
    return kind, shares[kind]


def _cure(kind: str, layer: LayerReport, n_steps: int) -> str:
    if kind == "clipping":
        return "raise the threshold: a higher percentile, or the maximum"
    if kind == "quantisation":
        more = f"run more than {n_steps} steps"
        # Membranes that start at zero round down: half a spike is lost in the mean.
        if layer.v0[1] < 0.25 * layer.threshold[0]:
            return f"start the membranes at half the threshold (v0 = θ/2), or {more}"
        if layer.rate < 0.05:
            return f"one threshold a channel or a lower percentile, or {more}"
        return f"{more}, or train with QCFS"
    return (
        "its input comes in bursts or with both signs: run more steps, start the membranes at "
        "half the threshold, or fine-tune the converted network"
    )


# --- What is found in the ANN itself -----------------------------------------------------------


def functional_call(name: str, kind: str, where: str, kept: bool = False) -> Finding:
    """A function in `forward` where a module would do; `where` is `file:line`."""
    at = f" at {where}" if where else ""
    if kept:
        what = f"{kind} is called as a function{at}; it was found and converted"
        return Finding("info", name, what, "a module of its own shows it to every tool")
    return Finding(
        "error",
        name,
        f"{kind} is called as a function{at} and was not converted",
        "make it a module of its own, and name it in __init__",
    )


def unfolded_batch_norm(name: str, why: str) -> Finding:
    """A batch norm that could not be folded into the layer before it."""
    return Finding(
        "warning",
        name,
        f"the batch norm is not folded: {why}",
        "put it right after a convolution or linear layer that feeds nothing else",
    )


def max_pool(name: str, became: str, exact: bool = False) -> Finding:
    """What became of a max pool."""
    advice = "" if exact else "train with average pooling where this loses accuracy"
    return Finding("info", name, f"the max pool became {became}", advice)


def reused_module(name: str, uses: Sequence[str]) -> Finding:
    """One module called in several places, whose populations were told apart."""
    return Finding(
        "info",
        name,
        f"the module is called {len(uses)} times and became {', '.join(uses)}",
        "each place has its own threshold and membranes; give each its own module to name them",
    )


def dropped_softmax(name: str) -> Finding:
    """A softmax at the output, which changes no prediction."""
    return Finding(
        "info",
        name,
        "the softmax at the output was dropped: the network gives what it was applied to",
        "predictions are the same; apply it to the output where probabilities are wanted",
    )


def _pc(value: float) -> str:
    return f"{100 * value:.2f} %"
