"""The nodes of a network as torch modules: each takes the values of its edges, in their order.

Layers with weights are torch's own classes (`torch.nn.Linear`, `Conv1d`, `Conv2d`) with a
forward that sums several edges. Values are (N, *shape).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikesim import ops
from spikesim.errors import UnsupportedError
from spikesim.ops import Op
from spikesim.train.arrivals import Delayed, added
from spikesim.train.pools import Pool, RateMaxPool


def layer(op: Op, name: str, in_shape: tuple[int, ...]) -> nn.Module:
    """The module of an operation that is no population.

    Args:
        op: the operation.
        name: of its node, for errors.
        in_shape: of the sum of its edges.

    Raises:
        UnsupportedError: there is none.
    """
    make = _MODULES.get(type(op))
    if make is None or not set(op.arrays()) <= _ARRAYS:
        raise UnsupportedError(
            f"{name}: {op!r} has no torch module, expected another operation; run it with compile()"
        )
    module: nn.Module = make(op, in_shape)
    return module


def parameter(array: Any) -> nn.Parameter:
    """An array of its own as a parameter."""
    return nn.Parameter(torch.tensor(array))


class _Weighted(Delayed):
    """What Linear and Conv share: S2.2 to S2.4, each edge by itself, their sum, the bias; and
    delays of synapses, S2.20."""

    weight: Tensor
    bias: Any  # a Tensor or None; Linear and Conv of torch declare it differently

    def forward(
        self, *arrivals: Tensor, folded: tuple[Tensor, Tensor | None] | None = None
    ) -> Tensor:
        """Of (N, n_in) or (N, C, ...) each, for every edge one for each of `lags`; `folded`:
        weight and bias to use instead."""
        weight, bias = (self.weight, self.bias) if folded is None else folded
        lags, delay = self.lags(), self.delay
        n = len(lags)
        parts = (weight,) if n == 1 or delay is None else [weight * (delay == d) for d in lags]
        edges = [arrivals[i : i + n] for i in range(0, len(arrivals), n)]
        total = added(
            [added([self.edge(x, w) for x, w in zip(edge, parts, strict=True)]) for edge in edges]
        )
        if bias is None:
            return total
        return total + bias.reshape(-1, *(1,) * (total.ndim - 2))

    def edge(self, x: Tensor, weight: Tensor) -> Tensor:
        """The sum of one edge, without bias."""
        raise NotImplementedError


class Linear(_Weighted, nn.Linear):
    """A fully connected layer."""

    def __init__(self, op: ops.Linear, in_shape: tuple[int, ...]) -> None:
        # On the device "meta" nothing is drawn at random for weights that are replaced.
        n_out, n_in = op.weight.shape
        nn.Linear.__init__(self, n_in, n_out, op.bias is not None, device="meta")
        _weights(self, op)

    def edge(self, x: Tensor, weight: Tensor) -> Tensor:
        """The sum of one edge, without bias."""
        return functional.linear(x, weight)


class _Conv(_Weighted):
    """What Conv1d and Conv2d share: padding that may differ between the sides."""

    # (before, after) of the last axis, then of the one before it, as torch's pad wants them.
    pads: tuple[int, ...]

    def extra_repr(self) -> str:
        """Torch's, and the padding that is done before."""
        return f"{super().extra_repr()}, pads={self.pads}"  # type: ignore[misc]


class Conv1d(_Conv, nn.Conv1d):
    """A convolution of (N, C, L)."""

    def __init__(self, op: ops.Conv1d, in_shape: tuple[int, ...]) -> None:
        w = op.weight
        nn.Conv1d.__init__(
            self,
            w.shape[1] * op.groups,
            w.shape[0],
            w.shape[2],
            stride=op.stride,
            dilation=op.dilation,
            groups=op.groups,
            bias=op.bias is not None,
            device="meta",
        )
        _weights(self, op)
        self.pads = op.padding

    def edge(self, x: Tensor, weight: Tensor) -> Tensor:
        """The sum of one edge, without bias."""
        x = functional.pad(x, self.pads)
        return functional.conv1d(
            x, weight, stride=self.stride, dilation=self.dilation, groups=self.groups
        )


class Conv2d(_Conv, nn.Conv2d):
    """A convolution of (N, C, H, W)."""

    def __init__(self, op: ops.Conv2d, in_shape: tuple[int, ...]) -> None:
        w = op.weight
        nn.Conv2d.__init__(
            self,
            w.shape[1] * op.groups,
            w.shape[0],
            (w.shape[2], w.shape[3]),
            stride=op.stride,
            dilation=op.dilation,
            groups=op.groups,
            bias=op.bias is not None,
            device="meta",
        )
        _weights(self, op)
        self.pads = (*op.padding[1], *op.padding[0])

    def edge(self, x: Tensor, weight: Tensor) -> Tensor:
        """The sum of one edge, without bias."""
        x = functional.pad(x, self.pads)
        return functional.conv2d(
            x, weight, stride=self.stride, dilation=self.dilation, groups=self.groups
        )


def _weights(module: Any, op: Any) -> None:
    module.weight = parameter(op.weight)
    module.bias = None if op.bias is None else parameter(op.bias)
    module.register_buffer("delay", None if op.delay is None else torch.tensor(op.delay))


