"""Pools as torch modules, the stateless ones and those gated by rates."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikesim.train.arrivals import added


class _Windows(nn.Module):
    """The windows of a pool on (N, C, L) or (N, C, H, W).

    torch's pools know neither padding that differs between the sides nor that of spikes, so the
    input is padded first, to just what the windows of S2.6 see.
    """

    def __init__(self, op: Any, in_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.kind: str = op.kind
        image = len(in_shape) == 3
        size = in_shape[1:] if image else (1, *in_shape[1:])
        self.image = image
        self.kernel = op.kernel_size if image else (1, op.kernel_size)
        self.stride = op.stride if image else (1, op.stride)
        padding = op.padding if image else ((0, 0), op.padding)
        self.pads: list[int] = []
        self.beyond: list[int] = []
        for axis in (1, 0):  # torch pads the last axis first
            before, after = padding[axis]
            kernel, stride, length = self.kernel[axis], self.stride[axis], size[axis]
            padded = length + before + after
            places = (padded - kernel) // stride + 1
            if op.ceil_mode:
                places = -((kernel - padded) // stride) + 1
                # S2.6: a last window that would begin in the padding at the end is dropped.
                places -= (places - 1) * stride >= length + before
            self.pads += [before, after]
            # Negative: what no window sees is cut off.
            self.beyond += [0, (places - 1) * stride + kernel - padded]

    def padded(self, x: Tensor, padding: float, beyond: float) -> Tensor:
        """(N, C, rows, columns) of just what the windows see; `beyond`: what `ceil_mode` adds."""
        x = x if self.image else x[:, :, None]
        return functional.pad(
            functional.pad(x, self.pads, value=padding), self.beyond, value=beyond
        )

    def like_input(self, x: Tensor) -> Tensor:
        """A result with as many axes as the input has."""
        return x if self.image else x[:, :, 0]

    def extra_repr(self) -> str:
        """Its kind and geometry."""
        fields = ("kernel", "stride", "pads", "beyond")
        return ", ".join([self.kind, *(f"{field}={getattr(self, field)}" for field in fields)])


class Pool(_Windows):
    """S2.7, S2.8, S2.10, S2.11, on (N, C, L) or (N, C, H, W)."""

    def __init__(self, op: Any, in_shape: tuple[int, ...]) -> None:
        super().__init__(op, in_shape)
        if op.kind.startswith("avg"):
            # Which places count; what `ceil_mode` adds never does.
            inside = torch.ones(1, 1, *in_shape[1:])
            sizes = self._summed(self.padded(inside, float(op.count_include_pad), 0.0))
            self.register_buffer("sizes", sizes, persistent=False)

    def forward(self, *arrivals: Tensor) -> Tensor:
        """(N, C, ...) each."""
        x = added(arrivals)
        if "max" in self.kind:
            silence = 0.0 if self.kind.startswith("spike") else -math.inf
            x = self.padded(x, silence, -math.inf)
            x = functional.max_pool2d(x, self.kernel, self.stride)
        else:
            x = self._summed(self.padded(x, 0.0, 0.0))
            if self.kind.startswith("avg"):
                sizes: Any = self.sizes
                x = x / sizes.to(x.dtype)
        return self.like_input(x)

    def _summed(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, self.kernel, self.stride, divisor_override=1)


class RateMaxPool(_Windows):
    """S2.21 to S2.23.

    Its state is the sums of the places of its input, of their shape, without gradient: the
    network keeps them from step to step (`NetworkState.sums`). The gradient of a step's result
    goes, as that of a max pool does, to the input of that step at the place with the largest sum,
    also where the gate "count" gave what another place had summed up before.
    """

    def __init__(self, op: Any, in_shape: tuple[int, ...]) -> None:
        super().__init__(op, in_shape)
        self.gate: str = op.gate

    def forward(self, x: Tensor, sums: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, C, ...) of a step and the sums of the step before (None: zeros); the result and the
        new sums."""
        before = torch.zeros_like(x) if sums is None else sums
        after = before + x.detach()
        largest, passed = self._leading(after, x)
        if self.gate == "count":
            passed = _InPlaceOf.apply(passed, largest - self._leading(before, before)[0])
        return self.like_input(passed), after

    def _leading(self, sums: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The largest sum of each window, and `x` at its place."""
        pairs = list(
            zip(
                self._places(self.padded(sums, -math.inf, -math.inf)),
                self._places(self.padded(x, 0.0, 0.0)),
                strict=True,
            )
        )
        largest, passed = pairs[0]
        for own, value in pairs[1:]:
            above = own > largest
            largest = torch.where(above, own, largest)
            passed = torch.where(above, value, passed)
        return largest, passed

    def _places(self, x: Tensor) -> list[Tensor]:
        """For each (ky, kx), ascending: what every window finds there."""
        (kernel_y, kernel_x), (stride_y, stride_x) = self.kernel, self.stride
        high, wide = x.shape[2] - kernel_y + 1, x.shape[3] - kernel_x + 1
        return [
            x[:, :, y : y + high : stride_y, z : z + wide : stride_x]
            for y in range(kernel_y)
            for z in range(kernel_x)
        ]

    def extra_repr(self) -> str:
        """Its kind, geometry and gate."""
        return f"{super().extra_repr()}, gate={self.gate}"


class _InPlaceOf(torch.autograd.Function):
    """A value with the gradient of another."""

    @staticmethod
    def forward(ctx: Any, other: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
