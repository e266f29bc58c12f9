"""How many steps are enough: rules on small tables, and how well curves of known truth are met.

The simulated sets: 3,000 samples, each with a margin (normal, logistic or two-sided exponential)
that a network's error must overcome to change its prediction; the error falls as T^−γ with γ from
0.8 to 1.3, has a bias, is shared in part between the T of one sample, and in half of the sets ends
at a floor that no T lowers. None of this is the family of curves that the prediction assumes.
"""

from __future__ import annotations

import bisect
import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spikesim.convert.report import ConversionReport, StepsPrediction, predict_steps
from spikesim.convert.report.predict import isotonic
from spikesim.errors import InputError

CURVE = {1: 0.60, 2: 0.80, 4: 0.92, 8: 0.97, 16: 0.985}

# --- Small tables -------------------------------------------------------------------------------


def test_isotonic_by_hand() -> None:
    assert isotonic(np.array([1.0, 3.0, 2.0, 4.0])).tolist() == [1, 2.5, 2.5, 4]
    assert isotonic(np.array([3.0, 2.0, 1.0])).tolist() == [2, 2, 2]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_isotonic_rises_and_keeps_the_mean(values: list[float]) -> None:
    steady = isotonic(np.array(values))
    assert (np.diff(steady) >= -1e-12).all()
    assert steady.mean() == pytest.approx(np.mean(values), abs=1e-12)


def test_measured_next_to_each_other() -> None:
    found = predict_steps(0.9, {1: 0.6, 2: 0.8, 3: 0.91, 4: 0.95}, 1000, 0.99)
    assert (found.n_steps, found.low, found.high, found.how) == (3, 3, 3, "measured")
    assert found.why == "measured 91.00 % at T = 3, 80.00 % at T = 2"
    assert str(found) == f"90.00 %: {found.why}"


def test_the_first_one_is_enough() -> None:
    found = predict_steps(0.5, CURVE, 1000, 0.99)
    assert (found.n_steps, found.how) == (1, "measured")
    found = predict_steps(0.5, {4: 0.9, 8: 0.95}, 1000, 0.99)
    assert (found.n_steps, found.low, found.high) == (4, 1, 4)
    assert "fewer were not tried" in found.why


def test_between_two_measured() -> None:
    found = predict_steps(0.95, CURVE, 3000, 0.99)
    assert found.how == "interpolated"
    assert found.low is not None
    assert found.n_steps is not None
    assert found.high is not None
    assert 4 < found.low <= found.n_steps <= found.high <= 8


def test_a_lucky_T_does_not_count() -> None:
    """98 % at T = 4 does not hold: the later ones say otherwise."""
    found = predict_steps(0.97, {2: 0.8, 4: 0.98, 8: 0.93, 16: 0.975}, 1000, 0.99)
    assert found.n_steps is not None
    assert found.n_steps > 8


def test_a_sample_is_the_least_difference() -> None:
    """90.04 % of 1000 samples is 901 of them."""
    assert predict_steps(0.9004, {1: 0.9, 2: 0.901}, 1000, 0.99).n_steps == 2
    assert predict_steps(0.9, {1: 0.9, 2: 0.901}, 1000, 0.99).n_steps == 1


def test_beyond_what_was_measured() -> None:
    """a(T) = 0.99 − 0.4/T passes 0.98 at 40."""
    table = {t: 0.99 - 0.4 / t for t in (2, 4, 8, 16)}
    found = predict_steps(0.98, table, 100_000, 0.99)
    assert found.how == "extrapolated"
    assert found.n_steps == pytest.approx(40, rel=0.25)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 40 <= found.high


def test_a_floor_is_seen() -> None:
    table = {t: 0.95 - 0.2 / t**2 for t in (1, 2, 4, 8, 16, 32, 64)}
    found = predict_steps(0.985, table, 3000, 0.99)
    assert (found.n_steps, found.low, found.high, found.how) == (None, None, None, "unreachable")
    assert "94.99" in found.why or "95.00" in found.why


def test_more_than_the_ann_has_is_not_promised() -> None:
    assert predict_steps(0.999, CURVE, 3000, 0.99).n_steps is None


def test_one_point_is_too_little() -> None:
    found = predict_steps(0.95, {4: 0.9}, 1000, 0.99)
    assert (found.n_steps, found.how) == (None, "unknown")
    assert "at least two" in found.why


