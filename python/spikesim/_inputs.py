"""What a run takes as input, checked and brought to float32 in one place (rules S1.6, S1.7).

Imports no torch: tensors are recognised by their type's module.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import InputError, ShapeError

#: More steps than any run has time for; what comes after may count in 32 bits.
_MOST_STEPS = 2**31 - 1

_LAYOUTS = (None, "N", "TN", "T")


def prepare(
    x: Any,
    input_shape: tuple[int, ...],
    n_steps: int | None = None,
    layout: str | None = None,
) -> tuple[NDArray[np.float32], bool, int, int]:
    """Checks an input and casts it to float32 without scaling.

    Args:
        x: `(N, *input_shape)`, the same at every step; or a raster `(T, N, *input_shape)`; or,
            with `layout="T"`, a raster `(T, *input_shape)` of one sample. bool, (u)int8-64,
            float16/32/64, as an array, nested lists or a torch CPU tensor.
        input_shape: Shape of one sample at one step.
        n_steps: Number of steps; needed for a constant input, checked against a raster.
        layout: None: told by the number of axes. "N" constant, "TN" raster, "T" one sample.

    Returns:
        The values, C-contiguous float32, `(N, *input_shape)` or `(T, N, *input_shape)`; whether
        they are constant; T; N.

    Raises:
        InputError: A type, a value, a number of steps or a layout that can't be run.
        ShapeError: The shape fits neither a constant input nor a raster.
    """
    array = _as_array(x)
    shape = tuple(input_shape)
    constant = _is_constant(array, shape, layout)
    if constant:
        if n_steps is None:
            raise InputError(
                "run: n_steps is missing, expected the number of steps of a constant input; "
                f"give n_steps, or a raster (T, N, {_shown(shape)})"
            )
        steps = _steps(n_steps)
    else:
        if layout == "T":
            array = array[:, None]
        steps = array.shape[0]
        if steps == 0:
            raise InputError("run: x has 0 steps, expected at least 1")
        if n_steps is not None and _steps(n_steps) != steps:
            raise InputError(
                f"run: n_steps is {n_steps}, expected {steps} as the raster has it; leave it out"
            )
    samples = array.shape[0 if constant else 1]
    if samples == 0:
        raise InputError("run: x has 0 samples, expected at least 1")
    return _as_float32(array), constant, steps, samples


def step_values(x: Any, input_shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The input of one step of a stream, `input_shape` float32 in C order; types as `prepare`'s.

    Raises:
        InputError: A type or a value that can't be run.
        ShapeError: Another shape.
    """
    array = _as_array(x, "stream")
    if array.shape != tuple(input_shape):
        raise ShapeError(
            f"stream: x has shape {array.shape}, expected {tuple(input_shape)}, the input of a step"
        )
    return _as_float32(array, "stream")


def _as_array(x: Any, place: str = "run") -> NDArray[Any]:
    """`x` as an array of a type that has a meaning here; no copy."""
    if type(x).__module__.split(".")[0] == "torch":
        x = _from_tensor(x, place)
    try:
        array = np.asarray(x)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{place}: x can't be made an array ({error}), expected an array of numbers"
        ) from error
    kind, size = array.dtype.kind, array.dtype.itemsize
    if not (kind in "biu" or (kind == "f" and size <= 8)):
        raise InputError(
            f"{place}: x has dtype {array.dtype}, expected bool, (u)int8-64 or float16/32/64"
        )
    return array


def _from_tensor(x: Any, place: str) -> Any:
    device = getattr(getattr(x, "device", None), "type", "cpu")
    if device != "cpu":
        raise InputError(f"{place}: x is on device {device}, expected a CPU tensor; use x.cpu()")
    try:
        return x.detach().numpy()
    except (AttributeError, TypeError, RuntimeError) as error:
        dtype = getattr(x, "dtype", type(x).__name__)
        raise InputError(
            f"{place}: x has dtype {dtype}, expected bool, (u)int8-64 or float16/32/64, dense"
        ) from error


def _is_constant(array: NDArray[Any], shape: tuple[int, ...], layout: str | None) -> bool:
    if layout not in _LAYOUTS:
        raise InputError(f"run: layout is {layout!r}, expected None, 'N', 'TN' or 'T'")
    extra = array.ndim - len(shape)
    fits = extra >= 0 and array.shape[extra:] == shape
    wanted = {None: (1, 2), "N": (1,), "T": (1,), "TN": (2,)}[layout]
    if not fits or extra not in wanted:
        raise ShapeError(f"run: x has shape {array.shape}, expected {_expected(shape, layout)}")
    return extra == 1 and layout != "T"


def _expected(shape: tuple[int, ...], layout: str | None) -> str:
    inner = _shown(shape)
    forms = {
        None: f"(N, {inner}) or (T, N, {inner}); one sample's raster (T, {inner}) with layout='T'",
        "N": f"(N, {inner})",
        "TN": f"(T, N, {inner})",
        "T": f"(T, {inner})",
    }
    return forms[layout]


def _shown(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def whole_number(place: str, name: str, value: Any, most: int | None = None) -> int:
    """A whole number of at least 1 (and at most `most`), Python's or NumPy's.

    Raises:
        InputError: Anything else.
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{place}: {name} is {value!r}, expected a whole number") from None
    if number < 1:
        raise InputError(f"{place}: {name} is {number}, expected at least 1")
    if most is not None and number > most:
        raise InputError(f"{place}: {name} is {number}, expected at most {most}")
    return number


def _steps(n_steps: Any) -> int:
    return whole_number("run", "n_steps", n_steps, _MOST_STEPS)


def _as_float32(array: NDArray[Any], place: str = "run") -> NDArray[np.float32]:
    # Too large for float32 becomes infinite here and is named below.
    with np.errstate(over="ignore"):
        values: NDArray[np.float32] = np.ascontiguousarray(array, dtype=np.float32)
    if array.dtype.kind == "f" and not np.isfinite(values).all():
        index = tuple(int(i[0]) for i in np.nonzero(~np.isfinite(values)))
        raise InputError(
            f"{place}: x[{_shown(index)}] is {array[index]}, expected a finite float32"
        )
    return values
