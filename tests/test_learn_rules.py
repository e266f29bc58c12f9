"""Rules against closed forms and by hand: no other code of ours decides what is right here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikesim as ss
from learn_nets import HALVING
from rules import rule
from spikesim import learn

Times = list[int]


def trained(
    rule: learn.Rule,
    pre: list[Times],
    post: Times,
    steps: int,
    start: float = 0.0,
    reward: Any = None,
) -> np.ndarray:
    """The weights of a neuron that a teacher makes fire at `post`, its inputs firing at `pre`.

    The teacher is an input of its own, whose synapse does not learn.
    """
    n = len(pre)
    net = ss.Network((n + 1,))
    # The teacher's weight is far above whatever the others add up to.
    teach = np.zeros((1, n + 1))
    teach[0, n] = 1000.0
    net.add(ss.Linear(np.full((1, n + 1), start)), name="plastic")
    net.add(ss.Linear(teach), name="teacher", inputs="input")
    neuron = ss.LIF(v_threshold=500.0, alpha_mem=0.0, reset="to_value")
    net.add(neuron, name="out", inputs=["plastic", "teacher"])
    x = np.zeros((steps, 1, n + 1), dtype=bool)
    for j, times in enumerate(pre):
        x[times, 0, j] = True
    x[post, 0, n] = True
    learner = learn.Learner(net, {"plastic": rule})
    result = learner.run(x, reward=reward, record="spikes")
    np.testing.assert_array_equal(np.sort(result.spikes["out"].step), np.unique(post))
    weight: np.ndarray = learner.network().node("plastic").op.weight[0, :n]
    return weight


trains = st.lists(st.integers(0, 59), max_size=12, unique=True).map(sorted)


@rule("S11.3")
@given(trains, trains, st.floats(2, 40), st.floats(2, 40))
def test_pair_stdp_is_the_sum_over_pairs(
    pre: Times, post: Times, tau_plus: float, tau_minus: float
) -> None:
    """Σ over pairs of A e^(−|Δt|/τ); a pair at the same time is a pre before a post."""
    rule = learn.PairSTDP(0.01, 0.012, tau_plus, tau_minus, None, None)
    expected = sum(
        0.01 * math.exp(-(b - a) / tau_plus) if a <= b else -0.012 * math.exp(-(a - b) / tau_minus)
        for a in pre
        for b in post
    )
    np.testing.assert_allclose(trained(rule, [pre], post, 60)[0], expected, atol=2e-6)


@rule("S11.3")
@given(trains, trains, st.floats(2, 40), st.floats(2, 40))
def test_nearest_pairs_only(pre: Times, post: Times, tau_plus: float, tau_minus: float) -> None:
    """Each post spike with the last pre spike, each pre spike with the last post spike before."""
    rule = learn.PairSTDP(0.01, 0.012, tau_plus, tau_minus, None, None, nearest=True)
    expected = 0.0
    for b in post:
        before = [a for a in pre if a <= b]
        expected += 0.01 * math.exp(-(b - before[-1]) / tau_plus) if before else 0.0
    for a in pre:
        before = [b for b in post if b < a]
        expected -= 0.012 * math.exp(-(a - before[-1]) / tau_minus) if before else 0.0
    np.testing.assert_allclose(trained(rule, [pre], post, 60)[0], expected, atol=2e-6)


@given(trains, trains)
def test_anti_stdp_is_pair_stdp_turned(pre: Times, post: Times) -> None:
    pair = trained(learn.PairSTDP(0.01, 0.02, 9.0, 7.0, None, None), [pre], post, 60)
    anti = trained(learn.AntiSTDP(0.01, 0.02, 9.0, 7.0, None, None), [pre], post, 60)
    np.testing.assert_array_equal(anti, -pair)


@rule("S11.4")
@given(trains, trains)
def test_triplets_are_the_sum_over_triplets(pre: Times, post: Times) -> None:
    """Pfister & Gerstner's all-to-all form, written as sums over spikes."""
    a2p, a2m, a3p, a3m, tp, tm, tx, ty = 0.01, 0.012, 0.02, 0.004, 16.8, 33.7, 101.0, 125.0
    rule = learn.TripletSTDP(a2p, a2m, a3p, a3m, tp, tm, tx, ty, None, None)
    expected = 0.0
    for b in post:
        r1 = sum(math.exp(-(b - a) / tp) for a in pre if a <= b)
        o2 = sum(math.exp(-(b - other) / ty) for other in post if other < b)
        expected += r1 * (a2p + a3p * o2)
    for a in pre:
        o1 = sum(math.exp(-(a - b) / tm) for b in post if b < a)
        r2 = sum(math.exp(-(a - other) / tx) for other in pre if other < a)
        expected -= o1 * (a2m + a3m * r2)
    np.testing.assert_allclose(trained(rule, [pre], post, 60)[0], expected, atol=1e-5)


