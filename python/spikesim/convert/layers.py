"""Layers with weights, from the arguments that torch's modules and functions share."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from spikesim import ops
from spikesim.convert import pooling
from spikesim.convert.build import Builder, array
from spikesim.convert.functional import padding_refused
from spikesim.convert.symbols import Padded, Value
from spikesim.errors import UnsupportedError


def linear(builder: Builder, path: str, value: Value, weight: Any, bias: Any) -> Value:
    """weight @ x + bias."""
    if len(value.shape) != 1:
        raise UnsupportedError(
            f"{path}: Linear acts on the last axis of {value.shape}, expected one axis; flatten "
            "before it"
        )
    return builder.current(ops.Linear(*weights(path, weight, bias)), path, value)


def conv_op(
    axes: int,
    path: str,
    weight: Any,
    bias: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """The operation of a convolution over one or two axes."""
    op: Any = ops.Conv1d if axes == 1 else ops.Conv2d
    return op(
        *weights(path, weight, bias),
        stride=pooling.extent(stride, axes),
        padding=padding if isinstance(padding, str) else pooling.extent(padding, axes),
        dilation=pooling.extent(dilation, axes),
        groups=groups,
    )


def convolution(
    axes: int,
    builder: Builder,
    path: str,
    value: Value | Padded,
    weight: Any,
    bias: Any,
    **options: Any,
) -> Value:
    """A convolution, with the options of `conv_op`; zeros around its input are padding."""
    conv = conv_op(axes, path, weight, bias, **options)
    if isinstance(value, Padded):
        own = (conv.padding,) if axes == 1 else conv.padding
        if len(own) != len(value.sides):
            raise padding_refused(path)
        both = tuple(
            (before + around[0], after + around[1])
            for (before, after), around in zip(own, value.sides, strict=True)
        )
        conv = type(conv)(
            conv.weight,
            conv.bias,
            stride=conv.stride,
            padding=both[0] if axes == 1 else both,
            dilation=conv.dilation,
            groups=conv.groups,
        )
        value = value.value
    return builder.current(conv, path, value)


def batch_norm(
    builder: Builder, path: str, value: Value, mean: Any, var: Any, weight: Any, bias: Any, eps: Any
) -> Value:
    """Batch normalisation with fixed statistics."""
    count = mean.numel()
    norm = ops.BatchNorm(
        np.ones(count, np.float32) if weight is None else array(weight, path, "weight"),
        np.zeros(count, np.float32) if bias is None else array(bias, path, "bias"),
        array(mean, path, "running_mean"),
        array(var, path, "running_var"),
        eps=float(eps),
    )
    return builder.current(norm, path, value)


def weights(path: str, weight: Any, bias: Any) -> tuple[Any, Any]:
    """A layer's weight and bias, without a copy where that can be."""
    for what, item in (("weight", weight), ("bias", bias)):
        if not isinstance(item, Tensor) and not (what == "bias" and item is None):
            raise UnsupportedError(
                f"{path}: {what} is a {type(item).__name__}, expected a parameter or buffer of "
                "the module"
            )
    return array(weight, path, "weight"), None if bias is None else array(bias, path, "bias")


def padded(path: str, value: Value | Padded, pad: Any, mode: str, fill: Any) -> Value | Padded:
    """Zeros around a value, to be taken in by the layer that follows.

    Args:
        path: the call's name.
        value: what is padded.
        pad: as torch has it: (before, after) of the last axis, then of the one before, ….
        mode: torch's name.
        fill: what is put there.
    """
    if mode != "constant" or (fill is not None and fill != 0):
        how = f'mode "{mode}"' if mode != "constant" else f"the value {fill}"
        raise UnsupportedError(f"{path}: pads with {how}, expected zeros")
    numbers = list(pad) if isinstance(pad, tuple | list) else [pad]
    inner = value.value if isinstance(value, Padded) else value
    axes = len(inner.shape) - 1
    if not all(isinstance(n, int) and n >= 0 for n in numbers) or len(numbers) % 2:
        raise UnsupportedError(f"{path}: pads by {tuple(numbers)}, expected numbers of at least 0")
    pairs = [(numbers[i], numbers[i + 1]) for i in range(0, len(numbers), 2)]
    if any(pair != (0, 0) for pair in pairs[axes:]):
        raise UnsupportedError(
            f"{path}: pads channels or the batch, expected the axes of space; use a layer with "
            "more channels"
        )
    pairs = (pairs + [(0, 0)] * axes)[:axes][::-1]
    around = value.sides if isinstance(value, Padded) else ((0, 0),) * axes
    sides = tuple((a + c, b + d) for (a, b), (c, d) in zip(pairs, around, strict=True))
    return Padded(inner, sides) if any(side != (0, 0) for side in sides) else inner
