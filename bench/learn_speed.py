"""Learning and answering in time: spikesim beside BindsNET and Brian2, the same input spikes.

    python bench/learn_speed.py --bindsnet PYTHON --brian2 PYTHON [--json FILE]
    python bench/learn_speed.py --only cost --picture docs/learning-cost.svg

Contestants take turns on the same cores; a row is the median over turns, with the range. Only
ratios of one run count. A rival without an interpreter is skipped by name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import spikesim as ss
from rivals_learn import Worker, start
from spikesim import _core

STEPS = 250
#: Steps of 0.5 ms of a presentation and of the rest after it.
STIMULUS, REST = 700, 300


def images(n: int) -> tuple[np.ndarray, str]:
    """Intensities (n, 784) in [0, 1], and where they are from."""
    try:
        data = ss.data.load("mnist", split="train")
        return np.asarray(data.x[:n], np.float32).reshape(n, -1) / 255, "MNIST, first of training"
    except Exception as error:
        rng = np.random.default_rng(0)
        x = np.where(rng.random((n, 784)) < 0.19, rng.random((n, 784)), 0)
        return x.astype(np.float32), f"random images, 19 % of pixels on ({type(error).__name__})"


def raster(x: np.ndarray, steps: int, hz: float, dt: float, seed: int = 0) -> np.ndarray:
    """Bernoulli spikes, uint8 (steps, samples, inputs)."""
    rng = np.random.default_rng(seed)
    return (rng.random((steps, *x.shape)) < x * (hz * dt / 1000)).astype(np.uint8)


def packed(spikes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(steps, inputs) as the conductance engine takes it."""
    offsets = np.concatenate([[0], np.cumsum(spikes.sum(1, dtype=np.int64))]).astype(np.uint32)
    return offsets, np.nonzero(spikes)[1].astype(np.uint32)


class Turns:
    """Contestants in turns: seconds a sample, of each turn."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.times: dict[str, list[float]] = {}
        self.notes: dict[str, str] = {}

    def take(self, name: str, seconds: float, note: str = "") -> None:
        self.times.setdefault(name, []).append(seconds / self.samples)
        self.notes[name] = note or self.notes.get(name, "")

    def rows(self, title: str, ours: list[str]) -> list[dict[str, Any]]:
        rows = []
        for name, t in self.times.items():
            median = statistics.median(t)
            row: dict[str, Any] = {"case": title, "contestant": name, "seconds": median}
            row |= {"low": min(t), "high": max(t), "turns": len(t), "note": self.notes[name]}
            if name not in ours:
                row["ratio"] = {
                    mine: statistics.median(a / b for a, b in zip(t, self.times[mine], strict=True))
                    for mine in ours
                    if mine in self.times
                }
            rows.append(row)
        return rows


def timed(f: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    out = f()
    return time.perf_counter() - begin, out


def busy(f: Callable[[], Any], times: int) -> float:
    """Least CPU seconds of some calls: there is no rival, so the wait for a CPU is left out."""
    least = float("inf")
    for _ in range(times):
        begin = time.process_time()
        f()
        least = min(least, time.process_time() - begin)
    return least


def mean_rate(model: Any, before: dict[str, int], samples: int) -> str:
    after = model.counts_
    return f"{(after['spikes'] - before['spikes']) / samples:.1f} spikes a sample"


def drawn(x: np.ndarray, hz: float, first: int | None, path: Path) -> np.ndarray:
    """The spikes that a `DiehlCook` draws itself of these samples (S12.2), for the rival's file."""
    spikes = ss.learn.poisson_spikes(x, STEPS, max_rate=hz, first_sample=first).astype(np.uint8)
    np.savez(path, raster=spikes)
    return spikes


def learners(n: int, hz: float, threads: int) -> dict[str, Any]:
    """spikesim's contestants; nothing is presented twice, so that input spikes are the same."""
    kinds = ("wta", "current")
    few = {"max_rate": hz, "min_spikes": 0, "threads": threads}
    return {m: ss.learn.DiehlCook(784, n, model=m, **few) for m in kinds}


def training(args: argparse.Namespace, folder: Path, bindsnet: Worker | None) -> list[dict]:
    """(a) A training sample: 250 steps, one core; ours with the drawing of its spikes."""
    rows = []
    x = images(args.samples)[0]
    path = folder / "train.npz"
    for n in args.neurons:
        for hz in args.rates:
            ours, turns = learners(n, hz, 1), Turns(args.samples)
            for turn in range(args.turns + 1):
                spikes = drawn(x, hz, turn * args.samples, path)
                for name, model in ours.items():
                    before = model.counts_ if turn else {"spikes": 0}
                    seconds, _ = timed(lambda m=model: m.partial_fit(x))
                    if turn:
                        turns.take(name, seconds, mean_rate(model, before, args.samples))
                    if turn == 1 and model.counts_["input_spikes"] - before["input_spikes"] != (
                        spikes.sum()
                    ):
                        raise AssertionError(f"{name} did not see the rival's input spikes")
                request = {"data": str(path), "neurons": n, "learn": True, "batch": 1}
                if bindsnet:
                    seconds = bindsnet.ask(**request, count=False)["seconds"]
                    if turn:
                        turns.take("bindsnet", seconds)
            if bindsnet:
                count = bindsnet.ask(**request, count=True)["spikes"] / args.samples
                turns.notes["bindsnet"] = f"{count:.1f} spikes a sample"
            title = f"training, {n} neurons, {spikes.sum() / args.samples:.0f} input spikes"
            rows += turns.rows(title, list(ours))
    return rows


