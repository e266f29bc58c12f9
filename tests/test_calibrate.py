"""Calibration, layer by layer: each formula against a case worked by hand or by brute force."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

import spikesim as ss
from spikesim.convert.ann import calibrate
from spikesim.convert.ann.layerwise import Calibrated, calibrated, with_layers
from spikesim.errors import InputError, UnsupportedError


class Relu:
    """What an Ann holds for each of its activations."""

    def __init__(self, kind: str = "relu") -> None:
        self.kind = kind

    def __call__(self, z: Tensor) -> Tensor:
        return z.relu()


def ann(net: ss.Network) -> Any:
    """A network with IF neurons in the place of its ReLUs, as an Ann."""
    names = [node.name for node in net.nodes if node.kind == "neuron"]
    return SimpleNamespace(net=net, activations={name: Relu() for name in names})


def emitted(net: ss.Network, found: Calibrated) -> ss.Network:
    """The spiking network: heights as Scale nodes, so that nothing is folded by hand."""
    made = ss.Network(net.input_shape)
    fitted = with_layers(net, found.layers)
    names: dict[str, str] = {"input": "input"}
    for node in fitted.nodes[1:]:
        sources = [names[src] for src, dst, _ in fitted.edges if dst == node.name]
        names[node.name] = node.name
        if node.kind != "neuron":
            made.add(node.op, node.name, sources)
            continue
        theta, v0 = found.threshold[node.name], found.v0[node.name]
        many = found.max_spikes > 1
        made.add(
            ss.Neuron(
                v_threshold=theta,
                v0=v0,
                reset="subtract",
                fires=">=",
                spikes="multi" if many else "single",
                **({"max_spikes": found.max_spikes} if many else {}),
            ),
            node.name,
            sources,
        )
        made.add(ss.Scale(theta), f"{node.name}_height", node.name)
        names[node.name] = f"{node.name}_height"
    made.output, made.readout = names[net.output], "mean"
    return made


def chain(seed: int = 0) -> tuple[ss.Network, np.ndarray[Any, Any]]:
    """conv, ReLU, pool, conv in two groups, ReLU, linear, ReLU, linear; random, and 64 samples."""
    rng = np.random.default_rng(seed)
    net = ss.Network(input_shape=(2, 6, 6))
    net.add(ss.Conv2d(rng.normal(0, 0.4, (8, 2, 3, 3)), rng.normal(0, 0.1, 8), padding=1), "conv1")
    net.add(ss.IF(), "relu1")
    net.add(ss.AvgPool2d(2), "pool")
    net.add(ss.Conv2d(rng.normal(0, 0.4, (8, 4, 2, 2)), groups=2), "conv2")
    net.add(ss.IF(), "relu2")
    net.add(ss.Flatten(), "flat")
    net.add(ss.Linear(rng.normal(0, 0.3, (16, 32)), rng.normal(0, 0.1, 16)), "fc1")
    net.add(ss.IF(), "relu3")
    net.add(ss.Linear(rng.normal(0, 0.4, (4, 16)), rng.normal(0, 0.1, 4)), "fc2")
    return net, rng.uniform(0, 1, (64, 2, 6, 6)).astype(np.float32)


def said(net: ss.Network, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The ANN's output, by torch alone."""
    value = torch.from_numpy(x)
    for node in net.nodes[1:]:
        op: Any = node.op
        if node.kind == "neuron":
            value = value.relu()
        elif node.kind == "avg_pool2d":
            value = functional.avg_pool2d(value, 2)
        elif node.kind == "flatten":
            value = value.flatten(1)
        else:
            w = torch.tensor(op.weight)
            b = None if op.bias is None else torch.tensor(op.bias)
            if node.kind == "linear":
                value = functional.linear(value, w, b)
            else:
                pad = op.padding[0][0]
                value = functional.conv2d(value, w, b, padding=pad, groups=op.groups)
    return value.numpy()


# --- Formulas -------------------------------------------------------------------------------------


def test_spikes_by_hand() -> None:
    """θ = 1, v(0) = 0.5, current 0.4: membranes 0.9, 1.3, 0.7, 1.1: spikes at steps 1 and 3."""
    z, one = torch.tensor([[0.4]]), torch.ones(1)
    fired = calibrate.spikes([z] * 4, one, 0.5 * one)
    assert [float(s) for s in fired] == [0, 1, 0, 1]
    assert float(calibrate.rate([z] * 4, one, 0.5 * one)) == 0.5


def test_multi_spikes_by_hand() -> None:
    """θ = 0.5, current 1.3: ⌊1.3/0.5⌋ = 2, leaves 0.3; then 1.6 gives 3, of which 2 are allowed."""
    z, half = torch.tensor([[1.3]]), torch.tensor([0.5])
    fired = calibrate.spikes([z] * 2, half, torch.zeros(1), max_spikes=2)
    assert [float(s) for s in fired] == [2, 2]
    fired = calibrate.spikes([z] * 2, half, torch.zeros(1), max_spikes=9)
    assert [float(s) for s in fired] == [2, 3]


