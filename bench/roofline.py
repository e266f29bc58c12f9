"""The machine's limit of weight-row additions beside what each convolution of VGG-16 reaches.

    python bench/roofline.py [--rate 0.1] [--steps 4] [--batch 16] [--json]

One core. The limit: rows at random places of a table that fits in L1 (24 KB) or L2 (300 KB), lists
of 4 to 56 rows, sums in registers (bench/roofline.rs, built by rustc for this machine). A layer:
the whole call of a network of one convolution and IF neurons, so spike lists, neurons and counts
are within; input is spikes anywhere at `rate`, and one synaptic operation is one weight added.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import spikesim as ss
from spikesim.errors import UnsupportedError

HERE = Path(__file__).resolve().parent

# Inner convolutions of VGG-16 at 3x32x32: input channels, output channels, height and width.
LAYERS = (
    (64, 64, 32),
    (64, 128, 16),
    (128, 128, 16),
    (128, 256, 8),
    (256, 256, 8),
    (256, 256, 8),
    (256, 512, 4),
    (512, 512, 4),
    (512, 512, 4),
    (512, 512, 2),
    (512, 512, 2),
    (512, 512, 2),
)
L1, L2 = 24 * 1024, 300 * 1024

Limits = dict[tuple[str, int, int], float]


def limits() -> Limits:
    """Adds a second by kind of weight, outputs in a row, bytes of the table."""
    if shutil.which("rustc") is None:
        raise SystemExit("roofline: rustc is missing, expected a Rust toolchain to build with")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "roofline")
        flags = ["-O", "-C", "target-cpu=native", "--edition", "2024"]
        subprocess.run(["rustc", *flags, str(HERE / "roofline.rs"), "-o", str(program)], check=True)
        done = subprocess.run([str(program)], capture_output=True, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        kind, width, size, rate = line.split()
        found[kind, int(width), int(size)] = float(rate)
    return found


def layer(before: int, after: int, size: int) -> ss.Network:
    """A 3x3 convolution and IF neurons."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-64, 65, (after, before, 3, 3)) / 4096
    net = ss.Network(input_shape=(before, size, size))
    net.add(ss.Conv2d(weights.astype(np.float32), padding=1), "conv")
    net.add(ss.IF(), "if")
    return net


def reached(net: ss.Network, precision: str, args: argparse.Namespace) -> float | None:
    """Synaptic operations a second of CPU time, best of some calls; None: not in this precision."""
    try:
        sim = net.compile(precision, threads=1)
    except UnsupportedError:
        return None
    rng = np.random.default_rng(1)
    shape = (args.steps, args.batch, *net.input_shape)
    x = (rng.random(shape, np.float32) < args.rate).astype(np.float32)
    synops, best, start = 0, float("inf"), time.perf_counter()
    calls = 0
    while calls < args.calls or time.perf_counter() - start < args.seconds:
        # Of the processor: other programs on it do not count.
        begin = time.process_time()
        result = sim.run(x, layout="TN")
        best = min(best, time.process_time() - begin)
        synops = result.counts.synops_with_zeros
        calls += 1
    return synops / best


def report(found: Limits, rows: list[dict[str, Any]]) -> list[Table]:
    """For people: GSOP/s."""
    ceiling = Table(title="row additions of one core, G adds/s")
    for column in ("weights, sums", "outputs", "from L1", "from L2"):
        ceiling.add_column(column, justify="right")
    names = {"i8": "i8, i16", "i16": "i16, i16", "f32": "f32, f32"}
    for kind, width, size in found:
        if size == L1:
            values = [f"{found[kind, width, place] / 1e9:.1f}" for place in (L1, L2)]
            ceiling.add_row(names[kind], str(width), *values)
    layers = Table(title="inner convolutions of VGG-16, one thread, G synaptic operations/s")
    columns = ("layer", "f32", "of L1", "of L2", "i8", "of L1", "of L2")
    for column in columns:
        layers.add_column(column, justify="right")
    for row in rows:
        cells = [row["layer"]]
        for kind in ("f32", "i8"):
            value = row[kind]
            if value is None:
                cells += ["–", "–", "–"]
                continue
            parts = [f"{value / found[kind, 64, place]:.0%}" for place in (L1, L2)]
            cells += [f"{value / 1e9:.1f}", *parts]
        layers.add_row(*cells)
    return [ceiling, layers]


def main() -> None:
    """Measures both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rate", type=float, default=0.1, help="of the input spikes")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--calls", type=int, default=5, help="least calls of a layer")
    parser.add_argument("--seconds", type=float, default=1.0, help="measuring time of a layer")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = limits()
    rows: list[dict[str, Any]] = []
    for index, (before, after, size) in enumerate(LAYERS, start=2):
        net = layer(before, after, size)
        row: dict[str, Any] = {"layer": f"conv{index} {before}→{after} {size}x{size}"}
        row.update({kind: reached(net, kind, args) for kind in ("f32", "i8")})
        rows.append(row)
    if args.json:
        ceilings = [
            {"weights": kind, "outputs": width, "bytes": size, "adds_per_second": rate}
            for (kind, width, size), rate in found.items()
        ]
        print(json.dumps({"limits": ceilings, "layers": rows}, indent=1))
    console = Console(stderr=args.json, width=None if sys.stdout.isatty() else 120)
    for table in report(found, rows):
        console.print(table)


if __name__ == "__main__":
    main()