def answering(args: argparse.Namespace, folder: Path, bindsnet: Worker | None) -> list[dict]:
    """(c) Labelling and inference: weights frozen, two threads."""
    rows = []
    x = images(args.answers)[0]
    path = folder / "answer.npz"
    drawn(x, args.rates[0], None, path)
    for n in args.neurons:
        ours, turns = learners(n, args.rates[0], 2), Turns(args.answers)
        for model in ours.values():
            model.partial_fit(x)
        for turn in range(args.turns + 1):
            for name, model in ours.items():
                seconds, counts = timed(lambda m=model: m.transform(x))
                if turn:
                    turns.take(name, seconds, f"{counts.sum() / args.answers:.1f} spikes a sample")
            for batch in (1, args.answers) if bindsnet else ():
                request = {"data": str(path), "neurons": n, "learn": False, "batch": batch}
                seconds = bindsnet.ask(**request, count=False)["seconds"]
                if turn:
                    turns.take(f"bindsnet, batch {batch}", seconds)
        rows += turns.rows(f"answering, {n} neurons, 2 threads", list(ours))
    return rows


def conductance(args: argparse.Namespace, folder: Path, rivals: dict[str, Worker]) -> list[dict]:
    """(b) The same equations as Brian2: 350 ms and 150 ms of rest at 0.5 ms, learning."""
    rows = []
    images_ = images(args.brian2_samples)[0]
    stimulus = raster(images_, STIMULUS, 63.75, 0.5)
    silence = np.zeros((REST, 784), np.uint8)
    train = np.concatenate([np.concatenate([stimulus[:, k], silence]) for k in range(len(images_))])
    steps, inputs = np.nonzero(train)
    for n in args.brian2_neurons:
        rng = np.random.default_rng(1)
        weights = (0.3 * (rng.random((784, n)) + 0.01)).astype(np.float32)
        weights *= np.float32(78) / weights.sum(0)
        theta = np.full(n, 20, np.float32)
        path = folder / f"brian2-{n}.npz"
        arrays = {"weights": weights, "theta": theta, "input": inputs, "input_step": steps}
        np.savez(path, **arrays, steps=len(train), learn=True)
        turns = Turns(len(images_))
        spikes = packed(train)
        for turn in range(args.turns + 1):
            net = _core.Conductance(weights, theta, {})
            seconds, out = timed(lambda net=net, s=spikes: net.run(*s, True, False))
            if turn:
                total = f"{out['counts'].sum()} spikes, weights {net.weights().sum():.3f}"
                turns.take("conductance", seconds, total)
            for name, worker in rivals.items():
                answer = worker.ask(data=str(path))
                if turn:
                    note = f"{answer['spikes']['exc']} spikes, weights {answer['weights']:.3f}"
                    turns.take(name, answer["seconds"], note)
        title = f"conductance, {n} neurons, {len(inputs) / len(images_):.0f} input spikes"
        rows += turns.rows(title, ["conductance"])
    return rows


def cost(args: argparse.Namespace) -> list[dict]:
    """(d) A training sample against neurons and input rate."""
    rows = []
    x = images(args.samples)[0]
    for n in (100, 400, 1600, 6400):
        for hz in (16.0, 32.0, 63.75, 127.5):
            spikes = raster(x, STEPS, hz, 1.0)
            per = spikes.sum() / args.samples
            for name, model in learners(n, hz, 1).items():
                model.partial_fit(x)
                seconds = busy(lambda m=model: m.partial_fit(x), args.turns)
                rows.append(_cost_row(name, n, hz, per, seconds / args.samples))
            rows.append(_conductance_cost(args, x, n, hz))
    return rows


def _conductance_cost(args: argparse.Namespace, x: np.ndarray, n: int, hz: float) -> dict:
    samples = min(args.samples, 10)
    spikes = raster(x[:samples], STIMULUS, hz, 0.5)
    rng = np.random.default_rng(1)
    weights = (0.3 * (rng.random((784, n)) + 0.01)).astype(np.float32)
    net = _core.Conductance(weights, np.full(n, 20, np.float32), {})
    parts = [packed(spikes[:, k]) for k in range(samples)]
    rest = np.zeros(REST + 1, np.uint32), np.zeros(0, np.uint32)

    def once() -> None:
        for part in parts:
            net.normalize(False)
            net.run(*part, True, False)
            net.run(*rest, True, False)

    once()
    seconds = busy(once, args.turns)
    return _cost_row("conductance", n, hz, spikes.sum() / samples, seconds / samples)


def _cost_row(model: str, n: int, hz: float, spikes: float, seconds: float) -> dict[str, Any]:
    row = {"model": model, "neurons": n, "hz": hz, "input_spikes": float(spikes)}
    return {**row, "seconds": seconds, "ns_per_synop": seconds * 1e9 / (spikes * n)}


