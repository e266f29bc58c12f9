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


# Delays of synapses


@rule("S2.20")
def test_s2_20_delays_of_synapses(run: Run) -> None:
    x = [[1, 10], [2, 20], [3, 30], [4, 40]]
    weight, bias = array([1, 2], [0.5, 0]), array(0.25, 0)
    net = network((2,), (ss.Linear(weight, bias, delay=[[0, 2], [1, 3]]), "fc"), (neuron(), "n"))
    # x₀ now and 2·x₁ of two steps ago; half of x₀ a step ago; the bias at every step.
    expected = [[1.25, 0], [2.25, 0.5], [3.25 + 20, 1], [4.25 + 40, 1.5]]
    assert currents(run, net, x) == expected
    # One for all; the edge's own delay adds to it.
    for delay in (1, np.ones((2, 2))):
        net = network((2,), (ss.Linear(weight, bias, delay), "fc", ("input", 1)), (neuron(), "n"))
        assert currents(run, net, x) == [[0.25, 0], [0.25, 0], [21.25, 0.5], [42.25, 1]]
    # A kernel whose taps see different steps: what moves to the right at one place a step.
    detector = ss.Conv1d(array([[1, 1, 1]]), delay=[[[2, 1, 0]]], padding=1)
    net = network((1, 4), (detector, "c"), (neuron(), "n"))
    moving = np.eye(4)[:, None]
    assert currents(run, net, moving) == [
        [[0, 0, 0, 0]],
        [[2, 0, 0, 0]],
        [[0, 3, 0, 0]],
        [[0, 0, 3, 0]],
    ]
    # Groups, strides and two axes: each synapse by itself.
    weight = np.arange(1, 9).reshape(2, 1, 2, 2)
    delay = [[[[0, 1], [1, 0]]], [[[2, 0], [0, 2]]]]
    op = ss.Conv2d(weight, stride=2, groups=2, delay=delay)
    net = network((2, 2, 4), (op, "c"), (neuron(), "n"))
    ones = np.zeros((4, 2, 2, 4))
    ones[0] = 1
    outcome = [[row[0][0], row[1][0]] for row in currents(run, net, ones)]
    assert outcome == [[[5, 5], [13, 13]], [[5, 5], [0, 0]], [[0, 0], [13, 13]], [[0, 0], [0, 0]]]


@rule("S2.20")
def test_s2_20_order(run: Run) -> None:
    # What comes from longer ago is added first: (1e8 + 1) − 1e8 loses the 1, (1e8 − 1e8) + 1
    # does not; the order of the inputs alone would be the other way round.
    for delay, expected in (([[2, 1, 0]], 0), ([[2, 0, 1]], 1)):
        fc = ss.Linear(array([1e8, 1, -1e8]), delay=delay)
        net = network((3,), (fc, "fc"), (neuron(), "n"))
        assert currents(run, net, np.ones((3, 3)))[2] == [expected]
    # Among equal delays ascending inputs: 1e8 − 1e8 + 1, then the latest.
    fc = ss.Linear(array([1, 1e8, -1e8, 1]), delay=[[0, 1, 1, 1]])
    net = network((4,), (fc, "fc"), (neuron(), "n"))
    assert currents(run, net, np.ones((2, 4)))[1] == [2]
    # Each edge by itself, then the sums in the order of the edges (S2.4).
    net = network((1,), (ss.Scale(-1.0), "minus"))
    net.add(ss.Linear(array([1.0]), array(0.5), delay=[[1]]), name="one", inputs=["input", "minus"])
    net.add(neuron(), name="n")
    assert currents(run, net, [[1e8], [0], [0]]) == [[0.5], [0.5], [0.5]]
    fc = ss.Linear(array([1, 1]), delay=[[1, 0]])
    net = network((2,), (ss.Scale(array(-1, 1)), "s"), (fc, "fc", ["input", "s"]), (neuron(), "n"))
    # (1e8 + 1) + (−1e8 + 1), each of which rounds to ±1e8
    assert currents(run, net, [[1e8, 0], [0, 1]])[1] == [0]


