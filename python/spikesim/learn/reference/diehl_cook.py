"""The twin of `spikesim.learn.DiehlCook`'s engine: S12 step by step, in NumPy's float32.

Every loop over inputs is in ascending order and every operation is rounded by itself, so that the
engine can be held to it to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import DivergenceError
from spikesim.learn.reference.philox import draws, philox

FloatArray = NDArray[np.float32]
f32 = np.float32

#: What random numbers are for (S12.2).
WEIGHTS, TRAINING, FROZEN = 1, 2, 3


@dataclass
class Presented:
    """What a presentation did."""

    spikes: list[tuple[int, int]] = field(default_factory=list)
    """(step, neuron) of each."""
    input_spikes: int = 0
    synops: int = 0
    weight_updates: int = 0


class ReferenceDiehlCook:
    """A network of a configuration, as `spikesim.learn._settings.configuration` gives it.

    Attributes:
        w: float32 (inputs, neurons).
        theta: float32 (neurons,).
        seen: samples learned from.
        log: every presentation so far, learning or frozen.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.c = dict(config)
        self.seen = 0
        self.log: list[Presented] = []
        n, m = self.c["inputs"], self.c["neurons"]
        words = philox(
            (WEIGHTS << 24, np.arange(n)[:, None], np.arange(-(-m // 4))[None, :], 0),
            self.c["seed"],
        )
        units = np.stack(words, axis=2).reshape(n, -1)[:, :m] >> np.uint64(8)
        self.w = f32(self.c["w_init"]) * (units.astype(f32) * f32(2.0**-24))
        self.theta = np.zeros(m, f32)
        for j in range(m):
            self._normalise(self.w, j)

    # --- samples --------------------------------------------------------------------------------

    def train(self, x: NDArray[Any], factors: FloatArray) -> None:
        """Learns from chances (n, inputs) or rasters (n, steps, inputs), one after the other."""
        for sample, factor in zip(x, factors, strict=True):
            for raster in self._attempts(sample, TRAINING, self.seen):
                done = self._present(raster, self.w, self.theta, factor)
                for j in sorted({j for _, j in done.spikes}):
                    self._normalise(self.w, j)
                self.theta *= f32(self.c["theta_decay"])
            self.seen += 1

    def train_batch(self, x: NDArray[Any], factors: FloatArray) -> None:
        """Learns from one batch (S12.14)."""
        w, theta = self.w.copy(), self.theta.copy()
        touched: set[int] = set()
        presentations = 0
        for k, (sample, factor) in enumerate(zip(x, factors, strict=True)):
            own_w, own_theta = w.copy(), theta.copy()
            for raster in self._attempts(sample, TRAINING, self.seen + k):
                done = self._present(raster, own_w, own_theta, factor)
                touched |= {j for _, j in done.spikes}
                presentations += 1
            self.w = np.clip(self.w + (own_w - w), f32(0), f32(self.c["w_max"]))
            self.theta = self.theta + (own_theta - theta)
        for j in touched:
            self._normalise(self.w, j)
        for _ in range(presentations):
            self.theta *= f32(self.c["theta_decay"])
        self.seen += len(x)

    def respond(self, x: NDArray[Any]) -> list[list[int]]:
        """The neurons that spike for each sample, in time's order; nothing is learned."""
        answers = []
        for sample in x:
            w, theta = self.w.copy(), self.theta.copy()
            for raster in self._attempts(sample, FROZEN, identity(sample)):
                done = self._present(raster, w, theta, None)
            answers.append([j for _, j in done.spikes])
        return answers

    def _attempts(self, sample: NDArray[Any], purpose: int, number: int) -> Any:
        """Rasters of a sample, until there were spikes enough (S12.4)."""
        if sample.ndim == 2:
            yield sample
            return
        for attempt in range(self.c["max_repeats"] + 1):
            factor = f32(1) + f32(self.c["rate_step"]) * f32(attempt)
            chance = np.floor(sample * factor * f32(65536) + f32(0.5))
            u = draws(self.c["seed"], purpose, attempt, number, self.c["steps"], len(sample))
            yield u < np.minimum(chance.astype(np.float64), 65536)
            if len(self.log[-1].spikes) >= self.c["min_spikes"]:
                return

    # --- one presentation -----------------------------------------------------------------------

    def _present(
        self, raster: NDArray[Any], w: FloatArray, theta: FloatArray, factor: Any
    ) -> Presented:
        """S12.3 to S12.11; changes `w` and `theta` unless `factor` is None (frozen)."""
        c, learning = self.c, factor is not None
        n = c["neurons"]
        v = np.zeros(n, f32)
        refractory = np.zeros(n, int)
        last_pre = np.full(c["inputs"], -1)
        last_post = np.full(n, -1)
        due: dict[int, int] = {}
        cells: dict[int, _Inhibitory] = {}
        done = Presented()
        for t, row in enumerate(raster):
            inputs = np.flatnonzero(row)
            done.input_spikes += len(inputs)
            done.synops += len(inputs) * n
            if learning and c["x_tar"] is None and c["eta_pre"] != 0:
                for j in np.flatnonzero(last_post >= 0).tolist():
                    x = trace(c["trace_post"], t - last_post[j])
                    if x > 0:
                        self._depress(w, inputs, j, f32(factor) * f32(c["eta_pre"]) * x)
                        done.weight_updates += len(inputs)
            current = np.zeros(n, f32)
            for i in inputs:
                current = current + w[i]
            h = v * f32(c["decay"]) + current
            if t in due:
                others = np.arange(n) != due[t]
                h = np.where(others, h - f32(c["inhibition"]), h)
                done.synops += n - 1
            held = refractory > 0
            refractory[held] -= 1
            v = np.where(held, v, h)
            last_pre[inputs] = t
            margin = np.where(held, f32(-1), v - (f32(c["threshold"]) + theta))
            j = int(margin.argmax())  # the lowest of equals
            if margin[j] < 0:
                continue
            done.spikes.append((t, j))
            v[j], refractory[j], last_post[j] = f32(c["reset"]), c["refractory"], t
            if learning:
                theta[j] += f32(c["theta_plus"])
                done.weight_updates += self._potentiate(w, j, t, last_pre, f32(factor))
            if c["model"] == "wta":
                due[t + 1] = j
            else:
                done.synops += 1
                cell = cells.setdefault(j, _Inhibitory(c["model"]["current"], t))
                if cell.driven(t + 1):
                    due[t + 2] = j
        self.log.append(done)
        return done

    def _depress(self, w: FloatArray, inputs: NDArray[Any], j: int, amount: Any) -> None:
        change = amount * w[inputs, j] if self.c["soft"] else amount
        w[inputs, j] = np.maximum(w[inputs, j] - change, f32(0))

    def _potentiate(self, w: FloatArray, j: int, t: int, last: NDArray[Any], factor: Any) -> int:
        c = self.c
        x = np.array([trace(c["trace_pre"], t - s) if s >= 0 else f32(0) for s in last], f32)
        inputs = np.arange(len(x)) if c["x_tar"] is not None else np.flatnonzero(x > 0)
        target = f32(0 if c["x_tar"] is None else c["x_tar"])
        old = w[inputs, j]
        amount = factor * f32(c["eta_post"]) * (x[inputs] - target)
        change = amount * (f32(c["w_max"]) - old) if c["soft"] else amount
        w[inputs, j] = np.clip(old + change, f32(0), f32(c["w_max"]))
        return len(inputs)

    def _normalise(self, w: FloatArray, j: int) -> None:
        if self.c["norm"] is None:
            return
        total = f32(0)
        for value in w[:, j]:
            total = total + value
        if not total > 0:
            raise DivergenceError(f"DiehlCook: weights of neuron {j} sum up to {total}")
        w[:, j] = np.minimum(w[:, j] * (f32(self.c["norm"]) / total), f32(self.c["w_max"]))


class _Inhibitory:
    """An inhibitory neuron, step by step (S12.8)."""

    def __init__(self, config: Mapping[str, Any], step: int) -> None:
        self.c, self.step = config, step
        self.v, self.refractory = f32(0), 0

    def driven(self, step: int) -> bool:
        """Goes on to `step`, at which its excitatory neuron's spike arrives; whether it fires."""
        while self.step < step:
            self.step += 1
            weight = self.c["weight"] if self.step == step else 0.0
            if self.refractory > 0:
                self.refractory -= 1
                fires = False
            else:
                self.v = self.v * f32(self.c["decay"]) + f32(weight)
                fires = bool(self.v >= f32(self.c["threshold"]))
            if fires:
                self.v, self.refractory = f32(self.c["reset"]), self.c["refractory"]
        return fires


def trace(table: list[float], k: int) -> Any:
    """A trace `k` steps after its spike."""
    return f32(table[k]) if k < len(table) else f32(0)


def identity(p: FloatArray) -> int:
    """A frozen sample's number: a hash of where its chances are and what they are (S12.2)."""
    if p.ndim == 2:
        return 0
    value = 0xCBF29CE484222325
    bits = p.astype(f32).view(np.uint32)
    for i in np.flatnonzero(p > 0):
        for word in (int(i), int(bits[i])):
            value = (value ^ word) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
