"""What stands between the layers of a model: an activation by name, or neurons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from spikesim.errors import InputError, UnsupportedError
from spikesim.train.neurons import IF
from spikesim.train.qcfs import QCFS

#: A name, `{"kind": name, …}` with the options of that kind, or a function that makes one.
Activation = str | Mapping[str, Any] | Callable[[], nn.Module]

NAMED: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "qcfs": QCFS,
    "if": IF,
}


def maker(
    where: str,
    activation: Activation | None,
    neuron: Callable[[], nn.Module] | None,
    default: str = "relu",
) -> Callable[[], nn.Module]:
    """What makes one layer of activations, from a builder's two ways to say it.

    Args:
        where: the builder, for messages.
        activation: "relu", "leaky_relu", "qcfs", "if" (spiking, threshold 1, reset by
            subtraction); or a mapping as `{"kind": "qcfs", "L": 8}`; or a function.
        neuron: makes a neuron layer.
        default: where neither is given.

    Raises:
        InputError: both are given, or the options mean nothing.
        UnsupportedError: an unknown name.
    """
    if activation is not None and neuron is not None:
        raise InputError(f"{where}: activation and neuron are given, expected one of them")
    chosen = neuron or activation or default
    if not isinstance(chosen, str | Mapping):
        return chosen
    options: dict[str, Any] = {} if isinstance(chosen, str) else dict(chosen)
    kind = chosen if isinstance(chosen, str) else options.pop("kind", None)
    if kind not in NAMED:
        names = ", ".join(map(repr, NAMED))
        raise UnsupportedError(f"{where}: activation is {kind!r}, expected one of {names}")
    make = NAMED[kind]
    try:
        make(**options)
    except TypeError as error:
        raise InputError(
            f"{where}: activation {kind!r} has options {sorted(options)}, expected its own; {error}"
        ) from error
    return lambda: make(**options)


def choose(where: str, name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raises UnsupportedError for an option that there is not."""
    if value not in choices:
        expected = " or ".join(repr(choice) for choice in choices)
        raise UnsupportedError(f"{where}: {name} is {value!r}, expected {expected}")


def at_least(where: str, name: str, value: Any, least: int = 1) -> None:
    """Raises InputError for a size that is no whole number, or too small."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{where}: {name} is {value!r}, expected a whole number")
    if value < least:
        raise InputError(f"{where}: {name} is {value}, expected at least {least}")


def widen(channels: int, width: float) -> int:
    """A number of channels times the model's width, at least one."""
    return max(1, round(channels * width))
