"""from_torch: what every library's own run says, step by step, is what the network does."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")

from spikingjelly.activation_based import functional, layer, neuron  # noqa: E402
from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from libraries import (  # noqa: E402
    assert_equal,
    assert_within_margin,
    run_library,
    run_multi_step,
)

Draw = Any
SEEDS = st.integers(0, 2**32 - 1)


# Weights: on the grid k/16 every sum and every decay by a power of two is exact for a few steps,
# so that any order of summation gives the same bits; free ones are rounded.


def set_weights(model: nn.Module, seed: int, exact: bool) -> nn.Module:
    """Random weights; BatchNorm statistics that keep an exact model exact."""
    rng = np.random.default_rng(seed)

    def fill(tensor: Any, scale: float) -> None:
        if exact:
            values = rng.integers(-8, 9, tuple(tensor.shape)) / 16
        else:
            values = rng.normal(0, scale, tuple(tensor.shape))
        tensor.copy_(torch.from_numpy(np.asarray(values, np.float32)))

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
                fan_in = module.weight[0].numel()
                fill(module.weight, 1.2 / np.sqrt(fan_in))
                if module.bias is not None:
                    fill(module.bias, 0.3)
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                count = module.running_mean.numel()
                fill(module.running_mean, 0.5)
                if exact:
                    module.eps = 0.0
                    module.running_var.copy_(torch.from_numpy(rng.choice([1.0, 4.0], count)))
                    module.weight.copy_(torch.from_numpy(rng.choice([0.5, 1.0, -1.0], count)))
                else:
                    module.running_var.copy_(torch.from_numpy(rng.uniform(0.5, 2, count)))
                    module.weight.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, count)))
                fill(module.bias, 0.3)
    return model.eval()


def raster(seed: int, steps: int, samples: int, shape: tuple[int, ...]) -> Any:
    """Input spikes (T, N, *shape)."""
    rng = np.random.default_rng(seed)
    return (rng.random((steps, samples, *shape)) < 0.4).astype(np.float32)


def check(model: nn.Module, shape: tuple[int, ...], steps: int, seed: int, exact: bool) -> None:
    """The library's own run against the network's, by the reference and by the engine."""
    x = raster(seed, steps, 2, shape)
    trace = run_library(model, x)
    net = ss.from_torch(model, shape)
    if exact:
        assert_equal(net, x, trace)
    else:
        assert assert_within_margin(net, x, trace) > 0.8


@st.composite
def layouts(draw: Draw) -> tuple[str, tuple[int, ...]]:
    """A kind of network and the shape of its input."""
    kind = draw(st.sampled_from(["mlp", "conv2d", "conv1d", "batch_norm"]))
    return kind, {"mlp": (7,), "conv1d": (3, 9)}.get(kind, (2, 6, 6))


def build(kind: str, make: Any, draw: Draw) -> nn.Sequential:
    """A small network with two neuron layers that `make(shape)` makes."""
    if kind == "mlp":
        return nn.Sequential(
            nn.Linear(7, 6),
            make((6,)),
            nn.Dropout(0.5),
            nn.Linear(6, 4, bias=draw(st.booleans())),
            make((4,)),
        )
    if kind == "conv1d":
        return nn.Sequential(
            nn.Conv1d(3, 4, 3, stride=2, padding=1), make((4, 5)), nn.Flatten(),
            nn.Linear(20, 3), make((3,)),
        )  # fmt: skip
    if kind == "batch_norm":
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=draw(st.booleans())),
            nn.BatchNorm2d(4),
            make((4, 6, 6)),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(36, 3),
            nn.BatchNorm1d(3),
            make((3,)),
        )
    groups = draw(st.sampled_from([1, 2]))
    pool = draw(st.sampled_from([nn.AvgPool2d(2), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d((3, 3))]))
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), padding="same", groups=groups, dilation=(1, 2)),
        make((4, 6, 6)), copy.deepcopy(pool),
        nn.Conv2d(4, 3, 2, stride=1, padding=(1, 0)), make((3, 4, 2)),
        nn.Upsample(scale_factor=2), nn.Flatten(), nn.Linear(96, 4), make((4,)),
    )  # fmt: skip


# spikesim's own modules


@st.composite
def own_neurons(draw: Draw) -> Any:
    reset = draw(st.sampled_from(["subtract", "to_value", "none"]))
    options: dict[str, Any] = {
        "reset": reset,
        "fires": draw(st.sampled_from([">=", ">"])),
        "v_reset": draw(st.sampled_from([0.0, -0.25, 0.125])),
        "v0": draw(st.sampled_from([0.0, 0.5, -0.25])),
        "gain": draw(st.sampled_from([1.0, 0.5])),
    }
    leak = {}
    if draw(st.booleans()):
        leak = {
            "alpha_mem": draw(st.sampled_from([0.5, 0.0, 1.0])),
            "v_leak": draw(st.sampled_from([0.0, 0.25])),
        }
    per_channel = draw(st.booleans())

    def make(shape: tuple[int, ...]) -> nn.Module:
        threshold: Any = 0.5
        if per_channel:
            threshold = torch.tensor([0.5, 1.0, 0.75, 0.25] * 2)[: shape[0]]
        if leak:
            return ss.train.LIF(threshold, **leak, **options)
        return ss.train.IF(threshold, **options)

    return make


@given(st.data(), layouts(), own_neurons(), st.integers(1, 8), SEEDS)
def test_own_modules_equal_to_the_bit(data: Any, layout: Any, make: Any, steps: int, seed: int):
    kind, shape = layout
    model = set_weights(build(kind, make, data.draw), seed, exact=True)
    check(model, shape, steps, seed, exact=True)


@given(st.data(), layouts(), st.integers(1, 12), SEEDS)
def test_own_modules_on_free_weights(data: Any, layout: Any, steps: int, seed: int):
    kind, shape = layout
    model = build(kind, lambda _: ss.train.LIF(0.7, alpha_mem=0.85, v_leak=0.05), data.draw)
    check(set_weights(model, seed, exact=False), shape, steps, seed, exact=False)


def test_own_modules_in_multi_step_mode():
    model = nn.Sequential(
        nn.Linear(5, 6), ss.train.LIF(0.5, alpha_mem=0.5, step_mode="m"), nn.Linear(6, 3),
        ss.train.IF(step_mode="m"),
    )  # fmt: skip
    set_weights(model, 1, exact=True)
    x = raster(1, 6, 2, (5,))
    trace = run_multi_step(model, x)
    assert trace.spikes["1"].any()
    assert_equal(ss.from_torch(model, (5,)), x, trace)


# SpikingJelly


@st.composite
def sj_neurons(draw: Draw, exact: bool) -> Any:
    v_reset = draw(st.sampled_from([None, 0.0, -0.25, 0.125]))
    threshold = draw(st.sampled_from([0.5, 0.75, 1.0]))
    if draw(st.booleans()):
        return lambda _: neuron.IFNode(threshold, v_reset)
    tau = 2.0 if exact else draw(st.floats(1.1, 20.0))
    decay_input = draw(st.booleans())
    return lambda _: neuron.LIFNode(tau, decay_input, threshold, v_reset)


@given(st.data(), layouts(), sj_neurons(exact=True), st.integers(1, 8), SEEDS)
def test_spikingjelly_equal(data: Any, layout: Any, make: Any, steps: int, seed: int):
    kind, shape = layout
    model = set_weights(build(kind, make, data.draw), seed, exact=True)
    check(model, shape, steps, seed, exact=True)


@given(st.data(), layouts(), sj_neurons(exact=False), st.integers(1, 12), SEEDS)
def test_spikingjelly_within_the_margin(data: Any, layout: Any, make: Any, steps: int, seed: int):
    kind, shape = layout
    model = set_weights(build(kind, make, data.draw), seed, exact=False)
    check(model, shape, steps, seed, exact=False)


@pytest.mark.parametrize("mode", ["s", "m"])
def test_spikingjelly_layers_and_step_modes(mode: str):
    model = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1), layer.BatchNorm2d(4), neuron.IFNode(0.5),
        layer.MaxPool2d(2), layer.Conv2d(4, 4, 3, bias=False),
        neuron.LIFNode(2.0, False, 0.5, None), layer.Upsample(scale_factor=2),
        layer.AvgPool2d(2), layer.AdaptiveAvgPool2d((1, 1)), layer.Dropout(0.5), layer.Flatten(),
        layer.Linear(4, 3), neuron.IFNode(0.5, None),
    )  # fmt: skip
    functional.set_step_mode(model, mode)
    set_weights(model, 3, exact=True)
    x = raster(3, 6, 2, (2, 8, 8))
    trace = run_library(model, x) if mode == "s" else run_multi_step(model, x)
    assert trace.spikes["5"].any()
    assert_equal(ss.from_torch(model, (2, 8, 8)), x, trace)


class Containers(nn.Module):
    """The multi-step containers, plain torch layers in them, and a readout over time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = layer.SeqToANNContainer(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
        self.spike = neuron.LIFNode(2.0, v_threshold=0.5, step_mode="m")
        self.block = layer.MultiStepContainer(nn.Conv2d(4, 2, 3), neuron.IFNode(0.5))
        self.fc = nn.Linear(2 * 16, 3)

    def forward(self, x: Any) -> Any:
        x = self.block(self.spike(self.stem(x)))
        x = x.view(x.shape[0], x.shape[1], -1)
        return self.fc(x).mean(0)


def test_spikingjelly_containers_and_a_mean_over_time():
    model = set_weights(Containers(), 5, exact=True)
    x = raster(5, 4, 2, (1, 8, 8))
    trace = run_multi_step(model, x)
    net = ss.from_torch(model, (1, 8, 8))
    assert net.readout == "mean"
    assert [n.name for n in net.nodes] == [
        "input", "stem.0", "stem.1", "spike", "block.0", "block.1", "view", "fc",
    ]  # fmt: skip
    assert trace.spikes["block.1"].any()
    assert_equal(net, x, trace)
    np.testing.assert_allclose(ss.reference.run(net, x).output, trace.out, atol=1e-6)


# snnTorch


@st.composite
def leaky(draw: Draw, exact: bool) -> Any:
    options: dict[str, Any] = {
        "reset_mechanism": draw(st.sampled_from(["subtract", "zero", "none"])),
        "reset_delay": draw(st.booleans()),
        "init_hidden": True,
        "graded_spikes_factor": draw(st.sampled_from([1.0, 0.5, 2.0])),
    }
    # Above 1 and below 0 the library clamps.
    beta = draw(st.sampled_from([0.5, 0.0, 1.0, 1.5, -0.5]) if exact else st.floats(0.05, 0.99))
    per_neuron = draw(st.booleans())

    def make(shape: tuple[int, ...]) -> nn.Module:
        threshold: Any = 0.5
        decay: Any = beta
        if per_neuron:
            # As torch broadcasts: over the last axis.
            threshold = torch.tensor([0.5, 0.75, 1.0] * 3)[: shape[-1]]
            decay = torch.tensor([beta, 0.5, 0.25] * 3)[: shape[-1]]
        return snn.Leaky(decay, threshold=threshold, **options)

    return make


@given(st.data(), layouts(), leaky(exact=True), st.integers(1, 6), SEEDS)
def test_snntorch_leaky_equal(data: Any, layout: Any, make: Any, steps: int, seed: int):
    kind, shape = layout
    model = set_weights(build(kind, make, data.draw), seed, exact=True)
    check(model, shape, steps, seed, exact=True)


@given(st.data(), layouts(), leaky(exact=False), st.integers(1, 12), SEEDS)
def test_snntorch_leaky_within_the_margin(data: Any, layout: Any, make: Any, steps: int, seed: int):
    kind, shape = layout
    model = set_weights(build(kind, make, data.draw), seed, exact=False)
    check(model, shape, steps, seed, exact=False)


class Threaded(nn.Module):
    """snnTorch's usual form: membranes go in and come out."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(5, 6)
        self.lif1 = snn.Leaky(0.5, learn_beta=True, learn_threshold=True)
        self.fc2 = nn.Linear(6, 3)
        self.lif2 = snn.Leaky(0.25, threshold=0.5, reset_mechanism="zero")

    def forward(self, x: Any, mem1: Any, mem2: Any) -> Any:
        spk1, mem1 = self.lif1(self.fc1(x), mem1)
        spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
        return mem1, spk1, mem2, spk2


def test_snntorch_membranes_threaded_through_forward():
    model = set_weights(Threaded(), 2, exact=True)
    x = raster(2, 8, 2, (5,))
    state = [torch.zeros(2, 6), torch.zeros(2, 3)]

    def step(module: Any, now: Any) -> Any:
        state[0], _, state[1], spk2 = module(now, *state)
        return spk2

    trace = run_library(model, x, step)
    net = ss.from_torch(model, (5,))
    assert net.output == "lif2"
    assert trace.spikes["lif2"].any()
    assert_equal(net, x, trace)
    # A membrane as the result is a readout, asked for by name.
    assert ss.from_torch(model, (5,), readout="last_v").readout == "last_v"


def test_snntorch_output_true_at_the_end_of_a_sequential():
    model = nn.Sequential(
        nn.Linear(5, 6), snn.Leaky(0.5, init_hidden=True), nn.Linear(6, 3),
        snn.Leaky(0.5, init_hidden=True, output=True),
    )  # fmt: skip
    set_weights(model, 2, exact=True)
    x = raster(4, 8, 2, (5,))
    assert_equal(ss.from_torch(model, (5,)), x, run_library(model, x))


def test_a_vector_acts_on_the_last_axis_as_in_torch():
    beta = torch.tensor([0.5, 0.25, 0.0, 1.0])
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), snn.Leaky(beta, init_hidden=True))
    set_weights(model, 6, exact=True)
    op: Any = ss.from_torch(model, (1, 4, 4)).node("1").op
    np.testing.assert_array_equal(op.alpha_mem, np.broadcast_to(beta.numpy(), (4, 4, 4)))
    x = raster(6, 6, 2, (1, 4, 4))
    assert_equal(ss.from_torch(model, (1, 4, 4)), x, run_library(model, x))
    model[1].beta = beta.reshape(1, 4, 1, 1)
    op = ss.from_torch(model, (1, 4, 4)).node("1").op
    np.testing.assert_array_equal(op.alpha_mem, beta.numpy())
    assert_equal(ss.from_torch(model, (1, 4, 4)), x, run_library(model, x))


# Forwards of one's own


class Branches(nn.Module):
    """Additions, a join on channels, pools as functions, reuse of a pool, reshapes."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(2, 4, 3, padding=1)
        self.n1 = ss.train.IF(0.5)
        self.b = nn.Conv2d(4, 4, 3, padding=1)
        self.n2 = ss.train.IF(0.5, reset="to_value")
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(8 * 4, 3)
        self.n3 = ss.train.LIF(0.5, alpha_mem=0.5)

    def forward(self, x: Any) -> Any:
        y = self.n1(self.a(x))
        z = self.n2(self.b(y))
        z = self.pool(torch.cat([z + y, y], dim=1))
        z = self.pool(nn.functional.interpolate(z, scale_factor=2))
        z = nn.functional.dropout(nn.functional.avg_pool2d(z, 2), training=self.training)
        return self.n3(self.fc(z.reshape(z.size(0), -1)))


@pytest.mark.parametrize("seed", range(5))
def test_a_forward_with_branches(seed: int):
    model = set_weights(Branches(), seed, exact=True)
    x = raster(seed, 6, 2, (2, 8, 8))
    net = ss.from_torch(model, (2, 8, 8))
    assert {"add", "cat", "pool", "interpolate", "pool_1", "avg_pool2d", "reshape"} <= {
        n.name for n in net.nodes
    }
    assert_equal(net, x, run_library(model, x))


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.spike = ss.train.IF(0.5)

    def forward(self, x: Any) -> Any:
        out = self.spike(self.conv(x))
        out += x
        return out


def test_names_are_the_paths_of_the_modules():
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), ss.train.IF(0.5)), Residual(2), Residual(2)
    )
    set_weights(model, 1, exact=True)
    net = ss.from_torch(model, (1, 4, 4))
    assert [n.name for n in net.nodes] == [
        "input", "0.0", "0.1", "1.conv", "1.spike", "1.add", "2.conv", "2.spike", "2.add",
    ]  # fmt: skip
    x = raster(1, 5, 2, (1, 4, 4))
    assert_equal(net, x, run_library(model, x))


