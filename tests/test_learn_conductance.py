"""Diehl and Cook's network with conductances: rules S12.c by hand, and engine against twin."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductance_nets import draw, packed
from rules import rule
from spikesim import _core
from spikesim.errors import InputError, UnsupportedError
from spikesim.learn import DiehlCook, poisson_spikes
from spikesim.learn._settings import configuration
from spikesim.learn.reference import conductance as twin

f32 = np.float32
ONE = np.array([20.0], f32)  # theta that puts the threshold at -52 mV


def engine(weights, theta, level=None, **params):
    return _core.Conductance(np.asarray(weights, f32), np.asarray(theta, f32), params, level)


def both(weights, theta, spikes, *, learn=True, **params):
    """Spikes, weights and thetas, of the twin once they are the engine's at every level."""
    plain = twin.Conductance(np.asarray(weights, f32), np.asarray(theta, f32), params)
    seen = plain.run(spikes, learn)
    for level in _core.levels():
        net = engine(weights, theta, level, **params)
        out = net.run(*packed(spikes), learn, True)
        assert out["spikes"].tolist() == [list(s) for s in seen.spikes], level
        assert net.weights().tobytes() == plain.w.tobytes(), level
        assert net.theta().tobytes() == plain.theta.tobytes(), level
        state = net.state()[0]
        mine = [plain.exc.v, plain.exc.g_e, plain.exc.g_i, plain.exc.wait]
        mine += [plain.inh.v, plain.inh.g_e, plain.inh.wait]
        assert state.tobytes() == np.stack(mine).astype(f32).tobytes(), level
    return seen.spikes, plain


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_inputs=st.integers(1, 40),
    n=st.integers(1, 40),
    rate=st.sampled_from([0.02, 0.1, 0.4]),
)
def test_engine_equals_twin_to_the_bit(seed, n_inputs, n, rate):
    weights, theta, spikes = draw(seed, n_inputs, n, 150, rate)
    both(weights, theta, [*spikes, *[[]] * 150, *spikes[:50]])


def test_a_training_of_several_images_equals_the_twin():
    weights, theta, spikes = draw(1, 50, 30, 500, 0.1)
    plain, fast = twin.Conductance(weights, theta, {"norm": 15}), engine(weights, theta, norm=15)
    total = 0
    for k in range(5):
        plain.normalize()
        fast.normalize(False)
        part = [*spikes[100 * k : 100 * k + 100], *[[]] * 60]
        total += plain.run(part, True).counts.sum()
        fast.run(*packed(part), True, False)
        assert fast.weights().tobytes() == plain.w.tobytes()
        assert fast.theta().tobytes() == plain.theta.tobytes()
    assert total > 60


def test_samples_are_answered_alone_by_any_number_of_threads():
    weights, theta, spikes = draw(2, 30, 20, 6 * 80, 0.2)
    net = engine(weights, theta)
    alone = [
        twin.Conductance(weights, theta).run(spikes[k : k + 80], False).counts
        for k in range(0, 480, 80)
    ]
    for threads in (1, 2, 3):
        assert net.respond(*packed(spikes), 80, threads).tolist() == np.stack(alone).tolist()
        net = engine(weights, theta)
    assert np.sum(alone) > 20


@rule("S12.c1")
def test_s12_c1_constants():
    p = twin.ConductanceParams()
    net = twin.Conductance(np.zeros((1, 1), f32), ONE)
    assert net.exc.h == f32(0.005)
    assert net.inh.h == f32(0.05)
    assert net.exc.keep_e == f32(math.exp(-0.5))
    assert net.exc.keep_i == f32(math.exp(-0.25))
    assert net.exc.refractory == 10
    assert net.inh.refractory == 4
    assert (p.w_exc, p.w_inh, p.norm, p.theta_plus) == (10.4, 17.0, 78.0, 0.05)


@rule("S12.c2")
def test_s12_c2_phi():
    z = np.array([0, 1e-3, 0.25, 0.250001, 0.5, 1, 3, 40, 1e4], f32)
    exact = [1 if x == 0 else -math.expm1(-x) / x for x in z.astype(float)]
    assert np.allclose(twin.phi(z), exact, rtol=4e-7, atol=0)
    quarter = sum((-0.25) ** k / math.factorial(k + 1) for k in range(6))
    assert twin.phi(f32([0.25]))[0] == pytest.approx(quarter, rel=2e-7)
    # One doubling: phi(1/2) from phi(1/4).
    p = twin.phi(f32([0.25]))[0]
    assert twin.phi(f32([0.5]))[0] == p * (f32(1) - f32(0.125) * p)


