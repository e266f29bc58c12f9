"""Carries out a conversion and writes its report."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from spikesim import ops
from spikesim._inputs import whole_number
from spikesim.convert.ann import diagnose as foreign
from spikesim.convert.ann import measure
from spikesim.convert.ann.auto import choose
from spikesim.convert.ann.data import Samples
from spikesim.convert.ann.evaluate import STEPS, outputs_by_steps, predictions
from spikesim.convert.ann.graph import Ann
from spikesim.convert.ann.methods import METHODS, Task, options_of
from spikesim.convert.ann.notes import notes
from spikesim.convert.ann.progress import Stages
from spikesim.convert.report import ConversionReport, Finding, Unconverted, diagnose
from spikesim.convert.report.entries import SEVERITIES
from spikesim.errors import InputError, ShapeError
from spikesim.network import Network

DEFAULT_STEPS = 32

MEASURED = 1024
"""Calibration samples on which a network is measured at most, where nothing else is given."""


def converted(
    ann: Ann,
    data: Samples | None,
    validation: Samples | None,
    *,
    method: str,
    n_steps: int | None,
    steps: list[int] | None,
    options: Mapping[str, Any],
    stages: Stages,
    started: float,
) -> tuple[Network, ConversionReport]:
    """The network of an ANN and its report; the arguments are those of `spikesim.convert`."""
    for part, what in ((data, "calibration"), (validation, "validation")):
        if part is not None and part.shape != ann.input_shape:
            raise ShapeError(
                f"convert: {what} has samples of shape {part.shape}, expected {ann.input_shape}"
            )
    chosen = default_steps(ann) if n_steps is None else whole_number("convert", "n_steps", n_steps)
    tried: list[Finding] = []
    if method == "auto":
        method, options, net, tried = choose(ann, data, chosen, options, stages)
    else:
        given = options_of(method, options)
        task = Task(ann, data, chosen, given, stages.stage(f"calibrating ({method})"))
        net, options = METHODS[method].run(task), given
    net.meta = {
        "n_steps": chosen,
        "source": {
            "format": "ann",
            "method": method,
            "options": {k: v for k, v in options.items() if v is not None},
            "paper": METHODS[method].source,
        },
    }
    found, lost = notes(ann, net)
    report = examine(
        ann,
        net,
        validation or (None if data is None else data.spread(MEASURED)),
        method=method,
        n_steps=chosen,
        steps=steps,
        findings=[*found, *tried],
        unconverted=lost,
        stages=stages,
        started=started,
    )
    return net, report


def diagnosed(
    ann: Ann,
    net: Network,
    data: Samples,
    *,
    n_steps: int | None,
    steps: list[int] | None,
    stages: Stages,
    started: float,
) -> ConversionReport:
    """The report on any network that is said to be an ANN's, whoever made it."""
    chosen = n_steps if n_steps is not None else net.meta.get("n_steps", default_steps(ann))
    chosen = whole_number("doctor", "n_steps", chosen)
    for name, mine, theirs in (
        ("input", net.input_shape, ann.input_shape),
        ("output", net.output_shape, ann.net.output_shape),
    ):
        if mine != theirs:
            raise ShapeError(
                f"doctor: the network's {name} has shape {mine}, expected {theirs} as the ANN's"
            )
    found, lost = notes(ann, net)
    source = net.meta.get("source", {})
    method = source.get("method") if isinstance(source, Mapping) else None
    return examine(
        ann,
        net,
        data,
        method=str(method or "unknown"),
        n_steps=chosen,
        steps=steps,
        findings=[
            *found,
            *foreign.forgotten_norms(ann, net),
            *foreign.unknown_populations(ann, net),
        ],
        unconverted=lost,
        stages=stages,
        started=started,
        heights=foreign.heights(ann, net, data, chosen),
    )


def default_steps(ann: Ann) -> int:
    """L for QCFS, where T = L has no conversion error, else 32."""
    levels = [one.levels for one in ann.activations.values() if one.kind == "qcfs"]
    return max(levels) if len(levels) == len(ann.activations) else DEFAULT_STEPS


def examine(
    ann: Ann,
    net: Network,
    data: Samples | None,
    *,
    method: str,
    n_steps: int,
    steps: list[int] | None,
    findings: list[Finding],
    unconverted: list[Unconverted],
    stages: Stages,
    started: float,
    heights: Mapping[str, Any] | None = None,
) -> ConversionReport:
    """Measures a network beside its ANN."""
    populations = {n.name: n.op for n in net.nodes if isinstance(n.op, ops.Neuron)}
    known: dict[str, Any] = {
        "method": method,
        "n_steps": n_steps,
        "max_pools": {name: _pool(net, name) for name in ann.pools},
        "thresholds": {
            name: op.v_threshold.astype(np.float64)
            for name, op in populations.items()
            if name in ann.activations and op.v_threshold.ndim < 2
        },
        "unconverted": unconverted,
    }
    if data is None:
        unmeasured = Finding(
            "info",
            "network",
            "nothing was measured: there are no samples",
            "give calibration or validation data",
        )
        return ConversionReport(
            **known,
            n_samples=1,
            findings=[*findings, unmeasured],
            seconds=time.perf_counter() - started,
        )
    classes_of = math.prod(ann.net.output_shape)
    if data.y is not None and not 0 <= int(data.y.min()) <= int(data.y.max()) < classes_of:
        raise InputError(
            f"convert: labels go from {data.y.min()} to {data.y.max()}, expected 0 to "
            f"{classes_of - 1}, the outputs of the ANN"
        )
    wanted = sorted({*(steps or [n for n in STEPS if n <= max(n_steps, 32)]), n_steps})
    outputs = outputs_by_steps(net, data.x, wanted, tell=stages.stage("running"))
    ann_classes = predictions(ann.predict(data.x))
    classes = {n: predictions(output) for n, output in outputs.items()}
    accuracy: dict[str, Any] = {}
    if data.y is not None:
        accuracy = {
            "ann_accuracy": float(np.mean(ann_classes == data.y)),
            "accuracy_by_steps": {n: float(np.mean(c == data.y)) for n, c in classes.items()},
        }
    agreement = {n: float(np.mean(c == ann_classes)) for n, c in classes.items()}
    layers = measure.layers(
        ann, net, data, n_steps, heights=heights, tell=stages.stage("measuring layers")
    )
    report = ConversionReport(
        **known,
        **accuracy,
        n_samples=len(data),
        agreement_by_steps=agreement,
        layers=layers,
        findings=findings,
        seconds=time.perf_counter() - started,
    )
    found = sorted((*findings, *diagnose(report)), key=lambda one: SEVERITIES.index(one.severity))
    return replace(report, findings=found)


def _pool(net: Network, name: str) -> str:
    for node in net.nodes:
        if node.name == name:
            gate = getattr(node.op, "gate", None)
            return type(node.op).__name__ + ("" if gate is None else f' (gate "{gate}")')
    return "nothing"
