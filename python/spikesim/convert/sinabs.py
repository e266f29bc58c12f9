"""Sinabs' neurons (checked against 3.1).

A step is, with x its input and a = exp(-1/tau)::

    i = a_syn·(i + x)  with tau_syn, else x
    v = a_mem·v + (1 - a_mem)·i  with norm_input, else a_mem·v + i
    z = trunc(v / threshold) where v > 0    MultiSpike; MaxSpike: at most so many
        1 where v >= threshold              SingleSpike
    v = v - z·threshold                     MembraneSubtract
        0 where it fired                    MembraneReset
    v = max(v, min_v_mem)

IAF has a_mem = 1; ExpLeak does not fire and returns v. ALIF's threshold is spike_threshold +
adapt_scale·b with b = a_adapt·b + (1 - a_adapt)·z; with norm_input its i is scaled for good. A
recurrent layer adds rec_connect of the spikes of the step before to x, and nothing at step 0.

The states that a layer holds (v_mem, i_syn, b) are those of its last call, whatever batch that
was; a network starts from zeros, as a layer does after reset_states().
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spikesim.convert.build import Value, population
from spikesim.convert.plain import library_class
from spikesim.errors import UnsupportedError
from spikesim.ops.neurons import Model

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker

NEURONS = (
    "IAF",
    "IAFSqueeze",
    "IAFRecurrent",
    "LIF",
    "LIFSqueeze",
    "LIFRecurrent",
    "ExpLeak",
    "ExpLeakSqueeze",
    "ALIF",
    "ALIFSqueeze",
    "ALIFRecurrent",
)
# What makes a step; a class that changes one is another neuron.
STEP = (
    "forward",
    "squeeze_forward",
    "alpha_mem_calculated",
    "alpha_syn_calculated",
    "alpha_adapt_calculated",
    "init_state_with_shape",
)


def handler(module: nn.Module) -> Handler | None:
    """Reads neurons, layers and networks; names what is not supported."""
    from sinabs.layers import StatefulLayer

    from spikesim.convert import sinabs_layers

    if _known(module) is not None:
        return _neuron
    if isinstance(module, StatefulLayer):
        return _unsupported
    return sinabs_layers.handler(module)


def step_mode(module: nn.Module) -> str | None:
    """(N, T, …), or (N·T, …) for the squeezing classes."""
    from sinabs.layers import SqueezeMixin, StatefulLayer

    from spikesim.convert import sinabs_layers

    if isinstance(module, StatefulLayer):
        return "n*t" if isinstance(module, SqueezeMixin) else "nt"
    return sinabs_layers.step_mode(module)


def _known(module: nn.Module) -> str | None:
    """The library's class of a module, if the module's own class keeps its step."""
    base = library_class(module, NEURONS, "sinabs.layers", STEP)
    return None if base is None else base.__name__


def _unsupported(
    walker: Walker, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    raise UnsupportedError(
        f"{path}: Sinabs' {type(module).__name__} is not supported, expected one of "
        f"{', '.join(NEURONS)}; build the population by hand with ss.Neuron"
    )


def _neuron(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    from spikesim.convert import sinabs_layers

    value = walker.single(path, args, kwargs)
    sinabs_layers.check_layout(walker, module, path, value)
    read = _adaptive if _known(module).startswith("ALIF") else _leaky  # type: ignore[union-attr]
    model, given, rules = read(module, path)
    numbers = {name: population(n, value.shape, path, name) for name, n in given.items()}
    if "alpha_syn" in numbers:
        rules["synapse"] = "decay_after"
    meta = {"library": "sinabs", "cell": type(module).__name__, "norm_input": module.norm_input}
    for name in ("tau_mem", "tau_syn", "tau_adapt"):
        tau = getattr(module, name, None)
        if isinstance(tau, Tensor) and tau.numel() == 1 and bool(torch.isfinite(tau)):
            meta[name] = float(tau)
    out = walker.builder.neuron(model, path, value, numbers, rules, meta)
    if hasattr(module, "rec_connect"):
        sinabs_layers.connect_back(walker, module.rec_connect, path, out)
    return out


def _leaky(module: Any, path: str) -> tuple[Model, dict[str, Any], dict[str, Any]]:
    """IAF, LIF, ExpLeak."""
    # As the library makes them, in its own precision: the step is then the same to the bit.
    alpha = module.alpha_mem_calculated.detach()
    numbers: dict[str, Any] = {"alpha_mem": alpha}
    if module.norm_input:
        numbers["gain"] = 1 - alpha
    synapse = module.alpha_syn_calculated
    if synapse is not None:
        numbers |= {"alpha_syn": synapse.detach(), "w_in": 1.0}
    if module.min_v_mem is not None:
        if not module.spike_fn:
            raise UnsupportedError(
                f"{path}: min_v_mem is set, expected none where nothing fires; such a layer of "
                "Sinabs returns the membrane that it had before the bound"
            )
        numbers["v_min"] = module.min_v_mem
    if not module.spike_fn:
        return "LI" if synapse is None else "CubaLI", numbers, {"spikes": "none"}
    numbers["v_threshold"] = module.spike_threshold
    rules = {**_spikes(module, path), **_reset(module, path, module.spike_threshold)}
    name = type(module).__name__
    plain: Model = "IF" if name.startswith("IAF") else "LIF"
    return plain if synapse is None else "CubaLIF", numbers, rules


def _adaptive(module: Any, path: str) -> tuple[Model, dict[str, Any], dict[str, Any]]:
    """ALIF."""
    alpha = module.alpha_mem_calculated.detach()
    numbers: dict[str, Any] = {"alpha_mem": alpha, "v_threshold": module.b0}
    synapse = module.alpha_syn_calculated
    if synapse is not None:
        decay = synapse.detach()
        scaled = decay.double() * (1 - alpha).double() if module.norm_input else decay
        numbers |= {"alpha_syn": scaled, "w_in": 1.0}
    elif module.norm_input:
        numbers["gain"] = 1 - alpha
    decay = module.alpha_adapt_calculated.detach().double()
    if not bool((decay > 0).all()):
        raise UnsupportedError(
            f"{path}: tau_adapt is so small that nothing remains of the adaptation after a step, "
            "expected a longer one; use LIF"
        )
    scale = torch.as_tensor(module.adapt_scale).detach().double()
    # What a spike adds is decayed by a step when the threshold first shows it.
    numbers |= {"alpha_theta": decay, "theta_plus": scale * (1 - decay) / decay}
    if module.min_v_mem is not None:
        numbers["v_min"] = module.min_v_mem
    rules = {**_spikes(module, path), **_reset(module, path, None)}
    return "LIF" if synapse is None else "CubaLIF", numbers, rules


def _spikes(module: Any, path: str) -> dict[str, Any]:
    from sinabs.activation import MaxSpike, MultiSpike, SingleSpike

    chosen = module.spike_fn
    if chosen is SingleSpike:
        return {"spikes": "single"}
    if chosen is MultiSpike:
        return {"spikes": "multi"}
    if type(chosen) is MaxSpike:
        most = chosen.max_num_spikes_per_bin
        if most is not None and (int(most) != most or most < 1):
            raise UnsupportedError(
                f"{path}: max_num_spikes_per_bin is {most}, expected a whole number of at least 1"
            )
        return {"spikes": "multi", "max_spikes": None if most is None else int(most)}
    name = getattr(chosen, "__name__", type(chosen).__name__)
    raise UnsupportedError(
        f"{path}: spike_fn is {name}, expected MultiSpike, SingleSpike or MaxSpike(…) of Sinabs"
    )


def _reset(module: Any, path: str, threshold: Any) -> dict[str, Any]:
    """The reset; `threshold` is None where it adapts."""
    from sinabs.activation import MembraneReset, MembraneSubtract

    chosen = module.reset_fn
    if type(chosen) is MembraneSubtract:
        value = chosen.subtract_value
        fixed = value is not None
        if fixed and (threshold is None or not _equal(value, threshold)):
            raise UnsupportedError(
                f"{path}: MembraneSubtract(subtract_value={value}) takes something else than the "
                "threshold for each spike, expected subtract_value=None"
            )
        return {"reset": "subtract"}
    if type(chosen) is MembraneReset:
        if not _equal(chosen.reset_value, 0.0):
            raise UnsupportedError(
                f"{path}: MembraneReset(reset_value={chosen.reset_value}) is not supported, "
                "expected reset_value=0; Sinabs adds it to every membrane in every step, whether "
                "it fired or not"
            )
        return {"reset": "to_value"}
    name = getattr(chosen, "__name__", type(chosen).__name__)
    raise UnsupportedError(
        f"{path}: reset_fn is {name}, expected MembraneSubtract() or MembraneReset() of Sinabs"
    )


def _equal(first: Any, second: Any) -> bool:
    left, right = (torch.as_tensor(item, dtype=torch.float32).cpu() for item in (first, second))
    return bool((left == right).all())