@rule("S12.c3")
def test_s12_c3_membrane():
    # g_e = 2 at the end of step 0; step 1 moves v by (1 - e^{-0.005*3}) to rest/3.
    spikes, net = both([[2.0]], [1000.0], [[0], []], learn=False)
    target = -65 / 3
    assert net.exc.v[0] == pytest.approx(target + (-65 - target) * math.exp(-0.015), abs=2e-5)
    assert net.exc.g_e[0] == pytest.approx(2 * math.exp(-0.5))
    assert spikes == []


@rule("S12.c4")
def test_s12_c4_a_step():
    # A huge conductance arrives at the end of step 0: the excitatory neuron fires in step 1, its
    # inhibitory one in step 2, and what silences the other neuron acts from step 3 on.
    weights = np.array([[1000.0, 0.0]], f32)
    theta = [20.0, 20.0]
    spikes, net = both(weights, theta, [[0], []], learn=False)
    assert spikes == [(1, 0)]
    assert net.exc.v[0] == -65
    assert net.inh.g_e.tolist() == [f32(10.4), 0]
    _, net = both(weights, theta, [[0], [], []], learn=False)
    assert net.exc.g_i.tolist() == [0, 17]  # all but its own
    assert net.exc.v[1] == -65
    assert net.inh.v[0] == -45
    _, net = both(weights, theta, [[0], [], [], []], learn=False)
    target = (-65 - 17 * 100) / 18
    expected = target + (-65 - target) * math.exp(-0.005 * 18)
    assert net.exc.v[1] == pytest.approx(expected, abs=3e-5)


@rule("S12.c5")
def test_s12_c5_refractory_time():
    # Driven hard in every step, a neuron fires every ten steps and keeps v meanwhile.
    spikes, net = both([[1000.0]], ONE, [[0]] * 32, learn=False)
    assert spikes == [(1, 0), (11, 0), (21, 0), (31, 0)]
    assert net.exc.v[0] == -65


@rule("S12.c6")
def test_s12_c6_traces_and_order():
    # Spikes of the neuron at steps 1 and 11 (input in steps 0 and 10): at 11 potentiation by the
    # input's trace of one step and the slow trace of ten; the input of step 11 itself counts in
    # full, after it was depressed by the post trace of ten steps.
    eta = {"eta_pre": 1e-3, "eta_post": 0.25, "norm": 1, "w_max": 2000}
    for last, pre in ((10, math.exp(-1 / 40)), (11, 1.0)):
        steps = [[0] if t in (0, 10, last) else [] for t in range(12)]
        spikes, net = both([[500.0]], ONE, steps, **eta)
        assert spikes == [(1, 0), (11, 0)]
        fall = 1e-3 * math.exp(-9 / 40) + (1e-3 * math.exp(-10 / 40) if last == 11 else 0)
        rise = 0.25 * math.exp(-10 / 80) * pre
        assert net.w[0, 0] == pytest.approx(500 - fall + rise, abs=4e-5)


@rule("S12.c7")
def test_s12_c7_bounds_and_theta():
    steps = [[0] if t % 10 == 0 else [] for t in range(19)]
    spikes, net = both([[1000.0]], ONE, steps, eta_post=0.5)
    assert spikes == [(1, 0), (11, 0)]
    assert net.w[0, 0] == 1.0  # the first change brings it to the bound
    theta = (20 + 2 * 0.05) * math.exp(-19 * 0.5 / 1e7)
    assert net.theta[0] == pytest.approx(theta, abs=3e-6)
    _, net = both([[1000.0]], ONE, [[0], *[[]] * 9, [0], []], eta_pre=5000.0, eta_post=0)
    assert net.w[0, 0] == 0.0
    _, frozen = both([[1000.0]], ONE, steps, learn=False)
    assert frozen.w[0, 0] == 1000
    assert frozen.theta[0] == 20


@rule("S12.c8")
def test_s12_c8_normalisation():
    weights = np.array([[1, 0.25], [2, 0], [1, 0]], f32)
    net, plain = (
        engine(weights, [20, 20], norm=8),
        twin.Conductance(weights, ONE.repeat(2), {"norm": 8}),
    )
    for each in (net.normalize(False), plain.normalize()):
        assert each is None
    assert net.weights().tolist() == plain.w.tolist() == [[2, 8], [4, 0], [2, 0]]
    silent = engine(np.zeros((2, 1), f32), ONE)
    silent.normalize(True)
    assert silent.weights().tolist() == [[0], [0]]


@rule("S12.c9")
def test_s12_c9_small_conductances_become_zero():
    _, net = both([[1.0]], [1000.0], [[0], *[[]] * 31], learn=False)
    assert 0 < net.exc.g_e[0] < 2**-20
    _, net = both([[1.0]], [1000.0], [[0], *[[]] * 32], learn=False)
    assert net.exc.g_e[0] == 0


