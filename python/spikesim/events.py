"""Events of an event camera, and their way into the steps of a network (rules S15)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import EventError, InputError, ShapeError

#: Fields that a structured array of events may have for the polarity.
_POLARITY = ("p", "on")


@dataclass(frozen=True, eq=False)
class Events:
    """Events of one sensor as columns, in the order of their time.

    Attributes:
        t: (n,) int64, microseconds; does not fall.
        x: (n,) int64, column.
        y: (n,) int64, row.
        p: (n,) bool, polarity: True is brighter.

    Raises:
        EventError: Columns of different lengths or of no whole numbers; a time before the last.

    Example:
        >>> Events([0, 5, 9], x=[1, 1, 2], y=[0, 0, 3], p=[True, False, True]).t.tolist()
        [0, 5, 9]
    """

    t: NDArray[np.int64]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    p: NDArray[np.bool_]

    def __init__(self, t: Any, x: Any, y: Any, p: Any) -> None:
        columns = {name: _column(name, c) for name, c in zip("txyp", (t, x, y, p), strict=True)}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise EventError(f"events: columns have lengths {lengths}, expected one length")
        for name, column in columns.items():
            object.__setattr__(self, name, column.astype(bool if name == "p" else np.int64))
        falls = np.nonzero(np.diff(self.t) < 0)[0]
        if len(falls):
            k = int(falls[0]) + 1
            raise EventError(
                f"events: t[{k}] is {self.t[k]}, expected {self.t[k - 1]} or later; sort by t"
            )

    def __len__(self) -> int:
        return len(self.t)

    def __repr__(self) -> str:
        span = f", {self.t[0]} to {self.t[-1]} us" if len(self) else ""
        return f"Events({len(self)}{span})"

    @classmethod
    def from_array(cls, array: Any) -> Events:
        """Events of a structured array with fields t, x, y and p (or on), in any order.

        Raises:
            EventError: A field is missing.
        """
        names = array.dtype.names or ()
        polarity = next((name for name in _POLARITY if name in names), None)
        missing = [name for name in "txy" if name not in names]
        if missing or polarity is None:
            raise EventError(
                f"events: the array has fields {tuple(names)}, expected t, x, y and p (or on)"
            )
        return cls(array["t"], array["x"], array["y"], array[polarity])


def _column(name: str, values: Any) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "biu"):
        raise EventError(
            f"events: {name} has dtype {array.dtype} and shape {array.shape}, "
            "expected one axis of whole numbers"
        )
    return array


@dataclass(frozen=True, eq=False)
class StepEvents:
    """The input of one step by its values that are not zero.

    Attributes:
        index: (n,) int64, places in the input's shape in C order; what comes several times adds
            up in the order given.
        values: (n,) float32, or None where all are 1.

    Raises:
        InputError: Indices of no whole numbers, values that are no finite numbers.
        ShapeError: More than one axis, or another number of values.
    """

    index: NDArray[np.int64]
    values: NDArray[np.float32] | None

    def __init__(self, index: Any, values: Any = None) -> None:
        array = np.asarray(index)
        if array.ndim != 1:
            raise ShapeError(f"stream: index has shape {array.shape}, expected one axis")
        if len(array) and array.dtype.kind not in "iu":
            raise InputError(f"stream: index has dtype {array.dtype}, expected whole numbers")
        object.__setattr__(self, "index", np.ascontiguousarray(array, np.int64))
        object.__setattr__(self, "values", None if values is None else self._checked(values))

    def _checked(self, values: Any) -> NDArray[np.float32]:
        array = np.asarray(values)
        if array.shape != self.index.shape:
            raise ShapeError(
                f"stream: values has shape {array.shape}, expected {self.index.shape}, "
                "one for each index"
            )
        if array.dtype.kind not in "biuf":
            raise InputError(f"stream: values has dtype {array.dtype}, expected numbers")
        with np.errstate(over="ignore"):
            cast = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(cast).all():
            raise InputError("stream: values holds NaN or infinity, expected finite float32")
        return cast

    def __len__(self) -> int:
        return len(self.index)


def is_events(item: Any) -> bool:
    """Whether `item` is events: `Events`, or a structured array."""
    return isinstance(item, Events) or (
        isinstance(item, np.ndarray) and item.dtype.names is not None
    )


class Steps:
    """Cuts chunks of events into steps of `dt` microseconds.

    Step k holds the events with `t0 + k·dt <= t < t0 + (k+1)·dt`; steps without events are given
    too, up to the one of the last event. How the stream is cut into chunks changes nothing.
    """

    def __init__(self, shape: tuple[int, ...], dt: int, t0: int | None) -> None:
        if len(shape) != 3 or shape[0] not in (1, 2):
            raise ShapeError(
                f"stream: the network's input has shape {shape}, expected (2, H, W), one channel "
                "for each polarity, or (1, H, W) for events"
            )
        self._shape = shape
        self.dt = dt
        self.t0 = t0

    def place(self, events: Events) -> NDArray[np.int64]:
        """C-order index of each event in `(polarity, row, column)`.

        Raises:
            EventError: An event lies outside the network's input.
        """
        channels, rows, columns = self._shape
        outside = (events.x < 0) | (events.x >= columns) | (events.y < 0) | (events.y >= rows)
        if outside.any():
            k = int(np.nonzero(outside)[0][0])
            raise EventError(
                f"events: event {k} at x {events.x[k]}, y {events.y[k]} is outside the input, "
                f"expected x below {columns} and y below {rows}"
            )
        index: NDArray[np.int64] = events.y * columns + events.x
        return index + events.p * (rows * columns) if channels == 2 else index

    def cut(self, chunks: Iterable[Any]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """(end of the step in microseconds, indices of its events) for each step."""
        step = 0
        last: int | None = None
        waiting: list[NDArray[np.int64]] = []
        for chunk in chunks:
            if not is_events(chunk):
                raise InputError(
                    f"stream: an item is {type(chunk).__name__}, expected Events like those before"
                )
            events = chunk if isinstance(chunk, Events) else Events.from_array(chunk)
            if not len(events):
                continue
            first = int(events.t[0])
            if self.t0 is None:
                self.t0 = first
            if first < self.t0 or (last is not None and first < last):
                bound = self.t0 if last is None else last
                raise EventError(f"events: t[0] of a chunk is {first}, expected {bound} or later")
            last = int(events.t[-1])
            index = self.place(events)
            steps = (events.t - self.t0) // self.dt
            edges = np.nonzero(np.diff(steps))[0] + 1
            for part, k in zip(np.split(index, edges), steps[np.r_[0, edges]], strict=True):
                while step < k:
                    yield self._full(step, waiting)
                    waiting = []
                    step += 1
                waiting.append(part)
        if last is not None:
            yield self._full(step, waiting)

    def _full(self, step: int, parts: list[NDArray[np.int64]]) -> tuple[int, NDArray[np.int64]]:
        index = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        return (self.t0 or 0) + (step + 1) * self.dt, index
