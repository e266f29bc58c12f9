"""RLeaky and RSynaptic: neurons that hear their own spikes of the step before.

x is the input plus recurrent(spk), with spk = 0 before the first step, so that the bias of the
recurrent layer acts from the start. The reset to zero makes the whole new membrane nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from spikesim import ops
from spikesim.convert import torch_nn
from spikesim.convert.build import Value, array, population
from spikesim.convert.plain import check_plain
from spikesim.convert.snntorch.cells import second_order
from spikesim.convert.snntorch.step import Call
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.walk import Walker

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def rleaky(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Any:
    """Reads an RLeaky."""
    call = Call(walker, module, path, args, kwargs, "spk", "mem")
    out = call.add("LIF", {"alpha_mem": call.decay("beta")}, call.reset(), "beta")
    _hear(call, out)
    return call.result(out)


def rsynaptic(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Any:
    """Reads an RSynaptic.

    With `reset_delay=False` its forward uses the states it was called with, not those it holds:
    it raises a TypeError where they were not given, and loses what it computes where they were.
    The reset is late then all the same.
    """
    call = Call(walker, module, path, args, kwargs, "spk", "syn", "mem")
    parameters, rules = second_order(call)
    if not module.reset_delay:
        needed = ("spk",) if call.mechanism == "none" else ("spk", "mem")
        missing = [name for name in needed if name not in call.given]
        if missing:
            raise UnsupportedError(
                f"{path}: RSynaptic with reset_delay=False raises a TypeError in snnTorch unless "
                f"it is given {' and '.join(missing)}, expected reset_delay=True"
            )
        if call.mechanism == "subtract":
            rules["reset_timing"] = "next_step_after"
        elif call.mechanism == "zero":
            rules |= {"reset": "to_value", "reset_timing": "next_step_after"}
    out = call.add("CubaLIF", parameters, rules, "alpha", "beta")
    _hear(call, out)
    return call.result(out)


def _hear(call: Call, out: Value) -> None:
    """Adds the recurrent layer."""
    name = f"{call.path}.recurrent"
    op = _layer(call.module.recurrent, name, out.shape)
    call.walker.builder.recurrent(out, op, name)


def _layer(layer: nn.Module, path: str, shape: tuple[int, ...]) -> Any:
    """The operation of a recurrent layer."""
    check_plain(layer, path, leaf=True)
    cls = type(layer)
    if isinstance(layer, nn.Linear) and cls.forward is nn.Linear.forward:
        if len(shape) != 1:
            raise UnsupportedError(
                f"{path}: Linear acts on the last axis of {shape}, expected one axis; use "
                "conv2d_channels and kernel_size"
            )
        bias = None if layer.bias is None else array(layer.bias, path, "bias")
        return ops.Linear(array(layer.weight, path, "weight"), bias)
    if isinstance(layer, nn.Conv2d) and cls.forward is nn.Conv2d.forward:
        return torch_nn.convolution(layer, path, 2)
    # The one-to-one layer of either cell: RecurrentOneToOne in a module of its own.
    if cls.__name__ == "RecurrentOneToOne" and cls.__module__.startswith("snntorch."):
        return ops.Scale(population(layer.V, shape, path, "V"))  # type: ignore[arg-type]
    raise UnsupportedError(
        f"{path}: {cls.__name__} is not supported as a recurrent layer, expected Linear, Conv2d "
        "or the one-to-one V"
    )
