"""Philox4x32-10 (Salmon et al., SC 2011) with NumPy, and the draws made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_M = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_W = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counter: tuple[Any, Any, Any, Any], seed: int) -> list[Words]:
    """Four words of 32 bits for each counter; its parts are broadcast."""
    c = [np.asarray(part, np.uint64) for part in counter]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = _M[0] * c[0], _M[1] * c[2]
        c = [
            (b >> _HALF) ^ c[1] ^ np.uint64(key[0]),
            b & _LOW,
            (a >> _HALF) ^ c[3] ^ np.uint64(key[1]),
            a & _LOW,
        ]
        key = [(k + w) & 0xFFFFFFFF for k, w in zip(key, _W, strict=True)]
    return c


def one(counter: tuple[int, int, int, int], seed: int) -> tuple[int, int, int, int]:
    """The four words of one counter."""
    a, b, c, d = map(int, philox(counter, seed))
    return a, b, c, d


def draws(seed: int, purpose: int, attempt: int, sample: int, n_steps: int, n: int) -> Words:
    """(n_steps, n): a draw of 16 bits for each step and input (S12.2)."""
    what = purpose << 24 | attempt << 16
    blocks = np.arange(-(-n_steps // 8))[:, None]
    inputs = np.arange(n)[None, :]
    words = philox((what | blocks, inputs, sample & 0xFFFFFFFF, sample >> 32), seed)
    halves = [half for word in words for half in (word & np.uint64(0xFFFF), word >> np.uint64(16))]
    flat = np.stack([np.broadcast_to(h, (len(blocks), n)) for h in halves], axis=1)
    return flat.reshape(-1, n)[:n_steps]
