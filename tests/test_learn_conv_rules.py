"""The rules of convolutional STDP by hand, each on the engine and on its twin (S13.1 - S13.10)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from rules import rule
from spikesim import data
from spikesim.learn import ConvSTDP, DoG, LatencyPool, Pixels, STDPConv
from spikesim.learn.reference import conv_stdp as twin

NEVER = twin.NEVER
Layers = list[Any]


def model_of(layers: Layers, weights: dict[int, Any], image: np.ndarray, **args: Any) -> ConvSTDP:
    """A model with these weights."""
    model = ConvSTDP(layers, Pixels(bins=8), threads=1, **args)
    model._start((1, *image.shape[-2:]))
    for n, w in weights.items():
        model.weights_[n] = np.array(w, np.float32).reshape(model.weights_[n].shape)
    return model


def engine_times(model: ConvSTDP, image: Any, upto: int) -> np.ndarray:
    """The times (maps, rows, columns) that the engine's layers before `upto` give."""
    with model._engine() as core:
        x = np.ascontiguousarray(np.reshape(image, model.image_shape_), np.float32)
        t, c, y, x_at = core.spikes(x, upto)
        times = np.full(core.shapes()[upto], NEVER)
    times[c, y, x_at] = t
    return times


def both(layers: Layers, weights: dict[int, Any], image: Any, upto: int) -> np.ndarray:
    """The times of both, which are the same."""
    image = np.array(image, np.float32)
    model = model_of(layers, weights, image)
    times = twin.encode(model.encoder, image[None])
    for n, layer in enumerate(layers[:upto]):
        if isinstance(layer, LatencyPool):
            times = twin.pool(layer, times)
        else:
            times, _, _ = twin.fire(layer, model.weights_[n], times, 8, layer.lateral)
    engine = engine_times(model, image, upto)
    assert (engine == times).all()
    return engine


def winners(model: ConvSTDP, images: np.ndarray, layer: int = 0) -> list[list[Any]]:
    """Of the engine; equal to the twin's."""
    with model._engine() as core:
        found = core.winners(layer, np.ascontiguousarray(images, np.float32))
    return [[twin.Winner(t, m, y, x, np.float32(v)) for t, m, y, x, v in of] for of in found]


@rule("S13.1")
def test_on_and_off_responses() -> None:
    image = np.zeros((9, 9), np.float32)
    image[4, 4] = 7
    kernel = DoG().filter
    assert kernel[3, 3] > 0 > kernel[0, 3]
    assert abs(kernel.sum()) < 1e-6
    model = ConvSTDP([STDPConv(1, 1, threshold=1)], DoG(min_response=0, bins=50))
    model._start((1, 9, 9))
    times = engine_times(model, image, 0)
    assert (times == twin.encode(model.encoder, image[None])).all()
    on, off = times < NEVER
    assert (on[1:8, 1:8] == (kernel > 0)).all()
    assert (off[1:8, 1:8] == (kernel < 0)).all()
    assert times.min() == times[0, 4, 4] == 0  # the centre is the strongest
    scaled = engine_times(model, image * 100, 0)
    assert (scaled == times).all()


@rule("S13.2")
def test_ranks_become_times() -> None:
    image = [[0.5, 0.9, 0.0], [0.5, 0.7, 0.005]]  # the last is below 0.01·0.9
    times = both([STDPConv(1, 1, threshold=1)], {}, image, 0)
    # 0.9, 0.7, 0.5 (first), 0.5 (second): k·8 // 4
    assert times[0].tolist() == [[4, 0, NEVER], [6, 2, NEVER]]
    assert (times[1] == NEVER).all()


@rule("S13.3")
def test_a_neuron_integrates_and_spikes_once() -> None:
    # Two spikes of 0.5 reach 1.0 exactly: >= fires; the third does not fire again.
    layer = STDPConv(1, 2, threshold=1.0, padding=1)
    image = [[0.9, 0.6], [0.0, 0.3]]  # bins 0, 2, 5 of 8
    times = both([layer], {0: [[[[0.5, 0.5], [0.5, 0.5]], [[0] * 2] * 2]]}, image, 1)
    assert times[0].tolist() == [
        [NEVER, 2, NEVER],
        [NEVER, 2, 5],
        [NEVER, NEVER, NEVER],
    ]
    # What is where in the kernel: only the weight of the lower right corner is not 0, so a spike
    # reaches the neuron up and to the left of it.
    times = both([layer], {0: [[[[0, 0], [0, 1]], [[0] * 2] * 2]]}, image, 1)
    assert times[0].tolist() == [[0, 2, NEVER], [NEVER, 5, NEVER], [NEVER] * 3]


