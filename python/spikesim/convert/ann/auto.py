"""`method="auto"`: the method that does best on the calibration data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    # Nearer to the trained weights: a few samples overfit less.
    ("calibrated", {"ridge": 10.0}),
    ("percentile", {"v0": 0.5}),
    ("channel_wise", {"v0": 0.5}),
    # Few steps want low thresholds, many want none clipped.
    ("channel_wise", {"v0": 0.5, "percentile": 97.0}),
    ("channel_wise", {"v0": 0.5, "percentile": 99.0}),
    ("channel_wise", {"v0": 0.5, "percentile": 100.0}),
)
"""What is tried, in this order; of equals the first is taken."""

HELD = 4
"""One calibration sample in so many is held back to judge the candidates."""

LEAST_HELD = 128
"""Calibration samples from which on that is done."""


@dataclass(frozen=True)
class Tried:
    """A candidate and how it did on the samples that judge.

    Attributes:
        method: its name.
        options: all of the method's, with values.
        net: its network.
        right: by sample, whether its class is the label (or the ANN's, without labels).
        distance: of its output from the ANN's, root of the mean square.
    """

    method: str
    options: Mapping[str, Any]
    net: Network
    right: NDArray[np.bool_]
    distance: float


def best(tried: Sequence[Tried]) -> Tried:
    """The candidate that is right most often; among its equals, the nearest to the ANN.

    Equal are candidates whose paired difference from the most accurate is within one standard
    error: of the samples on which just one of the two is right, n, it has not more than √n more.
    With few samples accuracy alone would draw lots. Of what is equal in all, the first.
    """
    most = max(tried, key=lambda one: (int(one.right.sum()), -one.distance))

    def equal(one: Tried) -> bool:
        ahead = int((most.right & ~one.right).sum())
        behind = int((one.right & ~most.right).sum())
        return ahead - behind <= math.sqrt(ahead + behind)

    return min(filter(equal, tried), key=lambda one: one.distance)


def candidates(options: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(how it is called, method, options) with the caller's options, none twice."""
    found: list[tuple[str, str, Mapping[str, Any]]] = []
    for method, defaults in CANDIDATES:
        allowed = {k: v for k, v in options.items() if k in METHODS[method].options}
        chosen = {**defaults, **allowed}
        given = options_of(method, chosen)
        if all((method, given) != (other, theirs) for _, other, theirs in found):
            said = ", ".join(f"{k}={v}" for k, v in chosen.items())
            found.append((f"{method} ({said})" if said else method, method, given))
    return found


def choose(
    ann: Ann, data: Samples | None, n_steps: int, options: Mapping[str, Any], stages: Stages
) -> tuple[str, Mapping[str, Any], Network, list[Finding]]:
    """The method, its options, its network, and what all candidates did.

    QCFS throughout is converted as such. Else each candidate is calibrated on a part of the data
    and judged at `n_steps` on the rest (`best`): by the labels, or where there are none by how
    often its class is the ANN's. The one that is chosen is then calibrated on all of them.
    """
    if all(one.kind == "qcfs" for one in ann.activations.values()):
        given = options_of("qcfs", options)
        return "qcfs", given, METHODS["qcfs"].run(Task(ann, data, n_steps, given)), []
    if data is None:
        raise InputError(
            "convert: calibration is missing, expected samples; give calibration=x, of the data "
            "that the ANN was trained on"
        )
    held = len(data) >= LEAST_HELD
    fitted, judged = data.parted(HELD) if held else (data, data)
    truth = ann.predict(judged.x)
    goal = predictions(truth) if judged.y is None else judged.y
    found: list[Tried] = []
    findings: list[Finding] = []
    refused: list[UnsupportedError] = []
    for label, method, values in candidates(options):
        tell = stages.stage(f"calibrating ({label})")
        try:
            net = METHODS[method].run(Task(ann, fitted, n_steps, values, tell))
        except UnsupportedError as error:  # a leaky ReLU can't be calibrated
            findings.append(Finding("info", "network", f"auto can't use {label}: {error}"))
            refused.append(error)
            continue
        (output,) = outputs_by_steps(
            net, judged.x, [n_steps], tell=stages.stage(f"trying {label}")
        ).values()
        right = predictions(output) == goal
        distance = float(np.sqrt(np.mean((output - truth) ** 2)))
        found.append(Tried(method, values, net, right, distance))
        findings.append(
            Finding(
                "info",
                "network",
                f"auto tried {label}: {100 * right.mean():.2f} % of {len(judged)} "
                f"{'held-out' if held else 'calibration'} samples "
                f"{'are predicted as the ANN does' if judged.y is None else 'are told rightly'} "
                f"at T={n_steps}, outputs differ by {distance:.3g} (RMS)",
            )
        )
    if not found:  # something that no method can convert
        raise refused[-1]
    chosen = best(found)
    unknown = [k for k in options if all(k not in METHODS[m].options for m, _ in CANDIDATES)]
    if unknown:
        options_of(chosen.method, {unknown[0]: options[unknown[0]]})
    if not held:
        return chosen.method, chosen.options, chosen.net, findings
    # What judged it is no longer needed for that, and a quarter more of the samples tells.
    task = Task(ann, data, n_steps, chosen.options, stages.stage("calibrating on all samples"))
    return chosen.method, chosen.options, METHODS[chosen.method].run(task), findings
