"""Several cycles that share nodes and lie inside each other; and runs in pieces of any length.

The networks here are all cycles: two or three populations with any options, linked forth and
back by edges, weights, convolutions and delays. The engine has to be the reference to the bit,
and a run step by step, its state saved and loaded in between, has to be the whole run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikesim as ss
from engines import Engine, Outcome, Reference, in_turn, same
from populations import population
from strategies import Builder, Case, Draw, cases, inputs

SHAPES = [(1,), (3,), (17,), (70,), (3, 5), (2, 4, 3), (17, 3, 3)]


@st.composite
def webs(draw: Draw, exact: bool = False) -> Case:
    """Populations that hear each other in several ways."""
    builder = Builder(draw, exact)
    value = builder.start(builder.pick(*SHAPES))
    populations = []
    for _ in range(draw(st.integers(1, 3), label="populations")):
        op = population(builder, value.shape)
        fires = op.spikes != "none"
        value = builder.add(op, [value], spikes=fires, currents=not fires, clean=fires)
        populations.append(value)
    for _ in range(draw(st.integers(2, 5), label="links")):
        first, second = (builder.pick(*range(len(populations))) for _ in range(2))
        source, target = populations[first], populations[second]
        ways = ["itself", "scale"] + (["weights"] * 2 if source.clean or not exact else [])
        way = builder.pick(*ways)
        if way == "weights":
            builder.weights_back(source, target.name)
            continue
        if way == "scale":
            source = builder.scale(source)
        if second > first and builder.pick(True, False):
            builder.connect(source.name, target.name, 0)
        else:
            builder.close(source, target.name)
    net = builder.net
    net.output = populations[-1].name
    net.readout = builder.pick(None, "sum", "last_v", "max_v")
    x, steps, constant = inputs(draw, builder, tuple(net.input_shape))
    return Case(net, x, steps, constant, exact, builder.made_of)


def in_pieces(draw: Draw, run: Any, case: Case) -> Outcome:
    """The case run in pieces of drawn lengths, some of them by another simulator that was given
    the state."""
    x, _ = case.run_args()
    runner, parts, at = run(case.net), [], 0
    while at < case.n_steps:
        length = draw(st.sampled_from([1, 1, 2, case.n_steps]), label="steps")
        length = min(length, case.n_steps - at)
        piece = (x, length) if case.constant else (x[at : at + length], None)
        parts.append(runner.run(*piece, reset=at == 0))
        at += length
        if draw(st.booleans(), label="another simulator"):
            other = run(case.net)
            if isinstance(runner, Engine):
                other.sim.load_state_dict(runner.sim.state_dict())
            else:
                other.state = runner.state
            runner = other
    return in_turn(parts, axis=0)


def pieces_equal_the_whole(draw: Draw, run: Any, case: Case) -> None:
    whole = run(case.net).run(*case.run_args())
    pieces = in_pieces(draw, run, case)
    if case.net.readout != "last_v":  # the others are of a run, not of the state
        pieces.output, pieces.predictions = whole.output, whole.predictions
    same(pieces, whole)


@given(webs(exact=False))
@settings(max_examples=60)
def test_the_engine_is_the_reference_on_webs_of_cycles(case: Case) -> None:
    same(Engine(case.net).run(*case.run_args()), Reference(case.net).run(*case.run_args()))


@given(webs(exact=True))
def test_webs_of_cycles_on_exact_sums(case: Case) -> None:
    engine = Engine(case.net).run(*case.run_args())
    same(engine, Reference(case.net, sums="torch").run(*case.run_args()))


@pytest.mark.parametrize("run", [Reference, Engine])
@given(case=webs(), data=st.data())
@settings(max_examples=25)
def test_webs_of_cycles_run_in_pieces(run: Any, case: Case, data: st.DataObject) -> None:
    pieces_equal_the_whole(data.draw, run, case)


@pytest.mark.parametrize("run", [Reference, Engine])
@given(case=cases(exact=False), data=st.data())
@settings(max_examples=25)
def test_any_network_runs_in_pieces(run: Any, case: Case, data: st.DataObject) -> None:
    pieces_equal_the_whole(data.draw, run, case)


@given(webs())
@settings(max_examples=15)
def test_threads_levels_and_files_change_no_bit(case: Case) -> None:
    first = Engine(case.net, threads=1).run(*case.run_args())
    for options in ({"threads": 3}, {"level": "baseline"}, {"batch_size": 1}):
        same(Engine(case.net, **options).run(*case.run_args()), first)
    graph = case.net.__reduce__()
    same(Engine(graph[0](*graph[1])).run(*case.run_args()), first)


def test_a_long_run_with_long_delays_in_single_steps() -> None:
    # More steps than are taken at once, and delays longer than those.
    rng = np.random.default_rng(4)
    net = ss.Network((5, 4, 4))
    net.add(ss.Conv2d(rng.normal(0.1, 0.3, (5, 5, 3, 3)), padding=1), name="conv")
    net.add(ss.LIF(v_threshold=0.8, alpha_mem=0.9, refractory=1), name="lif")
    net.add(ss.Delay(rng.integers(1, 150, (5, 4, 4))), name="late")
    net.add(ss.Conv2d(rng.normal(0, 0.2, (5, 1, 3, 3)), padding=1, groups=5), name="back")
    net.connect("back", "lif", delay=70)
    net.connect("late", "conv")
    net.connect("lif", "lif", delay=1)
    net.output = "lif"
    x = (rng.random((200, 2, 5, 4, 4)) < 0.2).astype(np.float32)
    whole = Engine(net).run(x)
    same(whole, Reference(net).run(x))
    assert 0.02 < whole.spikes["lif"].mean() < 0.9
    runner = Engine(net)
    parts = []
    for t, now in enumerate(x):
        parts.append(runner.run(now[None], reset=t == 0))
        state = runner.sim.state_dict()
        runner = Engine(net)
        runner.sim.load_state_dict(state)
    pieces = in_turn(parts, axis=0)
    pieces.output, pieces.predictions = whole.output, whole.predictions
    same(pieces, whole)