@rule("S11.4")
def test_triplet_by_hand() -> None:
    """All traces halve in a step. pre at 0, post at 1 and 3, pre at 4."""
    rule = learn.TripletSTDP(1.0, 1.0, 1.0, 1.0, HALVING, HALVING, HALVING, HALVING, None, None)
    # post 1: r1 = 1/2, o2 = 0: +1/2. post 3: r1 = 1/8, o2 = 1/4: +1/8·(1 + 1/4) = 5/32.
    # pre 4: o1 = 1/8 + 1/2, r2 = 1/16: −5/8·(1 + 1/16) = −85/128.
    expected = 1 / 2 + 5 / 32 - 85 / 128
    assert trained(rule, [[0, 4]], [1, 3], 5)[0] == expected


@rule("S11.4")
def test_diehl_and_cook_by_hand() -> None:
    """Traces are set to 1, and post2 counts before it is set."""
    rule = learn.DiehlCookSTDP(1.0, 1.0, HALVING, HALVING, 2 * HALVING, None, None)
    # post 2: post2 = 0, nothing. pre 4: −post1 = −1/4. post 6: pre = 1/4, post2 = (1/√2)^4 = 1/4.
    weight = trained(rule, [[0, 4]], [2, 6], 8)[0]
    np.testing.assert_allclose(weight, -1 / 4 + 1 / 16, rtol=1e-6)
    # post 6 makes nothing of pre = 1 + … : set, not added.
    rule = learn.DiehlCookSTDP(0.0, 1.0, HALVING, HALVING, None, None, None)
    assert trained(rule, [[4, 5]], [0, 6], 8)[0] == 0.5


@rule("S11.4")
def test_simplified_by_hand() -> None:
    """Before or in the same step: +a·w(1−w); later or never: −b·w(1−w); once a post spike."""
    rule = learn.SimplifiedSTDP(0.5, 0.25)
    weights = trained(rule, [[1], [3], [4], []], [3], 6, start=0.5)
    np.testing.assert_array_equal(weights, [0.625, 0.625, 0.4375, 0.4375])


@rule("S11.5")
@pytest.mark.parametrize(
    ("dependence", "grown", "shrunk"),
    [
        ("additive", 1 / 8, 1 / 8),
        ("multiplicative", 3 / 32, 1 / 32),
        (2, 9 / 128, 1 / 128),
        (0.5, math.sqrt(3 / 4) / 8, 1 / 16),
        (0, 1 / 8, 1 / 8),
        ("product", 3 / 128, 3 / 128),
    ],
)
def test_dependence_on_the_weight(dependence: Any, grown: float, shrunk: float) -> None:
    rule = learn.PairSTDP(0.25, 0.25, HALVING, HALVING, 0.0, 1.0, dependence=dependence)
    up = trained(rule, [[0]], [1], 3, start=0.25)[0]
    down = trained(rule, [[1]], [0], 3, start=0.25)[0]
    np.testing.assert_allclose([up - 0.25, 0.25 - down], [grown, shrunk], rtol=1e-6)


@rule("S11.5")
def test_bounds() -> None:
    rule = learn.PairSTDP(0.75, 0.75, HALVING, HALVING, -0.25, 0.5)
    assert trained(rule, [[0, 1]], [1], 3)[0] == 0.5
    assert trained(rule, [[1, 2]], [0], 3)[0] == -0.25


