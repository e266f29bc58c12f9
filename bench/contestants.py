"""What is measured: spikesim, the other libraries on the same weights, and the network's ANN.

A contestant is made once per row and then called. `run` is the timed call and returns the
readout; `check` runs once more, untimed, and returns the spikes of every neuron layer.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

import anns
import snn_libraries
import spikesim as ss
from row import Contestant, Counts, Row, same_predictions


class Spikesim(Contestant):
    """The engine."""

    name, package = "spikesim", "spikesim"

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self.sim = row.net.compile(precision=self.precision, threads=row.threads)
        self.x = row.x.numpy()

    def run(self) -> NDArray[Any]:
        return np.asarray(self.sim.run(self.x, n_steps=self.row.n_steps).output)

    def check(self) -> Counts:
        counts = self.sim.run(self.x, n_steps=self.row.n_steps).counts
        return {name: int(table.sum()) for name, table in counts.table("spikes").items()}

    @classmethod
    def version(cls) -> str:
        return ss.__version__


class SpikesimI8(Spikesim):
    """The engine in integers: other spikes than in float32, held to their own expected count."""

    name, precision = "spikesim i8", "i8"

    def verify(self, reference: Contestant) -> bool | None:
        return None

    def agreement(self, reference: Contestant) -> float | None:
        return same_predictions(self.run(), reference.run())


CONTESTANTS: tuple[type[Contestant], ...] = (
    Spikesim,
    SpikesimI8,
    snn_libraries.SpikingJellyMulti,
    snn_libraries.SpikingJellySingle,
    snn_libraries.SnnTorch,
    snn_libraries.Sinabs,
    snn_libraries.Norse,
    anns.Ann,
    anns.Compiled,
    anns.OnnxRuntime,
    anns.OnnxRuntimeInt8,
    anns.OpenVino,
    anns.OpenVinoBf16,
    anns.OpenVinoInt8,
)


def missing(contestant: type[Contestant]) -> str | None:
    """The first module that is not installed."""
    for module in (contestant.package, *contestant.needs):
        if importlib.util.find_spec(module) is None:
            return module
    return None
