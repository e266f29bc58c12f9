"""Pooling. Maximum pooling means something else on spikes than on currents, so it has two names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from spikesim.ops._base import Op, boolean, choice, pair, put, side, sides
from spikesim.ops._base import single as one

Side = tuple[int, int]
Gate = Literal["count", "argmax"]

_GATES = ("count", "argmax")


@dataclass(frozen=True, eq=False, repr=False)
class _Pool1d(Op):
    """A window along the axis of an input `(channels, length)`."""

    kernel_size: int
    stride: int
    padding: Side = (0, 0)
    ceil_mode: bool = False

    def __init__(
        self,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] | None = None,
        padding: int | tuple[int, ...] = 0,
        ceil_mode: bool = False,
    ) -> None:
        kernel_size = one(self, "kernel_size", kernel_size)
        if isinstance(padding, tuple | list) and len(padding) == 1:
            padding = padding[0]
        put(
            self,
            kernel_size=kernel_size,
            stride=kernel_size if stride is None else one(self, "stride", stride),
            padding=side(self, padding),
            ceil_mode=boolean(self, "ceil_mode", ceil_mode),
        )

    def spec(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "kernel_size": [self.kernel_size],
            "stride": [self.stride],
            "padding": [list(self.padding)],
            "ceil_mode": self.ceil_mode,
        }


@dataclass(frozen=True, eq=False, repr=False)
class _Pool2d(Op):
    """A window over the rows and columns of an input `(channels, rows, columns)`."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[Side, Side] = ((0, 0), (0, 0))
    ceil_mode: bool = False

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] | tuple[Side, Side] = 0,
        ceil_mode: bool = False,
    ) -> None:
        kernel_size = pair(self, "kernel_size", kernel_size)
        put(
            self,
            kernel_size=kernel_size,
            stride=kernel_size if stride is None else pair(self, "stride", stride),
            padding=sides(self, padding),
            ceil_mode=boolean(self, "ceil_mode", ceil_mode),
        )

    def spec(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "kernel_size": list(self.kernel_size),
            "stride": list(self.stride),
            "padding": [list(p) for p in self.padding],
            "ceil_mode": self.ceil_mode,
        }


class SumPool1d(_Pool1d):
    """The sum of each window of an input `(channels, length)`, from zero in ascending place.

    Args:
        kernel_size: Places of a window.
        stride: Steps of the window; None: `kernel_size`.
        padding: Zeros on each side, or `(before, after)`; less than the window.
        ceil_mode: Keep a last window that is not whole, as torch does.

    Raises:
        GraphError: A number out of its range.
        TypeError: Something that is no integer.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network(input_shape=(4, 9))
        >>> net.node(net.add(ss.SumPool1d(2))).shape
        (4, 4)
    """

    kind: ClassVar[str] = "sum_pool1d"


class SumPool2d(_Pool2d):
    """The sum of each window of `(channels, rows, columns)`, from zero in ascending (ky, kx).

    Args:
        kernel_size: Places of a window; an integer or `(y, x)`.
        stride: Steps of the window; None: `kernel_size`.
        padding: Zeros around: `p`, `(py, px)` or `((top, bottom), (left, right))`; less than the
            window.
        ceil_mode: Keep last windows that are not whole, as torch does.

    Raises:
        GraphError: A number out of its range.
        TypeError: Something that is no integer.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network(input_shape=(4, 8, 8))
        >>> net.node(net.add(ss.SumPool2d(2))).shape
        (4, 4, 4)
    """

    kind: ClassVar[str] = "sum_pool2d"


