"""Calls in a traced forward: functions, operators and methods, by what they mean."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from spikesim.convert import products, registry
from spikesim.convert.symbols import (
    MERGED,
    SYMBOLS,
    Complement,
    Lead,
    Membrane,
    OverTime,
    Padded,
    Pile,
    Sequence,
    State,
    Total,
    Value,
    leaves,
)
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.walk import Walker


@dataclass(frozen=True)
class Call:
    """One call: where it stands and what it is given."""

    walker: Walker
    path: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def bind(self, *names: str, **defaults: Any) -> dict[str, Any]:
        """The arguments by name; those not given have their defaults."""
        given = dict(zip(names, self.args, strict=False)) | dict(self.kwargs)
        extra = [name for name in given if name not in names]
        if len(self.args) > len(names) or extra:
            raise self.refused(f"has arguments {', '.join(extra) or 'more'} than are supported")
        missing = [name for name in names if name not in given and name not in defaults]
        if missing:
            raise self.refused(f"lacks the argument {missing[0]}, expected it")
        return {**defaults, **given}

    def refused(self, problem: str) -> UnsupportedError:
        """The error for this call."""
        return UnsupportedError(f"{self.path}: {problem}")


Handler = Callable[[Call], Any]


def lower(call: Call, kind: str, target: Any) -> Any:
    """What a call returns: values become nodes, plain numbers are computed.

    Args:
        call: the call.
        kind: "call_function" or "call_method".
        target: the function, or the method's name.
    """
    from spikesim.convert import calls, loops

    name = str(target if isinstance(target, str) else getattr(target, "__name__", target))
    methods: Mapping[Any, Handler] = calls.METHODS if kind == "call_method" else calls.FUNCTIONS
    builder = call.walker.builder
    with builder.of_no_module():
        if builder.activations is not None:
            made = builder.activations.function(builder, call.path, name, call.args, call.kwargs)
            if made is not None:
                return made
        if over_time(call.args, call.kwargs) or len(_steps(call)) > 1:
            return loops.lower(call, name)
        handler = methods.get(target)
        if handler is not None:
            return handler(call)
    raise unknown(call, name)


def unknown(call: Call, name: str) -> UnsupportedError:
    """The error for a call that has no meaning in a network."""
    involved = leaves((call.args, call.kwargs))
    for symbol in involved:
        if isinstance(symbol, Membrane):
            return call.refused(
                f"{name}() uses the membrane of {symbol.neuron.name}, expected its spikes alone; "
                "a membrane is read by the readouts last_v and max_v"
            )
        if isinstance(symbol, State):
            return call.refused(
                f"{name}() uses the argument {symbol.name!r} of forward, expected one input; "
                "further arguments are the states of neurons"
            )
    advice = ADVICE.get(name, "express it with additions, torch.cat and the layers of torch.nn")
    return call.refused(f"{name}() is not supported, expected a layer; {advice}")


def over_time(args: Any, kwargs: Any) -> bool:
    """Whether a call is given what belongs to several steps."""
    several = leaves((args, kwargs), (Sequence, Total, OverTime))
    return any(not isinstance(item, OverTime) or item.count is not None for item in several)


def _steps(call: Call) -> set[int]:
    from spikesim.convert.steps import steps_of

    return steps_of((call.args, call.kwargs))


NO_RELU = (
    "it is no spiking neuron: put a neuron module (spikesim.train.IF, …) in its place and train, "
    "or convert the trained network first"
)
NO_SOFTMAX = (
    "leave it out: the largest output stays the largest, and the readout is a sum over the steps"
)
PART = (
    "give each part a layer of its own; a part of a value has no node that keeps its counts of "
    "operations"
)
BY_HAND = "use a neuron module of spikesim.train or of a library that is read"
ADVICE = {
    **dict.fromkeys(
        ("relu", "gelu", "silu", "sigmoid", "tanh", "leaky_relu", "elu", "hardtanh", "relu6"),
        NO_RELU,
    ),
    **dict.fromkeys(("softmax", "log_softmax", "argmax", "softmin"), NO_SOFTMAX),
    **dict.fromkeys(
        ("chunk", "split", "narrow", "select", "tensor_split", "index_select", "gather"), PART
    ),
    **dict.fromkeys(
        ("gt", "ge", "lt", "le", "eq", "ne", "where", "heaviside", "sign", "floor", "clamp"),
        BY_HAND,
    ),
    "matmul": "use F.linear or nn.Linear with weights of the module",
    "setitem": "join the parts with torch.cat",
}


def described(item: Any) -> str:
    """What an argument is, in words."""
    if isinstance(item, SYMBOLS):
        return {
            Value: "the output of a layer",
            Membrane: "a membrane",
            State: "the state of a neuron",
            OverTime: "a sum over time",
            Sequence: "all steps at once",
            Total: "a sum over steps",
            Padded: "a padded value",
            Pile: "several values on a new axis",
            Complement: "1 minus a value",
        }[type(item)]
    if isinstance(item, Lead):
        return "the size of the batch or time axis"
    return f"a {type(item).__name__}"


def value(call: Call, item: Any) -> Value:
    """An argument that must be the output of a layer."""
    if isinstance(item, Value):
        return item
    if isinstance(item, Complement):
        return products.plain(call.walker.builder, call.path, item)
    if isinstance(item, Membrane | State):
        raise unknown(Call(call.walker, call.path, (item,), {}), call.path.rpartition(".")[2])
    if isinstance(item, Padded):
        raise padding_refused(call.path)
    raise call.refused(f"is given {described(item)}, expected the output of a layer")


def padding_refused(path: str) -> UnsupportedError:
    """The error for zeros around a value that no layer takes in."""
    return UnsupportedError(
        f"{path}: is given a padded value, expected a convolution or a pool after the padding; "
        "pad directly before it"
    )


def leads(walker: Walker, source: Value) -> list[Lead]:
    """The lengths of a value's leading axes: each is named by its place before any was merged."""
    if source.merged:
        return [Lead(MERGED)]
    if without_time(walker, source):
        return [Lead(1 - walker.time_axis)]
    return [Lead(place) for place in range(walker.lead_of(source))]