def test_without_the_ann() -> None:
    table = {t: 0.99 - 0.4 / t for t in (2, 4, 8, 16)}
    found = predict_steps(0.975, table, 10_000)
    assert found.how in ("extrapolated", "unknown")
    assert predict_steps(0.9, table, 10_000).how == "interpolated"


@given(
    st.dictionaries(st.integers(1, 4096), st.floats(0, 1), min_size=1, max_size=9),
    st.floats(0, 1),
    st.integers(1, 10_000),
    st.none() | st.floats(0, 1),
    st.floats(0, 1),
)
# A ceiling so near to the foot that the quotient overflows.
@example({1: 0.0, 57: 1.0}, 1.0, 1, 0.0, 0.0)
def test_any_table_has_a_sound_answer(
    table: dict[int, float], wanted: float, n: int, reference: float | None, clipping: float
) -> None:
    with np.errstate(all="raise", under="ignore"):
        found = predict_steps(wanted, table, n, reference, clipping=clipping)
    if found.n_steps is None:
        assert found.how in ("unreachable", "unknown")
        assert (found.low, found.high) == (None, None)
    else:
        assert found.low is not None
        assert 1 <= found.low <= found.n_steps
        assert found.high is None or found.n_steps <= found.high
        assert (found.n_steps > max(table)) == (found.how == "extrapolated")
        if found.how == "extrapolated":
            assert found.n_steps <= 16 * max(table)


@given(st.floats(0.5, 0.98), st.floats(0, 0.01))
def test_more_wanted_is_never_fewer_steps(wanted: float, more: float) -> None:
    low = predict_steps(wanted, CURVE, 3000, 0.99).n_steps
    high = predict_steps(wanted + more, CURVE, 3000, 0.99).n_steps
    assert low is not None
    assert high is None or high >= low


# --- Through the report -------------------------------------------------------------------------


