"""`Network`: a spiking network as its author means it, to build, print, save and compile."""

from __future__ import annotations

import copy
import importlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spikesim import _core
from spikesim._nodes import (
    Edge,
    Node,
    Source,
    checked_integer,
    checked_shape,
    checked_source,
    checked_text,
    dumps,
    listed,
)
from spikesim._summary import table
from spikesim.errors import GraphError, InputError
from spikesim.ops import Neuron, Op

if TYPE_CHECKING:
    from spikesim.nir import NirOptions
    from spikesim.simulator import Simulator

FilePath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = ["Edge", "FilePath", "Network", "Node", "load"]


class Network:
    """A spiking network: nodes, edges with delays, a readout.

    Each mistake is reported by the call that makes it, which then changes nothing.

    Args:
        input_shape: Shape of one sample at one step, without a batch axis: `(n,)`,
            `(channels, length)` or `(channels, rows, columns)`.
        dt: Length of a step in seconds, where it is known; only carried along.
        meta: What else belongs to the network (labels, preprocessing, source): JSON values.

    Attributes:
        meta: As above, to read and to change.
        unsettled: What a file left open and a run would depend on; see `runnable`.

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

    __slots__ = ("__weakref__", "_graph", "_nodes", "meta", "unsettled")

    def __init__(
        self,
        input_shape: Sequence[int],
        dt: float | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        shape = [checked_integer("network", "input_shape", n) for n in checked_shape(input_shape)]
        self._graph = _core.Graph(shape)
        self._nodes: dict[str, Node] = {}
        self.unsettled: tuple[str, ...] = ()
        self.meta: dict[str, Any] = dict(meta or {})
        if dt is not None:
            self.dt = dt

    @classmethod
    def _of(cls, graph: _core.Graph, like: Network | None = None) -> Network:
        """The network of `graph`; what the graph does not hold is that of `like`."""
        net = cls.__new__(cls)
        net._graph = graph
        net._nodes = {}
        net.unsettled = () if like is None else like.unsettled
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
        checked_text("add", name)
        sources = [checked_source(name, source) for source in listed(inputs)]
        if inputs is not None and not sources:
            raise GraphError(f"{name}: inputs is empty, expected at least one; None: the last node")
        spec = dumps(name, op.spec(), around=2)
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
            checked_text("connect", name)
        self._graph.connect(src, dst, checked_integer("connect", "delay", delay))

    @property
    def output(self) -> str:
        """Name of the output node; the last one added unless it is set."""
        return self._graph.output()

    @output.setter
    def output(self, name: str) -> None:
        self._graph.set_output(checked_text("output", name))

    @property
    def readout(self) -> str:
        """What a run answers with (rule S7): "sum", "mean", "last_v", "max_v", "count" or
        "first_spike". Unless it is set: "count" if the output node spikes, else "sum"; None sets
        it back to that."""
        return self._graph.readout()

    @readout.setter
    def readout(self, name: str | None) -> None:
        self._graph.set_readout(checked_text("readout", name))

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
        row = self._graph.node(checked_text("network", name))
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

    def runnable(self) -> None:
        """Checks that a run has a meaning: `validate`, and that no question is left open.

        A file can leave one open that no default answers: what a step of a NIR `IF` adds. Such a
        network can be looked at, but neither run nor saved; `unsettled` lists the questions.

        Raises:
            GraphError: It is not valid, or something is unsettled.
        """
        self.validate()
        if self.unsettled:
            more = len(self.unsettled) - 1
            also = f" (and {more} more such questions)" if more else ""
            raise GraphError(self.unsettled[0] + also)

    def fold(self) -> Network:
        """The same network with BatchNorm folded into the Linear or Conv directly before it.

        A BatchNorm is folded if it is the layer's only consumer, the layer its only input, no
        delay between them, and the layer is not the output (rule S2.13). Names stay.

        Returns:
            A network of its own that shares the other weights.

        Raises:
            GraphError: Folded weights that float32 can't hold.
        """
        net = Network._of(self._graph.fold(), self)
        net.meta = copy.deepcopy(self.meta)
        return net

    def copy(self) -> Network:
        """A network of its own that shares the weights, which never change."""
        return self.__deepcopy__({})

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        net = Network._of(self._graph.clone(), self)
        net.meta = copy.deepcopy(self.meta, memo)
        return net

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        # Pickled as a bundle, so that a process that was spawned can have it; read like one.
        return _from_bytes, (self._to_bytes(),)

    def _to_bytes(self) -> bytes:
        """The bundle that `save` would write."""
        self.runnable()
        self._graph.set_meta_json(dumps("meta", self.meta))
        return self._graph.to_bytes()

    def save(self, path: FilePath) -> None:
        """Writes a file; one that is there is replaced at once or not at all.

        Args:
            path: Where; the extension says the format: `.spikesim`, a bundle, which holds every
                network, or `.nir`, which needs `spikesim[nir]`.

        Raises:
            FormatError: An extension that is not known.
            GraphError: The network is not valid or has something `unsettled`, or `meta` is not
                JSON or nests too deep.
            MissingExtraError: The format needs a library that is not installed.
            OSError: The file can't be written.
            UnsupportedError: The format has no words for a node; the message names it.
        """
        self.runnable()
        self._graph.set_meta_json(dumps("meta", self.meta))
        place = os.fsdecode(path)
        other = _OTHER_FORMATS.get(os.path.splitext(place)[1].lower())
        if other is None:
            self._graph.save(place)
        else:
            importlib.import_module(other).save(self, place)

    def compile(
        self,
        precision: str = "f32",
        threads: int | None = None,
        level: str | None = None,
        clips: Mapping[str, Any] | None = None,
    ) -> Simulator:
        """Plans the network for this machine.

        Args:
            precision: "f32", or "i8": weights of i8, one scale an output channel, and integer
                sums, membranes and thresholds (docs/semantics.md, S14). `quantise` says what it
                costs in accuracy.
            threads: Number of threads; None: as many as there are cores. No result depends on it.
            level: Instruction set; None: the best there is. No result depends on it.
            clips: With "i8": the largest magnitudes that the weights of a layer keep, one an
                output channel, by layer; larger weights are cut off. Others keep all.

        Returns:
            A simulator; later changes of the network do not reach it.

        Raises:
            GraphError: The network is not valid, or something is `unsettled`.
            InputError: An argument is none of these.
            UnsupportedError: With "i8": the network has something that integers have no rule for.
        """
        from spikesim.simulator import compile_network

        self.runnable()
        return compile_network(self, precision, threads, level, clips)

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


# Formats other than the core's own, by extension, and the module that reads and writes each. They
# make networks, so they stand after this module, and need libraries that not everybody has: they
# are looked up when a file asks for them.
_OTHER_FORMATS = {".nir": "spikesim.nir"}
_HDF5 = b"\x89HDF\r\n\x1a\n"


def load(path: FilePath, nir: NirOptions | None = None) -> Network:
    """Reads a network from a file.

    Args:
        path: A `.spikesim` bundle or a NIR file (`.nir`, or any HDF5), which needs
            `spikesim[nir]`.
        nir: What to take for what a NIR file does not say; default: what NIR's text says, as far
            as it says anything.

    Returns:
        The network.

    Raises:
        FormatError: The file is neither, or a damaged one.
        InputError: `nir` for a file that is no NIR.
        MissingExtraError: The format needs a library that is not installed.
        OSError: It can't be read.
        UnsupportedError: It holds something that has no rule here; the message names it.

    Warns:
        NirAssumption: The file does not say something that a run depends on.

    Example:
        >>> import spikesim as ss
        >>> ss.load(ss.data.digits_model()).output_shape
        (10,)
    """
    place = os.fsdecode(path)
    other = _other_format(place)
    if other is not None:
        net: Network = importlib.import_module(other).load(place, nir)
        return net
    if nir is not None:
        raise InputError(f"{place}: nir is given for a file that is no NIR, expected None")
    return Network._of(_core.Graph.load(place))


def _other_format(place: str) -> str | None:
    """The module for the file, told by its first bytes or else its extension."""
    if os.path.isfile(place):
        with open(place, "rb") as file:
            if file.read(len(_HDF5)) == _HDF5:
                return _OTHER_FORMATS[".nir"]
        return _OTHER_FORMATS.get(os.path.splitext(place)[1].lower())
    return None


def _from_bytes(bundle: bytes) -> Network:
    """The network in a bundle's bytes."""
    return Network._of(_core.Graph.from_bytes(bundle))
