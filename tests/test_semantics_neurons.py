"""The neuron by hand: rules S3 of docs/semantics.md."""

from __future__ import annotations

import numpy as np

import spikesim as ss
from rules import Run, array, drive, f32, network, neuron, rule, spikes, v


@rule("S3.1")
def test_s3_1_parameters(run: Run) -> None:
    full = np.arange(1, 9).reshape(2, 2, 2)
    for threshold, at in (
        (2.0, np.full((2, 2, 2), 2)),
        (array(1, 3), np.array([1, 3]).reshape(2, 1, 1) * np.ones((2, 2, 2))),
        (array(1, 3).reshape(2, 1, 1), np.array([1, 3]).reshape(2, 1, 1) * np.ones((2, 2, 2))),
        (full, full),
    ):
        net = network((2, 2, 2), (ss.IF(v_threshold=threshold), "n"))
        fired = run(net).run(np.full((1, 2, 2, 2), 2.0), n_steps=1).spikes["n"][0, 0]
        assert fired.tolist() == (at <= 2).astype(float).tolist()


@rule("S3.2")
def test_s3_2_no_synapse(run: Run) -> None:
    assert v(drive(run, neuron(), 1, 0, 2)) == [1, 1, 3]


@rule("S3.3")
def test_s3_3_decay_first(run: Run) -> None:
    op = neuron(synapse="decay_first", alpha_syn=0.5, w_in=2.0)
    # i = 2, 1, 0.5 and 0.25 + 2
    assert v(drive(run, op, 1, 0, 0, 1)) == [2, 3, 3.5, 5.75]


@rule("S3.4")
def test_s3_4_decay_after(run: Run) -> None:
    op = neuron(synapse="decay_after", alpha_syn=0.5, w_in=2.0)
    # i = 1, 0.5, 0.25 and (0.25 + 2)/2
    assert v(drive(run, op, 1, 0, 0, 1)) == [1, 1.5, 1.75, 2.875]


@rule("S3.5")
def test_s3_5_leak_and_integration(run: Run) -> None:
    op = neuron(alpha_mem=0.5, v_leak=1.0, gain=2.0)
    # (1 + ½(0 − 1)) + 2·1, (1 + ½·1.5), (1 + ½·0.75) + 2·(−1)
    assert v(drive(run, op, 1, 0, -1)) == [2.5, 1.75, -0.625]
    # The leak is finished before the input comes: (1 + 2⁻²⁴ → 1) + 2⁻²⁴ → 1.
    tiny = 2.0**-24
    op = neuron(alpha_mem=0.5, v_leak=1.0, v0=1.0 + 2 * tiny)
    assert v(drive(run, op, tiny)) == [1.0]
    meta = neuron(alpha_mem=0.5, meta={"tau_mem": 123.0, "dt": 5.0})
    assert v(drive(run, meta, 1, 1)) == [1, 1.5]


@rule("S3.6")
def test_s3_6_at_or_above(run: Run) -> None:
    below = float(np.nextafter(f32(1), f32(0)))
    assert spikes(drive(run, ss.IF(v_threshold=1.0, fires=">="), 1.0)) == [1]
    assert spikes(drive(run, ss.IF(v_threshold=1.0, fires=">="), below)) == [0]


@rule("S3.7")
def test_s3_7_above(run: Run) -> None:
    above = float(np.nextafter(f32(1), f32(2)))
    assert spikes(drive(run, ss.IF(v_threshold=1.0, fires=">"), 1.0)) == [0]
    assert spikes(drive(run, ss.IF(v_threshold=1.0, fires=">"), above)) == [1]


@rule("S3.8")
def test_s3_8_adaptive_threshold(run: Run) -> None:
    op = ss.IF(v_threshold=1.0, theta_plus=0.5, alpha_theta=0.5)
    outcome = drive(run, op, 1, 1, 1, 1, 1)
    # θ = 1, 1.25, 1.125, 1.3125, 1.40625; the reset takes the θ in force.
    assert spikes(outcome) == [1, 0, 1, 1, 1]
    assert v(outcome) == [0, 1, 0.875, 0.5625, 0.15625]


