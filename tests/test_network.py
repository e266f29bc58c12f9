"""Building networks: shapes, edges, names, what is shown, what is refused."""

from __future__ import annotations

import copy
import doctest
import importlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikesim as ss
from spikesim.errors import GraphError, ShapeError, SpikesimError, UnsupportedError


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def small() -> ss.Network:
    """Every family of operations, a branch, a loop."""
    net = ss.Network((2, 8, 8), dt=1e-3, meta={"labels": ["a", "b"]})
    net.add(ss.Conv2d(ones(4, 2, 3, 3), ones(4), stride=1, padding=1), "conv1")
    net.add(ss.BatchNorm(ones(4), ones(4), ones(4), ones(4)), "bn1")
    net.add(ss.LIF(alpha_mem=0.9), "lif1")
    net.add(ss.AvgPool2d(2), "pool")
    net.add(ss.Conv2d(ones(4, 2, 1, 1), stride=2, groups=2), "conv2", inputs="pool")
    net.add(ss.Upsample(2), "up")
    net.add(ss.Concat(), "cat", inputs=["pool", "up"])
    net.add(ss.Flatten(), "flat")
    net.add(ss.Linear(ones(3, 128)), "fc")
    net.add(ss.CubaLIF(alpha_mem=0.5, alpha_syn=0.25), "out")
    net.add(ss.Linear(ones(3, 3)), "rec", inputs=("out", 1))
    net.connect("rec", "out")
    net.output = "out"
    return net


def test_shapes_are_inferred() -> None:
    net = small()
    shapes = {node.name: node.shape for node in net.nodes}
    assert shapes == {
        "input": (2, 8, 8),
        "conv1": (4, 8, 8),
        "bn1": (4, 8, 8),
        "lif1": (4, 8, 8),
        "pool": (4, 4, 4),
        "conv2": (4, 2, 2),
        "up": (4, 4, 4),
        "cat": (8, 4, 4),
        "flat": (128,),
        "fc": (3,),
        "out": (3,),
        "rec": (3,),
    }
    assert net.node("fc").in_shape == (128,)
    assert (net.input_shape, net.output_shape, net.output) == ((2, 8, 8), (3,), "out")
    assert (net.readout, net.dt, len(net)) == ("count", 1e-3, 12)
    net.validate()


def test_edges_are_kept_in_the_order_of_declaration() -> None:
    edges = small().edges
    assert edges[-3:] == (("fc", "out", 0), ("out", "rec", 1), ("rec", "out", 0))
    assert [e for e in edges if e.dst == "cat"] == [("pool", "cat", 0), ("up", "cat", 0)]
    assert edges[0].src == "input"


@pytest.mark.parametrize("name", ["conv1", "bn1", "lif1", "pool", "conv2", "cat", "fc", "out"])
def test_a_node_can_be_added_again(name: str) -> None:
    node = small().node(name)
    net = ss.Network(node.in_shape if node.kind != "concat" else (8, 4, 4))
    net.add(node.op, "again")
    assert net.node("again").op == node.op
    assert net.node("again").kind == node.kind


def test_a_network_can_be_rebuilt_from_its_nodes_and_edges() -> None:
    net = small()
    again = ss.Network(net.input_shape, dt=net.dt, meta=net.meta)
    made: set[ss.Edge] = set()
    for node in net.nodes[1:]:
        into = [e for e in net.edges if e.dst == node.name]
        into = into if node.kind == "concat" else into[:1]
        again.add(node.op, node.name, [(e.src, e.delay) for e in into])
        made.update(into)
    for edge in net.edges:
        if edge not in made:
            again.connect(*edge)
    again.output = net.output
    assert again.edges == net.edges
    assert str(again) == str(net)


