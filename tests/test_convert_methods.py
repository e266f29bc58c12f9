"""Each method of conversion: its formula by hand, its network against plain NumPy, its figures."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import spikesim as ss
from spikesim.convert.ann import Setting, emit, read
from spikesim.convert.ann.balance import balanced
from spikesim.convert.ann.data import Samples
from spikesim.convert.ann.evaluate import outputs_by_steps
from spikesim.convert.ann.thresholds import FLOOR

Array = NDArray[Any]
SIZES = (6, 5, 4, 3)


def mlp(seed: int, act: str = "relu", bias: bool = True) -> nn.Sequential:
    """Three layers in eighths."""
    rng = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(SIZES):
        layer = nn.Linear(before, after, bias=bias)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(rng.integers(-5, 9, (after, before)) / 8))
            if bias:
                layer.bias.copy_(torch.tensor(rng.integers(-2, 3, after) / 8))
        made = {"relu": nn.ReLU(), "leaky": nn.LeakyReLU(0.25), "qcfs": ss.train.QCFS(4, lam=2.0)}
        layers += [layer, made[act]]
    return nn.Sequential(*layers[:-1])


def inputs(seed: int, samples: int = 9) -> Array:
    """In eighths, from 0 to 1."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 9, (samples, SIZES[0])) / 8).astype(np.float32)


# --- Plain NumPy: what the methods say, without a line of theirs -------------------------------


def weights(module: nn.Sequential) -> list[tuple[Array, Array]]:
    return [
        (layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy())
        for layer in module
        if isinstance(layer, nn.Linear)
    ]


def spiking(
    module: nn.Sequential,
    thetas: list[Array],
    x: Array,
    steps: int,
    v0: float = 0.0,
    hard: bool = False,
    slope: float = 0.0,
) -> tuple[list[Array], Array, list[Array]]:
    """Spikes (T, N, n) of each layer, the mean output, the current of each step of each layer."""
    every = weights(module)
    v = [
        np.zeros((len(x), len(w))) + v0 * theta
        for (w, _), theta in zip(every, thetas, strict=False)
    ]
    spikes: list[list[Array]] = [[] for _ in thetas]
    currents: list[list[Array]] = [[] for _ in every]
    out = np.zeros((len(x), len(every[-1][0])))
    for _ in range(steps):
        value = x.astype(np.float64)
        for depth, (w, b) in enumerate(every):
            current = value @ w.T + b
            currents[depth].append(current)
            if depth == len(thetas):
                if depth == len(every) - 1:
                    out += current
                break
            theta = thetas[depth]
            v[depth] = v[depth] + current
            s = (v[depth] >= theta).astype(np.float64)
            if slope:
                s -= v[depth] <= -theta / slope
            taken = np.where(s > 0, theta, -theta / (slope or 1.0)) * np.abs(s)
            v[depth] = np.where(s != 0, 0.0, v[depth]) if hard else v[depth] - taken
            spikes[depth].append(s)
            value = s * theta
    return [np.stack(s) for s in spikes], out / steps, [np.stack(c) for c in currents if c]


def rectified(module: nn.Sequential, x: Array, slope: float = 0.0) -> list[Array]:
    """Activations of the ANN's hidden layers."""
    found, value = [], x.astype(np.float64)
    for w, b in weights(module)[:-1]:
        z = value @ w.T + b
        value = np.where(z > 0, z, slope * z)
        found.append(value)
    return found


def sorted_at(values: Array, percentile: float) -> float:
    every = np.sort(np.abs(values).ravel())
    return float(every[max(math.floor(percentile / 100 * len(every) + 1e-9) - 1, 0)])


def expected(method: str, module: nn.Sequential, x: Array, steps: int, slope: float) -> list[Array]:
    """The thresholds of a method, from its formula."""
    if method == "qcfs":
        return [np.array(2.0)] * 2
    if method == "model":
        bound, found = 1.0, []
        for w, b in weights(module)[:-1]:
            bound = float((np.maximum(w, 0).sum(1) * bound + np.maximum(b, 0)).max())
            found.append(np.array(bound))
        return found
    if method in ("spike_norm", "rmp"):
        alpha, hard = (1.0, True) if method == "spike_norm" else (0.5, False)
        found = []
        for depth in range(2):
            _, _, currents = spiking(module, found, x, steps, hard=hard)
            found.append(np.array(alpha * currents[depth].max()))
        return found
    share = 100.0 if method == "max" else 75.0
    if method == "channel_wise":
        made = []
        for a in rectified(module, x, slope):
            channels = np.array(
                [sorted_at(a[:, c], share) or np.abs(a[:, c]).max() for c in range(a.shape[1])]
            )
            largest = np.abs(a).max()
            made.append(np.where(channels > 0, np.maximum(channels, FLOOR * largest), largest))
        return made
    return [np.array(sorted_at(a, share)) for a in rectified(module, x, slope)]


