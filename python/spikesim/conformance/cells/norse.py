"""Norse's cells (checked against 1.1): IAF, LIFBox, LIF, LIBox, LI; steps of dt = 1.

With dt = 1 the inverse time constants are the gains themselves, so nothing is rounded that the
cell does not round.
"""

from __future__ import annotations

from typing import Any

from spikesim.conformance.cells.base import Cell, Fields, Step, Unsayable, near, shown


def cell(f: Fields) -> Cell:
    """The cell whose step the fields are."""
    f.only(order="A", refractory=0, synapse=("none", "decay_first"), spikes=("single", "none"))
    f.without("theta_plus", "v_min")
    rates: dict[str, Any] = {}
    leaky = not (f.is_("alpha_mem", 1) and f.is_("gain", 1))
    if leaky or f.synapse != "none" or f.spikes == "none":
        if not near(f.wide("alpha_mem"), 1 - f.wide("gain")):
            raise Unsayable("alpha_mem that is not 1 − gain")
        rates = {"tau_mem_inv": f.tensor("gain"), "v_leak": f.tensor("v_leak")}
    if f.synapse == "decay_first":
        f.all(w_in=1)
        # The rate is rounded, and what the cell makes of it; at most a unit in the last place.
        rates["tau_syn_inv"] = 1 - f.tensor("alpha_syn")
    if f.spikes == "none":
        name = "LIBoxCell" if f.synapse == "none" else "LICell"
        return _made(f, name, "LIBoxParameters" if f.synapse == "none" else "LIParameters", rates)
    f.only(fires=">", reset_timing="same_step", reset=("to_value", "subtract"))
    f.all(spike_amplitude=1)
    firing = {"v_th": f.tensor("v_threshold")}
    if f.reset == "to_value":
        firing["v_reset"] = f.tensor("v_reset")
    if not rates:
        f.only(reset="to_value")
        return _made(f, "IAFCell", "IAFParameters", firing)
    if f.synapse == "none":
        return _made(f, "LIFBoxCell", "LIFBoxParameters", {**rates, **firing})
    f.only(reset="to_value")
    return _made(f, "LIFCell", "LIFParameters", {**rates, **firing})


def _made(f: Fields, name: str, parameters: str, values: dict[str, Any]) -> Cell:
    import norse.torch as library

    options = dict(values)
    written = dict(values)
    if f.spikes != "none" and f.reset == "subtract":
        from norse.torch.functional.reset import reset_subtract

        options["reset_method"] = reset_subtract
        written["reset_method"] = "reset_subtract"

    def start(n: int) -> Step:
        module = getattr(library, name)(p=getattr(library, parameters)(**options), dt=1.0)
        first = module.state_fallback(f.start("v0", n))
        state = [first._replace(v=f.start("v0", n))]
        if "i" in first._fields:
            # Norse's current has decayed already when it is kept.
            state[0] = state[0]._replace(i=f.tensor("alpha_syn") * f.start("i0", n))

        def step(x: Any) -> Any:
            out, state[0] = module(x, state[0])
            v = state[0].v.clone()
            return (None if f.spikes == "none" else out), v, out.clone()

        return step

    return Cell(f"{name}({shown(**written)})", start)
