"""Thresholds of one: the same spikes with θ in the weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikesim as ss
from spikesim.convert import unit_thresholds
from spikesim.errors import UnsupportedError

POWERS = st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0])


def network(theta1: np.ndarray, theta2: float, rng: np.random.Generator) -> ss.Network:
    """Two convolutions, a residual join, a recurrent edge; weights in sixteenths."""

    def weights(*shape: int) -> np.ndarray:
        return rng.integers(-16, 17, shape) / 16

    net = ss.Network((2, 4, 4))
    net.add(ss.Conv2d(weights(3, 2, 3, 3), weights(3), padding=1), "conv1")
    net.add(ss.LIF(v_threshold=theta1, alpha_mem=0.5, v0=theta1 / 2), "lif1")
    net.add(ss.Conv2d(weights(3, 3, 3, 3), padding=1), "conv2")
    net.add(ss.Conv2d(weights(3, 2, 1, 1)), "short", "input")
    net.add(ss.Add(), "join", ["conv2", "short"])
    net.add(ss.Neuron(v_threshold=theta2, spikes="signed", v_threshold_neg=-2 * theta2), "if2")
    net.add(ss.Flatten(), "flat")
    net.add(ss.Linear(weights(5, 48)), "fc")
    net.add(ss.IF(v_threshold=theta2, reset="to_value", v_reset=theta2 / 4), "if3")
    net.connect("if3", "if3", delay=1)
    return net


@settings(deadline=None, max_examples=40)
@given(
    theta1=st.lists(POWERS, min_size=3, max_size=3),
    theta2=POWERS,
    seed=st.integers(0, 2**16),
)
def test_powers_of_two_change_no_spike(theta1: list[float], theta2: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = network(np.array(theta1), theta2, rng)
    unit = unit_thresholds(net)
    x = rng.integers(0, 9, (6, 2, 2, 4, 4)) / 4
    was, now = (n.compile().run(x, record=("spikes", "v")) for n in (net, unit))
    for name in ("lif1", "if2", "if3"):
        np.testing.assert_array_equal(now.spikes[name].to_dense(), was.spikes[name].to_dense())
        assert (unit.node(name).op.v_threshold == 1).all()  # type: ignore[attr-defined]
    np.testing.assert_array_equal(now.v["if2"] * np.float32(theta2), was.v["if2"])
    np.testing.assert_array_equal(now.output, was.output)


def test_layers_that_feed_a_population_alone_take_its_threshold() -> None:
    net = network(np.array([2.0, 4.0, 0.5]), 4.0, np.random.default_rng(0))
    unit = unit_thresholds(net)
    conv, half = net.node("conv1").op, unit.node("conv1").op
    np.testing.assert_array_equal(
        half.weight,  # type: ignore[attr-defined]
        conv.weight / np.array([2.0, 4.0, 0.5]).reshape(3, 1, 1, 1),  # type: ignore[attr-defined]
    )
    # A join hands the factor to both of its layers; a recurrent edge can't take it.
    names = [node.name for node in unit.nodes]
    assert names == [*[n.name for n in net.nodes][:-1], "if3_unit", "if3"]
    assert net.node("if3").op.v_threshold == 4.0  # type: ignore[attr-defined]


def test_a_layer_that_others_hear_keeps_its_weights() -> None:
    net = ss.Network((3,))
    net.add(ss.Linear(np.eye(3)), "fc")
    net.add(ss.IF(v_threshold=2.0), "a")
    net.add(ss.IF(v_threshold=0.5), "b", "fc")
    net.add(ss.Add(), "sum", ["a", "b"])
    unit = unit_thresholds(net)
    np.testing.assert_array_equal(unit.node("fc").op.weight, np.eye(3))  # type: ignore[attr-defined]
    x = np.array([[0.5, 1.0, 3.0]])
    was, now = (n.compile().run(x, n_steps=5).output for n in (net, unit))
    np.testing.assert_array_equal(now, was)


def test_what_has_no_row_to_divide_is_refused() -> None:
    net = ss.Network((1, 2, 2))
    net.add(ss.Conv2d(np.ones((1, 1, 1, 1))))
    net.add(ss.IF(v_threshold=np.arange(1.0, 5.0).reshape(1, 2, 2)), "if1")
    with pytest.raises(UnsupportedError, match="if1: v_threshold differs within a channel"):
        unit_thresholds(net)
