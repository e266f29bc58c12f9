"""The rows of a scenario: every contestant checked, then timed in turns."""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

import expected
import memory
from contestants import CONTESTANTS, Spikesim, missing
from row import Contestant, Row

# Seconds between two calls.
SETTLE = 0.01

# A contestant that would need more than this is skipped by name.
MOST_BYTES = 8 * 2**30

# Where calls are slow, this many do, after this many times the measuring time.
FEWEST_CALLS, PATIENCE = 3, 4


@dataclass
class Found:
    """What a run found."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    spikes: dict[str, int] = field(default_factory=dict)
    """By cell, for --record."""


def timed(contestants: list[Contestant], seconds: float, repeats: int) -> dict[str, list[float]]:
    """Seconds of each call; everyone's turn comes equally often."""
    times: dict[str, list[float]] = {c.name: [] for c in contestants}
    start = time.perf_counter()
    while True:
        spent, calls = time.perf_counter() - start, len(times[contestants[0].name])
        if calls >= repeats and spent >= seconds:
            return times
        if calls >= FEWEST_CALLS and spent > PATIENCE * seconds:
            return times
        for contestant in contestants:
            # Another's threads may spin for a while after their work.
            time.sleep(SETTLE)
            begin = time.perf_counter()
            contestant.run()
            times[contestant.name].append(time.perf_counter() - begin)


def cells(scenario: dict[str, Any], args: argparse.Namespace) -> Iterator[tuple[float, int, int]]:
    """Rate, T and batch of each cell."""
    for rate in scenario["rates"]:
        for n_steps in _several(scenario["n_steps"]):
            for batch in args.batch or scenario["batches"]:
                yield rate, n_steps, batch


def measure(scenario: dict[str, Any], args: argparse.Namespace) -> Found:
    """The rows of one scenario."""
    found = Found()
    for rate, n_steps, batch in cells(scenario, args):
        for threads in [args.threads] if args.threads else _several(scenario["threads"]):
            torch.set_num_threads(threads)
            row = Row(scenario["network"], rate, batch, n_steps, threads)
            _cell(scenario, row, args, found)
            del row
            gc.collect()
    return found


def _cell(scenario: dict[str, Any], row: Row, args: argparse.Namespace, found: Found) -> None:
    own = row.batch in scenario["batches"]
    states: dict[str, str] = {}
    made: list[Contestant] = []
    for kind in CONTESTANTS:
        if args.only and kind is not Spikesim and not any(p in kind.name for p in args.only):
            continue
        contestant, states[kind.name] = _made(kind, row)
        if contestant is not None:
            made.append(contestant)
    if not made or type(made[0]) is not Spikesim:
        found.complaints.append(f"{scenario['name']}: spikesim is {states['spikesim']}")
        return
    reference = made[0]
    spikes = {c.name: c.check() for c in made if isinstance(c, Spikesim)}
    for contestant in made:
        if contestant.name in spikes:
            cell = expected.key(row.rate, row.n_steps, row.batch, contestant.precision)
            found.spikes[cell] = sum(spikes[contestant.name].values())
            complaint = expected.complaint(scenario, cell, found.spikes[cell], own)
            if complaint is not None and not args.record:
                found.complaints.append(complaint)
                states[contestant.name] = "wrong"
    verdicts = {c.name: c.verify(reference) for c in made}
    for name, verdict in verdicts.items():
        if verdict is False:
            states[name] = "wrong"
            found.complaints.append(f"{scenario['name']}: {name} is wrong on {_where(row)}")
    agreements = {c.name: c.agreement(reference) for c in made}
    # A wrong engine has no time.
    running = [c for c in made if states[c.name] == "measured"]
    times = timed(running, args.seconds, args.repeats) if running and not args.record else {}
    ours = times.get(reference.name)
    for kind in CONTESTANTS:
        if kind.name not in states:
            continue
        own_times = times.get(kind.name)
        contestant = next((c for c in made if type(c) is kind), None)
        fired = spikes.get(kind.name, spikes[reference.name]) if kind.spiking else None
        held = None
        if isinstance(contestant, Spikesim) and own_times is not None:
            held = memory.measure(
                row.net, row.x.numpy(), row.n_steps, row.threads, contestant.precision
            )
        found.rows.append(
            {
                "scenario": scenario["name"],
                "engine": kind.name,
                "status": states[kind.name],
                "version": None if contestant is None else kind.version(),
                "options": "" if contestant is None else contestant.options,
                "precision": kind.precision,
                "batch": row.batch,
                "threads": row.threads,
                "n_steps": row.n_steps,
                "rate": None if fired is None else _rate(row, fired),
                "target_rate": row.rate,
                "spikes_per_sample": None if fired is None else sum(fired.values()) / row.batch,
                "median_ms_per_sample": _ms(own_times, row.batch, 0.5),
                "iqr_ms": _spread(own_times, row.batch),
                "calls": 0 if own_times is None else len(own_times),
                "over_spikesim": (
                    None
                    if own_times is None or ours is None
                    else statistics.median(own_times) / statistics.median(ours)
                ),
                "checked": verdicts.get(kind.name),
                "agreement": agreements.get(kind.name),
                "memory_mib": held,
            }
        )


def _made(kind: type[Contestant], row: Row) -> tuple[Contestant | None, str]:
    """The contestant, settled; or why there is none."""
    lacking = missing(kind)
    if lacking is not None:
        return None, f"not installed: {lacking}"
    needed = kind.bytes_needed(row)
    if needed > MOST_BYTES:
        return None, f"skipped: needs {needed / 2**30:.1f} GiB, more than 8"
    try:
        contestant = kind(row)
        contestant.settle()
    except Exception as error:
        # One that cannot do this network is named with its reason.
        return None, f"cannot: {type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return contestant, "measured"


def _where(row: Row) -> str:
    return expected.key(row.rate, row.n_steps, row.batch)


def _several(value: Any) -> list[int]:
    return list(value) if isinstance(value, list) else [value]


def _ms(times: list[float] | None, batch: int, quantile: float) -> float | None:
    return None if times is None else float(np.quantile(times, quantile)) * 1e3 / batch


def _spread(times: list[float] | None, batch: int) -> float | None:
    if times is None:
        return None
    return float(np.quantile(times, 0.75) - np.quantile(times, 0.25)) * 1e3 / batch


def _rate(row: Row, spikes: dict[str, int]) -> float:
    return sum(spikes.values()) / (row.neurons * row.n_steps * row.batch)
