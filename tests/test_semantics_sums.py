"""Sums and layers by hand: rules S2 of docs/semantics.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikesim as ss
from rules import Run, array, f32, network, neuron, rule, value_of
from spikesim.errors import GraphError


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
    # (1e8 + 1) − 1e8 loses the 1, (1e8 − 1e8) + 1 keeps it.
    for order, expected in ((["big", "input", "minus"], 0), (["big", "minus", "input"], 1)):
        net = network(
            (1,),
            (ss.Scale(1e8), "big"),
            (ss.Scale(-1e8), "minus", "input"),
            (ss.Linear(array([1])), "fc", order),
        )
        assert value_of(run, net, [1]).tolist() == [expected]


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


@rule("S2.5")
@pytest.mark.parametrize("places", [2, 64])
def test_s2_5_several_populations_that_spike(run: Run, places: int) -> None:
    # Channel 0 spikes in every population, channel 1 in "one" alone, channel 2 never; and only
    # at the first two places: few among 64, where the engine keeps lists of events.
    x = np.zeros((3, places))
    x[:, :2] = 1
    populations = {"big": (1e8, [1, 9, 9]), "minus": (-1e8, [1, 9, 9]), "one": (1, [1, 1, 9])}
    # 1e8 + 1 is 1e8: the 1 is lost unless it comes last.
    for order, kept in (
        (["big", "minus", "one"], 1),
        (["minus", "big", "one"], 1),
        (["one", "big", "minus"], 0),
        (["big", "one", "minus"], 0),
    ):
        added = np.zeros((3, places))
        added[:, :2] = [[kept], [1], [0]]
        for op, expected in (
            (ss.Add(), added),
            (ss.Flatten(), added.ravel()),
            (ss.SumPool1d(2), added[:, ::2] * 2),
            (ss.AvgPool1d(2), added[:, ::2]),
            (ss.SpikeMaxPool1d(2), added[:, ::2]),
            (ss.Scale(3.0), added * 3),
        ):
            net = ss.Network((3, places))
            for name, (amplitude, theta) in populations.items():
                op_of_it = ss.IF(v_threshold=array(*theta), spike_amplitude=amplitude)
                net.add(op_of_it, name=name, inputs="input")
            net.add(op, name="sum", inputs=order)
            assert value_of(run, net, x).tolist() == expected.tolist(), (order, op)
        net.add(neuron(), name="n", inputs=order)
        assert np.array_equal(run(net).run(x[None], n_steps=1).current["n"][0, 0], added)


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


def folding(second: bool) -> tuple[ss.Network, np.float32, np.float32]:
    """0.1·x + 0.2 with one BatchNorm or two; weight and bias that it must have."""
    weight, bias, mean, var, gamma, beta = (
        float(f32(value)) for value in (0.1, 0.2, 0.3, 0.7, 1.1, 0.4)
    )
    scale = gamma / np.sqrt(var + 1e-5)
    norm = ss.BatchNorm(array(gamma), array(beta), array(mean), array(var), eps=1e-5)
    net = network((1,), (ss.Linear(array([weight]), array(bias)), "fc"), (norm, "bn"))
    w, b = f32(weight * scale), f32((bias - mean) * scale + beta)
    if second:
        net.add(norm, name="bn2")
        w, b = f32(float(w) * scale), f32((float(b) - mean) * scale + beta)
    return net, w, b


@rule("S2.13")
def test_s2_13_batch_norm_after_a_layer(run: Run) -> None:
    for second in (False, True):
        net, weight, bias = folding(second)
        for x in range(10):
            assert value_of(run, net, [x]).tolist() == [float(weight * f32(x) + bias)]
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
    assert run(net).run([[x]], n_steps=1).current["n"].item() == float(f32(0.1) * x)
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
