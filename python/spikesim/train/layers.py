"""The nodes of a network as torch modules: each takes the values of its edges, in their order.

Layers with weights are torch's own classes (`torch.nn.Linear`, `Conv1d`, `Conv2d`) with a
forward that sums several edges. Values are (N, *shape).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikesim import ops
from spikesim.errors import GraphError, UnsupportedError
from spikesim.ops import Op


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


def added(arrivals: Sequence[Tensor]) -> Tensor:
    """S2.5: in the order of the edges."""
    return reduce(torch.add, arrivals)


class Delayed:
    """What has a delay for each element or synapse: it reads each edge at several steps."""

    delay: Tensor | None

    def lags(self) -> tuple[int, ...]:
        """How many steps ago each edge is read, the longest first: the delays that occur.

        They are looked up again when the tensor is another one or has changed.
        """
        delay = self.delay
        if delay is None:
            return (0,)
        known = self.__dict__.get("_lags")
        if known is None or known[0] is not delay or known[1] != delay._version:
            found = sorted({float(d) for d in delay.flatten().tolist()}, reverse=True)
            if not all(d >= 0 and d == int(d) for d in found):
                raise GraphError(f"delay has {found}, expected whole numbers of steps")
            known = (delay, delay._version, tuple(int(d) for d in found))
            self.__dict__["_lags"] = known
        lags: tuple[int, ...] = known[2]
        return lags


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
