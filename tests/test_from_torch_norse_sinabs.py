"""from_torch: Norse's and Sinabs' containers, layouts and states, held to the libraries."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    norse = pytest.importorskip("norse.torch")
    layers = pytest.importorskip("sinabs.layers")
    import sinabs.from_torch

from norse.torch.module.exp_filter import ExpFilter  # noqa: E402
from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from engines import Engine, Reference  # noqa: E402
from libraries import assert_equal, assert_within_margin  # noqa: E402
from norse_sinabs import run_norse, run_sinabs  # noqa: E402
from test_from_torch import raster, set_weights  # noqa: E402
from test_from_torch_norse import DT, fill, plain  # noqa: E402

Call = Any


def norse_holds(
    model: nn.Module, shape: tuple[int, ...], sequence: bool = False, seed: int = 2
) -> ss.Network:
    """The network of a model, which runs as the model does and fires."""
    fill(model.eval(), seed, exact=True)
    x = raster(seed, 8, 2, shape)
    trace = run_norse(model, x, sequence)
    assert all(spikes.any() for spikes in trace.spikes.values())
    net = ss.from_torch(model, shape)
    assert_equal(net, x, trace)
    return net


def sinabs_holds(
    model: nn.Module, shape: tuple[int, ...], squeezed: bool = False, seed: int = 2
) -> ss.Network:
    """The same of Sinabs."""
    set_weights(model, seed, exact=True)
    x = raster(seed, 8, 2, shape)
    trace = run_sinabs(model, x, squeezed)
    assert all(spikes.any() for spikes in trace.spikes.values())
    net = ss.from_torch(model, shape)
    assert_equal(net, x, trace)
    return net


# Norse


def cell(name: str, size: int) -> nn.Module:
    return plain(name)((size,))


class Threaded(nn.Module):
    """States go in and come out, one of them that of a container."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 6)
        self.lif = cell("LIFCell", 6)
        self.tail = norse.SequentialState(
            nn.Linear(6, 4), cell("LIFBoxCell", 4), nn.Linear(4, 3), cell("LICell", 3)
        )
        self.regularise = norse.RegularizationCell()

    def forward(self, x: Any, first: Any = None, tail: Any = None) -> Any:
        z, first = self.lif(self.fc(x), first)
        z, _ = self.regularise(z, first)
        v, tail = self.tail(z, tail)
        return v, first, tail


def test_norse_states_threaded_through_forward():
    net = norse_holds(Threaded(), (5,))
    assert [n.name for n in net.nodes] == [
        "input", "fc", "lif", "tail.0", "tail.1", "tail.2", "tail.3",
    ]  # fmt: skip
    assert net.output == "tail.3"


def test_norse_containers_in_containers():
    model = norse.SequentialState(
        nn.Linear(5, 6),
        norse.SequentialState(cell("LIFCell", 6), nn.Linear(6, 6), cell("LIFRecurrentCell", 6)),
        nn.Linear(6, 3),
        cell("LICell", 3),
        return_hidden=False,
    )
    net = norse_holds(model, (5,))
    assert [n.name for n in net.nodes] == [
        "input", "0", "1.0", "1.1", "1.2.input_weights", "1.2", "1.2.recurrent_weights", "2", "3",
    ]  # fmt: skip


def test_norse_return_hidden():
    model = norse.SequentialState(nn.Linear(5, 4), cell("IAFCell", 4), return_hidden=True)
    fill(model, 2, exact=True)
    assert ss.from_torch(model, (5,)).output == "1"


def test_norse_recurrent_sequential():
    model = norse.RecurrentSequential(
        nn.Linear(4, 5), cell("LIFBoxCell", 5), nn.Linear(5, 4), cell("IAFCell", 4)
    )
    net = norse_holds(model, (4,))
    assert ("module.3", "add", 1) in {(e.src, e.dst, e.delay) for e in net.edges}
    inner = norse.RecurrentSequential(
        nn.Linear(4, 4), cell("IAFCell", 4), nn.Linear(4, 2), output_modules=1
    )
    assert norse_holds(norse.SequentialState(nn.Linear(3, 4), inner), (3,)).output == "1.module.1"


