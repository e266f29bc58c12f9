"""Accuracy against the number of steps: spikesim's conversion, SpikingJelly's and Sinabs', side by
side on the same ReLU ANN.

    python bench/conversion.py                        # the embedded digits; trains its ANN
    python bench/conversion.py --model FILE.safetensors [--data mnist]
    python bench/conversion.py --ann FILE.py:BUILDER --state STATE.pt --data cifar10

FILE.safetensors is what `spikesim train` writes, with its data set and preprocessing. BUILDER()
makes a module (a Sequential), STATE.pt is its state dict. The data set is one of `spikesim.data`
(with FILE.py's PREPROCESSING): calibration images are drawn from its split for training; or a
.npz with `x_cal`, `x` and `y` (test), as the ANN takes them. Every converter gets the same of
each. Shown are the accuracy with its 95 % Wilson interval and the spikes an image; below, at
each T, the difference between spikesim and the best of each library on these very test images
(which flatters that library) with the 95 % interval of a paired bootstrap and McNemar's p.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from converters import BATCH, Answer, Converter, installed  # noqa: E402
from spikesim.convert.report import wilson  # noqa: E402
from tasks import task  # noqa: E402

STEPS = (1, 2, 4, 8, 16, 32)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", help="a file of `spikesim train`")
    parser.add_argument("--ann", help="FILE.py:BUILDER")
    parser.add_argument("--state", help="its state dict, as torch.save writes it")
    parser.add_argument("--data", help="a data set's name, or an .npz with x_cal, x and y")
    parser.add_argument("--steps", default=",".join(map(str, STEPS)), help="numbers of steps")
    parser.add_argument("--test", type=int, help="only the first test images")
    parser.add_argument("--calibration", type=int, default=512, help="calibration images")
    parser.add_argument("--only", action="append", help="converters whose name has this in it")
    parser.add_argument(
        "--keep",
        type=Path,
        help="a folder: answers are kept there and read again, so that what was cut off goes on; "
        "empty it when code changed",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser.parse_args()


# --- Statistics -----------------------------------------------------------------------------------


def paired(
    mine: NDArray[np.bool_], theirs: NDArray[np.bool_], draws: int = 10_000
) -> dict[str, float]:
    """The difference of two accuracies on the same images: bootstrap interval, exact McNemar p.

    An image counts +1, 0 or -1, so a resample is one draw of the three numbers of images.
    """
    n = len(mine)
    ahead, behind = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
    counts = [ahead, behind, n - ahead - behind]
    drawn = np.random.default_rng(0).multinomial(n, np.array(counts) / n, draws)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n, [0.025, 0.975])
    return {
        "difference": (ahead - behind) / n,
        "low": float(low),
        "high": float(high),
        "mcnemar_p": sign_test(ahead, behind),
    }


def sign_test(a: int, b: int) -> float:
    """Two-sided exact binomial test that a and b come of a fair coin."""
    n, k = a + b, min(a, b)
    if n == 0:
        return 1.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2)
        for i in range(k + 1)
    ]
    return min(1.0, 2 * sum(map(math.exp, logs)))


# --- Measuring ------------------------------------------------------------------------------------


@torch.inference_mode()
def ann_row(ann: nn.Module, x: Tensor, y: NDArray[Any]) -> dict[str, Any]:
    """The ANN itself."""
    predicted = torch.cat([ann(batch) for batch in x.split(BATCH)]).argmax(1).numpy()
    right = predicted == y
    low, high = wilson(float(right.mean()), len(y))
    return {"accuracy": float(right.mean()), "low": low, "high": high}


def measure(
    converter: Converter,
    ann: nn.Module,
    data: tuple[Tensor, Tensor, NDArray[Any]],
    steps: list[int],
    keep: Path | None = None,
) -> tuple[dict[str, Any], dict[int, NDArray[np.bool_]]]:
    """A converter's row, and which images it got right at each T."""
    x_cal, x, y = data
    row: dict[str, Any] = {
        "library": converter.library,
        "version": converter.version,
        "recipe": converter.name,
        "spikes_per_step": converter.kind,
    }
    try:
        with torch.no_grad():
            answer = kept(converter, ann, (x_cal, x), steps, keep)
    except Exception as error:  # a recipe that this ANN can't have is a line of the table
        return {**row, "error": f"{type(error).__name__}: {error}"}, {}
    row["chosen"] = answer.chosen
    right = {n: answer.output[n].argmax(1) == y for n in steps}
    row["by_steps"] = {}
    for n in steps:
        low, high = wilson(float(right[n].mean()), len(y))
        row["by_steps"][n] = {
            "accuracy": float(right[n].mean()),
            "low": low,
            "high": high,
            "spikes": answer.spikes[n],
        }
    return row, right


