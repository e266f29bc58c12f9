"""Delays by hand, of elements and of synapses: what docs/semantics.md says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikesim as ss
from rules import Run, array, counted, network, neuron, rule, spikes
from spikesim.errors import GraphError, ShapeError


def currents(run: Run, net: ss.Network, x: Any) -> list[Any]:
    """What reaches the population n of one sample, step by step."""
    outcome = run(net).run(np.asarray(x, dtype=np.float32)[:, None])
    return outcome.current["n"][:, 0].tolist()


# Delay


@rule("S2.19", "S5.2")
def test_s2_19_delay(run: Run) -> None:
    x = [[1, 10, 100], [2, 20, 200], [3, 30, 300], [4, 40, 400]]
    net = network((3,), (ss.Delay([0, 2, 1]), "d"), (neuron(), "n"))
    assert currents(run, net, x) == [[1, 0, 0], [2, 0, 100], [3, 10, 200], [4, 20, 300]]
    # One for all; the edge's own delay adds to it, and so does another Delay.
    for delay in (1, [1, 1, 1]):
        net = network((3,), (ss.Delay(delay), "d", ("input", 1)), (neuron(), "n"))
        assert currents(run, net, x) == [[0, 0, 0], [0, 0, 0], [1, 10, 100], [2, 20, 200]]
    net = network((3,), (ss.Delay([1, 0, 1]), "a"), (ss.Delay([1, 2, 0]), "b"), (neuron(), "n"))
    assert currents(run, net, x) == [[0, 0, 0], [0, 0, 100], [1, 10, 200], [2, 20, 300]]
    # One a channel, one an element.
    image = np.arange(1, 9).reshape(1, 2, 2, 2).repeat(3, axis=0)
    image[1] *= 10
    image[2] *= 100
    for form in (array(2, 1), array(2, 1).reshape(2, 1, 1)):
        net = network((2, 2, 2), (ss.Delay(form), "d"), (neuron(), "n"))
        late = currents(run, net, image)
        assert late[2] == [[[1, 2], [3, 4]], [[50, 60], [70, 80]]]
    net = network((2, 2, 2), (ss.Delay([[[0, 1], [2, 0]], [[1, 1], [0, 2]]]), "d"), (neuron(), "n"))
    assert currents(run, net, image)[2] == [[[100, 20], [3, 400]], [[50, 60], [700, 8]]]
    # The sum of several edges is delayed, and a Delay may be the output.
    net = network((2,), (ss.Scale(array(10, 10)), "s"), (ss.Delay([0, 1]), "d", ["input", "s"]))
    runner = run(net)
    parts = [runner.run(array(*x[t][:2])[None], n_steps=1, reset=t == 0) for t in range(3)]
    assert [part.output[0].tolist() for part in parts] == [[11, 0], [22, 110], [33, 220]]


@rule("S2.19")
def test_s2_19_delays_of_currents(run: Run) -> None:
    # A bias is a current like any other: not there before its time.
    fc = ss.Linear(array([1], [2]), array(0.5, 0.25))
    net = network((1,), (fc, "fc"), (ss.Delay([0, 1]), "d"), (neuron(), "n"))
    assert currents(run, net, [[1], [2], [4]]) == [[1.5, 0], [2.5, 2.25], [4.5, 4.25]]
    # Spikes and currents into one Delay.
    net = network((2,), (ss.IF(v_threshold=1.0), "if"), (ss.Scale(0.5), "s", "input"))
    net.add(ss.Delay([2, 1]), name="d", inputs=["if", "s"])
    net.add(neuron(), name="n")
    assert currents(run, net, [[1, 1], [0, 2], [0, 0]]) == [[0, 0], [0, 1.5], [1.5, 2]]
    # Spikes stay spikes, currents currents (S2.12).
    for op, pool in ((ss.IF(), ss.CurrentMaxPool1d(1)), (ss.Scale(1.0), ss.SpikeMaxPool1d(1))):
        net = network((1, 2), (op, "a"), (ss.Delay([[0, 1]]), "d"))
        with pytest.raises(GraphError, match="input is"):
            net.add(pool)


@rule("S2.19")
def test_s2_19_what_is_no_delay() -> None:
    net = ss.Network((3,))
    expected = "is .*, expected (whole|finite) numbers"
    for wrong in (-1, 65537, np.inf, 1e9):
        with pytest.raises(GraphError, match=f"late: delay {expected}"):
            net.add(ss.Delay(wrong), name="late")
        with pytest.raises(GraphError, match=rf"late: delay\[1\] {expected}"):
            net.add(ss.Delay([0, wrong, 0]), name="late")
    for broken in (0.5, [1, 1.5, 1], 1 + 1e-12, np.nan):
        with pytest.raises(GraphError, match="expected whole numbers of steps"):
            ss.Delay(broken)
    for shape in ((2,), (3, 1), (1, 3)):
        with pytest.raises(ShapeError, match="delay"):
            net.add(ss.Delay(np.ones(shape)), name="late")
    assert len(net.nodes) == 1
    net.add(ss.Delay(65536), name="late")


@rule("S10.2")
def test_s10_2_delays_pass_events_on(run: Run) -> None:
    net = network((2,), (ss.IF(v_threshold=1.0), "n"), (ss.Delay([0, 2]), "d"))
    net.add(ss.Linear(array([1, 1], [0, 1])), name="fc")
    outcome = run(net).run(array([[1, 1]], [[0, 0]], [[1, 0]]))
    # one weight for the first spikes, two steps later two for the other
    assert counted(outcome, "synops", "fc") == [1, 0, 1 + 2]
    assert counted(outcome, "synops_with_zeros", "fc") == [2, 0, 2 + 2]
    assert outcome.counts["synops"].keys() == {"fc"}
    # Two spikes that make a sum of zero are two events all the same.
    signed = ss.IF(v_threshold=1.0, spikes="signed", v_threshold_neg=-1.0)
    net = network((2,), (signed, "n"), (ss.Delay([0, 1]), "d", ["n", ("n", 1)]))
    net.add(ss.Linear(array([1, 1])), name="fc")
    outcome = run(net).run(array([[1, 1]], [[-1, -1]], [[0, 0]]))
    assert counted(outcome, "synops", "fc") == [1, 2 + 1, 1 + 2]


# Cycles


@rule("S1.4")
def test_s1_4_cycles_through_delays(run: Run) -> None:
    def ring(delay: Any) -> ss.Network:
        net = network((2,), (ss.Add(), "a"), (ss.IF(v_threshold=1.0), "n"), (ss.Delay(delay), "d"))
        net.connect("d", "a")
        net.output = "n"
        return net

    # The Delay's own steps are those of the cycle: no edge needs another.
    pulse = np.zeros((6, 1, 2))
    pulse[0] = 1
    fired = run(ring([2, 3])).run(pulse).spikes["n"][:, 0].T.tolist()
    assert fired == [[1, 0, 1, 0, 1, 0], [1, 0, 0, 1, 0, 0]]
    fired = run(ring(1)).run(pulse).spikes["n"][:, 0].T.tolist()
    assert fired == [[1, 1, 1, 1, 1, 1]] * 2
    with pytest.raises(GraphError, match="cycle a -> n -> d -> a has no delay"):
        ring([2, 0])
    # Two cycles that share a population, one inside the other, declared in either order.
    for first, second in ((("d", "a", 0), ("d", "b", 0)), (("d", "b", 0), ("d", "a", 0))):
        net = network((1,), (ss.Add(), "a"), (ss.IF(v_threshold=1.0), "n"), (ss.Add(), "b"))
        net.add(ss.IF(v_threshold=2.0), name="m")
        net.add(ss.Delay([1]), name="d")
        net.connect(*first)
        net.connect(*second)
        net.output = "m"
        outcome = run(net).run(array(1, 1, 0, 0, 0).reshape(5, 1, 1))
        # n fires at 0 and 1; m has 2 at step 1 and fires; it comes back to both at 2: n fires at
        # 2, m has 0 + 1 + 1 and fires, and so on.
        assert spikes(outcome, "n") == [1, 1, 1, 1, 1]
        assert spikes(outcome, "m") == [0, 1, 1, 1, 1]
