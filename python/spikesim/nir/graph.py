"""A file's graph: nodes of known types with known fields, nested graphs written out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import FormatError, UnsupportedError
from spikesim.nir.hdf5 import Dataset, Group, Later, Tree

MAX_NODES = 16_384
MAX_EDGES = 65_536
MAX_NESTING = 32
MAX_TEXT = 256
"""Longest name of a node or type, in bytes, without the names of the graphs around it."""

#: type -> fields that must and fields that may be there.
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Input": (("shape",), ()),
    "Output": (("shape",), ()),
    "Affine": (("weight", "bias"), ()),
    "Linear": (("weight",), ()),
    "Scale": (("scale",), ()),
    "Conv1d": (("weight", "stride", "padding", "dilation", "groups", "bias"), ("input_shape",)),
    "Conv2d": (("weight", "stride", "padding", "dilation", "groups", "bias"), ("input_shape",)),
    "SumPool2d": (("kernel_size", "stride", "padding"), ()),
    "AvgPool2d": (("kernel_size", "stride", "padding"), ()),
    "Flatten": (("start_dim", "end_dim"), ("input_type",)),
    "Delay": (("delay",), ()),
    "Threshold": (("threshold",), ()),
    "I": (("r",), ()),
    "IF": (("r", "v_threshold"), ("v_reset",)),
    "LI": (("tau", "r", "v_leak"), ()),
    "LIF": (("tau", "r", "v_leak", "v_threshold"), ("v_reset",)),
    "CubaLI": (("tau_syn", "tau_mem", "r", "v_leak"), ("w_in",)),
    "CubaLIF": (("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"), ("v_reset", "w_in")),
}
POPULATIONS = {"Threshold", "I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"}


@dataclass
class Part:
    """A node of the file.

    Attributes:
        name: Its name, with those of the graphs around it: `outer.inner`.
        type: Its NIR type.
        fields: Its arrays and texts.
        later: Its metadata, whatever it is, not walked.
    """

    name: str
    type: str
    fields: dict[str, Dataset]
    tree: Tree
    later: Later | None = None

    @property
    def metadata(self) -> Group:
        """Its metadata, walked now: most files have none of any use."""
        return {} if self.later is None else self.tree.walk(self.later)

    def wrong(self, problem: str) -> FormatError:
        """An error about this node."""
        return FormatError(f"{self.tree.path}: node {self.name!r}: {problem}")

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A field of real numbers, none of them NaN or infinite."""
        data = self.fields[name]
        values = data.array(np.float64, kept=False)
        if not np.isfinite(values).all():
            raise self.wrong(f"{name} has a NaN or an infinity, expected finite numbers")
        if values.size > 1 and values.min() == values.max():
            # Exporters write one value many times: no more than the one is kept.
            return np.broadcast_to(values.flat[0], values.shape)
        data.keep()
        return values

    def weights(self, name: str) -> NDArray[np.float32]:
        """A large field, read as float32 at once."""
        values: NDArray[np.float32] = self.fields[name].array(np.float32)
        # A sum has no temporary array; it is finite only if all of them are.
        with np.errstate(over="ignore", invalid="ignore"):
            total = values.sum()
        if not np.isfinite(total) and not np.isfinite(values).all():
            raise self.wrong(f"{name} has a NaN or an infinity, expected finite numbers")
        return values

    def integers(self, name: str) -> list[int]:
        """A field of integers: a number or a short list."""
        data = self.fields[name]
        if data.kind not in "iu" or data.shape is None or len(data.shape) > 1 or data.size > 8:
            raise self.wrong(f"{name} is no short list of integers, expected one")
        return [int(n) for n in data.array(np.int64 if data.kind == "i" else np.uint64).reshape(-1)]

    def lengths(self, name: str) -> tuple[int, ...]:
        """A shape."""
        shape = self.integers(name)
        if not shape or any(not 0 < n < 2**31 for n in shape):
            raise self.wrong(f"{name} is {tuple(shape)}, expected at least one axis, none empty")
        return tuple(shape)

    def has(self, name: str) -> bool:
        """Whether an optional field is there with something in it."""
        return name in self.fields and self.fields[name].shape is not None


@dataclass
class Flat:
    """A graph without graphs in it.

    Attributes:
        nodes: Everything but inputs and outputs, by full name.
        edges: (source, target); the input is `input`, the output `output`.
        input: Name of the input node.
        output: Name of the output node.
        inner: Inputs and outputs of nested graphs, which are gone: full name -> shape.
        into_inner: The edges into them, (source, name of an input or output).
    """

    nodes: dict[str, Part]
    edges: list[tuple[str, str]]
    input: str
    output: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    metadata: Group
    path: str
    inner: dict[str, tuple[int, ...]] = field(default_factory=dict)
    into_inner: list[tuple[str, str]] = field(default_factory=list)

    def wrong(self, problem: str) -> FormatError:
        """An error about the whole graph."""
        return FormatError(f"{self.path}: {problem}")