@pytest.mark.parametrize("act", ["relu", "leaky"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "method",
    ["max", "percentile", "channel_wise", "model", "spike_norm", "rmp", "spiking_resnet", "qcfs"],
)
def test_a_method_is_its_formula_to_the_bit(method: str, seed: int, act: str) -> None:
    """In eighths all sums are exact: the engine has to fire every spike of plain NumPy."""
    if act == "leaky" and method in ("model", "qcfs", "spike_norm"):
        act = "relu"
    steps = 16
    module = mlp(seed, "qcfs" if method == "qcfs" else act)
    x, slope = inputs(seed), 0.25 if act == "leaky" else 0.0
    options: dict[str, Any] = {}
    if method in ("percentile", "channel_wise", "spiking_resnet"):
        options["percentile"] = 75.0
    if method in ("spike_norm", "rmp"):
        options["calibration_steps"] = steps
    if method == "rmp":
        options["alpha"] = 0.5
        slope, module = 0.0, mlp(seed)
    net, report = ss.convert(module, calibration=x, method=method, n_steps=steps, **options)
    thetas = expected(method, module, x, steps, slope)
    for name, theta in zip(("1", "3"), thetas, strict=True):
        op: Any = net.node(name).op
        # FLOOR times the largest is no binary fraction.
        assert np.array_equal(op.v_threshold, theta.astype(np.float32)), name
        assert np.array_equal(np.asarray(report.thresholds[name], np.float32), op.v_threshold)
    assume_exact = [theta.astype(np.float32).astype(np.float64) for theta in thetas]
    v0 = 0.5 if method in ("spiking_resnet", "qcfs") else 0.0
    spikes, out, _ = spiking(
        module, assume_exact, x, steps, v0=v0, hard=method == "spike_norm", slope=slope
    )
    result = net.compile().run(x, n_steps=steps, record=("spikes",))
    for name, wanted in zip(("1", "3"), spikes, strict=True):
        assert np.array_equal(result.spikes[name].to_dense(), wanted), name
        assert wanted.any()
    if all(np.array_equal(theta * 2**12, np.round(theta * 2**12)) for theta in thetas):
        assert np.array_equal(result.output, out.astype(np.float32))
    else:
        np.testing.assert_allclose(result.output, out, rtol=1e-6)


# --- Spike-Norm and RMP --------------------------------------------------------------------------


def poisson(x: Array, steps: int, seed: int) -> Array:
    return (np.random.default_rng(seed).random((steps, *x.shape), np.float32) < np.abs(x)) * 1.0


@pytest.mark.parametrize("encoding", ["constant", "poisson"])
@pytest.mark.parametrize("reset", ["subtract", "to_value"])
def test_no_neuron_is_given_more_than_its_threshold(encoding: Any, reset: Any) -> None:
    """On the calibration stream max W·s ≤ θ, and it is attained."""
    module, x = mlp(4), inputs(4, 20)
    net, _ = ss.convert(
        module,
        calibration=x,
        method="spike_norm",
        n_steps=8,
        calibration_steps=30,
        encoding=encoding,
        reset=reset,
        seed=3,
    )
    if encoding == "constant":
        result = net.compile().run(x, n_steps=30, record=("current",))
    else:
        result = net.compile().run(poisson(x, 30, 3), record=("current",))
    for name in ("1", "3"):
        theta: Any = net.node(name).op
        assert float(result.current[name].max()) == float(theta.v_threshold), name


@pytest.mark.parametrize("k", [-3, 2])
def test_scaled_weights_scale_the_threshold_and_leave_the_spikes(k: int) -> None:
    plain, scaled = mlp(2), mlp(2)
    with torch.no_grad():
        scaled[0].weight.mul_(2.0**k)
        scaled[0].bias.mul_(2.0**k)
    x = inputs(2)
    first, second = (
        ss.convert(m, calibration=x, method="spike_norm", n_steps=8)[0] for m in (plain, scaled)
    )
    a, b = (net.node("1").op for net in (first, second))
    assert float(b.v_threshold) == 2.0**k * float(a.v_threshold)  # type: ignore[attr-defined]
    one, other = (
        net.compile().run(x, n_steps=20, record=("spikes",)).spikes["1"].to_dense()
        for net in (first, second)
    )
    assert one.any()
    assert np.array_equal(one, other)


def test_rmp_takes_alpha_times_the_largest_input() -> None:
    """α acts before the layers after it are looked at."""
    ann, data = read(mlp(1), (6,)), Samples(inputs(1))
    whole = balanced(ann, data, n_steps=10, alpha=1.0)
    part = balanced(ann, data, n_steps=10, alpha=0.75)
    assert float(part["1"]) == 0.75 * float(whole["1"])
    _, _, currents = spiking(mlp(1), [part["1"]], data.x, 10)
    assert float(part["3"]) == 0.75 * currents[1].max()


@pytest.mark.parametrize("method", ["spike_norm", "rmp"])
def test_thresholds_of_a_leaky_relu_cover_what_is_below_zero(method: str) -> None:
    """-10 at slope 0.25 is an activation of -2.5, larger than the +1 of the other sample."""
    module = nn.Sequential(nn.Linear(1, 1), nn.LeakyReLU(0.25), nn.Linear(1, 1))
    with torch.no_grad():
        for layer in (module[0], module[2]):
            layer.weight.fill_(1)
            layer.bias.fill_(0)
    x = np.array([[-10], [1]], np.float32)
    options = {"alpha": 1.0} if method == "rmp" else {"reset": "subtract"}
    net, _ = ss.convert(module, calibration=x, method=method, n_steps=8, **options)
    assert float(net.node("1").op.v_threshold) == 2.5  # type: ignore[attr-defined]
    assert net.compile().run(x, n_steps=40).output.tolist() == [[-2.5], [1.0]]


def test_those_that_meet_share_the_largest_threshold_if_wanted() -> None:
    class Meeting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b, self.c = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 2)
            self.p, self.q, self.r = nn.ReLU(), nn.ReLU(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.r(self.p(self.a(x)) + self.q(self.b(2 * x))))

    ann, data = read(Meeting(), (6,)), Samples(inputs(0))
    own = balanced(ann, data, n_steps=10)
    equal = balanced(ann, data, n_steps=10, junction="equal_threshold")
    assert own["p"] != own["q"]
    assert equal["p"] == equal["q"] == max(own["p"], own["q"])


