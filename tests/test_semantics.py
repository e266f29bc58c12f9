"""One test per rule of docs/semantics.md, worked out by hand, for the reference and the engine.

The numbers are dyadic, so every step of a calculation is exact unless the rule is about rounding.
`@rule` says which rules a test holds; a test at the end compares that with the document.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikesim as ss
from engines import Engine, Outcome, Reference
from spikesim.errors import GraphError, InputError, ShapeError, UnsupportedError

RULES: dict[str, list[str]] = {}
NEVER = 1e6  # a threshold out of reach

f32 = np.float32
Run = Callable[..., Any]


def rule(*numbers: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Marks the test that holds the rules `numbers`."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        for number in numbers:
            RULES.setdefault(number, []).append(test.__name__)
        return test

    return mark


@pytest.fixture(params=["reference", "engine"])
def run(request: pytest.FixtureRequest) -> Run:
    """`run(net)` gives something with `.run(x, n_steps, reset, layout)`."""
    return {"reference": Reference, "engine": Engine}[request.param]


def array(*values: Any) -> np.ndarray:
    return np.array(values, dtype=f32)


def network(shape: tuple[int, ...], *nodes: tuple[Any, ...]) -> ss.Network:
    """Nodes (op, name[, inputs]) in a row."""
    net = ss.Network(shape)
    for op, name, *inputs in nodes:
        net.add(op, name=name, inputs=inputs[0] if inputs else None)
    return net


def drive(run: Run, op: ss.Neuron, *xs: float) -> Outcome:
    """One neuron, called n, that gets xs[t] at step t."""
    net = network((1,), (op, "n"))
    return run(net).run(np.array(xs, dtype=f32).reshape(-1, 1, 1))


def neuron(**fields: Any) -> ss.Neuron:
    """An IF that never fires, unless told otherwise."""
    return ss.Neuron(**{"v_threshold": NEVER, **fields})


def spikes(outcome: Outcome, name: str = "n") -> list[float]:
    return outcome.spikes[name].ravel().tolist()


def v(outcome: Outcome, name: str = "n") -> list[float]:
    return outcome.v[name].ravel().tolist()


def value_of(run: Run, net: ss.Network, x: Any) -> np.ndarray:
    """The value of the output node after one step of one sample."""
    if isinstance(net.node(net.output).op, ss.Neuron):
        raise AssertionError("the readout of a neuron is not its value")
    return run(net).run(np.asarray(x, dtype=f32)[None], n_steps=1).output[0]


def counted(outcome: Outcome, table: str, name: str) -> list[int]:
    """One sample's counts by step."""
    return outcome.counts[table][name][:, 0].tolist()


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


# S2 Sums and layers


@rule("S2.1")
def test_s2_1_arithmetic(run: Run) -> None:
    # a·a = 1 + 2⁻¹¹ + 2⁻²⁴ rounds to 1 + 2⁻¹¹; fused into the sum, 2⁻²⁴ would be left over.
    a = 1 + 2.0**-12
    net = network((2,), (ss.Linear(array([-1, a])), "fc"))
    assert value_of(run, net, [1 + 2.0**-11, a]).tolist() == [0.0]


@rule("S2.2")
def test_s2_2_linear(run: Run) -> None:
    net = network((3,), (ss.Linear(array([1, 1, 1], [1, 2, 4])), "fc"))
    assert value_of(run, net, [1, 10, 100]).tolist() == [111, 421]
    # 10⁸ + 1 is 10⁸ in float32: what comes before it is lost, what comes after stays.
    net = network((3,), (ss.Linear(array([1, 1, 1])), "fc"))
    assert value_of(run, net, [1e8, 1, -1e8]).tolist() == [0]
    assert value_of(run, net, [1e8, -1e8, 1]).tolist() == [1]


@rule("S2.3")
def test_s2_3_conv(run: Run) -> None:
    # Order (kx, c): 1e8 + 1 − 1e8 + 1 is 1; channel by channel it would be 2.
    x = array([1e8, -1e8], [1, 1])
    net = network((2, 2), (ss.Conv1d(np.ones((1, 2, 2))), "c"))
    assert value_of(run, net, x).tolist() == [[1]]
    net = network((2, 1, 2), (ss.Conv2d(np.ones((1, 2, 1, 2))), "c"))
    assert value_of(run, net, x[:, None]).tolist() == [[[1]]]
    # Rows before columns: ky outermost, 1e8 + 1 over the first row, then −1e8 + 1.
    net = network((1, 2, 2), (ss.Conv2d(np.ones((1, 1, 2, 2))), "c"))
    assert value_of(run, net, [[[1e8, 1], [-1e8, 1]]]).tolist() == [[[1]]]
    assert value_of(run, net, [[[1e8, -1e8], [1, 1]]]).tolist() == [[[2]]]


