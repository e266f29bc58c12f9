"""`Network`: a spiking network as its author means it, to build, print, save and compile."""

from __future__ import annotations

import copy
import json
import math
import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from spikesim import _core
from spikesim._summary import table
from spikesim.errors import GraphError
from spikesim.ops import Neuron, Op, from_spec

if TYPE_CHECKING:
    from spikesim.simulator import Simulator

Source = str | tuple[str, int]
"""A node's name, or (name, delay in steps)."""

FilePath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_Text = TypeVar("_Text", bound=str | None)


class Edge(NamedTuple):
    """A connection; what it carries arrives `delay` steps later."""

    src: str
    dst: str
    delay: int


class Node:
    """A node of a network: what it does and the shapes of its values.

    Attributes:
        name: Its name.
        kind: What it does, as "conv2d" or "neuron".
        in_shape: Shape of the sum of its inputs (of the first one for "concat"), one sample at
            one step.
        shape: Shape of its output.
    """

    __slots__ = ("__weakref__", "_graph", "_op", "_spec", "in_shape", "kind", "name", "shape")

    def __init__(
        self, graph: _core.Graph, name: str, spec: str, in_shape: list[int], shape: list[int]
    ) -> None:
        self._graph = graph
        self._spec: dict[str, Any] = json.loads(spec)
        self._op: weakref.ref[Op] | None = None
        self.name = name
        self.kind: str = self._spec["kind"]
        self.in_shape = tuple(in_shape)
        self.shape = tuple(shape)

    @property
    def op(self) -> Op:
        """The operation, with read-only copies of its arrays. `add` takes it as it is."""
        op = None if self._op is None else self._op()
        if op is None:
            arrays = self._graph.arrays(self.name)
            for array in arrays.values():
                array.flags.writeable = False
            op = from_spec(self._spec, arrays)
            # Weights are held by the network; a copy lives only as long as somebody uses it.
            self._op = weakref.ref(op)
        return op

    @property
    def parameters(self) -> int:
        """Number of weights and biases; of a neuron, those of its parameters that are arrays."""
        shapes = [shape for _, shape in self._graph.array_shapes(self.name)]
        return sum(math.prod(shape) for shape in shapes if shape)

    @property
    def semantics(self) -> str:
        """What a neuron does, in a line; empty for other kinds."""
        op = self.op if self.kind == "neuron" else None
        return op.describe() if isinstance(op, Neuron) else ""

    def __repr__(self) -> str:
        return f"<Node {self.name!r}: {self.kind} {self.in_shape} -> {self.shape}>"


