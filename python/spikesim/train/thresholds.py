"""Lower thresholds and another order of the step, for a network that was converted from an ANN."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from typing import Any

import numpy as np

from spikesim import ops
from spikesim.network import Network, Node
from spikesim.ops.neurons import Order
from spikesim.train.plan import Plan, Reads
from spikesim.train.weights import with_weights

#: Layers whose array multiplies what comes in.
LISTENING = {"linear": "weight", "conv1d": "weight", "conv2d": "weight", "scale": "scale"}
#: What of a population is measured in thresholds.
IN_THRESHOLDS = ("v_threshold", "v_threshold_neg", "v0")


def firing(net: Network) -> list[Node]:
    """The populations that spike."""
    return [n for n in net.nodes if isinstance(n.op, ops.Neuron) and n.op.spikes != "none"]


def with_thresholds(net: Network, scale: float) -> Network:
    """The same network with all thresholds (and starting membranes) times `scale`.

    In a converted network a spike stands for the activation θ, its height, which is a factor of
    the weights that hear it. So those weights are multiplied by `scale` as well: neurons fire
    1/scale times as often, spikes are worth so much less, and a layer's rate times height still is
    the activation that its bias belongs to. Where weights can't take the factor, since something
    else comes in by them as well, spikes themselves become smaller (`spike_amplitude`).

    Args:
        net: the network; it is left as it is.
        scale: above 0.

    Returns:
        A network of its own.
    """
    if scale == 1.0:
        return net.copy()
    arrays: dict[str, Any] = {}

    def times(node: Node, field: str, factor: float) -> None:
        value = np.asarray(node.op.arrays()[field], np.float64)
        arrays[f"{node.name}.{field}"] = (value * factor).astype(np.float32)

    for node in firing(net):
        for field in IN_THRESHOLDS:
            if field in node.op.arrays():
                times(node, field, scale)
    heard = _heard(net, scale)
    if heard is None:
        heard = {(node.name, "spike_amplitude"): scale for node in firing(net)}
    for (name, field), factor in heard.items():
        times(net.node(name), field, factor)
    return with_weights(net, arrays, strict=False)


def with_order(net: Network, order: Order) -> Network:
    """The same network with all populations that spike in that order (S3.20).

    Args:
        net: the network; it is left as it is.
        order: "A" or "B".

    Returns:
        A network of its own.

    Raises:
        UnsupportedError: a population whose other rules have no order B.
    """
    made = Network(net.input_shape, dt=net.dt)
    edges: dict[str, list[tuple[str, int]]] = {node.name: [] for node in net.nodes}
    for src, dst, delay in net.edges:
        edges[dst].append((src, delay))
    there, later = {"input"}, set()
    for node in net.nodes[1:]:
        op: Any = node.op
        if isinstance(op, ops.Neuron) and op.spikes != "none":
            fields = {f.name: getattr(op, f.name) for f in dataclasses.fields(op)}
            op = ops.Neuron(**fields | {"order": order})
        # A cycle's edges come when both its ends are there; the order of each node's own stays.
        first = list(itertools.takewhile(lambda edge: edge[0] in there, edges[node.name]))
        made.add(op, name=node.name, inputs=first)
        later |= {(src, node.name) for src, _ in edges[node.name][len(first) :]}
        there.add(node.name)
    for src, dst, delay in net.edges:
        if (src, dst) in later:
            made.connect(src, dst, delay)
    made.output, made.readout, made.unsettled = net.output, net.readout, net.unsettled
    made.meta = copy.deepcopy(net.meta)
    return made


def latency(net: Network) -> int:
    """How many steps after it arrived an input can first be seen in the output: delays of edges,
    and a step for each population of order B, on the quickest way."""
    soonest = {node.name: math.inf for node in net.nodes} | {"input": 0}
    own = {n.name: int(isinstance(n.op, ops.Neuron) and n.op.order == "B") for n in net.nodes}
    for _ in net.nodes:
        for src, dst, delay in net.edges:
            soonest[dst] = min(soonest[dst], soonest[src] + delay + own[dst])
    steps = soonest[net.output]
    return 0 if math.isinf(steps) else int(steps)


def _heard(net: Network, scale: float) -> dict[tuple[str, str], float] | None:
    """The factor of each array that hears spikes of the height `scale`; None: some can't."""
    reads: Reads = {node.name: [] for node in net.nodes[1:]}
    for src, dst, delay in net.edges:
        reads[dst].append((src, delay))
    heights: dict[str, float | None] = {}
    for node in net.nodes:
        if isinstance(node.op, ops.Neuron):
            heights[node.name] = scale if node.op.spikes != "none" else 1.0
        elif node.kind in (*LISTENING, "batch_norm", "input"):
            heights[node.name] = 1.0
    found: dict[tuple[str, str], float] = {}
    for name in Plan(reads).order:
        node, arriving = net.node(name), {heights.get(src) for src, _ in reads[name]}
        same = arriving.pop() if len(arriving) == 1 else None
        if name not in heights:
            # Pools, and what moves, joins or delays: what comes in at one height goes out at it.
            heights[name] = same
        elif same != 1.0:
            if same is None or node.kind == "batch_norm":
                return None
            found[name, _factor(node)] = same
    return found if heights[net.output] == 1.0 else None


def _factor(node: Node) -> str:
    """The array of a node that its input is multiplied with."""
    if isinstance(node.op, ops.Neuron):
        return "gain" if node.op.synapse == "none" else "w_in"
    return LISTENING[node.kind]
