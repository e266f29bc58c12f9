"""Parts of a network: nodes, edges, and the checks of what names and counts them."""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from spikesim import _core
from spikesim.errors import GraphError
from spikesim.ops import Neuron, Op, from_spec

Source = str | tuple[str, int]
"""A node's name, or (name, delay in steps)."""

_Text = TypeVar("_Text", bound=str | None)


class Edge(NamedTuple):
    """A connection; what it carries arrives `delay` steps later."""

    src: str
    dst: str
    delay: int


class Node:
    """A node of a network: what it does and the shapes of its values.

    Attributes:
        name: Its name.
        kind: What it does, as "conv2d" or "neuron".
        in_shape: Shape of the sum of its inputs (of the first one for "concat"), one sample at
            one step.
        shape: Shape of its output.
    """

    __slots__ = ("__weakref__", "_graph", "_op", "_spec", "in_shape", "kind", "name", "shape")

    def __init__(
        self, graph: _core.Graph, name: str, spec: str, in_shape: list[int], shape: list[int]
    ) -> None:
        self._graph = graph
        self._spec: dict[str, Any] = json.loads(spec)
        self._op: weakref.ref[Op] | None = None
        self.name = name
        self.kind: str = self._spec["kind"]
        self.in_shape = tuple(in_shape)
        self.shape = tuple(shape)

    @property
    def op(self) -> Op:
        """The operation, with read-only copies of its arrays. `add` takes it as it is."""
        op = None if self._op is None else self._op()
        if op is None:
            arrays = self._graph.arrays(self.name)
            for array in arrays.values():
                array.flags.writeable = False
            op = from_spec(self._spec, arrays)
            # Weights are held by the network; a copy lives only as long as somebody uses it.
            self._op = weakref.ref(op)
        return op

    @property
    def parameters(self) -> int:
        """Number of weights and biases; of a neuron, those of its parameters that are arrays."""
        shapes = [shape for _, shape in self._graph.array_shapes(self.name)]
        return sum(math.prod(shape) for shape in shapes if shape)

    @property
    def array_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each array of the operation, without a copy of any."""
        return {name: tuple(shape) for name, shape in self._graph.array_shapes(self.name)}

    @property
    def spec(self) -> Mapping[str, Any]:
        """The written form of the operation without its arrays, as files have it."""
        return self._spec

    @property
    def semantics(self) -> str:
        """What a neuron does, in a line; empty for other kinds."""
        op = self.op if self.kind == "neuron" else None
        return op.describe() if isinstance(op, Neuron) else ""

    def __repr__(self) -> str:
        return f"<Node {self.name!r}: {self.kind} {self.in_shape} -> {self.shape}>"


def checked_shape(shape: Any) -> Sequence[Any]:
    if isinstance(shape, str) or not isinstance(shape, Sequence | np.ndarray):
        raise TypeError(f"network: input_shape is {shape!r}, expected a sequence of integers")
    return tuple(shape)


def checked_integer(place: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{place}: {name} is {value!r}, expected an integer")
    if not 0 <= value < 2**63:
        raise GraphError(f"{place}: {name} is {value}, expected at least 0 and no absurd number")
    return int(value)


def listed(inputs: Source | Sequence[Source] | None) -> list[Source]:
    if inputs is None:
        return []
    if isinstance(inputs, str) or _is_delayed(inputs):
        return [inputs]  # type: ignore[list-item]  # told apart above
    return list(inputs)  # type: ignore[arg-type]


def _is_delayed(inputs: Any) -> bool:
    """Whether this is (name, delay) and not a list of names."""
    pair = isinstance(inputs, tuple) and len(inputs) == 2
    return pair and isinstance(inputs[0], str) and isinstance(inputs[1], int | np.integer)


def checked_source(place: str, source: Any) -> tuple[str, int]:
    if isinstance(source, str):
        return checked_text(place, source), 0
    if _is_delayed(source):
        return checked_text(place, source[0]), checked_integer(place, "delay", source[1])
    raise TypeError(f"{place}: an input is {source!r}, expected a name or (name, delay)")


_MAX_DEPTH = 64
"""Deepest nesting of a file's header."""


def dumps(place: str, value: Any, around: int = 1) -> str:
    """`value` as JSON; NumPy's numbers and arrays are taken as what they hold. In a file there
    are `around` levels around it."""
    try:
        text = json.dumps(value, allow_nan=False, default=_plain)
        # What a reader would not get back as it was: see the two functions.
        level = [json.loads(text, parse_int=_word, object_pairs_hook=_once)]
        for _ in range(_MAX_DEPTH - around + 1):
            level = [inner for outer in level for inner in _inside(outer)]
        if level:
            raise RecursionError
    except (TypeError, ValueError) as error:
        raise GraphError(f"{place}: meta is no JSON ({error}), expected JSON values") from error
    except RecursionError as error:
        problem = f"meta is nested too deep, expected at most {_MAX_DEPTH - 2 * around + 1} levels"
        raise GraphError(f"{place}: {problem}") from error
    return text


def _word(digits: str) -> int:
    """An integer that a file holds exactly; larger ones become floats in most readers."""
    number = int(digits)
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"the integer {digits} takes more than 64 bits")
    return number


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Keys that differ only as Python's, as 1 and "1"."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return dict(pairs)


def checked_text(place: str, value: _Text) -> _Text:
    """`value`, unless it is a string that is no Unicode text: one with a lone surrogate."""
    try:
        if isinstance(value, str):
            value.encode()
    except UnicodeEncodeError as error:
        # ascii: not every terminal or log can take the message otherwise.
        problem = f"the name {value!a} has a lone surrogate, expected Unicode text"
        raise GraphError(f"{place}: {problem}") from error
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")
