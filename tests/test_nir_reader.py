"""The reader against `nir.read`: graphs of every primitive, written by nir, are the same in both,
node for node, array for array, edge for edge; and what spikesim writes is what nir reads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

h5py = pytest.importorskip("h5py")
nir = pytest.importorskip("nir")

import spikesim as ss  # noqa: E402
from test_nir_round_trip import full, held_by_euler, saved, sayable_cases  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::spikesim.nir.NirAssumption")

DT = 0.5
POPULATIONS = ("Threshold", "I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")
LAYERS = ("Affine", "Linear", "Conv1d", "Conv2d")
SHAPES = {
    **dict.fromkeys(POPULATIONS, (2, 3)),
    "Affine": (3,),
    "Linear": (1,),
    "Conv1d": (2, 6),
    "Conv2d": (2, 4, 5),
    "Flatten": (2, 3, 1),
    "SumPool2d": (2, 4, 4),
    "AvgPool2d": (1, 5, 4),
    "Scale": (6,),
    "Delay": (2, 1, 3),
    "NIRGraph": (3,),
}
"""What goes into each primitive where it is the first node of a graph."""


class Graphs:
    """Draws graphs of nir's own classes."""

    def __init__(self, draw: Any, first: str) -> None:
        self.draw, self.first = draw, first
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def graph(self, shape: tuple[int, ...], depth: int) -> tuple[Any, tuple[int, ...]]:
        """A graph on values of `shape`, and the shape of what leaves it."""
        ends = self.pick(("input", "output"), ("i", "o"), ("90", "input"))
        nodes: dict[str, Any] = {ends[0]: nir.Input(np.array(shape))}
        shapes: dict[str, tuple[int, ...]] = {ends[0]: shape}
        edges: set[tuple[str, str]] = set()
        last = ends[0]
        for i in range(self.pick(1, 2, 4, 7)):
            name = f"{self.pick('n', 'ä ', '')}{9 - i}"
            # A graph goes on to something; of the dead ends in one nir.read makes outputs.
            bound = depth or isinstance(nodes[last], nir.NIRGraph)
            src = last if bound else self.pick(last, last, *shapes)
            nodes[name], out = self.node(shapes[src], depth)
            edges.add((src, name))
            for other in [o for o in shapes if shapes[o] == shapes[src] and o != src]:
                if self.pick(True, False, False):
                    edges.add((other, name))
            shapes[name] = out
            last = name
        self.cycles(nodes, shapes, edges, ends[0])
        nodes[ends[1]] = nir.Output(np.array(shapes[last]))
        for name in [n for n in shapes if shapes[n] == shapes[last] and n != ends[0]]:
            if name == last or self.pick(True, False, False):
                edges.add((name, ends[1]))
        mixed = self.draw(st.permutations(sorted(edges)))
        order = self.draw(st.permutations(list(nodes)))
        made = nir.NIRGraph({n: nodes[n] for n in order}, list(mixed), type_check=False)
        return made, shapes[last]

    def cycles(self, nodes: Any, shapes: Any, edges: set[tuple[str, str]], start: str) -> None:
        """From populations back to populations, or through weights."""
        spiking = [n for n, node in nodes.items() if type(node).__name__ in POPULATIONS]
        for src in spiking:
            for dst in [n for n in spiking if shapes[n] == shapes[src]]:
                if self.pick(True, False, False, False, False):
                    edges.add((src, dst))
        if spiking and self.pick(True, False):
            src = self.pick(*spiking)
            if len(shapes[src]) == 1:
                n = shapes[src][0]
                nodes["back"] = nir.Linear(self.numbers(n, n))
                edges |= {(src, "back"), ("back", src)}

    def numbers(self, *shape: int, low: float = -1, high: float = 1) -> Any:
        return self.rng.uniform(low, high, shape).astype(self.pick(np.float32, np.float64))

    def node(self, shape: tuple[int, ...], depth: int) -> tuple[Any, tuple[int, ...]]:
        kinds = [*POPULATIONS, "Scale", "Delay"]
        kinds += ["Affine", "Linear"] * 3 if len(shape) == 1 else ["Flatten"]
        kinds += ["Conv1d"] * 4 if len(shape) == 2 else []
        square = len(shape) == 3 and min(shape[1:]) > 1
        kinds += ["Conv2d", "SumPool2d", "AvgPool2d"] * 3 if square else []
        kinds += ["NIRGraph"] * 3 if depth < 2 else []
        kind, self.first = self.first or self.pick(*kinds), ""
        if kind == "NIRGraph":
            return self.graph(shape, depth + 1)
        return self.plain(kind, shape)

    def plain(self, kind: str, shape: tuple[int, ...]) -> tuple[Any, tuple[int, ...]]:
        n = self.pick(1, 2, 5)
        if kind == "Affine":
            return nir.Affine(self.numbers(n, shape[0]), self.numbers(n)), (n,)
        if kind == "Linear":
            return nir.Linear(self.numbers(n, shape[0])), (n,)
        if kind == "Scale":
            return nir.Scale(self.numbers(*shape)), shape
        if kind == "Delay":
            return nir.Delay(self.rng.integers(0, 4, shape) * DT), shape
        if kind == "Flatten":
            made = nir.Flatten({"input": np.array(shape)}, 0, self.pick(-1, len(shape) - 1))
            return made, (int(np.prod(shape)),)
        if kind in POPULATIONS:
            return self.population(kind, shape), shape
        window = self.pick(*range(1, 1 + min(2, *shape[1:])))
        stride, padding = self.pick(1, 2), self.pick(0, window // 2)
        size = tuple((m + 2 * padding - window) // stride + 1 for m in shape[1:])
        if kind in ("SumPool2d", "AvgPool2d"):
            values = [np.array([v, v]) for v in (window, stride, padding)]
            return getattr(nir, kind)(*values), (shape[0], *size)
        weight, bias = self.numbers(n, shape[0], *(window for _ in size)), self.numbers(n)
        if kind == "Conv1d":
            return nir.Conv1d(shape[1], weight, stride, padding, 1, 1, bias), (n, *size)
        pair = (padding, padding)
        return nir.Conv2d(shape[1:], weight, (stride, stride), pair, 1, 1, bias), (n, *size)

    def population(self, kind: str, shape: tuple[int, ...]) -> Any:
        made = {
            "r": self.numbers(*shape, low=0.5, high=2),
            "v_leak": self.numbers(*shape, low=-0.2, high=0.2),
            "v_threshold": self.numbers(*shape, low=0.5),
            "threshold": self.numbers(*shape),
            "v_reset": self.numbers(*shape, low=-0.5, high=0.25),
            "w_in": self.numbers(*shape),
        }
        made |= {tau: self.numbers(*shape, low=1, high=9) for tau in ("tau", "tau_mem", "tau_syn")}
        primitive = getattr(nir, kind)
        return primitive(**{k: v for k, v in made.items() if k in primitive.__dataclass_fields__})


def flat(graph: Any, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]], str, str]:
    """nir's graph without graphs in it: nodes, edges, the names of its two ends."""
    nodes: dict[str, Any] = {}
    inner: list[tuple[str, str]] = []
    enter, leave = {}, {}
    start = end = ""
    for name, node in graph.nodes.items():
        full_name = prefix + name
        if isinstance(node, nir.NIRGraph):
            more, edges, enter[name], leave[name] = flat(node, f"{full_name}.")
            nodes |= more
            inner += edges
            continue
        nodes[full_name] = node
        enter[name] = leave[name] = full_name
        start = full_name if isinstance(node, nir.Input) else start
        end = full_name if isinstance(node, nir.Output) else end
    return nodes, inner + [(leave[a], enter[b]) for a, b in graph.edges], start, end


