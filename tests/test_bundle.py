"""`.spikesim` files: what is saved is what is loaded, and nothing in a file is believed."""

from __future__ import annotations

import contextlib
import os
import pickle
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikesim as ss
from spikesim import _core
from spikesim.errors import FormatError, GraphError, UnsupportedError


def network() -> ss.Network:
    net = ss.Network((2, 4, 4), dt=0.1, meta={"labels": ["a", "ü"], "mean": [0.1, 1e-300]})
    rng = np.random.default_rng(0)
    net.add(ss.Conv2d(rng.normal(size=(3, 2, 2, 2)), rng.normal(size=3)), "features.0")
    weight, bias, mean, var = rng.uniform(0.5, 1, (4, 3))
    net.add(ss.BatchNorm(weight, bias, mean, var, eps=0.1), "bn")
    net.add(ss.LIF([0.5, 1, 2], alpha_mem=0.9, meta={"tau": 10.0}), "lif")
    net.add(ss.AvgPool2d(3), "pool")
    net.add(ss.Concat(), "cat", inputs=["pool", ("pool", 2), "pool"])
    net.add(ss.Flatten(), "flat")
    net.add(ss.Linear(rng.normal(size=(2, 9))), "fc")
    net.add(ss.CubaLIF(alpha_mem=0.5, alpha_syn=0.25), "out")
    net.connect("out", "out", delay=1)
    net.output, net.readout = "out", "first_spike"
    return net


def assert_equal(a: ss.Network, b: ss.Network) -> None:
    assert [n.name for n in a.nodes] == [n.name for n in b.nodes]
    for mine, theirs in zip(a.nodes, b.nodes, strict=True):
        assert mine.op == theirs.op
        assert (mine.in_shape, mine.shape) == (theirs.in_shape, theirs.shape)
    assert a.edges == b.edges
    assert (a.output, a.readout, a.dt, a.meta) == (b.output, b.readout, b.dt, b.meta)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "net.spikesim"
    network().save(path)
    return path


def test_a_network_comes_back_as_it_was(bundle: Path) -> None:
    assert_equal(ss.load(bundle), network())
    assert_equal(ss.load(str(bundle)), network())


def test_saving_twice_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.spikesim"
    ss.load(bundle).save(again)
    assert again.read_bytes() == bundle.read_bytes()


def test_defaults_that_were_not_set_are_not_saved_as_set(tmp_path: Path) -> None:
    net = ss.Network((2,))
    net.add(ss.IF(), "a")
    net.save(tmp_path / "net.spikesim")
    net = ss.load(tmp_path / "net.spikesim")
    net.add(ss.LI(alpha_mem=0.5), "b")
    assert (net.output, net.readout) == ("b", "sum")


