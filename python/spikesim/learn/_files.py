"""Files of what learns: parameters and everything learned, in a safetensors container that is
written whole or not at all.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from spikesim._core import load_arrays, save_arrays
from spikesim.errors import FormatError, InputError

FilePath = str | os.PathLike[str]
Arrays = dict[str, NDArray[Any]]

#: Version of the files that :meth:`Saved.save` writes.
FORMAT = 1

_LONGEST_VALUE = 60


class Saved(ABC):
    """Base of what can be written to a file and go on from it to the same bits.

    A subclass defines what it has learned (``_state``, ``_set_state``) and what it is
    (``_params_to_json``, ``_made``).
    """

    @abstractmethod
    def _params_to_json(self) -> dict[str, Any]:
        """What another model must have in common to go on from this one's file, for JSON."""

    @classmethod
    @abstractmethod
    def _made(cls, params: dict[str, Any], arrays: Arrays) -> Self:
        """A model as a file describes it, before it has learned.

        Raises:
            TypeError, KeyError, ValueError: the file is damaged.
        """

    @abstractmethod
    def _state(self) -> tuple[Arrays, dict[str, Any]]:
        """What has been learned: arrays, and plain values that JSON can hold."""

    @abstractmethod
    def _set_state(self, arrays: Arrays, values: dict[str, Any]) -> None:
        """Goes on from what ``_state`` gave; a FormatError where it does not fit."""

    def save(self, path: FilePath) -> None:
        """Writes parameters and everything learned to a file, whole or not at all.

        A model loaded from it goes on learning to the same bits as this one. The file is a
        safetensors container: no pickle, no code.

        Args:
            path: where; a file that is there is replaced at once.

        Raises:
            NotFittedError: a model that has to learn first has learned nothing.
            OSError: the file can't be written.
        """
        arrays, values = self._state()
        texts = {
            "spikesim_learn": str(FORMAT),
            "class": type(self).__name__,
            "params": json.dumps(self._params_to_json()),
            "state": json.dumps(values),
        }
        entries = []
        for name, array in arrays.items():
            array = np.ascontiguousarray(array)
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            entries.append((name, array.dtype.name, list(array.shape), little.tobytes()))
        save_arrays(os.fspath(path), texts, entries)

    @classmethod
    def load(cls, path: FilePath) -> Self:
        """A model from a file that :meth:`save` wrote.

        Args:
            path: the file.

        Raises:
            FormatError: it is no such file, a damaged one, or one of another class.
            OSError: it can't be read.
        """
        params, arrays, values = cls._read(path)
        try:
            model = cls._made(params, arrays)
        except (TypeError, KeyError, ValueError) as error:
            raise FormatError(f"{os.fspath(path)}: params are damaged ({error})") from error
        model._set_from(path, arrays, values)
        return model

    def resume(self, path: FilePath) -> Self:
        """Goes on from a file that a model of the same parameters saved.

        Args:
            path: the file.

        Returns:
            This model, with what the file's had learned.

        Raises:
            InputError: the file's model had other parameters; the first is named.
            FormatError: it is no such file, a damaged one, or one of another class.
            OSError: it can't be read.
        """
        params, arrays, values = self._read(path)
        for name, mine in self._params_to_json().items():
            if params.get(name) != mine:
                where, found, expected = _difference(name, params.get(name), mine)
                raise InputError(
                    f"{os.fspath(path)}: {where} is {_short(found)}, expected {_short(expected)} "
                    "as this model has it; load() takes the file's parameters"
                )
        self._set_from(path, arrays, values)
        return self

    def _set_from(self, path: FilePath, arrays: Arrays, values: dict[str, Any]) -> None:
        try:
            self._set_state(arrays, values)
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise FormatError(
                f"{os.fspath(path)}: {what}, expected what {type(self).__name__}.save wrote"
            ) from error

    @classmethod
    def _read(cls, path: FilePath) -> tuple[dict[str, Any], Arrays, dict[str, Any]]:
        """Parameters, arrays and values of a file of this class."""
        where = os.fspath(path)
        texts, entries = load_arrays(where)
        version = texts.get("spikesim_learn")
        if version is None:
            raise FormatError(f"{where}: file is no saved model of spikesim.learn, expected one")
        if version != str(FORMAT):
            raise FormatError(f"{where}: format is {_short(version)}, expected {FORMAT}")
        if texts.get("class") != cls.__name__:
            raise FormatError(
                f"{where}: class is {_short(texts.get('class'))}, expected {cls.__name__}"
            )
        return _json(where, texts, "params"), _arrays(entries), _json(where, texts, "state")


def _json(where: str, texts: Mapping[str, str], key: str) -> dict[str, Any]:
    try:
        value = json.loads(texts.get(key, ""))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: {key} is damaged, expected JSON") from error
    if not isinstance(value, dict):
        raise FormatError(f"{where}: {key} is no JSON object, expected one")
    return value


def _arrays(entries: list[tuple[str, str, list[int], bytes]]) -> Arrays:
    arrays = {}
    for name, dtype, shape, data in entries:
        little = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))
        arrays[name] = little.astype(np.dtype(dtype)).reshape(shape)
    return arrays


def _difference(where: str, a: Any, b: Any) -> tuple[str, Any, Any]:
    """Where two unequal values of JSON differ first, and what they have there."""
    inner: list[tuple[str, Any, Any]] = []
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        inner = [(f"{where}.{key}", a[key], b[key]) for key in b]
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        inner = [(f"{where}[{n}]", *pair) for n, pair in enumerate(zip(a, b, strict=True))]
    for name, one, other in inner:
        if one != other:
            return _difference(name, one, other)
    return where, a, b


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
