"""The nodes without neurons as torch's own layers compute them, not as the rules' loops do."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spikesim import ops
from spikesim.conformance.trace import delays, spread
from spikesim.errors import UnsupportedError
from spikesim.reference import layers
from spikesim.reference.geometry import Window, as_image, paddings, pair
from spikesim.reference.network import pool_window

Apply = Callable[[list[Tensor]], Tensor]
Conv = ops.Conv1d | ops.Conv2d
Pool = (
    ops.SumPool1d
    | ops.SumPool2d
    | ops.AvgPool1d
    | ops.AvgPool2d
    | ops.SpikeMaxPool1d
    | ops.SpikeMaxPool2d
    | ops.CurrentMaxPool1d
    | ops.CurrentMaxPool2d
)


def layer(name: str, op: ops.Op, shape: tuple[int, ...]) -> Apply:
    """What a node makes of the values (N, *shape) of its edges.

    Raises:
        UnsupportedError: No layer of torch does it.
    """
    if isinstance(op, ops.Linear):
        return _weighted(op, functional.linear)
    if isinstance(op, Conv):
        return _weighted(op, _conv(op))
    if isinstance(op, ops.Concat):
        axis = op.axis % len(shape) + 1
        return lambda values: torch.cat(values, axis)
    if isinstance(op, ops.Delay):
        return _delay(op, shape)
    one = _single(op, shape)
    if one is None:
        raise UnsupportedError(
            f"{name}: conformance has no layer of torch for {op.kind}, expected one that it has"
        )
    return lambda values: one(reduce(torch.add, values))


def _delay(op: ops.Delay, shape: tuple[int, ...]) -> Apply:
    """Of each edge come the values of as many steps as `delays` has."""
    own = torch.tensor(spread(op.delay, shape))
    late = delays(op)

    def apply(values: list[Tensor]) -> Tensor:
        edges = [values[i : i + len(late)] for i in range(0, len(values), len(late))]
        # Each element takes the value of its own step; the others are masked out.
        return reduce(
            torch.add,
            [
                reduce(
                    lambda kept, pair_: torch.where(own == pair_[0], pair_[1], kept),
                    zip(late, edge, strict=True),
                    torch.zeros_like(edge[0]),
                )
                for edge in edges
            ],
        )

    return apply


def tensor(values: Any) -> Tensor:
    """A private copy."""
    return torch.tensor(values, dtype=torch.float32)


def _weighted(op: Any, function: Callable[..., Tensor]) -> Apply:
    """Of each edge come the values of as many steps as `delays` has, each with its own synapses."""
    weight = tensor(op.weight)
    late = delays(op)
    own = torch.zeros_like(weight) if op.delay is None else tensor(op.delay).expand_as(weight)
    parts = [torch.where(own == d, weight, torch.zeros_like(weight)) for d in late]
    bias = None if op.bias is None else tensor(op.bias)

    def apply(values: list[Tensor]) -> Tensor:
        # One bias, however many edges.
        biases = [None] * (len(values) - 1) + [bias]
        sums = [function(x, parts[k % len(parts)], biases[k]) for k, x in enumerate(values)]
        return reduce(torch.add, sums)

    return apply


def _conv(op: Conv) -> Callable[..., Tensor]:
    one_axis = isinstance(op, ops.Conv1d)
    (top, bottom), (left, right) = paddings(op.padding)
    sides = (left, right) if one_axis else (left, right, top, bottom)
    convolve = functional.conv1d if one_axis else functional.conv2d

    def apply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return convolve(
            functional.pad(x, sides),
            weight,
            bias,
            stride=op.stride,
            dilation=op.dilation,
            groups=op.groups,
        )

    return apply


def _single(op: ops.Op, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor] | None:
    """The layers that sum their edges first."""
    if isinstance(op, ops.Add):
        return lambda x: x
    if isinstance(op, ops.Flatten):
        return lambda x: layers.flatten(x, op.start_dim, op.end_dim)
    if isinstance(op, ops.Upsample):
        factor = pair(op.scale_factor)
        factors = tuple(float(n) for n in factor[2 - (len(shape) - 1) :])
        return lambda x: functional.interpolate(x, scale_factor=factors, mode="nearest")
    if isinstance(op, ops.AdaptiveAvgPool2d):
        return lambda x: functional.adaptive_avg_pool2d(x, pair(op.output_size))
    if isinstance(op, ops.BatchNorm):
        mean, variance = tensor(op.running_mean), tensor(op.running_var)
        weight, bias = tensor(op.weight), tensor(op.bias)
        return lambda x: functional.batch_norm(
            x, mean, variance, weight, bias, training=False, eps=op.eps
        )
    if isinstance(op, ops.Scale):
        factors_ = tensor(op.scale)
        if factors_.ndim == 1:
            factors_ = factors_.reshape(-1, *(1 for _ in shape[1:]))
        return lambda x: x * factors_
    if isinstance(op, Pool):
        return _pool(op, shape)
    return None


def _pool(op: Any, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    window = pool_window(op)
    (top, bottom), (left, right) = window.padding
    one_axis = len(shape) == 2
    axes = slice(1, 2) if one_axis else slice(0, 2)
    kernel, stride, padding = window.kernel[axes], window.stride[axes], (top, left)[axes]
    spikes = isinstance(op, ops.SpikeMaxPool1d | ops.SpikeMaxPool2d)
    ceiled = spikes and window.ceil_mode and (top or left)
    wide = any(2 * pad > size for pad, size in zip((top, left), window.kernel, strict=True))
    if top != bottom or left != right or ceiled or wide:
        # No pool of torch pads one side alone, more than half its window, or a maximum with zeros.
        return _by_rule(op, window)
    common: dict[str, Any] = {"stride": stride, "ceil_mode": window.ceil_mode}
    largest: Any = functional.max_pool1d if one_axis else functional.max_pool2d
    average: Any = functional.avg_pool1d if one_axis else functional.avg_pool2d

    def apply(x: Tensor) -> Tensor:
        y: Tensor
        if spikes:
            zeros = (left, right) if one_axis else (left, right, top, bottom)
            y = largest(functional.pad(x, zeros), kernel, **common)
        elif isinstance(op, ops.CurrentMaxPool1d | ops.CurrentMaxPool2d):
            y = largest(x, kernel, padding=padding, **common)
        elif isinstance(op, ops.AvgPool1d | ops.AvgPool2d):
            include = bool(op.count_include_pad)
            y = average(x, kernel, padding=padding, count_include_pad=include, **common)
        else:
            y = functional.avg_pool2d(
                as_image(x),
                window.kernel,
                stride=window.stride,
                padding=(top, left),
                ceil_mode=window.ceil_mode,
                divisor_override=1,
            )
            y = y[:, :, 0] if one_axis else y
        return y

    return apply


def _by_rule(op: Any, window: Window) -> Callable[[Tensor], Tensor]:
    if isinstance(op, ops.SpikeMaxPool1d | ops.SpikeMaxPool2d):
        return lambda x: layers.max_pool(x, window, 0.0)
    if isinstance(op, ops.CurrentMaxPool1d | ops.CurrentMaxPool2d):
        return lambda x: layers.max_pool(x, window, -math.inf)
    if isinstance(op, ops.AvgPool1d | ops.AvgPool2d):
        include = bool(op.count_include_pad)
        return lambda x: layers.avg_pool(x, window, include)
    return lambda x: layers.sum_pool(x, window)
