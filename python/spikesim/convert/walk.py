"""Reading a module: leaves by their adapters, forwards of one's own by tracing them."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

from spikesim.convert import functional, registry
from spikesim.convert.build import (
    MEMBRANE,
    Builder,
    Membrane,
    OverTime,
    State,
    Value,
    shared_state,
)
from spikesim.convert.plain import check_plain
from spikesim.errors import UnsupportedError
from spikesim.network import Network

# torch.nn modules that only hold or chain others: not leaves.
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)

ONE_STEP = (
    "pass the module that computes one step (as its neurons' state is kept by the network, it "
    "needs no loop over time), without control flow that depends on data"
)


def convert(module: nn.Module, builder: Builder, readout: str | None) -> Network:
    """The network of a module; `builder` is empty."""
    with _unchanged(module):
        lead, time_axis = _layout(module)
        builder.root = module
        result = Walker(builder, lead, time_axis).module(module, "", (builder.input,), {})
    _check_order(builder, result)
    output, over_time = _output(builder, type(module).__name__, result, readout)
    builder.net.output = output.name
    builder.net.readout = readout if readout is not None else over_time
    builder.net.meta = {"source": {"format": "torch", "module": type(module).__name__}}
    builder.net.validate()
    return builder.net


class Walker:
    """Turns modules and traced calls into nodes.

    Attributes:
        builder: the network.
        lead: leading axes of every tensor at this place: 1 (N, ...), 2 with the time.
        time_axis: which of two is the time: 0 (T, N, ...), 1 (N, T, ...).
    """

    def __init__(self, builder: Builder, lead: int, time_axis: int = 0) -> None:
        self.builder = builder
        self.lead = lead
        self.time_axis = time_axis

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
        return Walker(self.builder, 1, self.time_axis)

    def single(self, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
        """The one argument of a layer."""
        values = [*args, *kwargs.values()]
        if len(values) == 1 and isinstance(values[0], Value):
            return values[0]
        raise UnsupportedError(
            f"{path}: the call has {_described(values)}, expected the output of one layer"
        )

    def module(
        self, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What a module's call returns."""
        handler = registry.find(module)
        check_plain(module, path or type(module).__name__, leaf=handler is not None)
        if handler is not None:
            # A leaf given by itself has no path.
            return handler(self, module, path or type(module).__name__.lower(), args, kwargs)
        return self._traced(module, path, args, kwargs)

    def sequence(self, module: nn.Sequential, path: str, value: Any) -> Any:
        """The children of a container, one after the other."""
        for name, child in module.named_children():
            value = self.module(child, _join(path, name), (value,), {})
        return value

    def refuse_neurons(self, module: nn.Module, path: str) -> None:
        """For containers that would run neurons without their state."""
        for name, child in module.named_modules():
            if name and registry.step_mode(child) is not None:
                raise UnsupportedError(
                    f"{_join(path, name)}: {type(child).__name__} stands in a "
                    f"{type(module).__name__}, which is for layers without state; use a "
                    "MultiStepContainer"
                )

    def _traced(
        self, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        where = path or type(module).__name__
        tracer = _Tracer(path)
        try:
            graph = tracer.trace(module)
        except UnsupportedError:
            raise
        except Exception as error:
            place = _join(path, tracer.failed) if tracer.failed else where
            reason = re.split(r"\n|\. ", str(error).strip())[0].rstrip(".")
            raise UnsupportedError(
                f"{place}: forward cannot be traced ({reason}), expected calls of layers one "
                f"after the other; {ONE_STEP}"
            ) from error
        _check_calls(graph, module, path)
        self.builder.traced.append((path, module))
        return self._interpret(graph, module, path, args, kwargs)

    def _interpret(
        self,
        graph: fx.Graph,
        module: nn.Module,
        path: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        env: dict[fx.Node, Any] = {}
        given = list(args)
        for node in graph.nodes:
            if node.op == "placeholder":
                name = str(node.target)
                if given:
                    env[node] = given.pop(0)
                else:
                    env[node] = kwargs.get(name, State(name, None if path else (len(env),)))
                continue
            node_args = fx.node.map_arg(node.args, env.__getitem__)
            node_kwargs = fx.node.map_arg(node.kwargs, env.__getitem__)
            if node.op == "output":
                return node_args[0]
            if node.op == "get_attr":
                env[node] = _attribute(module, str(node.target))
            elif node.op == "call_module":
                child = module.get_submodule(str(node.target))
                name = _join(path, str(node.target))
                env[node] = self.module(child, name, tuple(node_args), dict(node_kwargs))
            else:
                name = _join(path, _place(node))
                call = functional.Call(self, name, node_args, node_kwargs)
                env[node] = functional.lower(call, node.op, node.target)
        return None


class _Tracer(fx.Tracer):
    """Leaves are what an adapter knows, and whatever comes from torch.nn."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.failed = ""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if type(m) in CONTAINERS:
            return False
        return registry.find(m) is not None

    def call_module(
        self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        # The containers on the way: the walker meets the leaves alone.
        if not self.is_leaf_module(m, ""):
            check_plain(m, _join(self.path, self.path_of_module(m)), leaf=False)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            if not self.failed:
                with contextlib.suppress(NameError):
                    self.failed = self.path_of_module(m)
            raise


def _place(node: fx.Node) -> str:
    """A functional call's name: the path of the module whose forward makes it, and its own."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    # The tracer numbers its names over the whole module; the builder does where they clash.
    return _join(str(stack[-1][0]) if stack else "", re.sub(r"_\d+$", "", node.name))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _described(values: list[Any]) -> str:
    return f"{len(values)} arguments" if len(values) != 1 else f"a {type(values[0]).__name__}"


def _attribute(module: nn.Module, target: str) -> Any:
    value: Any = module
    for part in target.split("."):
        value = getattr(value, part)
    return value


def _check_calls(graph: fx.Graph, module: nn.Module, path: str) -> None:
    """A layer with weights or state that is called twice is most often a loop over time."""
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    for target, count in calls.items():
        child = module.get_submodule(target)
        stateless = not any(True for _ in child.parameters()) and not any(
            registry.step_mode(part) for part in child.modules()
        )
        if count > 1 and not stateless:
            raise UnsupportedError(
                f"{_join(path, target)}: {type(child).__name__} is called {count} times in one "
                f"forward, expected once; {ONE_STEP}, or give each call a module of its own"
            )


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


def _output(
    builder: Builder, where: str, result: Any, readout: str | None
) -> tuple[Value, str | None]:
    """The output node among what forward returns, and the readout that it computes itself."""
    items = list(_flat(result))
    values = [item for item in items if isinstance(item, Value | OverTime)]
    if not values and readout in ("last_v", "max_v"):
        states = [item for item in items if isinstance(item, Membrane)]
        values = [item.neuron for item in states if item.role == MEMBRANE]
    names = {_node(item).name: item for item in values}
    # `return spk1, spk2`: what feeds another returned value is not the output.
    inner: set[str] = set()
    for name in names:
        inner |= builder.ancestors(name)
    outer = [item for name, item in names.items() if name not in inner]
    if len(outer) != 1:
        found = ", ".join(_node(item).name for item in outer) or "no output of a layer"
        raise UnsupportedError(
            f"{where}: forward returns {found}, expected the output of one layer (beside neurons' "
            'states); return its spikes, and name a membrane readout by readout="last_v"'
        )
    if _node(outer[0]).name == "input":
        raise UnsupportedError(f"{where}: forward returns its input, expected at least one layer")
    if isinstance(outer[0], OverTime):
        if readout is not None and readout != outer[0].readout:
            raise UnsupportedError(
                f"{where}: forward takes the {outer[0].readout} over time while readout is "
                f"{readout!r}, expected one of the two"
            )
        return outer[0].value, outer[0].readout
    return _node(outer[0]), None


def _check_order(builder: Builder, result: Any) -> None:
    """The states that forward takes must be, in their order, those that it returns.

    Where it does not return them all, they are taken to be in the order of the calls.
    """
    taken = [
        (state.position, state, (path, role))
        for state, path, role in builder.states.values()
        if isinstance(state, State) and state.position is not None
    ]
    calls = [owner for _, _, owner in taken]
    taken.sort(key=lambda item: item[0])
    returned = [owner for item in _flat(result) for owner in _states(item) if owner in calls]
    if set(returned) == set(calls):
        # What is returned more than once (spikes: as a state and as the output) counts where it
        # fits.
        rest = iter(returned)
        if all(owner in rest for _, _, owner in taken):
            return
        calls = list(dict.fromkeys(returned))
    for (_, state, (path, role)), (owner, owners) in zip(taken, calls, strict=True):
        if (path, role) != (owner, owners):
            raise shared_state(path, owner, state, role, owners)


def _states(item: Any) -> list[tuple[str, str]]:
    """The neuron, and which of its states a returned item is; spikes may be one, too."""
    if isinstance(item, Membrane):
        return [(item.neuron.name, item.role)]
    return [(item.name, "spikes")] if isinstance(item, Value) else []


def _node(item: Value | OverTime) -> Value:
    return item.value if isinstance(item, OverTime) else item


def _flat(result: Any) -> Iterator[Any]:
    if isinstance(result, tuple | list):
        for item in result:
            yield from _flat(item)
    elif isinstance(result, dict):
        yield from _flat(list(result.values()))
    else:
        yield result


@contextlib.contextmanager
def _unchanged(module: nn.Module) -> Iterator[None]:
    """The module in eval mode, and afterwards exactly as it was.

    Tracing runs forwards, which may set attributes (a state, a constant that the tracer names).
    """
    saved: list[tuple[nn.Module, dict[str, Any], dict[str, dict[Any, Any]]]] = []
    for child in module.modules():
        held = {k: dict(v) for k, v in child.__dict__.items() if isinstance(v, dict)}
        saved.append((child, dict(child.__dict__), held))
    try:
        for child, _, _ in saved:
            child.__dict__["training"] = False
        with torch.no_grad():
            yield
    finally:
        for child, attributes, held in saved:
            child.__dict__.clear()
            child.__dict__.update(attributes)
            for name, content in held.items():
                kept: dict[Any, Any] = child.__dict__[name]
                kept.clear()
                kept.update(content)
