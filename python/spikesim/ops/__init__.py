"""What a node of a network can be. All of these are also names of `spikesim` itself.

Values have no batch axis: `(channels, rows, columns)`, `(channels, length)` or `(n,)`.
"""

from __future__ import annotations

from typing import Any

from spikesim.ops._base import FloatArray, Op
from spikesim.ops.cells import IF, LI, LIF, CubaLI, CubaLIF
from spikesim.ops.delays import Delay
from spikesim.ops.neurons import Neuron
from spikesim.ops.pooling import (
    AdaptiveAvgPool2d,
    AvgPool1d,
    AvgPool2d,
    CurrentMaxPool1d,
    CurrentMaxPool2d,
    RateMaxPool1d,
    RateMaxPool2d,
    SpikeMaxPool1d,
    SpikeMaxPool2d,
    SumPool1d,
    SumPool2d,
)
from spikesim.ops.reshape import Add, BatchNorm, Concat, Flatten, Input, Scale, Upsample
from spikesim.ops.synaptic import Conv1d, Conv2d, Linear

__all__ = [
    "IF",
    "LI",
    "LIF",
    "AdaptiveAvgPool2d",
    "Add",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm",
    "Concat",
    "Conv1d",
    "Conv2d",
    "CubaLI",
    "CubaLIF",
    "CurrentMaxPool1d",
    "CurrentMaxPool2d",
    "Delay",
    "Flatten",
    "Input",
    "Linear",
    "Neuron",
    "Op",
    "RateMaxPool1d",
    "RateMaxPool2d",
    "Scale",
    "SpikeMaxPool1d",
    "SpikeMaxPool2d",
    "SumPool1d",
    "SumPool2d",
    "Upsample",
    "from_spec",
]

_KINDS: dict[str, type[Op]] = {
    op.kind: op
    for op in (
        Linear,
        Conv1d,
        Conv2d,
        SumPool1d,
        SumPool2d,
        AvgPool1d,
        AvgPool2d,
        SpikeMaxPool1d,
        SpikeMaxPool2d,
        CurrentMaxPool1d,
        CurrentMaxPool2d,
        RateMaxPool1d,
        RateMaxPool2d,
        AdaptiveAvgPool2d,
        Flatten,
        BatchNorm,
        Scale,
        Delay,
        Concat,
        Upsample,
        Add,
        Neuron,
    )
}


def from_spec(spec: dict[str, Any], arrays: dict[str, FloatArray]) -> Op:
    """The operation that `Op.spec` and `Op.arrays` describe.

    Args:
        spec: The discrete attributes, with "kind".
        arrays: float32 arrays by name.

    Returns:
        An operation equal to the one described.

    Example:
        >>> import spikesim as ss
        >>> op = ss.SumPool2d(2)
        >>> ss.ops.from_spec(op.spec(), op.arrays()) == op
        True
    """
    attributes = {name: _tuples(value) for name, value in spec.items() if name != "kind"}
    if spec["kind"] == "input":
        return Input(attributes["shape"])
    if spec["kind"].endswith("1d"):  # one entry an axis, as files have it
        attributes = {n: v[0] if isinstance(v, tuple) else v for n, v in attributes.items()}
    return _KINDS[spec["kind"]](**attributes, **arrays)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
