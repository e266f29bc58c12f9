"""Activations of an ANN: what they compute, and how the walker of `from_torch` notes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spikesim import ops
from spikesim.convert.symbols import Kind, Value
from spikesim.errors import GraphError, UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.build import Builder

SPIKING = ("relu", "leaky_relu", "qcfs")
"""The kinds that a population of spiking neurons stands for."""

# Kept where they are last: the largest output stays the largest.
SOFTMAX = ("softmax", "log_softmax")

OTHERS = (
    *("sigmoid", "tanh", "gelu", "silu", "elu", "selu", "celu", "mish", "softplus", "softsign"),
    *("hardsigmoid", "hardswish", "hardshrink", "softshrink", "tanhshrink", "logsigmoid"),
    *("prelu", "rrelu", "glu", "threshold", "softmin", "hardtanh", "clamp"),
)
"""Kinds that no population stands for; noted, to be named all at once."""

# Classes of torch.nn by the names of their functions.
_MODULES = {
    name.replace("_", ""): name
    for name in ("relu", "relu6", "leaky_relu", *SOFTMAX, *OTHERS)
    if name != "clamp"
} | {"softmax2d": "softmax"}


@dataclass(frozen=True)
class Activation:
    """One activation of an ANN, in the place of which neurons come.

    Attributes:
        name: of its node.
        kind: "relu" (with `ceiling` also ReLU6 and hardtanh from 0), "leaky_relu", "qcfs",
            "softmax", or one of OTHERS.
        module: its path among the module's; None: a function called in a forward.
        where: "file.py:12: line" of a function's call.
        slope: of a leaky ReLU below 0.
        ceiling: largest value, where it has one.
        scale: λ of a QCFS.
        levels: L of a QCFS.
        phi: shift φ of a QCFS.
        twice: whether its module has been called before in the same forward.
    """

    name: str
    kind: str
    module: str | None
    where: str | None = None
    slope: float = 0.0
    ceiling: float = math.inf
    scale: float = 0.0
    levels: int = 0
    phi: float = 0.0
    twice: bool = False

    def __call__(self, z: Tensor) -> Tensor:
        """The activation of a pre-activation, element by element."""
        if self.kind == "leaky_relu":
            return torch.where(z >= 0, z, z * self.slope)
        if self.kind == "qcfs":
            levels = torch.floor(z * (self.levels / self.scale) + self.phi)
            return levels.clamp(0, self.levels) * (self.scale / self.levels)
        return z.clamp(0.0, self.ceiling)

    @property
    def most(self) -> float:
        """Its largest value: what a neuron that fires at every step may stand for, at most."""
        return self.scale if self.kind == "qcfs" else self.ceiling

    def describe(self) -> str:
        """In words, for reports."""
        what = {"qcfs": f"QCFS(L={self.levels})", "leaky_relu": f"leaky ReLU({self.slope:g})"}
        text = what.get(self.kind, "ReLU")
        return text if math.isinf(self.ceiling) else f"{text} up to {self.ceiling:g}"


@dataclass
class Activations:
    """What a walk finds; an attribute of the builder where an ANN is read."""

    found: dict[str, Activation] = field(default_factory=dict)
    _called: set[str] = field(default_factory=set)

    def module(self, builder: Builder, module: nn.Module, path: str, value: Value) -> Value | None:
        """What a module of torch.nn or QCFS gives; None: it is no activation."""
        given: Any = module
        kind = _kind_of(type(module))
        if kind is None:
            return None
        one = Activation("", kind, path, twice=path in self._called)
        self._called.add(path)
        if kind == "leaky_relu":
            one = replace(one, slope=float(given.negative_slope))
        elif kind == "relu6":
            one = replace(one, kind="relu", ceiling=6.0)
        elif kind == "hardtanh" and given.min_val == 0:
            one = replace(one, kind="relu", ceiling=float(given.max_val))
        elif kind == "qcfs":
            scale = float(given.scale().detach())
            one = replace(one, scale=scale, levels=given.L, phi=float(given.phi))
        return self._add(builder, path, value, one)

    def function(
        self,
        builder: Builder,
        path: str,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Value | None:
        """What a function or method gives; None: it is no activation."""
        kind = name.strip("_")
        if not args or not isinstance(args[0], Value):
            return None
        if kind not in (*SPIKING[:2], *SOFTMAX, *OTHERS, "relu6", "clamp_min"):
            return None
        from spikesim.convert.trace import place_here

        one = Activation("", kind, None, place_here())
        if kind == "leaky_relu":
            one = replace(one, slope=float(_argument(args, kwargs, 1, "negative_slope", 0.01)))
        elif kind == "relu6":
            one = replace(one, kind="relu", ceiling=6.0)
        elif kind in ("hardtanh", "clamp", "clamp_min"):
            names = ("min_val", "max_val") if kind == "hardtanh" else ("min", "max")
            low, high = (_argument(args, kwargs, 1 + i, names[i], None) for i in range(2))
            if low == 0 and (high is None or high > 0):
                one = replace(one, kind="relu", ceiling=math.inf if high is None else float(high))
            else:
                one = replace(one, kind="clamp")
        return self._add(builder, path, args[0], one)

    def _add(self, builder: Builder, path: str, value: Value, one: Activation) -> Value:
        if one.kind == "leaky_relu" and not 0 <= one.slope < 1:
            raise UnsupportedError(
                f"{path}: leaky ReLU has slope {one.slope:g}, expected at least 0 and below 1"
            )
        if one.kind == "leaky_relu" and one.slope == 0:
            one = replace(one, kind="relu")
        if one.kind == "qcfs" and not (one.scale > 0 and math.isfinite(one.scale)):
            raise GraphError(f"{path}: scale of QCFS is {one.scale}, expected a number above 0")
        # A stand-in: neurons come here when it is known how they have to be.
        made = builder.add(ops.IF(), path, value, kind=Kind.SPIKES, signed=one.kind == "leaky_relu")
        self.found[made.name] = replace(one, name=made.name)
        return made


def _kind_of(cls: type) -> str | None:
    if cls.__module__ == "torch.nn.modules.activation":
        return _MODULES.get(cls.__name__.lower())
    if cls.__name__ == "QCFS" and cls.__module__.startswith("spikesim.train"):
        return "qcfs"
    return None


def _argument(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], place: int, name: str, default: Any
) -> Any:
    return args[place] if len(args) > place else kwargs.get(name, default)
