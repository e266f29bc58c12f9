"""Each NIR primitive against plain NumPy, options and shapes, cycles and nested graphs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

h5py = pytest.importorskip("h5py")
nir = pytest.importorskip("nir")

import spikesim as ss  # noqa: E402
from engines import Engine  # noqa: E402
from spikesim.errors import FormatError  # noqa: E402
from test_nir_damage import node  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::spikesim.nir.NirAssumption"),
    pytest.mark.filterwarnings("ignore:Using padding"),
]

DT, T = 0.5, 12
Folder = Any


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("primitives")


def written(graph: Any, folder: Path) -> Path:
    path = folder / "graph.nir"
    nir.write(path, graph)
    return path


def chain(kind: Any, n: int, folder: Path) -> Path:
    return written(nir.NIRGraph.from_list(nir.Input([n]), kind, nir.Output([n])), folder)


# Populations, one step after the other in float64


def twin(p: Any, x: Any, integration: str, gain: str, options: dict[str, Any]) -> Any:
    """(spikes, v) of a nir node by its equations."""
    kind = type(p).__name__
    v = np.zeros(x.shape[1])
    if options.get("v0") == "v_leak":
        v = v + getattr(p, "v_leak", getattr(p, "v_reset", 0.0))
    elif options.get("v0") == "v_reset":
        v = v + getattr(p, "v_reset", getattr(p, "v_leak", 0.0))
    i = np.zeros_like(v)

    def decay(tau: Any) -> tuple[Any, Any]:
        if integration == "euler":
            return 1 - DT / tau, DT / tau
        alpha = np.exp(-DT / tau)
        return alpha, (1 - alpha if integration == "exact" else 1.0)

    spikes, states = [], []
    for now in x:
        if kind.startswith("Cuba"):
            a, g = decay(p.tau_syn)
            i = a * i + g * p.w_in * now
            now = i
        if kind in ("I", "IF"):
            v = v + p.r * (DT if gain == "dt" else 1.0) * now
        else:
            a, g = decay(p.tau if hasattr(p, "tau") else p.tau_mem)
            v = p.v_leak + a * (v - p.v_leak) + g * p.r * now
        z = np.zeros_like(v)
        if kind.endswith("IF"):
            z = (v >= p.v_threshold) if options.get("fires") == ">=" else (v > p.v_threshold)
            if options.get("reset") == "subtract":
                v = v - z * p.v_threshold
            elif options.get("reset", "to_value") == "to_value":
                v = np.where(z, p.v_reset, v)
        spikes.append(z.astype(float))
        states.append(v)
    return np.array(spikes), np.array(states)


@pytest.mark.parametrize("kind", ["I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"])
@given(data=st.data())
def test_population(kind: str, data: Any, folder: Path) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    pick = lambda *c: data.draw(st.sampled_from(c))  # noqa: E731
    n = 6
    fields = {
        "r": rng.uniform(0.5, 2, n), "tau": rng.uniform(1, 5, n), "tau_mem": rng.uniform(1, 5, n),
        "tau_syn": rng.uniform(1, 5, n), "v_leak": rng.normal(0, 0.2, n),
        "w_in": rng.uniform(0.5, 2, n), "v_threshold": rng.uniform(0.3, 1, n),
        "v_reset": rng.uniform(-0.3, 0.2, n),
    }  # fmt: skip
    primitive = getattr(nir, kind)
    names = primitive.__dataclass_fields__
    made = primitive(**{name: value for name, value in fields.items() if name in names})
    integration, gain = pick("euler", "exponential", "exact"), pick("dt", "one")
    options = {"v0": pick("zero", "v_leak", "v_reset"), "fires": pick(">", ">=")}
    options["reset"] = pick("to_value", "subtract", "none")
    net = ss.load(
        chain(made, n, folder),
        nir=ss.NirOptions(dt=DT, integration=integration, if_gain=gain, **options),
    )
    x = rng.normal(0.3, 0.7, (T, n)).astype(np.float32)
    spikes, v = twin(made, x.astype(float), integration, gain, options)
    got = Engine(net).run(x[:, None])
    (name,) = got.v
    if kind.endswith("IF"):
        differs = got.spikes[name][:, 0] != spikes
        # float32 against float64: only from where a membrane was on its threshold.
        first = np.where(differs.any(1))[0][:1]
        until = int(first[0]) if len(first) else T
        assert until == T or until > 0
        assert until >= T - 1 or not len(first) or close_call(made, v, spikes, until, differs)
        np.testing.assert_allclose(got.v[name][:until, 0], v[:until], atol=1e-4, rtol=1e-4)
    else:
        assert not got.spikes
        np.testing.assert_allclose(got.v[name][:, 0], v, atol=1e-4, rtol=1e-4)


def close_call(made: Any, v: Any, spikes: Any, t: int, differs: Any) -> bool:
    """Whether the membrane was within rounding of the threshold where a spike differs."""
    quiet = differs[t] & (spikes[t] == 0)
    return bool(np.all(np.abs(v[t] - made.v_threshold)[quiet] < 1e-4))


def test_threshold_and_amplitude(folder: Path) -> None:
    made = nir.Threshold(np.array([0.5, -0.5]))
    x = np.array([[0.5, -0.5], [0.75, 0.0]], np.float32)[:, None]
    for fires, first in ((">", [0, 0]), (">=", [1, 1])):
        options = ss.NirOptions(dt=DT, fires=fires, spike_amplitude="1/dt")
        net = ss.load(chain(made, 2, folder), nir=options)
        assert float(net.node(net.output).op.spike_amplitude) == 1 / DT
        result = net.compile().run(x, record="spikes").spikes[net.output].to_dense()
        np.testing.assert_array_equal(result[:, 0], [first, [1, 1]])


@given(data=st.data())
def test_delay(data: Any, folder: Path) -> None:
    steps = np.array(data.draw(st.lists(st.integers(0, 4), min_size=3, max_size=3)))
    made = nir.Delay(steps * DT)
    net = ss.load(chain(made, 3, folder), nir=ss.NirOptions(dt=DT))
    x = np.random.default_rng(0).normal(size=(T, 3)).astype(np.float32)
    net.add(ss.LI(alpha_mem=0.0), "probe")
    net.output = "probe"
    expected = np.stack(
        [np.concatenate([np.zeros(k), x[: T - k, i]]) for i, k in enumerate(steps)], 1
    )
    np.testing.assert_array_equal(Engine(net).run(x[:, None]).v["probe"][:, 0], expected)


# Convolutions that nir refuses, written by hand


@settings(max_examples=20)
@given(data=st.data())
def test_grouped_and_uneven_convolutions(data: Any, folder: Path) -> None:
    torch = pytest.importorskip("torch")
    pick = lambda *c: data.draw(st.sampled_from(c))  # noqa: E731
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    groups, kernel = pick(1, 2, 4), (pick(1, 2, 3), pick(1, 3))
    stride, dilation = (pick(1, 2), pick(1, 2)), (pick(1, 2), 1)
    padding: Any = pick(0, (1, 2), "valid", "same")
    if padding == "same":
        stride = (1, 1)
    weight = rng.integers(-256, 256, (8, 4 // groups, *kernel)).astype(np.float32) / 256
    bias = rng.integers(-256, 256, 8).astype(np.float32) / 256
    x = (rng.random((1, 1, 4, 7, 6)) < 0.5).astype(np.float32)
    want = torch.nn.functional.conv2d(
        torch.from_numpy(x[0]), torch.from_numpy(weight), torch.from_numpy(bias), stride,
        padding, dilation, groups,
    ).numpy()  # fmt: skip
    path = folder / "conv.nir"
    with h5py.File(path, "w") as file:
        root = file.create_group("node")
        root["type"] = "NIRGraph"
        root["edges"] = [(b"input", b"conv"), (b"conv", b"output")]
        nodes = root.create_group("nodes")
        node(nodes, "input", "Input", shape=np.array([4, 7, 6]))
        node(nodes, "output", "Output", shape=np.array(want.shape[1:]))
        node(
            nodes, "conv", "Conv2d", weight=weight, bias=bias, stride=np.array(stride),
            padding=padding if isinstance(padding, str) else np.array(padding),
            dilation=np.array(dilation), groups=groups,
        )  # fmt: skip
    net = ss.load(path)
    net.add(ss.LI(alpha_mem=0.0), "probe")
    net.output = "probe"
    np.testing.assert_array_equal(Engine(net).run(x).v["probe"][0], want)


# Shapes of parameters


@pytest.mark.parametrize(
    ("shape", "expected"), [((), "one"), ((1,), "one"), ((2,), "channel"), ((2, 3, 4), "all")]
)
def test_shapes_of_parameters(shape: Any, expected: str, tmp_path: Path) -> None:
    values = np.arange(1, 1 + int(np.prod(shape)), dtype=float).reshape(shape)
    path = tmp_path / "x.nir"
    with h5py.File(path, "w") as file:
        root = file.create_group("node")
        root["type"] = "NIRGraph"
        root["edges"] = [(b"input", b"li"), (b"li", b"output")]
        nodes = root.create_group("nodes")
        node(nodes, "input", "Input", shape=np.array([2, 3, 4]))
        node(nodes, "output", "Output", shape=np.array([2, 3, 4]))
        node(nodes, "li", "LI", tau=values, r=values, v_leak=values * 0)
    op: Any = ss.load(path, nir=ss.NirOptions(dt=0.5)).node("li").op
    full = {"one": np.ones((2, 3, 4)), "all": values}.get(expected)
    full = np.broadcast_to(values.reshape(-1, 1, 1), (2, 3, 4)) if full is None else full
    alpha = op.alpha_mem.reshape(2, 1, 1) if expected == "channel" else op.alpha_mem
    np.testing.assert_allclose(np.broadcast_to(alpha, (2, 3, 4)), 1 - 0.5 / full)


def test_a_vector_that_could_mean_two_things_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.nir"
    with h5py.File(path, "w") as file:
        root = file.create_group("node")
        root["type"] = "NIRGraph"
        root["edges"] = [(b"input", b"li"), (b"li", b"output")]
        nodes = root.create_group("nodes")
        for name, kind in (("input", "Input"), ("output", "Output")):
            node(nodes, name, kind, shape=np.array([3, 2, 3]))
        node(nodes, "li", "LI", tau=np.array([1.0, 2, 3]), r=1.0, v_leak=0.0)
    with pytest.raises(FormatError, match="could be one value a channel or one a column"):
        ss.load(path)


# Cycles and graphs in graphs


def affine(bias: float = 0.5) -> Any:
    return nir.Affine(np.full((1, 1), 0.5), np.array([bias]))


def lif() -> Any:
    one = np.ones(1)
    return nir.LIF(tau=2 * DT * one, r=2 * one, v_leak=0 * one, v_threshold=one)


def cyclic(*edges: tuple[str, str], **nodes: Any) -> Any:
    ends = {"input": nir.Input([1]), "output": nir.Output([1])}
    return nir.NIRGraph({**ends, **nodes}, list(edges), type_check=False)


def delays(net: ss.Network) -> set[tuple[str, str]]:
    return {(e.src, e.dst) for e in net.edges if e.delay == 1}


def test_cycles(folder: Path) -> None:
    two = [
        ("input", "a"), ("a", "w"), ("w", "b"), ("b", "back"), ("back", "a"), ("b", "self"),
        ("self", "b"), ("a", "b"), ("b", "output"),
    ]  # fmt: skip
    nodes = {n: lif() for n in "ab"} | {n: affine() for n in ("w", "back", "self")}
    rng = np.random.default_rng(5)
    for feedback, expected in (
        ("leaving", {("b", "back"), ("b", "self")}),
        ("entering", {("back", "a"), ("self", "b")}),
    ):
        for _ in range(5):  # names and the order of the file play no part
            order = [two[i] for i in rng.permutation(len(two))]
            path = written(cyclic(*order, **nodes), folder)
            net = ss.load(path, nir=ss.NirOptions(dt=DT, feedback=feedback))
            assert delays(net) == expected
    # A bias in the cycle acts from the first step, or only after it.
    simple = cyclic(
        ("input", "n"), ("n", "w"), ("w", "n"), ("n", "output"), n=lif(), w=affine(0.25)
    )
    x = np.zeros((2, 1, 1), np.float32)
    for feedback, first in (("leaving", 0.25), ("entering", 0.0)):
        net = ss.load(written(simple, folder), nir=ss.NirOptions(dt=DT, feedback=feedback))
        assert Engine(net).run(x).v["n"][0, 0, 0] == first


def test_a_delay_in_a_cycle_is_all_it_needs(folder: Path) -> None:
    edges = [("input", "n"), ("n", "d"), ("d", "n"), ("n", "output")]
    made = cyclic(*edges, n=lif(), d=nir.Delay(np.array([3 * DT])))
    assert not delays(ss.load(written(made, folder), nir=ss.NirOptions(dt=DT)))
    made = cyclic(*edges, n=lif(), d=nir.Delay(np.array([0.0])))
    assert delays(ss.load(written(made, folder), nir=ss.NirOptions(dt=DT))) == {("n", "d")}


def test_nested_graphs(folder: Path) -> None:
    inner = cyclic(("input", "n"), ("n", "w"), ("w", "n"), ("n", "output"), n=lif(), w=affine())
    outer = cyclic(
        ("input", "fc"), ("fc", "g"), ("input", "g"), ("g", "last"), ("g", "output"),
        ("last", "output"), fc=affine(), g=inner, last=affine(),
    )  # fmt: skip
    net = ss.load(written(outer, folder), nir=ss.NirOptions(dt=DT))
    assert {node.name for node in net.nodes} == {"input", "fc", "g.n", "g.w", "last", "output"}
    assert {(e.src, e.dst, e.delay) for e in net.edges} == {
        ("input", "fc", 0), ("fc", "g.n", 0), ("input", "g.n", 0), ("g.n", "g.w", 1),
        ("g.w", "g.n", 0), ("g.n", "last", 0), ("g.n", "output", 0), ("last", "output", 0),
    }  # fmt: skip


@given(order=st.permutations(range(6)))
def test_several_edges_are_summed_in_any_order_of_the_file(order: Any, folder: Path) -> None:
    edges = [
        ("input", "10"), ("input", "9"), ("10", "2"), ("9", "2"), ("input", "2"), ("2", "output")
    ]  # fmt: skip
    nodes = {"10": affine(), "9": affine(-0.25), "2": lif()}
    net = ss.load(
        written(cyclic(*(edges[i] for i in order), **nodes), folder), nir=ss.NirOptions(dt=DT)
    )
    x = np.random.default_rng(1).integers(0, 3, (T, 1, 1)).astype(np.float32)
    current = Engine(net).run(x).current["2"]
    np.testing.assert_array_equal(current, 2 * x + 0.25)


def test_vgg16_loads_soon_and_in_little_memory() -> None:
    """The bars are 1 s and 2.5 times the weights; bench/loading.py prints what it is."""
    pytest.importorskip("torch")
    root = Path(__file__).parent.parent
    code = (
        "import sys, json, subprocess, tempfile, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "import loading\n"
        "with tempfile.TemporaryDirectory() as f:\n"
        "    path = loading.saved(pathlib.Path(f))[1]\n"
        "    command = [sys.executable, loading.__file__, '--child', path]\n"
        "    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout)\n"
    )
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs Linux's /proc")
    done = subprocess.run(
        [sys.executable, "-c", code, str(root / "bench")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    import json

    row = json.loads(done.stdout)
    assert row["cpu_ms"] < 1000
    assert row["peak"] <= 2.5 * row["weights"]
