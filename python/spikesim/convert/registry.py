"""Which adapter reads which module.

An adapter is asked only when its library is loaded already: a module of that library could not
be here otherwise, and nothing is imported for the others' sake.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from spikesim.convert.walk import Walker

# Reads one module: (walker, module, path, args, kwargs) -> Value, or whatever forward returns.
Handler = Callable[["Walker", Any, str, tuple[Any, ...], dict[str, Any]], Any]

# The library that must be loaded, and the module with its adapter. The first that knows a
# module reads it; torch.nn comes last because the others' layers derive from its own.
ADAPTERS = (
    ("spikesim.train", "spikesim.convert.own"),
    ("spikingjelly", "spikesim.convert.spikingjelly"),
    ("snntorch", "spikesim.convert.snntorch"),
    ("norse.torch", "spikesim.convert.norse"),
    ("sinabs.layers", "spikesim.convert.sinabs"),
    ("torch", "spikesim.convert.torch_nn"),
)

# What stands before a sample's own axes in the tensors that a neuron takes.
LAYOUTS = {
    "s": "one step (N, …)",
    "m": "all steps (T, N, …)",
    "nt": "all steps (N, T, …)",
    "n*t": "all steps (N·T, …)",
}


def find(module: nn.Module) -> Handler | None:
    """The handler of `module`; None if its forward has to be traced."""
    for library, adapter in ADAPTERS:
        if library in sys.modules:
            handler: Handler | None = importlib.import_module(adapter).handler(module)
            if handler is not None:
                return handler
    return None


def step_mode(module: nn.Module) -> str | None:
    """What a neuron takes: a key of LAYOUTS, or None if it is no neuron or knows no modes."""
    for library, adapter in ADAPTERS:
        if library in sys.modules:
            mode: str | None = importlib.import_module(adapter).step_mode(module)
            if mode is not None:
                return mode
    return None


def keeps_state(module: nn.Module) -> bool:
    """Whether a neuron that is given no state goes on from where its last call left it.

    Norse's start anew.
    """
    return not type(module).__module__.startswith("norse")


def gives_state(module: nn.Module) -> bool:
    """Whether what a neuron returns first may be the tensor from which it goes on.

    So it is where the membrane is the output, and in snnTorch's recurrent ones, which keep their
    spikes.
    """
    library = type(module).__module__.split(".")[0]
    names = {cls.__name__ for cls in type(module).__mro__}
    if library == "norse" or names & {"LICell", "LIBoxCell", "LILinearCell"}:
        return any(name.startswith("LI") and not name.startswith("LIF") for name in names)
    if names & {"RLeaky", "RSynaptic"}:
        return True
    return (
        "SpikingModule" in names and getattr(getattr(module, "rules", None), "spikes", "") == "none"
    )
