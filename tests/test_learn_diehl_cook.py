"""DiehlCook: it learns, to the same bits however the work is cut, and refuses what is bad."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import spikesim as ss
from diehl_cook import chances, small
from spikesim._core import levels, load_arrays, save_arrays
from spikesim.errors import (
    DivergenceError,
    FormatError,
    InputError,
    NotFittedError,
    ShapeError,
    SpikesimError,
    UnsupportedError,
)
from spikesim.learn import DiehlCook, poisson_spikes, theta_defaults

DIGITS: dict[str, Any] = {
    "n_inputs": 64, "n_neurons": 100, "x_max": 16.0, "max_rate": 200.0, "norm": 12.0,
    "theta_plus": 0.2, "tc_theta": None, "epochs": 3,
}  # fmt: skip


def digest(model: DiehlCook) -> str:
    """A hash of every weight and theta."""
    return hashlib.sha256(model.weights_.tobytes() + model.theta_.tobytes()).hexdigest()


def samples(n: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Intensities and labels."""
    return chances(n, 12, 5, most=1.0), np.arange(n) % 3


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    return ss.data.load("digits", split="train"), ss.data.load("digits")


@pytest.mark.parametrize("model", ["wta", "current"])
@pytest.mark.parametrize("seed", [0, 1])
def test_it_learns_the_digits(digits: Any, model: str, seed: int) -> None:
    """360 images that it never saw; labels come from the training images."""
    train, test = digits
    network = DiehlCook(**DIGITS, model=model, seed=seed)
    network.fit(train.x, train.y)
    assert network.score(test.x, test.y) >= 0.78
    assert (network.labels_ >= 0).mean() > 0.9
    for readout in ("proportion", "ngram"):
        assert network.set_params(readout=readout).score(test.x, test.y) >= 0.76
    untrained = DiehlCook(**{**DIGITS, "eta_post": 0.0, "eta_pre": 0.0}, model=model, seed=seed)
    assert untrained.fit(train.x, train.y).score(test.x, test.y) < 0.78


def test_options_learn_too(digits: Any) -> None:
    train, test = digits
    for options in ({"soft_bound": False}, {"x_tar": 0.05}, {"batch_size": 4}):
        network = DiehlCook(**{**DIGITS, "epochs": 2}, **options).fit(train.x, train.y)
        assert network.score(test.x, test.y) >= 0.74, options


def test_levels_chunks_and_pieces_change_no_bit() -> None:
    x, y = samples()
    whole = small(epochs=2).fit(x, y)
    expected = digest(whole)
    for level in levels():
        for chunk in (1, 7, 250):
            model = small(epochs=2, level=level, chunk=chunk).fit(x)
            assert digest(model) == expected, (level, chunk)
    pieces = small(epochs=2)
    for first, last in ((0, 1), (1, 17), (17, 30), (0, 30)):
        pieces.partial_fit(x[first:last], total=60)
    assert digest(pieces) == expected
    assert pieces.counts_ == whole.counts_


def test_threads_and_neighbours_change_no_answer() -> None:
    x, y = samples()
    one, two = small(threads=1).fit(x, y), small(threads=2).fit(x, y)
    assert (one.labels_ == two.labels_).all()
    assert (one.predict(x) == two.predict(x)).all()
    counts = one.transform(x)
    assert counts.sum() > 0
    assert (two.transform(x[::-1])[::-1] == counts).all()
    assert (two.transform(x[4:5]) == counts[4:5]).all()
    batches = [small(batch_size=4, threads=n).fit(x) for n in (1, 2)]
    assert digest(batches[0]) == digest(batches[1])


def test_seeds_differ() -> None:
    x, _ = samples()
    assert digest(small(seed=0).fit(x)) == digest(small(seed=0).fit(x))
    assert digest(small(seed=0).fit(x)) != digest(small(seed=1).fit(x))


def test_spikes_given_are_the_ones_it_draws() -> None:
    x, y = samples()
    drawn = small(max_repeats=0).fit(x, y)
    raster = poisson_spikes(x, 40, max_rate=150.0, x_max=1.0)
    given = small(max_repeats=0).fit(raster, y, layout="TN")
    assert digest(given) == digest(drawn)
    frozen = poisson_spikes(x, 40, max_rate=150.0, x_max=1.0, first_sample=None)
    assert (given.transform(frozen, layout="TN") == drawn.transform(x)).all()


def test_labels_change_nothing_that_is_learned() -> None:
    x, y = samples()
    with_labels = small().fit(x, y)
    without = small().fit(x)
    with pytest.raises(NotFittedError, match="expected fit with y, or assign"):
        without.predict(x)
    without.assign(x, y)
    assert digest(with_labels) == digest(without)
    assert (with_labels.labels_ == without.labels_).all()