def test_norse_lift_and_its_state():
    # The pair that a lifted cell returns is what the next Lift takes.
    model = norse.SequentialState(
        norse.Lift(nn.Conv2d(1, 2, 3)), norse.Lift(cell("LIFCell", 4)),
        norse.Lift(nn.Sequential(nn.AvgPool2d(2), nn.Flatten())), nn.Linear(8, 3), cell("LIF", 3),
    )  # fmt: skip
    net = norse_holds_lifted(model)
    assert "1.lifted_module" in {n.name for n in net.nodes}
    inner = norse.SequentialState(nn.Conv2d(1, 2, 3), cell("LIFCell", 4), nn.AvgPool2d(2))
    net = norse_holds_lifted(norse.Lift(inner))
    assert [n.name for n in net.nodes][1:] == [f"lifted_module.{index}" for index in range(3)]


def norse_holds_lifted(model: nn.Module) -> ss.Network:
    """A lifted cell is called step by step, the others with all of them."""
    fill(model.eval(), 4, exact=True)
    x = raster(4, 8, 2, (1, 6, 6))
    trace = run_norse(model, x, sequence=True)
    net = ss.from_torch(model, (1, 6, 6))
    assert all(spikes.any() for spikes in trace.spikes.values())
    assert_equal(net, x, trace)
    return net


def test_norse_lconv_and_filter():
    model = norse.SequentialState(
        norse.LConv2d(2, 4, 3, padding=1, groups=2), cell("IAF", 4), nn.Flatten(2), ExpFilter(64, 3)
    )
    set_weights(model, 1, exact=True)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        weight = torch.from_numpy(rng.integers(-8, 17, tuple(model[0].weight.shape)) / 16)
        model[0].weight.copy_(weight)
    model[3].parameter = 0.5
    x = raster(1, 6, 2, (2, 4, 4))
    with torch.no_grad():
        out, _ = model(torch.from_numpy(x))
    net = ss.from_torch(model, (2, 4, 4))
    trace = run_norse(model, x, sequence=True)
    assert trace.spikes["1"].any()
    trace.v["3"] = out.numpy()
    assert_equal(net, x, trace)


def test_norse_parameters_of_python_and_every_surrogate():
    for method in ("super", "heaviside", "triangle", "tanh", "circ", "heavi_erfc"):
        p = norse.LIFParameters(
            tau_syn_inv=512, tau_mem_inv=512.0, v_leak=0.0, v_th=0.25, v_reset=-0.25,
            method=method, alpha=1.0,
        )  # fmt: skip
        norse_holds(norse.SequentialState(nn.Linear(5, 4), norse.LIFCell(p, dt=DT)), (5,))


def test_norse_rates_above_a_step():
    # tau_mem_inv·dt = 1.5: the membrane swings over its leak.
    p = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(1536.0), v_th=torch.tensor(0.5))
    net = norse_holds(norse.SequentialState(nn.Linear(5, 4), norse.LIFBoxCell(p, dt=DT)), (5,))
    assert net.node("1").op.alpha_mem == -0.5


def test_norse_keeps_where_its_numbers_came_from():
    model = norse.SequentialState(nn.Linear(5, 4), norse.LIFCell())
    op: Any = ss.from_torch(model, (5,)).node("1").op
    assert op.meta == {
        "library": "norse", "cell": "LIFCell", "dt": 1e-3, "discretisation": "euler",
    }  # fmt: skip
    assert op.alpha_mem == np.float32(1 - 1e-3 * np.float64(np.float32(100.0)))


# Sinabs


def iaf(**given: Any) -> Any:
    return layers.IAF(spike_threshold=torch.tensor(0.5), **given)


def iaf_squeezed(**given: Any) -> Any:
    return layers.IAFSqueeze(spike_threshold=torch.tensor(0.5), batch_size=2, **given)


