"""Theory of QCFS: the lemma of bounded drive, both theorems with their control, on the engine too.

Numbers on the engine are dyadic and small, so that float32 is exact and equality is demanded.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikesim as ss
from spikesim.convert.report import (
    Activation,
    bounded_drive_count,
    expected_error,
    hhat,
    mean_drive,
    q_counts,
    q_t,
)
from spikesim.errors import InputError


def if_counts(drive: np.ndarray, theta: float, v0: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts and last membrane of IF neurons in plain Python: the model of the lemma."""
    v = np.full(drive.shape[1:], v0, np.float64)
    counts = np.zeros(drive.shape[1:])
    for x in drive:
        v = v + x
        fires = v >= theta
        counts += fires
        v = v - theta * fires
    return counts, v


def one_if(n: int, theta: float, v0: float, **options: object) -> ss.Network:
    net = ss.Network(input_shape=(n,))
    net.add(ss.IF(v_threshold=theta, v0=v0, fires=">=", reset="subtract", **options), name="if")
    return net


# --- Formulas by hand ---------------------------------------------------------------------------


def test_hhat_by_hand() -> None:
    # λ = 2, L = 4: steps of 0.5, the first at a quarter; z = 0.25 lies on it, 1.8 is beyond 1.75.
    z = [-3.0, 0.0, 0.24, 0.25, 0.8, 1.74, 1.8, 9.0]
    assert hhat(z, 4, 2.0).tolist() == [0, 0, 0, 0.5, 1.0, 1.5, 2.0, 2.0]
    assert hhat([0.49, 0.5], 4, 2.0, phi=0.0).tolist() == [0.0, 0.5]


def test_q_by_hand() -> None:
    # θ = 2, T = 4: z = 0.5 gives 2 of drive, one spike; with v0 = 1 no more, 3 < 4.
    assert q_counts([0.5, 1.0, 3.0, -1.0], 4, 2.0).tolist() == [1, 2, 4, 0]
    assert q_counts([0.5, 0.75, 1.9], 4, 2.0, 1.0).tolist() == [1, 2, 4]
    assert q_t([0.75], 4, 2.0, 1.0).tolist() == [1.0]


def test_q_of_signed_neurons_by_hand() -> None:
    # θ = 1, slope ½: the negative threshold is −2. T = 4: −1 a step is −4, two negative spikes;
    # −0.4 is −1.6, none yet; −9 is kept to one a step.
    assert q_counts([-1.0, -0.4, -9.0, 0.5], 4, 1.0, slope=0.5).tolist() == [-2, 0, -4, 2]
    # A start above zero delays the first of them: 0.5 − 4 = −3.5, one.
    assert q_counts([-1.0], 4, 1.0, 0.5, slope=0.5).tolist() == [-1]


def test_activations_by_hand() -> None:
    assert Activation()([-2.0, 3.0]).tolist() == [0, 3]
    assert Activation(cap=6.0)([-2.0, 7.0]).tolist() == [0, 6]
    assert Activation("leaky_relu", slope=0.25)([-2.0, 3.0]).tolist() == [-0.5, 3]
    assert Activation("qcfs", levels=2, scale=4.0)([1.0, 9.0], 1.0).tolist() == [2, 4]
    names = [Activation(), Activation(cap=6), Activation("leaky_relu", 0.1)]
    assert [str(a) for a in names] == ["ReLU", "ReLU6", "LeakyReLU(0.1)"]
    assert str(Activation("qcfs", levels=4)) == "QCFS(L=4)"


def test_thresholds_a_channel_broadcast() -> None:
    z = np.full((2, 3), 1.0)
    assert q_counts(z, 4, np.array([1.0, 2.0, 4.0])).tolist() == [[4, 2, 1]] * 2


# --- Lemma of bounded drive ---------------------------------------------------------------------


def test_bounded_drive_by_hand() -> None:
    # 3 + 0 + 4 + 1 + v0 2 = 10, θ = 4: two spikes, whatever the order.
    assert bounded_drive_count([3, 0, 4, 1], 4, 2).tolist() == 2
    assert bounded_drive_count([4, 3, 1, 0], 4, 2).tolist() == 2


