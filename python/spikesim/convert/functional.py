"""Calls in a traced forward: additions, joins, reshapes and the functional forms of pools."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spikesim import ops
from spikesim.convert import pooling, products
from spikesim.convert.build import Membrane, OverTime, State, Value
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
        return {**defaults, **given}

    def refused(self, problem: str) -> UnsupportedError:
        """The error for this call."""
        return UnsupportedError(f"{self.path}: {problem}")


@dataclass(frozen=True)
class Lead:
    """The length of a leading axis (time or batch), which a network does not know."""

    axis: int


def lower(call: Call, kind: str, target: Any) -> Any:
    """What a call returns: values become nodes, plain numbers are computed.

    Args:
        call: the call.
        kind: "call_function" or "call_method".
        target: the function, or the method's name.
    """
    handler = METHODS.get(target) if kind == "call_method" else FUNCTIONS.get(target)
    if handler is not None:
        result = handler(call)
        if result is not NotImplemented:
            return result
    involved = [arg for arg in _leaves((call.args, call.kwargs)) if isinstance(arg, SYMBOLIC)]
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    if not involved and kind == "call_function":
        return target(*call.args, **call.kwargs)
    if any(isinstance(arg, Membrane) for arg in involved):
        raise call.refused(
            f"{name}() uses the membrane of {_first(involved, Membrane).neuron.name}, expected "
            "its spikes alone; a membrane is read by the readouts last_v and max_v"
        )
    if any(isinstance(arg, State) for arg in involved):
        raise call.refused(
            f"{name}() uses the argument {_first(involved, State).name!r} of forward, expected "
            "one input; further arguments are the states of neurons"
        )
    advice = ADVICE.get(name, "express it with additions, torch.cat and the layers of torch.nn")
    raise call.refused(f"{name}() is not supported, expected a layer; {advice}")


SYMBOLIC = (Value, Membrane, State, OverTime, Lead, products.Complement)

NO_RELU = (
    "it is no spiking neuron: put a neuron module (spikesim.train.IF, …) in its place and train, "
    "or convert the trained network first"
)
ADVICE = {
    **dict.fromkeys(
        ("relu", "relu_", "gelu", "silu", "sigmoid", "tanh", "leaky_relu", "softmax"), NO_RELU
    ),
    **dict.fromkeys(
        ("linear", "conv1d", "conv2d", "batch_norm"),
        "use the module of torch.nn, which has a name and weights of its own",
    ),
    "stack": "leave the loop over time and its collection of results to the network's run",
}


def _first(items: list[Any], cls: type) -> Any:
    return next(item for item in items if isinstance(item, cls))


def _leaves(item: Any) -> list[Any]:
    if isinstance(item, tuple | list):
        return [leaf for part in item for leaf in _leaves(part)]
    if isinstance(item, dict):
        return _leaves(list(item.values()))
    if isinstance(item, slice):
        return _leaves((item.start, item.stop, item.step))
    return [item]


def value(call: Call, item: Any) -> Value:
    """An argument that must be the output of a layer."""
    if isinstance(item, Value):
        return item
    if isinstance(item, Membrane | State):
        lower(call, "call_method", "this call")
    raise call.refused(f"is given a {type(item).__name__}, expected the output of a layer")


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


def _add(call: Call) -> Any:
    given = call.bind("input", "other", "alpha", alpha=1)
    return _sum(call, given["input"], given["other"], given["alpha"])


def _sum(call: Call, left: Any, right: Any, alpha: Any) -> Any:
    if not any(isinstance(item, SYMBOLIC) for item in (left, right)):
        return left + right
    if alpha != 1:
        raise call.refused(f"adds with alpha={alpha}, expected a plain addition")
    for item in (left, right):
        if isinstance(item, int | float | Tensor):
            raise call.refused("adds a constant, expected two outputs of layers; use a bias")
    first, second = value(call, left), value(call, right)
    if first.shape != second.shape:
        raise call.refused(
            f"adds shapes {first.shape} and {second.shape}, expected equal ones; broadcasting is "
            "not supported"
        )
    if first.name == second.name:
        raise call.refused("adds a value to itself, expected two; double the weights instead")
    return call.walker.builder.add(ops.Add(), call.path, first, second)


def _cat(call: Call) -> Value:
    given = call.bind("tensors", "dim", dim=0)
    if "axis" in given:
        given["dim"] = given["axis"]
    values = [value(call, item) for item in given["tensors"]]
    if not values:
        raise call.refused("joins nothing, expected at least one output of a layer")
    if len(values) == 1:
        return values[0]
    where = axis(call, given["dim"], values[0])
    return call.walker.builder.add(ops.Concat(axis=where), call.path, *values)


def _flatten(call: Call) -> Value:
    given = call.bind("input", "start_dim", "end_dim", start_dim=0, end_dim=-1)
    return flatten(call, value(call, given["input"]), given["start_dim"], given["end_dim"])


def flatten(call: Call, source: Value, start_dim: int, end_dim: int) -> Value:
    """Flatten in torch's axes; nothing where there is only one."""
    start, end = axis(call, start_dim, source), axis(call, end_dim, source)
    if start >= end:
        return source
    return call.walker.builder.add(ops.Flatten(start, end), call.path, source)


