"""The loop over steps and nodes (S1), the recordings and the readout (S6, S7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim._inputs import prepare
from spikesim.errors import InputError, ShapeError
from spikesim.network import Network
from spikesim.reference.counts import Signal, of_values
from spikesim.reference.network import compile_network
from spikesim.reference.neuron import State
from spikesim.reference.nodes import Compiled, NeuronNode, RateNode, SynapticNode
from spikesim.reference.result import ReferenceResult
from spikesim.reference.sums import plain_arithmetic

_RECORDS = ("spikes", "v", "current")


def simulate(
    net: Network,
    x: Any,
    n_steps: int | None,
    device: str,
    layout: str | None,
    record: str | Sequence[str],
    sums: str,
    state: Mapping[str, NDArray[Any]] | None,
    precision: str = "f32",
    clips: Mapping[str, NDArray[np.float32]] | None = None,
) -> ReferenceResult:
    """`spikesim.reference.run` once torch is known to be there."""
    if sums not in ("ordered", "torch"):
        raise InputError(f"reference: sums is {sums!r}, expected 'ordered' or 'torch'")
    if precision not in ("f32", "i8"):
        raise InputError(f'reference: precision is {precision!r}, expected "f32" or "i8"')
    wanted = (record,) if isinstance(record, str) else tuple(record)
    for name in wanted:
        if name not in _RECORDS:
            raise InputError(f"reference: record has {name!r}, expected some of {_RECORDS}")
    net.runnable()
    values, constant, steps, samples = prepare(x, tuple(net.input_shape), n_steps, layout)
    where = _device(device)
    with plain_arithmetic():
        kept = (clips or {}) if precision == "i8" else None
        run = _Run(compile_network(net, where, sums == "ordered", kept), steps, samples, where)
        if state is not None:
            run.restore(state)
        data = torch.from_numpy(values)
        for t in range(steps):
            run.step(t, (data if constant else data[t]).to(where))
        return run.result(wanted)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, TypeError, ImportError) as error:
        raise InputError(
            f"reference: device is {name!r}, expected one that torch has here, as 'cpu' or 'cuda'"
        ) from error
    return device


class _Run:
    """One run: the state, what is recorded, and the readout as it grows."""

    def __init__(self, net: Compiled, steps: int, samples: int, device: torch.device) -> None:
        self.net = net
        self.steps = steps
        self.samples = samples
        self.device = device
        self.states: dict[str, State] = {
            node.name: node.population.start(samples)
            for node in net.nodes
            if isinstance(node, NeuronNode)
        }
        self.sums: dict[str, Tensor] = {
            node.name: torch.zeros(samples, *node.shape, device=device)
            for node in net.nodes
            if isinstance(node, RateNode)
        }
        # The last values of every node that a delayed edge leaves, newest last (S1.3).
        self.past: dict[str, list[Signal]] = {
            name: [self._nothing(net.shape(name)) for _ in range(delay)]
            for name, delay in net.longest_delay.items()
        }
        self.spikes: dict[str, list[Tensor]] = {}
        self.v: dict[str, list[Tensor]] = {}
        self.current: dict[str, list[Tensor]] = {}
        self.counts: dict[str, dict[str, list[Tensor]]] = {
            key: {} for key in ("synops", "synops_with_zeros", "macs", "neuron_updates", "spikes")
        }
        self.readout = torch.zeros(samples, *net.shape(net.output), device=device)
        if net.readout == "first_spike":
            self.readout += steps
        if net.readout == "count":
            self.readout = self.readout.to(torch.int64)

    def _nothing(self, shape: tuple[int, ...]) -> Signal:
        zeros = torch.zeros(self.samples, *shape, device=self.device)
        none = zeros.to(torch.int64)
        return Signal(zeros, none, none)

    def step(self, t: int, x: Tensor) -> None:
        """One step of every node, in an order that edges without delay allow (S1.2)."""
        now: dict[str, Signal] = {"input": of_values(x)}
        for node in self.net.nodes:
            arrivals = [
                now[src] if delay == 0 else self.past[src][-delay] for src, delay in node.inputs
            ]
            if isinstance(node, NeuronNode):
                now[node.name] = self._neurons(t, node, arrivals)
            elif isinstance(node, RateNode):
                self.sums[node.name], now[node.name] = node.apply(self.sums[node.name], arrivals)
            elif isinstance(node, SynapticNode):
                now[node.name] = node.apply(arrivals)
                self._count_synapses(node, arrivals)
            else:
                now[node.name] = node.apply(arrivals)
        for name, past in self.past.items():
            past.append(now[name])
            del past[0]
        if self.net.readout in ("sum", "mean"):
            self.readout = self.readout + now[self.net.output].value

    def _neurons(self, t: int, node: NeuronNode, arrivals: list[Signal]) -> Signal:
        name = node.name
        x = node.sum(arrivals)
        self.states[name], z, signal = node.apply(self.states[name], x)
        v = node.membrane(self.states[name])
        self.current.setdefault(name, []).append(node.current(x))
        self.v.setdefault(name, []).append(v)
        if node.population.spikes:
            self.spikes.setdefault(name, []).append(z)
        per_sample = z.abs().to(torch.int64).flatten(1).sum(1)
        self._count("spikes", name, per_sample)
        self._count("neuron_updates", name, torch.full_like(per_sample, z[0].numel()))
        if name == self.net.output:
            self._read_neurons(t, z, v)
        return signal

    def _read_neurons(self, t: int, z: Tensor, v: Tensor) -> None:
        """S7.4 to S7.7."""
        readout = self.net.readout
        if readout == "last_v":
            self.readout = v
        elif readout == "max_v":
            self.readout = v if t == 0 else torch.maximum(self.readout, v)
        elif readout == "count":
            self.readout = self.readout + z.to(torch.int64)
        elif readout == "first_spike":
            first = (z != 0) & (self.readout == self.steps)
            self.readout = torch.where(first, torch.full_like(self.readout, t), self.readout)

    def _count_synapses(self, node: SynapticNode, arrivals: list[Signal]) -> None:
        def total(field: str, zeros: bool = False) -> Tensor:
            parts = zip(node.fan_outs, arrivals, strict=True)
            return sum(
                (fan_out.count(getattr(signal, field), zeros) for fan_out, signal in parts),
                torch.zeros(self.samples, dtype=torch.int64, device=self.device),
            )

        self._count("synops", node.name, total("spikes"))
        self._count("synops_with_zeros", node.name, total("spikes", zeros=True))
        self._count("macs", node.name, total("analog"))

    def _count(self, key: str, name: str, per_sample: Tensor) -> None:
        self.counts[key].setdefault(name, []).append(per_sample)

    def result(self, wanted: Sequence[str]) -> ReferenceResult:
        """Everything as NumPy arrays."""
        readout = self.readout
        if self.net.readout == "mean":
            readout = readout / torch.full_like(readout, self.steps)
        output = readout.to(torch.float32).cpu().numpy()
        flat = output.reshape(self.samples, -1)
        lowest = self.net.readout == "first_spike"
        # NumPy gives the first of equals, as S6 wants.
        best = flat.argmin(1) if lowest else flat.argmax(1)
        return ReferenceResult(
            output=output,
            predictions=best.astype(np.int64),
            spikes=_stacked(self.spikes) if "spikes" in wanted else {},
            v=_stacked(self.v) if "v" in wanted else {},
            current=_stacked(self.current) if "current" in wanted else {},
            counts={key: _stacked(table) for key, table in self.counts.items()},
            state=self.state(),
            n_steps=self.steps,
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """The whole state in named arrays."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, state in self.states.items():
            for field in ("v", "i", "n", "a", "r"):
                arrays[f"{name}.{field}"] = getattr(state, field).cpu().numpy().copy()
        for name, sums in self.sums.items():
            arrays[f"{name}.sum"] = sums.cpu().numpy().copy()
        for name, past in self.past.items():
            for field in ("value", "spikes", "analog"):
                stacked = torch.stack([getattr(signal, field) for signal in past])
                arrays[f"{name}.past.{field}"] = stacked.cpu().numpy().copy()
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Goes on from `state()` of an earlier run (S1.5)."""
        expected = self.state()
        if arrays.keys() != expected.keys():
            raise InputError("reference: state is of another network, expected one of this network")
        for key, array in expected.items():
            if arrays[key].shape != array.shape:
                raise ShapeError(
                    f"reference: state {key} has shape {arrays[key].shape}, expected {array.shape}"
                )

        def load(key: str) -> Tensor:
            return torch.from_numpy(np.array(arrays[key])).to(self.device)

        for name in self.states:
            fields = ("v", "i", "n", "a", "r")
            self.states[name] = State(*(load(f"{name}.{field}") for field in fields))
        for name in self.sums:
            self.sums[name] = load(f"{name}.sum")
        for name in self.past:
            parts = [load(f"{name}.past.{field}") for field in ("value", "spikes", "analog")]
            self.past[name] = [Signal(*signal) for signal in zip(*parts, strict=True)]


def _stacked(lists: dict[str, list[Tensor]]) -> dict[str, NDArray[Any]]:
    return {name: torch.stack(steps).cpu().numpy() for name, steps in lists.items()}
