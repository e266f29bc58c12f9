"""Plasticity carried out plainly (S11.1 to S11.8): traces of all neurons at every step, synapse by
synapse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikesim.learn.parts import Rule, Trace
from spikesim.learn.reference.cells import Floats, Layer
from spikesim.learn.reference.numbers import decay

f32 = np.float32


class DenseTrace:
    """The trace of every neuron of `(channels, rows, columns)`, worked out at every step from all
    their spikes so far."""

    def __init__(self, spec: Trace, dims: tuple[int, ...]) -> None:
        self.spec = spec
        self.times: dict[tuple[int, ...], list[int]] = {at: [] for at in np.ndindex(*dims)}
        self.dims = dims

    def at(self, t: int) -> Floats:
        """The traces at step `t`."""
        out = np.zeros(self.dims, dtype=f32)
        for at, times in self.times.items():
            value, last = f32(0), 0
            for time in times:
                older = value * decay(self.spec.tau, time - last)
                value, last = (f32(1) if self.spec.nearest else older + f32(1)), time
            out[at] = value * decay(self.spec.tau, t - last)
        return out

    def spike(self, z: Floats, t: int) -> None:
        """Spikes of step `t` enter."""
        for at in np.argwhere(z):
            self.times[tuple(int(k) for k in at)].append(t)


class Eligibility:
    """What waits for a reward, one for each weight (S11.7)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.value = np.zeros(shape, dtype=f32)
        self.last = np.zeros(shape, dtype=np.int64)