def test_a_file_resumes_to_the_bit(tmp_path: Path) -> None:
    x, y = samples()
    whole = small(epochs=2).fit(x, y)
    path = tmp_path / "half"
    half = small(epochs=2).partial_fit(x, total=60).partial_fit(x[:5], total=60)
    half.save(path)
    for other in (DiehlCook.load(path), small(epochs=2).resume(path)):
        assert other.samples_seen_ == 35
        other.fit(x, y, resume=True)
        assert digest(other) == digest(whole)
        assert other.counts_ == whole.counts_
    whole.save(path)
    loaded = DiehlCook.load(path)
    for readout in ("all", "proportion", "ngram"):
        expected = whole.set_params(readout=readout).predict(x)
        assert (loaded.set_params(readout=readout).predict(x) == expected).all()
    with pytest.raises(InputError, match=r"theta_plus is 0\.25, expected 0\.5"):
        small(epochs=2, theta_plus=0.5).resume(path)


def test_an_interrupt_keeps_whole_samples() -> None:
    x, _ = samples()
    x = np.concatenate([x] * 10)
    model = small()

    def stop(done: int, total: int) -> None:
        assert total == len(x)
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(x, progress=stop)
    assert 20 < model.samples_seen_ < len(x)
    model.fit(x, resume=True)
    assert digest(model) == digest(small().fit(x))


def test_scikit_learn_clones_it() -> None:
    model = small(seed=4)
    other = clone(model)
    assert other.get_params() == model.get_params()
    assert repr(DiehlCook(64, 50, seed=3)) == "DiehlCook(n_inputs=64, n_neurons=50, seed=3)"


def test_counts_grow_with_spikes() -> None:
    x, _ = samples()
    once, twice = small().fit(x), small(epochs=2).fit(x)
    for name, value in once.counts_.items():
        assert 0 < value < twice.counts_[name]
    silent = small(min_spikes=0).fit(np.zeros_like(x))
    assert silent.counts_ == {
        "presentations": 30, "input_spikes": 0, "spikes": 0, "synops": 0, "weight_updates": 0,
    }  # fmt: skip


def test_silence_is_no_class() -> None:
    x, y = samples()
    model = small().fit(x, y)
    assert model.predict(np.zeros((2, 12), np.float32)).tolist() == [-1, -1]
    with pytest.raises(NotFittedError, match="no neuron has a label"):
        small().fit(np.zeros((4, 12)), [0, 1, 2, 3]).predict(x)


def test_defaults_follow_the_size() -> None:
    assert theta_defaults(100, 1) == (0.05, 1e7)
    assert theta_defaults(400, 1)[1] is None
    assert theta_defaults(1600, 3)[0] < theta_defaults(1600, 1)[0]


BAD: list[tuple[dict[str, Any], type[SpikesimError], str]] = [
    ({"model": "conductance", "x_tar": 0.1}, UnsupportedError, "conductance"),
    ({"model": "other"}, InputError, "model is 'other', expected one of wta, current"),
    ({"readout": "svm"}, InputError, "readout is 'svm'"),
    ({"max_rate": -1.0}, InputError, r"max_rate is -1\.0, expected a finite number of at least 0"),
    ({"eta_post": float("nan")}, InputError, "eta_post is nan"),
    ({"eta_pre": float("inf")}, InputError, "eta_pre is inf"),
    ({"n_neurons": 0}, InputError, "n_neurons is 0, expected a whole number of at least 1"),
    ({"n_inputs": True}, InputError, "n_inputs is True"),
    ({"n_steps": 2.5}, InputError, r"n_steps is 2\.5"),
    ({"n_steps": 10**6}, InputError, "expected 1 to 524288"),
    ({"max_repeats": 256}, InputError, "expected 0 to 255"),
    ({"seed": 2**64}, InputError, "seed is"),
    ({"tc_theta": 0.0}, InputError, r"tc_theta is 0\.0, expected a finite number above 0"),
    ({"x_max": "auto"}, InputError, "x_max is 'auto'"),
    ({"lr_end": -0.5}, InputError, "lr_end is -0"),
    ({"theta_plus": None}, InputError, "theta_plus is None"),
    ({"norm": 13.0}, InputError, r"norm is 13\.0, expected at most n_inputs \* w_max = 12"),
    ({"v_reset": 3.0}, InputError, r"v_reset is 3\.0, expected less than v_threshold"),
    ({"threads": 0}, InputError, "threads is 0"),
    ({"level": "sse"}, InputError, "sse"),
    ({"level": 3}, InputError, "level is 3"),
    ({"threads": "a"}, InputError, "threads is 'a', expected a whole number"),
    ({"threads": 1.5}, InputError, r"threads is 1\.5, expected a whole number"),
    ({"model": np.array(["wta", "current"])}, InputError, "model is array"),
    ({"n_gram": 10**9}, InputError, "n_gram is 1000000000, expected 1 to 256"),
    ({"refractory": 1e30}, InputError, r"refractory is 1e\+30, expected at most 524288 steps"),
]


