"""from_torch: what every library's own run says, step by step, is what the network does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")

from spikingjelly.activation_based import functional, neuron  # noqa: E402
from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from libraries import assert_equal, run_library, run_multi_step  # noqa: E402
from torch_models import SEEDS, build, check, layouts, raster, set_weights  # noqa: E402

Draw = Any


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


# Forwards of one's own


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
            # A loop of one step, which may start from zero.
            self.seen = self.lif1.init_leaky()
            return torch.stack([super().forward(x, self.seen, self.lif2.reset_mem())[-1]])

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
