"""The doctor on any network that is said to be an ANN's: heights of spikes from the data, batch
normalisations that were forgotten."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikesim import ops
from spikesim.convert.ann.data import Samples
from spikesim.convert.ann.graph import Ann
from spikesim.convert.ann.measure import counts_of
from spikesim.convert.report import Finding
from spikesim.network import Network

SAMPLES = 64
NEAR = 0.1
"""A factor so close to 1 is that of spikes that are rounded, not of other units."""

SAME = 0.02
"""Spread (standard deviation over mean) below which factors of channels are one factor."""


def heights(ann: Ann, net: Network, data: Samples, n_steps: int) -> dict[str, NDArray[np.float64]]:
    """What one spike a step stands for in each population, where it fits the ANN best.

    The population's threshold times the factor between activations and θ·rate with the least
    squares of what remains: 1 where the network's units are the ANN's, or nearly, and where it
    never fires or the ANN does not; one a channel where one for all fits much worse.
    """
    x = data.spread(SAMPLES).x
    result = net.compile().run(x, n_steps=n_steps, record=("spikes",))
    names = [name for name in ann.activations if name in result.spikes]
    truth = ann.evaluator()(torch.from_numpy(x), names)
    found: dict[str, NDArray[np.float64]] = {}
    for name in names:
        shape = net.node(name).shape
        rate = counts_of(result.spikes[name], len(x), shape) / n_steps
        activation = truth[name].numpy().astype(np.float64)
        op: Any = net.node(name).op
        threshold = op.v_threshold.astype(np.float64)
        if threshold.ndim > 1:
            threshold = threshold.reshape(len(threshold), -1).mean(1)
        # (C, everything else)
        said = rate.swapaxes(0, 1).reshape(shape[0], -1) * threshold.reshape(-1, 1)
        wanted = activation.swapaxes(0, 1).reshape(shape[0], -1)
        found[name] = threshold * _fitted(said, wanted)
    return found


def _fitted(said: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """The factor of `said` (C, n) that meets `wanted`: () or (C,)."""
    square, product = (said * said).sum(1), (said * wanted).sum(1)
    if not (square.sum() > 0 and product.sum() > 0):
        return np.ones(())
    one = float(product.sum() / square.sum())
    each: NDArray[np.float64] = np.where(
        product > 0, product / np.where(square > 0, square, 1), one
    )
    if ((wanted - each[:, None] * said) ** 2).sum() < ((wanted - one * said) ** 2).sum() / 4:
        return each
    return np.asarray(1.0 if abs(one - 1) < NEAR else one)


def forgotten_norms(ann: Ann, net: Network) -> list[Finding]:
    """Batch normalisations of the ANN that are neither in the network's weights nor in it."""
    have = {node.name: node for node in net.nodes}
    found: list[Finding] = []
    for layer, norm, factor in ann.folded:
        if norm in have or layer not in have or "weight" not in have[layer].array_shapes:
            continue
        before: Any = ann.raw.node(layer).op
        now: Any = have[layer].op
        if now.weight.shape != before.weight.shape:
            continue
        ratio = _factors(now.weight, before.weight)
        apart = _spread(ratio / factor)
        if _spread(factor) > SAME and _spread(ratio) < SAME < apart:
            found.append(
                Finding(
                    "error",
                    norm,
                    f"the batch norm is missing: {layer} has the weights that stood before it, "
                    "and no population hears its factors and shifts",
                    f"fold {norm} into {layer} before converting, as spikesim.convert does",
                )
            )
    return found


def _factors(now: NDArray[np.float32], before: NDArray[np.float32]) -> NDArray[np.float64]:
    """By output, the factor between two weights with the least squares."""
    a = now.reshape(len(now), -1).astype(np.float64)
    b = before.reshape(len(before), -1).astype(np.float64)
    least = np.finfo(np.float64).tiny
    factors: NDArray[np.float64] = (a * b).sum(1) / np.maximum((b * b).sum(1), least)
    return factors


def _spread(values: NDArray[np.float64]) -> float:
    return float(values.std() / max(abs(values.mean()), np.finfo(np.float64).tiny))


def unknown_populations(ann: Ann, net: Network) -> list[Finding]:
    """Populations of the network that stand for no activation of the ANN."""
    return [
        Finding("info", node.name, "the population stands for no activation of the ANN")
        for node in net.nodes
        if isinstance(node.op, ops.Neuron)
        and node.op.spikes != "none"
        and node.name not in ann.activations
    ]
