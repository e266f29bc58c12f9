"""What weights of i8 and the units of sums and membranes are (S14.2 to S14.7), with NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim import ops
from spikesim.errors import UnsupportedError
from spikesim.network import Network

Floats = NDArray[np.float32]
Layer = ops.Linear | ops.Conv1d | ops.Conv2d

FRACTION = 8
PART = 2**28
WHOLE = 2**29
ONE = 2**30


@dataclass
class LayerUnits:
    """A Linear or Conv: integer weights, what one of them is, and whether a population sums it."""

    weight: NDArray[np.int64]
    scale: Floats
    fraction: int
    fused: bool


@dataclass
class PopulationUnits:
    """A population: units of the summed input and of the membrane, the bias in units."""

    x: Floats
    v: Floats
    fraction: int
    bias: NDArray[np.int64]


@dataclass
class Folded:
    """A layer as it is run: BatchNorms are in it."""

    weight: Floats
    bias: Floats | None
    clip: Floats | None

    def largest(self) -> NDArray[np.float64]:
        """By output channel, clipped."""
        found = np.abs(self.weight.reshape(len(self.weight), -1)).max(1)
        kept = found if self.clip is None else np.minimum(found, self.clip)
        return np.asarray(kept, np.float64)


def unit(largest: NDArray[np.float64], span: NDArray[np.float64]) -> Floats:
    """S14.3."""
    found = np.maximum(largest / 127, span / 2**20)
    found = np.where(found == 0, 1 / 127, found)
    return np.maximum(found, 1e-30).astype(np.float32)


def integers(weight: Floats, scale: Floats) -> NDArray[np.int64]:
    """S14.2."""
    by_output = scale.astype(np.float64).reshape(-1, *(1,) * (weight.ndim - 1))
    found = np.rint(weight.astype(np.float64) / by_output)
    return np.clip(found, -127, 127).astype(np.int64)


def in_units(values: Any, unit: Any) -> NDArray[np.int64]:
    """To the nearest unit, ties to even, magnitudes up to 2²⁸."""
    found = np.asarray(values, np.float32).astype(np.float64) / np.asarray(unit, np.float64)
    return np.rint(np.clip(found, -PART, PART)).astype(np.int64)


def spread(value: Any, shape: tuple[int, ...]) -> Floats:
    """S3.1: a parameter over a population's shape."""
    array = np.asarray(value, np.float32)
    if array.size == 1:
        array = array.reshape(())
    elif array.shape != shape:
        array = array.reshape(shape[0], *(1,) * (len(shape) - 1))
    return np.array(np.broadcast_to(array, shape))


def units(
    net: Network, folded: Mapping[str, Folded], edges: list[tuple[str, str, int]], output: str
) -> tuple[dict[str, LayerUnits], dict[str, PopulationUnits]]:
    """The units of every layer and population; `edges` and `output` are those that are run."""
    nodes = {node.name: node for node in net.nodes}
    layers: dict[str, LayerUnits] = {}
    populations: dict[str, PopulationUnits] = {}
    into = {name: sum(dst == name for _, dst, _ in edges) for name in nodes}

    def fused(name: str) -> bool:
        leaving = [(dst, delay) for src, dst, delay in edges if src == name]
        if name not in folded or name == output or len(leaving) != 1:
            return False
        dst, delay = leaving[0]
        return delay == 0 and isinstance(nodes[dst].op, ops.Neuron)

    for node in net.nodes:
        if not isinstance(node.op, ops.Neuron):
            continue
        sources = [src for src, dst, _ in edges if dst == node.name]
        own = [name for name in sources if fused(name)]
        shape = tuple(node.shape)
        scale, x, gain, fraction = _population(node, own, len(own) < len(sources), folded, into)
        for name in own:
            layers[name] = LayerUnits(integers(folded[name].weight, scale), scale, fraction, True)
        biases = sum((_bias(folded[name]) for name in own), np.zeros(shape[0]))
        bias = np.rint(np.clip(biases / x.astype(np.float64), -PART, PART)).astype(np.int64)
        v = scale * gain * np.float32(2.0**-fraction)
        populations[node.name] = PopulationUnits(x, v, fraction, bias)
    for name, layer in folded.items():
        if name not in layers:
            scale = unit(layer.largest(), np.zeros(len(layer.weight)))
            found = LayerUnits(integers(layer.weight, scale), scale, FRACTION, False)
            _bound(name, found.weight, into[name])
            layers[name] = found
    return layers, populations


