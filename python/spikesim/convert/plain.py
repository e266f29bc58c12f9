"""Refusing modules whose call is more than their class says: hooks, methods set on an instance.

An adapter reads the class and the weights. What a hook or a method of one module adds to them
would be lost without a word.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Container, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import prune

from spikesim.errors import UnsupportedError

# Re-parametrisations that set `weight` anew before each call, by the class of their hook.
WEIGHT_HOOKS = {
    "WeightNorm": "torch.nn.utils.remove_weight_norm",
    "SpectralNorm": "torch.nn.utils.remove_spectral_norm",
}


def check_plain(module: nn.Module, path: str, *, leaf: bool) -> None:
    """Refuses a module that its class does not describe.

    Args:
        module: a module that is called.
        path: its name.
        leaf: whether an adapter reads it, so that none of its methods is looked at; the methods
            of the others, but for forward, take part in the tracing.
    """
    check_hooks(module, path)
    own = [name for name, item in module.__dict__.items() if _replaces(module, name, item)]
    for name in own if leaf else [name for name in own if name == "forward"]:
        raise UnsupportedError(
            f"{path}: {name} was set on this {type(module).__name__} itself, expected the method "
            "of its class; write a class with a forward of its own"
        )


def wrapped(module: nn.Module) -> nn.Module | None:
    """The module inside a wrapper of torch.compile or DataParallel; None: this is none."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner: nn.Module = module.module
        return inner
    # Not by its class, which is imported only where something was compiled.
    return getattr(module, "_orig_mod", None)


def unwrapped(module: nn.Module, path: str) -> nn.Module:
    """The module that wrappers only hand their input on to.

    Raises:
        UnsupportedError: a compiled script, which has no forward to read any more.
    """
    while (inner := wrapped(module)) is not None:
        check_hooks(module, path or type(inner).__name__)
        module = inner
    if isinstance(module, torch.jit.ScriptModule):
        name = getattr(module, "original_name", type(module).__name__)
        raise UnsupportedError(
            f"{path or name}: {name} is compiled to a script, expected a Python module; pass the "
            "module that it was made from"
        )
    return module


def library_class(
    module: nn.Module, names: Container[str], package: str, methods: Iterable[str]
) -> type | None:
    """The class of a library that a module is of, if its own class keeps these methods.

    Args:
        module: the module; its class may derive from the library's.
        names: names of the library's classes.
        package: where they are defined.
        methods: what makes their step.
    """
    cls = type(module)
    for base in cls.__mro__:
        if base.__name__ in names and base.__module__.startswith(package):
            kept = all(getattr(cls, m, None) is getattr(base, m, None) for m in methods)
            return base if kept else None
    return None


def check_hooks(module: nn.Module, path: str) -> None:
    """Refuses a module with hooks on its call."""
    for hook in module._forward_pre_hooks.values():
        _refuse_pre_hook(hook, path)
    for hook in module._forward_hooks.values():
        if _counts_alone(hook):
            continue
        raise UnsupportedError(
            f"{path}: the forward hook {_name(hook)} may change the output, expected no hook; "
            "remove the hook first"
        )


def _counts_alone(hook: Any) -> bool:
    """Whether this is one of the two hooks of Sinabs' counter: they note sizes and sums and return
    nothing, so that the output stays."""
    counter = sys.modules.get("sinabs.synopcounter")
    return counter is not None and any(
        hook is getattr(counter, name, None) for name in ("synops_hook", "spiking_hook")
    )


def _refuse_pre_hook(hook: Any, path: str) -> None:
    name = type(hook).__name__
    if name in WEIGHT_HOOKS:
        raise UnsupportedError(
            f"{path}: {name} sets the weight anew at every call, expected a plain weight; call "
            f"{WEIGHT_HOOKS[name]} first"
        )
    if isinstance(hook, prune.BasePruningMethod):
        tensor = getattr(hook, "_tensor_name", "weight")
        raise UnsupportedError(
            f"{path}: {name} prunes the {tensor} anew at every call, expected a plain {tensor}; "
            f'call torch.nn.utils.prune.remove(module, "{tensor}") first'
        )
    # A lazy layer's own: it has no weights yet, which its adapter says.
    if getattr(hook, "__func__", None) is LazyModuleMixin._infer_parameters:
        return
    raise UnsupportedError(
        f"{path}: the forward pre-hook {_name(hook)} may change the input or the weights, "
        "expected no hook; remove the hook first"
    )


def _replaces(module: nn.Module, name: str, item: Any) -> bool:
    return callable(item) and inspect.isfunction(getattr(type(module), name, None))


def _name(hook: Any) -> str:
    return getattr(hook, "__name__", type(hook).__name__)
