"""Winner-take-all by hand, and what no population with its parts may ever do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikesim as ss
from rules import rule
from spikesim import learn
from spikesim.learn.reference.numbers import exp_of_negative, unit
from spikesim.learn.reference.philox import one

Part = learn.HardWTA | learn.KWTA | learn.MapInhibition | learn.SoftWTA | learn.LateralInhibition


def fired(
    x: Any, *parts: Any, shape: tuple[int, ...], seed: int = 0, neuron: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Spikes and membranes (T, *shape) of neurons that are driven by `x` (T, *shape) itself."""
    net = ss.Network(shape)
    net.add(neuron or ss.IF(v_threshold=1.0, reset="to_value"), name="n")
    learner = learn.Learner(net, wta={"n": parts}, seed=seed)
    raster = np.asarray(x, dtype=np.float32).reshape(-1, 1, *shape)
    result = learner.run(raster, record=("spikes", "v"))
    return result.spikes["n"].to_dense()[:, 0], result.v["n"][:, 0]


@rule("S11.10", "S11.11")
def test_margins_then_indices() -> None:
    z, _ = fired([[1.0, 1.5, 1.25, 1.5]], learn.HardWTA(), shape=(4,))
    assert z.tolist() == [[0, 1, 0, 0]]
    # The margin counts, not the membrane.
    neuron = ss.IF(v_threshold=[1.0, 2.0], reset="to_value")
    z, _ = fired([[1.5, 2.25]], learn.HardWTA(), shape=(2,), neuron=neuron)
    assert z.tolist() == [[1, 0]]
    # In maps the index is that of (C, H, W): map 0 at the last place comes before map 1.
    x = np.zeros((2, 2, 2))
    x[0, 1, 1] = x[1, 0, 0] = 2
    z, _ = fired(x, learn.HardWTA(), shape=(2, 2, 2))
    assert z[0, 0, 1, 1] == 1
    assert z.sum() == 1


@rule("S11.10")
def test_a_neuron_that_loses_keeps_its_membrane() -> None:
    """It integrates, leaks and rests as ever; it can win in the next step."""
    neuron = ss.LIF(v_threshold=1.0, alpha_mem=0.5, reset="to_value", refractory=1)
    z, v = fired([[2, 3], [0, 3], [0, 0]], learn.HardWTA(), shape=(2,), neuron=neuron)
    assert z.tolist() == [[0, 1], [1, 0], [0, 0]]
    assert v.tolist() == [[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]]


def test_a_loser_is_not_adapted_nor_reset_nor_refractory() -> None:
    neuron = ss.IF(v_threshold=1.0, theta_plus=0.5, alpha_theta=1.0, refractory=3)
    z, v = fired([[1, 2], [0.25, 0]], learn.HardWTA(), shape=(2,), neuron=neuron)
    assert z.tolist() == [[0, 1], [1, 0]]
    assert v.tolist() == [[1.0, 1.0], [0.25, 1.0]]


@rule("S11.12")
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.sampled_from([0, 1, 2]),
    st.booleans(),
    st.booleans(),
)
def test_no_two_winners_within_the_radius(
    seed: int, k: int, radius: int, one_per_map: bool, per_sample: bool
) -> None:
    shape = (3, 5, 6)
    x = np.random.default_rng(seed).integers(0, 3, (4, *shape))
    part = learn.KWTA(k, radius, one_per_map, per_sample)
    z, _ = fired(x, part, shape=shape)
    groups = [np.argwhere(z.any(axis=0))] if per_sample else [np.argwhere(step) for step in z]
    assert z.any()
    for winners in groups:
        assert len(winners) <= k
        if one_per_map:
            assert len({int(w[0]) for w in winners}) == len(winners)
        for i, a in enumerate(winners):
            for b in winners[:i]:
                assert max(abs(a[1] - b[1]), abs(a[2] - b[2])) > radius


@rule("S11.12")
def test_winners_of_the_sample() -> None:
    """Once two have won, nobody else does; they may fire again."""
    x = [[0, 3, 0, 0], [2, 0, 0, 0], [0, 0, 3, 0], [3, 0, 3, 3]]
    z, _ = fired(x, learn.KWTA(2, per_sample=True), shape=(4,))
    assert z.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    # Of a vector the distance is that of the indices.
    z, _ = fired([[2, 3, 2, 2]], learn.KWTA(4, radius=1), shape=(4,))
    assert z.tolist() == [[0, 1, 0, 1]]


