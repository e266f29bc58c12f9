"""The rules themselves, as `spikesim.reference` carries them out; every population has them."""

from __future__ import annotations

from typing import Any

import torch

from spikesim.conformance.cells.base import Cell, Fields, Step
from spikesim.reference.neuron import Population


def cell(f: Fields) -> Cell:
    """The population as the reference runs it."""

    def start(n: int) -> Step:
        population = Population(f.op, f.shape, torch.device("cpu"))
        state = [population.start(n)]

        def step(x: Any) -> Any:
            state[0], z, out = population.step(state[0], x)
            return (z if population.spikes else None), state[0].v.clone(), out

        return step

    return Cell("spikesim.reference", start)
