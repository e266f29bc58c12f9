"""The three errors of a layer and what it inherited; meters over batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikesim as ss
from spikesim.convert.report import (
    Activation,
    ErrorMeter,
    LayerMeter,
    mean_drive,
    split,
)
from spikesim.errors import InputError, ShapeError

LEAKY = Activation("leaky_relu", slope=0.25)

# --- By hand ------------------------------------------------------------------------------------


def test_relu_by_hand() -> None:
    # θ = 2, T = 4, in units of θ. z = 2.5 is 1.25: a quarter is clipped. z = 1.2 is 0.6: two
    # spikes of four, 0.1 is quantised away; it fired three times, one too many. z = −1: nothing.
    parts = split([[2.5, 1.2, -1.0]], [[4, 3, 0]], 4, threshold=2.0, ann=[[2.0, 1.4, 0.0]])
    assert parts.clipping.tolist() == [[-0.25, 0, 0]]
    np.testing.assert_allclose(parts.quantisation, [[0, -0.1, 0]], atol=1e-15)
    assert parts.unevenness.tolist() == [[0, 0.25, 0]]
    assert parts.inherited is not None
    np.testing.assert_allclose(parts.inherited, [[0.25, -0.1, 0]], atol=1e-15)


def test_leaky_by_hand() -> None:
    # θ = 1, slope ¼, T = 4: z = −2 is −0.5, two negative spikes; −6 is −1.5, kept to −1.
    parts = split([[-2.0, -6.0, 0.3]], [[-1, -4, 1]], 4, 1.0, activation=LEAKY)
    assert parts.clipping.tolist() == [[0, 0.5, 0]]
    np.testing.assert_allclose(parts.quantisation, [[0, 0, -0.05]], atol=1e-15)
    assert parts.unevenness.tolist() == [[0.25, 0, 0]]
    assert parts.inherited is None


def test_qcfs_by_hand() -> None:
    # λ = θ = 1, L = 4, v0 = ½. z = 0.3 is 0.25 for the ANN, and for T = 4; for T = 2 it is 0.5.
    qcfs = Activation("qcfs", levels=4)
    same = split([[0.3, 2.0]], [[1, 4]], 4, 1.0, 0.5, qcfs)
    assert same.local.tolist() == same.quantisation.tolist() == [[0, 0]]
    other = split([[0.3, 2.0]], [[1, 2]], 2, 1.0, 0.5, qcfs)
    assert other.quantisation.tolist() == [[0.25, 0]]
    assert other.clipping.tolist() == [[0, 0]]
    # A threshold below λ clips; the ANN's λ is then given.
    clipped = split([[2.0]], [[4]], 4, 0.5, 0.25, Activation("qcfs", levels=4, scale=1.0))
    assert clipped.clipping.tolist() == [[-1.0]]


def test_meter_by_hand() -> None:
    meter = ErrorMeter(4, threshold=2.0)
    meter.add([[2.5, 1.0]], [[4, 2]], ann=[[2.5, 1.0]])
    meter.add([[2.0, 1.0]], [[4, 3]], ann=[[2.0, 0.5]])
    errors = meter.result()
    # Clipping −¼, 0, 0, 0; unevenness 0, 0, 0, ¼; inherited 0, 0, 0, ¼.
    assert (errors.clipping.mean, errors.clipping.rms) == (-0.0625, 0.125)
    assert (errors.clipping.max, errors.clipping.nonzero) == (0.25, 0.25)
    assert (errors.unevenness.mean, errors.unevenness.max) == (0.0625, 0.25)
    assert errors.quantisation.rms == errors.quantisation.nonzero == 0
    assert errors.inherited is not None
    assert errors.total is not None
    assert errors.inherited.mean == 0.0625
    assert errors.total.max == 0.5
    assert errors.shares == {"clipping": 0.5, "quantisation": 0.0, "unevenness": 0.5}


def test_thresholds_a_channel() -> None:
    z = np.ones((1, 2, 3))
    parts = split(z, np.full((1, 2, 3), 4), 4, threshold=[1.0, 0.5])
    assert parts.clipping[0].tolist() == [[0] * 3, [-1] * 3]


# --- Properties ---------------------------------------------------------------------------------

dyadic = st.integers(-400, 400).map(lambda k: k / 64)


@given(
    st.data(),
    st.sampled_from([1, 2, 4, 8, 16]),
    st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.sampled_from(
        [
            Activation(),
            Activation(cap=6.0),
            LEAKY,
            Activation("qcfs", levels=4),
            Activation("qcfs", levels=2, scale=0.5),
        ]
    ),
)
def test_the_sum_telescopes(
    data: Any, n_steps: int, theta: float, phi: float, activation: Activation
) -> None:
    """To the bit on dyadic numbers: nothing lost, nothing counted twice."""
    values = data.draw(st.lists(st.tuples(dyadic, dyadic), min_size=1, max_size=6))
    z, ann = np.array(values).T[:, None]
    low = -n_steps if activation.kind == "leaky_relu" else 0
    size = z.shape[1]
    counts = [data.draw(st.lists(st.integers(low, n_steps), min_size=size, max_size=size))]
    parts = split(z, counts, n_steps, theta, phi * theta, activation, ann)
    output = np.array(counts) / n_steps
    assert (parts.local == output - activation(z, theta) / theta).all()
    assert parts.inherited is not None
    assert (parts.local + parts.inherited == output - ann / theta).all()
    steps = parts.unevenness * n_steps
    assert (steps == np.round(steps)).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_the_sum_telescopes_for_any_floats(seed: int, n_steps: int) -> None:
    rng = np.random.default_rng(seed)
    theta = rng.uniform(0.01, 9, size=5)
    z, ann = rng.normal(0, 5, (2, 3, 5))
    counts = rng.integers(0, n_steps + 1, (3, 5))
    parts = split(z, counts, n_steps, theta, theta / 3, ann=ann)
    assert parts.inherited is not None
    whole = counts / n_steps - ann / theta
    np.testing.assert_allclose(parts.local + parts.inherited, whole, rtol=1e-12, atol=1e-10)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_batches_do_not_matter(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    z, ann = rng.normal(0.3, 0.5, (2, 6, 2, 3))
    counts = rng.integers(0, 5, (6, 2, 3))

    def measured(*pieces: slice) -> Any:
        meter = LayerMeter("a", (2, 3), 4, [1.0, 0.5], [0.5, 0.25])
        for piece in pieces:
            meter.add(counts[piece], z[piece], ann[piece])
        return meter.result()

    whole, parts = measured(slice(None)), measured(slice(cut), slice(cut, None))
    for name in ("rate", "dead_silent", "dead_active", "saturated"):
        assert getattr(whole, name) == getattr(parts, name)
    assert whole.agreement == pytest.approx(parts.agreement, abs=1e-12)
    assert whole.agreement == pytest.approx(
        np.corrcoef((counts * [[[1.0], [0.5]]]).ravel(), ann.ravel())[0, 1], abs=1e-12
    )
    for name in ("clipping", "quantisation", "unevenness", "local", "inherited", "total"):
        one, two = getattr(whole.errors, name), getattr(parts.errors, name)
        assert (one.max, one.nonzero) == (two.max, two.nonzero)
        assert one.rms == pytest.approx(two.rms, rel=1e-12)
        assert one.mean == pytest.approx(two.mean, abs=1e-12)


# --- On the engine ------------------------------------------------------------------------------


def two_layers(rng: np.random.Generator) -> tuple[ss.Network, np.ndarray, np.ndarray]:
    w1 = rng.integers(-24, 40, (64, 16)).astype(np.float32) / 64
    w2 = rng.integers(-20, 24, (64, 64)).astype(np.float32) / 128
    net = ss.Network(input_shape=(16,))
    net.add(ss.Linear(w1), name="fc1")
    net.add(ss.IF(v_threshold=1.0, v0=0.5), name="if1")
    net.add(ss.Linear(w2), name="fc2")
    net.add(ss.IF(v_threshold=1.0, v0=0.5), name="if2")
    return net, w1, w2


@pytest.mark.parametrize("n_steps", [2, 4, 8])
def test_where_errors_arise_in_a_network(n_steps: int) -> None:
    """The first layer hears a constant: never uneven. The second is, in whole spikes; and all
    that it inherits is what its own drive differs from the ANN's by."""
    rng = np.random.default_rng(4)
    net, w1, w2 = two_layers(rng)
    x = rng.integers(0, 9, (200, 16)).astype(np.float32) / 8
    run = net.compile().run(x, n_steps=n_steps, record=("spikes", "v"))
    qcfs = Activation("qcfs", levels=n_steps)
    a1 = qcfs(x.astype(np.float64) @ w1.T.astype(np.float64))
    a2 = qcfs(a1 @ w2.T.astype(np.float64))
    reports = []
    before = x.astype(np.float64)
    for name, weight, ann in (("if1", w1, a1), ("if2", w2, a2)):
        counts = run.spikes[name].to_dense().sum(axis=0)
        z = mean_drive(counts, run.v[name][-1], n_steps, 1.0, 0.5)
        # Twice the same drive: from what the neuron did, and from what it heard.
        assert (z == before @ weight.T.astype(np.float64)).all()
        meter = LayerMeter(name, (64,), n_steps, 1.0, 0.5, qcfs)
        meter.add(counts, z, ann)
        reports.append(meter.result().errors)
        before = counts / n_steps
    first, second = reports
    assert first is not None
    assert second is not None
    assert first.total is not None
    assert first.inherited is not None
    # T = L: the first layer is exact (Theorem 1), so the second inherits nothing.
    assert first.total.max == first.inherited.max == first.unevenness.max == 0
    assert second.inherited is not None
    assert second.inherited.max == second.clipping.max == second.quantisation.max == 0
    assert 0 < second.unevenness.nonzero < 0.5
    assert (second.unevenness.max * n_steps) % 1 == 0