def without(links: list[tuple[str, str, int]], name: str) -> list[tuple[str, str, int]]:
    """The links with a node taken out that passes on what comes."""
    into = [link for link in links if link[1] == name]
    out = [link for link in links if link[0] == name]
    made = [(src, dst, a + b) for src, _, a in into for _, dst, b in out]
    return [link for link in links if name not in link[:2]] + made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reader")


@pytest.mark.parametrize("first", SHAPES)
@settings(max_examples=max(1, settings().max_examples // 8))
@given(data=st.data())
def test_the_reader_finds_what_nir_finds(first: str, data: Any, folder: Path) -> None:
    graph, _ = Graphs(data.draw, first).graph(SHAPES[first], 0)
    path = folder / "graph.nir"
    nir.write(path, graph, compression=data.draw(st.sampled_from(["gzip", None])))
    nodes, edges, start, end = flat(nir.read(path, type_check=False))
    links = [(src, dst, 0) for src, dst in edges]
    for name, node in nodes.items():
        if isinstance(node, nir.Input | nir.Output) and name not in (start, end):
            links = without(links, name)
    net = ss.load(path, nir=ss.NirOptions(dt=DT, if_gain="dt"))
    renamed = {start: "input", **net.meta["nir"].get("renamed", {})}
    ours = {node.name: node for node in net.nodes}
    inside = {n for n, node in nodes.items() if not isinstance(node, nir.Input | nir.Output)}
    assert ours["input"].shape == tuple(nodes[start].input_type["input"])
    assert net.output_shape == tuple(nodes[end].output_type["output"])
    last = {renamed.get(src, src) for src, dst, _ in links if dst == end}
    summed = {net.output} if len(last) > 1 else set()
    assert set(ours) == {"input"} | {renamed.get(n, n) for n in inside} | summed
    expected = {(renamed.get(a, a), renamed.get(b, b)) for a, b, _ in links if b != end}
    expected |= {(name, net.output) for name in last if summed}
    assert summed or {net.output} == last
    got = [(edge.src, edge.dst) for edge in net.edges]
    assert Counter(got) == Counter(expected)
    for name in inside:
        compare(nodes[name], ours[renamed.get(name, name)])


def compare(theirs: Any, node: ss.Node) -> None:
    """A node of nir's with one of the network, array for array."""
    kind, op = type(theirs).__name__, node.op
    made: Any = op
    if kind in LAYERS:
        np.testing.assert_array_equal(made.weight, np.float32(theirs.weight))
        if kind != "Linear":
            np.testing.assert_array_equal(made.bias, np.float32(theirs.bias))
        assert type(op).__name__ == {"Affine": "Linear"}.get(kind, kind)
    elif kind in POPULATIONS:
        assert made.meta["nir"] == kind
        held(theirs, made, node.shape)
    elif kind == "Scale":
        np.testing.assert_array_equal(full(made.scale, node.shape), np.float32(theirs.scale))
    elif kind == "Delay":
        np.testing.assert_array_equal(full(made.delay, node.shape) * DT, theirs.delay)
    else:
        assert type(op).__name__ == kind
    if kind.startswith("Conv") or kind.endswith("Pool2d"):
        for name in {"stride", "padding", "dilation", "kernel_size"} & set(vars(theirs)):
            axes = len(node.shape) - 1
            said = np.broadcast_to(getattr(theirs, name), axes)
            mine = np.array(getattr(made, name)).reshape(axes, -1)
            np.testing.assert_array_equal(mine, np.broadcast_to(said[:, None], mine.shape))


def held(theirs: Any, op: Any, shape: tuple[int, ...]) -> None:
    """Euler's method on nir's own arrays gives the network's, rounded once."""
    said: dict[str, Any] = {}
    values = {n: np.asarray(v, np.float64) for n, v in vars(theirs).items() if n[0] in "rtvw"}
    for tau, factor, names in (
        ("tau", "r", ("alpha_mem", "gain")),
        ("tau_mem", "r", ("alpha_mem", "gain")),
        ("tau_syn", "w_in", ("alpha_syn", "w_in")),
    ):
        if tau in values:
            said[names[0]] = 1 - DT / values[tau]
            said[names[1]] = values[factor] * (DT / values[tau])
    if not said and "r" in values:
        said |= {"alpha_mem": 1.0, "gain": values["r"] * DT}
    for name in ("v_leak", "v_threshold", "v_reset"):
        if name in values:
            said[name] = values[name]
    if "threshold" in values:
        said = {"v_threshold": values["threshold"], "alpha_mem": 0.0}
    for name, value in said.items():
        got = full(getattr(op, name), shape)
        np.testing.assert_array_equal(got, np.broadcast_to(np.float32(value), shape), name)


@given(case=sayable_cases())
def test_nir_finds_what_is_written(case: Any, folder: Path) -> None:
    net = case[0].fold()
    graph = nir.read(saved(net, folder), type_check=False)
    dt = net.dt or 1e-4
    late, ours = {}, {node.name: node for node in net.nodes}
    for name, node in ours.items():
        op: Any = node.op
        theirs = graph.nodes.get(name)
        layer = node.kind in ("linear", "conv1d", "conv2d")
        late[name] = int(op.delay.flat[0]) if layer and op.delay is not None else 0
        if layer:
            np.testing.assert_array_equal(theirs.weight, op.weight)
            if op.bias is not None:
                np.testing.assert_array_equal(theirs.bias, op.bias)
        elif node.kind == "scale":
            np.testing.assert_array_equal(theirs.scale, full(op.scale, node.shape))
        elif node.kind == "delay":
            np.testing.assert_allclose(theirs.delay / dt, full(op.delay, node.shape), rtol=1e-12)
        elif node.kind == "neuron":
            held_by_euler(theirs, op, node.shape, dt)
    wanted = [(e.src, e.dst, e.delay + late[e.dst]) for e in net.edges]
    wanted.append((net.output, "", 0))
    said = [(a, b, 0) for a, b in graph.edges]
    end = next(name for name, node in graph.nodes.items() if isinstance(node, nir.Output))
    said = [(a, "" if b == end else b, 0) for a, b, _ in said]
    for name, theirs in graph.nodes.items():
        if isinstance(theirs, nir.Delay) and name not in ours:
            steps = np.unique(np.rint(theirs.delay / dt))
            assert len(steps) == 1
            said = [(a, b, d + int(steps[0]) * (b == name)) for a, b, d in said]
            said = without(said, name)
    for name, node in ours.items():
        if node.kind == "add":
            wanted = without(wanted, name)
            said = without(said, name) if name in graph.nodes else said
    # A reader gives a cycle the step that it needs.
    short = Counter(said) - Counter(wanted)
    assert Counter((a, b, 1) for a, b, _ in short.elements()) == Counter(wanted) - Counter(said)
    assert all(steps == 0 for *_, steps in short)
