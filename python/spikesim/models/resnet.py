"""ResNets (He, Zhang, Ren and Sun 2016) whose activations are modules, with options of the papers
that convert them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from spikesim.errors import InputError
from spikesim.models.activations import Activation, at_least, choose, maker, widen
from spikesim.models.registry import builder

STEMS = ("3x3", "7x7", "three3x3")


class ResNetOptions(TypedDict, total=False):
    """What the ResNets take beside the number of classes."""

    in_channels: int
    image_size: int
    width: float
    stem: str | None
    pool: str | None
    activation: Activation | None
    neuron: Callable[[], nn.Module] | None
    batch_norm: bool
    junction: bool
    seed: int


@builder
def resnet18(num_classes: int = 10, **options: Unpack[ResNetOptions]) -> nn.Sequential:
    """ResNet-18: basic blocks 2, 2, 2, 2 of 64, 128, 256, 512 channels.

    Args:
        num_classes: outputs of the last layer, which has no activation.
        in_channels: channels of the image; default 3.
        image_size: height and width of the image; default 32. It chooses the stem and the check
            that something is left at the end; any size that is left over will do.
        width: factor of all channels; default 1.
        stem: "3x3" (one convolution, stride 1, no pool; default below 64 pixels), "7x7" (stride
            2, then a 3x3 pool of stride 2; default from 64 pixels on), or "three3x3" (three
            convolutions in its place, the first of stride 2, as Spike-Norm wants: the threshold
            of one wide layer starves those after it).
        pool: "max" or "avg": the pool behind the stem; None (default): "max" where the stem has
            one. With "3x3" a pool, 2x2, is there only if it is asked for.
        activation: "relu" (default), "leaky_relu", "qcfs", `{"kind": "qcfs", "L": 8}`, or a
            function that makes a module.
        neuron: instead of `activation`: makes a spiking neuron layer.
        batch_norm: whether BatchNorm2d follows each convolution; default True. Without it
            convolutions have no bias either, as Spike-Norm wants.
        junction: whether both branches of a block end in an activation of their own, before the
            sum and the one behind it, as Spike-Norm wants; default False.
        seed: of the weights; torch's global generator is not touched. Default 0.

    Returns:
        A module, (N, in_channels, image_size, image_size) → (N, num_classes), in eval mode; its
        layers are conv1, bn1, act1, …, layer1.0.conv1, …, avgpool, flatten, fc.

    Raises:
        InputError: a size that can't be, both `neuron` and `activation`.
        UnsupportedError: an option that there is not.

    Example:
        >>> ann = ss.models.resnet18(10, activation="qcfs")
        >>> spiking = ss.models.resnet18(10, neuron=ss.train.IF)
    """
    return _resnet("resnet18", (64, 128, 256, 512), (2, 2, 2, 2), num_classes, **options)


@builder
def resnet34(num_classes: int = 10, **options: Unpack[ResNetOptions]) -> nn.Sequential:
    """ResNet-34: basic blocks 3, 4, 6, 3 of 64, 128, 256, 512 channels; see `resnet18`.

    Example:
        >>> ann = ss.models.resnet34(1000, image_size=224, stem="three3x3", pool="avg")
    """
    return _resnet("resnet34", (64, 128, 256, 512), (3, 4, 6, 3), num_classes, **options)


@builder
def resnet20(num_classes: int = 10, **options: Unpack[ResNetOptions]) -> nn.Sequential:
    """ResNet-20 for CIFAR: basic blocks 3, 3, 3 of 16, 32, 64 channels; see `resnet18`.

    Where the shape changes the shortcut is a 1x1 convolution, as in Bu et al. (ICLR 2022).

    Example:
        >>> ann = ss.models.resnet20(10, activation="qcfs")
    """
    return _resnet("resnet20", (16, 32, 64), (3, 3, 3), num_classes, **options)


@builder
def resnet8(num_classes: int = 10, **options: Unpack[ResNetOptions]) -> nn.Sequential:
    """A small ResNet for digits: one block each of 16, 32, 64 channels; see `resnet18`.

    Unlike its larger sisters it takes one channel, 28x28, and has a 2x2 max pool behind its
    stem, unless told otherwise.

    Example:
        >>> ann = ss.models.resnet8(10)
        >>> ann(torch.rand(1, 1, 28, 28)).shape
        torch.Size([1, 10])
    """
    options = {"in_channels": 1, "image_size": 28, "pool": "max", **options}
    return _resnet("resnet8", (16, 32, 64), (1, 1, 1), num_classes, **options)


class Block(nn.Module):
    """The basic block: two convolutions 3x3, a shortcut, the sum, an activation."""

    def __init__(
        self,
        channels: int,
        out: int,
        stride: int,
        make: Callable[[], nn.Module],
        batch_norm: bool,
        junction: bool,
    ) -> None:
        super().__init__()
        self.conv1 = _conv(channels, out, 3, stride)
        self.bn1 = _norm(out, batch_norm)
        self.act1 = make()
        self.conv2 = _conv(out, out, 3, 1)
        self.bn2 = _norm(out, batch_norm)
        shortcut: OrderedDict[str, nn.Module] = OrderedDict()
        if stride != 1 or channels != out:
            shortcut["conv"] = _conv(channels, out, 1, stride)
            if batch_norm:
                shortcut["bn"] = nn.BatchNorm2d(out)
        self.branch = make() if junction else nn.Identity()
        if junction:
            shortcut["act"] = make()
        self.shortcut = nn.Sequential(shortcut) if shortcut else nn.Identity()
        self.act2 = make()

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) → (N, out, H / stride, W / stride), rounded up."""
        y = self.act1(self.bn1(self.conv1(x)))
        y = self.branch(self.bn2(self.conv2(y)))
        out: Tensor = self.act2(y + self.shortcut(x))
        return out


