"""Poisson spikes from intensities, keyed by seed, sample, input and step (S12.1, S12.2)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim._core import poisson_rasters
from spikesim.errors import InputError, ShapeError

FloatArray = NDArray[np.float32]


def chances(
    x: ArrayLike,
    n_inputs: int | None,
    max_rate: float,
    dt: float,
    x_max: float | None,
    where: str = "poisson_spikes",
) -> FloatArray:
    """The chance of a spike in a step, (N, n_inputs), of intensities (N, ...) (S12.1).

    Raises:
        InputError: values below 0, NaN or infinite, of no number's type, or floats above 1
            where `x_max` is not given.
        ShapeError: a sample has another number of values than the network inputs.
    """
    values = np.asarray(x)
    if values.dtype.kind not in "buif":
        raise InputError(f"{where}: x is of {values.dtype}, expected numbers")
    if values.ndim < 2:
        raise ShapeError(f"{where}: x has shape {values.shape}, expected (N, ...)")
    n = len(values)
    flat = values.reshape(n, math.prod(values.shape[1:]))
    if n_inputs is not None and flat.shape[1] != n_inputs:
        raise ShapeError(
            f"{where}: x has shape {values.shape}, expected {n_inputs} values a sample"
        )
    full = intensity(values.dtype, x_max, where)
    flat = flat.astype(np.float32)
    if flat.size:
        low, high = float(flat.min()), float(flat.max())
        if not (low >= 0 and high < np.inf):
            what = "has NaN or infinite values" if not np.isfinite(flat).all() else f"has {low:g}"
            raise InputError(f"{where}: x {what}, expected finite values of at least 0")
        if x_max is None and values.dtype.kind == "f" and high > 1:
            raise InputError(
                f"{where}: x is up to {high:g} in {values.dtype}, expected 0 to 1; give x_max"
            )
    return flat * np.float32(max_rate * dt / 1000.0 / full)


def intensity(dtype: np.dtype[Any], x_max: float | None, where: str) -> float:
    """The value of x that stands for `max_rate`."""
    if x_max is not None:
        return float(x_max)
    if dtype.kind == "f" or dtype == np.bool_:
        return 1.0
    if dtype == np.uint8:
        return 255.0
    raise InputError(f"{where}: x is of {dtype}, expected bool, uint8 or floats; give x_max")


def poisson_spikes(
    x: ArrayLike,
    n_steps: int = 250,
    seed: int = 0,
    *,
    max_rate: float = 63.75,
    dt: float = 1.0,
    x_max: float | None = None,
    first_sample: int | None = 0,
) -> NDArray[np.bool_]:
    """Poisson spikes of intensities: those that a `DiehlCook` of this seed draws itself.

    Whether an input spikes at a step depends on the seed, the sample's number, the input and
    the step alone; not on what is drawn beside it.

    Args:
        x: `(N, ...)`, intensities of at least 0.
        n_steps: T, number of steps.
        seed: 0 to 2^64 - 1.
        max_rate: Hz of an input at full intensity; the chance of a spike in a step is
            `max_rate * dt / 1000`, rounded to 1/65536, at most 1.
        dt: ms of a step.
        x_max: full intensity; None: 255 for uint8, 1 for bool and floats.
        first_sample: number of the first sample, as `DiehlCook.fit` counts them; None: spikes
            are keyed by the sample's values, as `predict` draws them.

    Returns:
        bool `(T, N, n_inputs)`.

    Raises:
        InputError: `x` has negative, NaN or infinite values; or a bad option.
        ShapeError: `x` has no samples' axis.

    Example:
        >>> import numpy as np
        >>> from spikesim.learn import poisson_spikes
        >>> spikes = poisson_spikes(np.full((1, 100), 255, np.uint8), n_steps=1000)
        >>> 55 < spikes.mean() * 1000 < 72
        True
    """
    where = "poisson_spikes"
    for name, value in (("max_rate", max_rate), ("dt", dt), ("x_max", x_max)):
        if value is not None and not (0 <= value < np.inf and (value or name == "max_rate")):
            raise InputError(f"{where}: {name} is {value!r}, expected a finite number above 0")
    if not 1 <= n_steps <= 8 << 16 or not 0 <= seed < 1 << 64:
        raise InputError(
            f"{where}: n_steps, seed are {n_steps}, {seed}, expected 1 to 524288, 0 to 2^64 - 1"
        )
    p = chances(x, None, max_rate, dt, x_max, where)
    raster = poisson_rasters(p, n_steps, seed, first_sample)
    return np.ascontiguousarray(raster.transpose(1, 0, 2)).astype(bool)
