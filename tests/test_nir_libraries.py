"""Networks exported by their own libraries run as they did there, with the library's profile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("h5py")
nir = pytest.importorskip("nir")

from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from libraries import Trace, assert_equal, assert_within_margin, run_library  # noqa: E402
from spikesim.errors import FormatError  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::spikesim.nir.NirAssumption"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

T, N, IN, HID, OUT = 24, 2, 5, 7, 4

# Tracing and exporting a model takes its time.
FEW = settings(max_examples=settings().max_examples // 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


class Draws:
    """Numbers of a random model: on the dyadic grid, or anywhere."""

    def __init__(self, draw: Any) -> None:
        self.exact = draw(st.booleans(), label="exact")
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
        self.draw = draw

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def fill(self, model: nn.Module) -> None:
        """Weights and biases."""
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[2] in ("weight", "bias"):
                scale = 1.5 / np.sqrt(max(1, parameter[0].numel()))
                values = self.rng.normal(0.2, scale, tuple(parameter.shape))
                values = np.round(values * 256) / 256 if self.exact else values
                parameter.data = torch.from_numpy(values.astype(np.float32))

    def threshold(self) -> float:
        return float(self.rng.integers(64, 320)) / 256 if self.exact else self.rng.uniform(0.3, 1.2)

    def decay(self) -> float:
        return self.pick(0.0, 0.5, 0.75, 0.25) if self.exact else self.rng.uniform(0.05, 0.98)

    def x(self, *shape: int) -> Any:
        """A raster of spikes."""
        return (self.rng.random((T, N, *shape)) < 0.5).astype(np.float32)


draws = st.composite(lambda draw: Draws(draw))()


def held(draws: Draws, net: ss.Network, x: Any, trace: Trace, rename: Any = None) -> None:
    """The trace, by the library's names, equals what spikesim does."""
    if rename:
        trace = Trace(
            trace.out,
            {rename(n): v for n, v in trace.spikes.items()},
            {rename(n): v for n, v in trace.v.items()},
        )
    if draws.exact:
        assert_equal(net, x, trace)
    else:
        assert_within_margin(net, x, trace)


# snnTorch


