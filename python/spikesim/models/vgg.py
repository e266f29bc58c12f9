"""VGG-16 (Simonyan and Zisserman 2015) with spiking neurons."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from spikesim.errors import InputError, UnsupportedError
from spikesim.models.calibrate import calibrate_rate
from spikesim.train.neurons import IF

# Channels of the convolutions; 0 stands for a 2x2 pool.
LAYOUT = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)

# The images that weights are calibrated on when none are given.
CALIBRATION_IMAGES = 8


def vgg16(
    num_classes: int = 10,
    *,
    in_channels: int = 3,
    image_size: int = 32,
    width: float = 1.0,
    pool: str = "avg",
    head: Sequence[int] = (4096, 4096),
    neuron: Callable[[], nn.Module] | None = None,
    rate: float | None = None,
    n_steps: int = 4,
    seed: int = 0,
    batch_norm: bool = False,
) -> nn.Sequential:
    """VGG-16: 13 convolutions 3x3 with a neuron layer after each, 2x2 pools, a dense head.

    Args:
        num_classes: outputs of the last layer, which has no neurons.
        in_channels: channels of the image.
        image_size: height and width of the image, a multiple of 32.
        width: factor of the channels of the convolutions.
        pool: "avg" or "max".
        head: neurons of the hidden dense layers.
        neuron: makes a neuron layer; default `spikesim.train.IF` with reset by subtraction.
        rate: spikes a neuron and step that weights and biases are calibrated to, on random
            images; None leaves the random initial weights. Needs spikesim's neurons or ones that
            fire as they do (IF, reset by subtraction, threshold 1).
        n_steps: steps of the calibration.
        seed: of weights and calibration; torch's global generator is not touched.
        batch_norm: whether each convolution is followed by BatchNorm2d.

    Returns:
        A module for one step, (N, in_channels, image_size, image_size) → (N, num_classes), in
        eval mode; its layers are named conv1, if1, pool1, …, fc1, if14, …

    Example:
        >>> model = ss.models.vgg16(rate=0.1)
        >>> net = ss.from_torch(model, input_shape=(3, 32, 32))
    """
    if image_size < 32 or image_size % 32:
        raise InputError(f"vgg16: image_size is {image_size}, expected a multiple of 32")
    if pool not in ("avg", "max"):
        raise UnsupportedError(f"vgg16: pool is {pool!r}, expected 'avg' or 'max'")
    make_neuron = neuron if neuron is not None else IF
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, convs, pools, neurons = in_channels, 0, 0, 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for out in LAYOUT:
            if out == 0:
                pools += 1
                layers[f"pool{pools}"] = nn.AvgPool2d(2) if pool == "avg" else nn.MaxPool2d(2)
                continue
            convs, neurons = convs + 1, neurons + 1
            scaled = max(1, round(out * width))
            layers[f"conv{convs}"] = nn.Conv2d(channels, scaled, 3, padding=1)
            if batch_norm:
                layers[f"bn{convs}"] = nn.BatchNorm2d(scaled)
            layers[f"if{neurons}"] = make_neuron()
            channels = scaled
        layers["flatten"] = nn.Flatten()
        features = channels * (image_size // 32) ** 2
        for index, out in enumerate(head, start=1):
            neurons += 1
            layers[f"fc{index}"] = nn.Linear(features, out)
            layers[f"if{neurons}"] = make_neuron()
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
