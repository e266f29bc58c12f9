"""Convolutional STDP: accuracy on MNIST, and speed beside Spyker.

    python bench/learn_conv.py accuracy [--seeds 0 1 2]
    python bench/learn_conv.py speed --spyker /path/to/venv/bin/python [--images 1024]

`accuracy` trains on the 60,000 training images of MNIST (SPIKESIM_DATA) and tests on the first
3,000 of t10k. `speed` runs Spyker's own two-layer MNIST network (Kheradpisheh et al., batches of
64) in Spyker, by the interpreter that has it, and here, on the same images with the same weights
at the start, each on one thread, and compares seconds of CPU; features of equal weights are
compared first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import spikesim as ss
from spikesim.convert.report import wilson
from spikesim.learn import ConvSTDP, LatencyPool, STDPConv


def network(seed: int) -> ConvSTDP:
    """64 filters of 5x5, one spike a place, pooled over 4x4 every 2 places."""
    first = STDPConv(64, 5, threshold=10, k=5, radius=2, padding=2, lateral=True, n_images=4000)
    return ConvSTDP([first, LatencyPool(4, stride=2)], C=0.01, seed=seed)


def accuracy(seeds: list[int]) -> None:
    train, test = ss.data.load("mnist", split="train"), ss.data.load("mnist", split="test")
    x, y = test.x[:3000], test.y[:3000]
    print("| seed | right of 3,000 | accuracy (95 %) | layers | read-out | convergence index |")
    print("|---|---|---|---|---|---|")
    scores = []
    for seed in seeds:
        begin = time.process_time()
        model = network(seed).fit(train.x)
        layers = time.process_time() - begin
        model.fit_readout(train.x, train.y)
        readout = time.process_time() - begin - layers
        right = round(model.score(x, y) * len(y))
        low, high = wilson(right / len(y), len(y))
        scores.append(right / len(y))
        print(
            f"| {seed} | {right} | {right / len(y):.2%} ({low:.2%} to {high:.2%}) | "
            f"{layers:.1f} s | {readout:.0f} s | {model.convergence(0):.4f} |",
            flush=True,
        )
    print(f"mean {np.mean(scores):.2%}")


def spykers(n: int) -> ConvSTDP:
    """The network of Spyker's example, with `n` images for each layer."""
    first = STDPConv(32, 5, threshold=10, k=5, radius=2, padding=2, n_images=n, double_every=0)
    second = STDPConv(150, 2, threshold=1, k=8, radius=1, padding=1, n_images=n, double_every=0)
    pool = LatencyPool(2, padding=1)
    return ConvSTDP([first, pool, second, pool], batch_size=64, threads=1)


def speed(spyker: str, n: int, repeats: int) -> None:
    raw = ss.data.load("mnist", split="train").x[:n, 0]
    images = (raw / np.float32(255)).astype(np.float32)
    model = spykers(n)
    model._start((1, 28, 28))
    start = {f"weight{k}": model.weights_[i].copy() for k, i in ((1, 0), (2, 2))}
    features = model.transform(images)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(source, images=images, repeats=repeats, **start)
        side = Path(__file__).with_name("spyker_side.py")
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        env.pop("PYTHONPATH", None)
        subprocess.run([spyker, str(side), str(source), str(target)], env=env, check=True)
        theirs = dict(np.load(target))
    same = float((theirs["checked"] == (features > 0)).mean())
    print(f"features of equal weights that agree: {same:.4%}; spiking: {(features > 0).mean():.1%}")
    if same < 0.99:
        raise SystemExit("the two do not compute the same: no comparison")
    ours: dict[str, float] = {}
    work: tuple[tuple[str, Any], ...] = (
        ("first", lambda: model.partial_fit(images)),
        ("second", lambda: model.partial_fit(images)),
        ("features", lambda: model.transform(images)),
    )
    for _ in range(repeats):
        model._start((1, 28, 28))
        for name, step in work:
            begin = time.process_time()
            step()
            spent = time.process_time() - begin
            ours[name] = min(spent, ours.get(name, spent))
    print("| work | Spyker | spikesim | ratio |\n|---|---|---|---|")
    for name, seconds in ours.items():
        per = [float(s) / n * 1e6 for s in (theirs[name], seconds)]
        print(f"| {name} | {per[0]:.0f} us | {per[1]:.0f} us | {per[0] / per[1]:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("accuracy")
    verb.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    verb = verbs.add_parser("speed")
    verb.add_argument("--spyker", required=True, help="a Python that has spyker and numpy")
    verb.add_argument("--images", type=int, default=1024)
    verb.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.verb == "accuracy":
        accuracy(args.seeds)
    else:
        speed(args.spyker, args.images, args.repeats)


if __name__ == "__main__":
    main()
