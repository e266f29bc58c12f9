"""Pools and upsampling, from the arguments that torch's modules and functions share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spikesim import ops
from spikesim.convert.build import Builder, Kind, Value
from spikesim.errors import UnsupportedError

Size = int | Sequence[int]


def extent(given: Any, axes: int) -> Any:
    """Torch's int or tuple, as int where one number says it."""
    if isinstance(given, tuple | list):
        sizes = tuple(int(item) for item in given)
        if len(set(sizes)) == 1:
            return sizes[0]
        return sizes if axes == 2 else sizes[0]
    return None if given is None else int(given)


def _stride(stride: Any, axes: int) -> Any:
    # torch: an empty stride means the kernel's size.
    return None if isinstance(stride, tuple | list) and not stride else extent(stride, axes)


def _avg(
    op: Any,
    axes: int,
    builder: Builder,
    path: str,
    value: Value,
    *,
    kernel_size: Size,
    stride: Any,
    padding: Size,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Value:
    if divisor_override is not None:
        raise UnsupportedError(
            f"{path}: divisor_override is {divisor_override}, expected None; scale the weights "
            "that follow instead"
        )
    check_rank(path, value, axes)
    pool = op(
        extent(kernel_size, axes),
        stride=_stride(stride, axes),
        padding=extent(padding, axes),
        ceil_mode=bool(ceil_mode),
        count_include_pad=bool(count_include_pad),
    )
    return builder.add(pool, path, value)


def avg_1d(builder: Builder, path: str, value: Value, **options: Any) -> Value:
    """Average pooling over one axis."""
    return _avg(ops.AvgPool1d, 1, builder, path, value, **options)


def avg_2d(builder: Builder, path: str, value: Value, **options: Any) -> Value:
    """Average pooling over two axes."""
    return _avg(ops.AvgPool2d, 2, builder, path, value, **options)


def _max(
    axes: int,
    builder: Builder,
    path: str,
    value: Value,
    *,
    kernel_size: Size,
    stride: Any,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
    return_indices: bool,
) -> Value:
    if extent(dilation, axes) != 1:
        raise UnsupportedError(f"{path}: dilation of a maximum pool is {dilation}, expected 1")
    if return_indices:
        raise UnsupportedError(f"{path}: return_indices is True, expected the values alone")
    check_rank(path, value, axes)
    currents, spikes = (
        (ops.CurrentMaxPool1d, ops.SpikeMaxPool1d)
        if axes == 1
        else (ops.CurrentMaxPool2d, ops.SpikeMaxPool2d)
    )
    if value.kind is Kind.SPIKES and value.signed and (extent(padding, axes) != 0 or ceil_mode):
        raise UnsupportedError(
            f"{path}: maximum pool pads spikes that may be negative, expected padding=0; torch's "
            "padding never wins, a silent neuron's 0 does"
        )
    # On spikes of one sign torch's maximum is the one over spikes: silence is 0 there too.
    op = spikes if value.kind is Kind.SPIKES else currents
    pool = op(
        extent(kernel_size, axes),
        stride=_stride(stride, axes),
        padding=extent(padding, axes),
        ceil_mode=bool(ceil_mode),
    )
    return builder.add(pool, path, value)


def max_1d(builder: Builder, path: str, value: Value, **options: Any) -> Value:
    """Maximum pooling over one axis."""
    return _max(1, builder, path, value, **options)


def max_2d(builder: Builder, path: str, value: Value, **options: Any) -> Value:
    """Maximum pooling over two axes."""
    return _max(2, builder, path, value, **options)


def adaptive_avg_2d(builder: Builder, path: str, value: Value, *, output_size: Any) -> Value:
    """Adaptive average pooling; None keeps an axis."""
    check_rank(path, value, 2)
    sizes = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size,) * 2
    if len(sizes) != 2:
        raise UnsupportedError(f"{path}: output_size is {output_size}, expected two numbers")
    rows, columns = (
        int(size) if size is not None else have
        for size, have in zip(sizes, value.shape[1:], strict=True)
    )
    return builder.add(ops.AdaptiveAvgPool2d((rows, columns)), path, value)


def upsample(
    builder: Builder,
    path: str,
    value: Value,
    *,
    size: Any,
    scale_factor: Any,
    mode: str,
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Value:
    """Nearest-neighbour upsampling by whole factors."""
    # With whole factors the two ways to choose the nearest place agree.
    if mode not in ("nearest", "nearest-exact"):
        raise UnsupportedError(f'{path}: mode "{mode}" is not supported; use "nearest"')
    check_rank(path, value, 2)
    have = value.shape[1:]
    if size is not None:
        sizes = tuple(size) if isinstance(size, tuple | list) else (size, size)
        factors = tuple(want / old for want, old in zip(sizes, have, strict=True))
    else:
        pair = isinstance(scale_factor, tuple | list)
        factors = tuple(scale_factor) if pair else (scale_factor, scale_factor)
    if any(factor != int(factor) or factor < 1 for factor in factors):
        raise UnsupportedError(
            f"{path}: upsampling by {' x '.join(f'{f:g}' for f in factors)}, expected whole factors"
        )
    if set(factors) == {1}:
        return value
    rows, columns = (int(factor) for factor in factors)
    return builder.add(ops.Upsample((rows, columns)), path, value)


def check_rank(path: str, value: Value, axes: int) -> None:
    """Refuses an input that does not have so many axes behind its channels."""
    if len(value.shape) != axes + 1:
        shape = "(C, H, W)" if axes == 2 else "(C, L)"
        raise UnsupportedError(f"{path}: input has shape {value.shape}, expected {shape}")
