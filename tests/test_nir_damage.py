"""Forged and damaged NIR files: a typed error or the right network, soon, in little memory, and no
other file is ever opened."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

import spikesim as ss  # noqa: E402
from spikesim.errors import FormatError, SpikesimError, UnsupportedError  # noqa: E402

SECONDS = 0.1
"""Of the processor: how long others keep it is not the reader's doing."""
MIB = 64

pytestmark = pytest.mark.filterwarnings("ignore::spikesim.nir.NirAssumption")

Change = Callable[[Any], Any]


def plain(path: Path) -> Path:
    """A good file: input -> fc -> lif -> output, as nir.write would have it."""
    with h5py.File(path, "w") as file:
        file["version"] = "1.0.8"
        root = file.create_group("node")
        root["type"] = "NIRGraph"
        root.create_dataset(
            "edges", data=[("input", "fc"), ("fc", "lif"), ("lif", "output")],
            dtype=h5py.string_dtype(),
        )  # fmt: skip
        nodes = root.create_group("nodes")
        node(nodes, "input", "Input", shape=np.array([3]))
        node(nodes, "output", "Output", shape=np.array([2]))
        weight = np.arange(6, dtype=np.float32).reshape(2, 3)
        node(nodes, "fc", "Affine", weight=weight, bias=np.ones(2, np.float32))
        ones = np.ones(2)
        node(
            nodes, "lif", "LIF", tau=ones / 100, r=ones, v_leak=0 * ones, v_threshold=ones,
            v_reset=0 * ones,
        )  # fmt: skip
    return path


def node(nodes: Any, name: str, kind: str, **fields: Any) -> Any:
    group = nodes.create_group(name)
    group["type"] = kind
    for field, value in fields.items():
        if isinstance(value, np.ndarray) and value.ndim:
            group.create_dataset(field, data=value, compression="gzip")
        else:
            group[field] = value
    return group


def instead(file: Any, where: str, **options: Any) -> None:
    """A dataset in the place of another."""
    if where in file:
        del file[where]
    file.create_dataset(where, **options)


W = "node/nodes/fc/weight"
TAU = "node/nodes/lif/tau"


def huge_shape(file: Any) -> None:
    """40 GiB, of which nothing was ever written."""
    instead(file, W, shape=(100_000, 107_374), dtype="f4")


def huge_chunked(file: Any) -> None:
    instead(file, W, shape=(100_000, 107_374), dtype="f4", chunks=(100, 100), compression="gzip")


def huge_chunk(file: Any) -> None:
    """A small array of which HDF5 would take one chunk of 400 MB."""
    del file[W]
    space = h5py.h5s.create_simple((2, 3), (h5py.h5s.UNLIMITED, h5py.h5s.UNLIMITED))
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_chunk((10_000, 10_000))
    layout.set_deflate(1)
    group = file["node/nodes/fc"].id
    made = h5py.h5d.create(group, b"weight", h5py.h5t.IEEE_F32LE, space, layout)
    made.write_direct_chunk((0, 0), b"x" * 64)


def bomb(file: Any) -> None:
    """512 MiB of zeros in half a megabyte."""
    made = file["node/nodes/fc"].create_dataset(
        "bomb", shape=(512, 1 << 18), dtype="f4", chunks=(1, 1 << 18), compression="gzip"
    )
    for i in range(512):
        made[i] = 0
    file["node/nodes/fc"].move("bomb", "bomb2")
    del file[W]
    file["node/nodes/fc"].move("bomb2", "weight")


def external(file: Any) -> None:
    secret = Path(file.filename).with_name("secret")
    instead(file, W, shape=(2, 3), dtype="f4", external=[(str(secret), 0, 24)])


def virtual(file: Any) -> None:
    secret = Path(file.filename).with_name("secret")
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "x", shape=(2, 3))
    del file[W]
    file.create_virtual_dataset(W, layout)


def virtual_unlimited(file: Any) -> None:
    """Of which HDF5 opens the sources to tell the shape."""
    secret = Path(file.filename).with_name("secret")
    layout = h5py.VirtualLayout((2, 3), "f4", maxshape=(None, 3))
    source = h5py.VirtualSource(str(secret), "x", shape=(2, 3), maxshape=(None, 3))
    layout[: h5py.h5s.UNLIMITED, :] = source[: h5py.h5s.UNLIMITED, :]
    del file[W]
    file.create_virtual_dataset(W, layout)


def soft_link(file: Any) -> None:
    file["node/nodes/fc/bias2"] = h5py.SoftLink("/node/nodes/fc/bias")
    del file["node/nodes/fc/bias"]
    file["node/nodes/fc"].move("bias2", "bias")