@rule("S2.3")
def test_s2_3_conv_geometry(run: Run) -> None:
    x = [[1, 2, 3, 4, 5]]
    kernel = array([[1, 10, 100]])

    def conv(**options: Any) -> list[float]:
        return value_of(run, network((1, 5), (ss.Conv1d(kernel, **options), "c")), x)[0].tolist()

    assert conv() == [321, 432, 543]
    assert conv(stride=2) == [321, 543]
    assert conv(padding=1) == [210, 321, 432, 543, 54]
    assert conv(dilation=2) == [531]
    assert conv(padding="same", dilation=2) == [310, 420, 531, 42, 53]
    assert conv(padding="valid") == [321, 432, 543]
    # "same" with an even kernel: the odd zero at the end.
    even = ss.Conv1d(array([[1, 10]]), padding="same")
    assert value_of(run, network((1, 5), (even, "c")), x).tolist() == [[21, 32, 43, 54, 5]]
    # Two groups, two outputs each; weights tell the channels apart.
    grouped = ss.Conv1d(array([[1]], [[2]], [[3]], [[4]]), groups=2)
    net = network((2, 2), (grouped, "c"))
    assert value_of(run, net, [[1, 2], [10, 20]]).tolist() == [[1, 2], [2, 4], [30, 60], [40, 80]]
    # Two axes, each with its own stride and padding: one row above, two columns after.
    image = np.arange(1, 7).reshape(1, 2, 3)  # 1 2 3 / 4 5 6
    taps = np.array([[[[1, 10], [100, 1000]]]])
    op = ss.Conv2d(taps, stride=(1, 2), padding=((1, 0), (0, 2)))
    got = value_of(run, network((1, 2, 3), (op, "c")), image)
    assert got.tolist() == [[[2100, 300], [5421, 603]]]


@rule("S2.4")
def test_s2_4_several_edges_into_weights(run: Run) -> None:
    net = network(
        (2,),
        (ss.Scale(array(-1, 1)), "s"),
        (ss.Linear(array([1, 1]), array(0.5)), "fc", ["input", "s"]),
    )
    # (1e8 + 1) and (−1e8 + 1) each by itself are ±1e8; the bias comes once, last.
    assert value_of(run, net, [1e8, 1]).tolist() == [0.5]
    assert value_of(run, net, [2, 3]).tolist() == [6.5]


@rule("S2.5")
def test_s2_5_several_edges_elsewhere(run: Run) -> None:
    for order, expected in ((["input", "big", "minus"], 0), (["big", "minus", "input"], 1)):
        net = network(
            (1,),
            (ss.Scale(1e8), "big"),
            (ss.Scale(-1e8), "minus", "input"),
            (ss.Add(), "add", order),
            (neuron(), "n", order),
        )
        outcome = run(net).run(array([1.0]), n_steps=1)
        assert outcome.current["n"].item() == expected
        net.output = "add"
        assert value_of(run, net, [1]).tolist() == [expected]


@rule("S2.6")
def test_s2_6_sizes(run: Run) -> None:
    def places(length: int, op: Any) -> int:
        net = network((1, length), (op, "p"))
        assert value_of(run, net, np.zeros((1, length))).shape == net.output_shape
        return int(net.output_shape[-1])

    kernel = np.ones((1, 1, 3))
    assert places(8, ss.Conv1d(kernel, stride=2)) == 3  # ⌊(8 − 2 − 1)/2⌋ + 1
    assert places(8, ss.Conv1d(kernel, dilation=3, padding=1)) == 4  # 10 − 6
    assert places(5, ss.SumPool1d(2)) == 2
    assert places(5, ss.SumPool1d(2, ceil_mode=True)) == 3
    assert places(5, ss.SumPool1d(2, stride=3, padding=1)) == 2
    # ⌈5/3⌉ + 1 = 3, but the third window would begin at 6 of 1 + 5 + 1: in the padding.
    assert places(5, ss.SumPool1d(2, stride=3, padding=1, ceil_mode=True)) == 2


