"""Products of spikes: what SEW ResNets call AND and IAND.

Of values that are 0 or 1, `x·y` is 1 where `x + y` reaches 2, and `x·(1 - y)` where `x - y` reaches
1: a population without memory says each exactly. Its neurons count as such.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from spikesim import ops
from spikesim.convert.symbols import Complement, Value

if TYPE_CHECKING:
    from spikesim.convert.build import Builder
    from spikesim.convert.functional import Call


def complement(one: Any, value: Any, alpha: Any) -> Complement | None:
    """What `one - alpha·value` is where it is 1 - x of zeros and ones; None for any other."""
    plain = isinstance(one, int | float) and one == alpha == 1
    return Complement(value) if plain and _binary(value) else None


def product(call: Call, left: Any, right: Any) -> Value | None:
    """`x * y` and `x * (1 - y)`; None for any other product."""
    if isinstance(left, Complement):
        left, right = right, left
    builder = call.walker.builder
    fields: dict[str, Any] = {"alpha_mem": 0.0, "reset": "none"}
    if _binary(left) and _binary(right):
        _check_shapes(call, left, right)
        if left.name == right.name:
            return left
        op = ops.Neuron(2.0, **fields, meta={"function": "and"})
        return builder.spiking(op, call.path, left, right)
    if _binary(left) and isinstance(right, Complement):
        _check_shapes(call, left, right.value)
        minus = builder.current(ops.Scale(-1.0), f"{call.path}.minus", right.value)
        op = ops.Neuron(1.0, **fields, meta={"function": "and not"})
        return builder.spiking(op, call.path, left, minus)
    return None


def plain(builder: Builder, path: str, item: Complement) -> Value:
    """`1 - x` as a value, where it is more than a factor; made once."""
    source = item.value
    made = builder.complements.get(source.name)
    if made is None:
        minus = builder.current(ops.Scale(-1.0), f"{path}.minus", source)
        one, zero = np.ones(source.shape[0], np.float32), np.zeros(source.shape[0], np.float32)
        shift = ops.BatchNorm(one, one, zero, one, eps=0.0)
        made = builder.current(shift, f"{path}.one_minus", minus)
        builder.complements[source.name] = made
    return replace(made, step=source.step)


def _binary(item: Any) -> TypeGuard[Value]:
    return isinstance(item, Value) and item.binary


def _check_shapes(call: Call, left: Value, right: Value) -> None:
    if left.shape != right.shape:
        raise call.refused(f"multiplies shapes {left.shape} and {right.shape}, expected equal ones")
