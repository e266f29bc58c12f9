"""`method="auto"`: candidates, held-out samples, labels, and the choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import spikesim as ss
from spikesim.convert.ann import auto
from spikesim.convert.ann.auto import Tried, best
from spikesim.convert.ann.data import Samples

# A quarter of the largest value cuts both inputs off alike; with the largest all is well.
GOOD = ("percentile", {"v0": 0.5, "percentile": 100.0})
BROKEN = ("percentile", {"v0": 0.5, "percentile": 10.0})


def larger() -> nn.Module:
    """Tells which of two numbers is larger."""
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        for layer in (module[0], module[2]):
            layer.weight.copy_(torch.eye(2))
    return module.eval()


def pairs(n: int = 160) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).uniform(0.05, 1, (n, 2)).astype(np.float32)


def tried(name: str, right: list[int], distance: float) -> Tried:
    return Tried(name, {}, ss.Network((1,)), np.array(right, bool), distance)


@pytest.mark.parametrize("order", [(GOOD, BROKEN), (BROKEN, GOOD)])
def test_the_broken_candidate_is_not_taken(monkeypatch: pytest.MonkeyPatch, order: Any) -> None:
    monkeypatch.setattr(auto, "CANDIDATES", order)
    net, _ = ss.convert(larger(), calibration=pairs(), n_steps=16)
    assert net.meta["source"]["options"]["percentile"] == 100.0


def test_labels_decide_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken one says 0 to almost all; where that is the label, it is the better."""
    monkeypatch.setattr(auto, "CANDIDATES", (GOOD, BROKEN))
    labels = np.zeros(160, np.int64)
    net, report = ss.convert(larger(), calibration=(pairs(), labels), n_steps=16)
    assert net.meta["source"]["options"]["percentile"] == 10.0
    assert any("told rightly" in one.what for one in report.findings)


def test_candidates_are_judged_on_what_they_never_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, judged = [], []
    task, run = auto.Task, auto.outputs_by_steps

    def spy_task(ann: Any, data: Samples, *rest: Any) -> Any:
        fitted.append(data.x)
        return task(ann, data, *rest)

    def spy_run(net: Any, x: Any, *rest: Any, **options: Any) -> Any:
        judged.append(x)
        return run(net, x, *rest, **options)

    monkeypatch.setattr(auto, "Task", spy_task)
    monkeypatch.setattr(auto, "outputs_by_steps", spy_run)
    x = pairs()
    ss.convert(larger(), calibration=x, n_steps=4)
    # The last is the winner, fitted once more to all.
    assert len(fitted[-1]) == len(x)
    del fitted[-1]
    assert len(fitted) == len(judged) == len(auto.CANDIDATES)
    whole = {row.tobytes() for row in x}
    for mine, others in zip(fitted, judged, strict=True):
        a, b = {row.tobytes() for row in mine}, {row.tobytes() for row in others}
        assert not a & b
        assert a | b == whole
        assert len(b) == len(x) // 4


def test_samples_that_come_sorted_are_held_back_from_everywhere() -> None:
    rest, held = Samples(np.arange(8, dtype=np.float32)[:, None], np.arange(8)).parted(4)
    assert held.x.ravel().tolist() == [3, 7]
    assert rest.y is not None
    assert rest.y.tolist() == [0, 1, 2, 4, 5, 6]


def test_equals_are_told_apart_by_the_output() -> None:
    """One sample in 1 is √1: no difference; 4 in 4 is more than √4."""
    near, far = tried("near", [1, 1, 1, 1, 0], 0.1), tried("far", [1, 1, 1, 1, 1], 0.2)
    assert best([far, near]).method == "near"
    worse = tried("worse", [1, 0, 0, 0, 0], 0.1)
    assert best([worse, far]).method == "far"


def test_a_callers_option_goes_to_all_and_none_is_tried_twice() -> None:
    labels = [label for label, _, _ in auto.candidates({"percentile": 98.0})]
    assert labels == [
        "calibrated",
        "calibrated (ridge=10.0)",
        "percentile (v0=0.5, percentile=98.0)",
        "channel_wise (v0=0.5, percentile=98.0)",
    ]


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Any, Any]:
    """A small net on the digits that the embedded 360 are held out of."""
    torch.set_num_threads(1)
    train, test = ss.data.load("digits", "train"), ss.data.load("digits", "test")
    module = ss.models.mnist_net(image_size=8, width=0.25, activation="relu")
    ss.train.fit(
        module,
        train.x,
        train.y,
        epochs=12,
        batch_size=64,
        schedule="one_cycle",
        prepare=lambda x: x.float() / 16,
    )

    def scaled(data: Any) -> tuple[Any, Any]:
        return np.asarray(data.x, np.float32) / 16, np.asarray(data.y)

    return module, scaled(train), scaled(test)


@pytest.mark.parametrize("n_steps", [1, 4, 16])
def test_auto_is_about_as_good_as_the_best_of_all(trained: Any, n_steps: int) -> None:
    module, (x_train, y_train), (x, y) = trained
    calibration = (x_train[:512], y_train[:512])

    def accuracy(method: str, **options: Any) -> float:
        net, _ = ss.convert(
            module, calibration=calibration, method=method, n_steps=n_steps, steps=[1], **options
        )
        found = net.compile().run(x, n_steps=n_steps).output
        return float((found.argmax(1) == y).mean())

    others = [accuracy("calibrated"), accuracy("channel_wise", v0=0.5), accuracy("max")]
    assert max(others) - min(others) > 0.02
    assert accuracy("auto") >= max(others) - 0.015
