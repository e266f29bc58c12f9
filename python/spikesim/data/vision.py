"""Data sets that torchvision downloads: CIFAR-10, CIFAR-100, Fashion-MNIST.

They go to ``SPIKESIM_DATA``, or to ``~/.cache/spikesim`` where that is not set. The loaders of
CIFAR-10 in full, CIFAR-100 and Fashion-MNIST were never run on the real files by this project's
tests, which download nothing: what is tested is what is made of torchvision's answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spikesim import knobs
from spikesim.data.cifar import ZIP, load_zip
from spikesim.data.dataset import Dataset
from spikesim.errors import InputError, MissingExtraError

#: name → torchvision's class, and the folder that it keeps its files in.
_CLASSES = {
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
    "cifar100": ("CIFAR100", "cifar-100-python"),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST"),
}


def load_cifar10(split: str) -> Dataset:
    """x: (N, 3, 32, 32) uint8; y: (N,) int64. ``name`` says which there was.

    The whole of it where it lies under ``SPIKESIM_DATA``; else the subset of 15,000 JPEGs where
    that does (``cifar10-jpeg-15k.zip``); else the whole, downloaded.
    """
    root = knobs.read().data
    if root is not None and not (root / _CLASSES["cifar10"][1]).is_dir():
        subset = root / ZIP
        if subset.is_file():
            return load_zip(subset, split)
    return _load("cifar10", split)


def load_cifar100(split: str) -> Dataset:
    """x: (N, 3, 32, 32) uint8; y: (N,) int64, the 100 fine labels. Untested on the real files."""
    return _load("cifar100", split)


def load_fashion_mnist(split: str) -> Dataset:
    """x: (N, 1, 28, 28) uint8; y: (N,) int64. Untested on the real files."""
    return _load("fashion-mnist", split)


def _load(name: str, split: str) -> Dataset:
    if split not in ("train", "test"):
        raise InputError(f"{name}: split is {split!r}, expected 'train' or 'test'")
    try:
        from torchvision import datasets  # type: ignore[import-untyped, unused-ignore]
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{name}: needs torchvision, which is not installed; install spikesim[vision]"
        ) from error
    root = knobs.read().data or Path.home() / ".cache" / "spikesim"
    kind, folder = _CLASSES[name]
    try:
        source: Any = getattr(datasets, kind)(
            root=str(root), train=split == "train", download=not (root / folder).is_dir()
        )
    except (RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        # No network, no such page, or files that are there and damaged.
        raise InputError(
            f"{name}: torchvision can't load it from {root} ({' '.join(str(error).split())}), "
            "expected its files or a download"
        ) from error
    x = np.asarray(source.data)
    x = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
    return Dataset(
        name=name,
        x=np.ascontiguousarray(x, np.uint8),
        y=np.asarray(source.targets, np.int64),
        layout="N",
    )
