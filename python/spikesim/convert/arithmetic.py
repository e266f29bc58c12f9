"""Additions, factors and joins in a traced forward.

A sum of two values is an `Add`, a constant factor a `Scale`, a constant summand the shift of a
`BatchNorm` whose factor is one: each rounds as torch does. A division by c is the factor 1/c in
float32, which is exact for powers of two.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from spikesim import ops
from spikesim.convert import products
from spikesim.convert.build import population
from spikesim.convert.functional import Call, axis, lead_axis, unknown, value, without_time
from spikesim.convert.symbols import Membrane, Pile, Sequence, Value

NUMBER = int | float | Tensor


def add(call: Call) -> Any:
    """left + alpha·right."""
    given = call.bind("input", "other", "alpha", alpha=1)
    return plus(call, given["input"], given["other"], given["alpha"])


def sub(call: Call) -> Any:
    """left - alpha·right."""
    given = call.bind("input", "other", "alpha", alpha=1)
    rest = products.complement(given["input"], given["other"], given["alpha"])
    return rest or plus(call, given["input"], given["other"], -given["alpha"])


def rsub(call: Call) -> Any:
    """right - alpha·left."""
    given = call.bind("input", "other", "alpha", alpha=1)
    rest = products.complement(given["other"], given["input"], given["alpha"])
    return rest or plus(call, given["other"], given["input"], -given["alpha"])


def mul(call: Call) -> Any:
    """A product with a constant, or of spikes."""
    given = call.bind("input", "other")
    left, right = given["input"], given["other"]
    both = products.product(call, left, right)
    if both is not None:
        return both
    if isinstance(left, NUMBER):
        left, right = right, left
    if not isinstance(right, NUMBER):
        _two(call, left, right, "multiplies")
    return times(call, value(call, left), right)


def div(call: Call) -> Any:
    """A division by a constant."""
    given = call.bind("input", "other", "rounding_mode", rounding_mode=None)
    left, right = given["input"], given["other"]
    if given["rounding_mode"] is not None:
        raise call.refused(f"rounds ({given['rounding_mode']}), expected a plain division")
    if not isinstance(right, NUMBER):
        if isinstance(left, NUMBER):
            raise call.refused("divides a constant by a value, expected a value by a constant")
        _two(call, left, right, "divides")
    left = value(call, left)
    divisor = right.detach().double() if isinstance(right, Tensor) else float(right)
    zero = bool((divisor == 0).any()) if isinstance(divisor, Tensor) else divisor == 0
    if zero:
        raise call.refused("divides by 0, expected another number")
    return times(call, left, 1.0 / divisor)


def neg(call: Call) -> Value:
    """The negative."""
    return times(call, value(call, call.bind("input")["input"]), -1)


def cat(call: Call) -> Any:
    """A join along an axis of a sample."""
    given = call.bind("tensors", "dim", "axis", dim=0, axis=None)
    if given["axis"] is not None:
        given["dim"] = given["axis"]
    values = [value(call, item) for item in given["tensors"]]
    if not values:
        raise call.refused("joins nothing, expected at least one output of a layer")
    if len(values) == 1:
        return values[0]
    where = axis(call, given["dim"], values[0])
    return call.walker.builder.add(ops.Concat(axis=where), call.path, *values)


def stack(call: Call) -> Any:
    """Values of one step on a new axis, to be added up; what a loop of one step recorded."""
    given = call.bind("tensors", "dim", dim=0)
    items = list(given["tensors"])
    if not items:
        raise call.refused("stacks nothing, expected at least one output of a layer")
    if len(items) == 1 and isinstance(items[0], Value | Membrane):
        item = items[0]
        neuron = item.neuron if isinstance(item, Membrane) else item
        if neuron.step is not None:
            rank = 2 + len(neuron.shape)
            return Sequence(item, 1, lead_axis(call, given["dim"], rank))
    values = tuple(value(call, item) for item in items)
    if any(v.shape != values[0].shape for v in values):
        raise call.refused("stacks values of several shapes, expected one shape")
    if given["dim"] == 0 and set(values) == {values[0]} and without_time(call.walker, values[0]):
        return call.walker.builder.repeated(values[0], len(values), call.path)
    if given["dim"] != 0 or call.walker.lead_of(values[0]) != 1:
        raise call.refused(
            f"stacks on axis {given['dim']}, expected axis 0 and a sum or mean over it; use "
            "torch.cat on channels"
        )
    return Pile(values)


def pile_sum(call: Call, pile: Pile, name: str) -> Value:
    """torch.stack([...]).sum(0), or mean(0)."""
    total = pile.values[0]
    for other in pile.values[1:]:
        total = plus(call, total, other, 1)
    return total if name == "sum" else times(call, total, 1.0 / len(pile.values))


def plus(call: Call, left: Any, right: Any, alpha: Any) -> Any:
    """left + alpha·right, of which one is a value."""
    if isinstance(left, NUMBER) and not isinstance(right, NUMBER):
        moved = times(call, value(call, right), alpha)
        return shifted(call, moved, left, 1)
    first = value(call, left)
    if isinstance(right, NUMBER):
        return shifted(call, first, right, alpha)
    second = times(call, value(call, right), alpha)
    first, second = _alike(call, first, second)
    if first.name == second.name:
        # An edge may not be there twice; a sum of one keeps the value and its events.
        second = call.walker.builder.add(ops.Add(), call.path, second)
    return call.walker.builder.add(ops.Add(), call.path, first, second)


def times(call: Call, source: Value, factor: Any) -> Value:
    """A value times a constant, which torch rounds to float32 first."""
    if not isinstance(factor, Tensor):
        if not isinstance(factor, int | float):
            raise call.refused(f"has a factor {factor!r}, expected a number")
        if factor == 1:
            return source
        if not math.isfinite(factor):
            raise call.refused(f"has a factor {factor}, expected a finite number")
    scale = _constant(call, factor, source, "factor")
    return call.walker.builder.current(ops.Scale(scale), call.path, source)


def shifted(call: Call, source: Value, summand: Any, alpha: Any) -> Value:
    """A value plus a constant: one number, or one a channel."""
    if isinstance(summand, Tensor):
        summand = summand.detach()
        if alpha != 1:
            summand = summand * alpha
        if not bool(summand.count_nonzero()):
            # Still as large as the sum would be.
            _constant(call, summand, source, "summand")
            return source
    else:
        summand = summand * alpha
        if summand == 0:
            return source
    values = _constant(call, summand, source, "summand")
    channels = source.shape[0]
    if values.ndim == 0:
        values = np.full(channels, values, np.float32)
    elif values.shape == source.shape:
        flat = values.reshape(channels, -1)
        if not (flat == flat[:, :1]).all():
            raise call.refused(
                f"adds a constant of shape {source.shape}, expected one number or one a channel; "
                "use a bias"
            )
        values = np.ascontiguousarray(flat[:, 0])
    one, zero = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    shift = ops.BatchNorm(one, values, zero, one, eps=0.0)
    return call.walker.builder.current(shift, call.path, source)


def _constant(call: Call, item: Any, source: Value, what: str) -> Any:
    """A constant as (), (C,) or the source's shape; torch must not make the result larger."""
    if isinstance(item, Tensor):
        lead = tuple(item.shape[: max(0, item.ndim - len(source.shape))])
        if any(size != 1 for size in lead):
            raise call.refused(
                f"has a {what} of shape {tuple(item.shape)}, expected one that acts on each "
                f"sample of shape {source.shape} alike"
            )
        if item.numel() == 1 and item.ndim > call.walker.lead_of(source) + len(source.shape):
            raise call.refused(f"has a {what} with more axes than the value, expected no more")
    return population(item, source.shape, call.path, what)


def _alike(call: Call, first: Value, second: Value) -> tuple[Value, Value]:
    """Two values of one shape; a map of one place is repeated as torch's broadcasting does."""
    if first.shape == second.shape:
        return first, second
    large, small = (
        (first, second) if math.prod(first.shape) >= math.prod(second.shape) else (second, first)
    )
    spread = len(large.shape) == 3 and small.shape == (large.shape[0], 1, 1)
    if not spread:
        raise call.refused(
            f"adds shapes {first.shape} and {second.shape}, expected equal ones; broadcasting is "
            "supported from (C, 1, 1) alone"
        )
    repeat = ops.Upsample((large.shape[1], large.shape[2]))
    wide = call.walker.builder.add(repeat, call.path, small)
    return (first, wide) if small is second else (wide, second)


def _two(call: Call, left: Any, right: Any, does: str) -> None:
    """Refuses a product of two values."""
    for item in (left, right):
        if not isinstance(item, Value | NUMBER):
            raise unknown(call, call.path.rpartition(".")[2])
    raise call.refused(
        f"{does} two values, expected a value and a constant; a product of two layers' outputs "
        "has no counterpart"
    )
