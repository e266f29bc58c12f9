"""spikesim.train's neurons."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikesim.conformance.cells.base import Cell, Fields, Step, shown


def cell(f: Fields) -> Cell:
    """IF or LIF."""
    f.only(order="A", refractory=0, synapse="none", spikes="single", reset_timing="same_step")
    f.only(reset=("subtract", "to_value"))
    f.without("theta_plus", "v_min")
    f.all(spike_amplitude=1)
    options: dict[str, Any] = {"reset": f.reset, "fires": f.fires}
    for name in ("v_threshold", "gain", "v0", "v_reset", "alpha_mem", "v_leak"):
        options[name] = f.tensor(name)
    leaky = not (f.is_("alpha_mem", 1) and f.is_("v_leak", 0))
    if not leaky:
        del options["alpha_mem"], options["v_leak"]

    def start(n: int) -> Step:
        from spikesim import train

        given: dict[str, Any] = {
            k: float(v) if not isinstance(v, str) and v.ndim == 0 else v for k, v in options.items()
        }
        module = (train.LIF if leaky else train.IF)(**given).eval()

        def step(x: Any) -> Any:
            out = module(x)
            assert module.v is not None
            return out, module.v.clone(), out.clone()

        return step

    written = {k: v for k, v in options.items() if isinstance(v, str) or np.any(np.array(v) != 0)}
    return Cell(f"{'LIF' if leaky else 'IF'}({shown(**written)})", start)