@rule("S2.7")
def test_s2_7_sum_pooling(run: Run) -> None:
    net = network((1, 2, 2), (ss.SumPool2d(2), "p"))
    assert value_of(run, net, [[[1e8, 1], [-1e8, 1]]]).tolist() == [[[1]]]
    assert value_of(run, net, [[[1e8, -1e8], [1, 1]]]).tolist() == [[[2]]]
    net = network((1, 5), (ss.SumPool1d(2, padding=1, ceil_mode=True), "p"))
    assert value_of(run, net, [[1, 2, 3, 4, 5]]).tolist() == [[1, 5, 9]]
    net = network((1, 5), (ss.SumPool1d(3, stride=1), "p"))
    assert value_of(run, net, [[1, 2, 3, 4, 5]]).tolist() == [[6, 9, 12]]


@rule("S2.8")
def test_s2_8_average_pooling(run: Run) -> None:
    # 5/3 rounded once; by way of float32(1/3) it would be the next number.
    assert f32(5) / f32(3) != f32(5) * (f32(1) / f32(3))
    net = network((1, 3), (ss.AvgPool1d(3), "p"))
    assert value_of(run, net, [[4, 1, 0]]).tolist() == [[float(f32(5) / f32(3))]]

    def average(**options: Any) -> list[float]:
        net = network((1, 5), (ss.AvgPool1d(4, stride=2, padding=2, **options), "p"))
        return value_of(run, net, [[4, 8, 12, 16, 20]])[0].tolist()

    # Windows on ..|4 8 12 16 20|..: (. . 4 8), (4 8 12 16), (12 16 20 .)
    assert average() == [3, 10, 12]
    assert average(count_include_pad=False) == [6, 10, 16]
    # ceil_mode adds (20 . .) and one place beyond the padding, which is not counted.
    assert average(ceil_mode=True) == [3, 10, 12, float(f32(20) / f32(3))]
    assert average(ceil_mode=True, count_include_pad=False) == [6, 10, 16, 20]
    net = network((1, 2, 4), (ss.AvgPool2d((2, 2)), "p"))
    assert value_of(run, net, [[[1, 2, 3, 4], [5, 6, 7, 9]]]).tolist() == [[[3.5, 5.75]]]


@rule("S2.9")
def test_s2_9_adaptive_average_pooling(run: Run) -> None:
    # Rows 0–1, 1–3, 3–4 of five; columns 0–1 and 2–3 of four.
    image = np.arange(20).reshape(1, 5, 4)
    net = network((1, 5, 4), (ss.AdaptiveAvgPool2d((3, 2)), "p"))
    assert value_of(run, net, image).tolist() == [[[2.5, 4.5], [8.5, 10.5], [14.5, 16.5]]]


@rule("S2.10")
def test_s2_10_max_pooling_of_spikes(run: Run) -> None:
    signed = ss.IF(v_threshold=1.0, spikes="signed", v_threshold_neg=-1.0)

    def pooled(xs: list[float], **options: Any) -> list[float]:
        net = network((1, len(xs)), (signed, "n"), (ss.SpikeMaxPool1d(2, **options), "p"))
        return value_of(run, net, [xs])[0].tolist()

    assert pooled([1, 0, -1, 0, -1, -1]) == [1, 0, -1]
    # Padding is silence, and silence is more than −1.
    assert pooled([-1, -1, -1, -1], padding=1) == [0, -1, 0]
    # What ceil_mode adds is nothing at all.
    assert pooled([0, 1, -1], ceil_mode=True) == [1, -1]


@rule("S2.11")
def test_s2_11_max_pooling_of_currents(run: Run) -> None:
    net = network((1, 4), (ss.Scale(1.0), "s"), (ss.CurrentMaxPool1d(2, padding=1), "p"))
    assert value_of(run, net, [[-3, -2, -1, 5]]).tolist() == [[-3, -1, 5]]
    net = network((1, 2, 2), (ss.Scale(1.0), "s"), (ss.CurrentMaxPool2d(2), "p"))
    assert value_of(run, net, [[[-3, -2], [-7, -2.5]]]).tolist() == [[[-2]]]


