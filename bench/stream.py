"""A stream step against SpikingJelly's dense step, on its zoo's DVSGestureNet.

    python bench/stream.py [--rates 0.0003 0.001 ...] [--neuron if|lif] [--channels 128] [--json]

The input is 2x128x128 with a share of `rate` of its places on in each step, anywhere (a worst case:
real events lie together, and reach fewer neurons). Each layer's weights are scaled so that it fires
at that rate too, and lie on the grid k/4096. Before anything is timed the spikes of every layer and
step must equal SpikingJelly's and those of spikesim's batch executor. Then both take turns, step
by step, on the same stream.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from spikingjelly.activation_based import functional
from spikingjelly.activation_based import neuron as sj
from spikingjelly.activation_based.model.parametric_lif_net import DVSGestureNet

import spikesim as ss

SHAPE = (2, 128, 128)
# Steps before the measured ones: membranes fill, weights and state come into the caches.
WARM = 8
GRID = 4096

NEURONS: dict[str, tuple[type, dict[str, Any]]] = {
    "if": (sj.IFNode, {"v_reset": None}),
    "lif": (sj.LIFNode, {"v_reset": 0.0, "tau": 2.0, "decay_input": False}),
}


def network(kind: str, channels: int, x: torch.Tensor, rate: float) -> DVSGestureNet:
    """The zoo's network in eval mode, its weights scaled to `rate` on the stream `x` (T, ...)."""
    torch.manual_seed(0)
    neuron, fields = NEURONS[kind]
    net = DVSGestureNet(channels, neuron, **fields).eval()
    signal = x
    with torch.inference_mode():
        for layer in net.conv_fc:
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.eps = 0.0  # statistics of 0 and 1: folding it changes no weight
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                weights = layer
            if not isinstance(layer, neuron):
                # Several steps are several samples for everything but neurons.
                signal = torch.cat([layer(step[None]) for step in signal])
                continue
            signal = scaled(weights, layer, signal, rate)
    return net


