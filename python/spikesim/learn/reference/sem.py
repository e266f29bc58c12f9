"""The soft winner-take-all of `spikesim.learn.SEM`, carried out plainly in NumPy float32.

The engine equals it to the bit: docs/semantics.md S13.11 - S13.14.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.learn.reference.philox import one

__all__ = ["exp", "learn", "probabilities", "spikes"]

Floats = NDArray[np.float32]

_f32 = np.float32
_ROUND = _f32(12_582_912.0)  # added, it leaves no bits behind the point
_LOG2_E = _f32(1.442695)
_LN2_HIGH, _LN2_LOW = _f32(0.6933594), _f32(-2.1219444e-4)
_TERMS = [_f32(1 / d) for d in (5040, 720, 120, 24, 6, 2)]
_DRAW = 0x53454D00


def exp(x: Any) -> Floats:
    """S13.14: e^x from float32 additions and multiplications."""
    x = np.clip(np.asarray(x, _f32), _f32(-87), _f32(87))
    n = (x * _LOG2_E + _ROUND) - _ROUND
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = np.full_like(r, _TERMS[0])
    for term in _TERMS[1:]:
        p = p * r + term
    p = (p * r + _f32(1)) * r + _f32(1)
    power = ((n.astype(np.int32) + 127) << 23).astype(np.int32).view(_f32)
    return np.asarray(p * power)


def spikes(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """S13.11: pixels (n,) as on/off pairs (2n,)."""
    return np.stack([pixels, ~pixels], axis=1).ravel()


def _odds(weight: Floats, bias: Floats, y: NDArray[np.bool_]) -> tuple[Floats, Any]:
    u = bias.copy()
    for i in np.flatnonzero(y):
        u += weight[:, i]
    odds = exp(u - u.max())
    total = _f32(0)
    for e in odds:
        total = total + e
    return odds, total


def probabilities(weight: Floats, bias: Floats, pixels: NDArray[np.bool_]) -> Floats:
    """S13.12: the probability of each neuron to fire."""
    odds, total = _odds(weight, bias, spikes(pixels))
    return np.asarray(odds / total)


def learn(
    weight: Floats,
    bias: Floats,
    seen: int,
    pixels: NDArray[np.bool_],
    *,
    eta: float,
    eta_bias: float,
    c: float,
    w_min: float,
    w_max: float,
    seed: int,
) -> tuple[Floats, Floats, int]:
    """S13.12, S13.13: weights (K, 2n) and biases after one sample, and the neuron that fired."""
    y = spikes(pixels)
    odds, total = _odds(weight, bias, y)
    counter = (seen & 0xFFFFFFFF, seen >> 32, 0, _DRAW)
    word = one(counter, seed)[0]
    target = _f32(word >> 8) * _f32(2**-24) * total
    below, winner = _f32(0), len(odds) - 1
    for k, e in enumerate(odds):
        below = below + e
        if below > target:
            winner = k
            break
    weight, bias = weight.copy(), bias.copy()
    w = weight[winner]
    push = np.where(y, _f32(c) * exp(-w), _f32(0))
    weight[winner] = np.clip(w + _f32(eta) * (push - _f32(1)), _f32(w_min), _f32(w_max))
    fired = np.arange(len(bias)) == winner
    share = _f32(1) / _f32(len(bias))
    bias += _f32(eta_bias) * (share - fired.astype(_f32))
    return weight, bias, winner
