"""torch.nn's layers, in their eval meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.parameter import is_lazy

from spikesim.convert import functional, layers, pooling, reshape
from spikesim.convert.symbols import Padded, Value
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker

# torch.nn modules that only hold or chain others: not leaves.
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def handler(module: nn.Module) -> Handler | None:
    """Reads torch.nn's own classes, and those derived from them that keep their forward."""
    found: Handler | None = reader(module)
    if found is not None and _own_forward(module):
        return found if isinstance(module, ANY_LEAD) else _per_image(found)
    if isinstance(module, WRAPPERS):
        return None
    if type(module).__module__.startswith(("torch.nn", "torch.ao.nn")):
        return None if isinstance(module, CONTAINERS) else unsupported
    return None


def step_mode(module: nn.Module) -> str | None:
    """torch.nn has no neurons."""
    return None


def reader(module: nn.Module) -> Any:
    """What reads a module of this class, whatever its forward."""
    if type(module).__module__.startswith("torch.ao.nn"):
        # Quantised layers derive from plain ones.
        return None
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
    for item in (*args, *kwargs.values()):
        value = item.value if isinstance(item, Padded) else item
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
    """Refuses a layer of torch.nn; where an ANN is read, notes its activations."""
    name = type(module).__name__
    found = walker.builder.activations
    if found is not None:
        made = found.module(walker.builder, module, path, walker.single(path, args, kwargs))
        if made is not None:
            return made
    if isinstance(module, nn.Softmax | nn.LogSoftmax | nn.Softmin | nn.Softmax2d):
        raise UnsupportedError(
            f"{path}: {name} is not supported, expected the layer before it as the last; "
            f"{functional.NO_SOFTMAX}"
        )
    if type(module).__module__ == "torch.nn.modules.activation":
        raise UnsupportedError(
            f"{path}: {name} is not supported, expected a neuron; {functional.NO_RELU}"
        )
    if type(module).__module__.startswith("torch.ao.nn"):
        raise UnsupportedError(
            f"{path}: {name} is quantised, expected weights in floating point; load the network "
            "as it was before quantisation"
        )
    if isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.modules.instancenorm._InstanceNorm):
        raise UnsupportedError(
            f"{path}: {name} takes the statistics of each sample, expected fixed ones; use "
            "BatchNorm"
        )
    raise UnsupportedError(
        f"{path}: {name} is not supported, expected one of Linear, Conv1d, Conv2d, BatchNorm1d, "
        "BatchNorm2d, pools (average, maximum, adaptive), ZeroPad, Flatten, Upsample, Dropout, "
        "Identity"
    )


def _check_weights(module: Any, path: str) -> None:
    if is_lazy(module.weight):
        raise UnsupportedError(
            f"{path}: {type(module).__name__} has no weights yet, expected them; run the module "
            "on a batch first"
        )


