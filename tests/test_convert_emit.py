"""Emission: heights of spikes in the weights that hear them, exactly; and what comes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

import spikesim as ss
from spikesim.convert.ann import Ann, Setting, emit, read
from spikesim.convert.ann.evaluate import outputs_by_steps
from spikesim.errors import GraphError, InputError, UnsupportedError

IMAGE = (2, 4, 4)
Array = NDArray[Any]


def dyadic(module: nn.Module, seed: int = 0) -> nn.Module:
    """All weights in quarters, norms with factors that are powers of two: every sum is exact."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eps = 0.25
                part.running_var.fill_(0.75)  # type: ignore[union-attr]
                part.weight.copy_(torch.tensor(2.0 ** rng.integers(-1, 2, len(part.weight))))
                for values in (part.bias, part.running_mean):
                    values.copy_(torch.tensor(rng.integers(-2, 3, len(part.weight)) / 4))  # type: ignore[union-attr]
            elif isinstance(part, nn.Linear | nn.Conv2d):
                part.weight.copy_(torch.tensor(rng.integers(-3, 5, part.weight.shape) / 4))
                if part.bias is not None:
                    part.bias.copy_(torch.tensor(rng.integers(-2, 3, part.bias.shape) / 4))
    return module.eval()


def images(samples: int = 6, shape: tuple[int, ...] = IMAGE) -> Array:
    """Inputs in eighths."""
    return (np.random.default_rng(5).integers(0, 9, (samples, *shape)) / 8).astype(np.float32)


def twin(ann: Ann, chosen: dict[str, Setting], gate: str) -> ss.Network:
    """The same with the trained weights and a Scale of θ after each population: nothing folded."""
    net = ss.Network(ann.input_shape)
    now = {"input": "input"}
    for node in ann.net.nodes[1:]:
        sources = [now[src] for src in ann.inputs_of(node.name)]
        now[node.name] = node.name
        op: Any = node.op
        if node.name in ann.activations:
            setting, one = chosen[node.name], ann.activations[node.name]
            signed = (
                {"spikes": "signed", "v_threshold_neg": -setting.threshold / one.slope}
                if one.slope
                else {"spikes": "single"}
            )
            neuron = ss.Neuron(
                v_threshold=setting.threshold, v0=setting.v0, reset="subtract", **signed
            )
            net.add(neuron, node.name, sources)
            now[node.name] = f"{node.name}/real"
            net.add(ss.Scale(setting.threshold), now[node.name], node.name)
            continue
        if node.kind == "spike_max_pool2d":
            # Of spikes, and their height after it.
            (source,) = ann.inputs_of(node.name)
            op = ss.RateMaxPool2d(op.kernel_size, op.stride, op.padding, op.ceil_mode, gate=gate)
            now[node.name] = f"{node.name}/real"
            net.add(op, node.name, source)
            net.add(ss.Scale(chosen[source].threshold), now[node.name], node.name)
            continue
        net.add(op, node.name, sources)
    net.output, net.readout = now[ann.net.output], "mean"
    return net


