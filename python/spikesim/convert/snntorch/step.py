"""What the calls of snnTorch's neurons share: states, options, threshold, reset.

A step begins with ρ = [mem > threshold], of the membrane that the step before left. The reset of
`reset_mechanism` acts on it one step late; with `reset_delay=False` another one acts in the same
step, on the spikes that ρ has not paid for already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.convert.build import MEMBRANE, Membrane, State, Value, population, shared_state
from spikesim.convert.steps import starts_anew
from spikesim.convert.surrogate import threshold_test
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.walk import Walker

# The values of the reset_mechanism_val buffer, and the method that each makes the neuron call.
RESETS = ("subtract", "zero", "none")
FUNCTIONS = ("_base_sub", "_base_zero", "_base_int")
# The states by the names that they have in a call, and in messages.
ROLES = {
    "mem": MEMBRANE,
    "syn": "synaptic current",
    "syn_exc": "excitatory current",
    "syn_inh": "inhibitory current",
    "spk": "spikes",
}


class Call:
    """One call of a neuron, with everything checked that does not depend on the class.

    Attributes:
        walker, module, path: who is called.
        value: its input.
        given: the states that it is given, by name.
        mechanism: "subtract", "zero" or "none".
    """

    def __init__(
        self,
        walker: Walker,
        module: Any,
        path: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *states: str,
    ) -> None:
        self.walker, self.module, self.path = walker, module, path
        self.states = states
        refuse_options(module, path)
        self.value, self.given = self._arguments(args, kwargs)
        if module.init_hidden and self.given:
            raise UnsupportedError(
                f"{path}: is given {', '.join(self.given)} with init_hidden=True, which snnTorch "
                "raises a TypeError for; expected the input alone"
            )
        for name, state in self.given.items():
            self._claim(name, state)
        self.mechanism = self._mechanism()

    def numbers(self, name: str, tensor: Any = None) -> NDArray[np.float32]:
        """A parameter of the module, spread as torch would."""
        tensor = getattr(self.module, name) if tensor is None else tensor
        return population(tensor, self.value.shape, self.path, name)

    def decay(self, name: str) -> NDArray[np.float32]:
        """A rate, which the library clamps in each call."""
        return self.numbers(name, getattr(self.module, name).detach().clamp(0, 1))

    def add(
        self,
        model: Any,
        parameters: dict[str, Any],
        rules: dict[str, Any],
        *rates: str,
    ) -> Value:
        """Adds the population.

        Args:
            model: display name.
            parameters: the float fields beside threshold and amplitude.
            rules: the other fields beside the threshold test.
            rates: attributes to keep in meta where they are one number.
        """
        module = self.module
        meta: dict[str, Any] = {
            "library": "snntorch",
            "cell": type(module).__name__,
            "reset_mechanism": self.mechanism,
            "reset_delay": bool(getattr(module, "reset_delay", True)),
        }
        for name in rates:
            if getattr(module, name).numel() == 1:
                meta[name] = float(getattr(module, name))
        amplitude = self.numbers("graded_spikes_factor")
        if not meta["reset_delay"] and not bool(np.all(amplitude != 0)):
            raise UnsupportedError(
                f"{self.path}: graded_spikes_factor is 0 with reset_delay=False, where snnTorch "
                "divides by it; expected another value"
            )
        fields = {
            "v_threshold": self.numbers("threshold"),
            "spike_amplitude": amplitude,
            **parameters,
        }
        rules = {"fires": threshold_test(module.spike_grad, self.path, "spike_grad"), **rules}
        return self.walker.builder.neuron(model, self.path, self.value, fields, rules, meta)

    def reset(self, zero: str = "next_step_after") -> dict[str, str]:
        """The fields of rule S3 for the module's mechanism.

        Args:
            zero: when a delayed "zero" acts: before the input, or after it and on it.
        """
        delayed = bool(getattr(self.module, "reset_delay", True))
        if self.mechanism == "none":
            return {"reset": "none", "reset_timing": "same_step"}
        if self.mechanism == "zero":
            # Reset in the same step, the membrane never starts a step above its threshold: ρ = 0.
            return {"reset": "to_value", "reset_timing": zero if delayed else "same_step"}
        timing = "next_step_after" if delayed else "same_step_guarded"
        return {"reset": "subtract", "reset_timing": timing}

    def result(self, out: Value) -> Any:
        """What the call returns: spikes, and the states in their order."""
        if self.module.init_hidden and not self.module.output:
            return out
        states = [Membrane(out, ROLES[name]) for name in self.states if name != "spk"]
        return (out, *states)

    def _arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Value, dict[str, Any]]:
        names = ("input_", *self.states)
        given = dict(zip(names, args, strict=False)) | kwargs
        value = given.pop("input_", None)
        if len(args) > len(names) or set(given) - set(names) or not isinstance(value, Value):
            raise UnsupportedError(
                f"{self.path}: the call is not (input, {', '.join(self.states)}), expected the "
                "output of a layer and at most the neuron's states"
            )
        return value, {name: state for name, state in given.items() if state is not None}

    def _claim(self, name: str, state: Any) -> None:
        """The state passed in must be this neuron's itself, or its start from zero."""
        builder, path, role = self.walker.builder, self.path, ROLES[name]
        if isinstance(state, State):
            builder.claim_state(state, path, role)
            return
        if isinstance(state, Membrane):
            raise shared_state(path, state.neuron.name, state, role, state.role)
        if isinstance(state, Tensor) and not bool(torch.count_nonzero(state)):
            # init_leaky() and reset_mem() return the tensor that the neuron holds.
            for root, parent in builder.traced:
                for place, other in parent.named_modules():
                    for held, owners in ROLES.items():
                        if getattr(other, held, None) is state and (other, held) != (
                            self.module,
                            name,
                        ):
                            owner = ".".join(part for part in (root, place) if part)
                            raise shared_state(path, owner, state, role, owners)
            builder.claim_state(state, path, role)
            builder.anew.append(
                starts_anew(self.module, path, f"is given zeros made in forward as its {role}")
            )
            return
        raise UnsupportedError(
            f"{path}: its {role} argument is computed in forward, expected the state of the step "
            "before as it is; pass it through forward's arguments or use init_hidden=True"
        )

    def _mechanism(self) -> str:
        mechanism = RESETS[int(self.module.reset_mechanism_val)]
        # The function that runs was chosen when the neuron was made; the buffer may have changed.
        if self.module.state_function.__name__ != FUNCTIONS[RESETS.index(mechanism)]:
            raise UnsupportedError(
                f"{self.path}: reset_mechanism is {mechanism!r} but the module was made with "
                f"another, expected both the same; make the {type(self.module).__name__} anew "
                "with that reset_mechanism"
            )
        return mechanism


def refuse_options(module: Any, path: str) -> None:
    """The options of every neuron that no rule says."""
    for option in ("inhibition", "state_quant"):
        if getattr(module, option):
            raise UnsupportedError(
                f"{path}: {option} is set, expected a {type(module).__name__} without it; train "
                f"without {option}"
            )
