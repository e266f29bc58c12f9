"""The detector's recipe as `spikesim train` carries it out."""

from __future__ import annotations

import time
from dataclasses import dataclass

from spikesim.detection import Region
from spikesim.errors import UnsupportedError
from spikesim.recipes import detection
from spikesim.recipes.recipe import Progress, Trained
from spikesim.train import FitResult

TESTED = 1000
"""Canvases of test images on which a detector is measured."""


@dataclass(frozen=True)
class Detector:
    """A Tiny-YOLO-style network on canvases of digits; its accuracy is mAP at IoU 0.5."""

    name: str = "mnist-detection"
    about: str = "Tiny-YOLO-style detector, leaky ReLU, on canvases of MNIST digits; mAP@0.5"
    data: str = "mnist"

    def train(
        self,
        *,
        epochs: int | None = None,
        seed: int = 0,
        data: str | None = None,
        width: float | None = None,
        progress: Progress | None = None,
    ) -> Trained:
        """Trains it and measures it on canvases of test images.

        Raises:
            UnsupportedError: a width, or data other than "mnist" and "digits".
        """
        if width is not None:
            raise UnsupportedError(f"{self.name}: width is {width}, expected none")
        name, begun = data or self.data, time.perf_counter()
        module, meta = detection.train(data=name, epochs=epochs, seed=seed, progress=progress)
        test = detection.canvases(name, "test", TESTED)
        region = Region.of(meta["region"])
        score = detection.evaluate(detection.module_predictor(module), test, region).mean
        builder, arguments = meta.pop("model"), meta.pop("arguments")
        seconds = time.perf_counter() - begun
        meta |= {
            "recipe": self.name,
            "input_shape": list(test.images.shape[1:]),
            "accuracy": score,
            "test_samples": TESTED,
            # Canvases are made, not loaded: `convert` is to be given its own.
            "canvases": meta.pop("data"),
        }
        result = FitResult(epochs=meta["epochs"], seconds=seconds, seed=seed)
        return Trained(module, builder, arguments, meta, score, result)