@rule("S2.12")
def test_s2_12_spikes_and_currents(run: Run) -> None:
    li = ss.LI(alpha_mem=0.5)
    weights = np.ones((1, 1, 1))
    norm = ss.BatchNorm(array(1), array(0), array(0), array(1))
    for op in (ss.Conv1d(weights), ss.Scale(1.0), norm, li):
        net = network((1, 4), (op, "currents"), (ss.SumPool1d(1), "pool"))
        with pytest.raises(GraphError, match="CurrentMaxPool"):
            net.add(ss.SpikeMaxPool1d(2), name="max")
        net.add(ss.CurrentMaxPool1d(2), name="max")
        run(net).run(np.zeros((1, 1, 4)), n_steps=1)
    net = network((1, 4), (ss.IF(v_threshold=1.0), "spikes"), (ss.SumPool1d(1), "pool"))
    with pytest.raises(GraphError, match="SpikeMaxPool"):
        net.add(ss.CurrentMaxPool1d(2), name="max")
    net = network((1, 4), (ss.Scale(1.0), "s"), (ss.IF(v_threshold=1.0), "n"))
    net.add(ss.Add(), name="both", inputs=["s", "n"])
    with pytest.raises(GraphError, match="CurrentMaxPool"):
        net.add(ss.SpikeMaxPool1d(2), name="max")
    for op in (ss.SpikeMaxPool1d(2), ss.CurrentMaxPool1d(2)):
        net = network((1, 4), (ss.SumPool1d(1), "pool"), (op, "max"))
        assert value_of(run, net, [[1, 2, 4, 3]]).tolist() == [[2, 4]]


def folding(*, delay: bool = False, second: bool = False) -> tuple[ss.Network, list[float]]:
    """0.1·x + 0.2 with BatchNorm; what it must give for x = 3."""
    weight, bias, mean, var, gamma, beta, eps = (
        float(f32(value)) for value in (0.1, 0.2, 0.3, 0.7, 1.1, 0.4, 1e-5)
    )
    eps = 1e-5
    scale = gamma / np.sqrt(var + eps)
    norm = ss.BatchNorm(array(gamma), array(beta), array(mean), array(var), eps=eps)
    net = network((1,), (ss.Linear(array([weight]), array(bias)), "fc"), (norm, "bn"))
    w, b = f32(weight * scale), f32((bias - mean) * scale + beta)
    if second:
        net.add(norm, name="bn2")
        w, b = f32(float(w) * scale), f32((float(b) - mean) * scale + beta)
    return net, [float(w * f32(3) + b)]


@rule("S2.13")
def test_s2_13_batch_norm_after_a_layer(run: Run) -> None:
    for second in (False, True):
        net, expected = folding(second=second)
        assert value_of(run, net, [3]).tolist() == expected
    # Without a bias, on a Conv; s = 2/√(3 + 1) = 1 and ½.
    norm = ss.BatchNorm(array(2, 1), array(10, 20), array(1, 2), array(3, 3), eps=1.0)
    net = network((1, 2), (ss.Conv1d(array([[1]], [[4]])), "c"), (norm, "bn"))
    assert value_of(run, net, [[1, 2]]).tolist() == [[10, 11], [21, 23]]


@rule("S2.14")
def test_s2_14_batch_norm_elsewhere(run: Run) -> None:
    gamma, beta, mean, var = (f32(value) for value in (1.1, 0.4, 0.3, 0.7))
    s = float(gamma) / np.sqrt(float(var) + 1e-5)
    factor, shift = f32(s), f32(float(beta) - float(mean) * s)
    norm = ss.BatchNorm(array(gamma), array(beta), array(mean), array(var), eps=1e-5)
    # After the input.
    x = f32(0.3)
    net = network((1,), (norm, "bn"))
    assert value_of(run, net, [x]).tolist() == [float(x * factor + shift)]
    # After a layer that feeds something else too.
    net = network((1,), (ss.Linear(array([0.1])), "fc"), (norm, "bn"))
    net.add(neuron(), name="n", inputs="fc")
    net.output = "bn"
    assert value_of(run, net, [x]).tolist() == [float(f32(0.1) * x * factor + shift)]
    # After a layer that is the output: the layer keeps its own weights.
    net = network((1,), (ss.Linear(array([0.5])), "fc"), (norm, "bn"))
    net.output = "fc"
    assert value_of(run, net, [3]).tolist() == [1.5]
    # One pair a channel.
    norm = ss.BatchNorm(array(1, 2), array(0, 1), array(0, 0), array(1, 1), eps=0.0)
    net = network((2, 2), (norm, "bn"))
    assert value_of(run, net, [[1, 2], [3, 4]]).tolist() == [[1, 2], [7, 9]]


@rule("S2.15")
def test_s2_15_scale(run: Run) -> None:
    x = [[1, 2], [3, 4]]
    for scale, expected in (
        (np.float32(2), [[2, 4], [6, 8]]),
        (array(2, 3), [[2, 4], [9, 12]]),
        (array([1, 2], [3, 4]), [[1, 4], [9, 16]]),
    ):
        assert value_of(run, network((2, 2), (ss.Scale(scale), "s")), x).tolist() == expected


