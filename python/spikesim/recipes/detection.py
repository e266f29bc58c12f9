"""The recipe of a detector: digits on canvases, found by a small YOLO.

    module, meta = train(data="mnist")
    region = Region.of(meta["region"])
    print(evaluate(module_predictor(module), canvases("mnist", "test", 1000), region))

The same `evaluate` takes a spiking network, `network_predictor(net, n_steps)`. Canvases for
training are made of training images alone, those for tests of test images alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikesim import data as datasets
from spikesim.detection import (
    Canvases,
    MeanAP,
    Region,
    Truth,
    fit_anchors,
    make_canvases,
    mean_average_precision,
)
from spikesim.detection.loss import region_loss
from spikesim.errors import InputError, UnsupportedError
from spikesim.models.tiny_yolo import tiny_yolo
from spikesim.network import Network

#: From images (N, 1, h, w) float32 to the output (N, A·(5 + C), rows, columns).
Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
#: Told (canvases done, in all).
Tell = Callable[[int, int], None]

BATCH = 32
PEAK_RATE = 4e-3
CLASSES = 10


@dataclass(frozen=True)
class Setting:
    """What the recipe does with a data set.

    Attributes:
        size: of a canvas, in pixels.
        digit_size: smallest and largest of a digit image.
        per_image: fewest and most digits.
        widths, strides: of the network.
        anchors: how many.
        per_epoch: canvases an epoch, made anew for each.
        epochs: unless another number is asked for.
    """

    size: int
    digit_size: tuple[int, int]
    per_image: tuple[int, int]
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    anchors: int
    per_epoch: int
    epochs: int

    @property
    def cell(self) -> int:
        """Pixels a cell of the output."""
        return int(np.prod(self.strides))


SETTINGS = {
    "mnist": Setting(48, (14, 28), (1, 4), (16, 32, 64, 128, 128), (1, 2, 2, 2, 1), 3, 8000, 12),
    "digits": Setting(24, (8, 12), (1, 3), (16, 32, 64, 64), (1, 2, 2, 1), 2, 1000, 40),
}


def canvases(data: str, split: str, count: int, *, seed: int = 0) -> Canvases:
    """Canvases of the recipe's size, made of the images of one split.

    Args:
        data: "mnist" (needs SPIKESIM_DATA) or "digits" (the embedded 8x8 digits).
        split: "train" or "test".
        count: how many.
        seed: of all that is drawn.

    Raises:
        UnsupportedError: another data set.
        InputError: another split.
    """
    setting = _setting(data)
    return _make(setting, *_digits(data, split), count, (seed, 0))


def _setting(data: str) -> Setting:
    if data not in SETTINGS:
        raise UnsupportedError(
            f"detection: data is {data!r}, expected one of {', '.join(SETTINGS)}"
        )
    return SETTINGS[data]


def _make(
    setting: Setting, x: NDArray[Any], y: NDArray[np.int64], count: int, seed: tuple[int, ...]
) -> Canvases:
    return make_canvases(
        x,
        y,
        count,
        size=setting.size,
        per_image=setting.per_image,
        digit_size=setting.digit_size,
        cell=setting.cell,
        seed=seed,
    )


def _digits(data: str, split: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Images and labels of one split."""
    if split not in ("train", "test"):
        raise InputError(f"detection: split is {split!r}, expected 'train' or 'test'")
    found = datasets.load(data, split)
    assert found.y is not None
    return found.x, found.y