def test_operations_share_arrays_and_nodes_give_read_only_copies() -> None:
    weight = ones(2, 3)
    op = ss.Linear(weight)
    assert op.weight is weight
    net = ss.Network((3,))
    net.add(op, "fc")
    mine = net.node("fc").op
    assert isinstance(mine, ss.Linear)
    weight[0, 0] = 7
    assert mine.weight[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        mine.weight[0, 0] = 2


def test_names_are_made_of_the_kind_and_a_number() -> None:
    net = ss.Network((1, 6, 6))
    names = [
        net.add(op)
        for op in (
            ss.Conv2d(ones(1, 1, 1, 1)),
            ss.LIF(alpha_mem=0.5),
            ss.Conv2d(ones(1, 1, 1, 1)),
            ss.Neuron(),
            ss.IF(),
            ss.SumPool2d(1),
            ss.AdaptiveAvgPool2d(2),
        )
    ]
    assert names == ["conv1", "lif1", "conv2", "neuron1", "if1", "sum_pool1", "adaptive_avg_pool1"]
    net.add(ss.IF(), "if2")
    assert net.add(ss.IF()) == "if3"


def test_the_readout_follows_the_output_until_it_is_set() -> None:
    net = ss.Network((3,))
    net.add(ss.IF(), "if")
    assert net.readout == "count"
    net.add(ss.LI(alpha_mem=0.5), "li")
    assert net.readout == "sum"
    net.output = "if"
    assert net.readout == "count"
    net.readout = "max_v"
    assert net.readout == "max_v"
    net.readout = None
    assert net.readout == "count"


@pytest.mark.parametrize(
    ("output", "readout", "fits"),
    [
        *[("fc", r, r in ("sum", "mean")) for r in ("sum", "mean", "last_v", "max_v", "count")],
        ("fc", "first_spike", False),
        *[("li", r, True) for r in ("sum", "mean", "last_v", "max_v")],
        ("li", "count", False),
        ("li", "first_spike", False),
        *[("if", r, True) for r in ("sum", "mean", "last_v", "max_v", "count", "first_spike")],
    ],
)
def test_the_readout_fits_the_output(output: str, readout: str, fits: bool) -> None:
    net = ss.Network((3,))
    net.add(ss.Linear(ones(3, 3)), "fc")
    net.add(ss.LI(alpha_mem=0.5), "li")
    net.add(ss.IF(), "if")
    net.output, net.readout = output, readout
    if fits:
        net.validate()
        return
    what = "a neuron" if readout.endswith("_v") else "a neuron that spikes"
    message = f'network: readout "{readout}" of "{output}", expected {what} as the output node'
    with pytest.raises(GraphError, match=message):
        net.validate()


def test_folding_moves_consumers_and_the_output() -> None:
    net = ss.Network((3,))
    net.add(ss.Linear(ones(2, 3)), "fc")
    net.add(ss.BatchNorm([2, 4], [0.5, 0], [1, 2], [4, 16], eps=0.0), "bn")
    net.output = "bn"
    net.add(ss.IF(), "if", inputs=["bn", ("bn", 3)])
    folded = net.fold()
    assert [n.name for n in folded.nodes] == ["input", "fc", "if"]
    assert folded.edges == (("input", "fc", 0), ("fc", "if", 0), ("fc", "if", 3))
    assert folded.output == "fc"
    op = folded.node("fc").op
    assert isinstance(op, ss.Linear)
    np.testing.assert_array_equal(op.weight, ones(2, 3))
    np.testing.assert_array_equal(op.bias, np.array([-0.5, -2], np.float32))
    assert [n.name for n in net.nodes] == ["input", "fc", "bn", "if"], "the network is as it was"


def test_folding_is_exact_in_float64_and_rounds_once() -> None:
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(5, 2, 3, 3)).astype("f"), rng.normal(size=5).astype("f")
    gamma, beta, mean = rng.normal(size=(3, 5)).astype("f")
    var, eps = rng.uniform(0.1, 2, 5).astype("f"), 1e-5
    net = ss.Network((2, 6, 6))
    net.add(ss.Conv2d(w, b), "conv")
    net.add(ss.BatchNorm(gamma, beta, mean, var, eps), "bn")
    op = net.fold().node("conv").op
    s = gamma.astype("d") / np.sqrt(var.astype("d") + eps)
    assert isinstance(op, ss.Conv2d)
    np.testing.assert_array_equal(op.weight, (w * s[:, None, None, None]).astype("f"))
    expected = ((b.astype("d") - mean) * s + beta).astype("f")
    np.testing.assert_array_equal(op.bias, expected)