def test_the_report_asks_for_you() -> None:
    report = ConversionReport("max", 4, 3000, 0.99, CURVE, {t: a + 0.005 for t, a in CURVE.items()})
    assert report.steps_for(0.95) == predict_steps(
        0.95, report.accuracy_by_steps, 3000, 0.99, report.agreement_by_steps
    )
    agreed = report.steps_for(0.97, of="agreement")
    assert agreed.n_steps is not None
    assert 4 < agreed.n_steps <= 8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.steps_for(float("nan")), "the wanted accuracy is nan, expected 0 to 1"),
        (lambda r: r.steps_for(98.0), "the wanted accuracy is 98.0, expected 0 to 1"),
        (lambda r: r.steps_for(0.9, of="loss"), "of is 'loss', expected accuracy or agreement"),
        (lambda r: ConversionReport("m", 1, 1).steps_for(0.9), "no accuracy was measured"),
        (
            lambda r: ConversionReport("m", 1, 1, agreement_by_steps={1: 0.5}).steps_for(0.9),
            "accuracy was not measured, expected labels; or ask of='agreement'",
        ),
        (lambda r: predict_steps(0.9, {1: float("nan")}, 10), "accuracy at T = 1 is nan"),
        (lambda r: predict_steps(0.9, {1: 0.5}, 0), "n_samples is 0, expected at least 1"),
        (lambda r: predict_steps(0.9, {1: 0.5}, 9, 1.5), "the ANN's accuracy is 1.5"),
    ],
)
def test_bad_questions_are_typed_errors(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(ConversionReport("max", 4, 3000, 0.99, CURVE))


# --- Curves whose truth is known ----------------------------------------------------------------


class Trial(NamedTuple):
    found: StepsPrediction
    true: int | None
    """The fewest steps of the smooth curve; None: never."""

    last: int


_ERF = np.vectorize(math.erf, otypes=[float])


def trial(rng: np.random.Generator, floor: float, last: int, gap: float) -> Trial:
    n = 3000
    accuracy = rng.uniform(0.7, 0.995)
    kind = int(rng.integers(3))
    if kind == 0:
        margin = rng.logistic(math.log(accuracy / (1 - accuracy)), 1, n)
    elif kind == 1:
        margin = rng.normal(0, 1, n)
        margin -= np.quantile(margin, 1 - accuracy)
    else:
        margin = rng.exponential(1, n) * np.where(rng.random(n) < accuracy, 1, -1)
    scale, power = 2 ** rng.uniform(-1, 3), rng.uniform(0.8, 1.3)
    bias, shared = -rng.uniform(0, 0.5) * scale, rng.normal(size=n)

    def at(t: float) -> tuple[np.ndarray, float]:
        sigma = math.hypot(scale / t**power, floor)
        return margin + bias / t**power - floor / 2, sigma

    right = margin > 0
    accuracies, agreement = {}, {}
    for t in (2**k for k in range(int(math.log2(last)) + 1)):
        shifted, sigma = at(t)
        noise = 0.7 * shared + math.sqrt(1 - 0.49) * rng.normal(size=n)
        correct = shifted + sigma * noise > 0
        accuracies[t] = float(correct.mean())
        agreement[t] = float((correct == right).mean())
    wanted = float(right.mean()) - gap
    goal = (math.ceil(wanted * n - 1e-9) - 0.5) / n
    grid = np.unique(np.round(2 ** np.linspace(0, 14, 90)).astype(int)).tolist()

    def smooth(t: int) -> float:
        shifted, sigma = at(t)
        return float(np.mean(0.5 + 0.5 * _ERF(shifted / (sigma * math.sqrt(2)))))

    # Near the ANN's accuracy the curve rises, so the grid can be halved.
    place = bisect.bisect_left(grid, True, key=lambda t: smooth(t) >= goal)
    true = grid[place] if place < len(grid) else None
    found = predict_steps(
        wanted, accuracies, n, float(right.mean()), agreement, 0.8 if floor else 0.3
    )
    return Trial(found, true, last)


@pytest.fixture(scope="module")
def trials() -> dict[str, list[Trial]]:
    rng = np.random.default_rng(7)
    conditions = [(last, gap) for last in (8, 32) for gap in (0.01, 0.003)]
    return {
        "free": [trial(rng, 0.0, *c) for c in conditions for _ in range(25)],
        "floor": [trial(rng, rng.uniform(0.1, 0.5), *c) for c in conditions for _ in range(25)],
    }


def octaves(cases: list[Trial]) -> np.ndarray:
    return np.array([abs(math.log2(c.found.n_steps / c.true)) for c in cases])  # type: ignore[operator]


def test_extrapolations_are_near_the_truth(trials: dict[str, list[Trial]]) -> None:
    cases = [c for c in trials["free"] if c.found.how == "extrapolated" and c.true]
    assert len(cases) >= 30
    off = octaves(cases)
    assert np.median(off) < 0.4
    assert np.quantile(off, 0.9) < 1.0
    held = [c.found.low <= c.true and c.true <= (c.found.high or math.inf) for c in cases]  # type: ignore[operator]
    assert np.mean(held) > 0.8


def test_extrapolations_beat_a_guess(trials: dict[str, list[Trial]]) -> None:
    """The control: always saying twice the last T, or four times, is further off."""
    cases = [c for c in trials["free"] if c.found.how == "extrapolated" and c.true]
    for factor in (2, 4):
        guess = np.array([abs(math.log2(factor * c.last / c.true)) for c in cases])  # type: ignore[operator]
        assert np.median(octaves(cases)) < 0.6 * np.median(guess)


def test_interpolations_are_near_the_truth(trials: dict[str, list[Trial]]) -> None:
    cases = [c for c in trials["free"] if c.found.how == "interpolated" and c.true]
    assert len(cases) >= 20
    assert np.median(octaves(cases)) < 0.3


def test_what_can_be_reached_is_not_called_unreachable(trials: dict[str, list[Trial]]) -> None:
    assert not [c for c in trials["free"] if c.found.how == "unreachable"]


def test_what_cannot_be_reached_is_not_promised(trials: dict[str, list[Trial]]) -> None:
    never = [c for c in trials["floor"] if c.true is None]
    assert len(never) >= 60
    promised = [c for c in never if c.found.n_steps is not None]
    assert len(promised) <= 0.25 * len(never)
    # Of those most say that no T is sure to be enough.
    assert sum(c.found.high is not None for c in promised) <= 0.1 * len(never)
    far = [c for c in never if c.last == 32]
    assert sum(c.found.how == "unreachable" for c in far) >= 0.5 * len(far)
