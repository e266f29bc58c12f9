"""`Twin`: a network that learns, in plain NumPy: what `spikesim.learn.Learner` means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UnsupportedError
from spikesim.learn.parts import Rule
from spikesim.learn.reference.cells import Floats, Layer, Population, State, plain
from spikesim.learn.reference.competition import Competition
from spikesim.learn.reference.plasticity import Plasticity
from spikesim.learn.wta import AdaptiveThreshold, Part
from spikesim.network import Edge, Network
from spikesim.ops import Conv1d, Conv2d, Linear, Neuron

__all__ = ["Twin", "TwinResult"]


@dataclass
class TwinResult:
    """Spikes and membranes `(T, N, *shape)` of each population."""

    spikes: dict[str, Floats]
    v: dict[str, Floats]


class Twin:
    """A network that learns by `rules`; arguments are those of `Learner`.

    Raises:
        UnsupportedError: A node that the twin has no plain form of.
    """

    def __init__(
        self,
        net: Network,
        rules: Mapping[Any, Rule] | None = None,
        wta: Mapping[str, Sequence[Part]] | None = None,
        homeostasis: Mapping[str, AdaptiveThreshold] | None = None,
        seed: int = 0,
    ) -> None:
        self.net = net
        self.nodes = {node.name: node for node in net.nodes}
        self.incoming = {name: [e for e in net.edges if e.dst == name] for name in self.nodes}
        self.layers: dict[str, Layer] = {}
        self.populations: dict[str, Population] = {}
        self.kept = set(homeostasis or {})
        for name, node in self.nodes.items():
            op = node.op if node.kind != "input" else None
            if isinstance(op, Neuron):
                if name in self.kept:
                    op = _adaptive(op, (homeostasis or {})[name])
                self.populations[name] = Population(name, op, node.shape)
            elif isinstance(op, Linear | Conv1d | Conv2d):
                if getattr(op, "delay", None) is not None:
                    raise UnsupportedError(f"{name}: delays of synapses are not in the twin")
                self.layers[name] = Layer(op, node.in_shape)
        self.rules: list[tuple[str, Plasticity]] = []
        for place, rule in (rules or {}).items():
            source, name = place if isinstance(place, tuple) else (None, place)
            into = self.incoming[name]
            edges = [k for k, e in enumerate(into) if source in (None, e.src)]
            self.rules.append((name, Plasticity(rule, self.layers[name], edges)))
        self.target = {e.src: e.dst for e in net.edges}
        order = list(self.nodes)
        self.wta = {
            name: Competition(parts, self.nodes[name].shape, order.index(name), seed)
            for name, parts in (wta or {}).items()
        }
        for _, plasticity in self.rules:
            plasticity.normalise(every=True)
        self.samples = 0
        self.state: dict[str, State] = {n: p.start() for n, p in self.populations.items()}
        self._clear()

    def _clear(self) -> None:
        for name, population in self.populations.items():
            adapted = self.state[name].a
            self.state[name] = population.start()
            if name in self.kept:
                self.state[name].a = adapted
        for _, rule in self.rules:
            rule.reset()
        for competition in self.wta.values():
            competition.reset()
        self.past: dict[str, list[Floats]] = {name: [] for name in self.nodes}
        self.t = 0

    def run(
        self, x: NDArray[Any], reward: NDArray[Any] | None = None, reset: bool = True
    ) -> TwinResult:
        """Learns from a raster `(T, N, *input_shape)`; `reward` is `(T, N)`."""
        steps, samples = x.shape[:2]
        names = list(self.populations)
        spikes: dict[str, list[Floats]] = {name: [] for name in names}
        v: dict[str, list[Floats]] = {name: [] for name in names}
        for n in range(samples):
            if reset:
                self._clear()
            self.samples += 1
            for t in range(steps):
                z = self._step(x[t, n].astype(np.float32), 0 if reward is None else reward[t, n])
                for name in names:
                    spikes[name].append(z[name])
                    v[name].append(self.state[name].v)
            for _, rule in self.rules:
                if rule.rule.normalise is not None and rule.rule.normalise.every is None:
                    rule.normalise(every=False)

        def gather(all_rows: dict[str, list[Floats]]) -> dict[str, Floats]:
            stacked = {name: np.stack(rows) for name, rows in all_rows.items()}
            return {
                name: rows.reshape(samples, steps, *rows.shape[1:]).swapaxes(0, 1)
                for name, rows in stacked.items()
            }

        return TwinResult(gather(spikes), gather(v))

    def _step(self, x: Floats, reward: float) -> dict[str, Floats]:
        values: dict[str, Floats] = {"input": x}
        z: dict[str, Floats] = {}
        waiting = [name for name in self.nodes if name != "input"]
        while waiting:
            name = next(
                n for n in waiting if all(e.delay or e.src in values for e in self.incoming[n])
            )
            waiting.remove(name)
            self._node(name, [self._value(e, values) for e in self.incoming[name]], values, z)
        for name, rule in self.rules:
            into = [self.incoming[name][k] for k in rule.edges]
            arrived = [self._value(e, values) for e in into]
            rule.step(arrived, z[self.target[name]], self.t, reward)
        for name, value in values.items():
            self.past[name].append(value)
        self.t += 1
        for _, rule in self.rules:
            every = rule.rule.normalise.every if rule.rule.normalise else None
            if every is not None and self.t % every == 0:
                rule.normalise(every=False)
        return z

    def _value(self, edge: Edge, values: dict[str, Floats]) -> Floats:
        if edge.delay == 0:
            return values[edge.src]
        if edge.delay > self.t:
            return np.zeros(self.nodes[edge.src].shape, dtype=np.float32)
        return self.past[edge.src][self.t - edge.delay]

    def _node(
        self, name: str, arrived: list[Floats], values: dict[str, Floats], z: dict[str, Floats]
    ) -> None:
        shape = self.nodes[name].shape
        if name in self.layers:
            layer = self.layers[name]
            total = layer.edge(arrived[0])
            for value in arrived[1:]:
                total = total + layer.edge(value)
            if layer.bias is not None:
                total = total + layer.bias[:, None, None]
            values[name] = total.reshape(shape)
            return
        if name not in self.populations:
            values[name] = plain(name, self.nodes[name].op, arrived, shape)
            return
        total = arrived[0]
        for value in arrived[1:]:
            total = total + value
        competition = self.wta.get(name)
        winners = None
        if competition is not None:
            total = competition.inhibit(total)
            one, t, sample = competition, self.t, self.samples - 1
            winners = lambda fired, margin: one.select(fired, margin, t, sample)  # noqa: E731
        population = self.populations[name]
        self.state[name], z[name], values[name] = population.step(self.state[name], total, winners)
        if competition is not None:
            competition.hear(z[name], self.t)

    def weight(self, name: str) -> Floats:
        """The weights of a layer as they are now."""
        layer = self.layers[name]
        return layer.weight.reshape(layer.shape).copy()

    def theta(self, name: str) -> Floats:
        """By how much the thresholds of a population have risen."""
        return self.state[name].a


def _adaptive(op: Neuron, rule: AdaptiveThreshold) -> Neuron:
    values = {f.name: getattr(op, f.name) for f in fields(op) if f.init}
    values.update(theta_plus=rule.theta_plus, alpha_theta=rule.alpha)
    return Neuron(**values)