def _bias(layer: Folded) -> NDArray[np.float64]:
    if layer.bias is None:
        return np.zeros(len(layer.weight))
    return layer.bias.astype(np.float64)


def _bound(name: str, weight: NDArray[np.int64], edges: int) -> int:
    found = int(np.abs(weight.reshape(len(weight), -1)).sum(1).max(initial=0)) * edges
    if found >= 2**24:
        raise UnsupportedError(f"{name}: a sum of weights up to {found} units is not supported")
    return found


def _population(
    node: Any, own: list[str], direct: bool, folded: Mapping[str, Folded], into: dict[str, int]
) -> tuple[Floats, Floats, Floats, int]:
    """S14.3 to S14.5: the scale of weights, the unit of inputs, the gain, the fraction."""
    op, shape = node.op, tuple(node.shape)
    channels = shape[0]
    gain = spread(op.gain, shape).reshape(channels, -1)[:, 0]
    levels = [op.v_leak, op.v0] + ([] if op.v_min is None else [op.v_min])
    if op.spikes != "none":
        levels += [op.v_threshold, op.v_reset]
        levels += [] if op.v_threshold_neg is None else [op.v_threshold_neg]
    span = np.abs(sum((_bias(folded[name]) for name in own), np.zeros(channels)))
    for level in levels:
        size = np.abs(spread(level, shape)).reshape(channels, -1).max(1).astype(np.float64)
        span = np.maximum(span, size / gain.astype(np.float64))
    if direct:
        span = 16 * np.maximum(span, 1)
    largest = np.zeros(channels)
    for name in own:
        largest = np.maximum(largest, folded[name].largest())
    scale = unit(largest, span)
    total = max(
        (_bound(name, integers(folded[name].weight, scale), into[name]) for name in own), default=0
    )
    fraction = max(f for f in range(FRACTION + 1) if f == 0 or total * 2**f <= PART)
    return scale, scale * np.float32(2.0**-fraction), gain, fraction


def run_edges(net: Network, absorbed: Mapping[str, str]) -> tuple[list[tuple[str, str, int]], str]:
    """The edges that are run, and the output: folded BatchNorms are their layers, a delay that
    all elements or synapses of a node share is one of edges."""
    edges = [
        (absorbed.get(e.src, e.src), e.dst, e.delay) for e in net.edges if e.dst not in absorbed
    ]
    output = absorbed.get(net.output, net.output)
    for node in net.nodes:
        late = getattr(node.op, "delay", None)
        if isinstance(node.op, Layer) and late is not None and uniform(late):
            steps = int(np.ravel(late)[0])
            edges = [(s, d, n + steps * (d == node.name)) for s, d, n in edges]
    for node in net.nodes:
        if not isinstance(node.op, ops.Delay) or not uniform(node.op.delay):
            continue
        before = [e for e in edges if e[1] == node.name]
        if node.name == output or len(before) != 1:
            continue
        src, _, delay = before[0]
        steps = delay + int(np.ravel(node.op.delay)[0])
        edges = [
            (src, d, n + steps) if s == node.name else (s, d, n)
            for s, d, n in edges
            if d != node.name
        ]
    return edges, output


def uniform(values: Any) -> bool:
    """Whether all are the same."""
    flat = np.ravel(values)
    return bool((flat == flat[0]).all())


def supported(nodes: Iterable[Any]) -> None:
    """S14.13."""
    for node in nodes:
        op = node.op
        refused = []
        if isinstance(op, Layer):
            refused = [(op.delay is not None and not uniform(op.delay), "delays of synapses")]
        elif isinstance(op, ops.Neuron):
            alpha = np.asarray(op.alpha_mem)
            gain = np.asarray(op.gain)
            refused = [
                (op.spikes == "multi", 'spikes="multi"'),
                (op.synapse != "none", "a synaptic current"),
                (op.theta_plus is not None, "an adaptive threshold"),
                (op.refractory > 0, "a refractory period"),
                (bool(((alpha < 0) | (alpha > 1)).any()), "alpha_mem outside 0…1"),
                (bool((gain <= 0).any()), "a gain of 0 or less"),
                (gain.ndim > 1 and len(node.shape) > 1, "a gain for each neuron"),
            ]
        for found, what in refused:
            if found:
                raise UnsupportedError(
                    f'{node.name}: {what} with precision "i8" is not supported; use precision "f32"'
                )
