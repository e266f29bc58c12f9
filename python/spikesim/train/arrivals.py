"""What a node makes of the values that its edges bring: their sum, those of several steps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from spikesim.errors import GraphError


def added(arrivals: Sequence[Tensor]) -> Tensor:
    """S2.5: in the order of the edges."""
    return reduce(torch.add, arrivals)


class Delayed:
    """What has a delay for each element or synapse: it reads each edge at several steps."""

    delay: Tensor | None

    def lags(self) -> tuple[int, ...]:
        """How many steps ago each edge is read, the longest first: the delays that occur.

        They are looked up again when the tensor is another one or has changed.
        """
        delay = self.delay
        if delay is None:
            return (0,)
        known = self.__dict__.get("_lags")
        if known is None or known[0] is not delay or known[1] != delay._version:
            found = sorted({float(d) for d in delay.flatten().tolist()}, reverse=True)
            if not all(d >= 0 and d == int(d) for d in found):
                raise GraphError(f"delay has {found}, expected whole numbers of steps")
            known = (delay, delay._version, tuple(int(d) for d in found))
            self.__dict__["_lags"] = known
        lags: tuple[int, ...] = known[2]
        return lags