@rule("S11.13")
@pytest.mark.parametrize(("duration", "again"), [(0, 1), (1, 2), (2, 3), (None, None)])
def test_maps_inhibit_each_other_at_their_place(duration: int | None, again: int | None) -> None:
    x = np.zeros((5, 2, 1, 2))
    x[0, :, 0, 0] = 2, 3  # map 1 wins at place 0
    x[0, 0, 0, 1] = 1  # nobody is there at place 1
    z, _ = fired(x, learn.MapInhibition(duration), shape=(2, 1, 2))
    assert z[0, :, 0, :].tolist() == [[0, 1], [1, 0]]
    # Map 0 has kept its membrane of 2 and fires as soon as it may.
    expected = [] if again is None else [again]
    assert np.flatnonzero(z[1:, 0, 0, 0]).tolist() == [t - 1 for t in expected]


@rule("S11.15")
def test_lateral_inhibition_by_hand() -> None:
    """Neuron 0 fires at 0 and 1: the others lose 1/4 at 1, 2·1/4 at 2 and 1/4 at 3."""
    x = np.zeros((5, 3))
    x[:2, 0] = 1
    z, v = fired(x, learn.LateralInhibition(0.25, duration=2), shape=(3,))
    assert z[:, 0].tolist() == [1, 1, 0, 0, 0]
    assert v[:, 1].tolist() == [0, -0.25, -0.75, -1.0, -1.0]
    assert v[:, 0].tolist() == [0, 0, 0, 0, 0]


@rule("S11.14")
def test_soft_winners_follow_the_softmax() -> None:
    """Of margins 0, 1/2 and 1 at temperature 1/2; neuron 3 stays below its threshold."""
    x = np.tile([1.0, 1.5, 2.0, 0.0], (1, 6000, 1))
    net = ss.Network((4,))
    net.add(ss.IF(v_threshold=1.0, reset="to_value"), name="n")
    result = learn.Learner(net, wta={"n": learn.SoftWTA(0.5)}, seed=3).run(x, record="spikes")
    z = result.spikes["n"].to_dense()[0]
    assert (z.sum(axis=1) == 1).all()
    p = np.exp(np.array([0.0, 1.0, 2.0]))
    p /= p.sum()
    found = z.mean(axis=0)
    assert found[3] == 0
    # Four standard errors.
    np.testing.assert_array_less(np.abs(found[:3] - p), 4 * np.sqrt(p * (1 - p) / 6000))


@rule("S11.14")
def test_a_draw_is_philox() -> None:
    """Sample and step by step, the winner is the one that S11.14 names."""
    steps, samples, seed = 5, 4, 2**40 + 7
    net = ss.Network((2,))
    net.add(ss.Add(), name="before")
    net.add(ss.IF(v_threshold=1.0, reset="to_value"), name="n")
    learner = learn.Learner(net, wta={"n": learn.SoftWTA(1.0)}, seed=seed)
    x = np.tile(np.array([1.0, 1.0]), (steps, samples, 1))
    z = learner.run(x, record="spikes").spikes["n"].to_dense()
    for n in range(samples):
        v = np.zeros(2)
        for t in range(steps):
            v += 1
            g = [exp_of_negative(float(m - v.max())) for m in v]
            word = one((0x736F6674, n, 2, t), seed)[0]
            winner = 0 if g[0] > unit(word) * (g[0] + g[1]) else 1
            assert z[t, n].tolist() == [winner == 0, winner == 1]
            v[winner] = 0


def test_winner_take_all_in_a_recurrent_network() -> None:
    """Two neurons that excite each other a step later take turns."""
    net = ss.Network((2,))
    net.add(ss.IF(v_threshold=1.0, reset="to_value"), name="n")
    net.add(ss.Linear([[0.0, 1.0], [1.0, 0.0]]), name="back", inputs=[("n", 1)])
    net.connect("back", "n")
    net.output = "n"
    x = np.zeros((6, 1, 2))
    x[0] = [1.5, 1.0]
    result = learn.Learner(net, wta={"n": learn.HardWTA()}).run(x, record="spikes")
    # t=0: 0 wins, 1 keeps 1; t=1: 1 is at 2 and fires; t=2: 0 hears it; and so on.
    assert result.spikes["n"].neuron.tolist() == [0, 1, 0, 1, 0, 1]
