"""Formulas of calibration: thresholds, membranes, biases and weights from what a layer really gets.

Everything here works on plain tensors of one layer. Channels are axis 1 of (N, C, ...). A neuron
integrates in the units of the ANN, fires spikes of height θ at `v ≥ θ`, and is reset by
subtraction; what it says after T steps is its rate `θ·(number of spikes)/T`.

Sources: Li et al., "A Free Lunch From ANN", ICML 2021 (thresholds of least squared error, bias
correction, layer by layer with the spiking input); Bu et al., ICLR 2022 (v(0) = θ/2); the
regression of weights is ridge regression towards the trained ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

CANDIDATES = 20
"""Thresholds that are tried a channel."""

LOWEST = 0.1
"""All candidates lie above this part of the largest activation."""

ROWS = 8192
"""Rows that are multiplied in float32, and added up in float64."""


def along(values: Tensor, like: Tensor) -> Tensor:
    """One value a channel, (C,), against (N, C, ...)."""
    return values.reshape(1, -1, *(1,) * (like.ndim - 2))


def by_channel(x: Tensor) -> Tensor:
    """(N, C, ...) as (C, everything else)."""
    return x.movedim(1, 0).flatten(1)


def quantised(z: Tensor, theta: Tensor, v0: Tensor, n_steps: int, max_spikes: int = 1) -> Tensor:
    """The rate under a constant current z: θ/T·clip(⌊(T·z + v0)/θ⌋, 0, T·max_spikes).

    Args:
        z: (N, C, ...).
        theta: θ, (C,), above 0.
        v0: membrane before the first step, (C,), from 0 to below θ.
        n_steps: T.
        max_spikes: most spikes a step.
    """
    theta, v0 = along(theta, z), along(v0, z)
    count = torch.floor((n_steps * z + v0) / theta)
    return count.clamp(0, n_steps * max_spikes) * (theta / n_steps)


def spikes(drive: Sequence[Tensor], theta: Tensor, v0: Tensor, max_spikes: int = 1) -> list[Tensor]:
    """The number of spikes in each step (S3.9, S3.10 with reset by subtraction).

    Args:
        drive: the current of each step, T tensors (N, C, ...).
        theta: θ, (C,).
        v0: (C,).
        max_spikes: most spikes a step.
    """
    threshold = along(theta, drive[0])
    v = along(v0, drive[0])
    fired = []
    for current in drive:
        v = v + current
        if max_spikes == 1:
            z = (v >= threshold).to(v.dtype)
        else:
            z = torch.floor(v / threshold).clamp(0, max_spikes)
        v = v - z * threshold
        fired.append(z)
    return fired


def rate(drive: Sequence[Tensor], theta: Tensor, v0: Tensor, max_spikes: int = 1) -> Tensor:
    """θ·(number of spikes)/T, (N, C, ...)."""
    fired = spikes(drive, theta, v0, max_spikes)
    return torch.stack(fired).sum(0) * (along(theta, fired[0]) / len(fired))


class Search:
    """The threshold, and v(0) as a part of it, of least squared error against the activation.

    The candidates of a channel are `m/max_spikes·(LOWEST + (1 − LOWEST)·k/CANDIDATES)` for
    k = 1 … CANDIDATES, with m its largest activation, times each of `phis`. Batches are shown one
    by one; errors add up. Of equals, the first is taken: the smallest threshold, the first φ.

    Args:
        largest: m, (C,), above 0.
        phis: candidates of v(0)/θ.
        max_spikes: most spikes a step.

    Example:
        >>> search = Search(torch.tensor([1.0]))
        >>> z = torch.tensor([[0.4]])
        >>> search.show([z, z], z)
        >>> theta, v0 = search.best()
    """

    def __init__(
        self, largest: Tensor, phis: Sequence[float] = (0.5,), max_spikes: int = 1
    ) -> None:
        parts = LOWEST + (1 - LOWEST) * torch.arange(1, CANDIDATES + 1) / CANDIDATES
        self.thetas = parts[:, None] * largest / max_spikes
        self.phis = tuple(phis)
        self.max_spikes = max_spikes
        self.errors = torch.zeros(len(self.phis), *self.thetas.shape, dtype=torch.float64)

    def show(self, drive: Sequence[Tensor], activation: Tensor) -> None:
        """Adds a batch: the current of each step, and what the ANN says, each (N, C, ...)."""
        for i, phi in enumerate(self.phis):
            for k, theta in enumerate(self.thetas):
                off = rate(drive, theta, phi * theta, self.max_spikes) - activation
                self.errors[i, k] += by_channel(off).square().sum(1, dtype=torch.float64)

    def show_constant(self, z: Tensor, activation: Tensor, n_steps: int) -> None:
        """The same for a current that does not change: no steps are needed."""
        for i, phi in enumerate(self.phis):
            for k, theta in enumerate(self.thetas):
                off = quantised(z, theta, phi * theta, n_steps, self.max_spikes) - activation
                self.errors[i, k] += by_channel(off).square().sum(1, dtype=torch.float64)

    def best(self) -> tuple[Tensor, Tensor]:
        """θ and v(0), each (C,)."""
        channels = self.thetas.shape[1]
        winner = self.errors.reshape(-1, channels).argmin(0)
        theta = self.thetas[winner % len(self.thetas), torch.arange(channels)]
        return theta, theta * torch.tensor(self.phis)[winner // len(self.thetas)]


def bias_correction(said: Tensor, wanted: Tensor) -> Tensor:
    """The mean of `wanted − said` a channel, (C,), float64: what a bias is to be raised by."""
    return by_channel(wanted).mean(1, dtype=torch.float64) - by_channel(said).mean(
        1, dtype=torch.float64
    )


def unfolded(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
) -> Tensor:
    """The patches that a convolution multiplies its weights with.

    Args:
        x: padded input (N, C, H, W).
        kernel_size: of the convolution, (rows, columns), as are stride and dilation.
        stride: of it.
        dilation: of it.
        groups: of it.

    Returns:
        (groups, N·places, C/groups·kernel), in the order of `weight.flatten(1)`.
    """
    patches = functional.unfold(
        x, tuple(kernel_size), dilation=tuple(dilation), stride=tuple(stride)
    )
    n, width, places = patches.shape
    parts = patches.reshape(n, groups, width // groups, places)
    return parts.permute(1, 0, 3, 2).reshape(groups, n * places, width // groups)


def refit(
    inputs: Tensor,
    wanted: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    ridge: float = 0.1,
    rectified: bool = True,
    rounds: int = 2,
) -> tuple[Tensor, Tensor]:
    """Weights with which spiking inputs give what the ANN's inputs gave.

    Minimises `Σ|W·x + b − t|² + ridge·s·|W − W₀|²` with `s` the mean over inputs of `Σx²`; the
    bias is free. Before a ReLU only what is above 0 has to be met: where the wanted value z is
    at most 0 the target is `t = min(W·x + b, 0)` with the weights of the round before, else
    `t = z`.

    Args:
        inputs: x, mean spiking input a row, (R, D).
        wanted: z, what the ANN's layer gave, (R, K).
        weight: W₀, (K, D).
        bias: b₀, (K,).
        ridge: how much the trained weights count; large values keep them.
        rectified: whether nothing but a ReLU follows.
        rounds: of target and fit, if rectified.

    Returns:
        Weight and bias, float64.
    """
    rows, width = inputs.shape
    x = torch.cat([inputs, inputs.new_ones(rows, 1)], 1)
    start = torch.cat([weight.double(), bias.double()[:, None]], 1)
    gram = torch.zeros(width + 1, width + 1, dtype=torch.float64)
    for part in torch.split(x, ROWS):
        gram += (part.T @ part).double()
    penalty = torch.zeros(width + 1, dtype=torch.float64)
    penalty[:-1] = ridge * gram.diagonal()[:-1].mean()
    # An input that never comes keeps its weight.
    scale = float(gram.diagonal().mean())
    system = gram + torch.diag(penalty + 1e-9 * scale)
    now = start
    for _ in range(rounds if rectified else 1):
        moment = torch.zeros(width + 1, len(weight), dtype=torch.float64)
        for part, target in zip(torch.split(x, ROWS), torch.split(wanted, ROWS), strict=True):
            goal = target
            if rectified:
                goal = torch.where(target > 0, target, (part @ now.T.to(part.dtype)).clamp(max=0))
            moment += (part.T @ (goal - part @ start.T.to(part.dtype))).double()
        now = start + torch.linalg.solve(system, moment).T
    return now[:, :-1], now[:, -1]
