"""Energy: prices with sources and ranges, sums that add up, and the ANN twin in closed form."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikesim as ss
from spikesim import energy
from spikesim.errors import FormatError, InputError

PJ = 1e-12
COUNTS = {
    "conv": {"synops": 100, "macs": 10, "synops_with_zeros": 130},
    "if": {"neuron_updates": 50, "spikes": 7},
    "lif": {"neuron_updates": 40, "spikes": 3},
    "silent": {"synops": 0, "macs": 0},
}


def test_prices_of_horowitz() -> None:
    report = energy.report(COUNTS, "horowitz45-fp32", n_samples=2, leaky={"lif"})
    layers = report.layers
    assert math.isclose(layers["conv"].terms["synops"].joules, 100 * 0.9 * PJ)
    assert math.isclose(layers["conv"].terms["macs"].joules, 10 * 4.6 * PJ)
    assert math.isclose(layers["if"].joules, 50 * 0.9 * PJ)
    assert math.isclose(layers["lif"].joules, 40 * 4.6 * PJ)
    assert layers["silent"].joules == 0.0
    assert report.joules_per_sample == report.joules / 2
    assert "memory access" in report.not_modelled


def test_known_product() -> None:
    """23.6 pJ x 30.7 million operations is 724 microjoules, not nanojoules."""
    constant = energy.Constant(23.6 * PJ, 20 * PJ, 35 * PJ, "simulated", "s", None, "v")
    assert math.isclose(energy.Energy.of(30_700_000, constant).joules, 7.2452e-4)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=4),
        st.dictionaries(
            st.sampled_from(["synops", "macs", "neuron_updates", "spikes"]),
            st.integers(0, 10**15),
        ),
        max_size=6,
    ),
    st.integers(1, 1000),
)
def test_totals_are_the_sums_and_survive_json_and_csv(
    counts: dict[str, dict[str, int]], n: int
) -> None:
    report = energy.report(counts, "horowitz45-fp32", n_samples=n)
    for key in ("joules", "low", "high"):
        assert getattr(report, key) == math.fsum(getattr(x, key) for x in report.layers.values())
    assert report.low <= report.joules <= report.high
    plain = json.loads(report.to_json())
    assert plain == report.to_dict()
    assert plain["joules"] == report.joules
    rows = list(csv.DictReader(io.StringIO(report.to_csv(), newline="")))
    for row in rows:
        term = report.layers[row["layer"]].terms[row["term"]]
        assert (int(row["count"]), float(row["joules"])) == (term.count, term.joules)
    assert len(rows) == sum(len(layer.terms) for layer in report.layers.values())


def test_every_shipped_constant_has_source_kind_and_range() -> None:
    assert "horowitz45-fp32" in energy.profiles()
    for name in energy.profiles():
        profile = energy.load_profile(name)
        assert profile.id == name
        for constant in profile.constants.values():
            assert constant.source
            assert constant.verified
            assert 0 < constant.low < constant.value < constant.high


GOOD = """
schema = 1
[profile]
id = "x"
name = "X"
level = "compute"
kind = "measured"
includes = []
excludes = []
[constants.add]
value = 2.0
low = 1.0
high = 3.0
unit = "nJ"
kind = "measured"
source = "a paper"
verified = "table 1"
[constants.mul]
value = 6.0
uncertainty = "unknown"
unit = "pJ"
kind = "derived"
source = "another"
verified = "page 2"
"""


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD)
    report = energy.report({"a": {"synops": 10}}, path, n_samples=1)
    assert math.isclose(report.joules, 20e-9)
    mul = energy.load_profile(path).constants["mul"]
    assert math.isclose(mul.low, 2 * PJ)
    assert math.isclose(mul.high, 18 * PJ)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("schema = 1", "schema = 2", "schema"),
        ("schema = 1", "schema = ", "TOML"),
        ('name = "X"\n', "", "name"),
        ('name = "X"\n', 'name = "X"\ncolour = "red"\n', "colour"),
        ('level = "compute"', 'level = "all"', "level"),
        ('source = "a paper"\n', "", "source"),
        ('kind = "measured"\nsource', "source", "kind"),
        ('verified = "table 1"\n', "", "verified"),
        ("low = 1.0\n", "", "low"),
        ("low = 1.0\n", "low = 2.5\n", "range"),
        ("value = 2.0", 'value = "2"', "value"),
        ("value = 2.0", "value = nan", "value"),
        ("value = 2.0", "value = -2.0", "value"),
        ('unit = "nJ"', 'unit = "nW"', "unit"),
        ('uncertainty = "unknown"', 'uncertainty = "small"', "uncertainty"),
        ("[constants.add]", "[constant.add]", "constant"),
    ],
)
def test_a_profile_that_breaks_the_schema(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in GOOD
    path = tmp_path / "bad.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(FormatError, match=says) as caught:
        energy.load_profile(path)
    assert "bad.toml" in str(caught.value)


def test_a_missing_price_is_not_zero(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD[: GOOD.index("[constants.mul]")])
    with pytest.raises(InputError, match="mul"):
        energy.report(COUNTS, path, n_samples=1)


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match=r"horowitz45-fp32 or a \.toml"):
        energy.report(COUNTS, "loihi9", n_samples=1)
    with pytest.raises(InputError, match="n_samples"):
        energy.report(COUNTS, "horowitz45-fp32", n_samples=0)
    with pytest.raises(FileNotFoundError):
        energy.load_profile("nowhere.toml")


@given(st.data())
def test_dense_macs_of_a_convolution_are_counted_one_by_one(data: st.DataObject) -> None:
    """Against the definition: every output, every weight, is its place inside the input?"""
    draw = data.draw
    groups = draw(st.integers(1, 2))
    c_in, c_out = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    size, kernel, stride, dilation = (
        (draw(st.integers(low, high)), draw(st.integers(low, high)))
        for low, high in ((3, 6), (1, 3), (1, 2), (1, 2))
    )
    pad = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(2))
    reach = [dilation[a] * (kernel[a] - 1) + 1 for a in range(2)]
    if any(size[a] + sum(pad[a]) < reach[a] for a in range(2)):
        return
    net = ss.Network(input_shape=(c_in, *size))
    weight = np.ones((c_out, c_in // groups, *kernel), np.float32)
    op = ss.Conv2d(weight, stride=stride, padding=pad, dilation=dilation, groups=groups)
    net.add(op, name="conv")
    n = 0
    _, rows, columns = net.output_shape
    for y in range(rows):
        for x in range(columns):
            for ky in range(kernel[0]):
                for kx in range(kernel[1]):
                    iy = y * stride[0] + ky * dilation[0] - pad[0][0]
                    ix = x * stride[1] + kx * dilation[1] - pad[1][0]
                    n += 0 <= iy < size[0] and 0 <= ix < size[1]
    assert energy.dense_macs(net) == {"conv": n * c_out * (c_in // groups)}


def small_net() -> ss.Network:
    net = ss.Network(input_shape=(1, 4, 4))
    net.add(ss.Conv2d(np.ones((2, 1, 3, 3), np.float32), padding=1), name="conv")
    net.add(ss.BatchNorm(*(np.ones(2, np.float32),) * 4), name="bn")
    net.add(ss.IF(), name="if")
    net.add(ss.Flatten(), name="flat")
    net.add(ss.Linear(np.ones((3, 32), np.float32)), name="fc")
    net.add(ss.LIF(alpha_mem=0.5), name="lif")
    return net


def test_the_same_network_as_an_ann() -> None:
    report = energy.ann_baseline(small_net(), n_samples=5)
    # 4x4 outputs of 3x3 taps: 100 of 144 lie inside; two maps.
    counts = {name: {k: e.count for k, e in x.terms.items()} for name, x in report.layers.items()}
    assert counts == {
        "conv": {"macs": 5 * 200},
        "if": {"activations": 5 * 32},
        "fc": {"macs": 5 * 96},
        "lif": {"activations": 5 * 3},
    }
    assert math.isclose(report.joules_per_sample, (296 * 4.6 + 35 * 0.9) * PJ)


def test_a_dense_input_executes_the_dense_macs() -> None:
    """The closed form against the engine: an analog input without a zero, one step."""
    net = ss.Network(input_shape=(1, 4, 4))
    net.add(ss.Conv2d(np.ones((2, 1, 3, 3), np.float32), padding=1, stride=2), name="conv")
    net.add(ss.IF(), name="if")
    result = net.compile().run(np.full((3, 1, 4, 4), 0.5, np.float32), n_steps=1)
    assert result.counts.macs == 3 * energy.dense_macs(net)["conv"]


def test_energy_of_a_result() -> None:
    net = small_net()
    result = net.compile().run(np.full((2, 1, 4, 4), 0.25, np.float32), n_steps=3)
    report = result.energy("horowitz45-fp32")
    by_layer: dict[str, Any] = result.counts.by_layer()
    terms = report.layers["conv"].terms
    assert terms["macs"].count == by_layer["conv"]["macs"]
    updates = report.layers["lif"].terms["neuron_updates"]
    assert updates.count == 2 * 3 * 3
    assert math.isclose(updates.joules, 18 * 4.6 * PJ)  # it leaks: a multiplication too
    assert math.isclose(report.layers["if"].terms["neuron_updates"].joules, 192 * 0.9 * PJ)
    assert report.n_samples == 2


def test_plot_draws_every_layer() -> None:
    pytest.importorskip("matplotlib")
    figure = energy.report(COUNTS, "horowitz45-fp32", n_samples=2).plot()
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == list(COUNTS)
    assert "nJ" in axes.get_ylabel()
