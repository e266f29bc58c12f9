"""from_torch names what it cannot say of Norse and Sinabs; every neuron is imported or refused."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    norse = pytest.importorskip("norse.torch")
    layers = pytest.importorskip("sinabs.layers")

import sinabs.network  # noqa: E402
from sinabs.activation import MaxSpike, MembraneReset, MembraneSubtract, SingleSpike  # noqa: E402
from sinabs.layers import alif  # noqa: E402
from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from test_from_torch_norse import SEQUENCE, SINGLE, plain  # noqa: E402
from test_from_torch_sinabs import NEURONS, SQUEEZED  # noqa: E402

# What is no neuron of Norse but takes part in a network.
NORSE_OTHERS = {
    "LConv2d", "Lift", "RegularizationCell", "SequentialState", "RecurrentSequential",
}  # fmt: skip
# How those are made that are refused; the others take no argument or (2, 2). None: not by its
# own __init__, which asks for much that a refusal does not look at.
MADE: dict[str, Any] = {
    **dict.fromkeys(("Izhikevich", "IzhikevichCell"), lambda cls: cls(norse.tonic_spiking)),
    **dict.fromkeys(
        ("IzhikevichRecurrent", "IzhikevichRecurrentCell"),
        lambda cls: cls(2, 2, norse.tonic_spiking),
    ),
    "ConstantCurrentLIFEncoder": lambda cls: cls(3),
    "PoissonEncoder": lambda cls: cls(3),
    "SignedPoissonEncoder": lambda cls: cls(3),
    "SpikeLatencyLIFEncoder": lambda cls: cls(3),
    "PopulationEncoder": lambda cls: cls(2),
    "SpikeLatencyEncoder": lambda cls: cls(),
    "SpikesToTimesDecoder": lambda cls: cls(),
    "SpatialReceptiveField2d": None,
    "ParameterizedSpatialReceptiveField2d": None,
    "SampledSpatialReceptiveField2d": None,
    "TemporalReceptiveField": None,
}


def norse_modules() -> list[str]:
    """Every module class that norse.torch offers, its models (VGG, …) apart."""
    found = {
        name
        for name, cls in vars(norse).items()
        if inspect.isclass(cls)
        and issubclass(cls, nn.Module)
        and cls.__module__.startswith("norse.torch.module")
    }
    return sorted(found)


def test_norse_offers_what_is_known_here():
    found = set(norse_modules())
    assert found >= set(SINGLE) | set(SEQUENCE) | NORSE_OTHERS
    assert len(found) >= 48


@pytest.mark.parametrize("name", norse_modules())
def test_every_norse_module_is_imported_or_refused_by_name(name: str):
    """What is imported is held to Norse by tests/test_from_torch_norse.py, name by name."""
    if name in NORSE_OTHERS:
        return
    cls = getattr(norse, name)
    if name in (*SINGLE, *SEQUENCE):
        module = plain(name)((2,))
        assert ss.from_torch(module, (2,)).output == name.lower()
        return
    make = MADE.get(name, lambda cls: cls(2, 2) if "Recurrent" in name or named(cls) else cls())
    module = object.__new__(cls) if make is None else make(cls)
    if make is None:
        nn.Module.__init__(module)
    with pytest.raises(ss.errors.UnsupportedError, match=f"Norse's {name} is not supported"):
        ss.from_torch(module, (2,))


def named(cls: Any) -> bool:
    """Whether a class asks for the number of its inputs."""
    first = list(inspect.signature(cls.__init__).parameters)[1:2]
    return first == ["input_size"]


def sinabs_modules() -> list[str]:
    """Every module class of sinabs.layers."""
    found = {
        name
        for space in (layers, alif)
        for name, cls in vars(space).items()
        if inspect.isclass(cls) and issubclass(cls, nn.Module) and "sinabs" in cls.__module__
    }
    return sorted(found - {"StatefulLayer"})


HELD = {*NEURONS, *(f"{name}Squeeze" for name in SQUEEZED)}
# Held in tests/test_from_torch_norse_sinabs.py, or a case of REFUSED below.
SINABS_OTHERS = {
    "Merge", "SumPool2d", "FlattenTime", "UnflattenTime", "Repeat", "Cropping2dLayer",
    "ChannelShift", "QuantizeLayer",
}  # fmt: skip


@pytest.mark.parametrize("name", sinabs_modules())
def test_every_sinabs_module_is_imported_or_refused_by_name(name: str):
    if name in SINABS_OTHERS:
        return
    cls = getattr(layers, name, None) or getattr(alif, name)
    if name in HELD:
        made: dict[str, Any] = {}
        if not name.startswith("IAF"):
            made["tau_mem"] = torch.tensor(5.0)
        if name.startswith("ALIF"):
            made["tau_adapt"] = torch.tensor(5.0)
        if name.endswith("Squeeze"):
            made["batch_size"] = 1
        if name.endswith("Recurrent"):
            made["rec_connect"] = nn.Linear(2, 2)
        assert ss.from_torch(cls(**made), (2,)).output == name.lower()
        return
    arguments = {
        "Img2SpikeLayer": ((1, 4, 4),),
        "Sig2SpikeLayer": (2,),
        "SpikingMaxPooling2dLayer": ((2, 2),),
    }
    module = cls(*arguments.get(name, ()))
    with pytest.raises(ss.errors.UnsupportedError, match=f"Sinabs' {name} is not supported"):
        ss.from_torch(module, (1, 4, 4))


# What options and calls are refused


def forward(body: Any, **modules: nn.Module) -> nn.Module:
    """A module with these children whose forward is `body(self, x, …)`."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, module in modules.items():
                self.add_module(name, module)

    Model.forward = body
    return Model()


