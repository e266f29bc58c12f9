"""The report of a conversion."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spikesim.convert.report import form, html, text
from spikesim.convert.report.entries import Finding, Unconverted
from spikesim.convert.report.intervals import wilson
from spikesim.convert.report.layers import LayerReport
from spikesim.convert.report.predict import StepsPrediction, predict_steps
from spikesim.convert.report.theory import steps, whole
from spikesim.errors import InputError

Threshold = float | tuple[float, ...]


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion did and what it cost.

    Fractions are 0 to 1. Plain mappings, sequences and NumPy numbers are taken and kept as
    dictionaries, tuples and Python numbers; the tables by steps are kept in ascending order.

    Attributes:
        method: Of the conversion.
        n_steps: Steps at which the layers were measured.
        n_samples: Samples on which accuracy and agreement were measured.
        ann_accuracy: Of the ANN on them; None without labels.
        accuracy_by_steps: T → accuracy of the network; empty without labels.
        agreement_by_steps: T → fraction of the samples predicted as the ANN predicts them.
        layers: The populations in the order of a step.
        unconverted: Parts of the ANN that the network does not have.
        findings: What the doctor found.
        max_pools: Max pool → what it became.
        thresholds: Layer → θ, one number or one a channel, in the units of the activation.
        seconds: Time the conversion took; None where it was not measured.

    Raises:
        InputError: NaN, a fraction outside [0, 1], steps or samples below 1.

    Example:
        >>> report = ConversionReport("qcfs", 4, 1000, 0.99, {1: 0.91, 2: 0.97, 4: 0.985})
        >>> report.steps_for(0.98).n_steps
        4
    """

    method: str
    n_steps: int
    n_samples: int
    ann_accuracy: float | None = None
    accuracy_by_steps: Mapping[int, float] = field(default_factory=dict)
    agreement_by_steps: Mapping[int, float] = field(default_factory=dict)
    layers: Sequence[LayerReport] = ()
    unconverted: Sequence[Unconverted] = ()
    findings: Sequence[Finding] = ()
    max_pools: Mapping[str, str] = field(default_factory=dict)
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    seconds: float | None = None

    def __post_init__(self) -> None:
        keep = object.__setattr__
        keep(self, "n_steps", steps(self.n_steps))
        keep(self, "n_samples", whole("n_samples", self.n_samples))
        if self.ann_accuracy is not None:
            keep(self, "ann_accuracy", _fraction("ann_accuracy", self.ann_accuracy))
        for name in ("accuracy_by_steps", "agreement_by_steps"):
            table = {steps(t): _fraction(name, a) for t, a in getattr(self, name).items()}
            keep(self, name, dict(sorted(table.items())))
        for name in ("layers", "unconverted", "findings"):
            keep(self, name, tuple(getattr(self, name)))
        keep(self, "max_pools", dict(self.max_pools))
        keep(self, "thresholds", {k: _threshold(k, v) for k, v in self.thresholds.items()})
        if self.seconds is not None:
            if not (math.isfinite(self.seconds) and self.seconds >= 0):
                raise InputError(f"report: seconds is {self.seconds}, expected a time from 0")
            keep(self, "seconds", float(self.seconds))

    @property
    def intervals(self) -> dict[int, tuple[float, float]]:
        """T → 95 % interval (Wilson) of the accuracy: where another set of samples would land."""
        return {t: wilson(a, self.n_samples) for t, a in self.accuracy_by_steps.items()}

    @property
    def ann_interval(self) -> tuple[float, float] | None:
        """95 % interval of the ANN's accuracy."""
        return None if self.ann_accuracy is None else wilson(self.ann_accuracy, self.n_samples)

    @property
    def accuracy(self) -> float | None:
        """Accuracy at `n_steps`; None where it was not measured."""
        return self.accuracy_by_steps.get(self.n_steps)

    def layer(self, name: str) -> LayerReport:
        """The layer called `name`.

        Raises:
            InputError: There is none.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in self.layers) or "none"
        raise InputError(f"report: layer {name!r} is unknown, expected one of {known}")

    def steps_for(
        self, accuracy: float, of: Literal["accuracy", "agreement"] = "accuracy"
    ) -> StepsPrediction:
        """Predicts the fewest steps that reach an accuracy on the samples of this report.

        Args:
            accuracy: What is wanted, 0 to 1.
            of: "accuracy", or "agreement": the fraction predicted as the ANN does, which needs
                no labels.

        Returns:
            The T with its interval, or why there is none
            (:class:`~spikesim.convert.report.predict.StepsPrediction`).

        Raises:
            InputError: It was not measured, or the accuracy is outside [0, 1].
        """
        shares = [layer.errors.shares["clipping"] for layer in self.layers if layer.errors]
        clipping = sum(shares) / len(shares) if shares else 0.5
        if of == "agreement":
            table, reference = self.agreement_by_steps, 1.0
            return predict_steps(accuracy, table, self.n_samples, reference, table, clipping)
        if of != "accuracy":
            raise InputError(f"report: of is {of!r}, expected accuracy or agreement")
        if not self.accuracy_by_steps and self.agreement_by_steps:
            raise InputError(
                "report: accuracy was not measured, expected labels; or ask of='agreement'"
            )
        return predict_steps(
            accuracy,
            self.accuracy_by_steps,
            self.n_samples,
            self.ann_accuracy,
            self.agreement_by_steps,
            clipping,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; steps are strings there."""
        return form.to_dict(self)

    def to_json(self, indent: int | None = None) -> str:
        """One JSON object; every number comes back as it was (:meth:`from_json`)."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, data: str | bytes) -> ConversionReport:
        """The report that :meth:`to_json` wrote.

        Raises:
            FormatError: It is no JSON, of another version, has a key too many or too few, a value
                of the wrong type, or one that contradicts the others.
        """
        return form.from_json(cls, data)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """A page that needs nothing else: no network, no script; light and dark.

        Args:
            path: Where to write it as UTF-8; None: nowhere.

        Returns:
            The page.
        """
        page = html.page(self)
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def __str__(self) -> str:
        return text.table(self)


def _fraction(name: str, value: float) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise InputError(f"report: {name} is {number}, expected 0 to 1")
    return number


def _threshold(name: str, value: Any) -> Threshold:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim > 1 or array.size == 0 or not (np.isfinite(array).all() and (array > 0).all()):
        raise InputError(
            f"report: threshold of {name!r} is {value!r}, "
            "expected one number above zero or one a channel"
        )
    return float(array) if array.ndim == 0 else tuple(array.tolist())
