"""BindsNET's DiehlAndCook2015 as its user would run it; what bench/learn_speed.py talks to.

Run by an interpreter that has BindsNET (AGPL: it stays a process of its own, and nothing here is
taken from it). One request a line: `{"data": npz, "neurons": n, "learn": bool, "batch": b}`, where
the file's `raster` is uint8 (steps, samples, inputs). The network of a size lives as long as this
process.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import torch
from bindsnet.models import DiehlAndCook2015
from bindsnet.network.monitors import Monitor


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    versions = {"bindsnet": version("bindsnet"), "torch": torch.__version__}
    print(json.dumps({"versions": versions}), flush=True)
    networks = {}
    for line in sys.stdin:
        request = json.loads(line)
        raster = torch.from_numpy(np.load(request["data"])["raster"])
        steps, samples, inputs = raster.shape
        key = (request["neurons"], request["batch"])
        if key not in networks:
            network = DiehlAndCook2015(
                n_inpt=inputs,
                n_neurons=key[0],
                exc=22.5,
                inh=120,
                dt=1.0,
                norm=0.1 * inputs,
                theta_plus=0.05,
                inpt_shape=(inputs,),
                batch_size=key[1],
            )
            monitor = Monitor(network.layers["Ae"], ["s"], time=steps, batch_size=key[1])
            networks[key] = network, monitor
        network, monitor = networks[key]
        network.train(request["learn"])
        if request["count"]:
            network.add_monitor(monitor, "Ae")
        else:
            network.monitors.pop("Ae", None)
        spikes, seconds = 0, 0.0
        for first in range(0, samples, key[1]):
            x = raster[:, first : first + key[1]]
            start = time.perf_counter()
            network.run(inputs={"X": x}, time=steps)
            seconds += time.perf_counter() - start
            if request["count"]:
                spikes += int(monitor.get("s").sum())
            start = time.perf_counter()
            network.reset_state_variables()
            seconds += time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "spikes": spikes}), flush=True)


if __name__ == "__main__":
    main()
