"""The learner equals its plain NumPy twin to the bit: any rule on any layer, any parts of
winner-take-all, recurrence, delays, rewards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import spikesim as ss
from learn_nets import Case, cases, same
from rules import rule
from spikesim import learn


def pair_case(spikes: np.ndarray, weight: np.ndarray, rule: learn.Rule) -> Case:
    net = ss.Network((weight.shape[1],))
    net.add(ss.Linear(weight), name="fc")
    net.add(ss.LIF(v_threshold=1.0, alpha_mem=0.5), name="out")
    reward = np.zeros(spikes.shape[:2], dtype=np.float32)
    return Case(net, {"fc": rule}, {}, {}, spikes, reward, True, 0)


def test_pair_stdp_on_a_linear_edge() -> None:
    rng = np.random.default_rng(0)
    weight = rng.uniform(0, 1, (20, 30)).astype(np.float32)
    spikes = rng.random((40, 3, 30)) < 0.1
    case = pair_case(spikes, weight, learn.PairSTDP(0.01, 0.012, 7.3, 11.1))
    same(case)
    learner = case.learner()
    assert learner.run(spikes).weight_updates > 10_000
    assert np.abs(learner.network().node("fc").op.weight - weight).max() > 0.1


@rule("S11.4")
def test_amplitudes_that_are_none_in_float32() -> None:
    """A term that rounds to 0 touches no eligibility: one touch more is one rounding more."""
    rng = np.random.default_rng(5)
    weight = rng.uniform(0, 1, (6, 10)).astype(np.float32)
    spikes = rng.random((30, 1, 10)) < 0.4
    trace = learn.Trace(3.7)
    small = learn.Rule(
        trace,
        trace,
        on_pre=learn.Term(pair=0.1),
        on_post=learn.Term(pair=1e-279, silent=1e-279),
        reward=learn.Reward(3.7, 0.3, 0.5),
    )
    case = pair_case(spikes, weight, small)
    case.reward[:] = rng.integers(-1, 2, case.reward.shape)
    same(case)
    none = pair_case(spikes, weight, replace(small, on_post=learn.Term()))
    none.reward[:] = case.reward
    found = [c.learner() for c in (case, none)]
    updates = [one.run(spikes, reward=case.reward).weight_updates for one in found]
    assert updates[0] == updates[1] > 0
    np.testing.assert_array_equal(*(one.network().node("fc").op.weight for one in found))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(cases(exact=True))
def test_engine_equals_twin_on_dyadic_numbers(case: Case) -> None:
    same(case)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(cases(exact=False))
def test_engine_equals_twin_on_any_floats(case: Case) -> None:
    same(case)


@pytest.mark.parametrize("level", ss._core.levels())
def test_levels_change_no_bit(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKESIM_LEVEL", level)
    test_pair_stdp_on_a_linear_edge()
