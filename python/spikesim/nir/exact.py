"""What spikesim writes into a NIR file beside NIR's own words, and how it is read back.

The metadata of the graph has the network's nodes, edges and delays, of each node that NIR can't
say exactly its arrays. NIR's arrays stay the truth of the weights; whether the rest of them still
says the same as the metadata is checked, so that a file which another program changed is not read
as if it had not.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UnsupportedError
from spikesim.network import Network
from spikesim.nir.form import LAYERS, Form, NirNode
from spikesim.nir.graph import Flat, Part
from spikesim.nir.hdf5 import Dataset, Group
from spikesim.ops import Neuron

KEY = "spikesim"
FORMAT = 1
MAX_TEXT = 8 << 20
"""Longest entry, in bytes: 512 to each of as many nodes as there may be."""
MAX_PARTS = 1 << 18
"""Most lists and objects in it: Python takes much more memory for one than JSON does."""
_KEYS = {"format", "nodes", "edges", "output", "readout", "dt", "meta"}


def text(net: Network, form: Form) -> str:
    """The metadata entry of a network."""
    nodes = []
    for node in net.nodes[1:]:
        entry = {"name": node.name, "nir": form.names.get(node.name), **node.spec}
        if node.kind in LAYERS:
            entry["bias"] = "bias" in node.array_shapes
            entry["delay"] = "delay" in node.array_shapes
        nodes.append(entry)
    said = json.dumps(
        {
            "format": FORMAT,
            "nodes": nodes,
            "edges": [list(edge) for edge in net.edges],
            # None where it is what it would be anyway.
            "output": None if net.output == net.nodes[-1].name else net.output,
            "readout": None if net.readout == _default_readout(net) else net.readout,
            "dt": net.dt,
            "meta": json.loads(net._graph.meta_json),
        },
        allow_nan=False,
    )
    if len(said) > MAX_TEXT or said.count("[") + said.count("{") > MAX_PARTS:
        raise UnsupportedError(
            f"the network's description has {len(said)} bytes, expected at most {MAX_TEXT} and "
            f"{MAX_PARTS} lists and objects in a NIR file; use a .spikesim bundle"
        )
    return said


def _default_readout(net: Network) -> str:
    op = net.node(net.output).op
    return "count" if isinstance(op, Neuron) and op.spikes != "none" else "sum"


class _Wrong(Exception):
    """Something about the entry."""


def read(flat: Flat) -> Network:
    """The network that spikesim wrote.

    Raises:
        FormatError: The entry is damaged, or the graph is not the one it was written with.
    """
    try:
        said = _parse(flat)
        net = _build(flat, said)
    except _Wrong as error:
        raise flat.wrong(f"metadata {KEY!r} {error}") from error
    _compare(flat, net)
    return net


def _parse(flat: Flat) -> dict[str, Any]:
    entry = flat.metadata[KEY]
    if isinstance(entry, dict) or entry.shape != () or entry.kind != "S":
        raise _Wrong("is no text, expected some")
    try:
        text = entry.text(MAX_TEXT)
        if text.count("[") + text.count("{") > MAX_PARTS:
            raise _Wrong(f"has more than {MAX_PARTS} lists and objects, expected fewer")
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Wrong(f"is no JSON ({error}), expected some") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise _Wrong(f"is of no known format, expected {FORMAT}")
    if said.keys() != _KEYS:
        raise _Wrong(f"has keys {sorted(said)}, expected {sorted(_KEYS)}")
    shapes: tuple[tuple[str, Any], ...] = (("nodes", list), ("edges", list), ("meta", dict))
    for name, kind in shapes:
        if not isinstance(said[name], kind):
            raise _Wrong(f"has {name} of the wrong kind, expected a {kind.__name__}")
    return said


def _build(flat: Flat, said: dict[str, Any]) -> Network:
    net = Network(flat.input_shape)
    specs: dict[str, dict[str, Any]] = {}
    for spec in said["nodes"]:
        if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
            raise _Wrong("has a node without a name, expected an object with one")
        if spec["name"] in specs:
            raise _Wrong(f"has the node {spec['name']!r} twice, expected it once")
        specs[spec["name"]] = dict(spec)
    edges = [_edge(edge) for edge in said["edges"]]
    added = {"input"}
    at = 0
    while at < len(edges):
        src, dst, delay = edges[at]
        if dst in added:
            net.connect(src, dst, delay)
            at += 1
            continue
        # All edges of a node that stand together come with it.
        end = at + 1
        while end < len(edges) and edges[end][1] == dst and edges[end][0] in added:
            end += 1
        if dst not in specs or src not in added:
            raise _Wrong(f"has an edge from {src!r} to {dst!r}, expected nodes that are there")
        spec = specs.pop(dst)
        arrays = _arrays(flat, spec)
        name = spec.pop("name")
        sources = [edge[0] for edge in edges[at:end]]
        net._graph.add(name, json.dumps(spec), arrays, sources, [e[2] for e in edges[at:end]])
        added.add(dst)
        at = end
    if specs:
        raise _Wrong(f"has no edge to {next(iter(specs))!r}, expected one")
    if said["output"] is not None:
        net.output = _text(said["output"])
    if said["readout"] is not None:
        net.readout = _text(said["readout"])
    if said["dt"] is not None:
        if isinstance(said["dt"], bool) or not isinstance(said["dt"], int | float):
            raise _Wrong("has a dt that is no number, expected seconds")
        net.dt = said["dt"]
    net.meta = said["meta"]
    return net


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"has {value!r}, expected a name")
    return value


def _edge(edge: Any) -> tuple[str, str, int]:
    if isinstance(edge, list) and len(edge) == 3:
        src, dst, delay = edge
        whole = isinstance(delay, int) and not isinstance(delay, bool) and 0 <= delay < 2**31
        if isinstance(src, str) and isinstance(dst, str) and whole:
            return src, dst, delay
    raise _Wrong(f"has an edge {str(edge)[:80]}, expected [source, target, delay]")


def _arrays(flat: Flat, spec: dict[str, Any]) -> dict[str, Any]:
    """A node's arrays: weights from NIR's fields, all else from its metadata.

    Of a layer only what the entry says it has, and a bias that somebody has written since.
    """
    nir = spec.pop("nir", None)
    if nir is None:
        return {}
    part = flat.nodes.get(nir) if isinstance(nir, str) else None
    if part is None:
        raise _Wrong(f"names a node {nir!r}, expected one of the graph's")
    if part.type in ("Linear", "Affine", "Conv1d", "Conv2d"):
        arrays = {"weight": part.weights("weight")}
        said = spec.pop("bias", None) is True
        if "bias" in part.fields:
            bias = part.weights("bias")
            # A convolution without one has zeros there; weights are NIR's own, so others count.
            if said or (part.type != "Affine" and bias.any()):
                arrays["bias"] = bias
        if spec.pop("delay", None) is True:
            arrays["delay"] = _held(part, part.metadata, "delay")
        return arrays
    held = part.metadata
    return {name: _held(part, held, name) for name in held}


def _held(part: Part, held: Group, name: str) -> NDArray[np.float32]:
    """An array of a node's metadata."""
    data = held.get(name)
    if not isinstance(data, Dataset) or data.kind != "f":
        raise _Wrong(f"of node {part.name!r} has {name!r} as no array of numbers, expected one")
    return data.array(np.float32)


