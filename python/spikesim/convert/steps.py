"""Calls of a forward, each made once: the same call again is the same node, and a neuron that is
called again on the next input is the same population one step later.

A loop over time in a forward thus folds into one step of it. What makes that certain: a call with
equal arguments has an equal result, whatever the iteration (it has no state); and the k-th call
of each neuron gets the input of iteration k and its own state from call k - 1. Then, by induction,
the node has in step k the value that the k-th call has.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from spikesim.convert import registry
from spikesim.convert.symbols import (
    SYMBOLS,
    Lead,
    Membrane,
    State,
    at_step,
    flat,
    leaves,
    step_of,
)
from spikesim.errors import UnsupportedError

# The tensors of a module by name, with their versions; held, so that no other takes their place.
Marks = list[tuple[str, Tensor, int]]

GIVE_OWN = "give each call a module of its own"


@dataclass
class Neuron:
    """The calls of one neuron module."""

    path: str
    input: Any
    result: Any
    calls: int
    marks: Marks


@dataclass
class Calls:
    """What was called so far."""

    results: dict[Any, Any] = field(default_factory=dict)
    neurons: dict[int, Neuron] = field(default_factory=dict)
    # Modules whose equal calls are not one: neurons, and what holds some.
    stateful: set[int] = field(default_factory=set)
    # Whatever keys name by its id.
    held: list[Any] = field(default_factory=list)
    # Every module that has a state: its path, itself, the state before forward.
    watched: list[tuple[str, nn.Module, Marks]] = field(default_factory=list)
    # Those whose state forward had set back before it called them.
    set_back: set[int] = field(default_factory=set)

    def watch(self, root: nn.Module) -> None:
        """Notes the states before forward, to see whether it sets them back itself."""
        for path, module in root.named_modules():
            if registry.step_mode(module) is not None:
                _mark(module)
                self.watched.append((path, module, _marks(module)))

    def restarted(self) -> UnsupportedError | None:
        """The error for a state that forward sets back itself, before its calls or after them.

        In a loop over time that is a start. In a single step it is one in every step.
        """
        for path, module, before in self.watched:
            called = self.neurons.get(id(module))
            marks = before if called is None else called.marks
            if id(module) in self.set_back or not _same(_marks(module), marks):
                return starts_anew(module, path, "has its state set back in forward")
        return None

    def key(self, *parts: Any) -> Any:
        """Equal for calls that have equal results but for the iteration."""
        return self._key(parts)

    def _key(self, item: Any) -> Any:
        if isinstance(item, SYMBOLS) and not isinstance(item, State):
            moved = at_step(item, None if step_of(item) is None else 0)
            fields = [getattr(moved, f.name) for f in dataclasses.fields(moved)]
            return type(item).__name__, self._key(fields)
        if isinstance(item, tuple | list):
            return type(item).__name__, tuple(self._key(part) for part in item)
        if isinstance(item, dict):
            return "dict", tuple((name, self._key(part)) for name, part in item.items())
        if isinstance(item, slice):
            return "slice", self._key((item.start, item.stop, item.step))
        if item is None or isinstance(item, bool | int | float | str):
            return type(item).__name__, item
        if isinstance(item, Lead):
            return "lead", item.axis
        self.held.append(item)
        # A tensor changes its version when it is changed in place.
        return "id", id(item), _version(item) if isinstance(item, Tensor) else 0

    def again(
        self, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What a neuron's next call returns.

        Raises:
            UnsupportedError: it is not the next step of the first call.
        """
        first = self.neurons[id(module)]
        given = [*args, *kwargs.values()]
        entry, own = (given[0], given[1:]) if given else (None, [])
        step = step_of(entry)
        if self._key(at_step(entry, None)) != first.input or step not in (None, first.calls):
            raise self._refused(path, module, "on another input", GIVE_OWN)
        states = [item for item in flat(own) if item is not None]
        before = [item for item in flat(first.result) if item is not None]
        late = at_step(before, first.calls - 1)
        if states and states != late[len(late) - len(states) :]:
            raise self._refused(
                path, module, "with a state that is not the one it returned before", GIVE_OWN
            )
        returns = any(isinstance(item, Membrane) for item in before)
        if not states and returns and not registry.keeps_state(module):
            raise self._refused(path, module, "from its start", "pass it its state")
        if not _same(_marks(module), first.marks):
            raise self._refused(
                path, module, "after a reset of its state", "reset it before the loop alone"
            )
        first.calls += 1
        return at_step(first.result, first.calls - 1)

    def began(
        self, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        """Notes a neuron's first call."""
        given = [*args, *kwargs.values()]
        key = self._key(at_step(given[0] if given else None, None))
        self.neurons[id(module)] = Neuron(path, key, out, 1, [])
        self.held.append(module)
        for _, other, before in self.watched:
            if other is module and not _same(_marks(module), before):
                self.set_back.add(id(module))
        _mark(module)
        self.neurons[id(module)].marks = _marks(module)

    def count(self) -> int:
        """How many steps were called: the same number for every neuron.

        Raises:
            UnsupportedError: they differ.
        """
        if not self.neurons:
            return 1
        most = max(self.neurons.values(), key=lambda neuron: neuron.calls)
        for neuron in self.neurons.values():
            if neuron.calls != most.calls:
                raise UnsupportedError(
                    f"{neuron.path}: is called {neuron.calls} times while {most.path} is called "
                    f"{most.calls} times, expected one call of each neuron in every step"
                )
        return most.calls

    def _refused(self, path: str, module: nn.Module, how: str, advice: str) -> UnsupportedError:
        calls = self.neurons[id(module)].calls + 1
        return UnsupportedError(
            f"{path}: {type(module).__name__} is called {calls} times in one forward, the last "
            f"time {how}, expected one call for each step; {advice}"
        )


def steps_of(item: Any) -> set[int]:
    """The iterations that a call's arguments come from."""
    return {step for symbol in leaves(item) if (step := step_of(symbol)) is not None}


def one_step(args: Any) -> int | None:
    """The iteration of a call whose arguments are all of one."""
    return next(iter(steps_of(args)), None)


# What neurons call their states.
NAMES = ("v", "i", "mem", "syn", "syn_exc", "syn_inh", "spk", "state")


def _states(module: nn.Module) -> list[dict[str, Any]]:
    return [module.__dict__, module._buffers, module.__dict__.get("_memories", {})]


def _mark(module: nn.Module) -> None:
    """Puts something of its own into each state that holds no tensor, to see a reset.

    The module gets back what it held when the conversion ends.
    """
    for held in _states(module):
        memories = held is module.__dict__.get("_memories")
        names = list(held) if memories else [name for name in NAMES if name in held]
        for name in names:
            if not isinstance(held[name], Tensor):
                held[name] = torch.full((), torch.nan)
            elif held[name].is_inference():
                # Only others know how often they were changed in place.
                held[name] = held[name].clone()


def _marks(module: nn.Module) -> Marks:
    return [
        (name, item, _version(item))
        for held in _states(module)
        for name, item in held.items()
        if isinstance(item, Tensor)
    ]


def _same(one: Marks, other: Marks) -> bool:
    """Whether these are the same tensors, unchanged."""
    return len(one) == len(other) and all(
        name == names and item is items and version == versions
        for (name, item, version), (names, items, versions) in zip(one, other, strict=True)
    )


def _version(tensor: Tensor) -> int:
    """How often a tensor was changed in place, where it counts that."""
    return 0 if tensor.is_inference() else tensor._version


def starts_anew(module: nn.Module, path: str, why: str) -> UnsupportedError:
    """The error for a neuron that makes one step a call, always from its start."""
    return UnsupportedError(
        f"{path}: {type(module).__name__} {why}, so that it starts anew at every step, "
        "expected the state of the step before; set it back outside of forward, pass the state "
        "on through forward's arguments, or loop over time in forward"
    )
