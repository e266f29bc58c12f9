"""The rules of S12, worked by hand: the engine and its twin, with dyadic numbers."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import spikesim._core as core_module
from rules import rule
from spikesim.errors import DivergenceError
from spikesim.learn import DiehlCook, poisson_spikes
from spikesim.learn._settings import configuration
from spikesim.learn.poisson import chances
from spikesim.learn.reference.diehl_cook import ReferenceDiehlCook
from spikesim.learn.votes import Answers, Labels, NGrams, decided

#: Two inputs and three neurons; potentials halve at each step, traces too, for three steps.
PLAIN: dict[str, Any] = {
    "inputs": 2, "neurons": 3, "model": "wta", "steps": 4, "seed": 3,
    "decay": 0.5, "threshold": 4.0, "reset": 1.0, "refractory": 0, "inhibition": 8.0,
    "trace_pre": [1.0, 0.5, 0.25], "trace_post": [1.0, 0.5, 0.25],
    "eta_pre": 0.0, "eta_post": 0.0, "soft": False, "x_tar": None, "w_max": 64.0, "w_init": 1.0,
    "norm": None, "theta_plus": 0.0, "theta_decay": 1.0, "min_spikes": 0, "max_repeats": 0,
    "rate_step": 0.5, "chunk": 2,
}  # fmt: skip

ZERO = (0, 0, 0, 0, 0)


class Net:
    """The engine, or the twin, with weights [input][neuron] of the test's choice."""

    def __init__(self, kind: str, weights: Any, theta: Any = (0, 0, 0), **fields: Any) -> None:
        self.config = {**PLAIN, **fields}
        weights = np.array(weights, np.float32)
        theta = np.array(theta, np.float32)
        self.twin: ReferenceDiehlCook | None = None
        if kind == "twin":
            self.twin = ReferenceDiehlCook(self.config)
            self.twin.w, self.twin.theta = weights, theta
        else:
            self.core = core_module.DiehlCook(json.dumps(self.config))
            self.core.restore(weights, theta, 0, ZERO)

    def train(self, *rasters: Any, factor: float = 1.0) -> list[list[int]]:
        """Spikes of each raster [step][input], or of each vector of chances."""
        return self._run(rasters, factor)

    def batch(self, *rasters: Any) -> list[list[int]]:
        return self._run(rasters, 1.0, batch=True)

    def _run(self, samples: Any, factor: float, batch: bool = False) -> list[list[int]]:
        x = np.array(samples)
        x = x.astype(np.uint8) if x.ndim == 3 else x.astype(np.float32)
        factors = np.full(len(x), factor, np.float32)
        if self.twin is None:
            _, start, neurons = self.core.train(x, factors, batch, 2)
            return [neurons[a:b].tolist() for a, b in pairwise(start)]
        before = len(self.twin.log)
        (self.twin.train_batch if batch else self.twin.train)(x, factors)
        return [[j for _, j in done.spikes] for done in self.twin.log[before:]]

    @property
    def w(self) -> list[list[float]]:
        return (self.core.weights() if self.twin is None else self.twin.w).tolist()

    @property
    def theta(self) -> list[float]:
        return (self.core.theta() if self.twin is None else self.twin.theta).tolist()

    @property
    def counts(self) -> tuple[int, ...]:
        if self.twin is None:
            return self.core.counts
        log = self.twin.log
        return (
            len(log),
            sum(p.input_spikes for p in log),
            sum(len(p.spikes) for p in log),
            sum(p.synops for p in log),
            sum(p.weight_updates for p in log),
        )


