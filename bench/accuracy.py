"""Accuracy against T of every method of conversion on one ANN, run by the Rust core.

    uv run --group dev spikesim train mnist-relu --out mnist-relu.safetensors
    uv run --group dev python bench/accuracy.py mnist-relu.safetensors

The model's own data set is taken: calibration from its split for training, accuracy on the one
for tests. `--methods` names methods, each maybe with options: `percentile:v0=0.5`.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

import spikesim as ss
from spikesim.convert.ann.evaluate import outputs_by_steps, predictions
from spikesim.convert.report import wilson

STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
METHODS = (
    *("max", "percentile", "percentile:v0=0.5", "channel_wise", "channel_wise:v0=0.5"),
    *("spike_norm", "spike_norm:reset=subtract", "rmp", "spiking_resnet"),
    *("calibrated@1", "calibrated@2", "calibrated@4", "calibrated@8", "calibrated@32"),
)


def parse(text: str) -> tuple[str, int | None, dict[str, Any]]:
    """method[@T][:option=value,…]."""
    head, _, tail = text.partition(":")
    method, _, steps = head.partition("@")
    options: dict[str, Any] = {}
    for pair in filter(None, tail.split(",")):
        name, _, value = pair.partition("=")
        try:
            options[name] = float(value) if "." in value else int(value)
        except ValueError:
            options[name] = value
    return method, int(steps) if steps else None, options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--steps", default=",".join(map(str, STEPS)))
    parser.add_argument("--n-calibration", type=int, default=256)
    parser.add_argument("--n-samples", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    module, meta = ss.models.load(given.model)
    prepare = ss.data.Preprocessing.of(meta)
    train, test = ss.data.load(meta["data"], "train"), ss.data.load(meta["data"], "test")
    order = np.random.default_rng(0).permutation(len(train.x))
    c, labels = train.x[order], train.y[order]
    x = prepare.apply(test.x[: given.n_samples], 3)
    y = test.y[: given.n_samples]
    steps = [int(n) for n in given.steps.split(",")]
    rows = []
    for text in given.methods:
        method, n_steps, options = parse(text)
        count = options.pop("n_calibration", given.n_calibration)
        data = (prepare.apply(c[:count], 3), labels[:count])
        begun = time.perf_counter()
        net, _ = ss.convert(
            module,
            data,
            method=method,
            n_steps=n_steps,
            validation=(x[:64], y[:64]),
            n_calibration=count,
            steps=[1],
            **options,
        )
        seconds = time.perf_counter() - begun
        outputs = outputs_by_steps(net, x, steps)
        accuracy = {n: float(np.mean(predictions(o) == y)) for n, o in outputs.items()}
        rows.append({"method": text, "seconds": seconds, "accuracy": accuracy})
        if not given.json:
            if len(rows) == 1:
                ann = float(np.mean(module_predictions(module, x) == y))
                low, high = wilson(ann, len(y))
                print(
                    f"{given.model}: ANN {100 * ann:.2f} % ({100 * low:.2f} to {100 * high:.2f}, "
                    f"95 %) of {len(y)} images; one image is {100 / len(y):.3f} points\n"
                )
                print("| method | " + " | ".join(f"T={n}" for n in steps) + " |")
                print("|---|" + "---|" * len(steps))
            cells = " | ".join(f"{100 * a:.2f}" for a in accuracy.values())
            print(f"| {text} | {cells} |", flush=True)
    if given.json:
        ann = float(np.mean(module_predictions(module, x) == y))
        print(json.dumps({"model": given.model, "ann": ann, "n": len(y), "rows": rows}))


def module_predictions(module: Any, x: Any) -> Any:
    """The ANN's classes."""
    import torch

    with torch.no_grad():
        parts = [module(torch.from_numpy(x[i : i + 500])).argmax(1) for i in range(0, len(x), 500)]
    return torch.cat(parts).numpy()


if __name__ == "__main__":
    main()