@rule("S3.9")
def test_s3_9_single(run: Run) -> None:
    outcome = drive(run, ss.IF(v_threshold=1.0), 3, 0, 0, 0)
    assert spikes(outcome) == [1, 1, 1, 0]
    assert v(outcome) == [2, 1, 0, 0]


@rule("S3.10")
def test_s3_10_multi(run: Run) -> None:
    outcome = drive(run, ss.IF(v_threshold=1.5, spikes="multi"), 5, -8, 6.5, 2.5)
    assert spikes(outcome) == [3, 0, 0, 1]
    assert v(outcome) == [0.5, -7.5, -1, 0]
    outcome = drive(run, ss.IF(v_threshold=1.0, spikes="multi", max_spikes=2), 3.5, 0, 0)
    assert spikes(outcome) == [2, 1, 0]
    assert v(outcome) == [1.5, 0.5, 0.5]
    # Adaptation grows by the number of spikes: θ = 1, then 1 + 3·0.5·1.
    op = ss.IF(v_threshold=1.0, spikes="multi", theta_plus=0.5, alpha_theta=1.0)
    assert spikes(drive(run, op, 3, 2.5, 2)) == [3, 1, 0]


@rule("S3.11")
def test_s3_11_signed(run: Run) -> None:
    op = ss.IF(v_threshold=1.0, spikes="signed", v_threshold_neg=-2.0)
    outcome = drive(run, op, -2, 1, -1, -4, 0, 0)
    assert spikes(outcome) == [-1, 1, 0, -1, -1, 0]
    assert v(outcome) == [0, 0, -1, -3, -1, -1]
    op = ss.IF(v_threshold=1.0, spikes="signed", v_threshold_neg=-2.0, fires=">")
    assert spikes(drive(run, op, -2, -0.5)) == [0, -1]
    # Adaptation moves the upper threshold alone.
    op = ss.IF(
        v_threshold=1.0, spikes="signed", v_threshold_neg=-1.0, theta_plus=1.0, alpha_theta=1.0
    )
    assert spikes(drive(run, op, 1, 1.5, -2.5)) == [1, 0, -1]
    # and a spike of either sign moves it up.
    assert spikes(drive(run, op, -1, 1.5)) == [-1, 0]
    # Where both tests hold, the upper one decides.
    op = ss.IF(
        v_threshold=-1.0,
        v_reset=-2.0,
        reset="to_value",
        spikes="signed",
        v_threshold_neg=-0.5,
        v0=-2.0,
    )
    assert spikes(drive(run, op, 1.25)) == [1]


@rule("S3.12")
def test_s3_12_none(run: Run) -> None:
    net = network((1,), (ss.LI(alpha_mem=0.5), "n"), (ss.Scale(2.0), "s"))
    outcome = run(net).run(array(1, 1, -4).reshape(3, 1, 1))
    assert v(outcome) == [1, 1.5, -3.25]
    assert outcome.output.tolist() == [[2 * (1 + 1.5 - 3.25)]]
    assert outcome.counts["spikes"]["n"].tolist() == [[0], [0], [0]]
    op = ss.CubaLI(alpha_mem=0.5, alpha_syn=0.5, v_min=-1.0)
    # i = 1, 0.5, −3.75
    assert v(drive(run, op, 1, 0, -4)) == [1, 1, -1]


@rule("S3.13")
def test_s3_13_subtract(run: Run) -> None:
    outcome = drive(run, ss.IF(v_threshold=0.75, reset="subtract"), 1, 0.5, 1)
    assert spikes(outcome) == [1, 1, 1]
    assert v(outcome) == [0.25, 0, 0.25]
    op = ss.IF(v_threshold=1.0, spikes="signed", v_threshold_neg=-0.5)
    assert v(drive(run, op, -2)) == [-1.5]