def test_a_batch_norm_elsewhere_stays() -> None:
    net = ss.Network((3,))
    norm = ss.BatchNorm(ones(3), ones(3), ones(3), ones(3))
    net.add(norm, "first")  # after the input
    net.add(ss.Linear(ones(3, 3)), "fc")
    net.add(norm, "late", inputs=("fc", 1))  # delayed
    net.add(ss.Linear(ones(3, 3)), "fc2")
    net.add(norm, "shared")  # fc2 feeds something else, too
    net.add(ss.IF(), "if", inputs=["shared", "fc2"])
    names = [n.name for n in net.fold().nodes]
    assert names == ["input", "first", "fc", "late", "fc2", "shared", "if"]


def test_the_table_says_what_the_neurons_do() -> None:
    net = small()
    lines = str(net).splitlines()
    assert lines[0].split() == ["name", "kind", "output", "parameters"]
    lif = next(line for line in lines if line.startswith("lif1"))
    assert lif.split(maxsplit=5)[1] == "neuron"
    assert lif.endswith("LIF θ=1 α=0.9 >= subtract")
    conv = next(line for line in lines if line.startswith("conv2"))
    assert "1×1 stride 2 groups 2" in conv
    out = next(line for line in lines if line.startswith("out"))
    assert out.endswith("from fc, rec")
    rec = next(line for line in lines if line.startswith("rec"))
    assert rec.endswith("from out (delay 1)")
    assert lines[-1] == (
        "12 nodes, 493 parameters, 259 neurons · dt 0.001 s · readout count of out (3,)"
    )
    assert repr(net) == "<Network (2, 8, 8) -> (3,), 12 nodes>"


@pytest.mark.parametrize(
    ("neuron", "text"),
    [
        (ss.IF(2.0), "IF θ=2 >= subtract"),
        (ss.LIF([0.5, 1.5], alpha_mem=0.9, gain=0.1), "LIF θ=0.5…1.5 α=0.9 gain=0.1 >= subtract"),
        (ss.LIF(alpha_mem=0.9, v_leak=0.5, v0=0.5), "LIF θ=1 α=0.9 v_leak=0.5 >= subtract v0=0.5"),
        (ss.IF(spikes="multi", max_spikes=3), "IF θ=1 >= subtract multi≤3"),
        (ss.IF(spikes="signed", v_threshold_neg=-2), "IF θ=1 >= subtract signed θ₋=-2"),
        (ss.IF(fires=">", reset="to_value", v_reset=-1), "IF θ=1 > to_value -1"),
        (ss.IF(reset_timing="next_step_after"), "IF θ=1 >= subtract next_step_after"),
        (ss.IF(theta_plus=0.1, alpha_theta=0.5), "IF θ=1 >= subtract adaptive +0.1 ×0.5"),
        (ss.IF(refractory=2, spike_amplitude=3), "IF θ=1 >= subtract refractory=2 amplitude=3"),
        (ss.IF(order="B", v_min=-1), "IF θ=1 >= subtract order B v_min=-1"),
        (
            ss.CubaLI(alpha_mem=0.5, alpha_syn=0.25, w_in=2),
            "CubaLI α=0.5 α_syn=0.25 decay_first w_in=2 → v",
        ),
    ],
)
def test_a_neuron_describes_itself(neuron: ss.Neuron, text: str) -> None:
    assert neuron.describe() == text


def test_parameters_per_channel_may_have_axes_of_one() -> None:
    net = ss.Network((3, 2, 2))
    net.add(ss.IF(ones(3, 1, 1)), "if")
    op = net.node("if").op
    assert isinstance(op, ss.Neuron)
    assert op.v_threshold.shape == (3,)
    net.add(ss.IF(ones(3, 2, 2)))
    net.add(ss.Scale(ones(3)))
    with pytest.raises(
        ShapeError, match=r"v_threshold has shape \(2,\), expected \(\), \(3,\) or \(3, 2, 2\)"
    ):
        net.add(ss.IF(ones(2)))