def crossed(self: Any, x: Any, s1: Any = None, s2: Any = None) -> Any:
    z, s1 = self.a(x, s1)
    z, s2 = self.b(z, s2)
    return z, s2, s1


def same_twice(self: Any, x: Any, s: Any = None) -> Any:
    z, one = self.a(x, s)
    z, two = self.b(z, s)
    return z, one, two


def anothers(self: Any, x: Any, s: Any = None) -> Any:
    z, one = self.a(x, s)
    z, two = self.b(z, one)
    return z, one, two


def read(self: Any, x: Any, s: Any = None) -> Any:
    z, s = self.a(x, s)
    return z + s.v, s


def invented(self: Any, x: Any, s: Any = None) -> Any:
    return self.a(x, norse.LIFFeedForwardState(torch.zeros(2), torch.zeros(2)))


def forgotten(self: Any, x: Any) -> Any:
    return self.a(x)[0]


def inner(self: Any, x: Any, memory: Any = None) -> Any:
    return self.a(x, memory)[0]


def pair(self: Any, x: Any, s: Any = None) -> Any:
    return self.b(self.a(x, s))


class OwnStep(norse.LIFCell):
    def forward(self, x: Any, state: Any = None) -> Any:
        return super().forward(2 * x, state)


class OwnStart(norse.LIFCell):
    def initial_state(self, x: Any) -> Any:
        return norse.LIFFeedForwardState(torch.ones_like(x), torch.ones_like(x))


class OwnAlpha(layers.LIF):
    @property
    def alpha_mem_calculated(self) -> Any:
        return torch.tensor(0.5)


class OwnReset(MembraneSubtract):
    pass


def changed(module: Any, **values: Any) -> Any:
    for name, value in values.items():
        setattr(module, name, value)
    return module


def lif(**p: Any) -> nn.Module:
    return norse.LIFCell(norse.LIFParameters(**p))


def sequential(*parts: nn.Module) -> nn.Module:
    return norse.SequentialState(*parts)


def custom_reset(z: Any, v: Any, reset: Any, th: Any) -> Any:
    return v


def tail(**given: Any) -> nn.Module:
    return layers.IAF(**given)


