"""One test per rule of docs/semantics.md, worked out by hand, for the reference and the engine.

Here: time, silence, start, ties, readouts, tiny values, what cannot be said (S1, S4 to S9); the
other files hold S2, S3 and S10. `@rule` says which rules a test holds; a test at the end compares
that with the document.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikesim as ss
from rules import RULES, Run, array, drive, f32, network, neuron, rule, spikes, v
from spikesim.errors import GraphError, InputError, ShapeError, UnsupportedError

# S1 Time


@rule("S1.1")
def test_s1_1_steps(run: Run) -> None:
    results = []
    for dt in (None, 1e-3, 5.0):
        net = ss.Network((1,), dt=dt)
        net.add(ss.IF(v_threshold=1.0), name="n")
        outcome = run(net).run(np.full((1, 1), 0.5), n_steps=5)
        assert outcome.v["n"].shape == (5, 1, 1)
        results.append(spikes(outcome))
    assert results == [[0, 1, 0, 1, 0]] * 3
    for steps in (0, -1):
        with pytest.raises(InputError):
            run(net).run(np.full((1, 1), 0.5), n_steps=steps)
    with pytest.raises(InputError):
        run(net).run(np.zeros((0, 1, 1)))


@rule("S1.2")
def test_s1_2_order_in_a_step(run: Run) -> None:
    # Declared against the flow: `late` feeds `first`, which was added before it.
    net = network(
        (1,),
        (ss.IF(v_threshold=1.0), "first"),
        (ss.IF(v_threshold=1.0), "second"),
        (ss.IF(v_threshold=1.0), "third"),
        (ss.Linear(array([2.0])), "late", "input"),
    )
    net.connect("late", "first", delay=0)
    net.output = "third"
    outcome = run(net).run(array(0.5, 0.0).reshape(2, 1, 1))
    # 0.5 + 2·0.5 arrives in the step of the input and its spike reaches the end in that step.
    for name in ("first", "second", "third"):
        assert spikes(outcome, name) == [1, 0]
    assert outcome.current["first"].ravel().tolist() == [1.5, 0]


@rule("S1.3")
def test_s1_3_delays(run: Run) -> None:
    net = network((1,), (ss.Linear(array([1.0]), array(0.25)), "fc"), (neuron(), "n", "input"))
    net.connect("fc", "n", delay=2)
    net.output = "n"
    outcome = run(net).run(array(1, 2, 4, 8).reshape(4, 1, 1))
    # The input itself at once; input + bias two steps later, and no bias before that.
    assert outcome.current["n"].ravel().tolist() == [1, 2, 4 + 1.25, 8 + 2.25]
    # Several delays of one source.
    net = network((1,), (neuron(), "n", [("input", 3), ("input", 1)]))
    net.connect("input", "n", delay=2)
    outcome = run(net).run(array(1, 10, 100, 1000, 0, 0).reshape(6, 1, 1))
    assert outcome.current["n"].ravel().tolist() == [0, 1, 11, 111, 1110, 1100]


@rule("S1.4")
def test_s1_4_cycles(run: Run) -> None:
    net = network((1,), (ss.Linear(array([1.0])), "fc"), (ss.IF(v_threshold=1.0), "n"))
    with pytest.raises(GraphError, match="fc"):
        net.connect("n", "fc", delay=0)
    net = network((1,), (ss.Linear(array([1.0])), "fc"), (ss.Scale(2.0), "s"))
    with pytest.raises(GraphError, match="fc"):
        net.connect("s", "fc", delay=1)
    net = network((1,), (ss.Linear(array([1.0])), "fc"), (ss.IF(v_threshold=1.0), "n"))
    net.connect("n", "fc", delay=1)
    outcome = run(net).run(array(1, 0, 0, 0).reshape(4, 1, 1))
    assert spikes(outcome) == [1, 1, 1, 1]  # its own spike comes back a step later


@rule("S1.5")
def test_s1_5_runs_in_pieces(run: Run) -> None:
    net = network((1,), (ss.IF(v_threshold=1.0), "a"), (ss.IF(v_threshold=1.0), "b", "input"))
    net.connect("a", "b", delay=2)
    xs = array(0.5, 0.5, 0.25, 0.25, 0, 0).reshape(6, 1, 1)
    whole = [0, 1, 0, 2.0 - 1, 0, 0]
    # a fires at 1; two steps later b gets it on top of 0.25 (+ 0.25 + 0): 1.5, one spike, 0.5 left.
    assert spikes(run(net).run(xs), "a") == [0, 1, 0, 0, 0, 0]
    first_whole = run(net).run(xs)
    assert spikes(first_whole, "b") == whole
    for cut in range(1, 6):
        runner = run(net)
        parts = [runner.run(xs[:cut]), runner.run(xs[cut:], reset=False)]
        assert [s for part in parts for s in spikes(part, "b")] == whole
        assert [s for part in parts for s in v(part, "b")] == v(first_whole, "b")
        assert [int(part.output.item()) for part in parts] == [sum(whole[:cut]), sum(whole[cut:])]
    net.readout = "first_spike"
    runner = run(net)
    runner.run(xs[:2])
    assert runner.run(xs[2:], reset=False).output.tolist() == [[1.0]]  # counted from its own start


@rule("S1.6")
def test_s1_6_input(run: Run) -> None:
    net = network((2,), (ss.IF(v_threshold=1.0), "n"))
    constant = array([0.5, 0.25])
    raster = np.repeat(constant[None], 4, axis=0)
    expected = [[[0, 0]], [[1, 0]], [[0, 0]], [[1, 1]]]
    assert run(net).run(constant, n_steps=4).spikes["n"].tolist() == expected
    assert run(net).run(raster).spikes["n"].tolist() == expected
    assert run(net).run(raster[:, 0], layout="T").spikes["n"].tolist() == expected
    with pytest.raises(InputError):
        run(net).run(raster, n_steps=3)
    with pytest.raises(InputError):
        run(net).run(constant)
    for wrong in ((2,), (1, 3), (1, 1, 1, 2), (4, 1, 3)):
        with pytest.raises(ShapeError):
            run(net).run(np.zeros(wrong), n_steps=4)


@rule("S1.7")
def test_s1_7_input_values(run: Run) -> None:
    net = network((1,), (neuron(), "n"))

    def current(x: Any) -> float:
        return float(run(net).run(x, n_steps=1).current["n"].item())

    for dtype in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">f4"):
        assert current(np.array([[3]], dtype=dtype)) == 3.0
    assert current(np.array([[True]])) == 1.0
    assert current(np.array([[0.1]])) == float(f32(0.1))
    assert current(np.array([[2**24 + 1]])) == 2.0**24
    for wrong in (1j, "1", None, np.nan, np.inf, -np.inf, 1e39):
        with pytest.raises(InputError):
            current(np.array([[wrong]]))


@rule("S1.8")
def test_s1_8_samples(run: Run) -> None:
    net = network((1,), (ss.IF(v_threshold=1.0), "n"))
    x = array([1.0], [0.5], [0.25], [0.0])
    together = run(net).run(x, n_steps=4).spikes["n"][:, :, 0].T.tolist()
    assert together == [[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    for sample, expected in zip(x, together, strict=True):
        assert spikes(run(net).run(sample[None], n_steps=4)) == expected


# S4 Silent steps


@rule("S4.1")
def test_s4_1_silent_steps(run: Run) -> None:
    alpha, steps = f32(0.9), 40
    membrane, expected = f32(1), []
    for _ in range(steps):
        membrane = alpha * membrane
        expected.append(float(membrane))
    assert expected != [float(f32(float(alpha) ** k)) for k in range(1, steps + 1)]
    assert v(drive(run, ss.LI(alpha_mem=alpha, v0=1.0), *[0.0] * steps)) == expected


@rule("S4.2")
def test_s4_2_firing_without_input(run: Run) -> None:
    silence = (0, 0, 0, 0)
    # a bias
    net = network((1,), (ss.Linear(array([0]), array(0.5)), "fc"), (ss.IF(v_threshold=1.0), "n"))
    assert spikes(run(net).run(np.zeros((4, 1, 1)))) == [0, 1, 0, 1]
    # what is left above the threshold
    assert spikes(drive(run, ss.IF(v_threshold=1.0), 3, 0, 0, 0)) == [1, 1, 1, 0]
    # a synaptic current
    op = ss.CubaLIF(v_threshold=1.5, alpha_mem=1.0, alpha_syn=0.5, i0=2.0)
    assert spikes(drive(run, op, *silence)) == [0, 1, 0, 0]
    # a threshold that falls: θ = 1, 3, 2, 1.5 and v stays 1.75
    op = ss.IF(v_threshold=1.0, theta_plus=4.0, alpha_theta=0.5, v0=1.75)
    assert spikes(drive(run, op, 1.0, 0, 0, 0)) == [1, 0, 0, 1]
    # a leak towards a value above the threshold: 0.75, 1.125 − 1, 0.8125, 1.15625
    op = ss.LIF(v_threshold=1.0, alpha_mem=0.5, v_leak=1.5)
    assert spikes(drive(run, op, *silence)) == [0, 1, 0, 1]


# S5 Start


@rule("S5.1")
def test_s5_1_v0_and_i0(run: Run) -> None:
    assert v(drive(run, neuron(v0=0.75), 0)) == [0.75]
    op = neuron(synapse="decay_first", alpha_syn=0.5, w_in=1.0, i0=2.0)
    assert v(drive(run, op, 0)) == [1]
    op = neuron(synapse="decay_after", alpha_syn=0.5, w_in=1.0, i0=2.0, v0=-1.0)
    assert v(drive(run, op, 2)) == [1]
    assert v(drive(run, neuron(alpha_mem=0.5, v_leak=1.0), 0)) == [0.5]  # from 0, not from v_leak


@rule("S5.2")
def test_s5_2_the_rest(run: Run) -> None:
    op = ss.IF(v_threshold=1.0, theta_plus=5.0, alpha_theta=1.0, refractory=3)
    net = network((1,), (op, "n"))
    net.connect("n", "n", delay=1)
    outcome = run(net).run(array([1.0]), n_steps=1)
    assert spikes(outcome) == [1]
    assert outcome.current["n"].item() == 1


@rule("S5.3")
def test_s5_3_reset(run: Run) -> None:
    net = network((1,), (ss.IF(v_threshold=1.0, v0=0.25), "n"))
    runner = run(net)
    x = array([0.5])
    assert spikes(runner.run(x, n_steps=2)) == [0, 1]
    assert spikes(runner.run(x, n_steps=2)) == [0, 1]
    assert spikes(runner.run(x, n_steps=2, reset=False)) == [0, 1]
    assert v(runner.run(x, n_steps=1, reset=False)) == [0.75]


# S6 Ties


@rule("S6.1")
def test_s6_1_predictions(run: Run) -> None:
    net = network((1, 2, 2), (ss.Scale(1.0), "s"))
    x = array([[[0, 3], [3, 1]]], [[[-1, -1], [-1, -1]]], [[[0, 0], [0, 5]]])
    assert run(net).run(x, n_steps=1).predictions.tolist() == [1, 0, 3]


@rule("S6.2")
def test_s6_2_first_spike(run: Run) -> None:
    net = network((3,), (ss.IF(v_threshold=1.0), "n"))
    net.readout = "first_spike"
    x = array([0.5, 1, 1], [0, 0, 0], [0, 0.25, 0.5])
    assert run(net).run(x, n_steps=3).predictions.tolist() == [1, 0, 2]


# S7 Readouts


def read(run: Run, op: Any, readout: str | None, *xs: float) -> float:
    net = network((1,), (op, "n"))
    net.readout = readout
    return float(run(net).run(array(*xs).reshape(-1, 1, 1)).output.item())


@rule("S7.1")
def test_s7_1_default(run: Run) -> None:
    half = ss.IF(v_threshold=1.0, spike_amplitude=0.5)
    assert read(run, half, None, 1, 1) == 2
    assert read(run, ss.LI(alpha_mem=1.0), None, 1, 1) == 3
    assert read(run, ss.Scale(2.0), None, 1, 1) == 4


@rule("S7.2")
def test_s7_2_sum(run: Run) -> None:
    half = ss.IF(v_threshold=1.0, spike_amplitude=0.5)
    assert read(run, half, "sum", 1, 0, 1) == 1
    assert read(run, ss.LI(alpha_mem=0.5), "sum", 1, 0, 1) == 1 + 0.5 + 1.25
    assert read(run, ss.Scale(1.0), "sum", 1e8, 1, -1e8) == 0
    assert read(run, ss.Scale(1.0), "sum", 1e8, -1e8, 1) == 1


@rule("S7.3")
def test_s7_3_mean(run: Run) -> None:
    assert read(run, ss.Scale(1.0), "mean", 4, 1, 0) == float(f32(5) / f32(3))
    assert read(run, ss.IF(v_threshold=1.0), "mean", 1, 0) == 0.5


@rule("S7.4")
def test_s7_4_last_v(run: Run) -> None:
    assert read(run, ss.IF(v_threshold=1.0), "last_v", 0.5, 0.75) == 0.25
    assert read(run, ss.LI(alpha_mem=0.5), "last_v", 4, 1) == 3


@rule("S7.5")
def test_s7_5_max_v(run: Run) -> None:
    assert read(run, ss.IF(v_threshold=1.0), "max_v", 0.5, 0.75, 0.0) == 0.5
    assert read(run, ss.LI(alpha_mem=1.0), "max_v", -3, 1, -1) == -2
    # of this run alone
    net = network((1,), (ss.LI(alpha_mem=0.5), "n"))
    net.readout = "max_v"
    runner = run(net)
    assert runner.run(array([8.0]), n_steps=1).output.item() == 8
    assert runner.run(array([0.0]), n_steps=1, reset=False).output.item() == 4


@rule("S7.6")
def test_s7_6_count(run: Run) -> None:
    signed = ss.IF(v_threshold=1.0, spikes="signed", v_threshold_neg=-1.0, spike_amplitude=3.0)
    assert read(run, signed, "count", 1, -1, -1) == -1
    assert read(run, ss.IF(v_threshold=1.0, spikes="multi"), "count", 3, 2) == 5


@rule("S7.7")
def test_s7_7_first_spike(run: Run) -> None:
    assert read(run, ss.IF(v_threshold=1.0), "first_spike", 0.5, 0.5, 1) == 1
    assert read(run, ss.IF(v_threshold=1.0), "first_spike", 0.25, 0.25, 0.25) == 3
    signed = ss.IF(v_threshold=1.0, spikes="signed", v_threshold_neg=-1.0)
    assert read(run, signed, "first_spike", -1, 1) == 0


@rule("S7.4", "S7.5", "S7.6", "S7.7")
def test_s7_readouts_that_need_a_population(run: Run) -> None:
    for op, readouts in (
        (ss.Scale(1.0), ("last_v", "max_v", "count", "first_spike")),
        (ss.LI(alpha_mem=1.0), ("count", "first_spike")),
    ):
        for readout in readouts:
            with pytest.raises(GraphError, match=readout):
                read(run, op, readout, 1)


# S8 Tiny values


@rule("S8.1")
def test_s8_1_flush(run: Run) -> None:
    tiny = f32(1e-30)
    li = ss.LI(alpha_mem=0.5, v0=[2 * tiny, -2 * tiny, 1.9 * tiny, -1.9 * tiny])
    outcome = run(network((4,), (li, "n"))).run(np.zeros((1, 4)), n_steps=2)
    assert outcome.v["n"][0, 0].tolist() == [float(tiny), -float(tiny), 0, 0]
    assert outcome.v["n"][1, 0].tolist() == [0, 0, 0, 0]
    # A tiny input stays until it is decayed, even by α = 1.
    small = float(f32(1e-35))
    assert v(drive(run, neuron(), small, 0)) == [small, 0]
    # Measured from v_leak.
    assert v(drive(run, neuron(alpha_mem=0.5, v_leak=1.0, v0=1.0), 0)) == [1]
    # Synaptic currents: i = 1e-30·1.9 decays to nothing in both forms, 2e-30 does not.
    gain = {"gain": 2.0**100}
    first = neuron(synapse="decay_first", alpha_syn=0.5, w_in=1.0, i0=1.9 * tiny, **gain)
    after = neuron(synapse="decay_after", alpha_syn=0.5, w_in=1.0, **gain)
    assert v(drive(run, first, 0)) == [0]
    assert v(drive(run, first, small)) == [float(f32(small) * f32(2.0**100))]
    assert v(drive(run, after, 1.9 * tiny)) == [0]
    assert v(drive(run, after, 2 * tiny)) == [float(tiny * f32(2.0**100))]
    # The adaptation: without the flush θ would be above 0 + 1.5e-30.
    op = ss.IF(
        v_threshold=float(tiny), theta_plus=float(1.5 * tiny), alpha_theta=0.5, v0=float(tiny)
    )
    assert spikes(drive(run, op, 0, float(tiny))) == [1, 1]


# S9 What cannot be said


@rule("S9.1")
@pytest.mark.parametrize(
    "fields",
    [
        {"spikes": spikes, **fields}
        for spikes in ("multi", "signed")
        for fields in (
            {"reset_timing": "next_step_before"},
            {"reset_timing": "next_step_after"},
            {"reset_timing": "same_step_guarded"},
            {"order": "B"},
        )
    ]
    + [{"spikes": "multi", "fires": ">"}]
    + [{"reset_timing": "same_step_guarded", "reset": reset} for reset in ("to_value", "none")]
    + [
        {"order": "B", "reset_timing": timing}
        for timing in ("next_step_before", "next_step_after", "same_step_guarded")
    ]
    + [
        {**fields, **rest}
        for fields in ({"refractory": 1}, {"theta_plus": 0.5, "alpha_theta": 0.5})
        for rest in (
            {"reset_timing": "next_step_before"},
            {"reset_timing": "next_step_after"},
            {"reset_timing": "same_step_guarded"},
            {"order": "B"},
            {"spikes": "none"},
        )
    ]
    + [{"spikes": "none", "order": "B"}, {"spikes": "none", "reset_timing": "next_step_after"}]
    + [
        {"synapse": "alpha", "alpha_syn": 0.5, "w_in": 1.0, "alpha_inh": 0.5, **rest}
        for rest in (
            {},
            {"reset": "to_value"},
            {"reset_timing": "next_step_before"},
            {"reset_timing": "same_step_guarded"},
            {"reset": "none", "order": "B"},
        )
    ],
    ids=lambda fields: ",".join(f"{k}={v}" for k, v in fields.items()),
)
def test_s9_1_unsupported(fields: dict[str, Any]) -> None:
    if fields.get("spikes") == "signed":
        fields = {**fields, "v_threshold_neg": -1.0}
    net = ss.Network((1,))
    with pytest.raises(UnsupportedError):
        net.add(ss.Neuron(v_threshold=1.0, **fields), name="n")
    assert len(net.nodes) == 1


@rule("S9.2")
@pytest.mark.parametrize(
    "fields",
    [
        *({name: bad} for name in ("v_leak", "gain", "v0", "v_min") for bad in (np.nan, np.inf)),
        {"v_threshold": 0.0},
        {"v_threshold": [1.0, -1.0]},
        {"v_threshold": 0.0, "reset": "none", "spikes": "multi"},
        {"v_threshold": 1.0, "v_reset": 1.0, "reset": "to_value"},
        {"v_threshold": 1.0, "v_reset": [0.0, 2.0], "reset": "to_value"},
        {"spikes": "signed", "v_threshold_neg": 0.0},
        {"spikes": "multi", "max_spikes": 0},
        {"theta_plus": -0.5, "alpha_theta": 0.5},
        {"theta_plus": 0.5, "alpha_theta": -0.5},
        {"theta_plus": 0.5},
        {"alpha_theta": 0.5},
        {"spikes": "signed"},
        {"v_threshold_neg": -1.0},
        {"max_spikes": 2},
        {"synapse": "decay_first", "alpha_syn": 0.5},
        {"alpha_syn": 0.5},
        {"alpha_inh": 0.5},
        {"synapse": "alpha", "alpha_syn": 0.5, "w_in": 1.0, "reset": "none"},
        *(
            {"synapse": "alpha", "alpha_syn": 0.5, "w_in": 1.0, "alpha_inh": 0.5, **rest}
            for rest in (
                {"reset": "none"},
                {"spikes": "none", "alpha_mem": [0.0, 0.5]},
                {"reset_timing": "next_step_after", "alpha_mem": 0.0, "v_leak": 0.5},
            )
        ),
    ],
    ids=lambda fields: ",".join(f"{k}={v}" for k, v in fields.items()),
)
def test_s9_2_meaningless(fields: dict[str, Any]) -> None:
    net = ss.Network((2,))
    with pytest.raises(GraphError):
        net.add(ss.Neuron(**{"v_threshold": 1.0, **fields}), name="n")
    assert len(net.nodes) == 1


# The document


def held() -> dict[str, list[str]]:
    """Every rule that some test marks, from all the files."""
    for name in ("sums", "pools", "neurons", "delays", "counts", "streams"):
        importlib.import_module(f"test_semantics_{name}")
    return RULES


def test_every_rule_has_a_test_and_every_test_a_rule(root_dir: Path) -> None:
    text = (root_dir / "docs" / "semantics.md").read_text(encoding="utf-8")
    stated = re.findall(r"^- \*\*(S\d+\.\d+) ", text, flags=re.MULTILINE)
    assert len(stated) == len(set(stated)), "a number is used twice"
    rules = held()
    assert sorted(stated) == sorted(rules)
    listed = dict(re.findall(r"^\| (S\d+\.\d+) \| (.+?) \|$", text, flags=re.MULTILINE))
    assert listed.keys() == set(stated), "the table at the end"
    for number, tests in rules.items():
        for test in tests:
            assert f"`{test}`" in listed[number], number


def test_every_test_that_the_document_names_exists(root_dir: Path) -> None:
    text = (root_dir / "docs" / "semantics.md").read_text(encoding="utf-8")
    for file, test in set(re.findall(r"`(tests/\w+\.py)::(\w+)`", text)):
        source = (root_dir / file).read_text(encoding="utf-8")
        assert f"def {test}(" in source, f"{file}::{test}"