def test_bounded_drive_counts_are_floors_at_any_timing() -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        theta, n_steps = int(rng.integers(1, 20)), int(rng.integers(1, 30))
        v0 = int(rng.integers(0, theta))
        drive = rng.integers(0, theta + 1, size=(n_steps, 3))
        counts, v = if_counts(drive, theta, v0)
        assert (bounded_drive_count(drive, theta, v0) == counts).all()
        assert (v >= 0).all()
        assert (v < theta).all()


def test_bounded_drive_on_the_engine() -> None:
    rng = np.random.default_rng(1)
    drive = rng.integers(0, 9, size=(13, 2000)).astype(np.float32)
    run = one_if(2000, 8.0, 3.0).compile().run(drive[:, None])
    assert (bounded_drive_count(drive, 8.0, 3.0) == run.output[0]).all()


def test_beyond_its_bounds_the_lemma_is_wrong_and_refused() -> None:
    # −1 after +1 leaves a spike that the sum of 0 does not know.
    drive = np.array([[1.0], [-1.0]])
    assert if_counts(drive, 1.0, 0.0)[0].tolist() == [1]
    with pytest.raises(InputError, match=r"drive goes from -1 to 1, expected within 0 and the"):
        bounded_drive_count(drive, 1.0)
    with pytest.raises(InputError, match=r"v0 is 1.0, expected from 0 and below the threshold"):
        bounded_drive_count([0.5], 1.0, 1.0)
    with pytest.raises(InputError, match="drive has no steps"):
        bounded_drive_count(np.zeros((0, 3)), 1.0)


# --- Theorem 1 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_steps", [1, 2, 4, 8])
@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_theorem_1_on_the_engine(n_steps: int, phi: float) -> None:
    """T = L: the spiking layer puts out what the ANN's does, to the bit."""
    lam = 2.0
    z = np.arange(-64, 257, dtype=np.float32) / 64
    run = one_if(z.size, lam, phi * lam).compile().run(z[None], n_steps=n_steps)
    output = lam * run.output[0].astype(np.float64) / n_steps
    assert (output == hhat(z, n_steps, lam, phi)).all()
    assert (output == q_t(z, n_steps, lam, phi * lam)).all()
    assert len(set(output.tolist())) == n_steps + 1


def test_t_is_not_l() -> None:
    """The control of the first theorem: with another T they differ."""
    z = np.arange(0, 129) / 64
    assert (hhat(z, 4, 2.0) != q_t(z, 8, 2.0, 1.0)).any()


# --- Theorem 2 and its control ------------------------------------------------------------------


def grid_error(n_steps: int, levels: int, phi: float, v0: float) -> float:
    n = 100 * n_steps * levels
    z = (np.arange(n) + 0.5) / n
    return float(np.mean(q_t(z, n_steps, 1.0, v0) - hhat(z, levels, 1.0, phi)))


@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 8, 32])
@pytest.mark.parametrize("levels", [1, 2, 4, 8])
def test_theorem_2_no_error_in_the_mean(n_steps: int, levels: int) -> None:
    assert abs(grid_error(n_steps, levels, 0.5, 0.5)) < 1e-12
    assert expected_error(n_steps, levels) == 0.0


@pytest.mark.parametrize(("n_steps", "mean"), [(2, -0.125), (8, 0.0625), (4, 0.0)])
def test_theorem_2_control_without_the_shift(n_steps: int, mean: float) -> None:
    assert grid_error(n_steps, 4, 0.0, 0.0) == pytest.approx(mean, abs=1e-12)
    assert expected_error(n_steps, 4, phi=0.0) == mean


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 7), st.integers(0, 7))
def test_expected_error_is_the_mean(n_steps: int, levels: int, phi: int, v0: int) -> None:
    mean = grid_error(n_steps, levels, phi / 8, v0 / 8)
    # The grid of 100·T·L points sees shifts of eighths to within half a point.
    expected = expected_error(n_steps, levels, phi / 8, v0 / 8)
    assert mean == pytest.approx(expected, abs=0.5 / 100 * (1 / n_steps + 1 / levels))


