"""CIFAR-10 from a zip of JPEGs in folders by class, as subsets of it go around."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikesim.data.dataset import Dataset
from spikesim.errors import FormatError, InputError, MissingExtraError

#: 1,500 images a class to train on and 300 to test: lossy, not the bytes of the original.
ZIP = "cifar10-jpeg-15k.zip"

#: In the order of the original's labels, which is the alphabet's.
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)

_NAME = re.compile(r"(?:.*/)?(train|test)/([^/]+)/[^/]+\.jpe?g", re.IGNORECASE)
_SHAPE = (32, 32, 3)
#: A JPEG of 32x32 pixels has 1 or 2 kB; more is none.
_LARGEST = 1 << 20


def load_zip(path: Path, split: str) -> Dataset:
    """x: (N, 3, 32, 32) uint8 in 0..255; y: (N,) int64; by class, then by name.

    Raises:
        InputError: a split that it has not.
        MissingExtraError: Pillow is not installed.
        FormatError: a damaged file, an unknown class, an image of another size.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "cifar10: reading JPEG needs Pillow, which is not installed; install spikesim[vision]"
        ) from error
    if split not in ("train", "test"):
        raise InputError(f"cifar10: split is {split!r}, expected 'train' or 'test'")
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    name = ""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in sorted(archive.infolist(), key=lambda info: info.filename):
                name = info.filename
                match = _NAME.fullmatch(name)
                if match is None or match[1].lower() != split:
                    continue
                if match[2] not in CLASSES:
                    raise FormatError(
                        f"{path}: {name} has class {match[2]!r}, expected one of "
                        f"{', '.join(CLASSES)}"
                    )
                if info.file_size > _LARGEST:
                    raise FormatError(
                        f"{path}: {name} has {info.file_size} bytes, expected at most {_LARGEST}"
                    )
                with Image.open(io.BytesIO(archive.read(info)), formats=("JPEG",)) as image:
                    if image.size != _SHAPE[:2]:
                        raise FormatError(
                            f"{path}: {name} has {image.width}x{image.height} pixels, "
                            "expected 32x32"
                        )
                    images.append(np.asarray(image.convert("RGB")))
                labels.append(CLASSES.index(match[2]))
    except (zipfile.BadZipFile, UnidentifiedImageError, EOFError, ValueError, SyntaxError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            f"{path}: {name or 'file'} is damaged ({error}), expected a zip of JPEGs"
        ) from error
    except OSError as error:
        # Pillow's word for a truncated image; what the system says has a number.
        if error.errno is not None:
            raise
        raise FormatError(f"{path}: {name} is damaged ({error}), expected a JPEG") from error
    if not images:
        raise FormatError(f"{path}: file has no {split}/<class>/<name>.jpg, expected some")
    x = np.stack(images).transpose(0, 3, 1, 2)
    return Dataset(
        name="cifar10-15k", x=np.ascontiguousarray(x), y=np.array(labels, np.int64), layout="N"
    )
