"""Shapes in a traced forward: what merges axes is a `Flatten`, what moves none is nothing at all.

A network has no node that splits an axis or moves one; such calls are refused.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from spikesim import ops
from spikesim.convert.functional import PART, Call, axis, leads, value, without_time
from spikesim.convert.symbols import MERGED, Lead, Membrane, Pile, State, Value

SAME = "leave the axes as they are"


def reshaped(call: Call, source: Value, shape: tuple[int, ...]) -> Value:
    """The same numbers in C order in another shape, if that merges neighbouring axes."""
    have, groups, start = source.shape, [], 0
    for place, size in enumerate(shape):
        end, merged = start, 1
        while end < len(have) and (end == start or merged < size):
            merged *= have[end]
            end += 1
        # Axes of one place go with the axis before them where they are wanted away.
        while end < len(have) and have[end] == 1 and len(have) - end > len(shape) - place - 1:
            end += 1
        if end == start or merged != size:
            break
        groups.append((start, end - 1))
        start = end
    if start != len(have) or len(groups) != len(shape):
        raise call.refused(
            f"reshapes {have} to {shape}, expected axes merged with their neighbours; use "
            "flatten, or layers of the shape that is wanted"
        )
    for first, last in reversed(groups):
        if last > first:
            source = call.walker.builder.add(ops.Flatten(first, last), call.path, source)
    return source


def flatten(call: Call) -> Value:
    """flatten(input, start_dim, end_dim)."""
    given = call.bind("input", "start_dim", "end_dim", start_dim=0, end_dim=-1)
    source = value(call, given["input"])
    rank = 2 + len(source.shape)
    dims = [given["start_dim"], given["end_dim"]]
    whole = all(isinstance(dim, int) and -rank <= dim < rank for dim in dims)
    if whole and call.walker.lead_of(source) == 2 and [dim % rank for dim in dims] == [0, 1]:
        return replace(source, lead=1, merged=True)
    return flattened(call, source, *dims)


def flattened(call: Call, source: Value, start_dim: int, end_dim: int) -> Value:
    """Flatten in torch's axes; nothing where there is only one."""
    start, end = axis(call, start_dim, source), axis(call, end_dim, source)
    if start >= end:
        return source
    return call.walker.builder.add(ops.Flatten(start, end), call.path, source)


def view(call: Call) -> Value:
    """view(sizes) and reshape(sizes)."""
    source = value(call, call.args[0])
    sizes = list(call.args[1:]) or list(call.kwargs.values())
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = list(sizes[0])
    if sizes and isinstance(sizes[0], torch.dtype):
        raise call.refused("reinterprets bytes, expected a change of shape")
    if source.merged and _both(call, sizes[:2]):
        source, sizes[:2] = _apart(call, source), [Lead(0), Lead(1)]
    elif sizes and call.walker.lead_of(source) == 2 and _is_lead(call, sizes[0], Lead(MERGED)):
        source = replace(source, lead=1, merged=True)
    have = leads(call.walker, source)
    lead = len(have)
    head, rest = sizes[:lead], sizes[lead:]
    # (N, -1), (-1, features): the batch may be left to be worked out if a sample is not.
    kept = len(head) == lead and all(
        _is_lead(call, *pair) for pair in zip(head[:-1], have, strict=False)
    )
    open_batch = kept and isinstance(head[-1], int) and head[-1] == -1
    if kept and not open_batch:
        kept = _is_lead(call, head[-1], have[-1])
    if not kept or any(not isinstance(size, int) for size in rest) or rest.count(-1) > 1:
        raise call.refused("reshapes the batch or time axis, expected view(x.shape[0], …)")
    return reshaped(call, source, _open(call, source, rest, may_open=not open_batch))


def unflatten(call: Call) -> Value:
    """unflatten(input, dim, sizes), where it splits nothing."""
    given = call.bind("input", "dim", "sizes")
    source = value(call, given["input"])
    if source.merged and given["dim"] in (0, -1 - len(source.shape)):
        if not _both(call, given["sizes"]):
            raise call.refused(
                "splits batch and time otherwise than they were merged, expected "
                "unflatten(0, (T, N)) with the sizes of the value before; take them of its shape"
            )
        return _apart(call, source)
    return unflattened(call, source, given["dim"], given["sizes"])