@rule("S2.20")
def test_s2_20_what_is_no_delay() -> None:
    net = ss.Network((1, 3))
    weight = np.ones((2, 1, 2))
    for wrong in (-1, 65537, np.inf):
        with pytest.raises(GraphError, match=r"late: delay\[1, 0, 1\] is .*, expected (whole|fin)"):
            net.add(ss.Conv1d(weight, delay=[[[0, 0]], [[0, wrong]]]), name="late")
    with pytest.raises(GraphError, match=r"Conv1d: delay has 0\.5, expected whole"):
        ss.Conv1d(weight, delay=0.5)
    for shape in ((2,), (2, 2), (1, 1, 2), (2, 1, 1)):
        with pytest.raises(ShapeError, match="late: delay"):
            net.add(ss.Conv1d(weight, delay=np.ones(shape)), name="late")
    assert len(net.nodes) == 1


@rule("S2.13")
def test_s2_13_batch_norm_after_delayed_synapses(run: Run) -> None:
    # The weights are scaled, the delays stay; the output without synapses keeps its shift.
    fc = ss.Linear(array([1, 2], [3, 4]), array(1, 1), delay=[[0, 1], [2, 2]])
    norm = ss.BatchNorm([2, 0], [0.5, 8], [1, 1], [1, 1], eps=0.0)
    net = network((2,), (fc, "fc"), (norm, "bn"), (neuron(), "n"))
    folded = net.fold().node("fc").op
    assert isinstance(folded, ss.Linear)
    assert folded.weight.tolist() == [[2, 4], [0, 0]]
    assert folded.delay is not None
    assert folded.delay.tolist() == [[0, 1], [2, 2]]
    x = [[1, 10], [2, 20], [3, 30]]
    assert currents(run, net, x) == [[2.5, 8], [44.5, 8], [86.5, 8]]


@rule("S1.4")
def test_s1_4_cycles_through_delayed_synapses(run: Run) -> None:
    def ring(delay: Any) -> ss.Network:
        net = network((2,), (ss.IF(v_threshold=1.0), "n"))
        net.add(ss.Linear(np.eye(2), delay=delay), name="back")
        net.connect("back", "n")
        net.output = "n"
        return net

    pulse = np.zeros((5, 1, 2))
    pulse[0] = 1
    fired = run(ring([[1, 1], [1, 3]])).run(pulse).spikes["n"][:, 0].T.tolist()
    assert fired == [[1, 1, 1, 1, 1], [1, 0, 0, 1, 0]]
    assert run(ring(2)).run(pulse).spikes["n"][:, 0].T.tolist() == [[1, 0, 1, 0, 1]] * 2
    with pytest.raises(GraphError, match="cycle n -> back -> n has no delay"):
        ring([[1, 1], [0, 1]])  # also where the weight is zero


@rule("S10.10")
def test_s10_10_delayed_synapses(run: Run) -> None:
    fc = ss.Linear(array([1, 0], [1, 1]), delay=[[0, 1], [2, 1]])
    net = network((2,), (ss.IF(v_threshold=1.0), "n"), (fc, "fc"))
    outcome = run(net).run(array([[1, 1]], [[0, 0]], [[1, 0]]))
    # One synapse at once; of the second neuron's two, a step later, one is zero; one of the first
    # neuron's two steps later, and at once the one of its next spike.
    assert counted(outcome, "synops", "fc") == [1, 1, 2]
    assert counted(outcome, "synops_with_zeros", "fc") == [1, 2, 2]
    # Analog values the same, in macs; and only what lands inside the output.
    op = ss.Conv1d(np.ones((1, 1, 2)), delay=[[[0, 1]]])
    net = network((1, 3), (op, "c"))
    outcome = run(net).run(array([[[0.5, 0.5, 1]]], [[[0, 0, 0]]]))
    assert counted(outcome, "macs", "c") == [2, 1]
    assert counted(outcome, "synops", "c") == [0, 1]
