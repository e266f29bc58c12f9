"""What DiehlCook asks of its engines in the core: their state, counts and pieces of work."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikesim._core import ConductanceModel as _Conductance
from spikesim._core import DiehlCook as _Core
from spikesim.errors import FormatError
from spikesim.learn._files import Arrays
from spikesim.learn.votes import UNKNOWN, Labels, NGrams

#: How long the core goes on before Ctrl-C is looked for, in seconds.
PAUSE = 0.05


def taken(engine: _Core | _Conductance) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Everything learned, and of conductances where their populations stand."""
    learned = engine.weights(), engine.theta(), engine.seen, engine.counts
    return learned, engine.state() if isinstance(engine, _Conductance) else None


def restored(
    engine: _Core | _Conductance, taken: tuple[tuple[Any, ...], tuple[Any, ...] | None]
) -> None:
    learned, state = taken
    engine.restore(*learned)
    if isinstance(engine, _Conductance) and state is not None:
        engine.restore_state(*state)


#: Names of the core's counts, in its order.
COUNTS = ("presentations", "input_spikes", "spikes", "synops", "weight_updates")


def counted(counts: tuple[int, int, int, int, int]) -> dict[str, int]:
    """The core's counts by name."""
    return dict(zip(COUNTS, counts, strict=True))


def next_size(size: int, seconds: float) -> int:
    """Samples of the next call, so that it takes about PAUSE."""
    if seconds < PAUSE / 2:
        return min(2 * size, 4096)
    return max(size // 2, 1) if seconds > PAUSE else size


def saved(engine: _Core | _Conductance) -> tuple[Arrays, dict[str, Any]]:
    """What a file keeps of an engine."""
    arrays: Arrays = {"weights": engine.weights(), "theta": engine.theta()}
    values: dict[str, Any] = {"seen": engine.seen, "counts": list(engine.counts)}
    if isinstance(engine, _Conductance):
        state, inputs, neurons, values["step"] = engine.state()
        arrays |= {"populations": state, "last_inputs": inputs, "last_spikes": neurons}
    return arrays, values


def loaded(
    engine: _Core | _Conductance, arrays: Arrays, values: dict[str, Any], shape: tuple[int, int]
) -> None:
    """The engine goes on from what `saved` gave; `shape` is that of its weights."""
    counts = tuple(int(n) for n in values["counts"])
    if len(counts) != len(COUNTS):
        raise ValueError(f"counts has {len(counts)} numbers")
    if arrays["weights"].shape != shape or arrays["theta"].shape != shape[1:]:
        raise FormatError(f"weights have shape {arrays['weights'].shape}, expected {shape}")
    engine.restore(arrays["weights"], arrays["theta"], int(values["seen"]), counts)
    if isinstance(engine, _Conductance):
        names = ("populations", "last_inputs", "last_spikes")
        state, inputs, neurons = (arrays[name] for name in names)
        engine.restore_state(state, inputs, neurons, int(values["step"]))


def named(arrays: Arrays, n_neurons: int) -> tuple[Labels, NGrams]:
    """Labels and runs of a file, if they hold together."""
    classes, labels, rates = arrays["classes"], arrays["labels"], arrays["rates"]
    runs, counts = arrays["runs"], arrays["run_counts"]
    many = (len(classes),)
    for name, shape, dtype in (
        ("classes", many, np.int64),
        ("labels", (n_neurons,), np.int64),
        ("rates", (n_neurons, *many), np.float64),
        ("runs", (len(runs), *runs.shape[1:2]), np.uint32),
        ("run_counts", (len(runs), *many), np.int64),
    ):
        array = arrays[name]
        if array.shape != shape or array.dtype != dtype:
            raise FormatError(
                f"{name} is {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}"
            )
    if not (np.diff(classes) > 0).all() or not np.isin(labels, [UNKNOWN, *classes]).all():
        raise FormatError("labels are not those of classes, which ascend")
    if not (np.isfinite(rates) & (rates >= 0)).all() or not (counts >= 0).all():
        raise FormatError("rates and run_counts are not all finite and at least 0")
    return Labels(classes, rates, labels), NGrams(runs.shape[1], runs, counts)
