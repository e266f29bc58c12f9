"""What a NIR file leaves open, and what is taken for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import InputError


class NirAssumption(UserWarning):
    """A NIR file does not say something that a run depends on, and a default was taken."""


_CHOICES: dict[str, tuple[str, ...]] = {
    "profile": ("nir", "snntorch", "spikingjelly", "norse", "sinabs", "nengo"),
    "integration": ("euler", "exponential", "exact"),
    "tau": ("seconds", "dt*tau"),
    "if_gain": ("dt", "one"),
    "reset": ("to_value", "subtract", "none"),
    "reset_timing": (
        *("same_step", "next_step", "next_step_before", "next_step_after"),
        "same_step_guarded",
    ),
    "fires": (">", ">="),
    "spikes": ("single", "multi"),
    "feedback": ("leaving", "entering"),
    "readout": ("sum", "mean", "last_v", "max_v", "count", "first_spike"),
}
_V0 = ("zero", "v_leak", "v_reset")


@dataclass(frozen=True)
class NirOptions:
    """What to take for what a NIR file does not say.

    None stands for what the file's metadata says, else what the profile says; every default that
    was taken is named in one `NirAssumption` warning, by `print(net)` and in `net.meta["nir"]`.

    Args:
        profile: Whose network the file is: "nir" (the specification), "snntorch",
            "spikingjelly", "norse", "sinabs" or "nengo". What each means: docs/formats.md.
        dt: Length of a step, in the unit of the file's time constants (seconds).
        integration: "euler"; "exponential" (`alpha = exp(-dt/tau)`, the input as it is); "exact"
            (each equation solved over the step for an input held constant in it:
            `alpha = exp(-dt/tau)`, `gain = (1 - alpha)·r`).
        tau: What the file's time constants are: "seconds", NIR's own, or "dt*tau" as Norse 1.1.0
            writes them.
        if_gain: What a step of `I` and `IF` adds: "dt" (`dt·r·x`) or "one" (`r·x`).
        reset: "to_value" (the file's `v_reset`), "subtract" (the threshold) or "none".
        reset_timing: When it acts, as `Neuron.reset_timing`; "next_step": in the next step, where
            the snnTorch cell that such a node stands for has it.
        fires: The threshold test, ">" or ">=".
        spikes: "single", or "multi": as many a step as the threshold fits in.
        spike_amplitude: Value of one spike; "1/dt" for a Dirac pulse.
        v0: Membrane before the first step: "zero", "v_leak", "v_reset" or a number.
        feedback: Which edge of a cycle without a Delay waits a step: "leaving" the neuron, so
            that a bias in the cycle acts from the first step, or "entering" it.
        readout: The network's readout.

    Raises:
        InputError: A value that is none of these.

    Example:
        >>> import spikesim as ss
        >>> ss.NirOptions(profile="snntorch", if_gain="one").fires is None
        True
        >>> ss.NirOptions.parse("norse,dt=0.002").dt
        0.002
    """

    profile: str = "nir"
    dt: float | None = None
    integration: str | None = None
    tau: str | None = None
    if_gain: str | None = None
    reset: str | None = None
    reset_timing: str | None = None
    fires: str | None = None
    spikes: str | None = None
    spike_amplitude: float | str | None = None
    v0: float | str | None = None
    feedback: str | None = None
    readout: str | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value is None and name != "profile":
                continue
            if not isinstance(value, str) or value not in choices:
                raise InputError(f"nir: {name} is {value!r}, expected one of {_listed(choices)}")
        if self.dt is not None:
            self._set("dt", _number("dt", self.dt, "a number of seconds above 0"))
            if self.dt <= 0:
                raise InputError(f"nir: dt is {self.dt}, expected a number of seconds above 0")
        amplitude = self.spike_amplitude
        if amplitude is not None and not (isinstance(amplitude, str) and amplitude == "1/dt"):
            expected = 'a number or "1/dt"'
            value = _number("spike_amplitude", self.spike_amplitude, expected)
            if value == 0:
                raise InputError(f"nir: spike_amplitude is 0, expected {expected}, not 0")
            self._set("spike_amplitude", value)
        if self.v0 is not None and not (isinstance(self.v0, str) and self.v0 in _V0):
            self._set("v0", _number("v0", self.v0, f"a number or one of {_listed(_V0)}"))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @classmethod
    def parse(cls, text: str) -> NirOptions:
        """The options in `PROFILE[,key=value…]`, as the command line has them.

        Raises:
            InputError: An unknown key, one that is there twice, or a bad value.
        """
        first, *rest = text.split(",")
        known = [f.name for f in fields(cls) if f.name != "profile"]
        given: dict[str, Any] = {}
        for part in rest:
            name, equals, value = part.partition("=")
            if not equals or name not in known:
                raise InputError(
                    f"nir: option is {part!r}, expected key=value with key one of "
                    f"{', '.join(known)}"
                )
            if name in given:
                raise InputError(f"nir: option {name} is there twice, expected it once")
            given[name] = _plain(value) if name in ("dt", "spike_amplitude", "v0") else value
        return cls(profile=first, **given)

    def given(self) -> dict[str, Any]:
        """The options that are not None, without the profile."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "profile"}
        return {name: value for name, value in values.items() if value is not None}


def _plain(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _number(name: str, value: Any, expected: str) -> float:
    # NumPy's numbers have __float__, as strings have not.
    if isinstance(value, str | bytes | bool) or not hasattr(value, "__float__"):
        raise InputError(f"nir: {name} is {value!r}, expected {expected}")
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError) as error:
        what = f"an array of shape {value.shape}" if hasattr(value, "shape") else "out of range"
        raise InputError(f"nir: {name} is {what}, expected {expected}") from error
    if not math.isfinite(number):
        raise InputError(f"nir: {name} is {number}, expected {expected}")
    return number


def _listed(choices: tuple[str, ...]) -> str:
    return ", ".join(f'"{choice}"' for choice in choices)


#: What each library's own network does, where its files do not say.
PROFILES: dict[str, dict[str, Any]] = {
    "nir": {
        "dt": 1e-4,
        "integration": "euler",
        "tau": "seconds",
        "if_gain": None,
        "reset": "to_value",
        "fires": ">",
        "spikes": "single",
        "spike_amplitude": 1.0,
        "v0": "zero",
        "feedback": "leaving",
    },
}
PROFILES["snntorch"] = {**PROFILES["nir"], "if_gain": "one"}
PROFILES["spikingjelly"] = {
    **PROFILES["nir"],
    "if_gain": "dt",
    "fires": ">=",
    "v0": "v_reset",
    "feedback": "entering",
}
PROFILES["norse"] = {
    **PROFILES["nir"],
    "dt": 1e-3,
    "tau": "dt*tau",
    "if_gain": "one",
    "v0": "v_leak",
    "feedback": "entering",
}
PROFILES["sinabs"] = {
    **PROFILES["nir"],
    "dt": 1.0,
    "integration": "exact",
    "if_gain": "one",
    "reset": "subtract",
    "fires": ">=",
    "spikes": "multi",
    "feedback": "entering",
}
PROFILES["nengo"] = {
    **PROFILES["nir"],
    "dt": 1e-3,
    "integration": "exact",
    "if_gain": "dt",
    "spike_amplitude": "1/dt",
}


class Choices:
    """What holds for one file, and which of it was assumed because something depended on it."""

    def __init__(self, options: NirOptions, said: Mapping[str, Any]) -> None:
        self.profile = options.profile
        self._given = options.given()
        self._said = dict(said)
        self._assumed: dict[str, Any] = {}
        self.used: dict[str, Any] = {}
        self._least: tuple[float, str] | None = None

    def get(self, name: str) -> Any:
        """The value of an option: the file's, else the user's, else the profile's."""
        if name in self._said:
            value = self._said[name]
        elif name in self._given:
            value = self._given[name]
        else:
            value = PROFILES[self.profile][name]
            if value is not None:
                self._assumed[name] = value
        if value is not None:
            self.used[name] = value
        return value

    def timing(self, reset: str) -> str:
        """When a reset acts. snnTorch's cells subtract a step late unless told otherwise; a reset
        to a value is the file's own statement, and NIR's acts at once."""
        if "reset_timing" in self._given:
            value: str = self._given["reset_timing"]
        else:
            late = self.profile == "snntorch" and reset == "subtract"
            value = "next_step" if late else "same_step"
            if late:
                self._assumed["reset_timing"] = value
        self.used["reset_timing"] = value
        return value

    @property
    def dt(self) -> float:
        """The length of a step; asking for it makes it matter."""
        return float(self.get("dt"))

    def seconds(self, tau: NDArray[np.float64], where: str) -> NDArray[np.float64]:
        """Time constants of the file in seconds; `where` names them."""
        unit = self._given.get("tau", PROFILES[self.profile]["tau"])
        if unit == "seconds" and "tau" not in self._given:
            return tau  # NIR's own: nothing is assumed
        if self.get("tau") == "seconds":
            return tau
        if self._least is None or tau.min() < self._least[0]:
            self._least = float(tau.min()), where
        return tau / self.dt

    def doubt(self) -> str | None:
        """What is wrong with having taken the file's time constants for dt·τ, if nobody said that
        they are.

        The smallest of them tells: as seconds it has to be at least a step, as dt·τ at least the
        square of one. What fits both is no more one than the other.
        """
        if self._least is None or "tau" in self._given or self.dt == 1:
            return None
        (tau, where), dt = self._least, self.dt
        if dt * dt <= tau * (1 + 1e-6) and tau < dt * (1 - 1e-6):
            return None
        return (
            f"{where} is {tau:g}, as dt·τ (Norse 1.1.0) a time constant of {tau / dt:g} s, "
            f"{tau / dt / dt:g} steps, and as it stands one of {tau:g} s, {tau / dt:g} steps, "
            "expected only one of them to be possible; say which with nir=NirOptions(tau=...)"
        )

    @property
    def known_dt(self) -> float | None:
        """The length of a step as far as anybody said it, or it was needed."""
        value = self.used.get("dt", self._said.get("dt", self._given.get("dt")))
        return None if value is None else float(value)

    @property
    def given(self) -> dict[str, Any]:
        """What the user said."""
        return dict(self._given)

    def note(self, name: str, value: Any) -> None:
        """Something else that was assumed."""
        self._assumed[name] = value

    @property
    def assumed(self) -> dict[str, Any]:
        return dict(self._assumed)
