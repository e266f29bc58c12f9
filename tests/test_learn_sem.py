"""SEM: the soft winner-take-all against its twin, its fixed point, and what it can't take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from rules import rule
from spikesim import _core, data
from spikesim.errors import FormatError, InputError, NotFittedError, ShapeError
from spikesim.learn import SEM
from spikesim.learn.reference import sem as twin

f32 = np.float32


def binary(seed: int, n: int, inputs: int, p: float = 0.3) -> np.ndarray:
    return (np.random.default_rng(seed).random((n, inputs)) < p).astype(f32)


@rule("S13.11")
def test_pixels_spike_as_pairs() -> None:
    x = np.array([[0.0, 4.0, 2.0, 2.5, 0.0]], f32)  # above half of 4: columns 1 and 3
    pixels = SEM(2)._pixels(x)
    assert pixels.tolist() == [[False, True, False, True, False]]
    assert twin.spikes(pixels[0]).tolist() == [bool(v) for v in (0, 1, 1, 0, 0, 1, 1, 0, 0, 1)]
    # Neuron k hears input k alone; which inputs a sample has is read from the probabilities.
    model = SEM(10, eta_bias=0).fit(x)
    model.weights_ = np.where(np.eye(10, dtype=bool), f32(0), f32(-4))
    odds = model.transform(x)[0]
    assert (odds > 0.05).tolist() == twin.spikes(pixels[0]).tolist()


@rule("S13.12", "S13.13")
@pytest.mark.parametrize("level", _core.levels())
@pytest.mark.parametrize("seed", [0, 2**40 + 1])
def test_the_engine_equals_the_twin(level: str, seed: int) -> None:
    x = binary(seed % 7, 60, 9)
    model = SEM(19, eta=0.3, eta_bias=0.5, c=1.5, w_min=-3, seed=seed, level=level, epochs=1)
    start = clone(model)
    start._start(9)
    weight, bias = start.weights_, start.bias_
    lower, upper = model._bounds()
    args: dict[str, Any] = {"eta": 0.3, "eta_bias": 0.5, "c": 1.5, "seed": seed}
    fired = np.zeros(19, int)
    for seen, pixels in enumerate(x > 0):
        bounds = {"w_min": lower, "w_max": upper}
        weight, bias, winner = twin.learn(weight, bias, seen, pixels, **args, **bounds)
        fired[winner] += 1
    model.fit(x)
    assert model.weights_.tobytes() == weight.tobytes()
    assert model.bias_.tobytes() == bias.tobytes()
    assert model.fired_.tolist() == fired.tolist()
    assert (fired > 0).sum() > 5
    odds = np.stack([twin.probabilities(weight, bias, pixels) for pixels in x > 0])
    assert model.transform(x).tobytes() == odds.tobytes()
    assert model.set_params(threads=3).transform(x).tobytes() == odds.tobytes()


@rule("S13.12")
def test_probabilities_are_the_softmax() -> None:
    model = SEM(3, eta_bias=0).fit(binary(0, 4, 2))
    model.weights_ = np.log(np.array([[0.5] * 4, [0.25] * 4, [0.125] * 4], f32))
    model.bias_ = np.log(np.array([1, 2, 4], f32))
    odds = np.array([1 / 4, 2 / 16, 4 / 64])
    expected = odds / odds.sum()
    assert np.allclose(model.transform(np.ones((1, 2)))[0], expected, atol=1e-6)
    # And so often do they fire.
    model.set_params(eta=1e-9)
    model.fired_[:] = 0
    model.partial_fit(np.ones((20_000, 2)))
    assert np.abs(model.fired_ / 20_000 - expected).max() < 4 * np.sqrt(0.25 / 20_000)


@rule("S13.13")
def test_one_step_by_hand() -> None:
    model = SEM(1, eta=0.25, eta_bias=0.5, c=2.0, w_min=-9, epochs=1).fit(np.ones((1, 1)))
    model.weights_[:] = 0
    model.bias_[:] = 0
    model.partial_fit(np.ones((1, 1)))
    # On: 0 + 0.25·(2·e^0 - 1); off: 0.25·(0 - 1); one neuron's bias: 0.5·(1 - 1).
    assert model.weights_.tolist() == [[0.25, -0.25]]
    assert model.bias_.tolist() == [0.0]
    pair = SEM(2, eta=0.25, eta_bias=0.5, epochs=1).fit(np.ones((1, 1)))
    assert sorted(pair.bias_.tolist()) == [-0.25, 0.25]
    assert pair.bias_[np.argmax(pair.fired_)] == -0.25


@rule("S13.13")
@pytest.mark.parametrize("c", [1.0, 2.0])
def test_the_fixed_point_is_the_log_of_the_probability(c: float) -> None:
    p, eta = np.array([0.1, 0.3, 0.6, 0.9]), 0.0005
    drawn = np.random.default_rng(1).random((40_000, 4)) < p
    x = np.concatenate([np.ones((40_000, 1)), drawn], axis=1)
    model = SEM(1, eta=eta, c=c, epochs=1).fit(x)
    # The steps are noise: w walks around log(cP), with a deviation of about sqrt(eta/2P).
    for w, chance in ((model.weights_[0, 2::2], p), (model.weights_[0, 3::2], 1 - p)):
        assert (np.abs(w - np.log(c * chance)) < 4 * np.sqrt(eta / 2 / chance)).all()


@rule("S13.14")
def test_exp_of_the_engine_and_the_twin() -> None:
    x = np.linspace(-90, 90, 20_001).astype(f32)
    ours = twin.exp(x)
    exact = np.exp(np.clip(x.astype(float), -87, 87))
    assert (np.abs(ours - exact) <= 2.4e-7 * exact).all()
    # One neuron's step shows the engine's: w + eta·(c·exp(-w) - 1) with c = eta = 1 and w = 0 …
    model = SEM(1, eta=1.0, c=1.0, w_min=-60, epochs=1).fit(np.ones((1, 64)))
    w = np.linspace(-50, 0, 64).astype(f32)
    model.weights_[0, 0::2] = w
    model.partial_fit(np.ones((1, 64)))
    expected = np.clip(w + f32(1) * (f32(1) * twin.exp(-w) - f32(1)), f32(-60), f32(0))
    assert model.weights_[0, 0::2].tobytes() == expected.tobytes()


@pytest.mark.parametrize("k", [50, 100])
def test_digits_are_told_apart(k: int) -> None:
    train, test = data.load("digits", split="train"), data.load("digits")
    scores = []
    for seed in range(3):
        model = SEM(k, epochs=10, seed=seed).fit(train.x, train.y)
        assert (model.fired_ > 0).all()
        scores.append(model.score(test.x, test.y))
    assert np.mean(scores) >= 0.80


def test_files_go_on_to_the_same_bits(tmp_path: Path) -> None:
    x = binary(3, 40, 6)
    whole = SEM(5, seed=4, epochs=1).fit(x)
    half = SEM(5, seed=4, epochs=1).partial_fit(x[:17])
    half.save(tmp_path / "m")
    for model in (SEM.load(tmp_path / "m"), SEM(5, seed=4, epochs=1).resume(tmp_path / "m")):
        model.partial_fit(x[17:])
        assert model.weights_.tobytes() == whole.weights_.tobytes()
        assert model.bias_.tobytes() == whole.bias_.tobytes()
        assert model.fired_.tolist() == whole.fired_.tolist()
    with pytest.raises(InputError, match=r"eta is 0\.05, expected 0\.1"):
        SEM(5, eta=0.1, seed=4, epochs=1).resume(tmp_path / "m")
    half.weights_[0, 0] = np.nan
    half.save(tmp_path / "bad")
    with pytest.raises(FormatError, match="weights leave their bounds"):
        SEM.load(tmp_path / "bad")


@pytest.mark.parametrize(
    "params",
    [
        {"n_neurons": 0},
        {"n_neurons": 2.5},
        {"eta": -0.1},
        {"eta": 1.5},
        {"eta": float("nan")},
        {"eta_bias": -1},
        {"c": 0},
        {"w_min": 1},
        {"epochs": 0},
        {"threshold": 2},
        {"seed": -1},
        {"seed": "a"},
    ],
)
def test_parameters_that_mean_nothing_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"SEM: {next(iter(params))} is"):
        SEM(**params).fit(binary(0, 4, 3))


def test_bad_input_is_refused() -> None:
    x = binary(0, 10, 3)
    with pytest.raises(NotFittedError):
        SEM(2).transform(x)
    model = SEM(2).fit(x)
    with pytest.raises(NotFittedError, match="label_shares_"):
        model.predict(x)
    with pytest.raises(ShapeError, match="expected 3"):
        model.transform(binary(0, 2, 4))
    with pytest.raises(ShapeError):
        SEM(2).fit(np.zeros(3))
    with pytest.raises(ShapeError, match="y has shape"):
        SEM(2).fit(x, np.zeros(3, int))
    with pytest.raises(InputError, match="whole numbers"):
        SEM(2).fit(x, np.zeros(10))
    with pytest.raises(InputError):
        SEM(2).fit(np.full((2, 3), np.nan))


@pytest.mark.parametrize("threads", [0, -1, 1.5, "a", 10**9])
def test_a_number_of_threads_that_is_none_is_refused(threads: Any) -> None:
    with pytest.raises(InputError, match="SEM: threads is"):
        SEM(2, threads=threads).fit(binary(0, 4, 3))


def test_another_number_of_neurons_needs_another_fit() -> None:
    x = binary(0, 10, 3)
    model = SEM(2).fit(x).set_params(n_neurons=3)
    for use in (model.transform, model.partial_fit):
        with pytest.raises(InputError, match="n_neurons is 3, expected 2 as it has learned"):
            use(x)
    assert model.fit(x).transform(x).shape == (10, 3)


@pytest.mark.parametrize("name", ["weights_", "bias_", "fired_"])
def test_a_file_of_other_types_is_refused(tmp_path: Path, name: str) -> None:
    model = SEM(2).fit(binary(0, 10, 3))
    setattr(model, name, getattr(model, name).astype(np.float64))
    model.save(tmp_path / "bad")
    with pytest.raises(FormatError, match=r"does not fit|fired is of"):
        SEM.load(tmp_path / "bad")