@rule("S2.16")
def test_s2_16_concat(run: Run) -> None:
    for axis, expected in ((0, [[1, 2], [-1, -2]]), (1, [[1, 2, -1, -2]]), (-1, [[1, 2, -1, -2]])):
        net = network((1, 2), (ss.Scale(-1.0), "s"), (ss.Concat(axis=axis), "c", ["input", "s"]))
        assert value_of(run, net, [[1, 2]]).tolist() == expected
    net = network((1, 2), (ss.Scale(-1.0), "s"), (ss.Concat(), "c", ["s", "input"]))
    assert value_of(run, net, [[1, 2]]).tolist() == [[-1, -2], [1, 2]]
    net = network((1,), (ss.Concat(), "c", ["input", ("input", 1)]), (neuron(), "n"))
    outcome = run(net).run(array(1, 2, 4).reshape(3, 1, 1))
    assert outcome.current["n"][:, 0].tolist() == [[1, 0], [2, 1], [4, 2]]


@rule("S2.17")
def test_s2_17_flatten(run: Run) -> None:
    x = np.arange(12).reshape(2, 3, 2)
    for options, shape in (
        ({}, (12,)),
        ({"start_dim": 1}, (2, 6)),
        ({"end_dim": 1}, (6, 2)),
        ({"start_dim": -2, "end_dim": -1}, (2, 6)),
    ):
        got = value_of(run, network((2, 3, 2), (ss.Flatten(**options), "f")), x)
        assert got.shape == shape
        assert got.ravel().tolist() == list(range(12))


@rule("S2.18")
def test_s2_18_upsample(run: Run) -> None:
    net = network((1, 1, 2), (ss.Upsample((2, 3)), "u"))
    assert value_of(run, net, [[[1, 2]]]).tolist() == [[[1, 1, 1, 2, 2, 2]] * 2]
    net = network((1, 2, 1), (ss.Upsample(2), "u"))
    assert value_of(run, net, [[[1], [2]]]).tolist() == [[[1, 1], [1, 1], [2, 2], [2, 2]]]


# S3 The neuron


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
        fired = run(net).run(np.full((1, 2, 2, 2), 3.0), n_steps=1).spikes["n"][0, 0]
        assert fired.tolist() == (at <= 3).astype(float).tolist()


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
    + [{"spikes": "none", "order": "B"}, {"spikes": "none", "reset_timing": "next_step_after"}],
    ids=lambda fields: ",".join(f"{k}={v}" for k, v in fields.items()),
)
def test_s9_1_unsupported(fields: dict[str, Any]) -> None:
    if fields.get("spikes") == "signed":
        fields = {**fields, "v_threshold_neg": -1.0}
    net = ss.Network((1,))
    with pytest.raises(UnsupportedError):
        net.add(ss.IF(v_threshold=1.0, **fields), name="n")
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
    ],
    ids=lambda fields: ",".join(f"{k}={v}" for k, v in fields.items()),
)
def test_s9_2_meaningless(fields: dict[str, Any]) -> None:
    net = ss.Network((2,))
    with pytest.raises(GraphError):
        net.add(ss.Neuron(**{"v_threshold": 1.0, **fields}), name="n")
    assert len(net.nodes) == 1


# S10 Counts


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


# The document


def test_every_rule_has_a_test_and_every_test_a_rule(root_dir: Path) -> None:
    text = (root_dir / "docs" / "semantics.md").read_text(encoding="utf-8")
    stated = re.findall(r"^- \*\*(S\d+\.\d+) ", text, flags=re.MULTILINE)
    assert len(stated) == len(set(stated)), "a number is used twice"
    assert sorted(stated) == sorted(RULES)
    listed = dict(re.findall(r"^\| (S\d+\.\d+) \| (.+?) \|$", text, flags=re.MULTILINE))
    assert listed.keys() == set(stated), "the table at the end"
    for number, tests in RULES.items():
        for test in tests:
            assert f"`tests/test_semantics.py::{test}`" in listed[number], number


def test_every_test_that_the_document_names_exists(root_dir: Path) -> None:
    text = (root_dir / "docs" / "semantics.md").read_text(encoding="utf-8")
    for file, test in set(re.findall(r"`(tests/\w+\.py)::(\w+)`", text)):
        source = (root_dir / file).read_text(encoding="utf-8")
        assert f"def {test}(" in source, f"{file}::{test}"