RHO = norse.LIFRefracParameters(rho_reset=torch.tensor([1.0, 2.0]))
MAP = (2, 4, 4)
REFUSED: dict[str, tuple[Any, Any, str]] = {
    # Norse
    "crossed states": (
        lambda: forward(crossed, a=norse.LIFCell(), b=norse.LIFCell()), (2,),
        "a: its membrane argument is the argument 's1' of forward that belongs to b",
    ),
    "crossed containers": (
        lambda: forward(
            crossed, a=sequential(nn.Linear(2, 2), norse.LIFCell()), b=sequential(norse.LIFCell())
        ), (2,),
        r"a.1: its membrane argument is the argument 's1\[1\]' of forward that belongs to b.0",
    ),
    "one state for two": (
        lambda: forward(same_twice, a=norse.LIFCell(), b=norse.LIFCell()), (2,),
        "b: its membrane argument is the argument 's' of forward that belongs to a",
    ),
    "one state for two containers": (
        lambda: forward(same_twice, a=sequential(norse.LIFCell()), b=sequential(norse.LIFCell())),
        (2,), "b: its membrane argument is the argument 's' of forward that belongs to a",
    ),
    "the state of another": (
        lambda: forward(anothers, a=norse.LIFCell(), b=norse.LIFCell()), (2,),
        "b: its membrane argument is the state that belongs to a",
    ),
    "reads a state": (
        lambda: forward(read, a=norse.LIFCell()), (2,), "reads 'v' of the state of a neuron",
    ),
    "a state out of nothing": (
        lambda: forward(invented, a=norse.LIFCell()), (2,), "a: its state is computed in forward",
    ),
    "a state forgotten": (
        lambda: forward(forgotten, a=norse.LIFCell()), (2,),
        "a: LIFCell is called without a state, so that it starts anew at every step",
    ),
    "a state forgotten further inside": (
        lambda: sequential(forward(inner, a=norse.LIFCell())), (2,),
        "0.a: LIFCell is called without a state",
    ),
    "a cell in a plain Sequential": (
        lambda: nn.Sequential(nn.Linear(2, 2), norse.LIFCell()), (2,), "1: LIFCell is called with",
    ),
    "a container forgotten": (
        lambda: forward(forgotten, a=sequential(nn.Linear(2, 2), norse.LIFCell())), (2,),
        "a.1: LIFCell is called without a state",
    ),
    "a recurrent container forgotten": (
        lambda: forward(forgotten, a=norse.RecurrentSequential(norse.LIFCell())), (2,),
        "a: RecurrentSequential is called without a state",
    ),
    "a lifted cell forgotten": (
        lambda: norse.Lift(nn.Sequential(norse.LIFCell())), (2,), "0: LIFCell is called without",
    ),
    "the pair of a cell": (
        lambda: forward(pair, a=norse.LIFCell(), b=norse.LIFCell()), (2,),
        r"b: the call is not \(input, state\)",
    ),
    "a class with its own step": (lambda: OwnStep(), (2,), "Norse's OwnStep is not supported"),
    "a class with its own start": (lambda: OwnStart(), (2,), "Norse's OwnStart is not supported"),
    "a step set": (
        lambda: changed(norse.LIFCell(), activation=norse.lif_box_feed_forward_step), (2,),
        "lifcell: the activation of this LIFCell is lif_box_feed_forward_step",
    ),
    "a start set": (
        lambda: changed(norse.LIFCell(), state_fallback=lambda x: None), (2,),
        "lifcell: state_fallback was set on this LIFCell",
    ),
    "a reset of one's own": (
        lambda: norse.LIFBoxCell(norse.LIFBoxParameters(reset_method=custom_reset)), (2,),
        "lifboxcell: reset_method is custom_reset, expected Norse's reset_value or reset_subtract",
    ),
    "a method Norse cannot run": (
        lambda: lif(method="adjoint"), (2,), "lifcell: method is 'adjoint', expected one of heavi",
    ),
    "refractory periods that differ": (
        lambda: norse.LIFRefracCell(RHO), (2,), "lifrefraccell: rho_reset is one number for each",
    ),
    "a parameter of another shape": (
        lambda: lif(v_th=torch.tensor([1.0, 2.0, 3.0])), (2,), "lifcell: v_threshold has shape",
    ),
    "a recurrent cell on a map": (
        lambda: norse.LIFRecurrentCell(4, 4), MAP, "weighs the last axis of",
    ),
    "cells and sequences": (
        lambda: sequential(norse.LIFCell(), norse.LIF()), (2,), '0: step_mode is "s" while that',
    ),
    "feedback of all steps": (
        lambda: norse.RecurrentSequential(norse.LIF()), (2,),
        "recurrentsequential: RecurrentSequential is given all steps at once",
    ),
    "feedback of several": (
        lambda: norse.RecurrentSequential(norse.LIFCell(), output_modules=[0]), (2,),
        r"output_modules is \[0\], expected one number",
    ),
    "feedback of another shape": (
        lambda: norse.RecurrentSequential(nn.Linear(2, 3), norse.LIFCell()), (2,),
        r"adds its output to its input of shape \(2,\)",
    ),
    "a recurrent layer of torch": (
        lambda: sequential(nn.RNN(2, 2)), (2,), "0: RNN is not supported",
    ),
    "Norse and SpikingJelly": (
        lambda: nn.Sequential(jelly(), layers.IAF()), (2,),
        r"1: takes all steps \(N, T, …\) while 0 takes one step \(N, …\)",
    ),
    # Sinabs
    "reset_value": (
        lambda: tail(reset_fn=MembraneReset(reset_value=-0.5)), (2,),
        r"iaf: MembraneReset\(reset_value=-0.5\) is not supported, expected reset_value=0; Sinabs "
        "adds it to every membrane in every step",
    ),
    "subtract_value": (
        lambda: tail(reset_fn=MembraneSubtract(subtract_value=0.5)), (2,),
        r"iaf: MembraneSubtract\(subtract_value=0.5\) takes something else than the threshold",
    ),
    "subtract_value of an adaptive threshold": (
        lambda: layers.ALIF(5.0, 5.0, reset_fn=MembraneSubtract(subtract_value=1.0)), (2,),
        r"alif: MembraneSubtract\(subtract_value=1.0\)",
    ),
    "a reset of one's own in Sinabs": (
        lambda: tail(reset_fn=OwnReset()), (2,), "iaf: reset_fn is OwnReset",
    ),
    "a spike function of one's own": (
        lambda: tail(spike_fn=type("Mine", (SingleSpike,), {})), (2,), "iaf: spike_fn is Mine",
    ),
    "half a spike": (
        lambda: tail(spike_fn=MaxSpike(0.5)), (2,), "iaf: max_num_spikes_per_bin is 0.5",
    ),
    "a bound of a membrane that is shown": (
        lambda: layers.ExpLeak(5.0, min_v_mem=-1.0), (2,),
        "expleak: min_v_mem is set, expected none where nothing fires",
    ),
    "an adaptation that is gone": (
        lambda: layers.ALIF(torch.tensor(5.0), torch.tensor(0.001)), (2,),
        "alif: tau_adapt is so small",
    ),
    "a decay of one's own": (lambda: OwnAlpha(5.0), (2,), "Sinabs' OwnAlpha is not supported"),
    "a threshold of another shape": (
        lambda: tail(spike_threshold=torch.ones(3)), (2,), "iaf: v_threshold has shape",
    ),
    "a squeezed layer of all steps": (
        lambda: nn.Sequential(layers.IAF(), layers.IAFSqueeze(batch_size=1)), (2,),
        r"1: IAFSqueeze takes all steps \(N·T, …\) and is given all steps \(N, T, …\)",
    ),
    "a layer of all steps squeezed": (
        lambda: nn.Sequential(layers.IAFSqueeze(batch_size=1), layers.IAF()), (2,),
        r"1: IAF takes all steps \(N, T, …\) and is given all steps \(N·T, …\)",
    ),
    "flattened twice": (
        lambda: nn.Sequential(layers.FlattenTime(), layers.FlattenTime()), (2,),
        "1: FlattenTime is given all steps",
    ),
    "unflattened twice": (
        lambda: nn.Sequential(layers.IAF(), layers.UnflattenTime(1)), (2,),
        "1: UnflattenTime is given all steps",
    ),
    "batch sizes that differ": (
        lambda: nn.Sequential(layers.IAFSqueeze(batch_size=1), layers.IAFSqueeze(batch_size=2)),
        (2,), "1: batch_size is 2 while that of 0 is 1, expected one for the whole network",
    ),
    "layouts added": (
        lambda: forward(
            lambda self, x: self.a(x) + self.b(x).add(x), a=layers.FlattenTime(), b=layers.IAF()
        ), (2,), "its inputs have batch and time in one axis and in two",
    ),
    "a flatten that takes the time": (
        lambda: nn.Sequential(layers.IAF(), nn.Flatten()), MAP, "1: axis 1 is the time axis",
    ),
    "a convolution of all steps": (
        lambda: nn.Sequential(nn.Conv2d(2, 2, 3), layers.IAF()), MAP,
        "0: Conv2d is given all steps at once, expected one step",
    ),
    "a norm of all steps": (
        lambda: sequential(nn.BatchNorm1d(2), norse.LIF()), (2,), "0: BatchNorm1d is given all",
    ),
    "a sum pool of all steps": (
        lambda: nn.Sequential(layers.SumPool2d(2), layers.IAF()), MAP, "0: SumPool2d is given all",
    ),
    "neurons in a rec_connect": (
        lambda: layers.IAFRecurrent(rec_connect=nn.Sequential(nn.Linear(2, 2), layers.IAF())), (2,),
        "iafrecurrent.rec_connect.1: IAF stands in a rec_connect",
    ),
    "a rec_connect of another shape": (
        lambda: layers.IAFRecurrent(rec_connect=nn.Conv2d(2, 2, 2, padding=1)), MAP,
        r"iafrecurrent.rec_connect: gives \(2, 5, 5\) to a population of shape \(2, 4, 4\)",
    ),
    "a linear rec_connect of another size": (
        lambda: layers.IAFRecurrent(rec_connect=nn.Sequential(nn.Flatten(), nn.Linear(4, 4))), MAP,
        "iafrecurrent.rec_connect: Linear has 4 inputs and 4 outputs, expected 32 of both",
    ),
    "a sum pool's ceil_mode": (
        lambda: layers.SumPool2d(3, ceil_mode=True), MAP, "sumpool2d: ceil_mode adds windows",
    ),
    "a crop": (
        lambda: layers.Cropping2dLayer(((1, 0), (0, 0))), MAP, "cropping2dlayer: Cropping2dLayer",
    ),
    "a shift": (lambda: layers.ChannelShift(1), MAP, "channelshift: ChannelShift moves"),
    "rounding": (lambda: layers.QuantizeLayer(), (2,), "quantizelayer: QuantizeLayer rounds"),
    "sizes merged": (
        lambda: forward(
            lambda self, x: self.m(self.a(x), self.b(x)),
            a=nn.Conv2d(2, 2, 1), b=nn.Conv2d(2, 2, 3), m=layers.Merge(),
        ), MAP, r"m: Merge pads \(2, 4, 4\) and \(2, 2, 2\)",
    ),
    "merged with itself": (
        lambda: forward(lambda self, x: self.m(x, x), m=layers.Merge()), MAP, "adds a value to its",
    ),
    "a network without a spiking model": (
        lambda: sinabs.network.Network(nn.Linear(2, 2)), (2,), "Network has no spiking_model",
    ),
}  # fmt: skip


