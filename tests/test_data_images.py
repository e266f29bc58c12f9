"""CIFAR-10 from a zip of JPEGs, and what is made of torchvision's data sets."""

from __future__ import annotations

import builtins
import io
import zipfile
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest

from spikesim import data
from spikesim.data.cifar import CLASSES, ZIP, load_zip
from spikesim.errors import FormatError, InputError, MissingExtraError

image_module = pytest.importorskip("PIL.Image")


def jpeg(colour: tuple[int, int, int] = (0, 0, 0), size: tuple[int, int] = (32, 32)) -> bytes:
    file = io.BytesIO()
    image_module.new("RGB", size, colour).save(file, "JPEG", quality=95)
    return file.getvalue()


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_folders_are_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(
        tmp_path / ZIP,
        {
            "train/truck/1.jpg": jpeg((255, 0, 0)),
            "train/airplane/2.jpg": jpeg((0, 0, 255)),
            "train/airplane/1.JPG": jpeg(),
            "test/cat/1.jpeg": jpeg((0, 255, 0)),
            "README.txt": b"words",
        },
    )
    monkeypatch.setenv("SPIKESIM_DATA", str(tmp_path))
    train = data.load("cifar10", "train")
    assert train.name == "cifar10-15k"
    assert (train.x.shape, train.x.dtype) == ((3, 3, 32, 32), np.uint8)
    np.testing.assert_array_equal(train.y, [0, 0, 9])
    # Channels first: black, blue, red, within what JPEG loses.
    means = train.x.mean((2, 3))
    np.testing.assert_allclose(means, [[0, 0, 0], [0, 0, 255], [255, 0, 0]], atol=3)
    np.testing.assert_array_equal(data.load("cifar10").y, [CLASSES.index("cat")])


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"test/zebra/1.jpg": jpeg()}, "has class 'zebra', expected one of airplane"),
        ({"test/cat/1.jpg": jpeg(size=(32, 31))}, "has 32x31 pixels, expected 32x32"),
        ({"test/cat/1.jpg": jpeg()[:-200]}, "test/cat/1.jpg is damaged"),
        ({"test/cat/1.jpg": b"GIF89a"}, "test/cat/1.jpg is damaged"),
        ({"test/cat/1.jpg": bytes(2_000_000)}, "has 2000000 bytes"),
        ({"train/cat/1.jpg": jpeg()}, "file has no test/<class>/<name>.jpg"),
        ({}, "file has no test/"),
    ],
)
def test_zips_that_are_not_it(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    path = archive(tmp_path / "a.zip", members)
    with pytest.raises(FormatError, match=message) as caught:
        load_zip(path, "test")
    assert "\n" not in str(caught.value)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FormatError, match="damaged"):
        load_zip(path, "test")


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def none(name: str, *args: Any, **options: Any) -> Any:
        if name in ("PIL", "torchvision"):
            raise ModuleNotFoundError(name=name)
        return real(name, *args, **options)

    archive(tmp_path / ZIP, {"test/cat/1.jpg": jpeg()})
    monkeypatch.setenv("SPIKESIM_DATA", str(tmp_path))
    monkeypatch.setattr(builtins, "__import__", none)
    with pytest.raises(MissingExtraError, match=r"needs Pillow.*install spikesim\[vision\]"):
        data.load("cifar10")
    with pytest.raises(MissingExtraError, match=r"needs torchvision.*install spikesim\[vision\]"):
        data.load("cifar100")


class Answer:
    """What torchvision gives, and how it was asked."""

    asked: dict[str, Any]
    data: Any
    targets: Any

    def __init__(self, **asked: Any) -> None:
        type(self).asked = asked


@pytest.mark.parametrize(
    ("name", "kind", "folder"),
    [
        ("cifar10", "CIFAR10", "cifar-10-batches-py"),
        ("cifar100", "CIFAR100", "cifar-100-python"),
        ("fashion-mnist", "FashionMNIST", "FashionMNIST"),
    ],
)
def test_what_torchvision_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, folder: str
) -> None:
    torch = pytest.importorskip("torch")
    vision = pytest.importorskip("torchvision.datasets")
    grey = name == "fashion-mnist"
    images = np.arange(2 * 32 * 32 * (1 if grey else 3), dtype=np.uint8)
    images = images.reshape((2, 32, 32) if grey else (2, 32, 32, 3))
    Answer.data = torch.from_numpy(images) if grey else images
    Answer.targets = torch.tensor([7, 3]) if grey else [7, 3]
    monkeypatch.setattr(vision, kind, Answer)
    monkeypatch.setenv("SPIKESIM_DATA", str(tmp_path))
    loaded = data.load(name, "train")
    assert Answer.asked == {"root": str(tmp_path), "train": True, "download": True}
    assert (loaded.name, loaded.x.dtype) == (name, np.uint8)
    expected = images[:, None] if grey else np.moveaxis(images, 3, 1)
    np.testing.assert_array_equal(loaded.x, expected)
    np.testing.assert_array_equal(loaded.y, np.array([7, 3], np.int64))
    # What is there is not downloaded again, and is not passed over for the subset.
    (tmp_path / folder).mkdir()
    archive(tmp_path / ZIP, {"test/cat/1.jpg": jpeg()})
    assert data.load(name).name == name
    assert Answer.asked == {"root": str(tmp_path), "train": False, "download": False}
    # Without a folder of data sets: the user's cache.
    monkeypatch.delenv("SPIKESIM_DATA")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    data.load(name)
    assert Answer.asked["root"] == str(tmp_path / "home" / ".cache" / "spikesim")


def test_a_download_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vision = pytest.importorskip("torchvision.datasets")

    failure: Exception = RuntimeError("Error downloading\nx.gz")

    def fail(**_: Any) -> Any:
        raise failure

    monkeypatch.setattr(vision, "FashionMNIST", fail)
    monkeypatch.setenv("SPIKESIM_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"fashion-mnist: torchvision can't load it .* x\.gz\)"):
        data.load("fashion-mnist")
    failure = URLError("Name or service not known")
    with pytest.raises(InputError, match=r"fashion-mnist: torchvision can't load it .* not known"):
        data.load("fashion-mnist")


@pytest.mark.data
def test_the_subset_as_it_is(data_dir: Path) -> None:
    test = load_zip(data_dir / ZIP, "test")
    assert test.x.shape == (3000, 3, 32, 32)
    assert test.y is not None
    assert np.bincount(test.y).tolist() == [300] * 10
    # An airplane's sky is blue, a frog's pond is not.
    sky, pond = (test.x[test.y == label].mean((0, 2, 3)) for label in (0, 6))
    assert sky[2] > sky[0]
    assert pond[2] < pond[0]
