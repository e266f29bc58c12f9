"""What all operations have in common: a written form, arrays, equality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import GraphError

FloatArray = NDArray[np.float32]


class Op:
    """A thing that a node can do. Frozen; its arrays are float32.

    Two operations are equal when they are of one kind with equal attributes and arrays.
    """

    kind: ClassVar[str]
    """Name of the kind, as in files and in `Node.kind`."""

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def spec(self) -> dict[str, Any]:
        """The discrete attributes as JSON-like values, with "kind"."""
        return {"kind": self.kind}

    def arrays(self) -> dict[str, FloatArray]:
        """The arrays by name, without those that are None."""
        return {}

    def __repr__(self) -> str:
        shown = {name: _shown(getattr(self, name)) for name in getattr(self, "__match_args__", ())}
        arguments = ", ".join(f"{name}={text}" for name, text in shown.items())
        return f"{type(self).__name__}({arguments})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Op):
            return NotImplemented
        mine, theirs = self.arrays(), other.arrays()
        return (
            self.spec() == other.spec()
            and mine.keys() == theirs.keys()
            and all(np.array_equal(mine[name], theirs[name]) for name in mine)
        )


def _shown(value: Any) -> str:
    """A number as it is; an array by its shape."""
    if not isinstance(value, np.ndarray):
        return repr(value)
    return f"{value.item():.6g}" if value.ndim == 0 else f"<float32 {value.shape}>"


def floats(op: Op, name: str, value: ArrayLike) -> FloatArray:
    """A parameter as a C-ordered float32 array; shared with the caller where it is one already."""
    where = type(op).__name__
    if hasattr(value, "detach"):  # a torch tensor, without importing torch
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{where}: {name} has dtype {array.dtype}, expected real numbers")
    with np.errstate(over="ignore"):  # an infinity is reported when the node is added
        return np.asarray(array, dtype=np.float32, order="C")


def optional(op: Op, name: str, value: ArrayLike | None) -> FloatArray | None:
    """As `floats`; None stays None."""
    return None if value is None else floats(op, name, value)


def integer(op: Op, name: str, value: Any, least: int | None = 0) -> int:
    """A whole number of at least `least`."""
    where = type(op).__name__
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{where}: {name} is {value!r}, expected an integer")
    if least is not None and value < least:
        raise GraphError(f"{where}: {name} is {value}, expected at least {least}")
    return int(value)


def pair(op: Op, name: str, value: Any, least: int = 1) -> tuple[int, int]:
    """One integer for both axes, or (y, x)."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 2:
            raise GraphError(
                f"{type(op).__name__}: {name} has {len(value)} entries, expected one integer or "
                "(y, x)"
            )
        return integer(op, name, value[0], least), integer(op, name, value[1], least)
    one = integer(op, name, value, least)
    return one, one


def single(op: Op, name: str, value: Any, least: int = 1) -> int:
    """An integer, or a sequence of one."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 1:
        value = value[0]
    return integer(op, name, value, least)


def side(op: Op, value: Any) -> tuple[int, int]:
    """Padding along one axis: the same on both sides, or (before, after)."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 2:
            raise GraphError(
                f"{type(op).__name__}: padding has {len(value)} entries for an axis, expected "
                "one integer or (before, after)"
            )
        return integer(op, "padding", value[0]), integer(op, "padding", value[1])
    one = integer(op, "padding", value)
    return one, one


def sides(op: Op, value: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padding along two axes: p, (py, px) or ((top, bottom), (left, right))."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 2:
            raise GraphError(
                f"{type(op).__name__}: padding has {len(value)} entries, expected an integer, "
                "(py, px) or ((top, bottom), (left, right))"
            )
        return side(op, value[0]), side(op, value[1])
    one = side(op, value)
    return one, one


def choice(op: Op, name: str, value: Any, choices: Mapping[str, Any] | Sequence[str]) -> str:
    """One of some strings."""
    if not isinstance(value, str) or value not in choices:
        known = ", ".join(f'"{c}"' for c in choices)
        raise GraphError(f"{type(op).__name__}: {name} is {value!r}, expected one of {known}")
    return value


def boolean(op: Op, name: str, value: Any) -> bool:
    """A truth value, not whatever is true."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{type(op).__name__}: {name} is {value!r}, expected True or False")
    return bool(value)


def put(op: Op, **values: Any) -> None:
    """Sets fields of a frozen dataclass from its own `__post_init__`."""
    for name, value in values.items():
        object.__setattr__(op, name, value)
