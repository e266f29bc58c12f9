"""The network under construction: named values with their kinds, parameters as arrays."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesim import ops
from spikesim.convert.symbols import MEMBRANE, Kind, Membrane, OverTime, State, Value
from spikesim.errors import GraphError, UnsupportedError
from spikesim.network import Network
from spikesim.ops.neurons import Model

if TYPE_CHECKING:
    from spikesim.convert.ann.activation import Activations

__all__ = [
    "MEMBRANE",
    "Builder",
    "Kind",
    "Membrane",
    "OverTime",
    "State",
    "Value",
    "array",
    "population",
    "shared_state",
]

# Nodes that hand on zeros and ones as such.
KEEP_BINARY = (
    ops.Concat,
    ops.Flatten,
    ops.RateMaxPool1d,
    ops.RateMaxPool2d,
    ops.SpikeMaxPool1d,
    ops.SpikeMaxPool2d,
    ops.Upsample,
)


class Builder:
    """A `Network` and the values that its nodes make."""

    def __init__(self, input_shape: tuple[int, ...], dt: float | None) -> None:
        self.net = Network(input_shape, dt=dt)
        self.input = Value("input", tuple(self.net.input_shape), Kind.INPUT, signed=True)
        self.inputs: dict[str, tuple[str, ...]] = {}
        self.libraries: set[str] = set()
        # The module that is converted.
        self.root: nn.Module | None = None
        # What modules must have in common, and the one that said it first.
        self._agreed: dict[str, tuple[Any, str]] = {}
        # What neurons were given as a state, the neuron and which of its states; held, so that
        # ids stay theirs.
        self.states: dict[int, tuple[Any, str, str]] = {}
        # The errors for cells that start anew in every step, unless forward loops over time.
        self.anew: list[UnsupportedError] = []
        # What `1 - x` of a node is, where it was needed as a value.
        self.complements: dict[str, Value] = {}
        # The modules whose forward was traced, by path.
        self.traced: list[tuple[str, nn.Module]] = []
        # How many populations there are.
        self.populations = 0
        # The paths of its modules: each is the name of that module's node alone, so that the keys
        # of the model's state_dict are those of the same layers here.
        self.reserved: set[str] = set()
        # The number of steps that forward repeats its input (N, …) for; None: it does not.
        self.repeats: int | None = None
        # Where an ANN is read, its activations; None: a spiking network, which has none.
        self.activations: Activations | None = None
        # Whether what is added now belongs to no module of that name.
        self._unnamed = False
        self._names = {"input"}

    @contextlib.contextmanager
    def of_no_module(self) -> Iterator[None]:
        """What is added inside has no module: it never takes the name of one."""
        before, self._unnamed = self._unnamed, True
        try:
            yield
        finally:
            self._unnamed = before

    def add(
        self,
        op: Any,
        name: str,
        *inputs: Value,
        kind: Kind | None = None,
        signed: bool | None = None,
        delay: int = 0,
    ) -> Value:
        """Adds a node; `kind` and `signed` default to those of its inputs."""
        if len({(value.lead, value.merged) for value in inputs}) > 1:
            raise UnsupportedError(
                f"{name}: its inputs have batch and time in one axis and in two, or one has no "
                "time, expected one of both for all; flatten, unflatten or repeat one of them"
            )
        name = self._unique(name)
        sources = [value.name for value in inputs]
        edges = [(source, delay) for source in sources]
        self.net.add(op, name, edges if len(edges) > 1 else edges[0])
        self.inputs[name] = tuple(sources)
        return Value(
            name,
            tuple(self.net.node(name).shape),
            max(value.kind for value in inputs) if kind is None else kind,
            any(value.signed for value in inputs) if signed is None else signed,
            isinstance(op, KEEP_BINARY) and all(value.binary for value in inputs),
            inputs[0].lead,
            inputs[0].merged,
        )

    def current(self, op: Any, name: str, value: Value, delay: int = 0) -> Value:
        """Adds a node with weights: its output is a current."""
        return self.add(op, name, value, kind=Kind.CURRENTS, signed=True, delay=delay)

    def neuron(
        self,
        model: Model,
        name: str,
        value: Value,
        parameters: Mapping[str, NDArray[np.float32]],
        rules: Mapping[str, Any],
        meta: Mapping[str, Any],
        delay: int = 0,
    ) -> Value:
        """Adds a population; one with `spikes="none"` gives currents.

        Args:
            model: display name.
            name: the node's name.
            value: its input.
            parameters: the float fields of `ops.Neuron`.
            rules: its other fields.
            meta: what the numbers came from.
            delay: steps until its input arrives.
        """
        self.populations += 1
        fields: dict[str, Any] = {**parameters, **rules}
        op = ops.Neuron(**fields, model=model, meta=_finite(name, meta))
        if op.spikes == "none":
            return self.current(op, name, value, delay)
        return self.spiking(op, name, value, delay=delay)

    def spiking(self, op: Any, name: str, *inputs: Value, delay: int = 0) -> Value:
        """Adds a population that spikes; the sum of its inputs is its current."""
        signed = op.spikes == "signed" or bool((op.spike_amplitude < 0).any())
        out = self.add(op, name, *inputs, kind=Kind.SPIKES, signed=signed, delay=delay)
        binary = op.spikes == "single" and bool((op.spike_amplitude == 1).all())
        return replace(out, binary=binary)

    def delayed(self, name: str, value: Value, steps: int) -> Value:
        """What a value was some steps before, and zeros before that; `steps` is at least 1."""
        name = self._unique(name)
        self.net.add(ops.Add(), name, (value.name, steps))
        self.inputs[name] = (value.name,)
        return replace(value, name=name)

    def recurrent(
        self,
        population: Value,
        op: Any,
        name: str,
        *,
        enters: int = 1,
        leaves: int = 0,
        into: Value | None = None,
    ) -> None:
        """Adds a layer through which a population hears itself.

        Args:
            population: whose output it takes.
            op: a node that gives the shape of what it leads to.
            name: its name.
            enters: delay of the edge into it. With 1 (and `leaves` 0) its bias acts at step 0.
            leaves: delay of the edge from it to the population. With 1 (and `enters` 0) nothing
                of it acts at step 0.
            into: what it leads to; None: the population itself.
        """
        name = self._unique(name)
        self.net.add(op, name, (population.name, enters))
        self.net.connect(name, (into or population).name, leaves)

    def claim_state(self, state: Any, path: str, role: str = MEMBRANE) -> None:
        """Notes that the neuron `path` starts its step from `state`, which must be its alone.

        Args:
            state: what the call was given.
            path: the neuron.
            role: which of its states, as messages name it.
        """
        _, owner, owners = self.states.setdefault(id(state), (state, path, role))
        if (owner, owners) != (path, role):
            raise shared_state(path, owner, state, role, owners)

    def split_state(self, state: State, path: str, count: int) -> list[State]:
        """The parts of a state that holds those of all the modules in the container `path`."""
        # Not as a State: what has an order among forward's arguments are its parts.
        _, owner, _ = self.states.setdefault(id(state), ((state,), path, MEMBRANE))
        if owner != path:
            raise shared_state(path, owner, state)
        place = state.position
        return [
            State(f"{state.name}[{index}]", None if place is None else (*place, index))
            for index in range(count)
        ]

    def repeated(self, value: Value, steps: int, path: str) -> Value:
        """A value (N, …) in each of so many steps, (T, N, …)."""
        self.agree("the number of steps that the input is repeated for", steps, path)
        self.repeats = steps
        return replace(value, lead=None)

    def agree(self, what: str, value: Any, path: str) -> None:
        """Notes that `what` is `value` in the module `path`; it must be so everywhere."""
        known, owner = self._agreed.setdefault(what, (value, path))
        if known != value:
            raise UnsupportedError(
                f"{path}: {what} is {value} while that of {owner} is {known}, expected one for the "
                "whole network"
            )

    def ancestors(self, name: str) -> set[str]:
        """The nodes that feed `name`, directly or not."""
        found: set[str] = set()
        todo = [name]
        while todo:
            for source in self.inputs.get(todo.pop(), ()):
                if source not in found:
                    found.add(source)
                    todo.append(source)
        return found

    def _unique(self, name: str) -> str:
        chosen, count = name, 1
        while chosen in self._names or (
            chosen in self.reserved and (self._unnamed or chosen != name)
        ):
            chosen = f"{name}_{count}"
            count += 1
        self._names.add(chosen)
        return chosen


def shared_state(
    path: str, owner: str, state: Any, role: str = MEMBRANE, owners: str = MEMBRANE
) -> UnsupportedError:
    """The error for a neuron that is given the state of another one, or another of its own.

    Args:
        path: the neuron.
        owner: the neuron that the state belongs to.
        state: what the call was given.
        role: which of its states it was to be.
        owners: which of the owner's states it is.
    """
    what = f"the argument {state.name!r} of forward" if isinstance(state, State) else "the state"
    belongs = owner if role == owners else f"{owner} as its {owners}"
    return UnsupportedError(
        f"{path}: its {role} argument is {what} that belongs to {belongs}, expected a state of "
        f"its own; pass each neuron the {role} that it returned itself"
    )


def _finite(where: str, meta: Mapping[str, Any]) -> dict[str, Any]:
    """What can be kept of the numbers that a population came from.

    An infinite rate may mean something to a library, which clamps it; none is one.
    """
    for name, number in meta.items():
        if isinstance(number, float) and math.isnan(number):
            raise GraphError(f"{where}: {name} is {number}, expected a number")
    return {k: v for k, v in meta.items() if not (isinstance(v, float) and math.isinf(v))}


def array(tensor: Tensor | float, where: str, what: str) -> NDArray[np.float32]:
    """A parameter as a float32 array; one in double precision is rounded once.

    A float32 tensor in C order on the CPU is not copied but shown, read-only: adding a node
    copies. The network thus takes its weights once, and does not change when the module is
    trained on.
    """
    if not isinstance(tensor, Tensor):
        return np.asarray(tensor, dtype=np.float64).astype(np.float32)
    if tensor.is_complex() or tensor.is_quantized or tensor.layout != torch.strided:
        raise UnsupportedError(
            f"{where}: {what} has dtype {tensor.dtype}, layout {tensor.layout}; expected real, "
            "dense numbers"
        )
    if tensor.is_meta:
        raise UnsupportedError(
            f"{where}: {what} is on the meta device, expected numbers; load the weights first"
        )
    plain = tensor.detach().to("cpu", torch.float32).contiguous().resolve_neg()
    values: NDArray[np.float32] = plain.numpy()
    values = values.view()
    values.flags.writeable = False
    return values


def population(
    parameter: Tensor | float, shape: Sequence[int], where: str, what: str
) -> NDArray[np.float32]:
    """A neuron parameter that torch would broadcast against (N, *shape), as spikesim says it.

    torch aligns the last axes, spikesim's `(C,)` is the first axis of the population.

    Returns:
        An array of shape (), (C,) or `shape`.
    """
    values = array(parameter, where, what)
    if values.size == 1:
        return values.reshape(())
    shape = tuple(shape)
    while values.ndim > len(shape) and values.shape[0] == 1:
        values = values[0]
    fits = values.ndim <= len(shape) and all(
        have in (1, want) for have, want in zip(values.shape[::-1], shape[::-1], strict=False)
    )
    if not fits:
        raise UnsupportedError(
            f"{where}: {what} has shape {tuple(values.shape)}, expected one that acts on each "
            f"sample of shape {shape} alike"
        )
    if values.ndim == len(shape) and values.size == values.shape[0]:
        return values.reshape(-1)
    return np.ascontiguousarray(np.broadcast_to(values, shape))
