"""Checks of parameters and labels that the estimators share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim import knobs
from spikesim.errors import InputError, ShapeError


def whole(where: str, name: str, value: Any, least: int, most: int = 1 << 31) -> int:
    """A whole number within bounds, or an InputError that says so."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InputError(f"{where}: {name} is {value!r}, expected a whole number")
    if not least <= value <= most:
        raise InputError(f"{where}: {name} is {value}, expected {least} to {most}")
    return int(value)


def number(where: str, name: str, value: Any, least: float, most: float = math.inf) -> float:
    """A finite number within bounds, or an InputError that says so."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InputError(f"{where}: {name} is {value!r}, expected a number")
    if not (math.isfinite(value) and least <= value <= most):
        upper = "" if most == math.inf else f" and <= {most:g}"
        raise InputError(f"{where}: {name} is {value}, expected finite, >= {least:g}{upper}")
    return float(value)


def machine(where: str, threads: Any, level: Any) -> None:
    """The parameters of every model that change no bit."""
    if threads is not None:
        whole(where, "threads", threads, 1, knobs.MOST_THREADS)
    if level is not None and not isinstance(level, str):
        raise InputError(f"{where}: level is {level!r}, expected one of {', '.join(knobs.LEVELS)}")


def counted(tell: Any) -> Any:
    """Sums up what the engine has done for a bar that wants totals."""
    if tell is None:
        return None
    total = 0

    def count(done: int) -> None:
        nonlocal total
        total += done
        tell(total)

    return count


def labels_of(where: str, y: Any, n: int) -> NDArray[np.int64]:
    """(N,) int64, or an error that names y."""
    array = np.asarray(y)
    if array.shape != (n,):
        raise ShapeError(f"{where}: y has shape {array.shape}, expected ({n},), one an image")
    if array.dtype.kind not in "iu":
        raise InputError(f"{where}: y has type {array.dtype}, expected whole numbers")
    return array.astype(np.int64)
