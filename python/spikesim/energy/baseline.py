"""The same network as an ANN: every weight once, in closed form, without running anything."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from spikesim.energy.estimate import constant
from spikesim.energy.profile import load_profile
from spikesim.energy.report import Energy, EnergyReport, LayerEnergy
from spikesim.errors import InputError
from spikesim.ops import BatchNorm, Conv1d, Conv2d, Linear, Neuron, Scale

if TYPE_CHECKING:
    from spikesim.network import Network, Node

_NOT_MODELLED = (
    "activation functions beyond one addition",
    "pooling",
    "memory access",
    "communication",
    "static power",
)


def ann_baseline(
    net: Network,
    n_samples: int = 1,
    profile: str | os.PathLike[str] = "horowitz45-fp32",
) -> EnergyReport:
    """Energy of the network with ReLU in place of its spiking neurons.

    Each synaptic node does its dense multiply-accumulates once a sample (there are no time steps),
    padding not counted, zero weights counted; each neuron is one addition (bias and activation).
    BatchNorm is folded first, as an ANN runtime does.

    Raises:
        InputError: no such profile, or no sample.
    """
    if n_samples < 1:
        raise InputError(f"energy: n_samples is {n_samples}, expected at least 1")
    prices = load_profile(profile)
    add, mul = constant(prices, "add"), constant(prices, "mul")
    folded = net.fold()
    macs = dense_macs(folded)
    layers: dict[str, LayerEnergy] = {}
    for node in folded.nodes:
        if node.name in macs:
            layers[node.name] = LayerEnergy(
                {"macs": Energy.of(macs[node.name] * n_samples, mul, add)}
            )
        elif isinstance(node.op, Neuron):
            layers[node.name] = LayerEnergy(
                {"activations": Energy.of(math.prod(node.shape) * n_samples, add)}
            )
    return EnergyReport("ANN", prices, n_samples, layers, _NOT_MODELLED)


def dense_macs(net: Network) -> dict[str, int]:
    """Synaptic node → multiply-accumulates for one dense input, places in the padding left out."""
    return {node.name: count for node in net.nodes if (count := _macs(node)) is not None}


def _macs(node: Node) -> int | None:
    op = node.op
    if isinstance(op, Linear):
        return int(op.weight.size)
    if isinstance(op, Scale | BatchNorm):
        return math.prod(node.shape)
    if isinstance(op, Conv1d):
        axes = [(op.stride, op.dilation, op.padding)]
    elif isinstance(op, Conv2d):
        axes = list(zip(op.stride, op.dilation, op.padding, strict=True))
    else:
        return None
    n_out, n_in, *kernel = op.weight.shape
    taps = [
        _taps(node.in_shape[1 + a], node.shape[1 + a], kernel[a], stride, dilation, before)
        for a, (stride, dilation, (before, _)) in enumerate(axes)
    ]
    return int(n_out) * int(n_in) * math.prod(taps)


def _taps(n_in: int, n_out: int, kernel: int, stride: int, dilation: int, before: int) -> int:
    """Pairs of output place and kernel place that meet the input, along one axis."""
    return sum(
        0 <= o * stride + k * dilation - before < n_in for o in range(n_out) for k in range(kernel)
    )
