"""Augmentations of batches of images, (N, C, H, W) in any dtype, from a seeded generator.

Each is a callable `augment(x, generator) -> x`, as `spikesim.train.fit` takes one; `Augmentations`
is several, one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

Augment = Callable[[Tensor, torch.Generator], Tensor]


#: Knots of an elastic field, a side.
KNOTS = 5


@dataclass(frozen=True)
class Affine:
    """Small turns, stretches and shifts of each image, drawn evenly; what comes in is 0.

    With `elastic`, a smooth field moves its parts against each other, too (as Simard et al. 2003
    do to handwriting).

    Args:
        degrees: largest turn to either side.
        scale: largest stretch or shrinking, as a fraction.
        shift: largest shift to any side, as a fraction of the image's side.
        elastic: largest shift of a knot of the field, the same way; knots are 5x5, corners
            included, with cubic curves between them.

    The result is float32 (the pixels are interpolated), or what float `x` has.
    """

    degrees: float = 10.0
    scale: float = 0.1
    shift: float = 0.07
    elastic: float = 0.0

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The images, each with a draw of its own."""
        x = x if x.is_floating_point() else x.float()
        drawn = torch.rand((4, len(x)), generator=generator, dtype=x.dtype) * 2 - 1
        angle = drawn[0] * math.radians(self.degrees)
        size = 1 + drawn[1] * self.scale
        # The grid counts the image's side as 2.
        dx, dy = 2 * self.shift * drawn[2], 2 * self.shift * drawn[3]
        cos, sin = size * angle.cos(), size * angle.sin()
        rows = [torch.stack([cos, -sin, dx], 1), torch.stack([sin, cos, dy], 1)]
        grid = functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
        if self.elastic:
            knots = torch.rand((len(x), 2, KNOTS, KNOTS), generator=generator, dtype=x.dtype)
            field = functional.interpolate(
                (knots * 2 - 1) * 2 * self.elastic, x.shape[2:], mode="bicubic", align_corners=True
            )
            grid = grid + field.permute(0, 2, 3, 1)
        return functional.grid_sample(x, grid, align_corners=False)


@dataclass(frozen=True)
class CropFlip:
    """A crop of the image's size out of the image padded with 0, and a mirror image half the time.

    Args:
        padding: pixels of padding on every side.
        flip: whether there are mirror images.
    """

    padding: int = 4
    flip: bool = True

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The images, each with a draw of its own."""
        n, _, height, width = x.shape
        padded = functional.pad(x, (self.padding,) * 4)
        top, left = torch.randint(0, 2 * self.padding + 1, (2, n), generator=generator)
        rows = top[:, None] + torch.arange(height)
        columns = left[:, None] + torch.arange(width)
        if self.flip:
            mirrored = torch.rand(n, generator=generator) < 0.5
            columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        return padded[
            torch.arange(n)[:, None, None, None],
            torch.arange(x.shape[1])[None, :, None, None],
            rows[:, None, :, None],
            columns[:, None, None, :],
        ]


@dataclass(frozen=True)
class Cutout:
    """A square at a random place is blotted out (DeVries and Taylor 2017).

    Args:
        size: side of the square; what lies outside the image is lost.
        fill: what is there instead, one number or one a channel: the mean of the images.
    """

    size: int = 16
    fill: Sequence[float] = (0.0,)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The images, each with a draw of its own."""
        n, _, height, width = x.shape
        y0 = torch.randint(0, height, (n, 1), generator=generator)
        x0 = torch.randint(0, width, (n, 1), generator=generator)
        half = self.size // 2
        row, column = torch.arange(height), torch.arange(width)
        rows = (row >= y0 - half) & (row < y0 - half + self.size)
        columns = (column >= x0 - half) & (column < x0 - half + self.size)
        hole = rows[:, None, :, None] & columns[:, None, None, :]
        fill = torch.tensor(self.fill).to(x.dtype).reshape(1, -1, 1, 1)
        return torch.where(hole, fill, x)


@dataclass(frozen=True)
class Augmentations:
    """Several augmentations, one after the other."""

    steps: Sequence[Augment] = field(default_factory=tuple)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """What the last one makes."""
        for step in self.steps:
            x = step(x, generator)
        return x