@rule("S11.2")
def test_simultaneous_spikes() -> None:
    """Pre and post in one step: the new pre spike grows the weight, the new post spike does not
    shrink it."""
    rule = learn.PairSTDP(0.5, 0.25, HALVING, HALVING, None, None)
    assert trained(rule, [[2]], [2], 4)[0] == 0.5
    # post at 1 and 2, pre at 2: −1/4·1/2 for post 1, then +1/2 for post 2.
    assert trained(rule, [[2]], [1, 2], 4)[0] == 0.375


@rule("S11.2")
def test_a_spike_meets_the_weight_that_stood_before_its_step() -> None:
    """v of the step in which the weight is taken down is made with the old weight."""
    net = ss.Network((1,))
    net.add(ss.Linear([[1.0]]), name="fc")
    net.add(ss.IF(v_threshold=1.0, reset="to_value"), name="if")
    learner = learn.Learner(net, {"fc": learn.PairSTDP(0.0, 0.5, HALVING, HALVING)})
    result = learner.run(np.ones((3, 1, 1)), record=("spikes", "v"))
    # t=1: depressed by 1/4 with the trace 1/2, but fires with 1. t=2: 0.75 does not fire.
    assert result.spikes["if"].step.tolist() == [0, 1]
    assert result.v["if"][2, 0, 0] == 0.75
    # t=2: traces 1/4 + 1/2 → 3/8.
    assert learner.network().node("fc").op.weight[0, 0] == 1 - 0.25 - 0.375


@rule("S11.1")
@pytest.mark.parametrize("delay", [0, 1, 5])
@pytest.mark.parametrize("way", ["edge", "node", "synapses"])
def test_the_pre_trace_sees_the_delayed_spike(delay: int, way: str) -> None:
    """A spike of step 0 arrives at `delay`; the teacher fires at 6."""
    net = ss.Network((2,))
    if way == "node":
        net.add(ss.Delay(delay), name="later")
    late = [[delay, delay]] if way == "synapses" else None
    source = ("input", delay) if way == "edge" else "later" if way == "node" else "input"
    net.add(ss.Linear([[0.0, 0.0]], delay=late), name="fc", inputs=[source])
    net.add(ss.Linear([[0.0, 8.0]]), name="teacher", inputs="input")
    net.add(ss.LIF(v_threshold=4.0, alpha_mem=0.0), name="out", inputs=["fc", "teacher"])
    x = np.zeros((8, 1, 2))
    x[0, 0, 0] = x[6, 0, 1] = 1
    learner = learn.Learner(net, {"fc": learn.PairSTDP(1.0, 0.0, HALVING, HALVING)})
    learner.run(x)
    assert learner.network().node("fc").op.weight[0, 0] == 0.5 ** (6 - delay)


@rule("S11.1")
def test_a_rule_on_a_layer_acts_on_all_its_edges() -> None:
    """Two edges share the weights."""
    net = ss.Network((2,))
    net.add(ss.Linear([[0.0, 0.0]]), name="fc", inputs=[("input", 1)])
    net.connect("input", "fc", 3)
    net.add(ss.Linear([[0.0, 8.0]]), name="teacher", inputs="input")
    net.add(ss.LIF(v_threshold=4.0, alpha_mem=0.0), name="out", inputs=["fc", "teacher"])
    x = np.zeros((6, 1, 2))
    x[0, 0, 0] = x[4, 0, 1] = 1
    learner = learn.Learner(net, {"fc": learn.PairSTDP(1.0, 0.0, HALVING, HALVING)})
    learner.run(x)
    # It arrives at 1 and at 3; the teacher fires at 4.
    assert learner.network().node("fc").op.weight[0, 0] == 1 / 8 + 1 / 2


@rule("S11.3")
def test_traces_end_where_nothing_is_left_of_them() -> None:
    """e^(−n/τ) below 2^−24 is 0; without τ nothing decays."""
    tau = 1.0
    last = math.floor(24 * math.log(2.0))  # 16
    weights = trained(learn.PairSTDP(1.0, 0.0, tau, tau, None, None), [[0], [1]], [last + 1], 20)
    assert weights[0] == 0.0
    assert weights[1] == np.float32(math.exp(-last))
    assert trained(learn.PairSTDP(1.0, 0.0, None, tau, None, None), [[0]], [9999], 10_000)[0] == 1


