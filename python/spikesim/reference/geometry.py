"""Windows over an image: which places of the input an output place looks at (S2.3, S2.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A kernel's geometry on (rows, columns); one-dimensional ones have one row."""

    kernel: Pair
    stride: Pair
    padding: tuple[Pair, Pair]  # ((top, bottom), (left, right))
    dilation: Pair = (1, 1)
    ceil_mode: bool = False

    def out_size(self, size: Sequence[int]) -> Pair:
        """S2.6."""
        return self._out(0, size[0]), self._out(1, size[1])

    def _out(self, axis: int, length: int) -> int:
        before, after = self.padding[axis]
        stride = self.stride[axis]
        span = length + before + after - self.dilation[axis] * (self.kernel[axis] - 1) - 1
        if not self.ceil_mode:
            return span // stride + 1
        count = -(-span // stride) + 1
        return count - 1 if (count - 1) * stride >= length + before else count

    def counted(self, axis: int, length: int, include_padding: bool) -> list[int]:
        """How many places of each window along `axis` count in an average (S2.8)."""
        before, after = self.padding[axis]
        low, high = (-before, length + after) if include_padding else (0, length)
        starts = [o * self.stride[axis] - before for o in range(self._out(axis, length))]
        return [min(s + self.kernel[axis], high) - max(s, low) for s in starts]


def places(
    x: Tensor, window: Window, padding: float = 0.0, beyond: float = 0.0
) -> Iterator[tuple[Pair, Tensor]]:
    """For each (ky, kx), ascending: what every output place finds there, (N, C, *out_size).

    `padding` is the value of the declared padding, `beyond` that of what `ceil_mode` adds to it.
    """
    size = (int(x.shape[2]), int(x.shape[3]))
    out = window.out_size(size)
    (top, bottom), (left, right) = window.padding
    x = functional.pad(x, (left, right, top, bottom), value=padding)
    reach = [
        (out[a] - 1) * window.stride[a] + window.dilation[a] * (window.kernel[a] - 1) + 1
        for a in (0, 1)
    ]
    missing = [max(0, reach[a] - int(x.shape[2 + a])) for a in (0, 1)]
    x = functional.pad(x, (0, missing[1], 0, missing[0]), value=beyond)
    for ky in range(window.kernel[0]):
        for kx in range(window.kernel[1]):
            y, z = ky * window.dilation[0], kx * window.dilation[1]
            rows = slice(y, y + (out[0] - 1) * window.stride[0] + 1, window.stride[0])
            columns = slice(z, z + (out[1] - 1) * window.stride[1] + 1, window.stride[1])
            yield (ky, kx), x[:, :, rows, columns]


def as_image(x: Tensor) -> Tensor:
    """(N, C, L) as (N, C, 1, L); (N, C, H, W) as it is."""
    return x[:, :, None, :] if x.ndim == 3 else x


def pair(value: int | Pair) -> Pair:
    """The two axes of a number of an operation; one-dimensional ones have one row."""
    return (1, value) if isinstance(value, int) else value


def paddings(value: Pair | tuple[Pair, Pair]) -> tuple[Pair, Pair]:
    """((top, bottom), (left, right)) of an operation's padding."""
    first, second = value
    if isinstance(first, int) or isinstance(second, int):
        return (0, 0), value  # type: ignore[return-value]
    return first, second


def divisors(window: Window, size: Sequence[int], include_padding: bool) -> Tensor:
    """(rows, columns) of the sizes that an average divides by."""
    rows = torch.tensor(window.counted(0, size[0], include_padding), dtype=torch.float32)
    columns = torch.tensor(window.counted(1, size[1], include_padding), dtype=torch.float32)
    return rows[:, None] * columns
