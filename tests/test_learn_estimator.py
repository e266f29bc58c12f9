"""What the estimators of spikesim.learn have in common: parameters, files, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from spikesim._core import save_arrays
from spikesim.errors import FormatError, InputError, NotFittedError
from spikesim.learn._estimator import Estimator
from spikesim.learn._files import Arrays


class Counter(Estimator):
    """Counts what it has seen."""

    def __init__(self, width: int = 3, rate: float = 0.5, seed: int = 0) -> None:
        self.width = width
        self.rate = rate
        self.seed = seed

    def fit(self, x: np.ndarray) -> Counter:
        self.seen_ = len(x)
        self.mean_ = x.mean(axis=0).astype(np.float32)
        return self

    def _state(self) -> tuple[Arrays, dict[str, Any]]:
        return {"mean": self._require("mean_", "fit")}, {"seen": self.seen_}

    def _set_state(self, arrays: Arrays, values: dict[str, Any]) -> None:
        self.mean_, self.seen_ = arrays["mean"], values["seen"]


def fitted(**params: Any) -> Counter:
    return Counter(**params).fit(np.arange(12, dtype=np.float32).reshape(4, 3) / 7)


def test_parameters_are_scikit_learns() -> None:
    model = Counter(width=5, seed=2)
    assert model.get_params() == {"width": 5, "rate": 0.5, "seed": 2}
    other = clone(model)
    assert other is not model
    assert other.get_params() == model.get_params()
    assert repr(model) == "Counter(width=5, seed=2)"
    assert model.set_params(rate=0.25).rate == 0.25
    with pytest.raises(InputError, match="'wide' is unknown, expected one of width, rate, seed"):
        model.set_params(rate=1.0, wide=2)
    assert model.rate == 0.25


def test_files_keep_parameters_and_every_bit(tmp_path: Path) -> None:
    path = tmp_path / "model"
    model = fitted(width=5, rate=0.1)
    model.save(path)
    for other in (Counter.load(path), Counter(width=5, rate=0.1).resume(path)):
        assert other.get_params() == model.get_params()
        assert other.seen_ == 4
        assert other.mean_.dtype == np.float32
        assert other.mean_.tobytes() == model.mean_.tobytes()
        other.mean_ += 1  # it is the model's own
    assert list(tmp_path.iterdir()) == [path]


def test_another_configuration_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model"
    fitted(width=5).save(path)
    with pytest.raises(InputError, match="width is 5, expected 6 as this model has it"):
        Counter(width=6).resume(path)


def test_what_is_not_learned_is_asked_for() -> None:
    with pytest.raises(NotFittedError, match="mean_ is not there yet, expected fit first"):
        Counter()._state()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    fitted().save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            Counter.load(path)
    with pytest.raises(FormatError, match="directory"):
        Counter.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        Counter.load(tmp_path / "none")


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ({"spikesim_learn": None}, "is no saved model"),
        ({"spikesim_learn": "9"}, "format is '9', expected 1"),
        ({"class": "Other"}, "class is 'Other', expected Counter"),
        ({"params": "{"}, "params is damaged"),
        ({"params": '{"deep": 1}'}, "params are damaged"),
        ({"params": "[]"}, "params is no JSON object"),
        ({"state": "{}"}, "'seen' is missing"),
    ],
)
def test_files_of_something_else_are_refused(
    tmp_path: Path, texts: dict[str, str | None], problem: str
) -> None:
    path = tmp_path / "model"
    good = {"spikesim_learn": "1", "class": "Counter", "params": "{}", "state": '{"seen": 1}'}
    given = {key: text for key, text in {**good, **texts}.items() if text is not None}
    entry = ("mean", "float32", [3], np.zeros(3, np.float32).tobytes())
    save_arrays(path, given, [entry])
    with pytest.raises(FormatError, match=problem):
        Counter.load(path)
