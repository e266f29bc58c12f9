"""Data sets by name, and ``.npz`` files: what ``DATA`` means on the command line.

``load("digits")`` is embedded: the 360 held-out images of the UCI handwritten digits that the
embedded model (:func:`digits_model`) never saw, and with ``split="train"`` the 1,437 others.
``load("mnist")`` reads the IDX files under ``SPIKESIM_DATA``; ``cifar10`` a zip of JPEGs there,
or torchvision's download, as ``cifar100`` and ``fashion-mnist`` (these two are untested on the
real files). Any other name is a ``.npz`` with ``x``, optional ``y`` and ``layout``.
"""

from __future__ import annotations

import os
from pathlib import Path

from spikesim.data.dataset import LAYOUTS, Dataset
from spikesim.data.digits import load_digits, model_path
from spikesim.data.mnist import load_mnist
from spikesim.data.npz import load_npz, save_npz
from spikesim.data.preprocess import Preprocessing
from spikesim.data.vision import load_cifar10, load_cifar100, load_fashion_mnist
from spikesim.errors import InputError, UnsupportedError

__all__ = [
    "LAYOUTS",
    "Dataset",
    "Preprocessing",
    "available",
    "digits_model",
    "load",
    "save_npz",
]

_LOADERS = {
    "digits": load_digits,
    "mnist": load_mnist,
    "fashion-mnist": load_fashion_mnist,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
}

#: Names that the interface reserves and that this version can't read.
_RESERVED = (
    "nmnist",
    "poker-dvs",
    "dvs-gesture",
    "n-caltech101",
    "shd",
)


def available() -> tuple[str, ...]:
    """Names that :func:`load` knows in this version."""
    return tuple(_LOADERS)


def digits_model() -> Path:
    """Path of the embedded model: a convolutional SNN trained on the digits' other images."""
    return model_path()


def load(name: str | os.PathLike[str], split: str | None = None) -> Dataset:
    """Loads a data set.

    Args:
        name: one of :func:`available`, or the path of a ``.npz`` with ``x`` (any layout of
            :data:`LAYOUTS`), optional ``y`` (integer labels, one a sample) and ``layout``.
        split: Part of a named data set, default ``"test"``. A ``.npz`` has no splits.

    Returns:
        The images or rasters as stored, without any preprocessing, with their labels.

    Raises:
        InputError: the name, the split or the folder is not known.
        UnsupportedError: a data set that this version does not read.
        MissingExtraError: Pillow or torchvision is needed and not installed.
        FormatError: the file is not what its name says.
        FileNotFoundError: the file is not there.

    Example:
        >>> import spikesim as ss
        >>> ss.data.load("digits").x.shape
        (360, 1, 8, 8)
    """
    text = os.fspath(name)
    known = ", ".join(_LOADERS)
    if text in _LOADERS:
        return _LOADERS[text](split or "test")
    if text in _RESERVED:
        raise UnsupportedError(
            f"data: {text} is not supported, expected one of {known} or a .npz file; "
            "save its arrays as x and y in a .npz"
        )
    path = Path(text)
    if path.suffix != ".npz":
        raise InputError(
            f"data: {text!r} is not a data set, expected one of {known} or a .npz file"
        )
    if split is not None:
        raise InputError(f"data: split is {split!r} for a .npz file, expected none")
    return load_npz(path)
