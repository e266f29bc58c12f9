"""Convolutional STDP: the engine against its NumPy twin, to the bit (S13)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules import rule
from spikesim import _core
from spikesim.learn import ConvSTDP, DoG, LatencyPool, Pixels, STDPConv
from spikesim.learn.reference import conv_stdp as twin


def images(seed: int, n: int, shape: tuple[int, ...] = (9, 10)) -> np.ndarray:
    """Noise with dark parts; one image is black."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, *shape)).astype(np.float32)
    x[rng.random(x.shape) < 0.4] = 0
    x[n // 2] = 0
    return x


def two_layers(**changes: Any) -> list[STDPConv | LatencyPool]:
    first: dict[str, Any] = {"threshold": 4, "k": 3, "radius": 1, "padding": 1, "n_images": 12}
    return [
        STDPConv(5, 3, a_plus=0.05, a_minus=0.04, double_every=5, **(first | changes)),
        LatencyPool(2, padding=1),
        STDPConv(17, 2, threshold=1.7, k=4, n_images=11, lateral=True),
        LatencyPool(2, stride=1),
    ]


def twin_fit(model: ConvSTDP, x: np.ndarray) -> dict[int, np.ndarray]:
    """What fit should have learned, layer by layer, from the weights of a new model."""
    start = ConvSTDP(**model.get_params())
    start._start((1, *x.shape[1:]))
    weights = dict(start.weights_)
    encoder = model.encoder or DoG()
    times = [twin.encode(encoder, image[None]) for image in x]
    for n, layer in enumerate(model.layers):
        if isinstance(layer, LatencyPool):
            times = [twin.pool(layer, t) for t in times]
            continue
        seen = 0
        while seen < layer.n_images:
            at = seen % len(x)
            upto = min(at + model.batch_size, len(x), at + layer.n_images - seen)
            weights[n], seen = twin.learn(layer, weights[n], seen, times[at:upto], encoder.bins)
        times = [twin.fire(layer, weights[n], t, encoder.bins, layer.lateral)[0] for t in times]
    return weights


@rule("S13.8", "S13.10")
@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    batch=st.sampled_from([1, 3]),
    lateral=st.booleans(),
    encoder=st.sampled_from([DoG(bins=6), DoG(2, 1, size=5, bins=15), Pixels(0.5, 0.2, bins=4)]),
)
def test_weights_and_features_equal_the_twins(
    seed: int, batch: int, lateral: bool, encoder: DoG | Pixels
) -> None:
    x = images(seed, 5, (8, 9))
    layers = two_layers(lateral=lateral)
    model = ConvSTDP(layers, encoder, batch_size=batch, seed=seed).fit(x)
    expected = twin_fit(model, x)
    for n, weight in expected.items():
        assert model.weights_[n].tobytes() == weight.tobytes()
    start = ConvSTDP(layers, encoder, seed=seed)
    start._start((1, 8, 9))
    assert any((start.weights_[n] != w).any() for n, w in expected.items())
    for kind in ("spike", "latency", "potential"):
        model.set_params(features=kind)
        per_layer = [expected.get(n) for n in range(len(layers))]
        rows = [twin.features(encoder, layers, per_layer, image[None], kind) for image in x]
        assert model.transform(x).tobytes() == np.stack(rows).tobytes()


@pytest.mark.parametrize("level", _core.levels())
@pytest.mark.parametrize("threads", [1, 3])
def test_levels_threads_and_pieces_change_no_bit(level: str, threads: int) -> None:
    x = images(5, 20, (2, 12, 11))
    args: dict[str, Any] = {"batch_size": 4, "seed": 3, "threads": threads, "level": level}
    plain = ConvSTDP(two_layers(), batch_size=4, seed=3, threads=1, level="baseline").fit(x)
    model = ConvSTDP(two_layers(), **args).fit(x)
    pieces = ConvSTDP(two_layers(), **args)
    for begin in (0, 8, 12, 16):
        pieces.partial_fit(x[begin : begin + (8 if begin == 0 else 4)])
    for n in plain.weights_:
        assert model.weights_[n].tobytes() == plain.weights_[n].tobytes()
    assert pieces.weights_[0].tobytes() == plain.weights_[0].tobytes()
    whole = model.transform(x)
    assert whole.tobytes() == plain.transform(x).tobytes()
    assert (
        whole.tobytes()
        == np.concatenate([model.transform(x[i : i + 3]) for i in range(0, 20, 3)]).tobytes()
    )
