"""The named models: the same `Neuron` with other defaults and without what they do not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from numpy.typing import ArrayLike

from spikesim.ops.neurons import Fires, Neuron, Order, Reset, ResetTiming, Spikes, Synapse


class NeuronOptions(TypedDict, total=False):
    """The fields that every spiking model takes by name, with the defaults of `Neuron`."""

    v_reset: ArrayLike
    fires: Fires
    reset: Reset
    reset_timing: ResetTiming
    spikes: Spikes
    max_spikes: int | None
    v_threshold_neg: ArrayLike | None
    v_min: ArrayLike | None
    refractory: int
    spike_amplitude: ArrayLike
    theta_plus: ArrayLike | None
    alpha_theta: ArrayLike | None
    order: Order
    v0: ArrayLike
    meta: Mapping[str, Any] | None


def IF(
    v_threshold: ArrayLike = 1.0,
    *,
    gain: ArrayLike = 1.0,
    **options: Unpack[NeuronOptions],
) -> Neuron:
    """Integrate and fire, without a leak: `v += gain·x`.

    Args:
        v_threshold: Firing threshold.
        gain: Factor of the input.
        **options: Any other field of `Neuron`.

    Returns:
        A `Neuron` with `alpha_mem` 1.

    Example:
        >>> import spikesim as ss
        >>> ss.IF(1.0, v0=0.5).describe()
        'IF θ=1 >= subtract v0=0.5'
    """
    return Neuron(v_threshold, gain=gain, model="IF", **options)


def LIF(
    v_threshold: ArrayLike = 1.0,
    *,
    alpha_mem: ArrayLike,
    gain: ArrayLike = 1.0,
    v_leak: ArrayLike = 0.0,
    **options: Unpack[NeuronOptions],
) -> Neuron:
    """Leaky integrate and fire: `v = (v_leak + alpha_mem·(v − v_leak)) + gain·x`.

    Args:
        v_threshold: Firing threshold.
        alpha_mem: What remains of the membrane after a step.
        gain: Factor of the input.
        v_leak: Value to which the membrane decays.
        **options: Any other field of `Neuron`.

    Returns:
        A `Neuron`.

    Example:
        >>> import spikesim as ss
        >>> ss.LIF(alpha_mem=0.9, reset="to_value").describe()
        'LIF θ=1 α=0.9 >= to_value 0'
    """
    return Neuron(
        v_threshold, alpha_mem=alpha_mem, gain=gain, v_leak=v_leak, model="LIF", **options
    )


def CubaLIF(
    v_threshold: ArrayLike = 1.0,
    *,
    alpha_mem: ArrayLike,
    alpha_syn: ArrayLike,
    w_in: ArrayLike = 1.0,
    gain: ArrayLike = 1.0,
    v_leak: ArrayLike = 0.0,
    synapse: Synapse = "decay_first",
    i0: ArrayLike = 0.0,
    **options: Unpack[NeuronOptions],
) -> Neuron:
    """Leaky integrate and fire with a synaptic current: `i = alpha_syn·i + w_in·x`, then as LIF.

    Args:
        v_threshold: Firing threshold.
        alpha_mem: What remains of the membrane after a step.
        alpha_syn: What remains of the synaptic current after a step.
        w_in: Factor of the input into the synaptic current.
        gain: Factor of the synaptic current into the membrane.
        v_leak: Value to which the membrane decays.
        synapse: "decay_first", or "decay_after" adding.
        i0: Synaptic current before the first step.
        **options: Any other field of `Neuron`.

    Returns:
        A `Neuron`.

    Example:
        >>> import spikesim as ss
        >>> ss.CubaLIF(alpha_mem=0.9, alpha_syn=0.5).describe()
        'CubaLIF θ=1 α=0.9 α_syn=0.5 decay_first >= subtract'
    """
    return Neuron(
        v_threshold,
        alpha_mem=alpha_mem,
        alpha_syn=alpha_syn,
        w_in=w_in,
        gain=gain,
        v_leak=v_leak,
        synapse=synapse,
        i0=i0,
        model="CubaLIF",
        **options,
    )


def LI(
    *,
    alpha_mem: ArrayLike,
    gain: ArrayLike = 1.0,
    v_leak: ArrayLike = 0.0,
    v_min: ArrayLike | None = None,
    v0: ArrayLike = 0.0,
    meta: Mapping[str, Any] | None = None,
) -> Neuron:
    """A leaky integrator: it never fires, its output is the membrane.

    Args:
        alpha_mem: What remains of the membrane after a step.
        gain: Factor of the input.
        v_leak: Value to which the membrane decays.
        v_min: Lower bound of the membrane.
        v0: Membrane before the first step.
        meta: Where the numbers came from.

    Returns:
        A `Neuron` with `spikes="none"`.

    Example:
        >>> import spikesim as ss
        >>> ss.LI(alpha_mem=0.9).describe()
        'LI α=0.9 → v'
    """
    return Neuron(
        alpha_mem=alpha_mem,
        gain=gain,
        v_leak=v_leak,
        v_min=v_min,
        v0=v0,
        meta=meta,
        spikes="none",
        reset="none",
        model="LI",
    )


def CubaLI(
    *,
    alpha_mem: ArrayLike,
    alpha_syn: ArrayLike,
    w_in: ArrayLike = 1.0,
    gain: ArrayLike = 1.0,
    v_leak: ArrayLike = 0.0,
    synapse: Synapse = "decay_first",
    v_min: ArrayLike | None = None,
    v0: ArrayLike = 0.0,
    i0: ArrayLike = 0.0,
    meta: Mapping[str, Any] | None = None,
) -> Neuron:
    """A leaky integrator with a synaptic current; its output is the membrane.

    Args:
        alpha_mem: What remains of the membrane after a step.
        alpha_syn: What remains of the synaptic current after a step.
        w_in: Factor of the input into the synaptic current.
        gain: Factor of the synaptic current into the membrane.
        v_leak: Value to which the membrane decays.
        synapse: "decay_first", or "decay_after" adding.
        v_min: Lower bound of the membrane.
        v0: Membrane before the first step.
        i0: Synaptic current before the first step.
        meta: Where the numbers came from.

    Returns:
        A `Neuron` with `spikes="none"`.

    Example:
        >>> import spikesim as ss
        >>> ss.CubaLI(alpha_mem=0.9, alpha_syn=0.5).describe()
        'CubaLI α=0.9 α_syn=0.5 decay_first → v'
    """
    return Neuron(
        alpha_mem=alpha_mem,
        alpha_syn=alpha_syn,
        w_in=w_in,
        gain=gain,
        v_leak=v_leak,
        synapse=synapse,
        v_min=v_min,
        v0=v0,
        i0=i0,
        meta=meta,
        spikes="none",
        reset="none",
        model="CubaLI",
    )
