"""Pools and upsampling, from the arguments that torch's modules and functions share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spikesim import ops
from spikesim.convert.build import Builder
from spikesim.convert.symbols import Kind, Padded, Value
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
    # In torch an empty stride means the kernel's size.
    return None if isinstance(stride, tuple | list) and not stride else extent(stride, axes)


def _avg(
    op: Any,
    axes: int,
    builder: Builder,
    path: str,
    value: Value | Padded,
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
    value, zeros = _zeros(path, value, padding, ceil_mode)
    check_rank(path, value, axes)
    pool = op(
        extent(kernel_size, axes),
        stride=_stride(stride, axes),
        padding=extent(padding, axes) if zeros is None else _sides(zeros),
        ceil_mode=bool(ceil_mode),
        # Zeros that were put around the value are part of it.
        count_include_pad=bool(count_include_pad) or zeros is not None,
    )
    return builder.add(pool, path, value)


def avg_1d(builder: Builder, path: str, value: Value | Padded, **options: Any) -> Value:
    """Average pooling over one axis."""
    return _avg(ops.AvgPool1d, 1, builder, path, value, **options)


def avg_2d(builder: Builder, path: str, value: Value | Padded, **options: Any) -> Value:
    """Average pooling over two axes."""
    return _avg(ops.AvgPool2d, 2, builder, path, value, **options)


def _max(
    axes: int,
    builder: Builder,
    path: str,
    value: Value | Padded,
    *,
    kernel_size: Size,
    stride: Any,
    padding: Size,
    dilation: Size = 1,
    ceil_mode: bool,
    return_indices: bool = False,
) -> Value:
    if extent(dilation, axes) != 1:
        raise UnsupportedError(f"{path}: dilation of a maximum pool is {dilation}, expected 1")
    if return_indices:
        raise UnsupportedError(f"{path}: return_indices is True, expected the values alone")
    value, zeros = _zeros(path, value, padding, ceil_mode)
    check_rank(path, value, axes)
    currents, spikes = (
        (ops.CurrentMaxPool1d, ops.SpikeMaxPool1d)
        if axes == 1
        else (ops.CurrentMaxPool2d, ops.SpikeMaxPool2d)
    )
    pads = extent(padding, axes) != 0 or ceil_mode
    signed = value.kind is Kind.SPIKES and value.signed
    if signed and pads and builder.activations is None:
        raise UnsupportedError(
            f"{path}: maximum pool pads spikes that may be negative, expected padding=0; torch's "
            "padding never wins, a silent neuron's 0 does"
        )
    if signed and zeros is not None and builder.activations is not None:
        raise UnsupportedError(
            f"{path}: maximum pool is given values that may be negative with zeros around, which "
            "no rates are, expected none; use the pool's own padding, which never wins"
        )
    if value.kind is not Kind.SPIKES and zeros is not None:
        raise UnsupportedError(
            f"{path}: maximum pool is given currents with zeros around, expected spikes; use the "
            "pool's own padding, which never wins"
        )
    # On spikes of one sign torch's maximum is the one over spikes: silence is 0 there too. Where
    # an ANN is read they are activations, and of their rates padding never wins.
    op: Any = spikes if value.kind is Kind.SPIKES else currents
    if signed and pads:
        op = ops.RateMaxPool1d if axes == 1 else ops.RateMaxPool2d
    pool = op(
        extent(kernel_size, axes),
        stride=_stride(stride, axes),
        padding=extent(padding, axes) if zeros is None else _sides(zeros),
        ceil_mode=bool(ceil_mode),
    )
    return builder.add(pool, path, value)


def _zeros(
    path: str, value: Value | Padded, padding: Any, ceil_mode: bool
) -> tuple[Value, tuple[tuple[int, int], ...] | None]:
    """A value and the zeros around it; None: there are none."""
    if isinstance(value, Value):
        return value, None
    if extent(padding, 2) != 0 or ceil_mode:
        raise UnsupportedError(
            f"{path}: a pool with padding or ceil_mode is given a padded value, expected one of "
            "the two; pad in the pool alone"
        )
    return value.value, value.sides


def _sides(sides: tuple[tuple[int, int], ...]) -> Any:
    return sides[0] if len(sides) == 1 else sides


def max_1d(builder: Builder, path: str, value: Value | Padded, **options: Any) -> Value:
    """Maximum pooling over one axis."""
    return _max(1, builder, path, value, **options)


def max_2d(builder: Builder, path: str, value: Value | Padded, **options: Any) -> Value:
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


def adaptive_avg_1d(builder: Builder, path: str, value: Value, *, output_size: Any) -> Value:
    """Adaptive average pooling into equal windows."""
    window = _windows(path, value, 1, output_size)[0]
    return builder.add(ops.AvgPool1d(window), path, value)


def adaptive_max(axes: int) -> Any:
    """Adaptive maximum pooling into equal windows, over `axes` axes."""

    def read(
        builder: Builder,
        path: str,
        value: Value,
        *,
        output_size: Any,
        return_indices: bool = False,
    ) -> Value:
        window = _windows(path, value, axes, output_size)
        options = {"stride": None, "padding": 0, "ceil_mode": False}
        return _max(
            axes,
            builder,
            path,
            value,
            kernel_size=window,
            return_indices=return_indices,
            **options,  # type: ignore[arg-type]  # each is of its own type
        )

    return read


def _windows(path: str, value: Value, axes: int, output_size: Any) -> tuple[int, ...]:
    check_rank(path, value, axes)
    several = isinstance(output_size, tuple | list)
    sizes = tuple(output_size) if several else (output_size,) * axes
    have = value.shape[1:]
    sizes = tuple(old if want is None else int(want) for want, old in zip(sizes, have, strict=True))
    if any(want < 1 or old % want for want, old in zip(sizes, have, strict=True)):
        raise UnsupportedError(
            f"{path}: adaptive pool from {have} to {sizes}, expected windows of one size; use "
            "sizes that divide"
        )
    return tuple(old // want for want, old in zip(sizes, have, strict=True))


def over_space(
    builder: Builder, path: str, value: Value, name: str, axes: Sequence[int], keep: bool
) -> Value:
    """A sum, mean or maximum over the last axes of a map, each whole.

    Args:
        builder: the network's.
        path: the call's name.
        value: (C, L) or (C, H, W).
        name: "sum", "mean" or "max".
        axes: axes of a sample, ascending, none of them the first.
        keep: whether the axes stay, with one place each.
    """
    kernel = tuple(n if axis in axes else 1 for axis, n in enumerate(value.shape[1:], start=1))
    whole: Any = {"kernel_size": kernel, "stride": None, "padding": 0, "ceil_mode": False}
    dims = len(kernel)
    if name == "mean":
        whole["count_include_pad"] = True
        out = (avg_1d if dims == 1 else avg_2d)(builder, path, value, **whole)
    elif name == "sum":
        op: Any = ops.SumPool1d if dims == 1 else ops.SumPool2d
        out = builder.add(op(extent(kernel, dims)), path, value)
    else:
        out = _max(dims, builder, path, value, **whole)
    if keep:
        return out
    # Axes of one place go into the one before them.
    if list(axes) == [1, 2]:
        return builder.add(ops.Flatten(0, 2), path, out)
    return builder.add(ops.Flatten(axes[0] - 1, axes[0]), path, out)


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
