"""A matplotlib figure of its own, without pyplot, and its file."""

from __future__ import annotations

import io
import os
from typing import Any

from spikesim.errors import InputError, MissingExtraError

#: Endings of pictures that `save` writes.
KINDS = (".png", ".svg", ".pdf")


def new_figure(size: tuple[float, float]) -> Any:
    """An empty figure of `size` inches."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "plot: pictures need matplotlib, which is not installed; install spikesim[plot]"
        ) from error
    return Figure(figsize=size, layout="constrained")


def check_kind(path: str | os.PathLike[str]) -> None:
    """Refuses an ending that `save` does not know.

    Raises:
        InputError: the ending.
    """
    if os.path.splitext(os.fspath(path))[1].lower() not in KINDS:
        raise InputError(
            f"plot: {os.fspath(path)} is of no known kind, expected one of {', '.join(KINDS)}"
        )


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Writes a picture: a `.png` of 256 colours (less than half as large), `.svg` or `.pdf`.

    Args:
        figure: matplotlib's Figure.
        path: where; the ending says the kind.

    Raises:
        InputError: another ending.
        OSError: the file can't be written.
    """
    check_kind(path)
    if not os.fspath(path).lower().endswith(".png"):
        figure.savefig(path)
        return
    from PIL import Image  # comes with matplotlib

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", transparent=False)
    with Image.open(drawn) as image:
        few = image.convert("RGB").quantize(
            256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
        few.save(path, optimize=True)
