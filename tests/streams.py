"""The streaming executor behind the face of engines.py: each sample is a stream of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

import spikesim as ss
from engines import TABLES, Outcome


class Streamed:
    """net.compile().stream, one stream a sample; the summed inputs are not to be seen."""

    def __init__(self, net: ss.Network, sparse: bool = False, **options: Any) -> None:
        self.net = net
        self.sparse = sparse
        self.options = options
        self.sims: list[ss.Simulator] = []
        self.visits: list[int] = []
        self.report: dict[str, str] = {}

    def run(
        self, x: Any, n_steps: int | None = None, reset: bool = True, layout: str | None = None
    ) -> Outcome:
        x = np.asarray(x, np.float32)
        shape = tuple(self.net.input_shape)
        if layout == "T":
            x = x[:, None]
        elif x.ndim == len(shape) + 1:
            x = np.broadcast_to(x, (n_steps or 1, *x.shape))
        if reset or not self.sims:
            self.sims = [self.net.compile(**self.options) for _ in range(x.shape[1])]
        nodes = [n for n in self.net.nodes if isinstance(n.op, ss.Neuron)]
        steps, samples = x.shape[:2]
        v = {n.name: np.zeros((steps, samples, *n.shape), np.float32) for n in nodes}
        spikes = {n.name: np.zeros_like(v[n.name]) for n in nodes if n.op.spikes != "none"}
        outputs, best = [], []
        tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
        for s, sim in enumerate(self.sims):
            stream = sim.stream(self.steps(x[:, s]), spikes=True, reset=reset)
            self.report = stream.report
            for out in stream:
                state = sim.state_dict()
                for name in v:
                    v[name][out.t, s] = state[f"{name}.v"][0]
                for name, (neuron, count) in out.spikes.items():
                    spikes[name][out.t, s].reshape(-1)[neuron] = count
                self.visits.append(out.counts.neuron_visits)
                for table, layers in tables.items():
                    for layer, value in out.counts.table(table).items():
                        whole = layers.setdefault(layer, np.zeros((steps, samples), np.int64))
                        whole[out.t, s] = value[0, 0]
            outputs.append(out.output)
            best.append(out.prediction)
        return Outcome(np.stack(outputs), np.array(best), spikes, v, current={}, counts=tables)

    def steps(self, x: Any) -> Any:
        """A sample's raster, or its values that are not zero."""
        if not self.sparse:
            return x
        return [(np.flatnonzero(step), step.ravel()[np.flatnonzero(step)]) for step in x]


def seen(outcome: Outcome) -> Outcome:
    """An outcome without what a stream does not show."""
    return Outcome(
        outcome.output, outcome.predictions, outcome.spikes, outcome.v, {}, outcome.counts
    )