def external_link(file: Any) -> None:
    del file[W]
    file[W] = h5py.ExternalLink(str(Path(file.filename).with_name("secret")), "/x")


def external_group(file: Any) -> None:
    del file["node/nodes"]
    file["node/nodes"] = h5py.ExternalLink(str(Path(file.filename).with_name("secret")), "/x")


def cyclic(file: Any) -> None:
    file["node/nodes/more"] = file["node"]


def cyclic_metadata(file: Any) -> None:
    file["node/metadata/self"] = 1
    file["node/metadata/again"] = file["node/metadata"]


def graphs(file: Any, depth: int) -> None:
    """`depth` graphs, each the only node of the one before."""
    group = file["node"]
    for _ in range(depth):
        del group["nodes"]
        del group["edges"]
        edges = [("input", "g"), ("g", "output")]
        group.create_dataset("edges", data=edges, dtype=h5py.string_dtype())
        nodes = group.create_group("nodes")
        node(nodes, "input", "Input", shape=np.array([3]))
        node(nodes, "output", "Output", shape=np.array([3]))
        group = nodes.create_group("g")
        group["type"] = "NIRGraph"
        group["edges"] = 0
        group.create_group("nodes")


def many_nodes(file: Any) -> None:
    nodes = file["node/nodes"]
    for i in range(16_400):
        nodes.create_group(str(i))


def many_edges(file: Any) -> None:
    edges = [("input", "fc")] * 70_000
    instead(file, "node/edges", data=edges, dtype=h5py.string_dtype())


def one_string_many_times(file: Any) -> None:
    """References to one string of a megabyte, 8 GB together."""
    where = Path(file.filename)
    instead(file, "node/metadata/text", data=["x" * (1 << 20)] * 1, dtype=h5py.string_dtype())
    instead(file, "node/edges", data=[("a", "b")] * 4000, dtype=h5py.string_dtype())
    one, many = (file[n].id.get_offset() for n in ("node/metadata/text", "node/edges"))
    file.close()
    data = bytearray(where.read_bytes())
    data[many : many + 16 * 8000] = bytes(data[one : one + 16]) * 8000
    where.write_bytes(data)


def string_longer_than_the_file(file: Any) -> None:
    where, at = Path(file.filename), file["node/type"].id.get_offset()
    file.close()
    data = bytearray(where.read_bytes())
    data[at : at + 4] = b"\xff\xff\xff\xff"
    where.write_bytes(data)


def no_text(file: Any) -> None:
    instead(file, "node/type", data=b"\xff\xfe", dtype=h5py.string_dtype("ascii"))


def put(where: str, value: Any) -> Change:
    def change(file: Any) -> None:
        instead(file, where, data=value)

    return change


def gone(where: str) -> Change:
    def change(file: Any) -> None:
        del file[where]

    return change


def edges(*pairs: tuple[str, str]) -> Change:
    return put("node/edges", [(a.encode(), b.encode()) for a, b in pairs])


CHAIN = (("input", "fc"), ("fc", "lif"), ("lif", "output"))


def added(kind: str, *pairs: tuple[str, str], **fields: Any) -> Change:
    """One more node and other edges."""

    def change(file: Any) -> None:
        node(file["node/nodes"], "new", kind, **fields)
        edges(*pairs)(file)

    return change


