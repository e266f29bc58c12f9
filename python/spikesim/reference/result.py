"""What a run of the reference gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ReferenceResult:
    """Dense results; T steps, N samples, keys are node names."""

    output: NDArray[np.float32]
    """(N, *output_shape): what the readout says (S7)."""

    predictions: NDArray[np.int64]
    """(N,): index of the largest output, of the smallest first spike (S6)."""

    spikes: dict[str, NDArray[np.float32]]
    """Populations that spike: (T, N, *shape), number of spikes z with its sign."""

    v: dict[str, NDArray[np.float32]]
    """Populations: (T, N, *shape), membrane at the end of the step."""

    current: dict[str, NDArray[np.float32]]
    """Populations: (T, N, *shape), summed input of the step."""

    counts: dict[str, dict[str, NDArray[np.int64]]]
    """"synops", "synops_with_zeros", "macs" by synaptic node, "neuron_updates" and "spikes" by
    population; each (T, N)."""

    state: dict[str, NDArray[Any]]
    """What `run(..., state=)` goes on from."""

    n_steps: int
    """T."""
