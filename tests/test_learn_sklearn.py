"""The models of spikesim.learn inside scikit-learn's tools."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError as NotFitted
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from spikesim.learn import SEM, ConvSTDP, DiehlCook, STDPConv

RNG = np.random.default_rng(1)
X = RNG.random((40, 8, 8)).astype(np.float32)
Y = np.arange(40) % 2


@pytest.mark.parametrize(
    ("model", "grid"),
    [
        (DiehlCook(64, 5, n_steps=50, max_rate=300.0), {"theta_plus": [0.1, 0.5]}),
        (SEM(5), {"eta": [0.05, 0.1]}),
        (ConvSTDP([STDPConv(4, 3, 3, n_images=20)], C=0.01), {"features": ["spike", "latency"]}),
    ],
    ids=["DiehlCook", "SEM", "ConvSTDP"],
)
def test_pipelines_cross_validation_and_grids(model: Any, grid: dict[str, list[Any]]) -> None:
    with pytest.raises(NotFitted):
        check_is_fitted(model)
    pipe = make_pipeline(FunctionTransformer(), model).fit(X, Y)
    assert (pipe.predict(X) == pipe[-1].predict(X)).all()
    check_is_fitted(pipe[-1])
    scores = cross_val_score(model, X, Y, cv=2, error_score="raise")
    assert ((scores >= 0) & (scores <= 1)).all()
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, Y)
    assert search.predict(X).shape == (40,)
    features = make_pipeline(model, FunctionTransformer()).fit(X, Y).transform(X)
    assert len(features) == 40
