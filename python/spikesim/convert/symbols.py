"""What stands for tensors while a module is read: outputs of nodes, states, lengths, sequences.

A module may loop over time in its forward. Then a node stands for one call in each iteration, and
a `Value` says of which iteration (`step`) it is the result.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from spikesim.errors import UnsupportedError

# The state that every neuron has; further ones have names of their own.
MEMBRANE = "membrane"


class Kind(enum.IntEnum):
    """What a value is made of; of several inputs the largest wins, as in the graph's own rule."""

    INPUT = 0
    SPIKES = 1
    CURRENTS = 2


@dataclass(frozen=True)
class Value:
    """The output of a node, per sample: what stands for a tensor (…, N, *shape)."""

    name: str
    shape: tuple[int, ...]
    kind: Kind
    # Whether a spike may be negative: then padding (silence) is not neutral to a maximum.
    signed: bool = False
    # Whether it is 0 or 1 and nothing else: then a product of two is a logical and.
    binary: bool = False
    # Its axes before `shape`, where they are not those of everything at its place (Walker.lead).
    lead: int | None = None
    # Whether the one axis before `shape` is batch and time in one, (T·N, …).
    merged: bool = False
    # The iteration of a loop over time that it belongs to; None: it is the same in all of them.
    step: int | None = None


@dataclass(frozen=True)
class Membrane:
    """A state that a neuron returns beside its spikes."""

    neuron: Value
    role: str = MEMBRANE


@dataclass(frozen=True, eq=False)
class State:
    """A further argument of forward(): the state of a neuron, which the network keeps itself.

    Each is one of its own, whatever its name: two modules may both have an argument "mem".
    """

    name: str
    # Its place among the arguments of the module that is converted, and inside such an argument;
    # None: of a module inside it.
    position: tuple[int, ...] | None = None


@dataclass(frozen=True)
class OverTime:
    """A reduction over the steps of a multi-step module, or over all `count` iterations of a
    loop: a readout."""

    value: Value
    readout: str
    count: int | None = None


@dataclass(frozen=True)
class Sequence:
    """The same thing at steps 0 … count - 1: (T, N, …), or (N, T, …) with `axis=1`."""

    item: Value | Membrane
    count: int
    axis: int = 0


@dataclass(frozen=True)
class Total:
    """The sum of a value over the steps 0 … count - 1, as a loop adds it up."""

    value: Value
    count: int


@dataclass(frozen=True)
class Padded:
    """A value with zeros around it, (before, after) for each axis but the first."""

    value: Value
    sides: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Pile:
    """Values of one shape on a new axis, before any other axis of a sample or of the batch."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Complement:
    """1 - x of a value of zeros and ones: a factor of a product, and nothing else."""

    value: Value


# The axis of a Lead that is batch and time in one.
MERGED = -1


class Lead:
    """The length of a leading axis (time or batch), which a network does not know."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def __hash__(self) -> int:
        return hash((Lead, self.axis))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Lead):
            return self.axis == other.axis
        raise self._refused()

    def _refused(self, *_: Any) -> UnsupportedError:
        return UnsupportedError(
            "forward: computes with the size of the batch or time axis, expected code that holds "
            "for any; use it only to reshape and to make states, and name the steps of a loop "
            "over time by n_steps"
        )

    def _refuse(self, *others: Any) -> Any:
        raise self._refused()

    def __mul__(self, other: Any) -> Lead:
        if isinstance(other, Lead) and sorted((self.axis, other.axis)) == [0, 1]:
            return Lead(MERGED)
        raise self._refused()

    __add__ = __radd__ = __sub__ = __rsub__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __pow__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __index__ = __int__ = __float__ = _refuse


SYMBOLS = (Value, Membrane, State, OverTime, Sequence, Total, Padded, Pile, Complement)


def mapped(item: Any, change: Callable[[Any], Any], kinds: Any = SYMBOLS) -> Any:
    """`item` with `change` applied to every instance of `kinds` in its containers."""
    if isinstance(item, kinds):
        return change(item)
    if isinstance(item, tuple):
        parts = [mapped(part, change, kinds) for part in item]
        return type(item)(*parts) if hasattr(item, "_fields") else tuple(parts)
    if isinstance(item, list):
        return [mapped(part, change, kinds) for part in item]
    if isinstance(item, dict):
        return {key: mapped(part, change, kinds) for key, part in item.items()}
    if isinstance(item, slice):
        parts = [mapped(part, change, kinds) for part in (item.start, item.stop, item.step)]
        return slice(*parts)
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        fields = {f.name: getattr(item, f.name) for f in dataclasses.fields(item) if f.init}
        new = {name: mapped(part, change, kinds) for name, part in fields.items()}
        changed = any(new[name] is not fields[name] for name in fields)
        return dataclasses.replace(item, **new) if changed else item
    return item


def leaves(item: Any, kinds: Any = SYMBOLS) -> list[Any]:
    """Every instance of `kinds` in the containers of `item`."""
    found: list[Any] = []

    def note(part: Any) -> Any:
        found.append(part)
        return part

    mapped(item, note, kinds)
    return found


def at_step(item: Any, step: int | None) -> Any:
    """The same result in another iteration: each value that is not constant is of `step`."""

    def move(symbol: Any) -> Any:
        if isinstance(symbol, Value):
            return dataclasses.replace(symbol, step=step)
        if isinstance(symbol, Membrane):
            return dataclasses.replace(symbol, neuron=move(symbol.neuron))
        if isinstance(symbol, Padded | Complement):
            return dataclasses.replace(symbol, value=move(symbol.value))
        if isinstance(symbol, Pile):
            return Pile(tuple(move(value) for value in symbol.values))
        return symbol

    return mapped(item, move)


def step_of(symbol: Any) -> int | None:
    """The iteration of one symbol; None: of none in particular."""
    if isinstance(symbol, Value):
        return symbol.step
    if isinstance(symbol, Membrane):
        return symbol.neuron.step
    if isinstance(symbol, Padded | Complement):
        return symbol.value.step
    if isinstance(symbol, Pile):
        return next((v.step for v in symbol.values if v.step is not None), None)
    return None


def flat(result: Any) -> Iterator[Any]:
    """What a forward returns, one after the other."""
    if isinstance(result, tuple | list):
        for item in result:
            yield from flat(item)
    elif isinstance(result, dict):
        yield from flat(list(result.values()))
    elif dataclasses.is_dataclass(result) and not isinstance(result, (*SYMBOLS, type)):
        yield from flat([getattr(result, field.name) for field in dataclasses.fields(result)])
    else:
        yield result
