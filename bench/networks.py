"""The networks of the scenarios, as torch modules with any library's neurons."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import spikesim as ss
import torch
from spikesim.models.vgg import images
from torch import Tensor, nn

NeuronFactory = Callable[[], nn.Module]


def vgg16(neuron: NeuronFactory | None, rate: float | None, n_steps: int) -> nn.Sequential:
    """VGG-16 with weights calibrated to `rate` (None: any weights, to be loaded over)."""
    return ss.models.vgg16(neuron=neuron, rate=rate, n_steps=n_steps)


def mlp(neuron: NeuronFactory | None, rate: float | None, n_steps: int) -> nn.Sequential:
    """784-800-10, neurons after both layers."""
    make = neuron if neuron is not None else ss.train.IF
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = OrderedDict(
            fc1=nn.Linear(784, 800), if1=make(), fc2=nn.Linear(800, 10), if2=make()
        )
    model = nn.Sequential(layers).eval()
    if rate is not None:
        ss.models.calibrate_rate(model, inputs("mlp", 64, seed=0), rate, n_steps)
    return model


BUILDERS = {"vgg16": vgg16, "mlp": mlp}
SHAPES = {"vgg16": (3, 32, 32), "mlp": (784,)}


def inputs(network: str, batch: int, seed: int = 1) -> Tensor:
    """Random images on the grid k/16 that the weights were not calibrated on (another seed)."""
    if network == "mlp":
        return images(batch, (1, 28, 28), seed).flatten(1)
    return images(batch, SHAPES[network], seed)
