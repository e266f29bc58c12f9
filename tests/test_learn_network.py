"""`Learner` around the rules: without one it is a run, its states, its errors, its reach."""

from __future__ import annotations

import doctest
import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import spikesim as ss
import strategies
from learn_nets import cases as learning_cases
from rules import rule
from spikesim import _core, learn
from spikesim.errors import (
    DivergenceError,
    GraphError,
    InputError,
    ShapeError,
    UnsupportedError,
)


@pytest.mark.parametrize("exact", [True, False])
def test_without_rules_it_is_a_run(exact: bool) -> None:
    """Any network there is: pools, delays of synapses, several spikes a step, recurrence."""

    @given(strategies.cases(exact=exact))  # type: ignore[misc]
    def check(case: Any) -> None:
        x, n_steps = case.run_args()
        expected = case.net.compile().run(x, n_steps, record=("spikes", "v"))
        found = learn.Learner(case.net).run(x, n_steps, record=("spikes", "v"))
        for name, v in expected.v.items():
            np.testing.assert_array_equal(found.v[name], v, err_msg=name)
        assert found.spikes.keys() == expected.spikes.keys()
        for name, raster in expected.spikes.items():
            np.testing.assert_array_equal(
                found.spikes[name].to_dense(), raster.to_dense(), err_msg=name
            )
        counts = expected.counts
        assert sum(int(c.sum()) for c in found.spike_counts.values()) == counts.spikes

    check()


# --- Runs in pieces, states ---------------------------------------------------------------------


def small(delay: int = 1) -> tuple[ss.Network, dict[Any, learn.Rule]]:
    """Two layers that learn and one that feeds back, later."""
    rng = np.random.default_rng(3)
    net = ss.Network((6,))
    net.add(ss.Linear(rng.uniform(0, 0.5, (5, 6))), name="fc", inputs=[("input", delay)])
    net.add(ss.LIF(v_threshold=0.8, alpha_mem=0.9), name="lif")
    net.add(ss.Linear(rng.uniform(0, 0.5, (5, 5))), name="back", inputs=[("lif", 2)])
    net.connect("back", "lif")
    net.output = "lif"
    rules: dict[Any, learn.Rule] = {
        "fc": learn.TripletSTDP(0.01, 0.02, 0.02, 0.01, 5, 7, 11, 13),
        "back": learn.RewardSTDP(0.02, 0.01, 5, 5, 9),
    }
    return net, rules


PARTS = [
    learn.KWTA(2, None, per_sample=False),
    learn.SoftWTA(0.25),
    learn.LateralInhibition(0.1, 2),
]


def made(seed: int = 5) -> learn.Learner:
    net, rules = small()
    return learn.Learner(net, rules, {"lif": PARTS}, {"lif": learn.AdaptiveThreshold(0.01)}, seed)


def weights(learner: learn.Learner) -> np.ndarray:
    net = learner.network()
    return np.concatenate([net.node(name).op.weight.ravel() for name in ("fc", "back")])


