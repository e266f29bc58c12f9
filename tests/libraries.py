"""Running other libraries' models step by step, and comparing with what spikesim makes of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import spikesim as ss
from engines import Engine, Outcome, Reference

# How far membranes may be apart where sums are rounded: |Δv| ≤ BAR·(1 + max|v|).
BAR = 2e-5


@dataclass
class Trace:
    """What a library's model did: (T, N, *shape) by neuron module."""

    out: NDArray[np.float32]
    spikes: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    v: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def neuron_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The neuron modules of a model, whichever library they are of."""
    import snntorch
    from spikingjelly.activation_based import neuron

    kinds = (
        snntorch.SpikingNeuron,
        neuron.BaseNode,
        neuron.SimpleBaseNode,
        neuron.ActivationAwareIFNode,
        neuron.DSRIFNode,
        neuron.DSRLIFNode,
        ss.train.SpikingModule,
    )
    for name, module in model.named_modules():
        if isinstance(module, kinds):
            yield name, module


def membrane(module: Any) -> torch.Tensor | None:
    """The state after a step, where the neuron shows one."""
    return module.mem if hasattr(module, "mem") else getattr(module, "v", None)


def run_library(
    model: nn.Module, x: NDArray[np.float32], call: Callable[..., Any] | None = None
) -> Trace:
    """Runs a single-step model on a raster (T, N, …) from its start, recording every neuron.

    Args:
        model: the model; its state is reset before and after.
        x: the input.
        call: how one step is computed, `call(model, x[t])`; default `model(x[t])`.
    """
    step = call or (lambda m, now: m(now))
    with recording(model) as trace, torch.no_grad():
        for now in torch.from_numpy(x):
            out = step(model, now)
            trace.outs.append((out[0] if isinstance(out, tuple) else out).clone())
    return trace.finished()


def run_multi_step(model: nn.Module, x: NDArray[np.float32]) -> Trace:
    """Runs a multi-step model of SpikingJelly or spikesim on (T, N, …)."""
    with recording(model) as trace, torch.no_grad():
        out = model(torch.from_numpy(x)).numpy()
    done = trace.finished()
    return Trace(out, done.spikes, done.v)


class Recorder:
    """Collects what neurons return and hold, call by call."""

    def __init__(self) -> None:
        self.outs: list[torch.Tensor] = []
        self.spikes: dict[str, list[torch.Tensor]] = {}
        self.v: dict[str, list[torch.Tensor]] = {}

    def add(self, name: str, module: Any, out: Any) -> None:
        """One call of a neuron module: a step, or all of them."""
        spikes = out[0] if isinstance(out, tuple) else out
        # As numbers of spikes, like everywhere in spikesim's records.
        spikes = spikes / getattr(module, "graded_spikes_factor", 1.0)
        many = getattr(module, "step_mode", "s") == "m"
        v = getattr(module, "v_seq", None) if many else membrane(module)
        # Copied: a forward may add to its spikes in place.
        self.spikes.setdefault(name, []).append(spikes.clone() if many else spikes[None].clone())
        if v is not None:
            self.v.setdefault(name, []).append(v.clone() if many else v[None].clone())

    def finished(self) -> Trace:
        """Steps joined."""
        out = torch.stack(self.outs).numpy() if self.outs else np.zeros(0, np.float32)
        spikes = {name: torch.cat(items).numpy() for name, items in self.spikes.items()}
        v = {name: torch.cat(items).numpy() for name, items in self.v.items()}
        return Trace(out, spikes, v)


@contextlib.contextmanager
def recording(model: nn.Module) -> Iterator[Recorder]:
    """Records every neuron of a model from its start, and leaves it at its start."""
    recorder = Recorder()
    reset(model)
    hooks = []
    for name, module in neuron_modules(model):
        if getattr(module, "step_mode", "s") == "m" and hasattr(module, "store_v_seq"):
            module.store_v_seq = True  # type: ignore[assignment]
        hooks.append(
            module.register_forward_hook(lambda m, _, out, name=name: recorder.add(name, m, out))
        )
    yield recorder
    for hook in hooks:
        hook.remove()
    reset(model)


# The states of snnTorch's neurons.
STATES = ("mem", "syn", "syn_exc", "syn_inh", "spk")


def reset(model: nn.Module) -> None:
    """Every neuron, and every container with a state, back to its start."""
    from spikingjelly.activation_based import base

    for module in model.modules():
        if hasattr(module, "reset_mem"):
            for state in STATES:
                if hasattr(module, state):
                    setattr(module, state, torch.zeros(0))
        elif isinstance(module, ss.train.SpikingModule):
            module.reset_state()
        elif isinstance(module, base.MemoryModule):
            module.reset()


def outcomes(net: ss.Network, x: NDArray[np.float32]) -> list[tuple[str, Outcome]]:
    """What the reference and the engine make of a raster."""
    return [("reference", Reference(net).run(x)), ("engine", Engine(net).run(x))]


def assert_equal(net: ss.Network, x: NDArray[np.float32], trace: Trace) -> None:
    """Every spike and membrane equal: for weights whose sums are exact."""
    for engine, got in outcomes(net, x):
        assert got.spikes.keys() == trace.spikes.keys()
        for name, spikes in trace.spikes.items():
            np.testing.assert_array_equal(got.spikes[name], spikes, f"{engine}: spikes of {name}")
        for name, v in trace.v.items():
            np.testing.assert_array_equal(got.v[name], v, f"{engine}: v of {name}")


def assert_within_margin(net: ss.Network, x: NDArray[np.float32], trace: Trace) -> float:
    """Spikes equal but where a membrane lies within rounding of its threshold.

    A sample is followed up to its first step with a difference. Before that step membranes must
    be within BAR; in it, every neuron that differs in the first layer that does must have been
    within BAR of its threshold.

    Returns:
        The fraction of (step, sample) pairs that were held.
    """
    held = 0.0
    for _, got in outcomes(net, x):
        steps, samples = x.shape[:2]
        layers = [n.name for n in net.nodes if n.name in trace.spikes]
        assert got.spikes.keys() == set(layers)
        for sample in range(samples):
            until = steps
            for t in range(steps):
                if any(
                    (got.spikes[k][t, sample] != trace.spikes[k][t, sample]).any() for k in layers
                ):
                    until = t
                    break
            for name in trace.v:
                ours, theirs = got.v[name][:until, sample], trace.v[name][:until, sample]
                scale = 1 + np.abs(theirs).max(initial=0)
                assert np.abs(ours - theirs).max(initial=0) <= BAR * scale, name
            if until < steps:
                _assert_margin(net, got, trace, layers, until, sample)
            held += until
    return held / (2 * x.shape[0] * x.shape[1])


def _assert_margin(
    net: ss.Network, got: Outcome, trace: Trace, layers: list[str], t: int, sample: int
) -> None:
    for name in layers:
        differs = got.spikes[name][t, sample] != trace.spikes[name][t, sample]
        if not differs.any():
            continue
        op: Any = net.node(name).op
        before = got.v[name][t - 1, sample] if t else spread(op.v0, differs.shape)
        h = integrated(op, before, got.current[name][: t + 1, sample])
        distance = np.abs(h - spread(op.v_threshold, differs.shape))
        if op.spikes == "signed":
            below = np.abs(h - spread(op.v_threshold_neg, differs.shape))
            distance = np.minimum(distance, below)
        worst = distance[differs].max()
        assert worst <= BAR * (1 + np.abs(h).max()), f"{name}: differs {worst} off θ"
        return


def spread(parameter: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A neuron parameter for every neuron; a vector is one value a channel."""
    values = np.asarray(parameter, np.float64)
    if values.ndim == 1:
        values = values.reshape(-1, *(1 for _ in shape[1:]))
    return np.broadcast_to(values, shape)