def unflattened(call: Call, source: Value, dim: Any, sizes: Any) -> Value:
    """Unflatten in torch's axes."""
    where = axis(call, dim, source)
    rest = [int(size) for size in (sizes if isinstance(sizes, tuple | list) else (sizes,))]
    part = Value(source.name, source.shape[where : where + 1], source.kind)
    split = _open(call, part, rest, may_open=True)
    return reshaped(call, source, (*source.shape[:where], *split, *source.shape[where + 1 :]))


def squeeze(call: Call) -> Value:
    """squeeze(input, dim), of axes of one place."""
    given = call.bind("input", "dim", dim=None)
    source = value(call, given["input"])
    dims = given["dim"]
    if dims is None:
        raise call.refused(
            "squeezes every axis, the batch of one sample too, expected axes by number; name them"
        )
    dims = dims if isinstance(dims, tuple | list) else (dims,)
    gone = {axis(call, dim, source) for dim in dims}
    shape = tuple(n for i, n in enumerate(source.shape) if i not in gone or n != 1)
    return reshaped(call, source, shape)


def unsqueeze(call: Call) -> Any:
    """unsqueeze(input, 0): one value on a new axis, to be joined with others."""
    given = call.bind("input", "dim")
    source = value(call, given["input"])
    lead = call.walker.lead_of(source)
    rank = lead + len(source.shape) + 1
    if lead == 1 and isinstance(given["dim"], int) and given["dim"] in (0, -rank):
        return Pile((source,))
    raise call.refused(f"adds an axis to {source.shape}, expected its own axes; {SAME}")


def permute(call: Call) -> Value:
    """permute(input, dims), where no axis of more than one place moves."""
    source = value(call, call.args[0])
    dims = list(call.args[1:]) or list(call.kwargs.values())
    if len(dims) == 1 and isinstance(dims[0], tuple | list):
        dims = list(dims[0])
    return _moved(call, source, dims)


def transpose(call: Call) -> Value:
    """transpose(input, dim0, dim1), where no axis of more than one place moves."""
    given = call.bind("input", "dim0", "dim1")
    source = value(call, given["input"])
    rank = call.walker.lead_of(source) + len(source.shape)
    dims = list(range(rank))
    first, second = given["dim0"], given["dim1"]
    if not all(isinstance(dim, int) and -rank <= dim < rank for dim in (first, second)):
        raise call.refused(f"swaps axes {first} and {second}, expected two of {rank}")
    dims[first], dims[second] = dims[second], dims[first]
    return _moved(call, source, dims)


def shape(call: Call) -> Any:
    """size(), size(dim): plain numbers but for the batch and time axes."""
    given = call.bind("input", "dim", dim=None)
    source = value(call, given["input"])
    sizes = (*leads(call.walker, source), *source.shape)
    return sizes if given["dim"] is None else sizes[given["dim"]]


def rank(call: Call) -> int:
    """dim()."""
    source = value(call, call.args[0])
    return call.walker.lead_of(source) + len(source.shape)


def attribute(call: Call) -> Any:
    """What code reads of a tensor without calling it."""
    item, name = call.args
    if name == "shape":
        return shape(Call(call.walker, call.path, (item,), {}))
    if name == "ndim":
        return rank(Call(call.walker, call.path, (item,), {}))
    if name == "data":
        return item
    return {
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "layout": torch.strided,
        "requires_grad": False,
        "is_cuda": False,
    }[name]


def getitem(call: Call) -> Any:
    """Indexing; only what takes the whole."""
    item, index = call.args
    if isinstance(item, State):
        raise call.refused(
            f"indexes the argument {item.name!r} of forward, expected one argument for each state"
        )
    if isinstance(item, Membrane):
        value(call, item)
    if isinstance(item, Pile):
        raise call.refused("indexes a stack of values, expected a sum or mean over it")
    source = value(call, item)
    whole = [index] if not isinstance(index, tuple) else list(index)
    if all(part is Ellipsis or part == slice(None) for part in whole if _plain(part)) and all(
        _plain(part) for part in whole
    ):
        return source
    first = whole[0]
    if isinstance(first, int) or (len(whole) > 1 and isinstance(whole[1], int)):
        raise call.refused(
            "indexes the output of a layer along a leading axis, expected it whole; if that is "
            "time, name the number of steps by n_steps"
        )
    raise call.refused(f"indexes the output of a layer, expected it whole; {PART}")