def test_which_z_matters() -> None:
    """With the ANN's pre-activation for its own, what a layer inherited looks like unevenness."""
    own = split([[0.5]], [[2]], 4, 1.0, ann=[[1.0]])
    assert (own.unevenness.tolist(), own.inherited.tolist()) == ([[0]], [[-0.5]])  # type: ignore[union-attr]
    wrong = split([[1.0]], [[2]], 4, 1.0, ann=[[1.0]])
    assert (wrong.unevenness.tolist(), wrong.inherited.tolist()) == ([[-0.5]], [[0]])  # type: ignore[union-attr]


# --- Layers -------------------------------------------------------------------------------------


def test_layer_by_hand() -> None:
    meter = LayerMeter("relu1", (4,), n_steps=4, threshold=2.0, v0=1.0)
    # Neurons: silent with the ANN; silent though the ANN is active once; at every step; some.
    meter.add([[0, 0, 4, 1]], [[-1.0, 0.1, 3.0, 0.5]], [[0.0, 0.0, 2.0, 0.5]])
    meter.add([[0, 0, 4, 3]], [[-1.0, 0.1, 2.0, 1.5]], [[0.0, 0.2, 2.0, 1.5]])
    layer = meter.result()
    assert (layer.name, layer.kind, layer.shape, layer.n_neurons) == ("relu1", "ReLU", (4,), 4)
    assert (layer.threshold, layer.v0) == ((2.0, 2.0), (1.0, 1.0))
    assert layer.rate == 12 / 32
    assert layer.snn_mean == pytest.approx(0.75)
    assert layer.ann_mean == pytest.approx(6.2 / 8)
    assert (layer.dead_silent, layer.dead_active, layer.dead) == (0.25, 0.25, 0.5)
    assert layer.saturated == 0.25
    assert layer.agreement == pytest.approx(
        np.corrcoef([0, 0, 2, 0.5, 0, 0, 2, 1.5], [0, 0, 2, 0.5, 0, 0.2, 2, 1.5])[0, 1]
    )


