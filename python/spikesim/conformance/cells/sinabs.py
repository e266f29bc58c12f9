"""Sinabs' layers (checked against 3.1): IAF, LIF, ExpLeak."""

from __future__ import annotations

from typing import Any

import torch

from spikesim.conformance.cells.base import Cell, Fields, Step, Unsayable, near, shown


def cell(f: Fields) -> Cell:
    """The layer whose step the fields are."""
    f.only(order="A", refractory=0, synapse=("none", "decay_after"))
    f.only(spikes=("single", "multi", "none"))
    f.without("theta_plus")
    f.all(v_leak=0)
    options: dict[str, Any] = {}
    if f.v_min is not None:
        options["min_v_mem"] = f.tensor("v_min")
    leaky = not (f.is_("alpha_mem", 1) and f.is_("gain", 1))
    if f.synapse == "decay_after":
        f.all(w_in=1)
    if leaky or f.synapse != "none" or f.spikes == "none":
        options["norm_input"] = _normalised(f)
    if f.spikes == "none":
        return _made(f, "ExpLeak", options, {})
    f.only(fires=">=", reset_timing="same_step", reset=("subtract", "to_value"))
    f.all(spike_amplitude=1)
    options["spike_threshold"] = f.tensor("v_threshold")
    named: dict[str, str] = {}
    if f.reset == "to_value":
        f.all(v_reset=0)
        named["reset_fn"] = "MembraneReset"
    if f.spikes == "single":
        named["spike_fn"] = "SingleSpike"
    elif f.max_spikes is not None:
        named["spike_fn"] = f"MaxSpike({f.max_spikes})"
    leaks = leaky or f.synapse != "none"
    return _made(f, "LIF" if leaks else "IAF", options, named)


def _normalised(f: Fields) -> bool:
    """norm_input."""
    if f.is_("gain", 1):
        return False
    if not near(f.wide("gain"), 1 - f.wide("alpha_mem")):
        raise Unsayable("a gain that is neither 1 nor 1 − alpha_mem")
    return True


def _made(f: Fields, name: str, options: dict[str, Any], named: dict[str, str]) -> Cell:
    from sinabs import activation, layers

    decays: dict[str, Any] = {}
    if name != "IAF":
        # Stored as decays, which are then exactly the network's.
        decays = {"tau_mem": 1.0, "train_alphas": True}
        if f.synapse != "none":
            decays["tau_syn"] = 1.0
    functions: dict[str, Any] = {}
    if "reset_fn" in named:
        functions["reset_fn"] = activation.MembraneReset()
    if "spike_fn" in named:
        single = named["spike_fn"] == "SingleSpike"
        functions["spike_fn"] = (
            activation.SingleSpike if single else activation.MaxSpike(f.max_spikes)
        )

    def start(n: int) -> Step:
        layer = getattr(layers, name)(**decays, **options, **functions).eval()
        if name != "IAF":
            layer.alpha_mem.data = f.tensor("alpha_mem")
        layer.init_state_with_shape((n, *f.shape))
        layer.v_mem = f.start("v0", n)
        if f.synapse != "none":
            layer.alpha_syn.data = f.tensor("alpha_syn")
            layer.i_syn = f.start("i0", n)

        def step(x: Any) -> Any:
            with torch.no_grad():
                out = layer(x[:, None])[:, 0]
            v = layer.v_mem.clone()
            if f.spikes == "none":
                return None, v, out.clone()
            return out, v, out.clone()

        return step

    written: dict[str, Any] = {}
    if name != "IAF":
        written["alpha_mem"] = f.tensor("alpha_mem")
        if f.synapse != "none":
            written["alpha_syn"] = f.tensor("alpha_syn")
    text = shown(**written, **options)
    functions_text = ", ".join(f"{k}={v}" for k, v in named.items())
    return Cell(f"{name}({', '.join(t for t in (text, functions_text) if t)})", start)
