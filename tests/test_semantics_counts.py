"""Counts by hand: rules S10 of docs/semantics.md."""

from __future__ import annotations

import numpy as np

import spikesim as ss
from rules import Run, array, counted, network, rule


@rule("S10.1")
def test_s10_1_spikes(run: Run) -> None:
    multi = ss.IF(v_threshold=1.0, spikes="multi", spike_amplitude=0.5)
    weight = array([1, 0, 2], [3, 0, 0])
    net = network((3,), (multi, "n"), (ss.Linear(weight), "fc"))
    outcome = run(net).run(array([[2, 1, 1]], [[0, 0, 3]]))
    # two spikes through two weights, one through none, one through one; three through one
    assert counted(outcome, "synops", "fc") == [5, 3]
    assert counted(outcome, "macs", "fc") == [0, 0]
    signed = ss.IF(v_threshold=1.0, spikes="signed", v_threshold_neg=-1.0)
    net = network((3,), (signed, "n"), (ss.Linear(weight), "fc"))
    assert counted(run(net).run(array([[-1, 1, -1]])), "synops", "fc") == [3]
    # Only what lands inside: the corner of a 3×3 convolution without padding meets one place,
    # the centre nine.
    net = network((1, 5, 5), (ss.IF(v_threshold=1.0), "n"), (ss.Conv2d(np.ones((2, 1, 3, 3))), "c"))
    for place, fan_out in (((0, 0), 2), ((0, 2), 6), ((2, 2), 18)):
        x = np.zeros((1, 1, 5, 5))
        x[(0, 0, *place)] = 1
        assert counted(run(net).run(x, n_steps=1), "synops", "c") == [fan_out]
    # With stride 2 a place between the kernel's steps meets fewer.
    op = ss.Conv1d(np.ones((1, 1, 1)), stride=2)
    net = network((1, 4), (ss.IF(v_threshold=1.0), "n"), (op, "c"))
    assert counted(run(net).run(np.ones((1, 1, 4)), n_steps=1), "synops", "c") == [2]
    # Groups: a spike meets the outputs of its own group alone.
    op = ss.Conv1d(np.ones((6, 1, 1)), groups=2)
    net = network((2, 1), (ss.IF(v_threshold=1.0), "n"), (op, "c"))
    assert counted(run(net).run(array([[1], [0]])[None], n_steps=1), "synops", "c") == [3]


@rule("S10.2")
def test_s10_2_paths(run: Run) -> None:
    signed = ss.IF(v_threshold=1.0, spikes="signed", v_threshold_neg=-1.0)
    for pool in (ss.SumPool2d(2), ss.AvgPool2d(2), ss.AdaptiveAvgPool2d(1)):
        net = network((1, 2, 2), (signed, "n"), (pool, "p"), (ss.Flatten(), "f"))
        net.add(ss.Linear(array([1], [1], [0])), name="fc")
        # +1 and −1 make a sum of zero and are two events all the same.
        outcome = run(net).run(array([[[1, -1], [0, 0]]])[None], n_steps=1)
        assert counted(outcome, "synops", "fc") == [4]
    # Windows that overlap pass an event on twice.
    net = network((1, 3), (signed, "n"), (ss.SumPool1d(2, stride=1), "p"), (ss.Flatten(), "f"))
    net.add(ss.Linear(array([1, 1])), name="fc")
    assert counted(run(net).run(array([[0, 1, 0]])[None], n_steps=1), "synops", "fc") == [2]
    # Two paths, and an edge that is a step late.
    net = network((1,), (signed, "n"), (ss.Add(), "a"), (ss.Concat(), "c", ["n", "a"]))
    net.connect("n", "a", delay=1)
    net.add(ss.Linear(array([1, 1])), name="fc")
    net.add(ss.Linear(array([1, 1])), name="fc2", inputs="c")
    outcome = run(net).run(array(1, 0, 0).reshape(3, 1, 1))
    assert counted(outcome, "synops", "fc") == counted(outcome, "synops", "fc2") == [2, 1, 0]
    net = network(
        (1, 1, 1), (signed, "n"), (ss.Upsample(2), "u"), (ss.Conv2d(np.ones((1, 1, 2, 2))), "c")
    )
    assert counted(run(net).run(np.ones((1, 1, 1, 1)), n_steps=1), "synops", "c") == [4]


