"""What a model wants done to its input, as its ``meta["preprocessing"]`` says.

``{"scale": s, "mean": m, "std": d}``, each optional: y = (x·s − m) / d in float32, in this order;
``mean`` and ``std`` are one number or one a channel (the first axis of a sample).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import FormatError, InputError, ShapeError

_KEYS = ("scale", "mean", "std")


@dataclass(frozen=True)
class Preprocessing:
    """Checked numbers; the default does nothing."""

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Preprocessing:
        """From a network's meta.

        Raises:
            FormatError: the entry is not numbers, or has keys that this version can't honour.
        """
        spec = meta.get("preprocessing")
        if spec is None:
            return cls()
        if not isinstance(spec, Mapping) or set(spec) - set(_KEYS):
            raise FormatError(
                f"meta: preprocessing is {spec!r}, expected an object with {', '.join(_KEYS)}"
            )
        numbers = {key: _numbers(key, spec[key]) for key in _KEYS if spec.get(key) is not None}
        scale = numbers.get("scale", (1.0,))
        std = numbers.get("std", (1.0,))
        if len(scale) != 1:
            raise FormatError(f"meta: preprocessing scale is {list(scale)}, expected one number")
        if not all(map(np.float32, std)):
            raise FormatError(
                f"meta: preprocessing std is {spec['std']!r}, expected no 0 in float32"
            )
        return cls(scale[0], numbers.get("mean", (0.0,)), std)

    @property
    def identity(self) -> bool:
        """Whether there is nothing to do."""
        return self == Preprocessing()

    def __str__(self) -> str:
        parts = []
        if self.scale != 1.0:
            parts.append(f"x {self.scale:g}")
        if any(self.mean):
            parts.append(f"- {_text(self.mean)}")
        if self.std != (1.0,):
            parts.append(f"/ {_text(self.std)}")
        return ", ".join(parts) or "none"

    def apply(self, x: NDArray[Any], sample_ndim: int) -> NDArray[Any]:
        """Does it; ``sample_ndim`` trailing axes of ``x`` are one sample, channels first.

        Raises:
            ShapeError: one number a channel, but not as many channels.
            InputError: a value of ``x`` is not finite, or not finite any more.
        """
        if self.identity:
            return x
        # What overflows or is no number is named below, in one line instead of NumPy's warnings.
        with np.errstate(all="ignore"):
            # Each constant is rounded to float32 once: the dense reference sees the same bits.
            y: NDArray[np.float32] = x.astype(np.float32) * np.float32(self.scale)
            if any(self.mean):
                y -= self._broadcast("mean", self.mean, y, sample_ndim)
            if self.std != (1.0,):
                y /= self._broadcast("std", self.std, y, sample_ndim)
        finite = np.isfinite(y)
        if not finite.all():
            first = np.unravel_index(int(np.argmin(finite)), y.shape)
            raise InputError(
                f"preprocessing: x is {x[first]} and becomes {y[first]} by {self}, "
                "expected a finite float32"
            )
        return y

    @staticmethod
    def _broadcast(
        name: str, values: tuple[float, ...], x: NDArray[Any], sample_ndim: int
    ) -> NDArray[np.float32]:
        array = np.asarray(values, np.float32)
        if len(values) == 1:
            return array
        channels = x.shape[-sample_ndim] if 0 < sample_ndim <= x.ndim else 1
        if len(values) != channels:
            raise ShapeError(
                f"meta: preprocessing {name} has {len(values)} values, expected {channels}, "
                "one a channel"
            )
        return array.reshape((-1,) + (1,) * (sample_ndim - 1))


def _text(values: tuple[float, ...]) -> str:
    return ", ".join(f"{v:g}" for v in values) if len(values) == 1 else f"{list(values)}"


def _numbers(key: str, value: Any) -> tuple[float, ...]:
    values = value if isinstance(value, list | tuple) and value else [value]
    if not all(
        isinstance(v, int | float) and not isinstance(v, bool) and _finite(v) for v in values
    ):
        raise FormatError(
            f"meta: preprocessing {key} is {value!r}, expected numbers that are finite in float32"
        )
    return tuple(float(v) for v in values)


def _finite(value: int | float) -> bool:
    """Whether float32 has it; an integer may be too large even for float64."""
    return abs(value) <= float(np.finfo(np.float32).max)
