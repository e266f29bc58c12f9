"""Which of NIR's words a network is written in, and what there are none for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")
nir = pytest.importorskip("nir")

import spikesim as ss  # noqa: E402
from engines import Engine  # noqa: E402
from spikesim.errors import UnsupportedError  # noqa: E402
from test_nir_round_trip import assert_equal, back  # noqa: E402

REFUSED = {
    "spike_max_pool2d": lambda n: n.add(ss.SpikeMaxPool2d(2), "bad"),
    "rate_max_pool2d": lambda n: n.add(ss.RateMaxPool2d(2), "bad"),
    "sum_pool1d": None,
    "concat": lambda n: n.add(ss.Concat(), "bad", ["input", "input2"]),
    "upsample": lambda n: n.add(ss.Upsample(2), "bad"),
    "batch norm": lambda n: n.add(ss.BatchNorm([1.0], [0.5], [0.0], [1.0]), "bad"),
    "ceil_mode": lambda n: n.add(ss.SumPool2d(2, ceil_mode=True), "bad"),
    "windows of several sizes": lambda n: n.add(ss.AdaptiveAvgPool2d(2), "bad"),
    "count_include_pad": lambda n: n.add(
        ss.AvgPool2d(3, padding=1, count_include_pad=False), "bad"
    ),
    "which differs on two sides": lambda n: n.add(
        ss.Conv2d(np.ones((1, 1, 2, 2)), padding=((0, 1), (1, 0))), "bad"
    ),
    "alpha_mem of 1.5": lambda n: n.add(ss.LIF(alpha_mem=1.5), "bad"),
    'synapse="alpha"': lambda n: n.add(
        ss.Neuron(
            synapse="alpha",
            alpha_syn=0.5,
            w_in=1.0,
            alpha_inh=0.25,
            alpha_mem=0.0,
            reset_timing="next_step_after",
        ),
        "bad",
    ),
    "delays of 0 to 3 steps, which differ by synapse": lambda n: n.add(
        ss.Conv2d(np.ones((1, 1, 1, 2)), delay=[[[[0, 3]]]]), "bad"
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_nir_has_no_words_for_is_refused_by_name(what: str, tmp_path: Path) -> None:
    add: Any = REFUSED[what]
    if what == "sum_pool1d":
        net = ss.Network((1, 8))
        net.add(ss.SumPool1d(2), "bad")
    else:
        net = ss.Network((1, 5, 5))
        net.add(ss.Add(), "input2")
        add(net)
    with pytest.raises(UnsupportedError, match=f"^bad: .*{what}"):
        net.save(tmp_path / "x.nir")
    assert os.listdir(tmp_path) == []


def test_same_padding_is_named(tmp_path: Path) -> None:
    net = ss.Network((1, 5, 5))
    net.add(ss.Conv2d(np.ones((1, 1, 2, 2)), padding="same"), "conv")
    again = back(net, tmp_path)
    assert_equal(net, again)
    assert nir.read(tmp_path / "net.nir").nodes["conv"].padding == "same"


def test_adds_become_edges_where_edges_can_say_them(tmp_path: Path) -> None:
    net = ss.Network((2,))
    net.add(ss.Linear(np.eye(2)), "a")
    net.add(ss.Linear(np.eye(2)), "b", "input")
    net.add(ss.Add(), "sum", ["a", "b"])
    net.add(ss.IF(), "if")
    net.add(ss.Add(), "twice", ["if", "sum"])
    net.add(ss.Add(), "end", ["twice", "if"])
    assert_equal(net, back(net, tmp_path))
    graph = nir.read(tmp_path / "net.nir")
    assert "sum" not in graph.nodes
    # if -> twice -> end and if -> end would be one edge.
    assert isinstance(graph.nodes["twice"], nir.Scale)
    assert {e for e in graph.edges if e[1] == "if"} == {("a", "if"), ("b", "if")}


@pytest.mark.parametrize("bias", [None, [0.5, 0.25]])
@pytest.mark.parametrize("entering", [False, True])
def test_a_step_of_delay_in_a_cycle_is_an_edge_or_a_delay(
    bias: Any, entering: bool, tmp_path: Path
) -> None:
    """NIR's reader gives the step to the edge that leaves the neuron; another is a Delay."""
    net = ss.Network((2,))
    net.add(ss.IF(), "if")
    net.add(ss.Linear(np.eye(2), bias), "back", [("if", int(not entering))])
    net.connect("back", "if", int(entering))
    net.output = "if"
    assert_equal(net, back(net, tmp_path))
    graph = nir.read(tmp_path / "net.nir")
    delays = [n for n in graph.nodes.values() if isinstance(n, nir.Delay)]
    assert len(delays) == int(entering)
    # Without what the metadata says the graph means the same.
    graph.metadata = {}
    for node in graph.nodes.values():
        node.metadata = {}
    nir.write(tmp_path / "bare.nir", graph)
    options = ss.NirOptions(if_gain="dt", fires=">=", reset="subtract")
    with pytest.warns(ss.NirAssumption):
        bare = ss.load(tmp_path / "bare.nir", nir=options)
    x = np.ones((6, 1, 2), np.float32) / 4
    ours, theirs = Engine(net).run(x), Engine(bare).run(x)
    np.testing.assert_array_equal(ours.spikes["if"], theirs.spikes["if"])


