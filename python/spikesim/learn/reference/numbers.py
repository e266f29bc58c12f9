"""Numbers that have to be the same to the bit everywhere: the exponential function, decays."""

from __future__ import annotations

import math

import numpy as np

_LN2 = (6.931471803691238e-1, 1.9082149292705877e-10)
_TERMS = [1.0 / math.factorial(k) for k in range(13, -1, -1)]
_LEAST = 2.0**-24


def exp_of_negative(x: float) -> float:
    """e^x for x ≤ 0 as a fixed sequence of float64 operations (S11.3)."""
    if math.isnan(x) or x < -700.0:
        return 0.0
    x = min(x, 0.0)
    k = math.floor(x * math.log2(math.e) + 0.5)
    r = (x - k * _LN2[0]) - k * _LN2[1]
    total = 0.0
    for term in _TERMS:
        total = total * r + term
    return math.ldexp(total, k)


def decay(tau: float | None, n: int) -> np.float32:
    """The decay of a trace over `n` steps (S11.3); `tau` None: none, 0: all of it at once."""
    if n == 0 or tau is None:
        return np.float32(1.0)
    d = exp_of_negative(-n / tau) if tau > 0 else 0.0
    return np.float32(0.0 if d < _LEAST else d)


def unit(word: int) -> float:
    """A word as a number in [0, 1), of which 24 bits are kept."""
    return (word >> 8) / 16777216.0
