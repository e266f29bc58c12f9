"""What an integrate-and-fire neuron counts, and what the ANN's unit said: QCFS theory in numbers.

Notation (Bu et al., ICLR 2022): a neuron with threshold `θ`, `v(0) = v0`, no leak, soft reset and
`>=` is run for `T` steps; `z` is its mean drive a step, `N` its spikes, `φ = θ·N/T` its output.
Summing its dynamics gives `φ = z − (v(T) − v(0))/T`, always (:func:`mean_drive`). A drive that
never leaves `[0, θ]` gives `N = ⌊(v0 + T·z)/θ⌋`, whatever its timing (:func:`bounded_drive_count`),
and so does a constant drive of any size once it is kept to `0 … T` (:func:`q_t`).
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import InputError, ShapeError

Array = NDArray[np.float64]

ActivationKind = Literal["relu", "leaky_relu", "qcfs"]


def numbers(what: str, values: ArrayLike) -> Array:
    """`values` as float64, all finite.

    Raises:
        InputError: They are no numbers, or some are NaN or infinite.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"report: {what} is not numeric, expected numbers") from error
    if not np.isfinite(array).all():
        bad = int(np.size(array) - np.isfinite(array).sum())
        raise InputError(
            f"report: {what} has {bad} NaN or infinite of {array.size} values, expected finite ones"
        )
    return array


def whole(what: str, number: int) -> int:
    """A count, at least 1, and one that float64 holds.

    Raises:
        InputError: It is not a whole number, or out of bounds.
    """
    try:
        value = operator.index(number)
    except TypeError:
        raise InputError(f"report: {what} is {number!r}, expected a whole number") from None
    if value < 1:
        raise InputError(f"report: {what} is {value}, expected at least 1")
    if value > 2**53:
        raise InputError(f"report: {what} is beyond 2^53, expected at most that")
    return value


def steps(n_steps: int) -> int:
    """A number of steps (:func:`whole`)."""
    return whole("n_steps", n_steps)


def along(what: str, values: ArrayLike, shape: tuple[int, ...]) -> Array:
    """One number, one a channel (first axis) or one a neuron, lined up with `(N, *shape)`.

    Raises:
        ShapeError: It is none of these.
    """
    array = numbers(what, values)
    if array.ndim == 0 or array.shape == shape:
        return array
    if array.ndim == 1 and shape and array.shape[0] == shape[0]:
        return array.reshape(-1, *(1,) * (len(shape) - 1))
    raise ShapeError(
        f"report: {what} has shape {array.shape}, "
        f"expected one number, one a channel or one a neuron of {shape}"
    )


def thresholds(values: ArrayLike, shape: tuple[int, ...]) -> Array:
    """As :func:`along`, all above zero.

    Raises:
        InputError: A threshold is not above zero.
        ShapeError: It fits no neurons of this shape.
    """
    array = along("threshold", values, shape)
    if array.size == 0 or not (array > 0).all():
        raise InputError("report: threshold is not above zero, expected all above zero")
    return array


@dataclass(frozen=True)
class Activation:
    """What the ANN's unit does with its pre-activation `z`: the reference `r(z)` of the errors.

    Attributes:
        kind: "relu": `max(z, 0)`; "leaky_relu": `z`, below zero `slope·z`, for signed neurons
            whose negative threshold is `−θ/slope`; "qcfs": `λ·clip(⌊z·L/λ + phi⌋/L, 0, 1)`.
        slope: Of "leaky_relu", in (0, 1].
        levels: `L` of "qcfs".
        phi: Shift of "qcfs".
        scale: `λ` of "qcfs"; None: the threshold, as QCFS is converted.
        cap: Largest value, such as 6 of ReLU6; not of "qcfs", whose is `λ`.

    Example:
        >>> Activation("qcfs", levels=4)([0.3, 2.0], threshold=1.0).tolist()
        [0.25, 1.0]
    """

    kind: ActivationKind = "relu"
    slope: float = 0.0
    levels: int = 0
    phi: float = 0.5
    scale: float | None = None
    cap: float = math.inf

    def __post_init__(self) -> None:
        if self.kind not in ("relu", "leaky_relu", "qcfs"):
            raise InputError(
                f"report: activation {self.kind!r} is unknown, expected relu, leaky_relu or qcfs"
            )
        if self.kind == "leaky_relu" and not 0 < self.slope <= 1:
            raise InputError(f"report: slope is {self.slope}, expected above 0 and at most 1")
        if self.kind != "leaky_relu" and self.slope != 0:
            raise InputError(f"report: slope is {self.slope}, expected 0 with {self.kind}")
        if self.kind == "qcfs" and self.levels < 1:
            raise InputError(f"report: levels is {self.levels}, expected at least 1 with qcfs")
        if self.scale is not None and not (math.isfinite(self.scale) and self.scale > 0):
            raise InputError(f"report: scale is {self.scale}, expected above zero")
        if not self.cap > 0:
            raise InputError(f"report: cap is {self.cap}, expected above zero")

    def __call__(self, z: ArrayLike, threshold: ArrayLike = 1.0) -> Array:
        """`r(z)`; `threshold`, which broadcasts against `z`, is λ where `scale` is None."""
        x = numbers("pre-activation", z)
        if self.kind == "qcfs":
            theta = numbers("threshold", threshold)
            scale = theta if self.scale is None else np.float64(self.scale)
            return hhat(x, self.levels, scale, self.phi)
        low = self.slope * x if self.kind == "leaky_relu" else np.zeros_like(x)
        return np.minimum(np.where(x > 0, x, low), self.cap)

    def __str__(self) -> str:
        if self.kind == "qcfs":
            return f"QCFS(L={self.levels})"
        if self.kind == "leaky_relu":
            return f"LeakyReLU({self.slope:g})"
        return "ReLU" if math.isinf(self.cap) else f"ReLU{self.cap:g}"