@given(
    st.lists(st.integers(-64, 512), min_size=1, max_size=8),
    st.integers(1, 8),
    st.integers(0, 3),
    st.sampled_from([1, 3]),
)
def test_a_constant_current_is_quantised(
    values: list[int], n_steps: int, phi: int, most: int
) -> None:
    """In 64ths, where all sums are exact, the formula is the simulation."""
    z = torch.tensor(values).reshape(-1, 1) / 64
    theta, v0 = torch.tensor([1.0]), torch.tensor([phi / 4])
    simulated = calibrate.rate([z] * n_steps, theta, v0, most)
    assert torch.equal(simulated, calibrate.quantised(z, theta, v0, n_steps, most))


def test_the_search_finds_what_brute_force_finds() -> None:
    """Two channels with currents that change; every candidate is tried in plain Python."""
    torch.manual_seed(0)
    activation = torch.rand(30, 2) * torch.tensor([1.0, 3.0])
    drive = [activation + 0.3 * torch.randn(30, 2) for _ in range(3)]
    largest = activation.amax(0)
    search = calibrate.Search(largest, phis=(0.25, 0.5))
    search.show([d[:10] for d in drive], activation[:10])
    search.show([d[10:] for d in drive], activation[10:])
    theta, v0 = search.best()
    for c in range(2):
        found = []
        for phi in (0.25, 0.5):
            for k in range(1, 21):
                t = float(largest[c]) * (0.1 + 0.9 * k / 20)
                error = 0.0
                for i in range(30):
                    v, n = phi * t, 0
                    for d in drive:
                        v += float(d[i, c])
                        if v >= t:
                            v, n = v - t, n + 1
                    error += (t * n / 3 - float(activation[i, c])) ** 2
                found.append((error, t, phi))
        _, best, phi = min(found)
        assert float(theta[c]) == pytest.approx(best)
        assert float(v0[c]) == pytest.approx(phi * best)


def test_the_search_by_formula_is_the_search_by_steps() -> None:
    torch.manual_seed(1)
    z = torch.randn(40, 3)
    searches = [calibrate.Search(z.relu().amax(0)) for _ in range(2)]
    searches[0].show([z] * 4, z.relu())
    searches[1].show_constant(z, z.relu(), 4)
    torch.testing.assert_close(searches[0].best()[0], searches[1].best()[0])


def test_one_step_of_two_levels_takes_the_level() -> None:
    """T = 1 and activations 0 and 1: θ = 1 has no error."""
    z = torch.tensor([[-1.0], [1.0], [1.0]])
    search = calibrate.Search(torch.ones(1))
    search.show([z], z.relu())
    theta, v0 = search.best()
    assert float(theta) == pytest.approx(1.0)
    assert float(v0) == pytest.approx(0.5)


def test_bias_correction_zeroes_the_mean_error() -> None:
    torch.manual_seed(2)
    wanted, rate = torch.rand(5, 3, 4, 4), torch.rand(5, 3, 4, 4)
    by = calibrate.bias_correction(rate, wanted)
    off = wanted.double() - (rate.double() + by.reshape(1, 3, 1, 1))
    assert off.mean((0, 2, 3)).abs().max() < 1e-7


def test_ridge_regression_by_hand() -> None:
    """x = −1, 1 and z = −3, 3 from W₀ = 1: (2·3 + 2ρ·1)/(2 + 2ρ), with s = Σx² = 2."""
    x, z = torch.tensor([[-1.0], [1.0]]), torch.tensor([[-3.0], [3.0]])
    w, b = calibrate.refit(x, z, torch.ones(1, 1), torch.zeros(1), ridge=0.5, rectified=False)
    assert float(w) == pytest.approx((6 + 1) / 3, rel=1e-6)
    assert float(b) == pytest.approx(0, abs=1e-6)


def test_before_a_relu_only_what_is_above_zero_has_to_be_met() -> None:
    """z = −9 at x = −1 asks for nothing: W·x + b = −1 is below 0 already. Linear fit: W = 5."""
    x, z = torch.tensor([[-1.0], [1.0]]), torch.tensor([[-9.0], [1.0]])
    start = (torch.ones(1, 1), torch.zeros(1))
    w, b = calibrate.refit(x, z, *start, ridge=0.0)
    assert (float(w), float(b)) == (pytest.approx(1), pytest.approx(0, abs=1e-6))
    w, b = calibrate.refit(x, z, *start, ridge=0.0, rectified=False)
    assert (float(w), float(b)) == (pytest.approx(5, rel=1e-4), pytest.approx(-4, rel=1e-4))


def test_patches_are_what_a_convolution_multiplies() -> None:
    torch.manual_seed(3)
    x, w = torch.randn(2, 4, 7, 6), torch.randn(6, 2, 3, 2)
    rows = calibrate.unfolded(x, (3, 2), (2, 1), (1, 2), groups=2)
    out = torch.cat([r @ part.T for r, part in zip(rows, w.flatten(1).chunk(2), strict=True)], 1)
    direct = functional.conv2d(x, w, stride=(2, 1), dilation=(1, 2), groups=2)
    torch.testing.assert_close(out, calibrate.by_channel(direct).T)


