"""Small conductance networks and their input, for the tests of twin, engine and Brian2."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

f32 = np.float32


def draw(
    seed: int, n_inputs: int, n: int, steps: int, rate: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[list[int]]]:
    """Weights, thetas and spikes (steps lists of ascending inputs)."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0, 0.6, (n_inputs, n)).astype(f32)
    theta = rng.uniform(14, 20, n).astype(f32)
    hits = rng.random((steps, n_inputs)) < rate
    return weights, theta, [np.flatnonzero(row).tolist() for row in hits]


def packed(spikes: list[list[int]]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The engine's form of them: offsets and indices."""
    offsets = np.cumsum([0] + [len(s) for s in spikes]).astype(np.uint32)
    return offsets, np.array([i for s in spikes for i in s], np.uint32)


def whole(spikes: list[list[int]]) -> dict[str, Any]:
    offsets, indices = packed(spikes)
    return {"offsets": offsets, "indices": indices}