def _linear(
    walker: Walker, module: nn.Linear, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    value = walker.single(path, args, kwargs)
    _check_weights(module, path)
    return layers.linear(walker.builder, path, value, module.weight, module.bias)


def convolution(module: Any, path: str, axes: int) -> Any:
    """The operation of a convolution module."""
    return layers.conv_op(axes, path, module.weight, module.bias, **_conv_options(module, path))


def _conv_options(module: Any, path: str) -> dict[str, Any]:
    if module.padding_mode != "zeros":
        raise UnsupportedError(
            f'{path}: padding_mode "{module.padding_mode}" is not supported; use "zeros"'
        )
    _check_weights(module, path)
    return {name: getattr(module, name) for name in ("stride", "padding", "dilation", "groups")}


def _conv(axes: int) -> Handler:
    def read(
        walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Value:
        value = walker.padded(path, args, kwargs)
        options = _conv_options(module, path)
        weight, bias = module.weight, module.bias
        return layers.convolution(axes, walker.builder, path, value, weight, bias, **options)

    return read


def _batch_norm(ranks: tuple[int, ...]) -> Handler:
    def read(
        walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Value:
        value = walker.single(path, args, kwargs)
        if module.running_mean is None or module.running_var is None:
            raise UnsupportedError(
                f"{path}: track_running_stats=False has no fixed statistics, expected running "
                "ones; train with track_running_stats=True"
            )
        if is_lazy(module.running_mean):
            raise UnsupportedError(
                f"{path}: {type(module).__name__} has no statistics yet, expected them; run the "
                "module on a batch first"
            )
        if len(value.shape) not in ranks:
            raise UnsupportedError(
                f"{path}: input has shape {value.shape}, expected {ranks[0]} axes for "
                f"{type(module).__name__}"
            )
        return layers.batch_norm(
            walker.builder,
            path,
            value,
            module.running_mean,
            module.running_var,
            module.weight,
            module.bias,
            module.eps,
        )

    return read


def _pool(read: Any, *options: str, pads: bool = False) -> Handler:
    def handle(
        walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Value:
        value = (walker.padded if pads else walker.single)(path, args, kwargs)
        given = {option: getattr(module, option) for option in options}
        out: Value = read(walker.builder, path, value, **given)
        return out

    return handle


def _pad(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value | Padded:
    value = walker.padded(path, args, kwargs)
    return layers.padded(path, value, module.padding, "constant", module.value)


def _flatten(
    walker: Walker, module: nn.Flatten, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    value = walker.single(path, args, kwargs)
    call = functional.Call(walker, path, (), {})
    return reshape.flattened(call, value, module.start_dim, module.end_dim)


def _unflatten(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    value = walker.single(path, args, kwargs)
    call = functional.Call(walker, path, (), {})
    return reshape.unflattened(call, value, module.dim, module.unflattened_size)


def _same(
    walker: Walker, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value | Padded:
    return walker.padded(path, args, kwargs)


# Layers that act on the last axis, or on the axes that they name.
ANY_LEAD = (
    nn.Linear,
    nn.Flatten,
    nn.Unflatten,
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
    *(nn.FeatureAlphaDropout, nn.Identity),
)

_AVG = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
_MAX = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_ADAPTIVE_MAX = ("output_size", "return_indices")

READERS: tuple[tuple[Any, Any], ...] = (
    (nn.Linear, _linear),
    (nn.Conv1d, _conv(1)),
    (nn.Conv2d, _conv(2)),
    ((nn.BatchNorm1d, nn.LazyBatchNorm1d), _batch_norm((1, 2))),
    ((nn.BatchNorm2d, nn.LazyBatchNorm2d), _batch_norm((3,))),
    (nn.SyncBatchNorm, _batch_norm((1, 2, 3))),
    (nn.AvgPool1d, _pool(pooling.avg_1d, *_AVG, pads=True)),
    (nn.AvgPool2d, _pool(pooling.avg_2d, *_AVG, "divisor_override", pads=True)),
    (nn.MaxPool1d, _pool(pooling.max_1d, *_MAX, pads=True)),
    (nn.MaxPool2d, _pool(pooling.max_2d, *_MAX, pads=True)),
    (nn.AdaptiveAvgPool1d, _pool(pooling.adaptive_avg_1d, "output_size")),
    (nn.AdaptiveAvgPool2d, _pool(pooling.adaptive_avg_2d, "output_size")),
    (nn.AdaptiveMaxPool1d, _pool(pooling.adaptive_max(1), *_ADAPTIVE_MAX)),
    (nn.AdaptiveMaxPool2d, _pool(pooling.adaptive_max(2), *_ADAPTIVE_MAX)),
    (nn.Upsample, _pool(pooling.upsample, "size", "scale_factor", "mode")),
    ((nn.ConstantPad1d, nn.ConstantPad2d), _pad),
    (nn.Flatten, _flatten),
    (nn.Unflatten, _unflatten),
    (
        (
            *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
            *(nn.FeatureAlphaDropout, nn.Identity),
        ),
        _same,
    ),
)