BAD: dict[str, tuple[Change, str]] = {
    "40 GiB": (huge_shape, "should have 42949600000 bytes, found 0"),
    "40 GiB in chunks": (huge_chunked, "would unpack 0 bytes to"),
    "one chunk of 400 MB": (huge_chunk, "would unpack 64 bytes to 400000000"),
    "gzip bomb": (bomb, "would unpack|would unpack to"),
    "external storage": (external, "has external storage"),
    "virtual dataset": (virtual, "is a virtual dataset"),
    "virtual dataset without end": (virtual_unlimited, "is a virtual dataset"),
    "soft link": (soft_link, "is a soft link"),
    "external link": (external_link, "is an external link"),
    "external group": (external_group, "is an external link"),
    "cyclic hard link": (cyclic, "is linked twice"),
    "cyclic metadata": (cyclic_metadata, "is linked twice"),
    "33 nested graphs": (lambda f: graphs(f, 33), "nest"),
    "200 nested graphs": (lambda f: graphs(f, 200), "nests too deep"),
    "too many nodes": (many_nodes, "has 16404 entries, expected at most 16384"),
    "too many edges": (many_edges, "has 70000 edges, expected at most 65536"),
    "one string many times": (one_string_many_times, "has strings of 8388608000 bytes"),
    "string longer than the file": (string_longer_than_the_file, "has strings of 4294967295"),
    "text that is none": (no_text, "is broken"),
    "lzf": (
        lambda f: instead(f, W, data=np.zeros((2, 3), "f4"), compression="lzf"),
        "packed with filter 32000",
    ),
    "checksum filter": (
        lambda f: instead(f, W, data=np.zeros((2, 3), "f4"), fletcher32=True),
        "packed with filter 3",
    ),
    "compound": (put(W, np.zeros((2, 3), [("a", "f4")])), "has a type of its own"),
    "complex": (put(W, np.zeros((2, 3), complex)), "has a type of its own"),
    "references": (
        lambda f: instead(f, W, shape=(2, 3), dtype=h5py.ref_dtype),
        "has a type of its own|should have",
    ),
    "lists of numbers": (
        lambda f: instead(f, TAU, shape=(2,), dtype=h5py.vlen_dtype(np.float32)),
        "has a type of its own",
    ),
    "long double": (put(W, np.zeros((2, 3), np.longdouble)), "has a type of its own"),
    "strings for weights": (put(W, np.full((2, 3), b"x")), "is no array of numbers"),
    "numbers for a type": (put("node/type", 3), "is no text"),
    "NaN weight": (put(W, np.full((2, 3), np.nan, "f4")), "weight has a NaN or an infinity"),
    "weight beyond float32": (put(W, np.full((2, 3), 1e300)), "weight has a NaN or an infinity"),
    "infinite tau": (put(TAU, [np.inf, 1]), "tau has a NaN or an infinity"),
    "negative tau": (put(TAU, [-0.1, 1]), "tau is -0.1, expected above 0"),
    "tau of 0": (put(TAU, [0.0, 1]), "tau is 0, expected above 0"),
    "unknown node": (put("node/nodes/lif/type", "Izhikevich"), "'Izhikevich' is not supported"),
    "dangling edge": (edges(*CHAIN, ("lif", "nope")), "has no node 'nope'"),
    "duplicate edge": (edges(*CHAIN, ("fc", "lif")), "is there twice"),
    "three names an edge": (put("node/edges", [[b"a", b"b", b"c"]]), r"shape \[1, 3\]"),
    "unreached node": (added("IF", *CHAIN, r=1.0, v_threshold=1.0), "'new' is reached by no edge"),
    "unreached output": (edges(*CHAIN[:2]), "'output' is reached by no edge"),
    "edge into the input": (edges(*CHAIN, ("lif", "input")), "enters the input"),
    "edge out of the output": (edges(*CHAIN, ("output", "lif")), "leaves the output"),
    "two inputs": (
        added("Input", *CHAIN, ("new", "fc"), shape=np.array([3])),
        "has 2 Input nodes, expected one",
    ),
    "two outputs": (
        added("Output", *CHAIN, ("lif", "new"), shape=np.array([2])),
        "has 2 Output nodes, expected one",
    ),
    "no output": (gone("node/nodes/output"), "has 0 Output nodes"),
    "missing array": (gone(W), "weight is missing"),
    "missing type": (gone("node/nodes/fc/type"), "has no type"),
    "no nodes": (gone("node/nodes"), "nodes is missing"),
    "no graph": (gone("node"), "there is no group 'node'"),
    "a node alone": (put("node/type", "LIF"), "holds a LIF alone"),
    "another array": (put("node/nodes/fc/more", [1.0]), "more has no meaning here"),
    "another group": (lambda f: f.create_group("node/nodes/fc/more"), "more has no meaning here"),
    "something else in the file": (put("data", [1.0]), "'data' has no meaning here"),
    "wrong weight": (put(W, np.zeros((2, 4), "f4")), r"input has shape \(3,\)"),
    "weight of 3 axes": (put(W, np.zeros((1, 2, 3), "f4")), "is not supported"),
    "wrong bias": (put("node/nodes/fc/bias", np.zeros(3)), r"bias has shape \(3,\)"),
    "wrong parameter": (put(TAU, np.ones(3)), r"tau has shape \[3\], expected \[2\]"),
    "empty parameter": (put(TAU, np.ones(0)), "tau is empty"),
    "wrong output": (put("node/nodes/output/shape", [3]), r"the output has shape \[3\]"),
    "shape of u64": (put("node/nodes/input/shape", np.array([2**64 - 1], "u8")), "shape is"),
    "shape of 2^62": (put("node/nodes/input/shape", np.array([2**30] * 3)), "input_shape"),
    "shape of floats": (put("node/nodes/input/shape", [3.0]), "no short list of integers"),
    "threshold below reset": (
        put("node/nodes/lif/v_reset", [2.0, 2.0]),
        "v_threshold is 1, expected above v_reset",
    ),
    "no cycle through a neuron": (
        added("Affine", *CHAIN, ("fc", "new"), ("new", "new"), ("new", "lif"),
              weight=np.ones((2, 2)), bias=np.ones(2)),
        "passes through no neuron",
    ),
    "edges that are no text": (put("node/edges", np.zeros((3, 2))), "is no text"),
    "9 axes": (put(W, np.zeros((1,) * 9)), "has 9 axes"),
    "negative delay": (
        added("Delay", ("input", "fc"), ("fc", "new"), ("new", "lif"), ("lif", "output"),
              delay=np.array([-1.0, 0])),
        "delay is empty or negative",
    ),
    "endless delay": (
        added("Delay", ("input", "fc"), ("fc", "new"), ("new", "lif"), ("lif", "output"),
              delay=np.array([1e9, 0])),
        "delay is 1e[+]13 steps, expected at most",
    ),
}  # fmt: skip


