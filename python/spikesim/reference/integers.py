"""Layers and populations of integers, step by step (S14)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim import ops
from spikesim.network import Network
from spikesim.reference import counts
from spikesim.reference.counts import Signal
from spikesim.reference.fold import folded
from spikesim.reference.neuron import State
from spikesim.reference.nodes import Inputs, NeuronNode
from spikesim.reference.quantised import (
    ONE,
    PART,
    WHOLE,
    Folded,
    Layer,
    LayerUnits,
    PopulationUnits,
    in_units,
    run_edges,
    spread,
    supported,
    uniform,
    units,
)


def within(x: Tensor) -> Tensor:
    """Magnitudes end at 2²⁹."""
    return x.clamp(-WHOLE, WHOLE)


def per_channel(values: NDArray[np.generic], ndim: int, device: torch.device) -> Tensor:
    """One value a channel, against (N, C, …) of `ndim` axes."""
    return torch.from_numpy(np.array(values)).to(device).reshape(-1, *(1,) * (ndim - 2))


def nearest(x: Tensor) -> Tensor:
    """To the nearest integer, ties to even, magnitudes up to 2²⁸."""
    return torch.round(x.clamp(-PART, PART)).to(torch.int64)


@dataclass
class IntegerLayer:
    """Turns the f32 sums of a layer's integer weights into units or into currents."""

    own: LayerUnits
    bias: NDArray[np.float32] | None
    device: torch.device

    @property
    def weight(self) -> NDArray[np.float32]:
        """The integers, as f32."""
        return self.own.weight.astype(np.float32)

    def __call__(self, edges: list[Tensor]) -> Signal:
        if self.own.fused:
            # S14.6
            parts = [nearest(e * 2.0**self.own.fraction) for e in edges]
            units = reduce(lambda a, b: within(a + b), parts, torch.zeros_like(parts[0]))
            none = torch.zeros_like(units)
            return Signal(units, none, none)
        total = reduce(torch.add, edges)
        total = total * per_channel(self.own.scale, total.ndim, self.device)
        if self.bias is not None:
            total = total + per_channel(self.bias, total.ndim, self.device)
        return counts.of_values(total)


class IntegerPopulation:
    """A neuron node in units of its membranes."""

    def __init__(
        self, op: ops.Neuron, shape: tuple[int, ...], own: PopulationUnits, device: torch.device
    ) -> None:
        self.op = op
        self.shape = shape
        self.own = own
        self.device = device
        by_channel = spread(own.v, shape)

        def level(value: object) -> Tensor:
            return torch.from_numpy(in_units(spread(value, shape), by_channel)).to(device)

        self.v_threshold = level(op.v_threshold)
        self.v_reset = level(op.v_reset)
        self.v_leak = level(op.v_leak)
        self.v0 = level(op.v0)
        self.v_min = None if op.v_min is None else level(op.v_min)
        self.v_threshold_neg = None if op.v_threshold_neg is None else level(op.v_threshold_neg)
        alpha = np.rint(spread(op.alpha_mem, shape).astype(np.float64) * ONE).astype(np.int64)
        self.alpha = torch.from_numpy(alpha).to(device)
        self.bias = torch.from_numpy(spread_int(own.bias, shape)).to(device)
        self.amplitude = torch.from_numpy(spread(op.spike_amplitude, shape)).to(device)

    @property
    def spikes(self) -> bool:
        """Whether it can fire at all."""
        return self.op.spikes != "none"

    def start(self, n: int) -> State:
        """S5.1; what integers lack stays zero."""
        size = (n, *self.shape)
        zeros = torch.zeros(size, device=self.device)
        v = self.v0.expand(size).clone()
        return State(v=v, i=zeros, n=zeros, a=zeros, r=zeros.to(torch.int64))

    def _fires(self, v: Tensor, bound: Tensor) -> Tensor:
        return v >= bound if self.op.fires == ">=" else v > bound

    def _reset(self, v: Tensor) -> Tensor:
        if self.op.reset == "subtract":
            return v - self.v_threshold
        return self.v_reset.expand_as(v) if self.op.reset == "to_value" else v

    def step(self, state: State, x: Tensor) -> tuple[State, Tensor, Tensor]:
        """S14.8: one step with the summed input `x` in units."""
        op, v, timing = self.op, state.v, self.op.reset_timing
        theta = self.v_threshold
        rho = torch.zeros_like(v, dtype=torch.bool)
        if self.spikes and (op.order == "B" or timing != "same_step"):
            rho = self._fires(v, theta)
        if timing == "next_step_before":
            v = torch.where(rho, self._reset(v), v)
        decayed = torch.div((v - self.v_leak) * self.alpha, ONE, rounding_mode="trunc")
        h = self.v_leak + decayed + x
        if timing in ("next_step_after", "same_step_guarded"):
            h = torch.where(rho, self._reset(h), h)
        z = torch.zeros_like(h)
        if self.spikes:
            z = (rho if op.order == "B" else self._fires(h, theta)).to(torch.int64)
        if op.spikes == "signed":
            assert self.v_threshold_neg is not None
            low = self.v_threshold_neg
            below = h <= low if op.fires == ">=" else h < low
            z = torch.where((z == 0) & below, -torch.ones_like(z), z)
        new = h
        if timing == "same_step_guarded":
            new = h - (z - rho.to(torch.int64)) * theta
        elif timing == "same_step":
            new = torch.where(z != 0, self._reset(h), h)
            if op.spikes == "signed" and op.reset == "subtract":
                assert self.v_threshold_neg is not None
                new = torch.where(z < 0, h - self.v_threshold_neg, new)
        if self.v_min is not None:
            new = torch.maximum(new, self.v_min.expand_as(new))
        after = State(v=within(new), i=state.i, n=state.n, a=state.a, r=state.r)
        spikes = z.to(torch.float32)
        return after, spikes, spikes * self.amplitude if self.spikes else self.membrane(after.v)

    def membrane(self, v: Tensor) -> Tensor:
        """S14.10: units as f32."""
        return v.to(torch.float32) * per_channel(self.own.v, v.ndim, self.device)


