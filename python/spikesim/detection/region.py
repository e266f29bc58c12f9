"""The region layer of YOLO (Redmon and Farhadi 2017): an image's cells, anchors and numbers.

The output of a detector is `(N, A·(5 + C), rows, columns)`: for each of A anchors, one after the
other, `tx, ty, tw, th, to` and C class values at every cell. Of cell `(cx, cy)` and anchor
`(pw, ph)`, with `S` the stride,

    x = (sigmoid(tx) + cx)·S     y = (sigmoid(ty) + cy)·S     centre
    w = pw·exp(tw)               h = ph·exp(th)               size
    score of class k = sigmoid(to)·softmax(class values)_k

A spiking network's output is read as the mean of its last layer over the steps, which is the
accumulated potential divided by T (Kim et al. 2020): readout "mean".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.detection.boxes import (
    Detections,
    Floats,
    Integers,
    Truth,
    area,
    check_fraction,
    nms,
)
from spikesim.errors import InputError, ShapeError

#: A centre this near to a cell's edge is encoded as this far from it: the logit of 0 is no number.
_EDGE = 1e-9
#: tw and th beyond this make boxes of no use, and beyond 700 none that float64 has.
_MOST_LOG = 20.0


@dataclass(frozen=True, eq=False)
class Targets:
    """What the region loss compares with: the place of each box, and what it holds there.

    Attributes:
        image, anchor, row, column: (M,) int64, the place of each box; no two are the same.
        offsets: (M, 2) float64, x and y of the centre within its cell, 0…1.
        sizes: (M, 2) float64, ln(w/pw) and ln(h/ph).
        classes: (M,) int64.
        shape: (N, A, rows, columns).
    """

    image: Integers
    anchor: Integers
    row: Integers
    column: Integers
    offsets: Floats
    sizes: Floats
    classes: Integers
    shape: tuple[int, int, int, int]

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True)
class Region:
    """How boxes and a detector's output are made of each other.

    Args:
        anchors: width and height in pixels of each anchor.
        num_classes: C.
        stride: pixels a cell, S.

    Raises:
        InputError: no anchor, or something that is not above 0.

    Example:
        >>> import numpy as np
        >>> from spikesim.detection import Region, Truth
        >>> region = Region(anchors=[(9, 9), (5, 18)], num_classes=10, stride=8)
        >>> truth = Truth(np.array([[3.0, 4.0, 9.0, 22.0]]), np.array([7]))
        >>> output = region.encode([truth], grid=(6, 6))
        >>> output.shape
        (1, 30, 6, 6)
        >>> found = region.decode(output)[0]
        >>> found.boxes.round(6).tolist(), found.classes.tolist()
        ([[3.0, 4.0, 9.0, 22.0]], [7])
    """

    anchors: tuple[tuple[float, float], ...]
    num_classes: int
    stride: int

    def __init__(self, anchors: Sequence[Sequence[float]], num_classes: int, stride: int) -> None:
        array = np.asarray(anchors, np.float64)
        if array.ndim != 2 or array.shape[1:] != (2,) or not len(array):
            raise InputError(
                f"Region: anchors has shape {array.shape}, expected (anchors, 2), width and height"
            )
        if not (np.isfinite(array) & (array > 0)).all():
            raise InputError(f"Region: anchors are {array.tolist()}, expected sizes above 0")
        for name, value in (("num_classes", num_classes), ("stride", stride)):
            if int(value) != value or value < 1:
                raise InputError(f"Region: {name} is {value}, expected a whole number from 1")
        object.__setattr__(self, "anchors", tuple((float(w), float(h)) for w, h in array))
        object.__setattr__(self, "num_classes", int(num_classes))
        object.__setattr__(self, "stride", int(stride))

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Region:
        """From what `spec` gave, as a network's meta keeps it."""
        try:
            return cls(spec["anchors"], spec["num_classes"], spec["stride"])
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"Region: spec is {spec!r}, expected anchors, num_classes and stride"
            ) from error

    def spec(self) -> dict[str, Any]:
        """JSON values, for `meta["region"]`."""
        return {
            "anchors": [list(anchor) for anchor in self.anchors],
            "num_classes": self.num_classes,
            "stride": self.stride,
        }

    @property
    def channels(self) -> int:
        """A·(5 + C)."""
        return len(self.anchors) * (5 + self.num_classes)

    def _split(self, output: Any) -> Floats:
        """(N, A, 5 + C, rows, columns) float64."""
        array = np.asarray(output, np.float64)
        if array.ndim != 4 or array.shape[1] != self.channels:
            raise ShapeError(
                f"Region: output has shape {array.shape}, expected (N, {self.channels}, rows, "
                f"columns): {len(self.anchors)} anchors with 5 + {self.num_classes} values"
            )
        if not np.isfinite(array).all():
            raise InputError("Region: output is not finite, expected finite numbers")
        n, _, rows, columns = array.shape
        return array.reshape(n, len(self.anchors), 5 + self.num_classes, rows, columns)

    def boxes(self, output: Any) -> tuple[Floats, Floats]:
        """Every box, in the order image, anchor, row, column, without selecting any.

        Args:
            output: (N, A·(5 + C), rows, columns).

        Returns:
            Boxes (N, A, rows, columns, 4) and their scores (N, A, rows, columns, C), float64.

        Raises:
            ShapeError: another number of channels or axes.
            InputError: a value is not finite.
        """
        t = self._split(output)
        rows, columns = t.shape[3:]
        cells = np.stack(np.broadcast_arrays(np.arange(columns)[None, :], np.arange(rows)[:, None]))
        centres = (_sigmoid(t[:, :, 0:2]) + cells) * self.stride
        anchors = np.asarray(self.anchors)[None, :, :, None, None]
        halves = anchors * np.exp(np.clip(t[:, :, 2:4], -_MOST_LOG, _MOST_LOG)) / 2
        boxes = np.concatenate([centres - halves, centres + halves], axis=2)
        classes = t[:, :, 5:] - t[:, :, 5:].max(axis=2, keepdims=True)
        shares = np.exp(classes)
        scores = _sigmoid(t[:, :, 4:5]) * shares / shares.sum(axis=2, keepdims=True)
        return np.moveaxis(boxes, 2, -1), np.moveaxis(scores, 2, -1)

    def decode(
        self,
        output: Any,
        *,
        score_threshold: float = 0.01,
        iou_threshold: float = 0.45,
    ) -> list[Detections]:
        """What the output says is in each image.

        Every class of every box is a detection if its score is at least `score_threshold`; those
        of a class that overlap are thinned by `nms`.

        Args:
            output: (N, A·(5 + C), rows, columns): logits of an ANN, or the mean output of a
                spiking network.
            score_threshold: 0.01 to measure, about 0.25 to show.
            iou_threshold: of the non-maximum suppression.

        Returns:
            One `Detections` an image, by descending score; of equal scores first the lowest
            anchor, then row, column, class.

        Raises:
            ShapeError: another number of channels or axes.
            InputError: a value is not finite, a bad threshold.
        """
        check_fraction("decode", "score_threshold", score_threshold)
        boxes, scores = self.boxes(output)
        found = []
        for image_boxes, image_scores in zip(boxes, scores, strict=True):
            flat = image_scores.reshape(-1, self.num_classes)
            place, kind = np.nonzero(flat >= score_threshold)
            candidates = Detections(image_boxes.reshape(-1, 4)[place], flat[place, kind], kind)
            kept = nms(
                candidates.boxes,
                candidates.scores,
                candidates.classes,
                iou_threshold=iou_threshold,
            )
            found.append(candidates.select(kept))
        return found

    def targets(self, truths: Sequence[Truth], grid: tuple[int, int]) -> Targets:
        """Gives each box its place: the cell of its centre, the anchor of the likest shape.

        If another box has that anchor there, the next likest is taken.

        Args:
            truths: one an image.
            grid: rows and columns of cells.

        Raises:
            InputError: a centre outside the grid, a class of which there are not so many, more
                boxes centred in a cell than there are anchors.
        """
        rows, columns = grid
        places: list[tuple[int, int, int, int]] = []
        offsets: list[Floats] = []
        sizes: list[Floats] = []
        classes: list[int] = []
        anchors = np.asarray(self.anchors)
        for image, truth in enumerate(truths):
            taken: set[tuple[int, int, int]] = set()
            for box, kind in zip(truth.boxes, truth.classes, strict=True):
                if kind >= self.num_classes:
                    raise InputError(
                        f"targets: image {image} has class {kind}, expected 0 to "
                        f"{self.num_classes - 1}"
                    )
                centre, size = (box[:2] + box[2:]) / 2 / self.stride, box[2:] - box[:2]
                if not ((centre >= 0) & (centre <= (columns, rows))).all():
                    raise InputError(
                        f"targets: image {image} has the box {box.tolist()}, expected its centre "
                        f"inside {rows} x {columns} cells of {self.stride} pixels"
                    )
                column, row = np.minimum(centre.astype(int), (columns - 1, rows - 1)).tolist()
                anchor = self._free_anchor(size, anchors, row, column, taken)
                if anchor is None:
                    raise InputError(
                        f"targets: image {image} has more boxes centred in cell ({row}, {column}) "
                        f"than anchors, expected at most {len(anchors)}; use more anchors or a "
                        "smaller stride"
                    )
                taken.add((anchor, row, column))
                places.append((image, anchor, row, column))
                offsets.append(centre - (column, row))
                sizes.append(np.log(size / anchors[anchor]))
                classes.append(int(kind))
        index = np.asarray(places, np.int64).reshape(-1, 4)
        return Targets(
            image=index[:, 0],
            anchor=index[:, 1],
            row=index[:, 2],
            column=index[:, 3],
            offsets=np.asarray(offsets, np.float64).reshape(-1, 2),
            sizes=np.asarray(sizes, np.float64).reshape(-1, 2),
            classes=np.asarray(classes, np.int64),
            shape=(len(truths), len(anchors), rows, columns),
        )

    @staticmethod
    def _free_anchor(
        size: Floats, anchors: Floats, row: int, column: int, taken: set[tuple[int, int, int]]
    ) -> int | None:
        """The anchor that overlaps a box of this size most, both centred on the same point."""
        both = np.minimum(size, anchors).prod(1)
        overlap = both / (size.prod() + anchors.prod(1) - both)
        for anchor in np.argsort(-overlap, kind="stable").tolist():
            if (anchor, row, column) not in taken:
                return int(anchor)
        return None

    def encode(
        self, truths: Sequence[Truth], grid: tuple[int, int], *, confidence: float = 20.0
    ) -> Floats:
        """The output of a detector that is right and sure: `decode` gives the boxes back.

        Args:
            truths: one an image.
            grid: rows and columns of cells.
            confidence: `to` and the class value where a box is; elsewhere `to` is its negative.

        Returns:
            (N, A·(5 + C), rows, columns) float64.

        Raises:
            InputError: as `targets`.
        """
        targets = self.targets(truths, grid)
        n, anchors, rows, columns = targets.shape
        t = np.zeros((n, anchors, 5 + self.num_classes, rows, columns))
        t[:, :, 4] = -confidence
        at = (targets.image, targets.anchor)
        cell = (targets.row, targets.column)
        offsets = np.clip(targets.offsets, _EDGE, 1 - _EDGE)
        for axis in range(2):
            t[(*at, axis, *cell)] = np.log(offsets[:, axis] / (1 - offsets[:, axis]))
            t[(*at, 2 + axis, *cell)] = targets.sizes[:, axis]
        t[(*at, 4, *cell)] = confidence
        t[(*at, 5 + targets.classes, *cell)] = confidence
        return t.reshape(n, self.channels, rows, columns)


