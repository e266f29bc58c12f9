"""Surrogate gradients: what stands for the derivative of the step function when training.

Forward, a spike is the threshold test itself. Backward, the test's derivative (zero almost
everywhere) is replaced by f'(x) of x = v - v_threshold. All but FastSigmoid integrate to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spikesim.errors import UnsupportedError


class Surrogate:
    """The derivative used in place of the step function's."""

    def derivative(self, x: Tensor) -> Tensor:
        """f'(x), x = v - v_threshold; the shape and dtype of `x`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Rectangular(Surrogate):
    """(1/a) where |x| < a/2 (Wu et al. 2018)."""

    a: float = 1.0

    def derivative(self, x: Tensor) -> Tensor:
        return (x.abs() < self.a / 2).to(x.dtype) / self.a


@dataclass(frozen=True)
class Triangular(Surrogate):
    """max(0, sqrt(a)/2 - a·|x|/4), nonzero where |x| < 2/sqrt(a)."""

    a: float = 1.0

    def derivative(self, x: Tensor) -> Tensor:
        return (math.sqrt(self.a) / 2 - self.a * x.abs() / 4).clamp(min=0.0)


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """The logistic density of scale a: (1/a)·e^(-x/a) / (1 + e^(-x/a))^2."""

    a: float = 0.25

    def derivative(self, x: Tensor) -> Tensor:
        s = torch.sigmoid(x / self.a)
        return s * (1 - s) / self.a


@dataclass(frozen=True)
class Gaussian(Surrogate):
    """The normal density of variance a."""

    a: float = 0.25

    def derivative(self, x: Tensor) -> Tensor:
        return torch.exp(-(x * x) / (2 * self.a)) / math.sqrt(2 * math.pi * self.a)


@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    """beta / (1 + |beta·x|)^2 (SuperSpike, Zenke and Ganguli 2018); its integral is 2."""

    beta: float = 1.0

    def derivative(self, x: Tensor) -> Tensor:
        return self.beta / (1 + (self.beta * x).abs()) ** 2


@dataclass(frozen=True)
class ATan(Surrogate):
    """(alpha/2) / (1 + (pi/2·alpha·x)^2) (Fang et al. 2021)."""

    alpha: float = 2.0

    def derivative(self, x: Tensor) -> Tensor:
        return (self.alpha / 2) / (1 + (math.pi / 2 * self.alpha * x) ** 2)


SURROGATES: dict[str, type[Surrogate]] = {
    "rectangular": Rectangular,
    "triangular": Triangular,
    "sigmoid": Sigmoid,
    "gaussian": Gaussian,
    "fast_sigmoid": FastSigmoid,
    "atan": ATan,
}


def named(surrogate: str | Surrogate) -> Surrogate:
    """The surrogate of that name with its default width, or `surrogate` itself.

    Raises:
        UnsupportedError: there is none of that name.
    """
    if isinstance(surrogate, Surrogate):
        return surrogate
    if surrogate not in SURROGATES:
        choices = ", ".join(SURROGATES)
        raise UnsupportedError(f"surrogate: {surrogate!r} is not known, expected one of {choices}")
    return SURROGATES[surrogate]()


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, fired: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(x)
        ctx.surrogate = surrogate
        return fired.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate.derivative(x), None, None


def emit(distance: Tensor, spikes: Tensor, surrogate: Surrogate) -> Tensor:
    """`spikes` as numbers, with the surrogate's derivative at `distance` from the threshold."""
    apply: Any = _Spike.apply
    out: Tensor = apply(distance, spikes, surrogate)
    return out


def spike(v: Tensor, v_threshold: Tensor, fires: str, surrogate: Surrogate) -> Tensor:
    """1 where `v` fires (`>=` or `>` the threshold), else 0, with the surrogate's gradient."""
    fired = v >= v_threshold if fires == ">=" else v > v_threshold
    return emit(v - v_threshold, fired, surrogate)