def kept(
    converter: Converter,
    ann: nn.Module,
    images: tuple[Tensor, Tensor],
    steps: list[int],
    folder: Path | None,
) -> Answer:
    """A converter's answer; what the folder has of it, T by T, is not computed again."""
    if folder is None:
        return converter.answer(ann, *images, steps)
    digest = hashlib.sha256(f"{converter.library} {converter.version}".encode())
    digest.update(f"{converter.name} {converter.kind}".encode())
    for tensor in (*ann.state_dict().values(), *images):
        digest.update(tensor.contiguous().numpy().tobytes())
    folder.mkdir(parents=True, exist_ok=True)
    paths = {n: folder / f"{digest.hexdigest()[:32]}-{n}.npz" for n in steps}
    missing = [n for n in steps if not paths[n].is_file()]
    # spikesim converts for each T anew, and each is worth keeping; others run once over all.
    for part in [[n] for n in missing] if converter.library == "spikesim" else [missing]:
        if not part:
            continue
        answer = converter.answer(ann, *images, part)
        for n in part:
            chosen = answer.chosen.get(n, "")
            np.savez(paths[n], output=answer.output[n], spikes=answer.spikes[n], chosen=chosen)
    found: Answer = Answer({}, {}, {})
    for n, path in paths.items():
        with np.load(path) as data:
            found.output[n], found.spikes[n] = data["output"], float(data["spikes"])
            if str(data["chosen"]):
                found.chosen[n] = str(data["chosen"])
    return found


def comparisons(
    rows: list[dict[str, Any]], rights: list[dict[int, NDArray[np.bool_]]], steps: list[int]
) -> list[dict[str, Any]]:
    """At each T, every row of spikesim against the best row of each library, kind by kind."""
    found = []
    for mine, right in zip(rows, rights, strict=True):
        if mine["library"] != "spikesim" or not right:
            continue
        others = sorted(
            {(r["library"], r["spikes_per_step"]) for r in rows}
            - {("spikesim", "single"), ("spikesim", "multi")}
        )
        for library, kind in others:
            for n in steps:
                theirs = [
                    i
                    for i, row in enumerate(rows)
                    if row["library"] == library and row["spikes_per_step"] == kind and rights[i]
                ]
                if not theirs:
                    continue
                best = max(theirs, key=lambda i: int(rights[i][n].sum()))
                found.append(
                    {
                        "n_steps": n,
                        "ours": mine["recipe"],
                        "library": library,
                        "kind": kind,
                        "recipe": rows[best]["recipe"],
                        "spikes_ratio": rows[best]["by_steps"][n]["spikes"]
                        / max(mine["by_steps"][n]["spikes"], 1e-9),
                        **paired(right[n], rights[best][n]),
                    }
                )
    return found


# --- Showing --------------------------------------------------------------------------------------


def show(report: dict[str, Any], steps: list[int]) -> None:
    """The report for people."""
    ann = report["ann"]
    shown = Table(
        title=f"accuracy in % (± half the 95 % interval) · thousand spikes an image; ANN "
        f"{100 * ann['accuracy']:.2f} ({100 * ann['low']:.2f}–{100 * ann['high']:.2f}), "
        f"{report['n_test']} test and {report['n_calibration']} calibration images"
    )
    shown.add_column("recipe")
    for n in steps:
        shown.add_column(f"T = {n}", justify="right")
    for row in report["rows"]:
        label = f"{row['library']} {row['recipe']}" + (
            " (multi)" if row["spikes_per_step"] == "multi" else ""
        )
        if "error" in row:
            shown.add_row(label, row["error"][:60])
            continue
        cells = []
        for n in steps:
            cell = row["by_steps"][n]
            half = 50 * (cell["high"] - cell["low"])
            cells.append(f"{100 * cell['accuracy']:.2f} ±{half:.1f} · {cell['spikes'] / 1e3:.1f}")
        shown.add_row(label, *cells)
    differences = Table(title="spikesim minus the best of each library at that T, in points")
    for column in ("T", "ours", "against", "difference", "95 %", "McNemar p", "their spikes/ours"):
        differences.add_column(column)
    for one in report["comparisons"]:
        differences.add_row(
            str(one["n_steps"]),
            one["ours"],
            f"{one['library']} {one['recipe']} ({one['kind']})",
            f"{100 * one['difference']:+.2f}",
            f"{100 * one['low']:+.2f} … {100 * one['high']:+.2f}",
            f"{one['mcnemar_p']:.2g}",
            f"{one['spikes_ratio']:.2f}",
        )
    console = Console(width=max(160, Console().width))
    console.print(shown)
    console.print(differences)
    for row in report["rows"]:
        for n, what in row.get("chosen", {}).items():
            print(f"{row['recipe']} at T = {n}: {what}")


def main() -> int:
    """Runs what was asked for."""
    args = arguments()
    torch.set_num_threads(args.threads)
    steps = [int(part) for part in args.steps.split(",")]
    ann, x_cal, x, y = task(args)
    x, y = x[: args.test], y[: args.test]
    rows, rights = [], []
    for converter in installed():
        label = f"{converter.library} {converter.name}"
        if args.only and not any(part in label for part in args.only):
            continue
        row, right = measure(converter, ann, (x_cal, x, y), steps, args.keep)
        print(label, row.get("error", "done"), file=sys.stderr, flush=True)
        rows.append(row)
        rights.append(right)
    report = {
        "ann": ann_row(ann, x, y),
        "n_test": len(y),
        "n_calibration": len(x_cal),
        "torch": torch.__version__,
        "rows": rows,
        "comparisons": comparisons(rows, rights, steps),
    }
    if args.json:
        print(json.dumps(report))
    else:
        show(report, steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
