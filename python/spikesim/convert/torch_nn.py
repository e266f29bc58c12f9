"""torch.nn's layers, in their eval meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn
from torch.nn.parameter import is_lazy

from spikesim import ops
from spikesim.convert import functional, pooling
from spikesim.convert.build import Value, array
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker


def handler(module: nn.Module) -> Handler | None:
    """Reads torch.nn's own classes, and those derived from them that keep their forward."""
    found: Handler | None = reader(module)
    if found is not None and _own_forward(module):
        return found if isinstance(module, ANY_LEAD) else _per_image(found)
    if type(module).__module__.startswith(("torch.nn", "torch.ao.nn")):
        containers = nn.Sequential | nn.ModuleList | nn.ModuleDict
        return None if isinstance(module, containers) else unsupported
    return None


def step_mode(module: nn.Module) -> str | None:
    """torch.nn has no neurons."""
    return None


def reader(module: nn.Module) -> Any:
    """What reads a module of this class, whatever its forward."""
    for cls, read in READERS:
        if isinstance(module, cls):
            return read
    return None


def _per_image(read: Handler) -> Handler:
    """Layers that count their axes take (N, …): an axis more would be another meaning."""

    def handle(
        walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        check_one_step(walker, module, path, args, kwargs)
        return read(walker, module, path, args, kwargs)

    return handle


def check_one_step(
    walker: Walker, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Refuses a layer of images that is given all steps with an axis of their own."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Value) and walker.lead_of(value) == 2:
            raise UnsupportedError(
                f"{path}: {type(module).__name__} is given all steps at once, expected one step "
                "(N, …); wrap it in what runs it for each step, like SeqToANNContainer, Lift or "
                "Repeat"
            )


def _own_forward(module: nn.Module) -> bool:
    defined = next(cls for cls in type(module).__mro__ if "forward" in cls.__dict__)
    return defined.__module__.startswith("torch.nn")


def unsupported(
    walker: Walker, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    """Refuses a layer of torch.nn."""
    name = type(module).__name__
    if type(module).__module__ == "torch.nn.modules.activation":
        raise UnsupportedError(
            f"{path}: {name} is not supported, expected a neuron; {functional.NO_RELU}"
        )
    raise UnsupportedError(
        f"{path}: {name} is not supported, expected one of Linear, Conv1d, Conv2d, BatchNorm1d, "
        "BatchNorm2d, AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d, AdaptiveAvgPool2d, Flatten, "
        "Upsample, Dropout, Identity"
    )


def _weights(module: Any, path: str) -> tuple[Any, Any]:
    if is_lazy(module.weight):
        raise UnsupportedError(
            f"{path}: {type(module).__name__} has no weights yet, expected them; run the module "
            "on a batch first"
        )
    bias = None if module.bias is None else array(module.bias, path, "bias")
    return array(module.weight, path, "weight"), bias


def _linear(
    walker: Walker, module: nn.Linear, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    value = walker.single(path, args, kwargs)
    if len(value.shape) != 1:
        raise UnsupportedError(
            f"{path}: Linear acts on the last axis of {value.shape}, expected one axis; flatten "
            "before it"
        )
    weight, bias = _weights(module, path)
    return walker.builder.current(ops.Linear(weight, bias), path, value)


def convolution(module: Any, path: str, axes: int, op: Any) -> Any:
    """The operation of a convolution; `op` is its class for so many axes."""
    if module.padding_mode != "zeros":
        raise UnsupportedError(
            f'{path}: padding_mode "{module.padding_mode}" is not supported; use "zeros"'
        )
    weight, bias = _weights(module, path)
    padding = module.padding
    return op(
        weight,
        bias,
        stride=pooling.extent(module.stride, axes),
        padding=padding if isinstance(padding, str) else pooling.extent(padding, axes),
        dilation=pooling.extent(module.dilation, axes),
        groups=module.groups,
    )


def _conv(axes: int, op: Any) -> Handler:
    def read(
        walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Value:
        value = walker.single(path, args, kwargs)
        return walker.builder.current(convolution(module, path, axes, op), path, value)

    return read


def _batch_norm(axes: int) -> Handler:
    def read(
        walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Value:
        value = walker.single(path, args, kwargs)
        if module.running_mean is None or module.running_var is None:
            raise UnsupportedError(
                f"{path}: track_running_stats=False has no fixed statistics, expected running "
                "ones; train with track_running_stats=True"
            )
        expected = (1, 2) if axes == 1 else (3,)
        if len(value.shape) not in expected:
            raise UnsupportedError(
                f"{path}: input has shape {value.shape}, expected {expected[0]} axes for "
                f"{type(module).__name__}"
            )
        count = module.running_mean.numel()
        weight = np.ones(count, np.float32)
        bias = np.zeros(count, np.float32)
        if module.weight is not None:
            weight = array(module.weight, path, "weight")
        if module.bias is not None:
            bias = array(module.bias, path, "bias")
        norm = ops.BatchNorm(
            weight,
            bias,
            array(module.running_mean, path, "running_mean"),
            array(module.running_var, path, "running_var"),
            eps=float(module.eps),
        )
        return walker.builder.current(norm, path, value)

    return read


def _pool(read: Any, *options: str) -> Handler:
    def handle(
        walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Value:
        value = walker.single(path, args, kwargs)
        given = {option: getattr(module, option) for option in options}
        out: Value = read(walker.builder, path, value, **given)
        return out

    return handle


def _flatten(
    walker: Walker, module: nn.Flatten, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    value = walker.single(path, args, kwargs)
    call = functional.Call(walker, path, (), {})
    return functional.flatten(call, value, module.start_dim, module.end_dim)


def _same(
    walker: Walker, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    return walker.single(path, args, kwargs)


# Layers that act on the last axis, or on the axes that they name.
ANY_LEAD = (
    nn.Linear,
    nn.Flatten,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.AlphaDropout,
    nn.Identity,
)

_AVG = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
_MAX = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")

READERS: tuple[tuple[Any, Any], ...] = (
    (nn.Linear, _linear),
    (nn.Conv1d, _conv(1, ops.Conv1d)),
    (nn.Conv2d, _conv(2, ops.Conv2d)),
    (nn.BatchNorm1d, _batch_norm(1)),
    (nn.BatchNorm2d, _batch_norm(2)),
    (nn.AvgPool1d, _pool(pooling.avg_1d, *_AVG)),
    (nn.AvgPool2d, _pool(pooling.avg_2d, *_AVG, "divisor_override")),
    (nn.MaxPool1d, _pool(pooling.max_1d, *_MAX)),
    (nn.MaxPool2d, _pool(pooling.max_2d, *_MAX)),
    (nn.AdaptiveAvgPool2d, _pool(pooling.adaptive_avg_2d, "output_size")),
    (nn.Upsample, _pool(pooling.upsample, "size", "scale_factor", "mode")),
    (nn.Flatten, _flatten),
    ((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.Identity), _same),
)