def snntorch_file(model: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
    from snntorch.export_nir import export_to_nir

    with contextlib.redirect_stdout(None):
        graph = export_to_nir(model, torch.zeros(1, *shape), ignore_dims=[0])
    nir.write(path, graph)
    return path


MECHANISMS = [
    ("subtract", True),
    ("subtract", False),
    ("zero", True),
    ("zero", False),
    ("none", True),
]


def snntorch_options(mechanism: str, delay: bool) -> ss.NirOptions:
    reset = {"zero": "to_value"}.get(mechanism, mechanism)
    late = "same_step" if reset != "subtract" else "same_step_guarded"
    timing = None if reset == "none" else "next_step" if delay else late
    return ss.NirOptions(profile="snntorch", reset=reset, reset_timing=timing)


@pytest.mark.parametrize(("mechanism", "delay"), MECHANISMS)
@pytest.mark.parametrize("cell", ["Leaky", "Synaptic"])
@FEW
@given(draws=draws)
def test_snntorch(mechanism: str, delay: bool, cell: str, draws: Draws, folder: Path) -> None:
    snn = pytest.importorskip("snntorch")

    def make(n: int) -> Any:
        # Scalars are exported with shapes that no reader can fit to a layer.
        def vector(value: float) -> Any:
            return torch.full((n,), value)

        options = {
            "threshold": vector(draws.threshold()), "reset_mechanism": mechanism,
            "reset_delay": delay, "init_hidden": True,
        }  # fmt: skip
        if cell == "Leaky":
            return snn.Leaky(vector(draws.decay()), **options)
        return snn.Synaptic(vector(draws.decay()), vector(draws.decay()), **options)

    model = nn.Sequential(nn.Linear(IN, HID), make(HID), nn.Linear(HID, OUT, bias=False), make(OUT))
    draws.fill(model)
    with torch.no_grad():
        path = snntorch_file(model, (IN,), folder / "snntorch.nir")
    net = ss.load(path, nir=snntorch_options(mechanism, delay))
    x = draws.x(IN)
    held(draws, net, x, run_library(model, x))


@pytest.mark.parametrize(("mechanism", "delay"), [m for m in MECHANISMS if m[1]])
@pytest.mark.parametrize("cell", ["RLeaky", "RSynaptic"])
@FEW
@given(draws=draws)
def test_snntorch_recurrent(
    mechanism: str, delay: bool, cell: str, draws: Draws, folder: Path
) -> None:
    """The recurrent layer's bias acts from the first step."""
    snn = pytest.importorskip("snntorch")
    options = {
        "threshold": draws.threshold(), "reset_mechanism": mechanism, "reset_delay": delay,
        "init_hidden": True, "all_to_all": True, "linear_features": HID,
    }  # fmt: skip
    decays = [draws.decay()] + ([draws.decay()] if cell == "RSynaptic" else [])
    last = snn.Leaky(
        torch.full((OUT,), 0.5), threshold=torch.full((OUT,), 0.5), init_hidden=True,
        reset_mechanism=mechanism, reset_delay=delay,
    )  # fmt: skip
    recurrent = getattr(snn, cell)(*decays, **options)
    model = nn.Sequential(nn.Linear(IN, HID), recurrent, nn.Linear(HID, OUT), last)
    draws.fill(model)
    with torch.no_grad():
        path = snntorch_file(model, (IN,), folder / "recurrent.nir")
    net = ss.load(path, nir=snntorch_options(mechanism, delay))
    assert ("1.lif", "1.w_rec", 1) in net.edges
    x = draws.x(IN)
    draws.exact = False  # the cell adds the recurrent input after the other, with its own rounding
    held(draws, net, x, run_library(model, x), lambda name: "1.lif" if name == "1" else name)


def test_snntorch_default_network_needs_one_word(folder: Path) -> None:
    """Leaky's own default, a subtraction one step late, is not in the file: `reset` says it."""
    snn = pytest.importorskip("snntorch")
    make: Callable[[int], Any] = lambda n: snn.Leaky(  # noqa: E731
        torch.full((n,), 0.5), threshold=torch.full((n,), 0.5), init_hidden=True
    )
    model = nn.Sequential(nn.Linear(IN, HID), make(HID))
    rng = np.random.default_rng(3)
    model[0].weight.data = torch.from_numpy(
        rng.integers(0, 256, (HID, IN)).astype(np.float32) / 256
    )
    model[0].bias.data.zero_()
    with torch.no_grad():
        path = snntorch_file(model, (IN,), folder / "default.nir")
    net = ss.load(path, nir=ss.NirOptions("snntorch", reset="subtract"))
    x = (rng.random((T, N, IN)) < 0.5).astype(np.float32)
    assert_equal(net, x, run_library(model, x))


@pytest.mark.parametrize("cell", ["Leaky", "Synaptic"])
def test_snntorch_clamps_a_decay_below_0(cell: str, folder: Path) -> None:
    """Its cells take a β below 0 for 0; in a file that is a time constant of less than a step."""
    snn = pytest.importorskip("snntorch")
    rng = np.random.default_rng(5)
    decays = [torch.tensor([-0.25, 0.5, -2.0, -0.3]) for _ in range(1 + (cell == "Synaptic"))]
    made = getattr(snn, cell)(
        *decays, threshold=torch.full((4,), 0.5), init_hidden=True, reset_mechanism="zero"
    )
    model = nn.Sequential(nn.Linear(IN, 4), made)
    for parameter in model[0].parameters():
        values = rng.integers(-128, 256, tuple(parameter.shape)) / 256
        parameter.data = torch.from_numpy(values.astype(np.float32))
    with torch.no_grad():
        path = snntorch_file(model, (IN,), folder / "clamped.nir")
    net = ss.load(path, nir=snntorch_options("zero", True))
    x = (rng.random((T, N, IN)) < 0.5).astype(np.float32)
    assert_equal(net, x, run_library(model, x))


# SpikingJelly


@pytest.mark.parametrize(
    "cell", ["IFNode", "LIFNode", "LIFNode raw", "ParametricLIFNode", "CUBALIFNode"]
)
@FEW
@given(draws=draws)
def test_spikingjelly(cell: str, draws: Draws, folder: Path) -> None:
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    from spikingjelly.activation_based import functional, layer
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    v_reset = draws.pick(0.0, -0.25)

    def make() -> Any:
        fields = {"v_threshold": draws.threshold(), "v_reset": v_reset}
        tau = draws.pick(2.0, 4.0) if draws.exact else draws.rng.uniform(1.2, 9)
        if cell == "IFNode":
            return neuron.IFNode(**fields)
        if cell == "ParametricLIFNode":
            return neuron.ParametricLIFNode(init_tau=tau, **fields)
        if cell == "CUBALIFNode":
            # Its exporter says v_leak = 0, and so do its neurons.
            return neuron.CUBALIFNode(draws.decay(), draws.decay(), **fields)
        return neuron.LIFNode(tau=tau, decay_input=cell == "LIFNode", **fields)

    model = nn.Sequential(
        layer.Conv2d(2, 3, 3, padding=1), make(), layer.AvgPool2d(2), layer.Flatten(),
        layer.Linear(12, OUT), make(),
    )  # fmt: skip
    draws.fill(model)
    x = draws.x(2, 4, 4)
    functional.set_step_mode(model, "s")
    path = folder / "sj.nir"
    graph = export_to_nir(model, torch.zeros(1, 2, 4, 4))
    functional.reset_net(model)
    nir.write(path, graph)
    net = ss.load(path, nir=ss.NirOptions(profile="spikingjelly"))
    if "LIFNode" in cell and cell != "CUBALIFNode":
        draws.exact = False  # v + (x - v)/τ is not (1 - 1/τ)·v + x/τ to the last bit
    held(draws, net, x, run_library(model, x), lambda name: f"_{name}")


# Norse


def stateful(model: Any, x: Any, cells: dict[str, int]) -> Trace:
    """Runs a Norse SequentialState."""
    outs, state = [], None
    spikes: dict[str, list[Any]] = {name: [] for name in cells}
    v: dict[str, list[Any]] = {name: [] for name in cells}
    values: dict[str, Any] = {}
    hooks = [
        model[i].register_forward_hook(lambda m, a, out, n=n: values.__setitem__(n, out[0]))
        for n, i in cells.items()
    ]
    with torch.no_grad():
        for now in torch.from_numpy(x):
            out, state = model(now, state)
            outs.append(out)
            for name, i in cells.items():
                spikes[name].append(values[name].clone())
                v[name].append(state[i].v.clone())
    for hook in hooks:
        hook.remove()
    stack = lambda d: {n: torch.stack(t).numpy() for n, t in d.items()}  # noqa: E731
    return Trace(torch.stack(outs).numpy(), stack(spikes), stack(v))


@pytest.mark.parametrize("cell", ["LIFCell", "LIFBoxCell", "IAFCell"])
@FEW
@given(draws=draws)
def test_norse(cell: str, draws: Draws, folder: Path) -> None:
    norse = pytest.importorskip("norse.torch")
    from norse.torch.utils.export_nir import to_nir

    dt = 2.0**-10 if draws.exact else 1e-3
    leak = draws.pick(0.0, -0.25)

    def rate() -> Any:
        return torch.tensor(
            draws.pick(0.5, 0.25) / dt if draws.exact else draws.rng.uniform(50, 900)
        )

    def make(n: int) -> Any:
        theta = torch.tensor(draws.threshold())
        if cell == "IAFCell":
            return norse.IAFCell(norse.IAFParameters(v_th=theta), dt=dt)
        fields = {"tau_mem_inv": rate(), "v_leak": torch.tensor(leak), "v_th": theta}
        if cell == "LIFBoxCell":
            return norse.LIFBoxCell(norse.LIFBoxParameters(**fields), dt=dt)
        return norse.LIFCell(norse.LIFParameters(tau_syn_inv=rate(), **fields), dt=dt)

    model = norse.SequentialState(nn.Linear(IN, HID), make(HID), nn.Linear(HID, OUT), make(OUT))
    draws.fill(model)
    path = folder / "norse.nir"
    graph = to_nir(model, torch.zeros(1, IN), dt=dt)
    nir.write(path, graph, compression=None)  # which refuses scalars
    net = ss.load(path, nir=ss.NirOptions(profile="norse", dt=None if dt == 1e-3 else dt))
    assert net.input_shape == (IN,)  # the batch that the exporter left is gone
    x = draws.x(IN)
    names = [n.name for n in net.nodes if n.kind == "neuron"]
    trace = stateful(model, x, {names[0]: 1, names[1]: 3})
    if cell == "IAFCell":
        held(draws, net, x, trace)
    else:
        # v + r·((leak - v) + x) is not leak + (1-r)·(v - leak) + r·x to the last bit.
        assert assert_within_margin(net, x, trace) > 0


def leaky(tau: list[float], folder: Path) -> Path:
    one = np.ones(len(tau))
    made = nir.LIF(tau=np.array(tau), r=one, v_leak=0 * one, v_threshold=one)
    ends = nir.Input([len(tau)]), nir.Output([len(tau)])
    nir.write(folder / "leaky.nir", nir.NIRGraph.from_list(ends[0], made, ends[1]))
    return folder / "leaky.nir"


@pytest.mark.parametrize(
    ("tau", "readings"),
    [
        # True seconds, which as dt·τ were a neuron that hardly decays.
        ([0.01, 0.02], "a time constant of 10 s, 10000 steps, .* one of 0.01 s, 10 steps"),
        # Neither reading decays by less than all there is.
        ([1e-5, 1e-7], "a time constant of 0.0001 s, 0.1 steps, .* one of 1e-07 s, 0.0001 steps"),
    ],
)
def test_norse_is_not_taken_for_what_it_may_not_be(
    tau: list[float], readings: str, tmp_path: Path
) -> None:
    path = leaky(tau, tmp_path)
    with pytest.raises(FormatError, match=rf"leaky\.nir: tau of node .* {readings}, expected"):
        ss.load(path, nir=ss.NirOptions("norse"))
    for unit, factor in (("seconds", 1.0), ("dt*tau", 1e3)):
        net = ss.load(path, nir=ss.NirOptions("norse", tau=unit))
        op: Any = net.node(net.output).op
        np.testing.assert_allclose(op.alpha_mem, 1 - 1e-3 / (np.array(tau) * factor), rtol=1e-6)


def test_norse_says_what_it_undoes(tmp_path: Path) -> None:
    # A slow neuron beside one that only dt·τ explains: no doubt.
    path = leaky([1e-5, 0.002], tmp_path)
    with pytest.warns(ss.NirAssumption, match=r'tau="dt\*tau".*Norse 1.1.0 writes dt·τ'):
        net = ss.load(path, nir=ss.NirOptions("norse"))
    op: Any = net.node(net.output).op
    np.testing.assert_allclose(op.alpha_mem, [1 - 0.1, 1 - 0.0005], rtol=1e-6)


# Sinabs


@pytest.mark.parametrize("cell", ["IAF", "LIF", "LIF raw"])
@FEW
@given(draws=draws)
def test_sinabs(cell: str, draws: Draws, folder: Path) -> None:
    sl = pytest.importorskip("sinabs.layers")
    from sinabs.nir import to_nir

    def make() -> Any:
        theta = torch.tensor(draws.threshold())
        if cell == "IAF":
            return sl.IAF(spike_threshold=theta)
        return sl.LIF(
            tau_mem=float(draws.rng.uniform(1, 20)), spike_threshold=theta,
            norm_input=cell == "LIF",
        )  # fmt: skip

    model = nn.Sequential(nn.Linear(IN, HID), make(), nn.Linear(HID, OUT), make())
    draws.fill(model)
    x = draws.x(IN)
    batch = torch.from_numpy(x.transpose(1, 0, 2).copy())  # (B, T, …)
    with torch.no_grad():
        model(batch)  # its layers learn their shapes by running
        path = folder / "sinabs.nir"
        graph = to_nir(model, batch)
        nir.write(path, graph, compression=None)  # which refuses scalars
        trace = sinabs_trace(model, batch)
    options = ss.NirOptions(
        profile="sinabs", integration="exponential" if cell == "LIF raw" else None
    )
    net = ss.load(path, nir=options)
    assert net.input_shape == (IN,)
    names = [n.name for n in net.nodes if n.kind == "neuron"]
    trace.spikes = dict(zip(names, trace.spikes.values(), strict=True))
    trace.v = dict(zip(names, trace.v.values(), strict=True))
    if cell == "IAF" and draws.exact:
        assert_equal(net, x, trace)
    else:
        assert_within_margin(net, x, trace)


def sinabs_trace(model: Any, batch: Any) -> Trace:
    spikes, v = {}, {}
    value = batch
    for i, module in enumerate(model):
        if hasattr(module, "reset_states"):
            module.reset_states()
            module.record_states = True
            value = module(value)
            spikes[str(i)] = value.numpy().transpose(1, 0, 2).copy()
            v[str(i)] = module.recordings["v_mem"].numpy().transpose(1, 0, 2).copy()
        else:
            value = module(value)
    return Trace(value.numpy().transpose(1, 0, 2), spikes, v)
