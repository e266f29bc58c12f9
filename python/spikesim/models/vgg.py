"""VGG-11 and VGG-16 (Simonyan and Zisserman 2015), with spiking neurons or as ANNs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from spikesim.errors import InputError
from spikesim.models.activations import Activation, at_least, choose, maker, widen
from spikesim.models.calibrate import calibrate_rate
from spikesim.models.registry import builder

# Channels of the convolutions; 0 stands for a 2x2 pool.
VGG11 = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)
VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)

# The images that weights are calibrated on when none are given.
CALIBRATION_IMAGES = 8


class VggOptions(TypedDict, total=False):
    """What `vgg11` and `vgg16` take beside the number of classes."""

    in_channels: int
    image_size: int
    width: float
    pool: str
    head: Sequence[int]
    neuron: Callable[[], nn.Module] | None
    activation: Activation | None
    rate: float | None
    n_steps: int
    seed: int
    batch_norm: bool
    dropout: float


@builder
def vgg11(num_classes: int = 10, **options: Unpack[VggOptions]) -> nn.Sequential:
    """VGG-11: 8 convolutions 3x3; arguments, names and defaults are those of `vgg16`.

    Example:
        >>> ann = ss.models.vgg11(10, activation="qcfs", batch_norm=True)
    """
    return _vgg("vgg11", VGG11, num_classes, **options)


@builder
def vgg16(num_classes: int = 10, **options: Unpack[VggOptions]) -> nn.Sequential:
    """VGG-16: 13 convolutions 3x3 with a neuron layer after each, 2x2 pools, a dense head.

    Without `activation` it is a spiking network; with it an ANN, whose activations are modules.

    Args:
        num_classes: outputs of the last layer, which has no neurons.
        in_channels: channels of the image; default 3.
        image_size: height and width of the image, a multiple of 32; default 32.
        width: factor of the channels of the convolutions; default 1.
        pool: "avg" (default) or "max".
        head: neurons of the hidden dense layers; default (4096, 4096).
        neuron: makes a neuron layer; default `spikesim.train.IF` with reset by subtraction.
        activation: instead of `neuron`: "relu", "leaky_relu", "qcfs", `{"kind": "qcfs", "L": 8}`,
            or a function that makes a module.
        rate: spikes a neuron and step that weights and biases are calibrated to, on random
            images; None leaves the random initial weights. Needs spikesim's neurons or ones that
            fire as they do (IF, reset by subtraction, threshold 1).
        n_steps: steps of the calibration; default 4.
        seed: of weights and calibration; torch's global generator is not touched. Default 0.
        batch_norm: whether each convolution is followed by BatchNorm2d; default False.
        dropout: probability of nn.Dropout after each hidden dense layer; default 0, none.

    Returns:
        A module for one step, (N, in_channels, image_size, image_size) → (N, num_classes), in
        eval mode; its layers are named conv1, if1, pool1, …, fc1, if14, … ("act" for "if" where
        `activation` is given).

    Raises:
        InputError: a size that can't be, both `neuron` and `activation`.
        UnsupportedError: an option that there is not.

    Example:
        >>> model = ss.models.vgg16(rate=0.1)
        >>> net = ss.from_torch(model, input_shape=(3, 32, 32))
    """
    return _vgg("vgg16", VGG16, num_classes, **options)


def _vgg(
    where: str,
    layout: Sequence[int],
    num_classes: int,
    *,
    in_channels: int = 3,
    image_size: int = 32,
    width: float = 1.0,
    pool: str = "avg",
    head: Sequence[int] = (4096, 4096),
    neuron: Callable[[], nn.Module] | None = None,
    activation: Activation | None = None,
    rate: float | None = None,
    n_steps: int = 4,
    seed: int = 0,
    batch_norm: bool = False,
    dropout: float = 0.0,
) -> nn.Sequential:
    if image_size < 32 or image_size % 32:
        raise InputError(f"{where}: image_size is {image_size}, expected a multiple of 32")
    at_least(where, "num_classes", num_classes)
    choose(where, "pool", pool, ("avg", "max"))
    make = maker(where, activation, neuron, default="if")
    kind = "if" if activation is None else "act"
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, convs, pools, neurons = in_channels, 0, 0, 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for out in layout:
            if out == 0:
                pools += 1
                layers[f"pool{pools}"] = nn.AvgPool2d(2) if pool == "avg" else nn.MaxPool2d(2)
                continue
            convs, neurons = convs + 1, neurons + 1
            scaled = widen(out, width)
            layers[f"conv{convs}"] = nn.Conv2d(channels, scaled, 3, padding=1)
            if batch_norm:
                layers[f"bn{convs}"] = nn.BatchNorm2d(scaled)
            layers[f"{kind}{neurons}"] = make()
            channels = scaled
        layers["flatten"] = nn.Flatten()
        features = channels * (image_size // 32) ** 2
        for index, out in enumerate(head, start=1):
            neurons += 1
            layers[f"fc{index}"] = nn.Linear(features, out)
            layers[f"{kind}{neurons}"] = make()
            if dropout:
                layers[f"dropout{index}"] = nn.Dropout(dropout)
            features = out
        layers[f"fc{len(head) + 1}"] = nn.Linear(features, num_classes)
    model = nn.Sequential(layers).eval()
    if rate is not None:
        x = images(CALIBRATION_IMAGES, (in_channels, image_size, image_size), seed)
        calibrate_rate(model, x, rate, n_steps, seed=seed)
    return model


def images(count: int, shape: Sequence[int], seed: int) -> Tensor:
    """Random images whose pixels lie on the grid k/16 in [0, 1), smooth over a few pixels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = [max(1, size // 4) for size in shape[1:]]
    low = torch.rand((count, shape[0], *coarse), generator=generator)
    smooth = nn.functional.interpolate(low, size=tuple(shape[1:]), mode="bilinear")
    noisy = smooth + 0.25 * torch.rand((count, *shape), generator=generator)
    return (noisy / 1.25 * 16).floor() / 16
