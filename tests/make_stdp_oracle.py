"""Makes tests/stdp_oracle.json: small STDP networks as Brian2 runs them, an outside oracle.

Run it with a Python that has Brian2 2.9 (numpy target, dt of 1 ms):

    python tests/make_stdp_oracle.py

The schedule written below makes a time step of Brian2 what S11.2 says: membranes leak, pre spikes
are delivered with the weight that stands and depress, neurons fire, post spikes potentiate. Brian2
works in float64, so membranes and weights agree within rounding and spikes wherever no membrane
comes that close to the threshold: the smallest distance is kept in the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import brian2 as b2
import numpy as np

STEPS, INPUTS, OUTPUTS = 400, 12, 3
TAU_M, THRESHOLD = 10.0, 1.25
PAIR = {"a_plus": 0.02, "a_minus": 0.022, "tau_plus": 17.0, "tau_minus": 23.0}
TRIPLET = {
    "a2_plus": 0.00015,
    "a2_minus": 0.0021,
    "a3_plus": 0.0006,
    "a3_minus": 0.0002,
    "tau_plus": 16.8,
    "tau_minus": 33.7,
    "tau_x": 101.0,
    "tau_y": 125.0,
}

# Decay is event-driven: exactly e^(−Δt/τ) from event to event.
PAIR_MODEL = """
w : 1
dapre/dt = -apre/tau_plus : 1 (event-driven)
dapost/dt = -apost/tau_minus : 1 (event-driven)
"""
PAIR_PRE = "v_post += w; w = clip(w - a_minus*apost, 0, 1); apre += 1"
PAIR_NEAREST_PRE = "v_post += w; w = clip(w - a_minus*apost, 0, 1); apre = 1"
PAIR_POST = "w = clip(w + a_plus*apre, 0, 1); apost += 1"
PAIR_NEAREST_POST = "w = clip(w + a_plus*apre, 0, 1); apost = 1"
TRIPLET_MODEL = """
w : 1
dr1/dt = -r1/tau_plus : 1 (event-driven)
dr2/dt = -r2/tau_x : 1 (event-driven)
do1/dt = -o1/tau_minus : 1 (event-driven)
do2/dt = -o2/tau_y : 1 (event-driven)
"""
TRIPLET_PRE = "v_post += w; w = clip(w - o1*(a2_minus + a3_minus*r2), 0, 1); r1 += 1; r2 += 1"
TRIPLET_POST = "w = clip(w + r1*(a2_plus + a3_plus*o2), 0, 1); o1 += 1; o2 += 1"


def run(model: str, pre: str, post: str, constants: dict[str, float], seed: int) -> dict[str, Any]:
    """Input spikes, weights before and after, output spikes."""
    b2.start_scope()
    b2.prefs.codegen.target = "numpy"
    ms = b2.ms
    b2.defaultclock.dt = 1 * ms
    rng = np.random.default_rng(seed)
    raster = rng.random((STEPS, INPUTS)) < 0.08
    weights = rng.uniform(0.1, 0.5, (OUTPUTS, INPUTS)).round(4)
    steps, neurons = np.nonzero(raster)
    source = b2.SpikeGeneratorGroup(INPUTS, neurons, steps * ms, when="start")
    names = {k: (v * ms if k.startswith("tau") else v) for k, v in constants.items()}
    names["tau_m"] = TAU_M * ms
    group = b2.NeuronGroup(
        OUTPUTS,
        "dv/dt = -v/tau_m : 1",
        threshold=f"v >= {THRESHOLD}",
        reset="v = 0",
        method="exact",
        namespace=names,
    )
    synapses = b2.Synapses(source, group, model, on_pre=pre, on_post=post, namespace=names)
    synapses.connect()
    synapses.w[:] = weights.T.ravel()
    synapses.pre.when, synapses.post.when = "after_groups", "synapses"
    near = b2.StateMonitor(group, "v", record=True, when="before_thresholds")
    monitor = b2.SpikeMonitor(group)
    b2.Network(source, group, synapses, monitor, near).run(STEPS * ms)
    out = np.rint(np.asarray(monitor.t / ms)).astype(int)
    return {
        "constants": constants,
        "tau_m": TAU_M,
        "threshold": THRESHOLD,
        "nearest_to_threshold": float(np.abs(np.asarray(near.v) - THRESHOLD).min()),
        "input_steps": steps.tolist(),
        "input_neurons": neurons.tolist(),
        "weights": weights.tolist(),
        "learned": np.asarray(synapses.w).reshape(INPUTS, OUTPUTS).T.tolist(),
        "output_steps": out.tolist(),
        "output_neurons": np.asarray(monitor.i).astype(int).tolist(),
    }


def main() -> None:
    cases = {
        "pair": run(PAIR_MODEL, PAIR_PRE, PAIR_POST, PAIR, 1),
        "nearest": run(PAIR_MODEL, PAIR_NEAREST_PRE, PAIR_NEAREST_POST, PAIR, 2),
        "triplet": run(TRIPLET_MODEL, TRIPLET_PRE, TRIPLET_POST, TRIPLET, 3),
    }
    shape = {"steps": STEPS, "inputs": INPUTS, "outputs": OUTPUTS}
    made = {"brian2": b2.__version__, **shape, "cases": cases}
    path = Path(__file__).with_name("stdp_oracle.json")
    path.write_text(json.dumps(made, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
