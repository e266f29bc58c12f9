"""Small NIR files that ask for much, and large ones that ask for what they hold."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

import spikesim as ss  # noqa: E402
from spikesim.errors import FormatError, InputError  # noqa: E402
from test_nir_damage import MIB, SECONDS, node  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::spikesim.nir.NirAssumption"),
    pytest.mark.timeout(120),
]

CHILD = """
import sys, warnings
import h5py, spikesim as ss
warnings.simplefilter("ignore")
def status(name):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(name))
try:
    ss.load(sys.argv[1])
except ss.errors.SpikesimError:
    pass
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
try:
    net = ss.load(sys.argv[2])
except ss.errors.SpikesimError as error:
    print(error)
else:
    print("loaded")
print((status("VmHWM") - before) / 1024)
"""


def taken(path: Path, small: Path) -> tuple[str, float]:
    """What loading `path` says, and the MiB that it takes at most, measured by the system."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs Linux's /proc")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(small), str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said, mib = done.stdout.splitlines()
    return said, float(mib)


def graph(
    path: Path, nodes: dict[str, tuple[str, dict[str, Any]]], shape: tuple[int, ...],
    out: tuple[int, ...] | None = None,
) -> Path:  # fmt: skip
    """A chain of nodes."""
    with h5py.File(path, "w") as file:
        root = file.create_group("node")
        root["type"] = "NIRGraph"
        names = ["input", *nodes, "output"]
        edges = list(itertools.pairwise(names))
        root.create_dataset("edges", data=edges, dtype=h5py.string_dtype())
        group = root.create_group("nodes")
        node(group, "input", "Input", shape=np.array(shape))
        node(group, "output", "Output", shape=np.array(out or shape))
        for name, (kind, fields) in nodes.items():
            node(group, name, kind, **fields)
    return path


def lif(n: Any, **fields: Any) -> tuple[str, dict[str, Any]]:
    ones = np.ones(n)
    given = {"tau": 0.01 * ones, "r": ones, "v_leak": 0 * ones, "v_threshold": ones}
    return "LIF", {**given, **fields}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return graph(tmp_path / "small.nir", {"a": lif(2)}, (2,))


TWO = np.array([0.5, 1.5])
LARGE: dict[str, tuple[str, dict[str, Any]]] = {
    "Scale": ("Scale", {"scale": TWO}),
    "Scale of three axes": ("Scale", {"scale": TWO.reshape(2, 1, 1)}),
    "LIF": lif(2, tau=TWO, r=TWO, v_leak=TWO - 1, v_threshold=TWO, v_reset=TWO - 2),
    "Delay": ("Delay", {"delay": TWO.reshape(2, 1, 1) * 1e-3}),
    "Threshold": ("Threshold", {"threshold": TWO}),
}


@pytest.mark.parametrize("shape", [(2, 4096, 4096), (2, 2**15, 2**14)])
@pytest.mark.parametrize("name", LARGE)
def test_one_value_a_channel_stays_one(
    name: str, shape: tuple[int, ...], tmp_path: Path, small: Path
) -> None:
    path = graph(tmp_path / "large.nir", {"a": LARGE[name]}, shape)
    assert taken(path, small)[1] < MIB


@pytest.mark.parametrize("name", LARGE)
def test_one_value_a_channel_means_one_for_all_of_its_elements(name: str, tmp_path: Path) -> None:
    kind, fields = LARGE[name]
    whole = {
        field: np.broadcast_to(value.reshape(2, 1, 1), (2, 3, 4)).copy()
        for field, value in fields.items()
    }
    short, long = (
        graph(tmp_path / f"{i}.nir", {"a": (kind, given)}, (2, 3, 4))
        for i, given in enumerate((fields, whole))
    )
    found, expected = (ss.load(path).node("a").op.arrays() for path in (short, long))
    assert found.keys() == expected.keys()
    per_channel = 0
    for array, values in found.items():
        per_channel += values.shape == (2,)
        one = values.reshape(2, 1, 1) if values.ndim == 1 else values
        full = np.broadcast_to(expected[array], (2, 3, 4))
        np.testing.assert_array_equal(np.broadcast_to(one, (2, 3, 4)), full, array)
    assert per_channel >= len(fields) - (name == "LIF")  # tau and r are both in the gain


