"""The streaming executor is equal to the batch executor, to the bit, on random networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import spikesim as ss
from engines import Engine, in_turn, same
from rules import f32, rule
from strategies import Case, cases
from streams import Streamed, seen

ANY = st.one_of(cases(exact=True), cases(exact=False))
TABLES = ("synops", "synops_with_zeros", "macs", "neuron_updates", "spikes")


@rule("S15.1", "S15.7")
@given(cases(exact=True))
def test_stream_equals_batch_on_exact_sums(case: Case) -> None:
    same(Streamed(case.net).run(*case.run_args()), seen(Engine(case.net).run(*case.run_args())))


@rule("S15.1")
@given(cases(exact=False))
def test_stream_equals_batch_on_any_floats(case: Case) -> None:
    stream = Streamed(case.net, sparse=True)
    same(stream.run(*case.run_args()), seen(Engine(case.net).run(*case.run_args())))


@given(ANY, st.sampled_from(["baseline", "avx2", "avx512", "neon"]))
def test_levels_change_no_bit(case: Case, level: str) -> None:
    if level not in ss._core.levels():
        level = "baseline"
    stream = Streamed(case.net, level=level)
    same(stream.run(*case.run_args()), seen(Engine(case.net).run(*case.run_args())))


@rule("S15.1", "S15.8")
@given(ANY, st.data())
def test_a_stream_split_in_time_is_the_whole(case: Case, data: Any) -> None:
    x = raster(case)
    at = data.draw(st.integers(0, len(x)), label="split")
    parts = [part for part in (x[:at], x[at:]) if len(part)]
    whole = Engine(case.net).run(x)
    stream = Streamed(case.net)
    pieces = in_turn([stream.run(p, reset=k == 0) for k, p in enumerate(parts)], axis=0)
    if len(parts) > 1:  # the readout begins anew with each
        engine = Engine(case.net)
        last = [engine.run(p, reset=k == 0) for k, p in enumerate(parts)][-1]
        whole.output, whole.predictions = last.output, last.predictions
    same(pieces, seen(whole))


@rule("S15.5", "S15.6")
@given(ANY, st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_silences_are_caught_up_with_to_the_bit(case: Case, longest: int, seed: int) -> None:
    """Nobody looks at the state in between, so that what is left alone stays so."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in raster(case)[:, 0]:
        silence = [np.zeros_like(row)] * int(rng.integers(0, longest + 1))
        rows += [row * (rng.random(row.shape) < 0.3), *silence]
    x = np.stack(rows)
    batch, sim = case.net.compile(), case.net.compile()
    result = batch.run(x, layout="T", record="spikes")
    fired: dict[str, list[Any]] = {name: [] for name in result.spikes}
    for out in sim.stream(x, spikes=True):
        for name, columns in out.spikes.items():
            fired[name] += [(out.t, *pair) for pair in zip(*map(list, columns), strict=True)]
        for table in TABLES:
            for layer, value in out.counts.table(table).items():
                assert value[0, 0] == result.counts.table(table)[layer][out.t, 0], (layer, out.t)
    assert np.array_equal(out.output, result.output[0], equal_nan=True)
    for name, s in result.spikes.items():
        assert fired[name] == list(zip(s.step, s.neuron, s.count, strict=True)), name
    state, expected = sim.state_dict(), batch.state_dict()
    assert state.keys() == expected.keys()
    for name, values in expected.items():
        assert np.array_equal(state[name], values, equal_nan=True), name


def raster(case: Case) -> Any:
    x, steps = case.run_args()
    return x if steps is None else np.array(np.broadcast_to(x, (steps, *x.shape)))


def gesture(neuron: ss.Neuron, bias: float = 0.0) -> ss.Network:
    """Convolutions and pools as networks for event cameras have them."""
    rng = np.random.default_rng(0)
    net = ss.Network((2, 16, 16))
    for k, channels in enumerate((2, 20)):
        w = rng.normal(0, 0.7, (20, channels, 3, 3)).astype(f32)
        net.add(ss.Conv2d(w, np.full(20, bias, f32), padding=1), name=f"conv{k}")
        net.add(neuron, name=f"if{k}")
        net.add(ss.SpikeMaxPool2d(2), name=f"pool{k}")
    net.add(ss.Flatten(), name="flat")
    net.add(ss.Linear(rng.normal(0, 0.3, (30, 320)).astype(f32)), name="fc")
    net.add(neuron, name="out")
    net.add(ss.Delay(3), name="late")
    return net


def test_nothing_of_a_feed_forward_network_is_stepped_whole() -> None:
    report = gesture(ss.IF(v_threshold=1.0)).compile().stream([]).report
    assert report == {
        **dict.fromkeys(("conv0", "conv1", "fc"), "within its population"),
        **dict.fromkeys(("if0", "if1", "out"), "lazy"),
        **dict.fromkeys(("pool0", "pool1", "flat", "late"), "events"),
    }
    report = gesture(ss.IF(v_threshold=1.0), bias=0.1).compile().stream([]).report
    assert report["if0"] == "lazy, scheduled where it may fire by itself"
    report = gesture(ss.IF(v_threshold=1.0, v_min=-1.0)).compile().stream([]).report
    assert report["if0"] == "stepped until at rest"
    net = gesture(ss.IF(v_threshold=1.0))
    net.output = "out"
    net.readout = "last_v"
    assert net.compile().stream([]).report["out"] == "whole"


def test_work_is_in_proportion_to_events() -> None:
    """The same event in a field of four and of sixty-four times the size touches as much."""
    visits = []
    for size in (16, 64):
        net = ss.Network((1, size, size))
        net.add(ss.Conv2d(np.ones((8, 1, 3, 3), f32), padding=1), name="conv")
        net.add(ss.LIF(v_threshold=4.0, alpha_mem=0.9, gain=1.0), name="lif")
        stream = net.compile().stream([([5 * size + 5],)] * 20)
        visits.append([out.counts.neuron_visits for out in stream][1:])
    assert visits[0] == visits[1]
    assert set(visits[0]) <= {72, 72 * 2}
