"""Conversions of small networks of the 8x8 digits: accuracy, and engines that agree."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import digits_nets
import spikesim as ss
from engines import Engine, Reference, Torch
from spikesim.convert.ann.methods import METHODS
from test_margin import check

Array = NDArray[Any]
STEPS = 8


def pictures() -> tuple[Array, ...]:
    """The digits as images: to train, to test."""
    x, y, test, labels = digits_nets.images()
    return x.reshape(-1, 1, 8, 8), y, test.reshape(-1, 1, 8, 8), labels


@cache
def convnet(act: str) -> nn.Sequential:
    """A small convolutional net with a norm and a max pool, trained for seconds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)

        def a() -> nn.Module:
            return ss.train.QCFS(4, lam=4.0) if act == "qcfs" else nn.ReLU()

        net = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), a()),
            *(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), a(), nn.Flatten()),
            *(nn.Linear(256, 32), a(), nn.Linear(32, 10)),
        )
        x, y, *_ = (torch.tensor(part) for part in pictures())
        generator = torch.Generator().manual_seed(0)
        adam = torch.optim.Adam(net.parameters(), lr=5e-3)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for _ in range(3):
            for batch in torch.randperm(len(x), generator=generator).split(64):
                loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
                adam.zero_grad()
                loss.backward()
                adam.step()
        torch.set_num_threads(threads)
    return net.eval()


@cache
def accuracies(method: str, act: str = "relu", **options: Any) -> tuple[dict[int, float], float]:
    """On the 360 test images by T, and the ANN's."""
    x, _, test, labels = pictures()
    _, report = ss.convert(
        convnet(act),
        calibration=x[:64],
        method=method,
        n_steps=4,
        validation=(test, labels),
        steps=[4, 8, 256],
        **options,
    )
    assert report.ann_accuracy is not None
    return dict(report.accuracy_by_steps), report.ann_accuracy


def test_percentile_is_as_good_as_the_largest_at_8_steps() -> None:
    assert accuracies("percentile")[0][8] >= accuracies("max")[0][8]


@pytest.mark.parametrize(
    "method",
    [*("max", "percentile", "channel_wise", "model", "spike_norm", "rmp", "spiking_resnet")],
)
def test_every_threshold_is_near_the_ann_at_256_steps(method: str) -> None:
    found, ann = accuracies(method)
    assert ann > 0.9
    assert found[256] >= ann - 0.015


def test_qcfs_is_near_its_ann_at_as_many_steps_as_levels() -> None:
    found, ann = accuracies("qcfs", "qcfs")
    assert ann > 0.9
    assert found[4] >= ann - 0.01


def test_calibrated_is_better_than_percentile_at_4_steps() -> None:
    assert accuracies("calibrated")[0][4] > accuracies("percentile")[0][4]


@pytest.mark.parametrize("method", [*METHODS])
def test_three_engines_agree_on_the_digits(method: str) -> None:
    """engine = reference to the bit; to_torch sums in another order: the margin rule."""
    if method == "hybrid":
        module: nn.Module = digits_nets.mlp(bias=False)
        x = digits_nets.images()[0][:48]
        options: dict[str, Any] = {"epochs": 1, "batch_size": 16}
    else:
        module, options = convnet("qcfs" if method == "qcfs" else "relu"), {}
        x = pictures()[0][:32]
    y = digits_nets.images()[1][: len(x)]
    net, _ = ss.convert(module, calibration=(x, y), method=method, n_steps=STEPS, **options)
    few = x[:8]
    engine, reference, twin = (run(net).run(few, STEPS) for run in (Engine, Reference, Torch))
    assert np.array_equal(engine.output, reference.output)
    for name, raster in engine.spikes.items():
        assert np.array_equal(raster, reference.spikes[name]), name
    if method == "hybrid":
        check_chain(net, few, engine, twin)
        return
    # The first population hears the same sums; where it parts, its membrane lies on θ.
    first = next(iter(engine.spikes))
    assert engine.spikes[first].any()
    theta: Any = net.node(first).op
    apart = engine.spikes[first] != twin.spikes[first]
    v = engine.v[first] + engine.spikes[first] * along(theta.v_threshold, engine.v[first])
    if theta.reset == "subtract":
        edge = np.abs(v - along(theta.v_threshold, v))
        assert (edge[apart] <= 1e-4 * float(np.max(theta.v_threshold))).all()
    assert apart.mean() < 1e-3
    assert (engine.predictions == twin.predictions).mean() >= 7 / 8
    if not any((engine.spikes[n] != twin.spikes[n]).any() for n in engine.spikes):
        np.testing.assert_allclose(engine.output, twin.output, rtol=1e-4, atol=1e-4)


def along(values: Array, like: Array) -> Array:
    """One value a channel against (T, N, C, ...)."""
    return values.reshape(-1, *(1,) * (like.ndim - 3)) if values.ndim else values


def check_chain(net: ss.Network, x: Array, engine: Any, twin: Any) -> None:
    """The margin rule of test_margin.py, for a chain that ends in a layer."""
    part = ss.Network(net.input_shape)
    for node in net.nodes[1:-1]:
        part.add(node.op, node.name)
    check(part, np.broadcast_to(x, (STEPS, *x.shape)).copy(), engine, twin)
