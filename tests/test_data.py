"""Data sets, ``.npz`` files and preprocessing."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesim import data
from spikesim.data import Preprocessing
from spikesim.data.mnist import read_idx
from spikesim.errors import FormatError, InputError, ShapeError, UnsupportedError


def test_digits_are_held_out_images() -> None:
    digits = data.load("digits")
    assert digits.x.shape == (360, 1, 8, 8)
    assert digits.x.dtype == np.uint8
    assert (digits.x.min(), digits.x.max()) == (0, 16)
    assert digits.y is not None
    assert digits.y.dtype == np.int64
    # Stratified: every class is there in its share.
    assert set(np.bincount(digits.y)) <= set(range(34, 39))


def test_digits_are_the_stated_slice() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    selection = pytest.importorskip("sklearn.model_selection")
    source = datasets.load_digits()
    x_train, x, y_train, y = selection.train_test_split(
        source.images, source.target, test_size=360, random_state=0, stratify=source.target
    )
    for split, images, labels in (("test", x, y), ("train", x_train, y_train)):
        digits = data.load("digits", split)
        np.testing.assert_array_equal(digits.x[:, 0], images)
        np.testing.assert_array_equal(digits.y, labels)


@pytest.mark.parametrize(
    ("name", "split", "error"),
    [
        ("digits", "validation", InputError),
        ("nmnist", None, UnsupportedError),
        ("cifar10", "validation", InputError),
        ("fashion-mnist", "t10k", InputError),
        ("cifar", None, InputError),
        ("x.txt", None, InputError),
        ("x.npz", "test", InputError),
        ("mnist", "validation", InputError),
        ("nowhere.npz", None, FileNotFoundError),
    ],
)
def test_what_can_not_be_loaded(name: str, split: str | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        data.load(name, split)


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(
        InputError, match=r"digits, mnist, fashion-mnist, cifar10, cifar100 or a \.npz"
    ):
        data.load("cifar")


def test_npz_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    x = np.arange(24, dtype=np.float64).reshape(3, 2, 4)
    data.save_npz(path, {"x": x, "y": np.array([2, 1], np.uint8), "layout": "TN"})
    loaded = data.load(path)
    np.testing.assert_array_equal(loaded.x, x)
    np.testing.assert_array_equal(loaded.y, [2, 1])
    assert loaded.y is not None
    assert loaded.y.dtype == np.int64
    assert loaded.layout == "TN"
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_saving_replaces_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    data.save_npz(path, {"x": np.zeros(3)})
    before = path.read_bytes()

    class Broken:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        data.save_npz(path, {"x": Broken()})  # type: ignore[dict-item]
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"y": np.zeros(3, int)}, "'x' is missing"),
        ({"x": np.array(["a"])}, "dtype"),
        ({"x": np.zeros(3, complex)}, "dtype"),
        ({"x": np.array([{}], object)}, "objects"),
        ({"x": np.zeros((0, 4))}, "shape"),
        ({"x": np.zeros((3, 4)), "y": np.zeros(3)}, "y has dtype"),
        ({"x": np.zeros((3, 4)), "y": np.zeros((3, 1), int)}, "y has dtype"),
        ({"x": np.zeros((3, 4)), "y": np.zeros(2, int), "layout": "N"}, "y has 2 labels"),
        ({"x": np.zeros((3, 4)), "layout": "NT"}, "layout"),
        ({"x": np.zeros((1, 4)), "y": np.array([2**63], np.uint64)}, "label 9223372036854775808"),
    ],
)
def test_npz_that_means_nothing(tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(FormatError, match=says) as caught:
        data.load(path)
    assert "bad.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_truncation_of_a_npz_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.npz"
    np.savez(path, x=np.arange(40.0).reshape(10, 4), y=np.arange(10))
    whole = path.read_bytes()
    for n in range(0, len(whole), 7):
        path.write_bytes(whole[:n])
        with pytest.raises(FormatError):
            data.load(path)


def test_every_flipped_byte_of_a_npz_is_found_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "flip.npz"
    np.savez_compressed(path, x=np.arange(40.0).reshape(10, 4))
    whole = path.read_bytes()
    for n in range(len(whole)):
        path.write_bytes(whole[:n] + bytes([whole[n] ^ 0x55]) + whole[n + 1 :])
        try:
            loaded = data.load(path)
        except FormatError:
            continue
        np.testing.assert_array_equal(loaded.x, np.arange(40.0).reshape(10, 4))


def test_a_header_that_promises_too_much_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    member = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 8)}
    np.lib.format.write_array_header_1_0(member, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", member.getvalue())
    with pytest.raises(FormatError, match="bytes"):
        data.load(path)


def _idx(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("folder", ["MNIST/raw", ""])
def test_mnist_from_idx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool, folder: str
) -> None:
    images = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    labels = np.array([7, 3], np.uint8)
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for stem, array in (("images-idx3", images), ("labels-idx1", labels)):
        raw = _idx(array)
        name = f"t10k-{stem}-ubyte" + (".gz" if zipped else "")
        (tmp_path / folder / name).write_bytes(gzip.compress(raw) if zipped else raw)
    monkeypatch.setenv("SPIKESIM_DATA", str(tmp_path))
    loaded = data.load("mnist")
    np.testing.assert_array_equal(loaded.x[:, 0], images)
    np.testing.assert_array_equal(loaded.y, [7, 3])
    with pytest.raises(InputError, match="train-images"):
        data.load("mnist", "train")


def test_broken_idx(tmp_path: Path) -> None:
    raw = _idx(np.zeros((2, 3, 3), np.uint8))
    for name, content in {
        "short": raw[:-1],
        "long": raw + b"\0",
        "head": raw[:10],
        "empty": b"",
        "type": b"\0\0\x0d\x03" + raw[4:],
        "cut.gz": gzip.compress(raw)[:-9],
        "plain.gz": raw,
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(FormatError, match=name):
            read_idx(path, n_axes=3)


@pytest.mark.data
def test_mnist_as_it_is(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKESIM_DATA", str(data_dir))
    test = data.load("mnist", "test")
    assert test.x.shape[1:] == (1, 28, 28)
    assert test.y is not None
    assert set(test.y) == set(range(10))


def test_preprocessing_in_order() -> None:
    spec = {"scale": 0.5, "mean": [1.0, 2.0], "std": 4.0}
    preprocessing = Preprocessing.of({"preprocessing": spec})
    x = np.arange(3 * 2 * 2, dtype=np.uint8).reshape(3, 2, 2)
    y = preprocessing.apply(x, sample_ndim=2)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, (x * 0.5 - np.array([[1.0], [2.0]])) / 4.0)
    assert str(preprocessing) == "x 0.5, - [1.0, 2.0], / 4"
    # The same where time comes first.
    np.testing.assert_array_equal(preprocessing.apply(x[None], sample_ndim=2)[0], y)


def test_no_preprocessing_leaves_the_array() -> None:
    x = np.zeros((2, 3), np.uint8)
    assert Preprocessing.of({}).apply(x, 1) is x
    assert str(Preprocessing()) == "none"


@pytest.mark.parametrize(
    "spec",
    [
        "x/16",
        {"gamma": 2},
        {"scale": "1"},
        {"scale": [1, 2]},
        {"std": 0},
        {"mean": float("nan")},
        {"scale": 1e300},
        {"scale": 10**400},
        {"mean": [0, -1e39]},
        {"std": [1, 1e-300]},
    ],
)
def test_preprocessing_that_means_nothing(spec: Any) -> None:
    with pytest.raises(FormatError, match="preprocessing"):
        Preprocessing.of({"preprocessing": spec})


def test_preprocessing_of_other_channels() -> None:
    with pytest.raises(ShapeError, match="expected 3"):
        Preprocessing(mean=(1.0, 2.0)).apply(np.zeros((1, 3, 4, 4)), sample_ndim=3)


@pytest.mark.parametrize(
    ("preprocessing", "x"),
    [
        (Preprocessing(scale=3e38), 2.0),
        (Preprocessing(scale=1e300), 0.0),
        (Preprocessing(std=(1e-300,)), 1.0),
        (Preprocessing(mean=(1.0,)), 1e300),
        (Preprocessing(mean=(1.0,)), float("nan")),
    ],
)
def test_preprocessing_gives_finite_values_or_one_error(
    preprocessing: Preprocessing, x: float
) -> None:
    samples = np.array([[0.5, x], [0.5, 0.5]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=f"x is (0.5|{x})".replace("+", "[+]")):
            preprocessing.apply(samples, sample_ndim=1)


def test_an_output_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "out.npz"
    path.mkdir()
    for where in (path, tmp_path / "nowhere" / "out.npz"):
        with pytest.raises(OSError, match="out") as caught:
            data.save_npz(where, {"x": np.zeros(3)})
        assert caught.value.filename == str(where)
    assert list(tmp_path.iterdir()) == [path]
