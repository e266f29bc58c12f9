"""What the estimators have in common: parameters, seed, files; scikit-learn's conventions without
importing it.

An estimator stores the arguments of its ``__init__`` unchanged and checks them when it first
works, so that ``get_params``, ``set_params`` and ``sklearn.base.clone`` do as they do there. What
it has learned is in attributes that end in ``_``.
"""

from __future__ import annotations

import inspect
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from spikesim._core import load_arrays, save_arrays
from spikesim.errors import FormatError, InputError, NotFittedError

FilePath = str | os.PathLike[str]
Arrays = dict[str, NDArray[Any]]

#: Version of the files that :meth:`Estimator.save` writes.
FORMAT = 1

_LONGEST_VALUE = 60


class Estimator(ABC):
    """Base of the models that learn from spikes.

    A subclass defines ``_state`` and ``_set_state`` (what it has learned, as arrays and plain
    values), and, where its parameters are more than JSON can say, ``_params_to_json`` and
    ``_params_from_json``.
    """

    @classmethod
    def _parameters(cls) -> list[str]:
        """Names of the arguments of ``__init__``, in its order."""
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name, as given to ``__init__``.

        Args:
            deep: Without effect; scikit-learn asks for it.
        """
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **params: Any) -> Self:
        """Changes parameters; what has been learned stays.

        Raises:
            InputError: a name that is no parameter.
        """
        known = self._parameters()
        for name in params:
            if name not in known:
                raise InputError(
                    f"{type(self).__name__}: parameter {name!r} is unknown, expected one of "
                    f"{', '.join(known)}"
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        given = (
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if not _same(value, defaults[name].default)
        )
        return f"{type(self).__name__}({', '.join(given)})"

    # --- files ----------------------------------------------------------------------------------

    @abstractmethod
    def _state(self) -> tuple[Arrays, dict[str, Any]]:
        """What has been learned: arrays, and plain values that JSON can hold."""

    @abstractmethod
    def _set_state(self, arrays: Arrays, values: dict[str, Any]) -> None:
        """Goes on from what ``_state`` gave; a FormatError where it does not fit."""

    def _params_to_json(self) -> dict[str, Any]:
        """The parameters as JSON can hold them."""
        return {name: _plain(value) for name, value in self.get_params().items()}

    @classmethod
    def _params_from_json(cls, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters that ``_params_to_json`` wrote."""
        return params

    def save(self, path: FilePath) -> None:
        """Writes parameters and everything learned to a file, whole or not at all.

        A model loaded from it goes on learning to the same bits as this one. The file is a
        safetensors container: no pickle, no code.

        Args:
            path: where; a file that is there is replaced at once.

        Raises:
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
            model = cls(**cls._params_from_json(params))
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
                raise InputError(
                    f"{os.fspath(path)}: {name} is {_short(params.get(name))}, expected "
                    f"{_short(mine)} as this model has it; load() takes the file's parameters"
                )
        self._set_from(path, arrays, values)
        return self

    def _set_from(self, path: FilePath, arrays: Arrays, values: dict[str, Any]) -> None:
        try:
            self._set_state(arrays, values)
        except (KeyError, TypeError, ValueError) as error:
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

    def _require(self, attribute: str, what: str) -> Any:
        """The attribute, or a NotFittedError that says what to call first."""
        value = getattr(self, attribute, None)
        if value is None:
            raise NotFittedError(
                f"{type(self).__name__}: {attribute} is not there yet, expected {what} first"
            )
        return value


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


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and bool(np.all(a == b)))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
