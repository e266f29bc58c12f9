"""What nodes without learning do in a step (S2, S3), in NumPy float32: as much of it as networks
that learn are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UnsupportedError
from spikesim.ops import Add, Conv1d, Conv2d, Flatten, Linear, Neuron, Op

Floats = NDArray[np.float32]
Winners = Callable[[NDArray[np.bool_], Floats], NDArray[np.bool_]]
"""Of the neurons that reached their threshold, and their margins, those that fire."""

_TINY = np.float32(1e-30)


def _flush(y: Floats) -> Floats:
    return np.where(np.abs(y) < _TINY, np.float32(0), y).astype(np.float32)


@dataclass
class State:
    """One sample's neurons: membrane, current, adaptation, steps of rest left."""

    v: Floats
    i: Floats
    a: Floats
    r: NDArray[np.int64]


class Population:
    """The neurons of S3 that fire single spikes in the step in which they are reset."""

    def __init__(self, name: str, op: Neuron, shape: tuple[int, ...]) -> None:
        known = op.spikes in ("single", "none") and op.order == "A"
        if not known or op.reset_timing != "same_step" or op.synapse == "alpha":
            raise UnsupportedError(f"{name}: this neuron is not supported by the twin")
        self.op, self.shape = op, shape

    def of(self, value: Any) -> Floats:
        """A parameter, one a neuron."""
        array = np.asarray(value, dtype=np.float32)
        if array.size > 1 and array.shape != self.shape:
            array = array.reshape(-1, *[1] * (len(self.shape) - 1))
        elif array.size == 1:
            array = array.reshape(())
        return np.broadcast_to(array, self.shape).astype(np.float32)

    def start(self) -> State:
        """S5.1, S5.2."""
        zeros = np.zeros(self.shape, dtype=np.float32)
        rest = np.zeros(self.shape, dtype=np.int64)
        return State(self.of(self.op.v0), self.of(self.op.i0), zeros, rest)

    def step(self, s: State, x: Floats, winners: Winners | None) -> tuple[State, Floats, Floats]:
        """A step with the summed input `x`: the new state, z and what leaves."""
        op = self.op
        a, theta = s.a, self.of(op.v_threshold)
        if op.theta_plus is not None:
            a = _flush(self.of(op.alpha_theta) * s.a)
            theta = theta + a
        i, current = s.i, x
        if op.synapse == "decay_first":
            i = current = _flush(self.of(op.alpha_syn) * s.i) + self.of(op.w_in) * x
        elif op.synapse == "decay_after":
            i = current = _flush(self.of(op.alpha_syn) * (s.i + self.of(op.w_in) * x))
        leak = self.of(op.v_leak)
        h = (leak + _flush(self.of(op.alpha_mem) * (s.v - leak))) + self.of(op.gain) * current
        resting = s.r > 0
        h = np.where(resting, s.v, h)
        if op.spikes == "none":
            v = h if op.v_min is None else np.maximum(h, self.of(op.v_min))
            return State(v, i, a, s.r), np.zeros_like(h), v
        fired = (h >= theta if op.fires == ">=" else h > theta) & ~resting
        if winners is not None and fired.any():
            lost = h if op.v_min is None else np.maximum(h, self.of(op.v_min))
            fired = winners(fired, lost - theta)
        v = h
        if op.reset == "subtract":
            v = np.where(fired, h - theta, h)
        elif op.reset == "to_value":
            v = np.where(fired, self.of(op.v_reset), h)
        if op.v_min is not None:
            v = np.maximum(v, self.of(op.v_min))
        z = fired.astype(np.float32)
        if op.theta_plus is not None:
            a = a + self.of(op.theta_plus) * z
        r = np.where(fired, op.refractory, np.where(resting, s.r - 1, s.r))
        return State(v, i, a, r), z, z * self.of(op.spike_amplitude)


class Layer:
    """Linear, Conv1d or Conv2d: one geometry (out, in/groups, ky, kx) for all."""

    def __init__(self, op: Linear | Conv1d | Conv2d, in_shape: tuple[int, ...]) -> None:
        self.groups, self.stride, self.dilation = 1, (1, 1), (1, 1)
        self.padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
        weight = np.array(op.weight, dtype=np.float32)
        self.shape = weight.shape
        spec = op.spec()
        if isinstance(op, Conv1d | Conv2d):
            self.groups = spec["groups"]
            self.stride = (1, *spec["stride"])[-2:]
            self.dilation = (1, *spec["dilation"])[-2:]
            before, after = ((0, 0), *spec["padding"])[-2:]
            self.padding = ((before[0], before[1]), (after[0], after[1]))
        while weight.ndim < 4:
            weight = np.expand_dims(weight, 2)
        self.weight = weight
        channels, *places = in_shape
        rows, columns = (1, 1, *places)[-2:]
        self.dims = (channels, rows, columns)
        self.bias = None if op.bias is None else np.array(op.bias, dtype=np.float32)

    @property
    def out_dims(self) -> tuple[int, int, int]:
        """Channels, rows, columns of the result."""
        size = []
        for axis in (0, 1):
            n = self.dims[1 + axis] + sum(self.padding[axis])
            reach = self.dilation[axis] * (self.weight.shape[2 + axis] - 1) + 1
            size.append((n - reach) // self.stride[axis] + 1)
        return self.weight.shape[0], size[0], size[1]

    def source(self, oy: int, ox: int, ky: int, kx: int) -> tuple[int, int] | None:
        """The place of the input that an output sees at a place of the kernel (S2.3)."""
        y = oy * self.stride[0] + ky * self.dilation[0] - self.padding[0][0]
        x = ox * self.stride[1] + kx * self.dilation[1] - self.padding[1][0]
        return (y, x) if 0 <= y < self.dims[1] and 0 <= x < self.dims[2] else None

    def inputs_of(self, o: int) -> range:
        """The input channels that output `o` sees."""
        size = self.weight.shape[1]
        first = o // (self.weight.shape[0] // self.groups) * size
        return range(first, first + size)

    def edge(self, value: Floats) -> Floats:
        """What one edge gives: a sum in ascending (ky, kx, c) for each output (S2.2, S2.3)."""
        x = value.reshape(self.dims)
        out = np.zeros(self.out_dims, dtype=np.float32)
        _, _, kh, kw = self.weight.shape
        for oy in range(out.shape[1]):
            for ox in range(out.shape[2]):
                for ky, kx in np.ndindex(kh, kw):
                    place = self.source(oy, ox, ky, kx)
                    if place is None:
                        continue
                    for o in range(out.shape[0]):
                        for k, c in enumerate(self.inputs_of(o)):
                            if x[c][place] != 0:
                                out[o, oy, ox] += self.weight[o, k, ky, kx] * x[c][place]
        return out


def plain(name: str, op: Op, values: list[Floats], shape: tuple[int, ...]) -> Floats:
    """A node without weights: Flatten and Add."""
    if not isinstance(op, Flatten | Add):
        raise UnsupportedError(f"{name}: {op.kind} is not supported by the twin")
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total.reshape(shape)
