"""The neuron: one description with a field for each thing that libraries disagree on.

The named models of `spikesim.ops.cells` are this neuron with other defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from spikesim.errors import GraphError
from spikesim.ops._base import FloatArray, Op, choice, floats, integer, optional, put

Fires = Literal[">=", ">"]
Reset = Literal["subtract", "to_value", "none"]
ResetTiming = Literal["same_step", "next_step_before", "next_step_after", "same_step_guarded"]
Spikes = Literal["none", "single", "multi", "signed"]
Synapse = Literal["none", "decay_first", "decay_after", "alpha"]
Order = Literal["A", "B"]
Model = Literal["Neuron", "IF", "LIF", "CubaLIF", "LI", "CubaLI"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "synapse": ("none", "decay_first", "decay_after", "alpha"),
    "fires": (">=", ">"),
    "reset": ("subtract", "to_value", "none"),
    "reset_timing": ("same_step", "next_step_before", "next_step_after", "same_step_guarded"),
    "spikes": ("none", "single", "multi", "signed"),
    "order": ("A", "B"),
    "model": ("Neuron", "IF", "LIF", "CubaLIF", "LI", "CubaLI"),
}
_ALWAYS = (
    "v_threshold",
    "v_reset",
    "v_leak",
    "alpha_mem",
    "gain",
    "spike_amplitude",
    "v0",
    "i0",
)
_OPTIONAL = (
    "alpha_syn",
    "w_in",
    "alpha_inh",
    "v_threshold_neg",
    "v_min",
    "theta_plus",
    "alpha_theta",
)


@dataclass(frozen=True, eq=False, repr=False)
class Neuron(Op):
    """A population of neurons, one for each value of the input.

    A step (rule S3), with `x` the summed input: the synapse makes `i` of it; then
    `h = (v_leak + alpha_mem·(v − v_leak)) + gain·i`; the neuron fires if `h` passes the threshold;
    then it is reset. All in float32, one operation after the other. Every float parameter is a
    scalar, `(channels,)` (first axis of the population) or of the population's shape.

    Args:
        v_threshold: Firing threshold; unused with `spikes="none"`.
        v_reset: Value of `reset="to_value"`.
        v_leak: Value to which the membrane decays.
        alpha_mem: What remains of the membrane after a step; 1 for no leak.
        gain: Factor of the input into the membrane.
        alpha_syn: What remains of the synaptic current after a step; with a synapse only.
        w_in: Factor of the input into the synaptic current; with a synapse only.
        synapse: "none"; "decay_first": `i = alpha_syn·i + w_in·x`; "decay_after":
            `i = alpha_syn·(i + w_in·x)`; "alpha": a second, inhibitory current, see `alpha_inh`.
        fires: The threshold test, ">=" or ">".
        reset: "subtract" (the threshold, for each spike), "to_value" (`v_reset`) or "none".
        reset_timing: "same_step"; or in the next step, "next_step_before" its leak and input or
            "next_step_after" them; or "same_step_guarded" (snnTorch's `reset_delay=False`).
        spikes: "single" (one a step at most), "multi" (`floor(v / v_threshold)`), "signed" (±1)
            or "none" (never; its output is the membrane).
        max_spikes: Most spikes a step, with "multi"; None: no bound.
        v_threshold_neg: Threshold of negative spikes, below 0; with "signed" only.
        v_min: Lower bound of the membrane after the reset.
        refractory: Steps after a spike in which the membrane stands still.
        spike_amplitude: Value of one spike.
        alpha_inh: With `synapse="alpha"` only: what remains of the inhibitory current
            `n = alpha_inh·n − w_in·x` after a step. The membrane is `gain·(i + n)`, `alpha_mem`
            and `v_leak` have to be 0 (snnTorch's Alpha, rule S3.26).
        theta_plus: What a spike adds to the threshold; with `alpha_theta`.
        alpha_theta: What remains of that after a step.
        order: "A": integrate, then fire. "B": fire from the membrane of the step before.
        v0: Membrane before the first step.
        i0: Synaptic current before the first step.
        model: Name to show.
        meta: Where the numbers came from (tau, dt, discretisation); JSON values; not used.

    Raises:
        GraphError: An unknown option, a bound below its least.
        TypeError: Something that is no number.

    Example:
        >>> import spikesim as ss
        >>> ss.Neuron(v_threshold=0.5, fires=">", reset="to_value").describe()
        'Neuron θ=0.5 > to_value 0'
    """

    kind: ClassVar[str] = "neuron"
    v_threshold: FloatArray
    v_reset: FloatArray
    v_leak: FloatArray
    alpha_mem: FloatArray
    gain: FloatArray
    alpha_syn: FloatArray | None
    w_in: FloatArray | None
    alpha_inh: FloatArray | None
    synapse: Synapse
    fires: Fires
    reset: Reset
    reset_timing: ResetTiming
    spikes: Spikes
    max_spikes: int | None
    v_threshold_neg: FloatArray | None
    v_min: FloatArray | None
    refractory: int
    spike_amplitude: FloatArray
    theta_plus: FloatArray | None
    alpha_theta: FloatArray | None
    order: Order
    v0: FloatArray
    i0: FloatArray
    model: Model
    meta: dict[str, Any] = field(default_factory=dict)

    def __init__(
        self,
        v_threshold: ArrayLike = 1.0,
        v_reset: ArrayLike = 0.0,
        v_leak: ArrayLike = 0.0,
        alpha_mem: ArrayLike = 1.0,
        gain: ArrayLike = 1.0,
        alpha_syn: ArrayLike | None = None,
        w_in: ArrayLike | None = None,
        *,
        synapse: Synapse = "none",
        fires: Fires = ">=",
        reset: Reset = "subtract",
        reset_timing: ResetTiming = "same_step",
        spikes: Spikes = "single",
        max_spikes: int | None = None,
        v_threshold_neg: ArrayLike | None = None,
        v_min: ArrayLike | None = None,
        refractory: int = 0,
        spike_amplitude: ArrayLike = 1.0,
        alpha_inh: ArrayLike | None = None,
        theta_plus: ArrayLike | None = None,
        alpha_theta: ArrayLike | None = None,
        order: Order = "A",
        v0: ArrayLike = 0.0,
        i0: ArrayLike = 0.0,
        model: Model = "Neuron",
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        given = locals()
        put(self, **{name: floats(self, name, given[name]) for name in _ALWAYS})
        put(self, **{name: optional(self, name, given[name]) for name in _OPTIONAL})
        put(self, **{n: choice(self, n, given[n], choices) for n, choices in _CHOICES.items()})
        put(
            self,
            max_spikes=None if max_spikes is None else integer(self, "max_spikes", max_spikes, 1),
            refractory=integer(self, "refractory", refractory),
            meta=dict(meta or {}),
        )
        if self.refractory >= 2**32 or (self.max_spikes or 0) >= 2**32:
            raise GraphError("Neuron: refractory and max_spikes are counts, expected below 2**32")

    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = {name: getattr(self, name) for name in _CHOICES}
        spec.update(kind=self.kind, max_spikes=self.max_spikes, refractory=self.refractory)
        if self.meta:
            spec["meta"] = self.meta
        return spec

    def arrays(self) -> dict[str, FloatArray]:
        values = {name: getattr(self, name) for name in (*_ALWAYS, *_OPTIONAL)}
        return {name: value for name, value in values.items() if value is not None}

    def describe(self) -> str:
        """What the neuron does, in a line: parameters that matter, threshold test, reset.

        Example:
            >>> import spikesim as ss
            >>> ss.LIF(alpha_mem=0.9).describe()
            'LIF θ=1 α=0.9 >= subtract'
        """
        words: list[str] = [self.model]
        spiking = self.spikes != "none"
        if spiking:
            words.append(f"θ={_number(self.v_threshold)}")
        leak = {"alpha_mem": ("α", 0.0 if self.synapse == "alpha" else 1.0)}
        words += self._unless({**leak, "gain": ("gain", 1.0), "v_leak": ("v_leak", 0.0)})
        if self.synapse != "none":
            words.append(f"α_syn={_number(self.alpha_syn)}")
            if self.synapse == "alpha":
                words.append(f"α_inh={_number(self.alpha_inh)}")
            words.append(self.synapse)
            words += self._unless({"w_in": ("w_in", 1.0)})
        if spiking:
            words += self._firing()
        words += self._unless({"v0": ("v0", 0.0), "i0": ("i0", 0.0)})
        if self.v_min is not None:
            words.append(f"v_min={_number(self.v_min)}")
        if not spiking:
            words.append("→ v")
        return " ".join(words)

    def _firing(self) -> list[str]:
        words: list[str] = [self.fires, self.reset]
        if self.reset == "to_value":
            words.append(_number(self.v_reset))
        if self.reset_timing != "same_step":
            words.append(self.reset_timing)
        if self.spikes == "multi":
            words.append("multi" if self.max_spikes is None else f"multi≤{self.max_spikes}")
        if self.spikes == "signed":
            words.append(f"signed θ₋={_number(self.v_threshold_neg)}")
        if self.theta_plus is not None:
            plus, decay = _number(self.theta_plus), _number(self.alpha_theta)
            words.append(f"adaptive +{plus} ×{decay}")
        if self.refractory:
            words.append(f"refractory={self.refractory}")
        words += self._unless({"spike_amplitude": ("amplitude", 1.0)})
        if self.order != "A":
            words.append("order B")
        return words

    def _unless(self, defaults: dict[str, tuple[str, float]]) -> list[str]:
        """The parameters that are not at their defaults."""
        return [
            f"{shown}={_number(value)}"
            for name, (shown, default) in defaults.items()
            if (value := getattr(self, name)) is not None and not np.all(value == default)
        ]


def _number(value: FloatArray | None) -> str:
    """A parameter in a few characters: its value, or its range."""
    if value is None or value.size == 0:
        return "?"
    low, high = f"{value.min():.6g}", f"{value.max():.6g}"
    return low if low == high else f"{low}…{high}"
