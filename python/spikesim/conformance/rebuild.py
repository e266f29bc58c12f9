"""The network built anew from a library's own cells and torch's own layers, run step by step."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from spikesim.conformance import cells
from spikesim.conformance.cells.base import Cell, Step
from spikesim.conformance.layers import Apply, layer
from spikesim.conformance.trace import Array, Probe, Trace, in_order, populations, reads
from spikesim.network import Network
from spikesim.ops import Neuron
from spikesim.reference.sums import plain_arithmetic


def run(net: Network, x: Array, library: Callable[[str, Neuron], str]) -> Trace:
    """Runs a raster (T, N, *input_shape).

    A population that its library has no cell for is named in the trace, and run by the reference
    so that those after it have an input.

    Args:
        net: The network.
        x: The input.
        library: Which library's cell a population becomes, by name and fields.

    Raises:
        UnsupportedError: A layer that torch does not have.
    """
    trace = Trace()
    chosen = {name: _cell(net, name, op, library, trace) for name, op in populations(net).items()}
    trace.cells = {name: cell.label for name, cell in chosen.items()}
    trace.probes = {name: _probe(cell) for name, cell in chosen.items()}
    with plain_arithmetic():
        _Run(net, chosen, x.shape[1]).steps(torch.tensor(x), trace)
    return trace


def _cell(
    net: Network, name: str, op: Neuron, library: Callable[[str, Neuron], str], trace: Trace
) -> Cell:
    shape = tuple(net.node(name).shape)
    wanted = library(name, op)
    try:
        return cells.cell(wanted, op, shape)
    except cells.Unsayable as reason:
        trace.unsaid[name] = f"no cell of {wanted} has {reason}"
        return cells.cell("torch", op, shape)


def _probe(cell: Cell) -> Probe:
    def probe(x: Array) -> tuple[Array, Array | None]:
        with torch.no_grad():
            z, v, _ = cell.start(len(x))(torch.from_numpy(x))
        assert z is not None
        return z.detach().numpy(), None if v is None else v.detach().numpy()

    return probe


class _Run:
    """The nodes in order, and the values that edges with a delay still need."""

    def __init__(self, net: Network, chosen: dict[str, Cell], samples: int) -> None:
        self.net = net
        self.order = [name for name in in_order(net) if name != "input"]
        self.inputs = {name: reads(net, name) for name in self.order}
        self.neurons: dict[str, Step] = {n: cell.start(samples) for n, cell in chosen.items()}
        self.layers: dict[str, Apply] = {
            name: layer(name, net.node(name).op, tuple(net.node(name).in_shape))
            for name in self.order
            if name not in chosen
        }
        longest: dict[str, int] = {}
        for needed in self.inputs.values():
            for src, delay in needed:
                longest[src] = max(longest.get(src, 0), delay)
        # Newest last; before the start there was nothing, not even a bias (S1.3).
        self.past = {
            name: [torch.zeros(samples, *net.node(name).shape)] * delay
            for name, delay in longest.items()
            if delay
        }

    def steps(self, x: Tensor, trace: Trace) -> None:
        """All steps; fills the trace."""
        spikes: dict[str, list[Tensor]] = {}
        v: dict[str, list[Tensor]] = {}
        current: dict[str, list[Tensor]] = {}
        out: list[Tensor] = []
        for now in x:
            values = {"input": now}
            for name in self.order:
                arrivals = [
                    self.past[src][-delay] if delay else values[src]
                    for src, delay in self.inputs[name]
                ]
                if name in self.neurons:
                    total = reduce(torch.add, arrivals)
                    z, membrane, values[name] = self.neurons[name](total)
                    current.setdefault(name, []).append(total.clone())
                    if z is not None:
                        spikes.setdefault(name, []).append(z.clone())
                    if membrane is not None:
                        v.setdefault(name, []).append(membrane)
                else:
                    values[name] = self.layers[name](arrivals)
            for name, past in self.past.items():
                past.append(values[name])
                del past[0]
            out.append(values[self.net.output])
        trace.spikes, trace.v, trace.current = (_stacked(d) for d in (spikes, v, current))
        trace.out = torch.stack(out).numpy()


def _stacked(steps: dict[str, list[Tensor]]) -> dict[str, Array]:
    return {name: torch.stack(values).detach().numpy() for name, values in steps.items()}