@rule("S11.1")
def test_a_rule_on_one_edge_sees_its_spikes_alone() -> None:
    """A neuron that hears itself through the weights of its input: the rule is that of the
    recurrent edge, so the input's spikes neither depress nor leave a trace."""
    net = ss.Network((1,))
    net.add(ss.Linear([[1.0]]), name="fc")
    net.add(ss.LIF(v_threshold=1.0, alpha_mem=0.0, reset="to_value"), name="lif")
    net.connect("lif", "fc", delay=1)
    net.output = "lif"
    rule = learn.PairSTDP(0.0, 0.25, HALVING, HALVING, 0.0, 2.0)
    x = np.zeros((3, 1, 1))
    x[0] = 1
    for place in ("fc", ("lif", "fc")):
        learner = learn.Learner(net, {place: rule})
        learner.run(x)
        # Step 1: it hears itself with 1 and the trace of 0 is 1/2: −1/8. Step 2 with 7/8: silent,
        # but the spike of step 1 arrives and meets 1/4 + 1/2: −3/16.
        assert learner.network().node("fc").op.weight.item() == 1 - 1 / 8 - 3 / 16
    learner = learn.Learner(net, {("input", "fc"): rule})
    learner.run(x)
    assert learner.network().node("fc").op.weight.item() == 1.0


@rule("S11.6")
def test_shared_weights_change_place_by_place() -> None:
    """One weight, three places: w ← w + (1 − w)/2 three times; then the spike that arrives last
    finds what the first left."""
    net = ss.Network((1, 3))
    net.add(ss.Conv1d([[[0.5]]]), name="conv")
    net.add(ss.LIF(v_threshold=0.25, alpha_mem=0.0, reset="to_value"), name="lif")
    rule = learn.PairSTDP(0.5, 0.25, HALVING, HALVING, dependence="multiplicative")
    learner = learn.Learner(net, {"conv": rule})
    learner.run(np.ones((1, 1, 1, 3)))
    assert learner.network().node("conv").op.weight.item() == 1 - 0.5**4
    # A second step with one pre spike only: first −w/8 by the trace 1/2, then it fires as well:
    # + (1 − w)/2 · (1 + 1/2).
    x = np.ones((2, 1, 1, 3))
    x[1, 0, 0, 1:] = 0
    learner = learn.Learner(net, {"conv": rule})
    learner.run(x)
    w = (1 - 0.5**4) * (1 - 1 / 8)
    assert learner.network().node("conv").op.weight.item() == w + 0.75 * (1 - w)


# --- Reward -------------------------------------------------------------------------------------


@rule("S11.7")
def test_reward_by_hand() -> None:
    """Eligibility and traces halve in a step. pre 0, post 1 (+1/2), pre 2 (−1/2), reward 2 at
    step 3 and 1 at step 4."""
    rule = learn.RewardSTDP(1.0, 1.0, HALVING, HALVING, HALVING, None, None)
    reward = np.array([0, 0, 0, 2, 1], dtype=np.float32)[:, None]
    # e: 1/2 at 1; 1/4 − 1/2 = −1/4 at 2; −1/8 at 3: w = −1/4; −1/16 at 4.
    assert trained(rule, [[0, 2]], [1], 5, reward=reward)[0] == -0.25 - 0.0625
    assert trained(rule, [[0, 2]], [1], 5)[0] == 0.0


@rule("S11.7")
def test_the_reward_of_a_sample_comes_in_its_last_step() -> None:
    rule = learn.RewardSTDP(1.0, 1.0, HALVING, HALVING, None, None, None)
    assert trained(rule, [[0]], [1], 7, reward=[4.0])[0] == 2.0


def test_a_reward_of_a_step_meets_what_its_own_spikes_change() -> None:
    rule = learn.RewardSTDP(1.0, 1.0, HALVING, HALVING, None, None, None)
    reward = np.array([1, 0], dtype=np.float32)[:, None]
    assert trained(rule, [[0]], [0], 2, reward=reward)[0] == 1.0


@rule("S11.7")
def test_mstdp_forgets_at_once() -> None:
    rule = learn.MSTDP(0.5, 1.0, 1.0, HALVING, HALVING, None, None)
    reward = np.array([1, 4, 8, 2], dtype=np.float32)[:, None]
    # ζ: +1/2 at 1, −1/4 at 3.
    assert trained(rule, [[0, 3]], [1], 4, reward=reward)[0] == 0.5 * (4 / 2 - 2 / 4)


