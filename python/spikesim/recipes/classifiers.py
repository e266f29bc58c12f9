"""The recipes for classifiers, on digits, MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100.

Those with QCFS follow Bu et al. (ICLR 2022): cross entropy, SGD with momentum 0.9, weight decay
5e-4 of λ too, cosine to zero; crop, mirror images, AutoAugment and Cutout for CIFAR. Its λ starts
at 8; where few epochs are to do, at 4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikesim.errors import MissingExtraError
from spikesim.recipes.recipe import Recipe
from spikesim.train.augment import Affine, Augmentations, CropFlip, Cutout

UNTESTED = "; untested here, torchvision downloads it"

_CIFAR10 = {
    "scale": 1 / 255,
    "mean": [0.4914, 0.4822, 0.4465],
    "std": [0.2470, 0.2435, 0.2616],
}
_CIFAR100 = {
    "scale": 1 / 255,
    "mean": [0.5071, 0.4865, 0.4409],
    "std": [0.2673, 0.2564, 0.2762],
}


class AutoAugment:
    """CIFAR-10's policies of AutoAugment (Cubuk et al. 2019), by torchvision; on uint8 images."""

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The images, each with a policy of its own; draws from torch's global generator."""
        try:
            from torchvision import transforms  # type: ignore[import-untyped, unused-ignore]
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "recipes: AutoAugment needs torchvision, which is not installed; install "
                "spikesim[vision]"
            ) from error
        policy = transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10)
        return torch.stack([policy(image) for image in x])


def _crop_flip(preprocessing: dict[str, Any], auto: bool) -> Augmentations:
    grey = [round(255 * mean) for mean in preprocessing["mean"]]
    if not auto:
        return Augmentations([CropFlip(4)])
    return Augmentations([CropFlip(4), AutoAugment(), Cutout(16, grey)])


def _qcfs(lam: float, levels: int = 4) -> dict[str, Any]:
    return {"kind": "qcfs", "L": levels, "lam": lam}


def _digits(name: str, about: str, builder: str, arguments: dict[str, Any]) -> Recipe:
    return Recipe(
        name=name,
        about=f"{about} on the embedded digits; half a minute",
        data="digits",
        builder=builder,
        arguments={"image_size": 8, **arguments},
        epochs=40,
        options={"batch_size": 64, "lr": 0.1, "schedule": "one_cycle"},
        preprocessing={"scale": 1 / 16},
        augment=Affine(degrees=10, scale=0.1, shift=0.07),
    )


def _grey(
    name: str,
    about: str,
    builder: str,
    arguments: dict[str, Any],
    epochs: int,
    data: str = "mnist",
    lr: float = 0.1,
    affine: Affine | None = None,
) -> Recipe:
    # A turned or shifted shirt is a shirt, and so is its mirror image.
    augment = (affine or Affine()) if data == "mnist" else CropFlip(2)
    return Recipe(
        name=name,
        about=about,
        data=data,
        builder=builder,
        arguments=arguments,
        epochs=epochs,
        options={"batch_size": 128, "lr": lr, "schedule": "one_cycle"},
        preprocessing={"scale": 1 / 255},
        augment=augment,
    )


def _cifar(
    name: str,
    about: str,
    builder: str,
    arguments: dict[str, Any],
    *,
    data: str = "cifar10",
    epochs: int = 300,
    lr: float = 0.1,
    auto: bool = True,
) -> Recipe:
    preprocessing = _CIFAR10 if data == "cifar10" else _CIFAR100
    return Recipe(
        name=name,
        about=about,
        data=data,
        builder=builder,
        arguments={"num_classes": 10 if data == "cifar10" else 100, "width": 1.0, **arguments},
        epochs=epochs,
        options={"batch_size": 128, "lr": lr, "schedule": "cosine", "weight_decay": 5e-4},
        preprocessing=preprocessing,
        augment=_crop_flip(preprocessing, auto),
    )


_VGG = {"batch_norm": True, "dropout": 0.5}

CLASSIFIERS = (
    _digits("digits-relu", "convolutions, ReLU", "mnist_net", {"activation": "relu"}),
    _digits("digits-qcfs", "convolutions, QCFS L=4", "mnist_net", {"activation": _qcfs(4.0)}),
    _digits("digits-resnet", "ResNet-8, ReLU, max pool", "resnet8", {"activation": "relu"}),
    _grey(
        "mnist-relu",
        "LeNet without biases, ReLU, on MNIST",
        "lenet",
        {"activation": "relu", "width": 4 / 3},
        20,
        lr=0.05,
    ),
    # Few wide layers: spikes that come unevenly cost more with every layer.
    _grey(
        "mnist-qcfs",
        "LeNet with batch normalisation, QCFS L=4, on MNIST",
        "lenet",
        {
            "activation": _qcfs(4.0),
            "batch_norm": True,
            "bias": True,
            "dropout": 0.1,
            "width": 2,
        },
        24,
        affine=Affine(degrees=12, elastic=0.06),
    ),
    _grey(
        "mnist-resnet8", "ResNet-8, ReLU, max pool, on MNIST", "resnet8", {"activation": "relu"}, 6
    ),
    _grey(
        "fashion-mnist-qcfs",
        f"convolutions, QCFS L=4, on Fashion-MNIST{UNTESTED}",
        "mnist_net",
        {"activation": _qcfs(4.0)},
        30,
        "fashion-mnist",
    ),
    _cifar(
        "cifar10-vgg16-relu",
        "VGG-16, ReLU, on CIFAR-10",
        "vgg16",
        {"activation": "relu", **_VGG},
        auto=False,
    ),
    _cifar(
        "cifar10-vgg16-qcfs",
        "VGG-16, QCFS L=4, on CIFAR-10, as in the paper",
        "vgg16",
        {"activation": _qcfs(8.0), **_VGG},
    ),
    _cifar(
        "cifar10-resnet20-relu",
        "ResNet-20, ReLU, on CIFAR-10",
        "resnet20",
        {"activation": "relu"},
        auto=False,
    ),
    _cifar(
        "cifar10-resnet20-qcfs",
        "ResNet-20, QCFS L=4, on CIFAR-10, as in the paper",
        "resnet20",
        {"activation": _qcfs(8.0)},
    ),
    _cifar(
        "cifar100-vgg16-qcfs",
        f"VGG-16, QCFS L=4, on CIFAR-100, as in the paper{UNTESTED}",
        "vgg16",
        {"activation": _qcfs(8.0), **_VGG},
        data="cifar100",
        lr=0.02,
    ),
)
