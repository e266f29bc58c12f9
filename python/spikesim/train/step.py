"""One step of a population: rule S3 on torch tensors, in the engine's order, with gradients.

Forward, every operation is the rule's, one rounding each. Backward, a threshold test has a
surrogate's derivative, and what a rule says with `where` on spikes is written as a product with
them, which is the same numbers and lets their gradient through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from spikesim.train.surrogate import NEVER, Surrogate, distance, emit, spike

# S8: state smaller than this is zero after its decay.
TINY = 1e-30


@dataclass(frozen=True)
class Rules:
    """The discrete fields of `ops.Neuron` that decide what a step does."""

    fires: str = ">="
    reset: str = "subtract"
    reset_timing: str = "same_step"
    synapse: str = "none"
    spikes: str = "single"
    max_spikes: int | None = None
    refractory: int = 0
    order: str = "A"


RULES = tuple(field.name for field in fields(Rules))


@dataclass(frozen=True)
class State:
    """What a population carries from one step to the next, each (N, *shape).

    Attributes:
        v: membrane.
        i: synaptic current; None without a synapse.
        n: inhibitory current; None but with `synapse="alpha"`.
        a: what was added to the threshold; None without adaptation.
        r: int64, steps of silence left; None without a refractory time.
        since: how many steps before the coming one the last spike was; None unless the surrogate
            is `timed`.
    """

    v: Tensor
    i: Tensor | None = None
    n: Tensor | None = None
    a: Tensor | None = None
    r: Tensor | None = None
    since: Tensor | None = None

    def detach(self) -> State:
        """The same numbers, cut off from the steps that made them."""
        parts: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, part in parts.items():
            parts[name] = None if part is None else part.detach()
        return State(**parts)


@dataclass(frozen=True)
class Fired:
    """The spikes of a step: positive ones, negative ones (None: there can be none), whether any.

    `any` is 0 or 1 and carries the gradient of a reset to a value.
    """

    up: Tensor
    down: Tensor | None
    any: Tensor

    @property
    def z(self) -> Tensor:
        """The number of spikes, with its sign."""
        return self.up if self.down is None else self.up - self.down

    @property
    def number(self) -> Tensor:
        """|z|."""
        return self.up if self.down is None else self.up + self.down

    def masked(self, silent: Tensor) -> Fired:
        """Nothing where `silent`."""

        def mask(part: Tensor) -> Tensor:
            return torch.where(silent, torch.zeros_like(part), part)

        down = None if self.down is None else mask(self.down)
        return Fired(mask(self.up), down, mask(self.any))

    def detach(self) -> Fired:
        """The same spikes without gradient."""
        down = None if self.down is None else self.down.detach()
        return Fired(self.up.detach(), down, self.any.detach())


def start(rules: Rules, p: Mapping[str, Tensor], x: Tensor) -> State:
    """The state before the first step (S5), of the size and type of the input `x`."""
    v = p["v0"].to(x.dtype).expand_as(x)
    i0 = p.get("i0")
    i = torch.zeros_like(x) if i0 is None else i0.to(x.dtype).expand_as(x)
    return State(
        v=v,
        i=i if rules.synapse != "none" else None,
        n=torch.zeros_like(x) if rules.synapse == "alpha" else None,
        a=torch.zeros_like(x) if "theta_plus" in p else None,
        r=torch.zeros_like(x, dtype=torch.int64) if rules.refractory else None,
    )


def step(
    rules: Rules,
    p: Mapping[str, Tensor],
    state: State,
    x: Tensor,
    surrogate: Surrogate,
    detach_reset: bool,
) -> tuple[Tensor, Tensor, State]:
    """One step.

    Args:
        rules: what the step does.
        p: the float fields that the population has, each to be broadcast against `x`.
        state: what the step before left, or `start`.
        x: the summed input, (N, *shape).
        surrogate: the derivative of a threshold test.
        detach_reset: whether gradients stop at the reset.

    Returns:
        The output, the number of spikes z with its sign, and the new state.
    """
    timing, firing = rules.reset_timing, rules.spikes != "none"
    theta, a = _threshold(p, state.a)
    since = _since(state) if surrogate.timed and firing else None
    detach_reset = detach_reset or surrogate.timed

    # What the step before left above the threshold (S3.17 to S3.20).
    rho = None
    if firing and (rules.order == "B" or timing != "same_step"):
        rho = spike(state.v, theta, rules.fires, surrogate, since)
    left = rho.detach() if rho is not None and detach_reset else rho

    v = state.v
    if left is not None and timing == "next_step_before":
        v = _reset_once(rules, p, v, left, theta)
    i, n, current = _synapse(rules, p, state, x)
    v_leak = p["v_leak"]
    h = (v_leak + flush(p["alpha_mem"] * (v - v_leak))) + p["gain"] * current
    if left is not None and timing == "next_step_after" and n is not None:
        h, i, n = _reset_alpha(rules, p, (h, i, n), state.n, left, theta)
    elif left is not None and timing == "next_step_after":
        h = _reset_once(rules, p, h, left, theta)
    if left is not None and timing == "same_step_guarded":
        h = h - left * theta

    if not firing:
        v = _clamped(p, h)
        return v, torch.zeros_like(v), State(v, i, n, a, state.r)
    if rules.order == "B":
        assert rho is not None
        fired = Fired(rho, None, rho)
    else:
        fired = _fire(rules, p, h, theta, surrogate, since)

    r = state.r
    if r is not None:
        silent = r > 0
        h = torch.where(silent, state.v, h)
        fired = fired.masked(silent)
        r = torch.where(silent, r - 1, r)
        r = torch.where(fired.any != 0, torch.full_like(r, rules.refractory), r)
    v = _clamped(p, _after(rules, p, h, fired.detach() if detach_reset else fired, left, theta))
    if a is not None:
        a = a + p["theta_plus"] * fired.number
    if since is not None:
        since = torch.where(fired.any != 0, torch.ones_like(since), since + 1)
    z = fired.z
    out = z * p["spike_amplitude"] if "spike_amplitude" in p else z
    return out, z, State(v, i, n, a, r, since)


def _since(state: State) -> Tensor:
    """How long ago the last spike was. Nothing of the forward pass depends on it: a state that
    another surrogate left, or `start`, needs none."""
    if state.since is None:
        return torch.full_like(state.v, NEVER, requires_grad=False)
    return state.since


def flush(y: Tensor) -> Tensor:
    """S8.1. An exact zero (a membrane just reset) needs no flush, and must pass its gradient."""
    tiny = (y.abs() < TINY) & (y != 0)
    return torch.where(tiny, torch.zeros_like(y), y)


def _threshold(p: Mapping[str, Tensor], a: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The threshold in force and what of it is adaptation (S3.8)."""
    if a is None:
        return p["v_threshold"], None
    a = flush(p["alpha_theta"] * a)
    return p["v_threshold"] + a, a