def train(
    *,
    data: str = "mnist",
    epochs: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Tell | None = None,
) -> tuple[nn.Sequential, dict[str, Any]]:
    """Trains a detector on canvases of training images.

    Adam with one cycle of the learning rate; every epoch has new canvases.

    Args:
        data: "mnist" or "digits".
        epochs: default: the setting's.
        seed: of weights and canvases; torch's global generator is not touched.
        threads: torch's, while it trains; default: as they are.
        progress: told (canvases done, in all).

    Returns:
        The module, in eval mode, and what belongs to it, JSON values: "model" and "arguments"
        (of `spikesim.models`), "region" (for `Region.of`), "labels", "data", "epochs", "seed".

    Raises:
        UnsupportedError: another data set.
        InputError: fewer than one epoch.
    """
    setting = _setting(data)
    rounds = setting.epochs if epochs is None else epochs
    if rounds < 1:
        raise InputError(f"detection: epochs is {rounds}, expected at least 1")
    x, y = _digits(data, "train")
    sizes = _make(setting, x, y, min(1000, setting.per_epoch), (seed, 1)).truths
    anchors = [
        [round(side, 2) for side in anchor] for anchor in fit_anchors(sizes, setting.anchors)
    ]
    region = Region(anchors, CLASSES, setting.cell)
    arguments = {
        "num_classes": CLASSES,
        "num_anchors": setting.anchors,
        "widths": list(setting.widths),
        "strides": list(setting.strides),
    }
    module = tiny_yolo(**arguments, seed=seed)  # type: ignore[arg-type]
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        _fit(module, region, setting, (x, y), rounds, seed, progress)
    finally:
        torch.set_num_threads(before)
    meta = {
        "model": "tiny_yolo",
        "arguments": arguments,
        "region": region.spec(),
        "labels": [str(digit) for digit in range(CLASSES)],
        "data": data,
        "epochs": rounds,
        "seed": seed,
    }
    return module.eval().to(memory_format=torch.contiguous_format), meta


def _fit(
    module: nn.Sequential,
    region: Region,
    setting: Setting,
    digits: tuple[NDArray[Any], NDArray[np.int64]],
    epochs: int,
    seed: int,
    progress: Tell | None,
) -> None:
    batches = setting.per_epoch // BATCH
    optimizer = torch.optim.Adam(module.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, total_steps=epochs * batches, pct_start=0.15
    )
    grid = (setting.size // setting.cell, setting.size // setting.cell)
    # Channels last: the convolutions take half the time.
    module.train().to(memory_format=torch.channels_last)
    for epoch in range(epochs):
        made = _make(setting, *digits, batches * BATCH, (seed, 2, epoch))
        for b in range(batches):
            batch = made[b * BATCH : (b + 1) * BATCH]
            loss = region_loss(
                module(torch.from_numpy(batch.images).to(memory_format=torch.channels_last)),
                region.targets(batch.truths, grid),
                region,
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            if progress is not None:
                progress((epoch * batches + b + 1) * BATCH, epochs * batches * BATCH)


def evaluate(
    predict: Predict,
    canvases: Canvases,
    region: Region,
    *,
    iou_threshold: float = 0.5,
    batch_size: int = 250,
) -> MeanAP:
    """Mean average precision of anything that makes a detector's output of images.

    Args:
        predict: from (N, 1, h, w) float32 to (N, A·(5 + C), rows, columns): see
            `module_predictor` and `network_predictor`.
        canvases: images with what is in them.
        region: how the output is read.
        iou_threshold: the overlap from which a detection is right.
        batch_size: images that `predict` gets at once, at most.

    Returns:
        mAP, and the average precision of each class.
    """
    found = []
    for start in range(0, len(canvases), batch_size):
        found += region.decode(predict(canvases.images[start : start + batch_size]))
    truths: tuple[Truth, ...] = canvases.truths
    return mean_average_precision(found, truths, iou_threshold=iou_threshold)


def module_predictor(module: nn.Module) -> Predict:
    """`predict` of a torch module: the ANN, in eval mode."""

    def predict(images: NDArray[np.float32]) -> NDArray[np.float32]:
        was = module.training
        module.eval()
        try:
            with torch.no_grad():
                out: NDArray[np.float32] = module(torch.from_numpy(images)).numpy()
        finally:
            module.train(was)
        return out

    return predict


def network_predictor(net: Network, n_steps: int, *, threads: int | None = None) -> Predict:
    """`predict` of a spiking network that sees the image as a constant current for `n_steps`.

    Raises:
        InputError: the network's readout is not "mean".
    """
    if net.readout != "mean":
        raise InputError(
            f"detection: readout is {net.readout!r}, expected 'mean', the accumulated potential "
            "divided by the number of steps"
        )
    simulator = net.compile(threads=threads)
    return lambda images: simulator.run(images, n_steps=n_steps).output