class Graph(nn.Module):
    """A convolution, then what a case makes of it."""

    def __init__(self, case: str) -> None:
        super().__init__()
        self.case = case
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.grouped, self.wide = nn.Conv2d(4, 6, 3, groups=2), nn.Conv2d(8, 4, 1)
        self.norm, self.fc, self.small = nn.BatchNorm2d(4), nn.Linear(64, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        a = functional.relu(self.a(x))
        b = functional.relu(self.b(a))
        match self.case:
            case "chain":
                return self.fc(b.flatten(1))
            case "grouped":
                return functional.relu(self.grouped(b)).flatten(1)
            case "concat":
                return self.fc(functional.relu(self.wide(torch.cat([a, b], 1))).flatten(1))
            case "concat_of_rows":
                return torch.cat([a, b], 2).flatten(1)
            case "add":
                return self.fc(functional.relu(a + b).flatten(1))
            case "add_unspiked":
                return self.fc(functional.relu(a + self.b(b)).flatten(1))
            case "add_heard_by_weights":
                return self.fc((a + b).flatten(1))
            case "norm":
                return self.fc(functional.relu(self.norm(b)).flatten(1))
            case "scale":
                return self.fc(functional.relu(self.b(b * 0.5)).flatten(1))
            case "sum_pool":
                return self.small(b.sum((2, 3)))
            case "avg_pool":
                return self.small(functional.adaptive_avg_pool2d(b, 1).flatten(1))
            case "max_pool":
                return functional.max_pool2d(self.b(functional.max_pool2d(b, 2)), 2).relu()
            case "leaky":
                return self.fc(functional.leaky_relu(self.b(b), 0.25).flatten(1))
            case "activation_last":
                return functional.relu(self.b(b))
        raise AssertionError(self.case)


CASES = (
    *("chain", "grouped", "concat", "concat_of_rows", "add", "add_unspiked"),
    *("add_heard_by_weights", "norm", "scale", "sum_pool", "avg_pool", "max_pool", "leaky"),
    "activation_last",
)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_folded_heights_are_scales_after_the_populations(case: str, per_channel: bool) -> None:
    ann = read(dyadic(Graph(case)), IMAGE)
    rng = np.random.default_rng(1)
    chosen = {
        name: Setting.of(
            2.0 ** rng.integers(-1, 3, (ann.net.node(name).shape[0],) if per_channel else ()), 0.5
        )
        for name in ann.activations
    }
    net, plain = emit(ann, chosen), twin(ann, chosen, "count")
    one, other = (n.compile().run(images(), n_steps=8, record=("spikes",)) for n in (net, plain))
    assert np.array_equal(one.output, other.output)
    for name in ann.activations:
        raster = one.spikes[name].to_dense()
        assert np.array_equal(raster, other.spikes[name].to_dense()), name
        assert raster.any(), name
    assert net.readout == "mean"


def test_two_layers_by_hand() -> None:
    """θ₁ = 2, θ₂ = ½: W₂ becomes 2·W₂, W₃ ½·W₃; biases and W₁ stay."""
    module = nn.Sequential(
        nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1, bias=False), nn.ReLU(), nn.Linear(1, 1)
    )
    weights = ([[1.0, 0.5], [0.25, -1.0]], [[0.75, -0.5]], [[3.0]])
    with torch.no_grad():
        for place, values in zip((0, 2, 4), weights, strict=True):
            module[place].weight.copy_(torch.tensor(values))
        module[0].bias.copy_(torch.tensor([0.5, 1.0]))
        module[4].bias.fill_(0.25)
    ann = read(module, (2,))
    net = emit(ann, {"1": Setting.of(2.0, 0.5), "3": Setting.of(0.5)})
    one, two, three = (net.node(name).op for name in ("0", "2", "4"))
    assert one.weight.tolist() == weights[0]  # type: ignore[attr-defined]
    assert one.bias.tolist() == [0.5, 1.0]  # type: ignore[attr-defined]
    assert two.weight.tolist() == [[1.5, -1.0]]  # type: ignore[attr-defined]
    assert two.bias is None  # type: ignore[attr-defined]
    assert (three.weight.tolist(), three.bias.tolist()) == ([[1.5]], [0.25])  # type: ignore[attr-defined]
    neuron: Any = net.node("1").op
    assert (float(neuron.v_threshold), float(neuron.v0), neuron.reset) == (2.0, 1.0, "subtract")
    # Currents (1.75, 0.5) for x = (1, ½): spikes of 1 at steps 1, 2, 3; of 2 at steps 2.
    # v₁: 1 + 1.75 = 2.75 → 0.75, 2.5 → 0.5, 2.25 → 0.25, 2.0 → 0; v₂: 1.75, 2.5 → 0.5, 1.25, 2.0.
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, 0.5], [0.0, 0.0]]))
        module[0].bias.copy_(torch.tensor([0.5, 0.75]))
    net = emit(read(module, (2,)), {"1": Setting.of(2.0, 0.5), "3": Setting.of(0.5)})
    result = net.compile().run(np.array([[1.0, 0.5]], np.float32), n_steps=4, record=("spikes",))
    spikes = result.spikes["1"].to_dense()[:, 0]
    assert spikes.T.tolist() == [[1, 1, 1, 1], [0, 1, 0, 1]]
    # Drive of the second: 1.5, ½, 1.5, ½ at θ = ½: it fires at every step, 4 of height ½.
    assert result.spikes["3"].to_dense()[:, 0, 0].tolist() == [1, 1, 1, 1]
    assert result.output.tolist() == [[1.75]]