def _synapse(
    rules: Rules, p: Mapping[str, Tensor], state: State, x: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor]:
    """The currents, and what of them enters the membrane (S3.2 to S3.4, S3.26)."""
    if state.i is None:
        return None, None, x
    arrived = p["w_in"] * x
    if rules.synapse == "decay_after":
        i = flush(p["alpha_syn"] * (state.i + arrived))
        return i, None, i
    i = flush(p["alpha_syn"] * state.i) + arrived
    if state.n is None:
        return i, None, i
    n = flush(p["alpha_inh"] * state.n) - arrived
    return i, n, i + n


def _reset_alpha(
    rules: Rules,
    p: Mapping[str, Tensor],
    new: tuple[Tensor, Any, Tensor],
    n_old: Any,
    spikes: Tensor,
    theta: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The reset of the membrane and both currents, where there was a spike (S3.26)."""
    h, i, n = new
    if rules.reset == "none":
        return h, i, n
    kept = 1 - spikes
    if rules.reset == "to_value":
        return _to_value(p, h, spikes), kept * i, kept * n
    return h + spikes * n_old, i - spikes * theta, kept * n


def _clamped(p: Mapping[str, Tensor], v: Tensor) -> Tensor:
    """S3.21."""
    return torch.maximum(v, p["v_min"].expand_as(v)) if "v_min" in p else v


def _fire(
    rules: Rules,
    p: Mapping[str, Tensor],
    h: Tensor,
    theta: Tensor,
    surrogate: Surrogate,
    since: Tensor | None,
) -> Fired:
    """The spikes of the membrane `h` (S3.9 to S3.11).

    Several spikes in a step are a staircase: its derivative is the surrogate's around the step
    that is nearest.
    """
    if rules.spikes == "multi":
        most = None if rules.max_spikes is None else float(rules.max_spikes)
        with torch.no_grad():
            stairs = h / theta
            count = torch.where(h > 0, torch.floor(stairs), torch.zeros_like(h))
            count = count if most is None else count.clamp(max=most)
            nearest = torch.round(stairs).clamp(min=1.0, max=most)
        up = emit(distance(h, theta, surrogate, nearest), count, surrogate, since)
        some = emit(distance(h, theta, surrogate), count != 0, surrogate, since)
        return Fired(up, None, some)
    up = spike(h, theta, rules.fires, surrogate, since)
    if rules.spikes != "signed":
        return Fired(up, None, up)
    low = p["v_threshold_neg"]
    below = (h <= low) if rules.fires == ">=" else (h < low)
    # Past a negative threshold h falls: in thresholds that is a rise, as a difference it is turned.
    past = distance(h, low, surrogate) if surrogate.relative else low - h
    down = emit(past, below & (up == 0), surrogate, since)
    return Fired(up, down, up + down)


def _reset_once(
    rules: Rules, p: Mapping[str, Tensor], u: Tensor, spikes: Tensor, theta: Tensor
) -> Tensor:
    """The reset of one positive spike where there is one."""
    if rules.reset == "subtract":
        return u - spikes * theta
    return _to_value(p, u, spikes) if rules.reset == "to_value" else u


def _to_value(p: Mapping[str, Tensor], u: Tensor, spikes: Tensor) -> Tensor:
    # Exact for spikes of 0 or 1, and differentiable in them.
    return (1 - spikes) * u + spikes * p["v_reset"]


def _after(
    rules: Rules,
    p: Mapping[str, Tensor],
    h: Tensor,
    fired: Fired,
    left: Tensor | None,
    theta: Tensor,
) -> Tensor:
    """The membrane after the reset of this step (S3.13 to S3.19)."""
    if rules.reset == "none" or rules.reset_timing in ("next_step_before", "next_step_after"):
        return h
    if rules.reset_timing == "same_step_guarded":
        assert left is not None
        return h - (fired.up - left) * theta
    if rules.reset == "to_value":
        return _to_value(p, h, fired.any)
    v = h - fired.up * theta
    return v if fired.down is None else v - fired.down * p["v_threshold_neg"]
