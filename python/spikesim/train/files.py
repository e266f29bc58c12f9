"""State dicts in safetensors files: a JSON header and the numbers, no pickle, no code."""

from __future__ import annotations

import json
import math
import os
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikesim.errors import FormatError

FilePath = str | os.PathLike[str]

DTYPES = {
    "F32": torch.float32,
    "F64": torch.float64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}

# The name in the header that is no tensor's.
_METADATA = "__metadata__"

# As the format has it: a longer header is no header.
_LONGEST_HEADER = 100_000_000


def save_state_dict(
    tensors: Mapping[str, Tensor], path: FilePath, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a state dict as a safetensors file, which replaces one that is there at once.

    Args:
        tensors: `state_dict()` of a module, or `spikesim.train.state_dict(net)`.
        path: where.
        metadata: what else the header is to say, texts by name.

    Raises:
        FormatError: a tensor that the format has no type for.
        OSError: the file can't be written.
    """
    header: dict[str, Any] = {} if not metadata else {_METADATA: dict(metadata)}
    offset = 0
    for key, tensor in tensors.items():
        dense = isinstance(tensor, Tensor) and tensor.layout == torch.strided
        if not dense or tensor.dtype not in _NAMES or key == _METADATA:
            what = f"a {type(tensor).__name__}" if not dense else f"of {tensor.dtype}"
            raise FormatError(f"{os.fspath(path)}: {key} is {what}, expected a dense tensor")
        size = tensor.numel() * tensor.element_size()
        header[key] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for tensor in tensors.values():
                data = tensor.detach().cpu().contiguous().reshape(-1)
                file.write(data.view(torch.uint8).numpy().tobytes() if data.numel() else b"")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else _permissions())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def load_state_dict(path: FilePath) -> dict[str, Tensor]:
    """Reads a safetensors file, which may be a `.spikesim` bundle.

    Args:
        path: where.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        FormatError: it is no safetensors file, or a damaged one.
        OSError: it can't be read.
    """
    return load_with_metadata(path)[0]


def load_with_metadata(path: FilePath) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What `load_state_dict` gives, and what else the header says."""
    where = os.fspath(path)
    data = bytearray(Path(path).read_bytes())
    if len(data) < 8:
        raise FormatError(f"{where}: file has {len(data)} bytes, expected a safetensors file")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(len(data) - 8, _LONGEST_HEADER):
        raise FormatError(
            f"{where}: header has {length} bytes, expected at most {len(data) - 8} as the file "
            "has; it is no safetensors file, or cut off"
        )
    try:
        header = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=_once)
        metadata = {str(key): str(text) for key, text in header.pop(_METADATA, {}).items()}
        entries = {
            str(key): (
                DTYPES[entry["dtype"]],
                [_natural(n) for n in entry["shape"]],
                [_natural(n) for n in entry["data_offsets"]],
            )
            for key, entry in header.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = f"{type(error).__name__} {error}".replace("\n", " ")
        raise FormatError(f"{where}: header is damaged ({problem}), expected JSON") from error
    begin, end = 8 + length, 0
    tensors: dict[str, Tensor] = {}
    for key, (dtype, shape, offsets) in sorted(entries.items(), key=lambda e: (e[1][2], e[0])):
        size = math.prod(shape) * dtype.itemsize
        if offsets != [end, end + size] or begin + end + size > len(data):
            raise FormatError(
                f"{where}: {key} lies at {offsets}, expected [{end}, {end + size}] inside the file"
            )
        part = data[begin + end : begin + end + size]
        flat = torch.frombuffer(part, dtype=dtype) if size else torch.empty(0, dtype=dtype)
        tensors[key] = flat.reshape(shape)
        end += size
    if begin + end != len(data):
        raise FormatError(
            f"{where}: file has {len(data)} bytes, expected {begin + end} as its header says"
        )
    return {key: tensors[key] for key in entries}, metadata


def _permissions() -> int:
    """Those of a new file."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} where a size is expected")
    return int(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise ValueError("a key is there twice")
    return dict(pairs)
