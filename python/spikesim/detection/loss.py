"""The loss that a detector is trained with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spikesim.detection.region import Region, Targets
from spikesim.errors import InputError, ShapeError


def region_loss(
    output: Tensor,
    targets: Targets,
    region: Region,
    *,
    box_weight: float = 5.0,
    positive_weight: float = 5.0,
) -> Tensor:
    """The region loss (after Redmon and Farhadi 2017).

    Where a box has its place: squared error of `sigmoid(tx), sigmoid(ty)` and of `tw, th`, times
    `box_weight`, and the cross-entropy of its class. Everywhere: binary cross-entropy of the
    objectness `to`, times `positive_weight` where a box has its place. All of it is summed and
    divided by the number of boxes (by 1 if there are none).

    Args:
        output: (N, A·(5 + C), rows, columns), the detector's.
        targets: `region.targets(truths, (rows, columns))`.
        region: anchors, classes and stride.
        box_weight: of centre and size.
        positive_weight: of objectness at boxes.

    Returns:
        The loss, a scalar with a gradient.

    Raises:
        ShapeError: the output does not fit the targets.
        InputError: a weight is negative.

    Example:
        >>> loss = region_loss(net(images), region.targets(truths, (6, 6)), region)
        >>> loss.backward()
    """
    n, anchors, rows, columns = targets.shape
    expected = (n, region.channels, rows, columns)
    if tuple(output.shape) != expected:
        raise ShapeError(
            f"region_loss: output has shape {tuple(output.shape)}, expected {expected}, as the "
            "targets have"
        )
    for name, value in (("box_weight", box_weight), ("positive_weight", positive_weight)):
        if not value >= 0:
            raise InputError(f"region_loss: {name} is {value}, expected a number from 0")
    t = output.reshape(n, anchors, 5 + region.num_classes, rows, columns)

    def number(array: object) -> Tensor:
        return torch.as_tensor(array, device=output.device)

    place = [number(i) for i in (targets.image, targets.anchor, targets.row, targets.column)]
    here = t.permute(0, 1, 3, 4, 2)[tuple(place)]
    centre = (here[:, 0:2].sigmoid() - number(targets.offsets).to(t.dtype)).square().sum()
    size = (here[:, 2:4] - number(targets.sizes).to(t.dtype)).square().sum()
    kind = F.cross_entropy(here[:, 5:], number(targets.classes), reduction="sum")
    there = torch.zeros((n, anchors, rows, columns), dtype=t.dtype, device=t.device)
    there[tuple(place)] = 1.0
    weight = 1 + (positive_weight - 1) * there
    objectness = F.binary_cross_entropy_with_logits(t[:, :, 4], there, weight, reduction="sum")
    return (box_weight * (centre + size) + kind + objectness) / max(1, len(targets))