@rule("S3.14")
def test_s3_14_to_value(run: Run) -> None:
    outcome = drive(run, ss.IF(v_threshold=1.0, reset="to_value", v_reset=0.25), 3, 0.5, 0.25)
    assert spikes(outcome) == [1, 0, 1]
    assert v(outcome) == [0.25, 0.75, 0.25]
    op = ss.IF(
        v_threshold=1.0, reset="to_value", v_reset=0.25, spikes="signed", v_threshold_neg=-1.0
    )
    assert v(drive(run, op, -3)) == [0.25]
    op = ss.IF(v_threshold=1.0, reset="to_value", v_reset=0.25, spikes="multi")
    outcome = drive(run, op, 3.5, 0)
    assert (spikes(outcome), v(outcome)) == ([3, 0], [0.25, 0.25])


@rule("S3.15")
def test_s3_15_no_reset(run: Run) -> None:
    outcome = drive(run, ss.IF(v_threshold=1.0, reset="none"), 1, 0.5, -1, 0)
    assert spikes(outcome) == [1, 1, 0, 0]
    assert v(outcome) == [1, 1.5, 0.5, 0.5]
    op = ss.IF(v_threshold=1.0, reset="none", reset_timing="next_step_after")
    assert spikes(drive(run, op, 1, 0, 0)) == [1, 1, 1]


@rule("S3.16")
def test_s3_16_same_step(run: Run) -> None:
    op = ss.LIF(v_threshold=1.0, alpha_mem=0.5, reset_timing="same_step")
    outcome = drive(run, op, 1.5, 1, 0)
    # 1.5 − 1; 0.25 + 1 − 1; 0.125
    assert spikes(outcome) == [1, 1, 0]
    assert v(outcome) == [0.5, 0.25, 0.125]


@rule("S3.17")
def test_s3_17_next_step_before(run: Run) -> None:
    timing = "next_step_before"
    op = ss.LIF(v_threshold=1.0, alpha_mem=0.5, reset_timing=timing)
    outcome = drive(run, op, 1.5, 1, 0)
    # 1.5; ½(1.5 − 1) + 1; ½(1.25 − 1)
    assert spikes(outcome) == [1, 1, 0]
    assert v(outcome) == [1.5, 1.25, 0.125]
    op = ss.LIF(v_threshold=1.0, alpha_mem=0.5, reset_timing=timing, reset="to_value")
    outcome = drive(run, op, 1.5, 1, 0.5)
    assert spikes(outcome) == [1, 1, 0]
    assert v(outcome) == [1.5, 1, 0.5]
    # ρ uses the same comparison as the spike.
    op = ss.IF(v_threshold=1.0, reset_timing=timing, fires=">")
    assert v(drive(run, op, 1, 0, 0.5, 0)) == [1, 1, 1.5, 0.5]


@rule("S3.18")
def test_s3_18_next_step_after(run: Run) -> None:
    timing = "next_step_after"
    op = ss.LIF(v_threshold=1.0, alpha_mem=0.5, reset_timing=timing)
    outcome = drive(run, op, 1.5, 1, 0)
    # 1.5; ½·1.5 + 1 − 1; ½·0.75
    assert spikes(outcome) == [1, 0, 0]
    assert v(outcome) == [1.5, 0.75, 0.375]
    op = ss.LIF(v_threshold=1.0, alpha_mem=0.5, reset_timing=timing, reset="to_value", v_reset=-0.5)
    outcome = drive(run, op, 1.5, 3, 1.5)
    # the 3 of the second step is lost
    assert spikes(outcome) == [1, 0, 1]
    assert v(outcome) == [1.5, -0.5, 1.25]


