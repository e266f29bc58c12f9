"""ConvSTDP as an estimator: files, interruption, and what it can't take."""

from __future__ import annotations

import pickle
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from spikesim.errors import (
    FormatError,
    InputError,
    MissingExtraError,
    NotFittedError,
    ShapeError,
    UnsupportedError,
)
from spikesim.learn import ConvSTDP, DoG, LatencyPool, Pixels, STDPConv


def images(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Bars that lie or stand, in noise, and which they are."""
    rng = np.random.default_rng(8)
    y = np.arange(n) % 2
    x = rng.random((n, 10, 10)).astype(np.float32) * 0.3
    for image, label, at in zip(x, y, rng.integers(2, 8, n), strict=True):
        (image if label else image.T)[at] += 0.7
    return x, y


def small(**args: Any) -> ConvSTDP:
    first = STDPConv(6, 3, threshold=3, k=2, radius=1, a_plus=0.05, a_minus=0.04, n_images=30)
    second = STDPConv(4, 2, threshold=1.5, k=2, n_images=25)
    layers = [first, LatencyPool(2), second]
    return ConvSTDP(**({"layers": layers, "seed": 5, "threads": 1, "C": 0.1} | args))


def same(a: ConvSTDP, b: ConvSTDP) -> bool:
    return a.seen_ == b.seen_ and all(
        a.weights_[n].tobytes() == b.weights_[n].tobytes() for n in a.weights_
    )


def test_fit_predict_score() -> None:
    x, y = images(60)
    model = small(features="latency", C=2.4).fit(x[:40], y[:40])
    assert model.done_
    assert model.score(x[40:], y[40:]) >= 0.9
    assert model.predict(x[40:]).dtype == np.int64
    assert model.decision_function(x).shape == (60, 2)
    assert model.classes_.tolist() == [0, 1]
    again = clone(model).fit(x[:40])
    assert same(again, model)
    assert not same(small(seed=6).fit(x[:40]), model)
    # No scale matters, nor the type; the channel axis may be given.
    whole = (x * 1000).astype(np.int32)
    assert (small().fit(whole).weights_[0] != 0).any()
    assert model.transform(x[:, None] * 4).tobytes() == model.transform(x).tobytes()
    assert same(pickle.loads(pickle.dumps(model)), model)


def test_the_read_out_is_scikit_learns() -> None:
    from sklearn.svm import LinearSVC

    x, y = images(60)
    y = y + (np.arange(60) % 3 == 0)
    model = small(C=0.5).fit(x, y)
    svc = LinearSVC(C=0.5, random_state=5).fit(model.transform(x).astype(np.float64), y)
    assert np.allclose(
        model.decision_function(x), svc.decision_function(model.transform(x)), atol=1e-3
    )
    assert model.classes_.tolist() == [0, 1, 2]


def test_files_go_on_to_the_same_bits(tmp_path: Path) -> None:
    x, y = images(40)
    whole = small().fit(x, y)
    half = small().partial_fit(x[:17])
    half.save(tmp_path / "m")
    other = small(warm_start=True).resume(tmp_path / "m").fit(x, y)
    assert same(other, whole)
    assert other.convergence_ == whole.convergence_
    assert other.decision_function(x).tobytes() == whole.decision_function(x).tobytes()
    other.save(tmp_path / "done")
    loaded = ConvSTDP.load(tmp_path / "done")
    assert loaded.get_params()["layers"] == other.layers
    assert loaded.decision_function(x).tobytes() == whole.decision_function(x).tobytes()
    with pytest.raises(InputError, match=r"layers is .*, expected"):
        ConvSTDP([STDPConv(2, 3, threshold=1)], seed=5).resume(tmp_path / "done")
    with pytest.raises(InputError, match="seed is 5, expected 6"):
        small(seed=6).resume(tmp_path / "done")
    with pytest.raises(InputError, match="encoder is"):
        small(encoder=Pixels()).resume(tmp_path / "done")


@pytest.mark.parametrize("damage", ["weights", "shape", "seen", "image", "coef"])
def test_damaged_files_are_refused(tmp_path: Path, damage: str) -> None:
    x, y = images(40)
    model = small().fit(x, y)
    if damage == "weights":
        model.weights_[0][0, 0, 0, 0] = 1.5
    elif damage == "shape":
        model.weights_[2] = model.weights_[2][:3]
    elif damage == "seen":
        model.seen_[2] = -1
    elif damage == "image":
        model.image_shape_ = (1, 2, 2)
    else:
        vars(model.readout_)["coef"] = model.readout_.coef[:, :-1]
    model.save(tmp_path / "m")
    with pytest.raises((FormatError, ShapeError)):
        ConvSTDP.load(tmp_path / "m")


def test_control_c_keeps_whole_images() -> None:
    x, _ = images(200)
    layer = STDPConv(40, 5, threshold=4, k=5, radius=1, padding=2, n_images=10**6)
    model = ConvSTDP([layer], seed=1, threads=1)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        while getattr(model, "seen_", {0: 0})[0] == 0:
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x)
    thread.join()
    seen = model.seen_[0]
    assert 0 < seen < 10**6
    expected = ConvSTDP([STDPConv(40, 5, 4, k=5, radius=1, padding=2, n_images=seen)], seed=1)
    expected.fit(x)
    assert model.weights_[0].tobytes() == expected.weights_[0].tobytes()
    # And it goes on from there.
    more = STDPConv(40, 5, 4, k=5, radius=1, padding=2, n_images=seen + 30)
    model.set_params(layers=[more], warm_start=True).fit(x)
    assert same(model, ConvSTDP([more], seed=1).fit(x))


def test_progress_and_tol() -> None:
    x, _ = images(20)
    calls: list[tuple[int, int]] = []
    model = small().fit(x, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (55, 55)
    eager = STDPConv(6, 3, threshold=3, k=2, a_plus=0.15, a_minus=0.1, tol=0.24, n_images=2000)
    model = ConvSTDP([eager]).fit(x)
    assert model.seen_[0] == 500 < 2000
    assert model.convergence_ == [(0, 500, model.convergence(0))]
    assert model.convergence(0) < 0.24
    with pytest.raises(InputError, match="convergence: layer is 3"):
        model.convergence(3)


LAYER = {"maps": 4, "kernel": 3, "threshold": 2.0}


@pytest.mark.parametrize(
    ("cls", "fields", "name"),
    [
        (STDPConv, LAYER | {"maps": 0}, "maps"),
        (STDPConv, LAYER | {"kernel": 2.5}, "kernel"),
        (STDPConv, LAYER | {"threshold": 0.0}, "threshold"),
        (STDPConv, LAYER | {"threshold": float("nan")}, "threshold"),
        (STDPConv, LAYER | {"k": 0}, "k"),
        (STDPConv, LAYER | {"radius": -1}, "radius"),
        (STDPConv, LAYER | {"a_plus": -0.1}, "a_plus"),
        (STDPConv, LAYER | {"a_plus": 2.0}, "a_plus"),
        (STDPConv, LAYER | {"a_minus": float("inf")}, "a_minus"),
        (STDPConv, LAYER | {"a_minus": 0.1, "a_plus": 0.01}, "a_minus"),
        (STDPConv, LAYER | {"a_max": 0.001}, "a_max"),
        (STDPConv, LAYER | {"weight_mean": 1.5}, "weight_mean"),
        (STDPConv, LAYER | {"lateral": 1}, "lateral"),
        (STDPConv, LAYER | {"tol": -1.0}, "tol"),
        (LatencyPool, {"kernel": 0}, "kernel"),
        (LatencyPool, {"kernel": 2, "stride": 0}, "stride"),
        (LatencyPool, {"kernel": 2, "padding": 2}, "padding"),
        (DoG, {"size": 4}, "size"),
        (DoG, {"sigma1": 0.0}, "sigma1"),
        (DoG, {"sigma1": 2.0}, "sigma1"),
        (DoG, {"bins": 255}, "bins"),
        (Pixels, {"center": float("nan")}, "center"),
        (Pixels, {"min_response": -1.0}, "min_response"),
    ],
)
def test_descriptions_that_mean_nothing_are_refused(
    cls: type, fields: dict[str, Any], name: str
) -> None:
    with pytest.raises(InputError, match=f"{cls.__name__}: {name}"):
        cls(**fields)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"layers": []}, "layers is empty"),
        ({"layers": [LatencyPool(2)]}, "no STDPConv"),
        ({"layers": [3]}, r"layers\[0\] is a int"),
        ({"layers": [STDPConv(2, 13, threshold=1)]}, r"layers\[0\]: kernel is 13"),
        ({"encoder": 3}, "encoder is a int"),
        ({"features": "rate"}, "features is 'rate'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"C": 0.0}, "C is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"threads": 0}, "threads is 0"),
        ({"level": "sse9"}, "level: "),
    ],
)
def test_parameters_that_mean_nothing_are_refused(params: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        small(**params).fit(images(4)[0])


def test_bad_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = images(8)
    for use in (lambda m: m.transform(x), lambda m: m.done_, lambda m: m.save("no")):
        with pytest.raises(NotFittedError):
            use(small())
    model = small().fit(x)
    with pytest.raises(NotFittedError, match="readout_ is not there yet"):
        model.predict(x)
    with pytest.raises(ShapeError, match=r"images of shape \(1, 9, 10\)"):
        model.transform(x[:, :9])
    with pytest.raises(ShapeError):
        small().fit(x[0])
    with pytest.raises(ShapeError, match="no empty axis"):
        small().fit(np.zeros((2, 0, 3)))
    for bad in (np.full((2, 10, 10), np.nan), np.full((2, 10, 10), "a"), np.zeros((0, 10, 10))):
        with pytest.raises(InputError):
            small().fit(bad)
    with pytest.raises(ShapeError, match=r"y has shape \(3,\), expected \(8,\)"):
        model.fit_readout(x, y[:3])
    with pytest.raises(InputError, match="whole numbers"):
        model.fit_readout(x, y * 0.5)
    with pytest.raises(InputError, match="one class"):
        model.fit_readout(x, y * 0)
    with pytest.raises(UnsupportedError, match="use fit_readout"):
        small().partial_fit(x, y)
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(MissingExtraError, match=r"spikesim\[learn\]"):
        model.fit_readout(x, y)


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    first = STDPConv(np.int64(6), np.int64(3), np.float32(3), k=np.int64(2), n_images=np.int64(30))
    model = ConvSTDP([first, LatencyPool(np.int64(2), np.int64(2))], threads=1)
    x, _ = images(30)
    model.fit(x).save(tmp_path / "model")
    assert same(ConvSTDP.load(tmp_path / "model"), model)


def test_more_layers_than_have_learned_are_refused() -> None:
    x, _ = images(30)
    model = small().fit(x)
    model.set_params(layers=[*model.layers, STDPConv(2, 2, threshold=1.0)])
    with pytest.raises(InputError, match=r"convolutions at \[0, 2, 3\], expected \[0, 2\]"):
        model.transform(x)