def test_heights_of_channels_by_hand() -> None:
    """Two channels of 1x2 with θ = (2, 4), flattened: columns times 2, 2, 4, 4."""
    module = nn.Sequential(
        nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4, 1, bias=False)
    )
    with torch.no_grad():
        module[3].weight.copy_(torch.tensor([[1.0, 3.0, 5.0, 7.0]]))
    net = emit(read(module, (1, 1, 2)), {"1": Setting.of([2.0, 4.0])})
    assert net.node("3").op.weight.tolist() == [[2.0, 6.0, 20.0, 28.0]]  # type: ignore[attr-defined]


def test_heights_are_rounded_once() -> None:
    """float32(W·θ) of the float64 product with the θ that the neuron has, no chain of roundings."""
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    theta = np.array([0.1, 0.7, 1 / 3, 2.9])
    net = emit(read(module, (3,)), {"1": Setting.of(theta)})
    trained = module[2].weight.detach().numpy().astype(np.float64)
    expected = (trained * theta.astype(np.float32).astype(np.float64)).astype(np.float32)
    assert np.array_equal(net.node("2").op.weight, expected)  # type: ignore[attr-defined]


@pytest.mark.parametrize("theta", [1.0, 0.5])
def test_an_output_that_is_an_activation_is_a_mean(theta: float) -> None:
    """θ = 1 needs no factor, but a population is no mean of its spikes."""
    module = nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU())
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[0.25, 0.0, 0.0], [0.0, -1.0, 0.0]]))
    net = emit(read(module, (3,)), {"1": Setting.of(theta)})
    assert net.compile().run(np.ones((1, 3), np.float32), n_steps=8).output.tolist() == [[0.25, 0]]


def test_a_name_that_is_taken_is_not_taken_again() -> None:
    class Taken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.a, self.act_height = nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            first = self.act(self.a(x))
            return first + functional.relu(self.act_height(first))

    ann = read(Taken(), (3,))
    net = emit(ann, {name: Setting.of(0.5 + i) for i, name in enumerate(ann.activations)})
    names = [node.name for node in net.nodes]
    assert "act_height" in names
    assert "act_height_" in names


def test_the_negative_threshold_is_over_the_slope() -> None:
    """θ = ½, slope ¼: θ_neg = −2. z = −¾ for 8 steps: −6 in all, 3 spikes of −½: −¾·¼ = −3·½/8."""
    module = nn.Sequential(nn.Linear(1, 1, bias=False), nn.LeakyReLU(0.25))
    with torch.no_grad():
        module[0].weight.fill_(-0.75)
    net = emit(read(module, (1,)), {"1": Setting.of(0.5)})
    neuron: Any = net.node("1").op
    assert (neuron.spikes, float(neuron.v_threshold_neg)) == ("signed", -2.0)
    assert net.compile().run(np.ones((1, 1), np.float32), n_steps=8).output.tolist() == [[-0.1875]]


def test_a_shift_goes_into_the_bias() -> None:
    """Setting.shift is a current at every step, in the units of the activation."""
    module = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
    net = emit(read(module, (1,)), {"1": Setting(np.array(1.0), np.array(0.0), np.array([1, 2.0]))})
    assert net.node("0").op.bias.tolist() == [1.0, 2.0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("gate", "kind"), [("or", "spike"), ("argmax", "rate"), ("count", "rate")])
def test_what_a_max_pool_becomes(gate: Any, kind: str) -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.MaxPool2d(3, 1, 1), nn.ReLU())
    net = emit(read(module, IMAGE), {"2": Setting.of(1.0)}, max_pool=gate)
    op: Any = net.node("1").op
    assert (op.kind, tuple(op.kernel_size)) == (f"{kind}_max_pool2d", (3, 3))
    assert getattr(op, "gate", "or") == gate
    assert net.node("1").shape == (3, 4, 4)


def test_a_max_pool_of_the_input_is_exact() -> None:
    module = dyadic(nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3), nn.ReLU()))
    x = images()
    net, _ = ss.convert(module, calibration=x, method="max", n_steps=64)
    out = net.compile().run(x, n_steps=64).output
    truth = module(torch.from_numpy(x)).detach().numpy()
    assert (truth - out).min() >= 0
    assert (truth - out).max() < truth.max() / 64


def test_a_max_pool_of_currents_is_refused() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2))
    ann = read(nn.Sequential(*module, nn.ReLU()), IMAGE)
    with pytest.raises(UnsupportedError, match="over currents without an activation"):
        emit(ann, {"4": Setting.of(1.0)})