def _view(call: Call) -> Value:
    source = value(call, call.args[0])
    sizes = list(call.args[1:]) or list(call.kwargs.values())
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = list(sizes[0])
    if sizes and isinstance(sizes[0], torch.dtype):
        raise call.refused("reinterprets bytes, expected a change of shape")
    lead = call.walker.lead_of(source)
    head, rest = sizes[:lead], sizes[lead:]
    # (N, -1), (-1, features): the batch may be left to be worked out if a sample is not.
    kept = all(item == Lead(i) for i, item in enumerate(head)) or (
        head[-1:] == [-1] and all(item == Lead(i) for i, item in enumerate(head[:-1]))
    )
    count = 1
    for size in source.shape:
        count *= size
    if not kept or any(not isinstance(size, int) for size in rest) or rest.count(-1) > 1:
        raise call.refused("reshapes the batch or time axis, expected view(x.shape[0], …)")
    if -1 in rest and -1 not in head:
        known = 1
        for size in rest:
            known *= size if size != -1 else 1
        rest[rest.index(-1)] = count // known if known else 0
    shape = tuple(rest)
    if shape == source.shape:
        return source
    if shape == (count,):
        return flatten(call, source, lead, -1)
    raise call.refused(f"reshapes {source.shape} to {shape}, expected ({count},): use flatten")


def _shape(call: Call) -> Any:
    source = value(call, call.args[0])
    sizes = [*(Lead(i) for i in range(call.walker.lead_of(source))), *source.shape]
    if len(call.args) > 1:
        return sizes[call.args[1]]
    return sizes[call.kwargs["dim"]] if "dim" in call.kwargs else tuple(sizes)


def _rank(call: Call) -> int:
    source = value(call, call.args[0])
    return call.walker.lead_of(source) + len(source.shape)


def _getattr(call: Call) -> Any:
    item, name = call.args[0], call.args[1]
    if isinstance(item, Value):
        if name == "shape":
            return _shape(Call(call.walker, call.path, (item,), {}))
        if name == "ndim":
            return _rank(call)
        if name in ("device", "dtype"):
            return torch.device("cpu") if name == "device" else torch.float32
        raise call.refused(f"reads the attribute {name!r}, expected layers' outputs alone")
    if isinstance(item, Membrane | State):
        raise call.refused(
            f"reads {name!r} of the state of a neuron, expected its output alone; a membrane is "
            "read by the readouts last_v and max_v"
        )
    return getattr(*call.args)