def hhat(z: ArrayLike, levels: int, scale: ArrayLike, phi: float = 0.5) -> Array:
    """The QCFS staircase `λ·clip(⌊z·L/λ + φ⌋/L, 0, 1)`, float64; `scale` is λ."""
    x, lam = numbers("pre-activation", z), numbers("scale", scale)
    counts = np.clip(np.floor(x * levels / lam + phi), 0, levels)
    result: Array = lam * counts / levels
    return result


def q_counts(
    z: ArrayLike, n_steps: int, threshold: ArrayLike, v0: ArrayLike = 0.0, slope: float = 0.0
) -> Array:
    """Spikes in `T` steps of a neuron with the constant drive `z`; whole numbers in float64.

    With `s = v0 + T·z` that is `clip(⌊s/θ⌋, 0, T)`. A signed neuron (`slope` above 0, negative
    threshold `−θ/slope`) counts `−clip(⌊−slope·s/θ⌋, 0, T)` where `s` is below zero. The bound is
    `T − 1` where the first step does not reach the threshold, which only a `v0` of the sign
    opposite to the drive's can do to a drive of the threshold and more.

    Args:
        z: Mean drive a step.
        n_steps: `T`.
        threshold: `θ`, above zero; broadcasts against `z`.
        v0: Membrane before the first step, below `θ` (signed: and above `−θ/slope`).
        slope: Of the leaky ReLU that the signed neuron stands for; 0: a plain neuron.
    """
    count = steps(n_steps)
    theta, start, drive = numbers("threshold", threshold), numbers("v0", v0), numbers("drive", z)
    total = start + count * drive
    # A first step that falls short of the threshold is a spike that is never caught up with.
    first = start + drive
    up = np.clip(np.floor(total / theta), 0, count - 1 + (first >= theta))
    if slope == 0:
        result: Array = up
        return result
    down = np.clip(np.floor(-slope * total / theta), 0, count - 1 + (-slope * first >= theta))
    return np.where(total >= 0, up, -down)


def q_t(
    z: ArrayLike, n_steps: int, threshold: ArrayLike, v0: ArrayLike = 0.0, slope: float = 0.0
) -> Array:
    """`Q_T(z) = θ·counts/T`: what an evenly driven neuron puts out (:func:`q_counts`)."""
    counts = q_counts(z, n_steps, threshold, v0, slope)
    result: Array = numbers("threshold", threshold) * counts / steps(n_steps)
    return result


def bounded_drive_count(drive: ArrayLike, threshold: float, v0: float = 0.0) -> NDArray[np.int64]:
    """Spikes of a drive that never leaves `[0, θ]`: `⌊(v0 + Σ_t drive_t)/θ⌋`, at any timing.

    Args:
        drive: `(T, …)`, the input of each step.
        threshold: `θ`.
        v0: In `[0, θ)`.

    Returns:
        int64 `(…)`.

    Raises:
        InputError: The drive or `v0` leaves its bounds, where the lemma says nothing.
    """
    x = numbers("drive", drive)
    theta = float(thresholds(threshold, ()))
    if x.ndim == 0 or x.shape[0] == 0:
        raise InputError("report: drive has no steps, expected (T, …) with T at least 1")
    if not 0 <= v0 < theta:
        raise InputError(f"report: v0 is {v0}, expected from 0 and below the threshold {theta}")
    if x.size and (x.min() < 0 or x.max() > theta):
        raise InputError(
            f"report: drive goes from {x.min():g} to {x.max():g}, "
            f"expected within 0 and the threshold {theta:g}"
        )
    counts: NDArray[np.int64] = np.floor((v0 + x.sum(axis=0)) / theta).astype(np.int64)
    return counts


def mean_drive(
    up: ArrayLike,
    v_end: ArrayLike,
    n_steps: int,
    threshold: ArrayLike,
    v0: ArrayLike = 0.0,
    down: ArrayLike = 0.0,
    slope: float = 0.0,
) -> Array:
    """A neuron's own mean drive `z`, from what it did: exact for every soft reset without leak.

    `T·z = v(T) − v(0) + θ·up − (θ/slope)·down`; the engine's `v` after the last step and its
    counts are all that is needed, the drive itself need not be recorded.

    Args:
        up: Positive spikes.
        v_end: `v(T)`.
        n_steps: `T`.
        threshold: `θ`; broadcasts.
        v0: `v(0)`; broadcasts.
        down: Negative spikes of signed neurons, as numbers from 0.
        slope: Of signed neurons; 0: none.
    """
    theta = numbers("threshold", threshold)
    total = numbers("v_end", v_end) - numbers("v0", v0) + theta * numbers("counts", up)
    if slope > 0:
        total = total - theta / slope * numbers("counts", down)
    result: Array = total / steps(n_steps)
    return result


def expected_error(n_steps: int, levels: int, phi: float = 0.5, v0: float | None = None) -> float:
    """Mean of `Q_T(z) − ĥ(z)` over `z` uniform on `[0, θ]`, in units of θ.

    `(v0 − ½)/T − (phi − ½)/L`: 0 for `v0 = phi = ½` at every `T` and `L` (Theorem 2 of QCFS), and
    `½·(1/L − 1/T)` for `v0 = phi = 0`.

    Args:
        n_steps: `T`.
        levels: `L`.
        phi: Shift of the ANN's staircase, in [0, 1).
        v0: Initial membrane in units of θ, in [0, 1); None: `phi`, as QCFS is converted.
    """
    start = phi if v0 is None else v0
    return (start - 0.5) / steps(n_steps) - (phi - 0.5) / levels