@dataclass(frozen=True, eq=False, repr=False)
class AvgPool1d(_Pool1d):
    """The sum of each window divided by its size, as torch's `AvgPool1d`.

    Args:
        kernel_size: Places of a window.
        stride: Steps of the window; None: `kernel_size`.
        padding: Zeros on each side, or `(before, after)`; less than the window.
        ceil_mode: Keep a last window that is not whole.
        count_include_pad: Whether padding counts in the size.

    Raises:
        GraphError: A number out of its range.
        TypeError: Something that is no integer.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network(input_shape=(4, 9))
        >>> net.node(net.add(ss.AvgPool1d(3))).shape
        (4, 3)
    """

    kind: ClassVar[str] = "avg_pool1d"
    count_include_pad: bool = True

    def __init__(
        self,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] | None = None,
        padding: int | tuple[int, ...] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        put(self, count_include_pad=boolean(self, "count_include_pad", count_include_pad))

    def spec(self) -> dict[str, Any]:
        return {**super().spec(), "count_include_pad": self.count_include_pad}


@dataclass(frozen=True, eq=False, repr=False)
class AvgPool2d(_Pool2d):
    """The sum of each window divided by its size, as torch's `AvgPool2d`.

    Args:
        kernel_size: Places of a window; an integer or `(y, x)`.
        stride: Steps of the window; None: `kernel_size`.
        padding: Zeros around: `p`, `(py, px)` or `((top, bottom), (left, right))`; less than the
            window.
        ceil_mode: Keep last windows that are not whole.
        count_include_pad: Whether padding counts in the size.

    Raises:
        GraphError: A number out of its range.
        TypeError: Something that is no integer.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network(input_shape=(4, 8, 8))
        >>> net.node(net.add(ss.AvgPool2d(2))).shape
        (4, 4, 4)
    """

    kind: ClassVar[str] = "avg_pool2d"
    count_include_pad: bool = True

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] | tuple[Side, Side] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        put(self, count_include_pad=boolean(self, "count_include_pad", count_include_pad))

    def spec(self) -> dict[str, Any]:
        return {**super().spec(), "count_include_pad": self.count_include_pad}


class SpikeMaxPool1d(_Pool1d):
    """The largest spike value of each window; the input must be spikes.

    Padding is silence, which is 0: a window that covers padding is never less than 0. Arguments
    and errors are those of `SumPool1d`; on currents it is a `GraphError`.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network(input_shape=(4, 9))
        >>> net.node(net.add(ss.SpikeMaxPool1d(3, stride=2))).shape
        (4, 4)
    """

    kind: ClassVar[str] = "spike_max_pool1d"


class SpikeMaxPool2d(_Pool2d):
    """The largest spike value of each window; the input must be spikes.

    Padding is silence, which is 0: a window that covers padding is never less than 0. Arguments
    and errors are those of `SumPool2d`; on currents it is a `GraphError`.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network(input_shape=(4, 8, 8))
        >>> net.node(net.add(ss.SpikeMaxPool2d(2))).shape
        (4, 4, 4)
    """

    kind: ClassVar[str] = "spike_max_pool2d"


class CurrentMaxPool1d(_Pool1d):
    """The largest current of each window; the input must be currents; padding never wins.

    Arguments and errors are those of `SumPool1d`; on spikes it is a `GraphError`.

    Example:
        >>> import numpy as np, spikesim as ss
        >>> net = ss.Network(input_shape=(4, 9))
        >>> _ = net.add(ss.Conv1d(np.ones((2, 4, 1))))
        >>> net.node(net.add(ss.CurrentMaxPool1d(3))).shape
        (2, 3)
    """

    kind: ClassVar[str] = "current_max_pool1d"


class CurrentMaxPool2d(_Pool2d):
    """The largest current of each window; the input must be currents; padding never wins.

    Arguments and errors are those of `SumPool2d`; on spikes it is a `GraphError`.

    Example:
        >>> import numpy as np, spikesim as ss
        >>> net = ss.Network(input_shape=(4, 8, 8))
        >>> _ = net.add(ss.Conv2d(np.ones((2, 4, 1, 1))))
        >>> net.node(net.add(ss.CurrentMaxPool2d(2))).shape
        (2, 4, 4)
    """

    kind: ClassVar[str] = "current_max_pool2d"


