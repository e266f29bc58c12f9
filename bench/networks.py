"""The networks of the scenarios, as torch modules with any library's neurons."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

import spikesim as ss
from spikesim.models.vgg import images

# Weights are calibrated on the largest batch that is measured, so that its rate is the scenario's.
CALIBRATION = 32

NeuronFactory = Callable[[], nn.Module]


def vgg16(neuron: NeuronFactory | None, rate: float | None, n_steps: int) -> nn.Sequential:
    """VGG-16 with weights calibrated to `rate` (None: any weights, to be loaded over)."""
    model = ss.models.vgg16(neuron=neuron)
    if rate is not None:
        ss.models.calibrate_rate(model, inputs("vgg16", CALIBRATION), rate, n_steps)
    return model


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
        ss.models.calibrate_rate(model, inputs("mlp", CALIBRATION), rate, n_steps)
    return model


BUILDERS = {"vgg16": vgg16, "mlp": mlp}
SHAPES = {"vgg16": (3, 32, 32), "mlp": (784,)}


def inputs(network: str, batch: int) -> Tensor:
    """Random images on the grid k/16; the first ones are the same for every batch."""
    return _images(network, max(batch, CALIBRATION))[:batch].contiguous()


def _images(network: str, count: int) -> Tensor:
    if network == "mlp":
        return images(count, (1, 28, 28), seed=1).flatten(1)
    return images(count, SHAPES[network], seed=1)