@rule("S11.7")
def test_mstdpet_by_hand() -> None:
    """z ← z·e^(−1/τ) + ζ/τ, w += γ·r·z."""
    rule = learn.MSTDPET(0.5, 1.0, 1.0, HALVING, HALVING, 4.0, None, None)
    beta, z, w = math.exp(-1 / 4), 0.0, 0.0
    zeta, reward = [0, 1 / 2, 0, -1 / 4], [1, 4, 8, 2]
    for change, r in zip(zeta, reward, strict=True):
        z = z * beta + change / 4
        w += 0.5 * r * z
    found = trained(rule, [[0, 3]], [1], 4, reward=np.array(reward, dtype=np.float32)[:, None])[0]
    np.testing.assert_allclose(found, w, rtol=1e-5)


# --- Normalisation ------------------------------------------------------------------------------


@rule("S11.8")
def test_weights_sum_up_after_each_sample() -> None:
    rng = np.random.default_rng(0)
    net = ss.Network((40,))
    net.add(ss.Linear(rng.uniform(0, 0.3, (7, 40))), name="fc")
    net.add(ss.LIF(v_threshold=1.0, alpha_mem=0.9), name="lif")
    rule = learn.PairSTDP(0.05, 0.01, w_max=4.0, normalise=learn.Normalise(5.0))
    learner = learn.Learner(net, {"fc": rule})
    sums = lambda: learner.network().node("fc").op.weight.sum(axis=1)  # noqa: E731
    np.testing.assert_allclose(sums(), 5.0, rtol=1e-5)
    before = learner.network().node("fc").op.weight
    for _ in range(3):
        learner.run(rng.random((30, 2, 40)) < 0.2)
        np.testing.assert_allclose(sums(), 5.0, rtol=1e-5)
    assert not np.allclose(learner.network().node("fc").op.weight, before, atol=0.01)


@rule("S11.8")
def test_normalisation_every_other_step_by_hand() -> None:
    rule = learn.PairSTDP(1.0, 0.0, None, None, None, None, normalise=learn.Normalise(1.0, 4))
    # All weights are 0 (no scale) until the teacher fires at 1: +1 for what has fired, the teacher
    # among it; a fourth each at the end of step 3; +1 once more at 5.
    weights = trained(rule, [[0], [1], [0], []], [1, 5], 6)
    np.testing.assert_array_equal(weights, [1.25, 1.25, 1.25, 0.0])


def test_without_weights_there_is_no_scale() -> None:
    rule = learn.PairSTDP(0.0, 0.0, normalise=learn.Normalise(1.0))
    assert not trained(rule, [[0]], [1], 3).any()


def test_numbers_of_numpy_are_numbers() -> None:
    one = np.float32(0.5)
    trace = learn.Trace(np.float32(8))
    plain = learn.Rule(
        learn.Trace(8.0),
        learn.Trace(8.0),
        on_post=learn.Term(0.5),
        w_max=2.0,
        normalise=learn.Normalise(0.5, every=3),
        reward=learn.Reward(0.5, 0.5, 0.5),
    )
    given = learn.Rule(
        trace,
        trace,
        on_post=learn.Term(one),
        w_max=np.int64(2),
        normalise=learn.Normalise(one, every=np.int64(3)),
        reward=learn.Reward(one, one, one),
    )
    pre = [[1, 3], [2]]
    runs = [trained(rule, pre, [3, 5], 8, 0.25, np.ones(1)) for rule in (given, plain)]
    assert runs[0].tobytes() == runs[1].tobytes()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("pre", "Trace"),
        ("post", "Trace"),
        ("pre_slow", "Trace"),
        ("post_slow", "Trace"),
        ("on_pre", "Term"),
        ("on_post", "Term"),
        ("normalise", "Normalise"),
        ("reward", "Reward"),
    ],
)
def test_parts_of_another_kind_are_refused(name: str, kind: str) -> None:
    parts: Any = {"pre": learn.Trace(8.0), "post": learn.Trace(8.0)}
    with pytest.raises(ss.errors.InputError, match=rf"Rule: {name} is 3\.0, expected a {kind}"):
        learn.Rule(**(parts | {name: 3.0}))