@rule("S3.19")
def test_s3_19_same_step_guarded(run: Run) -> None:
    op = ss.IF(v_threshold=1.0, reset_timing="same_step_guarded")
    outcome = drive(run, op, 2.5, 0, 1, -0.25, -0.5)
    # 2.5 fires, 1.5 left; 1.5 − 1 does not fire and is given back; 2.5 − 1 fires and stays;
    # 1.25 − 1 does not; 0.75 − 0 … the membrane is 1.25 before, so 0.75 − 1 does not either.
    assert spikes(outcome) == [1, 0, 1, 0, 0]
    assert v(outcome) == [1.5, 1.5, 1.5, 1.25, 0.75]


@rule("S3.20")
def test_s3_20_order(run: Run) -> None:
    outcome = drive(run, ss.IF(v_threshold=1.0, order="A"), 1.5, 0, 0)
    assert (spikes(outcome), v(outcome)) == ([1, 0, 0], [0.5, 0.5, 0.5])
    outcome = drive(run, ss.IF(v_threshold=1.0, order="B"), 1.5, 0, 0)
    assert (spikes(outcome), v(outcome)) == ([0, 1, 0], [1.5, 0.5, 0.5])
    # It leaks before the reset.
    outcome = drive(run, ss.LIF(v_threshold=1.0, alpha_mem=0.5, order="B"), 1.5, 0.25, 0)
    assert (spikes(outcome), v(outcome)) == ([0, 1, 0], [1.5, 0, 0])
    op = ss.IF(v_threshold=1.0, order="B", reset="to_value", v_reset=0.25)
    outcome = drive(run, op, 1.5, 5, 0)
    assert (spikes(outcome), v(outcome)) == ([0, 1, 0], [1.5, 0.25, 0.25])


@rule("S3.21")
def test_s3_21_v_min(run: Run) -> None:
    outcome = drive(run, ss.IF(v_threshold=1.0, v_min=-1.0), -5, 2, -0.5)
    assert spikes(outcome) == [0, 1, 0]
    assert v(outcome) == [-1, 0, -0.5]
    # After the reset: 3 − 4 would be −1.
    assert v(drive(run, ss.IF(v_threshold=4.0, v_min=0.5), 4)) == [0.5]


@rule("S3.22")
def test_s3_22_refractory(run: Run) -> None:
    op = ss.LIF(v_threshold=1.0, alpha_mem=0.5, reset="to_value", v_reset=0.5, refractory=2)
    outcome = drive(run, op, 1, 5, 5, 0.25, 1)
    # silent in steps 1 and 2, v kept without a leak; then ½·½ + ¼, ½·½ + 1
    assert spikes(outcome) == [1, 0, 0, 0, 1]
    assert v(outcome) == [0.5, 0.5, 0.5, 0.5, 0.5]
    assert spikes(drive(run, ss.IF(v_threshold=1.0, refractory=1), 1, 1, 1, 1)) == [1, 0, 1, 0]
    # The synaptic current goes on: i = 1, 0.5, 0.25.
    op = ss.CubaLIF(v_threshold=1.0, alpha_mem=1.0, alpha_syn=0.5, refractory=1)
    assert v(drive(run, op, 1, 0, 0)) == [0, 0, 0.25]
    # The adaptation too: a = 1, ½, ¼ and θ = 1.25 in step 2.
    op = ss.IF(v_threshold=1.0, theta_plus=1.0, alpha_theta=0.5, refractory=1)
    assert spikes(drive(run, op, 1, 9, 1.25)) == [1, 0, 1]


@rule("S3.23")
def test_s3_23_spike_amplitude(run: Run) -> None:
    op = ss.IF(v_threshold=1.0, spikes="multi", spike_amplitude=0.25)
    net = network((1,), (op, "n"), (neuron(), "next"))
    outcome = run(net).run(array(2.5, 0.5).reshape(2, 1, 1))
    assert spikes(outcome) == [2, 1]
    assert v(outcome) == [0.5, 0]
    assert outcome.current["next"].ravel().tolist() == [0.5, 0.25]


