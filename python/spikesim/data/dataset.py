"""What every loader returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What the leading axes of ``x`` are: samples, steps then samples, or steps of one sample.
LAYOUTS = ("N", "TN", "T")


@dataclass(frozen=True)
class Dataset:
    """Samples with their labels, as stored: no scaling, no casting.

    Attributes:
        name: The data set's name or the file's path.
        x: (N, *shape), (T, N, *shape) or (T, *shape), as ``layout`` says.
        y: (N,) int64 labels, or None.
        layout: One of :data:`LAYOUTS`, or None where the file leaves it to the number of axes.
    """

    name: str
    x: NDArray[Any]
    y: NDArray[np.int64] | None
    layout: str | None

    def n_samples(self, layout: str) -> int:
        """Number of samples if ``x`` has this layout."""
        if layout == "T":
            return 1
        return int(self.x.shape[1 if layout == "TN" else 0])