def test_sinabs_layouts_change_on_the_way():
    model = nn.Sequential(
        layers.FlattenTime(), nn.Conv2d(1, 2, 3), iaf_squeezed(), layers.SumPool2d(2),
        nn.Flatten(), layers.UnflattenTime(2), nn.Linear(8, 4), iaf(),
    )  # fmt: skip
    net = sinabs_holds(model, (1, 6, 6))
    assert [n.name for n in net.nodes] == ["input", "1", "2", "3", "4", "6", "7"]
    folded = nn.Sequential(
        nn.Conv2d(1, 2, 3), iaf_squeezed(), nn.Flatten(), layers.UnflattenTime(2),
        nn.Linear(32, 4), iaf(),
    )  # fmt: skip
    sinabs_holds(folded, (1, 6, 6), squeezed=True)


class Branches(nn.Module):
    """A merge, an image layer repeated, a readout over the time axis, which is the second."""

    def __init__(self) -> None:
        super().__init__()
        self.a = layers.Repeat(nn.Conv2d(1, 2, 3, padding=1))
        self.n1, self.n2 = iaf(), iaf()
        self.b = layers.Repeat(nn.Conv2d(2, 2, 3, padding=1))
        self.merge = layers.Merge()
        self.fc = nn.Linear(32, 3)

    def forward(self, x: Any) -> Any:
        one = self.n1(self.a(x))
        two = self.n2(self.b(one))
        return self.fc(self.merge(one, two).flatten(2)).mean(1)


def test_sinabs_merge_and_a_mean_over_time():
    model = set_weights(Branches(), 3, exact=True)
    x = raster(3, 4, 2, (1, 4, 4))
    net = ss.from_torch(model, (1, 4, 4))
    assert net.readout == "mean"
    with torch.no_grad():
        out = model(torch.from_numpy(x).transpose(0, 1)).numpy()
    np.testing.assert_allclose(ss.reference.run(net, x).output, out, atol=1e-6)
    first = FirstAxis(nn.Sequential(nn.Linear(4, 4), iaf()))
    with pytest.raises(
        ss.errors.UnsupportedError, match=r"mean: axis 0 is the batch axis, expected"
    ):
        ss.from_torch(first, (4,))


class FirstAxis(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Any) -> Any:
        return self.body(x).mean(0)


def test_sinabs_converted_network():
    ann = nn.Sequential(
        nn.Conv2d(1, 2, 3, bias=False), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 4),
        nn.ReLU(), nn.Linear(4, 3),
    )  # fmt: skip
    network = sinabs.from_torch.from_model(
        set_weights(ann, 1, exact=True), input_shape=(1, 6, 6), batch_size=2,
        spike_threshold=torch.tensor(0.25), min_v_mem=-0.5, add_spiking_output=True,
    )  # fmt: skip
    net = sinabs_holds(network, (1, 6, 6), squeezed=True)
    assert [n.name for n in net.nodes][1:] == [
        "spiking_model.0", "spiking_model.1", "spiking_model.2", "spiking_model.3",
        "spiking_model.4", "spiking_model.5", "spiking_model.6", "spiking_model.spike_output",
    ]  # fmt: skip
    op: Any = net.node("spiking_model.1").op
    assert op.v_min == -0.5


def test_sinabs_starts_from_zero_whatever_the_layer_holds():
    model = set_weights(nn.Sequential(nn.Linear(5, 4), iaf()), 2, exact=True)
    before = ss.from_torch(model, (5,))
    with torch.no_grad():
        model(torch.ones(3, 4, 5))
    assert model[1].v_mem.abs().sum() > 0
    after = ss.from_torch(model, (5,))
    x = raster(2, 6, 2, (5,))
    want = ss.reference.run(before, x, record=("v",)).v["1"]
    np.testing.assert_array_equal(ss.reference.run(after, x, record=("v",)).v["1"], want)


def test_sinabs_neuron_without_a_spike_function():
    model = nn.Sequential(
        nn.Linear(5, 4), layers.LIF(tau_mem=3.0, tau_syn=2.0, spike_fn=None, reset_fn=None)
    )
    net = sinabs_holds(model, (5,))
    assert net.node("1").op.spikes == "none"