def test_negative_spikes_are_spikes() -> None:
    meter = LayerMeter("leaky", (2,), 2, 1.0, activation=LEAKY)
    meter.add([[-2, -1]])
    layer = meter.result()
    assert (layer.rate, layer.dead, layer.saturated) == (0.75, 0.0, 0.5)
    assert layer.snn_mean == -0.75


def test_without_drive_or_ann() -> None:
    meter = LayerMeter("a", (2,), 4, 1.0)
    meter.add([[0, 2]])
    layer = meter.result()
    assert (layer.errors, layer.ann_mean, layer.agreement) == (None, None, None)
    assert (layer.dead_silent, layer.dead_active) == (0.5, 0.0)


def test_agreement_with_what_never_varies_is_none() -> None:
    meter = LayerMeter("a", (3,), 10, 1.0)
    for _ in range(3):
        meter.add([[1, 1, 1]], ann=[[0.1, 0.5, 0.7]])
    assert meter.result().agreement is None


# --- Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[np.nan]], [[1]], 4, 1.0), InputError, "drive has 1 NaN"),
        (([[0.5]], [[np.nan]], 4, 1.0), InputError, "counts has 1 NaN"),
        (([[0.5]], [[5]], 4, 1.0), InputError, "counts go from 5 to 5, expected 0 to 4"),
        (([[0.5]], [[-1]], 4, 1.0), InputError, "counts go from -1 to -1, expected 0 to 4"),
        (([[0.5]], [[0.5]], 4, 1.0), InputError, "counts are not whole"),
        (([[0.5]], [[1]], 4, 0.0), InputError, "threshold is not above zero"),
        (([[0.5]], [[1]], 4, np.inf), InputError, "threshold has 1 NaN or infinite"),
        (([[0.5]], [[1, 2]], 4, 1.0), ShapeError, "counts have shape"),
        (([[0.5]], [[1]], 4, [1.0, 2.0]), ShapeError, "threshold has shape"),
        (([[0.5]], [[1]], 4, 1.0, [0.1, 0.2]), ShapeError, "v0 has shape"),
        ((0.5, 1, 4, 1.0), ShapeError, "counts have shape"),
    ],
)
def test_bad_input_of_split(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        split(*arguments)


def test_bad_input_of_meters() -> None:
    with pytest.raises(InputError, match="no neurons or samples were added"):
        ErrorMeter(4, 1.0).result()
    meter = LayerMeter("a", (2,), 4, 1.0)
    with pytest.raises(InputError, match=r"'a' has 0 samples of 2 neurons"):
        meter.result()
    with pytest.raises(ShapeError, match=r"counts of 'a' have shape \(1, 3\), expected \(N, 2\)"):
        meter.add([[1, 2, 3]])
    with pytest.raises(InputError, match="counts go from 1 to 9"):
        meter.add([[1, 9]])
    with pytest.raises(InputError, match="ANN activation has 1 NaN"):
        meter.add([[1, 2]], ann=[[np.nan, 1.0]])
    with pytest.raises(ShapeError, match="ANN activation has shape"):
        meter.add([[1, 2]], [[0.5, 0.5]], [[0.5]])
    meter.add([[1, 2]], [[0.5, 0.5]])
    assert meter.result().rate == 3 / 8  # nothing is kept of what was refused
    with pytest.raises(InputError, match="z of 'a' comes with some batches only"):
        meter.add([[1, 2]])
    with pytest.raises(InputError, match="ann of 'a' comes with some batches only"):
        meter.add([[1, 2]], [[0.5, 0.5]], [[0.5, 0.5]])
