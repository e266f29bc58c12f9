"""Small ANNs of the 8x8 digits, and their conversion by hand."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import spikesim as ss

Array = NDArray[Any]
SIZES = (64, 128, 128, 10)


@cache
def images() -> tuple[Array, Array, Array, Array]:
    """Pixels in [0, 1] and labels: 1437 to train, 360 to test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    parts = train_test_split(x / 16, y, test_size=360, stratify=y, random_state=0)
    train, test, train_labels, test_labels = parts
    return train.astype(np.float32), train_labels, test.astype(np.float32), test_labels


def mlp(bias: bool, seed: int = 0) -> nn.Sequential:
    """An untrained ReLU network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for size, after in itertools.pairwise(SIZES):
            layers += [nn.Linear(size, after, bias=bias), nn.ReLU()]
        return nn.Sequential(*layers[:-1])


@cache
def trained(bias: bool) -> nn.Sequential:
    """The same, trained for some seconds."""
    ann = mlp(bias)
    x, y, *_ = (torch.tensor(part) for part in images())
    generator = torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(ann.parameters(), lr=2e-3)
    for _ in range(15):
        for batch in torch.randperm(len(x), generator=generator).split(64):
            loss = nn.functional.cross_entropy(ann(x[batch]), y[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
    return ann


def rasters(x: Array, steps: int, seed: int) -> Array:
    """Bernoulli spikes of pixels in [0, 1]: (T, N, 64)."""
    chance = np.random.default_rng(seed).random((steps, *x.shape))
    return (chance < x).astype(np.float32)


def spike_norm(ann: nn.Sequential, x: Array, steps: int = 100) -> ss.Network:
    """Spike-Norm (Sengupta et al. 2019): a layer's threshold is the largest input that it gets
    at a step, on spikes of the layers before with their thresholds. Unit spikes, their height in
    the weights that hear them, biases at every step, the last layer's mean as the output."""
    spikes, height = rasters(x, steps, 1), 1.0
    net = ss.Network((SIZES[0],))
    linear = [layer for layer in ann if isinstance(layer, nn.Linear)]
    for depth, layer in enumerate(linear):
        weight = layer.weight.detach().numpy() * np.float32(height)
        bias = None if layer.bias is None else layer.bias.detach().numpy()
        net.add(ss.Linear(weight, bias), name=f"fc{depth}")
        if layer is linear[-1]:
            break
        current = spikes @ weight.T + (0 if bias is None else bias)
        height = float(current.max())
        net.add(ss.IF(height), name=f"if{depth}")
        v, out = np.zeros_like(current[0]), []
        for step in current:
            v = v + step
            out.append((v >= height).astype(np.float32))
            v = v - out[-1] * np.float32(height)
        spikes = np.stack(out)
    net.readout = "mean"
    return net


def accuracy(net: ss.Network, x: Array, y: Array, steps: int | None = None) -> float:
    """The engine's, on images at every step, or on rasters."""
    return float(np.mean(net.compile().run(x, n_steps=steps).predictions == y))


def on_rasters(net: ss.Network, x: Array, y: Array, steps: int) -> float:
    """The mean of three seeds of the input."""
    return float(np.mean([accuracy(net, rasters(x, steps, 10 + s), y) for s in range(3)]))
