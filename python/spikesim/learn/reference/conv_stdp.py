"""Convolutional STDP carried out plainly in NumPy float32, one spike and one weight at a time.

The engine equals it to the bit: docs/semantics.md S13. Arrays are (channels or maps, rows,
columns); times are bins, and `NEVER` where there is no spike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesim.learn.conv_layers import DoG, LatencyPool, Pixels, STDPConv

__all__ = ["NEVER", "Winner", "encode", "features", "fire", "learn", "pool", "winners"]

NEVER = 10**6

Times = NDArray[np.int64]
Floats = NDArray[np.float32]


class Winner(NamedTuple):
    """A neuron that learns: its bin, map, row, column, and the potential with which it fired."""

    t: int
    map: int
    y: int
    x: int
    v: np.float32


def encode(encoder: DoG | Pixels, image: Floats) -> Times:
    """S13.1, S13.2: (channels, rows, columns) to the times (2 channels, rows, columns)."""
    weight = encoder.filter
    scale = np.abs(image.astype(np.float32)).max()
    center, least = np.float32(encoder.center) * scale, np.float32(encoder.min_response) * scale
    channels, rows, columns = image.shape
    half = len(weight) // 2
    padded = np.pad(image.astype(np.float32), ((0, 0), (half, half), (half, half)))
    sums = np.zeros(image.shape, np.float32)
    for ky, row in enumerate(weight):
        for kx, w in enumerate(row):
            sums = sums + w * padded[:, ky : ky + rows, kx : kx + columns]
    d = sums - center
    response = np.zeros((2 * channels, rows, columns), np.float32)
    response[0::2] = np.maximum(d, np.float32(0))
    response[1::2] = np.maximum(-d, np.float32(0))
    last = np.moveaxis(response, 0, -1).ravel()
    spiking = np.flatnonzero(last > least)
    ranked = spiking[np.lexsort((spiking, -last[spiking]))]
    times = np.full(last.shape, NEVER)
    for rank, index in enumerate(ranked):
        times[index] = rank * encoder.bins // len(ranked)
    return np.moveaxis(times.reshape(rows, columns, 2 * channels), -1, 0)


def _events(times: Times, t: int) -> list[tuple[int, int, int]]:
    """(row, column, channel) of the spikes of bin `t`, ascending."""
    return sorted((y, x, c) for c, y, x in np.argwhere(times == t).tolist())


def fire(
    layer: STDPConv, weight: Floats, times: Times, bins: int, lateral: bool
) -> tuple[Times, Floats, Floats]:
    """S13.3, S13.4: the times, potentials at the spikes, and potentials in the end.

    Args:
        layer: Threshold and padding.
        weight: (maps, channels, kernel, kernel) float32.
        times: (channels, rows, columns), of the input.
        bins: Time steps.
        lateral: Whether a spike silences the other maps of its place.
    """
    pad, k = layer.padding, layer.kernel
    _, rows, columns = times.shape
    shape = (len(weight), rows + 2 * pad - k + 1, columns + 2 * pad - k + 1)
    v = np.zeros(shape, np.float32)
    out = np.full(shape, NEVER)
    at_spike = np.zeros(shape, np.float32)
    threshold = np.float32(layer.threshold)
    for t in range(bins):
        for y, x, c in _events(times, t):
            for ky in range(k):
                for kx in range(k):
                    oy, ox = y + pad - ky, x + pad - kx
                    if 0 <= oy < shape[1] and 0 <= ox < shape[2]:
                        v[:, oy, ox] += weight[:, c, ky, kx]
        for oy in range(shape[1]):
            for ox in range(shape[2]):
                silenced = lateral and (out[:, oy, ox] < NEVER).any()
                new = (v[:, oy, ox] >= threshold) & (out[:, oy, ox] == NEVER)
                if silenced or not new.any():
                    continue
                maps = np.flatnonzero(new)
                if lateral:
                    maps = maps[[np.argmax(v[maps, oy, ox])]]
                out[maps, oy, ox] = t
                at_spike[maps, oy, ox] = v[maps, oy, ox]
    return out, at_spike, v


def pool(layer: LatencyPool, times: Times) -> Times:
    """S13.5: the earliest spike of each window."""
    return _windows(layer, times, NEVER, np.min)


def _windows(layer: LatencyPool, values: NDArray, empty: float, of: object) -> NDArray:  # type: ignore[type-arg]
    pad = layer.padding
    padded = np.pad(values, ((0, 0), (pad, pad), (pad, pad)), constant_values=empty)
    n = [(size - layer.kernel) // layer.step + 1 for size in padded.shape[1:]]
    out = np.empty((len(values), *n), values.dtype)
    for y in range(n[0]):
        for x in range(n[1]):
            top, left = y * layer.step, x * layer.step
            window = padded[:, top : top + layer.kernel, left : left + layer.kernel]
            out[:, y, x] = of(window, axis=(1, 2))  # type: ignore[operator]
    return out


def winners(layer: STDPConv, weight: Floats, times: Times, bins: int) -> list[Winner]:
    """S13.6, S13.7: who learns from one image, the first winner first."""
    fired, v, _ = fire(layer, weight, times, bins, lateral=True)
    candidates = [
        Winner(int(fired[m, y, x]), m, y, x, v[m, y, x])
        for m, y, x in np.argwhere(fired < NEVER).tolist()
    ]
    candidates.sort(key=lambda w: (w.t, -w.v, w.y, w.x, w.map))
    chosen: list[Winner] = []
    for w in candidates:
        near = any(
            w.map == o.map or (abs(w.y - o.y) <= layer.radius and abs(w.x - o.x) <= layer.radius)
            for o in chosen
        )
        if not near and len(chosen) < layer.k:
            chosen.append(w)
    return chosen


def learn(
    layer: STDPConv, weight: Floats, seen: int, batch: Sequence[Times], bins: int
) -> tuple[Floats, int]:
    """S13.8, S13.9: the weights after a batch, and the images that the layer has then seen."""
    found = [winners(layer, weight, times, bins) for times in batch]
    weight = weight.copy()
    pad, k = layer.padding, layer.kernel
    for times, of_image in zip(batch, found, strict=True):
        a_plus, a_minus = layer.rates(seen)
        padded = np.pad(times, ((0, 0), (pad, pad), (pad, pad)), constant_values=NEVER)
        for winner in of_image:
            w = weight[winner.map]
            early = padded[:, winner.y : winner.y + k, winner.x : winner.x + k] <= winner.t
            rate = np.where(early, a_plus, -a_minus)
            weight[winner.map] = w + (rate * w) * (np.float32(1) - w)
        seen += 1
    return weight, seen


def features(
    encoder: DoG | Pixels,
    layers: Sequence[STDPConv | LatencyPool],
    weights: Sequence[Floats | None],
    image: Floats,
    kind: str,
) -> Floats:
    """S13.10: one image's features, (map, row, column) in C order."""
    times = encode(encoder, image)
    potentials = np.zeros(0, np.float32)
    for layer, weight in zip(layers, weights, strict=True):
        if isinstance(layer, LatencyPool):
            times = pool(layer, times)
            potentials = _windows(layer, potentials, -np.inf, np.max)
        else:
            assert weight is not None
            times, _, potentials = fire(layer, weight, times, encoder.bins, layer.lateral)
    if kind == "potential":
        return potentials.ravel()
    spiked = times < NEVER
    if kind == "latency":
        left = np.where(spiked, encoder.bins - times, 0).astype(np.float32)
        return (left / np.float32(encoder.bins)).ravel()
    return spiked.astype(np.float32).ravel()