# --- Networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_steps", "most"), [(1, 1), (4, 1), (2, 4)])
def test_the_calibrated_network_is_nearer_than_with_its_old_weights(
    n_steps: int, most: int
) -> None:
    """On the engine; and both are nearer than thresholds at the maximum, membranes from 0."""
    net, x = chain()
    truth = said(net, x)

    def error(found: Calibrated) -> float:
        out = emitted(net, found).compile().run(x, n_steps=n_steps).output
        return float(((out - truth) ** 2).mean())

    plain = calibrated(ann(net), x, n_steps, max_spikes=most, ridge=None)
    full = calibrated(ann(net), x, n_steps, max_spikes=most, ridge=0.1)
    highest = {name: 2 * value.max() + 0 * value for name, value in plain.threshold.items()}
    zeros = {name: 0 * value for name, value in plain.v0.items()}
    assert error(full) < error(plain) < error(Calibrated({}, highest, zeros, most))


def test_many_spikes_a_step_are_the_ann() -> None:
    net, x = chain()
    found = calibrated(ann(net), x, 8, max_spikes=64)
    out = emitted(net, found).compile().run(x, n_steps=8).output
    assert np.abs(out - said(net, x)).max() < 0.02 * np.abs(said(net, x)).max()


def test_the_output_has_no_mean_error() -> None:
    """Both with the regression, whose bias is free, and with the bias alone."""
    net, x = chain()
    for ridge in (0.1, None):
        found = calibrated(ann(net), x, 2, ridge=ridge)
        out = emitted(net, found).compile().run(x, n_steps=2).output
        assert np.abs((out - said(net, x)).mean(0)).max() < 1e-4


def test_a_shortcut_and_a_maximum_pool_are_calibrated() -> None:
    rng = np.random.default_rng(5)
    net = ss.Network(input_shape=(1, 8, 8))
    net.add(ss.Conv2d(rng.normal(0, 0.6, (4, 1, 3, 3)), padding=1), "conv1")
    net.add(ss.IF(), "relu1")
    net.add(ss.SpikeMaxPool2d(2), "pool")
    net.add(ss.Conv2d(rng.normal(0, 0.3, (4, 4, 3, 3)), padding=1), "conv2", "pool")
    net.add(ss.Add(), "join", ["conv2", "pool"])
    net.add(ss.IF(), "relu2")
    net.add(ss.Flatten(), "flat")
    net.add(ss.Linear(rng.normal(0, 0.2, (3, 64))), "fc")
    x = rng.uniform(0, 1, (32, 1, 8, 8)).astype(np.float32)
    found = calibrated(ann(net), x, 4)
    assert set(found.threshold) == {"relu1", "relu2"}
    assert set(found.layers) == {"conv1", "conv2", "fc"}
    assert all(np.isfinite(op.weight).all() for op in found.layers.values())


def test_the_ann_is_left_as_it_is() -> None:
    net, x = chain()
    before = [node.op.arrays() for node in net.nodes[1:]]
    calibrated(ann(net), x, 2)
    for node, arrays in zip(net.nodes[1:], before, strict=True):
        assert all(np.array_equal(node.op.arrays()[k], v) for k, v in arrays.items())


def test_two_calibrations_are_the_same() -> None:
    net, x = chain()
    one, two = (calibrated(ann(net), x, 2) for _ in range(2))
    for name in one.threshold:
        assert np.array_equal(one.threshold[name], two.threshold[name])
    for name, op in one.layers.items():
        assert np.array_equal(op.weight, two.layers[name].weight)


def _dead(net: ss.Network) -> Any:
    op: Any = net.node("conv1").op
    zeros = ss.Conv2d(np.zeros_like(op.weight), -np.ones(8), padding=1)
    return ann(with_layers(net, {"conv1": zeros}))


def _leaky(net: ss.Network) -> Any:
    made = ann(net)
    made.activations["relu2"] = Relu("leaky_relu")
    return made


@pytest.mark.parametrize(
    ("make", "n_steps", "most", "error", "words"),
    [
        (_dead, 2, 1, InputError, "relu1: activations are all zero"),
        (_leaky, 2, 1, UnsupportedError, "relu2: leaky_relu can't be calibrated"),
        (ann, 0, 1, InputError, "n_steps is 0, expected at least 1"),
        (ann, 2, 256, InputError, "max_spikes is 256, expected 1 to 255"),
    ],
)
def test_what_cannot_be_calibrated_says_so(
    make: Callable[[ss.Network], Any], n_steps: int, most: int, error: type[Exception], words: str
) -> None:
    net, x = chain()
    with pytest.raises(error, match=words):
        calibrated(make(net), x, n_steps, max_spikes=most)
