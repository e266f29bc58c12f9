"""The threshold itself: whether both sides test it alike, `>` or `>=`.

Random inputs hardly ever bring a membrane exactly to its threshold, so the input that does is
looked for: one step from the start, among neighbouring floats.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from spikesim.conformance.trace import Array, Probe, run_alone, spread
from spikesim.ops import Neuron

#: Neighbouring inputs tried on each side of the one that should be it.
REACH = 24

#: Inputs tried beside them, as parts of the one that should be it.
BELOW = tuple(k / 33 for k in range(11, 33))

Ties = Literal["equal", "differs"]


def ties(op: Neuron, shape: tuple[int, ...], probe: Probe) -> Ties | None:
    """What both sides do with a membrane that is the threshold, bit for bit.

    Args:
        op: The population.
        shape: Its shape.
        probe: One step of theirs from its start.

    Returns:
        None where no input brings it there, or where theirs rounds otherwise: then its membrane
        may be beside the threshold where ours is on it. That it does not is shown by the
        membranes that fire on neither side; then every decision has to be ours.
    """
    x = _around(op, shape)
    if x is None:
        return None
    quiet = Neuron(
        alpha_mem=op.alpha_mem,
        gain=op.gain,
        v_leak=op.v_leak,
        synapse=op.synapse,
        alpha_syn=op.alpha_syn,
        w_in=op.w_in,
        v0=op.v0,
        i0=op.i0,
        spikes="none",
        reset="none",
    )
    h = run_alone(quiet, x[None]).v["n"][0]
    theta = spread(op.v_threshold, shape).astype(np.float32)
    on = h == theta
    ours = run_alone(op, x[None])
    z, v = ours.spikes["n"][0], ours.v["n"][0]
    z_theirs, v_theirs = probe(x)
    quiet_both = (z == 0) & (z_theirs == 0)
    if v_theirs is None or not quiet_both.any():
        return None
    if not np.array_equal(v[quiet_both], v_theirs[quiet_both]):
        return None
    if not np.array_equal(z, z_theirs):
        return "differs"
    return "equal" if on.any() else None


def _around(op: Neuron, shape: tuple[int, ...]) -> Array | None:
    """Inputs (K, *shape): those about the one whose membrane is the threshold, and smaller ones."""
    # At the start the two currents of "alpha" cancel, whatever comes in.
    if op.spikes == "none" or op.order == "B" or op.synapse == "alpha":
        return None
    v0, theta = spread(op.v0, shape), spread(op.v_threshold, shape)
    leak, gain = spread(op.v_leak, shape), spread(op.gain, shape)
    if (v0 >= theta).any() or (gain == 0).any():
        return None
    decayed = leak + spread(op.alpha_mem, shape) * (v0 - leak)
    # The first is the threshold, the others stay silent and show how theirs rounds.
    parts = np.array([1.0, *BELOW]).reshape(-1, *(1 for _ in shape))
    x = parts * (theta - decayed) / gain
    if op.synapse != "none":
        alpha, w_in, i0 = (spread(getattr(op, n), shape) for n in ("alpha_syn", "w_in", "i0"))
        if (w_in == 0).any() or (op.synapse == "decay_after" and (alpha == 0).any()):
            return None
        x = (x - alpha * i0) / (w_in if op.synapse == "decay_first" else alpha * w_in)
    near, *below = x.astype(np.float32)
    up, down = [near], [near]
    for _ in range(REACH):
        up.append(np.nextafter(up[-1], np.float32(np.inf)))
        down.append(np.nextafter(down[-1], np.float32(-np.inf)))
    found: Array = np.stack([*below, *down[:0:-1], *up])
    return found if np.isfinite(found).all() else None
