"""How near to its threshold a membrane was: whether rounding explains that two sides part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.conformance.trace import Array, Trace, Wide, spread
from spikesim.ops import Neuron

#: How far membranes may be apart where sums are rounded: |Δv| ≤ BAR·(1 + max|v|).
BAR = 2e-5


@dataclass
class Decisions:
    """Of one population in one run, (T, N, *shape), float64."""

    h: Wide
    """The membrane that meets the threshold (S3)."""

    theta: Wide
    """The threshold in force."""

    distance: Wide
    """How far the membrane was from where our number of spikes would become theirs."""

    bound: Wide
    """What counts as rounding: BAR·(1 + the largest of |h| and |x| so far, of this neuron)."""


def bar(values: Any) -> float:
    """The bar for values of this size."""
    return BAR * (1 + float(np.abs(values).max(initial=0.0)))


def bars(*values: Any) -> Wide:
    """The bar of every neuron at every step, by the largest that its own values were so far."""
    largest = np.maximum.reduce([np.abs(np.asarray(v, np.float64)) for v in values])
    return BAR * (1 + np.maximum.accumulate(largest, axis=0))


def decisions(op: Neuron, current: Array, v: Array, z: Array, z_theirs: Array) -> Decisions:
    """Works out, in double precision, every membrane that met the threshold in a run.

    Each step starts from the recorded membrane of the step before; what is not recorded
    (synaptic current, adaptation, refractory steps) is followed from the recorded input and
    spikes.

    Args:
        op: The population.
        current: Its input, (T, N, *shape).
        v: Its membrane at the end of each step.
        z: Its spikes.
        z_theirs: The spikes of the other side.
    """
    run = _Run(op, current.shape[2:], current.shape[1])
    h, theta, distance = (np.empty(current.shape, np.float64) for _ in range(3))
    for t in range(len(current)):
        before = v[t - 1] if t else np.broadcast_to(run.of("v0"), current.shape[1:])
        before = before.astype(np.float64)
        h[t], theta[t], distance[t] = run.step(before, current[t], z[t], z_theirs[t])
    return Decisions(h, theta, distance, bars(h, current))


def proved(op: Neuron, met: Decisions, name: str, ours: Trace, theirs: Trace) -> NDArray[np.bool_]:
    """Where another number of spikes can't come of rounding, however near the threshold is.

    Either the membrane is the threshold, bit for bit, after a history in which nothing that theirs
    shows of this neuron differs in a bit; or theirs shows the membrane that it tested, and our
    rule decides otherwise about that very number.

    Args:
        op: The population.
        met: Its decisions in our run.
        name: What the traces call it.
        ours: What the engine did.
        theirs: What the other side did.

    Returns:
        (T, N, *shape).
    """
    tie: NDArray[np.bool_] = met.distance == 0
    v, z = theirs.v.get(name), theirs.spikes[name]
    if name in theirs.current:
        differs = theirs.current[name] != ours.current[name]
        tie &= ~np.logical_or.accumulate(differs, axis=0)
    if v is None:
        return tie
    before = np.logical_or.accumulate(v != ours.v[name], axis=0)
    tie[1:] &= ~before[:-1]
    if op.order == "B":
        return tie
    # A membrane that was not reset in its step is the one that was tested.
    late = op.reset == "none" or op.reset_timing.startswith("next_step")
    tested = (z == 0) | late
    tie &= ~tested | (v == met.h)
    if op.spikes != "single" or op.theta_plus is not None:
        return tie
    theta = met.theta.astype(np.float32)
    fires = v >= theta if op.fires == ">=" else v > theta
    tie |= tested & np.isfinite(met.distance) & (fires != (z != 0))
    return tie


class _Run:
    """What of a population's state is not recorded, step by step."""

    def __init__(self, op: Neuron, shape: tuple[int, ...], samples: int) -> None:
        self.op = op
        self.shape = shape
        size = (samples, *shape)
        self.i = np.broadcast_to(self.of("i0"), size).astype(np.float64)
        self.n = np.zeros(size)
        self.a = np.zeros(size)
        self.r = np.zeros(size, np.int64)

    def of(self, name: str) -> Wide:
        """A parameter for every neuron."""
        return spread(getattr(self.op, name), self.shape)

    def step(self, before: Wide, x: Array, z: Array, z_theirs: Array) -> tuple[Wide, Wide, Wide]:
        """Membrane, threshold and distance of one step."""
        op = self.op
        if op.theta_plus is not None:
            self.a = self.of("alpha_theta") * self.a
        theta = self.of("v_threshold") + self.a
        held = before >= theta if op.fires == ">=" else before > theta
        late = op.reset_timing
        v = before
        if late == "next_step_before":
            v = np.where(held, self._reset(v, theta), v)
        n_before = self.n
        h = self._integrated(v, x)
        if op.synapse == "alpha":
            h = self._reset_alpha(held, h, n_before, theta)
        elif late in ("next_step_after", "same_step_guarded"):
            h = np.where(held, self._reset(h, theta), h)
        if op.order == "B":
            h = before
        distance = self._distance(h, theta, z, z_theirs)
        if late == "same_step_guarded":
            # Its first test is of the membrane of the step before, and moves the second.
            distance = np.minimum(distance, np.abs(before - theta))
        silent = self.r > 0
        self.r = np.where(silent, self.r - 1, self.r)
        self.r = np.where(z != 0, op.refractory, self.r)
        if op.theta_plus is not None:
            self.a = self.a + self.of("theta_plus") * np.abs(z)
        return h, theta, np.where(silent, np.inf, distance)

    def _reset(self, v: Wide, theta: Wide) -> Wide:
        if self.op.reset == "subtract":
            return v - theta
        return np.broadcast_to(self.of("v_reset"), v.shape) if self.op.reset == "to_value" else v

    def _reset_alpha(self, held: Any, h: Wide, n_before: Wide, theta: Wide) -> Wide:
        """S3.26: the late reset of the membrane and both currents."""
        if self.op.reset == "none":
            return h
        self.n = np.where(held, 0.0, self.n)
        if self.op.reset == "to_value":
            self.i = np.where(held, 0.0, self.i)
            return np.where(held, self.of("v_reset"), h)
        self.i = np.where(held, self.i - theta, self.i)
        return np.where(held, h + n_before, h)

    def _integrated(self, v: Wide, x: Array) -> Wide:
        drive: Wide = x.astype(np.float64)
        if self.op.synapse != "none":
            alpha, w_in = self.of("alpha_syn"), self.of("w_in")
            if self.op.synapse == "decay_after":
                self.i = alpha * (self.i + w_in * drive)
            else:
                self.i = alpha * self.i + w_in * drive
            if self.op.synapse == "alpha":
                self.n = self.of("alpha_inh") * self.n - w_in * drive
            drive = self.i + self.n
        leak = self.of("v_leak")
        return leak + self.of("alpha_mem") * (v - leak) + self.of("gain") * drive

    def _distance(self, h: Wide, theta: Wide, z: Array, z_theirs: Array) -> Wide:
        """To the farthest of the bounds between the two numbers of spikes."""
        low, high = np.minimum(z, z_theirs), np.maximum(z, z_theirs)
        found = np.zeros(h.shape)
        if self.op.spikes == "multi":
            # Where they are the same, to the next.
            nearest = np.maximum(np.where(low == high, np.round(h / theta), low + 1), 1)
            found = np.abs(h - nearest * theta)
            return np.where(high > low, np.maximum(found, np.abs(h - high * theta)), found)
        if self.op.spikes == "signed":
            below = np.abs(h - self.of("v_threshold_neg"))
            found = np.where(low < 0, below, found)
        above = np.abs(h - theta)
        found = np.where((high > 0) | (low == high), np.maximum(found, above), found)
        return np.where((high > 1) | (low < -1), np.inf, found)
