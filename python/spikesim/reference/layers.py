"""What nodes without weights and neurons do to a value (S2.7 to S2.11, S2.17, S2.18, S2.22, S2.23).

The same functions carry values (float32) and event counts (int64, S10.2) along.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spikesim.reference.geometry import Window, as_image, divisors, places


def sum_pool(x: Tensor, window: Window) -> Tensor:
    """S2.7, on (N, C, L) or (N, C, H, W)."""
    total: Tensor | None = None
    for _, place in places(as_image(x), window):
        total = torch.zeros_like(place) + place if total is None else total + place
    assert total is not None
    return total[:, :, 0] if x.ndim == 3 else total


def avg_pool(x: Tensor, window: Window, include_padding: bool) -> Tensor:
    """S2.8."""
    size = as_image(x).shape[2:]
    divisor = divisors(window, [int(n) for n in size], include_padding).to(x.device)
    return sum_pool(x, window) / (divisor[0] if x.ndim == 3 else divisor)


def max_pool(x: Tensor, window: Window, padding: float) -> Tensor:
    """S2.10 with `padding=0`, S2.11 with `padding=-inf`."""
    largest: Tensor | None = None
    for _, place in places(as_image(x), window, padding=padding, beyond=-math.inf):
        largest = place if largest is None else torch.maximum(largest, place)
    assert largest is not None
    return largest[:, :, 0] if x.ndim == 3 else largest


def grown(before: Tensor, after: Tensor, window: Window) -> Tensor:
    """S2.22: by how much the largest sum of each window has grown."""
    return max_pool(after, window, -math.inf) - max_pool(before, window, -math.inf)


def leading(sums: Tensor, x: Tensor, window: Window) -> Tensor:
    """S2.23: the value of `x` at the place of the largest sum of each window."""
    most: Tensor | None = None
    passed = torch.zeros_like(x)
    counted = places(as_image(sums), window, padding=-math.inf, beyond=-math.inf)
    for (_, own), (_, value) in zip(counted, places(as_image(x), window), strict=True):
        if most is None:
            most, passed = own, value
        else:
            passed = torch.where(own > most, value, passed)
            most = torch.maximum(own, most)
    return passed[:, :, 0] if x.ndim == 3 else passed


def adaptive_windows(length: int, count: int) -> list[tuple[int, int]]:
    """[start, end) of the windows of S2.9 along one axis."""
    return [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]


def adaptive_pool(x: Tensor, output_size: tuple[int, int], average: bool) -> Tensor:
    """S2.9; `average=False` leaves the sum, for counts."""
    rows = adaptive_windows(int(x.shape[2]), output_size[0])
    columns = adaptive_windows(int(x.shape[3]), output_size[1])
    out = torch.zeros((*x.shape[:2], *output_size), dtype=x.dtype, device=x.device)
    for i, (top, bottom) in enumerate(rows):
        for j, (left, right) in enumerate(columns):
            total = torch.zeros(x.shape[:2], dtype=x.dtype, device=x.device)
            for y in range(top, bottom):
                for k in range(left, right):
                    total = total + x[:, :, y, k]
            if average:
                places_in_window = (bottom - top) * (right - left)
                total = total / torch.full_like(total, places_in_window)
            out[:, :, i, j] = total
    return out


def upsample(x: Tensor, factor: tuple[int, int]) -> Tensor:
    """S2.18."""
    return x.repeat_interleave(factor[0], dim=2).repeat_interleave(factor[1], dim=3)


def flatten(x: Tensor, start_dim: int, end_dim: int) -> Tensor:
    """S2.17; axes without the batch, negative ones from the end."""
    axes = x.ndim - 1
    return x.flatten(1 + start_dim % axes, 1 + end_dim % axes)