def jelly() -> nn.Module:
    from spikingjelly.activation_based import neuron

    return neuron.IFNode()


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_refused_by_name(name: str):
    make, shape, message = REFUSED[name]
    with pytest.raises(ss.errors.UnsupportedError, match=message):
        ss.from_torch(make(), shape)


def test_layers_that_do_nothing_are_left_away():
    model = nn.Sequential(
        layers.Cropping2dLayer(), layers.ChannelShift(), layers.QuantizeLayer(False),
        layers.SumPool2d(2, ceil_mode=True), layers.IAFSqueeze(batch_size=1),
    )  # fmt: skip
    assert [n.name for n in ss.from_torch(model, MAP).nodes] == ["input", "3", "4"]


def test_a_reset_value_of_sinabs_moves_silent_membranes():
    """Why MembraneReset(reset_value≠0) is refused: this is no reset."""
    cell = layers.IAF(reset_fn=MembraneReset(reset_value=-0.25), record_states=True)
    with torch.no_grad():
        spikes = cell(torch.tensor([0.5, 0.0, 0.0, 2.5])[None, :, None])
    assert spikes.flatten().tolist() == [0, 0, 0, 2]
    assert cell.recordings["v_mem"].flatten().tolist() == [0.25, 0.0, -0.25, -0.25]


def test_what_norse_cannot_mean_is_a_graph_error():
    # A threshold that swings below where it started, and one that no reset gets below.
    fast = norse.LSNNParameters(tau_adapt_inv=torch.tensor(1500.0))
    for module in (norse.LSNNCell(fast), lif(v_th=torch.tensor(0.0))):
        with pytest.raises(ss.errors.GraphError):
            ss.from_torch(module, (2,))