def test_sew_resnet_of_spikingjelly_is_read_as_it_is():
    pytest.importorskip("torchvision")
    from spikingjelly.activation_based.model import sew_resnet

    model = sew_resnet.sew_resnet18(spiking_neuron=neuron.IFNode, cnf="ADD", num_classes=3)
    functional.set_step_mode(model, "m")
    net = ss.from_torch(model, (3, 32, 32))
    assert net.output == "fc"
    assert net.node("layer4.1.add").shape == (512, 1, 1)
    assert len([n for n in net.nodes if isinstance(n.op, ss.Neuron)]) == 20


# What the conversion leaves alone


def test_the_module_stays_as_it_was():
    class Starts(Threaded):
        def forward(self, x: Any) -> Any:
            self.seen = self.lif1.init_leaky()
            return super().forward(x, self.seen, self.lif2.reset_mem())[-1]

    model = Starts().train()
    model(torch.zeros(2, 5))
    memory = model.lif1.mem
    before = {k: v.clone() for k, v in model.state_dict().items()}
    attributes = {name: dict(m.__dict__) for name, m in model.named_modules()}
    net = ss.from_torch(model, (5,))
    assert all(m.training for m in model.modules())
    assert model.lif1.mem is memory
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    for name, module in model.named_modules():
        assert module.__dict__.keys() == attributes[name].keys()
    with torch.no_grad():
        model.fc1.weight.fill_(7.0)
    assert not (np.asarray(net.node("fc1").op.weight) == 7.0).any()


