"""Weights as images: what a neuron or a map has learned to answer to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import InputError, ShapeError
from spikesim.plot._figure import new_figure


def weights(
    weight: ArrayLike,
    image_shape: tuple[int, int],
    *,
    columns: int | None = None,
    labels: Sequence[object] | None = None,
    cmap: str = "magma",
) -> Any:
    """The incoming weights of each neuron as one image, all side by side on one scale.

    Args:
        weight: (n_out, n_in) as in `Linear`, n_in = rows · columns of an image.
        image_shape: (rows, columns) of one image.
        columns: images in a row; default about a square.
        labels: one a neuron, written in its image's corner.
        cmap: a name of matplotlib's colour maps.

    Returns:
        matplotlib's Figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ShapeError: n_in is not rows · columns, or not one label a neuron.
        InputError: a weight is NaN or infinite.
    """
    array = _checked(weight, 2)
    rows, cols = image_shape
    if array.shape[1] != rows * cols:
        raise ShapeError(
            f"plot: weight has shape {array.shape}, expected (n_out, {rows * cols}) for images of "
            f"{rows}x{cols}"
        )
    return _tiles(array.reshape(-1, rows, cols), columns, labels, cmap, signed=False)


def fields(
    weight: ArrayLike,
    *,
    columns: int | None = None,
    labels: Sequence[object] | None = None,
    cmap: str = "RdBu_r",
) -> Any:
    """The kernels of a convolution as images: the first input channel minus the second where there
    are two (on and off), else the mean over channels.

    Args:
        weight: (out, in, ky, kx) as in `Conv2d`.
        columns: images in a row; default about a square.
        labels: one a map.
        cmap: a name of matplotlib's colour maps.

    Returns:
        matplotlib's Figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ShapeError: another number of axes, or not one label a map.
        InputError: a weight is NaN or infinite.
    """
    array = _checked(weight, 4)
    two = array.shape[1] == 2
    images = array[:, 0] - array[:, 1] if two else array.mean(axis=1)
    return _tiles(images, columns, labels, cmap, signed=two)


def _checked(weight: ArrayLike, axes: int) -> NDArray[np.float64]:
    array = np.asarray(weight, np.float64)
    if array.ndim != axes or 0 in array.shape:
        form = "(n_out, n_in)" if axes == 2 else "(out, in, ky, kx)"
        raise ShapeError(f"plot: weight has shape {array.shape}, expected {form}, none of them 0")
    if not np.isfinite(array).all():
        raise InputError("plot: weight has NaN or infinite values, expected finite ones")
    return array


def _tiles(
    images: NDArray[np.float64],
    columns: int | None,
    labels: Sequence[object] | None,
    cmap: str,
    *,
    signed: bool,
) -> Any:
    """One picture of all images with a line between them, and the bar of its scale."""
    n, rows, cols = images.shape
    if labels is not None and len(labels) != n:
        raise ShapeError(f"plot: labels has {len(labels)} entries, expected {n}, one an image")
    if columns is not None and columns < 1:
        raise InputError(f"plot: columns is {columns}, expected at least 1")
    across = min(n, columns or math.ceil(math.sqrt(n)))
    down = math.ceil(n / across)
    sheet = np.full((down * (rows + 1) - 1, across * (cols + 1) - 1), np.nan)
    for i, image in enumerate(images):
        top, left = i // across * (rows + 1), i % across * (cols + 1)
        sheet[top : top + rows, left : left + cols] = image
    low, high = float(images.min()), float(images.max())
    if signed:
        high = max(abs(low), abs(high))
        low = -high
    side = min(0.9, 12 / max(across, down))
    figure = new_figure((max(3.0, across * side + 1.0), max(2.0, down * side)))
    axes = figure.add_subplot()
    shown = axes.imshow(sheet, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    axes.set_axis_off()
    for i, label in enumerate(labels or ()):
        at = (i % across * (cols + 1) + 0.2, i // across * (rows + 1) + 0.2)
        axes.text(*at, str(label), color="white", fontsize=6, va="top")
    figure.colorbar(shown, ax=axes, label="weight", fraction=0.04)
    return figure
