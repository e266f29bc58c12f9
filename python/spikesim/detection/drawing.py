"""Pictures of detections, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from spikesim.detection.boxes import Detections, Truth
from spikesim.errors import MissingExtraError, ShapeError


def draw(
    images: ArrayLike,
    detections: Sequence[Detections] | None = None,
    truths: Sequence[Truth] | None = None,
    *,
    score_threshold: float = 0.25,
    names: Sequence[str] | None = None,
    columns: int = 4,
) -> Any:
    """Images side by side with their boxes: detections in full lines, truths dashed.

    Args:
        images: (N, 1, h, w) or (N, 3, h, w), in 0…1.
        detections: one an image.
        truths: one an image.
        score_threshold: detections that are less sure are not drawn.
        names: of the classes; default their numbers.
        columns: images in a row.

    Returns:
        matplotlib's Figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ShapeError: other images, or not as many detections or truths as images.

    Example:
        >>> figure = detection.draw(canvases.images[:8], region.decode(output)[:8])
        >>> figure.savefig("found.png")
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
    except ImportError as error:
        raise MissingExtraError(
            "detection: drawing needs matplotlib; install spikesim[plot]"
        ) from error
    pixels = np.asarray(images)
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or not len(pixels):
        raise ShapeError(
            f"draw: images has shape {pixels.shape}, expected (N, 1, h, w) or (N, 3, h, w)"
        )
    for name, given in (("detections", detections), ("truths", truths)):
        if given is not None and len(given) != len(pixels):
            raise ShapeError(f"draw: {name} has {len(given)} images, expected {len(pixels)}")
    columns = max(1, min(columns, len(pixels)))
    rows = -(-len(pixels) // columns)
    figure = Figure(figsize=(2.5 * columns, 2.5 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()

    def outline(axes: Any, box: Any, **style: Any) -> None:
        # imshow has the centre of a pixel at whole numbers, a box its corner.
        x0, y0, x1, y1 = box
        corner = (x0 - 0.5, y0 - 0.5)
        axes.add_patch(Rectangle(corner, x1 - x0, y1 - y0, fill=False, **style))

    for i, (axes, image) in enumerate(zip(grid, pixels, strict=False)):
        axes.imshow(np.moveaxis(image, 0, -1).squeeze(), cmap="gray", vmin=0, vmax=1)
        if truths is not None:
            for box in truths[i].boxes:
                outline(axes, box, edgecolor="tab:green", linestyle="--")
        if detections is not None:
            shown = detections[i].select(detections[i].scores >= score_threshold)
            for box, score, kind in zip(shown.boxes, shown.scores, shown.classes, strict=True):
                outline(axes, box, edgecolor="tab:red")
                label = names[kind] if names is not None else str(kind)
                axes.text(box[0], box[1] - 1, f"{label} {score:.2f}", color="tab:red", fontsize=7)
    return figure