def fit_anchors(truths: Sequence[Truth], count: int, *, rounds: int = 50) -> list[list[float]]:
    """Anchors for a training set: the centres of its box sizes (Redmon and Farhadi 2017).

    Lloyd's iterations with the distance `1 − IoU` of boxes on the same centre; they begin at
    evenly spaced boxes in the order of area, so that no chance is in it.

    Args:
        truths: of the training images.
        count: how many anchors.
        rounds: iterations at most.

    Returns:
        `count` pairs of width and height in pixels, by ascending area.

    Raises:
        InputError: fewer boxes than anchors.
    """
    boxes = np.concatenate([truth.boxes for truth in truths] or [np.empty((0, 4))])
    if not 1 <= count <= len(boxes):
        raise InputError(
            f"fit_anchors: count is {count}, expected from 1 to {len(boxes)}, the number of boxes"
        )
    sizes = (boxes[:, 2:] - boxes[:, :2])[np.argsort(area(boxes), kind="stable")]
    centres = sizes[((np.arange(count) + 0.5) * len(sizes) / count).astype(int)]
    for _ in range(rounds):
        both = np.minimum(sizes[:, None], centres[None]).prod(2)
        nearest = (both / (sizes.prod(1)[:, None] + centres.prod(1)[None] - both)).argmax(1)
        moved = np.stack(
            [
                sizes[nearest == i].mean(0) if (nearest == i).any() else centres[i]
                for i in range(count)
            ]
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    found: list[list[float]] = centres[np.argsort(centres.prod(1), kind="stable")].tolist()
    return found


def _sigmoid(x: NDArray[np.float64]) -> Floats:
    # exp of a negative number alone: no overflow.
    small = np.exp(-np.abs(x))
    result: Floats = np.where(x >= 0, 1.0, small) / (1 + small)
    return result