def without_time(walker: Walker, source: Value) -> bool:
    """Whether a value is the same in every step, (N, …) among (T, N, …)."""
    return walker.lead == 2 and source.lead == 1 and not source.merged


def check_lead(walker: Walker, module: Any, path: str, given: Any) -> None:
    """Refuses what takes (T, N, …) and is given another layout."""
    mode = registry.step_mode(module) or getattr(module, "step_mode", None)
    if mode != "m" or walker.lead != 2:
        return
    for item in leaves(given, Value):
        if walker.lead_of(item) != 2:
            have = "batch and time in one axis" if item.merged else "one step (N, …)"
            raise UnsupportedError(
                f"{path}: {type(module).__name__} is given {have}, expected all steps "
                '(T, N, …); unflatten or repeat its input, or set its step_mode to "s" if it '
                "is a layer without state"
            )


def axis(call: Call, dim: Any, source: Value) -> int:
    """A torch axis as one of a sample; the leading axes are not to be touched."""
    lead, rank = call.walker.lead_of(source), len(source.shape)
    if not isinstance(dim, int) or not -(lead + rank) <= dim < lead + rank:
        raise call.refused(f"axis {dim} does not exist, expected one of {lead + rank}")
    index = dim % (lead + rank) - lead
    if index < 0:
        timed = lead == 2 and dim % (lead + rank) == call.walker.time_axis
        kind = "time" if timed else "batch"
        raise call.refused(f"axis {dim} is the {kind} axis, expected one of a sample's")
    return index


def lead_axis(call: Call, dim: Any, rank: int) -> int:
    """A torch axis counted from the front, of `rank` in all."""
    if not isinstance(dim, int) or not -rank <= dim < rank:
        raise call.refused(f"axis {dim} does not exist, expected one of {rank}")
    return dim % rank


def names(*functions: Any) -> tuple[Any, ...]:
    """Functions that mean the same; those that this torch lacks are left out."""
    found = []
    for name in functions:
        for space in (torch, F, operator):
            if hasattr(space, name):
                found.append(getattr(space, name))
    return tuple(found)
