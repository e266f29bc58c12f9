"""How each library's neurons are brought to their start, run, and read.

A library is asked only when it is loaded: a module of it could not be here otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Undo = Callable[[], None]


@dataclass
class Seen:
    """One call of a neuron, (steps, N, *shape) each; None: not shown."""

    out: Tensor
    v: Tensor | None
    current: Tensor | None


class Observer:
    """What the libraries have in common."""

    whole: Callable[[nn.Module, Tensor], Tensor] | None = None
    """Runs a module on (T, N, …) where it is not stepped and has no `step_mode`."""

    def kinds(self) -> tuple[type, ...]:
        """The library's neurons."""
        raise NotImplementedError

    def holders(self) -> tuple[type, ...]:
        """What else of it holds a state, as a container with a loop."""
        return ()

    def prepare(self, neuron: Any, samples: int) -> Undo:
        """Brings a neuron (or a holder) to its start; returns what undoes it."""
        raise NotImplementedError

    def many(self, neuron: Any) -> bool:
        """Whether a call takes all steps, (T, N, *shape)."""
        return bool(getattr(neuron, "step_mode", "s") == "m")

    def once(self, neuron: Any, x: Tensor) -> None:
        """One step of a neuron by itself, (N, *shape)."""
        neuron(x[None] if self.many(neuron) else x)

    def read(self, neuron: Any, args: tuple[Any, ...], out: Any) -> Seen:
        """What a call showed; tensors are copied, a forward may change them in place."""
        raise NotImplementedError


def neurons(module: nn.Module) -> Iterator[tuple[str, Any, Observer]]:
    """The neuron modules, by path, whichever library they are of."""
    observers = [
        (observer, observer.kinds())
        for library, observer in _OBSERVERS.items()
        if library in sys.modules
    ]
    inside: list[str] = []
    for name, child in module.named_modules():
        if any(name.startswith(prefix) for prefix in inside):
            continue  # a part of a neuron, as the layer of a recurrent one
        for observer, kinds in observers:
            if isinstance(child, kinds):
                inside.append(f"{name}." if name else "")
                yield name, child, observer
                break


def holders(module: nn.Module) -> Iterator[tuple[Any, Observer]]:
    """What holds a state and is no neuron."""
    known = {id(neuron) for _, neuron, _ in neurons(module)}
    for library, observer in _OBSERVERS.items():
        kinds = observer.holders() if library in sys.modules else ()
        for child in module.modules():
            if isinstance(child, kinds) and id(child) not in known:
                yield child, observer


def _first(out: Any) -> Tensor:
    tensor: Tensor = out[0] if isinstance(out, tuple) else out
    return tensor


def _one(tensor: Tensor | None) -> Tensor | None:
    """A step as a sequence of one."""
    return None if tensor is None else tensor.detach()[None].clone()


class _SnnTorch(Observer):
    STATES = ("spk", "syn", "syn_exc", "syn_inh", "mem")

    def kinds(self) -> tuple[type, ...]:
        import snntorch

        return (snntorch.SpikingNeuron, *self._whole())

    @staticmethod
    def _whole() -> tuple[type, ...]:
        """Those that take a sequence."""
        import snntorch
        from snntorch._neurons.leakykernel import LeakyKernel

        return (snntorch.StateLeaky, snntorch.LeakyParallel, LeakyKernel)

    def many(self, neuron: Any) -> bool:
        return isinstance(neuron, self._whole())

    def prepare(self, neuron: Any, samples: int) -> Undo:
        kept = {n: getattr(neuron, n) for n in self.STATES if hasattr(neuron, n)}
        for name in kept:
            # Empty: the first call makes it zeros of the input's shape.
            setattr(neuron, name, torch.zeros(0))

        def undo() -> None:
            for name, value in kept.items():
                setattr(neuron, name, value)

        return undo

    def read(self, neuron: Any, args: tuple[Any, ...], out: Any) -> Seen:
        spikes = _first(out).detach()
        if self.many(neuron):
            return Seen(spikes.clone(), None, args[0].detach().clone())
        return Seen(spikes[None].clone(), _one(neuron.mem), _one(args[0]))


class _SpikingJelly(Observer):
    def kinds(self) -> tuple[type, ...]:
        from spikingjelly.activation_based import neuron

        return (
            neuron.BaseNode,
            neuron.SimpleBaseNode,
            neuron.ActivationAwareIFNode,
            neuron.DSRIFNode,
            neuron.DSRLIFNode,
        )

    def holders(self) -> tuple[type, ...]:
        from spikingjelly.activation_based import base

        return (base.MemoryModule,)

    def prepare(self, neuron: Any, samples: int) -> Undo:
        kept = dict(getattr(neuron, "_memories", {}))
        if not hasattr(neuron, "reset"):
            return lambda: None
        stored = getattr(neuron, "store_v_seq", None)
        neuron.reset()
        if self.many(neuron) and stored is not None:
            neuron.store_v_seq = True

        def undo() -> None:
            neuron.reset()
            if stored is not None:
                neuron.store_v_seq = stored
            for name, value in kept.items():
                setattr(neuron, name, value)

        return undo

    def read(self, neuron: Any, args: tuple[Any, ...], out: Any) -> Seen:
        out = _first(out).detach()
        if self.many(neuron):
            v = getattr(neuron, "v_seq", None)
            v = None if v is None else v.detach().clone()
            return Seen(out.clone(), v, args[0].detach().clone())
        return Seen(out[None].clone(), _one(getattr(neuron, "v", None)), _one(args[0]))


