"""The signed neuron with an imbalanced threshold: its rate is a leaky ReLU (Kim et al. 2020).

Integers throughout, so that equality is exact.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikesim as ss
from rules import Run, drive, v
from rules import spikes as spikes_of


def signed(theta: float, inverse_slope: float, v0: float = 0.0) -> ss.Neuron:
    """θ₋ = −θ/α, with 1/α given."""
    return ss.Neuron(
        v_threshold=theta, spikes="signed", v_threshold_neg=-theta * inverse_slope, v0=v0
    )


def net_of(op: ss.Neuron, n: int = 1) -> ss.Network:
    net = ss.Network(input_shape=(n,))
    net.add(op, name="n")
    return net


def count(op: ss.Neuron, z: np.ndarray, n_steps: int) -> np.ndarray:
    """The net number of spikes of each constant drive."""
    simulator = net_of(op, len(z)).compile(threads=1)
    return simulator.run(z[None].astype(np.float32), n_steps=n_steps).output[0]


@given(theta=st.integers(1, 60), inverse_slope=st.integers(1, 12), n_steps=st.integers(1, 200))
def test_a_constant_drive_gives_the_leaky_relu_up_to_one_quantum(
    theta: int, inverse_slope: int, n_steps: int
):
    z = np.arange(-theta * inverse_slope, theta + 1)
    expected = np.where(
        z >= 0, n_steps * z // theta, -(n_steps * np.abs(z) // (theta * inverse_slope))
    )
    spiked = count(signed(theta, inverse_slope), z, n_steps)
    assert spiked.tolist() == expected.tolist()
    leaky = np.where(z >= 0, z, z / inverse_slope)
    assert np.abs(spiked * theta / n_steps - leaky).max() < theta / n_steps


def test_the_closed_form_on_floats_of_a_dyadic_slope():
    # α = 1/8 and a grid of 1/64: exact in float32.
    z = np.arange(-8 * 64, 64 + 1) / 64
    expected = np.where(z >= 0, np.floor(37 * z), -np.floor(37 * np.abs(z) / 8))
    assert count(signed(1.0, 8), z, 37).tolist() == expected.tolist()


@given(
    theta=st.integers(1, 20),
    inverse_slope=st.integers(1, 12),
    v0=st.integers(-10, 10),
    seed=st.integers(0, 2**32),
)
def test_the_balance_holds_after_every_step(theta: int, inverse_slope: int, v0: int, seed: int):
    z = np.random.default_rng(seed).integers(-40, 41, (50, 1, 6)).astype(np.float32)
    net = net_of(signed(theta, inverse_slope, v0), 6)
    result = net.compile(threads=1).run(z, record=("spikes", "v"))
    fired = result.spikes["n"].to_dense()
    up, down = (fired > 0).cumsum(0), (fired < 0).cumsum(0)
    expected = v0 + z.cumsum(0) - theta * up + theta * inverse_slope * down
    assert np.array_equal(result.v["n"], expected)
    assert set(np.unique(fired)) <= {-1, 0, 1}


def test_the_timing_of_the_drive_matters(run: Run):
    """The same drive in another order: unlike a leaky ReLU of the mean, which is 0 here."""
    first_up = drive(run, signed(4, 10), 4, -4)
    assert (spikes_of(first_up), v(first_up)) == ([1, 0], [0, -4])
    first_down = drive(run, signed(4, 10), -4, 4)
    assert (spikes_of(first_down), v(first_down)) == ([0, 0], [-4, 0])


def test_a_negative_spike_takes_the_weight_with_a_minus_sign():
    net = net_of(signed(1, 2), 2)
    net.add(ss.Linear([[3.0, 5.0]]), name="fc")
    net.readout = "sum"
    result = net.compile(threads=1).run(np.array([[1.0, -2.0]]), n_steps=3)
    assert result.output.tolist() == [[3 * (3.0 - 5.0)]]
    # A synaptic operation each, and none for the sign.
    assert result.counts.synops == 6


@pytest.mark.parametrize(("v0", "expected"), [(0.0, 0), (0.5, 1)])
def test_half_a_threshold_at_the_start_rounds_what_is_positive(v0: float, expected: int):
    # z·T = 0.5 θ: floor without, and rounded to the nearest with it.
    op = ss.Neuron(v_threshold=1.0, spikes="signed", v_threshold_neg=-10.0, v0=v0)
    assert count(op, np.array([0.125]), 4).tolist() == [expected]