def test_one_value_a_column_is_spread_within_bounds(tmp_path: Path, small: Path) -> None:
    columns = np.linspace(1, 2, 8).reshape(1, 1, 8)
    good = graph(tmp_path / "good.nir", {"a": ("Scale", {"scale": columns})}, (2, 3, 8))
    op: Any = ss.load(good).node("a").op
    np.testing.assert_array_equal(op.scale, np.broadcast_to(columns, (2, 3, 8)).astype("f4"))
    path = graph(tmp_path / "bad.nir", {"a": ("Scale", {"scale": columns})}, (2, 2**21, 8))
    said, mib = taken(path, small)
    assert "scale of node 'a' and those before it would be spread to 268435456 bytes" in said
    assert mib < MIB


def own(tmp_path: Path) -> Path:
    """A file of spikesim's own with every kind of node whose parameters a file spreads."""
    net = ss.Network((2, 4, 4))
    net.add(ss.ops.Scale([0.5, 2.0]), "scale")
    net.add(ss.ops.LIF(alpha_mem=[0.5, 0.75], v_threshold=[1.0, 2.0]), "lif")
    net.add(ss.ops.Delay([1, 2]), "delay")
    net.add(ss.ops.CubaLIF(alpha_mem=0.5, alpha_syn=[0.5, 0.25]), "cuba")
    net.save(tmp_path / "own.nir")
    return tmp_path / "own.nir"


def test_an_own_file_whose_shape_was_made_large_takes_no_memory(
    tmp_path: Path, small: Path
) -> None:
    path = own(tmp_path)
    assert ss.load(path).node("lif").shape == (2, 4, 4)
    with h5py.File(path, "r+") as file:
        for end in ("input", "output"):
            file[f"node/nodes/{end}/shape"][...] = (2, 8192, 8192)
    said, mib = taken(path, small)
    assert "differs from what the metadata says" in said
    assert mib < MIB


@pytest.mark.parametrize(
    ("kind", "field"),
    [("LI", "r"), ("LIF", "r"), ("LIF", "v_reset"), ("CubaLI", "r"), ("CubaLIF", "w_in")],
)
def test_an_empty_parameter_is_no_missing_one(kind: str, field: str, tmp_path: Path) -> None:
    names = ("tau_syn", "tau_mem", "r", "v_leak") if "Cuba" in kind else ("tau", "r", "v_leak")
    fields = {name: np.ones(2) for name in names}
    if kind.endswith("LIF"):
        fields |= {"v_threshold": 2 * np.ones(2)}
    graph(tmp_path / "x.nir", {"a": (kind, fields)}, (2,))
    assert ss.load(tmp_path / "x.nir").node("a")
    with h5py.File(tmp_path / "x.nir", "r+") as file:
        if field in fields:
            del file[f"node/nodes/a/{field}"]
        file[f"node/nodes/a/{field}"] = h5py.Empty("f8")
    with pytest.raises(FormatError, match=f"nodes/a/{field} is no array of numbers, expected one"):
        ss.load(tmp_path / "x.nir")


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_a_bias_that_another_program_wrote_counts(kind: str, tmp_path: Path) -> None:
    """Weights and biases are NIR's own; a convolution without a bias has zeros there."""
    net = ss.Network((2, 3, 3) if kind == "conv" else (3,))
    conv = ss.ops.Conv2d(np.ones((2, 2, 1, 1), "f4"), None)
    net.add(conv if kind == "conv" else ss.ops.Linear(np.ones((2, 3), "f4"), np.zeros(2)), "w")
    net.add(ss.ops.IF(v_threshold=1.0), "if")
    path = tmp_path / "own.nir"
    net.save(path)
    before: Any = ss.load(path).node("w").op
    assert before == net.node("w").op
    with h5py.File(path, "r+") as file:
        file["node/nodes/w/bias"][...] = [0.25, -1.5]
    after: Any = ss.load(path).node("w").op
    np.testing.assert_array_equal(after.bias, [0.25, -1.5])


