"""snnTorch's Leaky (checked against 1.0).

Its call is, with ρ = mem > threshold from the membrane of the step before::

    "subtract"   mem = beta·mem + x - ρ·threshold
    "zero"       mem = beta·(1 - ρ)·mem + x
    "none"       mem = beta·mem + x

then spk = (mem > threshold)·graded_spikes_factor. The reset thus acts one step late, and the
reported membrane still holds the spike. With `reset_delay=False` it acts in the same step on the
spikes that ρ has not paid for already: `mem -= (spk - ρ)·threshold`, or `mem -= (spk - ρ)·mem`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from spikesim.convert.build import Membrane, State, Value, population, shared_state
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker

# The values of the reset_mechanism_val buffer.
RESETS = ("subtract", "zero", "none")
# The methods that make a step; a class that changes one is another neuron.
STEP = ("forward", "fire", "mem_reset", "_base_state_function", "_base_sub", "_base_zero")


def handler(module: nn.Module) -> Handler | None:
    """Reads Leaky; names the neurons that are not supported."""
    import snntorch

    if isinstance(module, snntorch.Leaky) and all(
        getattr(type(module), method) is getattr(snntorch.Leaky, method) for method in STEP
    ):
        return _leaky
    if isinstance(module, snntorch.SpikingNeuron):
        return _unsupported
    return None


def step_mode(module: nn.Module) -> str | None:
    """snnTorch's neurons are single-step."""
    import snntorch

    return "s" if isinstance(module, snntorch.SpikingNeuron) else None


def _unsupported(
    walker: Walker, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    raise UnsupportedError(
        f"{path}: snntorch.{type(module).__name__} is not supported, expected snntorch.Leaky; "
        "build the population by hand with ss.Neuron"
    )


def _leaky(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value | tuple[Value, Membrane]:
    value, membrane = _arguments(path, args, kwargs)
    for option in ("inhibition", "state_quant"):
        if getattr(module, option):
            raise UnsupportedError(
                f"{path}: {option} is set, expected a Leaky without it; train without {option}"
            )
    _check_membrane(walker, module, path, membrane)
    beta: Tensor = module.beta.detach().clamp(0, 1)
    parameters = {
        "v_threshold": population(module.threshold, value.shape, path, "threshold"),
        "alpha_mem": population(beta, value.shape, path, "beta"),
        "spike_amplitude": population(
            module.graded_spikes_factor, value.shape, path, "graded_spikes_factor"
        ),
    }
    mechanism = RESETS[int(module.reset_mechanism_val)]
    # The function that Leaky runs was chosen when it was made; the buffer may have changed since.
    chosen = module.state_function.__name__
    if chosen != {"subtract": "_base_sub", "zero": "_base_zero", "none": "_base_int"}[mechanism]:
        raise UnsupportedError(
            f"{path}: reset_mechanism is {mechanism!r} but the module was made with another, "
            "expected both the same; make the Leaky anew with that reset_mechanism"
        )
    reset, timing = _reset(mechanism, bool(module.reset_delay))
    if not module.reset_delay and not bool(np.all(parameters["spike_amplitude"] != 0)):
        raise UnsupportedError(
            f"{path}: graded_spikes_factor is 0 with reset_delay=False, where snnTorch divides "
            "by it; expected another value"
        )
    rules = {"fires": ">", "reset": reset, "reset_timing": timing}
    meta = {
        "library": "snntorch",
        "cell": "Leaky",
        "reset_mechanism": mechanism,
        "reset_delay": bool(module.reset_delay),
    }
    if module.beta.numel() == 1:
        meta["beta"] = float(module.beta)
    out = walker.builder.neuron("LIF", path, value, parameters, rules, meta)
    if module.init_hidden and not module.output:
        return out
    return out, Membrane(out)


def _reset(mechanism: str, delayed: bool) -> tuple[str, str]:
    """(reset, reset_timing) of rule S3."""
    if mechanism == "none":
        return "none", "same_step"
    if mechanism == "zero":
        # Reset in the same step, the membrane never starts a step above its threshold: ρ = 0.
        return "to_value", "next_step_before" if delayed else "same_step"
    return "subtract", "next_step_after" if delayed else "same_step_guarded"


def _arguments(path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Value, Any]:
    names = ("input_", "mem")
    given = dict(zip(names, args, strict=False)) | kwargs
    value = given.get("input_")
    if len(args) > len(names) or set(given) - set(names) or not isinstance(value, Value):
        raise UnsupportedError(
            f"{path}: the call is not (input, mem), expected the output of a layer and at most "
            "the membrane"
        )
    return value, given.get("mem")


def _check_membrane(walker: Walker, module: nn.Module, path: str, membrane: Any) -> None:
    """The membrane passed in must be this neuron's state itself, or its start from zero."""
    if membrane is None:
        return
    if isinstance(membrane, State):
        walker.builder.claim_state(membrane, path)
        return
    if isinstance(membrane, Membrane):
        raise shared_state(path, membrane.neuron.name, membrane)
    if isinstance(membrane, Tensor) and not bool(torch.count_nonzero(membrane)):
        # init_leaky() and reset_mem() return the tensor that the neuron holds.
        for root, parent in walker.builder.traced:
            for name, other in parent.named_modules():
                if other is not module and getattr(other, "mem", None) is membrane:
                    owner = f"{root}.{name}" if root else name
                    raise shared_state(path, owner, membrane)
        walker.builder.claim_state(membrane, path)
        return
    raise UnsupportedError(
        f"{path}: its membrane argument is computed in forward, expected the state of the step "
        "before as it is; pass it through forward's arguments or use init_hidden=True"
    )
