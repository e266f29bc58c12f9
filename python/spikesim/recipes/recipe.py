"""What a recipe is, and how one is carried out."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from spikesim import data as datasets
from spikesim import models
from spikesim._inputs import whole_number
from spikesim.data import Dataset, Preprocessing
from spikesim.data.cifar import CLASSES
from spikesim.errors import InputError, ShapeError, UnsupportedError
from spikesim.models.registry import BUILDERS
from spikesim.train import FitResult, accuracy, fit
from spikesim.train.augment import Augment

Progress = Callable[[int, int], None]

#: Of a .npz without splits, one sample in six is held out, drawn with this seed.
HELD_OUT, HELD_OUT_SEED = 6, 0


@dataclass
class Trained:
    """A model and how it came about.

    Attributes:
        module: the network, in eval mode.
        builder: the function of `spikesim.models` that built it.
        arguments: what it was given.
        meta: preprocessing, labels, recipe, accuracy, … as its file will say.
        accuracy: on the held-out samples: of labels told rightly, or what the recipe measures.
        fit: the training's history.
    """

    module: nn.Module
    builder: str
    arguments: dict[str, Any]
    meta: dict[str, Any]
    accuracy: float
    fit: FitResult

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model's file, which `spikesim.models.load` reads."""
        models.save(path, self.module, self.builder, self.arguments, self.meta)


class Trainable(Protocol):
    """What `register` takes: a recipe of this module, or another that trains in its own way."""

    @property
    def name(self) -> str:
        """What it is called by."""

    @property
    def about(self) -> str:
        """One line for a list."""

    def train(
        self,
        *,
        epochs: int | None = None,
        seed: int = 0,
        data: str | None = None,
        width: float | None = None,
        progress: Progress | None = None,
    ) -> Trained:
        """Trains; None stands for the recipe's own choice.

        Args:
            epochs: how often the training samples are seen.
            seed: of weights, order and augmentation.
            data: other samples to train on.
            width: factor of the model's channels.
            progress: called with (steps done, in all).
        """


@dataclass(frozen=True)
class Recipe:
    """A classifier: data set, model, and how it is trained.

    Attributes:
        name: what it is called by.
        about: one line for a list.
        data: data set of `spikesim.data`, with the splits "train" and "test".
        builder: function of `spikesim.models`.
        arguments: its arguments.
        epochs: times that the training samples are seen.
        options: further arguments of `spikesim.train.fit`.
        preprocessing: as in a network's meta; the last thing before the model.
        augment: on the raw images.
    """

    name: str
    about: str
    data: str
    builder: str
    arguments: Mapping[str, Any]
    epochs: int
    options: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    augment: Augment | None = None

    def train(
        self,
        *,
        epochs: int | None = None,
        seed: int = 0,
        data: str | None = None,
        width: float | None = None,
        progress: Progress | None = None,
    ) -> Trained:
        """Trains the model and measures it on the held-out samples.

        Args:
            epochs: instead of the recipe's own.
            seed: of weights, order and augmentation.
            data: other samples of the same shape: a data set's name, or a `.npz` with `x` and
                `y`, of which one in six is held out.
            width: factor of the model's channels.
            progress: called with (steps done, in all).

        Raises:
            InputError: an argument that means nothing, or data without labels.
            ShapeError: data of another shape than the model's.
            MissingExtraError, FormatError, OSError: as loading the data has it.
        """
        if epochs is not None:
            whole_number(self.name, "epochs", epochs)
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise InputError(f"{self.name}: seed is {seed!r}, expected a whole number from 0")
        arguments = copy.deepcopy(dict(self.arguments))
        if width is not None:
            if not 0 < width <= 64:
                raise InputError(
                    f"{self.name}: width is {width}, expected more than 0 and at most 64"
                )
            arguments["width"] = width
        train, test = _splits(self.name, data or self.data)
        module = BUILDERS[self.builder](**arguments, seed=seed)
        prepare = _Prepare(self.preprocessing)
        _fitting(self.name, module, prepare, train)
        result = fit(
            module,
            train.x,
            _labels(self.name, train),
            epochs=self.epochs if epochs is None else epochs,
            augment=self.augment,
            prepare=prepare,
            seed=seed,
            progress=progress,
            **self.options,
        )
        score = accuracy(module, test.x, _labels(self.name, test), prepare=prepare)
        meta = {
            "recipe": self.name,
            "preprocessing": dict(self.preprocessing),
            "labels": _names(train.name, int(_labels(self.name, train).max()) + 1),
            "input_shape": list(train.x.shape[1:]),
            "data": train.name,
            "accuracy": score,
            "test_samples": len(test.x),
            "epochs": result.epochs,
            "seed": seed,
        }
        return Trained(module, self.builder, arguments, meta, score, result)


class _Prepare:
    """The preprocessing of a model's meta, on tensors; the same float32 operations."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        numbers = Preprocessing.of({"preprocessing": spec})
        self.scale = torch.tensor(numbers.scale, dtype=torch.float32)
        self.mean = torch.tensor(numbers.mean, dtype=torch.float32).reshape(-1, 1, 1)
        self.std = torch.tensor(numbers.std, dtype=torch.float32).reshape(-1, 1, 1)

    def __call__(self, x: Tensor) -> Tensor:
        return (x.float() * self.scale - self.mean) / self.std


def _splits(where: str, name: str) -> tuple[Dataset, Dataset]:
    if not name.endswith(".npz"):
        return datasets.load(name, "train"), datasets.load(name, "test")
    whole = datasets.load(name)
    if whole.layout not in (None, "N"):
        raise UnsupportedError(f"{where}: {name} has layout {whole.layout!r}, expected 'N'")
    labels = _labels(where, whole)
    n = len(labels)
    if n < HELD_OUT or len(whole.x) != n:
        raise InputError(
            f"{where}: {name} has {len(whole.x)} samples and {n} labels, expected one label a "
            f"sample and at least {HELD_OUT}"
        )
    order = np.random.default_rng(HELD_OUT_SEED).permutation(n)
    test, train = order[: n // HELD_OUT], order[n // HELD_OUT :]
    return (
        Dataset(name=name, x=whole.x[train], y=labels[train], layout="N"),
        Dataset(name=name, x=whole.x[test], y=labels[test], layout="N"),
    )


def _labels(where: str, samples: Dataset) -> Any:
    if samples.y is None:
        raise InputError(f"{where}: {samples.name} has no labels, expected y, one a sample")
    return samples.y


def _fitting(where: str, module: nn.Module, prepare: _Prepare, samples: Dataset) -> None:
    """Finds data that the model can't take before the training does."""
    try:
        with torch.no_grad():
            module(prepare(torch.as_tensor(samples.x[:1].copy())))
    except (RuntimeError, ValueError) as error:
        raise ShapeError(
            f"{where}: {samples.name} has samples of shape {tuple(samples.x.shape[1:])}, expected "
            "the shape that the recipe's model takes"
        ) from error


def _names(name: str, classes: int) -> list[str]:
    if name.startswith("cifar10-") or name == "cifar10":
        return list(CLASSES)
    return [str(label) for label in range(classes)]
