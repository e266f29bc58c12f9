"""The meaning of a network: docs/semantics.md carried out plainly, node by node, step by step.

Slow on purpose. Nothing here is optimised and nothing is shared with the engine: folding,
pooling, sums, neurons and counts are written a second time, dense, with torch, so that the
engine has something to be equal to. It runs on the CPU and on CUDA.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from spikesim.errors import MissingExtraError
from spikesim.reference.result import ReferenceResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spikesim.network import Network

__all__ = ["ReferenceResult", "run"]


def run(
    net: Network,
    x: Any,
    n_steps: int | None = None,
    *,
    device: str = "cpu",
    layout: str | None = None,
    record: str | Sequence[str] = ("spikes", "v"),
    sums: Literal["ordered", "torch"] = "ordered",
    state: Mapping[str, NDArray[Any]] | None = None,
    precision: Literal["f32", "i8"] = "f32",
    clips: Mapping[str, NDArray[Any]] | None = None,
) -> ReferenceResult:
    """Runs `net` on `x` as docs/semantics.md says.

    Args:
        net: The network.
        x: As in `Simulator.run`: `(N, *input_shape)` constant, or `(T, N, *input_shape)`.
        n_steps: Number of steps T, for a constant input.
        device: Where torch computes, "cpu" or "cuda".
        layout: `"T"`: `x` is `(T, *input_shape)`, one sample.
        record: Which of "spikes", "v", "current" to keep for every population.
        sums: "ordered" adds in the order of rule S2.2 and S2.3 and is equal to the engine bit
            for bit; "torch" uses torch's own sums, in torch's order: the same where sums are
            exact (weights on a dyadic grid), elsewhere up to rounding, and quicker.
        state: The state that an earlier run on the same `net` and N ended with; None: the start.
        precision: As in `Network.compile`; "i8" is carried out in integers (S14).
        clips: With "i8": largest magnitudes that the weights of a layer keep, by output channel.

    Returns:
        What the run gave, in NumPy arrays.

    Raises:
        MissingExtraError: torch is not installed.
        InputError: The input's type or values, the steps or an option.
        ShapeError: The input's or the state's shape.

    Example:
        >>> import numpy as np, spikesim as ss
        >>> net = ss.Network((1,))
        >>> _ = net.add(ss.IF(v_threshold=1.0), name="if")
        >>> result = ss.reference.run(net, np.array([[0.5]]), n_steps=4)
        >>> result.spikes["if"].ravel().tolist()
        [0.0, 1.0, 0.0, 1.0]
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "reference: running the dense reference needs torch; install spikesim[torch]"
        ) from error
    from spikesim.reference.simulate import simulate

    return simulate(net, x, n_steps, device, layout, record, sums, state, precision, clips)
