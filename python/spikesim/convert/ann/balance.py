"""Thresholds from the spiking input: Spike-Norm and RMP.

Sengupta et al. 2019: layer by layer, the threshold is the largest weighted input that a neuron
receives in one step, from the spikes of the layers before with their final thresholds. Han et al.
2020 (RMP): the same under the soft reset, times α. Both run on the engine. Neither knows leaky
ReLUs; here their θ also covers the largest input below zero, times the slope.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spikesim import ops
from spikesim.convert.ann.data import Samples
from spikesim.convert.ann.emit import Setting, emit
from spikesim.convert.ann.graph import Ann
from spikesim.convert.ann.thresholds import shared, silent
from spikesim.network import Network

BATCH = 64


def balanced(
    ann: Ann,
    data: Samples,
    *,
    n_steps: int,
    alpha: float = 1.0,
    v0: float = 0.0,
    encoding: Literal["constant", "poisson"] = "constant",
    junction: Literal["scaled", "equal_threshold"] = "scaled",
    seed: int = 0,
    tell: Callable[[int, int], None] | None = None,
    **options: Any,
) -> dict[str, NDArray[np.float64]]:
    """The threshold of each activation, by its largest input in a step.

    Args:
        ann: the ANN.
        data: calibration samples.
        n_steps: steps for which each layer is watched; the largest input grows slowly with it.
        alpha: factor of each threshold, before the layers after it are looked at.
        v0: membranes before the first step, as a part of the threshold.
        encoding: "constant": samples as currents; "poisson": Bernoulli spikes of probability |x|,
            with the sign of x.
        junction: "scaled": spikes keep their heights into a sum, which is exact; or
            "equal_threshold", the paper's rule: those that meet share the largest threshold.
        seed: of the Bernoulli spikes.
        tell: is told (layers done, layers in all).
        options: of `emit`: reset, max_pool.

    Returns:
        By activation, float64 ().
    """
    found: dict[str, NDArray[np.float64]] = {}
    names = list(ann.activations)
    for index, name in enumerate(names):
        settings = {
            other: Setting.of(found.get(other, np.ones(())), v0) for other in ann.activations
        }
        net, one = emit(ann, settings, **options), ann.activations[name]
        largest = largest_input(watching(net, name), data, n_steps, encoding, seed)
        if one.slope:
            # A spike below 0 answers to θ/slope: what excites downwards has a say in θ, too.
            below = watching(net, name, negated=True)
            largest = max(largest, one.slope * largest_input(below, data, n_steps, encoding, seed))
        if largest <= 0:
            raise silent(name)
        # What has a largest value saturates there, not at its largest input.
        theta = min(alpha * largest, one.most)
        found[name] = np.asarray(theta, np.float64)
        if junction == "equal_threshold":
            meeting = shared(ann, {other: found.get(other, np.zeros(())) for other in names})
            found = {other: meeting[other] for other in found}
        if tell is not None:
            tell(index + 1, len(names))
    return found


def watching(net: Network, name: str, *, negated: bool = False) -> Network:
    """The part of a network up to a population, whose largest input in a step it answers with;
    `negated`: the negative of the least."""
    inputs: dict[str, list[str]] = {}
    for src, dst, _ in net.edges:
        inputs.setdefault(dst, []).append(src)
    needed, todo = {name}, [name]
    while todo:
        for src in inputs.get(todo.pop(), ()):
            if src not in needed:
                needed.add(src)
                todo.append(src)
    part = Network(net.input_shape)
    for node in net.nodes[1:]:
        if node.name in needed and node.name != name:
            part.add(node.op, node.name, inputs[node.name])
    sources = inputs[name]
    if negated:
        for place, src in enumerate(sources):
            part.add(ops.Scale(np.float32(-1)), f"{name}-{place}", src)
        sources = [f"{name}-{place}" for place in range(len(sources))]
    # A membrane that keeps nothing is its input.
    part.add(ops.LI(alpha_mem=0.0, gain=1.0), name, sources)
    part.output, part.readout = name, "max_v"
    return part


def largest_input(watched: Network, data: Samples, n_steps: int, encoding: str, seed: int) -> float:
    """The largest answer of a network that watches a population."""
    sim = watched.compile()
    rng = np.random.default_rng(seed)
    largest = -np.inf
    for start in range(0, len(data), BATCH):
        x = data.x[start : start + BATCH]
        if encoding == "poisson":
            # u < p with u in [0, 1): what is 0 never fires.
            fired = rng.random((n_steps, *x.shape), np.float32) < np.abs(x)
            out = sim.run(np.where(fired, np.sign(x), 0).astype(np.float32)).output
        else:
            out = sim.run(x, n_steps=n_steps).output
        largest = max(largest, float(out.max()))
    return largest