def test_theorem_2_on_the_engine() -> None:
    n_steps, levels = 4, 8
    z = (2 * np.arange(1024, dtype=np.float32) + 1) / 2048
    for phi, mean in ((0.5, 0.0), (0.0, 0.5 * (1 / levels - 1 / n_steps))):
        run = one_if(z.size, 1.0, phi).compile().run(z[None], n_steps=n_steps)
        error = run.output[0].astype(np.float64) / n_steps - hhat(z, levels, 1.0, phi)
        assert error.mean() == mean


# --- The balance of a neuron --------------------------------------------------------------------


def test_mean_drive_comes_back_from_counts_and_membrane() -> None:
    """φ = z − (v(T) − v(0))/T, for any input and any threshold, on the engine."""
    rng = np.random.default_rng(2)
    drive = rng.integers(-40, 60, size=(7, 3, 50)).astype(np.float32) / 16
    run = one_if(50, 1.5, 0.75).compile().run(drive, record=("v", "spikes"))
    counts = run.spikes["if"].to_dense().sum(axis=0)
    z = mean_drive(counts, run.v["if"][-1], 7, 1.5, 0.75)
    assert (z == drive.astype(np.float64).sum(axis=0) / 7).all()


def test_mean_drive_of_signed_neurons() -> None:
    rng = np.random.default_rng(3)
    drive = rng.integers(-60, 60, size=(9, 2, 50)).astype(np.float32) / 16
    net = one_if(50, 1.0, 0.0, spikes="signed", v_threshold_neg=-4.0)
    run = net.compile().run(drive, record=("v", "spikes"))
    dense = run.spikes["if"].to_dense()
    assert (dense < 0).any()
    up, down = (dense > 0).sum(axis=0), (dense < 0).sum(axis=0)
    z = mean_drive(up, run.v["if"][-1], 9, 1.0, 0.0, down, slope=0.25)
    assert (z == drive.astype(np.float64).sum(axis=0) / 9).all()


@pytest.mark.parametrize("v0", [-0.5, 0.0, 0.5])
def test_signed_counts_on_the_engine(v0: float) -> None:
    """A constant drive gives the leaky ReLU's staircase (Spiking-YOLO), counted as predicted."""
    z = np.arange(-512, 257, dtype=np.float32) / 64
    net = one_if(z.size, 1.0, v0, spikes="signed", v_threshold_neg=-4.0)
    run = net.compile().run(z[None], n_steps=8)
    assert (run.output[0] == q_counts(z, 8, 1.0, v0, slope=0.25)).all()
    assert run.output[0].min() == -8


def test_a_late_first_spike_is_not_caught_up_with() -> None:
    """v0 = −½, θ = 1: a drive of 1 does not fire in the first step, then in each."""
    z = np.arange(0, 129, dtype=np.float32) / 64
    run = one_if(z.size, 1.0, -0.5).compile().run(z[None], n_steps=4)
    assert (run.output[0] == q_counts(z, 4, 1.0, -0.5)).all()
    assert q_counts([1.0, 1.25, 1.5], 4, 1.0, -0.5).tolist() == [3, 3, 4]


# --- Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: q_t([np.nan], 4, 1.0), r"drive has 1 NaN or infinite of 1 values"),
        (lambda: q_t([0.5], 0, 1.0), r"n_steps is 0, expected at least 1"),
        (lambda: q_t([0.5], 2.5, 1.0), r"n_steps is 2.5, expected a whole number"),
        (lambda: q_t(["x"], 4, 1.0), r"drive is not numeric, expected numbers"),
        (lambda: bounded_drive_count([0.0], 0.0), r"threshold is not above zero"),
        (lambda: Activation("gelu"), r"activation 'gelu' is unknown"),
        (lambda: Activation("leaky_relu"), r"slope is 0.0, expected above 0"),
        (lambda: Activation("relu", slope=0.1), r"slope is 0.1, expected 0 with relu"),
        (lambda: Activation("qcfs"), r"levels is 0, expected at least 1"),
        (lambda: Activation("qcfs", levels=4, scale=-1.0), r"scale is -1.0, expected above"),
        (lambda: Activation(cap=0.0), r"cap is 0.0, expected above zero"),
    ],
)
def test_bad_numbers_are_typed_errors(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]
