"""Weights and biases that make a network fire at a given rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from spikesim.errors import InputError, UnsupportedError

# Standard deviation over neurons and samples of the input current, averaged over the steps, in
# thresholds. With it rates spread as in trained networks: at 0.1 over four steps about a quarter
# of the neurons fire at all, and less than one in a hundred at every step.
SPREAD = 1.0

# Weights and biases are rounded to this grid, so that sums of them are exact in any order and
# every engine fires the same spikes.
GRID = 2.0**-12

# Bits of the initial weights, and grid of the noise on biases: coarse enough for exact sums, so
# that no machine's order of summation or rounding reaches the statistics.
BITS = 12
NOISE_GRID = 2.0**-8

STATELESS = (
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Dropout,
    nn.Identity,
)


@torch.no_grad()
def calibrate_rate(
    module: nn.Sequential, x: Tensor, rate: float, n_steps: int = 4, *, seed: int = 0
) -> dict[str, float]:
    """Sets weights and biases, layer by layer, so that each neuron layer fires at `rate`.

    Every output channel's weights are scaled so that its current has the same spread, its bias
    takes the mean away, and one offset a layer brings the rate; seeded noise on the biases keeps
    neurons apart. All land on the grid k/4096 (with a BatchNorm in between the BatchNorm is set
    instead, off any grid). The last layer, without neurons, is scaled to unit currents.

    Args:
        module: Linear, Conv2d, BatchNorm, pools, Flatten and neurons (threshold 1, reset by
            subtraction, no leak), one after the other.
        x: constant input current (N, ...).
        rate: spikes a neuron and step, in (0, 1).
        n_steps: T.
        seed: of the noise on the biases.

    Returns:
        The rate that each neuron layer has on `x`, by its name.

    Raises:
        UnsupportedError: another layer, or neurons that behave otherwise.
        InputError: a rate that cannot be had.
    """
    if not 0 < rate < 1:
        raise InputError(f"calibrate_rate: rate is {rate}, expected more than 0 and less than 1")
    if n_steps < 1:
        raise InputError(f"calibrate_rate: n_steps is {n_steps}, expected at least 1")
    generator = torch.Generator().manual_seed(seed)
    rates: dict[str, float] = {}
    # What the layer at hand receives: (1 or T, N, ...); one step stands for a constant input.
    signal = x.unsqueeze(0)
    current: Tensor | None = None
    weighted: list[Any] = []
    for name, layer in module.named_children():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.BatchNorm1d | nn.BatchNorm2d):
            _check_pair(name, layer, weighted)
            weighted.append(layer)
            if isinstance(layer, nn.Linear | nn.Conv2d):
                _prepare(layer)
                current = _per_step(layer, signal)
        elif isinstance(layer, STATELESS):
            if weighted:
                raise UnsupportedError(
                    f"{name}: {type(layer).__name__} stands between weights and neurons, expected "
                    "it after the neurons"
                )
            signal = _per_step(layer, signal)
        else:
            if current is None:
                raise UnsupportedError(
                    f"{name}: {type(layer).__name__} has no weights before it, expected Linear or "
                    "Conv2d; only those are calibrated"
                )
            _check_neuron(name, layer)
            _normalise(weighted, current, generator)
            current = _per_step(weighted[0], signal)
            if len(weighted) == 2:
                current = _per_step(weighted[1], current)
            signal, offset = _fire_at(current, rate, n_steps)
            weighted[-1].bias.add_(offset)
            rates[name] = _mean(signal)
            current, weighted = None, []
    if weighted and current is not None:
        scale = float(current.double().std().clamp(min=1e-6))
        weighted[0].weight.div_(scale)
        _to_grid(weighted[0])
    return rates


def _check_pair(name: str, layer: Any, weighted: list[Any]) -> None:
    norm = isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    if (norm and (len(weighted) != 1 or not layer.affine)) or (not norm and weighted):
        raise UnsupportedError(
            f"{name}: {type(layer).__name__} is not followed by neurons, expected weights, at "
            "most one affine BatchNorm, then neurons"
        )
    if not norm and layer.bias is None:
        raise UnsupportedError(f"{name}: {type(layer).__name__} has no bias, expected bias=True")


def _check_neuron(name: str, layer: nn.Module) -> None:
    """Threshold 1, reset by subtraction, no leak: what `_spikes` computes. Found by trying."""
    probe = torch.tensor([[0.3, 0.7, 1.0, 2.5]])
    expected = _spikes(probe.unsqueeze(0), 5)
    mode = getattr(layer, "step_mode", "s")
    try:
        _reset(layer)
        raster = probe.expand(5, 1, 4)
        got = layer(raster) if mode == "m" else torch.stack([layer(step) for step in raster])
        _reset(layer)
    except Exception as error:
        raise UnsupportedError(
            f"{name}: {type(layer).__name__} cannot be run for calibration ({error}), expected "
            "neurons called with their input alone"
        ) from error
    if not isinstance(got, Tensor) or not torch.equal(got, expected):
        raise UnsupportedError(
            f"{name}: {type(layer).__name__} does not fire as IF with threshold 1 and reset by "
            "subtraction, expected such neurons for a calibrated rate"
        )


def _reset(layer: Any) -> None:
    """Clears the state that the probe leaves, whatever the library calls it."""
    for method in ("reset_state", "reset"):
        if callable(getattr(layer, method, None)):
            getattr(layer, method)()
            return


def _per_step(layer: nn.Module, signal: Tensor) -> Tensor:
    out: Tensor = layer(signal.flatten(0, 1))
    return out.reshape(*signal.shape[:2], *out.shape[1:])


def _channels(current: Tensor) -> tuple[int, ...]:
    """The axes of (T, N, C, ...) over which a channel's statistics are taken."""
    return (0, 1, *range(3, current.ndim))


