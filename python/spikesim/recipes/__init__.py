"""Recipes: trained ANNs by name, from data set to file, as `spikesim train` runs them.

A recipe that trains in its own way (a detector, say) joins by `register`: an object with `name`,
`about` and `train(*, epochs, seed, data, width, progress) -> Trained`; see `Trainable`. Its
module stands in this package beside `classifiers` and is registered below as those are.

Example:
    >>> trained = ss.recipes.train("digits-qcfs", epochs=5)
    >>> trained.save("digits.safetensors")
"""

from __future__ import annotations

import difflib

from spikesim.errors import InputError
from spikesim.recipes.classifiers import CLASSIFIERS
from spikesim.recipes.detector import Detector
from spikesim.recipes.recipe import Progress, Recipe, Trainable, Trained

__all__ = ["Progress", "Recipe", "Trainable", "Trained", "available", "get", "register", "train"]

_RECIPES: dict[str, Trainable] = {}


def register(recipe: Trainable) -> None:
    """Adds a recipe under its name.

    Raises:
        InputError: there is one of that name.
    """
    if recipe.name in _RECIPES:
        raise InputError(f"recipes: {recipe.name} is there already, expected a new name")
    _RECIPES[recipe.name] = recipe


def available() -> tuple[str, ...]:
    """The names of the recipes."""
    return tuple(_RECIPES)


def get(name: str) -> Trainable:
    """The recipe of a name.

    Raises:
        InputError: there is none; the message names those that are near, or all.
    """
    if name not in _RECIPES:
        near = difflib.get_close_matches(name, _RECIPES, n=3) or list(_RECIPES)
        raise InputError(f"recipes: {name!r} is not a recipe, expected one of {', '.join(near)}")
    return _RECIPES[name]


def train(
    name: str,
    *,
    epochs: int | None = None,
    seed: int = 0,
    data: str | None = None,
    width: float | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Carries out a recipe; the same seed, machine and number of threads give the same weights.

    Args:
        name: one of `available()`.
        epochs: how often the training samples are seen; None: the recipe's own.
        seed: of weights, order and augmentation.
        data: other samples: a data set's name, or a `.npz` with `x` and `y`.
        width: factor of the model's channels.
        progress: called with (steps done, in all).

    Raises:
        InputError: no such recipe, or an argument that means nothing.
        ShapeError: data that the recipe's model does not take.
        MissingExtraError, FormatError, OSError: as loading the data has it.
    """
    return get(name).train(epochs=epochs, seed=seed, data=data, width=width, progress=progress)


for _recipe in (*CLASSIFIERS, Detector()):
    register(_recipe)