def iterate(call: Call) -> Any:
    """A loop over the leading axis."""
    value(call, call.args[0])
    raise call.refused(
        "iterates over the leading axis of a tensor, expected a loop over steps; if that axis is "
        "time, name the number of steps by n_steps"
    )


def _plain(part: Any) -> bool:
    return part is Ellipsis or isinstance(part, slice)


def _is_lead(call: Call, item: Any, lead: Lead) -> bool:
    if isinstance(item, Lead):
        return item == lead
    # The steps of a repeated input are known.
    steps = call.walker.builder.repeats
    timed = call.walker.lead == 2 and lead.axis == call.walker.time_axis
    return timed and isinstance(item, int) and item == steps


def _both(call: Call, sizes: Any) -> bool:
    """Whether these are the sizes of the two axes that were merged, of which one may be -1."""
    if not isinstance(sizes, tuple | list) or len(sizes) != 2:
        return False
    fits = [_is_lead(call, item, Lead(i)) for i, item in enumerate(sizes)]
    opened = [isinstance(item, int) and item == -1 for item in sizes]
    return any(fits) and all(fit or free for fit, free in zip(fits, opened, strict=True))


def _apart(call: Call, source: Value) -> Value:
    """Batch and time as two axes again."""
    return replace(source, lead=None if call.walker.lead == 2 else 2, merged=False)


def repeat(call: Call) -> Value:
    """x.unsqueeze(0).repeat(T, 1, …) or expand(T, -1, …): an input (N, …) in each of T steps."""
    item = call.args[0]
    sizes = list(call.args[1:]) or list(call.kwargs.values())
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = list(sizes[0])
    lone = isinstance(item, Pile) and len(item.values) == 1
    source = item.values[0] if lone else value(call, item)
    steps, rest = (sizes[0], sizes[1:]) if sizes else (0, [])
    expands = call.path.rpartition(".")[2] == "expand"
    kept = [*leads(call.walker, source), *source.shape]
    same = len(rest) == len(kept) and all(
        _keeps(size, have, expands) for size, have in zip(rest, kept, strict=True)
    )
    known = isinstance(steps, int) and steps > 0
    if not (known and same and without_time(call.walker, source)):
        shown = ", ".join("N" if isinstance(size, Lead) else str(size) for size in sizes)
        raise call.refused(
            f"repeats a value as ({shown}), expected the input (N, …) of a multi-step module "
            "repeated on a new first axis for a number of steps; pass the input without it"
        )
    return call.walker.builder.repeated(source, steps, call.path)


def _open(call: Call, source: Value, sizes: list[int], *, may_open: bool) -> tuple[int, ...]:
    """Sizes with -1 worked out."""
    count = math.prod(source.shape)
    known = math.prod(size for size in sizes if size != -1)
    if -1 in sizes and may_open and known and count % known == 0:
        sizes = [count // known if size == -1 else size for size in sizes]
    if -1 in sizes or math.prod(sizes) != count:
        raise call.refused(
            f"reshapes {source.shape} to {tuple(sizes)}, expected as many numbers in a sample"
        )
    return tuple(sizes)


def _moved(call: Call, source: Value, dims: list[Any]) -> Value:
    lead = call.walker.lead_of(source)
    count = lead + len(source.shape)
    fits = all(isinstance(dim, int) and -count <= dim < count for dim in dims)
    dims = [dim % count for dim in dims] if fits else []
    if sorted(dims) != list(range(count)):
        raise call.refused(f"has axes {dims}, expected each of {count} once")
    inner = [dim - lead for dim in dims[lead:]]
    long = [dim for dim in inner if dim >= 0 and source.shape[dim] != 1]
    if dims[:lead] != list(range(lead)) or long != sorted(long):
        raise call.refused(f"moves an axis of {source.shape}, expected its own order; {SAME}")
    return reshaped(call, source, tuple(source.shape[dim] for dim in inner))


def _keeps(size: Any, have: Any, expands: bool) -> bool:
    """Whether repeat or expand leaves an axis as it is."""
    if isinstance(size, Lead):
        return expands and isinstance(have, Lead) and size == have
    if expands and size == -1:
        return True
    return bool(size == (have if expands and isinstance(have, int) else 1)) and (
        not expands or isinstance(have, int)
    )