@contextlib.contextmanager
def watched(path: Path) -> Iterator[list[str]]:
    """The files that Python opens meanwhile; what HDF5 would open itself is a pipe that nobody
    reads (see `forged`)."""
    opened: list[str] = []
    on = [True]

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if on[0] and event == "open" and isinstance(args[0], str):
            opened.append(args[0])

    sys.addaudithook(hook)
    yield opened
    on[0] = False


def forged(name: str, folder: Path) -> Path:
    path = plain(folder / "bad.nir")
    # Opening a pipe to read waits for a writer: a loader that opened it would hang.
    os.mkfifo(folder / "secret")
    with h5py.File(path, "r+") as file:
        BAD[name][0](file)
    return path


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", BAD)
def test_bad_file(name: str, tmp_path: Path) -> None:
    path = forged(name, tmp_path)
    size = path.stat().st_size
    seconds = []
    with watched(path) as opened:
        for _ in range(3):
            before = time.process_time()
            with pytest.raises(SpikesimError, match=BAD[name][1]) as error:
                ss.load(path)
            seconds.append(time.process_time() - before)
    text = str(error.value)
    assert isinstance(error.value, FormatError | UnsupportedError)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert min(seconds) < SECONDS, (seconds, size)
    others = {name for name in opened if Path(name) != path and "site-packages" not in name}
    assert not {name for name in others if "secret" in name}


CHILD = """
import sys, warnings
import h5py, spikesim as ss
warnings.simplefilter("ignore")
ss.NirOptions(); ss.load(sys.argv[1])
def peak():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM"))
def now():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmRSS"))
for path in sys.argv[2:]:
    open("/proc/self/clear_refs", "w").write("5")
    base = now()
    try:
        ss.load(path)
    except ss.errors.SpikesimError:
        pass
    else:
        sys.exit("loads: " + path)
    print(path, (peak() - base) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_bad_files_take_no_memory(tmp_path: Path) -> None:
    """Measured by the system in a process of its own: what libraries in C take counts too."""
    paths = []
    for i, name in enumerate(BAD):
        (tmp_path / str(i)).mkdir()
        paths.append(str(forged(name, tmp_path / str(i))))
    good = plain(tmp_path / "good.nir")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(good), *paths], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    taken = {line.split()[0]: float(line.split()[1]) for line in done.stdout.splitlines()}
    assert len(taken) == len(BAD)
    assert max(taken.values()) < MIB, max(taken, key=lambda path: taken[path])


def test_the_good_file_of_these_is_good(tmp_path: Path) -> None:
    net = ss.load(plain(tmp_path / "good.nir"))
    assert [node.name for node in net.nodes] == ["input", "fc", "lif"]
    with h5py.File(tmp_path / "good.nir", "r+") as file:
        graphs(file, 1)
        nodes = file["node/nodes/g/nodes"]
        del file["node/nodes/g/edges"]
        edges_of = [(b"input", b"if"), (b"if", b"output")]
        file["node/nodes/g"].create_dataset("edges", data=edges_of)
        node(nodes, "input", "Input", shape=np.array([3]))
        node(nodes, "output", "Output", shape=np.array([3]))
        node(nodes, "if", "IF", r=np.ones(3), v_threshold=np.ones(3))
    assert [node.name for node in ss.load(tmp_path / "good.nir").nodes] == ["input", "g.if"]
