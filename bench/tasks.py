"""The ANN, calibration and test images of `conversion.py`."""

from __future__ import annotations

import argparse
import importlib.util
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Task = tuple[nn.Module, Tensor, Tensor, NDArray[Any]]


def task(args: argparse.Namespace) -> Task:
    """The ANN in eval mode, calibration images, test images and their labels."""
    import spikesim as ss

    if args.model:
        module, meta = ss.models.load(args.model)
        return module.eval(), *of_data(args.data or meta["data"], meta, args.calibration)
    if not args.ann:
        return digits(args.calibration)
    path, _, builder = args.ann.partition(":")
    spec = importlib.util.spec_from_file_location("ann_of_the_benchmark", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"bench: {path} can't be read, expected a Python file")
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    ann: nn.Module = getattr(code, builder)()
    ann.load_state_dict(torch.load(args.state, weights_only=True))
    if not args.data.endswith(".npz"):
        meta = {"preprocessing": code.PREPROCESSING}
        return ann.eval(), *of_data(args.data, meta, args.calibration)
    with np.load(args.data) as data:
        x_cal, x, y = data["x_cal"], data["x"], data["y"]
    return (
        ann.eval(),
        torch.from_numpy(x_cal[: args.calibration]).float(),
        torch.from_numpy(x).float(),
        y,
    )


def of_data(name: str, meta: dict[str, Any], count: int) -> tuple[Tensor, Tensor, NDArray[Any]]:
    """Both splits shuffled, for they may come sorted: `count` training images, all for tests."""
    import spikesim as ss

    prepare = ss.data.Preprocessing.of(meta)
    train, test = ss.data.load(name, "train"), ss.data.load(name, "test")
    drawn = np.random.default_rng(0).permutation(len(train.x))[:count]
    order = np.random.default_rng(0).permutation(len(test.x))
    x_cal, x = prepare.apply(train.x[drawn], 3), prepare.apply(test.x[order], 3)
    return torch.from_numpy(x_cal), torch.from_numpy(x), np.asarray(test.y)[order]


def digits(n_calibration: int) -> tuple[nn.Module, Tensor, Tensor, NDArray[Any]]:
    """scikit-learn's 8x8 digits but the embedded 360, a small net trained on them, those 360."""
    from sklearn.datasets import load_digits

    import spikesim as ss

    torch.manual_seed(0)
    test = ss.data.load("digits")
    every = load_digits()
    held = {image.tobytes() for image in np.asarray(test.x, np.float64).reshape(-1, 64)}
    train = [i for i, image in enumerate(every.data) if image.tobytes() not in held]
    x = torch.from_numpy(every.data[train] / 16).float().reshape(-1, 1, 8, 8)
    y = torch.from_numpy(every.target[train])
    ann = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.AdamW(ann.parameters(), 3e-3, weight_decay=1e-2)
    for _ in range(20):
        for batch in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(ann(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    x_test = torch.from_numpy(np.asarray(test.x, np.float32) / 16).reshape(-1, 1, 8, 8)
    return ann.eval(), x[:n_calibration], x_test, np.asarray(test.y)
