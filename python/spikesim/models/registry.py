"""The builders that a model file may name: the only code that reading one can run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])

BUILDERS: dict[str, Callable[..., nn.Module]] = {}


def builder(function: Builder) -> Builder:
    """Decorates a function of `spikesim.models` that `load` may call by its name."""
    BUILDERS[function.__name__] = function
    return function
