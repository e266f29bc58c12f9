"""Counting events and where they land (S10)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spikesim.reference.geometry import Window


@dataclass
class Signal:
    """The value of a node at a step and the events in it, all (N, *shape).

    `spikes[i]` is how many spikes stand behind value i (they cost synops), `analog[i]` how many
    other values (they cost macs).
    """

    value: Tensor
    spikes: Tensor
    analog: Tensor


def of_spikes(value: Tensor, z: Tensor) -> Signal:
    """A population's output (S10.1)."""
    spikes = z.abs().to(torch.int64)
    return Signal(value, spikes, torch.zeros_like(spikes))


def of_values(value: Tensor) -> Signal:
    """An input or a current: each value by itself (S10.3, S10.5)."""
    unit = value.abs() == 1
    other = (value != 0) & ~unit
    return Signal(value, unit.to(torch.int64), other.to(torch.int64))


def of_max_pool(value: Tensor) -> Signal:
    """What leaves a maximum of spikes (S10.4)."""
    whole = value == torch.floor(value)
    spikes = torch.where(whole, value.abs(), torch.zeros_like(value)).to(torch.int64)
    return Signal(value, spikes, (~whole).to(torch.int64))


@dataclass
class FanOut:
    """How many weights each input place of a synaptic node meets inside its output."""

    nonzero: Tensor  # int64, (*in_shape)
    all: Tensor

    def count(self, events: Tensor, zeros: bool = False) -> Tensor:
        """Events (N, *in_shape) times their weights, summed: (N,)."""
        weights = self.all if zeros else self.nonzero
        return (events * weights).flatten(1).sum(1)


def linear_fan_out(weight: Tensor, there: Tensor) -> FanOut:
    """(n_in,) each; `there` says which of the weights count."""
    return FanOut((there & (weight != 0)).sum(0), there.sum(0))


def scale_fan_out(scale: Tensor, shape: tuple[int, ...]) -> FanOut:
    """One weight for each place (S10.6)."""
    nonzero = (scale != 0).to(torch.int64).expand(shape)
    return FanOut(nonzero, torch.ones_like(nonzero))


def conv_fan_out(
    weight: Tensor, there: Tensor, window: Window, groups: int, shape: tuple[int, ...]
) -> FanOut:
    """For a Conv on `shape` (C, H, W): walks all outputs of all kernel places; `there` says which
    of the weights count."""
    nonzero = (there & (weight != 0)).to(torch.int64)
    return FanOut(
        _conv_weights(nonzero, window, groups, shape),
        _conv_weights(there.to(torch.int64), window, groups, shape),
    )


def _conv_weights(present: Tensor, window: Window, groups: int, shape: tuple[int, ...]) -> Tensor:
    n_out, per_group = present.shape[:2]
    # Weights that leave an input channel through (ky, kx), over the outputs of its group.
    leaving = present.reshape(groups, n_out // groups, per_group, *window.kernel).sum(1)
    leaving = leaving.reshape(groups * per_group, *window.kernel)
    out = window.out_size(shape[1:])
    (top, _), (left, _) = window.padding
    weights = torch.zeros(shape, dtype=torch.int64, device=present.device)
    for ky in range(window.kernel[0]):
        for kx in range(window.kernel[1]):
            for oy in range(out[0]):
                y = oy * window.stride[0] + ky * window.dilation[0] - top
                if not 0 <= y < shape[1]:
                    continue
                first = kx * window.dilation[1] - left
                columns = [first + ox * window.stride[1] for ox in range(out[1])]
                inside = [x for x in columns if 0 <= x < shape[2]]
                # Each output column is another x, so this adds to each place once.
                weights[:, y, inside] += leaving[:, ky, kx, None]
    return weights
