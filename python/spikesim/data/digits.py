"""The embedded digits: 360 real 8x8 images that the embedded model never saw, and the others.

From the UCI data set "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998,
https://doi.org/10.24432/C50P49), licensed under CC BY 4.0, as scikit-learn ships it; taken
unchanged. ``make_digits.py`` beside this file makes both slices and the model.
"""

from __future__ import annotations

from pathlib import Path

from spikesim.data.dataset import Dataset
from spikesim.data.npz import load_npz
from spikesim.errors import InputError

_FOLDER = Path(__file__).resolve().parent


def model_path() -> Path:
    """The embedded bundle."""
    return _FOLDER / "digits.spikesim"


def images_path() -> Path:
    """The embedded held-out images."""
    return _FOLDER / "digits_test.npz"


def training_images_path() -> Path:
    """The embedded images that are not held out: those that networks are trained on."""
    return _FOLDER / "digits_train.npz"


def load_digits(split: str) -> Dataset:
    """x: (N, 1, 8, 8) uint8, ink in 0..16; y: (N,) int64; N = 360 to test, 1,437 to train."""
    paths = {"test": images_path, "train": training_images_path}
    if split not in paths:
        raise InputError(f"digits: split is {split!r}, expected 'train' or 'test'")
    stored = load_npz(paths[split]())
    return Dataset(name="digits", x=stored.x, y=stored.y, layout="N")
