"""Running a library's own module from its start, and recording every neuron in it."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from spikesim.conformance.observers import Observer, Seen, holders, neurons
from spikesim.conformance.trace import (
    Array,
    Probe,
    Trace,
    as_counts,
    heard_late,
    heard_through_delays,
    populations,
)
from spikesim.errors import InputError, SpikesimError, UnsupportedError
from spikesim.network import Network
from spikesim.ops import Neuron


class Recorder:
    """Collects what neurons are given, return and hold, call by call; (T, N, *shape) in the end."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Seen]] = {}

    def joined(self, what: str) -> dict[str, Tensor]:
        """ "out", "v" or "current" by neuron, where every call showed it."""
        found = {}
        for name, calls in self.seen.items():
            values = [getattr(call, what) for call in calls]
            if all(value is not None for value in values):
                found[name] = torch.cat(values)
        return found


@contextlib.contextmanager
def recording(module: nn.Module, samples: int) -> Iterator[Recorder]:
    """Records every neuron of a module from its start, and leaves the module as it was.

    Args:
        module: The model, which is not changed but for the state of its neurons while it runs.
        samples: N, for modules that see steps and samples on one axis.
    """
    recorder = Recorder()
    undo: list[Callable[[], None]] = []
    training = [child for child in module.modules() if child.training]
    module.eval()
    try:
        for holder, observer in holders(module):
            undo.append(observer.prepare(holder, samples))
        for name, neuron, observer in neurons(module):
            undo.append(observer.prepare(neuron, samples))

            def hook(
                m: nn.Module, args: Any, out: Any, name: str = name, observer: Observer = observer
            ) -> None:
                recorder.seen.setdefault(name, []).append(observer.read(m, args, out))

            undo.append(neuron.register_forward_hook(hook).remove)
        with torch.no_grad():
            yield recorder
    finally:
        for back in reversed(undo):
            back()
        for child in training:
            child.training = True


def run(
    module: nn.Module,
    x: Array,
    net: Network,
    call: Callable[[Any, Any], Any] | None = None,
) -> Trace:
    """What a module does with a raster (T, N, *input_shape), by the network's names.

    Raises:
        InputError: None of the module's neurons is a population of the network.
        UnsupportedError: How it is run can't be told.
    """
    raster = torch.tensor(x)
    with recording(module, x.shape[1]) as recorder:
        try:
            out = (call or sequence)(module, raster)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            if isinstance(error, SpikesimError):
                raise
            reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
            raise InputError(
                f"conformance: {type(module).__name__} can't be run on the network's input "
                f"({reason}), expected the module that the network was made from; or give call"
            ) from error
    # A module that is a neuron itself has no path.
    alone = type(module).__name__.lower()
    parts = {
        what: {name or alone: values for name, values in recorder.joined(what).items()}
        for what in ("out", "v", "current")
    }
    ops = populations(net)
    known = [name for name in ops if name in parts["out"]]
    if ops and not known:
        raise InputError(
            f"conformance: {type(module).__name__} has no neurons called "
            f"{', '.join(ops)}, expected the module that the network was made from"
        )
    trace = Trace(out=out.detach().numpy() if isinstance(out, Tensor) else None)
    loops = heard_late(net)
    # A delay of the network is one that a cell of the module has inside.
    trace.inner = heard_through_delays(net)
    paths = {name or alone: name for name, _, _ in neurons(module)}
    for name in known:
        neuron = module.get_submodule(paths[name])
        trace.cells[name] = type(neuron).__name__
        if any(parameter.ndim > 1 for parameter in neuron.parameters()):
            trace.inner.add(name)
        left = parts["out"][name].numpy()
        expected = (*x.shape[:2], *net.node(name).shape)
        if left.shape != expected:
            raise InputError(
                f"conformance: {name} gave {left.shape}, expected {expected}: one call a step"
            )
        if ops[name].spikes == "none":
            trace.v[name] = left
        else:
            trace.spikes[name] = as_counts(ops[name], left)
            if name in parts["current"] and name not in loops:
                trace.probes[name] = _probe(module, paths[name], ops[name])
        if name in parts["v"] and tuple(parts["v"][name].shape) == expected:
            trace.v[name] = parts["v"][name].numpy()
        # A recurrent cell adds its own spikes inside: what it was given is not all that it got.
        given = parts["current"].get(name)
        # Nor is it what one with weights of its own got.
        if given is not None and name not in loops and tuple(given.shape) == expected:
            trace.current[name] = given.numpy()
    return trace


def _probe(module: nn.Module, path: str, op: Neuron) -> Probe:
    def probe(x: Array) -> tuple[Array, Array | None]:
        neuron = module.get_submodule(path)
        observer = next(o for name, _, o in neurons(module) if name == path)
        with recording(neuron, len(x)) as recorder:
            observer.once(neuron, torch.from_numpy(x))
        v = recorder.joined("v").get("")
        left = recorder.joined("out")[""].numpy()
        return as_counts(op, left)[0], None if v is None else v[0].numpy()

    return probe


def sequence(module: nn.Module, raster: Tensor) -> Tensor:
    """Runs a module on (T, N, …), the way that its library's modules are run."""
    observers = [observer for _, _, observer in neurons(module)]
    whole = next((o.whole for o in observers if o.whole is not None), None)
    if whole is not None:
        return whole(module, raster)
    if any(observer.many(neuron) for _, neuron, observer in neurons(module)):
        out = module(raster)
        return out[0] if isinstance(out, tuple) else out  # type: ignore[no-any-return]
    return stepwise(module, raster)


def stepwise(
    module: nn.Module, raster: Tensor, step: Callable[[nn.Module, Tensor], Any] | None = None
) -> Tensor:
    """Runs a single-step module step by step; what it returns beside its output is given back."""
    states: list[Any] = [None] * _states(module)
    outs = []
    for now in raster:
        out = step(module, now) if step is not None else module(now, *states)
        if isinstance(out, tuple):
            out, *after = out
            if len(after) == len(states):
                states = after
            elif states:
                raise UnsupportedError(
                    f"conformance: {type(module).__name__} takes {len(states)} states and returns "
                    f"{len(after)}, expected as many; give call"
                )
        # Copied: a forward may add to its spikes in place.
        outs.append(out.clone())
    return torch.stack(outs)


def _states(module: nn.Module) -> int:
    """How many arguments forward has beside its input."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(module.forward).parameters.values()
    return sum(p.kind in kinds for p in parameters) - 1
