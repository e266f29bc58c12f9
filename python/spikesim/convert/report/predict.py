"""How many steps are enough: read off where it was measured, inferred where it was not.

The error of a converted layer falls as 1/T (quantisation; unevenness a little otherwise), so the
samples it flips do, until what steps cannot mend is left (clipping, a broken part). A curve with
that tail and chance at its foot is

    a(T) = p + (a∞ − p)·exp(−(T0/T)^β)

Its parameters are not fitted to one best value but weighed on a grid by how well they explain what
was measured; each set of them says at which T the wanted accuracy is passed, or that it never is.
The answer is the median of that, with a 90 % interval; "never" counts as beyond every T.

Two things are known beforehand: a conversion without clipping tends to the ANN's own accuracy, and
β lies around 1. How surely the first is believed falls with the share of clipping in the layers'
errors; a low end of the curve is left possible always.

What is predicted is the accuracy on the samples that were measured. Another set of samples differs
by as much as `ConversionReport.intervals` says, whatever T.

How well it does, on 200 simulated sets of 3,000 samples whose curve is known, measured up to T = 8
or 32 and asked for 1 or 0.3 points below the ANN (`tests/test_report_predict.py`): where the
accuracy can be reached, an extrapolated T is off by a factor of 1.13 (median; nine of ten within
1.4) and its interval holds the truth in 95 % of the cases; an interpolated one is off by 1.17 (nine
of ten within 1.7), its interval, which stays within the measured T, holds the smooth curve's in
67 %; none was called unreachable, one in ten unknown. Of 92 that cannot be reached 44 were called
so, 33 unknown, and 15 were promised, 11 of them without a sure end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesim.convert.report.theory import steps
from spikesim.errors import InputError

How = Literal["measured", "interpolated", "extrapolated", "unreachable", "unknown"]

Array = NDArray[np.float64]

#: Extrapolating further than this many times the most steps measured is a guess: "unknown".
REACH = 16

#: "unreachable" is said where at least this much of the weight says never.
SURE = 0.8

#: More weight than this on never, and there is no answer.
DOUBT = 1 / 3

_QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class StepsPrediction:
    """Which T is enough.

    Attributes:
        wanted: The accuracy asked for.
        n_steps: The answer; None where there is none ("unreachable", "unknown").
        low: Lower end of the 90 % interval; None with no answer.
        high: Upper end; None with no answer, or where no T is sure to be enough.
        how: "measured": at this T and every measured one after it, and not at the T before it;
            "interpolated": between two measured T; "extrapolated": beyond the last of them;
            "unreachable": no T is enough; "unknown": what was measured does not say.
        why: The reasons in words.
    """

    wanted: float
    n_steps: int | None
    low: int | None
    high: int | None
    how: How
    why: str

    def __str__(self) -> str:
        return f"{100 * self.wanted:.2f} %: {self.why}"


def predict_steps(
    wanted: float,
    by_steps: Mapping[int, float],
    n_samples: int,
    reference: float | None = None,
    agreement: Mapping[int, float] | None = None,
    clipping: float = 0.5,
) -> StepsPrediction:
    """Predicts the fewest steps that reach an accuracy.

    Args:
        wanted: The accuracy, 0 to 1.
        by_steps: T → accuracy measured.
        n_samples: Samples behind each of them.
        reference: The ANN's accuracy on the same samples; None: not known.
        agreement: T → fraction of the samples predicted as the ANN does; sharpens how far the
            measured accuracies are trusted.
        clipping: Share of clipping in the layers' errors, 0 to 1.

    Raises:
        InputError: Nothing was measured, NaN, a fraction outside [0, 1].

    Example:
        >>> curve = {1: 0.80, 2: 0.90, 4: 0.95, 8: 0.97}
        >>> predict_steps(0.93, curve, 3000, reference=0.98).how
        'interpolated'
    """
    table = _checked(wanted, by_steps, n_samples, reference, clipping)
    times, values = np.array(list(table), np.float64), np.array(list(table.values()))
    # Accuracies are whole numbers of samples: half a one below is where a smooth curve passes.
    goal = (math.ceil(wanted * n_samples - 1e-9) - 0.5) / n_samples
    steady = isotonic(values)
    passed = np.flatnonzero(steady >= goal)
    ends = _Measured(times, values, n_samples, reference, agreement or {}, clipping)
    if passed.size:
        return _within(wanted, goal, ends, steady, int(passed[0]))
    return _beyond(wanted, goal, ends)


def isotonic(values: Array) -> Array:
    """The ascending sequence nearest to `values` (pool adjacent violators)."""
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        total, n = value, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / n:
            before, m = blocks.pop()
            total, n = total + before, n + m
        blocks.append((total, n))
    return np.concatenate([np.full(n, total / n) for total, n in blocks])


class _Measured(NamedTuple):
    times: Array
    values: Array
    n_samples: int
    reference: float | None
    agreement: Mapping[int, float]
    clipping: float


def _checked(
    wanted: float,
    by_steps: Mapping[int, float],
    n_samples: int,
    reference: float | None,
    clipping: float,
) -> dict[int, float]:
    if not by_steps:
        raise InputError("report: no accuracy was measured, expected at least one number of steps")
    if n_samples < 1:
        raise InputError(f"report: n_samples is {n_samples}, expected at least 1")
    fractions = {
        "the wanted accuracy": wanted,
        "clipping": clipping,
        **{f"accuracy at T = {t}": a for t, a in by_steps.items()},
        **({} if reference is None else {"the ANN's accuracy": reference}),
    }
    for name, value in fractions.items():
        if not 0 <= value <= 1:
            raise InputError(f"report: {name} is {value}, expected 0 to 1")
    return dict(sorted((steps(t), float(a)) for t, a in by_steps.items()))


def _within(
    wanted: float, goal: float, ends: _Measured, steady: Array, first: int
) -> StepsPrediction:
    """The wanted accuracy lies on the measured part of the curve."""
    reached = int(ends.times[first])
    before = int(ends.times[first - 1]) if first else 0
    if reached - before == 1:
        why = f"measured {100 * ends.values[first]:.2f} % at T = {reached}"
        if first:
            why += f", {100 * ends.values[first - 1]:.2f} % at T = {before}"
        return StepsPrediction(wanted, reached, reached, reached, "measured", why)
    if not first:
        why = f"measured {100 * ends.values[0]:.2f} % at T = {reached}; fewer were not tried"
        return StepsPrediction(wanted, reached, 1, reached, "measured", why)
    crossing, weight = _crossings(goal, ends)
    inside = (crossing > before) & (crossing <= reached)
    if weight[inside].sum() > 0.01:
        marks = _quantiles(crossing[inside], weight[inside])
    else:
        # No curve of the family passes here: a straight line over log T, as wide as the bracket.
        rise = float(steady[first] - steady[first - 1])
        part = (goal - float(steady[first - 1])) / rise if rise > 0 else 1.0
        middle = 2 ** (math.log2(before) + part * math.log2(reached / before))
        marks = (before + 1.0, middle, float(reached))
    low, middle_steps, high = (min(reached, max(before + 1, math.ceil(m))) for m in marks)
    why = (
        f"between T = {before} ({100 * steady[first - 1]:.2f} %) and "
        f"T = {reached} ({100 * steady[first]:.2f} %), about {middle_steps} ({low} to {high})"
    )
    return StepsPrediction(wanted, middle_steps, low, high, "interpolated", why)


def _beyond(wanted: float, goal: float, ends: _Measured) -> StepsPrediction:
    """No measured T reaches it."""
    last = int(ends.times[-1])
    best = f"{100 * float(ends.values.max()):.2f} % was reached up to T = {last}"
    if ends.times.size < 2:
        why = f"{best} only was measured, expected at least two numbers of steps to go on from"
        return StepsPrediction(wanted, None, None, None, "unknown", why)
    crossing, weight = _crossings(goal, ends)
    # It was not reached up to here, so curves that say so are out.
    beyond = crossing > last
    if weight[beyond].sum() < 1e-6:
        why = f"{best}, and the curve found should have passed the wanted accuracy before"
        return StepsPrediction(wanted, None, None, None, "unknown", why)
    crossing, weight = crossing[beyond], weight[beyond] / weight[beyond].sum()
    never = float(weight[np.isinf(crossing)].sum())
    low, middle, high = _quantiles(crossing, weight)
    if never >= SURE:
        floor = "" if ends.reference is None else f" of the ANN's {100 * ends.reference:.2f} %"
        why = (
            f"{best}; more steps do not lead there ({100 * never:.0f} % sure): what is lost"
            f"{floor} is not for want of steps"
        )
        return StepsPrediction(wanted, None, None, None, "unreachable", why)
    if never > DOUBT or not middle <= REACH * last:
        why = (
            f"{best}; it would take more than {REACH * last} steps, or never come "
            f"({100 * never:.0f} %): measure at more steps"
        )
        return StepsPrediction(wanted, None, None, None, "unknown", why)
    ceiling = None if not high <= REACH * REACH * last else math.ceil(high)
    upto = "no sure end" if ceiling is None else str(ceiling)
    why = f"{best}; the curve goes on to it at about T = {math.ceil(middle)} "
    why += f"({math.ceil(low)} to {upto})"
    return StepsPrediction(wanted, math.ceil(middle), math.ceil(low), ceiling, "extrapolated", why)


def _quantiles(values: Array, weight: Array) -> tuple[float, float, float]:
    order = np.argsort(values)
    mass = np.cumsum(weight[order]) / weight.sum()
    at = np.searchsorted(mass, _QUANTILES).clip(max=values.size - 1)
    low, middle, high = values[order][at].tolist()
    return low, middle, high


#: Standard normal nodes and weights: what is not known of a∞ in each cell of the grid.
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(9)


def _crossings(goal: float, ends: _Measured) -> tuple[Array, Array]:
    """T at which each curve passes the goal (inf: never), and the weight of each curve."""
    times, values = ends.times, ends.values
    top = float(values.max())
    variance = _variance(ends)
    scale = np.exp2(np.linspace(-5.0, math.log2(times[-1]) + 4.0, 109))
    slope = np.linspace(0.4, 3.0, 27)
    foot = np.array([0.0, 0.5, 1.0]) * float(values.min())
    t0, beta, p = (x[..., None] for x in np.meshgrid(scale, slope, foot, indexing="ij"))
    shape = np.exp(-((t0 / times) ** beta))
    # a(T) = p + (a∞ − p)·shape is linear in a∞: with a normal prior its share of each cell and
    # its own mean and width there are known without a grid.
    seen = (values - p * (1 - shape)) / variance
    precision, pull = (shape**2 / variance).sum(-1), (shape * seen).sum(-1)
    start = ((values - p * (1 - shape)) ** 2 / variance).sum(-1)
    prior = -0.5 * ((beta[..., 0] - 1.2) / 0.5) ** 2
    crossings, logs = [], []
    for share, mean, width in _ceilings(ends, top):
        gain = 1 / width**2 + precision
        centre = (mean / width**2 + pull) / gain
        log = -0.5 * (start + mean**2 / width**2 - centre**2 * gain)
        log += prior + math.log(share) - 0.5 * np.log(gain * width**2)
        ceiling = np.minimum(centre[..., None] + _NODES / np.sqrt(gain)[..., None], 1.0)
        # Where the ceiling lies on the foot, or next to it, the goal is never or at once.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            part = (goal - p) / (ceiling - p)
            # Below its foot a curve is at once; at and above its ceiling it never is.
            at = t0 / (-np.log(np.clip(part, 0.0, 1.0))) ** (1 / beta)
        at = np.where(ceiling <= goal, np.inf, np.maximum(at, 1.0))
        crossings.append(at.ravel())
        logs.append((log[..., None] + np.log(_NODE_WEIGHTS)).ravel())
    crossing, log = np.concatenate(crossings), np.concatenate(logs)
    weight = np.exp(log - log.max())
    return crossing, weight / weight.sum()


def _variance(ends: _Measured) -> Array:
    """How far a measured accuracy may lie from a smooth curve, squared.

    The same samples are behind every T, so only those that flip can scatter it; and the family of
    curves is right to a tenth of the loss or so.
    """
    top = float(ends.values.max())
    target = max(top, ends.reference if ends.reference is not None else top)
    loss = target - ends.values
    flips = np.array(
        [
            max(1 - ends.agreement.get(int(t), 1.0), gap)
            for t, gap in zip(ends.times, loss.tolist(), strict=True)
        ]
    )
    result: Array = flips / ends.n_samples + 0.25 / ends.n_samples**2 + (0.07 * loss) ** 2 + 2e-4**2
    return result


def _ceilings(ends: _Measured, top: float) -> list[tuple[float, float, float]]:
    """What a∞ may be beforehand: (share, mean, width) of normal distributions."""
    if ends.reference is None:
        return [(1.0, min(1.0, top + 0.01), 0.05)]
    near = 0.9 - 0.4 * ends.clipping
    width = math.sqrt(7e-4**2 + 1e-3 / ends.n_samples)
    return [(near, ends.reference, width), (1 - near, ends.reference - 0.03, 0.05)]
