"""Average precision: how well detections find what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikesim.detection.boxes import Detections, Floats, Truth, check_fraction, iou
from spikesim.errors import InputError, ShapeError


@dataclass(frozen=True)
class MeanAP:
    """Mean average precision.

    Attributes:
        mean: over the classes that occur among the truths, 0…1.
        classes: the average precision of each of them, by class.
        iou_threshold: the overlap from which a detection is right.
    """

    mean: float
    classes: dict[int, float]
    iou_threshold: float

    def __str__(self) -> str:
        return f"mAP@{self.iou_threshold:g} {self.mean:.4f} over {len(self.classes)} classes"


def mean_average_precision(
    detections: Sequence[Detections], truths: Sequence[Truth], *, iou_threshold: float = 0.5
) -> MeanAP:
    """Mean over classes of the area under the precision-recall curve (Everingham et al. 2010).

    In each image a detection belongs to the box of its class that it overlaps most (of equals the
    first), if by `iou_threshold` or more; the surest detection that belongs to a box is right,
    every other one is wrong. Precision and recall are taken at each score that occurs, so that
    detections with equal scores count together and no order of images or detections changes the
    result; precision is made monotone from the right, and the area taken over all points.

    Args:
        detections: one an image, after non-maximum suppression.
        truths: one an image, in the same order.
        iou_threshold: in [0, 1].

    Returns:
        The mean and the average precision of each class that occurs in `truths`; detections of
        other classes have no place in either.

    Raises:
        ShapeError: not as many detections as truths.
        InputError: there is nothing to find, a bad threshold.

    Example:
        >>> import numpy as np
        >>> from spikesim.detection import Detections, Truth, mean_average_precision
        >>> truth = Truth(np.array([[0, 0, 8, 8]]), np.array([3]))
        >>> found = Detections(np.array([[0, 0, 8, 7]]), np.array([0.9]), np.array([3]))
        >>> mean_average_precision([found], [truth]).mean
        1.0
    """
    if len(detections) != len(truths):
        raise ShapeError(
            f"mean_average_precision: detections has {len(detections)} images, expected "
            f"{len(truths)}, as many as truths"
        )
    check_fraction("mean_average_precision", "iou_threshold", iou_threshold)
    classes = sorted({int(c) for truth in truths for c in truth.classes})
    if not classes:
        raise InputError("mean_average_precision: truths is without boxes, expected at least one")
    found = {c: _class_ap(detections, truths, c, iou_threshold) for c in classes}
    return MeanAP(float(np.mean(list(found.values()))), found, iou_threshold)


def _class_ap(
    detections: Sequence[Detections], truths: Sequence[Truth], kind: int, iou_threshold: float
) -> float:
    scores: list[Floats] = []
    rights: list[NDArray[np.bool_]] = []
    total = 0
    for found, truth in zip(detections, truths, strict=True):
        mine = found.select(found.classes == kind)
        boxes = truth.boxes[truth.classes == kind]
        total += len(boxes)
        scores.append(mine.scores)
        rights.append(_right(mine, boxes, iou_threshold))
    return average_precision(np.concatenate(scores), np.concatenate(rights), total)


def _right(found: Detections, boxes: Floats, iou_threshold: float) -> NDArray[np.bool_]:
    """Which detections of one class in one image are right, in their order."""
    right = np.zeros(len(found), bool)
    if not len(boxes) or not len(found):
        return right
    overlap = iou(found.boxes, boxes)
    best = overlap.argmax(1)
    taken = np.zeros(len(boxes), bool)
    for i in np.argsort(-found.scores, kind="stable"):
        if overlap[i, best[i]] >= iou_threshold and not taken[best[i]]:
            right[i] = taken[best[i]] = True
    return right


def average_precision(scores: Floats, right: NDArray[np.bool_], total: int) -> float:
    """The area under the precision-recall curve, with precision monotone from the right.

    Args:
        scores: (D,) of the detections of one class in all images.
        right: (D,) bool, whether each is right.
        total: how many boxes there are to find, at least 1.

    Returns:
        The average precision, 0…1.

    Raises:
        ShapeError: the arrays do not fit each other.
        InputError: `total` is less than 1, or than the number of right ones.

    Example:
        >>> import numpy as np
        >>> from spikesim.detection import average_precision
        >>> # right, wrong, right; two boxes to find: 1/2 at precision 1, 1/2 at 2/3
        >>> round(average_precision(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1], bool), 2), 4)
        0.8333
    """
    scores, right = np.asarray(scores, np.float64), np.asarray(right, bool)
    if scores.ndim != 1 or scores.shape != right.shape:
        raise ShapeError(
            f"average_precision: right has shape {right.shape}, expected one axis like scores, "
            f"which has {scores.shape}"
        )
    if total < max(1, right.sum()):
        raise InputError(
            f"average_precision: total is {total}, expected at least 1 and at least the "
            f"{int(right.sum())} detections that are right"
        )
    if not len(scores):
        return 0.0
    order = np.argsort(-scores, kind="stable")
    # A point of the curve is a threshold: the last of those with the same score.
    last = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(right[order])[last]
    precision = hits / (np.flatnonzero(last) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(hits, prepend=0)
    return float((steps * envelope).sum() / total)
