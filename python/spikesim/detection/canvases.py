"""A detection set from images of digits: several on a canvas, each of its own size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.detection.boxes import Truth
from spikesim.errors import InputError, ShapeError

#: Rescaling blurs; ink fainter than this is wiped off, so that a box has an edge to be tight to.
INK = 0.1
#: How often a digit is tried at another place before it is left out.
_TRIES = 40


@dataclass(frozen=True, eq=False)
class Canvases:
    """Images with what is in them.

    Attributes:
        images: (N, 1, height, width) float32 in 0…1.
        truths: one an image; a box is tight around the digit's ink.
    """

    images: NDArray[np.float32]
    truths: tuple[Truth, ...]

    def __len__(self) -> int:
        return len(self.truths)

    def __getitem__(self, index: slice) -> Canvases:
        return Canvases(self.images[index], self.truths[index])


def make_canvases(
    digits: Any,
    labels: Any,
    count: int,
    *,
    size: int | tuple[int, int] = 48,
    per_image: tuple[int, int] = (1, 4),
    digit_size: tuple[int, int] = (14, 28),
    brightness: tuple[float, float] = (0.6, 1.0),
    noise: float = 0.05,
    cell: int = 8,
    seed: int | Sequence[int] = 0,
) -> Canvases:
    """Places digits on empty canvases.

    Each canvas gets a number of digits drawn from `per_image`, each drawn from `digits`, rescaled
    to a size drawn from `digit_size`, dimmed by a factor drawn from `brightness`, and put where
    its box overlaps no other. A digit that finds no place is left out, the first never. Then noise
    N(0, `noise`) is added and everything clipped to 0…1. The same arguments give the same
    canvases; torch and NumPy's global generators are not touched.

    Args:
        digits: (M, 1, h, w) or (M, h, w), from 0 (no ink) to any maximum; each is divided by its
            own.
        labels: (M,) whole numbers from 0.
        count: N, how many canvases.
        size: height and width of a canvas in pixels, one number or two.
        per_image: fewest and most digits on a canvas.
        digit_size: smallest and largest height in pixels of a whole digit image, its empty margin
            included; its width keeps the proportion.
        brightness: least and most, in 0…1, above `INK`.
        noise: standard deviation.
        cell: no two boxes are centred in the same square of this many pixels, a detector's
            stride.
        seed: of all that is drawn; a sequence is a seed of its own.

    Returns:
        The canvases with their truths.

    Raises:
        ShapeError: `digits` are no images, or not as many as labels.
        InputError: a range or number that means nothing, a digit that fits no canvas, an image
            without ink.

    Example:
        >>> import spikesim as ss
        >>> from spikesim.detection import make_canvases
        >>> data = ss.data.load("digits")
        >>> canvases = make_canvases(data.x, data.y, 10, size=32, digit_size=(10, 16))
        >>> canvases.images.shape
        (10, 1, 32, 32)
    """
    stock, kinds = _stock(digits, labels)
    height, width = (size, size) if isinstance(size, int) else size
    proportion = stock.shape[2] / stock.shape[1]
    _check_numbers(count, per_image, digit_size, brightness, noise, cell)
    if digit_size[1] > height or round(digit_size[1] * proportion) > width:
        raise InputError(
            f"make_canvases: digit_size is {digit_size}, expected at most the canvas, "
            f"{height} x {width}"
        )
    random = np.random.default_rng(seed)
    images = np.zeros((count, 1, height, width), np.float32)
    truths = []
    for canvas in images[:, 0]:
        boxes: list[tuple[int, int, int, int]] = []
        classes: list[int] = []
        for _ in range(int(random.integers(per_image[0], per_image[1] + 1))):
            index = int(random.integers(len(stock)))
            rows = int(random.integers(digit_size[0], digit_size[1] + 1))
            columns = max(1, round(rows * proportion))
            patch = _ink(stock[index], rows, columns, index)
            patch = patch * np.float32(random.uniform(*brightness))
            box = _place(patch.shape, (height, width), boxes, cell, random)
            if box is None:
                continue
            x0, y0, x1, y1 = box
            canvas[y0:y1, x0:x1] = patch
            boxes.append(box)
            classes.append(int(kinds[index]))
        truths.append(Truth(np.asarray(boxes, np.float64), np.asarray(classes, np.int64)))
    if noise:
        images += random.normal(0, noise, images.shape).astype(np.float32)
    return Canvases(np.clip(images, 0, 1, out=images), tuple(truths))


def _stock(digits: Any, labels: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    stock, kinds = np.asarray(digits), np.asarray(labels)
    if stock.ndim == 4 and stock.shape[1] == 1:
        stock = stock[:, 0]
    if stock.ndim != 3 or not stock.size:
        raise ShapeError(
            f"make_canvases: digits has shape {np.shape(digits)}, expected (M, 1, h, w) or "
            "(M, h, w)"
        )
    if kinds.shape != (len(stock),):
        raise ShapeError(
            f"make_canvases: labels has shape {kinds.shape}, expected ({len(stock)},), one a digit"
        )
    if not np.isfinite(stock).all() or stock.min() < 0:
        raise InputError("make_canvases: digits has values that are not ink, expected 0 or more")
    return stock, kinds


def _check_numbers(
    count: int,
    per_image: tuple[int, int],
    digit_size: tuple[int, int],
    brightness: tuple[float, float],
    noise: float,
    cell: int,
) -> None:
    for name, value in (("count", count), ("cell", cell)):
        if value < 1:
            raise InputError(f"make_canvases: {name} is {value}, expected at least 1")
    for name, (low, high), least in (
        ("per_image", per_image, 1),
        ("digit_size", digit_size, 4),
    ):
        if not least <= low <= high:
            raise InputError(
                f"make_canvases: {name} is {(low, high)}, expected {least} ≤ fewest ≤ most"
            )
    if not INK < brightness[0] <= brightness[1] <= 1:
        raise InputError(
            f"make_canvases: brightness is {brightness}, expected {INK} < least ≤ most ≤ 1"
        )
    if not 0 <= noise < np.inf:
        raise InputError(f"make_canvases: noise is {noise}, expected a number from 0")


def _ink(digit: NDArray[Any], rows: int, columns: int, index: int) -> NDArray[np.float32]:
    """The digit rescaled and cut to its ink; the brightest pixel is about 1."""
    top = float(digit.max())
    if top == 0:
        raise InputError(f"make_canvases: digit {index} is without ink, expected some")
    down, across = _triangle(digit.shape[0], rows), _triangle(digit.shape[1], columns)
    image = (down @ (digit.astype(np.float32) / np.float32(top)) @ across.T).clip(0, 1)
    # A thin stroke made small pales; without this some digits would be all fringe.
    image /= image.max()
    image[image < INK] = 0
    y, x = np.nonzero(image)
    cut: NDArray[np.float32] = image[y.min() : y.max() + 1, x.min() : x.max() + 1]
    return cut


@cache
def _triangle(source: int, target: int) -> NDArray[np.float32]:
    """(target, source) weights of linear interpolation, widened when shrinking: no aliasing."""
    scale = source / target
    reach = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source)[None] + 0.5 - centres[:, None])
    weights = np.clip(1 - distance / reach, 0, None)
    normed: NDArray[np.float32] = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return normed


def _place(
    shape: tuple[int, ...],
    canvas: tuple[int, int],
    boxes: list[tuple[int, int, int, int]],
    cell: int,
    random: np.random.Generator,
) -> tuple[int, int, int, int] | None:
    """A free place for a patch, or None if none was found."""
    rows, columns = shape
    for _ in range(_TRIES):
        y0 = int(random.integers(canvas[0] - rows + 1))
        x0 = int(random.integers(canvas[1] - columns + 1))
        box = (x0, y0, x0 + columns, y0 + rows)
        if not any(_clash(box, other, cell) for other in boxes):
            return box
    return None


def _clash(a: tuple[int, int, int, int], b: tuple[int, int, int, int], cell: int) -> bool:
    overlap = a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    same = all((a[i] + a[i + 2]) // (2 * cell) == (b[i] + b[i + 2]) // (2 * cell) for i in (0, 1))
    return overlap or same
