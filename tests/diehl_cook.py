"""Small networks of Diehl and Cook's kind, engine beside twin."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np

from spikesim._core import DiehlCook as Core
from spikesim.learn import DiehlCook
from spikesim.learn._settings import configuration
from spikesim.learn.reference.diehl_cook import ReferenceDiehlCook


def small(**params: Any) -> DiehlCook:
    """A network whose neurons learn fast and often fire."""
    defaults: dict[str, Any] = {
        "n_inputs": 12, "n_neurons": 7, "n_steps": 40, "max_rate": 150.0, "x_max": 1.0,
        "inhibition": 8.0, "v_threshold": 3.0, "v_reset": 1.0, "eta_pre": 0.01, "eta_post": 0.05,
        "theta_plus": 0.25, "tc_theta": 1e4, "norm": 4.0, "min_spikes": 2, "max_repeats": 2,
        "threads": 1,
    }  # fmt: skip
    return DiehlCook(**{**defaults, **params})


def chances(n: int, inputs: int, seed: int, most: float = 0.4) -> np.ndarray:
    """Chances of which some are 0."""
    rng = np.random.default_rng(seed)
    values = rng.random((n, inputs)) * most * (rng.random((n, inputs)) < 0.7)
    return values.astype(np.float32)


def both(model: DiehlCook, level: str | None = None) -> tuple[Core, ReferenceDiehlCook]:
    config = configuration(model)
    return Core(json.dumps(config), level), ReferenceDiehlCook(config)


def assert_same(core: Core, twin: ReferenceDiehlCook) -> None:
    """Weights, thetas and counts to the bit."""
    assert core.weights().tobytes() == twin.w.tobytes()
    assert core.theta().tobytes() == twin.theta.astype(np.float32).tobytes()
    assert core.seen == twin.seen


def counts(twin: ReferenceDiehlCook) -> tuple[int, int, int, int, int]:
    log = twin.log
    return (
        len(log),
        sum(p.input_spikes for p in log),
        sum(len(p.spikes) for p in log),
        sum(p.synops for p in log),
        sum(p.weight_updates for p in log),
    )


def lists(start: np.ndarray, neurons: np.ndarray) -> list[list[int]]:
    """Spikes of each sample."""
    return [neurons[a:b].tolist() for a, b in pairwise(start)]