@pytest.mark.parametrize("shape", [(3, 4), (2, 2, 3)])
@pytest.mark.parametrize("unflatten", [True, False])
def test_sinabs_a_linear_way_back_over_axes_of_space(shape: Any, unflatten: bool):
    count = int(np.prod(shape))
    parts = [nn.Flatten(), nn.Linear(count, count)]
    parts += [nn.Unflatten(1, shape)] if unflatten else []
    cell = layers.IAFRecurrent(
        rec_connect=nn.Sequential(*parts), spike_threshold=torch.tensor(1.0),
        spike_fn=sinabs.activation.SingleSpike,
    )  # fmt: skip
    conv = nn.Conv1d(1, 3, 1) if len(shape) == 2 else nn.Conv2d(1, 2, 1)
    net = sinabs_holds(nn.Sequential(layers.Repeat(conv), cell), (1, *shape[1:]))
    x = raster(2, 8, 2, (1, *shape[1:]))
    result = ss.reference.run(net, x, record=("spikes",))
    # As many synaptic operations as spikes times neurons, though it is many convolutions.
    back = [n.name for n in net.nodes if n.name.startswith("1.rec") and "cat" not in n.name]
    ops = sum(result.counts["synops_with_zeros"][name].sum() for name in back)
    assert ops == result.spikes["1"][:-1].sum() * count or ops == result.spikes["1"].sum() * count


@pytest.mark.parametrize("kernel", [2, (3, 2), (1, 3)])
@pytest.mark.parametrize("stride", [None, 1, (2, 1)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_sinabs_sum_pool(kernel: Any, stride: Any, ceil_mode: bool):
    pool = layers.SumPool2d(kernel, stride, ceil_mode)
    x = raster(1, 3, 2, (2, 7, 6))
    model = nn.Sequential(pool, iaf_squeezed())
    try:
        net = ss.from_torch(model, (2, 7, 6))
    except ss.errors.UnsupportedError:
        assert ceil_mode
        return
    trace = run_sinabs(model, x, squeezed=True)
    # The library multiplies a mean; its roundings move no count of spikes off one half.
    assert_within_margin(net, x, trace)


def test_sinabs_sizes_of_squeezed_layers():
    two = nn.Sequential(
        nn.Linear(4, 4), layers.IAFSqueeze(batch_size=2, num_timesteps=5), nn.Linear(4, 3),
        layers.IAFSqueeze(num_timesteps=5),
    )  # fmt: skip
    assert ss.from_torch(two, (4,)).output == "3"
    two[3].num_timesteps = 10
    with pytest.raises(ss.errors.UnsupportedError, match="3: num_timesteps is 10 while that of 1"):
        ss.from_torch(two, (4,))


class NorseLoop(nn.Module):
    """The usual form: states begin as None and go from one iteration to the next."""

    def __init__(self, container: bool, steps: int | None) -> None:
        super().__init__()
        self.container, self.steps = container, steps
        layers = nn.Linear(6, 8), norse.LIFCell(), nn.Linear(8, 4), norse.LIFBoxCell()
        self.fc1, self.lif1, self.fc2, self.lif2 = layers
        self.net = norse.SequentialState(*layers)

    def forward(self, x: Any) -> Any:
        s1 = s2 = s = None
        record = []
        for t in range(self.steps or x.shape[0]):
            now = x if self.steps else x[t]
            if self.container:
                z, s = self.net(now, s)
            else:
                z, s1 = self.lif1(self.fc1(now), s1)
                z, s2 = self.lif2(self.fc2(z), s2)
            record.append(z)
        return torch.stack(record)


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("constant", [False, True])
def test_norse_in_a_loop_over_time(container: bool, constant: bool):
    torch.manual_seed(3)
    model = NorseLoop(container, 7 if constant else None).eval()
    for parameter in model.parameters():
        parameter.data = torch.round(parameter.data.abs() * 8192) / 256
    x = torch.randint(0, 5, (3, 6) if constant else (7, 3, 6)).float()
    with torch.no_grad():
        out = model(x).numpy()
    assert out.any()
    net = ss.from_torch(model, (6,), n_steps=None if constant else 7)
    for make in (Reference, Engine):
        got = make(net).run(x.numpy(), 7 if constant else None)
        np.testing.assert_array_equal(got.spikes[net.output], out)
