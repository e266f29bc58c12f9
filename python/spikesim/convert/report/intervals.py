"""Intervals of fractions."""

from __future__ import annotations

import math

from spikesim.errors import InputError

#: Two-sided 95 % of a normal distribution.
Z95 = 1.959963984540054


def wilson(fraction: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a fraction measured on `n` samples (Wilson, 1927), within [0, 1].

    Args:
        fraction: Successes over `n`.
        n: Samples, at least 1.

    Raises:
        InputError: No samples, or a fraction outside [0, 1].

    Example:
        >>> low, high = wilson(0.99, 3000)
        >>> round(low, 4), round(high, 4)
        (0.9858, 0.993)
    """
    if n < 1:
        raise InputError(f"report: an interval of {n} samples, expected at least 1")
    if not 0 <= fraction <= 1:
        raise InputError(f"report: fraction is {fraction}, expected 0 to 1")
    z2 = Z95 * Z95
    middle = (fraction + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(fraction * (1 - fraction) / n + z2 / (4 * n * n))
    # Rounding may leave the fraction itself a hair outside at 0 and 1.
    return max(0.0, min(fraction, middle - half)), min(1.0, max(fraction, middle + half))
