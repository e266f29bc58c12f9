"""NIR files cut off, changed, or not NIR at all: a typed error or the right network."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

h5py = pytest.importorskip("h5py")

import spikesim as ss  # noqa: E402
from spikesim.errors import FormatError, UnsupportedError  # noqa: E402
from test_nir_damage import SECONDS, edges, plain, put  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::spikesim.nir.NirAssumption")


@pytest.mark.parametrize("own", [True, False])
def test_a_file_cut_anywhere(own: bool, tmp_path: Path) -> None:
    path = plain(tmp_path / "net.nir")
    with h5py.File(path, "r") as old, h5py.File(tmp_path / "small.nir", "w") as file:
        old.copy("node", file)
        for name in ("lif", "fc/bias"):
            del file["node/nodes"][name]
        edges(("input", "fc"), ("fc", "output"))(file)
        put("node/nodes/fc/type", "Linear")(file)
    # Packed anew, without what was deleted.
    with h5py.File(tmp_path / "small.nir", "r") as old, h5py.File(path, "w") as file:
        old.copy("node", file)
    whole_net = ss.load(path)
    if own:
        whole_net.save(path)
    whole = path.read_bytes()
    slowest, loaded = 0.0, 0
    # Every length with SPIKESIM_HYPOTHESIS=deep; else, of a long file, every third.
    deep = os.environ.get("SPIKESIM_HYPOTHESIS") == "deep"
    step = 1 if deep or len(whole) < 8192 else 3
    for length in range(0, len(whole), step):
        path.write_bytes(whole[:length])
        before = time.process_time()
        refused = ""
        try:
            net = ss.load(path)
        except FormatError as error:
            refused = str(error)
        if refused:
            assert refused.startswith(f"{path}: ")
        else:
            loaded += 1
            for mine, theirs in zip(net.nodes, whole_net.nodes, strict=True):
                assert mine.op == theirs.op
        slowest = max(slowest, time.process_time() - before)
    assert loaded < 16
    assert slowest < SECONDS


@settings(max_examples=200)
@given(data=st.data())
def test_a_changed_file_is_an_error_or_another_network(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    path = plain(folder / "net.nir")
    if data.draw(st.booleans()):
        ss.load(path).save(path)
    changed = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, changed[at] ^ 1]))
    path.write_bytes(changed)
    with contextlib.suppress(FormatError, UnsupportedError):
        ss.load(path).validate()


def test_what_is_no_nir_file(tmp_path: Path) -> None:
    path = tmp_path / "x.nir"
    with pytest.raises(FileNotFoundError):
        ss.load(path)
    path.mkdir()
    with pytest.raises(FormatError, match=r"x\.nir: "):
        ss.load(path)
    path.rmdir()
    for content in (b"", b"\x89HDF\r\n\x1a\n", b"PK\3\4", b"{}", b"\0" * 5000):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"x\.nir: "):
            ss.load(path)
    # Whatever it is called, an HDF5 file is read as NIR.
    assert len(ss.load(plain(tmp_path / "x.h5"))) == 3
    with pytest.raises(ss.errors.InputError, match="for a file that is no NIR"):
        ss.load(ss.data.digits_model(), nir=ss.NirOptions())


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plain(tmp_path / "x.nir")
    net = ss.load(path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    needed = "nir: reading NIR needs h5py; install spikesim\\[nir\\]"
    with pytest.raises(ss.errors.MissingExtraError, match=needed):
        ss.load(path)
    with pytest.raises(ss.errors.MissingExtraError, match=needed):
        net.save(path)


def test_the_warning_is_one_even_where_much_is_assumed(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        ss.load(plain(tmp_path / "x.nir"))
    assert [w.category for w in seen] == [ss.NirAssumption]
