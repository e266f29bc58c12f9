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
SAME = 0.02
"""Spread (standard deviation over mean) below which factors of channels are one factor."""


def heights(ann: Ann, net: Network, data: Samples, n_steps: int) -> dict[str, NDArray[np.float64]]:
    """What one spike a step stands for in each population, where it fits the ANN best.

    The factor between activations and rates with the least squares of what remains; the
    population's own threshold where it never fires or the ANN's does not.
    """
    x = data.head(SAMPLES).x
    result = net.compile().run(x, n_steps=n_steps, record=("spikes",))
    names = [name for name in ann.activations if name in result.spikes]
    truth = ann.evaluator()(torch.from_numpy(x), names)
    found: dict[str, NDArray[np.float64]] = {}
    for name in names:
        shape = net.node(name).shape
        rate = counts_of(result.spikes[name], len(x), shape) / n_steps
        activation = truth[name].numpy().astype(np.float64)
        square = float((rate * rate).sum())
        scale = float((rate * activation).sum()) / square if square else 0.0
        op: Any = net.node(name).op
        found[name] = np.asarray(scale) if scale > 0 else op.v_threshold.astype(np.float64)
    return found


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
