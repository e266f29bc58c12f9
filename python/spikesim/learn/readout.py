"""The linear read-out of spiking features: scikit-learn's LinearSVC, kept as plain arrays."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import InputError, MissingExtraError

__all__ = ["LinearReadout", "fit_linear"]

#: Below this share of values that are not zero, features go to liblinear as a sparse matrix.
_SPARSE = 0.5


@dataclass(frozen=True)
class LinearReadout:
    """One row of weights a class; the class of the largest sum is the answer.

    Attributes:
        classes: (K,) int64, ascending.
        coef: (K, n) float64.
        intercept: (K,) float64.
    """

    classes: NDArray[np.int64]
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, K) float64."""
        return np.asarray(features @ self.coef.T + self.intercept)

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """(N,) int64: the class of the largest score, the lowest of equals."""
        return np.asarray(self.classes[self.scores(features).argmax(axis=1)])


def fit_linear(
    features: NDArray[np.float32], y: NDArray[np.int64], C: float, seed: int
) -> LinearReadout:
    """Fits a linear support vector machine, one class against the rest.

    Args:
        features: (N, n) float32.
        y: (N,) int64, at least two classes.
        C: Weight of the errors against the margin (Kheradpisheh et al.: 2.4).
        seed: Order in which liblinear visits the samples.

    Raises:
        InputError: fewer than two classes.
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.svm import LinearSVC

        # By name: scipy, which scikit-learn brings, has no types of its own.
        sparse = importlib.import_module("scipy.sparse")
    except ImportError as error:
        raise MissingExtraError(
            "learn: the linear read-out needs scikit-learn; install spikesim[learn]"
        ) from error
    if len(np.unique(y)) < 2:
        raise InputError("readout: y has one class, expected at least two")
    x: Any = features
    if np.count_nonzero(features) < _SPARSE * features.size:
        x = sparse.csr_matrix(features, dtype=np.float64)
    svc = LinearSVC(C=C, random_state=seed, dual=True)
    svc.fit(x, y)
    coef, intercept = svc.coef_, svc.intercept_
    if len(coef) == 1:  # two classes: one row, positive for the second
        coef, intercept = np.vstack([-coef, coef]), np.concatenate([-intercept, intercept])
    return LinearReadout(svc.classes_.astype(np.int64), coef, np.asarray(intercept))