def picture(rows: list[dict], path: Path) -> None:
    """Microseconds a sample against spikes x fan-out, doubly logarithmic."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    models = list(dict.fromkeys(r["model"] for r in rows))
    figure, axes = pyplot.subplots(1, len(models), figsize=(4 * len(models), 3.4), sharey=True)
    for ax, model in zip(np.atleast_1d(axes), models, strict=True):
        for n in sorted({r["neurons"] for r in rows}):
            some = [r for r in rows if r["model"] == model and r["neurons"] == n]
            synops = [r["input_spikes"] * n for r in some]
            ax.loglog(synops, [r["seconds"] * 1e6 for r in some], "o-", ms=3, label=f"{n} neurons")
        ax.set(title=model, xlabel="input spikes x neurons")
        ax.grid(alpha=0.3)
    np.atleast_1d(axes)[0].set_ylabel("µs a training sample")
    np.atleast_1d(axes)[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)


def table(rows: list[dict]) -> str:
    """Rows of (a) to (c)."""
    lines = ["| case | who | ms a sample | range | against ours | activity |"]
    lines.append("|---|---|---|---|---|---|")
    for r in rows:
        ratio = ", ".join(f"{v:,.0f}x {k}" for k, v in r.get("ratio", {}).items())
        span = f"{r['low'] * 1e3:.4g} – {r['high'] * 1e3:.4g}"
        cells = [r["case"], r["contestant"], f"{r['seconds'] * 1e3:.4g}", span, ratio, r["note"]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cost_table(rows: list[dict]) -> str:
    lines = [
        "| model | neurons | rate at full intensity | input spikes | µs a sample | ns a synop |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for r in rows:
        cells = [r["model"], str(r["neurons"]), f"{r['hz']:g} Hz", f"{r['input_spikes']:.0f}"]
        cells += [f"{r['seconds'] * 1e6:.0f}", f"{r['ns_per_synop']:.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bindsnet", help="interpreter that has bindsnet")
    parser.add_argument("--brian2", help="interpreter that has brian2 and cython")
    parser.add_argument("--only", nargs="+", choices=("training", "answering", "brian2", "cost"))
    parser.add_argument("--neurons", nargs="+", type=int, default=[400, 1600])
    parser.add_argument("--brian2-neurons", nargs="+", type=int, default=[400])
    parser.add_argument("--brian2-modes", nargs="+", help='such as "brian2 c++"; all by default')
    parser.add_argument("--rates", nargs="+", type=float, default=[63.75, 127.5], help="Hz")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--answers", type=int, default=64, help="samples of (c)")
    parser.add_argument("--brian2-samples", type=int, default=4)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--cores", nargs="+", type=int, help="CPUs to use; the first for one-core")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    return parser.parse_args()


def main() -> None:
    args = parsed()
    cores = args.cores or sorted(os.sched_getaffinity(0))[:2]
    parts = args.only or ["training", "answering", "brian2", "cost"]
    out: dict[str, Any] = {
        "spikesim": ss.__version__,
        "python": platform.python_version(),
        "level": _core.levels()[-1],
        "images": images(1)[1],
        "load": os.getloadavg(),
        "versions": {},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in parts:
            os.sched_setaffinity(0, cores if part == "answering" else cores[:1])
            out[part] = _part(part, args, folder, out["versions"])
            text = cost_table(out[part]) if part == "cost" else table(out[part])
            print(f"\n## {part}\n\n{text}", flush=True)
    out["load_after"] = os.getloadavg()
    about = {k: v for k, v in out.items() if k not in parts}
    print("\n" + json.dumps(about))
    if args.json:
        args.json.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    if args.picture and "cost" in out:
        picture(out["cost"], args.picture)


def _part(part: str, args: argparse.Namespace, folder: Path, versions: dict) -> list[dict]:
    if part == "cost":
        return cost(args)
    wanted: dict[str, tuple[str | None, str, tuple[str, ...]]] = {}
    threads = 2 if part == "answering" else 1
    if part == "brian2":
        script = "brian2_conductance.py"
        for name, flags in (
            ("brian2 cython", ("--serve", "cython")),
            ("brian2 c++", ("--serve", "standalone")),
            ("brian2 c++ float32", ("--serve", "standalone", "--float32")),
        ):
            if args.brian2_modes and name not in args.brian2_modes:
                continue
            wanted[name] = (args.brian2, script, flags)
    else:
        wanted["bindsnet"] = (args.bindsnet, "bindsnet_worker.py", (str(threads),))
    rivals: dict[str, Worker] = {}
    for name, (python, script, flags) in wanted.items():
        worker = start(name, python, script, *flags, threads=threads)
        if isinstance(worker, str):
            print(worker)
        else:
            rivals[name] = worker
            versions |= worker.versions
    try:
        if part == "brian2":
            return conductance(args, folder, rivals)
        run = training if part == "training" else answering
        return run(args, folder, rivals.get("bindsnet"))
    finally:
        for worker in rivals.values():
            worker.close()


if __name__ == "__main__":
    main()
