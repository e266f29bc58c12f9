"""Networks that learn, drawn by hypothesis, and the engine held to its plain twin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

import spikesim as ss
from spikesim import learn
from spikesim.learn.reference.network import Twin

Draw = Any
LN2 = float(np.log(2.0))
HALVING = 1 / LN2  # a time constant that halves a trace in each step


@dataclass
class Case:
    """A network with its rules and spikes for it."""

    net: ss.Network
    rules: dict[Any, learn.Rule]
    wta: dict[str, list[learn.Part]]
    homeostasis: dict[str, learn.AdaptiveThreshold]
    x: NDArray[np.bool_]
    reward: NDArray[np.float32]
    reset: bool
    seed: int

    def learner(self) -> learn.Learner:
        return learn.Learner(self.net, self.rules, self.wta, self.homeostasis, self.seed)

    def twin(self) -> Twin:
        return Twin(self.net, self.rules, self.wta, self.homeostasis, self.seed)

    def __repr__(self) -> str:
        edges = ", ".join(f"{e.src}->{e.dst}+{e.delay}" for e in self.net.edges)
        return (
            f"Case({edges}; {self.rules}; {self.wta}; {self.homeostasis}; x {self.x.shape}, "
            f"reset={self.reset})"
        )


def same(case: Case) -> None:
    """Engine and twin agree to the bit: spikes, membranes, weights, thresholds."""
    learner, twin = case.learner(), case.twin()
    found = learner.run(case.x, reward=case.reward, record=("spikes", "v"), reset=case.reset)
    expected = twin.run(case.x, reward=case.reward, reset=case.reset)
    for name, z in expected.spikes.items():
        if name in found.spikes:
            np.testing.assert_array_equal(found.spikes[name].to_dense(), z, err_msg=name)
        np.testing.assert_array_equal(found.v[name], expected.v[name], err_msg=name)
    learned = learner.network(thresholds=False)
    for name in twin.layers:
        np.testing.assert_array_equal(learned.node(name).op.weight, twin.weight(name), name)
    state = learner.state_dict()
    for name in case.homeostasis:
        np.testing.assert_array_equal(state[f"{name}.theta"][0], twin.theta(name), name)


def traces(draw: Draw, exact: bool) -> learn.Trace:
    tau = st.sampled_from([HALVING, HALVING / 2, None]) if exact else st.floats(0.05, 30)
    return learn.Trace(draw(tau, label="tau"), draw(st.booleans(), label="nearest"))


def amplitudes(draw: Draw, exact: bool) -> float:
    if exact:
        return draw(st.integers(-8, 8), label="amplitude") / 64
    return draw(st.floats(-0.2, 0.2), label="amplitude")


def rules(draw: Draw, exact: bool, bounds: tuple[float | None, float | None]) -> learn.Rule:
    """Any rule there is."""
    triplet = draw(st.booleans(), label="triplet")
    bounded = None not in bounds
    kinds = ["additive", "multiplicative", "product"] if bounded else ["additive"]
    kinds += [] if exact or not bounded else [0.5, 1.5, 2]
    taus = [HALVING, 0.0, None] if exact else [HALVING, 0.0, None, 3.7]
    reward = learn.Reward(draw(st.sampled_from(taus)), 1.0 if exact else 0.3, 0.5)
    every = draw(st.sampled_from([None, 3]), label="every")
    normalise = draw(st.sampled_from([None, learn.Normalise(1.25, every)]), label="normalise")
    return learn.Rule(
        pre=traces(draw, exact),
        post=traces(draw, exact),
        pre_slow=traces(draw, exact) if triplet else None,
        post_slow=traces(draw, exact) if triplet else None,
        on_pre=learn.Term(amplitudes(draw, exact), amplitudes(draw, exact) if triplet else 0.0),
        on_post=learn.Term(
            amplitudes(draw, exact),
            amplitudes(draw, exact) if triplet else 0.0,
            draw(st.sampled_from([0.0, -1 / 64]), label="silent"),
        ),
        dependence=draw(st.sampled_from(kinds), label="dependence"),
        w_min=bounds[0],
        w_max=bounds[1],
        normalise=None if exact else normalise,
        reward=draw(st.sampled_from([None, reward]), label="reward"),
    )


def parts(draw: Draw) -> list[learn.Part]:
    """Any parts of winner-take-all, two at most."""
    radius = draw(st.sampled_from([None, 0, 1]))
    all_of = [
        learn.HardWTA(),
        learn.KWTA(2, radius, draw(st.booleans()), draw(st.booleans())),
        learn.MapInhibition(draw(st.sampled_from([0, 2, None]))),
        learn.SoftWTA(0.5),
        learn.LateralInhibition(0.5, draw(st.integers(1, 3))),
    ]
    return draw(st.lists(st.sampled_from(all_of), max_size=2, unique_by=type), label="wta")


def neurons(draw: Draw, exact: bool) -> ss.Neuron:
    alpha = draw(st.sampled_from([1.0, 0.5] if exact else [1.0, 0.9, 0.37]), label="alpha")
    synapse = draw(st.sampled_from(["none", "decay_first"]), label="synapse")
    more = {} if synapse == "none" else {"synapse": synapse, "alpha_syn": 0.5, "w_in": 1.0}
    return ss.Neuron(
        v_threshold=draw(st.sampled_from([0.5, 1.0]), label="threshold"),
        alpha_mem=alpha,
        reset=draw(st.sampled_from(["subtract", "to_value"]), label="reset"),
        refractory=draw(st.sampled_from([0, 2]), label="refractory"),
        **more,
    )


@st.composite
def cases(draw: Draw, exact: bool) -> Case:
    """A chain input → layer → population → Linear → population; the last feeds itself later."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="numbers"))
    low, high = draw(st.sampled_from([(0.0, 1.0), (-0.5, 1.5), (None, None)]), label="bounds")

    def weights(*shape: int) -> NDArray[np.float32]:
        first, last = (0.0 if low is None else low), (1.0 if high is None else high)
        values = rng.uniform(first, last, shape)
        return (np.round(values * 16) / 16 if exact else values).astype(np.float32)

    spatial = draw(st.sampled_from(["linear", "conv1d", "conv2d"]), label="layer")
    groups = draw(st.sampled_from([1, 2]), label="groups")
    stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, 1))
    if spatial == "linear":
        net = ss.Network((draw(st.integers(1, 5), label="inputs"),))
        n = net.input_shape[0]
        net.add(ss.Linear(weights(draw(st.sampled_from([1, 3, 17])), n)), name="first")
    elif spatial == "conv1d":
        net = ss.Network((2, 6))
        conv = ss.Conv1d(weights(4, 2 // groups, 3), None, stride, padding, groups=groups)
        net.add(conv, name="first", inputs=[("input", draw(st.integers(0, 2)))])
    else:
        net = ss.Network((2, 4, 5))
        conv = ss.Conv2d(weights(4, 2 // groups, 3, 2), None, stride, padding, groups=groups)
        net.add(conv, name="first", inputs=[("input", draw(st.integers(0, 2)))])
    net.add(neurons(draw, exact), name="one")
    net.add(ss.Flatten(), name="flat")
    size = net.output_shape[0]
    outputs = draw(st.integers(1, 4), label="outputs")
    bias = weights(outputs) if draw(st.booleans()) else None
    delay = draw(st.integers(0, 2), label="delay")
    net.add(ss.Linear(weights(outputs, size), bias), name="second", inputs=[("flat", delay)])
    net.add(neurons(draw, exact), name="two", inputs="second")
    net.add(ss.Linear(weights(outputs, outputs)), name="back", inputs=[("two", 1)])
    net.connect("back", "two")
    net.connect("two", "back", 3)
    net.output = "two"
    bounds = (low, high)
    chosen: dict[Any, learn.Rule] = {"first": rules(draw, exact, bounds)}
    if draw(st.booleans(), label="second learns"):
        chosen[("flat", "second")] = rules(draw, exact, bounds)
    if draw(st.booleans(), label="back learns"):
        chosen["back"] = rules(draw, exact, bounds)
    wta = {name: parts(draw) for name in ("one", "two") if draw(st.booleans())}
    homeostasis = {}
    if draw(st.booleans(), label="adapts"):
        tau = draw(st.sampled_from([None, HALVING, 20.0]))
        homeostasis["one"] = learn.AdaptiveThreshold(0.125, tau)
    steps, samples = draw(st.integers(1, 8), label="T"), draw(st.integers(1, 3), label="N")
    x = rng.random((steps, samples, *net.input_shape)) < draw(st.sampled_from([0.1, 0.5, 1.0]))
    reward = rng.integers(-1, 2, (steps, samples)).astype(np.float32)
    return Case(net, chosen, wta, homeostasis, x, reward, draw(st.booleans()), seed=7)
