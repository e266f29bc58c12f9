"""Tracing a forward with torch.fx: each call becomes nodes as soon as it is made.

torch.fx's proxies stand for tensors, as in its own tracer. But what a call means is worked out at
once, so that shapes, lengths and Python's control flow are plain, and a call that has no meaning
is refused while the line that makes it is known.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import linecache
import operator
import os
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch import fx, nn
from torch.overrides import TorchFunctionMode

import spikesim.errors
from spikesim.convert import registry
from spikesim.convert.effects import put
from spikesim.convert.plain import check_plain, unwrapped, wrapped
from spikesim.convert.symbols import SYMBOLS, Lead, Membrane, State, Value, flat, leaves, mapped
from spikesim.errors import SpikesimError, UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.effects import Effects
    from spikesim.convert.walk import Walker

ONE_STEP = (
    "pass the module that computes one step (as its neurons' state is kept by the network, it "
    "needs no loop over time), without control flow that depends on data"
)
# What is patched while a forward is traced; tracings may nest.
CALL = nn.Module.__call__
# Whose code is not the user's.
LIBRARY = tuple(
    os.path.dirname(os.path.abspath(str(module.__file__))) + os.sep
    for module in (torch, spikesim.errors)
)
# Whose functions and containers call back into what is traced: a user's line is looked for first.
NETWORKS = tuple(
    str(folder) + os.sep
    for name in ("spikingjelly", "snntorch", "norse", "sinabs")
    if (spec := importlib.util.find_spec(name)) is not None
    for folder in spec.submodule_search_locations or ()
)
# Methods of tensors that Python code reads as attributes.
ATTRIBUTES = ("shape", "ndim", "device", "dtype", "layout", "requires_grad", "is_cuda", "data")
# Calls whose result never shares memory with what they are given.
COPIES = ("clone", "cat", "concat", "concatenate", "stack", "pad")

RANDOM = {
    getattr(torch, name)
    for name in (
        *("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like"),
        *("bernoulli", "normal", "poisson", "multinomial", "empty", "empty_like"),
    )
}
# What makes tensors of a given size, which may name the batch.
MAKERS = ("zeros", "ones", "full")


@dataclass
class Memory:
    """What tensors that view each other have in common."""

    # How often it was changed in place.
    changes: int = 0
    # Whether it belongs to whoever calls.
    foreign: bool = False
    # The neuron that goes on from it.
    owner: str | None = None


class Traced(fx.Proxy):
    """A tensor of a traced forward: what it stands for, and whose memory it shares."""

    def __init__(self, tracer: Tracer, name: str, item: Any, memory: Memory) -> None:
        super().__init__(tracer.graph.placeholder(name), tracer)
        self.item = item
        self.memory = memory
        self.seen = memory.changes

    def __getattr__(self, name: str) -> Any:
        if name in ATTRIBUTES:
            return self.tracer.create_proxy("call_function", getattr, (self, name), {})
        return super().__getattr__(name)

    def __len__(self) -> int:
        length: Any = self.tracer.create_proxy("call_function", len, (self,), {})
        return int(length)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tracer.create_proxy("call_function", iter, (self,), {}))

    def __bool__(self) -> bool:
        return self.tracer.to_bool(self)

    def __neg__(self) -> Any:
        return self.tracer.create_proxy("call_function", operator.neg, (self,), {})

    def __setitem__(self, index: Any, item: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, index, item), {})

    def become(self, other: Any) -> Traced:
        """This tensor changed in place; whatever else shows its memory must not be used again."""
        self.item = other.item if isinstance(other, Traced) else other
        self.memory.changes += 1
        self.seen = self.memory.changes
        return self


def _in_place(name: str) -> Any:
    def change(self: Traced, other: Any) -> Any:
        return self.tracer.create_proxy("call_method", name + "_", (self, other), {})

    return change


for _name in ("add", "sub", "mul", "truediv"):
    _method = {"truediv": "div"}.get(_name, _name)
    setattr(Traced, f"__i{_name}__", _in_place(_method))


class Tracer(fx.Tracer):
    """Traces the forward of one module; leaves are what an adapter knows."""

    def __init__(self, walker: Walker, root: nn.Module, path: str) -> None:
        super().__init__()
        self.walker = walker
        self.root = root
        self.path = path
        self.graph = fx.Graph(tracer_cls=type(self))
        self.paths = dict(paths(root, path))
        self.places = [path]

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What forward returns for these arguments, in symbols."""
        given = mapped(args, lambda item: self._shown("x", item, Memory(foreign=True)))
        named = mapped(kwargs, lambda item: self._shown("x", item, Memory(foreign=True)))
        tracer = self

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return tracer._module(module, args, kwargs)

        calls = self.walker.calls
        for module, name, item in calls.later:
            # A symbol as a tensor; anything else as it is.
            known = isinstance(item, SYMBOLS)
            put(module, name, self._shown(name, item, Memory(foreign=True)) if known else item)
        calls.later.clear()
        with calls.effects.sleeping(False), _calling(call), _Constants(calls.effects):
            result = _forward(type(self.root).forward, self.root, given, named)
        return self._read(result)

    def create_proxy(
        self,
        kind: str,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None = None,
        type_expr: Any = None,
        proxy_factory_fn: Any = None,
    ) -> Any:
        """A function, an operator or a method that is given a traced tensor."""
        called = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        stem = called.strip("_")
        changed = args[0] if kind == "call_method" and called == stem + "_" else None
        with self._located():
            if changed is not None:
                self._check_change(changed, stem)
                target = stem
            items, named = self._read(args), self._read(kwargs)
            path = self.walker.join(self.places[-1], stem)
            with self.walker.calls.effects.sleeping():
                result = self.walker.call(path, kind, target, items, named)
        if changed is not None:
            return changed.become(result)
        return self._show(stem, result, args, copies=stem in COPIES)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Control flow on data."""
        raise UnsupportedError(
            f"{self.places[-1] or type(self.root).__name__}: forward's control flow depends on "
            f"data, expected the same calls for any; {ONE_STEP}"
        )

    def _module(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A module's call in a traced forward."""
        path = self.paths.get(id(module)) or self._spare(type(module).__name__.lower())
        with self._located():
            module = unwrapped(module, path)
            if registry.find(module) is None:
                check_plain(module, path, leaf=False)
            elif leaves((args, kwargs), fx.Proxy) or registry.step_mode(module) is not None:
                items, named = self._read(args), self._read(kwargs)
                with self.walker.calls.effects.sleeping():
                    result = self.walker.call(path, "call_module", module, items, named)
                shown = self._show(path.rpartition(".")[2], result, args, copies=False)
                if registry.step_mode(module) is not None and registry.gives_state(module):
                    for tensor in leaves(shown, Traced):
                        tensor.memory.owner = path
                return shown
        # Constants go through as they are.
        self.places.append(path)
        try:
            return CALL(module, *args, **kwargs)
        finally:
            self.places.pop()

    def _spare(self, name: str) -> str:
        """A name for a module that has no path, which is no other module's path."""
        return f"{name}_" if name in self.walker.builder.reserved else name

    def _read(self, item: Any) -> Any:
        """What traced tensors stand for."""
        return mapped(item, self._item, fx.Proxy)

    def _item(self, proxy: Any) -> Any:
        if not isinstance(proxy, Traced):
            where, owner = self.places[-1] or "forward", getattr(proxy, "root", None)
            if isinstance(owner, Traced) and isinstance(owner.item, Membrane | State):
                raise UnsupportedError(
                    f"{where}: reads {proxy.attr!r} of the state of a neuron, expected its output "
                    "alone; a membrane is read by the readouts last_v and max_v"
                )
            raise UnsupportedError(
                f"{where}: reads the attribute {proxy.attr!r} of a tensor, expected layers' "
                "outputs and their shapes alone"
            )
        if proxy.seen != proxy.memory.changes:
            raise UnsupportedError(
                f"{self.places[-1] or 'forward'}: uses a tensor after another view of it was "
                "changed in place, expected values that stay; write y = y + x instead of y += x"
            )
        return proxy.item

    def _show(self, name: str, result: Any, args: Any, copies: bool) -> Any:
        given = leaves(args, Traced)
        memory = Memory() if copies or not given else given[0].memory
        before = leaves([proxy.item for proxy in given], Value)

        def show(item: Any) -> Any:
            same = isinstance(item, Value) and item in before
            shares = same or name in VIEWS
            return self._shown(name, item, memory if shares else Memory())

        return mapped(result, show)

    def _shown(self, name: str, item: Any, memory: Memory) -> Traced:
        return Traced(self, re.sub(r"\W", "_", name) or "x", item, memory)

    def _check_change(self, changed: Any, stem: str) -> None:
        if not isinstance(changed, Traced) or changed.memory.foreign:
            raise UnsupportedError(
                f"{stem}_: changes the input in place, expected it to stay as it is; write "
                "x = x + y, or x = x.clone() before it"
            )

        if changed.memory.owner is not None:
            raise UnsupportedError(
                f"{stem}_: changes in place what {changed.memory.owner} returned, which is its "
                "state too, expected it to stay as it is; write y = y + x instead of y += x"
            )

    @contextlib.contextmanager
    def _located(self) -> Iterator[None]:
        """Says the line of forward in whatever is refused."""
        try:
            yield
        except SpikesimError as error:
            raise located(error, sys._getframe(2)) from error.__cause__