@pytest.mark.parametrize(("params", "error", "problem"), BAD)
def test_bad_parameters_are_refused(
    params: dict[str, Any], error: type[SpikesimError], problem: str
) -> None:
    with pytest.raises(error, match=problem) as caught:
        small(**params).fit(samples()[0])
    assert "\n" not in str(caught.value)


def changed(value: float) -> np.ndarray:
    x = samples()[0]
    x[3, 4] = value
    return x


@pytest.mark.parametrize(
    ("x", "error", "problem"),
    [
        (changed(-0.5), InputError, r"x has -0\.5, expected finite values of at least 0"),
        (changed(float("nan")), InputError, "x has NaN or infinite values"),
        (changed(float("inf")), InputError, "x has NaN or infinite values"),
        (np.zeros((3, 11)), ShapeError, r"shape \(3, 11\), expected 12 values a sample"),
        (np.zeros(12), ShapeError, r"shape \(12,\), expected \(N, ...\)"),
        (np.zeros((3, 12), complex), InputError, "complex"),
        (np.zeros((0, 12)), InputError, "no samples"),
    ],
)
def test_bad_samples_are_refused(x: np.ndarray, error: type[SpikesimError], problem: str) -> None:
    with pytest.raises(error, match=problem):
        small().fit(x)


def test_intensities_whose_scale_is_not_known_are_refused() -> None:
    with pytest.raises(InputError, match=r"x is up to 255 in float64, expected 0 to 1; give x_max"):
        DiehlCook(4, 3).fit(np.full((2, 4), 255.0))
    with pytest.raises(InputError, match="x is of int32, expected bool, uint8 or floats"):
        DiehlCook(4, 3).fit(np.ones((2, 4), np.int32))


def test_bad_labels_and_rasters_are_refused() -> None:
    x, y = samples()
    with pytest.raises(ShapeError, match=r"y has shape \(29,\), expected \(30,\)"):
        small().fit(x, y[:-1])
    with pytest.raises(InputError, match="y has -1"):
        small().fit(x, y - 1)
    with pytest.raises(InputError, match="y has float64"):
        small().fit(x, y / 2)
    with pytest.raises(InputError, match="values other than 0 and 1"):
        small().fit(np.full((40, 3, 12), 2), layout="TN")
    with pytest.raises(ShapeError, match=r"expected \(40, N, ...\)"):
        small().fit(np.zeros((30, 3, 12)), layout="TN")


def test_what_was_not_learned_is_asked_for() -> None:
    x, y = samples()
    for ask in (
        lambda m: m.predict(x),
        lambda m: m.transform(x),
        lambda m: m.assign(x, y),
        lambda m: m.weights_,
        lambda m: m.save("nowhere"),
    ):
        with pytest.raises(NotFittedError, match="expected fit first"):
            ask(small())


def test_rates_that_diverge_are_told() -> None:
    x, _ = samples()
    with pytest.raises(DivergenceError, match="sum up to 0, expected more than 0; lower the"):
        small(eta_pre=1e3, eta_post=0.0).fit(x)


def test_weights_outside_their_bounds_are_refused(tmp_path: Path) -> None:
    x, _ = samples()
    model = small(w_max=1.0).fit(x)
    engine = model._engine
    for bad in (np.float32(-0.5), np.float32(1.5), np.float32("nan")):
        weights = engine.weights()
        weights[0, 0] = bad
        with pytest.raises(InputError, match="expected 0 to w_max = 1"):
            engine.restore(weights, engine.theta(), 1, engine.counts)


