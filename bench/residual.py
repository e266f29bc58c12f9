"""Residual networks whose neurons fire at a given rate, on the grid of `calibrate_rate`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spikesim.models import calibrate
from spikesim.models.resnet import Block


def biased(module: nn.Module, seed: int = 0) -> None:
    """Gives every convolution a bias, as one has that a BatchNorm was folded into.

    Weights are drawn anew, uniformly: torch's normal numbers differ in the last bit from one
    instruction set to another.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for parent in list(module.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Conv2d):
                    sizes: Any = (child.kernel_size, child.stride, child.padding)
                    conv = nn.Conv2d(child.in_channels, child.out_channels, *sizes)
                    setattr(parent, name, conv)


@torch.no_grad()
def calibrate_residual(
    model: nn.Sequential, x: Tensor, rate: float, n_steps: int, seed: int = 0
) -> None:
    """`spikesim.models.calibrate_rate` for a ResNet of spikesim.models without BatchNorm."""
    generator = torch.Generator().manual_seed(seed)
    signal = x.unsqueeze(0)
    current: Tensor | None = None
    for layer in _flat(model):
        if isinstance(layer, Block):
            signal = _block(layer, signal, rate, n_steps, generator)
        elif isinstance(layer, nn.Conv2d):
            current, conv = _current(layer, signal, generator), layer
        elif isinstance(layer, nn.Linear):
            # The readout: any grid will do.
            layer.weight.copy_((layer.weight * 64).round() / 64)
        elif isinstance(layer, calibrate.STATELESS):
            signal = calibrate._per_step(layer, signal)
        elif current is not None:
            signal = _fire(conv, current, rate, n_steps)


def _flat(model: nn.Sequential) -> list[Any]:
    """The layers in order; stages of blocks opened."""
    layers: list[Any] = []
    for layer in model:
        layers += list(layer) if isinstance(layer, nn.Sequential) else [layer]
    return layers


def _block(block: Any, x: Tensor, rate: float, n_steps: int, generator: torch.Generator) -> Tensor:
    inner = _fire(block.conv1, _current(block.conv1, x, generator), rate, n_steps)
    current = _current(block.conv2, inner, generator)
    # A raster in the block's input meets its output step by step.
    if isinstance(block.shortcut, nn.Identity):
        current = current + x
    else:
        current = current + _current(block.shortcut[0], x, generator)
    return _fire(block.conv2, current, rate, n_steps)


def _current(layer: Any, signal: Tensor, generator: torch.Generator) -> Tensor:
    """The layer's output, its weights scaled to one spread a channel."""
    calibrate._prepare(layer)
    calibrate._normalise([layer], calibrate._per_step(layer, signal), generator)
    return calibrate._per_step(layer, signal)


def _fire(layer: Any, current: Tensor, rate: float, n_steps: int) -> Tensor:
    spikes, offset = calibrate._fire_at(current, rate, n_steps)
    layer.bias.add_(offset)
    return spikes
