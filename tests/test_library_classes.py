"""Every neuron and layer class of snnTorch and SpikingJelly is read, or refused by its name.

What is read is held to its library in test_snntorch.py, test_spikingjelly.py and test_zoo.py; a
class that a later version adds makes this test fail until it has its place.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import OrderedDict
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")

from spikingjelly.activation_based import layer, neuron, surrogate  # noqa: E402
from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
import test_snntorch  # noqa: E402
import test_spikingjelly  # noqa: E402
from spikesim.convert import snntorch as from_snntorch  # noqa: E402
from spikesim.convert import spikingjelly as from_spikingjelly  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
Make = Callable[[], Any]


def classes_of(package: ModuleType) -> dict[str, type]:
    """The classes of modules that a package and its parts define."""
    parts = [package]
    if hasattr(package, "__path__"):
        parts += [
            importlib.import_module(f"{package.__name__}.{part.name}")
            for part in pkgutil.iter_modules(package.__path__)
        ]
    found: dict[str, type] = {}
    for part in parts:
        for name, cls in vars(part).items():
            own = inspect.isclass(cls) and cls.__module__.startswith(package.__name__)
            if own and issubclass(cls, nn.Module) and not name.startswith("_"):
                found[name] = cls
    return found


def refused(module: Any, name: str, shape: tuple[int, ...] = (4,)) -> None:
    with pytest.raises(ss.errors.UnsupportedError) as caught:
        ss.from_torch(nn.Sequential(OrderedDict(place=module)), shape)
    assert str(caught.value).startswith("place: ")
    assert name in str(caught.value).split(" is not supported")[0]


# snnTorch

SNN_READ = {*test_snntorch.STATES, "StateLeaky", "LinearLeaky", "LeakyParallel", "LeakyKernel"}
SNN_REFUSED: dict[str, Make] = {
    "SpikingNeuron": lambda: snn.SpikingNeuron(),
    "LIF": lambda: snn.LIF(0.5),
    "DeltaLeaky": lambda: snn.DeltaLeaky(1.0, 0.5),
    "AssociativeLeaky": lambda: snn.AssociativeLeaky(4, 2, 2, 4),
    "SLSTM": lambda: snn.SLSTM(4, 4),
    "SConv2dLSTM": lambda: snn.SConv2dLSTM(1, 1, 3),
    "GradedSpikes": lambda: snn._layers.graded_spikes.GradedSpikes(4, 1.0),
    "leakyunroll.LeakyParallel": lambda: unrolled()(4, beta=0.5),
}
# Parts of others, which no network calls by itself.
SNN_PARTS = {"RecurrentOneToOne"}


def unrolled() -> Any:
    """The other class of that name: its forward raises a TypeError whatever it is given."""
    return importlib.import_module("snntorch._neurons.leakyunroll").LeakyParallel


def test_every_class_of_snntorch_has_its_place():
    found = set(classes_of(snn._neurons)) | set(classes_of(snn._layers))
    assert found - SNN_PARTS == SNN_READ | (SNN_REFUSED.keys() - {"leakyunroll.LeakyParallel"})
    assert set(from_snntorch.READERS) == SNN_READ


@pytest.mark.parametrize("name", SNN_REFUSED)
def test_snntorch_refuses_by_name(name: str):
    refused(SNN_REFUSED[name](), name.split(".")[-1])


# SpikingJelly

SJ_NEURONS_READ = {
    *test_spikingjelly.STEPWISE,
    "DSRIFNode", "DSRLIFNode", "NonSpikingIFNode", "NonSpikingLIFNode",
}  # fmt: skip
TABLE = neuron.FewSpikeTable([1.0], [1.0], [1.0])
SJ_NEURONS_REFUSED: dict[str, Make] = {
    **{
        name: getattr(neuron, name)
        for name in (
            "BaseNode", "SimpleBaseNode", "NonSpikingBaseNode", "AdaptBaseNode", "EIFNode",
            "QIFNode", "IzhikevichNode", "RAFNode", "ComplementaryLIFNode", "ILIFNode",
        )
    },
    "FewSpikeNode": lambda: neuron.FewSpikeNode(TABLE),
    "HGNode": lambda: neuron.HGNode([TABLE], []),
    "OutlierAwareThresholdNode": lambda: neuron.OutlierAwareThresholdNode(TABLE, TABLE, 1.0),
    "GatedLIFNode": lambda: neuron.GatedLIFNode(4),
    "LIAFNode": lambda: neuron.LIAFNode(torch.relu, False),
    "MPBNBaseNode": lambda: neuron.MPBNBaseNode(out_features=4),
    "MPBNLIFNode": lambda: neuron.MPBNLIFNode(out_features=4),
    "STBIFNode": lambda: neuron.STBIFNode(1.0, 4),
    "PSN": lambda: neuron.PSN(4),
    "MaskedPSN": lambda: neuron.MaskedPSN(2, 4),
    "SlidingPSN": lambda: neuron.SlidingPSN(2),
    "ILCBaseNode": lambda: neuron.ILCBaseNode(2, 2),
    "ILCIFNode": lambda: neuron.ILCIFNode(2, 2),
    "ILCLIFNode": lambda: neuron.ILCLIFNode(2, 2),
    "ILCCUBALIFNode": lambda: neuron.ILCCUBALIFNode(2, 2),
    **{
        name: lambda name=name: bare(getattr(neuron, name))
        for name in (
            "FlexSN",
            "NoisyBaseNode", "NoisyCUBALIFNode", "NoisyILCBaseNode", "NoisyILCCUBALIFNode",
            "NoisyNonSpikingBaseNode", "NoisyNonSpikingIFNode",
        )
    },
}  # fmt: skip


def bare(cls: Any) -> Any:
    """An instance without its own making, for classes that need more than a test has."""
    module = cls.__new__(cls)
    nn.Module.__init__(module)
    module.__dict__.update(_memories={}, _memories_rv={}, _step_mode="m")
    return module


def test_every_neuron_of_spikingjelly_has_its_place():
    assert set(classes_of(neuron)) == SJ_NEURONS_READ | SJ_NEURONS_REFUSED.keys()
    assert set(from_spikingjelly.neurons.READERS) == SJ_NEURONS_READ


@pytest.mark.parametrize("name", SJ_NEURONS_REFUSED)
def test_spikingjelly_refuses_neurons_by_name(name: str):
    refused(SJ_NEURONS_REFUSED[name](), f"SpikingJelly's {name}")


SJ_LAYERS_READ = set(from_spikingjelly.layers.READERS)
SJ_LAYERS_REFUSED: dict[str, tuple[Make, tuple[int, ...]]] = {
    name: (lambda name=name: bare(getattr(layer, name)), (4,))
    for name in (
        "AdaptiveAvgPool1d", "AdaptiveAvgPool3d", "AvgPool3d", "BatchNorm3d",
        "BatchNormThroughTime1d", "BatchNormThroughTime2d", "BatchNormThroughTime3d",
        "ChannelQKAttention", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
        "DropConnectLinear", "GradwithTrace", "GroupNorm", "MaxPool3d", "MaxUnpool1d",
        "MaxUnpool2d", "MaxUnpool3d", "MultiDimensionalAttention", "NeuNorm", "OTTTSequential",
        "QKAttention", "SpikeCountToBinary", "SpikeDrivenSelfAttention", "SpikeTraceOp",
        "SpikingSelfAttention", "SynapseFilter", "TLastMultiStepContainer",
        "TLastSeqToANNContainer", "TemporalBinSum", "TemporalEffectiveBatchNorm1d",
        "TemporalEffectiveBatchNorm2d", "TemporalEffectiveBatchNorm3d", "TemporalWiseAttention",
        "ThresholdDependentBatchNorm3d", "TokenQKAttention",
    )
}  # fmt: skip


def test_every_layer_of_spikingjelly_has_its_place():
    assert set(classes_of(layer)) == SJ_LAYERS_READ | SJ_LAYERS_REFUSED.keys()


@pytest.mark.parametrize("name", SJ_LAYERS_REFUSED)
def test_spikingjelly_refuses_layers_by_name(name: str):
    make, shape = SJ_LAYERS_REFUSED[name]
    refused(make(), f"SpikingJelly's {name}", shape)


def test_surrogates_are_no_neurons():
    # One that stands among the layers is nobody's spikes.
    with pytest.raises(ss.errors.UnsupportedError):
        ss.from_torch(nn.Sequential(nn.Linear(4, 4), surrogate.Sigmoid()), (4,))