@pytest.mark.parametrize("change", [{"threads": 2}, {"level": "baseline"}, {"chunk": 3}])
def test_what_changes_no_bit_does_not_keep_a_file_from_resuming(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    x, y = samples()
    whole = small(epochs=2).fit(x, y)
    small(epochs=2, threads=1).partial_fit(x, total=60).save(tmp_path / "half")
    other = small(epochs=2, **change).resume(tmp_path / "half").fit(x, y, resume=True)
    assert digest(other) == digest(whole)


def of(model: str) -> DiehlCook:
    if model != "conductance":
        return small(model=model)
    return DiehlCook(12, 7, model, n_steps=100, max_rate=500.0, x_max=1.0, norm=8.0, min_spikes=0)


@pytest.mark.parametrize("model", ["wta", "current", "conductance"])
def test_set_params_after_learning_counts(tmp_path: Path, model: str) -> None:
    x, y = samples()
    network = of(model).fit(x, y)
    network.set_params(eta_post=0.5, theta_plus=0.75)
    network.save(tmp_path / "model")
    loaded = DiehlCook.load(tmp_path / "model").partial_fit(x)
    assert digest(network.partial_fit(x)) == digest(loaded)
    network.set_params(eta_post=0.01, theta_plus=0.25)
    assert digest(network.partial_fit(x)) != digest(loaded.partial_fit(x))
    network.set_params(n_neurons=3)
    for use in (network.predict, network.partial_fit, lambda _: network.save(tmp_path / "no")):
        with pytest.raises(InputError, match=r"n_neurons is 3, expected .* as it has learned"):
            use(x)
    assert len(network.fit(x).theta_) == 3


def test_runs_of_another_length_are_not_mixed(tmp_path: Path) -> None:
    x, y = samples()
    network = small(readout="ngram").fit(x, y).set_params(n_gram=3)
    network.save(tmp_path / "model")
    for model in (network, DiehlCook.load(tmp_path / "model")):
        with pytest.raises(InputError, match="n_gram is 3, expected 2 as labels were assigned"):
            model.predict(x)
        assert (model.assign(x, y).predict(x) >= -1).all()


@pytest.mark.parametrize("model", ["wta", "conductance"])
def test_it_is_copied_and_pickled(model: str) -> None:
    x, y = samples()
    network = of(model).fit(x, y)
    copies = [copy.deepcopy(network), pickle.loads(pickle.dumps(network))]
    network.partial_fit(x)
    for other in copies:
        assert (other.predict(x) >= -1).all()
        assert digest(other.partial_fit(x)) == digest(network)


def test_a_refused_fit_forgets_nothing() -> None:
    x, _ = samples()
    network = small().fit(x)
    with pytest.raises(InputError, match="chunk is"):
        network.set_params(chunk=10**9).fit(x)
    assert network.samples_seen_ == len(x)


@pytest.mark.parametrize("total", [0, -3, "a", 2.5])
def test_a_total_that_is_none_is_refused(total: Any) -> None:
    with pytest.raises(InputError, match="partial_fit: total is"):
        small().partial_fit(samples()[0], total=total)


def test_labels_beyond_int64_are_refused() -> None:
    x, y = samples()
    with pytest.raises(InputError, match="y has 9223372036854775"):
        small().fit(x, y.astype(np.uint64) + np.uint64(2**63))


@pytest.mark.parametrize("name", ["classes", "labels", "rates", "runs", "run_counts"])
@pytest.mark.parametrize("damage", ["cut", "other", "values"])
def test_labels_that_do_not_hold_together_are_refused(
    tmp_path: Path, name: str, damage: str
) -> None:
    x, y = samples()
    path = str(tmp_path / "model")
    small().fit(x, y).save(path)
    texts, entries = load_arrays(path)
    kept = []
    for entry, dtype, shape, data in entries:
        array = np.frombuffer(data, dtype).reshape(shape)
        if entry == name and damage == "cut":
            array = array.reshape(-1)[:1]
        elif entry == name and damage == "other":
            array = array.astype(np.float32)
        elif entry == name:
            array = np.full_like(array, 0 if array.dtype.kind == "u" else -7)
        kept.append((entry, array.dtype.name, list(array.shape), array.tobytes()))
    save_arrays(path, texts, kept)
    if (name, damage) == ("runs", "values"):
        return  # any neuron may be in a run
    with pytest.raises(FormatError):
        DiehlCook.load(path)


@pytest.mark.parametrize(
    "change", [{"seen": -1}, {"seen": 2**70}, {"counts": [-1] * 5}, {"counts": [2**70] * 5}]
)
def test_numbers_of_a_file_that_are_none_are_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    path = str(tmp_path / "model")
    small().fit(samples()[0]).save(path)
    texts, entries = load_arrays(path)
    state = json.dumps(json.loads(texts["state"]) | change)
    save_arrays(path, texts | {"state": state}, entries)
    with pytest.raises(FormatError, match="DiehlCook"):
        DiehlCook.load(path)


def test_ctrl_c_is_looked_for_after_the_first_sample() -> None:
    done: list[int] = []
    small().fit(samples()[0], progress=lambda n, _: done.append(n))
    assert done[0] == 1
