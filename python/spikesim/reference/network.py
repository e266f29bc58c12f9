"""A network made ready to be walked: nodes in order, parameters as tensors (S1.2, S2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim import ops
from spikesim.network import Network
from spikesim.reference import counts, layers, sums
from spikesim.reference.counts import FanOut, Signal
from spikesim.reference.fold import affine, foldable, folded
from spikesim.reference.geometry import Window, as_image, paddings, pair
from spikesim.reference.integers import IntegerLayer, Integers
from spikesim.reference.neuron import Population
from spikesim.reference.nodes import (
    AnyNode,
    Compiled,
    Inputs,
    NeuronNode,
    PlainNode,
    RateNode,
    SynapticNode,
    added,
    in_order,
)

SumPool = ops.SumPool1d | ops.SumPool2d
AvgPool = ops.AvgPool1d | ops.AvgPool2d
SpikeMaxPool = ops.SpikeMaxPool1d | ops.SpikeMaxPool2d
CurrentMaxPool = ops.CurrentMaxPool1d | ops.CurrentMaxPool2d
RateMaxPool = ops.RateMaxPool1d | ops.RateMaxPool2d
Conv = ops.Conv1d | ops.Conv2d


def compile_network(
    net: Network,
    device: torch.device,
    ordered: bool,
    clips: Mapping[str, NDArray[np.float32]] | None = None,
) -> Compiled:
    """Reads the network once; BatchNorms that S2.13 folds become nothing but a name. With `clips`
    the network is that of precision i8."""
    absorbed = foldable(net)
    norms = {node.name: node.op for node in net.nodes if isinstance(node.op, ops.BatchNorm)}
    build = _Build(device, ordered, currents(net))
    integers = None if clips is None else Integers(net, device, absorbed, norms, clips)
    nodes: dict[str, AnyNode] = {}
    for node in net.nodes:
        if node.kind == "input":
            continue
        inputs = [(edge.src, edge.delay) for edge in net.edges if edge.dst == node.name]
        op = node.op
        shape = tuple(node.in_shape)
        if isinstance(op, ops.Neuron):
            if integers is not None:
                nodes[node.name] = integers.population(node, inputs)
                continue
            population = Population(op, tuple(node.shape), device)
            nodes[node.name] = NeuronNode(node.name, inputs, population)
        elif isinstance(op, ops.Linear | Conv):
            weight, bias = folded(
                op, [norms[n] for n, into in absorbed.items() if into == node.name]
            )
            own = None if integers is None else integers.layer(node.name)
            nodes[node.name] = build.weighted(node.name, inputs, op, (weight, bias, own), shape)
        elif isinstance(op, ops.Scale):
            nodes[node.name] = build.scale(node.name, inputs, op, shape)
        elif isinstance(op, ops.Delay):
            nodes[node.name] = build.delay(node.name, inputs, op, shape)
        elif isinstance(op, RateMaxPool):
            nodes[node.name] = RateNode(node.name, inputs, pool_window(op), op.gate, shape)
        elif node.name in absorbed:
            nodes[node.name] = build.plain(node.name, inputs, _Values(_same))
        else:
            nodes[node.name] = build.plain(node.name, inputs, build.operation(op, shape))
    longest: dict[str, int] = {}
    for reader in nodes.values():
        for src, ago in reader.inputs:
            if ago:
                longest[src] = max(longest.get(src, 0), ago)
    output = net.node(net.output).op
    spiking = isinstance(output, ops.Neuron) and output.spikes != "none"
    return Compiled(
        nodes=in_order(list(nodes.values())),
        shapes={node.name: tuple(node.shape) for node in net.nodes},
        output=net.output,
        readout=net.readout or ("count" if spiking else "sum"),
        longest_delay=longest,
    )


def currents(net: Network) -> set[str]:
    """The nodes whose value is currents (S2.12)."""
    weighted = (ops.Linear, ops.Conv1d, ops.Conv2d, ops.Scale, ops.BatchNorm)
    found = {
        node.name
        for node in net.nodes
        if isinstance(node.op, weighted)
        or (isinstance(node.op, ops.Neuron) and node.op.spikes == "none")
    }
    firing = {
        node.name
        for node in net.nodes
        if isinstance(node.op, ops.Neuron) and node.op.spikes != "none"
    }
    while True:
        more = {e.dst for e in net.edges if e.src in found and e.dst not in firing} - found
        if not more:
            return found
        found |= more


def _same(x: Tensor) -> Tensor:
    return x


@dataclass
class _Values:
    """An operation on values; its events are counted anew from what comes out."""

    value: Callable[[Tensor], Tensor]
    anew: Callable[[Tensor], Signal] = counts.of_values


@dataclass
class _Paths:
    """An operation that passes events on (S10.2): what it does to values, what to events."""

    value: Callable[[Tensor], Tensor]
    events: Callable[[Tensor], Tensor]


@dataclass
class _Layer:
    """A Linear or Conv without its weights."""

    sum: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    """Of weights, values, and what they are added to."""
    fan_out: Callable[[Tensor, Tensor], FanOut]
    """Of weights, and which of them count."""


class _Build:
    """Makes the nodes of one network."""

    def __init__(self, device: torch.device, ordered: bool, currents: set[str]) -> None:
        self.device = device
        self.ordered = ordered
        self.currents = currents

    def tensor(self, values: NDArray[np.float32]) -> Tensor:
        """A private copy on the device."""
        return torch.from_numpy(np.array(values, dtype=np.float32)).to(self.device)

    def weighted(
        self,
        name: str,
        inputs: Inputs,
        op: ops.Linear | Conv,
        weights: tuple[NDArray[np.float32], NDArray[np.float32] | None, IntegerLayer | None],
        shape: tuple[int, ...],
    ) -> SynapticNode:
        """Linear and Conv: S2.2 to S2.4, S2.20; S14."""
        weight, bias, own = weights
        w = self.tensor(weight)
        summed = w if own is None else self.tensor(own.weight)
        delay = torch.zeros_like(w)
        if op.delay is not None:
            delay = self.tensor(op.delay).expand_as(w)
        classes = sorted({int(d) for d in delay.flatten().tolist()}, reverse=True)
        parts = [delay == d for d in classes]
        by_delay = [summed * there for there in parts]
        layer = self.layer(op, w, shape)
        b = None if bias is None else self.tensor(bias)

        def edge(arrivals: list[Signal]) -> Tensor:
            total = None
            for part, arrival in zip(by_delay, arrivals, strict=True):
                total = layer.sum(part, arrival.value, total)
            assert total is not None
            return total

        def apply(arrivals: list[Signal]) -> Signal:
            n = len(classes)
            edges = [edge(arrivals[i : i + n]) for i in range(0, len(arrivals), n)]
            if own is not None:
                return own(edges)
            total = reduce(torch.add, edges)
            if b is not None:
                total = total + b.reshape(-1, *(1,) * (total.ndim - 2))
            return counts.of_values(total)

        reads = [(src, later + d) for src, later in inputs for d in classes]
        fan_outs = [layer.fan_out(w, there) for there in parts]
        return SynapticNode(name, reads, apply, fan_outs * len(inputs))

    def layer(self, op: ops.Linear | Conv, w: Tensor, shape: tuple[int, ...]) -> _Layer:
        """What a Linear or Conv does with the weights it is given."""
        if isinstance(op, ops.Linear):
            return _Layer(
                lambda w, x, before: sums.linear(w, x, self.ordered, before), counts.linear_fan_out
            )
        one_axis = w.ndim == 3
        ky, kx = as_image(w).shape[2:]
        window = conv_window(op, (int(ky), int(kx)))
        image = (shape[0], 1, shape[1]) if one_axis else shape

        def flat(y: Tensor, axis: int) -> Tensor:
            return y.squeeze(axis) if one_axis else y

        def total(w: Tensor, x: Tensor, before: Tensor | None) -> Tensor:
            start = None if before is None else as_image(before)
            y = sums.conv(as_image(w), as_image(x), window, op.groups, self.ordered, start)
            return flat(y, 2)

        def fan_out(w: Tensor, there: Tensor) -> FanOut:
            found = counts.conv_fan_out(as_image(w), as_image(there), window, op.groups, image)
            return FanOut(flat(found.nonzero, 1), flat(found.all, 1))

        return _Layer(total, fan_out)

    def scale(
        self, name: str, inputs: Inputs, op: ops.Scale, shape: tuple[int, ...]
    ) -> SynapticNode:
        """S2.15."""
        factors = per_channel(self.tensor(op.scale), shape)

        def apply(arrivals: list[Signal]) -> Signal:
            return counts.of_values(added(arrivals).value * factors)

        fan_outs = [counts.scale_fan_out(factors, shape)] * len(inputs)
        return SynapticNode(name, inputs, apply, fan_outs)

    def delay(self, name: str, inputs: Inputs, op: ops.Delay, shape: tuple[int, ...]) -> PlainNode:
        """S2.19: of each edge it reads every step that some element looks back to."""
        steps = per_channel(self.tensor(op.delay), shape)
        classes = sorted({int(d) for d in steps.flatten().tolist()})

        def of_edge(arrivals: list[Signal]) -> Signal:
            def part(field: str) -> Tensor:
                values = [getattr(signal, field) for signal in arrivals]
                kept = torch.zeros_like(values[0])
                for delay, value in zip(classes, values, strict=True):
                    kept = torch.where(steps == delay, value, kept)
                return kept

            return Signal(part("value"), part("spikes"), part("analog"))

        def apply(arrivals: list[Signal]) -> Signal:
            n = len(classes)
            edges = [of_edge(arrivals[i : i + n]) for i in range(0, len(arrivals), n)]
            signal = added(edges)
            return counts.of_values(signal.value) if name in self.currents else signal

        reads = [(src, later + d) for src, later in inputs for d in classes]
        return PlainNode(name, reads, apply)

    def plain(self, name: str, inputs: Inputs, operation: Any) -> PlainNode:
        """A node of `operation`; of several edges it takes the sum, except Concat."""

        def apply(arrivals: list[Signal]) -> Signal:
            if isinstance(operation, ops.Concat):
                signal = joined(arrivals, operation.axis)
            elif isinstance(operation, _Values):
                return operation.anew(operation.value(added(arrivals).value))
            else:
                signal = added(arrivals)
                signal = Signal(
                    operation.value(signal.value),
                    operation.events(signal.spikes),
                    operation.events(signal.analog),
                )
            # A current is an event by its own value, however many went into it (S10.5).
            return counts.of_values(signal.value) if name in self.currents else signal

        return PlainNode(name, inputs, apply)

    def operation(self, op: Any, shape: tuple[int, ...]) -> Any:
        """What a node without weights does."""
        if isinstance(op, ops.Concat):
            return op
        if isinstance(op, ops.Add):
            return _Paths(_same, _same)
        if isinstance(op, ops.Flatten):
            return _twice(lambda x: layers.flatten(x, op.start_dim, op.end_dim))
        if isinstance(op, ops.Upsample):
            factor = pair(op.scale_factor)
            return _twice(lambda x: layers.upsample(x, factor))
        if isinstance(op, ops.AdaptiveAvgPool2d):
            size = pair(op.output_size)
            return _Paths(
                lambda x: layers.adaptive_pool(x, size, average=True),
                lambda x: layers.adaptive_pool(x, size, average=False),
            )
        if isinstance(op, ops.BatchNorm):
            factor64, shift64 = affine(op)
            scale = per_channel(factor64.to(torch.float32).to(self.device), shape)
            shift = per_channel(shift64.to(torch.float32).to(self.device), shape)
            return _Values(lambda x: x * scale + shift)
        window = pool_window(op)
        if isinstance(op, SumPool):
            return _twice(lambda x: layers.sum_pool(x, window))
        if isinstance(op, AvgPool):
            include = bool(op.count_include_pad)
            return _Paths(
                lambda x: layers.avg_pool(x, window, include),
                lambda x: layers.sum_pool(x, window),
            )
        if isinstance(op, SpikeMaxPool):
            return _Values(lambda x: layers.max_pool(x, window, 0.0), counts.of_max_pool)
        if isinstance(op, CurrentMaxPool):
            return _Values(lambda x: layers.max_pool(x, window, -math.inf))
        raise AssertionError(f"no rule for {type(op).__name__}")


def _twice(function: Callable[[Tensor], Tensor]) -> _Paths:
    return _Paths(function, function)


def joined(arrivals: list[Signal], axis: int) -> Signal:
    """S2.16."""
    axis = axis % (arrivals[0].value.ndim - 1) + 1
    return Signal(
        torch.cat([a.value for a in arrivals], axis),
        torch.cat([a.spikes for a in arrivals], axis),
        torch.cat([a.analog for a in arrivals], axis),
    )


def per_channel(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """One number, one a channel or one an element, spread over `shape`."""
    if values.numel() == 1:
        return values.reshape(()).expand(shape)
    if tuple(values.shape) != shape:
        values = values.reshape(-1, *(1,) * (len(shape) - 1))
    return values.expand(shape)


def conv_window(op: Conv, kernel: tuple[int, int]) -> Window:
    """Geometry of a convolution."""
    return Window(
        kernel=kernel,
        stride=pair(op.stride),
        padding=paddings(op.padding),
        dilation=pair(op.dilation),
    )


def pool_window(op: SumPool | AvgPool | SpikeMaxPool | CurrentMaxPool | RateMaxPool) -> Window:
    """Geometry of a pool; its stride is its size unless given."""
    return Window(
        kernel=pair(op.kernel_size),
        stride=pair(op.kernel_size if op.stride is None else op.stride),
        padding=paddings(op.padding),
        ceil_mode=op.ceil_mode,
    )
