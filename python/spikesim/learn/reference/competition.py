"""Winner-take-all carried out plainly (S11.10 to S11.15)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.learn.reference.cells import Floats
from spikesim.learn.reference.numbers import exp_of_negative, unit
from spikesim.learn.reference.philox import one
from spikesim.learn.wta import KWTA, HardWTA, LateralInhibition, MapInhibition, Part, SoftWTA

SOFT = 0x736F6674

Neuron = tuple[int, int, int]
"""(map, row, column)."""


class Competition:
    """The parts of one population, of `shape`."""

    def __init__(
        self, parts: Sequence[Part], shape: tuple[int, ...], population: int, seed: int
    ) -> None:
        channels, *places = shape
        self.dims = (channels, *(1, 1, *places)[-2:])
        self.parts, self.shape, self.population, self.seed = parts, shape, population, seed
        self.reset()

    def reset(self) -> None:
        """Nothing is remembered."""
        self.winners: list[Neuron] = []
        self.last_map: dict[tuple[int, int], tuple[int, int]] = {}
        self.recent: list[Floats] = []

    def inhibit(self, x: Floats) -> Floats:
        """S11.15: the input without what the other neurons' last spikes take from it."""
        for part in self.parts:
            if isinstance(part, LateralInhibition):
                own = np.zeros(self.shape, dtype=np.float32)
                for z in self.recent[-part.duration :]:
                    own = own + z
                x = x + -(np.float32(part.strength) * (own.sum(dtype=np.float32) - own))
        return x

    def select(self, fired: NDArray[np.bool_], margin: Floats, t: int, sample: int) -> Any:
        """Those that fire of those that reached their threshold."""
        margins = margin.reshape(self.dims)
        order = [tuple(int(k) for k in at) for at in np.argwhere(fired.reshape(self.dims))]
        order.sort(key=lambda at: -margins[at])  # stable: of equals the lowest index first
        for part in self.parts:
            if isinstance(part, HardWTA):
                order = order[:1]
            elif isinstance(part, KWTA):
                order = self._k(part, order)
            elif isinstance(part, MapInhibition):
                order = self._map(part, order, t)
            elif isinstance(part, SoftWTA):
                order = self._draw(part, order, margins, t, sample)
        out = np.zeros(self.dims, dtype=bool)
        for at in order:
            out[at] = True
        return out.reshape(self.shape)

    def _k(self, part: KWTA, order: list[Any]) -> list[Any]:
        before = list(self.winners) if part.per_sample else []
        winners, chosen = list(before), []
        for at in order:
            if at in before:
                chosen.append(at)
                continue
            close = [
                other
                for other in winners
                if (part.radius is not None and self._distance(at, other) <= part.radius)
                or (part.one_per_map and at[0] == other[0])
            ]
            if len(winners) < part.k and not close:
                winners.append(at)
                chosen.append(at)
        if part.per_sample:
            self.winners = winners
        return chosen

    def _distance(self, a: Neuron, b: Neuron) -> int:
        if self.dims[1] * self.dims[2] == 1:
            return abs(a[0] - b[0])
        return max(abs(a[1] - b[1]), abs(a[2] - b[2]))

    def _map(self, part: MapInhibition, order: list[Any], t: int) -> list[Any]:
        chosen: list[Any] = []
        for at in order:
            last = self.last_map.get(at[1:])
            rests = last is not None and last[0] != at[0]
            if rests and last is not None and part.duration is not None:
                rests = t - last[1] <= part.duration
            if not rests and all(other[1:] != at[1:] for other in chosen):
                chosen.append(at)
        return chosen

    def _draw(
        self, part: SoftWTA, order: list[Any], margins: Floats, t: int, sample: int
    ) -> list[Any]:
        if not order:
            return order
        largest = float(margins[order[0]])
        ascending = sorted(order)
        weights = [
            exp_of_negative((float(margins[at]) - largest) / part.temperature) for at in ascending
        ]
        total = 0.0
        for weight in weights:
            total += weight
        mark = unit(one((SOFT, sample, self.population, t), self.seed)[0]) * total
        running = 0.0
        for at, weight in zip(ascending, weights, strict=True):
            running += weight
            if running > mark:
                return [at]
        return [ascending[-1]]

    def hear(self, z: Floats, t: int) -> None:
        """Who fired in step `t`."""
        self.recent.append(z)
        for m, y, x in np.argwhere(z.reshape(self.dims)):
            self.last_map[int(y), int(x)] = (int(m), t)