def _conv(channels: int, out: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)


def _norm(channels: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()


def _resnet(
    where: str,
    channels: Sequence[int],
    blocks: Sequence[int],
    num_classes: int,
    *,
    in_channels: int = 3,
    image_size: int = 32,
    width: float = 1.0,
    stem: str | None = None,
    pool: str | None = None,
    activation: Activation | None = None,
    neuron: Callable[[], nn.Module] | None = None,
    batch_norm: bool = True,
    junction: bool = False,
    seed: int = 0,
) -> nn.Sequential:
    at_least(where, "num_classes", num_classes)
    at_least(where, "in_channels", in_channels)
    at_least(where, "image_size", image_size, 4)
    if not width > 0:
        raise InputError(f"{where}: width is {width}, expected more than 0")
    stem = stem if stem is not None else ("3x3" if image_size < 64 else "7x7")
    choose(where, "stem", stem, STEMS)
    choose(where, "pool", pool, ("avg", "max", None))
    make = maker(where, activation, neuron)
    sizes = [widen(c, width) for c in channels]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = _stem(in_channels, sizes[0], stem, pool, make, batch_norm)
        before = sizes[0]
        for stage, (size, count) in enumerate(zip(sizes, blocks, strict=True), start=1):
            parts = []
            for index in range(count):
                stride = 2 if stage > 1 and index == 0 else 1
                parts.append(Block(before, size, stride, make, batch_norm, junction))
                before = size
            layers[f"layer{stage}"] = nn.Sequential(*parts)
        layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = nn.Linear(before, num_classes, bias=batch_norm)
        model = nn.Sequential(layers)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model.eval()


def _stem(
    in_channels: int,
    out: int,
    stem: str,
    pool: str | None,
    make: Callable[[], nn.Module],
    batch_norm: bool,
) -> OrderedDict[str, nn.Module]:
    kernel = 7 if stem == "7x7" else 3
    strides = {"3x3": (1,), "7x7": (2,), "three3x3": (2, 1, 1)}[stem]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, stride in enumerate(strides, start=1):
        layers[f"conv{index}"] = _conv(in_channels, out, kernel, stride)
        if batch_norm:
            layers[f"bn{index}"] = nn.BatchNorm2d(out)
        layers[f"act{index}"] = make()
        in_channels = out
    kind = nn.AvgPool2d if pool == "avg" else nn.MaxPool2d
    if stem != "3x3":
        layers["pool1"] = kind(3, 2, padding=1)
    elif pool is not None:
        layers["pool1"] = kind(2)
    return layers