def one_neuron(theta: float, reset: Any, slope: float = 0.0) -> ss.Network:
    module = nn.Sequential(
        nn.Linear(1, 1, bias=False), nn.LeakyReLU(slope), nn.Linear(1, 1, bias=False)
    )
    with torch.no_grad():
        module[0].weight.fill_(1.0)
        module[2].weight.fill_(1.0)
    x = np.array([[theta]], np.float32)
    return ss.convert(module, calibration=x, method="max", n_steps=4, reset=reset)[0]


def counts(net: ss.Network, z: Array, steps: int) -> Array:
    run = net.compile().run(z.reshape(-1, 1).astype(np.float32), n_steps=steps, record=("spikes",))
    return run.spikes["1"].to_dense().sum(0)[:, 0]


@pytest.mark.parametrize("steps", [1, 7, 64])
def test_closed_forms_of_the_resets(steps: int) -> None:
    """θ = 64: soft floor(T·z/θ); hard floor(T / ceil(θ/z))."""
    z = np.arange(1, 65)
    soft, hard = (counts(one_neuron(64.0, r), z, steps) for r in ("subtract", "to_value"))
    assert soft.tolist() == [steps * k // 64 for k in z]
    assert hard.tolist() == [steps // -(-64 // k) for k in z]


def test_the_transfer_curve_tells_the_resets_apart() -> None:
    z = np.arange(1, 65)
    off = {
        reset: float(np.sqrt(np.mean((counts(one_neuron(64.0, reset), z, 64) / 64 - z / 64) ** 2)))
        for reset in ("subtract", "to_value")
    }
    assert off["subtract"] < 1 / 64
    assert off["to_value"] > 0.05


@pytest.mark.parametrize("steps", [5, 64])
def test_signed_neurons_count_a_leaky_relu(steps: int) -> None:
    """θ = 32, slope ¼: floor(T·z/θ) above 0, −floor(¼·T·|z|/θ) below."""
    z = np.arange(-128, 33)
    found = counts(one_neuron(32.0, "subtract", 0.25), z, steps)
    assert found.tolist() == [steps * k // 32 if k >= 0 else -(steps * -k // 128) for k in z]


# --- QCFS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [1, 4, 8])
def test_qcfs_is_equal_after_as_many_steps_as_levels(levels: int) -> None:
    """θ = λ, v(0) = φ·λ: under a constant current T = L spikes are the stairs, one by one."""
    module = nn.Sequential(
        nn.Linear(1, 1, bias=False), ss.train.QCFS(levels, lam=2.0), nn.Linear(1, 1, bias=False)
    )
    with torch.no_grad():
        module[0].weight.fill_(1.0)
        module[2].weight.fill_(1.0)
    z = (np.arange(-64, 200) / 64).astype(np.float32).reshape(-1, 1)
    net, report = ss.convert(module, calibration=z, method="auto")
    op: Any = net.node("1").op
    assert (float(op.v_threshold), float(op.v0), report.n_steps) == (2.0, 1.0, levels)
    assert report.method == "qcfs"
    said = net.compile().run(z, n_steps=levels).output
    assert np.array_equal(said, module(torch.from_numpy(z)).detach().numpy())


# --- Spiking ResNet ------------------------------------------------------------------------------


class Blocks(nn.Module):
    """Two residual blocks of 1x1 convolutions in eighths, a max pool between them."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(3)
        self.stem, self.a, self.b = (nn.Conv2d(2, 2, 1) for _ in range(3))
        self.c, self.d, self.fc = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1), nn.Linear(8, 3)
        self.pool = nn.MaxPool2d(2)
        with torch.no_grad():
            for values in self.parameters():
                values.copy_(torch.tensor(rng.integers(-2, 5, values.shape) / 8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = (self.b(self.a(x).relu()) + x).relu()
        x = self.pool(x)
        x = (self.d(self.c(x).relu()) + x).relu()
        return self.fc(x.flatten(1))


def test_rates_are_activations_over_their_scale() -> None:
    """r = a/λ in each of five populations, with λ that are powers of two, on a grid where T
    spikes can say it exactly."""
    ann = read(Blocks(), (2, 4, 4))
    x = (np.random.default_rng(0).integers(0, 2, (4, 2, 4, 4))).astype(np.float32)
    truth = ann.evaluator()(torch.from_numpy(x), list(ann.activations))
    scales = {n: 2.0 ** np.ceil(np.log2(float(truth[n].max()))) for n in ann.activations}
    net = emit(ann, {name: Setting.of(scale, 0.5) for name, scale in scales.items()})
    steps = 2**12
    run = net.compile().run(x, n_steps=steps, record=("spikes",))
    for name, scale in scales.items():
        rate = run.spikes[name].to_dense().sum(0) / steps
        assert np.abs(rate - truth[name].numpy() / scale).max() <= 8 / steps, name


def test_a_shortcut_is_compensated() -> None:
    """A spike of the stem counts λ_in in the sum, λ_in/λ_out of the threshold after it."""
    x = np.random.default_rng(0).random((30, 2, 4, 4)).astype(np.float32)
    net, report = ss.convert(Blocks(), calibration=x, method="spiking_resnet", n_steps=16)
    names = [*report.thresholds]
    stem, after = names[0], names[2]
    scale: Any = net.node(f"{stem}_height").op
    after_op: Any = net.node(after).op
    assert float(scale.scale) == np.float32(report.thresholds[stem])
    assert float(after_op.v0) == np.float32(report.thresholds[after] / 2)
    assert report.max_pools == {"pool": 'RateMaxPool2d (gate "count")'}
    sources = [src for src, dst, _ in net.edges if dst == "add"]
    assert f"{stem}_height" in sources


def test_without_compensation_accuracy_is_lost() -> None:
    x = np.random.default_rng(0).random((60, 2, 4, 4)).astype(np.float32)
    net, _ = ss.convert(Blocks(), calibration=x, method="spiking_resnet", n_steps=64)
    truth = read(Blocks(), (2, 4, 4)).predict(x)
    broken = ss.Network(net.input_shape)
    for node in net.nodes[1:]:
        sources = [src for src, dst, _ in net.edges if dst == node.name]
        op: Any = node.op
        broken.add(ss.Scale(np.float32(1.0)) if node.kind == "scale" else op, node.name, sources)
    broken.output, broken.readout = net.output, net.readout
    good, bad = (outputs_by_steps(n, x, [256])[256] for n in (net, broken))
    assert np.abs(good - truth).max() * 5 < np.abs(bad - truth).max()