def test_numbers_are_rounded_once_and_keep_their_origin():
    model = nn.Sequential(nn.Linear(2, 2), neuron.LIFNode(3.0, v_threshold=0.7, v_reset=-0.1))
    op: Any = ss.from_torch(model, (2,)).node("1").op
    assert op.alpha_mem == np.float32(1 - 1 / 3)
    assert op.gain == np.float32(1 / 3)
    assert op.v_threshold == np.float32(0.7)
    assert op.v_leak == op.v_reset == op.v0 == np.float32(-0.1)
    assert op.meta["tau"] == 3.0
    assert op.meta["cell"] == "LIFNode"


def test_weights_behind_a_parametrisation_and_a_compiled_module():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)), ss.train.IF())
    net = ss.from_torch(model, (4,))
    np.testing.assert_array_equal(net.node("0").op.weight, model[0].weight.detach().numpy())
    compiled = ss.from_torch(torch.compile(model), (4,))
    assert [n.name for n in compiled.nodes] == [n.name for n in net.nodes] == ["input", "0", "1"]


def test_dt_and_readout_are_taken_over():
    net = ss.from_torch(nn.Sequential(nn.Linear(2, 2), ss.train.IF()), (2,), dt=1e-3)
    assert net.dt == 1e-3
    assert net.readout == "count"
    net = ss.from_torch(nn.Sequential(nn.Linear(2, 2)), 2, readout="mean")
    assert net.readout == "mean"
    assert net.output == "0"
