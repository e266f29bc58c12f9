"""A small detector in the manner of Tiny YOLO (Redmon and Farhadi 2017; Kim et al. 2020)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from spikesim.errors import InputError, UnsupportedError
from spikesim.models.registry import builder

#: Channels and strides of the convolutions, for canvases of digits: eight pixels a cell.
WIDTHS = (16, 32, 64, 128, 128)
STRIDES = (1, 2, 2, 2, 1)

_POOLS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


@builder
def tiny_yolo(
    num_classes: int = 10,
    num_anchors: int = 3,
    *,
    in_channels: int = 1,
    widths: Sequence[int] = WIDTHS,
    strides: Sequence[int] = STRIDES,
    downsample: str = "stride",
    slope: float = 0.1,
    seed: int = 0,
) -> nn.Sequential:
    """Convolutions 3x3 with BatchNorm and leaky ReLU, then a linear 1x1 convolution.

    The size of the image is free; a cell of the output is as many pixels as all strides make
    together, and an image should be a multiple of that.

    Args:
        num_classes: C.
        num_anchors: A.
        in_channels: channels of the image.
        widths: channels of each convolution.
        strides: 1 or 2 for each of them.
        downsample: what halves the image where the stride is 2: "stride" (the convolution itself,
            which spikes carry out as they are), "max" or "avg" (a 2x2 pool after it).
        slope: of the leaky ReLU below 0; 0 gives a ReLU.
        seed: of the weights; torch's global generator is not touched.

    Returns:
        (N, in_channels, h, w) → (N, A·(5 + C), rows, columns), in eval mode; its layers are named
        conv1, bn1, act1, (pool1,) conv2, …, head. `spikesim.detection.Region` reads the output.

    Raises:
        InputError: not as many strides as widths, a number that means nothing.
        UnsupportedError: another `downsample`.

    Example:
        >>> import torch, spikesim as ss
        >>> ss.models.tiny_yolo(num_classes=10, num_anchors=2)(torch.zeros(1, 1, 48, 48)).shape
        torch.Size([1, 30, 6, 6])
    """
    if downsample not in ("stride", *_POOLS):
        raise UnsupportedError(
            f"tiny_yolo: downsample is {downsample!r}, expected 'stride', 'max' or 'avg'"
        )
    if len(widths) != len(strides) or not widths:
        raise InputError(
            f"tiny_yolo: strides has {len(strides)} entries, expected {len(widths)}, one for each "
            "of the widths, at least one"
        )
    numbers = {"num_classes": num_classes, "num_anchors": num_anchors, "in_channels": in_channels}
    for name, value in (*numbers.items(), *(("widths", width) for width in widths)):
        if value < 1:
            raise InputError(f"tiny_yolo: {name} has {value}, expected at least 1")
    if not set(strides) <= {1, 2}:
        raise InputError(f"tiny_yolo: strides are {tuple(strides)}, expected 1 or 2 each")
    if not 0 <= slope < 1:
        raise InputError(f"tiny_yolo: slope is {slope}, expected from 0 to less than 1")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = in_channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for i, (width, stride) in enumerate(zip(widths, strides, strict=True), start=1):
            halved = stride == 2 and downsample == "stride"
            layers[f"conv{i}"] = nn.Conv2d(
                channels, width, 3, stride=2 if halved else 1, padding=1, bias=False
            )
            layers[f"bn{i}"] = nn.BatchNorm2d(width)
            layers[f"act{i}"] = nn.LeakyReLU(slope) if slope else nn.ReLU()
            if stride == 2 and not halved:
                layers[f"pool{i}"] = _POOLS[downsample](2)
            channels = width
        layers["head"] = nn.Conv2d(channels, num_anchors * (5 + num_classes), 1)
    return nn.Sequential(layers).eval()