@pytest.mark.parametrize("form", ["one for all", "one a synapse"])
@pytest.mark.parametrize("edge", [0, 1])
def test_a_delay_of_all_synapses_is_a_delay_before_the_layer(
    form: str, edge: int, tmp_path: Path
) -> None:
    """What other readers get: a Delay on each edge into the layer, its own and the edge's in one;
    in a cycle a single step is the edge that leaves the neuron."""
    spread = np.ones((2, 2)) if form == "one a synapse" else 1
    net = ss.Network((2,), dt=1e-3)
    net.add(ss.Linear([[0.5, 1.0], [0.25, 0.5]], [0.25, 0.0], 2 * spread), "fc", [("input", edge)])
    net.add(ss.IF(), "if")
    net.add(ss.Linear([[0.5, -0.5], [0.25, 0.0]], None, 1 * spread), "back", [("if", edge)])
    net.connect("back", "if", 0)
    net.output = "if"
    assert_equal(net, back(net, tmp_path))
    graph = nir.read(tmp_path / "net.nir")
    waits = {n: node.delay for n, node in graph.nodes.items() if isinstance(node, nir.Delay)}
    found = {(src, dst): waits[dst] for src, dst in graph.edges if dst in waits}
    into = {dst for src, dst in graph.edges if src in waits}
    assert into == ({"fc", "back"} if edge else {"fc"})
    for (src, _), seconds in found.items():
        steps = edge + (2 if src == "input" else 1)
        np.testing.assert_allclose(seconds, np.full(2, steps * 1e-3))
    graph.metadata = {}
    for node in graph.nodes.values():
        node.metadata = {}
    nir.write(tmp_path / "bare.nir", graph)
    options = ss.NirOptions(dt=1e-3, if_gain="dt", fires=">=", reset="subtract")
    with pytest.warns(ss.NirAssumption):
        bare = ss.load(tmp_path / "bare.nir", nir=options)
    x = np.random.default_rng(0).integers(0, 3, (12, 3, 2)).astype(np.float32)
    ours, theirs = Engine(net).run(x), Engine(bare).run(x)
    np.testing.assert_array_equal(ours.spikes["if"], theirs.spikes["if"])
    assert ours.spikes["if"].any()


def test_names_that_hdf5_has_none_for(tmp_path: Path) -> None:
    net = ss.Network((2,))
    for name in ("a/b", "a_b", ".", "output", "ö"):
        net.add(ss.IF(), name)
    assert_equal(net, back(net, tmp_path))
    assert "/" not in "".join(nir.read(tmp_path / "net.nir").nodes)
