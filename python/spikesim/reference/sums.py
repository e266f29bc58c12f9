"""Weighted sums of Linear and Conv, one edge at a time, without bias (S2.2, S2.3, S2.20).

"ordered" is the rule: separate multiplications and additions from +0 in ascending (ky, kx, c) or
input index. "torch" leaves the order to torch, with what would round otherwise (TF32, Winograd)
switched off, so that it is equal wherever sums are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from spikesim.reference.geometry import Window, places


def linear(weight: Tensor, x: Tensor, ordered: bool, before: Tensor | None = None) -> Tensor:
    """`x` (N, n_in) through `weight` (n_out, n_in), added to `before`."""
    total = torch.zeros(x.shape[0], weight.shape[0], device=x.device) if before is None else before
    if not ordered:
        return total + functional.linear(x, weight)
    for j in range(weight.shape[1]):
        total = total + weight[:, j] * x[:, j, None]
    return total


def conv(
    weight: Tensor,
    x: Tensor,
    window: Window,
    groups: int,
    ordered: bool,
    before: Tensor | None = None,
) -> Tensor:
    """`x` (N, C, H, W) through `weight` (out, C/groups, ky, kx), added to `before`."""
    n, channels = x.shape[:2]
    n_out, per_group = weight.shape[:2]
    size = window.out_size(x.shape[2:])
    if before is None:
        before = torch.zeros(n, n_out, *size, device=x.device)
    if not ordered:
        (top, bottom), (left, right) = window.padding
        padded = functional.pad(x, (left, right, top, bottom))
        return before + functional.conv2d(
            padded, weight, stride=window.stride, dilation=window.dilation, groups=groups
        )
    grouped_weight = weight.reshape(groups, n_out // groups, *weight.shape[1:])
    total = before.reshape(n, groups, n_out // groups, *size)
    for (ky, kx), place in places(x, window):
        grouped = place.reshape(n, groups, channels // groups, *size)
        for c in range(per_group):
            w = grouped_weight[:, :, c, ky, kx][None, :, :, None, None]
            total = total + w * grouped[:, :, None, c]
    return total.reshape(n, n_out, *size)


@contextmanager
def plain_arithmetic() -> Iterator[None]:
    """float32 throughout, and no convolution algorithm that transforms its operands."""
    matmul = torch.backends.cuda.matmul
    tf32 = matmul.allow_tf32
    matmul.allow_tf32 = False
    try:
        with (
            torch.no_grad(),
            torch.backends.cudnn.flags(enabled=False),
            torch.backends.nnpack.flags(enabled=False),
        ):
            yield
    finally:
        matmul.allow_tf32 = tf32
