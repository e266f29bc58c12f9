"""MNIST from its IDX files, gzipped or not, where torchvision and others put them."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikesim import knobs
from spikesim.data.dataset import Dataset
from spikesim.errors import FormatError, InputError

_PREFIX = {"train": "train", "test": "t10k"}
_FOLDERS = (Path("MNIST") / "raw", Path("MNIST"), Path("mnist"), Path())
#: The only element type that MNIST's files use: unsigned bytes.
_UBYTE = 0x08


def load_mnist(split: str) -> Dataset:
    """x: (N, 1, 28, 28) uint8 in 0..255; y: (N,) int64."""
    if split not in _PREFIX:
        raise InputError(f"mnist: split is {split!r}, expected 'train' or 'test'")
    root = knobs.read().data
    if root is None:
        raise InputError(
            "mnist: SPIKESIM_DATA is not set, expected the folder that holds MNIST/raw"
        )
    prefix = _PREFIX[split]
    images = read_idx(_find(root, f"{prefix}-images-idx3-ubyte"), n_axes=3)
    labels = read_idx(_find(root, f"{prefix}-labels-idx1-ubyte"), n_axes=1)
    if len(images) != len(labels):
        raise FormatError(
            f"mnist: {split} has {len(labels)} labels, expected {len(images)}, one an image"
        )
    return Dataset(name="mnist", x=images[:, None], y=labels.astype(np.int64), layout="N")


def _find(root: Path, stem: str) -> Path:
    for folder in _FOLDERS:
        for name in (stem, f"{stem}.gz"):
            path = root / folder / name
            if path.is_file():
                return path
    raise InputError(
        f"mnist: {stem}[.gz] is not in {root}, expected in its MNIST/raw; "
        "SPIKESIM_DATA names the folder"
    )


def read_idx(path: Path, n_axes: int) -> NDArray[np.uint8]:
    """Reads an IDX file of unsigned bytes with ``n_axes`` axes.

    Raises:
        FormatError: the file is truncated, longer than it says, or of another type.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: file is not whole gzip ({error}), expected IDX") from error
    head = 4 + 4 * n_axes
    if len(raw) < head or raw[:4] != bytes((0, 0, _UBYTE, n_axes)):
        raise FormatError(
            f"{path}: header is {raw[:4].hex()!r}, "
            f"expected '0000{_UBYTE:02x}{n_axes:02x}' (IDX, unsigned bytes, {n_axes} axes)"
        )
    shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", n_axes, offset=4))
    if len(raw) - head != math.prod(shape):
        raise FormatError(
            f"{path}: file has {len(raw) - head} bytes of data, expected {math.prod(shape)} "
            f"for its shape {list(shape)}"
        )
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape)
