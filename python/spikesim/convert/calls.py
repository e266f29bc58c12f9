"""Which function or method of torch means what: the tables of `functional.lower`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spikesim.convert import arithmetic, layers, pooling, reshape
from spikesim.convert.functional import PART, Call, Handler, axis, names, unknown, value
from spikesim.convert.symbols import Lead, Membrane, OverTime, Padded, Pile, State, Value, mapped

# Reading options out of a call


def _reader(
    read: Callable[..., Any], first: str | None, options: dict[str, Any], pads: bool = False
) -> Handler:
    """A call whose first argument is a value and whose others are options of `read`: `first`,
    which must be given, and those with a default."""
    order = (*(() if first is None else (first,)), *options)

    def handle(call: Call) -> Any:
        given = call.bind("input", *order, **options)
        source = given.pop("input")
        if not (pads and isinstance(source, Padded)):
            source = value(call, source)
        _check_one_step(call, source)
        return read(call.walker.builder, call.path, source, **given)

    return handle


def _check_one_step(call: Call, source: Value | Padded) -> None:
    """Refuses a function of images that is given all steps: an axis more is another meaning."""
    given = source.value if isinstance(source, Padded) else source
    if call.walker.lead_of(given) == 2:
        raise call.refused(
            "is given all steps at once, expected one step (N, …); wrap it in what runs it for "
            "each step, like SeqToANNContainer"
        )


_AVG = {
    "stride": None,
    "padding": 0,
    "ceil_mode": False,
    "count_include_pad": True,
    "divisor_override": None,
}
_MAX = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False}
_UP = {
    "size": None,
    "scale_factor": None,
    "mode": "nearest",
    "align_corners": None,
    "recompute_scale_factor": None,
    "antialias": False,
}
_CONV = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}


def _avg(read: Any, axes: int) -> Handler:
    options = dict(list(_AVG.items())[: 4 if axes == 1 else 5])
    return _reader(read, "kernel_size", options, pads=True)


def _max(read: Any) -> Handler:
    return _reader(read, "kernel_size", _MAX, pads=True)


def _adaptive(read: Any, *more: str) -> Handler:
    return _reader(read, "output_size", dict.fromkeys(more, False))


# Layers


def _linear(call: Call) -> Value:
    given = call.bind("input", "weight", "bias", bias=None)
    source = value(call, given["input"])
    return layers.linear(call.walker.builder, call.path, source, given["weight"], given["bias"])


def _conv(axes: int) -> Handler:
    def read(builder: Any, path: str, source: Any, *, weight: Any, bias: Any, **rest: Any) -> Any:
        return layers.convolution(axes, builder, path, source, weight, bias, **rest)

    return _reader(read, "weight", _CONV, pads=True)


def _batch_norm(call: Call) -> Value:
    order = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum")
    given = call.bind(*order, "eps", weight=None, bias=None, training=False, momentum=0.1, eps=1e-5)
    return _normed(call, given)


def _native_batch_norm(call: Call) -> Value:
    given = call.bind(
        *("input", "weight", "bias", "running_mean", "running_var", "training", "momentum"),
        *("eps", "cudnn_enabled"),
    )
    return _normed(call, given)


def _normed(call: Call, given: dict[str, Any]) -> Value:
    mean, var = given["running_mean"], given["running_var"]
    if given["training"] or not isinstance(mean, Tensor) or not isinstance(var, Tensor):
        raise call.refused(
            "batch_norm() takes the statistics of the batch, expected running ones; pass "
            "training=self.training and the running statistics"
        )
    source = value(call, given["input"])
    _check_one_step(call, source)
    weight, bias, eps = given["weight"], given["bias"], given["eps"]
    return layers.batch_norm(call.walker.builder, call.path, source, mean, var, weight, bias, eps)


def _pad(call: Call) -> Value | Padded:
    given = call.bind("input", "pad", "mode", "value", mode="constant", value=None)
    source = given["input"]
    if not isinstance(source, Padded):
        source = value(call, source)
    return layers.padded(call.path, source, given["pad"], given["mode"], given["value"])


def _dropout(call: Call) -> Value:
    given = call.bind("input", "p", "training", "inplace", p=0.5, training=True, inplace=False)
    if given["training"] and given["p"]:
        raise call.refused(
            "dropout() is always on, expected it off in eval mode; pass training=self.training "
            "or use nn.Dropout"
        )
    return value(call, given["input"])


def _native_dropout(call: Call) -> Value:
    given = call.bind("input", "p", "train")
    return _dropout(Call(call.walker, call.path, (given["input"], given["p"], given["train"]), {}))


# Reductions


def _reduced(name: str) -> Handler:
    """A sum, mean or maximum: over space, over the steps of a multi-step module, of a stack."""

    def handle(call: Call) -> Any:
        given = call.bind("input", "dim", "keepdim", "dtype", dim=None, keepdim=False, dtype=None)
        source, keep = given["input"], bool(given["keepdim"])
        dims = given["dim"]
        dims = list(dims) if isinstance(dims, tuple | list) else [dims]
        if given["dtype"] not in (None, torch.float32):
            raise call.refused(f"computes in {given['dtype']}, expected float32")
        if isinstance(source, Pile) and name != "max" and dims == [0] and not keep:
            return arithmetic.pile_sum(call, source, name)
        if isinstance(source, Membrane | State | OverTime):
            raise unknown(call, name)
        source = value(call, source)
        timed = call.walker.lead_of(source) == 2 and dims == [call.walker.time_axis]
        if timed and not keep and name != "max":
            return OverTime(source, name)
        if any(not isinstance(dim, int) for dim in dims):
            raise call.refused(f"{name}() is over all axes, expected those of space by number")
        axes = sorted({axis(call, dim, source) for dim in dims})
        if 0 in axes or len(source.shape) not in (2, 3):
            raise call.refused(
                f"{name}() is over the channels of {source.shape}, expected the axes of space, "
                "or the time axis of a multi-step module alone"
            )
        builder = call.walker.builder
        return pooling.over_space(builder, call.path, source, name, axes, keep)

    return handle


# What changes nothing


def _same(call: Call) -> Any:
    item = call.args[0] if call.args else next(iter(call.kwargs.values()))
    return item if isinstance(item, Membrane | Padded) else value(call, item)


def _relu(call: Call) -> Any:
    """Zeros and ones are what they were."""
    source = call.bind("input", "inplace", inplace=False)["input"]
    if isinstance(source, Value) and source.binary:
        return source
    raise unknown(call, "relu")


def _to(call: Call) -> Any:
    """Another device is the same to a network; another type is not."""
    items = [*call.args[1:], *call.kwargs.values()]
    for item in items:
        if isinstance(item, torch.dtype) and item is not torch.float32:
            raise call.refused(f"changes the type to {item}, expected torch.float32")
    return _same(Call(call.walker, call.path, call.args[:1], {}))


def _zeros_like(fill: Callable[..., Tensor]) -> Handler:
    def handle(call: Call) -> Tensor:
        item = call.args[0]
        source = item.neuron if isinstance(item, Membrane) else value(call, item)
        # Alike for every sample: one stands for all.
        return fill((*(1 for _ in range(call.walker.lead_of(source))), *source.shape))

    return handle


def _new(make: Callable[..., Tensor]) -> Handler:
    def handle(call: Call) -> Tensor:
        args, kwargs = mapped((call.args[1:], call.kwargs), lambda _: 1, Lead)
        return make(*args, **kwargs)

    return handle


def _part(call: Call) -> Any:
    value(call, call.args[0] if call.args else next(iter(call.kwargs.values())))
    raise call.refused(f"takes a part of a value, expected it whole; {PART}")


def _length(call: Call) -> Any:
    value(call, call.args[0])
    raise call.refused("takes the size of the batch or time axis, expected code for any size")


_BOTH: dict[str, Handler] = {
    "add": arithmetic.add,
    "sub": arithmetic.sub,
    "subtract": arithmetic.sub,
    "mul": arithmetic.mul,
    "multiply": arithmetic.mul,
    **dict.fromkeys(("div", "divide", "true_divide"), arithmetic.div),
    **dict.fromkeys(("neg", "negative"), arithmetic.neg),
    "flatten": reshape.flatten,
    "reshape": reshape.view,
    "unflatten": reshape.unflatten,
    "squeeze": reshape.squeeze,
    "unsqueeze": reshape.unsqueeze,
    "permute": reshape.permute,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), reshape.transpose),
    "sum": _reduced("sum"),
    "mean": _reduced("mean"),
    "amax": _reduced("max"),
    **dict.fromkeys(("clone", "detach"), _same),
    **dict.fromkeys(("chunk", "split", "narrow", "select", "tensor_split"), _part),
}

FUNCTIONS: dict[Any, Handler] = {
    **{getattr(torch, name): handler for name, handler in _BOTH.items() if hasattr(torch, name)},
    **dict.fromkeys((operator.add, operator.iadd), arithmetic.add),
    **dict.fromkeys((operator.sub, operator.isub), arithmetic.sub),
    **dict.fromkeys((operator.mul, operator.imul), arithmetic.mul),
    **dict.fromkeys((operator.truediv, operator.itruediv), arithmetic.div),
    operator.neg: arithmetic.neg,
    operator.pos: _same,
    torch.rsub: arithmetic.rsub,
    **dict.fromkeys((F.relu, torch.relu), _relu),
    **dict.fromkeys(names("cat", "concatenate"), arithmetic.cat),
    torch.concat: arithmetic.cat,
    torch.stack: arithmetic.stack,
    getattr: reshape.attribute,
    operator.getitem: reshape.getitem,
    iter: reshape.iterate,
    len: _length,
    torch.zeros_like: _zeros_like(torch.zeros),
    torch.ones_like: _zeros_like(torch.ones),
    **dict.fromkeys(
        (F.dropout, F.dropout1d, F.dropout2d, F.alpha_dropout, F.feature_alpha_dropout), _dropout
    ),
    torch.dropout: _native_dropout,
    F.linear: _linear,
    F.conv1d: _conv(1),
    F.conv2d: _conv(2),
    F.batch_norm: _batch_norm,
    torch.batch_norm: _native_batch_norm,
    F.pad: _pad,
    F.avg_pool1d: _avg(pooling.avg_1d, 1),
    F.avg_pool2d: _avg(pooling.avg_2d, 2),
    **dict.fromkeys((F.max_pool1d, torch.max_pool1d), _max(pooling.max_1d)),
    **dict.fromkeys((F.max_pool2d, torch.max_pool2d), _max(pooling.max_2d)),
    F.adaptive_avg_pool1d: _adaptive(pooling.adaptive_avg_1d),
    F.adaptive_avg_pool2d: _adaptive(pooling.adaptive_avg_2d),
    F.adaptive_max_pool1d: _adaptive(pooling.adaptive_max(1), "return_indices"),
    F.adaptive_max_pool2d: _adaptive(pooling.adaptive_max(2), "return_indices"),
    F.interpolate: _reader(pooling.upsample, None, _UP),
}
METHODS: dict[Any, Handler] = {
    **_BOTH,
    "view": reshape.view,
    **dict.fromkeys(("repeat", "expand"), reshape.repeat),
    "size": reshape.shape,
    "dim": reshape.rank,
    "ndimension": reshape.rank,
    **dict.fromkeys(("contiguous", "float", "cpu", "cuda", "requires_grad"), _same),
    "relu": _relu,
    "to": _to,
    "type": _to,
    "type_as": _to,
    "unbind": reshape.iterate,
    "new_zeros": _new(torch.zeros),
    "new_ones": _new(torch.ones),
    "new_full": _new(torch.full),
}
