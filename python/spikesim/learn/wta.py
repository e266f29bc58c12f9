"""Winner-take-all and homeostasis as parts that any population may have (S11.9 to S11.15).

`Learner` takes a list of parts for each population; they act one after the other. Of the neurons
that reach their threshold in a step, the parts choose those that fire. A neuron that loses neither
fires nor is reset: it is as if its threshold had been out of reach in this step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spikesim.errors import InputError
from spikesim.learn.parts import number, time_constant
from spikesim.learn.reference.numbers import exp_of_negative

__all__ = [
    "KWTA",
    "AdaptiveThreshold",
    "HardWTA",
    "LateralInhibition",
    "MapInhibition",
    "Part",
    "SoftWTA",
]


def _whole(place: str, name: str, value: Any, least: int) -> int:
    good = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not good or not least <= value < 2**32:
        raise InputError(
            f"{place}: {name} is {value!r}, expected a whole number of at least {least}"
        )
    return int(value)


class Part:
    """A part of winner-take-all."""

    def spec(self) -> dict[str, Any]:
        """The part as JSON values."""
        raise NotImplementedError


@dataclass(frozen=True)
class HardWTA(Part):
    """At most one neuron of the population fires in a step: that with the largest margin above
    its threshold, of equals the one with the lowest index (C order).

    Example:
        >>> import spikesim as ss
        >>> ss.learn.HardWTA()
        HardWTA()
    """

    def spec(self) -> dict[str, Any]:
        """The part as JSON values."""
        return {"kind": "hard"}


@dataclass(frozen=True)
class KWTA(Part):
    """At most `k` neurons fire, no two of them within `radius` places of each other.

    Neurons are taken in the order of their margin, of equals the lowest index first; one is left
    out if a neuron that was taken lies within `radius` places of it (the larger of the distances
    in rows and columns, across all maps; of a population of one place, the distance of indices).

    Args:
        k: Winners at most.
        radius: Places, 0: no two at one place; None: no distance is kept.
        one_per_map: No two winners of one map (first axis).
        per_sample: The winners of the whole sample count, not those of the step alone; a neuron
            that has won may fire again (Kheradpisheh et al. 2018).

    Raises:
        InputError: `k` is below 1 or `radius` below 0.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.KWTA(5, radius=2, one_per_map=True, per_sample=True).k
        5
    """

    k: int
    radius: int | None = None
    one_per_map: bool = False
    per_sample: bool = False

    def __post_init__(self) -> None:
        _whole("KWTA", "k", self.k, 1)
        if self.radius is not None:
            _whole("KWTA", "radius", self.radius, 0)

    def spec(self) -> dict[str, Any]:
        """The part as JSON values."""
        return {
            "kind": "k_winners",
            "k": int(self.k),
            "radius": None if self.radius is None else int(self.radius),
            "one_per_map": bool(self.one_per_map),
            "per_sample": bool(self.per_sample),
        }


@dataclass(frozen=True)
class MapInhibition(Part):
    """At each place (row and column) one map fires in a step, that with the largest margin, of
    equals the first; the other maps there can't fire in the `duration` steps after it.

    Args:
        duration: Steps; 0: in the step itself alone; None: for the rest of the sample.

    Raises:
        InputError: `duration` is below 0.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.MapInhibition(None)
        MapInhibition(duration=None)
    """

    duration: int | None = 0

    def __post_init__(self) -> None:
        if self.duration is not None:
            _whole("MapInhibition", "duration", self.duration, 0)

    def spec(self) -> dict[str, Any]:
        """The part as JSON values."""
        return {"kind": "map", "duration": None if self.duration is None else int(self.duration)}


@dataclass(frozen=True)
class SoftWTA(Part):
    """One of the neurons that reach their threshold fires, drawn with a probability in proportion
    to `e^(margin / temperature)` (Nessler et al. 2013, PLoS Comput. Biol. 9:e1003037).

    Random numbers are a function of (seed, sample, population, step).

    Args:
        temperature: In units of the membrane, above 0.

    Raises:
        InputError: `temperature` is not above 0.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.SoftWTA(0.5)
        SoftWTA(temperature=0.5)
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if number("SoftWTA", "temperature", self.temperature) <= 0:
            raise InputError(f"SoftWTA: temperature is {self.temperature}, expected above 0")

    def spec(self) -> dict[str, Any]:
        """The part as JSON values."""
        return {"kind": "soft", "temperature": float(self.temperature)}


@dataclass(frozen=True)
class LateralInhibition(Part):
    """Each spike takes `strength` from the input of all other neurons of the population in the
    `duration` steps after it.

    Args:
        strength: In units of the summed input (before `gain`).
        duration: Steps, at least 1.

    Raises:
        InputError: `strength` is not finite or `duration` below 1.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.LateralInhibition(120.0)
        LateralInhibition(strength=120.0, duration=1)
    """

    strength: float
    duration: int = 1

    def __post_init__(self) -> None:
        number("LateralInhibition", "strength", self.strength)
        _whole("LateralInhibition", "duration", self.duration, 1)

    def spec(self) -> dict[str, Any]:
        """The part as JSON values."""
        return {
            "kind": "lateral",
            "strength": float(self.strength),
            "duration": int(self.duration),
        }


@dataclass(frozen=True)
class AdaptiveThreshold:
    """Homeostasis: each spike raises the threshold of its neuron, which decays slowly and is kept
    from sample to sample (Diehl & Cook 2015). The rule is S3.8 with `alpha_theta = e^(−1/tau)`.

    Args:
        theta_plus: By how much, at least 0.
        tau: Steps; None or infinity: it does not decay.

    Raises:
        InputError: A bad value.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.AdaptiveThreshold(0.05, tau=1e7).tau
        10000000.0
    """

    theta_plus: float
    tau: float | None = None

    def __post_init__(self) -> None:
        number("AdaptiveThreshold", "theta_plus", self.theta_plus, 0.0)
        object.__setattr__(self, "tau", time_constant("AdaptiveThreshold", "tau", self.tau))

    @property
    def alpha(self) -> float:
        """Decay a step, a float32."""
        return 1.0 if self.tau is None else float(np.float32(exp_of_negative(-1.0 / self.tau)))

    def spec(self) -> dict[str, Any]:
        """The rule as JSON values."""
        return {"theta_plus": float(self.theta_plus), "alpha": self.alpha}
