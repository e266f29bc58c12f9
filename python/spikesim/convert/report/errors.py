"""The three errors of a converted layer, apart from what it inherited.

What a layer puts out, `φ`, differs from what the ANN's layer did, `r_ann`, by

    φ − r_ann = [c − r(z)] + [Q_T(z) − c] + [φ − Q_T(z)] + [r(z) − r_ann]
                 clipping     quantisation    unevenness     inherited

with `c = r(z)` kept to what the neuron can say, `[0, θ]` (signed neurons `[−θ, θ]`); for a ReLU
that is `clip(z, 0, θ)`. The sum telescopes: nothing is lost and nothing counted twice.

Which `z`: the layer's OWN mean drive in the spiking network, `z = W·φ_{l−1} + b`
(:func:`~spikesim.convert.report.theory.mean_drive` has it from counts and membrane), not the ANN's
pre-activation. Then the first three are what this layer did, even where the layers before it were
already wrong, and `inherited` is what those handed down. With the ANN's pre-activation instead,
the fault of one layer would show up as unevenness of every later one.

For QCFS the staircase belongs to the ANN, so `r = ĥ`: quantisation is `Q_T − ĥ`, zero where `T = L`
(Theorem 1) and zero in the mean at any `T` (Theorem 2); clipping is zero as long as θ is λ.

Source: Bu et al., "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking
neural networks", ICLR 2022.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spikesim.convert.report.theory import (
    Activation,
    Array,
    along,
    numbers,
    q_counts,
    steps,
    thresholds,
)
from spikesim.errors import InputError, ShapeError

#: Errors of this many θ and less count as zero in `nonzero`: rounding of float32 drives. A spike
#: more or less is 1/T, far above it.
ZERO = 1e-6


@dataclass(frozen=True)
class ErrorStats:
    """One kind of error over all neurons and samples, in units of θ."""

    mean: float
    rms: float
    max: float
    """Largest absolute value."""

    nonzero: float
    """Fraction with an absolute value above 1e-6."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0 <= self.rms < math.inf and 0 <= self.max < math.inf):
            raise InputError(f"report: {self} is not finite, expected finite errors")
        if not 0 <= self.nonzero <= 1:
            raise InputError(f"report: nonzero is {self.nonzero}, expected 0 to 1")


@dataclass(frozen=True)
class LayerErrors:
    """The kinds of error of a layer; `clipping + quantisation + unevenness = local` entry by entry,
    `local + inherited = total`."""

    clipping: ErrorStats
    quantisation: ErrorStats
    unevenness: ErrorStats
    local: ErrorStats
    """`φ − r(z)`: what the layer itself did."""

    inherited: ErrorStats | None = None
    """`r(z) − r_ann`: None where the ANN was not run beside it."""

    total: ErrorStats | None = None
    """`φ − r_ann`."""

    @property
    def shares(self) -> dict[str, float]:
        """Clipping, quantisation, unevenness → share of their summed squares; 0 where all are 0."""
        squares = {
            "clipping": self.clipping.rms**2,
            "quantisation": self.quantisation.rms**2,
            "unevenness": self.unevenness.rms**2,
        }
        total = sum(squares.values())
        return {name: value / total if total > 0 else 0.0 for name, value in squares.items()}


@dataclass(frozen=True)
class Parts:
    """The errors entry by entry, `(N, *shape)` float64 in units of θ."""

    clipping: Array
    quantisation: Array
    unevenness: Array
    inherited: Array | None

    @property
    def local(self) -> Array:
        """`φ − r(z)`."""
        result: Array = self.clipping + self.quantisation + self.unevenness
        return result


def split(
    z: ArrayLike,
    counts: ArrayLike,
    n_steps: int,
    threshold: ArrayLike,
    v0: ArrayLike = 0.0,
    activation: Activation | None = None,
    ann: ArrayLike | None = None,
) -> Parts:
    """Splits the error of every neuron and sample (see the module).

    Args:
        z: `(N, *shape)`, the layer's own mean drive.
        counts: `(N, *shape)`, spikes in `T` steps, negative ones subtracted.
        n_steps: `T`.
        threshold: `θ`: one number, one a channel or one a neuron, in the units of the activation.
        v0: Membrane before the first step, likewise.
        activation: The ANN's; None: ReLU.
        ann: `(N, *shape)`, what the ANN's layer put out.

    Raises:
        InputError: NaN; counts that are not whole or more than one a step; a threshold not above 0.
        ShapeError: Shapes that differ.

    Example:
        >>> split([[1.25]], [[3]], 4, threshold=1.0).clipping.tolist()
        [[-0.25]]
    """
    unit = Activation() if activation is None else activation
    t = steps(n_steps)
    drive = numbers("drive", z)
    spikes = checked_counts(counts, drive.shape, t, unit)
    theta = thresholds(threshold, drive.shape[1:])
    start = along("v0", v0, drive.shape[1:])
    reference = unit(drive, theta) / theta
    low = -1.0 if unit.kind == "leaky_relu" else 0.0
    kept = np.clip(reference, low, 1.0)
    even = q_counts(drive, t, theta, start, unit.slope)
    inherited = None
    if ann is not None:
        inherited = reference - checked_ann(ann, drive.shape) / theta
    return Parts(kept - reference, even / t - kept, (spikes - even) / t, inherited)


