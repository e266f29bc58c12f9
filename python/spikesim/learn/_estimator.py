"""What the estimators have in common: parameters, seed, files; scikit-learn's conventions without
importing it.

An estimator stores the arguments of its ``__init__`` unchanged and checks them when it first
works, so that ``get_params``, ``set_params`` and ``sklearn.base.clone`` do as they do there. What
it has learned is in attributes that end in ``_``.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Self

import numpy as np

from spikesim.errors import InputError, NotFittedError
from spikesim.learn._files import Arrays, Saved


class Estimator(Saved):
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

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn, which alone asks for it, has to know: labels are no must."""
        tags = importlib.import_module("sklearn.utils")
        return tags.Tags(
            estimator_type="classifier",
            target_tags=tags.TargetTags(required=False),
            transformer_tags=tags.TransformerTags(),
            classifier_tags=tags.ClassifierTags(),
            input_tags=tags.InputTags(three_d_array=True),
        )

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is something to save."""
        try:
            self._state()
        except NotFittedError:
            return False
        return True

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        given = (
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if not _same(value, defaults[name].default)
        )
        return f"{type(self).__name__}({', '.join(given)})"

    # --- files ----------------------------------------------------------------------------------

    def _params_to_json(self) -> dict[str, Any]:
        """The parameters as JSON can hold them."""
        return {name: _plain(value) for name, value in self.get_params().items()}

    @classmethod
    def _params_from_json(cls, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters that ``_params_to_json`` wrote."""
        return params

    @classmethod
    def _made(cls, params: dict[str, Any], arrays: Arrays) -> Self:
        return cls(**cls._params_from_json(params))

    def _require(self, attribute: str, what: str) -> Any:
        """The attribute, or a NotFittedError that says what to call first."""
        value = getattr(self, attribute, None)
        if value is None:
            raise NotFittedError(
                f"{type(self).__name__}: {attribute} is not there yet, expected {what} first"
            )
        return value


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and bool(np.all(a == b)))