class _Reader:
    """Collects nodes and edges over all levels."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.nodes: dict[str, Part] = {}
        self.edges: list[tuple[str, str]] = []
        self.passing: set[str] = set()
        """Inputs and outputs of nested graphs, which vanish."""
        self.ends: dict[str, list[Part]] = {"Input": [], "Output": []}
        self.count = 0

    def wrong(self, problem: str) -> FormatError:
        return FormatError(f"{self.tree.path}: {problem}")

    def graph(self, group: Group, prefix: str, depth: int) -> tuple[str, str]:
        """Reads a graph; the full names of its input and output."""
        where = prefix.rstrip(".") or "the graph"
        if depth > MAX_NESTING:
            raise self.wrong(f"graphs nest more than {MAX_NESTING} deep, expected fewer")
        self._keys(where, group, ("nodes", "edges"), ("metadata",))
        nodes, edges = group["nodes"], group["edges"]
        if not isinstance(nodes, dict) or not isinstance(edges, Dataset):
            raise self.wrong(
                f"{where}: nodes and edges are of the wrong kind, expected a group and a dataset"
            )
        self.count += len(nodes)
        if self.count > MAX_NODES:
            raise self.wrong(f"the graph has {self.count} nodes, expected at most {MAX_NODES}")
        entry: dict[str, str] = {}
        leave: dict[str, str] = {}
        ends: dict[str, list[str]] = {"Input": [], "Output": []}
        for name, node in nodes.items():
            full = prefix + name
            kind = self._type(full, node)
            if len(name.encode()) > MAX_TEXT:
                raise self.wrong(
                    f"a node's name has {len(name.encode())} bytes, expected at most {MAX_TEXT}"
                )
            if kind == "NIRGraph":
                entry[name], leave[name] = self.graph(node, f"{full}.", depth + 1)
                continue
            part = self._part(full, kind, node)
            entry[name] = leave[name] = full
            if full in self.nodes or full in self.passing:
                raise self.wrong(f"the name {full!r} is there twice, expected each name once")
            if kind in ends:
                ends[kind].append(full)
                self.ends[kind].append(part)
                self.passing.add(full)
            else:
                self.nodes[full] = part
        for kind, found in ends.items():
            if len(found) != 1:
                problem = f"{where} has {len(found)} {kind} nodes"
                if len(found) > 1:
                    raise UnsupportedError(f"{self.tree.path}: {problem}, expected one")
                raise self.wrong(f"{problem}, expected one")
        self._edges(where, edges, entry, leave, ends)
        return ends["Input"][0], ends["Output"][0]

    def _keys(self, where: str, group: Group, must: tuple[str, ...], may: tuple[str, ...]) -> None:
        for name in must:
            if name not in group:
                raise self.wrong(f"{where}: {name} is missing, expected it")
        for name in group:
            if name not in (*must, *may, "type"):
                known = ", ".join((*must, *may))
                raise self.wrong(f"{where}: {name} has no meaning here, expected {known}")

    def _type(self, full: str, node: Any) -> str:
        kind = node.get("type") if isinstance(node, dict) else None
        if not isinstance(kind, Dataset):
            raise self.wrong(f"node {full!r} has no type, expected one")
        return kind.text(MAX_TEXT)

    def _part(self, full: str, kind: str, node: Group) -> Part:
        if kind not in FIELDS:
            known = ", ".join(FIELDS)
            raise UnsupportedError(
                f"{self.tree.path}: node {full!r}: type {kind!r} is not supported, expected one of "
                f"{known}"
            )
        must, may = FIELDS[kind]
        self._keys(f"node {full!r} ({kind})", node, must, (*may, "metadata"))
        later = node.get("metadata")
        fields = {name: item for name, item in node.items() if name not in ("type", "metadata")}
        if not isinstance(later, Later | None) or not all(
            isinstance(f, Dataset) for f in fields.values()
        ):
            raise self.wrong(
                f"node {full!r}: groups and arrays are in each other's place, "
                f"expected {kind}'s fields"
            )
        return Part(full, kind, fields, self.tree, later)

    def _edges(
        self,
        where: str,
        edges: Dataset,
        entry: dict[str, str],
        leave: dict[str, str],
        ends: dict[str, list[str]],
    ) -> None:
        shape = edges.shape or (0,)
        if edges.size and (len(shape) != 2 or shape[1] != 2):
            raise self.wrong(f"{where}: edges have shape {list(shape)}, expected (n, 2)")
        if len(self.edges) + shape[0] > MAX_EDGES:
            raise self.wrong(
                f"the graph has {len(self.edges) + shape[0]} edges, expected at most {MAX_EDGES}"
            )
        names = edges.strings(MAX_TEXT) if edges.size else []
        seen: set[tuple[str, str]] = set()
        for src, dst in zip(names[::2], names[1::2], strict=True):
            for name in (src, dst):
                if name not in entry:
                    raise self.wrong(
                        f"{where}: edge ({src!r}, {dst!r}) has no node {name!r}, "
                        f"expected one of the graph's"
                    )
            if (src, dst) in seen:
                raise self.wrong(
                    f"{where}: edge ({src!r}, {dst!r}) is there twice, expected it once"
                )
            seen.add((src, dst))
            if leave[src] in ends["Output"] or entry[dst] in ends["Input"]:
                raise self.wrong(
                    f"{where}: edge ({src!r}, {dst!r}) leaves the output or enters "
                    f"the input, expected neither"
                )
            self.edges.append((leave[src], entry[dst]))


def read(tree: Tree) -> Flat:
    """The graph in a file.

    Raises:
        FormatError: It is no NIR graph, or one with something wrong about its structure.
        UnsupportedError: A node of unknown type; several inputs or outputs.
    """
    reader = _Reader(tree)
    root = tree.root.get("node")
    if not isinstance(root, dict):
        raise reader.wrong("there is no group 'node', expected a NIR file")
    for name in tree.root:
        if name not in ("node", "version"):
            raise reader.wrong(f"{name!r} has no meaning here, expected node and version")
    kind = reader._type("node", root)
    if kind != "NIRGraph":
        raise UnsupportedError(f"{tree.path}: the file holds a {kind} alone, expected a NIRGraph")
    start, end = reader.graph(root, "", 0)
    nested = reader.passing - {start, end}
    edges = _without(reader, nested)
    _reachable(reader, edges, start, end)
    later = root.get("metadata")
    if not isinstance(later, Later | None):
        raise reader.wrong("metadata is an array, expected a group")
    metadata = {} if later is None else tree.walk(later)
    # The outermost graph's ends were read last but one another's order is that of the file.
    shapes = {
        part.name: part.lengths("shape") for kind in reader.ends for part in reader.ends[kind]
    }
    inner = {name: shapes[name] for name in nested}
    into_inner = [edge for edge in reader.edges if edge[1] in nested]
    ends = shapes[start], shapes[end]
    return Flat(reader.nodes, edges, start, end, *ends, metadata, tree.path, inner, into_inner)


def _without(reader: _Reader, nested: set[str]) -> list[tuple[str, str]]:
    """The edges with every nested input and output taken out: who feeds it feeds whom it feeds."""
    edges = dict.fromkeys(reader.edges)
    if len(edges) < len(reader.edges):
        raise reader.wrong(
            "an edge is there twice once nested graphs are written out, expected it once"
        )
    into: dict[str, list[str]] = {name: [] for name in nested}
    out: dict[str, list[str]] = {name: [] for name in nested}
    for src, dst in edges:
        if dst in nested:
            into[dst].append(src)
        if src in nested:
            out[src].append(dst)
    for name in nested:
        if name in into[name] or not into[name] or not out[name]:
            what = "feeds itself" if name in into[name] else "is connected on one side only"
            raise reader.wrong(f"node {name!r} {what}, expected edges into and out of it")
    # In the place of the first edge of each: order is the order of sums.
    result: dict[tuple[str, str], None] = {}
    made = 0
    for src, dst in edges:
        if src in nested:
            continue
        todo = [(dst, frozenset([dst]))]
        while todo:
            made += 1
            if made > MAX_EDGES:
                raise reader.wrong(
                    f"nested graphs make more than {MAX_EDGES} edges, expected fewer"
                )
            at, path = todo.pop()
            if at not in nested:
                if (src, at) in result:
                    raise reader.wrong(
                        f"edge ({src!r}, {at!r}) is there twice once nested graphs "
                        f"are written out, expected it once"
                    )
                result[src, at] = None
                continue
            for after in reversed(out[at]):
                if after in path:
                    raise reader.wrong(
                        f"node {at!r} feeds itself through nothing, expected a node between"
                    )
                todo.append((after, path | {after} if after in nested else path))
    return list(result)


def _reachable(reader: _Reader, edges: list[tuple[str, str]], start: str, end: str) -> None:
    out: dict[str, list[str]] = {}
    for src, dst in edges:
        out.setdefault(src, []).append(dst)
    seen, todo = {start}, [start]
    while todo:
        for dst in out.get(todo.pop(), ()):
            if dst not in seen:
                seen.add(dst)
                todo.append(dst)
    lost = [name for name in (*reader.nodes, end) if name not in seen]
    if lost:
        raise reader.wrong(
            f"node {lost[0]!r} is reached by no edge from the input, expected every node to be"
        )
