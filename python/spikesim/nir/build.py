"""From a file's graph to a network."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from spikesim.errors import UnsupportedError
from spikesim.network import Network
from spikesim.nir import cycles
from spikesim.nir.graph import MAX_TEXT, POPULATIONS, Flat, Part
from spikesim.nir.options import Choices
from spikesim.nir.populations import Population, by_channel, fitted
from spikesim.ops import (
    Add,
    AvgPool2d,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    Linear,
    Op,
    Scale,
    SumPool2d,
)

MOST_DELAY = 65_536
INPUT = "input"


class Builder:
    """Makes the network of one graph.

    Attributes:
        net: The network, when `build` has returned.
        unsettled: What a run would have to know and nobody said.
        renamed: NIR's names of nodes that have another in the network.
    """

    def __init__(self, flat: Flat, choices: Choices) -> None:
        self.flat, self.choices = flat, choices
        self.unsettled: list[str] = []
        self.renamed: dict[str, str] = {}
        self.waits: dict[str, Any] = {}
        for name, part in flat.nodes.items():
            if part.type == "Delay":
                self.waits[name] = self._steps(part)
        self.names = self._names()

    def _names(self) -> dict[str, str]:
        """The network's name of each node: NIR's, but the input's, which has to be "input"."""
        names = {name: name for name in self.flat.nodes}
        names[self.flat.input] = INPUT
        if INPUT in self.flat.nodes:
            free = INPUT
            while free in self.flat.nodes:
                free += "_"
            names[INPUT] = free
        self.renamed = {nir: ours for nir, ours in names.items() if nir != ours}
        return names

    def build(self) -> Network:
        """The network.

        Raises:
            FormatError: A node's fields mean nothing.
            GraphError: Nodes do not fit each other.
        """
        flat = self.flat
        edges = flat.edges
        populations = {n for n, part in flat.nodes.items() if part.type in POPULATIONS}
        waiting = {n for n, steps in self.waits.items() if steps.min() >= 1}
        plain = cycles.delayed(edges, flat.input, populations, waiting, "leaving")
        late: set[int] = set()
        if plain:
            late = cycles.delayed(
                edges, flat.input, populations, waiting, self.choices.get("feedback")
            )
        self.recurrent = self._hear_themselves(edges)
        net = self._start()
        into: dict[str, list[int]] = {}
        for i, (_, dst) in enumerate(edges):
            into.setdefault(dst, []).append(i)
        for name in self._order(edges, late):
            first = [i for i in into[name] if edges[i][0] in self.added]
            rest = [i for i in into[name] if edges[i][0] not in self.added]
            op = self._op(flat.nodes[name], net.node(self.names[edges[first[0]][0]]).shape)
            sources = [(self.names[edges[i][0]], int(i in late)) for i in first]
            net.add(op, self.names[name], sources)
            self.added.add(name)
            self.back += [(i, int(i in late)) for i in rest]
        for i, delay in self.back:
            src, dst = edges[i]
            net.connect(self.names[src], self.names[dst], delay)
        self._end(net, [edges[i][0] for i in into[flat.output]])
        self._inner(net)
        return net

    def _inner(self, net: Network) -> None:
        """Holds the shapes of nested graphs' inputs and outputs against what comes in."""
        found = {name: net.node(ours).shape for name, ours in self.names.items()}
        out: dict[str, list[str]] = {}
        for src, dst in self.flat.into_inner:
            out.setdefault(src, []).append(dst)
        todo = list(found)
        while todo:
            src = todo.pop()
            shape = found[src]
            for dst in out.get(src, ()):
                said = self.flat.inner[dst]
                if said not in (shape, self.stray + shape):
                    raise self.flat.wrong(
                        f"node {dst!r} has shape {list(said)}, expected {list(shape)} as {src!r} "
                        "before it"
                    )
                if dst not in found:
                    found[dst] = shape
                    todo.append(dst)
        for name in self.flat.inner:
            if name not in found:
                raise self.flat.wrong(
                    f"node {name!r} feeds itself through nothing, expected a node between"
                )

    def _start(self) -> Network:
        shape = self.flat.input_shape
        stray = self._stray(shape)
        if stray:
            self.choices.note("input_shape", list(shape[stray:]))
        self.stray = shape[:stray]
        self.added = {self.flat.input}
        self.back: list[tuple[int, int]] = []
        return Network(shape[stray:])

    def _stray(self, shape: tuple[int, ...]) -> int:
        """How many axes of batch or time the input's shape begins with, where that is certain:
        every layer that it feeds has a fixed number of axes, one or two fewer, and fits."""
        strays = {self._stray_for(name, shape) for name in self._first_with_rank()}
        return strays.pop() if len(strays) == 1 and None not in strays else 0  # type: ignore[return-value]

    def _first_with_rank(self) -> list[str]:
        """The nodes with a shape of their own that the input reaches through others without."""
        out: dict[str, list[str]] = {}
        for src, dst in self.flat.edges:
            out.setdefault(src, []).append(dst)
        seen, todo, found = {self.flat.input}, [self.flat.input], []
        while todo:
            for dst in out.get(todo.pop(), ()):
                if dst in seen or dst not in self.flat.nodes:
                    continue
                seen.add(dst)
                if self._own_shape(self.flat.nodes[dst]) is None:
                    todo.append(dst)
                else:
                    found.append(dst)
        return found

    @staticmethod
    def _own_shape(part: Part) -> tuple[int | None, ...] | None:
        """The shape of its input as far as the node itself says it; None for any length."""
        weight = part.fields.get("weight")
        shape = weight.shape if weight is not None else None
        if part.type in ("Affine", "Linear") and shape is not None and len(shape) == 2:
            return (shape[1],)
        if part.type in ("Conv1d", "Conv2d") and shape is not None and len(shape) > 2:
            groups = part.integers("groups")
            return (shape[1] * groups[0] if groups else None, *(None for _ in shape[2:]))
        if part.type in ("SumPool2d", "AvgPool2d"):
            return (None, None, None)
        if part.type == "Flatten" and part.has("input_type"):
            return part.lengths("input_type")
        return None

    def _stray_for(self, name: str, shape: tuple[int, ...]) -> int | None:
        own = self._own_shape(self.flat.nodes[name]) or ()
        extra = len(shape) - len(own)
        fits = extra >= 0 and all(
            n is None or n == m for n, m in zip(own, shape[extra:], strict=True)
        )
        return extra if fits and extra in (0, 1, 2) else None

    def _order(self, edges: cycles.Edges, late: set[int]) -> list[str]:
        """The nodes in an order in which each has a source before it, and as far as delays let it
        be, all of them."""
        nodes = self.flat.nodes
        out: dict[str, list[int]] = {}
        waiting = dict.fromkeys(nodes, 0)
        for i, (src, dst) in enumerate(edges):
            out.setdefault(src, []).append(i)
            if dst in waiting and i not in late:
                waiting[dst] += 1
        ready, reached = deque[str](), dict[str, None]()
        order: list[str] = []
        done = set[str]()
        last: str | None = self.flat.input
        while True:
            for i in out.get(last or "", ()):
                dst = edges[i][1]
                if dst not in waiting:
                    continue
                waiting[dst] -= i not in late
                reached.setdefault(dst)
                if not waiting[dst]:
                    ready.append(dst)
            last = None
            while ready and last is None:
                last = ready.popleft()
                last = None if last in done else last
            if last is None:
                last = next((name for name in reached if name not in done), None)
            if last is None:
                return order
            reached.pop(last, None)
            done.add(last)
            order.append(last)

    def _hear_themselves(self, edges: cycles.Edges) -> set[str]:
        return {name for part in cycles.parts(edges) for name in part}

    def _end(self, net: Network, sources: list[str]) -> None:
        """The output: the one node that feeds it, or their sum."""
        if len(sources) > 1 or sources[0] == self.flat.input:
            name = self.flat.output
            while name in self.names.values():
                name += "_"
            net.output = net.add(Add(), name, [self.names[src] for src in sources])
        else:
            net.output = self.names[sources[0]]
        said, found = self.flat.output_shape, net.output_shape
        if said not in (found, self.stray + found):
            raise self.flat.wrong(
                f"the output has shape {list(said)}, expected {list(found)} as the node before it"
            )

    def _op(self, part: Part, shape: tuple[int, ...]) -> Op:
        kind = part.type
        if kind in POPULATIONS:
            hears = part.name in self.recurrent
            return Population(part, shape, self.choices, hears, self.unsettled.append).read()
        return getattr(self, f"_{kind.lower()}")(part, shape)  # type: ignore[no-any-return]

    def _affine(self, part: Part, shape: tuple[int, ...]) -> Op:
        weight = part.fields["weight"]
        if weight.shape is not None and len(weight.shape) != 2:
            raise UnsupportedError(
                f"{part.name}: weight of shape {list(weight.shape)} is not supported, expected "
                "(n_out, n_in)"
            )
        if part.type == "Linear":
            return Linear(part.weights("weight"))
        return Linear(part.weights("weight"), part.weights("bias"))

    _linear = _affine

    def _scale(self, part: Part, shape: tuple[int, ...]) -> Op:
        return Scale(by_channel(fitted(part, "scale", part.numbers("scale"), shape)))

    def _conv1d(self, part: Part, shape: tuple[int, ...]) -> Op:
        self._spatial(part, shape)
        return Conv1d(part.weights("weight"), part.weights("bias"), **self._geometry(part, 1))

    def _conv2d(self, part: Part, shape: tuple[int, ...]) -> Op:
        self._spatial(part, shape)
        return Conv2d(part.weights("weight"), part.weights("bias"), **self._geometry(part, 2))

    def _spatial(self, part: Part, shape: tuple[int, ...]) -> None:
        """Files name the size of the input again, or not."""
        if part.has("input_shape"):
            said = part.lengths("input_shape")
            if said != shape[1:] and not (self.stray and said == shape):
                raise part.wrong(
                    f"input_shape is {list(said)}, expected {list(shape[1:])} as what comes in"
                )

    def _geometry(self, part: Part, axes: int) -> dict[str, Any]:
        return {
            "stride": self._per_axis(part, "stride", axes),
            "padding": self._padding(part, axes),
            "dilation": self._per_axis(part, "dilation", axes),
            "groups": self._per_axis(part, "groups", 1),
        }

    @staticmethod
    def _per_axis(part: Part, name: str, axes: int) -> Any:
        """One integer, or one an axis."""
        values = part.integers(name)
        if len(values) not in (1, axes):
            raise part.wrong(f"{name} is {values}, expected {axes} or one for all")
        return values[0] if axes == 1 or len(values) == 1 else tuple(values)

    def _padding(self, part: Part, axes: int) -> Any:
        if part.fields["padding"].kind == "S":
            return part.fields["padding"].text(MAX_TEXT)
        return self._per_axis(part, "padding", axes)

    def _pool(self, part: Part) -> dict[str, Any]:
        return {
            "kernel_size": self._per_axis(part, "kernel_size", 2),
            "stride": self._per_axis(part, "stride", 2),
            "padding": self._per_axis(part, "padding", 2),
        }

    def _sumpool2d(self, part: Part, shape: tuple[int, ...]) -> Op:
        return SumPool2d(**self._pool(part))

    def _avgpool2d(self, part: Part, shape: tuple[int, ...]) -> Op:
        return AvgPool2d(**self._pool(part))

    def _flatten(self, part: Part, shape: tuple[int, ...]) -> Op:
        if part.has("input_type"):
            said = part.lengths("input_type")
            if said not in (shape, self.stray + shape):
                raise part.wrong(
                    f"input_type is {list(said)}, expected {list(shape)} as what comes in"
                )
        return Flatten(self._per_axis(part, "start_dim", 1), self._per_axis(part, "end_dim", 1))

    def _delay(self, part: Part, shape: tuple[int, ...]) -> Op:
        return Delay(by_channel(fitted(part, "delay", self.waits[part.name], shape)))

    def _steps(self, part: Part) -> Any:
        """Delays in whole steps."""
        every = part.numbers("delay")
        same = every.size > 1 and not any(every.strides)
        # One value many times takes the memory of one.
        seconds = np.array(every.flat[0]) if same else every
        if seconds.size == 0 or (seconds < 0).any():
            raise part.wrong("delay is empty or negative, expected times of at least 0")
        exact = seconds / self.choices.dt
        steps = np.rint(exact)
        if (steps > MOST_DELAY).any():
            raise part.wrong(f"delay is {steps.max():g} steps, expected at most {MOST_DELAY}")
        if (np.abs(exact - steps) > 1e-3).any():
            self.choices.note(f"delay of {part.name}", "rounded to whole steps")
        return np.broadcast_to(steps, every.shape) if same else steps
