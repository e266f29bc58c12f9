"""Learning without gradients on MNIST: accuracy of DiehlCook by size, epochs and seed.

    uv run --group dev python bench/learn.py 100x1 400x1 400x3 1600x3 --seeds 0 1 2
    uv run --group dev python bench/learn.py 6400x6 --seeds 0
    uv run --group dev python bench/learn.py 400x3 1600x3 --held-out random --seeds 0 1 2

A row is NEURONSxEPOCHS. Learns from the 60,000 training images, labels neurons by the same
images, tests on the first 3,000 of t10k, which nothing else has seen. `--held-out random` takes
3,000 of the training images, drawn with a fixed seed, away from both and tests on these;
`--held-out K` every twentieth, from number K on. (Odd numbers are easier by 5 points: MNIST's two
sources alternate.) `--option name=value` changes a parameter. One thread; `cpu` is the process'
own time, which a busy machine changes less than the clock. `--out` appends a line of JSON for
each run.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import spikesim as ss
from spikesim.convert.report import wilson

N_TEST = 3000
READOUTS = ("all", "proportion", "ngram")


def samples(held_out: int | str | None) -> tuple[Any, Any, Any, Any]:
    """Images and labels to learn from, and to test on."""
    train = ss.data.load("mnist", split="train")
    if held_out is not None:
        order = np.arange(len(train.x))
        if held_out == "random":
            order = np.random.default_rng(0).permutation(order)
        out = order % 20 == (0 if held_out == "random" else held_out)
        return train.x[~out], train.y[~out], train.x[out], train.y[out]
    test = ss.data.load("mnist")
    return train.x, train.y, test.x[:N_TEST], test.y[:N_TEST]


def measure(
    row: str, seed: int, options: dict[str, Any], held_out: int | str | None
) -> dict[str, Any]:
    """Learns, labels, tests."""
    neurons, epochs = map(int, row.split("x"))
    x, y, test_x, test_y = samples(held_out)
    model = ss.learn.DiehlCook(784, neurons, seed=seed, epochs=epochs, threads=1, **options)
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(x)
    seconds, own = time.perf_counter() - wall, time.process_time() - cpu
    model.assign(x, y)
    labelled = time.process_time() - cpu - own
    counts, seen = model.counts_, model.samples_seen_
    result: dict[str, Any] = {
        "row": row,
        "seed": seed,
        "held_out": held_out,
        "options": options,
        "seconds": seconds,
        "cpu": own,
        "label_cpu": labelled,
        "dead": int((model.labels_ < 0).sum()),
        **{name: counts[name] / seen for name in ("spikes", "synops", "weight_updates")},
    }
    for readout in READOUTS:
        result[readout] = model.set_params(readout=readout).score(test_x, test_y)
    return result


def table(results: list[dict[str, Any]]) -> str:
    """Means over seeds; the interval is that of the mean accuracy on one set of test images."""
    lines = [
        "| neurons, epochs | model | seeds | all (95 % interval) | proportion | n-gram "
        "| spikes a sample | dead | learning, CPU s | µs a sample | labelling, CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    keys = list(dict.fromkeys((r["row"], json.dumps(r["options"])) for r in results))
    for key in keys:
        rows = [r for r in results if (r["row"], json.dumps(r["options"])) == key]
        mean = {k: float(np.mean([r[k] for r in rows])) for k in rows[0] if k not in WORDS}
        low, high = wilson(mean["all"], N_TEST)
        each = " ".join(f"{r['all']:.1%}" for r in rows)
        seen = (60000 if rows[0]["held_out"] is None else 57000) * int(key[0].split("x")[1])
        lines.append(
            f"| {key[0].replace('x', ', ')} | {rows[0]['options'].get('model', 'wta')} | {each} "
            f"| {mean['all']:.1%} ({low:.1%}-{high:.1%}) | {mean['proportion']:.1%} "
            f"| {mean['ngram']:.1%} | {mean['spikes']:.1f} | {mean['dead']:.0f} "
            f"| {mean['cpu']:.1f} | {mean['cpu'] / seen * 1e6:.0f} | {mean['label_cpu']:.1f} |"
        )
    return "\n".join(lines)


WORDS = ("row", "seed", "held_out", "options")


def option(text: str) -> tuple[str, Any]:
    """name=value, the value as JSON where it is that."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", help="NEURONSxEPOCHS")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument(
        "--held-out",
        type=lambda text: text if text == "random" else int(text),
        metavar="K",
        help="0 to 19, or random",
    )
    parser.add_argument("--option", action="append", type=option, default=[])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="print the table of an --out file instead")
    given = parser.parse_args()
    if given.table is not None:
        print(table([json.loads(line) for line in given.table.read_text().splitlines()]))
        return
    results = []
    for row in given.rows:
        for seed in given.seeds:
            results.append(measure(row, seed, dict(given.option), given.held_out))
            if given.out is not None:
                with given.out.open("a") as file:
                    file.write(json.dumps(results[-1]) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