def integrated(op: Any, v: NDArray[Any], xs: NDArray[Any]) -> NDArray[np.float64]:
    """The membrane that meets the threshold (S3), in double precision, for order A.

    Args:
        op: the neuron.
        v: the membrane that the step before left.
        xs: the currents of all steps so far, (t + 1, *shape).
    """

    def field_of(name: str) -> NDArray[np.float64]:
        return spread(getattr(op, name), v.shape)

    i = xs[-1].astype(np.float64)
    if op.synapse == "decay_first":
        i = field_of("i0")
        for x in xs:
            i = field_of("alpha_syn") * i + field_of("w_in") * x
    if op.synapse == "alpha":
        return _alpha(op, xs)
    v = v.astype(np.float64)
    theta = field_of("v_threshold")
    rho = v >= theta if op.fires == ">=" else v > theta
    if op.reset_timing == "next_step_before":
        v = np.where(rho, _lowered(op, v, theta), v)
    leak = field_of("v_leak")
    h = leak + field_of("alpha_mem") * (v - leak) + field_of("gain") * i
    if op.reset_timing in ("next_step_after", "same_step_guarded"):
        h = np.where(rho, _lowered(op, h, theta), h)
    return h


def _lowered(op: Any, v: NDArray[Any], theta: NDArray[Any]) -> NDArray[np.float64]:
    """A membrane after a late reset."""
    if op.reset == "subtract":
        return v - theta
    return spread(op.v_reset, v.shape) if op.reset == "to_value" else v


def _alpha(op: Any, xs: NDArray[Any]) -> NDArray[np.float64]:
    """The membrane of two currents (S3.26) that meets the threshold in the last of the steps."""
    fields = ("v_threshold", "v_reset", "alpha_syn", "alpha_inh", "w_in", "gain")
    theta, v_reset, slow, fast, w_in, gain = (
        spread(getattr(op, name), xs.shape[1:]) for name in fields
    )
    i = n = h = np.zeros(xs.shape[1:])
    for x in xs:
        rho = (h >= theta if op.fires == ">=" else h > theta) & (op.reset != "none")
        before = n
        i, n = slow * i + w_in * x, fast * n - w_in * x
        h = gain * (i + n)
        if op.reset == "subtract":
            i, h = np.where(rho, i - theta, i), np.where(rho, h + before, h)
        else:
            i, h = np.where(rho, 0, i), np.where(rho, v_reset, h)
        n = np.where(rho, 0, n)
    return h