def test_copies_are_networks_of_their_own() -> None:
    net = small()
    other = net.copy()
    other.add(ss.Add(), "more")
    other.meta["labels"] = []
    assert "more" not in {n.name for n in net.nodes}
    assert net.meta["labels"] == ["a", "b"]


CASES: list[tuple[Any, tuple[int, ...], tuple[int, ...]]] = [
    (ss.Conv1d(ones(4, 1, 3), stride=2, padding=1, dilation=2, groups=2), (2, 9), (4, 4)),
    (ss.Conv1d(ones(4, 2, 4), padding="same"), (2, 9), (4, 9)),
    (ss.Conv1d(ones(4, 2, 4), padding="valid"), (2, 9), (4, 6)),
    (ss.Conv1d(ones(4, 2, 4), padding=(1, 0)), (2, 9), (4, 7)),
    (ss.Conv2d(ones(4, 2, 2, 3), padding="same", dilation=(3, 1)), (2, 9, 7), (4, 9, 7)),
    (ss.Conv2d(ones(4, 2, 2, 3), padding=((0, 1), (2, 0))), (2, 9, 7), (4, 9, 7)),
    (ss.Conv2d(ones(4, 2, 2, 3), padding=(1, 0), stride=(2, 1)), (2, 9, 7), (4, 5, 5)),
    (ss.SumPool1d(2, stride=3), (2, 9), (2, 3)),
    (ss.SumPool2d((2, 3), padding=(1, 0)), (2, 9, 7), (2, 5, 2)),
    (ss.AvgPool1d(4, ceil_mode=True), (2, 9), (2, 3)),
    (ss.AvgPool2d(2, ceil_mode=True), (2, 9, 7), (2, 5, 4)),
    (ss.SpikeMaxPool1d(3, 1), (2, 9), (2, 7)),
    (ss.CurrentMaxPool2d(2), (2, 9, 7), (2, 4, 3)),
    (ss.RateMaxPool1d(3, 2, padding=1, gate="argmax"), (2, 9), (2, 5)),
    (ss.RateMaxPool2d(2, padding=((0, 1), (1, 0))), (2, 9, 7), (2, 5, 4)),
    (ss.AdaptiveAvgPool2d((3, 9)), (2, 9, 7), (2, 3, 9)),
    (ss.Flatten(1), (2, 9, 7), (2, 63)),
    (ss.Flatten(-3, -2), (2, 9, 7), (18, 7)),
    (ss.Upsample((1, 3)), (2, 9, 7), (2, 9, 21)),
    (ss.Add(), (2, 9, 7), (2, 9, 7)),
    (ss.Scale(ones(2, 9, 7)), (2, 9, 7), (2, 9, 7)),
    (ss.Delay(ones(2, 9, 7)), (2, 9, 7), (2, 9, 7)),
]


@pytest.mark.parametrize(("op", "shape", "expected"), CASES)
def test_every_operation_makes_the_shape_it_should(
    op: Any, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    net = ss.Network(shape)
    name = net.add(op)
    assert net.node(name).shape == expected
    assert ss.ops.from_spec(op.spec(), op.arrays()) == op


@given(
    size=st.integers(1, 12),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 3),
    ceil=st.booleans(),
)
def test_sizes_are_those_of_torch(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool
) -> None:
    torch = pytest.importorskip("torch")
    x = torch.zeros(1, 1, size)
    net = ss.Network((1, size))
    if size + 2 * padding >= dilation * (kernel - 1) + 1:
        conv = torch.nn.functional.conv1d(
            x, torch.zeros(1, 1, kernel), stride=stride, padding=padding, dilation=dilation
        )
        op: ss.ops.Op = ss.Conv1d(ones(1, 1, kernel), None, stride, padding, dilation)
        assert net.node(net.add(op, inputs="input")).shape == tuple(conv.shape[1:])
    if padding <= kernel // 2:  # what torch takes
        op = ss.AvgPool1d(kernel, stride, padding, ceil)
        try:
            pool = torch.nn.functional.avg_pool1d(x, kernel, stride, padding, ceil)
        except RuntimeError:
            with pytest.raises(GraphError, match="is larger than the padded input"):
                net.add(op, inputs="input")
        else:
            assert net.node(net.add(op, inputs="input")).shape == tuple(pool.shape[1:])


