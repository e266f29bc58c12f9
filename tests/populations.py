"""Populations with any options that may stand together, drawn for the random networks."""

from __future__ import annotations

from typing import Any, Protocol

import spikesim as ss


class Numbers(Protocol):
    """What draws options and numbers: `strategies.Builder`."""

    exact: bool
    integers: bool

    def pick(self, *choices: Any) -> Any:
        """One of some."""

    def parameter(self, shape: tuple[int, ...], low: float, high: float) -> Any:
        """A parameter of a population."""


def population(builder: Numbers, shape: tuple[int, ...]) -> Any:
    """Any population that may be added."""
    pick, parameter = builder.pick, builder.parameter
    many = "signed" if builder.integers else "multi"
    fields: dict[str, Any] = {
        "spikes": pick("single", "single", "single", many, "signed", "none"),
        "reset": pick("subtract", "to_value", "none"),
        "v_threshold": parameter(shape, 0.25, 1.5),
        "v_reset": parameter(shape, -0.5, 0.1875),
        "v_leak": pick(0.0, 0.0, parameter(shape, -0.5, 0.5)),
        "alpha_mem": pick(1.0, 0.5, parameter(shape, 0, 1)),
        "gain": pick(1.0, 1.0, parameter(shape[: 1 if builder.integers else None], 0.25, 1.5)),
        "v0": pick(0.0, parameter(shape, -0.5, 1.5)),
        "i0": pick(0.0, parameter(shape, -0.5, 0.5)),
        "v_min": pick(None, None, parameter(shape, -1, 0)),
    }
    if pick(True, False, False) and not builder.integers:
        fields["synapse"] = pick("decay_first", "decay_after", "alpha")
        fields["alpha_syn"] = parameter(shape, 0, 1)
        fields["w_in"] = pick(1.0, parameter(shape, 0.25, 1.5))
    alpha = fields.get("synapse") == "alpha"
    if alpha:
        fields |= {"alpha_inh": parameter(shape, 0, 1), "alpha_mem": 0.0, "v_leak": 0.0}
    if fields["spikes"] == "none":
        return ss.Neuron(**fields)
    # Exact sums need amplitudes of few bits.
    fields["spike_amplitude"] = pick(1.0, 1.0, 0.5, -2.0, 1.0 if builder.exact else 0.3)
    fields["fires"] = ">=" if fields["spikes"] == "multi" else pick(">=", ">")
    if fields["spikes"] == "multi":
        fields["max_spikes"] = pick(1, 2, 4) if builder.exact else pick(None, 3)
    if fields["spikes"] == "signed":
        fields["v_threshold_neg"] = parameter(shape, -1.5, -0.25)
    if alpha and fields["reset"] != "none":
        fields |= {"spikes": "single", "reset_timing": "next_step_after"}
        fields |= {"max_spikes": None, "v_threshold_neg": None}
    elif fields["spikes"] == "single":
        timings = ["same_step"] * 3 + ["next_step_before", "next_step_after"]
        timings += ["same_step_guarded"] if fields["reset"] == "subtract" else []
        fields["reset_timing"] = pick(*timings)
        if fields["reset_timing"] == "same_step":
            fields["order"] = "A" if alpha else pick("A", "A", "A", "B")
    plain = fields.get("reset_timing", "same_step") == "same_step" and fields.get("order") != "B"
    if plain and not builder.integers:
        fields["refractory"] = pick(0, 0, 1, 2)
        if pick(True, False, False):
            fields["theta_plus"] = parameter(shape, 0, 1)
            fields["alpha_theta"] = parameter(shape, 0, 1)
    return ss.Neuron(**fields)
