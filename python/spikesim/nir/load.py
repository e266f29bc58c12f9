"""Reading a NIR file as a network."""

from __future__ import annotations

import json
import warnings
from typing import Any

from spikesim.errors import FormatError, GraphError, InputError, ShapeError, UnsupportedError
from spikesim.network import Network
from spikesim.nir import exact, graph
from spikesim.nir.build import Builder
from spikesim.nir.graph import Flat
from spikesim.nir.hdf5 import Dataset, Tree, opened
from spikesim.nir.options import Choices, NirAssumption, NirOptions

MOST_META_TEXT = 4096
MOST_ERROR = 2000
"""Longest message: names in a file may be long, and stand in it."""


def load(path: str, options: NirOptions | None = None) -> Network:
    """The network in a NIR file; `spikesim.load` describes it.

    Raises:
        FormatError: It is no NIR file, a damaged one, or means nothing; begins with the path.
        MissingExtraError: h5py is not installed.
        OSError: It can't be opened.
        UnsupportedError: It holds what has no rule here; begins with the path.
        TypeError: `options` are none.
    """
    if options is None:
        options = NirOptions()
    if not isinstance(options, NirOptions):
        raise TypeError(f"load: nir is {options!r}, expected NirOptions")
    with opened(path) as tree:
        try:
            return _load(tree, options)
        except UnsupportedError as error:
            raise UnsupportedError(_placed(path, error)) from error
        except (FormatError, GraphError, ShapeError) as error:
            raise FormatError(_placed(path, error)) from error


def _placed(path: str, error: Exception) -> str:
    text = str(error)
    if len(text) > MOST_ERROR:
        text = f"{text[:MOST_ERROR]}…"
    return text if text.startswith(f"{path}: ") else f"{path}: {text}"


def _load(tree: Tree, options: NirOptions) -> Network:
    flat = graph.read(tree)
    if exact.KEY in flat.metadata:
        net = exact.read(flat)
        _no_conflict(tree.path, options, net)
        return net
    said, kept = _metadata(flat)
    if "dt" in said and options.dt not in (None, said["dt"]):
        raise InputError(
            f"{tree.path}: nir says dt={options.dt:g} for a file whose metadata says "
            f"{said['dt']:g}, expected no dt or the same"
        )
    choices = Choices(options, said)
    builder = Builder(flat, choices)
    net = builder.build()
    doubt = choices.doubt()
    if doubt is not None:
        raise flat.wrong(doubt)
    net.unsettled = tuple(builder.unsettled)
    net.dt = choices.known_dt
    if "readout" in options.given():
        net.readout = options.readout
        net.validate()
    net.meta = {"source": {"format": "nir", **_version(tree)}, "nir": _account(builder, kept)}
    if choices.assumed:
        _warn(tree.path, choices, net.readout)
    return net


def _account(builder: Builder, kept: dict[str, Any]) -> dict[str, Any]:
    """What held for the file, for `net.meta`."""
    choices = builder.choices
    account: dict[str, Any] = {"profile": choices.profile, **choices.used}
    account["assumed"] = choices.assumed
    if builder.renamed:
        account["renamed"] = builder.renamed
    if kept:
        account["metadata"] = kept
    return account


def _warn(path: str, choices: Choices, readout: str) -> None:
    taken = ", ".join(f"{name}={json.dumps(value)}" for name, value in choices.assumed.items())
    if choices.assumed.get("tau") == "dt*tau":
        taken += " (Norse 1.1.0 writes dt·τ for a time constant τ, which is undone)"
    if "readout" not in choices.given:
        taken += f'; readout is "{readout}"'
    text = (
        f'{path}: does not say everything; profile "{choices.profile}" assumes {taken}; '
        "say otherwise with nir=NirOptions(...)"
    )
    # The line is the one that called spikesim.load.
    warnings.warn(NirAssumption(text), stacklevel=5)


def _no_conflict(path: str, options: NirOptions, net: Network) -> None:
    """Options can't contradict a file that says everything itself."""
    given = options.given()
    if net.dt is not None and given.get("dt") == net.dt:
        del given["dt"]
    if given.get("readout") == net.readout:
        del given["readout"]
    if given:
        raise InputError(
            f"{path}: nir says {', '.join(given)} for a file that says everything itself, "
            "expected no such option"
        )


def _version(tree: Tree) -> dict[str, str]:
    entry = tree.root.get("version")
    if entry is None:
        return {}
    if not isinstance(entry, Dataset):
        raise FormatError(f"{tree.path}: version is a group, expected a string")
    return {"version": entry.text(MOST_META_TEXT)[:64]}


def _metadata(flat: Flat) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the graph's metadata says that an option would, and all its short entries."""
    kept: dict[str, Any] = {}
    for name, entry in flat.metadata.items():
        if not isinstance(entry, Dataset) or entry.kind not in "fiubS":
            continue
        if entry.kind != "S":
            if entry.shape is not None and entry.size == 1:
                kept[name] = entry.array("f8").item()
        elif entry.shape == () and entry.longest <= MOST_META_TEXT:
            kept[name] = entry.text(MOST_META_TEXT)
    said: dict[str, Any] = {}
    if "dt" in flat.metadata:
        if "dt" not in kept:
            raise flat.wrong("metadata dt is no single number, expected one of seconds above 0")
        try:
            said["dt"] = NirOptions(dt=kept["dt"]).dt
        except InputError as error:
            raise flat.wrong(f"metadata {error}") from error
    return said, {k: v for k, v in kept.items() if isinstance(v, str) or v - v == 0}
