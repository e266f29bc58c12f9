"""What there is to say about how an ANN was read: its functional ReLUs, pools, norms."""

from __future__ import annotations

from spikesim import ops
from spikesim.convert.ann.graph import Ann
from spikesim.convert.report import Finding, Unconverted
from spikesim.network import Network


def notes(ann: Ann, net: Network) -> tuple[list[Finding], list[Unconverted]]:
    """What of the ANN became what, where that is not one to one; and what the network lacks."""
    have = {node.name: node.op for node in net.nodes}
    found: list[Finding] = []
    lost: list[Unconverted] = []
    for one in ann.activations.values():
        where = "" if one.where is None else one.where
        kind = one.describe() if one.module is not None else f"functional {one.describe()}"
        population = have.get(one.name)
        if not isinstance(population, ops.Neuron) or population.spikes == "none":
            lost.append(
                Unconverted(
                    one.name,
                    kind,
                    where,
                    "the network has no spiking population in its place",
                    "convert the ANN with spikesim.convert, which finds functional calls, or make "
                    "it a module of its own",
                )
            )
        elif one.module is None:
            found.append(
                Finding(
                    "info",
                    one.name,
                    f"a functional {one.describe()} at {where or 'an unknown line'} became a "
                    "population; other converters leave it as it is without a word",
                )
            )
        elif one.twice:
            found.append(
                Finding(
                    "info",
                    one.name,
                    f"the module {one.module} is called more than once; each call became a "
                    "population with a threshold of its own",
                )
            )
    for name, why in ann.unfolded.items():
        found.append(
            Finding(
                "warning",
                name,
                f"batch normalisation is not folded: {why}; it is a factor and a shift at every "
                "step",
                "put it directly after a convolution or linear layer and train again",
            )
        )
    for name, place in ann.pools.items():
        op = have.get(name)
        if isinstance(op, ops.RateMaxPool1d | ops.RateMaxPool2d):
            moved = "; it changed places with the activation after it" if place == "moved" else ""
            text = f'maximum pool became {type(op).__name__} with the gate "{op.gate}"{moved}'
            found.append(
                Finding("info", name, text, "average pooling needs no gate and is exact in the mean")
            )
        elif isinstance(op, ops.SpikeMaxPool1d | ops.SpikeMaxPool2d):
            found.append(
                Finding(
                    "warning",
                    name,
                    f"maximum pool is a {type(op).__name__}, which passes a spike whenever any "
                    "input fires, so it counts more than the largest rate",
                    'use max_pool="count"',
                )
            )
    if ann.softmax is not None:
        found.append(
            Finding(
                "info",
                "output",
                f"{ann.softmax} at the end was left out: the largest output stays the largest",
            )
        )
    found += _stem(ann)
    return found, lost


def _stem(ann: Ann) -> list[Finding]:
    """The first layer, where it is so wide that its threshold starves the layers after it."""
    for node in ann.net.nodes[1:]:
        if node.kind != "conv2d":
            continue
        ky, kx = node.array_shapes["weight"][2:]
        if ky * kx > 25:
            return [
                Finding(
                    "info",
                    node.name,
                    f"the first convolution is {ky}x{kx}: its one threshold is high, and the "
                    "layers after it get few spikes",
                    "Spike-Norm puts three 3x3 convolutions in its place before training",
                )
            ]
        return []
    return []
