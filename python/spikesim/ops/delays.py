"""Delays of single elements, and what is checked of delays wherever an operation has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from spikesim.errors import GraphError
from spikesim.ops._base import FloatArray, Op, floats, put


@dataclass(frozen=True, eq=False, repr=False)
class Delay(Op):
    """Passes each element on its own number of steps later: `out[e](t) = x[e](t − delay[e])`.

    Before that an element is 0. Spikes stay spikes and currents currents (rule S2.19). A cycle
    through a Delay whose elements all have at least one step needs no other delay.

    Args:
        delay: Steps, whole numbers of at least 0: one for all, `(channels,)` or the shape of the
            input; kept as float32.

    Raises:
        GraphError: A number of steps that is not whole.
        TypeError: An array that is not of real numbers.

    Example:
        >>> import numpy as np, spikesim as ss
        >>> net = ss.Network(input_shape=(2,))
        >>> _ = net.add(ss.Delay([0, 2])), net.add(ss.LI(alpha_mem=0.0), name="li")
        >>> net.compile().run(np.ones((1, 2)), n_steps=3, record="v").v["li"][:, 0].tolist()
        [[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    """

    kind: ClassVar[str] = "delay"
    delay: FloatArray

    def __init__(self, delay: ArrayLike) -> None:
        put(self, delay=steps(self, delay))

    def arrays(self) -> dict[str, FloatArray]:
        return {"delay": self.delay}


def steps(op: Op, value: ArrayLike) -> FloatArray:
    """Delays as float32; their range is checked when the node is added, but what is not whole
    must not become so by rounding."""
    if hasattr(value, "detach"):  # a torch tensor, without importing torch
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind == "f":
        broken = array[np.floor(array) != array]
        if broken.size:
            where = type(op).__name__
            raise GraphError(f"{where}: delay has {broken[0]}, expected whole numbers of steps")
    return floats(op, "delay", array)
