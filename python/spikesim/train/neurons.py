"""spikesim's own neuron modules for torch: IF, LIF, and Neuron for every rule there is.

One call is one step (`step_mode="s"`) or a whole sequence (`step_mode="m"`, time first). The
arithmetic is rule S3 with the engine's order of operations (`spikesim.train.step`), so on
weights whose sums are exact the spikes and membranes equal the engine's to the bit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spikesim import ops
from spikesim.errors import GraphError, InputError, ShapeError, UnsupportedError
from spikesim.network import Network
from spikesim.ops.neurons import Model
from spikesim.train.step import RULES, Rules, State, start, step
from spikesim.train.surrogate import Surrogate, named

Parameter = float | Sequence[float] | Tensor

RESETS = ("subtract", "to_value", "none")
FIRES = (">=", ">")
STEP_MODES = ("s", "m")


class SpikingModule(nn.Module):
    """A population of neurons: IF and LIF with one spike a step, `Neuron` with any rule.

    In each step of IF and LIF, with x the input and θ = `v_threshold`::

        h = (v_leak + alpha_mem·(v - v_leak)) + gain·x
        z = h >= θ                    # or h > θ
        v = h - z·θ                   # "subtract"; v_reset where z ("to_value"); h ("none")

    Args:
        v_threshold: firing threshold θ.
        reset: what a spike does to the membrane, in the same step.
        v_reset: membrane after a spike, for `reset="to_value"`.
        v_leak: resting value.
        alpha_mem: what is left of `v - v_leak` after one step; 1 is no leak.
        gain: factor of the input.
        fires: ">=" or ">".
        v0: membrane before the first step.
        surrogate: gradient of the threshold test, a name or a `Surrogate`.
        detach_reset: whether gradients stop at the reset.
        step_mode: "s": input (N, *shape), one step a call; "m": (T, N, *shape), T steps a call.
        learn: names of the parameters that are to be trained, as "alpha_mem"; the others are
            buffers.

    Each parameter is a scalar, one value a channel `(C,)`, or one a neuron `(*shape)`.
    The state (membrane `v`, (N, *shape)) stays from call to call until `reset_state()`.
    """

    def __init__(
        self,
        *,
        v_threshold: Parameter,
        reset: str,
        v_reset: Parameter,
        v_leak: Parameter,
        alpha_mem: Parameter,
        gain: Parameter,
        fires: str,
        v0: Parameter,
        surrogate: str | Surrogate,
        detach_reset: bool,
        step_mode: str,
        learn: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._choose("reset", reset, RESETS)
        self._choose("fires", fires, FIRES)
        self._set_up(
            Rules(reset=reset, fires=fires),
            {
                "v_threshold": v_threshold,
                "v_reset": v_reset,
                "v_leak": v_leak,
                "alpha_mem": alpha_mem,
                "gain": gain,
                "v0": v0,
            },
            surrogate,
            detach_reset,
            step_mode,
            learn,
        )

    def _set_up(
        self,
        rules: Rules,
        parameters: dict[str, Any],
        surrogate: str | Surrogate,
        detach_reset: bool,
        step_mode: str,
        learn: Sequence[str],
    ) -> None:
        """Takes on rules, and parameters as buffers or, where they are to be learned, as such."""
        name = type(self).__name__
        self._choose("step_mode", step_mode, STEP_MODES)
        learn = (learn,) if isinstance(learn, str) else tuple(learn)
        for field in learn:
            self._choose("learn", field, tuple(parameters))
        for field, parameter in parameters.items():
            tensor = torch.as_tensor(parameter, dtype=torch.get_default_dtype()).detach().clone()
            # A tensor on "meta" has no numbers: the model is built for its shapes alone.
            if not tensor.is_meta and not bool(torch.isfinite(tensor).all()):
                raise GraphError(f"{name}: {field} is not finite, expected finite numbers")
            if field in learn:
                self.register_parameter(field, nn.Parameter(tensor))
            else:
                # Buffers: they follow .to(device) and .double(), and a checkpoint holds them.
                self.register_buffer(field, tensor)
        self.parameter_fields = tuple(parameters)
        for rule in RULES:
            setattr(self, rule, getattr(rules, rule))
        self.surrogate = named(surrogate)
        self.detach_reset = detach_reset
        self.step_mode = step_mode
        self.state: State | None
        self._keep(None)

    def _choose(self, field: str, value: str, choices: Sequence[str]) -> None:
        if value not in choices:
            expected = ", ".join(repr(choice) for choice in choices)
            name = type(self).__name__
            raise UnsupportedError(f"{name}: {field} is {value!r}, expected one of {expected}")

    @property
    def rules(self) -> Rules:
        """What a step does."""
        return Rules(**{rule: getattr(self, rule) for rule in RULES})

    @property
    def v(self) -> Tensor | None:
        """The membrane after the last step; None before the first."""
        return None if self.state is None else self.state.v

    def reset_state(self) -> None:
        """Back to the start (`v0`): between one batch of samples and the next."""
        self._keep(None)

    def detach_state(self) -> None:
        """Keeps the state and cuts it off from the steps that made it: between pieces of a
        sequence that is longer than gradients are to go back."""
        self._keep(None if self.state is None else self.state.detach())

    def _keep(self, state: State | None) -> None:
        # Past torch's own, which would take it for a submodule of that name if there is one.
        object.__setattr__(self, "state", state)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: torch copies no tensor that has a history."""
        return {**self.__dict__, "state": None if self.state is None else self.state.detach()}

    def forward(self, x: Tensor) -> Tensor:
        """The output (spikes times their amplitude) of one step, or of each of a sequence.

        Args:
            x: input current, (N, *shape), or (T, N, *shape) with `step_mode="m"`.

        Returns:
            A tensor of the shape of `x`.

        Raises:
            ShapeError: `x` has another shape than in the step before.
        """
        if self.step_mode == "s":
            return self._step(x)
        if x.ndim < 3 or x.shape[0] == 0:
            raise ShapeError(
                f"{type(self).__name__}: input has shape {tuple(x.shape)}, expected (T, N, ...) "
                'with T >= 1 in step_mode "m"'
            )
        return torch.stack([self._step(step) for step in x])

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, Tensor, State]:
        """One step from a state that the caller keeps; the module's own is left as it is.

        Args:
            x: input current, (N, *shape).
            state: what the step before returned; None: the start.

        Returns:
            The output, the number of spikes with its sign, and the new state.
        """
        parameters = {field: self._spread(field, x) for field in self.parameter_fields}
        rules = self.rules
        state = start(rules, parameters, x) if state is None else state
        return step(rules, parameters, state, x, self.surrogate, self.detach_reset)

    def _step(self, x: Tensor) -> Tensor:
        if self.state is not None and self.state.v.shape != x.shape:
            raise ShapeError(
                f"{type(self).__name__}: input has shape {tuple(x.shape)}, expected "
                f"{tuple(self.state.v.shape)} as in the step before; call reset_state() between "
                "batches"
            )
        out, _, state = self.step(x, self.state)
        self._keep(state)
        return out

    def _spread(self, field: str, x: Tensor) -> Tensor:
        """A parameter shaped to act on `x` (N, C, ...): a vector is one value a channel."""
        parameter: Tensor = getattr(self, field)
        if parameter.ndim == 0:
            return parameter
        shape = tuple(x.shape[1:])
        if parameter.ndim == 1 and shape and parameter.shape[0] == shape[0]:
            return parameter.reshape(-1, *(1 for _ in shape[1:]))
        if tuple(parameter.shape) == shape or tuple(parameter.shape) == (
            shape[:1] + (1,) * (len(shape) - 1)
        ):
            return parameter
        raise ShapeError(
            f"{type(self).__name__}: {field} has shape {tuple(parameter.shape)}, expected (), "
            f"({shape[0] if shape else 1},) or {shape}"
        )

    def extra_repr(self) -> str:
        """The parameters and the rules that matter, for print(module)."""
        shown = []
        for field in self.parameter_fields:
            if field == "v_reset" and self.rules.reset != "to_value":
                continue
            value: Tensor = getattr(self, field)
            text = f"{value.item():g}" if value.ndim == 0 else f"{tuple(value.shape)}"
            shown.append(f"{field}={text}")
        plain = Rules()
        shown += [
            f"{rule}={value!r}"
            for rule in RULES
            if (value := getattr(self, rule)) != getattr(plain, rule) or rule in ("reset", "fires")
        ]
        return ", ".join([*shown, f"step_mode={self.step_mode!r}"])