def spikes(steps: int, samples: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random((steps, samples, 6)) < 0.4


def test_runs_in_pieces_equal_the_whole() -> None:
    """But for the draws, to which the pieces are samples of their own."""
    x, reward = spikes(90, 1), np.linspace(-1, 1, 90, dtype=np.float32)[:, None]
    net, rules = small()
    whole, pieces = (learn.Learner(net, rules, {"lif": PARTS[2:]}) for _ in range(2))
    one = whole.run(x, reward=reward, record="spikes", reset=False)
    rows = [
        pieces.run(x[a:b], reward=reward[a:b], record="spikes", reset=False)
        for a, b in ((0, 70), (70, 71), (71, 90))
    ]
    joined = np.concatenate([r.spikes["lif"].to_dense() for r in rows])
    np.testing.assert_array_equal(joined, one.spikes["lif"].to_dense())
    np.testing.assert_array_equal(weights(whole), weights(pieces))
    assert sum(r.weight_updates for r in rows) == one.weight_updates > 100
    assert (whole.samples, pieces.samples) == (1, 3)


def test_a_state_goes_on_bit_for_bit() -> None:
    first = made()
    first.run(spikes(20, 4), reward=0.5)
    state = {name: array.copy() for name, array in first.state_dict().items()}
    second = made()
    second.load_state_dict(state)
    for reset in (False, True):
        more = spikes(15, 3, seed=2)
        a = first.run(more, reward=0.5, record=("spikes", "v"), reset=reset)
        b = second.run(more, reward=0.5, record=("spikes", "v"), reset=reset)
        np.testing.assert_array_equal(a.v["lif"], b.v["lif"])
        assert a.weight_updates == b.weight_updates > 0
    for name, array in first.state_dict().items():
        np.testing.assert_array_equal(array, second.state_dict()[name], err_msg=name)
    assert first.samples == second.samples == 10


@given(learning_cases(exact=False))
def test_any_learner_goes_on_from_its_state(case: Any) -> None:
    first = case.learner()
    first.run(case.x, reward=case.reward, reset=False)
    second = case.learner()
    second.load_state_dict(first.state_dict())
    for learner in (first, second):
        learner.run(case.x, reward=case.reward, reset=False)
    other = second.state_dict()
    for name, array in first.state_dict().items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


@pytest.mark.parametrize("level", _core.levels())
def test_a_state_goes_from_level_to_level(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the instruction set that made it and the one that goes on."""
    first = made()
    first.run(spikes(20, 3), reward=0.5)
    monkeypatch.setenv("SPIKESIM_LEVEL", level)
    second = made()
    second.load_state_dict(first.state_dict())
    for learner in (first, second):
        learner.run(spikes(15, 2, seed=2), reward=0.5, reset=False)
    for name, array in first.state_dict().items():
        np.testing.assert_array_equal(array, second.state_dict()[name], err_msg=name)


def test_a_state_of_another_network_is_refused() -> None:
    learner = made()
    state = learner.state_dict()
    before = weights(learner)
    for name, wrong, error in (
        ("learn/weight0", np.zeros(3, np.float32), ShapeError),
        ("learn/weight0", np.full(30, np.nan, np.float32), InputError),
        ("learn/weight0", np.full(30, 1e9, np.float32), InputError),  # beyond its rule's bounds
        ("learn/clock", np.zeros(2, np.float32), InputError),
        ("learn/weight0", np.zeros(30, np.uint32), InputError),
        ("learn/weight0", np.zeros(30, np.float64), InputError),
        ("nobody", np.zeros(1, np.float32), InputError),
    ):
        with pytest.raises(error, match="state_dict"):
            learner.load_state_dict({**state, name: wrong})
    del state["lif.v"]
    with pytest.raises(InputError, match=r"lif\.v"):
        learner.load_state_dict(state)
    np.testing.assert_array_equal(weights(learner), before)


@rule("S11.9")
def test_samples_are_reset_and_thresholds_stay() -> None:
    net = ss.Network((1,))
    net.add(ss.Linear([[1.0]]), name="fc")
    net.add(ss.IF(v_threshold=1.0), name="if")
    learner = learn.Learner(net, homeostasis={"if": learn.AdaptiveThreshold(0.5)})
    result = learner.run(np.ones((3, 2, 1)), record=("spikes", "v"))
    # θ = 1, then 1.5: one spike at t = 0, then 1, 2 → fires at t = 2 (θ becomes 2); sample two
    # starts from v = 0 and θ = 2.
    np.testing.assert_array_equal(result.spikes["if"].to_dense()[..., 0].T, [[1, 0, 1], [0, 1, 0]])
    learned = learner.network()
    assert learned.node("if").op.v_threshold.tolist() == [2.5]
    assert learner.network(thresholds=False).node("if").op.v_threshold == 1.0
    assert learned.compile().run(np.ones((1, 1)), n_steps=3).output.tolist() == [[1.0]]


def test_the_learned_network_is_a_network_of_its_own() -> None:
    net, rules = small()
    before = net.node("fc").op.weight.copy()
    learner = learn.Learner(net, rules)
    learner.run(spikes(30, 2))
    assert not np.array_equal(learner.network().node("fc").op.weight, before)
    np.testing.assert_array_equal(net.node("fc").op.weight, before)
    assert list(learner.network().edges) == list(net.edges)


def test_the_seed_decides_the_draws() -> None:
    x = spikes(40, 3)
    same_seed = [made(5).run(x, record="spikes").spikes["lif"].to_dense() for _ in range(2)]
    np.testing.assert_array_equal(*same_seed)
    other = made(6).run(x, record="spikes").spikes["lif"].to_dense()
    assert not np.array_equal(other, same_seed[0])


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: learn.PairSTDP(float("nan")), "a_plus is nan"),
        (lambda: learn.PairSTDP(tau_plus=0.0), "tau is 0"),
        (lambda: learn.PairSTDP(tau_minus=-1.0), "tau is -1"),
        (lambda: learn.PairSTDP(tau_minus=float("nan")), "tau is nan"),
        (lambda: learn.PairSTDP(w_min=1.0, w_max=1.0), "w_min < w_max"),
        (lambda: learn.PairSTDP(w_max=None, dependence="product"), "w_min or w_max"),
        (lambda: learn.PairSTDP(dependence="odd"), "dependence is 'odd'"),
        (lambda: learn.Normalise(0.0), "sum is 0"),
        (lambda: learn.Normalise(1.0, 0), "every is 0"),
        (lambda: learn.Reward(-1.0), "tau is -1"),
        (lambda: learn.MSTDPET(tau_eligibility=float("inf")), "infinite"),
        (lambda: learn.MSTDP("fast"), "gamma is 'fast'"),
        (lambda: learn.KWTA(0), "k is 0"),
        (lambda: learn.KWTA(1, -1), "radius is -1"),
        (lambda: learn.SoftWTA(0.0), "temperature is 0"),
        (lambda: learn.LateralInhibition(1.0, 0), "duration is 0"),
        (lambda: learn.MapInhibition(1.5), "duration is 1.5"),
        (lambda: learn.AdaptiveThreshold(-0.1), "theta_plus is -0.1"),
        (lambda: learn.AdaptiveThreshold(0.1, 0), "tau is 0"),
        (lambda: learn.Rule(learn.Trace(1), learn.Trace(1), learn.Term(triplet=1)), "pre_slow"),
        (lambda: learn.Rule(learn.Trace(1), learn.Trace(1), learn.Term(silent=1)), "silent"),
    ],
)
def test_bad_values_are_named(make: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        make()


def test_exponents_that_have_no_exact_form_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"0\.3"):
        learn.PairSTDP(dependence=0.3)


def with_layer(*nodes: Any, weight: float = 0.5) -> ss.Network:
    net = ss.Network((2,))
    net.add(ss.Linear([[weight, weight]]), name="fc")
    for k, node in enumerate(nodes):
        net.add(node, name=f"n{k}")
    return net


@rule("S11.1")
@pytest.mark.parametrize(
    ("net", "where", "error", "text"),
    [
        (with_layer(ss.IF()), "no", GraphError, "no node"),
        (with_layer(ss.IF()), ("n0", "fc"), InputError, "no edge"),
        (with_layer(ss.IF()), "n0", UnsupportedError, "without weights"),
        (with_layer(ss.IF(), weight=2.0), "fc", InputError, "weight is 2, expected 0 to 1"),
        (with_layer(ss.Add(), ss.IF()), "fc", UnsupportedError, "does not feed a population"),
        (with_layer(ss.LI(alpha_mem=0.5)), "fc", UnsupportedError, "single"),
        (with_layer(ss.IF(spikes="multi")), "fc", UnsupportedError, "single"),
        (with_layer(), "fc", UnsupportedError, "exactly one"),
    ],
)
def test_what_can_not_learn_is_refused(net: Any, where: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        learn.Learner(net, {where: learn.PairSTDP()})


def test_more_that_can_not_learn() -> None:
    net = with_layer(ss.IF())
    net.add(ss.Linear([[0.5]]), name="late")
    net.add(ss.IF(), name="end", inputs=[("late", 1)])
    with pytest.raises(UnsupportedError, match="late"):
        learn.Learner(net, {"late": learn.PairSTDP()})
    net = ss.Network((2,))
    net.add(ss.Linear([[0.5, 0.5]], delay=[[0, 1]]), name="fc")
    net.add(ss.IF(), name="end")
    with pytest.raises(UnsupportedError, match="delays of their own"):
        learn.Learner(net, {"fc": learn.PairSTDP()})
    net = ss.Network((2,))
    net.add(ss.Scale(0.5), name="scale")
    net.add(ss.Linear([[0.5, 0.5]]), name="fc")
    net.add(ss.IF(), name="end")
    with pytest.raises(UnsupportedError, match="no spikes"):
        learn.Learner(net, {"fc": learn.PairSTDP()})
    with pytest.raises(InputError, match="two rules"):
        learn.Learner(
            with_layer(ss.IF()), {"fc": learn.PairSTDP(), ("input", "fc"): learn.PairSTDP()}
        )


@pytest.mark.parametrize(
    "neuron",
    [
        ss.IF(reset_timing="next_step_after"),
        ss.IF(spikes="multi"),
        ss.IF(order="B"),
        ss.LI(alpha_mem=0.5),
    ],
)
def test_neurons_that_can_not_compete_or_adapt(neuron: Any) -> None:
    with pytest.raises(UnsupportedError, match="n0"):
        learn.Learner(with_layer(neuron), wta={"n0": learn.HardWTA()})
    if neuron.spikes != "multi":
        with pytest.raises(UnsupportedError, match="n0"):
            learn.Learner(with_layer(neuron), homeostasis={"n0": learn.AdaptiveThreshold(0.1)})


def test_arguments_of_the_wrong_type_are_named() -> None:
    net = with_layer(ss.IF())
    for arguments, text in (
        ({"rules": {"fc": "stdp"}}, "expected a Rule"),
        ({"rules": {3: learn.PairSTDP()}}, "a layer or"),
        ({"wta": {"n0": "hard"}}, "its parts"),
        ({"homeostasis": {"n0": 0.1}}, "AdaptiveThreshold"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": "x"}, "seed is 'x'"),
    ):
        with pytest.raises(InputError, match=text):
            learn.Learner(net, **arguments)


@rule("S11.1")
def test_what_arrives_has_to_be_spikes() -> None:
    learner = learn.Learner(with_layer(ss.IF()), {"fc": learn.PairSTDP()})
    with pytest.raises(InputError, match=r"fc: the value 0.5 arrives"):
        learner.run(np.full((2, 1, 2), 0.5))
    learner.run(np.ones((2, 1, 2)))
    for reward, error in ((np.ones(3), ShapeError), (np.nan, InputError), ("much", InputError)):
        with pytest.raises(error, match="reward"):
            learner.run(np.ones((2, 1, 2)), reward=reward)
    with pytest.raises(InputError, match="record"):
        learner.run(np.ones((2, 1, 2)), record="current")


@rule("S11.5")
def test_divergence_is_an_error_and_keeps_whole_samples() -> None:
    net = with_layer(ss.IF(v_threshold=0.5))
    learner = learn.Learner(net, {"fc": learn.PairSTDP(3e38, 0.0, w_min=None, w_max=None)})
    with pytest.raises(DivergenceError, match="fc: a weight has left the finite numbers"):
        learner.run(np.ones((5, 1, 2)))
    np.testing.assert_array_equal(learner.network().node("fc").op.weight, [[0.5, 0.5]])
    assert learner.samples == 0


def test_an_interrupt_keeps_whole_samples() -> None:
    """What raises between samples is what a signal does."""

    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        assert total == 16_000
        raise StopError

    x = np.tile(spikes(200, 400), (1, 40, 1))
    stopped = made()
    with pytest.raises(StopError):
        stopped.run(x, progress=stop)
    assert 0 < stopped.samples < 16_000
    whole = made()
    whole.run(x[:, : stopped.samples])
    for name, array in whole.state_dict().items():
        np.testing.assert_array_equal(array, stopped.state_dict()[name], err_msg=name)


def test_an_interrupt_within_a_long_sample_goes_back_to_its_start() -> None:
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise StopError

    learner = made()
    learner.run(spikes(20, 2))
    before = {name: array.copy() for name, array in learner.state_dict().items()}
    with pytest.raises(StopError):
        learner.run(spikes(60_000, 1), progress=stop)
    for name, array in learner.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize("module", ["parts", "rules", "wta", "learner"])
def test_the_examples_in_docstrings_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"spikesim.learn.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