@rule("S13.4")
def test_lateral_lets_the_first_of_a_place_spike() -> None:
    image = [[0.9, 0.5]]  # bins 0 and 4
    weights = {0: [[[[0.6]], [[0]]], [[[0.7]], [[0]]], [[[0.7]], [[0]]]]}
    free = both([STDPConv(3, 1, threshold=0.5)], weights, image, 1)
    assert free.tolist() == [[[0, 4]]] * 3
    held = both([STDPConv(3, 1, threshold=0.5, lateral=True)], weights, image, 1)
    assert held.tolist() == [[[NEVER, NEVER]], [[0, 4]], [[NEVER, NEVER]]]


@rule("S13.5")
def test_a_pool_passes_the_earliest_spike() -> None:
    image = [[0.2, 0.9, 0.0], [0.8, 0.7, 0.3], [0.1, 0.0, 0.0]]
    layers = [LatencyPool(2, stride=1), STDPConv(1, 1, threshold=1)]
    # ranks: .9 .8 .7 .3 .2 .1 -> 0 1 2 4 5 6
    assert both(layers, {}, image, 1)[0].tolist() == [[0, 0], [1, 2]]
    layers = [LatencyPool(2, padding=1), STDPConv(1, 1, threshold=1)]
    assert both(layers, {}, image, 1)[0].tolist() == [[5, 0], [1, 2]]
    layers = [LatencyPool(3, stride=2, padding=1), STDPConv(1, 1, threshold=1)]
    assert both(layers, {}, image, 1)[0].tolist() == [[0, 0], [1, 2]]


@rule("S13.6", "S13.7")
def test_winners_by_hand() -> None:
    # Four places in a row; map 0 answers with 0.5, map 1 with 0.8, map 2 with 0.6.
    layer = STDPConv(3, 1, threshold=0.5, k=3, radius=0)
    weights = {0: [[[[0.5]], [[0]]], [[[0.8]], [[0]]], [[[0.6]], [[0]]]]}
    image = np.array([[0.9, 0.7, 0.5, 0.3]], np.float32)
    found = winners(model_of([layer], weights, image), image[None])
    # Everywhere map 1 is the candidate, and one map wins once.
    assert found == [[twin.Winner(0, 1, 0, 0, np.float32(0.8))]]
    # Maps that see other channels: three candidates in one bin go by their potential.
    weights = {0: [[[[0.5]], [[0]]], [[[0]], [[0.8]]], [[[0]], [[0]]]]}
    model = model_of([layer], weights, image)
    model.encoder = Pixels(center=0.5, bins=1)
    image = np.array([[1.0, 0.1, 0.9, 0.0]], np.float32)
    found = winners(model, image[None])
    eight, half = np.float32(0.8), np.float32(0.5)
    assert found == [[twin.Winner(0, 1, 0, 1, eight), twin.Winner(0, 0, 0, 0, half)]]
    model.layers = [STDPConv(3, 1, threshold=0.5, k=3, radius=1)]
    found = winners(model, image[None])  # column 0 lies within 1 of column 1, column 2 as well
    assert found == [[twin.Winner(0, 1, 0, 1, eight)]]


