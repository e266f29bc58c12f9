"""QCFS: the staircase of an integrate-and-fire neuron as the activation of an ANN.

Bu, Fang, Ding, Dai, Yu and Huang, "Optimal ANN-SNN conversion for high-accuracy and
ultra-low-latency spiking neural networks", ICLR 2022. A network that was trained with it becomes
a spiking one whose error is zero in expectation, at any number of steps: threshold θ = λ,
membrane at the start φ·θ, reset by subtraction.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikesim._inputs import whole_number
from spikesim.errors import InputError, UnsupportedError

#: What λ is at least, wherever the training takes it.
SMALLEST = 1e-3

WINDOWS = ("clip_first", "paper")


class QCFS(nn.Module):
    """Quantisation clip-floor-shift: z to one of the L + 1 heights 0, λ/L, …, λ.

    ::

        a = λ · clip(floor(z·L/λ + φ) / L, 0, 1)

    The floor passes gradients as if it were the identity (straight-through)::

                 inside the window   above it   below it
        ∂a/∂z    1                   0          0
        ∂a/∂λ    (a - z) / λ         1          0

    The window on z is ``0 < z < λ`` ("clip_first", as the authors' code has it) or
    ``-φλ/L < z < λ - φλ/L`` ("paper": where the staircase climbs). Forward, both are the same.
    Its ends do not belong to it. The gradients are sums of first order: differentiating them
    again raises.

    λ is trained, also into weight decay where the optimiser is given it. `scale()` is the λ that
    acts: never below 1e-3, and from below it only a gradient that raises λ passes.

    Args:
        L: steps of the staircase, at least 1; 4 for small images and few steps, 8 for large ones.
        phi: shift φ of the floor in [0, 1]; with ½ the expected error of the conversion is zero.
        lam: λ to start from, above 0: 4 or 8, since a λ that starts small may fall to nothing.
        window: where the gradient passes.

    Raises:
        InputError: an `L`, `phi` or `lam` that means nothing.
        UnsupportedError: a window that there is not.

    Example:
        >>> import torch, spikesim as ss
        >>> ss.train.QCFS(L=4, lam=2.0)(torch.tensor([-1.0, 0.3, 0.8, 5.0])).tolist()
        [0.0, 0.5, 1.0, 2.0]
    """

    L: int
    phi: float
    window: str
    lam: nn.Parameter

    def __init__(
        self, L: int = 4, phi: float = 0.5, lam: float = 8.0, window: str = "clip_first"
    ) -> None:
        super().__init__()
        self.L = whole_number("QCFS", "L", L)
        self.phi = _number("phi", phi)
        start = _number("lam", lam)
        if not 0 <= self.phi <= 1:
            raise InputError(f"QCFS: phi is {phi!r}, expected a number from 0 to 1")
        if not 0 < start < math.inf:
            raise InputError(f"QCFS: lam is {lam!r}, expected a finite number above 0")
        if window not in WINDOWS:
            expected = " or ".join(repr(name) for name in WINDOWS)
            raise UnsupportedError(f"QCFS: window is {window!r}, expected {expected}")
        self.window = window
        self.lam = nn.Parameter(torch.tensor(start, dtype=torch.get_default_dtype()))

    def scale(self) -> Tensor:
        """The λ that acts, max(λ, 1e-3); a scalar with a gradient to `lam`."""
        guarded: Tensor = _AtLeast.apply(self.lam, SMALLEST)
        return guarded

    def forward(self, z: Tensor) -> Tensor:
        """The activation of `z`, of the same shape and dtype.

        Args:
            z: pre-activations, any shape, floating.
        """
        out: Tensor = _Staircase.apply(z, self.scale(), self.L, self.phi, self.window)
        return out

    def extra_repr(self) -> str:
        """What matters, for print(module)."""
        return f"L={self.L}, phi={self.phi:g}, lam={self.lam.item():g}, window={self.window!r}"


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise InputError(f"QCFS: {name} is {value!r}, expected a number")
    return float(value)


class _AtLeast(torch.autograd.Function):
    """max(x, least); below it only the gradient passes whose descent raises x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, least: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.least = least
        return x.clamp(min=least)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return torch.where((x >= ctx.least) | (gradient < 0), gradient, 0), None


class _Staircase(torch.autograd.Function):
    """The forward and the straight-through gradients of `QCFS`."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, lam: Tensor, L: int, phi: float, window: str) -> Tensor:
        # In place wherever it can be: large feature maps cost by the pass, not by the operation.
        out = (z / lam).mul_(L).add_(phi).floor_().clamp_(0, L).div_(L).mul_(lam)
        ctx.save_for_backward(z, lam, out)
        # How far the window lies below [0, λ], as a fraction of λ.
        ctx.shift = phi / L if window == "paper" else 0.0
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        z, lam, out = ctx.saved_tensors
        low = -lam * ctx.shift
        high = lam + low
        above = z >= high
        for_z = gradient * ((z > low) & ~above)
        for_lam = None
        if ctx.needs_input_grad[1]:
            # a - z is needed inside the window alone; clamped, an infinite z leaves no NaN.
            inside = (out - torch.clamp(z, low, high)).mul_(for_z).sum() / lam
            for_lam = (inside + gradient.masked_select(above).sum()).to(lam.dtype)
        return for_z, for_lam, None, None, None
