"""from_torch: which maximum a pool takes, by what its input is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from libraries import assert_equal, run_library  # noqa: E402


class Joined(nn.Module):
    """A maximum over the input or a current joined with spikes."""

    def __init__(self, join: str, padding: int = 0) -> None:
        super().__init__()
        self.join = join
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.spike = ss.train.IF(0.5)
        self.side = nn.Conv2d(2, 2, 1)
        self.pool = nn.MaxPool2d(2, padding=padding)
        self.fc = nn.Linear(4 * 2 * 2 if join == "cat" else 2 * 2 * 2, 3)
        self.last = ss.train.IF(0.5)

    def forward(self, x: Any) -> Any:
        spikes = self.spike(self.conv(x))
        if self.join == "cat":
            y = torch.cat([x, spikes], dim=1)
        elif self.join == "add":
            y = x + spikes
        else:
            y = spikes + self.side(x)
        return self.last(self.fc(self.pool(y).flatten(1)))


def model_of(join: str, padding: int = 0) -> nn.Module:
    """Weights on a grid where every sum is exact."""
    model = Joined(join, padding).eval()
    rng = np.random.default_rng(4)
    with torch.no_grad():
        for parameter in model.parameters():
            values = rng.integers(-8, 9, tuple(parameter.shape)) / 16
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))
    return model


@pytest.mark.parametrize(
    ("join", "pool"),
    [("cat", "SpikeMaxPool2d"), ("add", "SpikeMaxPool2d"), ("side", "CurrentMaxPool2d")],
)
@pytest.mark.parametrize("graded", [False, True])
def test_a_maximum_over_joined_values(join: str, pool: str, graded: bool):
    model = model_of(join)
    net = ss.from_torch(model, (2, 4, 4))
    assert type(net.node("pool").op).__name__ == pool
    rng = np.random.default_rng(7)
    x = (rng.random((6, 2, 2, 4, 4)) < 0.4).astype(np.float32)
    if graded:
        x *= rng.integers(-4, 5, x.shape).astype(np.float32) / 4
    trace = run_library(model, x)
    assert trace.spikes["last"].any()
    assert_equal(net, x, trace)


def test_padding_is_refused_where_the_input_may_be_negative():
    with pytest.raises(ss.errors.UnsupportedError, match="pool: maximum pool pads spikes that may"):
        ss.from_torch(model_of("add", padding=1), (2, 4, 4))
