"""Running models of Norse and Sinabs, recording what each neuron did as numbers of spikes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from libraries import Trace

Array = NDArray[np.float32]


def norse_neurons(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The neurons of a model of Norse."""
    from norse.torch.module.leaky_integrator import LILinearCell
    from norse.torch.module.snn import SNN, SNNCell, SNNRecurrent, SNNRecurrentCell

    kinds = (SNN, SNNCell, SNNRecurrent, SNNRecurrentCell, LILinearCell)
    for name, module in model.named_modules():
        if isinstance(module, kinds):
            yield name, module


def run_norse(model: nn.Module, x: Array, sequence: bool = False) -> Trace:
    """Runs a model on (T, N, …) from its start.

    Args:
        model: its forward takes an input and states and returns an output and those states.
        x: the input.
        sequence: whether it takes all steps at once; else it is called for each.
    """
    spikes: dict[str, list[Any]] = {}
    v: dict[str, list[Any]] = {}
    handles = []

    def record(name: str, module: Any, result: Any) -> None:
        out, state = result
        own = getattr(state, "lif", state).v
        steps = hasattr(module, "record_states")
        # A state that no step has touched is one number for all.
        v.setdefault(name, []).append(own.clone() if steps else own.expand_as(out)[None].clone())
        if not type(module).__name__.startswith("LI") or "F" in type(module).__name__:
            spikes.setdefault(name, []).append(out.clone() if steps else out[None].clone())

    for name, module in norse_neurons(model):
        if hasattr(module, "record_states"):
            module.record_states = True
        handles.append(
            module.register_forward_hook(lambda m, _, out, name=name: record(name, m, out))
        )
    with torch.no_grad():
        if sequence:
            result = model(torch.from_numpy(x))
            out = result[0] if isinstance(result, tuple) else result
        else:
            outs: list[torch.Tensor] = []
            states: list[Any] = []
            for now in torch.from_numpy(x):
                first, *states = model(now, *states)
                outs.append(first.clone())
            out = torch.stack(outs)
    for handle in handles:
        handle.remove()
    return Trace(out.numpy(), joined(spikes), joined(v))


def joined(items: dict[str, list[Any]]) -> dict[str, Array]:
    """Steps joined."""
    return {name: torch.cat(parts).numpy() for name, parts in items.items()}


def sinabs_neurons(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The neurons of a model of Sinabs."""
    from sinabs.layers import StatefulLayer

    for name, module in model.named_modules():
        if isinstance(module, StatefulLayer):
            yield name, module


def run_sinabs(model: nn.Module, x: Array, squeezed: bool = False) -> Trace:
    """Runs a model on (T, N, …) from its start.

    What the library records of its recurrent and adaptive layers is not the membrane after the
    step: with one of these, membranes are those that runs of 1, 2, … T steps leave behind.

    Args:
        model: its forward takes (N, T, …), or (N·T, …).
        x: the input.
        squeezed: whether it takes batch and time in one axis.
    """
    steps, samples = x.shape[:2]
    modules = dict(sinabs_neurons(model))
    recordable = not any(
        hasattr(module, "rec_connect") or hasattr(module, "b0") for module in modules.values()
    )
    v: dict[str, list[Any]] = {name: [] for name in modules}
    for until in range(steps if recordable else 1, steps + 1):
        out, spikes = _run_sinabs(model, x[:until], squeezed)
        for name, module in modules.items():
            if recordable:
                v[name].append(module.recordings["v_mem"].detach().transpose(0, 1).clone())
            else:
                v[name].append(module.v_mem.detach().clone()[None])
    for module in modules.values():
        module.reset_states()
    fires = {name: spikes[name] for name, module in modules.items() if module.spike_fn}
    assert out.shape[:2] == (steps, samples)
    return Trace(out, fires, joined(v))


def _run_sinabs(model: nn.Module, x: Array, squeezed: bool) -> tuple[Array, dict[str, Array]]:
    steps, samples = x.shape[:2]
    seen: dict[str, Any] = {}
    handles, sizes = [], []

    def apart(out: torch.Tensor, folded: bool) -> Array:
        parted = out.detach().unflatten(0, (samples, steps)) if folded else out.detach()
        return parted.transpose(0, 1).clone().numpy()

    def record(name: str, module: Any, out: torch.Tensor) -> None:
        seen[name] = apart(out, hasattr(module, "batch_size"))

    for name, module in sinabs_neurons(model):
        module.reset_states()
        module.record_states = True
        if hasattr(module, "batch_size") and module.num_timesteps != -1:
            sizes.append((module, module.num_timesteps))
            module.num_timesteps = steps
        handles.append(
            module.register_forward_hook(lambda m, _, out, name=name: record(name, m, out))
        )
    given = torch.from_numpy(x).transpose(0, 1)
    with torch.no_grad():
        out = model(given.flatten(0, 1) if squeezed else given)
    for handle in handles:
        handle.remove()
    for module, size in sizes:
        module.num_timesteps = size
    return apart(out, out.shape[:2] != (samples, steps)), seen
