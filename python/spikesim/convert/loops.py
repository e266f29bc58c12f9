"""Several steps at once: what a loop over time recorded, added up, or goes through."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from spikesim.convert.functional import Call, lead_axis, unknown
from spikesim.convert.symbols import (
    Lead,
    Membrane,
    OverTime,
    Pile,
    Sequence,
    Total,
    Value,
    leaves,
    step_of,
)

IN_LOOP = "call layers in the loop, on one step at a time"


def lower(call: Call, name: str) -> Any:
    """What a call returns that is given more than one step."""
    handler = HANDLERS.get(name)
    if handler is not None:
        return handler(call)
    several = leaves((call.args, call.kwargs), (Sequence, Total))
    if not several and not any(isinstance(s, Value) for s in leaves((call.args, call.kwargs))):
        raise unknown(call, name)
    what = "all steps at once" if several else "values of different steps"
    raise call.refused(f"{name}() is given {what}, expected those of one step; {IN_LOOP}")


def add(call: Call) -> Any:
    """A running sum: step k is added to the sum of those before it."""
    given = call.bind("input", "other", "alpha", alpha=1)
    left, right = given["input"], given["other"]
    if isinstance(right, Total):
        left, right = right, left
    if given["alpha"] == 1 and isinstance(right, Value) and isinstance(left, Value | Total):
        total = left.value if isinstance(left, Total) else left
        count = left.count if isinstance(left, Total) else 1
        first = isinstance(left, Total) or left.step == 0
        if first and total.name == right.name and right.step == count:
            return Total(dataclasses.replace(total, step=None), count + 1)
    if isinstance(left, Total) and isinstance(right, int | float) and right == 0:
        return left
    raise call.refused(
        "adds values of different steps, expected a running sum of one value over all of them; "
        "connect what goes from one step to the next with ss.Network"
    )


def div(call: Call) -> Any:
    """A running sum divided by the number of steps."""
    given = call.bind("input", "other")
    total, count = given["input"], given["other"]
    if isinstance(total, OverTime) and total.readout == "sum":
        total = Total(total.value, total.count or 0)
    if isinstance(total, Total) and isinstance(count, int | float) and count == total.count:
        return OverTime(total.value, "mean", total.count)
    raise call.refused(
        "divides what belongs to several steps, expected a sum over all steps divided by their "
        "number"
    )


def stack(call: Call) -> Any:
    """The list of one thing's values in every step."""
    given = call.bind("tensors", "dim", dim=0)
    return _recorded(call, list(given["tensors"]), given["dim"])


def cat(call: Call) -> Any:
    """The same with `unsqueeze(0)` in each step."""
    given = call.bind("tensors", "dim", dim=0)
    items: list[Any] = []
    for item in given["tensors"]:
        if not isinstance(item, Pile) or len(item.values) != 1:
            raise call.refused(
                "joins values of different steps, expected those of one step; record them with "
                "torch.stack"
            )
        items.append(item.values[0])
    return _recorded(call, items, given["dim"])


def _recorded(call: Call, items: list[Any], dim: Any) -> Sequence:
    names = {(type(item), _value(item).name) for item in items if _value(item) is not None}
    steps = [step_of(item) for item in items]
    if len(names) != 1 or any(_value(item) is None for item in items):
        raise call.refused("records different things, expected one thing in every step")
    if steps != list(range(len(items))):
        raise call.refused(
            f"records the steps {_shown(steps)}, expected every step once and in order"
        )
    item = items[0]
    rank = 2 + len(_value(item).shape)
    constant = _at(item, None)
    return Sequence(constant, len(items), lead_axis(call, dim, rank))


def getitem(call: Call) -> Any:
    """x[t], or x[:, t] where time is the second axis."""
    several, index = call.args
    if not isinstance(several, Sequence):
        raise call.refused("indexes a sum over steps, expected it whole")
    parts = list(index) if isinstance(index, tuple) else [index]
    rank = 2 + len(_value(several.item).shape)
    if Ellipsis in [part for part in parts if part is Ellipsis]:
        at = next(i for i, part in enumerate(parts) if part is Ellipsis)
        parts[at : at + 1] = [slice(None)] * (rank - len(parts) + 1)
    where = several.axis
    step = parts[where] if where < len(parts) else None
    others = parts[:where] + parts[where + 1 :]
    whole = all(isinstance(part, slice) and part == slice(None) for part in others)
    if not isinstance(step, int) or isinstance(step, bool) or not whole:
        raise call.refused(
            f"indexes all steps by {index!r}, expected one step, whole; its time axis is {where}"
        )
    if not -several.count <= step < several.count:
        raise IndexError(f"step {step} of {several.count}")
    return _at(several.item, step % several.count)


def select(call: Call) -> Any:
    """x.select(dim, t)."""
    given = call.bind("input", "dim", "index")
    several = _sequence(call, given["input"])
    if lead_axis(call, given["dim"], len(_shape(several))) != several.axis:
        raise call.refused(f"selects on axis {given['dim']}, expected the time axis {several.axis}")
    index = (*[slice(None)] * several.axis, given["index"])
    return getitem(Call(call.walker, call.path, (several, index), {}))


def iterate(call: Call) -> Any:
    """for x_t in x."""
    (several,) = call.args
    if not isinstance(several, Sequence) or several.axis != 0:
        raise call.refused("iterates over the batch axis, expected the time axis")
    return [_at(several.item, step) for step in range(several.count)]


