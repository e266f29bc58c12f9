"""``.npz`` files: read with every size checked before memory is taken, written atomically."""

from __future__ import annotations

import lzma
import math
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from spikesim.data.dataset import LAYOUTS, Dataset
from spikesim.errors import FormatError

_KNOWN = ("x", "y", "layout")

#: Labels are int64; a larger one of uint64 would wrap to a negative number.
_MOST_LABEL = 2**63 - 1

#: What zipfile and NumPy raise on damaged bytes.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError),
    *(ValueError, KeyError, OverflowError, RuntimeError),
)


def load_npz(path: Path) -> Dataset:
    """Reads ``x``, optional ``y`` and ``layout`` of a ``.npz``; other arrays are ignored.

    Raises:
        FormatError: not a ``.npz``, an array is broken or of a kind that can't be meant.
        FileNotFoundError: no such file.
    """
    arrays = _read(path)
    if "x" not in arrays:
        raise FormatError(f"{path}: array 'x' is missing, expected the samples")
    x = arrays["x"]
    if x.dtype.kind not in "buif":
        raise FormatError(f"{path}: x has dtype {x.dtype}, expected bool, integer or real numbers")
    layout = _layout(path, arrays.get("layout"))
    if x.ndim < (2 if layout == "TN" else 1) or x.size == 0:
        raise FormatError(f"{path}: x has shape {list(x.shape)}, expected samples")
    data = Dataset(name=str(path), x=x, y=None, layout=layout)
    y = arrays.get("y")
    if y is None:
        return data
    if y.dtype.kind not in "ui" or y.ndim != 1:
        raise FormatError(
            f"{path}: y has dtype {y.dtype} and shape {list(y.shape)}, expected (N,) integers"
        )
    if y.size and int(y.max()) > _MOST_LABEL:
        raise FormatError(f"{path}: y has label {y.max()}, expected at most {_MOST_LABEL} (int64)")
    if layout is not None and len(y) != data.n_samples(layout):
        raise FormatError(
            f"{path}: y has {len(y)} labels, expected {data.n_samples(layout)}, one a sample"
        )
    return Dataset(name=str(path), x=x, y=y.astype(np.int64), layout=layout)


def _layout(path: Path, stored: NDArray[Any] | None) -> str | None:
    if stored is None:
        return None
    if stored.dtype.kind != "U" or stored.ndim != 0 or str(stored) not in LAYOUTS:
        raise FormatError(f"{path}: layout is {stored!r}, expected one of {', '.join(LAYOUTS)}")
    return str(stored)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    # Opened apart: from here on an OSError is a damaged file's doing (a seek to nowhere).
    with path.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                members = {name.removesuffix(".npy"): name for name in archive.namelist()}
                return {
                    key: _member(archive, members[key], f"{path}: {key}")
                    for key in _KNOWN
                    if key in members
                }
        except FormatError:
            raise
        except _DAMAGE as error:
            raise FormatError(
                f"{path}: file is broken ({_one_line(error)}), expected a .npz"
            ) from error


def _member(archive: zipfile.ZipFile, name: str, where: str) -> NDArray[Any]:
    """One array; its header is held to the bytes that are there before any are taken."""
    size = archive.getinfo(name).file_size
    with archive.open(name) as stream:
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise FormatError(f"{where} has npy version {version}, expected 1.0 or 2.0")
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        found = size - stream.tell()
    if dtype.hasobject:
        raise FormatError(f"{where} holds Python objects, expected numbers")
    if found != math.prod(shape) * dtype.itemsize:
        raise FormatError(
            f"{where} has {found} bytes, expected {math.prod(shape) * dtype.itemsize} "
            f"for shape {list(shape)} of {dtype}"
        )
    with archive.open(name) as stream:
        array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
        return array


def _one_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def save_npz(path: Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Writes a ``.npz`` beside its place and moves it there: whole, or not at all."""
    path = Path(path)
    try:
        _replace(path, arrays)
    except OSError as error:
        if error.filename is not None:  # the caller knows its own path, not the one beside it
            error.filename, error.filename2 = str(path), None
        raise


def _replace(path: Path, arrays: Mapping[str, ArrayLike]) -> None:
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent or Path())
    try:
        with os.fdopen(handle, "wb") as stream:
            named: dict[str, Any] = {key: np.asarray(array) for key, array in arrays.items()}
            np.savez_compressed(stream, **named)
        # mkstemp's mode is for secrets; a result is an ordinary file.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(partial, 0o666 & ~umask)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
