"""Every error that spikesim raises on purpose, each also the builtin that it is.

Messages are one line: `<where>: <name> <what is>, expected <what should be>[; <what to do>]`.
`OSError` and `TypeError` are raised as they are.
"""

from __future__ import annotations

__all__ = [
    "DivergenceError",
    "EventError",
    "FormatError",
    "GraphError",
    "InputError",
    "InternalError",
    "MissingExtraError",
    "NotFittedError",
    "ShapeError",
    "SpikesimError",
    "UnsupportedError",
]


class SpikesimError(Exception):
    """What all of them have in common."""


class GraphError(SpikesimError, ValueError):
    """A network that means nothing: a bad parameter, a missing node, a cycle without delay."""


class ShapeError(SpikesimError, ValueError):
    """Shapes that do not fit each other."""


class UnsupportedError(SpikesimError, NotImplementedError):
    """Meaningful, but not something this version can do: an error, never a wrong answer."""


class FormatError(SpikesimError, ValueError):
    """Bytes that are not the file they claim to be."""


class EventError(SpikesimError, ValueError):
    """Events out of order, outside their sensor, or of no known form."""


class InputError(SpikesimError, ValueError):
    """A bad argument of a run: values, counts, names."""


class DivergenceError(SpikesimError, ArithmeticError):
    """Learning that left the finite numbers: rates or rules that do not hold together."""


class NotFittedError(SpikesimError, ValueError, AttributeError):
    """A model asked for what it has not learned yet (as scikit-learn's error of this name)."""


class MissingExtraError(SpikesimError, ImportError):
    """An optional library that this needs is not installed."""


class InternalError(SpikesimError, RuntimeError):
    """A bug of spikesim itself."""
