"""What a converted network says after T steps, for many T from one simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from spikesim import ops
from spikesim.errors import InputError
from spikesim.network import Network

STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BATCH = 256


def outputs_by_steps(
    net: Network,
    x: NDArray[np.float32],
    steps: Iterable[int],
    *,
    batch_size: int = BATCH,
    tell: Callable[[int, int], None] | None = None,
) -> dict[int, NDArray[np.float32]]:
    """The mean output over the first T steps, for each T.

    A run over T steps is a run over fewer steps that goes on (rule S1.5), so the longest of them
    gives them all, each equal to a run of its own to the bit: a membrane that keeps all it gets
    goes on where a readout would start again. Other readouts than "mean" and "sum" are run for
    each T; a larger output is an earlier spike, with "first_spike".

    Args:
        net: the network.
        x: constant currents (N, *input_shape).
        steps: the numbers T.
        batch_size: samples in flight.
        tell: is told (steps of samples done, in all).

    Returns:
        For each T float32 (N, *output_shape), of the readout "mean", or the network's own.
    """
    wanted = sorted(set(steps))
    if not wanted or wanted[0] < 1:
        raise InputError(f"steps: are {wanted}, expected numbers of at least 1")
    if net.readout not in ("mean", "sum"):
        return _one_by_one(net, x, wanted, batch_size, tell)
    whole = net.copy()
    name = "sum"
    while any(node.name == name for node in net.nodes):
        name += "_"
    whole.add(ops.LI(alpha_mem=1.0, gain=1.0), name, net.output)
    whole.output, whole.readout = name, "last_v"
    sim = whole.compile()
    parts: dict[int, list[NDArray[np.float32]]] = {n: [] for n in wanted}
    done, total = 0, len(x) * wanted[-1]
    for start in range(0, len(x), batch_size):
        batch = x[start : start + batch_size]
        before = 0
        for n in wanted:
            result = sim.run(batch, n_steps=n - before, reset=before == 0)
            done += len(batch) * (n - before)
            before = n
            parts[n].append(result.output / np.float32(n))
            if tell is not None:
                tell(done, total)
    return {n: np.concatenate(arrays) for n, arrays in parts.items()}


def _one_by_one(
    net: Network,
    x: NDArray[np.float32],
    wanted: list[int],
    batch_size: int,
    tell: Callable[[int, int], None] | None,
) -> dict[int, NDArray[np.float32]]:
    sim, sign = net.compile(), np.float32(-1 if net.readout == "first_spike" else 1)
    found: dict[int, NDArray[np.float32]] = {}
    for done, n in enumerate(wanted, 1):
        found[n] = sign * sim.run(x, n_steps=n, batch_size=batch_size).output.astype(np.float32)
        if tell is not None:
            tell(done, len(wanted))
    return found


def predictions(output: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class of each sample: the index of its largest output, the lowest of equals (S6.1)."""
    classes: NDArray[np.int64] = output.reshape(len(output), -1).argmax(1).astype(np.int64)
    return classes
