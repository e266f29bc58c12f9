"""What there is to say about how an ANN was read: its functional ReLUs, pools, norms."""

from __future__ import annotations

from collections.abc import Iterator

from spikesim import ops
from spikesim.convert.ann.graph import Ann
from spikesim.convert.report import (
    Finding,
    Unconverted,
    dropped_softmax,
    functional_call,
    max_pool,
    reused_module,
    unfolded_batch_norm,
)
from spikesim.network import Network

WIDE = 25
"""Weights of a kernel above which a first layer is wide."""

Gated = ops.RateMaxPool1d | ops.RateMaxPool2d
Or = ops.SpikeMaxPool1d | ops.SpikeMaxPool2d


def notes(ann: Ann, net: Network) -> tuple[list[Finding], list[Unconverted]]:
    """What of the ANN became what, where that is not one to one; and what the network lacks."""
    have = {node.name: node for node in net.nodes}
    found: list[Finding] = []
    lost: list[Unconverted] = []
    uses: dict[str, list[str]] = {}
    for one in ann.activations.values():
        if one.module is not None:
            uses.setdefault(one.module, []).append(one.name)
        node = have.get(one.name)
        population = isinstance(node.op, ops.Neuron) if node is not None else False
        function = one.module is None
        if not population:
            kind = f"functional {one.describe()}" if function else one.describe()
            why = "the network has no population of that name in its place"
            advice = (
                "make it a module of its own before another tool converts it, or convert with "
                "spikesim.convert, which finds functional calls"
                if function
                else "convert it, or say which population stands for it"
            )
            lost.append(Unconverted(one.name, kind, one.where or "", why, advice))
        if function:
            found.append(functional_call(one.name, one.describe(), one.where or "", population))
    found += [reused_module(name, names) for name, names in uses.items() if len(names) > 1]
    found += [unfolded_batch_norm(name, why) for name, why in ann.unfolded.items()]
    found += [
        _pool(name, have[name].op, place) for name, place in ann.pools.items() if name in have
    ]
    found += [one for node in net.nodes for one in _neuron(node.name, node.op)]
    if ann.softmax is not None:
        found.append(dropped_softmax("output"))
    return found + _stem(ann), lost


def _neuron(name: str, op: ops.Op) -> Iterator[Finding]:
    """Rules of a population that keep its rate from its activation at every T."""
    if not isinstance(op, ops.Neuron) or op.spikes == "none":
        return
    if op.reset != "subtract":
        yield Finding(
            "warning",
            name,
            "the reset throws away what is above the threshold: rates are too low at every T",
            'reset by subtraction, reset="subtract"',
        )
    if op.model != "IF" and bool((op.alpha_mem != 1).any()):
        yield Finding(
            "warning",
            name,
            "the membrane leaks: small drives never reach the threshold, at every T",
            "neurons without a leak, alpha_mem 1",
        )


def _pool(name: str, op: ops.Op, place: str) -> Finding:
    if isinstance(op, Gated) and op.gate == "argmax":
        return Finding(
            "warning",
            name,
            f'the max pool is a {type(op).__name__} with the gate "argmax": what it passes is not '
            "the largest rate, at any T",
            'gate it by the counts, max_pool="count"',
        )
    if isinstance(op, Gated):
        moved = ", after the activation that stood behind it" if place == "moved" else ""
        return max_pool(name, f'{type(op).__name__} with the gate "{op.gate}"{moved}', True)
    if isinstance(op, Or):
        return Finding(
            "warning",
            name,
            f"the max pool is a {type(op).__name__}: it passes a spike whenever any input fires, "
            "and counts more than the largest rate",
            'gate it by the rates, max_pool="count", or train with average pooling',
        )
    return max_pool(name, type(op).__name__)


def _stem(ann: Ann) -> list[Finding]:
    """The first layer, where it is so wide that its threshold starves the layers after it."""
    first = next((node for node in ann.net.nodes if node.kind == "conv2d"), None)
    if first is None:
        return []
    ky, kx = first.array_shapes["weight"][2:]
    if ky * kx <= WIDE:
        return []
    what = f"the first convolution is {ky}x{kx}: its threshold is high, and few spikes go on"
    return [Finding("info", first.name, what, "three 3x3 convolutions instead, before training")]
