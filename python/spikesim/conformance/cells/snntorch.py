"""snnTorch's cells (checked against 1.0): Leaky, Lapicque, Synaptic, Alpha, RLeaky."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikesim.conformance.cells.base import Cell, Fields, Step, Unsayable, shown


def cell(f: Fields) -> Cell:
    """The cell whose step the fields are."""
    f.only(
        order="A", refractory=0, spikes=("single", "none"), synapse=("none", "decay_first", "alpha")
    )
    f.without("theta_plus", "v_min")
    f.all(v_leak=0)
    if f.spikes == "none":
        mechanism, delay, late_zero = "none", True, False
    else:
        f.only(fires=">")
        mechanism, delay, late_zero = _reset(f)
    options: dict[str, Any] = {"reset_mechanism": mechanism, "reset_delay": delay}
    if f.spikes != "none":
        options["threshold"] = f.tensor("v_threshold")
        if not f.is_("spike_amplitude", 1):
            options["graded_spikes_factor"] = f.tensor("spike_amplitude")
            if not delay and bool((options["graded_spikes_factor"] == 0).any()):
                raise Unsayable("spike_amplitude=0 without a delayed reset")
    if f.synapse == "alpha":
        del options["reset_delay"]
        return _made(f, "Alpha", {**_alpha(f), **options})
    if f.synapse == "decay_first":
        f.all(w_in=1, gain=1)
        return _made(f, "Synaptic", {"alpha": f.tensor("alpha_syn"), **_beta(f), **options})
    if late_zero and f.is_("gain", 1):
        # Its own loop carries nothing: the network's stands beside it.
        return _made(f, "RLeaky", {**_beta(f), "all_to_all": False, "V": 0.0, **options})
    if f.is_("gain", 1):
        return _made(f, "Leaky", {**_beta(f), **options})
    if not options.pop("reset_delay") or (mechanism == "zero" and not late_zero):
        raise Unsayable(f"a gain and reset_timing={f.reset_timing!r}")
    return _made(f, "Lapicque", {**_lapicque(f), **options})


def _beta(f: Fields) -> dict[str, Any]:
    if bool(((f.alpha_mem < 0) | (f.alpha_mem > 1)).any()):
        raise Unsayable("alpha_mem outside 0…1")
    return {"beta": f.tensor("alpha_mem")}


def _reset(f: Fields) -> tuple[str, bool, bool]:
    """(reset_mechanism, reset_delay, whether only RLeaky resets so)."""
    if f.reset == "none":
        return "none", True, False
    if f.reset == "subtract":
        f.only(reset_timing=("next_step_after", "same_step_guarded"))
        return "subtract", f.reset_timing == "next_step_after", False
    f.all(v_reset=0)
    if f.reset_timing == "same_step":
        if bool((f.wide("v0") > f.wide("v_threshold")).any()):
            raise Unsayable("a start above the threshold")
        return "zero", False, False
    with_synapse = f.synapse != "none"
    if f.reset_timing == "next_step_before" and not with_synapse:
        return "zero", True, False
    f.only(reset_timing="next_step_after")
    return "zero", True, not with_synapse


def _alpha(f: Fields) -> dict[str, Any]:
    """alpha and beta, whose gain the cell works out itself."""
    f.all(w_in=1, v0=0, i0=0, alpha_mem=0)
    f.only(spikes="single", reset_timing="next_step_after")
    slow, fast = f.wide("alpha_syn"), f.wide("alpha_inh")
    with np.errstate(all="ignore"):
        gain = np.log(slow) / (np.log(fast) - np.log(slow)) + 1
    if not (slow > fast).all() or not np.allclose(f.wide("gain"), gain, rtol=1e-4):
        raise Unsayable("a gain that is not that of its alpha_syn and alpha_inh")
    return {"alpha": f.tensor("alpha_syn"), "beta": f.tensor("alpha_inh")}


def _lapicque(f: Fields) -> dict[str, Any]:
    """R and C with `1 − dt/(R·C) = alpha_mem`, `dt/C = gain`, dt = 1; rounded once."""
    decay = 1 - f.wide("alpha_mem")
    gain = f.wide("gain")
    if not (decay > 0).all() or not (gain > 0).all():
        raise Unsayable("a gain without a leak, or below 0")
    import torch

    def rounded(values: Any) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32)

    return {"R": rounded(gain / decay), "C": rounded(1 / gain), "time_step": 1.0}


def _made(f: Fields, name: str, options: dict[str, Any]) -> Cell:
    import snntorch

    written = {k: v for k, v in options.items() if (k, v) != ("reset_delay", True)}

    def start(n: int) -> Step:
        module = getattr(snntorch, name)(**options).eval()
        state = [f.start("v0", n)]
        if name == "Synaptic":
            state.insert(0, f.start("i0", n))
        if name == "RLeaky":
            state.insert(0, f.start("v0", n) * 0)
        if name == "Alpha":
            state = [f.start("v0", n) for _ in range(3)]

        def step(x: Any) -> Any:
            out, *after = module(x, *state)
            mem = after[-1]
            state[:] = [out, mem] if name == "RLeaky" else after
            if f.spikes == "none":
                return None, mem.clone(), mem.clone()
            factor = options.get("graded_spikes_factor", 1.0)
            # A factor of 0 hides the spikes; they are what the membrane says.
            z = (
                (mem > module.threshold).to(out.dtype)
                if f.is_("spike_amplitude", 0)
                else out / factor
            )
            return z, mem.clone(), out.clone()

        return step

    return Cell(f"{name}({shown(**written)})", start)