# Calls whose result may share memory with what they are given.
VIEWS = (
    *("view", "reshape", "flatten", "squeeze", "unsqueeze", "permute", "transpose", "getitem"),
    *("detach", "contiguous", "unflatten", "expand", "narrow", "chunk", "split", "unbind"),
    *("movedim", "swapaxes", "iter", "getattr"),
)


def _forward(forward: Any, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls a forward; the user's frames are those above this one."""
    return forward(module, *args, **kwargs)


class _Constants(TorchFunctionMode):
    """Tensors that forward makes itself are never random; what adapters make is theirs."""

    def __init__(self, effects: Effects) -> None:
        super().__init__()
        self.effects = effects

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in RANDOM and not self.effects.asleep:
            raise UnsupportedError(
                f"{func.__name__}: forward draws random or unset numbers, expected the same at "
                "every step; make them once and keep them in a buffer"
            )
        return func(*args, **kwargs)


class _Patches(threading.local):
    """What modules' calls go to, in the thread that traces alone; tracings may nest."""

    def __init__(self) -> None:
        self.calls: list[Any] = []


_PATCHES = _Patches()
# How many tracings there are in all threads, and what undoes the patches of them all.
_LOCK = threading.Lock()
_ACTIVE: list[contextlib.ExitStack] = []
_count = 0


@contextlib.contextmanager
def _calling(call: Any) -> Iterator[None]:
    """Modules' calls go to `call` in this thread; those of other threads where they always go."""
    global _count
    with _LOCK:
        if not _count:
            _ACTIVE.append(_patched())
        _count += 1
    _PATCHES.calls.append(call)
    try:
        yield
    finally:
        _PATCHES.calls.pop()
        with _LOCK:
            _count -= 1
            if not _count:
                _ACTIVE.pop().close()


def _patched() -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    original = nn.Module.__call__

    def dispatch(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        calls = _PATCHES.calls
        return (calls[-1] if calls else original)(module, *args, **kwargs)

    stack.enter_context(mock.patch.object(nn.Module, "__call__", dispatch))

    # torch.zeros(x.shape[0], n): one sample stands for the batch, all of which are alike.
    def of_one(make: Any) -> Any:
        def maker(*args: Any, **kwargs: Any) -> Any:
            if _PATCHES.calls:
                args, kwargs = mapped((args, kwargs), lambda _: 1, Lead)
            return make(*args, **kwargs)

        return maker

    for name in MAKERS:
        stack.enter_context(mock.patch.object(torch, name, of_one(getattr(torch, name))))
    return stack


def located(error: SpikesimError, frame: FrameType | None) -> SpikesimError:
    """The error with the innermost line of a traced forward that is not a library's."""
    place = _place_in(frame)
    return error if place is None else with_place(error, place)


def place_here() -> str | None:
    """The line of the traced forward that is carried out now."""
    return _place_in(inspect.currentframe())


def _place_in(frame: FrameType | None) -> str | None:
    places = []
    while frame is not None and frame.f_code is not _forward.__code__:
        places.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return _users(places)


def with_place(error: SpikesimError, place: str) -> SpikesimError:
    """The error with a line, if it has none yet."""
    if getattr(error, "place", None) is not None:
        return error
    new = type(error)(f"{error} ({place})")
    new.place = place  # type: ignore[attr-defined]
    return new


def place_of(error: BaseException) -> str | None:
    """The innermost line of a traced forward in an exception's traceback."""
    places: list[tuple[str, int]] = []
    inside = False
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code is _forward.__code__:
            inside = True
        elif inside:
            places.append((code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    return _users(places[::-1])


def _users(places: list[tuple[str, int]]) -> str | None:
    """The innermost line of the user's; where a library's own network is read, of that."""
    own = [place for place in places if not place[0].startswith(NETWORKS)]
    found = (_place(*place) for place in [*own, *places])
    return next((place for place in found if place is not None), None)


def _place(file: str, line: int) -> str | None:
    """ "model.py:42: y = x.sort()", or None for code of a library."""
    if file.startswith(("<", *LIBRARY)) or file in (contextlib.__file__, mock.__file__):
        return None
    source = linecache.getline(file, line).strip()
    return f"{os.path.basename(file)}:{line}" + (f": {source[:80]}" if source else "")


def paths(root: nn.Module, path: str) -> Iterator[tuple[int, str]]:
    """Module ids and paths, without the wrappers that only hand on; the first path counts."""
    seen: set[int] = set()

    def visit(module: nn.Module, at: str) -> Iterator[tuple[int, str]]:
        if id(module) in seen:
            return
        seen.add(id(module))
        yield id(module), at
        inside = wrapped(module)
        for name, child in module._modules.items():
            if child is not None:
                inner = at if child is inside else f"{at}.{name}" if at else name
                yield from visit(child, inner)

    yield from visit(root, path)


def arguments(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The parameters of forward that the call leaves open: (name, place, its default).

    Raises:
        TypeError: the call does not fit.
    """
    signature = inspect.signature(type(module).forward)
    given = signature.bind_partial(module, *args, **kwargs).arguments
    open_ = []
    for place, (name, parameter) in enumerate(signature.parameters.items()):
        several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if name not in given and not several:
            open_.append((name, place - 1, parameter))
    return open_


def outputs(result: Any) -> list[Any]:
    """The symbols among what forward returns."""
    return [item for item in flat(result) if isinstance(item, SYMBOLS)]