def nested(path: Path, inner: tuple[int, ...], outer: tuple[int, ...]) -> Path:
    with h5py.File(graph(path, {"g": lif(2)}, (2,)), "r+") as file:
        nodes = file["node/nodes"]
        del nodes["g"]
        deep = graph(path.with_suffix(".inner"), {"a": lif(2)}, (2,))
        with h5py.File(deep) as other:
            other.copy("node", nodes, "g")
        for end, shape in (("input", inner), ("output", outer)):
            del nodes[f"g/nodes/{end}/shape"]
            nodes[f"g/nodes/{end}/shape"] = np.array(shape)
    return path


def test_shapes_of_nested_graphs_are_held_against_what_comes_in(tmp_path: Path) -> None:
    assert ss.load(nested(tmp_path / "good.nir", (2,), (2,))).node("g.a").shape == (2,)
    for name, ends, wrong in (
        ("in", ((3,), (2,)), r"'g.input' has shape \[3\], expected \[2\] as 'input' before it"),
        ("out", ((2,), (1, 2)), r"'g.output' has shape \[1, 2\], expected \[2\] as 'g.a'"),
    ):
        with pytest.raises(FormatError, match=wrong):
            ss.load(nested(tmp_path / f"{name}.nir", *ends))


def test_inputs_and_outputs_that_feed_each_other_alone_are_refused(tmp_path: Path) -> None:
    path = nested(tmp_path / "ring.nir", (2,), (2,))
    with h5py.File(path, "r+") as file:
        del file["node/edges"], file["node/nodes/g/edges"], file["node/nodes/g/nodes/a"]
        file["node/nodes/g/edges"] = [(b"input", b"output")]
        node(file["node/nodes"], "b", "Scale", scale=np.ones(2))
        edges = [(b"input", b"b"), (b"b", b"output"), (b"g", b"g"), (b"g", b"b")]
        file["node/edges"] = edges
    with pytest.raises(FormatError, match="feeds itself through nothing"):
        ss.load(path)


def test_a_step_of_the_metadata_and_one_given_may_not_differ(tmp_path: Path) -> None:
    path = graph(tmp_path / "x.nir", {"a": lif(2)}, (2,))
    with h5py.File(path, "r+") as file:
        file["node/metadata/dt"] = np.array([1e-3])
    assert ss.load(path).dt == 1e-3
    assert ss.load(path, nir=ss.NirOptions(dt=1e-3)).dt == 1e-3
    with pytest.raises(InputError, match=r"nir says dt=0\.002 for .* metadata says 0\.001"):
        ss.load(path, nir=ss.NirOptions(dt=2e-3))
    wrong: tuple[Any, ...] = (np.ones(2), "soon", h5py.Empty("f8"), -1.0, np.zeros((1, 0)))
    for value in wrong:
        with h5py.File(path, "r+") as file:
            del file["node/metadata/dt"]
            file["node/metadata/dt"] = value
        with pytest.raises(FormatError, match=r"metadata.*dt is"):
            ss.load(path)


@pytest.mark.parametrize("value", [10**400, np.array([1.0, 2.0]), np.ones((1, 0)), 1j])
@pytest.mark.parametrize("name", ["dt", "v0", "spike_amplitude"])
def test_options_that_are_no_numbers(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"nir: {name} is .*, expected a number"):
        ss.NirOptions(**{name: value})


def shared(path: Path) -> None:
    """60 layers with one weight of 4 MiB."""
    weight = np.random.default_rng(0).normal(0, 1, (1024, 1024)).astype("f4")
    graph(path, {f"n{i}": ("Linear", {"weight": np.ones((1, 1))}) for i in range(60)}, (1024,))
    with h5py.File(path, "r+") as file:
        file["node/nodes/n0/weight2"] = weight
        for i in range(60):
            del file[f"node/nodes/n{i}/weight"]
            file[f"node/nodes/n{i}/weight"] = file["node/nodes/n0/weight2"]
        del file["node/nodes/n0/weight2"]


def scalars(path: Path) -> None:
    graph(path, {"a": lif(2)}, (2,))
    with h5py.File(path, "r+") as file:
        for i in range(16_000):
            file[f"node/metadata/{i}"] = i


def links(path: Path) -> None:
    graph(path, {f"n{i}": ("Scale", {"scale": np.ones(2)}) for i in range(4)}, (2,))
    with h5py.File(path, "r+") as file:
        file["node/nodes/n0/metadata/0"] = 1
        for i in range(4):
            for j in range(16_000):
                file[f"node/nodes/n{i}/more{j}"] = file["node/nodes/n0/metadata/0"]


