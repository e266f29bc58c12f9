"""Products of spikes: what SEW ResNets call AND and IAND.

Of values that are 0 or 1, `x·y` is 1 where `x + y` reaches 2, and `x·(1 - y)` where `x - y` reaches
1: a population without memory says each exactly. Its neurons count as such.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spikesim import ops
from spikesim.convert.build import Value

if TYPE_CHECKING:
    from spikesim.convert.functional import Call


@dataclass(frozen=True)
class Complement:
    """1 - x of a value of zeros and ones: a factor of a product, and nothing else."""

    value: Value


def complement(call: Call) -> Any:
    """`1 - x`; NotImplemented for any other difference."""
    given = call.bind("input", "other", "alpha", alpha=1)
    one, value = given["input"], given["other"]
    plain = isinstance(one, int | float) and one == given["alpha"] == 1
    return Complement(value) if plain and _binary(value) else NotImplemented


def product(call: Call) -> Any:
    """`x * y` and `x * (1 - y)`; NotImplemented for any other product."""
    given = call.bind("input", "other")
    left, right = given["input"], given["other"]
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
    return NotImplemented


def _binary(item: Any) -> bool:
    return isinstance(item, Value) and item.binary


def _check_shapes(call: Call, left: Value, right: Value) -> None:
    if left.shape != right.shape:
        raise call.refused(f"multiplies shapes {left.shape} and {right.shape}, expected equal ones")