def test_a_max_pool_of_heights_that_meet_is_refused() -> None:
    class Meeting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return functional.max_pool2d(self.a(x).relu() + self.b(x).relu(), 2)

    ann = read(Meeting(), IMAGE)
    chosen = {name: Setting.of(1.0 + i) for i, name in enumerate(ann.activations)}
    with pytest.raises(UnsupportedError, match="over spikes of different heights that meet"):
        emit(ann, chosen)


@pytest.mark.parametrize("theta", [0.0, -1.0, float("nan"), float("inf")])
def test_thresholds_that_mean_nothing(theta: float) -> None:
    ann = read(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), (3,))
    with pytest.raises(GraphError, match="expected finite numbers above 0"):
        emit(ann, {"1": Setting(np.array(theta), np.array(0.0))})


@st.composite
def nets(draw: Any) -> nn.Module:
    """Small networks with everything that is converted without loss."""
    torch.manual_seed(draw(st.integers(0, 2**31), label="seed"))

    def activation() -> nn.Module:
        return draw(st.sampled_from([nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.25), nn.Hardtanh(0, 1)]))

    layers: list[nn.Module] = [nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), activation()]
    if draw(st.booleans()):
        pool = draw(st.sampled_from([nn.MaxPool2d(2), nn.AvgPool2d(2)]))
        layers.insert(draw(st.integers(2, 3)), pool)
        side = 2
    else:
        layers.append(nn.BatchNorm2d(4))
        side = 4
    layers += [nn.Conv2d(4, 4, 1, groups=2), activation(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4 * side * side, 6), activation(), nn.Linear(6, 3))


@settings(max_examples=15)
@given(nets(), st.sampled_from(["max", "channel_wise", "model", "rmp", "spike_norm"]))
def test_the_mean_output_approaches_the_ann(module: nn.Module, method: str) -> None:
    """The error is a bounded charge over T: what is left is small where T is large."""
    module.eval()
    x = images(4)
    given_: dict[str, Any] = {"v0": 0.5}
    if method == "channel_wise":
        given_["percentile"] = 100.0
    elif method == "rmp":
        given_["alpha"] = 1.0
    elif method == "spike_norm":
        given_["reset"] = "subtract"
    if method == "model" and any(isinstance(m, nn.BatchNorm2d) for m in list(module)[3:]):  # type: ignore[call-overload]
        method = "max"
    try:
        net, _ = ss.convert(module, calibration=x, method=method, n_steps=8, **given_)
    except InputError:  # a layer that is silent
        reject()
    truth = module(torch.from_numpy(x)).detach().numpy()
    said = outputs_by_steps(net, x, [8, 1024])
    scale = 0.05 + float(np.abs(truth).max())
    assert np.abs(said[1024] - truth).max() < 0.02 * scale


@given(st.integers(0, 100), st.sets(st.integers(1, 40), min_size=1, max_size=4))
def test_one_run_gives_the_outputs_of_many(seed: int, steps: set[int]) -> None:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 4))
    x = torch.rand(7, 5).numpy()
    net, _ = ss.convert(module, calibration=x, method="max", n_steps=4)
    told: list[tuple[int, int]] = []
    found = outputs_by_steps(net, x, steps, batch_size=3, tell=lambda *at: told.append(at))
    assert sorted(found) == sorted(steps)
    sim = net.compile()
    for n, output in found.items():
        assert np.array_equal(output, sim.run(x, n_steps=n).output)
    assert told[-1] == (7 * max(steps), 7 * max(steps))


@pytest.mark.parametrize("readout", ["count", "first_spike"])
def test_outputs_of_populations_are_run_for_each_number(readout: str) -> None:
    net = ss.Network((3,))
    net.add(ss.Linear(np.eye(3)), "fc")
    net.add(ss.IF(1.0), "out")
    net.output, net.readout = "out", readout
    x = np.array([[0.25, 0.5, 1.0]], np.float32)
    found = outputs_by_steps(net, x, [2, 4])
    expected = {
        "count": {2: [[0, 1, 2]], 4: [[1, 2, 4]]},
        "first_spike": {2: [[-2, -1, 0]], 4: [[-3, -1, 0]]},
    }[readout]
    assert {n: output.tolist() for n, output in found.items()} == expected