@rule("S10.3")
def test_s10_3_input_values(run: Run) -> None:
    net = network((4,), (ss.Linear(np.ones((3, 4))), "fc"))
    outcome = run(net).run(array([1, -1, 0.5, 0]), n_steps=2)
    assert counted(outcome, "synops", "fc") == [6, 6]
    assert counted(outcome, "macs", "fc") == [3, 3]
    # Value by value: what another sample holds does not matter.
    outcome = run(net).run(array([2, 0, 0, 0], [1, 0, 0, 0]), n_steps=1)
    assert outcome.counts["macs"]["fc"].tolist() == [[3, 0]]
    assert outcome.counts["synops"]["fc"].tolist() == [[0, 3]]
    # Through a pool each value by itself, too.
    net = network((1, 4), (ss.SumPool1d(2), "p"), (ss.Conv1d(np.ones((1, 1, 1))), "c"))
    outcome = run(net).run(array([[1, 1, 0.5, 3]])[None], n_steps=1)
    assert counted(outcome, "synops", "c") == [2]
    assert counted(outcome, "macs", "c") == [2]


@rule("S10.4")
def test_s10_4_max_pools_of_spikes(run: Run) -> None:
    for amplitude, synops, macs in ((1.0, [3, 1], [0, 0]), (0.5, [0, 0], [1, 1])):
        op = ss.IF(v_threshold=1.0, spikes="multi", spike_amplitude=amplitude)
        net = network(
            (1, 2), (op, "n"), (ss.SpikeMaxPool1d(2), "p"), (ss.Conv1d(np.ones((1, 1, 1))), "c")
        )
        outcome = run(net).run(array([[[3, 1]]], [[[1, 1]]])[:, None].reshape(2, 1, 1, 2))
        assert counted(outcome, "synops", "c") == synops
        assert counted(outcome, "macs", "c") == macs


@rule("S10.5")
def test_s10_5_currents(run: Run) -> None:
    fc = ss.Linear(np.ones((3, 1)))
    net = network((1,), (ss.LI(alpha_mem=0.5), "li"), (fc, "fc"))
    outcome = run(net).run(array(2, 0, 0).reshape(3, 1, 1))
    assert counted(outcome, "synops", "fc") == [0, 3, 0]
    assert counted(outcome, "macs", "fc") == [3, 0, 3]
    # A sum of a current and spikes is one current.
    net = network((1,), (ss.IF(v_threshold=1.0), "n"), (ss.Scale(0.5), "s", "input"))
    net.add(ss.Add(), name="a", inputs=["n", "s"])
    net.add(fc, name="fc")
    outcome = run(net).run(array(1, 0).reshape(2, 1, 1))
    assert counted(outcome, "macs", "fc") == [3, 0]
    assert counted(outcome, "synops", "fc") == [0, 0]


@rule("S10.6")
def test_s10_6_scale(run: Run) -> None:
    net = network((3,), (ss.IF(v_threshold=1.0, spikes="multi"), "n"))
    net.add(ss.Scale(array(2, 0, 3)), name="s")
    outcome = run(net).run(array([1, 1, 2]), n_steps=1)
    assert counted(outcome, "synops", "s") == [3]
    assert counted(outcome, "synops_with_zeros", "s") == [4]


@rule("S10.7")
def test_s10_7_zero_weights(run: Run) -> None:
    weight = np.zeros((2, 1, 3))
    weight[0, 0, 1] = 1
    net = network((1, 3), (ss.Conv1d(weight, padding=1), "c"))
    outcome = run(net).run(np.ones((1, 1, 3)), n_steps=1)
    assert counted(outcome, "synops", "c") == [3]
    assert counted(outcome, "synops_with_zeros", "c") == [14]  # 2·(2 + 3 + 2)


@rule("S10.8")
def test_s10_8_folded_weights(run: Run) -> None:
    # γ = 0 makes every weight of the second output zero.
    norm = ss.BatchNorm(array(1, 0), array(1, 1), array(0, 0), array(1, 1), eps=0.0)
    net = network((2,), (ss.Linear(np.ones((2, 2)), array(1, 1)), "fc"), (norm, "bn"))
    outcome = run(net).run(array([1, 1]), n_steps=1)
    assert counted(outcome, "synops", "fc") == [2]
    assert counted(outcome, "synops_with_zeros", "fc") == [4]
    net = network((2,), (norm, "bn"), (ss.IF(v_threshold=1.0), "n"))
    outcome = run(net).run(array([1, 1]), n_steps=1)
    assert outcome.counts["synops"] == outcome.counts["macs"] == {}


@rule("S10.9")
def test_s10_9_neurons(run: Run) -> None:
    op = ss.IF(v_threshold=1.0, spikes="signed", v_threshold_neg=-1.0)
    net = network((2, 3), (op, "n"), (ss.LI(alpha_mem=0.5), "li"))
    x = np.zeros((2, 2, 2, 3))
    x[0, 0, 0] = [1, -1, 0]
    outcome = run(net).run(x)
    assert outcome.counts["neuron_updates"]["n"].tolist() == [[6, 6], [6, 6]]
    assert outcome.counts["neuron_updates"]["li"].tolist() == [[6, 6], [6, 6]]
    assert outcome.counts["spikes"]["n"].tolist() == [[2, 0], [0, 0]]
    assert outcome.counts["spikes"]["li"].tolist() == [[0, 0], [0, 0]]
