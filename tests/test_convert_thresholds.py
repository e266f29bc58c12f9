"""Thresholds from activations and from weights alone: each formula by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import spikesim as ss
from spikesim.convert.ann import Setting, emit, read
from spikesim.convert.ann.data import Samples
from spikesim.convert.ann.thresholds import FLOOR, activations, model_based, rank


def identity(channels: int, side: int = 1) -> Any:
    """A ReLU of the input itself."""
    layer = nn.Conv2d(channels, channels, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(channels)[:, :, None, None])
    return read(nn.Sequential(layer, nn.ReLU()), (channels, side, side))


@pytest.mark.parametrize("n", [1, 7, 1000, 1001, 2000])
@pytest.mark.parametrize("percentile", [100.0, 99.9, 99.0, 50.0, 10.0])
def test_the_percentile_of_a_permutation(n: int, percentile: float) -> None:
    """Of 1 … n it is floor(p·n), at least 1."""
    values = np.random.default_rng(n).permutation(n) + 1
    data = Samples(values.reshape(n, 1, 1, 1).astype(np.float32))
    exact = math.floor(n * int(percentile * 10) / 1000)
    found = activations(identity(1), data, percentile)["1"]
    assert float(found) == max(exact, 1)
    assert rank(n, percentile) == max(exact - 1, 0)


def test_zeros_are_included() -> None:
    """Of 50 zeros and 1 … 50 the 60th percentile is 10; without zeros it were 30."""
    values = np.concatenate([np.zeros(50), np.arange(1, 51)]).astype(np.float32)
    found = activations(identity(1), Samples(values.reshape(100, 1, 1, 1)), 60.0)
    assert float(found["1"]) == 10


def test_a_percentile_that_is_zero_is_the_largest() -> None:
    values = np.zeros((100, 1, 1, 1), np.float32)
    values[3] = 5
    assert float(activations(identity(1), Samples(values), 50.0)["1"]) == 5


@given(st.integers(0, 1000), st.sampled_from([100.0, 99.9, 90.0, 50.0]), st.booleans())
def test_batches_do_not_change_it(seed: int, percentile: float, per_channel: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rng.integers(1, 600), 3, 2, 2)).astype(np.float32)
    assume((x > 0).any())
    found = activations(identity(3, 2), Samples(x), percentile, per_channel=per_channel)["1"]
    a = np.maximum(x, 0)
    rows = a.swapaxes(0, 1).reshape(3, -1) if per_channel else a.reshape(1, -1)
    whole = np.sort(rows, 1)[
        :, max(math.floor(rows.shape[1] * round(percentile * 10) / 1000) - 1, 0)
    ]
    wanted = [float(w or row.max()) for w, row in zip(whole, rows, strict=True)]
    top = float(a.max())
    if per_channel:
        assert found.tolist() == [max(w, FLOOR * top) if w else top for w in wanted]
    else:
        assert float(found) == wanted[0]


def test_channels_have_their_own_and_silent_ones_the_layers() -> None:
    x = np.zeros((10, 5, 1, 1), np.float32)
    x[:, 0, 0, 0], x[:, 1, 0, 0] = np.arange(1, 11), np.arange(10, 110, 10)
    x[3, 2, 0, 0], x[:, 3, 0, 0] = 7, 0.001
    found = activations(identity(5), Samples(x), 90.0, per_channel=True)["1"]
    assert found.tolist() == [9.0, 90.0, 7.0, FLOOR * 100, 100.0]


# --- Without data ------------------------------------------------------------------------------


def test_the_bound_by_hand() -> None:
    """Rows (½ − 1, 1 + ½): 1½, plus ¼ of bias: 1¾; then 2·1¾ − 1·1¾ → 3½."""
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1, bias=False), nn.ReLU())
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[0.5, -1.0], [1.0, 0.5]]))
        module[0].bias.copy_(torch.tensor([-3.0, 0.25]))
        module[2].weight.copy_(torch.tensor([[2.0, -1.0]]))
    found = model_based(read(module, (2,)))
    assert {name: float(theta) for name, theta in found.items()} == {"1": 1.75, "3": 3.5}


def test_samples_widen_the_bound_of_the_input() -> None:
    """Input in [-2, 3]: 1·3 + -1·-2 = 5, and not 1·1 + -1·0; in [0, 0.5] as without samples."""
    module = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU(), nn.Linear(1, 1))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, -1.0]]))
    for x, theta in (([[3, -2]], 5.0), ([[0.5, 0]], 1.0)):
        net, _ = ss.convert(module, np.array(x, np.float32), method="model", n_steps=4)
        assert float(net.node("1").op.v_threshold) == theta  # type: ignore[attr-defined]


def test_a_largest_value_bounds_the_bound() -> None:
    """A neuron whose threshold is above 6 could say more than ReLU6 does."""
    for act, most in ((nn.ReLU6(), 6.0), (ss.train.QCFS(4, lam=0.5), 0.5)):
        module = nn.Sequential(nn.Linear(1, 1), act, nn.Linear(1, 1))
        with torch.no_grad():
            module[0].weight.fill_(20.0)
            module[0].bias.fill_(0.0)
        x = np.array([[1.0], [0.5]], np.float32)
        for method in ("model", "spike_norm", "rmp", "max"):
            net, report = ss.convert(module, calibration=x, method=method, n_steps=64)
            assert report.thresholds["1"] == most, method
            said = net.compile().run(x, n_steps=64).output
            np.testing.assert_allclose(said, module(torch.from_numpy(x)).detach(), rtol=1e-5)


class Mixed(nn.Module):
    """Leaky and plain ReLU, sums, joins and pools, random."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.a, self.b = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        self.c, self.fc = nn.Conv2d(6, 4, 1), nn.Linear(16, 3)
        self.leaky = nn.LeakyReLU(0.5)

    def forward(self, x: Tensor) -> Tensor:
        a = self.leaky(self.a(x))
        b = self.leaky(a + self.b(a))
        c = torch.relu(self.c(torch.cat([a, b], 1)))
        return self.fc(nn.functional.max_pool2d(c, 2).flatten(1))


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_without_data_nobody_ever_needs_two_spikes(seed: int) -> None:
    """With inputs in [0, 1]: what arrives in a step lies in [−θ/slope, θ], whatever comes."""
    ann = read(Mixed(seed), (2, 4, 4))
    found = model_based(ann)
    x = np.random.default_rng(seed).integers(0, 2, (40, 2, 4, 4)).astype(np.float32)
    net = emit(ann, {name: Setting.of(theta) for name, theta in found.items()})
    result = net.compile().run(x, n_steps=12, record=("current",))
    for name, theta in found.items():
        current, slope = result.current[name], ann.activations[name].slope
        assert current.max() <= theta * (1 + 1e-6), name
        if slope:
            assert -current.min() <= theta / slope * (1 + 1e-6), name
