"""Detection around a network: boxes, average precision, the region layer of YOLO, digit canvases.

NumPy alone, except `region_loss` (torch) and `draw` (matplotlib), which are imported when they are
asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from spikesim.detection.ap import MeanAP, average_precision, mean_average_precision
from spikesim.detection.boxes import Detections, Truth, iou, nms
from spikesim.detection.canvases import Canvases, make_canvases
from spikesim.detection.drawing import draw
from spikesim.detection.region import Region, Targets, fit_anchors
from spikesim.errors import MissingExtraError

if TYPE_CHECKING:
    from spikesim.detection.loss import region_loss

__all__ = [
    "Canvases",
    "Detections",
    "MeanAP",
    "Region",
    "Targets",
    "Truth",
    "average_precision",
    "draw",
    "fit_anchors",
    "iou",
    "make_canvases",
    "mean_average_precision",
    "nms",
    "region_loss",
]


def __getattr__(name: str) -> Any:
    if name != "region_loss":
        raise AttributeError(f"module 'spikesim.detection' has no attribute {name!r}")
    try:
        loss = importlib.import_module("spikesim.detection.loss")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(
            "region_loss: needs torch, which is not installed; install spikesim[torch]"
        ) from error
    return loss.region_loss
