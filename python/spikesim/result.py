"""What a run gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import InputError

if TYPE_CHECKING:
    import os

    from spikesim.energy import EnergyReport

_T = TypeVar("_T")

#: Every counter; all but `macs_executed` and `neuron_visits` follow from the network, the input
#: and the rules alone.
COUNTERS = (
    "synops",
    "synops_with_zeros",
    "macs",
    "macs_executed",
    "neuron_updates",
    "neuron_visits",
    "spikes",
)


@dataclass(frozen=True, eq=False)
class SpikeRaster:
    """Spikes of one population as columns, sorted by (step, sample, neuron)."""

    step: NDArray[np.int64]
    """Step of each entry."""

    sample: NDArray[np.int64]
    """Sample of each entry."""

    neuron: NDArray[np.int64]
    """C-order index in the population's shape."""

    count: NDArray[np.int64]
    """Number of spikes; 1 for plain neurons, negative for negative spikes."""

    shape: tuple[int, ...]
    """(T, N, *shape of the population)."""

    def __len__(self) -> int:
        return len(self.step)

    def to_dense(self) -> NDArray[np.float32]:
        """`(T, N, *shape)` float32: the number of spikes."""
        steps, samples = self.shape[:2]
        dense = np.zeros((steps, samples, int(np.prod(self.shape[2:], dtype=np.int64))), np.float32)
        dense[self.step, self.sample, self.neuron] = self.count
        return dense.reshape(self.shape)


class Counts:
    """Exact counts of a run (rules S10 of docs/semantics.md).

    The same for every level, thread count, batch and layout. `synops`: one for each spike and
    each nonzero weight it meets; `synops_with_zeros`: zero weights too; `macs`: the same for
    graded or analog values, at every step; `macs_executed`: what the engine did of them;
    `neuron_updates`: neurons × T; `neuron_visits`: neurons the engine touched; `spikes`.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, NDArray[np.uint64]]]) -> None:
        self._tables = tables

    def table(self, name: str) -> dict[str, NDArray[np.uint64]]:
        """Layer → `(T, N)` uint64 of one counter; layers that can't have it are left out."""
        if name not in COUNTERS:
            raise InputError(f"counts: {name!r} is unknown, expected one of {', '.join(COUNTERS)}")
        return {layer: t[name] for layer, t in self._tables.items() if name in t}

    def by_layer(self) -> dict[str, dict[str, int]]:
        """Layer → counter → total of the run."""
        return {
            layer: {name: int(table.sum(dtype=np.uint64)) for name, table in tables.items()}
            for layer, tables in self._tables.items()
        }

    def total(self, name: str) -> int:
        """One counter over all layers, steps and samples."""
        return sum(int(table.sum(dtype=np.uint64)) for table in self.table(name).values())

    @property
    def synops(self) -> int:
        """Synaptic operations."""
        return self.total("synops")

    @property
    def synops_with_zeros(self) -> int:
        """Synaptic operations, zero weights counted."""
        return self.total("synops_with_zeros")

    @property
    def macs(self) -> int:
        """Multiply-accumulates of graded or analog values."""
        return self.total("macs")

    @property
    def macs_executed(self) -> int:
        """Multiply-accumulates that the engine did: a constant input is summed once."""
        return self.total("macs_executed")

    @property
    def neuron_updates(self) -> int:
        """Neurons × steps × samples."""
        return self.total("neuron_updates")

    @property
    def neuron_visits(self) -> int:
        """Neuron updates that the engine did."""
        return self.total("neuron_visits")

    @property
    def spikes(self) -> int:
        """Spikes of all populations."""
        return self.total("spikes")

    def __repr__(self) -> str:
        names = ("synops", "macs", "neuron_updates", "spikes")
        return f"Counts({', '.join(f'{name}={self.total(name)}' for name in names)})"


class Recorded(dict[str, _T]):
    """What was recorded, by population; says how to record what is not there."""

    def __init__(self, values: Mapping[str, _T], what: str, done: bool) -> None:
        super().__init__(values)
        self._what, self._done = what, done

    def __missing__(self, name: str) -> _T:
        if not self._done:
            raise InputError(
                f'result: {self._what} was not recorded, expected record=("{self._what}",) in run()'
            )
        raise InputError(
            f"result: {name!r} is no population, expected one of {', '.join(self) or '(none)'}"
        )


@dataclass(frozen=True, eq=False)
class Result:
    """What a run gives back; T steps, N samples."""

    output: NDArray[np.float32]
    """(N, *output_shape): what the readout says (S7)."""

    predictions: NDArray[np.int64]
    """(N,): index of the largest output (of the smallest first spike); ties to the lowest."""

    counts: Counts
    """Exact counts."""

    n_steps: int
    """T."""

    recorded: frozenset[str]
    """What was recorded."""

    spikes: Mapping[str, SpikeRaster]
    """With record "spikes": populations that spike."""

    v: Mapping[str, NDArray[np.float32]]
    """With record "v": (T, N, *shape), the membrane after the step, as the next step sees it."""

    current: Mapping[str, NDArray[np.float32]]
    """With record "current": (T, N, *shape), the summed input of the step."""

    leaky: frozenset[str]
    """Populations whose state decays; their updates cost a multiplication."""

    def __post_init__(self) -> None:
        for what in ("spikes", "v", "current"):
            values = Recorded(getattr(self, what), what, what in self.recorded)
            object.__setattr__(self, what, values)

    def energy(self, profile: str | os.PathLike[str] = "horowitz45-fp32") -> EnergyReport:
        """Prices the run by a profile of `spikesim.energy`.

        Raises:
            InputError: No such profile.
            FormatError: A profile file that is none.
        """
        from spikesim import energy

        return energy.report(self.counts.by_layer(), profile, len(self.output), self.leaky)