class Network:
    """A spiking network: nodes, edges with delays, a readout.

    Each mistake is reported by the call that makes it, which then changes nothing.

    Args:
        input_shape: Shape of one sample at one step, without a batch axis: `(n,)`,
            `(channels, length)` or `(channels, rows, columns)`.
        dt: Length of a step in seconds, where it is known; only carried along.
        meta: What else belongs to the network (labels, preprocessing, source): JSON values.

    Raises:
        GraphError: `dt` is not above 0.
        ShapeError: `input_shape` has no axis or an empty one.
        TypeError: `input_shape` is no sequence of integers.

    Example:
        >>> import numpy as np, spikesim as ss
        >>> net = ss.Network(input_shape=(1, 4, 4))
        >>> net.add(ss.Flatten(), name="flat")
        'flat'
        >>> net.add(ss.Linear(np.eye(4, 16)), name="fc")
        'fc'
        >>> net.add(ss.LIF(v_threshold=1.0, alpha_mem=0.5), name="lif")
        'lif'
        >>> net.output_shape, net.readout
        ((4,), 'count')
    """

    __slots__ = ("__weakref__", "_graph", "_nodes", "meta")

    def __init__(
        self,
        input_shape: Sequence[int],
        dt: float | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        shape = [_integer("network", "input_shape", n) for n in _sequence(input_shape)]
        self._graph = _core.Graph(shape)
        self._nodes: dict[str, Node] = {}
        self.meta: dict[str, Any] = dict(meta or {})
        if dt is not None:
            self.dt = dt

    @classmethod
    def _of(cls, graph: _core.Graph) -> Network:
        net = cls.__new__(cls)
        net._graph = graph
        net._nodes = {}
        net.meta = json.loads(graph.meta_json)
        return net

    def add(
        self,
        op: Op,
        name: str | None = None,
        inputs: Source | Sequence[Source] | None = None,
    ) -> str:
        """Adds a node.

        Args:
            op: What it does: an operation of `spikesim.ops`.
            name: Its name, unique in the network; None: its kind and a number.
            inputs: The nodes that feed it, in the order in which they are summed (or joined, for
                `Concat`): a name, `(name, delay)`, or a list of these. None: the node added
                before.

        Returns:
            The name.

        Raises:
            GraphError: A name that is taken or unknown, a parameter that means nothing.
            ShapeError: The inputs, weights or parameters do not fit each other.
            UnsupportedError: A combination of neuron fields that has no rule.
            TypeError: `op` is no operation.

        Example:
            >>> import spikesim as ss
            >>> net = ss.Network(input_shape=(3,))
            >>> net.add(ss.IF())
            'if1'
            >>> net.add(ss.Add(), inputs=["input", ("if1", 2)])
            'add1'
        """
        if not isinstance(op, Op):
            raise TypeError(f"add: op is {op!r}, expected an operation of spikesim.ops")
        if name is None:
            name = self._free_name(op)
        elif not isinstance(name, str):
            raise TypeError(f"add: name is {name!r}, expected a string")
        _text("add", name)
        sources = [_source(name, source) for source in _sources(inputs)]
        if inputs is not None and not sources:
            raise GraphError(f"{name}: inputs is empty, expected at least one; None: the last node")
        spec = _dumps(name, op.spec(), around=2)
        names, delays = [src for src, _ in sources], [delay for _, delay in sources]
        self._graph.add(name, spec, op.arrays(), names, delays)
        return name

    def connect(self, src: str, dst: str, delay: int = 0) -> None:
        """Adds an edge to a node that has its inputs already; it acts after those.

        Args:
            src: Name of the node it leaves.
            dst: Name of the node it enters.
            delay: Steps until what it carries arrives; a cycle needs at least one.

        Raises:
            GraphError: An unknown name, an edge that is there already, a cycle without delay or
                without a neuron.
            ShapeError: The shapes differ.

        Example:
            >>> import numpy as np, spikesim as ss
            >>> net = ss.Network(input_shape=(3,))
            >>> _ = net.add(ss.Linear(np.eye(3)), name="fc"), net.add(ss.IF(), name="if")
            >>> net.connect("if", "fc", delay=1)
            >>> net.edges[-1]
            Edge(src='if', dst='fc', delay=1)
        """
        for name in (src, dst):
            _text("connect", name)
        self._graph.connect(src, dst, _integer("connect", "delay", delay))

    @property
    def output(self) -> str:
        """Name of the output node; the last one added unless it is set."""
        return self._graph.output()

    @output.setter
    def output(self, name: str) -> None:
        self._graph.set_output(_text("output", name))

    @property
    def readout(self) -> str:
        """What a run answers with (rule S7): "sum", "mean", "last_v", "max_v", "count" or
        "first_spike". Unless it is set: "count" if the output node spikes, else "sum"; None sets
        it back to that."""
        return self._graph.readout()

    @readout.setter
    def readout(self, name: str | None) -> None:
        self._graph.set_readout(_text("readout", name))

    @property
    def dt(self) -> float | None:
        """Length of a step in seconds, or None."""
        return self._graph.dt

    @dt.setter
    def dt(self, seconds: float | None) -> None:
        self._graph.set_dt(None if seconds is None else float(seconds))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes in the order in which they were added; the first is the input."""
        if len(self._nodes) < len(self._graph):
            for row in self._graph.nodes():
                self._nodes.setdefault(row[0], Node(self._graph, *row))
        return tuple(self._nodes.values())

    def node(self, name: str) -> Node:
        """The node called `name`.

        Raises:
            GraphError: There is none.
        """
        row = self._graph.node(_text("network", name))
        return self._nodes.get(name) or Node(self._graph, *row)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The edges in the order of declaration."""
        return tuple(Edge(*edge) for edge in self._graph.edges())

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample at one step."""
        return self.node("input").shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output node's value."""
        return self.node(self.output).shape

    def validate(self) -> None:
        """Checks what concerns the whole network; `compile` and `save` do it themselves.

        Raises:
            GraphError: There is no layer, or the readout does not fit the output node.
        """
        self._graph.validate()

    def fold(self) -> Network:
        """The same network with BatchNorm folded into the Linear or Conv directly before it.

        A BatchNorm is folded if it is the layer's only consumer, the layer its only input, no
        delay between them, and the layer is not the output (rule S2.13). Names stay.

        Returns:
            A network of its own that shares the other weights.

        Raises:
            GraphError: Folded weights that float32 can't hold.
        """
        net = Network._of(self._graph.fold())
        net.meta = copy.deepcopy(self.meta)
        return net

    def copy(self) -> Network:
        """A network of its own that shares the weights, which never change."""
        return self.__deepcopy__({})

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        net = Network._of(self._graph.clone())
        net.meta = copy.deepcopy(self.meta, memo)
        return net

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        # Pickled as a bundle, so that a process that was spawned can have it; read like one.
        self._graph.set_meta_json(_dumps("meta", self.meta))
        return _from_bytes, (self._graph.to_bytes(),)

    def save(self, path: FilePath) -> None:
        """Writes a `.spikesim` bundle; a file that is there is replaced at once or not at all.

        Args:
            path: Where; the extension says the format.

        Raises:
            FormatError: An extension that is not known.
            GraphError: The network is not valid, or `meta` is not JSON or nests too deep.
            OSError: The file can't be written.
            UnsupportedError: NIR.
        """
        self._graph.set_meta_json(_dumps("meta", self.meta))
        self._graph.save(os.fsdecode(path))

    def compile(
        self, precision: str = "f32", threads: int | None = None, level: str | None = None
    ) -> Simulator:
        """Plans the network for this machine.

        Args:
            precision: "f32".
            threads: Number of threads; None: as many as there are cores. No result depends on it.
            level: Instruction set; None: the best there is. No result depends on it.

        Returns:
            A simulator; later changes of the network do not reach it.

        Raises:
            GraphError: The network is not valid.
        """
        from spikesim.simulator import compile_network

        return compile_network(self, precision, threads, level)

    def _free_name(self, op: Op) -> str:
        """The kind (of a neuron its model) without "2d", and the first number that is free."""
        base = op.model.lower() if isinstance(op, Neuron) else op.kind
        base = base.removesuffix("1d").removesuffix("2d")
        taken = {node.name for node in self.nodes}
        number = 1
        while f"{base}{number}" in taken:
            number += 1
        return f"{base}{number}"

    def __len__(self) -> int:
        return len(self._graph)

    def __str__(self) -> str:
        return table(self)

    def __repr__(self) -> str:
        return f"<Network {self.input_shape} -> {self.output_shape}, {len(self)} nodes>"


def load(path: FilePath) -> Network:
    """Reads a network from a file.

    Args:
        path: A `.spikesim` bundle.

    Returns:
        The network.

    Raises:
        FormatError: The file is no bundle, or a damaged one.
        OSError: It can't be read.
        UnsupportedError: NIR.
    """
    return Network._of(_core.Graph.load(os.fsdecode(path)))


def _from_bytes(bundle: bytes) -> Network:
    return Network._of(_core.Graph.from_bytes(bundle))


def _sequence(shape: Any) -> Sequence[Any]:
    if isinstance(shape, str) or not isinstance(shape, Sequence | np.ndarray):
        raise TypeError(f"network: input_shape is {shape!r}, expected a sequence of integers")
    return tuple(shape)


def _integer(place: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{place}: {name} is {value!r}, expected an integer")
    if not 0 <= value < 2**63:
        raise GraphError(f"{place}: {name} is {value}, expected at least 0 and no absurd number")
    return int(value)


def _sources(inputs: Source | Sequence[Source] | None) -> list[Source]:
    if inputs is None:
        return []
    if isinstance(inputs, str) or _is_delayed(inputs):
        return [inputs]  # type: ignore[list-item]  # told apart above
    return list(inputs)  # type: ignore[arg-type]


def _is_delayed(inputs: Any) -> bool:
    """Whether this is (name, delay) and not a list of names."""
    pair = isinstance(inputs, tuple) and len(inputs) == 2
    return pair and isinstance(inputs[0], str) and isinstance(inputs[1], int | np.integer)


def _source(place: str, source: Any) -> tuple[str, int]:
    if isinstance(source, str):
        return _text(place, source), 0
    if _is_delayed(source):
        return _text(place, source[0]), _integer(place, "delay", source[1])
    raise TypeError(f"{place}: an input is {source!r}, expected a name or (name, delay)")


_MAX_DEPTH = 64
"""Deepest nesting of a file's header."""


def _dumps(place: str, value: Any, around: int = 1) -> str:
    """`value` as JSON; NumPy's numbers and arrays are taken as what they hold. In a file there
    are `around` levels around it."""
    try:
        text = json.dumps(value, allow_nan=False, default=_plain)
        # What a reader would not get back as it was: see the two functions.
        level = [json.loads(text, parse_int=_word, object_pairs_hook=_once)]
        for _ in range(_MAX_DEPTH - around + 1):
            level = [inner for outer in level for inner in _inside(outer)]
        if level:
            raise RecursionError
    except (TypeError, ValueError) as error:
        raise GraphError(f"{place}: meta is no JSON ({error}), expected JSON values") from error
    except RecursionError as error:
        problem = f"meta is nested too deep, expected at most {_MAX_DEPTH - 2 * around + 1} levels"
        raise GraphError(f"{place}: {problem}") from error
    return text


def _word(digits: str) -> int:
    """An integer that a file holds exactly; larger ones become floats in most readers."""
    number = int(digits)
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"the integer {digits} takes more than 64 bits")
    return number


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Keys that differ only as Python's, as 1 and "1"."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return dict(pairs)


def _text(place: str, text: _Text) -> _Text:
    """`text`, unless it is a string that is no Unicode text: one with a lone surrogate."""
    try:
        if isinstance(text, str):
            text.encode()
    except UnicodeEncodeError as error:
        # ascii: not every terminal or log can take the message otherwise.
        problem = f"the name {text!a} has a lone surrogate, expected Unicode text"
        raise GraphError(f"{place}: {problem}") from error
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")
