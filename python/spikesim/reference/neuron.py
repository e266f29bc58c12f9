"""One step of a population: rule S3, line by line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim import ops

# float32(1e-30): below it a decayed value is nothing (S8.1).
TINY = np.float32(1e-30)


@dataclass
class State:
    """State of a population, each (N, *shape); S5 says what it starts with."""

    v: Tensor
    i: Tensor
    n: Tensor
    a: Tensor
    r: Tensor  # int64: steps of silence left


def flush(y: Tensor) -> Tensor:
    """S8.1."""
    tiny = torch.tensor(TINY, device=y.device)
    return torch.where(y.abs() < tiny, torch.zeros_like(y), y)


class Population:
    """A neuron node with its parameters spread over `shape`."""

    def __init__(self, op: ops.Neuron, shape: tuple[int, ...], device: torch.device) -> None:
        self.op = op
        self.shape = shape
        self.device = device
        self.v_threshold = self._parameter(op.v_threshold)
        self.v_reset = self._parameter(op.v_reset)
        self.v_leak = self._parameter(op.v_leak)
        self.alpha_mem = self._parameter(op.alpha_mem)
        self.gain = self._parameter(op.gain)
        self.alpha_syn = self._optional(op.alpha_syn)
        self.w_in = self._optional(op.w_in)
        self.alpha_inh = self._optional(op.alpha_inh)
        self.v_threshold_neg = self._optional(op.v_threshold_neg)
        self.v_min = self._optional(op.v_min)
        self.spike_amplitude = self._parameter(op.spike_amplitude)
        self.theta_plus = self._optional(op.theta_plus)
        self.alpha_theta = self._optional(op.alpha_theta)
        self.v0 = self._parameter(op.v0)
        self.i0 = self._parameter(op.i0)

    @property
    def spikes(self) -> bool:
        """Whether it can fire at all."""
        return self.op.spikes != "none"

    def _parameter(self, value: NDArray[np.float32] | float) -> Tensor:
        """S3.1: one number, one a channel (first axis), or one a neuron."""
        array = np.asarray(value, dtype=np.float32)
        if array.size == 1:
            array = array.reshape(())
        elif array.shape != self.shape:
            array = array.reshape((self.shape[0],) + (1,) * (len(self.shape) - 1))
        spread = np.array(np.broadcast_to(array, self.shape))
        return torch.from_numpy(spread).to(self.device)

    def _optional(self, value: NDArray[np.float32] | float | None) -> Tensor | None:
        return None if value is None else self._parameter(value)

    def start(self, n: int) -> State:
        """S5.1, S5.2."""
        size = (n, *self.shape)
        return State(
            v=self.v0.expand(size).clone(),
            i=self.i0.expand(size).clone(),
            n=torch.zeros(size, device=self.device),
            a=torch.zeros(size, device=self.device),
            r=torch.zeros(size, dtype=torch.int64, device=self.device),
        )

    def step(self, state: State, x: Tensor) -> tuple[State, Tensor, Tensor]:
        """One step with the summed input `x`. Returns the new state, z and the output."""
        op = self.op
        timing = op.reset_timing
        v_old = state.v

        # Threshold in force (S3.8).
        a = state.a
        theta = self.v_threshold
        if self.theta_plus is not None:
            assert self.alpha_theta is not None
            a = flush(self.alpha_theta * a)
            theta = theta + a
        theta = theta.expand_as(x)

        # What the step before left above the threshold (S3.17 to S3.20).
        rho = torch.zeros_like(x, dtype=torch.bool)
        if self.spikes and (op.order == "B" or timing != "same_step"):
            rho = self._fires(v_old, theta)
        v = v_old
        if timing == "next_step_before":
            v = torch.where(rho, self._reset_once(v, theta), v)

        i, n, current = self._synapse(state, x)

        # Leak and integrate (S3.5).
        h = (self.v_leak + flush(self.alpha_mem * (v - self.v_leak))) + self.gain * current
        if timing == "next_step_after" and op.synapse == "alpha":
            h, i, n = self._reset_alpha(rho, (h, i, n), state.n, theta)
        elif timing == "next_step_after":
            h = torch.where(rho, self._reset_once(h, theta), h)
        if timing == "same_step_guarded":
            h = torch.where(rho, h - theta, h)

        # Threshold (S3.9 to S3.12, S3.20, S3.22).
        if not self.spikes:
            z = torch.zeros_like(h)
        elif op.order == "B":
            z = rho.to(h.dtype)
        else:
            z = self._spikes_of(h, theta)
        silent = state.r > 0
        h = torch.where(silent, v_old, h)
        z = torch.where(silent, torch.zeros_like(z), z)
        r = torch.where(silent, state.r - 1, state.r)

        # Reset (S3.13 to S3.19), clamp (S3.21), what a spike leaves behind (S3.8, S3.22).
        v = self._after_reset(h, z, rho, theta)
        if self.v_min is not None:
            v = torch.maximum(v, self.v_min.expand_as(v))
        if self.theta_plus is not None:
            a = a + self.theta_plus * z.abs()
        r = torch.where(z != 0, torch.full_like(r, int(op.refractory)), r)

        out = z * self.spike_amplitude if self.spikes else v
        return State(v=v, i=i, n=n, a=a, r=r), z, out

    def _synapse(self, state: State, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """S3.2 to S3.4, S3.26: the new currents and what the membrane integrates."""
        op = self.op
        if op.synapse == "none":
            return state.i, state.n, x
        assert self.alpha_syn is not None
        assert self.w_in is not None
        arrived = self.w_in * x
        if op.synapse == "decay_after":
            i = flush(self.alpha_syn * (state.i + arrived))
            return i, state.n, i
        i = flush(self.alpha_syn * state.i) + arrived
        if op.synapse == "decay_first":
            return i, state.n, i
        assert self.alpha_inh is not None
        n = flush(self.alpha_inh * state.n) - arrived
        return i, n, i + n

    def _reset_alpha(
        self, rho: Tensor, new: tuple[Tensor, Tensor, Tensor], n_old: Tensor, theta: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """S3.26: the membrane and both currents, where the step before left a spike."""
        h, i, n = new
        if self.op.reset == "none":
            return new
        after = (h + n_old, i - theta)
        if self.op.reset == "to_value":
            after = (self.v_reset.expand_as(h), torch.zeros_like(i))
        h, i = torch.where(rho, after[0], h), torch.where(rho, after[1], i)
        return h, i, torch.where(rho, torch.zeros_like(n), n)

    def _fires(self, u: Tensor, theta: Tensor) -> Tensor:
        """S3.6, S3.7."""
        return u >= theta if self.op.fires == ">=" else u > theta

    def _reset_once(self, u: Tensor, theta: Tensor) -> Tensor:
        """The reset of one positive spike."""
        if self.op.reset == "subtract":
            return u - theta
        if self.op.reset == "to_value":
            return self.v_reset.expand_as(u)
        return u

    def _spikes_of(self, h: Tensor, theta: Tensor) -> Tensor:
        """z of order A."""
        op = self.op
        if op.spikes == "multi":
            z = torch.where(h > 0, torch.floor(h / theta), torch.zeros_like(h))
            return z if op.max_spikes is None else z.clamp(max=float(op.max_spikes))
        z = self._fires(h, theta).to(h.dtype)
        if op.spikes == "signed":
            assert self.v_threshold_neg is not None
            low = self.v_threshold_neg
            below = h <= low if op.fires == ">=" else h < low
            z = torch.where((z == 0) & below, -torch.ones_like(z), z)
        return z

    def _after_reset(self, h: Tensor, z: Tensor, rho: Tensor, theta: Tensor) -> Tensor:
        """The membrane at the end of the step, before the clamp."""
        op = self.op
        if op.reset_timing in ("next_step_before", "next_step_after") or op.reset == "none":
            return h
        if op.reset_timing == "same_step_guarded":
            return h - (z - rho.to(h.dtype)) * theta
        if op.reset == "to_value":
            return torch.where(z != 0, self.v_reset.expand_as(h), h)
        v = h - z * theta
        if op.spikes == "signed":
            assert self.v_threshold_neg is not None
            v = torch.where(z < 0, h - self.v_threshold_neg, v)
        return v
