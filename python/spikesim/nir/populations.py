"""From a NIR population's equations to the numbers of a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.nir.graph import Part
from spikesim.nir.options import Choices
from spikesim.ops import Neuron

Floats = NDArray[np.float64]


def spread(part: Part, name: str, shape: tuple[int, ...], channels_first: bool = True) -> Floats:
    """A parameter as a scalar, one value a channel as (C, 1, …), or with the population's shape.

    NIR's own form is one value an element. One value for all and one a channel are taken as well
    where they can mean nothing else.
    """
    return fitted(part, name, part.numbers(name), shape, channels_first)


def fitted(
    part: Part, name: str, values: Floats, shape: tuple[int, ...], channels_first: bool = True
) -> Floats:
    """As `spread` with the values given."""
    if values.size == 0:
        raise part.wrong(f"{name} is empty, expected values")
    if (values == values.flat[0]).all() and (values.size == 1 or _fits(values, shape)):
        return np.array(values.flat[0])
    if values.shape == shape:
        return values
    if not _fits(values, shape):
        raise part.wrong(
            f"{name} has shape {list(values.shape)}, expected {list(shape)}, one value, or one a "
            "channel"
        )
    per_channel = values.ndim == 1 and len(values) == shape[0]
    trailing = values.shape[-1] in (1, shape[-1]) and values.ndim <= len(shape)
    if per_channel and values.ndim < len(shape):
        if len(values) == shape[-1] and channels_first:
            raise part.wrong(
                f"{name} has shape {list(values.shape)} for a population of {list(shape)}, which "
                "could be one value a channel or one a column; expected one an element"
            )
        if not (trailing and len(values) == shape[-1]):
            values = values.reshape(-1, *(1 for _ in shape[1:]))
    values = values.reshape(*(1 for _ in shape[values.ndim :]), *values.shape)
    if math.prod(values.shape[1:]) == 1:
        return values  # a network has one value a channel, too
    part.tree.expand(f"{name} of node {part.name!r}", values.itemsize * math.prod(shape))
    return np.ascontiguousarray(np.broadcast_to(values, shape))


def by_channel(values: Any) -> Any:
    """(C, 1, …) as the vector that operations take, all else as it is."""
    if isinstance(values, np.ndarray) and values.ndim > 1 and values.size == len(values):
        return values.reshape(-1)
    return values


def _fits(values: Floats, shape: tuple[int, ...]) -> bool:
    """Whether the values are one an element, one a channel, or broadcast to the shape."""
    if values.ndim == 1 and len(values) == shape[0]:
        return True
    try:
        return np.broadcast_shapes(values.shape, shape) == shape
    except ValueError:
        return False


def _neuron(**fields: Any) -> Neuron:
    return Neuron(**{name: by_channel(value) for name, value in fields.items()})


class Population:
    """Reads one population.

    Args:
        part: The node.
        shape: Shape of its input.
        choices: What holds for the file.
        in_cycle: Whether it hears itself: snnTorch's recurrent cells reset at another time.
        unsettled: Takes what a run would have to know and nobody said.
    """

    def __init__(
        self,
        part: Part,
        shape: tuple[int, ...],
        choices: Choices,
        in_cycle: bool,
        unsettled: Callable[[str], None],
    ) -> None:
        self.part, self.shape, self.choices = part, shape, choices
        self.in_cycle, self.unsettled = in_cycle, unsettled

    def read(self) -> Neuron:
        """The population as a `Neuron`."""
        kind = self.part.type
        if kind == "Threshold":
            return self._threshold()
        fields: dict[str, Any] = {"meta": self._meta(kind)}
        if kind in ("I", "IF"):
            fields["gain"] = self._integrator()
            leak = None
        else:
            leak = self._value("v_leak")
            fields["v_leak"] = leak
            tau = "tau" if kind in ("LI", "LIF") else "tau_mem"
            fields["alpha_mem"], fields["gain"] = self._decay(tau, "r")
        if kind.startswith("Cuba"):
            fields["alpha_syn"], fields["w_in"] = self._decay("tau_syn", "w_in", synapse=True)
            late = self.choices.profile == "sinabs"
            fields["synapse"] = "decay_after" if late else "decay_first"
        spiking = kind in ("IF", "LIF", "CubaLIF")
        reset = self._value("v_reset", 0.0) if spiking else None
        fields["v0"] = self._start(leak, reset)
        if not spiking:
            model: Any = "CubaLI" if kind == "CubaLI" else "LI"
            return _neuron(spikes="none", reset="none", model=model, **fields)
        fields.update(self._firing(reset))
        return _neuron(v_threshold=self._value("v_threshold"), model=kind, **fields)

    def _meta(self, kind: str) -> dict[str, Any]:
        return {"nir": kind}

    def _value(self, name: str, default: float | None = None) -> Floats:
        if default is not None and name not in self.part.fields:
            return np.array(default)
        # torch lines a vector up with the last axis, whatever that is.
        torchlike = self.choices.profile in ("snntorch", "norse", "sinabs")
        return spread(self.part, name, self.shape, not torchlike)

    def _threshold(self) -> Neuron:
        return _neuron(
            v_threshold=self._value("threshold"),
            alpha_mem=0.0,
            fires=self.choices.get("fires"),
            reset="none",
            spike_amplitude=self._amplitude(),
            meta=self._meta("Threshold"),
        )

    def _amplitude(self) -> float:
        value = self.choices.get("spike_amplitude")
        return 1.0 / self.choices.dt if value == "1/dt" else float(value)

    def _firing(self, v_reset: Floats | None) -> dict[str, Any]:
        reset = self.choices.get("reset")
        fields: dict[str, Any] = {
            "fires": self.choices.get("fires"),
            "reset": reset,
            "reset_timing": self._timing(reset),
            "spikes": self.choices.get("spikes"),
            "spike_amplitude": self._amplitude(),
        }
        if reset == "to_value":
            fields["v_reset"] = v_reset
        return fields

    def _timing(self, reset: str) -> str:
        timing = self.choices.timing(reset)
        if timing != "next_step":
            return timing
        if reset == "none":
            return "same_step"
        # snnTorch's Leaky zeroes what was there before the input came, its other cells all of it.
        plain = self.part.type in ("IF", "LIF") and not self.in_cycle
        return "next_step_before" if reset == "to_value" and plain else "next_step_after"

    def _start(self, leak: Floats | None, reset: Floats | None) -> ArrayLike:
        v0 = self.choices.get("v0")
        if v0 == "zero":
            return 0.0
        if v0 == "v_leak":
            known = (leak, reset)
        elif v0 == "v_reset":
            known = (reset, leak)
        else:
            return float(v0)
        return next((value for value in known if value is not None), 0.0)

    def _integrator(self) -> Floats:
        """The gain of `I` and `IF`, whose equation has no time constant to tell a step's length."""
        r = self._value("r")
        gain = self.choices.get("if_gain")
        if gain is None:
            self.unsettled(
                f'{self.part.name}: if_gain is not known, expected "dt" (a step adds dt·r·x) or '
                '"one" (it adds r·x); load with nir=NirOptions(if_gain=...)'
            )
            return r
        return self.choices.dt * r if gain == "dt" else r

    def _decay(self, tau_name: str, r_name: str, synapse: bool = False) -> tuple[Any, Any]:
        """(what remains, factor of the input) of one equation."""
        tau = self._value(tau_name)
        if (tau <= 0).any():
            raise self.part.wrong(f"{tau_name} is {tau.min():g}, expected above 0")
        r = self._value(r_name, 1.0 if synapse else None)
        dt, method = self.choices.dt, self.choices.get("integration")
        tau = self.choices.seconds(tau, f"{tau_name} of node {self.part.name!r}")
        if method == "exponential":
            return np.exp(-dt / tau), r
        if method == "exact":
            return np.exp(-dt / tau), -np.expm1(-dt / tau) * r
        if self.choices.profile == "snntorch":
            exact = self._snntorch(tau_name, r_name, dt)
            alpha, gain = (1 - dt / tau, r * (dt / tau)) if exact is None else exact
            return np.maximum(alpha, 0.0), gain  # as its cells do at every call
        if (2 * tau < dt).any():
            self.unsettled(
                f"{self.part.name}: {tau_name} is {tau.min():g}, less than half a step of "
                f'{dt:g}, and grows without bound with integration "euler"; expected another dt or '
                "integration: load with nir=NirOptions(dt=...)"
            )
        if self.choices.profile == "norse" and synapse:
            return 1 - dt / tau, r  # its synapse adds its input as it is
        return 1 - dt / tau, r * (dt / tau)

    def _snntorch(self, tau_name: str, r_name: str, dt: float) -> tuple[Any, Any] | None:
        """What snnTorch's exporter was given, where it can be told.

        It writes `tau = dt/(1 - beta)` and `r = tau/dt`, rounded to float32 after each operation.
        """
        fields = self.part.fields
        if not all(n in fields and fields[n].itemsize == 4 for n in (tau_name, r_name)):
            return None
        step = np.float32(dt)
        tau = self._value(tau_name).astype(np.float32)
        r = self._value(r_name).astype(np.float32)
        if not (np.abs((tau / step) - r) <= np.spacing(r) * 2).all():
            return None
        # 1 - beta has at most 24 bits after the point. Of the neighbours that the file's number
        # could have come from, the one with the fewest bits.
        middle = np.rint(dt / tau.astype(np.float64) * 2**24).astype(np.int64)
        best, bits = middle, np.full(middle.shape, -1)
        for off in (0, -1, 1):
            rest = middle + off
            with np.errstate(divide="ignore"):
                same = step / (rest * 2.0**-24).astype(np.float32) == tau
            zeros = np.log2(rest & -np.where(rest == 0, 1, rest) | (rest == 0)).astype(int)
            better = same & (zeros > bits)
            best, bits = np.where(better, rest, best), np.where(better, zeros, bits)
        if (bits < 0).any():
            return None
        return 1 - best * 2.0**-24, np.array(1.0)