def text(where: str, size: int, **more: Any) -> Any:
    def make(path: Path) -> None:
        graph(path, {"a": lif(2)}, (2,))
        with h5py.File(path, "r+") as file:
            if where in file:
                del file[where]
            if where == "node/edges":
                file[where] = [["x" * size, "y"]]
            elif where.endswith("/"):
                file[where + "x" * size] = 1.0
            else:
                file[where] = "{" * size

    return make


BOMBS: dict[str, tuple[Any, str]] = {
    "datasets linked twice": (shared, "weight is linked twice"),
    "many metadata entries": (scalars, "has 16000 entries, expected at most 512"),
    "many hard links": (links, "is linked twice"),
    "long type": (text("node/nodes/a/type", 64 << 20), "has a string of 67108864 bytes"),
    "long metadata": (text("node/metadata/spikesim", 64 << 20), "has a string of 67108864 bytes"),
    "many objects": (text("node/metadata/spikesim", 8 << 20), "has more than 262144 lists"),
    "long name in an edge": (text("node/edges", 4 << 20), "has a string of 4194304 bytes"),
    "long name of a field": (text("node/nodes/a/", 60_000), "name of 60000 bytes"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_files_that_ask_for_much_are_refused_soon(name: str, tmp_path: Path, small: Path) -> None:
    path = tmp_path / "bomb.nir"
    BOMBS[name][0](path)
    seconds = []
    for _ in range(3):
        before = time.process_time()
        with pytest.raises(FormatError, match=BOMBS[name][1]) as error:
            ss.load(path)
        seconds.append(time.process_time() - before)
    assert len(str(error.value)) < 1000
    assert min(seconds) < SECONDS
    said, mib = taken(path, small)
    assert said == str(error.value)
    assert mib < MIB


def test_long_metadata_that_nobody_needs_is_not_read(tmp_path: Path, small: Path) -> None:
    path = tmp_path / "long.nir"
    text("node/metadata/history", 64 << 20)(path)
    said, mib = taken(path, small)
    assert said == "loaded"
    assert mib < MIB
    with h5py.File(path, "r+") as file:
        for i in range(1000):
            file[f"node/nodes/a/metadata/{i}"] = i
    assert ss.load(path).node("a")


def test_constant_parameters_of_large_layers_are_no_bomb(tmp_path: Path, small: Path) -> None:
    """Exporters write each parameter once an element, and gzip makes nothing of it."""
    shape = (8, 256, 256)
    weight = np.ones((8, 8, 3, 3), "f4")
    conv = {
        "weight": weight, "bias": np.zeros(8, "f4"), "stride": 1, "padding": 1, "dilation": 1,
        "groups": 1,
    }  # fmt: skip
    chain: dict[str, Any] = {}
    for i in range(3):
        chain |= {f"conv{i}": ("Conv2d", conv), f"lif{i}": lif(shape, v_reset=np.zeros(shape))}
    chain["wait"] = ("Delay", {"delay": np.full(shape, 2e-4)})
    path = graph(tmp_path / "large.nir", chain, shape)
    said, mib = taken(path, small)
    assert said == "loaded"
    assert mib < MIB
    op: Any = ss.load(path).node("lif2").op
    assert op.alpha_mem.shape == ()


def test_compressed_parameters_that_differ_are_counted(tmp_path: Path, small: Path) -> None:
    """Ramps that gzip makes little of: each is small enough, all of them are not."""
    shape = (8, 256, 256)
    ramp = np.ones(shape)
    ramp[:, 0, 0] = 2
    chain: dict[str, Any] = {f"n{i}": ("Scale", {"scale": ramp}) for i in range(12)}
    said, mib = taken(graph(tmp_path / "bad.nir", chain, shape), small)
    assert "would unpack to" in said
    assert "that differ" in said
    assert mib < MIB


def test_the_warning_names_the_readout_unless_it_was_said(tmp_path: Path) -> None:
    path = graph(tmp_path / "x.nir", {"a": lif(2)}, (2,))
    with pytest.warns(ss.NirAssumption, match='; readout is "count"'):
        ss.load(path)
    with pytest.warns(ss.NirAssumption) as caught:
        ss.load(path, nir=ss.NirOptions(readout="sum"))
    assert "readout" not in str(caught[0].message)
