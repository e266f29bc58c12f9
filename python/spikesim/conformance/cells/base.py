"""What the choice of a library's cell needs: the fields of a population, asked one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikesim.conformance.trace import spread
from spikesim.ops import Neuron

#: One step: summed input (N, *shape) -> number of spikes (None: it does not fire), membrane after
#: the step (None: not shown), what leaves the cell.
Step = Callable[[Tensor], tuple[Tensor | None, Tensor | None, Tensor]]


class Unsayable(Exception):
    """The library has no cell that does what the fields say; the text says what stands against."""


@dataclass(frozen=True)
class Cell:
    """A library's cell for a population."""

    label: str
    """Its class and options, as one would write them."""

    start: Callable[[int], Step]
    """Makes the step of a fresh cell for N samples."""


class Fields:
    """The fields of a population, and the refusals that they lead to."""

    def __init__(self, op: Neuron, shape: tuple[int, ...]) -> None:
        self.op = op
        self.shape = shape

    def __getattr__(self, name: str) -> Any:
        return getattr(self.op, name)

    def uniform(self, name: str) -> bool:
        """Whether a parameter is one number for all neurons."""
        values = getattr(self.op, name)
        return bool(np.all(values == values.reshape(-1)[0]))

    def tensor(self, name: str) -> Tensor:
        """A parameter: a scalar where it is one number, else one a neuron."""
        values = getattr(self.op, name)
        if self.uniform(name):
            return torch.tensor(float(values.reshape(-1)[0]), dtype=torch.float32)
        return torch.from_numpy(np.array(spread(values, self.shape), dtype=np.float32))

    def number(self, name: str) -> float:
        """A parameter that must be one number for all neurons."""
        if not self.uniform(name):
            raise Unsayable(f"{name} that differs between neurons")
        return float(getattr(self.op, name).reshape(-1)[0])

    def wide(self, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """A parameter in double precision, as `tensor` shapes it."""
        values: np.ndarray[Any, np.dtype[np.float64]] = self.tensor(name).double().numpy()
        return values

    def start(self, name: str, n: int) -> Tensor:
        """A start value spread over N samples."""
        return self.tensor(name).expand((n, *self.shape)).clone()

    def is_(self, name: str, value: float) -> bool:
        """Whether a parameter is `value` everywhere."""
        return bool(np.all(getattr(self.op, name) == np.float32(value)))

    def only(self, **choices: str | int | tuple[str, ...]) -> None:
        """Refuses fields with other values than these."""
        for name, allowed in choices.items():
            value = getattr(self.op, name)
            if value not in (allowed if isinstance(allowed, tuple) else (allowed,)):
                raise Unsayable(f"{name}={value!r}")

    def without(self, *names: str) -> None:
        """Refuses fields that are given."""
        for name in names:
            if getattr(self.op, name) is not None:
                raise Unsayable(name)

    def all(self, **values: float) -> None:
        """Refuses parameters that are not these numbers."""
        for name, value in values.items():
            if not self.is_(name, value):
                raise Unsayable(f"{name}={_shown(getattr(self.op, name))}")

    def hint(self, name: str) -> Any:
        """What the adapter that made the population noted."""
        return self.op.meta.get(name)


def near(ours: Any, theirs: Any) -> bool:
    """Whether two decays are one, each rounded to float32: within a unit in the last place of 1."""
    apart = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
    return bool(np.all(apart <= 2.0**-23))


def shown(**options: Any) -> str:
    """Options as one would write them; arrays by their range."""
    return ", ".join(f"{k}={_shown(v)}" for k, v in options.items())


def _shown(value: Any) -> str:
    if isinstance(value, str | bool | None | int):
        return repr(value)
    values = np.asarray(value)
    low, high = f"{values.min():.6g}", f"{values.max():.6g}"
    return low if low == high else f"{low}…{high}"