def checked_counts(
    counts: ArrayLike, shape: tuple[int, ...], n_steps: int, activation: Activation
) -> Array:
    """Counts of single spikes, of the shape of the drive, as float64."""
    spikes = numbers("counts", counts)
    if len(shape) < 1 or spikes.shape != shape:
        raise ShapeError(
            f"report: counts have shape {spikes.shape}, expected (N, …) as the drive {shape}"
        )
    low = -n_steps if activation.kind == "leaky_relu" else 0
    if spikes.size and (spikes.min() < low or spikes.max() > n_steps):
        raise InputError(
            f"report: counts go from {spikes.min():g} to {spikes.max():g}, expected {low} to "
            f"{n_steps}, one spike a step at most"
        )
    if (spikes != np.floor(spikes)).any():
        raise InputError("report: counts are not whole, expected numbers of spikes")
    return spikes


def checked_ann(ann: ArrayLike, shape: tuple[int, ...]) -> Array:
    """What the ANN put out, of the shape of the drive, as float64."""
    values = numbers("ANN activation", ann)
    if values.shape != shape:
        raise ShapeError(
            f"report: ANN activation has shape {values.shape}, expected {shape} as the drive"
        )
    return values


class _Sums:
    """Running sums of one kind."""

    def __init__(self) -> None:
        self.n = 0
        self.total = 0.0
        self.squares = 0.0
        self.max = 0.0
        self.nonzero = 0

    def add(self, values: Array) -> None:
        size = np.abs(values)
        self.n += values.size
        self.total += float(values.sum())
        self.squares += float(np.square(values).sum())
        self.max = max(self.max, float(size.max(initial=0.0)))
        self.nonzero += int(np.count_nonzero(size > ZERO))

    def stats(self) -> ErrorStats:
        return ErrorStats(
            mean=self.total / self.n,
            rms=math.sqrt(self.squares / self.n),
            max=self.max,
            nonzero=self.nonzero / self.n,
        )


class ErrorMeter:
    """Collects the errors of one layer over batches.

    Args:
        n_steps: `T`.
        threshold: `θ`, as :func:`split` takes it.
        v0: Membrane before the first step.
        activation: The ANN's; None: ReLU.

    Example:
        >>> meter = ErrorMeter(4, threshold=1.0)
        >>> meter.add([[0.5, 1.25]], [[2, 4]], ann=[[0.5, 1.0]])
        >>> meter.result().clipping.max, meter.result().inherited.max
        (0.25, 0.25)
    """

    def __init__(
        self,
        n_steps: int,
        threshold: ArrayLike,
        v0: ArrayLike = 0.0,
        activation: Activation | None = None,
    ) -> None:
        self.n_steps = steps(n_steps)
        self.threshold = threshold
        self.v0 = v0
        self.activation = Activation() if activation is None else activation
        self._sums = {name: _Sums() for name in ("clipping", "quantisation", "unevenness", "local")}
        self._ann = {name: _Sums() for name in ("inherited", "total")}

    def add(self, z: ArrayLike, counts: ArrayLike, ann: ArrayLike | None = None) -> None:
        """One batch; the arguments are those of :func:`split`.

        Raises:
            InputError: As :func:`split`; or the ANN's output comes with some batches only.
        """
        if self._sums["local"].n and (ann is None) != (self._ann["total"].n == 0):
            raise InputError("report: ANN activation comes with some batches only, expected all")
        parts = split(z, counts, self.n_steps, self.threshold, self.v0, self.activation, ann)
        local = parts.local
        self._sums["clipping"].add(parts.clipping)
        self._sums["quantisation"].add(parts.quantisation)
        self._sums["unevenness"].add(parts.unevenness)
        self._sums["local"].add(local)
        if parts.inherited is not None:
            self._ann["inherited"].add(parts.inherited)
            self._ann["total"].add(local + parts.inherited)

    def result(self) -> LayerErrors:
        """The errors so far.

        Raises:
            InputError: Nothing was added.
        """
        if self._sums["local"].n == 0:
            raise InputError("report: no neurons or samples were added, expected at least one")
        kinds = {name: sums.stats() for name, sums in self._sums.items()}
        if self._ann["total"].n:
            kinds |= {name: sums.stats() for name, sums in self._ann.items()}
        return LayerErrors(**kinds)
