"""Reading a module: leaves by their adapters, forwards of one's own by tracing them."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from spikesim.convert import functional, products, registry
from spikesim.convert.build import Builder
from spikesim.convert.effects import Change, Effects, Stale, state_read
from spikesim.convert.output import check_order, check_repeated, output
from spikesim.convert.plain import check_plain, unwrapped
from spikesim.convert.steps import Calls, one_step, steps_of
from spikesim.convert.symbols import (
    Complement,
    Membrane,
    OverTime,
    Padded,
    Sequence,
    State,
    Total,
    Value,
    at_step,
    leaves,
    mapped,
)
from spikesim.convert.trace import (
    ONE_STEP,
    Traced,
    Tracer,
    arguments,
    paths,
    place_of,
    with_place,
)
from spikesim.errors import SpikesimError, UnsupportedError
from spikesim.network import Network


def convert(
    module: nn.Module,
    builder: Builder,
    readout: str | None,
    n_steps: int | None = None,
    axis: int = 0,
    *,
    still: bool = False,
) -> Network:
    """The network of a module; `builder` is empty.

    Args:
        module: the model.
        builder: the network's.
        readout: what the network answers with; None: what forward says.
        n_steps: number of steps of an input (T, N, …) that forward loops over.
        axis: 1: that input is (N, T, …).
        still: whether a multi-step module takes (N, …) and repeats it for all steps itself.
    """
    module = unwrapped(module, "")
    _check_precision(module)
    again = Builder(tuple(builder.net.input_shape), builder.net.dt)
    if builder.activations is not None:
        again.activations = type(builder.activations)()
    changes = _read(module, builder, readout, n_steps, axis, still, [])
    if changes:
        _check_again(module, builder.net, again, readout, changes)
    return builder.net


def _read(
    module: nn.Module,
    builder: Builder,
    readout: str | None,
    n_steps: int | None,
    axis: int,
    still: bool,
    later: list[tuple[nn.Module, str, Any]],
) -> list[Change]:
    """Fills the builder's network.

    Args:
        later: attributes as they are at the second call of forward; none: this is the first.

    Returns:
        What a forward of one step changed but for its neurons' states.
    """
    where = type(module).__name__
    changes: list[Change] = []
    with _unchanged(module) as effects:
        lead, time_axis = _layout(module)
        builder.root = module
        builder.reserved = {path for _, path in paths(module, "")}
        calls = Calls(effects, list(later))
        walker = Walker(builder, lead if n_steps is None else 1, time_axis, calls)
        calls.watch(module)
        given: Any = builder.input if n_steps is None else Sequence(builder.input, n_steps, axis)
        if still:
            given = replace(builder.input, lead=1)
        with effects, effects.sleeping():
            result = walker.module(module, "", (given,), {})
            result = mapped(
                result, lambda item: products.plain(builder, "output", item), Complement
            )
        count = calls.count()
        restarted = calls.restarted() if lead == 1 else None
        effects.check_random(where)
        effects.check_leaves()
        if n_steps is not None and count != n_steps:
            raise UnsupportedError(
                f"{where}: forward makes {count} steps of an input with {n_steps}, expected one "
                "call of each neuron for every step"
            )
        one = count == 1 and n_steps is None and not _recorded(result)
        errors = [*builder.anew, *([restarted] if restarted is not None else [])]
        if one and errors:
            raise errors[0]
        if one and lead == 1:
            changes = effects.changes()
    if still:
        count = builder.repeats or 1
        check_repeated(builder, where, result)
    if not later:
        check_order(builder, result)
    chosen, over_time = output(builder, where, result, readout, 1 if still else count)
    source: dict[str, Any] = {"format": "torch", "module": where}
    if count > 1 or n_steps is not None or still:
        source["n_steps"] = count
    builder.net.output = chosen.name
    builder.net.readout = readout if readout is not None else over_time
    builder.net.meta = {"source": source}
    builder.net.validate()
    return changes


def _check_again(
    module: nn.Module, net: Network, builder: Builder, readout: str | None, changes: list[Change]
) -> None:
    """Refuses a forward whose next call is another, for what its first one left.

    It is read once more, with what it left: a state of a neuron, which the neuron must be given;
    anything else, which it must not touch.
    """
    where = type(module).__name__
    names = ", ".join(f"self.{change}" for change in changes)
    wrong = UnsupportedError(
        f"{where}: forward changes {names} and its next call depends on that, expected neurons' "
        "states alone to last from step to step; pass it on through forward's arguments, or use a "
        "recurrent neuron"
    )
    states: dict[str, State] = {}
    later: list[tuple[nn.Module, str, Any]] = []
    for change in changes:
        item: Any = Stale() if change.new is not None else None
        if isinstance(change.new, Traced):
            item = states[str(change)] = State(str(change))
        later.append((change.module, change.name, item))
    try:
        more = _read(module, builder, readout, None, 0, False, later)
    except SpikesimError as error:
        place = getattr(error, "place", None)
        raise (wrong if place is None else with_place(wrong, place)) from error
    left = {str(change): change.new for change in more}
    first, second = ([(n.name, n.op) for n in one.nodes] for one in (net, builder.net))
    same = first == second and net.edges == builder.net.edges
    same = same and (net.output, net.readout) == (builder.net.output, builder.net.readout)
    if not same or left.keys() - {str(change) for change in changes}:
        raise wrong
    for name, state in states.items():
        if id(state) in builder.states:
            _, owner, role = builder.states[id(state)]
            item = left[name].item if isinstance(left.get(name), Traced) else None
            spikes = isinstance(item, Value) and (item.name, "spikes") == (owner, role)
            kept = isinstance(item, Membrane) and (item.neuron.name, item.role) == (owner, role)
            if not (spikes or kept):
                raise wrong


def _check_precision(module: nn.Module) -> None:
    """Refuses weights in half precision, where the library keeps its neurons' states in it too."""
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.dtype in (torch.float16, torch.bfloat16):
            raise UnsupportedError(
                f"{name}: is in {tensor.dtype}, in which the module would round every step, "
                "expected torch.float32; call module.float() first"
            )


