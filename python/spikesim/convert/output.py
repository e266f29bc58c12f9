"""What a module's forward returns, as the network's output node and readout."""

from __future__ import annotations

from typing import Any

from spikesim.convert.build import Builder, shared_state
from spikesim.convert.symbols import (
    MEMBRANE,
    Membrane,
    OverTime,
    Sequence,
    State,
    Total,
    Value,
    flat,
)
from spikesim.errors import UnsupportedError

LAST = (
    "record it in every step and return torch.stack of the list, or its sum or mean over the steps"
)


def output(
    builder: Builder, where: str, result: Any, readout: str | None, count: int
) -> tuple[Value, str | None]:
    """The output node among what forward returns, and the readout that it computes itself.

    Args:
        builder: the network so far.
        where: the module's name.
        result: what forward returned.
        readout: the one that was asked for.
        count: number of steps that forward makes.
    """
    items = [_whole(item, where, count) for item in flat(result)]
    values = [item for item in items if isinstance(item, Value | OverTime)]
    states = [item for item in items if isinstance(item, Membrane)]
    membranes = [item for item in states if item.role == MEMBRANE]
    if not values and count > 1 and readout is None:
        last = {item.neuron.step for item in membranes} == {count - 1}
        readout = "last_v" if last else None
    if not values and readout in ("last_v", "max_v"):
        values = [item.neuron for item in membranes]
    names: dict[str, Value | OverTime] = {}
    for item in values:
        name = _node(item).name
        # The last step's value beside all of them says nothing more.
        if name not in names or _single(names[name], count):
            names[name] = item
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
    chosen = outer[0]
    if _node(chosen).name == "input":
        raise UnsupportedError(f"{where}: forward returns its input, expected at least one layer")
    if _single(chosen, count) and readout not in ("last_v", "max_v"):
        raise UnsupportedError(
            f"{where}: forward returns {_node(chosen).name} of one step of {count}, expected "
            f"every step; {LAST}"
        )
    if isinstance(chosen, OverTime):
        if readout is not None and readout != chosen.readout:
            raise UnsupportedError(
                f"{where}: forward takes the {chosen.readout} over time while readout is "
                f"{readout!r}, expected one of the two"
            )
        return chosen.value, chosen.readout
    return _node(chosen), readout


def check_repeated(builder: Builder, where: str, result: Any) -> None:
    """Where forward repeats its input for all steps, it must return what belongs to them."""
    if builder.repeats is None:
        raise UnsupportedError(
            f"{where}: forward takes (N, …) and repeats it for no steps, expected (T, N, …)"
        )
    for item in flat(result):
        if isinstance(item, Value) and item.lead == 1 and not item.merged:
            raise UnsupportedError(
                f"{where}: forward returns {item.name}, which has no time axis, expected what its "
                "neurons make of the repeated input"
            )


def check_order(builder: Builder, result: Any) -> None:
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
    returned = [owner for item in flat(result) for owner in _states(item) if owner in calls]
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


def _whole(item: Any, where: str, count: int) -> Any:
    """A recorded list or a sum as what it is of, if it holds every step."""
    if not isinstance(item, Sequence | Total | OverTime) or item.count is None:
        return item
    if item.count != count:
        raise UnsupportedError(
            f"{where}: forward returns {item.count} steps of {count}, expected every one; {LAST}"
        )
    if isinstance(item, Sequence):
        return item.item
    return OverTime(item.value, "sum", count) if isinstance(item, Total) else item


def _single(item: Value | OverTime, count: int) -> bool:
    """Whether this is the value of one iteration alone."""
    return count > 1 and isinstance(item, Value) and item.step is not None


def _node(item: Value | OverTime) -> Value:
    return item.value if isinstance(item, OverTime) else item
