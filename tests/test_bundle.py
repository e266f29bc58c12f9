"""`.spikesim` files: what is saved is what is loaded, and nothing in a file is believed."""

from __future__ import annotations

import os
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
from spikesim.errors import FormatError, GraphError, UnsupportedError


def network() -> ss.Network:
    net = ss.Network((2, 4, 4), dt=0.1, meta={"labels": ["a", "ü"], "mean": [0.1, 1e-300]})
    rng = np.random.default_rng(0)
    net.add(ss.Conv2d(rng.normal(size=(3, 2, 2, 2)), rng.normal(size=3)), "features.0")
    net.add(ss.BatchNorm(*rng.uniform(0.5, 1, (4, 3)), eps=0.1), "bn")
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

    def values(*shape: int) -> Any:
        return rng.normal(size=shape).astype("f")

    for i in range(draw(st.integers(1, 6))):
        last = net.nodes[-1]
        c, dims = last.shape[0], len(last.shape) - 1
        choices: list[Callable[[], ss.ops.Op]] = [
            lambda c=c: ss.Scale(values(c)),
            lambda c=c: ss.BatchNorm(values(c), values(c), values(c), values(c) ** 2, eps=1e-3),
            lambda c=c: ss.LIF(values(c) ** 2 + 0.1, alpha_mem=values()),
            lambda: ss.CubaLIF(alpha_mem=values(), alpha_syn=values(), synapse="decay_after"),
            lambda: ss.IF(fires=">", reset="to_value", v_reset=-1, v_min=-2, refractory=3),
            lambda: ss.IF(spikes="signed", v_threshold_neg=-1, theta_plus=1, alpha_theta=0.5),
            lambda: ss.IF(spikes="multi", max_spikes=2, spike_amplitude=0.5, v0=values()),
            lambda: ss.LI(alpha_mem=0.5),
            ss.Flatten,
            ss.Add,
            lambda: ss.Concat(-1),
        ]
        if dims == 0:
            choices.append(lambda c=c: ss.Linear(values(4, c), values(4)))
        if dims == 1:
            choices.append(lambda c=c: ss.Conv1d(values(c, 1, 2), padding=(1, 0), groups=c))
            choices.append(lambda: ss.AvgPool1d(2, padding=1, count_include_pad=False))
        if dims == 2:
            choices.append(lambda c=c: ss.Conv2d(values(3, c, 2, 1), values(3), padding=(1, 0)))
            choices.append(lambda: ss.SumPool2d(2, stride=1, padding=1, ceil_mode=True))
            choices.append(lambda: ss.Upsample((1, 2)))
            choices.append(lambda: ss.AdaptiveAvgPool2d((2, 3)))
        op = draw(st.sampled_from(choices))()
        same = [n.name for n in net.nodes if n.shape == last.shape]
        more = draw(st.lists(st.tuples(st.sampled_from(same), st.integers(0, 3)), max_size=2))
        name = f"{draw(st.text('aé.-_ /', max_size=3))}{i}"
        net.add(op, name, [last.name, *more])
    neurons = [n for n in net.nodes if n.kind == "neuron"]
    for source in neurons:
        targets = [
            n.name for n in net.nodes[1:] if n.in_shape == source.shape != () and n.kind != "concat"
        ]
        if targets and draw(st.booleans()):
            net.connect(source.name, draw(st.sampled_from(targets)), delay=draw(st.integers(4, 6)))
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


# paths


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
    with pytest.raises(UnsupportedError, match="reading and writing NIR is not supported"):
        ss.load(nir)
    with pytest.raises(FormatError, match="the extension is not known"):
        network().save(tmp_path / "net.pt")
    with pytest.raises(FileNotFoundError):
        network().save(tmp_path / "no" / "net.spikesim")


def test_the_content_decides_not_the_name(bundle: Path, tmp_path: Path) -> None:
    other = bundle.rename(tmp_path / "net.bin")
    assert_equal(ss.load(other), network())


# saving


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