def spread_int(values: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """One value a channel over `shape`."""
    return np.array(np.broadcast_to(values.reshape(-1, *(1,) * (len(shape) - 1)), shape))


@dataclass
class IntegerNode(NeuronNode):
    """A population of integers; `fused` are the arrivals that are units already."""

    fused: list[bool]

    def sum(self, arrivals: list[Signal]) -> Tensor:
        """S14.7: the summed input in units."""
        population = self.population
        assert isinstance(population, IntegerPopulation)
        own = population.own
        total = torch.zeros_like(arrivals[0].value, dtype=torch.int64)
        for signal, ready in zip(arrivals, self.fused, strict=True):
            part = signal.value
            if not ready:
                unit = per_channel(own.x, part.ndim, population.device)
                part = nearest(part.to(torch.float64) / unit.to(torch.float64))
            total = within(total + part)
        return within(total + population.bias)

    def current(self, x: Tensor) -> Tensor:
        """S14.10."""
        population = self.population
        assert isinstance(population, IntegerPopulation)
        return x.to(torch.float32) * per_channel(population.own.x, x.ndim, population.device)

    def membrane(self, state: State) -> Tensor:
        """S14.10."""
        population = self.population
        assert isinstance(population, IntegerPopulation)
        return population.membrane(state.v)


class Integers:
    """Makes the layers and populations of one network."""

    def __init__(
        self,
        net: Network,
        device: torch.device,
        absorbed: Mapping[str, str],
        norms: Mapping[str, Any],
        clips: Mapping[str, NDArray[np.float32]],
    ) -> None:
        supported(net.nodes)
        self.net = net
        self.device = device
        self.absorbed = absorbed
        self.layers: dict[str, Folded] = {}
        for node in net.nodes:
            if isinstance(node.op, Layer):
                inside = [norms[n] for n, into in absorbed.items() if into == node.name]
                self.layers[node.name] = Folded(*folded(node.op, inside), clips.get(node.name))
        self.own, self.populations = units(net, self.layers, *run_edges(net, absorbed))

    def layer(self, name: str) -> IntegerLayer:
        """What layer `name` makes of its sums."""
        return IntegerLayer(self.own[name], self.layers[name].bias, self.device)

    def population(self, node: Any, inputs: Inputs) -> IntegerNode:
        """Population `node`."""
        own = self.populations[node.name]
        cells = IntegerPopulation(node.op, tuple(node.shape), own, self.device)
        return IntegerNode(node.name, inputs, cells, [self._fused(src) for src, _ in inputs])

    def _fused(self, name: str) -> bool:
        """Whether the value of node `name` is units: a fused layer, or what stands for one."""
        if name in self.absorbed:
            return self._fused(self.absorbed[name])
        op = self.net.node(name).op
        if isinstance(op, ops.Delay) and uniform(op.delay):
            before = [edge.src for edge in self.net.edges if edge.dst == name]
            return len(before) == 1 and self._fused(before[0])
        return name in self.own and self.own[name].fused