def _compare(flat: Flat, net: Network) -> None:
    """Whether the graph is still the one that this network would be written as."""
    form = Form(net)
    changed = "differs from what the metadata says; remove it to read NIR's words alone"
    if flat.edges != form.edges or flat.inner:
        raise flat.wrong(f"the list of edges {changed}")
    names = set(flat.nodes)
    for node in form.nodes(weights=False):
        if node.type in ("Input", "Output"):
            if node.name != (flat.input if node.type == "Input" else flat.output):
                raise flat.wrong(f"the name of the {node.type.lower()} {changed}")
            continue
        part = flat.nodes.get(node.name)
        names.discard(node.name)
        if part is None or part.type != node.type or not _same(part, node):
            raise flat.wrong(f"node {node.name!r} {changed}")
    if names:
        raise flat.wrong(f"node {sorted(names)[0]!r} {changed}")
    if flat.output_shape != net.output_shape:
        raise flat.wrong(f"the output's shape {changed}")


def _same(part: Part, node: NirNode) -> bool:
    """Whether the file has what would be written, weights apart."""
    weights = {"weight", "bias"} & set(part.fields)
    if set(part.fields) - weights != set(node.fields):
        return False
    for name, value in node.fields.items():
        data = part.fields[name]
        if isinstance(value, str):
            if data.kind != "S" or data.text(64) != value:
                return False
        elif data.kind == "S" or data.shape != np.shape(value):
            return False  # before anything is read: an entry can ask for shapes that are not there
        elif not np.array_equal(data.array(np.float64, kept=False), np.asarray(value)):
            return False
    return True
