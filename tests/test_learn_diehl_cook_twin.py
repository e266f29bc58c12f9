"""The engine of DiehlCook is its NumPy twin to the bit: weights, thetas, spikes, counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikesim._core as core_module
from diehl_cook import assert_same, both, chances, counts, lists, small

LEVELS = core_module.levels()

CONFIGS = st.fixed_dictionaries(
    {
        "n_inputs": st.integers(1, 40),
        "n_neurons": st.integers(1, 40),
        "n_steps": st.integers(1, 60),
        "model": st.sampled_from(["wta", "current"]),
        "seed": st.integers(0, 2**64 - 1),
        "refractory": st.integers(0, 6),
        "inhibition": st.sampled_from([0.0, 1.0, 4.0, 30.0]),
        "tc_pre": st.sampled_from([0.1, 2.0, 20.0]),
        "tc_post": st.sampled_from([0.1, 2.0, 20.0]),
        "eta_pre": st.sampled_from([0.0, 1e-3, 0.03]),
        "eta_post": st.sampled_from([0.0, 0.01, 0.2]),
        "soft_bound": st.booleans(),
        "x_tar": st.sampled_from([None, None, 0.1]),
        "theta_plus": st.sampled_from([0.0, 0.1, 0.5]),
        "tc_theta": st.sampled_from([None, 1e3]),
        "min_spikes": st.integers(0, 4),
        "max_repeats": st.integers(0, 3),
        "chunk": st.integers(1, 64),
    }
)


@settings(max_examples=60, deadline=None)
@given(config=CONFIGS, draw=st.integers(0, 2**32 - 1), level=st.sampled_from(LEVELS))
def test_engine_is_its_twin_to_the_bit(config: dict[str, Any], draw: int, level: str) -> None:
    n = config["n_inputs"]
    core, twin = both(small(**config, norm=0.3 * n), level)
    x = chances(5, n, draw)
    factors = np.linspace(1, 0.25, 5, dtype=np.float32)
    total, start, neurons = core.train(x, factors, False, 1)
    twin.train(x, factors)
    assert_same(core, twin)
    assert total == counts(twin)
    twin.log.clear()
    total, start, neurons = core.respond(x, 1)
    assert lists(start, neurons) == twin.respond(x)
    assert total == counts(twin)
    assert_same(core, twin)  # frozen: nothing was learned


@settings(max_examples=20, deadline=None)
@given(config=CONFIGS, draw=st.integers(0, 2**32 - 1), threads=st.integers(1, 3))
def test_batches_are_the_twins_to_the_bit(config: dict[str, Any], draw: int, threads: int) -> None:
    n = config["n_inputs"]
    core, twin = both(small(**config, norm=0.3 * n))
    x = chances(7, n, draw)
    factors = np.linspace(1, 0.5, 7, dtype=np.float32)
    for part in (slice(0, 4), slice(4, 7)):
        core.train(x[part], factors[part], True, threads)
        twin.train_batch(x[part], factors[part])
        assert_same(core, twin)


@pytest.mark.parametrize("model", ["wta", "current"])
def test_rasters_with_pre_and_post_spikes_at_once(model: str) -> None:
    """Every input spikes at every step, and neurons whenever they can."""
    core, twin = both(small(model=model, refractory=1, theta_plus=0.1, inhibition=2.0))
    rng = np.random.default_rng(0)
    raster = (rng.random((6, 40, 12)) < 0.8).astype(np.uint8)
    raster[0] = 1
    ones = np.ones(6, np.float32)
    total, start, neurons = core.train(raster, ones, False, 1)
    twin.train(raster, ones)
    assert lists(start, neurons) == [[j for _, j in p.spikes] for p in twin.log]
    assert min(len(p.spikes) for p in twin.log) > 4
    assert_same(core, twin)
    assert total == counts(twin)
