"""What one side of a comparison did, and what spikesim's side does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.network import Network
from spikesim.ops import Neuron
from spikesim.ops._base import Op

Array = NDArray[np.float32]
Wide = NDArray[np.float64]

#: One step of a population from its start: inputs (K, *shape) -> spikes, membrane (None: hidden).
Probe = Callable[[Array], tuple[Array, Array | None]]


@dataclass
class Trace:
    """T steps of N samples, by population; what a side does not show is not there."""

    out: Array | None = None
    """(T, N, *shape): what an output node that is no population gives, step by step."""

    spikes: dict[str, Array] = field(default_factory=dict)
    """(T, N, *shape): number of spikes, with its sign."""

    v: dict[str, Array] = field(default_factory=dict)
    """(T, N, *shape): membrane at the end of the step."""

    current: dict[str, Array] = field(default_factory=dict)
    """(T, N, *shape): summed input of the step."""

    cells: dict[str, str] = field(default_factory=dict)
    """What ran in the population's place."""

    probes: dict[str, Probe] = field(default_factory=dict)
    """Populations that can be asked for a step of their own."""

    inner: set[str] = field(default_factory=set)
    """Populations whose recorded input need not be ours: weights, loops or delays are inside."""

    unsaid: dict[str, str] = field(default_factory=dict)
    """Populations that the library has no cell for, and why."""


def populations(net: Network) -> dict[str, Neuron]:
    """The neuron nodes by name, in the order of declaration."""
    return {node.name: node.op for node in net.nodes if isinstance(node.op, Neuron)}


def run_engine(net: Network, x: Array) -> tuple[Trace, Array]:
    """A raster (T, N, *input_shape) through the engine: the trace, and what the readout says."""
    neurons = populations(net)
    if net.output in neurons:
        watched, watch = net, None
    else:
        # A membrane without memory is what comes in: every step of the output.
        watched, watch = net.copy(), "output"
        while watch in {node.name for node in net.nodes}:
            watch += "_"
        unit = Neuron(alpha_mem=0.0, gain=1.0, spikes="none", reset="none")
        watched.add(unit, name=watch, inputs=net.output)
        watched.output = net.output
    result = watched.compile().run(x, layout="TN", record=("spikes", "v", "current"))
    trace = Trace(
        out=None if watch is None else result.v[watch],
        spikes={n: result.spikes[n].to_dense() for n, op in neurons.items() if op.spikes != "none"},
        v={name: result.v[name] for name in neurons},
        current={name: result.current[name] for name in neurons},
    )
    return trace, result.output


def run_alone(op: Neuron, current: Array) -> Trace:
    """One population by itself, called "n", fed with the recorded input (T, N, *shape)."""
    net = Network(current.shape[2:])
    net.add(op, name="n")
    return run_engine(net, current)[0]


def delays(op: Op) -> list[int]:
    """The numbers of steps that some element or synapse of a node looks back, ascending."""
    own = getattr(op, "delay", None)
    return [0] if own is None else sorted({int(d) for d in own.reshape(-1)})


def reads(net: Network, name: str) -> list[tuple[str, int]]:
    """(source, steps ago) of every value that a node needs: edge by edge, by its own `delays`."""
    own = delays(net.node(name).op)
    return [(e.src, e.delay + d) for e in net.edges if e.dst == name for d in own]


def sources(net: Network) -> dict[str, set[str]]:
    """For each node those that it hears in the same step."""
    return {
        node.name: {src for src, ago in reads(net, node.name) if ago == 0} for node in net.nodes
    }


def in_order(net: Network) -> list[str]:
    """Names of the nodes, each after those that it hears in the same step."""
    before = sources(net)
    done: list[str] = []
    while len(done) < len(before):
        ready = [n for n in before if n not in done and before[n] <= set(done)]
        done += ready
    return done


def upstream(net: Network) -> dict[str, set[str]]:
    """For each node those from which it hears in the same step, directly or not."""
    found: dict[str, set[str]] = {}
    heard = sources(net)
    for name in in_order(net):
        found[name] = heard[name].union(*(found[s] for s in heard[name]))
    return found


def heard_late(net: Network) -> set[str]:
    """Populations that a loop leads back to, through no other population.

    A library's recurrent cell keeps that loop inside: what is recorded as its input is not all of
    what its membrane gets.
    """
    neurons = populations(net)
    into: dict[str, list[str]] = {}
    for src, dst, _ in net.edges:
        into.setdefault(dst, []).append(src)
    found = set()
    for name in neurons:
        todo, seen = list(into.get(name, [])), set()
        while todo:
            source = todo.pop()
            if source == name:
                found.add(name)
                break
            if source in seen or source in neurons:
                continue
            seen.add(source)
            todo += into.get(source, [])
    return found


def heard_through_delays(net: Network) -> set[str]:
    """Populations that a delay leads to, through no other population."""
    neurons = populations(net)
    late = {n.name for n in net.nodes if any(ago for _, ago in reads(net, n.name))}
    for name in in_order(net):
        if name not in neurons and any(s in late and s not in neurons for s in sources(net)[name]):
            late.add(name)
    return {
        name
        for name in neurons
        if name in late or any(s in late and s not in neurons for s in sources(net)[name])
    }


def spread(parameter: Any, shape: tuple[int, ...]) -> Wide:
    """A neuron parameter for every neuron; `(C,)` is one value a channel (S3.1)."""
    values = np.asarray(parameter, np.float64)
    if values.size == 1:
        values = values.reshape(())
    elif values.shape != shape:
        values = values.reshape(-1, *(1 for _ in shape[1:]))
    return np.broadcast_to(values, shape)


def as_counts(op: Neuron, values: Array) -> Array:
    """Numbers of spikes from what left a population, (T, N, *shape): its amplitude taken out."""
    amplitude = spread(op.spike_amplitude, values.shape[2:])
    counts: Array = (values / np.where(amplitude == 0, 1, amplitude)).astype(np.float32)
    return counts
