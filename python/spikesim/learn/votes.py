"""From spikes to classes: neurons' labels, and three ways to vote (S12.15 to S12.18)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import InputError, ShapeError

IntArray = NDArray[np.int64]

#: What a neuron's label is that never spiked, and a prediction from which nothing can be told.
UNKNOWN = -1


@dataclass(frozen=True)
class Answers:
    """Spikes of samples: those of sample `n` are `neurons[start[n]:start[n + 1]]`, in time's order.

    Attributes:
        start: (N + 1,) int64.
        neurons: (spikes,) uint32.
    """

    start: IntArray
    neurons: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.start) - 1

    def samples(self) -> IntArray:
        """The sample of each spike."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.start))

    def counts(self, n_neurons: int) -> NDArray[np.int32]:
        """(N, n_neurons) spikes."""
        flat = self.samples() * n_neurons + self.neurons
        counts = np.bincount(flat, minlength=len(self) * n_neurons)
        return counts.reshape(len(self), n_neurons).astype(np.int32)


def joined(parts: list[Answers]) -> Answers:
    """One after the other."""
    lengths = [np.diff(part.start) for part in parts]
    start = np.concatenate([[0], np.cumsum(np.concatenate([*lengths, []]))]).astype(np.int64)
    neurons = [part.neurons for part in parts]
    return Answers(start, np.concatenate(neurons) if neurons else np.zeros(0, np.uint32))


def checked_labels(y: ArrayLike, n: int, where: str) -> IntArray:
    """Labels as int64, one a sample, at least 0."""
    labels = np.asarray(y)
    if labels.shape != (n,):
        raise ShapeError(f"{where}: y has shape {labels.shape}, expected ({n},)")
    if labels.dtype.kind not in "bui" or (n and int(labels.min()) < 0):
        what = labels.dtype if labels.dtype.kind not in "bui" else f"{labels.min()}"
        raise InputError(f"{where}: y has {what}, expected whole numbers of at least 0")
    if n and int(labels.max()) > np.iinfo(np.int64).max:
        raise InputError(f"{where}: y has {labels.max()}, expected numbers of int64")
    return labels.astype(np.int64)


@dataclass(frozen=True)
class Labels:
    """What labelled samples say about neurons.

    Attributes:
        classes: (C,) the labels that occur, ascending.
        rates: (n_neurons, C) float64, mean spikes a sample of each class.
        neurons: (n_neurons,) int64, each neuron's label; -1 if it never spiked.
    """

    classes: IntArray
    rates: NDArray[np.float64]
    neurons: IntArray

    @classmethod
    def of(cls, answers: Answers, y: IntArray, n_neurons: int) -> Labels:
        """Mean responses by class; the largest gives the label, of equals the lowest (S12.15)."""
        classes, index = np.unique(y, return_inverse=True)
        flat = answers.neurons * len(classes) + index[answers.samples()]
        counts = np.bincount(flat, minlength=n_neurons * len(classes))
        rates = counts.reshape(n_neurons, len(classes)) / np.bincount(index)
        known = rates.max(axis=1, initial=0.0) > 0
        best = classes[rates.argmax(axis=1)] if len(classes) else np.zeros(n_neurons, np.int64)
        return cls(classes, rates, np.where(known, best, UNKNOWN))

    def vote_all(self, answers: Answers) -> NDArray[np.float64]:
        """(N, C): mean spikes of the neurons of each class (S12.16)."""
        place = np.searchsorted(self.classes, self.neurons)
        weight = np.zeros((len(self.neurons), len(self.classes)))
        known = np.flatnonzero(self.neurons != UNKNOWN)
        weight[known, place[known]] = 1.0
        members: NDArray[np.float64] = np.maximum(weight.sum(axis=0), 1.0)
        scores: NDArray[np.float64] = _weighted(answers, weight) / members
        return scores

    def vote_proportion(self, answers: Answers) -> NDArray[np.float64]:
        """(N, C): each spike votes with its neuron's shares of the classes (S12.17)."""
        total = self.rates.sum(axis=1, keepdims=True)
        return _weighted(answers, self.rates / np.where(total > 0, total, 1.0))


def _weighted(answers: Answers, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the rows of `weight` of each sample's spikes, in time's order."""
    scores = np.zeros((len(answers), weight.shape[1]))
    np.add.at(scores, answers.samples(), weight[answers.neurons])
    return scores


@dataclass(frozen=True)
class NGrams:
    """How often runs of `n` neurons in a row were seen with each class (S12.18).

    Attributes:
        n: length of a run.
        runs: (G, n) uint32, in lexical order.
        counts: (G, C) int64.
    """

    n: int
    runs: NDArray[np.uint32]
    counts: IntArray

    @classmethod
    def of(cls, answers: Answers, y: IntArray, classes: IntArray, n: int) -> NGrams:
        """The runs of labelled samples."""
        runs, sample = _runs(answers, n)
        known, place = np.unique(runs, axis=0, return_inverse=True)
        flat = place.reshape(-1) * len(classes) + np.searchsorted(classes, y)[sample]
        counts = np.bincount(flat, minlength=len(known) * len(classes))
        return cls(n, known, counts.reshape(len(known), len(classes)).astype(np.int64))

    def vote(self, answers: Answers) -> NDArray[np.float64]:
        """(N, C): the counts of all of a sample's runs, added."""
        runs, sample = _runs(answers, self.n)
        scores = np.zeros((len(answers), self.counts.shape[1]))
        if not len(self.runs) or not len(runs):
            return scores
        both = np.concatenate([self.runs, runs])
        _, code = np.unique(both, axis=0, return_inverse=True)
        code = code.reshape(-1)
        row = np.full(int(code.max()) + 1, UNKNOWN)
        row[code[: len(self.runs)]] = np.arange(len(self.runs))
        found = row[code[len(self.runs) :]]
        seen = found != UNKNOWN
        np.add.at(scores, sample[seen], self.counts[found[seen]])
        return scores


def _runs(answers: Answers, n: int) -> tuple[NDArray[np.uint32], IntArray]:
    """Runs of n spikes in a row, and the sample of each."""
    sample = answers.samples()
    if len(sample) < n:
        return np.zeros((0, n), np.uint32), np.zeros(0, np.int64)
    windows: NDArray[Any] = np.lib.stride_tricks.sliding_window_view(answers.neurons, n)
    whole = sample[: len(windows)] == sample[n - 1 :]
    return np.ascontiguousarray(windows[whole]), sample[: len(windows)][whole]


def decided(scores: NDArray[np.float64], classes: IntArray) -> IntArray:
    """The class with the largest score, of equals the lowest; -1 where all are 0 (S12.16)."""
    if not len(classes):
        return np.full(len(scores), UNKNOWN, np.int64)
    return np.where(scores.max(axis=1) > 0, classes[scores.argmax(axis=1)], UNKNOWN)
