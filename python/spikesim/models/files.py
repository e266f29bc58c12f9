"""Models in files: the name of a builder and its arguments, and the state dict. No pickle.

A safetensors file whose header's ``__metadata__`` has one entry, ``spikesim.model``: JSON with
``format`` (1), ``builder`` (a function of `spikesim.models`), ``arguments``, ``meta`` and
``crc32`` of the tensors. Reading one runs no code but that builder.
"""

from __future__ import annotations

import copy
import json
import os
import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikesim.errors import FormatError, InputError, SpikesimError
from spikesim.models.registry import BUILDERS
from spikesim.train.files import FilePath, load_with_metadata, save_state_dict

ENTRY = "spikesim.model"
FORMAT = 1

#: Attributes of modules that change nothing of what is computed.
_NO_MATTER = ("training", "inplace")

_PLAIN = (bool, int, float, str, tuple, type(None))

#: Arguments that say how the weights came about, which are in the file themselves.
_DONE = ("rate",)


def save(
    path: FilePath,
    module: nn.Module,
    name: str,
    kwargs: Mapping[str, Any] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model that `load` builds again.

    Args:
        path: where; a file that is there is replaced at once.
        module: the model, whose state dict has the names and shapes that the builder gives.
        name: the builder, as "vgg16".
        kwargs: its arguments by name, JSON values alone: an activation as its name or mapping.
        meta: what goes with it, JSON values: "preprocessing" (as in a network's meta), "labels",
            "recipe", "accuracy", "input_shape", …

    Raises:
        InputError: no such builder, arguments that do not build this module, or values that
            JSON has not.
        OSError: the file can't be written.

    Example:
        >>> net = ss.models.mnist_net(activation="qcfs")
        >>> ss.models.save("a.safetensors", net, "mnist_net", {"activation": "qcfs"})
        >>> again, meta = ss.models.load("a.safetensors")
    """
    where = os.fspath(path)
    arguments = {key: value for key, value in (kwargs or {}).items() if key not in _DONE}
    state = module.state_dict()
    if name not in BUILDERS:
        raise InputError(f"{where}: builder is {name!r}, expected one of {', '.join(BUILDERS)}")
    entry = {
        "format": FORMAT,
        "builder": name,
        "arguments": arguments,
        "meta": dict(meta or {}),
        "crc32": _checksum(state),
    }
    try:
        text = json.dumps(entry, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{where}: arguments or meta hold what is not JSON ({error}), expected JSON values; "
            "an activation by its name"
        ) from error
    try:
        # As a reader will have them, tuples as lists.
        model = _build(name, json.loads(text)["arguments"])
    except Exception as error:
        raise InputError(
            f"{where}: {name} can't be built with {arguments} ({_line(error)}), expected the "
            "arguments that built the module"
        ) from error
    problem = _misfit(model.state_dict(), state) or _difference(model, module)
    if problem is not None:
        raise InputError(f"{where}: {problem}, as {name} has it with these arguments")
    save_state_dict(state, path, {ENTRY: text})


def load(path: FilePath) -> tuple[nn.Module, dict[str, Any]]:
    """Reads a model that `save` wrote.

    Args:
        path: where.

    Returns:
        The module, on the CPU and in eval mode, and its meta.

    Raises:
        FormatError: it is no model file of spikesim, of a later format, or damaged.
        OSError: it can't be read.
    """
    where = os.fspath(path)
    state, metadata = load_with_metadata(path)
    if ENTRY not in metadata:
        raise FormatError(
            f"{where}: header has no {ENTRY!r}, expected a file of spikesim.models.save"
        )
    try:
        entry = json.loads(metadata[ENTRY])
        form, name = entry["format"], entry["builder"]
        arguments, meta, checksum = entry["arguments"], entry["meta"], entry["crc32"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(
            f"{where}: {ENTRY} is damaged ({_line(error)}), expected its JSON"
        ) from error
    if form != FORMAT:
        raise FormatError(f"{where}: format is {form!r}, expected {FORMAT}")
    if not isinstance(name, str) or name not in BUILDERS:
        raise FormatError(f"{where}: builder is {name!r}, expected one of {', '.join(BUILDERS)}")
    if not isinstance(arguments, dict) or not isinstance(meta, dict):
        raise FormatError(f"{where}: arguments and meta are damaged, expected two objects")
    if checksum != _checksum(state):
        raise FormatError(f"{where}: tensors are damaged, expected those that crc32 was taken of")
    try:
        model = _build(name, arguments)
    except Exception as error:
        raise FormatError(
            f"{where}: {name} can't be built with its arguments ({_line(error)}), expected some "
            "that fit"
        ) from error
    if (problem := _misfit(model.state_dict(), state)) is not None:
        raise FormatError(f"{where}: {problem}, as {name} has it with the file's arguments")
    model.load_state_dict(state, assign=True)
    return model.eval(), meta


def _build(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The module without its numbers: no size that a damaged file names takes memory."""
    with torch.device("meta"):
        return BUILDERS[name](**copy.deepcopy(dict(arguments)))


def _misfit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    for key in sorted({*expected, *found}):
        if key not in found:
            return f"{key} is missing, expected a tensor {tuple(expected[key].shape)}"
        if key not in expected:
            return f"{key} is there, expected no such tensor"
        shape, wanted = tuple(found[key].shape), tuple(expected[key].shape)
        if shape != wanted:
            return f"{key} has shape {shape}, expected {wanted}"
        if found[key].is_floating_point() != expected[key].is_floating_point():
            return f"{key} is {found[key].dtype}, expected {expected[key].dtype}"
    return None


def _difference(expected: nn.Module, found: nn.Module) -> str | None:
    """Where two modules with the same tensors compute something else: another activation or pool,
    another number of levels, another stride."""
    left, right = dict(expected.named_modules()), dict(found.named_modules())
    for path in sorted({*left, *right}):
        name = path or "the module"
        if path not in left or path not in right:
            return f"{name} is {'missing' if path in left else 'there'}, expected it otherwise"
        if type(left[path]) is not type(right[path]):
            return (
                f"{name} is a {type(right[path]).__name__}, expected a {type(left[path]).__name__}"
            )
        wanted, have = _settings(left[path]), _settings(right[path])
        for key in sorted({*wanted, *have}):
            if key not in have or key not in wanted or wanted[key] != have[key]:
                return f"{name}.{key} is {have.get(key)!r}, expected {wanted.get(key)!r}"
    return None


def _settings(module: nn.Module) -> dict[str, Any]:
    """What a module is beside its tensors and parts: its plain attributes."""
    return {
        key: value
        for key, value in vars(module).items()
        if not key.startswith("_") and key not in _NO_MATTER and isinstance(value, _PLAIN)
    }


def _checksum(state: Mapping[str, Tensor]) -> int:
    checksum = 0
    for key in sorted(state):
        data = state[key].detach().cpu().contiguous().reshape(-1)
        if data.numel():
            checksum = zlib.crc32(data.view(torch.uint8).numpy().tobytes(), checksum)
    return checksum


def _line(error: BaseException) -> str:
    text = str(error) if isinstance(error, SpikesimError) else f"{type(error).__name__} {error}"
    return " ".join(text.split())