def model(**params):
    """A small one whose neurons fire."""
    few = {"n_inputs": 30, "n_neurons": 9, "n_steps": 120, "rest": 40.0, "dt": 0.5, "x_max": 1.0}
    fast = {"max_rate": 300.0, "norm": 12.0, "min_spikes": 0, "threads": 1, "lr_end": 1.0}
    return DiehlCook(model="conductance", **{**few, **fast, **params})


@rule("S12.c10")
def test_s12_c10_samples():
    x = np.random.default_rng(4).random((5, 30)).astype(f32)
    learner = model().partial_fit(x[:1])
    engine = _core.ConductanceModel(json.dumps(configuration(model())))
    plain = twin.Conductance(engine.weights(), engine.theta(), configuration(model())["params"])
    assert np.allclose(plain.w.sum(0), 12, atol=1e-4)
    assert set(plain.theta) == {20.0}
    plain.changed[:] = False
    rasters = poisson_spikes(x, 120, max_rate=300.0, dt=0.5)
    total = 0
    for k in range(5):
        counts = plain.run([np.flatnonzero(s).tolist() for s in rasters[:, k]], True).counts
        plain.run([[]] * 80, True)
        plain.normalize()
        total += counts.sum()
        if k == 0:
            assert learner.weights_.T.tobytes() == plain.w.tobytes()
    learner.partial_fit(x[1:])
    assert learner.weights_.T.tobytes() == plain.w.tobytes()
    assert learner.theta_.tobytes() == plain.theta.tobytes()
    assert total > 20
    frozen = twin.Conductance(plain.w, plain.theta, configuration(model())["params"])
    raster = poisson_spikes(x[:1], 120, max_rate=300.0, dt=0.5, first_sample=None)[:, 0]
    answer = frozen.run([np.flatnonzero(s).tolist() for s in raster], False).counts
    assert learner.transform(x)[0].tolist() == answer.tolist()
    assert learner.transform(x[::-1])[-1].tolist() == answer.tolist()


def test_a_sample_is_repeated_until_it_has_spikes():
    x = np.full((1, 30), 0.05, f32)
    once = model().partial_fit(x).counts_
    more = model(min_spikes=10, max_repeats=8).partial_fit(x).counts_
    assert once["presentations"] == 1
    assert 1 < more["presentations"] <= 9
    assert more["input_spikes"] > 2 * once["input_spikes"]


def test_a_file_goes_on_to_the_bit(tmp_path):
    x = np.random.default_rng(5).random((6, 30)).astype(f32)
    whole, half = model().partial_fit(x), model().partial_fit(x[:3])
    half.save(tmp_path / "half.learn")
    again = DiehlCook.load(tmp_path / "half.learn").partial_fit(x[3:])
    assert again.weights_.tobytes() == whole.weights_.tobytes()
    assert again.theta_.tobytes() == whole.theta_.tobytes()
    assert again.counts_ == whole.counts_


@pytest.mark.parametrize("params", [{"tc_v": 50.0}, {"batch_size": 2}, {"norm": None}])
def test_parameters_of_the_other_models_are_refused(params):
    with pytest.raises(UnsupportedError, match=next(iter(params))):
        model(**params).partial_fit(np.zeros((1, 30), f32))


def test_a_network_goes_on_from_its_state():
    weights, theta, spikes = draw(7, 30, 20, 300, 0.15)
    net = engine(weights, theta)
    net.run(*packed(spikes[:150]), True, False)
    other = engine(net.weights(), net.theta())
    other.restore(*net.state())
    for each in (net, other):
        each.run(*packed(spikes[150:]), True, False)
    assert net.weights().tobytes() == other.weights().tobytes()
    assert net.theta().tobytes() == other.theta().tobytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [("dt", 0.0), ("tau_exc", -1.0), ("eta_post", math.nan), ("w_inh", 1e9), ("norm", 0.0),
     ("v_reset_inh", -30.0), ("nonsense", 1.0)],
)  # fmt: skip
def test_constants_that_mean_nothing_are_refused(name, value):
    with pytest.raises(InputError, match=name):
        engine(np.zeros((1, 1), f32), ONE, **{name: value})


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="weights"):
        engine(np.zeros((2, 3), f32), ONE)
    with pytest.raises(InputError, match="NaN"):
        engine(np.full((2, 1), np.nan, f32), ONE)
    net = engine(np.zeros((2, 1), f32), ONE)
    with pytest.raises(InputError, match="ascending"):
        net.run(np.array([0, 2], np.uint32), np.array([1, 0], np.uint32), True, False)
    with pytest.raises(InputError, match="not below 2"):
        net.run(np.array([0, 1], np.uint32), np.array([2], np.uint32), True, False)
    with pytest.raises(InputError, match="whole samples"):
        net.respond(np.zeros(6, np.uint32), np.zeros(0, np.uint32), 2, 1)
