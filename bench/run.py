"""The benchmark: spikesim and every installed library, the same network, alternating.

    python bench/run.py [SCENARIO ...] [--json] [--list]

Every contestant of a row gets the same weights, input and number of threads. Its spikes, layer by
layer, and its readout must equal spikesim's before it is timed. Then all take turns, call by
call, so that a slow moment of the machine hits each of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import memory  # noqa: E402
from contestants import Contestant, Row, installed  # noqa: E402

# Seconds between two calls.
SETTLE = 0.01


def scenarios() -> dict[str, dict[str, Any]]:
    """scenarios.toml by name."""
    found = tomllib.loads((HERE / "scenarios.toml").read_text())["scenario"]
    return {item["name"]: item for item in found}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scenario", nargs="*", help="names of scenarios.toml; default: all main")
    parser.add_argument("--list", action="store_true", help="list the scenarios and stop")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--seconds", type=float, default=20.0, help="measuring time of a row")
    parser.add_argument("--repeats", type=int, default=5, help="least calls of each contestant")
    parser.add_argument("--threads", type=int, help="instead of the scenario's")
    parser.add_argument("--batch", type=int, action="append", help="instead of the scenario's")
    parser.add_argument("--only", action="append", help="contestants whose name has this in it")
    return parser.parse_args()


def checked(mine: Contestant, reference: Contestant) -> bool | None:
    """Whether readout and spikes are the same; None where there is nothing to compare."""
    if not mine.spiking:
        return None
    same_spikes = mine.check() == reference.check()
    return same_spikes and bool(np.array_equal(mine.run(), reference.run()))


def timed(contestants: list[Contestant], seconds: float, repeats: int) -> dict[str, list[float]]:
    """Seconds of each call; everyone's turn comes equally often."""
    times: dict[str, list[float]] = {c.name: [] for c in contestants}
    start = time.perf_counter()
    while len(times[contestants[0].name]) < repeats or time.perf_counter() - start < seconds:
        for contestant in contestants:
            # Another's threads may spin for a while after their work.
            time.sleep(SETTLE)
            begin = time.perf_counter()
            contestant.run()
            times[contestant.name].append(time.perf_counter() - begin)
    return times


def measure(name: str, scenario: dict[str, Any], args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one scenario."""
    rows = []
    threads = args.threads or scenario["threads"]
    torch.set_num_threads(threads)
    for rate in scenario["rates"]:
        for batch in args.batch or scenario["batches"]:
            row = Row(scenario["network"], rate, batch, scenario["n_steps"], threads)
            kinds = list(installed())
            reference = kinds[0](row)
            wanted = [
                kind
                for kind in kinds[1:]
                if not args.only or any(part in kind.name for part in args.only)
            ]
            contestants = [reference, *(kind(row) for kind in wanted)]
            for contestant in contestants:
                contestant.settle()
            spikes = reference.check()
            verdicts = {c.name: checked(c, reference) for c in contestants}
            # A wrong engine has no time.
            running = [c for c in contestants if verdicts[c.name] is not False]
            times = timed(running, args.seconds, args.repeats)
            held = memory.measure(row.net, row.x.numpy(), row.n_steps, threads)
            ours = statistics.median(times[reference.name])
            for contestant in contestants:
                own = times.get(contestant.name)
                rows.append(
                    {
                        "scenario": name,
                        "engine": contestant.name,
                        "version": contestant.version(),
                        "options": contestant.options,
                        "precision": "f32",
                        "batch": batch,
                        "threads": threads,
                        "n_steps": row.n_steps,
                        "rate": _rate(row, spikes) if contestant.spiking else None,
                        "target_rate": rate,
                        "spikes_per_sample": sum(spikes.values()) / batch,
                        "median_ms_per_sample": None if own is None else _ms(own, batch, 0.5),
                        "iqr_ms": (
                            None if own is None else _ms(own, batch, 0.75) - _ms(own, batch, 0.25)
                        ),
                        "calls": 0 if own is None else len(own),
                        "over_spikesim": None if own is None else statistics.median(own) / ours,
                        "checked": verdicts[contestant.name],
                        "memory_mib": held if contestant is reference else None,
                    }
                )
    return rows


def _ms(times: list[float], batch: int, quantile: float) -> float:
    return float(np.quantile(times, quantile)) * 1e3 / batch


def _rate(row: Row, spikes: dict[str, int]) -> float:
    neurons = sum(int(np.prod(row.net.node(name).shape)) for name in spikes)
    return sum(spikes.values()) / (neurons * row.n_steps * row.batch)


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0].split(":")[1].strip() if names else model
    return {
        "cpu": model,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        # Of the last minute; above the threads of the scenario others were at work too.
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """The rows for people; times are milliseconds a sample."""
    shown = Table(title="median ms a sample, all threads; × is over spikesim in the same row")
    for column in ("scenario", "T", "batch", "threads", "rate", "engine", "version"):
        shown.add_column(column)
    for column in ("median", "IQR", "×", "peak MiB", "checked"):
        shown.add_column(column, justify="right")
    for row in rows:
        held = row["memory_mib"]
        median = row["median_ms_per_sample"]
        shown.add_row(
            row["scenario"],
            str(row["n_steps"]),
            str(row["batch"]),
            str(row["threads"]),
            "" if row["rate"] is None else f"{row['rate']:.3f}",
            f"{row['engine']} {row['options']}".strip(),
            row["version"],
            "–" if median is None else f"{median:.3f}",
            "–" if median is None else f"{row['iqr_ms']:.3f}",
            "–" if median is None else f"{row['over_spikesim']:.2f}",
            "" if held is None else f"{held['run']:.0f} ({held['weights']:.0f} weights)",
            {True: "yes", False: "WRONG", None: "n/a"}[row["checked"]],
        )
    return shown


def main() -> int:
    """Runs what was asked for."""
    args = arguments()
    known = scenarios()
    if args.list:
        for name, scenario in known.items():
            print(f"{name:14} {scenario['about']}")
        return 0
    names = args.scenario or [name for name, item in known.items() if not item.get("extra")]
    missing = [name for name in names if name not in known]
    if missing:
        print(
            f"bench: {missing[0]} is unknown, expected one of {', '.join(known)}", file=sys.stderr
        )
        return 2
    rows = [row for name in names for row in measure(name, known[name], args)]
    if args.json:
        print(json.dumps({"machine": machine(), "rows": rows}, indent=1))
    console = Console(stderr=args.json, width=None if sys.stdout.isatty() else 150)
    console.print(table(rows))
    about = machine()
    console.print(
        f"{about['cpu']}, {about['cores']} cores, load {about['load']}, {about['system']}"
    )
    return 0 if all(row["checked"] is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
