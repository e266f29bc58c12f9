"""One converted layer in numbers, and what collects them over batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.convert.report.errors import ErrorMeter, LayerErrors, checked_ann, checked_counts
from spikesim.convert.report.theory import Activation, along, numbers, steps, thresholds
from spikesim.errors import InputError, ShapeError


@dataclass(frozen=True)
class LayerReport:
    """One population of the converted network over all samples.

    Attributes:
        name: Node of the network.
        kind: The ANN's activation that it stands for, such as "ReLU" or "QCFS(L=4)".
        shape: Of the population, without samples.
        threshold: Smallest and largest θ, in the units of the ANN's activation.
        v0: Smallest and largest membrane before the first step, in the same units.
        rate: Spikes a neuron and step, 0 to 1; negative ones count too.
        ann_mean: Mean of the ANN's activation; None where the ANN was not run beside it.
        snn_mean: Mean of `θ·N/T`.
        errors: The kinds of error, in units of θ; None where the drive was not recorded.
        dead_silent: Fraction of the neurons that never fired, where the ANN never did either.
        dead_active: Fraction of the neurons that never fired though the ANN's did. Without the
            ANN all dead neurons count as `dead_silent`.
        saturated: Fraction of neurons and samples with a spike at every step.
        agreement: Correlation of `θ·N/T` and the ANN's activation over neurons and samples; None
            without the ANN, or where one of them never varies.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    threshold: tuple[float, float]
    v0: tuple[float, float]
    rate: float
    snn_mean: float
    ann_mean: float | None = None
    errors: LayerErrors | None = None
    dead_silent: float = 0.0
    dead_active: float = 0.0
    saturated: float = 0.0
    agreement: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        for name in ("threshold", "v0"):
            low, high = (float(x) for x in getattr(self, name))
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise InputError(
                    f"report: {name} of {self.name!r} is ({low}, {high}), expected (least, largest)"
                )
            object.__setattr__(self, name, (low, high))
        for name in ("rate", "dead_silent", "dead_active", "saturated"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(f"report: {name} of {self.name!r} is {value}, expected 0 to 1")
        for name in ("snn_mean", "ann_mean", "agreement"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise InputError(f"report: {name} of {self.name!r} is {value}, expected finite")

    @property
    def n_neurons(self) -> int:
        """Neurons of the population."""
        return math.prod(self.shape)

    @property
    def dead(self) -> float:
        """Fraction of the neurons that never fired."""
        return self.dead_silent + self.dead_active


class LayerMeter:
    """Collects a :class:`LayerReport` over batches, in float64.

    Args:
        name: Node of the network.
        shape: Of the population, without samples.
        n_steps: `T`.
        threshold: `θ` in the units of the ANN's activation: one number, one a channel (first
            axis) or one a neuron.
        v0: Membrane before the first step, likewise.
        activation: The ANN's; None: ReLU.

    Example:
        >>> meter = LayerMeter("relu1", (2,), n_steps=4, threshold=1.0)
        >>> meter.add(counts=[[2, 0]], z=[[0.5, -1.0]], ann=[[0.5, 0.0]])
        >>> meter.result().rate, meter.result().dead_silent
        (0.25, 0.5)
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        n_steps: int,
        threshold: ArrayLike,
        v0: ArrayLike = 0.0,
        activation: Activation | None = None,
    ) -> None:
        self.name = name
        self.shape = tuple(int(n) for n in shape)
        self.n_steps = steps(n_steps)
        self.activation = Activation() if activation is None else activation
        self._theta = thresholds(threshold, self.shape)
        self._v0 = along("v0", v0, self.shape)
        self._errors = ErrorMeter(self.n_steps, threshold, v0, self.activation)
        self._samples = 0
        self._spikes = 0
        self._saturated = 0
        self._fired: NDArray[np.bool_] = np.zeros(self.shape, bool)
        self._active: NDArray[np.bool_] = np.zeros(self.shape, bool)
        self._snn = _Moments()
        self._has = {"z": False, "ann": False}

    def add(
        self, counts: ArrayLike, z: ArrayLike | None = None, ann: ArrayLike | None = None
    ) -> None:
        """One batch.

        Args:
            counts: `(N, *shape)`, spikes in `T` steps, negative ones subtracted.
            z: `(N, *shape)`, the layer's own mean drive; with all batches or none.
            ann: `(N, *shape)`, what the ANN's layer put out; with all batches or none.

        Raises:
            InputError: NaN, counts that are not whole or more than one a step, or an argument
                that comes with some batches only.
            ShapeError: Shapes that differ.
        """
        spikes = numbers("counts", counts)
        if spikes.ndim != len(self.shape) + 1 or spikes.shape[1:] != self.shape:
            raise ShapeError(
                f"report: counts of {self.name!r} have shape {spikes.shape}, "
                f"expected (N, {', '.join(map(str, self.shape))})"
            )
        given = {"z": z is not None, "ann": ann is not None}
        for name in given:
            if self._samples and given[name] != self._has[name]:
                raise InputError(
                    f"report: {name} of {self.name!r} comes with some batches only, expected all"
                )
        output = self._theta * spikes / self.n_steps
        reference = output if ann is None else checked_ann(ann, spikes.shape)
        if z is None:
            checked_counts(spikes, spikes.shape, self.n_steps, self.activation)
        else:
            self._errors.add(z, spikes, ann)
        # Nothing of a batch that was refused is kept.
        self._has = given
        self._samples += spikes.shape[0]
        size = np.abs(spikes)
        self._spikes += int(size.sum())
        self._saturated += int(np.count_nonzero(size == self.n_steps))
        self._fired |= (spikes != 0).any(axis=0)
        if ann is not None:
            self._active |= (reference != 0).any(axis=0)
        self._snn.add(output, reference)

    def result(self) -> LayerReport:
        """The layer so far.

        Raises:
            InputError: No samples were added, or the layer has no neurons.
        """
        neurons = math.prod(self.shape)
        if self._samples == 0 or neurons == 0:
            raise InputError(
                f"report: {self.name!r} has {self._samples} samples of {neurons} neurons, "
                "expected at least one of each"
            )
        entries = self._samples * neurons
        dead = ~self._fired
        return LayerReport(
            name=self.name,
            kind=str(self.activation),
            shape=self.shape,
            threshold=(float(self._theta.min()), float(self._theta.max())),
            v0=(float(self._v0.min()), float(self._v0.max())),
            rate=self._spikes / (entries * self.n_steps),
            snn_mean=self._snn.mean_x,
            ann_mean=self._snn.mean_y if self._has["ann"] else None,
            errors=self._errors.result() if self._has["z"] else None,
            dead_silent=int(np.count_nonzero(dead & ~self._active)) / neurons,
            dead_active=int(np.count_nonzero(dead & self._active)) / neurons,
            saturated=self._saturated / entries,
            agreement=self._snn.correlation if self._has["ann"] else None,
        )


class _Moments:
    """Means and centred second moments of pairs, batch by batch (Chan et al., 1983)."""

    def __init__(self) -> None:
        self.n = 0
        self.mean_x = self.mean_y = 0.0
        self.xx = self.yy = self.xy = 0.0
        self._first: tuple[float, float] | None = None
        self._varies = [False, False]

    def add(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        n = x.size
        if n == 0:
            return
        if self._first is None:
            self._first = (float(x.flat[0]), float(y.flat[0]))
        for i, (values, first) in enumerate(zip((x, y), self._first, strict=True)):
            self._varies[i] |= bool((values != first).any())
        mx, my = float(x.mean()), float(y.mean())
        dx, dy = mx - self.mean_x, my - self.mean_y
        both = self.n + n
        weight = self.n * n / both
        self.xx += float(np.square(x - mx).sum()) + dx * dx * weight
        self.yy += float(np.square(y - my).sum()) + dy * dy * weight
        self.xy += float(((x - mx) * (y - my)).sum()) + dx * dy * weight
        self.mean_x += dx * n / both
        self.mean_y += dy * n / both
        self.n = both

    @property
    def correlation(self) -> float | None:
        scale = math.sqrt(self.xx) * math.sqrt(self.yy)
        # Whether a side varies is asked of the values: rounding of its mean leaves some xx anyway.
        if scale == 0.0 or not all(self._varies):
            return None
        return max(-1.0, min(1.0, self.xy / scale))