def _recorded(result: Any) -> bool:
    """Whether forward returns what a loop recorded, if only of one step."""
    kinds = leaves(result, (Sequence, Total, OverTime))
    return any(item.count is not None for item in kinds)


class Walker:
    """Turns modules and traced calls into nodes.

    Attributes:
        builder: the network.
        lead: leading axes of every tensor at this place: 1 (N, ...), 2 with the time.
        time_axis: which of two is the time: 0 (T, N, ...), 1 (N, T, ...).
        calls: what forwards called so far.
    """

    def __init__(self, builder: Builder, lead: int, time_axis: int, calls: Calls) -> None:
        self.builder = builder
        self.lead = lead
        self.time_axis = time_axis
        self.calls = calls

    def lead_of(self, value: Value) -> int:
        """Leading axes of the tensor that a value stands for."""
        return self.lead if value.lead is None else value.lead

    def inside(self, module: nn.Module, path: str, name: str) -> str:
        """The path of a child; that of the module which is converted is not part of it."""
        return name if module is self.builder.root else f"{path}.{name}"

    def per_step(self, path: str) -> Walker:
        """The walker inside something that hands on each step of a sequence by itself."""
        if self.lead != 2:
            raise UnsupportedError(
                f'{path}: step_mode is "m" in a single-step module, expected "s"; set one mode '
                "for the whole network"
            )
        return self.of_one_step()

    def of_one_step(self) -> Walker:
        """The walker where tensors are one step of all samples, (N, …)."""
        return Walker(self.builder, 1, self.time_axis, self.calls)

    def single(self, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
        """The one argument of a layer."""
        value = self.padded(path, args, kwargs)
        if isinstance(value, Padded):
            raise functional.padding_refused(path)
        return value

    def padded(self, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value | Padded:
        """The one argument of a layer that can pad."""
        values = [*args, *kwargs.values()]
        if len(values) == 1 and isinstance(values[0], Complement):
            return products.plain(self.builder, path, values[0])
        if len(values) == 1 and isinstance(values[0], Value | Padded):
            return values[0]
        what = f"{len(values)} arguments" if len(values) != 1 else functional.described(values[0])
        raise UnsupportedError(f"{path}: the call has {what}, expected the output of one layer")

    def module(
        self, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What a module's call returns."""
        module = unwrapped(module, path)
        handler = registry.find(module)
        check_plain(module, path or type(module).__name__, leaf=handler is not None)
        if handler is not None:
            functional.check_lead(self, module, path, (args, kwargs))
            # A leaf given by itself has no path.
            return handler(self, module, path or type(module).__name__.lower(), args, kwargs)
        return self._traced(module, path, args, kwargs)

    def call(
        self, path: str, kind: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What a call in a traced forward returns: of a module, a function or a method."""
        if kind == "call_module":
            self.calls.effects.check_leaf(target, path)
        stateless = kind != "call_module" or registry.step_mode(target) is None
        given = leaves((args, kwargs), Tensor) if stateless else []
        if any(self.calls.effects.is_state(item) for item in given):
            raise state_read(path)
        if kind == "call_module":
            if id(target) in self.calls.neurons:
                return self._again(target, path, args, kwargs)
        elif len(steps_of((args, kwargs))) > 1 or functional.over_time(args, kwargs):
            return functional.lower(functional.Call(self, path, args, kwargs), kind, target)
        key = self.calls.key(kind, target, args, kwargs)
        step = one_step((args, kwargs))
        if key not in self.calls.results:
            if kind == "call_module":
                made = self._first(target, path, args, kwargs)
                if id(target) in self.calls.stateful:
                    return made
            else:
                call = functional.Call(self, path, args, kwargs)
                made = functional.lower(call, kind, target)
            self.calls.results[key] = made
        made = self.calls.results[key]
        return made if step is None else at_step(made, step)

    def _first(
        self, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """The call of a leaf that is no known neuron: of a layer, a container or a new neuron."""
        populations, neurons = self.builder.populations, len(self.calls.neurons)
        made = self.module(module, path, args, kwargs)
        if len(self.calls.neurons) > neurons:
            # It called its neurons through this walker, which knows their steps.
            self.calls.stateful.add(id(module))
        elif self.builder.populations > populations:
            step = one_step((args[:1], kwargs))
            if step not in (None, 0):
                raise UnsupportedError(
                    f"{path}: {type(module).__name__} is called first in step {step} of a loop, "
                    "expected a call in every step"
                )
            made = at_step(made, 0)
            self.calls.began(module, path, args, kwargs, made)
            self.calls.stateful.add(id(module))
        return made

    def _again(
        self, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self.lead == 2:
            raise UnsupportedError(
                f"{path}: {type(module).__name__} is called twice in one forward, expected one "
                "call; give each call a module of its own"
            )
        return self.calls.again(module, path, args, kwargs)

    def sequence(self, module: nn.Module, path: str, value: Any) -> Any:
        """The children of a container, one after the other."""
        for name, child in module._modules.items():
            if child is not None:
                value = self.call(self.join(path, name), "call_module", child, (value,), {})
        return value

    def refuse_neurons(self, module: nn.Module, path: str) -> None:
        """For containers that would run neurons without their state."""
        for name, child in module.named_modules():
            if name and registry.step_mode(child) is not None:
                raise UnsupportedError(
                    f"{self.join(path, name)}: {type(child).__name__} stands in a "
                    f"{type(module).__name__}, which is for layers without state; use a "
                    "MultiStepContainer"
                )

    def join(self, path: str, name: str) -> str:
        """The path of something inside."""
        return _join(path, name)

    def _traced(
        self, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self.builder.traced.append((path, module))
        try:
            named = dict(kwargs)
            for name, place, parameter in arguments(module, args, kwargs):
                # An argument without a value to go on with is the state of a neuron. A caller
                # inside forward that leaves it out means its default.
                if parameter.default is parameter.empty or (parameter.default is None and not path):
                    named[name] = State(name, None if path else (place,))
            args, named = _positional(module, args, named)
            return Tracer(self, module, path).run(args, named)
        except SpikesimError as error:
            place = place_of(error)
            raise (error if place is None else with_place(error, place)) from error.__cause__
        except Exception as error:
            reason = re.split(r"\n|\. ", str(error).strip())[0].rstrip(".")
            wrong = UnsupportedError(
                f"{path or type(module).__name__}: forward cannot be traced ({reason}), expected "
                f"calls of layers one after the other; {ONE_STEP}"
            )
            place = place_of(error)
            raise (wrong if place is None else with_place(wrong, place)) from error


def _positional(
    module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments that may only be given by their place."""
    rest = dict(named)
    more = []
    for name, parameter in list(inspect.signature(type(module).forward).parameters.items())[1:]:
        if parameter.kind is parameter.POSITIONAL_ONLY and name in rest:
            more.append(rest.pop(name))
    return (*args, *more), rest


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def takes_steps(module: nn.Module) -> bool:
    """Whether this is a multi-step module, of (T, N, …)."""
    try:
        return _layout(module) == (2, 0)
    except UnsupportedError:
        return False


def _layout(module: nn.Module) -> tuple[int, int]:
    """(lead, time_axis) of what the module takes. Neurons of two layouts make no sense together,
    but for those of batch and time in one axis and in two, which modules of Sinabs turn into each
    other: there the first neuron says what comes in."""
    modes: dict[str, str] = {}

    def visit(child: nn.Module, path: str) -> None:
        mode = registry.step_mode(child)
        if mode is not None:
            modes.setdefault(mode, path or type(child).__name__)
            return
        for name, grandchild in child.named_children():
            visit(grandchild, _join(path, name))

    visit(module, "")
    if modes.keys() == {"s", "m"}:
        raise UnsupportedError(
            f'{modes["s"]}: step_mode is "s" while that of {modes["m"]} is "m", expected one for '
            "all; set it for the whole network"
        )
    if len(modes) > 1 and modes.keys() != {"nt", "n*t"}:
        (first, one), (second, other), *_ = modes.items()
        raise UnsupportedError(
            f"{other}: takes {registry.LAYOUTS[second]} while {one} takes "
            f"{registry.LAYOUTS[first]}, expected neurons of one layout"
        )
    mode = next(iter(modes), "s")
    return 2 if mode in ("m", "nt") else 1, 1 if modes.keys() & {"nt", "n*t"} else 0


@contextlib.contextmanager
def _unchanged(module: nn.Module) -> Iterator[Effects]:
    """The module in eval mode, and afterwards exactly as it was.

    Tracing runs forwards, which may set attributes (a state, a constant that the tracer names).
    """
    effects = Effects(module)
    try:
        for _, child in effects.modules:
            child.__dict__["training"] = False
        with torch.no_grad():
            yield effects
    finally:
        with torch.no_grad():
            effects.restore()
