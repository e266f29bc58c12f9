"""Samples as the core takes them: checked once, converted piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import InputError, ShapeError
from spikesim.learn.poisson import chances

#: Gives samples first to last (exclusive) as the core takes them.
Pieces = Callable[[int, int], NDArray[Any]]

#: Samples that are looked at together; converted ones need more memory than they came in.
PIECE = 4096


def intensities(
    X: ArrayLike, n_inputs: int, rate: tuple[float, float, float | None], where: str
) -> tuple[Pieces, int]:
    """Chances of `X` (N, ...), and N; `rate` is (max_rate, dt, x_max)."""
    values = np.asarray(X)

    def part(first: int, last: int) -> NDArray[np.float32]:
        return chances(values[first:last], n_inputs, *rate, where)

    if values.ndim < 2 or not len(values):
        chances(values, n_inputs, *rate, where)
    else:
        for first in range(0, len(values), PIECE):
            part(first, first + PIECE)
    return part, len(values)


def rasters(X: ArrayLike, n_inputs: int, n_steps: int, where: str) -> tuple[Pieces, int]:
    """uint8 (n, steps, inputs) of the spikes `X` (T, N, ...), and N."""
    raster = np.asarray(X)
    if raster.ndim < 3 or raster.shape[0] != n_steps:
        raise ShapeError(f"{where}: X has shape {raster.shape}, expected ({n_steps}, N, ...)")
    flat = raster.reshape(*raster.shape[:2], int(np.prod(raster.shape[2:])))
    if flat.shape[2] != n_inputs:
        raise ShapeError(
            f"{where}: X has shape {raster.shape}, expected {n_inputs} values a sample"
        )
    if flat.dtype != np.bool_ and not np.all((flat == 0) | (flat == 1)):
        raise InputError(f"{where}: X has values other than 0 and 1, expected spikes")

    def part(first: int, last: int) -> NDArray[np.uint8]:
        piece = flat[:, first:last].astype(np.uint8)
        return np.ascontiguousarray(piece.transpose(1, 0, 2))

    return part, flat.shape[1]