def _getitem(call: Call) -> Any:
    item, index = call.args
    if isinstance(item, Value):
        raise call.refused(
            "indexes the output of a layer, expected it whole; leave a loop over time to the "
            "network's run"
        )
    if isinstance(item, State):
        raise call.refused(
            f"indexes the argument {item.name!r} of forward, expected one argument for each state"
        )
    return item[index]


def _same(call: Call) -> Value:
    return value(call, call.args[0])


def _dropout(call: Call) -> Value:
    given = call.bind("input", "p", "training", "inplace", p=0.5, training=True, inplace=False)
    if given["training"] and given["p"]:
        raise call.refused(
            "dropout() is always on, expected it off in eval mode; pass training=self.training "
            "or use nn.Dropout"
        )
    return value(call, given["input"])


def _over_time(name: str) -> Callable[[Call], Any]:
    def handle(call: Call) -> Any:
        given = call.bind("input", "dim", "keepdim", dim=None, keepdim=False)
        source = value(call, given["input"])
        dim = given["dim"]
        dim = dim[0] if isinstance(dim, tuple | list) and len(dim) == 1 else dim
        over_time = call.walker.lead_of(source) == 2 and dim == call.walker.time_axis
        if over_time and not given["keepdim"]:
            return OverTime(source, name)
        raise call.refused(
            f"{name}() is not supported here, expected it over the time axis of a multi-step "
            "module alone; use a pooling layer"
        )

    return handle


def _pool(read: Callable[..., Value], *names: str, **defaults: Any) -> Callable[[Call], Value]:
    def handle(call: Call) -> Value:
        given = call.bind("input", *names, **defaults)
        source = value(call, given.pop("input"))
        return read(call.walker.builder, call.path, source, **given)

    return handle


_AVG = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
_AVG_DEFAULTS = {
    "stride": None,
    "padding": 0,
    "ceil_mode": False,
    "count_include_pad": True,
    "divisor_override": None,
}
_MAX = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_MAX_DEFAULTS = {
    "stride": None,
    "padding": 0,
    "dilation": 1,
    "ceil_mode": False,
    "return_indices": False,
}
_UP = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")
_UP_DEFAULTS = {
    "size": None,
    "scale_factor": None,
    "mode": "nearest",
    "align_corners": None,
    "recompute_scale_factor": None,
    "antialias": False,
}

FUNCTIONS: dict[Any, Callable[[Call], Any]] = {
    operator.add: _add,
    operator.iadd: _add,
    torch.add: _add,
    operator.mul: products.product,
    torch.mul: products.product,
    operator.sub: products.complement,
    torch.cat: _cat,
    torch.concat: _cat,
    torch.concatenate: _cat,
    torch.flatten: _flatten,
    torch.reshape: _view,
    torch.mean: _over_time("mean"),
    torch.sum: _over_time("sum"),
    torch.clone: _same,
    getattr: _getattr,
    operator.getitem: _getitem,
    F.dropout: _dropout,
    F.dropout2d: _dropout,
    F.avg_pool1d: _pool(pooling.avg_1d, *_AVG[:-1], **_AVG_DEFAULTS),
    F.avg_pool2d: _pool(pooling.avg_2d, *_AVG, **_AVG_DEFAULTS),
    F.max_pool1d: _pool(pooling.max_1d, *_MAX, **_MAX_DEFAULTS),
    F.max_pool2d: _pool(pooling.max_2d, *_MAX, **_MAX_DEFAULTS),
    F.adaptive_avg_pool2d: _pool(pooling.adaptive_avg_2d, "output_size"),
    F.interpolate: _pool(pooling.upsample, *_UP, **_UP_DEFAULTS),
}
METHODS: dict[str, Callable[[Call], Any]] = {
    "mul": products.product,
    "add": _add,
    "add_": _add,
    "flatten": _flatten,
    "view": _view,
    "reshape": _view,
    "size": _shape,
    "dim": _rank,
    "mean": _over_time("mean"),
    "sum": _over_time("sum"),
    **dict.fromkeys(("contiguous", "clone", "detach", "float"), _same),
}