class Neuron(SpikingModule):
    """A population with every rule that an `ss.Neuron` (or `ss.LIF`, `ss.CubaLIF`, …) can have.

    Its parameters carry the names of the neuron's fields, also in `state_dict()`; those that the
    neuron does not have (as `alpha_syn` without a synapse) are not there.

    Gradients: a threshold test has the surrogate's derivative at its distance from the threshold.
    Several spikes in a step (`spikes="multi"`) have it at the distance from the nearest multiple
    of the threshold, negative ones at that from `v_threshold_neg`. A refractory time has none.

    Args:
        neuron: what it does.
        surrogate: gradient of the threshold test, a name or a `Surrogate`.
        detach_reset: whether gradients stop at the reset.
        step_mode: "s": input (N, *shape), one step a call; "m": (T, N, *shape), T steps a call.
        learn: names of the parameters that are to be trained, as "alpha_mem".

    Raises:
        UnsupportedError: a combination of fields that has no rule, an unknown option.
        GraphError: a parameter that means nothing.
        TypeError: `neuron` is no `ss.Neuron`.

    Example:
        >>> import torch, spikesim as ss
        >>> cell = ss.train.Neuron(ss.LIF(alpha_mem=0.5, spikes="multi"), learn=["alpha_mem"])
        >>> cell(torch.tensor([[2.5]])).tolist()
        [[2.0]]
    """

    def __init__(
        self,
        neuron: ops.Neuron,
        *,
        surrogate: str | Surrogate = "rectangular",
        detach_reset: bool = False,
        step_mode: str = "s",
        learn: Sequence[str] = (),
    ) -> None:
        nn.Module.__init__(self)
        if not isinstance(neuron, ops.Neuron):
            raise TypeError(f"Neuron: neuron is {neuron!r}, expected a spikesim.Neuron")
        parameters = {field: torch.tensor(array) for field, array in neuron.arrays().items()}
        # The graph's own checks; on the largest shape that a parameter names.
        shape = max((tuple(p.shape) for p in parameters.values()), key=lambda s: (len(s), s))
        Network(shape or (1,)).add(neuron, name="Neuron")
        rules = Rules(**{rule: getattr(neuron, rule) for rule in RULES})
        self._set_up(rules, parameters, surrogate, detach_reset, step_mode, learn)
        self.model: Model = neuron.model
        self.meta: dict[str, Any] = copy.deepcopy(neuron.meta)


