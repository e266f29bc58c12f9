"""A weighted layer with other weights."""

from __future__ import annotations

from typing import Any

from spikesim import ops


def with_weights(op: Any, weight: Any, bias: Any) -> Any:
    """A layer with other weights and bias."""
    if isinstance(op, ops.Linear):
        return ops.Linear(weight, bias)
    return type(op)(
        weight,
        bias,
        stride=op.stride,
        padding=op.padding,
        dilation=op.dilation,
        groups=op.groups,
    )
