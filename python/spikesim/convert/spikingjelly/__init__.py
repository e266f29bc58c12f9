"""SpikingJelly's neurons, layers and containers (checked against 2.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from spikesim.convert.build import Value
from spikesim.convert.spikingjelly import layers, neurons, sequences
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker

HOME = "spikingjelly.activation_based."
# Where the library's own modules live that are no networks made of others.
LEAVES = ("neuron", "layer", "rnn", "encoding", "learning", "base")


def handler(module: nn.Module) -> Handler | None:
    """Reads neurons, layers and containers, and classes of a user's that keep their step.

    Whatever else the library calls a neuron or a layer is refused by name; its networks
    (`model`) are traced like a user's.
    """
    from spikingjelly.activation_based import base, layer, neuron

    cls = type(module)
    for name, read in neurons.READERS.items():
        known = getattr(neuron, name)
        if isinstance(module, known) and neurons.same_step(cls, known):
            return read
    for name, read in layers.READERS.items():
        known = getattr(layer, name)
        if isinstance(module, known) and cls.forward is known.forward:
            return read
    if isinstance(module, neuron.BaseNode | neuron.SimpleBaseNode):
        return _unsupported_neuron
    home = cls.__module__.removeprefix(HOME).split(".")[0]
    if cls.__module__.startswith(HOME) and home in LEAVES:
        return _unsupported_neuron if home == "neuron" else _unsupported_layer
    containers = layer.SeqToANNContainer | layer.MultiStepContainer | layer.StepModeContainer
    if isinstance(module, base.MemoryModule | containers):
        return _unsupported_layer
    return None


def step_mode(module: nn.Module) -> str | None:
    """The mode of a neuron or a container; None for its stateless layers."""
    from spikingjelly.activation_based import base, layer, neuron

    always = (
        layer.SeqToANNContainer,
        layer.MultiStepContainer,
        neuron.NonSpikingBaseNode,
        neuron.ILCBaseNode,
    )
    if isinstance(module, always):
        return "m"
    if isinstance(module, base.MemoryModule | layer.StepModeContainer):
        return str(module.step_mode)
    return None


def _unsupported_neuron(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    raise UnsupportedError(
        f"{path}: SpikingJelly's {type(module).__name__} is not supported, expected one of "
        f"{', '.join(neurons.READERS)}; build the population by hand with ss.Neuron"
    )


def _unsupported_layer(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    raise UnsupportedError(
        f"{path}: SpikingJelly's {type(module).__name__} is not supported, expected one of "
        f"{', '.join(layers.READERS)}"
    )


# What a sequence is turned into stands with the neurons that do it.
neurons.READERS.update(sequences.READERS)
