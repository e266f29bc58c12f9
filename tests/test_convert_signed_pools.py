"""Maximum pools over activations that may be below zero: whether padding wins, and where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import spikesim as ss
from spikesim.convert.ann.read import read
from spikesim.errors import UnsupportedError

Array = NDArray[Any]
STEPS = 512


def images(*shape: int) -> Array:
    return np.random.default_rng(0).random((20, *shape)).astype(np.float32)


def negative(layer: Any) -> Any:
    """A layer whose outputs are mostly below zero, at the border too."""
    torch.manual_seed(0)
    layer.reset_parameters()
    with torch.no_grad():
        layer.bias.fill_(-1.5)
    return layer


def conv() -> nn.Module:
    return negative(nn.Conv2d(1, 3, 3, padding=1))


def check(module: nn.Module, x: Array, **options: Any) -> ss.convert.ConversionReport:
    """The converted network tends to the ANN."""
    net, report = ss.convert(
        module, calibration=x, method="max", v0=0.5, n_steps=STEPS, steps=[STEPS], **options
    )
    with torch.no_grad():
        wanted = module.eval()(torch.from_numpy(x)).numpy()
    assert wanted.min() < -0.1  # what would be 0 if padding won
    found = net.compile().run(x, n_steps=STEPS).output
    assert np.abs(found - wanted).max() < 8 / STEPS * np.abs(wanted).max()
    return report


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d((2, 3), (1, 2), (1, 1)),
        nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, 1)),
        nn.Sequential(nn.AvgPool2d(2), nn.MaxPool2d(3, 2, 1)),
    ],
)
def test_padding_of_a_pool_never_wins(pool: nn.Module) -> None:
    report = check(nn.Sequential(conv(), nn.LeakyReLU(0.3), pool), images(1, 7, 7))
    assert set(report.max_pools.values()) == {'RateMaxPool2d (gate "count")'}
    (layer,) = report.layers
    assert layer.errors is not None
    assert layer.errors.unevenness.rms < 0.001


def test_a_pool_before_its_activation() -> None:
    check(nn.Sequential(conv(), nn.MaxPool2d(3, 2, 1), nn.LeakyReLU(0.3)), images(1, 7, 7))


def test_one_axis() -> None:
    layer = negative(nn.Conv1d(2, 3, 3, padding=1))
    check(nn.Sequential(layer, nn.LeakyReLU(0.3), nn.MaxPool1d(3, 2, 1)), images(2, 9))


def test_the_layer_after_it_is_measured_with_the_same_padding() -> None:
    body = (conv(), nn.LeakyReLU(0.3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(3, 2, 1), nn.LeakyReLU(0.3))
    report = check(nn.Sequential(*body), images(1, 7, 7))
    errors = report.layers[-1].errors
    assert errors is not None
    assert errors.inherited is not None
    assert errors.inherited.rms < 0.01
    assert errors.unevenness.rms < 0.01


@pytest.mark.parametrize("act", [nn.LeakyReLU(0.3), nn.ReLU()])
def test_zeros_around_win_where_all_is_below(act: nn.Module) -> None:
    """As Tiny YOLO pools with stride 1: a zero is larger than what is below zero."""
    module = nn.Sequential(conv(), act, nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1))
    if isinstance(act, nn.ReLU):
        with torch.no_grad():
            module[0].bias.fill_(0.1)  # type: ignore[operator,union-attr]
        assert read(module, (1, 7, 7)).pools == {"3": "spikes"}
        return
    with pytest.raises(UnsupportedError, match="values that may be negative with zeros around"):
        ss.convert(module, calibration=images(1, 7, 7), method="max", n_steps=4)