def test_importing_is_light() -> None:
    code = "import sys, spikesim; print(sorted({m.split('.')[0] for m in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    for heavy in ("torch", "typer", "rich", "h5py", "matplotlib", "sklearn", "scipy"):
        assert f"'{heavy}'" not in found.stdout


def test_what_the_package_offers_exists() -> None:
    for name in ss.__all__:
        if name in ("convert", "from_torch", "models", "reference", "train"):
            pytest.importorskip("torch")
        assert getattr(ss, name) is not None
        assert name in dir(ss)
    with pytest.raises(AttributeError, match="module 'spikesim' has no attribute 'nothing'"):
        _ = ss.nothing


@pytest.mark.parametrize(
    "module",
    ["network", "ops", "ops.cells", "ops.neurons", "ops.pooling", "ops.reshape", "ops.synaptic"],
)
def test_the_examples_in_docstrings_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"spikesim.{module}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_unsupported_combinations_are_refused_when_the_node_is_added() -> None:
    assert issubclass(UnsupportedError, NotImplementedError)
    net = ss.Network((3,))
    with pytest.raises(UnsupportedError):
        net.add(ss.IF(spikes="multi", order="B"))
    assert len(net) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda n: n.add(ss.Linear(ones(2, 2)), "new"),
        lambda n: n.add(ss.CurrentMaxPool1d(1), "new", "spikes"),
        lambda n: n.add(ss.Add(), "new", ["fc", "no"]),
        lambda n: n.connect("if", "fc"),
        lambda n: n.connect("fc", "pool"),
        lambda n: setattr(n, "output", "no"),
        lambda n: setattr(n, "readout", "no"),
        lambda n: setattr(n, "dt", -1),
    ],
)
def test_a_call_that_fails_changes_nothing(call: Callable[[ss.Network], Any]) -> None:
    net = ss.Network((3, 1), dt=1.0)
    net.add(ss.IF(), "spikes")
    net.add(ss.SpikeMaxPool1d(1), "pool")
    net.add(ss.Flatten(), "flat")
    net.add(ss.Linear(ones(3, 3)), "fc")
    net.add(ss.IF(), "if")
    before = str(net), net.edges
    with pytest.raises(SpikesimError):
        call(net)
    assert (str(net), net.edges) == before
    net.add(ss.IF(), "new")


def test_a_delayed_loop_through_a_neuron_is_fine() -> None:
    net = ss.Network((3,))
    net.add(ss.Linear(ones(3, 3)), "fc")
    net.add(ss.IF(), "if")
    net.connect("if", "if", delay=1)
    net.connect("if", "fc", delay=2)
    net.connect("if", "fc", delay=3)
    net.validate()


@pytest.mark.parametrize("name", ["\ud800", "a\udc80"])
def test_a_name_that_is_no_text_is_refused(name: str) -> None:
    net = ss.Network((3,))
    net.add(ss.IF(), "if")
    calls: list[Callable[[], Any]] = [
        lambda: net.add(ss.IF(), name),
        lambda: net.add(ss.IF(), inputs=name),
        lambda: net.add(ss.IF(), inputs=[(name, 1)]),
        lambda: net.connect(name, "if"),
        lambda: net.connect("if", name),
        lambda: net.node(name),
        lambda: setattr(net, "output", name),
        lambda: setattr(net, "readout", name),
    ]
    for call in calls:
        with pytest.raises(GraphError, match="lone surrogate"):
            call()
    assert [node.name for node in net.nodes] == ["input", "if"]


@pytest.mark.parametrize("other", [ss.Network.copy, copy.copy, copy.deepcopy, ss.Network.fold])
def test_a_copy_has_its_own_meta(other: Callable[[ss.Network], ss.Network]) -> None:
    net = small()
    mine = other(net)
    mine.meta["labels"].append("c")
    assert net.meta == {"labels": ["a", "b"]}
