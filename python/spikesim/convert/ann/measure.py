"""A converted network beside its ANN, layer by layer, in the numbers of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim import ops
from spikesim.convert.ann.activation import Activation as AnnActivation
from spikesim.convert.ann.data import Samples
from spikesim.convert.ann.graph import Ann, stateless
from spikesim.convert.report import Activation, LayerMeter, LayerReport
from spikesim.network import Network
from spikesim.train.arrivals import added
from spikesim.train.layers import layer

BATCH = 64
SAMPLES = 256
"""Samples on which layers are measured; fractions of neurons need no more."""


def layers(
    ann: Ann,
    net: Network,
    data: Samples,
    n_steps: int,
    *,
    heights: Mapping[str, NDArray[np.float64]] | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> list[LayerReport]:
    """Rates and errors of each population that stands in the place of an activation.

    Args:
        ann: the ANN.
        net: the spiking network, whose populations have the activations' names.
        data: samples.
        n_steps: T.
        heights: what one spike a step stands for, by population; None: its threshold.
        tell: is told (samples done, in all).

    Returns:
        A report for each activation that the network has a population for, in the order of the
        ANN.
    """
    data = data.spread(SAMPLES)
    names = [name for name in ann.activations if _population(net, name) is not None]
    # What the membranes of a network in other units have to be multiplied with to be in the ANN's.
    units = {name: _units(net, name, heights) for name in names}
    meters = {name: _meter(ann, net, name, n_steps, units[name]) for name in names}
    sim, run_ann, drives = net.compile(), ann.evaluator(), Drives(net)
    for start in range(0, len(data), BATCH):
        x = data.x[start : start + BATCH]
        result = sim.run(x, n_steps=n_steps, record=("spikes",))
        counts: dict[str, NDArray[np.float64]] = {
            node.name: counts_of(result.spikes[node.name], len(x), node.shape)
            for node in net.nodes
            if isinstance(node.op, ops.Neuron)
        }
        rates = {name: torch.from_numpy(n / n_steps).float() for name, n in counts.items()}
        inputs = drives(torch.from_numpy(x), rates, names)
        truth = run_ann(torch.from_numpy(x), names)
        for name in names:
            factor = units[name].reshape(-1, *(1,) * (inputs[name].ndim - 2))
            z = inputs[name].numpy() * factor
            meters[name].add(counts[name], z=z, ann=truth[name].numpy())
        if tell is not None:
            tell(min(start + BATCH, len(data)), len(data))
    return [meters[name].result() for name in names]


class Drives:
    """Each population's own mean drive, from the rates of those before it.

    Between populations everything is linear, or a gated maximum pool, whose rate is the maximum
    of the rates: so the mean over the steps goes through like one step.
    """

    def __init__(self, net: Network) -> None:
        self._inputs: dict[str, list[str]] = {node.name: [] for node in net.nodes[1:]}
        for src, dst, _ in net.edges:
            self._inputs[dst].append(src)
        self._calls: dict[str, Any] = {}
        self._scales: dict[str, Tensor] = {}
        for node in net.nodes[1:]:
            op = node.op
            if isinstance(op, ops.Neuron):
                amplitude = torch.tensor(op.spike_amplitude)
                self._scales[node.name] = _along(amplitude, len(node.shape))
            else:
                self._calls[node.name] = layer(stateless(op), node.name, node.in_shape).eval()

    @torch.no_grad()
    def __call__(
        self, x: Tensor, rates: Mapping[str, Tensor], wanted: list[str]
    ) -> dict[str, Tensor]:
        """The drive (N, *shape) of each population that is wanted; `rates` of all."""
        values: dict[str, Tensor] = {"input": x}
        found: dict[str, Tensor] = {}
        for name, sources in self._inputs.items():
            arrivals = [values[src] for src in sources]
            if name in self._scales:
                if name in wanted:
                    found[name] = added(arrivals)
                values[name] = rates[name] * self._scales[name]
            else:
                values[name] = self._calls[name](*arrivals)
        return found


def _along(values: Tensor, axes: int) -> Tensor:
    return values.reshape(-1, *(1,) * (axes - 1)) if values.ndim == 1 else values


def _population(net: Network, name: str) -> ops.Neuron | None:
    for node in net.nodes:
        if node.name == name:
            op = node.op
            return op if isinstance(op, ops.Neuron) and op.spikes != "none" else None
    return None


def _meter(
    ann: Ann,
    net: Network,
    name: str,
    n_steps: int,
    units: NDArray[np.float64],
) -> LayerMeter:
    op = _population(net, name)
    assert op is not None
    # m spikes a step of height θ are T·m steps of a neuron with the threshold m·θ: its most a
    # step is m·θ, and its quantum θ/T.
    most = (op.max_spikes or 1) if op.spikes == "multi" else 1
    shape = net.node(name).shape

    def whole(values: NDArray[np.float32]) -> NDArray[np.float64]:
        spread = units.reshape(-1, *(1,) * (values.ndim - 1)) if values.ndim > 1 else units
        scaled: NDArray[np.float64] = most * values.astype(np.float64) * spread
        return scaled

    return LayerMeter(
        name,
        shape,
        most * n_steps,
        whole(op.v_threshold),
        whole(op.v0),
        reference(ann.activations[name]),
    )


def _units(
    net: Network, name: str, heights: Mapping[str, NDArray[np.float64]] | None
) -> NDArray[np.float64]:
    """Height of a spike over threshold, () or (C,)."""
    op = _population(net, name)
    if heights is None or op is None:
        return np.ones(())
    threshold = op.v_threshold.astype(np.float64)
    # One factor a channel at most: thresholds of neurons take their mean.
    if threshold.ndim > 1:
        threshold = threshold.reshape(len(threshold), -1).mean(1)
    ratio: NDArray[np.float64] = np.asarray(heights[name] / threshold)
    return ratio


def reference(one: AnnActivation) -> Activation:
    """An activation as the report's theory has it."""
    if one.kind == "qcfs":
        return Activation("qcfs", levels=one.levels, phi=one.phi, scale=one.scale)
    if one.kind == "leaky_relu":
        return Activation("leaky_relu", slope=one.slope)
    return Activation("relu", cap=one.ceiling)


def counts_of(raster: Any, samples: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Spikes of each neuron over all steps, with their sign, (N, *shape)."""
    size = int(np.prod(shape))
    place = raster.sample.astype(np.int64) * size + raster.neuron
    total: Any = np.bincount(place, weights=raster.count, minlength=samples * size)
    counts: NDArray[np.float64] = total.astype(np.float64).reshape(samples, *shape)
    return counts