class _Own(Observer):
    def kinds(self) -> tuple[type, ...]:
        from spikesim.train.neurons import SpikingModule

        return (SpikingModule,)

    def prepare(self, neuron: Any, samples: int) -> Undo:
        kept = neuron.state
        neuron.reset_state()

        def undo() -> None:
            neuron._keep(kept)

        return undo

    def read(self, neuron: Any, args: tuple[Any, ...], out: Any) -> Seen:
        if self.many(neuron):
            return Seen(out.detach().clone(), None, args[0].detach().clone())
        return Seen(out.detach()[None].clone(), _one(neuron.v), _one(args[0]))


class _Norse(Observer):
    """Its cells take their state and return it: there is nothing to reset."""

    def kinds(self) -> tuple[type, ...]:
        from norse.torch.module.leaky_integrator import LILinearCell
        from norse.torch.module.snn import SNN, SNNCell, SNNRecurrent, SNNRecurrentCell

        return (SNNCell, SNNRecurrentCell, SNN, SNNRecurrent, LILinearCell)

    def many(self, neuron: Any) -> bool:
        from norse.torch.module.snn import SNN, SNNRecurrent

        return isinstance(neuron, SNN | SNNRecurrent)

    def prepare(self, neuron: Any, samples: int) -> Undo:
        if not self.many(neuron):
            return lambda: None
        kept = neuron.record_states
        neuron.record_states = True

        def undo() -> None:
            neuron.record_states = kept

        return undo

    def read(self, neuron: Any, args: tuple[Any, ...], out: Any) -> Seen:
        spikes, state = out
        # A refractory neuron's is inside; one that no step has touched is one number for all.
        v = getattr(getattr(state, "lif", state), "v", None)
        v = None if v is None else v.detach().expand_as(spikes).clone()
        spikes, x = spikes.detach().clone(), args[0].detach().clone()
        if self.many(neuron):
            return Seen(spikes, v, x)
        return Seen(spikes[None], None if v is None else v[None], x[None])


class _Sinabs(Observer):
    """Its layers take (N, T, …), or steps and samples on one axis where they are squeezed."""

    def kinds(self) -> tuple[type, ...]:
        from sinabs.layers import StatefulLayer

        return (StatefulLayer,)

    def prepare(self, neuron: Any, samples: int) -> Undo:
        states = dict(neuron.named_buffers(recurse=False))
        kept = {
            name: getattr(neuron, name)
            for name in ("record_states", "batch_size", "num_timesteps")
            if hasattr(neuron, name)
        }
        for name in states:
            neuron.register_buffer(name, torch.zeros(0))
        neuron.record_states = True
        if "batch_size" in kept:
            neuron.batch_size, neuron.num_timesteps = samples, -1

        def undo() -> None:
            for name, value in kept.items():
                setattr(neuron, name, value)
            for name, value in states.items():
                neuron.register_buffer(name, value)

        return undo

    def once(self, neuron: Any, x: Tensor) -> None:
        neuron(x if hasattr(neuron, "batch_size") else x[:, None])

    def read(self, neuron: Any, args: tuple[Any, ...], out: Any) -> Seen:
        out, x = out.detach(), args[0].detach()
        if hasattr(neuron, "batch_size"):
            shape = (neuron.batch_size, -1)
            out, x = out.reshape(*shape, *out.shape[1:]), x.reshape(*shape, *x.shape[1:])
        # The recordings of recurrent and adaptive layers are changed after they were taken.
        changed = hasattr(neuron, "rec_connect") or hasattr(neuron, "b0")
        shown = None if changed else neuron.recordings.get("v_mem")
        v = None if shown is None else shown.detach().transpose(0, 1).clone()
        return Seen(out.transpose(0, 1).clone(), v, x.transpose(0, 1).clone())

    @staticmethod
    def whole(module: nn.Module, raster: Tensor) -> Tensor:
        """All steps at once, on the axes that the module's layers want."""
        steps, samples = raster.shape[:2]
        x = raster.transpose(0, 1)
        if any(hasattr(child, "batch_size") for _, child, _ in neurons(module)):
            out: Tensor = module(x.flatten(0, 1))
            return out.reshape(samples, steps, *out.shape[1:]).transpose(0, 1)
        return _first(module(x)).transpose(0, 1)


_OBSERVERS: dict[str, Any] = {
    "snntorch": _SnnTorch(),
    "spikingjelly": _SpikingJelly(),
    "spikesim.train": _Own(),
    "norse": _Norse(),
    "sinabs": _Sinabs(),
}
