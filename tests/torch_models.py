"""Small torch models with random weights, and the check of `from_torch` against their own run."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

import spikesim as ss
from libraries import Trace, assert_equal, assert_within_margin, run_library

Draw = Any
SEEDS = st.integers(0, 2**32 - 1)

# Weights: on the grid k/16 every sum and every decay by a power of two is exact for a few steps,
# so that any order of summation gives the same bits; free ones are rounded.


def set_weights(model: nn.Module, seed: int, exact: bool) -> nn.Module:
    """Random weights; BatchNorm statistics that keep an exact model exact."""
    rng = np.random.default_rng(seed)

    def fill(tensor: Any, scale: float) -> None:
        if exact:
            values = rng.integers(-8, 9, tuple(tensor.shape)) / 16
        else:
            values = rng.normal(0, scale, tuple(tensor.shape))
        tensor.copy_(torch.from_numpy(np.asarray(values, np.float32)))

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
                fan_in = module.weight[0].numel()
                fill(module.weight, 1.2 / np.sqrt(fan_in))
                if module.bias is not None:
                    fill(module.bias, 0.3)
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                count = module.running_mean.numel()
                fill(module.running_mean, 0.5)
                if exact:
                    module.eps = 0.0
                    module.running_var.copy_(torch.from_numpy(rng.choice([1.0, 4.0], count)))
                    module.weight.copy_(torch.from_numpy(rng.choice([0.5, 1.0, -1.0], count)))
                else:
                    module.running_var.copy_(torch.from_numpy(rng.uniform(0.5, 2, count)))
                    module.weight.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, count)))
                fill(module.bias, 0.3)
    return model.eval()


def raster(seed: int, steps: int, samples: int, shape: tuple[int, ...]) -> Any:
    """Input spikes (T, N, *shape)."""
    rng = np.random.default_rng(seed)
    return (rng.random((steps, samples, *shape)) < 0.4).astype(np.float32)


def check(model: nn.Module, shape: tuple[int, ...], steps: int, seed: int, exact: bool) -> None:
    """The library's own run against the network's, by the reference and by the engine."""
    x = raster(seed, steps, 2, shape)
    hold(model, shape, x, run_library(model, x), exact)


def hold(model: nn.Module, shape: tuple[int, ...], x: Any, trace: Trace, exact: bool) -> None:
    """What the library did against what the network does."""
    net = ss.from_torch(model, shape)
    if exact:
        assert_equal(net, x, trace)
    else:
        assert assert_within_margin(net, x, trace) > 0.8


@st.composite
def layouts(draw: Draw) -> tuple[str, tuple[int, ...]]:
    """A kind of network and the shape of its input."""
    kind = draw(st.sampled_from(["mlp", "conv2d", "conv1d", "batch_norm"]))
    return kind, {"mlp": (7,), "conv1d": (3, 9)}.get(kind, (2, 6, 6))


def build(kind: str, make: Any, draw: Draw) -> nn.Sequential:
    """A small network with two neuron layers that `make(shape)` makes."""
    if kind == "mlp":
        return nn.Sequential(
            nn.Linear(7, 6),
            make((6,)),
            nn.Dropout(0.5),
            nn.Linear(6, 4, bias=draw(st.booleans())),
            make((4,)),
        )
    if kind == "conv1d":
        return nn.Sequential(
            nn.Conv1d(3, 4, 3, stride=2, padding=1), make((4, 5)), nn.Flatten(),
            nn.Linear(20, 3), make((3,)),
        )  # fmt: skip
    if kind == "batch_norm":
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=draw(st.booleans())),
            nn.BatchNorm2d(4),
            make((4, 6, 6)),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(36, 3),
            nn.BatchNorm1d(3),
            make((3,)),
        )
    groups = draw(st.sampled_from([1, 2]))
    pool = draw(st.sampled_from([nn.AvgPool2d(2), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d((3, 3))]))
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), padding="same", groups=groups, dilation=(1, 2)),
        make((4, 6, 6)), copy.deepcopy(pool),
        nn.Conv2d(4, 3, 2, stride=1, padding=(1, 0)), make((3, 4, 2)),
        nn.Upsample(scale_factor=2), nn.Flatten(), nn.Linear(96, 4), make((4,)),
    )  # fmt: skip
