"""Diehl and Cook's network with conductances in Brian2, as its user would write it.

Run by an interpreter that has Brian2 (bench/README.md says how to make one); it needs no spikesim.

    python bench/brian2_conductance.py --oracle tests/fixtures/conductance_brian2.npz
    python bench/brian2_conductance.py --serve cython      # what bench/learn_speed.py talks to
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import brian2 as b2
import numpy as np
from brian2 import ms, mV

EXCITATORY = """
dv/dt = ((v_rest - v) + g_e*(0*mV - v) + g_i*(e_inh - v)) / tau : volt (unless refractory)
dg_e/dt = -g_e / (1*ms) : 1
dg_i/dt = -g_i / (2*ms) : 1
dtheta/dt = -theta / (1e7*ms) : volt
"""
INHIBITORY = """
dv/dt = ((v_rest - v) + g_e*(0*mV - v)) / tau : volt (unless refractory)
dg_e/dt = -g_e / (1*ms) : 1
"""
TRACES = """
w : 1
dpre/dt = -pre / (20*ms) : 1 (event-driven)
dpost1/dt = -post1 / (20*ms) : 1 (event-driven)
dpost2/dt = -post2 / (40*ms) : 1 (event-driven)
"""


def build(
    weights: np.ndarray, theta: np.ndarray, indices: np.ndarray, steps: np.ndarray, learn: bool
) -> dict[str, Any]:
    """The network, its inputs spiking at `steps` of 0.5 ms; by name, to be given to Network."""
    n_inputs, n = weights.shape
    b2.defaultclock.dt = 0.5 * ms
    inputs = b2.SpikeGeneratorGroup(n_inputs, indices, steps * 0.5 * ms)
    grow = "; theta += 0.05*mV" if learn else ""
    exc = b2.NeuronGroup(
        n,
        EXCITATORY,
        threshold="v > -72*mV + theta",
        refractory=5 * ms,
        reset="v = -65*mV" + grow,
        method="exponential_euler",
        namespace={"v_rest": -65 * mV, "e_inh": -100 * mV, "tau": 100 * ms},
        name="exc",
    )
    inh = b2.NeuronGroup(
        n,
        INHIBITORY,
        threshold="v > -40*mV",
        refractory=2 * ms,
        reset="v = -45*mV",
        method="exponential_euler",
        namespace={"v_rest": -60 * mV, "tau": 10 * ms},
        name="inh",
    )
    exc.v, exc.theta, inh.v = -65 * mV, theta * mV, -60 * mV
    if learn:
        plastic = b2.Synapses(
            inputs,
            exc,
            TRACES,
            on_pre="g_e_post += w; pre = 1; w = clip(w - 1e-4*post1, 0, 1)",
            on_post="w = clip(w + 1e-2*pre*post2, 0, 1); post1 = 1; post2 = 1",
            name="plastic",
        )
    else:
        plastic = b2.Synapses(inputs, exc, "w : 1", on_pre="g_e_post += w", name="plastic")
    plastic.connect()
    plastic.w = weights.ravel()
    plastic.pre.order = 0
    if learn:
        plastic.post.order = 1
    drive = b2.Synapses(exc, inh, on_pre="g_e_post += 10.4", name="drive")
    drive.connect(j="i")
    silence = b2.Synapses(inh, exc, on_pre="g_i_post += 17.0", name="silence")
    silence.connect(condition="i != j")
    objects = [inputs, exc, inh, plastic, drive, silence]
    spikes = [b2.SpikeMonitor(exc, name="exc_spikes"), b2.SpikeMonitor(inh, name="inh_spikes")]
    return {o.name: o for o in [*objects, *spikes]}


# The oracle: small networks, their spikes and weights


def oracle(path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from conductance_nets import draw

    b2.prefs.codegen.target = "numpy"
    out: dict[str, Any] = {"brian2": b2.__version__}
    for name, seed, n_inputs, n, steps, learn in (
        ("small", 0, 20, 5, 200, False),
        ("stdp", 1, 20, 5, 200, True),
        ("large", 2, 60, 24, 700, False),
        ("large_stdp", 3, 60, 24, 700, True),
    ):
        weights, theta, spikes = draw(seed, n_inputs, n, steps, 0.1)
        indices = np.array([i for s in spikes for i in s])
        when = np.array([t for t, s in enumerate(spikes) for _ in s])
        parts = build(weights, theta, indices, when, learn)
        b2.Network(*parts.values()).run(steps * 0.5 * ms)
        out |= {f"{name}/weights": weights, f"{name}/theta": theta}
        out |= {f"{name}/input": indices, f"{name}/input_step": when, f"{name}/steps": steps}
        out[f"{name}/learn"] = learn
        for group in ("exc", "inh"):
            monitor = parts[f"{group}_spikes"]
            out[f"{name}/{group}_step"] = np.round(monitor.t / (0.5 * ms)).astype(np.int64)
            out[f"{name}/{group}"] = np.array(monitor.i)
            out[f"{name}/{group}_v"] = np.array(parts[group].v / mV)
        out[f"{name}/weights_after"] = np.array(parts["plastic"].w).reshape(weights.shape)
        out[f"{name}/theta_after"] = np.array(parts["exc"].theta / mV)
        print(name, len(out[f"{name}/exc"]), "spikes,", len(out[f"{name}/inh"]), "inhibitory")
    np.savez_compressed(path, **out)


# The rival: one request a line


def serve(mode: str, single: bool) -> None:
    """Answer `{"data": npz}` with the time of its run. The network stands for one request.

    What is timed is Brian2's main loop alone: not building, not compiling, not reading results.
    """
    if single:
        b2.prefs.core.default_float_dtype = np.float32
    folder = tempfile.TemporaryDirectory()
    if mode == "cython":
        b2.prefs.codegen.target = "cython"
    versions = {"brian2": b2.__version__, "numpy": np.__version__}
    print(json.dumps({"versions": versions}), flush=True)
    seen, parts = None, {}
    for line in sys.stdin:
        path = json.loads(line)["data"]
        with np.load(path) as data:
            arrays = dict(data)
        duration = int(arrays["steps"]) * 0.5 * ms
        again, seen = path == seen, path
        if not again:
            if mode == "standalone":
                b2.device.reinit()
                b2.set_device("cpp_standalone", directory=folder.name, build_on_run=False)
            learn, when = bool(arrays["learn"]), arrays["input_step"]
            parts = build(arrays["weights"], arrays["theta"], arrays["input"], when, learn)
            network = b2.Network(*parts.values())
        if mode == "standalone":
            if again:
                b2.device.run(folder.name, with_output=False, run_args=[])
            else:
                network.run(duration)
                b2.device.build(directory=folder.name, compile=True, run=True, debug=False)
            seconds = b2.device._last_run_time
        else:
            if again:
                network.restore()
            else:
                network.run(0 * ms)  # compiles
                network.store()
            start = time.perf_counter()
            network.run(duration)
            seconds = time.perf_counter() - start
        count = {k: int(parts[f"{k}_spikes"].num_spikes) for k in ("exc", "inh")}
        weights = float(np.array(parts["plastic"].w).sum())
        answer = {"seconds": seconds, "spikes": count, "weights": weights}
        print(json.dumps(answer), flush=True)
    folder.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--oracle", type=Path)
    parser.add_argument("--serve", choices=("cython", "standalone"))
    parser.add_argument("--float32", action="store_true")
    args = parser.parse_args()
    if args.oracle:
        oracle(args.oracle)
    if args.serve:
        serve(args.serve, args.float32)


if __name__ == "__main__":
    main()
