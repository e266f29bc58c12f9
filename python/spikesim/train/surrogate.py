"""Surrogate gradients: what stands for the derivative of the step function when training.

Forward, a spike is the threshold test itself. Backward, the test's derivative (zero almost
everywhere) is replaced by f'(x) of x = v - v_threshold. All of these but FastSigmoid integrate
to 1.

Two come from hybrid conversion (Rathi et al., ICLR 2020) and see the membrane in thresholds,
x = v/v_threshold - 1: RelativeLinear, and STDB, whose value is told by the time since the neuron's
last spike alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from spikesim.errors import InputError, UnsupportedError

#: How many steps before the first one a neuron's last spike is taken to have been (STDB).
NEVER = 1000.0


class Surrogate:
    """The derivative used in place of the step function's."""

    #: Whether x is v/v_threshold - 1, the chain rule seeing to the factor 1/v_threshold, or
    #: v - v_threshold.
    relative: ClassVar[bool] = False
    #: Whether `slope` asks for the time since the last spike. A step then keeps count of it, and
    #: resets have no gradient.
    timed: ClassVar[bool] = False

    def derivative(self, x: Tensor) -> Tensor:
        """f'(x), x = v - v_threshold; the shape and dtype of `x`."""
        raise NotImplementedError

    def slope(self, x: Tensor, since: Tensor | None) -> Tensor:
        """The derivative at `x`, where the last spike was `since` steps ago; None: not counted."""
        return self.derivative(x)


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


@dataclass(frozen=True)
class RelativeLinear(Surrogate):
    """alpha·max(0, 1 - |x|) of x = v/v_threshold - 1; its integral over x is alpha.

    The other surrogate of hybrid conversion's authors, for where STDB does not settle.
    """

    alpha: float = 0.3
    relative: ClassVar[bool] = True

    def derivative(self, x: Tensor) -> Tensor:
        return self.alpha * (1 - x.abs()).clamp(min=0.0)


@dataclass(frozen=True)
class STDB(Surrogate):
    """alpha·e^(-beta·Δt), the same at every x: spike-timing-dependent (Rathi et al., ICLR 2020).

    It is the derivative of a spike with respect to x = v/v_threshold - 1, so that with respect to
    v there is a factor 1/v_threshold.

    Δt is the number of steps from the neuron's last spike to the step whose spike is in question:
    1 if it fired in the step before, 2 in the one before that. A spike of the step itself does
    not count: its threshold test comes first. Where there was none the last is taken to have been
    1000 steps before the first step, which leaves a silent neuron alpha·e^(-1000·beta): all but
    nothing, and no zero. It is the same in both orders of a step. (In order B the authors write
    Δt = (t - 1) - t_last and note t - 1, the step whose membrane it was, as the time of the spike
    that leaves in step t.)

    A reset subtracts by the spike that there was, and has no gradient.

    Args:
        alpha: the slope at Δt = 0, above 0.
        beta: what of it a step takes away, at least 0.

    Raises:
        InputError: another `alpha` or `beta`.

    Example:
        >>> import torch, spikesim as ss
        >>> cell = ss.train.IF(2.0, surrogate=ss.train.STDB(alpha=0.5, beta=0.0), step_mode="m")
        >>> x = torch.ones(3, 1, 1, requires_grad=True)
        >>> cell(x)[-1].sum().backward()
        >>> x.grad.ravel().tolist()  # alpha/θ: the last spike's membrane holds all three inputs
        [0.25, 0.25, 0.25]
    """

    alpha: float = 0.3
    beta: float = 0.01
    relative: ClassVar[bool] = True
    timed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise InputError(f"STDB: alpha is {self.alpha!r}, expected a number above 0")
        if not 0 <= self.beta < math.inf:
            raise InputError(f"STDB: beta is {self.beta!r}, expected a number of at least 0")

    def derivative(self, x: Tensor) -> Tensor:
        """The slope of a neuron that has not fired yet, in the first step."""
        return self.slope(x, None)

    def slope(self, x: Tensor, since: Tensor | None) -> Tensor:
        """alpha·e^(-beta·since); the shape and dtype of `x`."""
        since = torch.full_like(x, NEVER) if since is None else since
        # e^(-beta·Δt), and not (e^-Δt)^beta: that underflows in float32 from Δt = 104 on.
        return self.alpha * torch.exp(-self.beta * since)


SURROGATES: dict[str, type[Surrogate]] = {
    "rectangular": Rectangular,
    "triangular": Triangular,
    "sigmoid": Sigmoid,
    "gaussian": Gaussian,
    "fast_sigmoid": FastSigmoid,
    "atan": ATan,
    "relative_linear": RelativeLinear,
    "stdb": STDB,
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
    def forward(
        ctx: Any, x: Tensor, fired: Tensor, surrogate: Surrogate, since: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, since)
        ctx.surrogate = surrogate
        return fired.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, since = ctx.saved_tensors
        return grads[0] * ctx.surrogate.slope(x, since), None, None, None


def distance(v: Tensor, step: Tensor, surrogate: Surrogate, number: Tensor | float = 1.0) -> Tensor:
    """x, how far `v` is past `number` thresholds `step`, as the surrogate measures it."""
    return v / step - number if surrogate.relative else v - number * step


def emit(x: Tensor, spikes: Tensor, surrogate: Surrogate, since: Tensor | None = None) -> Tensor:
    """`spikes` as numbers, with the surrogate's derivative at the distance `x`.

    `since`, how many steps ago the last spike was, is for a surrogate that is `timed`.
    """
    apply: Any = _Spike.apply
    out: Tensor = apply(x, spikes, surrogate, since)
    return out


def spike(
    v: Tensor,
    v_threshold: Tensor,
    fires: str,
    surrogate: Surrogate,
    since: Tensor | None = None,
) -> Tensor:
    """1 where `v` fires (`>=` or `>` the threshold), else 0, with the surrogate's gradient."""
    fired = v >= v_threshold if fires == ">=" else v > v_threshold
    return emit(distance(v, v_threshold, surrogate), fired, surrogate, since)
