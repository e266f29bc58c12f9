"""What a neuron's spike function does in the forward pass: the step it has to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from spikesim.errors import UnsupportedError

# Around zero, where the two steps differ, and far from it; tiny ones stay apart from zero.
PROBE = (-3.0, -1.0, -0.25, -1e-3, -1e-30, 0.0, 1e-30, 1e-3, 0.25, 1.0, 3.0)


def threshold_test(function: Callable[[Any], Any], path: str, what: str) -> str:
    """The test of S3 that a surrogate makes of `v - v_threshold`: ">=" or ">".

    Args:
        function: what the neuron calls; only its values count here, not its gradient.
        path: the neuron.
        what: the function's name in the neuron.

    Raises:
        UnsupportedError: its values are not those of a step at zero, or not twice the same.
    """
    probe = torch.tensor(PROBE)
    strict = (probe > 0).float()
    try:
        with torch.no_grad():
            values = [function(probe.clone()) for _ in range(2)]
        for fires, expected in ((">", strict), (">=", (probe >= 0).float())):
            if all(torch.equal(got.float(), expected) for got in values):
                return fires
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise UnsupportedError(
            f"{path}: {what} fails on a vector ({reason}), expected a step at zero"
        ) from error
    raise UnsupportedError(
        f"{path}: {what} gives other values than a step at zero, expected spikes of 0 and 1; use "
        "a surrogate whose forward is the step function"
    )
