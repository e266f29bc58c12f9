"""Seeded inputs that make a network work."""

from __future__ import annotations

import numpy as np

from spikesim.conformance.trace import Array, populations, run_engine
from spikesim.network import Network

#: Factors tried, in this order, until every population fires.
SCALES = (1.0, 4.0, 0.25, 16.0, 64.0, 256.0)

#: Share of ones of the binary samples, in turn with graded ones.
RATES = (0.1, 0.5, 0.9)


def raster(shape: tuple[int, ...], n_steps: int, samples: int, seed: int) -> Array:
    """(T, N, *shape): Bernoulli samples of several rates, and graded ones on the grid k/16."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n_steps, samples, *shape), np.float32)
    for sample in range(samples):
        size = (n_steps, *shape)
        kind = sample % (len(RATES) + 1)
        if kind < len(RATES):
            x[:, sample] = rng.random(size) < RATES[kind]
        else:
            graded = np.round(rng.normal(0.5, 0.75, size) * 16) / 16
            x[:, sample] = np.where(rng.random(size) < 0.6, graded, 0.0)
    return x


def exciting(net: Network, n_steps: int, samples: int, seed: int) -> tuple[Array, float]:
    """The seeded raster, at the first scale at which the most populations fire now and then.

    Returns:
        The raster, and its scale.
    """
    plain = raster(tuple(net.input_shape), n_steps, samples, seed)
    firing = [name for name, op in populations(net).items() if op.spikes != "none"]
    best, found = -1, SCALES[0]
    for scale in SCALES:
        trace, _ = run_engine(net, plain * np.float32(scale))
        works = sum(0 < np.mean(trace.spikes[name] != 0) < 1 for name in firing)
        if works > best:
            best, found = works, scale
        if works == len(firing):
            break
    return plain * np.float32(found), found