class IF(SpikingModule):
    """Integrate-and-fire: no leak. See `SpikingModule` for the step and the arguments."""

    def __init__(
        self,
        v_threshold: Parameter = 1.0,
        *,
        reset: str = "subtract",
        v_reset: Parameter = 0.0,
        gain: Parameter = 1.0,
        fires: str = ">=",
        v0: Parameter = 0.0,
        surrogate: str | Surrogate = "rectangular",
        detach_reset: bool = False,
        step_mode: str = "s",
        learn: Sequence[str] = (),
    ) -> None:
        super().__init__(
            v_threshold=v_threshold,
            reset=reset,
            v_reset=v_reset,
            v_leak=0.0,
            alpha_mem=1.0,
            gain=gain,
            fires=fires,
            v0=v0,
            surrogate=surrogate,
            detach_reset=detach_reset,
            step_mode=step_mode,
            learn=learn,
        )


class LIF(SpikingModule):
    """Leaky integrate-and-fire. See `SpikingModule` for the step and the arguments."""

    def __init__(
        self,
        v_threshold: Parameter = 1.0,
        *,
        alpha_mem: Parameter,
        gain: Parameter = 1.0,
        reset: str = "subtract",
        v_reset: Parameter = 0.0,
        v_leak: Parameter = 0.0,
        fires: str = ">=",
        v0: Parameter = 0.0,
        surrogate: str | Surrogate = "rectangular",
        detach_reset: bool = False,
        step_mode: str = "s",
        learn: Sequence[str] = (),
    ) -> None:
        super().__init__(
            v_threshold=v_threshold,
            reset=reset,
            v_reset=v_reset,
            v_leak=v_leak,
            alpha_mem=alpha_mem,
            gain=gain,
            fires=fires,
            v0=v0,
            surrogate=surrogate,
            detach_reset=detach_reset,
            step_mode=step_mode,
            learn=learn,
        )


def reset_states(module: nn.Module) -> None:
    """Resets the state of every spikesim neuron in `module`."""
    for child in module.modules():
        if isinstance(child, SpikingModule):
            child.reset_state()


def unroll(module: Callable[[Tensor], Tensor], x: Tensor, *, n_steps: int | None = None) -> Tensor:
    """Runs a single-step module over time from its initial state.

    Args:
        module: a torch module whose neurons are single-step (`step_mode="s"`).
        x: constant current (N, ...) when `n_steps` is given, else a raster (T, N, ...).
        n_steps: T, for a constant current.

    Returns:
        The outputs of all steps, (T, N, ...).
    """
    if n_steps is not None and n_steps < 1:
        raise InputError(f"unroll: n_steps is {n_steps}, expected at least 1")
    if n_steps is None and (x.ndim < 2 or x.shape[0] == 0):
        raise InputError(f"unroll: x has shape {tuple(x.shape)}, expected (T, N, ...) with T >= 1")
    if isinstance(module, nn.Module):
        reset_states(module)
    steps = [x] * n_steps if n_steps is not None else list(x)
    return torch.stack([module(step) for step in steps])
