"""Two traces side by side: where they part, and whether rounding explains it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.conformance.report import Comparison, Difference, LayerReport, Verdict
from spikesim.conformance.rounding import Decisions, bar, bars, decisions, proved
from spikesim.conformance.ties import Ties, ties
from spikesim.conformance.trace import (
    Array,
    Trace,
    heard_late,
    in_order,
    populations,
    run_alone,
    spread,
    upstream,
)
from spikesim.errors import InputError
from spikesim.network import Network
from spikesim.ops import Neuron

Mask = NDArray[np.bool_]

_WORST: tuple[Verdict, ...] = ("equal", "follows", "within rounding", "differs")


def compare(net: Network, ours: Trace, theirs: Trace) -> tuple[LayerReport, ...]:
    """A row for each population, in the order of a step, and one for an output that is none.

    Args:
        net: The network.
        ours: What the engine did.
        theirs: What the other side did with the same input.
    """
    neurons = populations(net)
    order = [name for name in in_order(net) if name in neurons]
    parting = _Parting(net, order, neurons, ours, theirs)
    loops = heard_late(net)
    rows = []
    for name in order:
        op = neurons[name]
        alone = None if name in loops and name not in theirs.cells else _alone(op, name, theirs)
        shape = tuple(net.node(name).shape)
        probe = None if name in theirs.unsaid else theirs.probes.get(name)
        tied = None if probe is None else ties(op, shape, probe)
        run = parting.end_to_end(name, op)
        apart = None
        if run is not None and run.verdict != "differs":
            apart = parting.other_input(name)
        if apart is not None and name in theirs.inner:
            # What the other side was given is not what ours hears: a cell with weights inside, or
            # one that takes its input a step later. That both agree end to end is what shows.
            alone = tied = apart = None
        row = _row(name, math.prod(shape), op, theirs, run, alone, tied)
        if apart is not None and row.verdict != "differs":
            note = f"its input differs by {apart:.2g}, more than rounding"
            row = replace(row, verdict="differs", note=note)
        rows.append(row)
    if net.output not in neurons and theirs.out is not None and ours.out is not None:
        rows.append(_output(net, ours.out, theirs.out, parting.first))
    return tuple(_settled(rows))


class _Parting:
    """Where two runs part: for each sample the first step in which any population differs."""

    def __init__(
        self,
        net: Network,
        order: list[str],
        neurons: dict[str, Neuron],
        ours: Trace,
        theirs: Trace,
    ) -> None:
        self.ours, self.theirs = ours, theirs
        self.before = upstream(net)
        self.differs = {
            name: _different(neurons[name], name, ours, theirs)
            for name in order
            if name in theirs.spikes
        }
        shown = next(iter(ours.v.values()), ours.out)
        shape = (1, 0) if shown is None else shown.shape[:2]
        self.steps, self.samples = shape
        # (T, N) by population.
        self.any: dict[str, Mask] = {
            name: np.asarray(differs.reshape(*shape, -1).any(2), bool)
            for name, differs in self.differs.items()
        }
        anywhere = np.zeros(shape, bool)
        for mask in self.any.values():
            anywhere |= mask
        self.first = np.where(anywhere.any(0), np.argmax(anywhere, 0), self.steps)

    def end_to_end(self, name: str, op: Neuron) -> Comparison | None:
        """What of the difference arises in `name`, each side feeding itself."""
        if name in self.theirs.unsaid:
            return None
        z, z_theirs = self.ours.spikes.get(name), self.theirs.spikes.get(name)
        v_theirs = self.theirs.v.get(name)
        if z_theirs is None and v_theirs is None:
            return None
        roots: Mask | None = None
        if z is not None and z_theirs is not None:
            roots = np.zeros(z.shape, bool)
            for sample in range(self.samples):
                if self.first[sample] >= self.steps:
                    continue
                t = int(self.first[sample])
                if self.any[name][t, sample] and not self._upstream_differs(name, t, sample):
                    roots[t, sample] = self.differs[name][t, sample]
        same = np.arange(self.steps)[:, None] < self.first
        compared = np.broadcast_to(
            same.reshape(*same.shape, *(1 for _ in self.ours.v[name].shape[2:])),
            self.ours.v[name].shape,
        )
        return _comparison(op, name, self.ours, self.theirs, roots, compared)

    def other_input(self, name: str) -> float | None:
        """How far inputs are apart while no spike is, where that is more than rounding."""
        if name not in self.theirs.current:
            return None
        x, x_theirs = self.ours.current[name], self.theirs.current[name]
        same = np.arange(self.steps)[:, None] < self.first
        apart = np.abs(x.astype(np.float64) - x_theirs)
        beyond = (apart > bars(x, x_theirs)) & same.reshape(*same.shape, *(1 for _ in x.shape[2:]))
        return float(apart[beyond].max()) if beyond.any() else None

    def _upstream_differs(self, name: str, t: int, sample: int) -> bool:
        return any(self.any[other][t, sample] for other in self.before[name] if other in self.any)


def _alone(op: Neuron, name: str, theirs: Trace) -> Comparison | None:
    """Our population on the input that theirs had: only its own step can differ."""
    if name in theirs.unsaid or name not in theirs.current:
        return None
    z_theirs, v_theirs = theirs.spikes.get(name), theirs.v.get(name)
    if z_theirs is None and v_theirs is None:
        return None
    ran = run_alone(op, theirs.current[name])
    ours = Trace(
        spikes={name: ran.spikes["n"]} if "n" in ran.spikes else {},
        v={name: ran.v["n"]},
        current={name: ran.current["n"]},
    )
    roots: Mask | None = None
    compared: Mask = np.ones(ours.v[name].shape, bool)
    if name in ours.spikes and z_theirs is not None:
        differs = _different(op, name, ours, theirs)
        parted = np.logical_or.accumulate(differs, axis=0)
        roots = differs & ~np.concatenate([np.zeros_like(parted[:1]), parted[:-1]])
        compared = ~parted
    return _comparison(op, name, ours, theirs, roots, compared)


def _different(op: Neuron, name: str, ours: Trace, theirs: Trace) -> Mask:
    """Entries with another decision: another number of spikes, or another guard (S3.19)."""
    differs: Mask = ours.spikes[name] != theirs.spikes[name]
    if op.reset_timing == "same_step_guarded" and name in theirs.v:
        theta = spread(op.v_threshold, differs.shape[2:])

        def held(v: Array) -> Mask:
            fires: Mask = v >= theta if op.fires == ">=" else v > theta
            return fires

        # The guard of a step is decided by the membrane that the step before left.
        differs[1:] |= held(ours.v[name][:-1]) != held(theirs.v[name][:-1])
    return differs


def _comparison(
    op: Neuron,
    name: str,
    ours: Trace,
    theirs: Trace,
    roots: Mask | None,
    compared: Mask,
) -> Comparison:
    """Counts, membranes where `compared`, and the margins of `roots`."""
    v, v_theirs = ours.v[name], theirs.v.get(name)
    max_dv = limit = None
    beyond = 0
    if v_theirs is not None:
        # Float64: a difference is not rounded, an overflow not hidden.
        apart = np.abs(v.astype(np.float64) - v_theirs)
        max_dv, limit = float(apart[compared].max(initial=0.0)), bar(v_theirs[compared])
        # A neuron whose membrane is small is not excused by one whose membrane is large.
        beyond = int((compared & ~(apart <= bars(v_theirs, ours.current[name]))).sum())
    z, z_theirs = ours.spikes.get(name), theirs.spikes.get(name)
    if z is None or z_theirs is None or roots is None:
        return Comparison(0, 0, 0, 0, 0, max_dv, limit, beyond, None)
    parted, unexplained, first = int(roots.sum()), 0, None
    if parted:
        met = decisions(op, ours.current[name], v, z, z_theirs)
        where = np.argwhere(roots)
        outside = met.distance[roots] > met.bound[roots]
        same_number = proved(op, met, name, ours, theirs)
        outside |= same_number[roots]
        unexplained = int(outside.sum())
        shown = where[outside][0] if unexplained else where[0]
        at = tuple(int(i) for i in shown)
        first = _difference(at, met, z, z_theirs, v, v_theirs)
        first = replace(first, proved=bool(same_number[at]))
    return Comparison(
        int(np.abs(z).sum(dtype=np.float64)),
        int(np.abs(z_theirs).sum(dtype=np.float64)),
        int((z != z_theirs).sum()),
        parted,
        unexplained,
        max_dv,
        limit,
        beyond,
        first,
    )


def _difference(
    at: tuple[int, ...], met: Decisions, z: Array, z_theirs: Array, v: Array, v_theirs: Any
) -> Difference:
    return Difference(
        step=at[0],
        sample=at[1],
        neuron=int(np.ravel_multi_index(at[2:], z.shape[2:])),
        spikes=float(z[at]),
        spikes_theirs=float(z_theirs[at]),
        v=float(v[at]),
        v_theirs=None if v_theirs is None else float(v_theirs[at]),
        h=float(met.h[at]),
        threshold=float(met.theta[at]),
        margin=float(met.distance[at]),
        rounding=float(met.bound[at]),
    )


def _row(
    name: str,
    neurons: int,
    op: Neuron,
    theirs: Trace,
    run: Comparison | None,
    alone: Comparison | None,
    tied: Ties | None,
) -> LayerReport:
    verdict: Verdict
    note = ""
    runs = [r for r in (run, alone) if r is not None]
    if name in theirs.unsaid:
        verdict, note = "no cell", theirs.unsaid[name]
    elif not runs:
        verdict, note = "not recorded", "the other side shows neither spikes nor membrane"
    else:
        verdict = max((r.verdict for r in runs), key=_WORST.index)
        if verdict == "differs" and alone is not None and alone.verdict == "equal":
            note = "the population alone is equal: what feeds it differs"
        fired = any(r.spikes or r.spikes_theirs for r in runs)
        if tied == "differs":
            verdict, note = "differs", "a membrane that is the threshold fires on one side only"
        if verdict == "equal" and op.spikes != "none" and not fired:
            verdict, note = "silent", "never fired, which proves nothing"
        if verdict == "equal" and op.spikes == "none" and not theirs.v[name].any():
            verdict, note = "silent", "its membrane is always 0, which proves nothing"
    return LayerReport(
        name, theirs.cells.get(name, "recorded"), neurons, verdict, run, alone, tied, note
    )


def _output(net: Network, ours: Array, theirs: Array, first: NDArray[Any]) -> LayerReport:
    """An output that is no population, every step of it until a sample parts."""
    if theirs.shape != ours.shape:
        raise InputError(
            f"conformance: the output of the other side has shape {theirs.shape}, expected "
            f"{ours.shape}: (T, N, *output_shape)"
        )
    same = np.arange(len(ours))[:, None] < first
    compared = np.broadcast_to(same.reshape(*same.shape, *(1 for _ in ours.shape[2:])), ours.shape)
    apart = np.abs(ours.astype(np.float64) - theirs)
    beyond = int((compared & ~(apart <= bars(ours, theirs))).sum())
    largest = float(apart[compared].max(initial=0.0))
    run = Comparison(0, 0, 0, 0, 0, largest, bar(theirs[compared]), beyond, None)
    verdict: Verdict = run.verdict if compared.any() else "follows"
    note = ""
    if verdict == "equal" and not (ours[compared].any() or theirs[compared].any()):
        verdict, note = "silent", "always 0, which proves nothing"
    neurons = math.prod(ours.shape[2:])
    return LayerReport(net.output, "output", neurons, verdict, run, note=note)


def _settled(rows: list[LayerReport]) -> list[LayerReport]:
    """What follows only from differences within rounding is within rounding itself."""
    if any(row.verdict in ("differs", "no cell") for row in rows):
        return rows
    return [
        replace(row, verdict="within rounding") if row.verdict == "follows" else row for row in rows
    ]
