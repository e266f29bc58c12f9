"""`method="auto"`: the method that does best on the calibration data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spikesim.convert.ann.data import Samples
from spikesim.convert.ann.evaluate import outputs_by_steps, predictions
from spikesim.convert.ann.graph import Ann
from spikesim.convert.ann.methods import METHODS, Task, options_of
from spikesim.convert.ann.progress import Stages
from spikesim.convert.report import Finding
from spikesim.errors import InputError, UnsupportedError
from spikesim.network import Network

CANDIDATES: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("calibrated", {}),
    ("percentile", {"v0": 0.5}),
    ("channel_wise", {"v0": 0.5}),
)
"""What is tried, in this order; of equals the first is taken."""

LEAST_HELD = 128
"""Calibration samples from which on a quarter is held back to judge the candidates."""


def choose(
    ann: Ann, data: Samples | None, n_steps: int, options: Mapping[str, Any], stages: Stages
) -> tuple[str, Mapping[str, Any], Network, list[Finding]]:
    """The method, its options, its network, and what the others did.

    QCFS throughout is converted as such. Else each candidate is judged at `n_steps` by how often
    its class is the ANN's, then by how far its output is from the ANN's.
    """
    if all(one.kind == "qcfs" for one in ann.activations.values()):
        given = options_of("qcfs", options)
        return "qcfs", given, METHODS["qcfs"].run(Task(ann, data, n_steps, given)), []
    if data is None:
        raise InputError(
            "convert: calibration is missing, expected samples; give calibration=x, of the data "
            "that the ANN was trained on"
        )
    # Judged on samples that nothing was fitted to, where there are enough.
    held = len(data) // 4 if len(data) >= LEAST_HELD else 0
    judged = data if not held else data.tail(held)
    data = data.head(len(data) - held)
    truth = ann.predict(judged.x)
    best: tuple[tuple[float, float], str, Mapping[str, Any], Network] | None = None
    tried: list[Finding] = []
    refused: list[UnsupportedError] = []
    for method, defaults in CANDIDATES:
        allowed = {k: v for k, v in options.items() if k in METHODS[method].options}
        given = options_of(method, {**defaults, **allowed})
        tell = stages.stage(f"calibrating ({method})")
        try:
            net = METHODS[method].run(Task(ann, data, n_steps, given, tell))
        except UnsupportedError as error:  # a leaky ReLU can't be calibrated
            tried.append(Finding("info", "network", f"auto can't use {method}: {error}"))
            refused.append(error)
            continue
        (output,) = outputs_by_steps(
            net, judged.x, [n_steps], tell=stages.stage(f"trying {method}")
        ).values()
        agreement = float(np.mean(predictions(output) == predictions(truth)))
        distance = float(np.sqrt(np.mean((output - truth) ** 2)))
        tried.append(
            Finding(
                "info",
                "network",
                f"auto tried {method}: {100 * agreement:.2f} % of the calibration samples are "
                f"predicted as the ANN does at T={n_steps}, outputs differ by {distance:.3g} (RMS)",
            )
        )
        if best is None or (agreement, -distance) > best[0]:
            best = ((agreement, -distance), method, given, net)
    if best is None:  # something that no method can convert
        raise refused[-1]
    unknown = [k for k in options if all(k not in METHODS[m].options for m, _ in CANDIDATES)]
    if unknown:
        options_of(best[1], {unknown[0]: options[unknown[0]]})
    return best[1], best[2], best[3], tried
