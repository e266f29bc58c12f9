"""Operations without weights of their own kind: shapes, joins, sums, element by element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from spikesim.errors import GraphError
from spikesim.ops._base import FloatArray, Op, floats, integer, pair, put


@dataclass(frozen=True, eq=False, repr=False)
class Flatten(Op):
    """Merges the axes `start_dim` to `end_dim` (included) in C order.

    Args:
        start_dim: First axis of one sample; there is no batch axis. Negative: from the end.
        end_dim: Last axis.

    Raises:
        TypeError: Something that is no integer.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network(input_shape=(2, 8, 8))
        >>> net.node(net.add(ss.Flatten())).shape
        (128,)
    """

    kind: ClassVar[str] = "flatten"
    start_dim: int = 0
    end_dim: int = -1

    def __post_init__(self) -> None:
        put(
            self,
            start_dim=integer(self, "start_dim", self.start_dim, None),
            end_dim=integer(self, "end_dim", self.end_dim, None),
        )

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "start_dim": self.start_dim, "end_dim": self.end_dim}


@dataclass(frozen=True, eq=False, repr=False)
class BatchNorm(Op):
    """Batch normalisation with fixed statistics, per channel (first axis), as torch in `eval()`.

    Directly after a Linear or Conv it *is* that layer with other weights (`Network.fold`, rule
    S2.13). Elsewhere it is `y = x·s + t` with `s = weight / sqrt(running_var + eps)` and
    `t = bias − running_mean·s`, both rounded once from float64.

    Args:
        weight: float32 `(channels,)`.
        bias: float32 `(channels,)`.
        running_mean: float32 `(channels,)`.
        running_var: float32 `(channels,)`, not negative.
        eps: Added to the variance.

    Raises:
        TypeError: Something that is no number.

    Example:
        >>> import numpy as np, spikesim as ss
        >>> net = ss.Network(input_shape=(2,))
        >>> _ = net.add(ss.Linear(np.eye(2)), name="fc")
        >>> _ = net.add(ss.BatchNorm([2, 2], [0, 1], [1, 1], [4, 4], eps=0.0), name="bn")
        >>> net.fold().node("fc").op.bias
        array([-1.,  0.], dtype=float32)
    """

    kind: ClassVar[str] = "batch_norm"
    weight: FloatArray
    bias: FloatArray
    running_mean: FloatArray
    running_var: FloatArray
    eps: float = 1e-5

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike,
        running_mean: ArrayLike,
        running_var: ArrayLike,
        eps: float = 1e-5,
    ) -> None:
        eps = float(eps)
        if not 0.0 <= eps < float("inf"):
            raise GraphError(f"BatchNorm: eps is {eps}, expected a finite number of at least 0")
        put(
            self,
            weight=floats(self, "weight", weight),
            bias=floats(self, "bias", bias),
            running_mean=floats(self, "running_mean", running_mean),
            running_var=floats(self, "running_var", running_var),
            eps=eps,
        )

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "eps": self.eps}

    def arrays(self) -> dict[str, FloatArray]:
        return {
            "weight": self.weight,
            "bias": self.bias,
            "running_mean": self.running_mean,
            "running_var": self.running_var,
        }


@dataclass(frozen=True, eq=False, repr=False)
class Scale(Op):
    """Multiplies element by element.

    Args:
        scale: float32, `()`, `(channels,)` or the shape of the input.

    Raises:
        TypeError: An array that is not of real numbers.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network(input_shape=(2, 8, 8))
        >>> net.node(net.add(ss.Scale([0.5, 2.0]))).shape
        (2, 8, 8)
    """

    kind: ClassVar[str] = "scale"
    scale: FloatArray

    def __init__(self, scale: ArrayLike) -> None:
        put(self, scale=floats(self, "scale", scale))

    def arrays(self) -> dict[str, FloatArray]:
        return {"scale": self.scale}


@dataclass(frozen=True, eq=False, repr=False)
class Concat(Op):
    """Joins its inputs along an axis, in the order in which `add` names them.

    Args:
        axis: Axis of one sample; 0 is that of channels. Negative: from the end.

    Raises:
        TypeError: Something that is no integer.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network(input_shape=(2, 8, 8))
        >>> _ = net.add(ss.Scale(2.0), name="twice")
        >>> net.node(net.add(ss.Concat(), inputs=["input", "twice"])).shape
        (4, 8, 8)
    """

    kind: ClassVar[str] = "concat"
    axis: int = 0

    def __post_init__(self) -> None:
        put(self, axis=integer(self, "axis", self.axis, None))

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "axis": self.axis}


@dataclass(frozen=True, eq=False, repr=False)
class Upsample(Op):
    """Repeats each value along rows and columns (nearest neighbour).

    Args:
        scale_factor: How often; an integer or `(y, x)`.

    Raises:
        GraphError: A factor below 1.
        TypeError: Something that is no integer.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network(input_shape=(2, 4, 4))
        >>> net.node(net.add(ss.Upsample(2))).shape
        (2, 8, 8)
    """

    kind: ClassVar[str] = "upsample"
    scale_factor: tuple[int, int]

    def __init__(self, scale_factor: int | tuple[int, int]) -> None:
        put(self, scale_factor=pair(self, "scale_factor", scale_factor))

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "scale_factor": list(self.scale_factor)}


@dataclass(frozen=True, eq=False, repr=False)
class Add(Op):
    """The sum of its inputs, in the order of its edges, and nothing else.

    Any node adds up its edges; this one gives the sum a name, as at the end of a residual block.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network(input_shape=(2,))
        >>> _ = net.add(ss.Scale(2.0), name="twice")
        >>> net.node(net.add(ss.Add(), inputs=["input", "twice"])).shape
        (2,)
    """

    kind: ClassVar[str] = "add"


@dataclass(frozen=True, eq=False, repr=False)
class Input(Op):
    """The network's input: the first node, made with the network, never added.

    Args:
        shape: Shape of one sample at one step.
    """

    kind: ClassVar[str] = "input"
    shape: tuple[int, ...] = ()

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "shape": list(self.shape)}