def digits(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits up-sampled to 16x16 and their labels."""
    train = data.load("digits", split="train")
    return np.kron(train.x[:n, 0], np.ones((2, 2))).astype(np.float32), train.y[:n]


@rule("S13.7")
@pytest.mark.parametrize("radius", [0, 1, 3])
def test_no_two_winners_share_a_map_or_lie_within_the_radius(radius: int) -> None:
    x, _ = digits(60)
    layer = STDPConv(16, 5, threshold=8, k=6, radius=radius, padding=2, n_images=60)
    model = ConvSTDP([layer], seed=2).fit(x)
    found = winners(model, x)
    times = [twin.encode(DoG(), image[None]) for image in x[:3]]
    assert found[:3] == [twin.winners(layer, model.weights_[0], t, 15) for t in times]
    assert max(map(len, found)) > 1
    for of_image in found:
        assert len({w.map for w in of_image}) == len(of_image) <= 6
        for a in of_image:
            for b in of_image:
                assert a is b or max(abs(a.y - b.y), abs(a.x - b.x)) > radius


@rule("S13.8")
def test_weights_move_by_who_came_first() -> None:
    # Potential 0.5 + 0.5 at bin 2: pixels of bins 0 and 2 came no later, 5 later, 0.0 never.
    layer = STDPConv(1, 2, threshold=1.0, a_plus=0.5, a_minus=0.25, a_max=0.5, n_images=1)
    image = np.array([[0.9, 0.6], [0.3, 0.0]], np.float32)
    model = model_of([layer], {0: np.full(8, 0.5)}, image)
    model.partial_fit(image[None])
    up, down = 0.5 + 0.5 * 0.25, 0.5 - 0.25 * 0.25
    assert model.weights_[0].tolist() == [[[[up, up], [down, down]], [[down] * 2] * 2]]
    assert model.seen_ == {0: 1}
    # Padding counts as never: a neuron in the corner sees one pixel.
    layer = STDPConv(1, 2, threshold=0.5, padding=1, a_plus=0.5, a_minus=0.25, a_max=0.5)
    model = model_of([layer], {0: np.full(8, 0.5)}, image)
    model.partial_fit(image[None])
    (winner,) = winners(model_of([layer], {0: np.full(8, 0.5)}, image), image[None])[0]
    assert (winner.y, winner.x) == (0, 0)
    assert model.weights_[0][0, 0].tolist() == [[down, down], [down, up]]


@rule("S13.9")
def test_rates_double() -> None:
    layer = STDPConv(1, 1, threshold=1)
    f = np.float32
    assert layer.rates(0) == layer.rates(499) == (f(0.004), f(0.003))
    assert layer.rates(500) == (f(0.008), f(0.006))
    assert layer.rates(10**9) == (f(0.15), f(0.15 * (0.003 / 0.004)))
    still = STDPConv(1, 1, threshold=1, double_every=0)
    assert still.rates(10**9) == (f(0.004), f(0.003))
    # The engine takes the rate of the image: the second of two is learned with the doubled one.
    layer = STDPConv(1, 1, 0.5, a_plus=0.25, a_minus=0.25, a_max=1.0, double_every=1)
    image = np.ones((1, 1, 1), np.float32)
    model = model_of([layer], {0: [0.5, 0.5]}, image[0])
    model.partial_fit(np.concatenate([image, image]))
    first = 0.5 + 0.25 * 0.25
    second = f(f(first) + f(0.5 * first) * f(1 - first))
    assert model.weights_[0].ravel()[0] == second


@rule("S13.10")
def test_features_by_hand() -> None:
    image = np.array([[0.9, 0.6], [0.3, 0.0]], np.float32)  # bins 0, 2, 5
    layers = [STDPConv(1, 1, threshold=0.5), LatencyPool(2, stride=1)]
    weights = {0: [0.75, 0.0]}
    first = model_of(layers[:1], weights, image)
    expected = {
        "spike": [1, 1, 1, 0],
        "latency": [1, 6 / 8, 3 / 8, 0],
        "potential": [0.75, 0.75, 0.75, 0],
    }
    for kind, values in expected.items():
        assert first.set_params(features=kind).transform(image[None]).tolist() == [values]
        pooled = model_of(layers, weights, image, features=kind)
        assert pooled.transform(image[None]).tolist() == [[max(values)]]


def test_the_convergence_index_falls_and_digits_are_read() -> None:
    x, y = digits(1437)
    # Fast rates: at 0.8 the index is 0.16, and weights on their way to 0 pass 0.5, where w(1 - w)
    # is largest, before the first checkpoint.
    rates = {"a_plus": 0.08, "a_minus": 0.06}
    first = STDPConv(16, 5, 8, k=3, radius=2, padding=2, lateral=True, n_images=2500, **rates)
    model = ConvSTDP([first, LatencyPool(4, stride=2)], C=0.1, seed=0).fit(x, y)
    index = [at for _, _, at in model.convergence_]
    assert len(index) == 5
    assert all(later < earlier for earlier, later in pairwise(index)), index
    assert index[-1] < 0.05
    test = data.load("digits")
    held_out = np.kron(test.x[:, 0], np.ones((2, 2)))
    assert model.score(held_out, test.y) >= 0.95
