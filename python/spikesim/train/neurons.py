"""spikesim's own neuron modules for torch: IF and LIF.

One call is one step (`step_mode="s"`) or a whole sequence (`step_mode="m"`, time first). The
arithmetic is rule S3 with the engine's order of operations, one rounding an operation, so on
weights whose sums are exact the spikes and membranes equal the engine's to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from spikesim.errors import GraphError, InputError, ShapeError, UnsupportedError
from spikesim.train.surrogate import Surrogate, named, spike

# S8: state smaller than this is zero after its decay.
TINY = 1e-30

Parameter = float | Sequence[float] | Tensor

RESETS = ("subtract", "to_value", "none")
FIRES = (">=", ">")
STEP_MODES = ("s", "m")


class SpikingModule(nn.Module):
    """A population of leaky integrate-and-fire neurons with one spike a step.

    In each step, with x the input and θ = `v_threshold`::

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

    Each parameter is a scalar, one value a channel `(C,)`, or one a neuron `(*shape)`.
    The state `v` (N, *shape) stays from call to call until `reset_state()`.
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
    ) -> None:
        super().__init__()
        name = type(self).__name__
        for field, value, choices in (
            ("reset", reset, RESETS),
            ("fires", fires, FIRES),
            ("step_mode", step_mode, STEP_MODES),
        ):
            if value not in choices:
                expected = ", ".join(repr(choice) for choice in choices)
                raise UnsupportedError(f"{name}: {field} is {value!r}, expected one of {expected}")
        # Buffers: they follow .to(device) and .double(), and a checkpoint holds them.
        parameters = {
            "v_threshold": v_threshold,
            "v_reset": v_reset,
            "v_leak": v_leak,
            "alpha_mem": alpha_mem,
            "gain": gain,
            "v0": v0,
        }
        for field, parameter in parameters.items():
            tensor = torch.as_tensor(parameter, dtype=torch.get_default_dtype()).detach().clone()
            if not bool(torch.isfinite(tensor).all()):
                raise GraphError(f"{name}: {field} is not finite, expected finite numbers")
            self.register_buffer(field, tensor)
        self.reset = reset
        self.fires = fires
        self.surrogate = named(surrogate)
        self.detach_reset = detach_reset
        self.step_mode = step_mode
        self.v: Tensor | None = None

    def reset_state(self) -> None:
        """Back to `v0`: between one batch of samples and the next."""
        self.v = None

    def forward(self, x: Tensor) -> Tensor:
        """Spikes (0 or 1) of one step, or of each step of a sequence.

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

    def _step(self, x: Tensor) -> Tensor:
        theta, v_leak = self._spread("v_threshold", x), self._spread("v_leak", x)
        v = self.v
        if v is None:
            v = self._spread("v0", x).to(x.dtype).expand_as(x)
        elif v.shape != x.shape:
            raise ShapeError(
                f"{type(self).__name__}: input has shape {tuple(x.shape)}, expected "
                f"{tuple(v.shape)} as in the step before; call reset_state() between batches"
            )
        decayed = self._spread("alpha_mem", x) * (v - v_leak)
        # An exact zero (a membrane just reset) needs no flush, and must pass its gradient.
        tiny = (decayed.abs() < TINY) & (decayed != 0)
        decayed = torch.where(tiny, torch.zeros_like(decayed), decayed)
        h = (v_leak + decayed) + self._spread("gain", x) * x
        z = spike(h, theta, self.fires, self.surrogate)
        z_reset = z.detach() if self.detach_reset else z
        if self.reset == "subtract":
            self.v = h - z_reset * theta
        elif self.reset == "to_value":
            # Exact for z of 0 or 1, and differentiable in z.
            self.v = (1 - z_reset) * h + z_reset * self._spread("v_reset", x)
        else:
            self.v = h
        return z

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
        """The parameters, for print(module)."""
        fields = ["v_threshold", "alpha_mem", "gain", "v_leak", "v0"]
        if self.reset == "to_value":
            fields.append("v_reset")
        shown = []
        for field in fields:
            value: Tensor = getattr(self, field)
            text = f"{value.item():g}" if value.ndim == 0 else f"{tuple(value.shape)}"
            shown.append(f"{field}={text}")
        shown += [f"reset={self.reset!r}", f"fires={self.fires!r}", f"step_mode={self.step_mode!r}"]
        return ", ".join(shown)


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
