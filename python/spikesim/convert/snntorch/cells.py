"""Leaky, Synaptic, Lapicque and Alpha: neurons that hear their input alone.

With ρ as in `step`, β and α clamped to 0…1::

    Leaky     mem = β·mem + x                              - ρ·threshold, or β·(1 - ρ)·mem + x
    Synaptic  syn = α·syn + x, mem = β·mem + syn           - ρ·threshold, or 0 where ρ
    Lapicque  mem = (1 - dt/(R·C))·mem + x·R·(1/(R·C))·dt  - ρ·threshold, or 0 where ρ
    Alpha     exc = α·exc + x, inh = β·inh - x, mem = τ·(exc + inh)
              τ = ln α/(ln β - ln α) + 1

then spk = (mem > threshold)·graded_spikes_factor. Alpha's late reset takes the threshold from exc,
makes inh nothing and adds the inh of the step before to mem ("subtract"), or makes all three
nothing ("zero").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from spikesim.convert.snntorch.step import Call

if TYPE_CHECKING:
    from spikesim.convert.walk import Walker

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def leaky(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Any:
    """Reads a Leaky."""
    call = Call(walker, module, path, args, kwargs, "mem")
    decays = {"alpha_mem": call.decay("beta")}
    return call.result(call.add("LIF", decays, call.reset("next_step_before"), "beta"))


def synaptic(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Any:
    """Reads a Synaptic."""
    call = Call(walker, module, path, args, kwargs, "syn", "mem")
    parameters, rules = second_order(call)
    return call.result(call.add("CubaLIF", parameters, rules, "alpha", "beta"))


def second_order(call: Call) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and rules of a membrane behind a synaptic current."""
    parameters = {
        "alpha_mem": call.decay("beta"),
        "alpha_syn": call.decay("alpha"),
        "w_in": 1.0,
    }
    return parameters, {"synapse": "decay_first", **call.reset()}


def lapicque(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Any:
    """Reads a Lapicque, whose decay and gain are computed as the library does."""
    call = Call(walker, module, path, args, kwargs, "mem")
    with torch.no_grad():
        product = module.R * module.C
        decay = 1 - module.time_step / product
        gain = module.R * (1 / product) * module.time_step
    parameters = {
        "alpha_mem": call.numbers("R, C", decay),
        "gain": call.numbers("R, C", gain),
    }
    rates = ("R", "C", "time_step")
    return call.result(call.add("LIF", parameters, call.reset(), *rates))


def alpha(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Any:
    """Reads an Alpha."""
    call = Call(walker, module, path, args, kwargs, "syn_exc", "syn_inh", "mem")
    with torch.no_grad():
        slow, fast = module.alpha.clamp(0, 1), module.beta.clamp(0, 1)
        tau = torch.log(slow) / (torch.log(fast) - torch.log(slow)) + 1
    parameters = {
        "alpha_mem": 0.0,
        "alpha_syn": call.decay("alpha"),
        "alpha_inh": call.decay("beta"),
        "w_in": 1.0,
        "gain": call.numbers("alpha, beta", tau),
    }
    rules = {"synapse": "alpha", **call.reset(), "reset_timing": "next_step_after"}
    return call.result(call.add("Neuron", parameters, rules, "alpha", "beta"))