@rule("S3.24")
def test_s3_24_names(run: Run) -> None:
    xs = (1, 0.5, -1, 2)
    for named, plain in (
        (ss.IF(v_threshold=1.0), ss.Neuron(v_threshold=1.0)),
        (ss.LIF(v_threshold=1.0, alpha_mem=0.5), ss.Neuron(v_threshold=1.0, alpha_mem=0.5)),
        (
            ss.CubaLIF(v_threshold=1.0, alpha_mem=0.5, alpha_syn=0.25),
            ss.Neuron(
                v_threshold=1.0, alpha_mem=0.5, alpha_syn=0.25, w_in=1.0, synapse="decay_first"
            ),
        ),
    ):
        a, b = drive(run, named, *xs), drive(run, plain, *xs)
        assert (spikes(a), v(a)) == (spikes(b), v(b))
    for named, plain in (
        (ss.LI(alpha_mem=0.5), ss.Neuron(alpha_mem=0.5, spikes="none")),
        (
            ss.CubaLI(alpha_mem=0.5, alpha_syn=0.25),
            ss.Neuron(
                alpha_mem=0.5, alpha_syn=0.25, w_in=1.0, synapse="decay_first", spikes="none"
            ),
        ),
    ):
        assert v(drive(run, named, *xs)) == v(drive(run, plain, *xs))


@rule("S3.25")
def test_s3_25_records(run: Run) -> None:
    op = ss.CubaLIF(v_threshold=1.0, alpha_mem=1.0, alpha_syn=0.5, v_min=-0.25)
    net = network((1,), (op, "n"), (ss.LI(alpha_mem=1.0), "li", "input"))
    outcome = run(net).run(array(1.5, -4).reshape(2, 1, 1))
    assert spikes(outcome) == [1, 0]
    assert v(outcome) == [0.5, -0.25]  # 0.5 + (0.75 − 4), clamped
    assert outcome.current["n"].ravel().tolist() == [1.5, -4]
    assert v(outcome, "li") == [1.5, -2.5]
    assert outcome.spikes.keys() == {"n"}
    assert outcome.v.keys() == outcome.current.keys() == {"n", "li"}


@rule("S3.26")
def test_s3_26_alpha(run: Run) -> None:
    fields = {
        "synapse": "alpha",
        "alpha_syn": 0.5,
        "alpha_inh": 0.25,
        "w_in": 2.0,
        "gain": 4.0,
        "alpha_mem": 0.0,
    }
    # i = 2, 1, 0.5, 0.25; n = −2, −0.5, −0.125, −0.03125; v = 4(i + n)
    pulse = (1, 0, 0, 0)
    alone = [0, 2, 1.5, 0.875]
    assert v(drive(run, neuron(**fields, reset="none"), *pulse)) == alone
    assert v(drive(run, ss.Neuron(**fields, spikes="none"), *pulse)) == alone
    never = {"fires": ">", "reset": "none", "v_threshold": 1.75}
    outcome = drive(run, ss.Neuron(**fields, **never), *pulse)
    assert v(outcome) == alone
    assert spikes(outcome) == [0, 1, 0, 0]
    # The reset comes a step late, to the currents: at step 2 i = 0.5 − 1.75, n = 0, and v gets
    # the n that was there before, −0.5; then i = −0.625, n = 0.
    fields |= {"fires": ">", "v_threshold": 1.75, "reset_timing": "next_step_after"}
    outcome = drive(run, ss.Neuron(**fields), *pulse)
    assert v(outcome) == [0, 2, 1.5 - 0.5, 4 * -0.625]
    assert spikes(outcome) == [0, 1, 0, 0]
    # To a value: currents and membrane are gone, with what arrived in that step.
    outcome = drive(run, ss.Neuron(**fields, reset="to_value", v_reset=-1.0), 1, 0, 1, 0, 1, 0)
    assert v(outcome) == [0, 2, -1, 0, 0, 2]
    assert spikes(outcome) == [0, 1, 0, 0, 0, 1]
    # i0 is the start of i; n starts at 0.
    assert v(drive(run, ss.Neuron(**fields, i0=0.5), 0, 0)) == [1, 0.5]