def unbind(call: Call) -> Any:
    """x.unbind(dim)."""
    given = call.bind("input", "dim", dim=0)
    several = _sequence(call, given["input"])
    if lead_axis(call, given["dim"], 2 + len(_value(several.item).shape)) != several.axis:
        raise call.refused(f"unbinds axis {given['dim']}, expected the time axis {several.axis}")
    return tuple(_at(several.item, step) for step in range(several.count))


def sizes(call: Call) -> Any:
    """size(), size(dim)."""
    given = call.bind("input", "dim", dim=None)
    found = _shape(_sequence(call, given["input"]))
    return found if given["dim"] is None else found[given["dim"]]


def length(call: Call) -> Any:
    """len(x)."""
    first = _shape(_sequence(call, call.args[0]))[0]
    if isinstance(first, Lead):
        raise call.refused("takes the size of the batch, expected that of the time axis")
    return first


def rank(call: Call) -> int:
    """dim()."""
    return len(_shape(_sequence(call, call.args[0])))


def attribute(call: Call) -> Any:
    """x.shape and the like."""
    from spikesim.convert import reshape

    item, name = call.args
    if name in ("shape", "ndim"):
        found = _shape(_sequence(call, item))
        return found if name == "shape" else len(found)
    return reshape.attribute(call)


def transpose(call: Call) -> Any:
    """Batch and time change places."""
    given = call.bind("input", "dim0", "dim1")
    several = _sequence(call, given["input"])
    count = len(_shape(several))
    dims = list(range(count))
    first, second = (lead_axis(call, given[name], count) for name in ("dim0", "dim1"))
    dims[first], dims[second] = dims[second], dims[first]
    return _moved(call, several, dims)


def permute(call: Call) -> Any:
    """Batch and time change places."""
    several = _sequence(call, call.args[0])
    dims = list(call.args[1:]) or list(call.kwargs.values())
    if len(dims) == 1 and isinstance(dims[0], tuple | list):
        dims = list(dims[0])
    count = len(_shape(several))
    return _moved(call, several, [lead_axis(call, dim, count) for dim in dims])


def same(call: Call) -> Any:
    """What changes no number."""
    return call.args[0]


def _over(readout: str) -> Callable[[Call], Any]:
    def handle(call: Call) -> Any:
        given = call.bind("input", "dim", "keepdim", "axis", dim=None, keepdim=False, axis=None)
        several = _sequence(call, given["input"])
        dim = given["dim"] if given["dim"] is not None else given["axis"]
        dim = dim[0] if isinstance(dim, tuple | list) and len(dim) == 1 else dim
        item = several.item
        count = len(_shape(several))
        fits = isinstance(dim, int) and lead_axis(call, dim, count) == several.axis
        wanted = Membrane if readout == "max_v" else Value
        if not fits or given["keepdim"] or not isinstance(item, wanted):
            raise call.refused(
                "reduces all steps, expected spikes or currents summed or averaged, or membranes "
                f"maximised, over the time axis {several.axis} alone"
            )
        result = OverTime(_value(item), readout, several.count)
        # torch.max over an axis returns the places too.
        pair = readout == "max_v" and call.path.rpartition(".")[2] == "max"
        return (result, None) if pair else result

    return handle


def _moved(call: Call, several: Sequence, dims: list[int]) -> Sequence:
    batch = 1 if several.axis == 0 else 0
    place, first = dims.index(several.axis), dims.index(batch)
    rest = [dim for dim in dims if dim not in (several.axis, batch)]
    if several.axis > 1 or sorted((place, first)) != [0, 1] or rest != sorted(rest):
        raise call.refused("moves an axis of a sample, expected batch and time alone to change")
    return dataclasses.replace(several, axis=place)


def _sequence(call: Call, item: Any) -> Sequence:
    if isinstance(item, Sequence):
        return item
    raise call.refused("is given a sum over steps, expected it to be returned as it is")


def _shape(several: Sequence) -> tuple[Any, ...]:
    found: list[Any] = [Lead(0), *_value(several.item).shape]
    found.insert(several.axis, several.count)
    return tuple(found)


def _value(item: Any) -> Any:
    return item.neuron if isinstance(item, Membrane) else item if isinstance(item, Value) else None


def _at(item: Any, step: int | None) -> Any:
    if isinstance(item, Membrane):
        return Membrane(dataclasses.replace(item.neuron, step=step))
    return dataclasses.replace(item, step=step)


def _shown(steps: list[int | None]) -> str:
    found = ", ".join(str(step) for step in steps[:6])
    return found + (", …" if len(steps) > 6 else "")


HANDLERS: dict[str, Callable[[Call], Any]] = {
    **dict.fromkeys(("add", "iadd"), add),
    **dict.fromkeys(("div", "truediv", "true_divide"), div),
    "stack": stack,
    **dict.fromkeys(("cat", "concat", "concatenate"), cat),
    "getitem": getitem,
    "select": select,
    "iter": iterate,
    "unbind": unbind,
    "size": sizes,
    "len": length,
    "dim": rank,
    "getattr": attribute,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), transpose),
    "permute": permute,
    **dict.fromkeys(("contiguous", "detach", "clone", "float", "cpu"), same),
    "sum": _over("sum"),
    "mean": _over("mean"),
    **dict.fromkeys(("max", "amax"), _over("max_v")),
}
