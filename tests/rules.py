"""What the hand-worked tests of the rules share.

The numbers are dyadic, so every step of a calculation is exact unless the rule is about rounding.
`run` is the fixture of conftest.py: `run(net)` gives something with `.run(x, n_steps, reset,
layout)`, once the reference and once the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import spikesim as ss
from engines import Outcome

RULES: dict[str, list[str]] = {}
"""Rule -> the tests that hold it, as "tests/file.py::name"."""

NEVER = 1e6  # a threshold out of reach

f32 = np.float32
Run = Callable[..., Any]


def rule(*numbers: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Marks the test that holds the rules `numbers`."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        for number in numbers:
            place = f"tests/{test.__module__}.py::{test.__name__}"
            RULES.setdefault(number, []).append(place)
        return test

    return mark


def array(*values: Any) -> np.ndarray:
    return np.array(values, dtype=f32)


def network(shape: tuple[int, ...], *nodes: tuple[Any, ...]) -> ss.Network:
    """Nodes (op, name[, inputs]) in a row."""
    net = ss.Network(shape)
    for op, name, *inputs in nodes:
        net.add(op, name=name, inputs=inputs[0] if inputs else None)
    return net


def drive(run: Run, op: ss.Neuron, *xs: float) -> Outcome:
    """One neuron, called n, that gets xs[t] at step t."""
    net = network((1,), (op, "n"))
    return run(net).run(np.array(xs, dtype=f32).reshape(-1, 1, 1))


def neuron(**fields: Any) -> ss.Neuron:
    """An IF that never fires, unless told otherwise."""
    return ss.Neuron(**{"v_threshold": NEVER, **fields})


def spikes(outcome: Outcome, name: str = "n") -> list[float]:
    return outcome.spikes[name].ravel().tolist()


def v(outcome: Outcome, name: str = "n") -> list[float]:
    return outcome.v[name].ravel().tolist()


def value_of(run: Run, net: ss.Network, x: Any) -> np.ndarray:
    """The value of the output node after one step of one sample."""
    if isinstance(net.node(net.output).op, ss.Neuron):
        raise AssertionError("the readout of a neuron is not its value")
    return run(net).run(np.asarray(x, dtype=f32)[None], n_steps=1).output[0]


def counted(outcome: Outcome, table: str, name: str) -> list[int]:
    """One sample's counts by step."""
    return outcome.counts[table][name][:, 0].tolist()