def test_any_safetensors_reader_reads_the_arrays(bundle: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    arrays = safetensors.load_file(bundle)
    op = network().node("features.0").op
    np.testing.assert_array_equal(arrays["features.0.weight"], op.arrays()["weight"])
    assert arrays["lif.v_threshold"].tolist() == [0.5, 1, 2]
    assert arrays["lif.alpha_mem"].shape == ()


def test_arrays_begin_at_a_multiple_of_eight(bundle: Path) -> None:
    assert struct.unpack("<Q", bundle.read_bytes()[:8])[0] % 8 == 0


# random networks


def operations(shape: tuple[int, ...], rng: np.random.Generator) -> list[Callable[[], ss.ops.Op]]:
    """Makers of every kind that fits an input of `shape`."""

    def values(*shape: int) -> Any:
        return rng.normal(size=shape).astype("f")

    c, dims = shape[0], len(shape) - 1
    choices: list[Callable[[], ss.ops.Op]] = [
        lambda: ss.Scale(values(c)),
        lambda: ss.Delay(rng.integers(0, 9, shape)),
        lambda: ss.BatchNorm(values(c), values(c), values(c), values(c) ** 2, eps=1e-3),
        lambda: ss.LIF(values(c) ** 2 + 0.1, alpha_mem=values()),
        lambda: ss.CubaLIF(alpha_mem=values(), alpha_syn=values(), synapse="decay_after"),
        lambda: ss.IF(fires=">", reset="to_value", v_reset=-1, v_min=-2, refractory=3),
        lambda: ss.IF(spikes="signed", v_threshold_neg=-1, theta_plus=1, alpha_theta=0.5),
        lambda: ss.IF(spikes="multi", max_spikes=2, spike_amplitude=0.5, v0=values()),
        lambda: ss.LI(alpha_mem=0.5),
        lambda: ss.Neuron(
            synapse="alpha",
            alpha_syn=0.5,
            w_in=1,
            alpha_inh=values(c),
            alpha_mem=0,
            reset_timing="next_step_after",
        ),
        ss.Flatten,
        ss.Add,
        lambda: ss.Concat(-1),
    ]
    if dims == 0:
        choices.append(lambda: ss.Linear(values(4, c), values(4)))
        choices.append(lambda: ss.Linear(values(4, c), delay=rng.integers(0, 9, (4, c))))
    if dims == 1:
        choices.append(lambda: ss.Conv1d(values(c, 1, 2), padding=(1, 0), groups=c))
        choices.append(lambda: ss.Conv1d(values(2, c, 2), delay=rng.integers(0, 9, (2, c, 2))))
        choices.append(lambda: ss.AvgPool1d(2, padding=1, count_include_pad=False))
        choices.append(lambda: ss.SpikeMaxPool1d(1))
        choices.append(lambda: ss.RateMaxPool1d(1, gate="argmax"))
        choices.append(lambda: ss.CurrentMaxPool1d(1))
    if dims == 2:
        choices.append(lambda: ss.Conv2d(values(3, c, 2, 1), values(3), padding=(1, 0)))
        choices.append(lambda: ss.Conv2d(values(3, c, 1, 1), values(3), delay=7))
        choices.append(lambda: ss.SumPool2d(2, stride=1, padding=1, ceil_mode=True))
        choices.append(lambda: ss.Upsample((1, 2)))
        choices.append(lambda: ss.SpikeMaxPool2d(1))
        choices.append(lambda: ss.RateMaxPool2d((1, 2), stride=1, padding=((0, 0), (0, 1))))
        choices.append(lambda: ss.CurrentMaxPool2d(1))
        choices.append(lambda: ss.AdaptiveAvgPool2d((2, 3)))
    return choices


@st.composite
def networks(draw: Any) -> ss.Network:
    """Chains with branches, loops, delays; every kind that fits."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(3,), (2, 5), (2, 4, 5)]))
    net = ss.Network(shape, dt=draw(st.none() | st.floats(1e-9, 1.0)))
    net.meta = draw(
        st.dictionaries(
            st.text(max_size=5),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers(-(2**53), 2**53)
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(max_size=5),
                lambda inner: st.lists(inner, max_size=3),
                max_leaves=5,
            ),
            max_size=3,
        )
    )

    for i in range(draw(st.integers(1, 6))):
        last = net.nodes[-1]
        choices = operations(last.shape, rng)
        op = draw(st.sampled_from(choices))()
        same = [n.name for n in net.nodes if n.shape == last.shape]
        more = draw(st.lists(st.tuples(st.sampled_from(same), st.integers(0, 3)), max_size=2))
        name = f"{draw(st.text('aé.-_ /', max_size=3))}{i}"
        inputs: list[Any] = [last.name, *more]
        # A pool of the kind that does not fit its inputs is refused; then there is none.
        with contextlib.suppress(GraphError) if "max_pool" in op.kind else contextlib.nullcontext():
            net.add(op, name, draw(st.permutations(inputs)))
    if len(net.nodes) == 1:
        net.add(ss.Add(), "only")
    neurons = [n for n in net.nodes if n.kind == "neuron"]
    for source in neurons:
        targets = [
            n.name for n in net.nodes[1:] if n.in_shape == source.shape != () and n.kind != "concat"
        ]
        if targets and draw(st.booleans()):
            target, delay = draw(st.sampled_from(targets)), draw(st.integers(4, 6))
            with contextlib.suppress(GraphError):  # spikes that would reach a pool of currents
                net.connect(source.name, target, delay)
    if draw(st.booleans()):
        net.output = draw(st.sampled_from([n.name for n in net.nodes]))
        net.readout = draw(st.sampled_from(["sum", "mean"]))
    return net


@given(net=networks())
def test_random_networks_come_back_as_they_were(
    net: ss.Network, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("random") / "net.spikesim"
    net.save(path)
    assert_equal(ss.load(path), net)


def test_the_kinds_of_all_edges_count_not_those_of_the_first(tmp_path: Path) -> None:
    net = ss.Network((1, 4, 4))
    net.add(ss.IF(), "if")
    net.add(ss.Scale(2.0), "cur", "input")
    net.add(ss.CurrentMaxPool2d(2), "mp", ["if", "cur"])
    net.add(ss.Add(), "mix", ["if", ("cur", 2)])
    net.add(ss.CurrentMaxPool2d(2), "mp2", "mix")
    path = tmp_path / "net.spikesim"
    net.save(path)
    assert_equal(ss.load(path), net)
    assert_equal(pickle.loads(pickle.dumps(net)), net)


def test_a_pool_may_get_its_kind_from_an_edge_that_was_connected(tmp_path: Path) -> None:
    net = ss.Network((1, 4, 4))
    net.add(ss.Add(), "mix")
    net.add(ss.CurrentMaxPool2d(2), "mp")
    net.add(ss.IF(), "if", "input")
    net.add(ss.Scale(2.0), "cur", "input")
    net.connect("cur", "mix", delay=1)
    net.connect("if", "mix")
    net.save(tmp_path / "net.spikesim")
    assert_equal(ss.load(tmp_path / "net.spikesim"), net)


# paths


def test_paths_of_bytes(bundle: Path) -> None:
    path = os.fsencode(bundle)
    assert_equal(ss.load(path), network())
    ss.load(path).save(path)
    assert_equal(ss.load(bundle), network())
    with pytest.raises(TypeError, match="int"):
        ss.load(3)  # type: ignore[arg-type]


def test_paths_that_are_no_bundles(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as found:
        ss.load(tmp_path / "no.spikesim")
    assert found.value.filename == str(tmp_path / "no.spikesim")
    assert found.value.errno == 2
    with pytest.raises(FormatError, match="found a directory, expected a"):
        ss.load(tmp_path)
    text = tmp_path / "net.txt"
    text.write_text("a network, I promise")
    with pytest.raises(FormatError, match="found a file of unknown format"):
        ss.load(text)
    nir = tmp_path / "net.h5"
    nir.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 20)
    with pytest.raises(UnsupportedError, match="reading and writing NIR is not supported; the Py"):
        _core.Graph.load(nir)  # the core's own; what Python does, tests of NIR hold
    with pytest.raises(FormatError, match="the extension is not known"):
        network().save(tmp_path / "net.pt")
    with pytest.raises(FileNotFoundError):
        network().save(tmp_path / "no" / "net.spikesim")


def test_the_content_decides_not_the_name(bundle: Path, tmp_path: Path) -> None:
    other = bundle.rename(tmp_path / "net.bin")
    assert_equal(ss.load(other), network())


# saving


def nested(levels: int) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    for _ in range(levels - 1):
        meta = {"x": meta}
    return meta


@pytest.mark.parametrize("neuron", [False, True])
def test_meta_nests_as_deep_as_a_reader_allows(neuron: bool, tmp_path: Path) -> None:
    path = tmp_path / "net.spikesim"

    def of(levels: int) -> ss.Network:
        net = ss.Network((2,), meta={} if neuron else nested(levels))
        net.add(ss.IF(meta=nested(levels) if neuron else {}), "if")
        return net

    most = 61 if neuron else 63
    of(most).save(path)
    assert_equal(ss.load(path), of(most))
    assert_equal(pickle.loads(pickle.dumps(of(most))), of(most))
    before = path.read_bytes()
    for levels in [most + 1, 100, 200, 3000]:
        with pytest.raises(GraphError, match="meta"):
            of(levels).save(path)
        with pytest.raises(GraphError, match="meta"):
            pickle.dumps(of(levels))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (2**64, "takes more than 64 bits"),
        (-(2**63) - 1, "takes more than 64 bits"),
        ([10**5000], "meta is no JSON"),
        ({1: "a", "1": "b"}, "the key '1' is there twice"),
        ("\ud800", "meta"),
        ({"\ud800": 1}, "meta"),
        (float("inf"), "meta is no JSON"),
        (object(), "meta is no JSON"),
    ],
)
def test_meta_that_would_come_back_as_another_is_not_saved(
    value: Any, problem: str, tmp_path: Path
) -> None:
    net = ss.Network((2,), meta={"x": value})
    net.add(ss.IF())
    with pytest.raises(GraphError, match=problem):
        net.save(tmp_path / "net.spikesim")
    net.meta = {"x": [2**64 - 1, -(2**63), np.float64(0.1), np.arange(2)]}
    net.save(tmp_path / "net.spikesim")
    assert ss.load(tmp_path / "net.spikesim").meta == {"x": [2**64 - 1, -(2**63), 0.1, [0, 1]]}


def test_a_header_longer_than_a_reader_allows_is_not_saved(tmp_path: Path) -> None:
    net = ss.Network((2,), meta={"x": "x" * (64 << 20)})
    net.add(ss.IF())
    with pytest.raises(GraphError, match=r"the header has .* bytes, expected at most 67108864"):
        net.save(tmp_path / "net.spikesim")
    assert os.listdir(tmp_path) == []


def test_as_many_edges_as_a_reader_allows(tmp_path: Path) -> None:
    net = ss.Network((1,))
    net.add(ss.Add(), "first", [("input", i % 2) for i in range(65_534)])
    with pytest.raises(GraphError, match="more: the network would have 65537 edges, expected at"):
        net.add(ss.Add(), "more", ["input", "input", "first"])
    net.add(ss.Add(), "more", ["input", "first"])
    with pytest.raises(GraphError, match="more: the network would have 65537 edges, expected at"):
        net.connect("input", "more", delay=3)
    net.save(tmp_path / "net.spikesim")
    assert ss.load(tmp_path / "net.spikesim").edges == net.edges


def test_saving_what_is_not_valid_leaves_the_file(bundle: Path) -> None:
    before = bundle.read_bytes()
    with pytest.raises(GraphError, match="there is no node but the input"):
        ss.Network((2,)).save(bundle)
    net = network()
    net.output = "fc"
    with pytest.raises(GraphError, match="readout"):
        net.save(bundle)
    net = network()
    net.meta["x"] = float("nan")
    with pytest.raises(GraphError, match="meta: meta is no JSON"):
        net.save(bundle)
    assert bundle.read_bytes() == before
    assert os.listdir(bundle.parent) == [bundle.name]


def test_saving_replaces_the_file_and_keeps_its_permissions(bundle: Path) -> None:
    bundle.chmod(0o640)
    net = ss.Network((2,))
    net.add(ss.IF(), "if")
    net.save(bundle)
    assert_equal(ss.load(bundle), net)
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o640
    assert os.listdir(bundle.parent) == [bundle.name]


def test_a_reader_of_the_old_file_keeps_it(bundle: Path) -> None:
    before = bundle.read_bytes()
    with bundle.open("rb") as file:
        network().save(bundle)
        assert file.read() == before
    net = ss.Network((2,))
    net.add(ss.IF())
    with bundle.open("rb") as file:
        net.save(bundle)
        assert file.read() == before


def test_a_link_stays_a_link(bundle: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.spikesim"
    link.symlink_to(bundle)
    net = ss.Network((2,))
    net.add(ss.IF())
    net.save(link)
    assert link.is_symlink()
    assert_equal(ss.load(bundle), net)


def test_a_failed_save_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "net.spikesim"
    target.mkdir()  # a directory can't be replaced by a file
    with pytest.raises(OSError, match=r"net\.spikesim"):
        network().save(target)
    assert os.listdir(tmp_path) == ["net.spikesim"]


def test_a_full_disk_leaves_the_old_file(bundle: Path) -> None:
    """A child that may write no more than 4 KiB to a file."""
    before = bundle.read_bytes()
    code = f"""
import resource, signal, sys
import numpy as np, spikesim as ss
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
net = ss.Network((100,))
net.add(ss.Linear(np.ones((100, 100))))
try:
    net.save({str(bundle)!r})
except OSError as error:
    assert error.filename == {str(bundle)!r}, error
    sys.exit(7)
"""
    pytest.importorskip("resource")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7
    assert bundle.read_bytes() == before
    assert os.listdir(bundle.parent) == [bundle.name]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_directory_that_can_not_be_written(bundle: Path) -> None:
    bundle.parent.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            network().save(bundle)
    finally:
        bundle.parent.chmod(0o700)


def test_loading_takes_the_memory_of_the_weights(tmp_path: Path) -> None:
    """At most 2.5 times them, here 64 MB."""
    pytest.importorskip("resource")
    net = ss.Network((4096,))
    net.add(ss.Linear(np.ones((4096, 4096), np.float32)), "fc")
    net.save(tmp_path / "net.spikesim")
    code = f"""
import resource, spikesim as ss
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
net = ss.load({str(tmp_path / "net.spikesim")!r})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    kilobytes = int(run.stdout) / (1024 if sys.platform == "darwin" else 1)
    assert kilobytes < 1.5 * 65536
