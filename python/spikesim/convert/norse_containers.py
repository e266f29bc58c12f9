"""Norse's containers, and its modules without spikes (checked against 1.1).

`SequentialState` hands each layer the state that it returned the step before, `Lift` runs a
module once for each step of a sequence, `RecurrentSequential` adds its output of the step before
to its input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from spikesim import ops
from spikesim.convert import pooling
from spikesim.convert.build import Kind, Membrane, State, Value, array
from spikesim.convert.norse import Kept, arguments, claim
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker


def handler(module: nn.Module) -> Handler | None:
    """Reads the classes of READERS, and those derived from them that keep their forward."""
    for base in type(module).__mro__:
        read = READERS.get(base.__name__)
        if read is not None and base.__module__.startswith("norse.torch.module"):
            return read if type(module).forward is base.forward else None  # type: ignore[attr-defined]
    return None


def step_mode(module: nn.Module) -> str | None:
    """What runs over time itself takes all steps."""
    read = handler(module)
    return "m" if read in (_lift, _conv, _filter) else None


def _child_states(walker: Walker, module: Any, path: str, state: Any, count: int) -> list[Any]:
    """What each child of a container is given as its state."""
    if isinstance(state, State) and not isinstance(state, Kept):
        claim_parts = state.position is not None
        return walker.builder.split_state(state, path, count) if claim_parts else [state] * count
    if isinstance(state, Kept) or (state is None and module is walker.builder.root):
        return [Kept("state") for _ in range(count)]
    if state is None:
        # Whether that is right is for each neuron to say.
        return [None] * count
    claim(walker, module, path, state, starts=False)
    return [state] * count


def _sequential_state(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, list[Any]]:
    value, state = arguments(path, ("input_tensor", "state"), args, kwargs)
    states = _child_states(walker, module, path, state, len(module))
    prefix = "" if module is walker.builder.root else f"{path}."
    hidden, states = _run(walker, module, prefix, value, states)
    return (hidden if module.return_hidden else hidden[-1]), states


def _run(
    walker: Walker, module: Any, prefix: str, value: Any, states: list[Any]
) -> tuple[list[Any], list[Any]]:
    """The outputs of all children, and their states."""
    hidden, after = [], list(states)
    for index, (name, child) in enumerate(module.named_children()):
        path = f"{prefix}{name}"
        if not module.stateful_layers[index]:
            value = walker.module(child, path, (value,), {})
            after[index] = None
        else:
            # As forward does it; fx would show it to a forward of the user's own as one result.
            result = walker.module(child, path, (value, states[index]), {})
            if not isinstance(result, tuple | list) or len(result) != 2:
                raise UnsupportedError(
                    f"{path}: {type(child).__name__} in a SequentialState takes a state, expected "
                    "(output, state) from its forward"
                )
            value, after[index] = result
        hidden.append(value)
    if not hidden:
        raise UnsupportedError(f"{prefix or 'SequentialState'}: has no layers, expected some")
    return hidden, after


def _recurrent_sequential(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Value, Any]:
    value, state = arguments(path, ("x", "state"), args, kwargs)
    if walker.lead_of(value) == 2:
        raise UnsupportedError(
            f"{path}: RecurrentSequential is given all steps at once, where it hears itself from "
            "call to call, expected one step; use cells in it"
        )
    if not isinstance(module.output_modules, int):
        raise UnsupportedError(
            f"{path}: output_modules is {module.output_modules}, expected one number; Norse cannot "
            "add several outputs to the input"
        )
    if state is None and module is not walker.builder.root:
        claim(walker, module, path, state, starts=False)
    inner = module.module
    states = _child_states(walker, module, path, state, len(inner))
    # What comes back are spikes as a rule; the network's own check holds that for maximum pools.
    builder = walker.builder
    kind = max(value.kind, Kind.SPIKES)
    joined = builder.add(ops.Add(), walker.inside(module, path, "add"), value, kind=kind)
    prefix = walker.inside(module, path, "module") + "."
    hidden, states = _run(walker, inner, prefix, joined, states)
    out = hidden[module.output_modules]
    if not isinstance(out, Value) or out.shape != value.shape:
        raise UnsupportedError(
            f"{path}: RecurrentSequential adds its output to its input of shape {value.shape}, "
            "expected an output of that shape"
        )
    builder.net.connect(out.name, joined.name, 1)
    return out, states


def _lift(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    given = [*args, *kwargs.values()]
    state = None
    if len(given) == 1 and isinstance(given[0], tuple) and len(given[0]) == 2:
        # A module that is lifted with its state returns it; the next one takes the pair.
        given, state = [given[0][0]], given[0][1]
    value = walker.single(path, tuple(given), {})
    inside = walker.per_step(path)
    name = walker.inside(module, path, "lifted_module")
    if not module.is_stateful:
        return inside.module(module.lifted_module, name, (value,), {})
    if state is not None and not isinstance(state, State):
        claim(walker, module, path, state, starts=False)
    start = Kept("state") if state is None else state
    return inside.module(module.lifted_module, name, (value, start), {})


def _conv(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    value = walker.single(path, args, kwargs)
    walker.per_step(path)
    conv = ops.Conv2d(
        array(module.weight[..., 0], path, "weight"),
        stride=pooling.extent(module.stride[:2], 2),
        padding=pooling.extent(module.padding[:2], 2),
        dilation=pooling.extent(module.dilation[:2], 2),
        groups=module.groups,
    )
    return walker.builder.current(conv, path, value)


def _filter(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    value = walker.single(path, args, kwargs)
    walker.per_step(path)
    value = walker.module(module.linear, walker.inside(module, path, "linear"), (value,), {})
    numbers = {"alpha_mem": array(module.parameter, path, "parameter")}
    meta = {"library": "norse", "cell": "ExpFilter"}
    return walker.builder.neuron("LI", path, value, numbers, {"spikes": "none"}, meta)


def _regularization(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Value, Membrane]:
    # It counts for the loss and hands its input on.
    given = dict(zip(("z", "s"), args, strict=False)) | kwargs
    value = walker.single(path, (given.get("z"),), {})
    return value, Membrane(value)


READERS: dict[str, Any] = {
    "SequentialState": _sequential_state,
    "RecurrentSequential": _recurrent_sequential,
    "Lift": _lift,
    "LConv2d": _conv,
    "ExpFilter": _filter,
    "RegularizationCell": _regularization,
}
