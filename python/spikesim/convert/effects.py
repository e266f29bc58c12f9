"""What a forward that is traced leaves behind, and what it must not read.

A network repeats one step. A forward that changes something which its next call, or its next
iteration, reads does not: attributes, lists, buffers, weights, random numbers. All of it is noted
before the forward and while it runs, compared afterwards, and put back.
"""

from __future__ import annotations

import collections
import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from spikesim.convert import registry
from spikesim.errors import UnsupportedError

# What neurons call their states.
NAMES = ("v", "i", "mem", "syn", "syn_exc", "syn_inh", "spk", "state", "v_mem", "i_syn", "b")
# Operations that may be given a state though they read it: they make nothing of its numbers.
BLIND = ("zeros_like", "empty_like", "ones_like", "full_like", "new_zeros", "detach_")
CONTAINERS = (list, dict, set, collections.deque)
PLAIN = (int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class Change:
    """An attribute of a module that is not what it was."""

    path: str
    module: nn.Module
    name: str
    new: Any

    def __str__(self) -> str:
        return ".".join(part for part in (self.path, self.name) if part)


class Stale:
    """What an earlier call left, where nothing may be done with it."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise UnsupportedError("forward: reads what its last call left")

    __getattr__ = __bool__ = __len__ = __iter__ = __call__ = __getitem__ = __setitem__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _refuse
    __rtruediv__ = __mod__ = __floordiv__ = __pow__ = __rpow__ = __neg__ = __int__ = _refuse
    __float__ = __index__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = _refuse
    __iadd__ = __isub__ = __imul__ = __itruediv__ = __invert__ = __and__ = __or__ = _refuse
    __eq__ = __ne__ = _refuse
    __hash__ = None  # type: ignore[assignment]


class Effects(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches the modules inside one; active while it is entered and not `asleep`.

    Attributes:
        asleep: while an adapter reads, not forward.
    """

    def __init__(self, root: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asleep = False
        self.modules = [(path, module) for path, module in root.named_modules()]
        self.neurons = [m for _, m in self.modules if registry.step_mode(m) is not None]
        self._leaves = {id(m) for _, m in self.modules if registry.find(m) is not None}
        self._saved = {id(m): (path, m, dict(m.__dict__)) for path, m in self.modules}
        # What containers held, by their ids; the containers are held so that ids stay theirs.
        self._contents: dict[int, tuple[Any, Any]] = {}
        # The tensors of each storage, and copies of what they held before they were changed.
        self._tensors: dict[int, list[Tensor]] = {}
        self._before: dict[int, list[Tensor]] = {}
        self._writes: dict[int, int] = {}
        for _, module, attributes in self._saved.values():
            for item in (module.__dict__, *attributes.values()):
                self._note(item)
        self._random = _random()

    # Before and after

    def restore(self) -> None:
        """Everything as it was."""
        for _, module, attributes in self._saved.values():
            module.__dict__.clear()
            module.__dict__.update(attributes)
        for container, content in self._contents.values():
            _refill(container, content)
        for storage, copies in self._before.items():
            for tensor, copy in zip(self._tensors[storage], copies, strict=True):
                tensor.data.copy_(copy)
        if not self._drew_none():
            np.random.set_state(self._random[0])  # noqa: NPY002
            random.setstate(self._random[1])

    def changes(self, module: nn.Module | None = None) -> list[Change]:
        """What differs from before, but for neurons' states; of one module or of all."""
        some = self._saved.values() if module is None else [self._saved[id(module)]]
        found = []
        for path, one, attributes in some:
            states = {"training"} | (_state_names(one) if one in self.neurons else set())
            for name, old, new in self._pairs(one, attributes):
                if name not in states and not self._equal(old, new):
                    found.append(Change(path, one, name, new))
        return found

    def check_leaf(self, module: nn.Module, path: str) -> None:
        """Refuses a layer or a neuron that forward has changed."""
        if id(module) in self._leaves and (found := self.changes(module)):
            raise self._changed(path, found[0])

    def check_leaves(self) -> None:
        """Refuses layers and neurons that forward has changed, whenever it was."""
        for path, module in self.modules:
            self.check_leaf(module, path or type(module).__name__)

    def check_random(self, where: str) -> None:
        """Refuses a forward that drew random numbers; torch's are refused when they are drawn."""
        if not self._drew_none():
            raise UnsupportedError(f"{where}: {_DRAWS}")

    def _drew_none(self) -> bool:
        now = _random()
        return now[1] == self._random[1] and _alike(now[0], self._random[0])

    def _changed(self, path: str, change: Change) -> UnsupportedError:
        return UnsupportedError(
            f"{path}: forward changes {change.name} of this {type(change.module).__name__}, "
            "expected it to stay as it is; set it outside of forward"
        )

    def _pairs(self, module: nn.Module, old: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        missing = object()
        for name in old | module.__dict__:
            before, now = old.get(name, missing), module.__dict__.get(name, missing)
            if name in ("_parameters", "_buffers", "_modules", "_memories") and before is now:
                content = self._contents[id(before)][1]
                for inner in content | now:
                    yield inner, content.get(inner, missing), now.get(inner, missing)
            else:
                yield name, before, now

    def _equal(self, old: Any, new: Any, depth: int = 0) -> bool:
        if isinstance(old, Tensor) and isinstance(new, Tensor):
            if old is new:
                return self._kept(old)
            alike = (old.shape, old.dtype, old.device) == (new.shape, new.dtype, new.device)
            return alike and self._kept(old) and torch.equal(old, new)
        if old is new and id(old) in self._contents:
            content = self._contents[id(old)][1]
            if isinstance(old, np.ndarray):
                return np.array_equal(content, old)
            if isinstance(old, set):
                return bool(content == old)
            return depth > 3 or self._equal(content, _copied(old), depth + 1)
        if old is new:
            return True
        if type(old) is not type(new):
            return False
        if isinstance(old, PLAIN):
            return bool(old == new or (old != old and new != new))
        if isinstance(old, np.ndarray):
            return _alike(old, new)
        if isinstance(old, tuple | list | collections.deque):
            pairs = zip(old, new, strict=False)
            return len(old) == len(new) and all(self._equal(a, b, depth + 1) for a, b in pairs)
        if isinstance(old, dict):
            return list(old) == list(new) and all(
                self._equal(old[key], new[key], depth + 1) for key in old
            )
        return False

    def _kept(self, tensor: Tensor) -> bool:
        """Whether a tensor holds what it held."""
        storage = _storage(tensor)
        if storage not in self._before:
            return True
        pairs = zip(self._tensors[storage], self._before[storage], strict=True)
        return all(torch.equal(now, copy) for now, copy in pairs)

    def _note(self, item: Any, depth: int = 0) -> None:
        if isinstance(item, Tensor):
            storage = _storage(item)
            if storage is not None:
                self._tensors.setdefault(storage, []).append(item)
        elif isinstance(item, np.ndarray):
            self._contents.setdefault(id(item), (item, item.copy()))
        elif isinstance(item, (*CONTAINERS, tuple)) and id(item) not in self._contents:
            if not isinstance(item, tuple):
                self._contents[id(item)] = (item, _copied(item))
            for part in item.values() if isinstance(item, dict) else item:
                if depth < 4:
                    self._note(part, depth + 1)

    # While forward runs

    def version(self, tensor: Tensor) -> int:
        """How often forward changed a tensor in place, by whatever way."""
        return self._writes.get(_storage(tensor) or 0, 0)

    def is_state(self, item: Any) -> bool:
        """Whether a tensor is what a neuron holds as its state."""
        if not isinstance(item, Tensor) or (storage := _storage(item)) is None:
            return False
        return any(
            isinstance(held[name], Tensor) and _storage(held[name]) == storage
            for neuron in self.neurons
            for held in places(neuron)
            for name in _state_names(neuron) & held.keys()
        )

    @contextlib.contextmanager
    def sleeping(self, asleep: bool = True) -> Iterator[None]:
        """While an adapter reads (or, inside of that, a forward is traced again)."""
        before, self.asleep = self.asleep, asleep
        try:
            yield
        finally:
            self.asleep = before

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not self.asleep:
            self._seen(func, args, kwargs)
        return func(*args, **kwargs)

    def _seen(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        name = func._schema.name.rpartition("::")[2]
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise UnsupportedError(f"{name}: {_DRAWS}")
        places_ = func._schema.arguments
        given = [*zip(places_, args, strict=False)]
        given += [(place, kwargs[place.name]) for place in places_ if place.name in kwargs]
        for place, item in given:
            alias = place.alias_info
            for tensor in item if isinstance(item, tuple | list) else [item]:
                if not isinstance(tensor, Tensor) or name in BLIND:
                    continue
                if alias is not None and alias.is_write:
                    self._written(tensor)
                elif alias is None and self.is_state(tensor):
                    raise state_read(name)

    def _written(self, tensor: Tensor) -> None:
        storage = _storage(tensor)
        if storage is None:
            return
        if storage in self._tensors and storage not in self._before:
            self._before[storage] = [item.detach().clone() for item in self._tensors[storage]]
        self._writes[storage] = self._writes.get(storage, 0) + 1


_DRAWS = (
    "forward draws random or unset numbers, expected the same at every step; make them once and "
    "keep them in a buffer"
)


def state_read(where: str) -> UnsupportedError:
    """The error for a neuron's state that forward computes with."""
    return UnsupportedError(
        f"{where}: computes with the state that a neuron holds, expected its output alone; a "
        "membrane is read by the readouts last_v and max_v"
    )


def places(module: nn.Module) -> list[dict[str, Any]]:
    """Where a neuron may keep its states."""
    return [module.__dict__, module._buffers, module.__dict__.get("_memories", {})]


def put(module: nn.Module, name: str, item: Any) -> None:
    """Sets an attribute of a module, whatever it is."""
    for held in (module._parameters, module._buffers, module._modules):
        if name in held:
            held[name] = item
            return
    module.__dict__[name] = item


def _state_names(module: nn.Module) -> set[str]:
    return {*NAMES, "_memories", *module.__dict__.get("_memories", {})}


def _storage(tensor: Tensor) -> int | None:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError, ValueError):
        # Sparse ones, those of lazy layers and the like.
        return None


def _copied(item: Any) -> Any:
    return dict(item) if isinstance(item, dict) else set(item) if isinstance(item, set) else [*item]


def _refill(container: Any, content: Any) -> None:
    if isinstance(container, np.ndarray):
        if container.flags.writeable:
            container[...] = content
        return
    container.clear()
    container.extend(content) if hasattr(container, "extend") else container.update(content)


def _random() -> tuple[Any, Any]:
    return np.random.get_state(), random.getstate()  # noqa: NPY002


def _alike(one: Any, other: Any) -> bool:
    """Whether tuples and arrays of numpy hold the same."""
    if isinstance(one, tuple):
        return all(_alike(a, b) for a, b in zip(one, other, strict=True))
    return bool(np.array_equal(one, other))
