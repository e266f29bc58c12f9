"""Operations with weights on the way to a neuron: Linear, Conv1d, Conv2d."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from spikesim.errors import GraphError
from spikesim.ops._base import FloatArray, Op, floats, integer, optional, pair, put, side, sides
from spikesim.ops._base import single as one
from spikesim.ops.delays import steps


@dataclass(frozen=True, eq=False, repr=False)
class Linear(Op):
    """A fully connected layer: `y = weight @ x + bias` on an input with one axis.

    Each edge into it is summed by itself from zero in ascending input index, the sums are added
    in the order in which the edges were declared, then the bias, once (rule S2).

    Args:
        weight: float32 `(n_out, n_in)`.
        bias: float32 `(n_out,)`, or None.
        delay: Steps that each synapse takes: whole numbers of the weight's shape, one for all, or
            None; kept as float32. What a synapse brings is `weight·x(t − delay)`, and what comes
            from longer ago is added first (rule S2.20).

    Raises:
        GraphError: A delay that is not whole.
        TypeError: An array that is not of real numbers.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network(input_shape=(2,))
        >>> net.add(ss.Linear([[0.5, -1.0]], bias=[0.25]), name="fc")
        'fc'
        >>> net.node("fc").shape
        (1,)
    """

    kind: ClassVar[str] = "linear"
    weight: FloatArray
    bias: FloatArray | None = None
    delay: FloatArray | None = None

    def __init__(
        self, weight: ArrayLike, bias: ArrayLike | None = None, delay: ArrayLike | None = None
    ) -> None:
        put(
            self,
            weight=floats(self, "weight", weight),
            bias=optional(self, "bias", bias),
            delay=None if delay is None else steps(self, delay),
        )

    def arrays(self) -> dict[str, FloatArray]:
        return _arrays(self)


@dataclass(frozen=True, eq=False, repr=False)
class Conv1d(Op):
    """A one-dimensional cross-correlation, as torch's `Conv1d`, on an input `(c_in, length)`.

    Args:
        weight: float32 `(c_out, c_in / groups, kx)`.
        bias: float32 `(c_out,)`, or None.
        stride: Steps of the window, in places.
        padding: Zeros on each side; or `(before, after)`; or "valid" (none); or "same" (stride 1:
            as long as the input, an odd zero at the end).
        dilation: Distance of the kernel's taps, in places.
        groups: Blocks of channels that do not see each other.
        delay: Steps that each synapse takes, as in `Linear`.

    Raises:
        GraphError: A number out of its range, an unknown padding, a delay that is not whole.
        TypeError: Something that is no number.

    Example:
        >>> import numpy as np, spikesim as ss
        >>> net = ss.Network(input_shape=(2, 8))
        >>> net.add(ss.Conv1d(np.ones((4, 2, 3)), padding="same"), name="conv")
        'conv'
        >>> net.node("conv").shape
        (4, 8)
    """

    kind: ClassVar[str] = "conv1d"
    weight: FloatArray
    bias: FloatArray | None = None
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    groups: int = 1
    delay: FloatArray | None = None

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        stride: int | tuple[int] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int] = 1,
        groups: int = 1,
        delay: ArrayLike | None = None,
    ) -> None:
        weight = floats(self, "weight", weight)
        stride, dilation = one(self, "stride", stride), one(self, "dilation", dilation)
        if isinstance(padding, str):
            padding = _named(self, padding, weight.shape[2:], (stride,), (dilation,))[0]
        elif isinstance(padding, tuple | list) and len(padding) == 1:
            padding = padding[0]
        put(
            self,
            weight=weight,
            bias=optional(self, "bias", bias),
            stride=stride,
            padding=side(self, padding),
            dilation=dilation,
            groups=integer(self, "groups", groups, 1),
            delay=None if delay is None else steps(self, delay),
        )

    def spec(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "stride": [self.stride],
            "padding": [list(self.padding)],
            "dilation": [self.dilation],
            "groups": self.groups,
        }

    def arrays(self) -> dict[str, FloatArray]:
        return _arrays(self)


@dataclass(frozen=True, eq=False, repr=False)
class Conv2d(Op):
    """A two-dimensional cross-correlation, as torch's `Conv2d`, on `(c_in, rows, columns)`.

    Each edge into it is summed by itself from zero in ascending `(ky, kx, c_in)`, the sums are
    added in the order in which the edges were declared, then the bias, once (rule S2).

    Args:
        weight: float32 `(c_out, c_in / groups, ky, kx)`.
        bias: float32 `(c_out,)`, or None.
        stride: Steps of the window; an integer or `(y, x)`.
        padding: Zeros around: `p`, `(py, px)`, `((top, bottom), (left, right))`, "valid" (none)
            or "same" (stride 1: as large as the input, an odd zero at the end).
        dilation: Distance of the kernel's taps; an integer or `(y, x)`.
        groups: Blocks of channels that do not see each other.
        delay: Steps that each synapse takes, as in `Linear`.

    Raises:
        GraphError: A number out of its range, an unknown padding, a delay that is not whole.
        TypeError: Something that is no number.

    Example:
        >>> import numpy as np, spikesim as ss
        >>> net = ss.Network(input_shape=(3, 32, 32))
        >>> net.add(ss.Conv2d(np.ones((8, 3, 3, 3)), stride=2, padding=1), name="conv")
        'conv'
        >>> net.node("conv").shape
        (8, 16, 16)
    """

    kind: ClassVar[str] = "conv2d"
    weight: FloatArray
    bias: FloatArray | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    delay: FloatArray | None = None

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        delay: ArrayLike | None = None,
    ) -> None:
        weight = floats(self, "weight", weight)
        stride, dilation = pair(self, "stride", stride), pair(self, "dilation", dilation)
        if isinstance(padding, str):
            padding = _named(self, padding, weight.shape[2:], stride, dilation)
        put(
            self,
            weight=weight,
            bias=optional(self, "bias", bias),
            stride=stride,
            padding=sides(self, padding),
            dilation=dilation,
            groups=integer(self, "groups", groups, 1),
            delay=None if delay is None else steps(self, delay),
        )

    def spec(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "stride": list(self.stride),
            "padding": [list(p) for p in self.padding],
            "dilation": list(self.dilation),
            "groups": self.groups,
        }

    def arrays(self) -> dict[str, FloatArray]:
        return _arrays(self)


def _arrays(layer: Linear | Conv1d | Conv2d) -> dict[str, FloatArray]:
    arrays = {"weight": layer.weight, "bias": layer.bias, "delay": layer.delay}
    return {name: array for name, array in arrays.items() if array is not None}


def _named(
    op: Op, name: str, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> Any:
    """The padding that a name stands for, one (before, after) an axis."""
    where = type(op).__name__
    if name == "valid":
        return ((0, 0),) * len(stride)
    if name != "same":
        raise GraphError(f'{where}: padding is "{name}", expected numbers, "same" or "valid"')
    if any(s != 1 for s in stride):
        raise GraphError(
            f'{where}: padding "same" with stride {stride}, expected stride 1; give numbers'
        )
    if len(kernel) != len(stride):  # reported with the weight's shape when the node is added
        return ((0, 0),) * len(stride)
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)
