"""The networks of the scenarios, as torch modules with any library's neurons."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import spikesim as ss
from residual import biased, calibrate_residual

NeuronFactory = Callable[[], nn.Module]


@dataclass(frozen=True)
class Network:
    """A network that can be measured."""

    make: Callable[[NeuronFactory], nn.Sequential]
    """Makes it, weights drawn from a seed."""
    shape: tuple[int, ...]
    """Of one sample."""
    calibration: int = 32
    """Images that weights are calibrated on: the largest batch, or what fits in memory."""
    tolerance: float = 0.0
    """Of the readout, as a fraction of its largest value: 0 where all sums are exact."""
    residual: bool = False


def _mlp(neuron: NeuronFactory) -> nn.Sequential:
    """784-800-10, neurons after both layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = OrderedDict(
            fc1=nn.Linear(784, 800), if1=neuron(), fc2=nn.Linear(800, 10), if2=neuron()
        )
    return nn.Sequential(layers).eval()


def _vgg(neuron: NeuronFactory, builder: Any, **options: Any) -> nn.Sequential:
    model: nn.Sequential = builder(neuron=neuron, **options)
    return model


def _resnet(neuron: NeuronFactory, builder: Any, **options: Any) -> nn.Sequential:
    """BatchNorm folded away: convolutions have a bias."""
    model: nn.Sequential = builder(neuron=neuron, batch_norm=False, **options)
    biased(model)
    return model.eval()


def _dvs_gesture(neuron: NeuronFactory, channels: int = 128) -> nn.Sequential:
    """The layers of SpikingJelly's DVSGestureNet, BatchNorm folded away, up to its vote."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for index in range(1, 6):
            before = 2 if index == 1 else channels
            layers[f"conv{index}"] = nn.Conv2d(before, channels, 3, padding=1)
            layers[f"if{index}"] = neuron()
            layers[f"pool{index}"] = nn.MaxPool2d(2)
        layers["flatten"] = nn.Flatten()
        for index, (before, after) in enumerate(((channels * 16, 512), (512, 110)), start=1):
            layers[f"fc{index}"] = nn.Linear(before, after)
            layers[f"if{index + 5}"] = neuron()
    return nn.Sequential(layers).eval()


def _tiny(neuron: NeuronFactory) -> nn.Sequential:
    """A convolution and a dense layer: for tests of the benchmark itself."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = OrderedDict(
            conv1=nn.Conv2d(1, 4, 3, padding=1),
            if1=neuron(),
            pool1=nn.AvgPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(64, 5),
        )
    return nn.Sequential(layers).eval()


_MODELS = ss.models

NETWORKS = {
    "tiny": Network(_tiny, (1, 8, 8), calibration=8),
    "mlp": Network(_mlp, (784,)),
    "vgg16": Network(partial(_vgg, builder=_MODELS.vgg16), (3, 32, 32)),
    "resnet18": Network(
        partial(_resnet, builder=_MODELS.resnet18), (3, 32, 32), calibration=16, residual=True
    ),
    "resnet20": Network(partial(_resnet, builder=_MODELS.resnet20), (3, 32, 32), residual=True),
    "vgg11": Network(
        partial(_vgg, builder=partial(_MODELS.vgg11, image_size=224)), (3, 224, 224), calibration=2
    ),
    # The mean of 7 x 7 values is rounded: spikes are exact, the readout behind it is not.
    "resnet34": Network(
        partial(_resnet, builder=partial(_MODELS.resnet34, image_size=224)),
        (3, 224, 224),
        calibration=4,
        tolerance=1e-5,
        residual=True,
    ),
    "dvs-gesture": Network(_dvs_gesture, (2, 128, 128), calibration=4),
}


def build(network: str, neuron: NeuronFactory) -> nn.Sequential:
    """The network with weights of no meaning, to be loaded over."""
    return NETWORKS[network].make(neuron)


# The batches of a rate share one set of weights.
@lru_cache(maxsize=1)
def calibrated(network: str, rate: float, n_steps: int) -> nn.Sequential:
    """The network with spikesim's neurons and weights that make each layer fire at `rate`."""
    entry = NETWORKS[network]
    model = entry.make(ss.train.IF)
    images = inputs(network, entry.calibration)
    if entry.residual:
        calibrate_residual(model, images, rate, n_steps)
    else:
        ss.models.calibrate_rate(model, images, rate, n_steps)
    return model


def inputs(network: str, batch: int) -> Tensor:
    """Random images on the grid k/16 in [0, 1), the first ones the same for every batch.

    Patches of four pixels' width, and noise; by integers alone, the same on every machine.
    """
    shape = NETWORKS[network].shape
    c, h, w = shape if len(shape) == 3 else (1, 28, 28)
    made = np.empty((batch, c, h, w), np.float32)
    for index in range(batch):
        rng = np.random.default_rng((1, index))
        low = rng.integers(0, 16, (c, -(-h // 4), -(-w // 4)))
        wide = low.repeat(4, 1).repeat(4, 2)[:, :h, :w]
        made[index] = (3 * wide + rng.integers(0, 16, (c, h, w))) // 4 / 16
    return torch.from_numpy(made.reshape(batch, *shape))
