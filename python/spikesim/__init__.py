"""Event-driven simulation of trained spiking neural networks.

    import spikesim as ss

    net = ss.load("model.spikesim")
    result = net.compile().run(x, n_steps=4)

Importing this imports NumPy and nothing heavier: whatever needs torch or another optional library
is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from spikesim import errors, ops
from spikesim._core import __version__
from spikesim.network import Edge, Network, Node, load
from spikesim.ops import (
    IF,
    LI,
    LIF,
    AdaptiveAvgPool2d,
    Add,
    AvgPool1d,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv1d,
    Conv2d,
    CubaLI,
    CubaLIF,
    CurrentMaxPool1d,
    CurrentMaxPool2d,
    Delay,
    Flatten,
    Linear,
    Neuron,
    RateMaxPool1d,
    RateMaxPool2d,
    Scale,
    SpikeMaxPool1d,
    SpikeMaxPool2d,
    SumPool1d,
    SumPool2d,
    Upsample,
)

if TYPE_CHECKING:
    from spikesim import (
        conformance,
        data,
        detection,
        energy,
        learn,
        models,
        nir,
        plot,
        recipes,
        reference,
        train,
    )
    from spikesim.convert import from_torch
    from spikesim.convert.face import ConvertModule
    from spikesim.convert.report import ConversionReport
    from spikesim.events import Events, StepEvents
    from spikesim.nir import NirAssumption, NirOptions
    from spikesim.quantisation import quantise
    from spikesim.result import Counts, Result, SpikeRaster
    from spikesim.simulator import Simulator
    from spikesim.stream import StreamOutput
    from spikesim.train import to_torch

    convert: ConvertModule  # a module that can be called

# What is imported when it is first asked for: name -> module that has it (or is it).
_LAZY = {
    "ConversionReport": "spikesim.convert",
    "Counts": "spikesim.result",
    "Events": "spikesim.events",
    "NirAssumption": "spikesim.nir",
    "NirOptions": "spikesim.nir",
    "Result": "spikesim.result",
    "Simulator": "spikesim.simulator",
    "SpikeRaster": "spikesim.result",
    "StepEvents": "spikesim.events",
    "StreamOutput": "spikesim.stream",
    "conformance": "spikesim.conformance",
    "convert": "spikesim.convert",
    "data": "spikesim.data",
    "detection": "spikesim.detection",
    "energy": "spikesim.energy",
    "from_torch": "spikesim.convert",
    "learn": "spikesim.learn",
    "models": "spikesim.models",
    "nir": "spikesim.nir",
    "plot": "spikesim.plot",
    "quantise": "spikesim.quantisation",
    "recipes": "spikesim.recipes",
    "reference": "spikesim.reference",
    "simulator": "spikesim.simulator",
    "to_torch": "spikesim.train",
    "train": "spikesim.train",
}

__all__ = [
    "IF",
    "LI",
    "LIF",
    "AdaptiveAvgPool2d",
    "Add",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm",
    "Concat",
    "Conv1d",
    "Conv2d",
    "ConversionReport",
    "Counts",
    "CubaLI",
    "CubaLIF",
    "CurrentMaxPool1d",
    "CurrentMaxPool2d",
    "Delay",
    "Edge",
    "Events",
    "Flatten",
    "Linear",
    "Network",
    "Neuron",
    "NirAssumption",
    "NirOptions",
    "Node",
    "RateMaxPool1d",
    "RateMaxPool2d",
    "Result",
    "Scale",
    "Simulator",
    "SpikeMaxPool1d",
    "SpikeMaxPool2d",
    "SpikeRaster",
    "StepEvents",
    "StreamOutput",
    "SumPool1d",
    "SumPool2d",
    "Upsample",
    "__version__",
    "conformance",
    "convert",
    "data",
    "detection",
    "energy",
    "errors",
    "from_torch",
    "learn",
    "load",
    "models",
    "nir",
    "ops",
    "plot",
    "quantise",
    "recipes",
    "reference",
    "to_torch",
    "train",
]


def __getattr__(name: str) -> Any:
    try:
        module = _LAZY[name]
    except KeyError:
        raise AttributeError(f"module 'spikesim' has no attribute {name!r}") from None
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise errors.MissingExtraError(
            f"{name}: needs torch, which is not installed; install spikesim[torch]"
        ) from error
    value = loaded if module == f"spikesim.{name}" else getattr(loaded, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
