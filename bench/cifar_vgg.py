"""A small ReLU VGG on CIFAR-10 for `conversion.py`, and how it is trained.

    python bench/cifar_vgg.py cifar_vgg.pt [--epochs 10]

Seven convolutions 3x3 with batch normalisation, four average pools, one dense layer: 0.15 million
parameters. The data set is that of `spikesim.data.load("cifar10")`.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from typing import Any

import torch
from torch import nn

# Channels of the convolutions; 0 stands for a 2x2 pool.
LAYOUT = (16, 16, 0, 32, 32, 0, 64, 64, 0, 128, 0)
PREPROCESSING: dict[str, Any] = {
    "scale": 1 / 255,
    "mean": [0.4914, 0.4822, 0.4465],
    "std": [0.2470, 0.2435, 0.2616],
}


def vgg() -> nn.Sequential:
    """(N, 3, 32, 32) → (N, 10), with random weights."""
    layers: list[nn.Module] = []
    widths = iter(pairwise([3, *filter(None, LAYOUT)]))
    for out in LAYOUT:
        if out == 0:
            layers.append(nn.AvgPool2d(2))
            continue
        before, after = next(widths)
        conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * LAYOUT[-2], 10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    import spikesim as ss
    from spikesim.train.augment import CropFlip

    torch.manual_seed(args.seed)
    model = vgg()
    train, test = ss.data.load("cifar10", "train"), ss.data.load("cifar10", "test")
    mean, std = (torch.tensor(PREPROCESSING[k]).reshape(-1, 1, 1) for k in ("mean", "std"))
    history = ss.train.fit(
        model,
        train.x,
        train.y,
        epochs=args.epochs,
        lr=0.1,
        schedule="one_cycle",
        augment=CropFlip(4),
        prepare=lambda x: (x.float() / 255 - mean) / std,
        seed=args.seed,
        validation=(test.x, test.y),
    )
    torch.save(model.state_dict(), args.out)
    print(f"{train.name}: {100 * history.validation[-1]:.2f} % of {len(test.x)} test images")


if __name__ == "__main__":
    main()
