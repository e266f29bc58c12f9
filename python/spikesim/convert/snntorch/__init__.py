"""snnTorch's neurons (checked against 1.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from spikesim.convert.build import Value
from spikesim.convert.snntorch import cells, parallel, recurrent
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker

# The methods that make a step; a class that changes one is another neuron.
STEP = (
    "forward",
    "fire",
    "mem_reset",
    "_base_state_function",
    "_base_state_reset_zero",
    "_base_state_reset_sub_function",
    "_base_sub",
    "_base_zero",
    "_base_int",
)
READERS: dict[str, Any] = {
    "Leaky": cells.leaky,
    "Synaptic": cells.synaptic,
    "Lapicque": cells.lapicque,
    "Alpha": cells.alpha,
    "RLeaky": recurrent.rleaky,
    "RSynaptic": recurrent.rsynaptic,
    "LinearLeaky": parallel.linear_leaky,
    "StateLeaky": parallel.state_leaky,
    "LeakyParallel": parallel.leaky_parallel,
    "LeakyKernel": parallel.leaky_parallel,
}


def handler(module: nn.Module) -> Handler | None:
    """Reads the neurons of `READERS`, and classes of a user's that keep their step.

    Whatever else comes from snnTorch is refused by name.
    """
    import snntorch

    for known, read in _known():
        if isinstance(module, known) and _same_step(type(module), known):
            return read
    if isinstance(module, snntorch.SpikingNeuron) or _of_the_library(type(module)):
        return _unsupported
    return None


def step_mode(module: nn.Module) -> str | None:
    """Single-step, but for the neurons that take a whole sequence."""
    import snntorch

    whole = (
        snntorch.StateLeaky,
        snntorch.AssociativeLeaky,
        *(known for known, read in _known() if read is parallel.leaky_parallel),
    )
    if isinstance(module, whole):
        return "m"
    return "s" if isinstance(module, snntorch.SpikingNeuron) else None


def _known() -> list[tuple[type, Handler]]:
    import snntorch
    from snntorch._neurons.leakykernel import LeakyKernel

    return [
        (LeakyKernel if name == "LeakyKernel" else getattr(snntorch, name), read)
        for name, read in READERS.items()
    ]


def _same_step(cls: type, known: type) -> bool:
    return all(getattr(cls, name, None) is getattr(known, name, None) for name in STEP)


def _of_the_library(cls: type) -> bool:
    return cls.__module__.split(".")[0] == "snntorch"


def _unsupported(
    walker: Walker, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    raise UnsupportedError(
        f"{path}: snntorch.{type(module).__name__} is not supported, expected one of "
        f"{', '.join(READERS)}; build the population by hand with ss.Neuron"
    )
