"""Diehl and Cook's network with conductances, plainly: rules S12.c of docs/semantics.md.

Float32 throughout, one step after the other, one rule after the other; the engine equals it to the
bit. Nothing here is made fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import InputError

f32 = np.float32
Floats = NDArray[np.float32]

PHI_SHORT, PHI_BOUND = f32(1 / 32), f32(0.25)
PHI_DOUBLINGS = 24
PHI = [f32(1), f32(-1 / 2), f32(1 / 6), f32(-1 / 24), f32(1 / 120), f32(-1 / 720)]
NOTHING = f32(2.0**-20)
FLUSH_EVERY = 16
LEAST_TRACE = 2.0**-24


@dataclass(frozen=True)
class ConductanceParams:
    """Constants of the paper, ms and mV; names as the engine's.

    The threshold of the excitatory neurons stands without theta: -52 mV less an offset of 20 mV,
    which theta's start of 20 mV gives back.
    """

    dt: float = 0.5
    tau_exc: float = 100.0
    v_rest_exc: float = -65.0
    v_reset_exc: float = -65.0
    v_threshold_exc: float = -72.0
    refractory_exc: float = 5.0
    e_inh_exc: float = -100.0
    tau_inh: float = 10.0
    v_rest_inh: float = -60.0
    v_reset_inh: float = -45.0
    v_threshold_inh: float = -40.0
    refractory_inh: float = 2.0
    tau_g_e: float = 1.0
    tau_g_i: float = 2.0
    w_exc: float = 10.4
    w_inh: float = 17.0
    theta_plus: float = 0.05
    tau_theta: float = 1e7
    tau_pre: float = 20.0
    tau_post: float = 20.0
    tau_post_slow: float = 40.0
    eta_pre: float = 1e-4
    eta_post: float = 1e-2
    w_max: float = 1.0
    norm: float = 78.0
    theta_init: float = 20.0

    @staticmethod
    def of(params: Mapping[str, float]) -> ConductanceParams:
        """The paper's, with `params` in place of some of them.

        Raises:
            InputError: a name is unknown.
        """
        known = [f.name for f in fields(ConductanceParams)]
        for name in params:
            if name not in known:
                raise InputError(f"{name}: is unknown, expected one of {', '.join(known)}")
        return ConductanceParams(**params)


def phi(z: Floats) -> Floats:
    """(1 - exp(-z)) / z by S12.c2, to a few units in the last place.

    Args:
        z: arguments >= 0, float32, any shape.
    """
    s = z.astype(f32)
    halved: list[NDArray[np.bool_]] = []
    while len(halved) < PHI_DOUBLINGS and (s > PHI_BOUND).any():
        large = s > PHI_BOUND
        s = np.where(large, s * f32(0.5), s)
        halved.append(large)
    p = np.where(s > PHI_SHORT, _terms(s, 6), _terms(s, 4))
    for large in reversed(halved):
        doubled = p * (f32(1) - (s * f32(0.5)) * p)
        p, s = np.where(large, doubled, p), np.where(large, s * f32(2), s)
    return p


def _terms(z: Floats, n: int) -> Floats:
    p = np.full_like(z, PHI[n - 1])
    for k in range(n - 2, -1, -1):
        p = p * z + PHI[k]
    return p


@dataclass
class _Population:
    """LIF neurons with conductances and a refractory time."""

    n: int
    h: f32
    rest: f32
    reset: f32
    threshold: f32
    e_inh: f32
    keep_e: f32
    keep_i: f32
    refractory: f32
    v: Floats = field(init=False)
    g_e: Floats = field(init=False)
    g_i: Floats = field(init=False)
    wait: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.v = np.full(self.n, self.rest, f32)
        self.g_e, self.g_i, self.wait = (np.zeros(self.n, f32) for _ in range(3))

    def step(self, theta: Floats) -> NDArray[np.bool_]:
        """Integrate one step, fire, reset (S12.c3); who fired."""
        g = (f32(1) + self.g_e) + self.g_i
        drive = (self.rest + self.g_i * self.e_inh) - g * self.v
        moved = self.v + (self.h * phi(self.h * g)) * drive
        self.wait = np.maximum(self.wait - f32(1), f32(0))
        free = self.wait <= 0
        self.v = np.where(free, moved, self.v)
        fired: NDArray[np.bool_] = free & (self.v > self.threshold + theta)
        self.v = np.where(fired, self.reset, self.v)
        self.wait = np.where(fired, self.refractory, self.wait)
        self.g_e = self.g_e * self.keep_e
        self.g_i = self.g_i * self.keep_i
        return fired


class Conductance:
    """The network of S12.c and its learning.

    Args:
        weights: (n_inputs, n) float32.
        theta: (n,) float32, mV.
        params: those of `ConductanceParams` that are not the paper's.

    Example:
        >>> net = Conductance(np.full((4, 2), 0.5, np.float32), np.full(2, 20, np.float32))
        >>> net.run([[0, 1], [], [3]], learn=True).counts
        array([0, 0])
    """

    def __init__(
        self, weights: Floats, theta: Floats, params: Mapping[str, float] | None = None
    ) -> None:
        self.params = p = ConductanceParams.of(params or {})
        self.w = np.array(weights, f32)
        self.theta = np.array(theta, f32)
        self.n_inputs, self.n = self.w.shape
        keep = [f32(np.exp(-p.dt / tau)) for tau in (p.tau_g_e, p.tau_g_i)]
        self.exc = _Population(
            self.n,
            f32(p.dt / p.tau_exc),
            f32(p.v_rest_exc),
            f32(p.v_reset_exc),
            f32(p.v_threshold_exc),
            f32(p.e_inh_exc),
            keep[0],
            keep[1],
            f32(_steps(p.refractory_exc, p.dt)),
        )
        self.inh = _Population(
            self.n,
            f32(p.dt / p.tau_inh),
            f32(p.v_rest_inh),
            f32(p.v_reset_inh),
            f32(p.v_threshold_inh),
            f32(0),
            keep[0],
            f32(0),
            f32(_steps(p.refractory_inh, p.dt)),
        )
        self.last_input = np.full(self.n_inputs, -1)
        self.last_spike = np.full(self.n, -1)
        self.changed = np.ones(self.n, bool)
        self.now = 0

    def _trace(self, last: NDArray[Any], tau: float) -> Floats:
        """S12.c6: 1 at the last spike, and decaying since."""
        value = np.exp(-(self.now - last).astype(float) * self.params.dt / tau).astype(f32)
        return np.where((last >= 0) & (value >= LEAST_TRACE), value, f32(0))

    def normalize(self) -> None:
        """S12.c8."""
        for j in np.flatnonzero(self.changed):
            total = np.add.accumulate(self.w[:, j], dtype=f32)[-1]
            if total > 0:
                self.w[:, j] *= f32(self.params.norm) / total
        self.changed[:] = False

    def step(self, inputs: Sequence[int], learn: bool) -> NDArray[np.bool_]:
        """One step, with the spikes of `inputs` (ascending) at its end; who fired."""
        p = self.params
        if self.now % FLUSH_EVERY == 0:
            for pop in (self.exc, self.inh):
                pop.g_e = np.where(pop.g_e < NOTHING, f32(0), pop.g_e)
                pop.g_i = np.where(pop.g_i < NOTHING, f32(0), pop.g_i)
        silencers = self.inh.step(np.zeros(self.n, f32))
        fired = self.exc.step(self.theta)
        arrives = np.zeros(self.n, f32)
        for i in inputs:
            arrives = arrives + self.w[i]
        self.exc.g_e = self.exc.g_e + arrives
        others = silencers.sum() - silencers
        self.exc.g_i = self.exc.g_i + f32(p.w_inh) * others.astype(f32)
        self.inh.g_e = np.where(fired, self.inh.g_e + f32(p.w_exc), self.inh.g_e)
        if learn:
            self._learn(list(inputs), fired)
        self.now += 1
        return fired

    def _learn(self, inputs: list[int], fired: NDArray[np.bool_]) -> None:
        p, top = self.params, f32(self.params.w_max)
        post = self._trace(self.last_spike, p.tau_post)
        slow = self._trace(self.last_spike, p.tau_post_slow)
        if inputs:
            some = post > 0
            fall = f32(p.eta_pre) * post[some]
            for i in inputs:
                self.w[i, some] = np.clip(self.w[i, some] - fall, f32(0), top)
            self.changed |= some
            self.last_input[inputs] = self.now
        pre = self._trace(self.last_input, p.tau_pre)
        for j in np.flatnonzero(fired):
            some = (pre > 0) & (slow[j] > 0)
            rise = (f32(p.eta_post) * slow[j]) * pre[some]
            self.w[some, j] = np.clip(self.w[some, j] + rise, f32(0), top)
            self.changed[j] |= slow[j] > 0
            self.theta[j] += f32(p.theta_plus)
            self.last_spike[j] = self.now

    def run(self, spikes: Sequence[Sequence[int]], learn: bool) -> Activity:
        """The steps of `spikes`, each the inputs that spike in it, ascending."""
        counts, when = np.zeros(self.n, int), []
        for t, inputs in enumerate(spikes):
            fired = self.step(inputs, learn)
            counts += fired
            when += [(t, int(j)) for j in np.flatnonzero(fired)]
        if learn:
            rate = self.params.dt / self.params.tau_theta
            self.theta *= f32(np.exp(-len(spikes) * rate))
        return Activity(counts, when)


@dataclass
class Activity:
    """Spikes of each neuron, and (step, neuron) of each spike in order."""

    counts: NDArray[Any]
    spikes: list[tuple[int, int]]


def _steps(ms: float, dt: float) -> float:
    return float(np.floor(ms / dt + 0.5))
