"""Thresholds from the activations of the ANN: weight normalisation in its kinds.

Diehl et al. 2015 (largest activation, and without data), Rueckauer et al. 2017 (percentile),
Kim et al. 2020 (channel by channel). W̃ = W·λ_before/λ, b̃ = b/λ with a threshold of 1 is the same
network as a threshold of λ with the heights λ_before folded into the weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.convert.ann.data import Samples
from spikesim.convert.ann.emit import MAX_POOLS, PASSING, WEIGHTED
from spikesim.convert.ann.graph import BATCH, Ann
from spikesim.errors import InputError, UnsupportedError

FLOOR = 1e-3
"""Least threshold of a channel, as a part of the layer's largest: a scale far below it is noise."""


def rank(n: int, percentile: float) -> int:
    """Index (from 0, ascending) of the percentile among n sorted values.

    `floor(p·n) − 1`, as the authors of Spiking ResNet sort and index: no interpolation, zeros
    included. 100 is the largest value.

    Raises:
        InputError: a percentile outside (0, 100].
    """
    if not 0 < percentile <= 100:
        raise InputError(f"percentile: is {percentile}, expected more than 0, at most 100")
    # Not float(p)·n: 0.999 is no binary fraction, and floor would slip by one.
    index = math.floor(round(percentile * n, 6) / 100) - 1
    return min(max(index, 0), n - 1)


def activations(
    ann: Ann, data: Samples, percentile: float, *, per_channel: bool = False
) -> dict[str, NDArray[np.float64]]:
    """The percentile of each activation's absolute values over samples and places.

    Args:
        ann: the ANN.
        data: calibration samples.
        percentile: in (0, 100]; 100: the largest.
        per_channel: one a channel (the first axis) instead of one a layer; not less than
            FLOOR times the layer's largest, which is that of a channel without any activation.

    Returns:
        By activation: float64, () or (C,).

    Raises:
        InputError: activations that are all zero, or not finite.
    """
    names = list(ann.activations)
    top: dict[str, NDArray[np.float32]] = {}
    for values in ann.evaluator().batches(data.x, names, BATCH):
        for name in names:
            new = values[name].abs().numpy()
            if not np.isfinite(new).all():
                raise InputError(
                    f"{name}: activations are not finite on the calibration data, expected finite "
                    "numbers; look for NaN in the weights or statistics"
                )
            # (rows, values): a row for each threshold that is looked for.
            rows = (
                new.swapaxes(0, 1).reshape(new.shape[1], -1) if per_channel else new.reshape(1, -1)
            )
            every = len(data) * (rows.shape[1] // len(new))
            # Only the largest can be it: kept, exactly, instead of every value.
            keep = every - rank(every, percentile)
            joined = rows if name not in top else np.concatenate([top[name], rows], axis=1)
            if joined.shape[1] > keep:
                joined = np.partition(joined, joined.shape[1] - keep, axis=1)[:, -keep:]
            top[name] = joined
    found: dict[str, NDArray[np.float64]] = {}
    for name in names:
        scale = top[name].min(axis=1).astype(np.float64)
        largest = float(top[name].max())
        if largest == 0:
            raise silent(name)
        # What is active so rarely that the percentile is 0 has its largest value; a channel that
        # never was says nothing of its scale: a spike that stands for little would cut it short.
        scale = np.where(scale > 0, scale, top[name].max(axis=1))
        if per_channel:
            found[name] = np.where(scale > 0, np.maximum(scale, FLOOR * largest), largest)
        else:
            found[name] = scale.reshape(())
    return found


def model_based(
    ann: Ann, within: tuple[float, float] = (0.0, 1.0)
) -> dict[str, NDArray[np.float64]]:
    """Thresholds without data: the largest drive that a neuron can have in a step (Diehl 2015).

    λ = max over outputs of Σ max(0, W)·λ_before + max(0, bias): no neuron ever needs two spikes
    in a step, if the input lies `within` these bounds around 0. Where activations have a largest
    value, λ is at most that. A leaky ReLU's spikes below 0 excite through weights below 0.

    Raises:
        InputError: a layer that can never be active.
        UnsupportedError: a node through which such a bound can't be followed.
    """
    # Bounds (from below, from above) around 0.
    bound: dict[str, tuple[float, float]] = {"input": within}
    found: dict[str, NDArray[np.float64]] = {}
    for node in ann.net.nodes[1:]:
        given = [bound[src] for src in ann.inputs_of(node.name)]
        low, high = sum(least for least, _ in given), sum(most for _, most in given)
        if node.name in ann.activations:
            one = ann.activations[node.name]
            low *= one.slope
            theta = min(max(high, -low), one.most)
            if theta <= 0:
                raise silent(node.name)
            found[node.name] = np.asarray(theta)
            # One spike is θ, below 0 too, however small what it stands for is in the mean.
            bound[node.name] = (-theta if low < 0 else 0.0, theta)
        elif node.kind in WEIGHTED:
            op: Any = node.op
            weight = op.weight.astype(np.float64).reshape(len(op.weight), -1)
            bias = np.zeros(len(weight)) if op.bias is None else op.bias.astype(np.float64)
            up, down = np.maximum(weight, 0).sum(1), np.minimum(weight, 0).sum(1)
            most = up * high + down * low + np.maximum(bias, 0)
            least = up * low + down * high + np.minimum(bias, 0)
            bound[node.name] = (float(least.min()), float(most.max()))
        elif node.kind == "concat":
            bound[node.name] = (min(b for b, _ in given), max(b for _, b in given))
        elif node.kind in (*PASSING, *MAX_POOLS, "flatten", "add"):
            sizes = node.spec.get("kernel_size", ()) if node.kind.startswith("sum_pool") else ()
            factor = math.prod(sizes)
            bound[node.name] = (factor * low, factor * high)
        else:
            raise UnsupportedError(
                f"{node.name}: {node.kind} has no bound without data, expected layers, pools and "
                "sums; use a method with calibration data"
            )
    return found


def silent(name: str) -> InputError:
    """The error for a layer that is never active."""
    return InputError(
        f"{name}: activations are all zero on the calibration data, expected some above 0; give "
        "data that the network answers to, in the scale it was trained with"
    )


def shared(ann: Ann, thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """Activations that meet in a sum share the largest threshold among them (Spike-Norm's rule
    for residual junctions)."""
    made = dict(thresholds)
    for node in ann.net.nodes[1:]:
        if node.kind != "add":
            continue
        sources = [spiking_source(ann, src) for src in ann.inputs_of(node.name)]
        meeting = [name for name in sources if name is not None]
        if len(meeting) > 1:
            largest = np.max([np.max(made[name]) for name in meeting])
            made.update((name, np.asarray(largest)) for name in meeting)
    return made


def spiking_source(ann: Ann, name: str) -> str | None:
    """The activation that a node hands on, through pools; None: it is something else."""
    while name not in ann.activations:
        if name == "input" or ann.net.node(name).kind not in (*PASSING, *MAX_POOLS):
            return None
        (name,) = ann.inputs_of(name)
    return name