class Plasticity:
    """A rule on edges into a layer."""

    def __init__(self, rule: Rule, layer: Layer, edges: list[int]) -> None:
        self.rule, self.layer, self.edges = rule, layer, edges
        spec = rule.spec()["dependence"]
        self.dependence = spec if isinstance(spec, str) else int(spec["power"]["halves"])
        self.low = f32(-np.inf if rule.w_min is None else rule.w_min)
        self.high = f32(np.inf if rule.w_max is None else rule.w_max)
        self.changed = np.zeros(layer.weight.shape[0], dtype=bool)
        self.reset()

    def reset(self) -> None:
        """Nothing is remembered."""
        rule, layer = self.rule, self.layer
        self.pre = [DenseTrace(rule.pre, layer.dims) for _ in self.edges]
        self.pre_slow = [_trace(rule.pre_slow, layer.dims) for _ in self.edges]
        self.post = DenseTrace(rule.post, layer.out_dims)
        self.post_slow = _trace(rule.post_slow, layer.out_dims)
        self.eligible = [Eligibility(layer.weight.shape) for _ in self.edges]

    def step(self, arrived: list[Floats], fired: Floats, t: int, reward: float) -> None:
        """The spikes of step `t`: of each edge, and of the population."""
        layer, rule = self.layer, self.rule
        spikes = [value.reshape(layer.dims) for value in arrived]
        fired = fired.reshape(layer.out_dims)
        post = self.post.at(t)
        for k, z in enumerate(spikes):
            slow = self.pre_slow[k]
            self._on_pre(k, z, post, None if slow is None else slow.at(t), t)
            self.pre[k].spike(z, t)
            if slow is not None:
                slow.spike(z, t)
        slow_post = None if self.post_slow is None else self.post_slow.at(t)
        for k in range(len(spikes)):
            self._on_post(k, fired, self.pre[k].at(t), slow_post, t)
        self.post.spike(fired, t)
        if self.post_slow is not None:
            self.post_slow.spike(fired, t)
        if rule.reward is not None and reward != 0:
            factor = f32(rule.reward.rate) * f32(reward)
            for eligible in self.eligible:
                for at in np.ndindex(*layer.weight.shape):
                    value = eligible.value[at] * decay(rule.reward.tau, t - int(eligible.last[at]))
                    if value != 0:
                        self._add(at, f32(factor * value))

    def _on_pre(self, k: int, z: Floats, post: Floats, slow: Floats | None, t: int) -> None:
        term, layer = self.rule.on_pre, self.layer
        if f32(term.pair) == 0 and f32(term.triplet) == 0:
            return
        for y, x, c in _in_order(z):
            s = f32(0) if slow is None else slow[c, y, x]
            amplitude = f32(term.pair) + f32(term.triplet) * s
            for ky, kx in np.ndindex(*layer.weight.shape[2:]):
                for oy, ox in np.ndindex(*layer.out_dims[1:]):
                    if layer.source(oy, ox, ky, kx) != (y, x):
                        continue
                    for o in range(layer.out_dims[0]):
                        inputs = layer.inputs_of(o)
                        if c in inputs and post[o, oy, ox] != 0:
                            at = (o, c - inputs.start, ky, kx)
                            self._apply(k, at, amplitude * post[o, oy, ox], t)

    def _on_post(self, k: int, z: Floats, pre: Floats, slow: Floats | None, t: int) -> None:
        term, layer = self.rule.on_post, self.layer
        silent = f32(term.silent)
        if f32(term.pair) == 0 and f32(term.triplet) == 0 and silent == 0:
            return
        for oy, ox, o in _in_order(z):
            s = f32(0) if slow is None else slow[o, oy, ox]
            amplitude = f32(term.pair) + f32(term.triplet) * s
            for ky, kx in np.ndindex(*layer.weight.shape[2:]):
                place = layer.source(oy, ox, ky, kx)
                if place is None:
                    continue
                for j, c in enumerate(layer.inputs_of(o)):
                    trace = pre[c][place]
                    if trace != 0:
                        self._apply(k, (o, j, ky, kx), amplitude * trace, t)
                    elif silent != 0:
                        self._apply(k, (o, j, ky, kx), silent, t)

    def _apply(self, k: int, at: tuple[int, ...], m: np.float32, t: int) -> None:
        delta = self._change(self.layer.weight[at], m)
        reward = self.rule.reward
        if reward is None:
            self._add(at, delta)
            return
        eligible = self.eligible[k]
        old = eligible.value[at] * decay(reward.tau, t - int(eligible.last[at]))
        eligible.value[at] = old + f32(reward.gain) * delta
        eligible.last[at] = t

    def _change(self, w: np.float32, m: np.float32) -> np.float32:
        """S11.5."""
        if self.dependence == "additive":
            return m
        if self.dependence == "product":
            return f32(m * ((w - self.low) * (self.high - w)))
        x = w - self.low if m < 0 else self.high - w
        power = f32(1)
        for _ in range(int(self.dependence) // 2):
            power = power * x
        if int(self.dependence) % 2:
            power = power * np.sqrt(np.maximum(x, f32(0)))
        return f32(m * power)

    def _add(self, at: tuple[int, ...], delta: np.float32) -> None:
        weight = self.layer.weight
        new = np.minimum(np.maximum(weight[at] + delta, self.low), self.high)
        self.changed[at[0]] |= bool(new != weight[at])
        weight[at] = new

    def normalise(self, every: bool) -> None:
        """S11.8."""
        if self.rule.normalise is None:
            return
        for o in range(self.layer.weight.shape[0]):
            if not (every or self.changed[o]):
                continue
            self.changed[o] = False
            total = f32(0)
            _, inputs, kh, kw = self.layer.weight.shape
            for ky, kx, c in np.ndindex(kh, kw, inputs):
                total = total + self.layer.weight[o, c, ky, kx]
            if total > 0:
                scaled = self.layer.weight[o] * (f32(self.rule.normalise.sum) / total)
                self.layer.weight[o] = np.minimum(np.maximum(scaled, self.low), self.high)


def _in_order(z: Floats) -> NDArray[np.int64]:
    """(row, column, channel) of each spike, channels fastest."""
    return np.argwhere(z.transpose(1, 2, 0))


def _trace(spec: Trace | None, dims: tuple[int, ...]) -> DenseTrace | None:
    return None if spec is None else DenseTrace(spec, dims)
