"""Neurons that take a whole sequence (T, N, channels) and have no reset.

    StateLeaky     mem[t] = Σ_k exp(-k/tau)·x[t - k]          with tau = 1/(1 - beta)
    LinearLeaky    the same of its own Linear's output
    LeakyParallel  mem = max(0, W·x + b + d·mem)              d the diagonal of weight_hh_l0

then spk = (mem > threshold)·graded_spikes_factor, for the first two times the factor once more.
So a membrane decays with exp(-(1 - beta)) in the first two, not with beta.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from spikesim import ops
from spikesim.convert.build import Membrane, Value, array, population
from spikesim.convert.plain import check_plain
from spikesim.convert.snntorch.step import refuse_options
from spikesim.convert.surrogate import threshold_test
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.walk import Walker

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def state_leaky(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Any:
    """Reads a StateLeaky."""
    walker.per_step(path)
    return _filtered(walker, module, path, walker.single(path, args, kwargs))


def linear_leaky(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Any:
    """Reads a LinearLeaky: a Linear and a StateLeaky."""
    walker.per_step(path)
    value = walker.single(path, args, kwargs)
    current = walker.module(module.linear, f"{path}.linear", (value,), {})
    return _filtered(walker, module, path, current)


def _filtered(walker: Walker, module: Any, path: str, value: Value) -> Any:
    refuse_options(module, path)
    if module.kernel_truncation_steps is not None:
        raise UnsupportedError(
            f"{path}: kernel_truncation_steps is {module.kernel_truncation_steps}, expected None; "
            "a membrane that forgets its input after so many steps is no leak"
        )
    if len(value.shape) != 1:
        raise UnsupportedError(f"{path}: input has shape {value.shape}, expected (channels,)")
    decay = torch.exp(-1 / module.tau.detach().double())
    factor = module.graded_spikes_factor.detach()
    fields = {
        "v_threshold": population(module.threshold, value.shape, path, "threshold"),
        "alpha_mem": population(decay, value.shape, path, "tau"),
        "spike_amplitude": population(factor * factor, value.shape, path, "graded_spikes_factor"),
    }
    rules = {"fires": threshold_test(module.spike_grad, path, "spike_grad"), "reset": "none"}
    if not module.output:
        rules["spikes"] = "none"
    meta = {"library": "snntorch", "cell": type(module).__name__, "discretisation": "exponential"}
    out = walker.builder.neuron("LIF", path, value, fields, rules, meta)
    return (out, Membrane(out)) if module.output else out


def leaky_parallel(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Value:
    """Reads a LeakyParallel, or the LeakyKernel that is the same."""
    walker.per_step(path)
    value = walker.single(path, args, kwargs)
    rnn: Any = module.rnn
    check_plain(rnn, f"{path}.rnn", leaf=True)
    if not isinstance(rnn, nn.RNN) or rnn.mode != "RNN_RELU" or rnn.num_layers != 1:
        raise UnsupportedError(f"{path}.rnn: {rnn} is not supported, expected an RNN of one ReLU")
    matrix = array(module.rnn.weight_hh_l0, path, "weight_hh_l0")
    if np.any(matrix[~np.eye(len(matrix), dtype=bool)] != 0):
        raise UnsupportedError(
            f"{path}: weight_hh_l0 mixes the membranes of its neurons, expected a diagonal; use "
            "weight_hh_enable=False"
        )
    threshold = population(module.threshold, (len(matrix),), path, "threshold")
    if not bool((threshold > 0).all()):
        raise UnsupportedError(
            f"{path}: threshold is not above 0, where the membrane is cut off; expected more"
        )
    weights: Any = rnn
    bias = None
    if rnn.bias:
        bias = array(weights.bias_ih_l0 + weights.bias_hh_l0, path, "bias")
    linear = ops.Linear(array(weights.weight_ih_l0, path, "weight_ih_l0"), bias)
    current = walker.builder.current(linear, f"{path}.rnn", value)
    fields = {
        "v_threshold": threshold,
        "alpha_mem": np.ascontiguousarray(matrix.diagonal()),
        "spike_amplitude": population(
            module.graded_spikes_factor, (len(matrix),), path, "graded_spikes_factor"
        ),
        "v_min": np.zeros((), np.float32),
    }
    rules = {"fires": threshold_test(module.spike_grad, path, "spike_grad"), "reset": "none"}
    meta = {"library": "snntorch", "cell": type(module).__name__}
    return walker.builder.neuron("LIF", path, current, fields, rules, meta)