def _prepare(layer: nn.Linear | nn.Conv2d) -> None:
    """Weights of BITS bits, no bias."""
    if layer.bias is not None:
        layer.bias.zero_()
    grid = 2.0 ** (math.frexp(float(layer.weight.abs().max()))[1] - BITS)
    layer.weight.div_(grid).round_().mul_(grid)


def _normalise(weighted: list[Any], current: Tensor, generator: torch.Generator) -> None:
    """Gives every channel the spread SPREAD and a mean that is noise."""
    axes = _channels(current)
    current = current.double()
    mean = current.mean(axes)
    # The spread between neurons, not that between steps, decides who fires.
    variance = current.mean(0, keepdim=True).var(axes, unbiased=False)
    # A dense layer sees few samples a neuron: its neurons share one spread.
    if current.ndim == 3:
        variance = variance.mean().expand_as(variance)
    noise = 0.1 * SPREAD * torch.randn(mean.shape, generator=generator)
    noise.div_(NOISE_GRID).round_().mul_(NOISE_GRID)
    scale = SPREAD / variance.clamp(min=1e-12).sqrt()
    if len(weighted) == 2:
        norm = weighted[1]
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.fill_(SPREAD)
        norm.bias.copy_(noise)
    else:
        layer = weighted[0]
        weight = layer.weight.double() * scale.reshape(-1, *(1 for _ in layer.weight.shape[1:]))
        layer.weight.copy_((weight / GRID).round() * GRID)
        layer.bias.copy_(((noise - mean * scale) / GRID).round() * GRID)


def _to_grid(layer: nn.Linear | nn.Conv2d) -> None:
    layer.weight.div_(GRID).round_().mul_(GRID)
    if layer.bias is not None:
        layer.bias.div_(GRID).round_().mul_(GRID)


def _fire_at(current: Tensor, rate: float, n_steps: int) -> tuple[Tensor, float]:
    """The spikes (T, N, ...) of IF neurons, and the offset on the grid that brings `rate`."""
    low, high = round(-8 * SPREAD / GRID), round(8 * SPREAD / GRID)
    # The rate rises with the offset: bisection.
    while high - low > 1:
        middle = (low + high) // 2
        if _rate(current, middle * GRID, n_steps) < rate:
            low = middle
        else:
            high = middle
    spikes = _spikes(current + high * GRID, n_steps)
    below = _spikes(current + low * GRID, n_steps)
    if abs(_mean(below) - rate) < abs(_mean(spikes) - rate):
        return below, low * GRID
    return spikes, high * GRID


def _rate(current: Tensor, offset: float, n_steps: int) -> float:
    """The mean of `_spikes(current + offset)`, without keeping them."""
    v = torch.zeros_like(current[0])
    fired = torch.empty_like(v)
    count = 0
    for step in range(n_steps):
        # In the order of `_spikes`, so that both round alike where anything is rounded.
        v += (current[step] if current.shape[0] > 1 else current[0]) + offset
        torch.ge(v, 1.0, out=fired)
        v -= fired
        count += int(fired.count_nonzero())
    return count / (v.numel() * n_steps)


def _mean(spikes: Tensor) -> float:
    """The exact mean of (T, N, ...): the spikes of one sample are a whole number in float32."""
    counts = spikes.flatten(2).sum(-1).sum(dtype=torch.float64)
    return float(counts) / spikes.numel()


def _spikes(current: Tensor, n_steps: int) -> Tensor:
    """IF with threshold 1 and reset by subtraction; `current` of one step is constant."""
    v = torch.zeros_like(current[0])
    spikes = []
    for step in range(n_steps):
        v = v + (current[step] if current.shape[0] > 1 else current[0])
        fired = (v >= 1.0).to(v.dtype)
        v = v - fired
        spikes.append(fired)
    return torch.stack(spikes)
