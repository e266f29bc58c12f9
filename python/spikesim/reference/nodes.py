"""The nodes of a network that is walked, and their order (S1.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

from torch import Tensor

from spikesim.reference import counts, layers
from spikesim.reference.counts import FanOut, Signal
from spikesim.reference.geometry import Window
from spikesim.reference.neuron import State

Inputs = list[tuple[str, int]]


class Cells(Protocol):
    """The neurons of a population: `neuron.Population` or `integers.IntegerPopulation`."""

    @property
    def spikes(self) -> bool:
        """Whether it can fire at all."""

    def start(self, n: int) -> State:
        """The state before the first step."""

    def step(self, state: State, x: Tensor) -> tuple[State, Tensor, Tensor]:
        """The new state, z and the output."""


@dataclass
class PlainNode:
    """Anything without weights and neurons; `apply` gives its signal of what it reads: a signal
    for each (source, steps ago) in `inputs`."""

    name: str
    inputs: Inputs
    apply: Callable[[list[Signal]], Signal]


@dataclass
class SynapticNode:
    """Linear, Conv, Scale: where events are counted, those of each of `inputs` by its own."""

    name: str
    inputs: Inputs
    apply: Callable[[list[Signal]], Signal]
    fan_outs: list[FanOut]


@dataclass
class NeuronNode:
    """A population."""

    name: str
    inputs: Inputs
    population: Cells

    def sum(self, arrivals: list[Signal]) -> Tensor:
        """The summed input of the step."""
        return added(arrivals).value

    def current(self, x: Tensor) -> Tensor:
        """What is recorded of it (S3.25)."""
        return x

    def membrane(self, state: State) -> Tensor:
        """As `current`, of the membrane."""
        return state.v

    def apply(self, state: State, x: Tensor) -> tuple[State, Tensor, Signal]:
        """One step; a population that does not fire gives currents (S2.12)."""
        state, z, out = self.population.step(state, x)
        signal = counts.of_spikes(out, z) if self.population.spikes else counts.of_values(out)
        return state, z, signal


@dataclass
class RateNode:
    """A max pool of spikes that remembers the sums of its input's places (S2.21)."""

    name: str
    inputs: Inputs
    window: Window
    gate: str
    shape: tuple[int, ...]
    """Of its input."""

    def apply(self, before: Tensor, arrivals: list[Signal]) -> tuple[Tensor, Signal]:
        """One step: the new sums, and S2.22 or S2.23, counted anew (S10.4)."""
        x = added(arrivals).value
        sums = before + x
        if self.gate == "count":
            value = layers.grown(before, sums, self.window)
        else:
            value = layers.leading(sums, x, self.window)
        return sums, counts.of_max_pool(value)


AnyNode = PlainNode | SynapticNode | NeuronNode | RateNode


@dataclass
class Compiled:
    """The nodes but the input, each after those of which it reads the same step."""

    nodes: list[AnyNode]
    shapes: dict[str, tuple[int, ...]]
    output: str
    readout: str
    longest_delay: dict[str, int]

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a node's value, without the batch axis."""
        return self.shapes[name]


def in_order(nodes: list[AnyNode]) -> list[AnyNode]:
    """Each node after those of which it reads the same step."""
    done = {"input"}
    left, ordered = list(nodes), []
    while left:
        ready = [n for n in left if all(src in done for src, delay in n.inputs if delay == 0)]
        assert ready, "a cycle without delay passed validation"
        ordered.append(ready[0])
        done.add(ready[0].name)
        left.remove(ready[0])
    return ordered


def added(arrivals: list[Signal]) -> Signal:
    """S2.5: values in the order of the edges; events add up (S10.2)."""
    return reduce(
        lambda a, b: Signal(a.value + b.value, a.spikes + b.spikes, a.analog + b.analog), arrivals
    )