def scaled(weights: Any, neuron: Any, current: torch.Tensor, rate: float) -> torch.Tensor:
    """Spikes of `neuron` at `rate`; `weights`, which gave `current`, are scaled for it."""

    def fire(factor: float) -> torch.Tensor:
        neuron.reset()
        return torch.stack([neuron(factor * step) for step in current])

    low, high = 0.0, 8 / float(current.max())
    for _ in range(10):
        middle = (low + high) / 2
        if fire(middle)[WARM // 2 :].mean() < rate:
            low = middle
        else:
            high = middle
    before = weights.weight.clone()
    weights.weight.copy_(torch.round(before * high * GRID) / GRID)
    out = fire(high)
    neuron.reset()
    return out


class Dense:
    """SpikingJelly, single steps."""

    def __init__(self, net: DVSGestureNet) -> None:
        self.net = net
        self.spikes: list[float] = []
        self.hooks: list[Any] = []

    def listen(self) -> None:
        """Count the spikes of each neuron layer from now on."""

        def count(module: Any, args: Any, out: torch.Tensor) -> None:
            self.spikes.append(float(out.sum()))

        for layer in self.net.conv_fc:
            if isinstance(layer, sj.BaseNode):
                self.hooks.append(layer.register_forward_hook(count))

    def deaf(self) -> None:
        """Count no more."""
        for hook in self.hooks:
            hook.remove()

    def step(self, x: torch.Tensor) -> NDArray[Any]:
        """One step."""
        with torch.inference_mode():
            return self.net(x[None])[0].numpy()

    def reset(self) -> None:
        """Back to the start."""
        functional.reset_net(self.net)
        self.spikes.clear()


def checked(net: ss.Network, dense: Dense, x: torch.Tensor) -> None:
    """An AssertionError where spikes or readout differ."""
    dense.reset()
    dense.listen()
    populations = [n.name for n in net.nodes if isinstance(n.op, ss.Neuron)]
    batch = net.compile().run(x.numpy(), layout="T").counts.table("spikes")
    summed: Any = 0.0
    for out, values in zip(net.compile().stream(x.numpy()), x, strict=True):
        dense.spikes.clear()
        summed = summed + dense.step(values)
        ours = [int(out.counts.table("spikes")[name][0, 0]) for name in populations]
        assert ours == [int(n) for n in dense.spikes], f"step {out.t}: {ours}, {dense.spikes}"
        assert ours == [int(batch[name][out.t, 0]) for name in populations], f"step {out.t}"
    assert np.allclose(out.output, summed), "the readout differs from SpikingJelly's"
    dense.deaf()


def turns(net: ss.Network, dense: Dense, x: torch.Tensor) -> dict[str, Any]:
    """Seconds of each step, in turn, and what the stream's steps touched."""
    dense.reset()
    fastest: dict[str, list[float]] = {"spikesim": [], "spikingjelly": []}
    events = [ss.StepEvents(np.flatnonzero(step)) for step in x.numpy()]
    feed = iter(events)
    stream = net.compile(threads=1).stream(feed)
    synops, visits, spikes = [], [], []
    for values in x:
        begin = time.perf_counter()
        out = next(stream)
        middle = time.perf_counter()
        dense.step(values)
        end = time.perf_counter()
        fastest["spikesim"].append(middle - begin)
        fastest["spikingjelly"].append(end - middle)
        counts = out.counts
        synops.append(counts.synops)
        visits.append(counts.neuron_visits)
        spikes.append(counts.spikes)
    times = {name: values[WARM:] for name, values in fastest.items()}
    pairs = zip(times["spikingjelly"], times["spikesim"], strict=True)
    return {
        "spikesim_ms": statistics.median(times["spikesim"]) * 1e3,
        "spikingjelly_ms": statistics.median(times["spikingjelly"]) * 1e3,
        "ratio": statistics.median(a / b for a, b in pairs),
        "ratio_iqr": [
            float(np.quantile(np.divide(times["spikingjelly"], times["spikesim"]), q))
            for q in (0.25, 0.75)
        ],
        "synops": statistics.median(synops[WARM:]),
        "spikes": statistics.median(spikes[WARM:]),
        "visits": statistics.median(visits[WARM:]),
    }


def measure(kind: str, channels: int, rate: float, steps: int) -> dict[str, Any]:
    """One row."""
    generator = torch.Generator().manual_seed(1)
    x = (torch.rand((WARM + steps, *SHAPE), generator=generator) < rate).float()
    model = network(kind, channels, x[:WARM], rate)
    net = ss.from_torch(model, SHAPE)
    dense = Dense(model)
    checked(net, dense, x[:WARM])
    neurons = sum(int(np.prod(n.shape)) for n in net.nodes if isinstance(n.op, ss.Neuron))
    row = turns(net, dense, x)
    return {
        "neuron": kind,
        "channels": channels,
        "input_rate": rate,
        "neurons": neurons,
        **row,
    }


def main() -> None:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0003, 0.001, 0.003, 0.01])
    parser.add_argument("--neuron", choices=sorted(NEURONS), action="append")
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2, help="of SpikingJelly")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = [
        measure(kind, args.channels, rate, args.steps)
        for kind in args.neuron or ["if", "lif"]
        for rate in args.rates
    ]
    if args.json:
        print(json.dumps({"load": os.getloadavg()[0], "rows": rows}, indent=1))
    table = Table(title="median ms a step; all spikes checked equal")
    for column in ("neurons", "input", "spikes", "synops", "touched", "spikesim", "SpikingJelly"):
        table.add_column(column, justify="right")
    table.add_column("x (quartiles)", justify="right")
    for row in rows:
        low, high = row["ratio_iqr"]
        table.add_row(
            f"{row['neuron']} {row['neurons']:,}",
            f"{row['input_rate']:.2%}",
            f"{row['spikes']:,.0f}",
            f"{row['synops']:,.0f}",
            f"{row['visits'] / row['neurons']:.2%}",
            f"{row['spikesim_ms']:.3f}",
            f"{row['spikingjelly_ms']:.1f}",
            f"{row['ratio']:.0f} ({low:.0f}-{high:.0f})",
        )
    console = Console(stderr=args.json, width=120)
    console.print(table)
    console.print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
