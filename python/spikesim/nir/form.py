"""The NIR graph that says as much of a network as NIR can."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UnsupportedError
from spikesim.network import Network, Node
from spikesim.nir import cycles
from spikesim.ops import Neuron

INPUT, OUTPUT = "input", "output"
DEFAULT_DT = 1e-4
"""Step that times are written for where the network has none: NIR needs seconds."""
FOREVER = 2.0**60
"""Steps of a time constant that stands for no decay at all: 1 - 2⁻⁶⁰ is 1 in float64."""


@dataclass
class NirNode:
    """A node as it is written.

    Attributes:
        name: Its name in the file.
        type: Its NIR type.
        fields: Its arrays and texts; weights are left out where they were not asked for. Arrays
            are as large as in the file, but take no memory where they repeat themselves.
        exact: float32 arrays that NIR's fields do not hold exactly.
    """

    name: str
    type: str
    fields: dict[str, Any]
    exact: dict[str, NDArray[np.float32]] = field(default_factory=dict)


class Form:
    """The layout of a network's NIR graph: which nodes there are, and how they are connected.

    A delay that all synapses of a layer share is one of the edges into it, which is the same.

    Attributes:
        names: The file's name of each node that is in it.
        edges: (source, target) by the file's names, as they are written.

    Raises:
        UnsupportedError: The network has a node that NIR has no words for; the message names it.
    """

    def __init__(self, net: Network) -> None:
        self.net = net
        self.dt = DEFAULT_DT if net.dt is None else net.dt
        self._nodes = {node.name: node for node in net.nodes}
        for node in net.nodes:
            _check(node)
        links, gone = self._without_adds()
        self.names = self._names(gone)
        self.delays: list[tuple[str, str, int]] = []
        """Delay nodes of edges: name, source (by the network's name), steps."""
        self.edges = self._edges(links)

    def _without_adds(self) -> tuple[list[tuple[str, str, int]], set[str]]:
        """The edges with every Add taken out that edges alone can say."""
        late = {node.name: _layer_steps(node) for node in self.net.nodes}
        links = [(e.src, e.dst, e.delay + late[e.dst]) for e in self.net.edges]
        output = ("", "", 0)
        links.append((self.net.output, output[0], 0))
        gone: set[str] = set()
        for node in self.net.nodes:
            if node.kind != "add":
                continue
            into = [link for link in links if link[1] == node.name]
            out = [link for link in links if link[0] == node.name]
            made = [(src, dst, 0) for src, _, _ in into for _, dst, _ in out]
            pairs = [link[:2] for link in links] + [link[:2] for link in made]
            delayed = any(delay for *_, delay in (*into, *out))
            if delayed or not out or len(set(pairs)) < len(pairs) or len(links) > 4 * 16_384:
                continue
            gone.add(node.name)
            replaced: list[tuple[str, str, int]] = []
            for link in links:
                if link[0] == node.name:
                    replaced += [(src, link[1], 0) for src, _, _ in into]
                elif link[1] != node.name:
                    replaced.append(link)
            links = replaced
        return links, gone

    def _names(self, gone: set[str]) -> dict[str, str]:
        """HDF5 has no "/" in names, and "." is the group itself."""
        names: dict[str, str] = {}
        plain = {name for name in self._nodes if "/" not in name and name != "."}
        for name in self._nodes:
            if name in gone:
                continue
            names[name] = name
            if name not in plain:
                free = name.replace("/", "_").replace(".", "_")
                while free in plain or free in names.values():
                    free += "_"
                names[name] = free
        end = OUTPUT
        while end in names.values():
            end += "_"
        names[""] = end
        return names

    def _edges(self, links: list[tuple[str, str, int]]) -> list[tuple[str, str]]:
        neurons = {n.name for n in self._nodes.values() if n.kind == "neuron"}
        waiting = {n.name for n in self._nodes.values() if n.kind == "delay" and _waits(n)}
        pairs = [link[:2] for link in links]
        around = {name: i for i, part in enumerate(cycles.parts(pairs)) for name in part}
        # Edges whose delay a reader gives them by itself.
        plain = {
            i
            for i, (src, dst, delay) in enumerate(links)
            if delay == 1
            and src in neurons
            and src in around
            and around.get(src) == around.get(dst)
            and pairs.count((src, dst)) == 1
        }
        if plain:
            edges, kept, extra = self._expanded(links, plain)
            implied = cycles.delayed(edges, INPUT, neurons, waiting | extra, "leaving")
            if implied != {kept[i] for i in plain}:
                plain = set()
        edges, _, _ = self._expanded(links, plain)
        self.delays = []
        for i, (src, _, delay) in enumerate(links):
            if delay and i not in plain:
                self.delays.append((self._delay_name(i), src, delay))
        file = {**self.names, **{name: name for name, *_ in self.delays}}
        return [(file[src], file[dst]) for src, dst in edges]

    def _delay_name(self, i: int) -> str:
        name = f"delay_{i}"
        while name in self._nodes or name in self.names.values():
            name += "_"
        return name

    def _expanded(
        self, links: list[tuple[str, str, int]], plain: set[int]
    ) -> tuple[list[tuple[str, str]], dict[int, int], set[str]]:
        """Edges with a Delay node in each delayed one but those of `plain`; where the links went;
        the Delay nodes."""
        edges: list[tuple[str, str]] = []
        kept: dict[int, int] = {}
        extra: set[str] = set()
        for i, (src, dst, delay) in enumerate(links):
            kept[i] = len(edges)
            if delay and i not in plain:
                name = self._delay_name(i)
                extra.add(name)
                edges += [(src, name), (name, dst)]
            else:
                edges.append((src, dst))
        return edges, kept, extra

    def nodes(self, weights: bool = True) -> Iterator[NirNode]:
        """The nodes, one after the other, so that weights are copied one layer at a time."""
        yield NirNode(INPUT, "Input", {"shape": _ints(self.net.input_shape)})
        for node in self.net.nodes[1:]:
            if node.name in self.names:
                yield self._node(node, weights)
        for name, src, delay in self.delays:
            shape = self._nodes[src].shape
            yield NirNode(name, "Delay", {"delay": np.broadcast_to(delay * self.dt, shape)})
        yield NirNode(self.names[""], "Output", {"shape": _ints(self.net.output_shape)})

    def _node(self, node: Node, weights: bool) -> NirNode:
        kind, name, shape = node.kind, self.names[node.name], node.in_shape
        if kind in LAYERS:
            return _layer(node, name, weights)
        if kind == "neuron":
            made = population(node.op, shape, self.dt)  # type: ignore[arg-type]
            made.name = name
            return made
        if kind == "scale":
            scale: NDArray[np.float32] = node.op.scale  # type: ignore[attr-defined]
            full: NDArray[Any] = np.broadcast_to(aligned(scale, shape), shape)
            return NirNode(name, "Scale", {"scale": full}, {"scale": scale})
        if kind == "batch_norm":
            factor = np.broadcast_to(aligned(_norm(node)[0], shape), shape)
            exact = node.op.arrays()
            return NirNode(name, "Scale", {"scale": factor}, exact)
        if kind == "add":
            return NirNode(name, "Scale", {"scale": np.broadcast_to(np.float32(1), shape)})
        if kind == "delay":
            steps: NDArray[np.float32] = node.op.delay  # type: ignore[attr-defined]
            full = np.broadcast_to(aligned(steps, shape) * np.float64(self.dt), shape)
            return NirNode(name, "Delay", {"delay": full}, {"delay": steps})
        if kind == "flatten":
            op: Any = node.op
            ends = {n: getattr(op, n) % len(shape) for n in ("start_dim", "end_dim")}
            return NirNode(name, "Flatten", {**ends, "input_type": _ints(shape)})
        return _pool(node, name)


def _layer_steps(node: Node) -> int:
    """The steps that all synapses of a layer take; 0 for whatever has none."""
    if node.kind not in LAYERS or "delay" not in node.array_shapes:
        return 0
    steps: NDArray[np.float32] = node.op.delay  # type: ignore[attr-defined]
    if (steps != steps.flat[0]).any():
        raise _unsaid(
            node, f"delays of {steps.min():g} to {steps.max():g} steps, which differ by synapse,"
        )
    return int(steps.flat[0])


def _norm(node: Node) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factor and shift of each channel of a batch norm that follows no layer (S2.14)."""
    op: Any = node.op
    weight, bias, mean, variance = (
        getattr(op, name).astype(np.float64)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    factor = weight / np.sqrt(variance + op.eps)
    with np.errstate(over="ignore"):
        return factor.astype(np.float32), (bias - mean * factor).astype(np.float32)


def _waits(node: Node) -> bool:
    return bool(node.op.delay.min() >= 1)  # type: ignore[attr-defined]


def _ints(values: Any) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def aligned(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """A parameter of spikesim, of which a vector is one value a channel, for broadcasting."""
    if values.ndim == 1 and len(shape) > 1:
        return values.reshape(-1, *(1 for _ in shape[1:]))
    return values


LAYERS = ("linear", "conv1d", "conv2d")
_KNOWN = {
    *("input", *LAYERS, "sum_pool2d", "avg_pool2d", "adaptive_avg_pool2d"),
    *("flatten", "scale", "add", "delay", "neuron"),
}


def _check(node: Node) -> None:
    """Refuses what NIR has no words for."""
    if node.kind == "batch_norm":
        factor, shift = _norm(node)
        if shift.any() or not np.isfinite(factor).all():
            raise UnsupportedError(
                f"{node.name}: a batch norm that follows no layer and adds something is not "
                "supported by NIR; make it a layer's, which fold() does"
            )
        return
    if node.kind not in _KNOWN:
        raise UnsupportedError(
            f"{node.name}: {node.kind} is not supported by NIR; use a .spikesim bundle"
        )
    if node.kind.endswith("pool2d"):
        _pool(node, "")
    elif node.kind in LAYERS:
        if node.kind != "linear":
            _padding(node)
        _layer_steps(node)
    elif node.kind == "neuron":
        op: Any = node.op
        if op.synapse == "alpha":
            # A CubaLIF has neither the second current nor the resets of both: whoever read one
            # would be told of another neuron.
            raise _unsaid(node, 'synapse="alpha", which has a second current,')
        for name in ("alpha_mem", "alpha_syn"):
            value = getattr(op, name)
            if value is not None and (value > 1).any():
                raise UnsupportedError(
                    f"{node.name}: {name} of {value.max():g}, a membrane that grows by itself, is "
                    "not supported by NIR; use a .spikesim bundle"
                )


def _pool(node: Node, name: str) -> NirNode:
    op: Any = node.op
    kind = "SumPool2d" if node.kind == "sum_pool2d" else "AvgPool2d"
    if node.kind == "adaptive_avg_pool2d":
        (_, *size), out = node.in_shape, op.output_size
        if any(n % m for n, m in zip(size, out, strict=True)):
            raise _unsaid(node, f"windows of several sizes ({size} to {list(out)})")
        kernel = stride = tuple(n // m for n, m in zip(size, out, strict=True))
        padding: tuple[int, ...] = (0, 0)
    else:
        kernel, stride = op.kernel_size, op.stride
        if any(before != after for before, after in op.padding):
            raise _unsaid(node, f"padding {op.padding}, which differs on two sides,")
        padding = tuple(before for before, _ in op.padding)
        whole = tuple(
            (n + 2 * p - k) // s + 1
            for n, p, k, s in zip(node.in_shape[1:], padding, kernel, stride, strict=True)
        )
        if op.ceil_mode and whole != node.shape[1:]:
            raise _unsaid(node, "ceil_mode, which adds a window here,")
        if not getattr(op, "count_include_pad", True) and any(padding):
            raise _unsaid(node, "count_include_pad=False")
    fields = {"kernel_size": kernel, "stride": stride, "padding": padding}
    return NirNode(name, kind, {n: _ints(v) for n, v in fields.items()})


def _unsaid(node: Node, what: str) -> UnsupportedError:
    return UnsupportedError(f"{node.name}: {what} is not supported by NIR; use a .spikesim bundle")


def _padding(node: Node) -> Any:
    """A convolution's padding as NIR says it: the same on both sides, or "same"."""
    one = node.kind == "conv1d"
    sides, strides, dilations = (node.spec[name] for name in ("padding", "stride", "dilation"))
    if all(before == after for before, after in sides):
        values = _ints([before for before, _ in sides])
        return values[0] if one else values
    kernel = node.array_shapes["weight"][2:]
    totals = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    same = [[total // 2, total - total // 2] for total in totals]
    if all(s == 1 for s in strides) and sides == same:
        return "same"
    raise _unsaid(node, f"padding {sides}, which differs on two sides,")


def _layer(node: Node, name: str, weights: bool) -> NirNode:
    """Linear or Conv; the operation, a copy of the weights, is made only if they are asked for."""
    shapes = node.array_shapes
    fields: dict[str, Any] = {}
    exact: dict[str, NDArray[np.float32]] = {}
    conv = node.kind != "linear"
    if weights:
        op: Any = node.op
        fields["weight"] = op.weight
        if conv or op.bias is not None:
            none = np.zeros(shapes["weight"][0], np.float32)
            fields["bias"] = none if op.bias is None else op.bias
        if op.delay is not None:
            exact["delay"] = op.delay
    if not conv:
        return NirNode(name, "Affine" if "bias" in shapes else "Linear", fields, exact)
    one = node.kind == "conv1d"
    for key in ("stride", "dilation"):
        values = _ints(node.spec[key])
        fields[key] = values[0] if one else values
    fields["groups"] = _ints(node.spec["groups"])
    fields["padding"] = _padding(node)
    fields["input_shape"] = _ints(node.in_shape[1] if one else node.in_shape[1:])
    return NirNode(name, "Conv1d" if one else "Conv2d", fields, exact)


def population(op: Neuron, shape: tuple[int, ...], dt: float) -> NirNode:
    """A population: by Euler's method with the step `dt`, what is written gives its numbers.

    A time constant is `dt/(1 - alpha)`, a resistance `gain/(1 - alpha)`; what NIR can't say
    (resets by subtraction, late ones, …) is in `exact` and the node's written form alone.
    """

    def fit(values: Any) -> NDArray[np.float64]:
        return aligned(np.asarray(values, np.float64), shape)

    def full(values: Any) -> NDArray[np.float64]:
        return np.broadcast_to(values, shape)

    def decay(alpha: Any, factor: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rest = 1.0 - fit(alpha)
        rest = np.where(rest == 0, 1 / FOREVER, rest)
        return full(dt / rest), full(fit(factor) / rest)

    exact = op.arrays()
    spiking, plain = op.spikes != "none", bool((op.alpha_mem == 1).all())
    silent = bool((op.alpha_mem == 0).all() and (op.v_leak == 0).all())
    if spiking and silent and op.synapse == "none" and op.reset == "none" and (op.gain > 0).all():
        return NirNode(
            "", "Threshold", {"threshold": full(fit(op.v_threshold) / fit(op.gain))}, exact
        )
    fields: dict[str, Any] = {}
    if op.synapse == "none" and plain:
        kind = "IF" if spiking else "I"
        fields["r"] = full(fit(op.gain) / dt)
    else:
        cuba = op.synapse != "none"
        kind = ("Cuba" if cuba else "") + ("LIF" if spiking else "LI")
        fields["tau_mem" if cuba else "tau"], fields["r"] = decay(op.alpha_mem, op.gain)
        fields["v_leak"] = full(fit(op.v_leak))
        if cuba:
            assert op.alpha_syn is not None
            assert op.w_in is not None
            # i = a·(i + w·x) is i = a·i + (a·w)·x.
            after = fit(op.alpha_syn) if op.synapse == "decay_after" else 1.0
            fields["tau_syn"], fields["w_in"] = decay(op.alpha_syn, fit(op.w_in) * after)
    if spiking:
        fields["v_threshold"] = full(fit(op.v_threshold))
        fields["v_reset"] = full(fit(op.v_reset if op.reset == "to_value" else 0.0))
    return NirNode("", kind, fields, exact)
