"""The benchmark: spikesim and every installed library, the same network, alternating.

    python bench/run.py [SCENARIO ...] [--json] [--list]

Every contestant of a row gets the same weights, input and number of threads. spikesim's spikes
must be those of scenarios.toml, and the others' spikes, layer by layer, and readouts must equal
spikesim's before they are timed. Then all take turns, call by call, so that a slow moment of the
machine hits each of them.

Exit code 0; 1 where a count or an engine is wrong; 2 where the question is.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
SCENARIOS = HERE / "scenarios.toml"

# torch.compile's workers would outlive it.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")


def scenarios(path: Path) -> dict[str, dict[str, Any]]:
    """A file of scenarios by name."""
    found = tomllib.loads(path.read_text())["scenario"]
    return {item["name"]: item for item in found}


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
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
    parser.add_argument("--record", action="store_true", help="write expected spikes; no timing")
    parser.add_argument("--scenarios", type=Path, default=SCENARIOS, help="another file of them")
    args = parser.parse_args(given)
    for name, numbers in (("threads", [args.threads]), ("batch", args.batch or [])):
        if any(number is not None and number < 1 for number in numbers):
            parser.error(f"--{name} is {numbers}, expected at least 1")
    return args


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
        "torch": importlib.metadata.version("torch"),
        "cores": os.cpu_count(),
        # Of the last minute; above the threads of the scenario others were at work too.
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """The rows for people; times are milliseconds a sample."""
    shown = Table(title="median ms a sample, all threads; × is over spikesim (f32) in the same row")
    for column in ("scenario", "T", "batch", "threads", "rate", "engine", "version"):
        shown.add_column(column)
    for column in ("median", "IQR", "×", "peak MiB", "checked"):
        shown.add_column(column, justify="right")
    for row in rows:
        held, median, ratio = row["memory_mib"], row["median_ms_per_sample"], row["over_spikesim"]
        shown.add_row(
            row["scenario"],
            str(row["n_steps"]),
            str(row["batch"]),
            str(row["threads"]),
            "" if row["rate"] is None else f"{row['rate']:.3f}",
            f"{row['engine']} {row['options']}".strip(),
            row["version"] or "",
            "–" if median is None else f"{median:.3f}",
            "–" if median is None else f"{row['iqr_ms']:.3f}",
            "–" if ratio is None else f"{ratio:.2f}",
            "" if held is None else f"{held['run']:.0f} ({held['weights']:.0f} weights)",
            _verdict(row),
        )
    return shown


def _verdict(row: dict[str, Any]) -> str:
    if row["status"] != "measured":
        return "WRONG" if row["status"] == "wrong" else row["status"].split(":")[0]
    if row["agreement"] is not None:
        return f"{row['agreement']:.0%} top-1"
    return "n/a" if row["checked"] is None else "yes"


def absent(rows: list[dict[str, Any]]) -> list[str]:
    """Who was not measured and why, each once for its scenarios."""
    why: dict[str, list[str]] = {}
    for row in rows:
        if row["status"] not in ("measured", "wrong"):
            where = f"{row['scenario']} batch {row['batch']}"
            places = why.setdefault(f"{row['engine']}: {row['status']}", [])
            if where not in places:
                places.append(where)
    return [f"{reason} ({', '.join(places)})" for reason, places in why.items()]


def main(given: Sequence[str] | None = None) -> int:
    """Runs what was asked for; None: by the command line."""
    args = arguments(given)
    known = scenarios(args.scenarios)
    if args.list:
        for name, scenario in known.items():
            print(f"{name:16} {scenario['about']}")
        return 0
    names = args.scenario or [name for name, item in known.items() if not item.get("extra")]
    unknown = [name for name in names if name not in known]
    if unknown:
        print(
            f"bench: {unknown[0]} is unknown, expected one of {', '.join(known)}", file=sys.stderr
        )
        return 2
    try:
        # Here, so that --list needs no torch.
        from expected import record
        from measure import measure
    except ModuleNotFoundError as error:
        print(f"bench: {error.name} is missing, expected the group `bench`", file=sys.stderr)
        return 2
    rows: list[dict[str, Any]] = []
    complaints: list[str] = []
    for name in names:
        found = measure(known[name], args)
        rows += found.rows
        complaints += found.complaints
        if args.record:
            record(args.scenarios, name, found.spikes)
    if args.json:
        print(json.dumps({"machine": machine(), "rows": rows, "wrong": complaints}, indent=1))
    console = Console(stderr=args.json, width=None if sys.stdout.isatty() else 160)
    console.print(table(rows))
    for line in absent(rows):
        console.print(line)
    about = machine()
    console.print(
        f"{about['cpu']}, {about['cores']} cores, load {about['load']}, {about['system']}"
    )
    for line in complaints:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    raise SystemExit(main())