@pytest.fixture(params=["engine", "twin"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def steps(*inputs: Any) -> list[list[int]]:
    """Inputs that spike at each step: (), 0, 1 or (0, 1)."""
    rows = [(i,) if isinstance(i, int) else i for i in inputs]
    return [[int(k in row) for k in range(2)] for row in rows]


@rule("S12.1")
def test_s12_1_chances() -> None:
    x = np.array([[0, 51, 255]], np.uint8)
    p = chances(x, 3, 100.0, 1.0, None)
    assert p.tolist() == [[0, np.float32(51) * np.float32(0.1 / 255), np.float32(25.5) * 1 / 255]]
    always = poisson_spikes(np.ones((1, 3)), 20, max_rate=1000.0)
    assert always.all()
    assert not poisson_spikes(np.full((1, 50), 7e-6), 500, max_rate=1000.0).any()
    spikes = poisson_spikes(np.full((1, 1000), 0.5), 1000, max_rate=100.0)
    assert abs(spikes.mean() - 0.05) < 5 * (0.05 * 0.95 / 1e6) ** 0.5


@rule("S12.2")
def test_s12_2_draws() -> None:
    x = np.random.default_rng(0).random((5, 30))
    whole = poisson_spikes(x, 50, seed=2**40 + 1, max_rate=300.0)
    for first in range(5):  # samples by themselves, fewer steps, other inputs silent
        piece = poisson_spikes(
            x[first : first + 1], 50, seed=2**40 + 1, max_rate=300.0, first_sample=first
        )
        assert (piece[:, 0] == whole[:, first]).all()
    assert (poisson_spikes(x, 11, seed=2**40 + 1, max_rate=300.0) == whole[:11]).all()
    alone = poisson_spikes(np.where(np.arange(30) == 7, x, 0), 50, seed=2**40 + 1, max_rate=300.0)
    assert (alone[:, :, 7] == whole[:, :, 7]).all()
    for seed, first in ((2**40, 0), (1, 0), (2**40 + 1, 2**32)):
        other = poisson_spikes(x, 50, seed=seed, max_rate=300.0, first_sample=first)
        assert (other != whole).any()
    frozen = poisson_spikes(x, 50, max_rate=300.0, first_sample=None)
    back = poisson_spikes(x[::-1], 50, max_rate=300.0, first_sample=None)
    assert (back[:, ::-1] == frozen).all()


@rule("S12.3")
def test_s12_3_every_presentation_starts_at_rest(kind: str) -> None:
    net = Net(kind, [[3, 0, 0], [0, 0, 0]])
    # 3, then 4.5 with the input of the step before; not across presentations.
    assert net.train(steps((), (), (), 0), steps(0, (), (), ())) == [[], []]
    assert net.train(steps((), (), 0, 0)) == [[0]]


@rule("S12.4")
def test_s12_4_repeats(kind: str) -> None:
    fields = {"min_spikes": 1, "max_repeats": 2, "rate_step": 7.0, "theta_plus": 0.0}
    # Chance 1/8 at first, all in the second attempt: a spike needs both inputs at once.
    net = Net(kind, [[2, 0, 0], [2, 0, 0]], **fields)
    spikes = net.train([0.125, 0.125])
    assert spikes[-1]
    assert net.counts[0] == 2
    net = Net(kind, [[0, 0, 0], [0, 0, 0]], **fields)
    assert not net.train([0.125, 0.125])[-1]
    assert net.counts[0] == 3
    net = Net(kind, [[0, 0, 0], [0, 0, 0]], **fields)
    net.train(steps(0, 0, 0, 0))
    assert net.counts[0] == 1


@rule("S12.5")
def test_s12_5_order_in_a_step(kind: str) -> None:
    # v: 2, 0.5·2 + 3 = 4 fires at once.
    net = Net(kind, [[2, 0, 0], [3, 0, 0]])
    assert net.train(steps(0, 1, (), ())) == [[0]]
    # Depression comes before the current: 4 − 4·0.5 is too little after the spike at step 0.
    net = Net(kind, [[4, 0, 0], [0, 0, 0]], eta_pre=4.0, reset=0.0)
    assert net.train(steps(0, 0, (), ())) == [[0]]
    assert net.w[0][0] == 2.0
    # Refractory for one step: v stays 1, whatever arrives; then 0.5 + 4 fires.
    net = Net(kind, [[4, 0, 0], [0, 0, 0]], refractory=1)
    assert net.train(steps(0, 0, 0, ())) == [[0, 0]]
    net = Net(kind, [[3.5, 0, 0], [4, 0, 0]], refractory=1)
    assert net.train(steps(1, (), 0, ())) == [[0, 0]]  # 0.5·1 + 3.5: v did not decay meanwhile


@rule("S12.6")
def test_s12_6_winner(kind: str) -> None:
    assert Net(kind, [[4, 5, 5], [0, 0, 0]], inhibition=0.0).train(steps(0, (), (), ())) == [[1]]
    # Equal margins: the lowest; theta counts: 5 − (4 + 1.5) is less than 4 − 4.
    net = Net(kind, [[5, 4, 4], [0, 0, 0]], theta=[1.5, 0, 0], theta_plus=0.25)
    assert net.train(steps(0, (), (), ())) == [[1]]
    assert net.theta == [1.5, 0.25, 0]
    # To v_reset = 1: 0.5·1 + 3.5 fires again, with theta 0.25 no more.
    for plus, spikes in ((0.0, [0, 0]), (0.25, [0])):
        net = Net(kind, [[4, 0, 0], [3.5, 0, 0]], theta_plus=plus)
        assert net.train(steps(0, 1, (), ())) == [spikes]


@rule("S12.7")
def test_s12_7_wta(kind: str) -> None:
    # Neuron 1 has 3 after step 0 and would fire at step 1 with 1.5 + 6; it gets −8 then.
    net = Net(kind, [[4, 3, 0], [0, 6, 0]])
    assert net.train(steps(0, 1, (), 1)) == [[0, 1]]  # −0.5, −0.25, 5.875
    assert net.counts[3] == 3 * 3 + 2 * 1
    net = Net(kind, [[4, 3, 0], [0, 6, 0]], inhibition=0.0)
    assert net.train(steps(0, 1, (), ())) == [[0, 1]]


def current(**fields: Any) -> dict[str, Any]:
    cell = {"decay": 0.5, "threshold": 20.0, "reset": 15.0, "refractory": 2, "weight": 22.5}
    return {"current": {**cell, **fields}}


@rule("S12.8")
def test_s12_8_current(kind: str) -> None:
    # Inhibition comes at step 2: neuron 1 still fires at step 1.
    weights = [[4, 3, 0], [0, 6, 0]]
    assert Net(kind, weights, model=current()).train(steps(0, 1, (), ())) == [[0, 1]]
    # At step 2: 1.5·0.5 + 6 − 8 is below the threshold; its own spike does not inhibit neuron 0.
    assert Net(kind, weights, model=current()).train(steps(0, (), 1, ())) == [[0]]
    assert Net(kind, weights, model=current()).train(steps(0, (), 0, 0)) == [[0, 0, 0]]
    # A weight that needs two spikes: 12, 0.5·12 + 12 is 18, not enough; and with 14, 21 is.
    for weight, third in ((12.0, True), (14.0, False)):
        net = Net(kind, [[4, 2, 0], [0, 6, 0]], model=current(weight=weight), steps=4)
        spikes = net.train(steps(0, 0, (), 1))[0]
        assert spikes == ([0, 0, 1] if third else [0, 0])
    # Driven at step 1, it is refractory at 2 and 3, when the second spike arrives: no inhibition.
    net = Net(kind, weights, model=current(), steps=6)
    assert net.train(steps(0, (), 0, (), (), ())) == [[0, 0]]
    assert net.counts[3] == 2 * 3 + 2 + 1 * 2


@rule("S12.9", "S12.11")
def test_s12_11_potentiation(kind: str) -> None:
    # The neuron fires at step 2 by input 1; input 0 spiked at 0 and 1: the last one counts, 0.5.
    weights = [[0, 0, 0], [4, 0, 0]]
    net = Net(kind, weights, eta_post=2.0)
    assert net.train(steps(0, 0, 1, 0)) == [[0]]
    assert net.w == [[1, 0, 0], [6, 0, 0]]  # 2·0.5; 2·1 of the spike in the same step
    net = Net(kind, weights, eta_post=2.0)
    net.train(steps(0, (), (), 1))
    assert net.w == [[0, 0, 0], [6, 0, 0]]  # three steps: the trace has ended
    net = Net(kind, weights, eta_post=0.5, soft=True, w_max=8.0)
    net.train(steps((), 0, 1, 0))
    assert net.w == [[2, 0, 0], [6, 0, 0]]  # 0.25·8; 0.5·(8 − 4)
    net = Net(kind, weights, eta_post=2.0, w_max=5.0)
    net.train(steps(1, (), (), ()), factor=0.75)
    assert net.w == [[0, 0, 0], [5, 0, 0]]
    net = Net(kind, [[3, 0, 0], [4, 0, 0]], eta_post=4.0, x_tar=0.25, eta_pre=1.0)
    assert net.train(steps(1, (), (), ())) == [[0]]
    assert net.w == [[2, 0, 0], [7, 0, 0]]  # 4·(0 − 0.25); 4·(1 − 0.25)


@rule("S12.9", "S12.10")
def test_s12_10_depression(kind: str) -> None:
    # The neuron fires at step 0 by input 1; its own step does not count.
    weights = [[0.75, 0, 0], [4, 0, 0]]
    net = Net(kind, weights, eta_pre=1.0)
    assert net.train(steps((0, 1), (), 0, ())) == [[0]]
    assert net.w == [[0.5, 0, 0], [4, 0, 0]]  # 0.25, two steps later
    net = Net(kind, weights, eta_pre=1.0)
    net.train(steps(1, 0, 0, 0))
    assert net.w == [[0, 0, 0], [4, 0, 0]]  # 0.5, 0.25, then the trace has ended; never below 0
    net = Net(kind, weights, eta_pre=1.0, soft=True)
    net.train(steps(1, 0, (), ()), factor=0.5)
    assert net.w == [[0.75 - 0.25 * 0.75, 0, 0], [4, 0, 0]]
    net = Net(kind, weights, eta_pre=1.0, x_tar=0.0)
    net.train(steps(1, 0, 0, ()))
    assert net.w == weights


@rule("S12.12")
def test_s12_12_sums(kind: str) -> None:
    net = Net(kind, [[4, 1, 2], [4, 1, 2]], norm=4.0)
    assert net.train(steps(0, (), (), ())) == [[0]]
    assert net.w == [[2, 1, 2], [2, 1, 2]]  # the neuron that fired alone
    net = Net(kind, [[4, 0, 0], [0, 0, 0]], norm=6.0, w_max=5.0)
    net.train(steps(0, (), (), ()))
    assert net.w[0][0] == 5
    net = Net(kind, [[4, 0, 0], [0, 0, 0]], norm=6.0, eta_pre=8.0)
    with pytest.raises(DivergenceError, match="weights of neuron 0 sum up to 0"):
        net.train(steps(0, 0, (), ()))


@rule("S12.13")
def test_s12_13_courses(kind: str) -> None:
    net = Net(kind, [[4, 0, 0], [0, 0, 0]], theta=[0, 8, 0], theta_plus=2.0, theta_decay=0.5)
    net.train(steps(0, (), (), ()))
    assert net.theta == [1, 4, 0]
    model = DiehlCook(2, 3, lr_end=0.25, n_steps=10, dt=0.5, rest=5.0, tc_theta=20.0)
    assert model._factors(1, 3, 4).tolist() == [1 - 0.75 / 4, 1 - 1.5 / 4, 1 - 2.25 / 4]
    assert model._factors(7, 2, None).tolist() == [1, 1]
    assert configuration(model)["theta_decay"] == np.float32(np.exp(-10 / 20))


@rule("S12.14")
def test_s12_14_batches(kind: str) -> None:
    fields = {"eta_post": 1.0, "theta_plus": 1.0, "theta_decay": 0.5, "norm": 16.0}
    net = Net(kind, [[4, 0, 8], [4, 16, 8]], **fields)
    net.batch(steps(0, (), (), ()), steps((0, 1), (), (), ()), steps(0, (), (), ()))
    # Neuron 2 wins by input 0 (8); neuron 1 by both (16, as 2, and it is the lower).
    assert net.theta == [0, 0.125, 0.25]
    # +1 by the first and +1 by the third sample from the same 8, then the sum 18 becomes 16.
    two = np.float32(16) / np.float32(18)
    one = np.float32(16) / np.float32(18)
    assert net.w == [[4, 1 * one, 10 * two], [4, 17 * one, 8 * two]]


def answers(*samples: list[int]) -> Answers:
    start = np.cumsum([0, *map(len, samples)])
    return Answers(start, np.array([j for s in samples for j in s], np.uint32))


@rule("S12.15")
def test_s12_15_labels() -> None:
    seen = answers([0, 0, 1], [0, 1, 1], [0, 0, 2], [])
    labels = Labels.of(seen, np.array([7, 7, 2, 2]), 4)
    assert labels.classes.tolist() == [2, 7]
    assert labels.rates.tolist() == [[1, 1.5], [0, 1.5], [0.5, 0], [0, 0]]
    assert labels.neurons.tolist() == [7, 7, 2, -1]
    even = Labels.of(answers([0], [0]), np.array([5, 3]), 1)
    assert even.neurons.tolist() == [3]


@rule("S12.16", "S12.17")
def test_s12_16_votes() -> None:
    labels = Labels.of(answers([0, 0, 1], [0, 1, 1], [0, 0, 2], []), np.array([7, 7, 2, 2]), 4)
    sample = answers([0, 0, 2, 2], [3], [])
    assert labels.vote_all(sample).tolist() == [[2, 1], [0, 0], [0, 0]]
    assert decided(labels.vote_all(sample), labels.classes).tolist() == [2, -1, -1]
    shares = labels.vote_proportion(sample)
    assert shares.tolist() == [[2 * 0.4 + 2, 2 * 0.6], [0, 0], [0, 0]]
    assert decided(np.array([[1.0, 1.0]]), labels.classes).tolist() == [2]


@rule("S12.18")
def test_s12_18_ngrams() -> None:
    seen = answers([0, 1, 0, 1], [1, 0], [2], [0, 1])
    grams = NGrams.of(seen, np.array([7, 7, 2, 2]), np.array([2, 7]), 2)
    assert grams.runs.tolist() == [[0, 1], [1, 0]]
    assert grams.counts.tolist() == [[1, 2], [0, 2]]
    # Runs do not reach over the end of a sample, and unknown ones say nothing.
    assert grams.vote(answers([0, 1], [0], [1], [2, 1, 0])).tolist() == [
        [1, 2],
        [0, 0],
        [0, 0],
        [0, 2],
    ]


@rule("S12.19")
def test_s12_19_counts(kind: str) -> None:
    net = Net(kind, [[4, 0, 0], [0, 0, 0]], eta_pre=0.125, eta_post=0.125)
    net.train(steps((0, 1), 1, (), ()), steps((), (), (), ()))
    # One depression by input 1; two potentiations; inhibition of two.
    assert net.counts == (2, 3, 1, 3 * 3 + 2, 3)


@rule("S12.20")
def test_s12_20_initial_weights(kind: str) -> None:
    config = {**PLAIN, "inputs": 3, "neurons": 5, "w_init": 0.3}
    w = (
        ReferenceDiehlCook(config).w
        if kind == "twin"
        else core_module.DiehlCook(json.dumps(config)).weights()
    )
    assert w.shape == (3, 5)
    assert len(set(w.ravel().tolist())) == 15
    assert 0 <= w.min() < w.max() < 0.3
    norm = {**config, "norm": 0.75}
    sums = core_module.DiehlCook(json.dumps(norm)).weights().sum(axis=0)
    assert np.allclose(sums, 0.75)
