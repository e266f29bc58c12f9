"""Boxes: their form, their overlap, and which of those that overlap stay.

A box is `(x0, y0, x1, y1)` in pixels, float64, with `x` to the right, `y` down and the origin at
the outer corner of the first pixel: a box around the pixels of rows `r0 … r1` and columns
`c0 … c1` is `(c0, r0, c1 + 1, r1 + 1)`, and its area `(x1 − x0)·(y1 − y0)` counts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import InputError, ShapeError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Truth:
    """What is in one image.

    Attributes:
        boxes: (M, 4) float64, `(x0, y0, x1, y1)` in pixels; M may be 0.
        classes: (M,) int64, from 0.

    Raises:
        ShapeError: the arrays do not fit each other.
        InputError: a box is empty or not finite, a class is negative.
    """

    boxes: Floats
    classes: Integers

    def __post_init__(self) -> None:
        boxes = _boxes("Truth", self.boxes)
        classes = _classes("Truth", self.classes, len(boxes))
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "classes", classes)

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector says is in one image.

    Attributes:
        boxes: (D, 4) float64, `(x0, y0, x1, y1)` in pixels; D may be 0.
        scores: (D,) float64, higher is surer.
        classes: (D,) int64, from 0.

    Raises:
        ShapeError: the arrays do not fit each other.
        InputError: a box is empty or not finite, a score is NaN, a class is negative.
    """

    boxes: Floats
    scores: Floats
    classes: Integers

    def __post_init__(self) -> None:
        boxes = _boxes("Detections", self.boxes)
        scores = _scores("Detections", self.scores, len(boxes))
        classes = _classes("Detections", self.classes, len(boxes))
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "classes", classes)

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, index: Any) -> Detections:
        """Those of an index array or a mask, in its order."""
        return Detections(self.boxes[index], self.scores[index], self.classes[index])


def _boxes(where: str, boxes: ArrayLike) -> Floats:
    array = np.asarray(boxes, np.float64)
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ShapeError(f"{where}: boxes has shape {array.shape}, expected (boxes, 4)")
    # Written so that NaN is refused too.
    good = np.isfinite(array).all(1) & (array[:, 2:] > array[:, :2]).all(1)
    if not good.all():
        first = int(np.argmin(good))
        raise InputError(
            f"{where}: box {first} is {array[first].tolist()}, expected finite x0 < x1 and y0 < y1"
        )
    return array


def _scores(where: str, scores: ArrayLike, count: int) -> Floats:
    array = np.asarray(scores, np.float64)
    if array.shape != (count,):
        raise ShapeError(f"{where}: scores has shape {array.shape}, expected ({count},), one a box")
    if np.isnan(array).any():
        raise InputError(
            f"{where}: score {int(np.argmax(np.isnan(array)))} is NaN, expected a number"
        )
    return array


def _classes(where: str, classes: ArrayLike, count: int) -> Integers:
    given = np.asarray(classes)
    array = given.astype(np.int64)
    if array.shape != (count,):
        raise ShapeError(
            f"{where}: classes has shape {array.shape}, expected ({count},), one a box"
        )
    if (array < 0).any() or not np.array_equal(array, given):
        raise InputError(f"{where}: classes are {given.tolist()}, expected whole numbers from 0")
    return array


def area(boxes: ArrayLike) -> Floats:
    """Areas (N,) of boxes (N, 4), in square pixels."""
    array = np.asarray(boxes, np.float64).reshape(-1, 4)
    size: Floats = (array[:, 2:] - array[:, :2]).prod(1)
    return size


def iou(a: ArrayLike, b: ArrayLike) -> Floats:
    """Intersection over union of each box with each other.

    Args:
        a: (A, 4), `(x0, y0, x1, y1)`.
        b: (B, 4).

    Returns:
        (A, B) float64 in [0, 1].

    Raises:
        ShapeError: the arrays hold no boxes.
        InputError: a box is empty or not finite.

    Example:
        >>> from spikesim.detection import iou
        >>> iou([[0, 0, 2, 2]], [[1, 0, 3, 2], [0, 0, 2, 2]]).round(3).tolist()
        [[0.333, 1.0]]
    """
    first, second = _boxes("iou", a), _boxes("iou", b)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(2)
    overlap: Floats = both / (area(first)[:, None] + area(second)[None] - both)
    return overlap


def nms(
    boxes: ArrayLike,
    scores: ArrayLike,
    classes: ArrayLike | None = None,
    *,
    iou_threshold: float = 0.45,
) -> Integers:
    """Greedy non-maximum suppression.

    Boxes are taken by descending score, of equal scores the one with the lowest index first; each
    that is taken removes those after it that overlap it by *more* than `iou_threshold`.

    Args:
        boxes: (D, 4), `(x0, y0, x1, y1)`.
        scores: (D,).
        classes: (D,), whole numbers: only boxes of one class suppress each other. None: all do.
        iou_threshold: in [0, 1].

    Returns:
        Indices (K,) int64 of the boxes that stay, by descending score.

    Raises:
        ShapeError: the arrays do not fit each other.
        InputError: a bad box, score, class or threshold.

    Example:
        >>> from spikesim.detection import nms
        >>> nms([[0, 0, 4, 4], [0, 0, 4, 5], [5, 5, 9, 9]], [0.5, 0.9, 0.7]).tolist()
        [1, 2]
    """
    array = _boxes("nms", boxes)
    confidence = _scores("nms", scores, len(array))
    kinds = _classes("nms", np.zeros(len(array)) if classes is None else classes, len(array))
    check_fraction("nms", "iou_threshold", iou_threshold)
    order = np.argsort(-confidence, kind="stable")
    ordered = array[order]
    rivals = (iou(ordered, ordered) > iou_threshold) & (kinds[order][:, None] == kinds[order])
    stays = np.ones(len(order), bool)
    for i in range(len(order)):
        if stays[i]:
            stays[i + 1 :] &= ~rivals[i, i + 1 :]
    kept: Integers = order[stays].astype(np.int64)
    return kept


def check_fraction(where: str, name: str, value: float) -> None:
    """Refuses what is not in [0, 1]; NaN too."""
    if not 0 <= value <= 1:
        raise InputError(f"{where}: {name} is {value}, expected a number from 0 to 1")
