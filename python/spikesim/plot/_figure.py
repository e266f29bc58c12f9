"""A matplotlib figure of its own, without pyplot."""

from __future__ import annotations

from typing import Any

from spikesim.errors import MissingExtraError


def new_figure(size: tuple[float, float]) -> Any:
    """An empty figure of `size` inches."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "plot: pictures need matplotlib, which is not installed; install spikesim[plot]"
        ) from error
    return Figure(figsize=size, layout="constrained")
