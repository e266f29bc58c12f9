"""Calibration data in whatever form it comes: arrays, tensors, data sets, loaders of batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spikesim.errors import InputError, ShapeError


@dataclass(frozen=True)
class Samples:
    """Samples with or without labels.

    Attributes:
        x: float32 (N, *shape), finite.
        y: int64 (N,), or None.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])

    def spread(self, count: int) -> Samples:
        """At most so many samples, evenly from the first to the last: data sets are often in the
        order of their classes."""
        if len(self) <= count:
            return self
        chosen = np.arange(count) * len(self) // count
        return Samples(self.x[chosen], None if self.y is None else self.y[chosen])

    def head(self, count: int) -> Samples:
        """The first samples."""
        return Samples(self.x[:count], None if self.y is None else self.y[:count])

    def parted(self, every: int) -> tuple[Samples, Samples]:
        """Most samples, and one in `every` of them, from all over: they may come sorted."""
        held = np.arange(len(self)) % every == every - 1
        rest, few = (
            Samples(self.x[part], None if self.y is None else self.y[part])
            for part in (~held, held)
        )
        return rest, few


def samples(data: Any, where: str = "calibration", at_most: int | None = None) -> Samples:
    """Checks data and brings it to one form.

    Args:
        data: an array or tensor (N, *shape); a pair (x, y) with labels (N,); something with
            `x` and `y`, as `spikesim.data.load` gives; or an iterable of batches, each an array
            or a pair, as a DataLoader gives.
        where: what it is, for errors.
        at_most: how many samples are taken: evenly from all where they lie there, the first that
            come of an iterable.

    Raises:
        InputError: there is none, a value is NaN or infinite, labels are no integers.
        ShapeError: batches or labels do not fit each other.
    """
    if data is None:
        raise InputError(
            f"{where}: is missing, expected samples; give an array (N, *input_shape), a pair "
            "(x, y) or an iterable of batches"
        )
    if isinstance(data, Samples):
        return data if at_most is None else data.spread(at_most)
    streamed = False
    if _is_array(data) or _is_pair(data):
        pieces = [_pair(data, where)]
    elif hasattr(data, "x") and hasattr(data, "y"):
        if getattr(data, "layout", None) in ("T", "TN"):
            raise InputError(
                f"{where}: has layout {data.layout!r}, expected samples (N, *input_shape); an ANN "
                "takes no spikes over time"
            )
        pieces = [_pair((data.x, data.y), where)]
    elif isinstance(data, tuple) and len(data) == 2 and all(map(_is_array, data)):
        # As two batches, labels of another form would be samples.
        shape = tuple(np.shape(data[1]))
        raise InputError(
            f"{where}: is a pair whose second part has shape {shape}, expected labels "
            f"({len(data[0])},), one a sample; give two batches as a list"
        )
    elif isinstance(data, Iterable) and not isinstance(data, str | bytes | dict):
        pieces, count, streamed = [], 0, True
        for batch in data:
            pieces.append(_pair(batch, where))
            count += len(pieces[-1][0])
            if at_most is not None and count >= at_most:
                break
    else:
        raise InputError(
            f"{where}: is a {type(data).__name__}, expected an array (N, *input_shape), a pair "
            "(x, y) or an iterable of batches"
        )
    made = _joined(pieces, where)
    if at_most is None:
        return made
    return made.head(at_most) if streamed else made.spread(at_most)


def _is_array(data: Any) -> bool:
    return isinstance(data, np.ndarray | Tensor) or (
        isinstance(data, list) and bool(data) and not _is_array(data[0]) and not _is_pair(data[0])
    )


def _is_pair(data: Any) -> bool:
    if not isinstance(data, tuple | list) or len(data) != 2:
        return False
    x, y = data
    if not isinstance(x, np.ndarray | Tensor) or not (y is None or hasattr(y, "__len__")):
        return False
    if y is None:
        return True
    labels = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y)
    return labels.ndim == 1 and x.ndim > 1


def _pair(data: Any, where: str) -> tuple[NDArray[np.float32], Any]:
    if _is_array(data):
        return _array(data, where), None
    if (
        isinstance(data, tuple | list)
        and len(data) == 1
        and isinstance(data[0], np.ndarray | Tensor)
    ):  # a loader of a data set without labels
        return _array(data[0], where), None
    if not _is_pair(data):
        raise InputError(
            f"{where}: a batch is a {type(data).__name__}, expected an array (N, *input_shape) or "
            "a pair (x, y) with a label for each sample"
        )
    x, y = data
    if y is not None and len(y) != len(x):
        raise ShapeError(f"{where}: has {len(y)} labels, expected {len(x)}, one a sample")
    return _array(x, where), y


def _array(data: Any, where: str) -> NDArray[np.float32]:
    if isinstance(data, Tensor):
        data = data.detach().cpu().numpy()
    array = np.asarray(data)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{where}: has dtype {array.dtype}, expected real numbers")
    if array.ndim < 2:
        raise ShapeError(f"{where}: has shape {array.shape}, expected (N, *input_shape)")
    array = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))[0]
        raise InputError(
            f"{where}: x[{', '.join(map(str, bad))}] is {array[tuple(bad)]}, expected a finite "
            "number"
        )
    return array


def _joined(pieces: list[tuple[NDArray[np.float32], Any]], where: str) -> Samples:
    if not sum(len(x) for x, _ in pieces):
        raise InputError(f"{where}: has no sample, expected at least 1")
    shapes = {tuple(x.shape[1:]) for x, _ in pieces}
    if len(shapes) > 1:
        raise ShapeError(f"{where}: batches have shapes {sorted(shapes)}, expected one shape")
    x = pieces[0][0] if len(pieces) == 1 else np.concatenate([x for x, _ in pieces])
    if any(y is None for _, y in pieces):
        return Samples(x)
    labels = np.concatenate(
        [
            np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y).reshape(-1)
            for _, y in pieces
        ]
    )
    if labels.dtype.kind not in "iu":
        raise InputError(f"{where}: labels have dtype {labels.dtype}, expected integers")
    if len(labels) != len(x):
        raise ShapeError(f"{where}: has {len(labels)} labels, expected {len(x)}, one a sample")
    return Samples(x, labels.astype(np.int64))