@dataclass(frozen=True, eq=False, repr=False)
class RateMaxPool1d(_Pool1d):
    """Max pooling of spikes, gated by the highest count: what an ANN's max pool becomes.

    It sums up, from the start of the state, what each place of its input gives. With `gate="count"`
    a window gives what its largest sum has grown by, so that the sum of what it gave is at every
    step the largest sum of its places: exactly, for spikes of 1 or ±1. For spikes of 1 that is the
    gate of Hu, Tang & Pan ("Spiking Deep Residual Networks"): a spike if a place spikes whose count
    is then above the number of spikes given so far. `gate="argmax"` passes the spike of the place
    with the largest sum, the first (ky, kx) of equals, as Rueckauer et al. do ("Conversion of
    Continuous-Valued Deep Networks to Efficient Event-Driven Networks", 2017).

    Args:
        kernel_size: Places of a window.
        stride: Steps of the window; None: `kernel_size`.
        padding: Places on each side that never win, or `(before, after)`; less than the window.
        ceil_mode: Keep a last window that is not whole, as torch does.
        gate: "count" or "argmax".

    Raises:
        GraphError: A number out of its range, another gate; on currents when it is added.
        TypeError: Something that is no integer.

    Example:
        >>> import numpy as np, spikesim as ss
        >>> net = ss.Network(input_shape=(1, 4))
        >>> net.node(net.add(ss.RateMaxPool1d(2))).shape
        (1, 2)
        >>> spikes = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]])  # of four places
        >>> net.compile().run(spikes.reshape(3, 1, 1, 4)).output.tolist()
        [[[2.0, 0.0]]]
    """

    kind: ClassVar[str] = "rate_max_pool1d"
    gate: Gate = "count"

    def __init__(
        self,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] | None = None,
        padding: int | tuple[int, ...] = 0,
        ceil_mode: bool = False,
        gate: Gate = "count",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        put(self, gate=choice(self, "gate", gate, _GATES))

    def spec(self) -> dict[str, Any]:
        return {**super().spec(), "gate": self.gate}


@dataclass(frozen=True, eq=False, repr=False)
class RateMaxPool2d(_Pool2d):
    """Max pooling of spikes, gated by the highest count: what an ANN's max pool becomes.

    See `RateMaxPool1d`; on currents it is a `GraphError`.

    Args:
        kernel_size: Places of a window; an integer or `(y, x)`.
        stride: Steps of the window; None: `kernel_size`.
        padding: Places around that never win: `p`, `(py, px)` or `((top, bottom), (left, right))`;
            less than the window.
        ceil_mode: Keep last windows that are not whole, as torch does.
        gate: "count" or "argmax".

    Raises:
        GraphError: A number out of its range, another gate; on currents when it is added.
        TypeError: Something that is no integer.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network(input_shape=(4, 8, 8))
        >>> net.node(net.add(ss.RateMaxPool2d(2, gate="argmax"))).shape
        (4, 4, 4)
    """

    kind: ClassVar[str] = "rate_max_pool2d"
    gate: Gate = "count"

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] | tuple[Side, Side] = 0,
        ceil_mode: bool = False,
        gate: Gate = "count",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        put(self, gate=choice(self, "gate", gate, _GATES))

    def spec(self) -> dict[str, Any]:
        return {**super().spec(), "gate": self.gate}


@dataclass(frozen=True, eq=False, repr=False)
class AdaptiveAvgPool2d(Op):
    """The average over windows that give a result of a wanted size, as torch's module.

    Output row `i` of `h` averages the rows `floor(i·H/h)` to `ceil((i+1)·H/h) − 1`; columns alike.

    Args:
        output_size: Rows and columns of the result; an integer or `(y, x)`.

    Raises:
        GraphError: A size below 1.
        TypeError: Something that is no integer.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network(input_shape=(4, 7, 5))
        >>> net.node(net.add(ss.AdaptiveAvgPool2d((3, 1)))).shape
        (4, 3, 1)
    """

    kind: ClassVar[str] = "adaptive_avg_pool2d"
    output_size: tuple[int, int]

    def __init__(self, output_size: int | tuple[int, int]) -> None:
        put(self, output_size=pair(self, "output_size", output_size))

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "output_size": list(self.output_size)}
