"""The embedded digits: 360 real 8x8 images that the embedded model never saw.

From the UCI data set "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998,
https://doi.org/10.24432/C50P49), licensed under CC BY 4.0, as scikit-learn ships it; taken
unchanged. ``make_digits.py`` beside this file makes both the slice and the model.
"""

from __future__ import annotations

from pathlib import Path

from spikesim.data.dataset import Dataset
from spikesim.data.npz import load_npz
from spikesim.errors import UnsupportedError

_FOLDER = Path(__file__).resolve().parent


def model_path() -> Path:
    """The embedded bundle."""
    return _FOLDER / "digits.spikesim"


def images_path() -> Path:
    """The embedded held-out images."""
    return _FOLDER / "digits_test.npz"


def load_digits(split: str) -> Dataset:
    """x: (360, 1, 8, 8) uint8, ink in 0..16; y: (360,) int64."""
    if split != "test":
        raise UnsupportedError(
            f"digits: split {split!r} is not supported, expected 'test'; "
            "the other images are in scikit-learn's load_digits"
        )
    stored = load_npz(images_path())
    return Dataset(name="digits", x=stored.x, y=stored.y, layout="N")