class Delay(Delayed, nn.Module):
    """S2.19."""

    def __init__(self, op: ops.Delay, in_shape: tuple[int, ...]) -> None:
        nn.Module.__init__(self)
        self.register_buffer("delay", torch.tensor(op.delay))

    def forward(self, *arrivals: Tensor) -> Tensor:
        """(N, *shape), for every edge one for each of `lags`."""
        lags, delay = self.lags(), self.delay
        assert delay is not None
        steps = _per_channel(delay, arrivals[0])
        n = len(lags)
        edges = []
        for first in range(0, len(arrivals), n):
            kept = torch.zeros_like(arrivals[0])
            for lag, value in zip(lags, arrivals[first : first + n], strict=True):
                kept = torch.where(steps == lag, value, kept)
            edges.append(kept)
        return added(edges)


class Scale(nn.Module):
    """S2.15."""

    def __init__(self, op: ops.Scale, in_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.scale = parameter(op.scale)

    def forward(self, *arrivals: Tensor) -> Tensor:
        """(N, *shape) each."""
        return added(arrivals) * _per_channel(self.scale, arrivals[0])


class BatchNorm(nn.Module):
    """Evaluating: S2.13 and S2.14, with fixed statistics. Training (after `train()`): torch's
    batch normalisation of each step, which moves the statistics."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, op: ops.BatchNorm, in_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight, self.bias = parameter(op.weight), parameter(op.bias)
        self.register_buffer("running_mean", torch.tensor(op.running_mean))
        self.register_buffer("running_var", torch.tensor(op.running_var))
        self.eps = op.eps
        self.momentum = 0.1

    def forward(self, *arrivals: Tensor, folded: bool = False) -> Tensor:
        """(N, C, ...) each; `folded`: the layer before has done it."""
        x = added(arrivals)
        if folded:
            return x
        if self.training:
            return functional.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                training=True,
                momentum=self.momentum,
                eps=self.eps,
            )
        factor = self.factor()
        shift = self.bias.double() - self.running_mean.double() * factor
        return x * _per_channel(factor.to(x.dtype), x) + _per_channel(shift.to(x.dtype), x)

    def factor(self) -> Tensor:
        """s, float64."""
        return self.weight.double() / torch.sqrt(self.running_var.double() + self.eps)

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weight and bias of a layer with this directly after it (S2.13)."""
        factor = self.factor()
        before = torch.zeros_like(factor) if bias is None else bias.double()
        after = (before - self.running_mean.double()) * factor + self.bias.double()
        scaled = weight.double() * factor.reshape(-1, *(1,) * (weight.ndim - 1))
        return scaled.to(weight.dtype), after.to(weight.dtype)

    def extra_repr(self) -> str:
        """Its attributes."""
        return f"{self.weight.numel()}, eps={self.eps}"


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """One number, one a channel or one an element, to act on `x` (N, C, ...)."""
    if values.ndim == 1 and x.ndim > 2:
        return values.reshape(-1, *(1,) * (x.ndim - 2))
    return values


class Plain(nn.Module):
    """An operation without parameters: S2.5, S2.9, S2.16 to S2.18."""

    def __init__(self, op: Any, in_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.op = op

    def forward(self, *arrivals: Tensor) -> Tensor:
        """(N, *shape) each."""
        op, axes = self.op, arrivals[0].ndim - 1
        if isinstance(op, ops.Concat):
            return torch.cat(arrivals, 1 + op.axis % axes)
        x = added(arrivals)
        if isinstance(op, ops.Flatten):
            return x.flatten(1 + op.start_dim % axes, 1 + op.end_dim % axes)
        if isinstance(op, ops.Upsample):
            y, z = op.scale_factor
            return x.repeat_interleave(y, dim=2).repeat_interleave(z, dim=3)
        if isinstance(op, ops.AdaptiveAvgPool2d):
            return _adaptive(x, op.output_size)
        return x

    def extra_repr(self) -> str:
        """The operation."""
        return repr(self.op)


def _adaptive(x: Tensor, output_size: tuple[int, int]) -> Tensor:
    """S2.9. torch's own divides twice, by the rows and by the columns of a window."""
    rows, columns = (
        [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
        for n, m in zip(x.shape[2:], output_size, strict=True)
    )
    return torch.cat(
        [
            torch.cat([_mean(x[:, :, top:bottom, left:right]) for left, right in columns], 3)
            for top, bottom in rows
        ],
        2,
    )


def _mean(window: Tensor) -> Tensor:
    """(N, C, h, w) to (N, C, 1, 1): summed in ascending place, then divided once."""
    h, w = int(window.shape[2]), int(window.shape[3])
    return functional.avg_pool2d(window, (h, w), divisor_override=1) / float(h * w)


_ARRAYS = {"weight", "bias", "running_mean", "running_var", "scale", "delay"}

_MODULES: dict[type[Op], Any] = {
    ops.Linear: Linear,
    ops.Conv1d: Conv1d,
    ops.Conv2d: Conv2d,
    ops.Scale: Scale,
    ops.BatchNorm: BatchNorm,
    ops.Delay: Delay,
    **dict.fromkeys((ops.Flatten, ops.Concat, ops.Upsample, ops.Add, ops.AdaptiveAvgPool2d), Plain),
    **dict.fromkeys(
        (
            ops.SumPool1d,
            ops.SumPool2d,
            ops.AvgPool1d,
            ops.AvgPool2d,
            ops.SpikeMaxPool1d,
            ops.SpikeMaxPool2d,
            ops.CurrentMaxPool1d,
            ops.CurrentMaxPool2d,
        ),
        Pool,
    ),
    ops.RateMaxPool1d: RateMaxPool,
    ops.RateMaxPool2d: RateMaxPool,
}
