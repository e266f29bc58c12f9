"""Small convolutional networks for digits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from spikesim.errors import InputError
from spikesim.models.activations import Activation, at_least, choose, maker, widen
from spikesim.models.registry import builder


@builder
def mnist_net(
    num_classes: int = 10,
    *,
    in_channels: int = 1,
    image_size: int = 28,
    width: float = 1.0,
    pool: str = "avg",
    activation: Activation | None = None,
    neuron: Callable[[], nn.Module] | None = None,
    batch_norm: bool = True,
    seed: int = 0,
) -> nn.Sequential:
    """Three convolutions 3x3 of 32, 64, 64 channels, two 2x2 pools, a hidden layer of 128.

    About 6 million multiply-accumulates an image of 28x28, 460,000 parameters.

    Args:
        num_classes: outputs of the last layer, which has no activation.
        in_channels: channels of the image.
        image_size: height and width of the image, a multiple of 4.
        width: factor of all channels and of the hidden layer.
        pool: "avg" or "max".
        activation: "relu" (default), "leaky_relu", "qcfs", `{"kind": "qcfs", "L": 8}`, or a
            function that makes a module.
        neuron: instead of `activation`: makes a spiking neuron layer.
        batch_norm: whether BatchNorm2d follows each convolution; without it they have a bias.
        seed: of the weights; torch's global generator is not touched.

    Returns:
        A module, (N, in_channels, image_size, image_size) → (N, num_classes), in eval mode; its
        layers are conv1, bn1, act1, pool1, …, flatten, fc1, act4, fc2.

    Raises:
        InputError: a size that can't be, both `neuron` and `activation`.
        UnsupportedError: an option that there is not.

    Example:
        >>> ann = ss.models.mnist_net(activation="qcfs")
        >>> ann(torch.rand(1, 1, 28, 28)).shape
        torch.Size([1, 10])
    """
    where = "mnist_net"
    at_least(where, "num_classes", num_classes)
    at_least(where, "in_channels", in_channels)
    if isinstance(image_size, bool) or image_size < 4 or image_size % 4:
        raise InputError(f"{where}: image_size is {image_size}, expected a multiple of 4")
    if not width > 0:
        raise InputError(f"{where}: width is {width}, expected more than 0")
    choose(where, "pool", pool, ("avg", "max"))
    make = maker(where, activation, neuron)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        channels = in_channels
        for index, base in enumerate((32, 64, 64), start=1):
            out = widen(base, width)
            layers[f"conv{index}"] = nn.Conv2d(channels, out, 3, padding=1, bias=not batch_norm)
            if batch_norm:
                layers[f"bn{index}"] = nn.BatchNorm2d(out)
            layers[f"act{index}"] = make()
            if index < 3:
                layers[f"pool{index}"] = nn.AvgPool2d(2) if pool == "avg" else nn.MaxPool2d(2)
            channels = out
        layers["flatten"] = nn.Flatten()
        hidden = widen(128, width)
        layers["fc1"] = nn.Linear(channels * (image_size // 4) ** 2, hidden)
        layers["act4"] = make()
        layers["fc2"] = nn.Linear(hidden, num_classes)
    return nn.Sequential(layers).eval()


@builder
def lenet(
    num_classes: int = 10,
    *,
    in_channels: int = 1,
    image_size: int = 28,
    width: float = 1.0,
    activation: Activation | None = None,
    neuron: Callable[[], nn.Module] | None = None,
    bias: bool = False,
    batch_norm: bool = False,
    dropout: float = 0.2,
    seed: int = 0,
) -> nn.Sequential:
    """Two convolutions 5x5 of 24 and 48 channels, average pools, a hidden layer of 128.

    In the manner of LeCun et al. 1998, as Spike-Norm (Sengupta et al. 2019) wants an ANN that is
    to be converted by its thresholds: without biases and batch normalisation, with average pools
    and dropout. About 2.2 million multiply-accumulates an image of 28x28.

    Args:
        num_classes: outputs of the last layer, which has no activation.
        in_channels: channels of the image.
        image_size: height and width of the image, a multiple of 4 from 16 on.
        width: factor of all channels and of the hidden layer.
        activation: "relu" (default), "leaky_relu", "qcfs", `{"kind": "qcfs", "L": 8}`, or a
            function that makes a module.
        neuron: instead of `activation`: makes a spiking neuron layer.
        bias: whether layers have biases.
        batch_norm: whether BatchNorm2d follows each convolution.
        dropout: after each pool and the hidden layer, while training.
        seed: of the weights; torch's global generator is not touched.

    Returns:
        A module, (N, in_channels, image_size, image_size) → (N, num_classes), in eval mode; its
        layers are conv1, (bn1,) act1, pool1, drop1, …, flatten, fc1, act3, drop3, fc2.

    Raises:
        InputError: a size that can't be, both `neuron` and `activation`.

    Example:
        >>> ss.models.lenet()(torch.rand(1, 1, 28, 28)).shape
        torch.Size([1, 10])
    """
    where = "lenet"
    at_least(where, "num_classes", num_classes)
    at_least(where, "in_channels", in_channels)
    if isinstance(image_size, bool) or image_size < 16 or image_size % 4:
        raise InputError(f"{where}: image_size is {image_size}, expected a multiple of 4 from 16")
    if not width > 0:
        raise InputError(f"{where}: width is {width}, expected more than 0")
    if not 0 <= dropout < 1:
        raise InputError(f"{where}: dropout is {dropout}, expected at least 0 and below 1")
    make = maker(where, activation, neuron)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        channels, side = in_channels, image_size
        for index, base in enumerate((24, 48), start=1):
            out = widen(base, width)
            layers[f"conv{index}"] = nn.Conv2d(channels, out, 5, bias=bias and not batch_norm)
            if batch_norm:
                layers[f"bn{index}"] = nn.BatchNorm2d(out)
            layers[f"act{index}"] = make()
            layers[f"pool{index}"] = nn.AvgPool2d(2)
            layers[f"drop{index}"] = nn.Dropout(dropout)
            channels, side = out, (side - 4) // 2
        layers["flatten"] = nn.Flatten()
        hidden = widen(128, width)
        layers["fc1"] = nn.Linear(channels * side**2, hidden, bias=bias)
        layers["act3"] = make()
        layers["drop3"] = nn.Dropout(dropout)
        layers["fc2"] = nn.Linear(hidden, num_classes, bias=bias)
    return nn.Sequential(layers).eval()
