"""SpikingJelly's cells (checked against 2.0): IF, LIF, ParametricLIF, CUBALIF, NonSpiking*."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from spikesim.conformance.cells.base import Cell, Fields, Step, Unsayable, near, shown


def cell(f: Fields) -> Cell:
    """The cell whose step the fields are."""
    f.only(order="A", refractory=0, synapse=("none", "decay_first"), spikes=("single", "none"))
    f.without("theta_plus", "v_min")
    if f.spikes == "none":
        return _silent(f)
    f.only(fires=">=", reset_timing="same_step", reset=("subtract", "to_value"))
    f.all(spike_amplitude=1)
    v_reset = f.number("v_reset") if f.reset == "to_value" else None
    options: dict[str, Any] = {"v_threshold": f.number("v_threshold"), "v_reset": v_reset}
    if f.synapse == "decay_first":
        f.all(w_in=1, gain=1, v_leak=0)
        decays = {"c_decay": f.number("alpha_syn"), "v_decay": f.number("alpha_mem")}
        return _made(f, "CUBALIFNode", {**decays, **options})
    alpha, gain = f.number("alpha_mem"), f.number("gain")
    if alpha == 1:
        f.all(gain=1)
        return _made(f, "IFNode", options)
    f.all(v_leak=v_reset or 0.0)
    tau, decay_input = _tau(f, alpha, gain)
    if f.hint("cell") == "ParametricLIFNode":
        return _made(f, "ParametricLIFNode", {"tau": tau, "decay_input": decay_input, **options})
    return _made(f, "LIFNode", {"tau": tau, "decay_input": decay_input, **options})


def _tau(f: Fields, alpha: float, gain: float) -> tuple[float, bool]:
    """tau and decay_input with `1 − 1/tau = alpha_mem`, `gain` 1/tau or 1, or as near as can be."""
    noted = f.hint("tau")
    if not 0 < alpha < 1:
        raise Unsayable(f"alpha_mem={alpha:.6g}, which is no 1 − 1/tau with tau above 1")
    decay_input = gain != 1
    tau = 1 / gain if decay_input else 1 / (1 - alpha)
    if isinstance(noted, float) and near(alpha, 1 - 1 / noted):
        tau = noted
    if not near(alpha, 1 - 1 / tau) or (decay_input and not near(gain, 1 / tau)):
        raise Unsayable(f"gain={gain:.6g} beside alpha_mem={alpha:.6g}")
    return tau, decay_input


def _silent(f: Fields) -> Cell:
    f.only(synapse="none")
    f.all(v_leak=0, v0=0)
    alpha, gain = f.number("alpha_mem"), f.number("gain")
    if alpha == 1:
        f.all(gain=1)
        return _made(f, "NonSpikingIFNode", {})
    tau, decay_input = _tau(f, alpha, gain)
    if not decay_input:
        raise Unsayable("a membrane without spikes whose input does not decay")
    return _made(f, "NonSpikingLIFNode", {"tau": tau})


def _made(f: Fields, name: str, options: dict[str, Any]) -> Cell:
    from spikingjelly.activation_based import neuron

    given = dict(options)
    if name == "ParametricLIFNode":
        given["init_tau"] = given.pop("tau")

    def start(n: int) -> Step:
        node = getattr(neuron, name)(**given).eval()
        if name == "ParametricLIFNode":
            # As near to tau as its parameter comes.
            node.w.data.fill_(-math.log(np.float64(options["tau"]) - 1))
        if f.spikes == "none":
            node.v = f.start("v0", n)

            def integrate(x: Any) -> Any:
                node.neuronal_charge(x)
                return None, node.v.clone(), node.v.clone()

            return integrate
        node.v = f.start("v0", n)
        if name == "CUBALIFNode":
            node.c = f.start("i0", n)

        def step(x: Any) -> Any:
            out = node(x)
            return out, node.v.clone(), out.clone()

        return step

    return Cell(f"{name}({shown(**given)})", start)
