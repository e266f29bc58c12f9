"""SpikingJelly's neurons that take whole sequences and keep no state from one to the next.

    NonSpikingIFNode    v = v + x, never fires; decode makes one value of the sequence of v
    NonSpikingLIFNode   v = v + (x - v) / tau
    DSRIFNode           v = v + x, fires where v >= alpha·θ, v -= θ, gives θ
    DSRLIFNode          v = b·v + (1 - b)·x with b = exp(-delta_t/tau), the same, gives θ/delta_t

The DSR neurons fire at another threshold than they subtract. With u = v + (1 - alpha)·θ both are
θ; nobody sees their membrane, so that u may stand for it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from spikesim.convert.build import OverTime, Value
from spikesim.convert.spikingjelly.neurons import Fields, number, population_of
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker

# The readouts that are what a decode computes.
DECODES = {"last_mem": "last_v", "max-mem": "max_v", "mean-mem": "mean"}


def _non_spiking(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> OverTime:
    walker.per_step(path)
    if module.decode not in DECODES:
        raise UnsupportedError(
            f"{path}: decode is {module.decode!r}, expected one of {', '.join(DECODES)}"
        )
    numbers = {}
    if hasattr(module, "tau"):
        tau = number(module.tau, path, "tau")
        numbers = {"alpha_mem": 1.0 - 1.0 / tau, "gain": 1.0 / tau}
    fields = Fields("LI", numbers, {"spikes": "none"}, {"decode": module.decode})
    value = walker.single(path, args, kwargs)
    out = population_of(walker, module, path, value, fields, ">=")
    return OverTime(out, DECODES[module.decode])


def _dsr_threshold(module: Any, path: str) -> tuple[float, float]:
    """(θ, what the membrane is raised by)."""
    threshold = number(module.v_threshold.clamp(min=module.v_threshold_lower_bound), path, "θ")
    return threshold, (1.0 - module.alpha) * threshold


def _dsr_if(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    walker.per_step(path)
    threshold, raised = _dsr_threshold(module, path)
    numbers = {"v_threshold": threshold, "v0": raised, "spike_amplitude": threshold}
    fields = Fields("IF", numbers, meta={"alpha": module.alpha, "membrane_raised_by": raised})
    return population_of(walker, module, path, walker.single(path, args, kwargs), fields, ">=")


def _dsr_lif(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    walker.per_step(path)
    threshold, raised = _dsr_threshold(module, path)
    decay = math.exp(-module.delta_t / module.tau)
    numbers = {
        "v_threshold": threshold,
        "v0": raised,
        "v_leak": raised,
        "alpha_mem": decay,
        "gain": 1.0 - decay,
        "spike_amplitude": threshold / module.delta_t,
    }
    meta = {
        "alpha": module.alpha,
        "tau": module.tau,
        "delta_t": module.delta_t,
        "discretisation": "exponential",
        "membrane_raised_by": raised,
    }
    fields = Fields("LIF", numbers, meta=meta)
    return population_of(walker, module, path, walker.single(path, args, kwargs), fields, ">=")


READERS: dict[str, Handler] = {
    "NonSpikingIFNode": _non_spiking,
    "NonSpikingLIFNode": _non_spiking,
    "DSRIFNode": _dsr_if,
    "DSRLIFNode": _dsr_lif,
}
