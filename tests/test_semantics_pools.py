"""Max pools gated by rates, by hand: what docs/semantics.md says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikesim as ss
from rules import Run, array, counted, f32, network, neuron, rule
from spikesim.errors import GraphError

# Spikes of two places: a's counts are 1 1 1 2 2, b's 0 1 2 2 3.
A, B = [1, 0, 0, 1, 0], [0, 1, 1, 0, 1]


def pooled(run: Run, op: Any, *places: list[float]) -> list[Any]:
    """What a pool of one channel gives at each step; `places[i][t]` is what comes in."""
    net = network((1, len(places)), (op, "p"), (neuron(), "n"))
    outcome = run(net).run(np.array(places, f32).T[:, None, None])
    return outcome.current["n"][:, 0, 0].T.tolist()


@rule("S2.21")
def test_s2_21_sums(run: Run) -> None:
    # Windows of one place give what comes in, two sums of 0.1 and 0.2 what they grow by.
    xs = [0.1, 0.2, 0.4]
    sums = np.cumsum(array(0, *xs), dtype=f32)
    assert pooled(run, ss.RateMaxPool1d(1), xs) == [np.diff(sums).tolist()]
    assert pooled(run, ss.RateMaxPool1d(1, gate="argmax"), xs) == [array(*xs).tolist()]
    for gate in ("count", "argmax"):
        # Padding never wins against negative sums; what ceil_mode adds is nothing at all.
        down = [[-1, 0, -1]] * 4
        assert pooled(run, ss.RateMaxPool1d(2, padding=1, gate=gate), *down) == [[-1, 0, -1]] * 3
        ceiled = ss.RateMaxPool1d(3, ceil_mode=True, gate=gate)
        assert pooled(run, ceiled, *down) == [[-1, 0, -1]] * 2
        # Windows that overlap share sums; a place that no window sees is none.
        ops = ss.RateMaxPool1d(2, stride=1, gate=gate), ss.RateMaxPool1d(1, stride=2, gate=gate)
        assert pooled(run, ops[0], [0, 0], [1, 0], [1, 1]) == [[1, 0], [1, 1]]
        assert pooled(run, ops[1], [0, 0], [1, 0], [1, 1]) == [[0, 0], [1, 1]]
        # Of several edges it sums up the sum, of a delayed one what comes late.
        net = network((1, 2), (ss.RateMaxPool1d(2, gate=gate), "p"), (neuron(), "n"))
        net.connect("input", "p", delay=1)
        x = array([1, 0], [0, 0], [0, 1])[:, None, None]
        assert run(net).run(x).current["n"].ravel().tolist() == [1, 1, 0]
    # Channels and samples by themselves, over rows and columns.
    net = network((2, 2, 2), (ss.RateMaxPool2d(2), "p"), (neuron(), "n"))
    x = np.zeros((2, 2, 2, 2, 2), f32)
    x[0, 0, 0, 1, 0] = x[1, 0, 0, 0, 1] = x[1, 0, 0, 1, 0] = x[1, 1, 1, 0, 0] = 1
    current = run(net).run(x).current["n"]
    assert current[:, :, :, 0, 0].tolist() == [[[1, 0], [0, 0]], [[1, 0], [0, 1]]]


@rule("S2.22")
def test_s2_22_count(run: Run) -> None:
    pool = ss.RateMaxPool1d(2)
    # Five steps have a spike, the larger count is 3.
    assert pooled(run, pool, A, B) == [[1, 0, 1, 0, 1]]
    assert pooled(run, ss.SpikeMaxPool1d(2), A, B) == [[1, 1, 1, 1, 1]]
    # Sums 1 0 0 1 and −1 −1 0 0: the largest falls with the place that had it.
    assert pooled(run, pool, [1, -1, 0, 1], [-1, 0, 1, 0]) == [[1, -1, 0, 1]]
    assert pooled(run, pool, [-1, -1, 1], [-1, 1, -1]) == [[-1, 1, -1]]
    # Several spikes at once, and graded ones.
    assert pooled(run, pool, [3, 0, 0.5], [1, 3, 0]) == [[3, 1, 0]]
    # From the largest count that float32 can tell from the next.
    most = [2.0**24 - 1, 1, 1, 1]
    assert pooled(run, pool, most, [0, 0, 0, 0]) == [[2.0**24 - 1, 1, 0, 0]]


@rule("S2.23")
def test_s2_23_argmax(run: Run) -> None:
    # b overtakes at the third step, a draws level at the fourth and is the first of equals.
    pool = ss.RateMaxPool1d(2, gate="argmax")
    assert pooled(run, pool, A, B) == [[1, 0, 1, 1, 1]]
    # What it passes may be negative, or graded.
    assert pooled(run, pool, [2, -1, 0], [0, 0, 1]) == [[2, -1, 0]]
    assert pooled(run, pool, [0.5, 0, 0.25], [0, 0.75, 0]) == [[0.5, 0.75, 0.25]]
    # Of equals the lowest (ky, kx), whichever came there first.
    for first, second, expected in (((0, 1), (1, 0), [2, 0, 0]), ((1, 0), (0, 1), [2, 0, 1])):
        net = network((1, 2, 2), (ss.RateMaxPool2d(2, gate="argmax"), "p"), (neuron(), "n"))
        x = np.zeros((3, 1, 1, 2, 2), f32)
        x[0, 0, 0][first] = 2
        x[1:, 0, 0, second[0], second[1]] = 1
        assert run(net).run(x).current["n"].ravel().tolist() == expected


@rule("S2.12")
def test_s2_12_rates_of_spikes(run: Run) -> None:
    for gate in ("count", "argmax"):
        net = network((1, 4), (ss.Scale(1.0), "s"))
        with pytest.raises(GraphError, match="p: input is currents, expected spikes"):
            net.add(ss.RateMaxPool1d(2, gate=gate), name="p")
        # Its output is spikes, unless it is made of the input alone.
        net = network((1, 4), (ss.IF(), "n"), (ss.RateMaxPool1d(2, gate=gate), "p"))
        with pytest.raises(GraphError, match="m: input is spikes, expected currents"):
            net.add(ss.CurrentMaxPool1d(2), name="m")
        net.add(ss.SpikeMaxPool1d(2), name="m")
        assert run(net).run(array([[1, 0, 0, 1]]), 2).output.ravel().tolist() == [2]
        net = network((1, 4), (ss.RateMaxPool1d(2, gate=gate), "p"), (ss.CurrentMaxPool1d(2), "m"))
        assert run(net).run(array([[1, 0, 0, 3]]), 2).output.ravel().tolist() == [6]


@rule("S1.5", "S5.2")
def test_s1_5_sums_go_on(run: Run) -> None:
    x = array(A, B).T[:, None, None]
    for gate, whole in (("count", [1, 0, 1, 0, 1]), ("argmax", [1, 0, 1, 1, 1])):
        net = network((1, 2), (ss.RateMaxPool1d(2, gate=gate), "p"), (neuron(), "n"))
        for cut in range(1, 5):
            runner = run(net)
            pieces = [runner.run(x[:cut]), runner.run(x[cut:], reset=False)]
            given = [value for piece in pieces for value in piece.current["n"].ravel().tolist()]
            assert given == whole
        # A new run starts from sums of 0.
        runner = run(net)
        for _ in range(2):
            assert runner.run(x).current["n"].ravel().tolist() == whole


@rule("S10.4")
def test_s10_4_rates_are_counted_anew(run: Run) -> None:
    weights = np.ones((3, 1, 1))
    for amplitude, synops, macs in ((1.0, [9, 0, 3], [0, 0, 0]), (0.5, [0, 0, 0], [3, 0, 3])):
        op = ss.IF(v_threshold=1.0, spikes="multi", spike_amplitude=amplitude)
        net = network((1, 2), (op, "n"), (ss.RateMaxPool1d(2), "p"), (ss.Conv1d(weights), "c"))
        outcome = run(net).run(array([3, 1], [0, 2], [0, 1])[:, None, None])
        assert counted(outcome, "synops", "c") == synops
        assert counted(outcome, "macs", "c") == macs
    # The gate "argmax", too: what it does not pass is no event.
    net = network((1, 2), (ss.RateMaxPool1d(2, gate="argmax"), "p"), (ss.Conv1d(weights), "c"))
    outcome = run(net).run(array(A, B).T[:, None, None])
    assert counted(outcome, "synops", "c") == [3, 0, 3, 3, 3]
