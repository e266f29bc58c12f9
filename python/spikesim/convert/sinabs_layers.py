"""Sinabs' layers without spikes, its layouts, and the way back of recurrent layers.

Neurons take (N, T, …), or (N·T, …) where they squeeze, so that layers of torch.nn for images can
stand between them; FlattenTime, UnflattenTime and Repeat lead from one to the other.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from spikesim import ops
from spikesim.convert import pooling, registry, torch_nn
from spikesim.convert.build import Value, array
from spikesim.convert.plain import check_hooks
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker


def handler(module: nn.Module) -> Handler | None:
    """Reads the classes of READERS, and those derived from them that keep their forward."""
    for base in type(module).__mro__:
        if base.__module__.startswith("sinabs."):
            read = READERS.get(base.__name__)
            if read is None:
                return _unsupported
            return read if type(module).forward is base.forward else None  # type: ignore[attr-defined]
    return None


def step_mode(module: nn.Module) -> str | None:
    """What a module that changes the layout takes."""
    read = handler(module)
    if read in (_flatten_time, _repeat):
        return "nt"
    return "n*t" if read is _unflatten_time else None


def check_layout(walker: Walker, module: Any, path: str, value: Value) -> None:
    """The input of a neuron must have time and batch as its class takes them."""
    mode = registry.step_mode(module)
    squeezed = mode == "n*t"
    if walker.lead_of(value) != (1 if squeezed else 2):
        takes, given = ("n*t", "nt") if squeezed else ("nt", "n*t")
        raise UnsupportedError(
            f"{path}: {type(module).__name__} takes {registry.LAYOUTS[takes]} and is given "
            f"{registry.LAYOUTS[given]}, expected them alike; put FlattenTime or UnflattenTime "
            "before it"
        )
    if squeezed:
        # Layers that divide N·T differently would take one sample's steps for another's.
        for size in ("batch_size", "num_timesteps"):
            if getattr(module, size) != -1:
                walker.builder.agree(size, int(getattr(module, size)), path)


def connect_back(walker: Walker, module: nn.Module, path: str, out: Value) -> None:
    """Feeds a population back through its rec_connect, a step later."""
    for name, child in module.named_modules():
        if registry.step_mode(child) is not None:
            where = f"{path}.rec_connect{'.' if name else ''}{name}"
            raise UnsupportedError(
                f"{where}: {type(child).__name__} stands in a rec_connect, expected layers without "
                "state"
            )
    # It sees one step of all samples, (N, …).
    one = replace(out, lead=None)
    flat = _linear_over_map(module, one)
    inside = walker.of_one_step()
    if flat is None:
        back = inside.module(module, f"{path}.rec_connect", (one,), {})
    else:
        back = _spread(walker, f"{path}.rec_connect", flat, one)
    if not isinstance(back, Value) or back.shape != out.shape:
        got = back.shape if isinstance(back, Value) else type(back).__name__
        raise UnsupportedError(
            f"{path}.rec_connect: gives {got} to a population of shape {out.shape}, expected that "
            "shape; only Flatten, Linear and Unflatten may change it on the way"
        )
    walker.builder.net.connect(back.name, out.name, 1)


def _linear_over_map(module: nn.Module, value: Value) -> nn.Linear | None:
    """The Linear of Flatten, Linear and maybe Unflatten around a population with several axes."""
    parts = list(module) if type(module) is nn.Sequential else []
    if len(value.shape) == 1 or len(parts) not in (2, 3):
        return None
    flatten, linear, *rest = parts
    if type(flatten) is not nn.Flatten or (flatten.start_dim, flatten.end_dim) != (1, -1):
        return None
    if type(linear) is not nn.Linear:
        return None
    whole = tuple(value.shape)
    if rest and not (
        type(rest[0]) is nn.Unflatten
        and rest[0].dim in (1, -1)
        and tuple(rest[0].unflattened_size) == whole
    ):
        return None
    return linear


def _spread(walker: Walker, path: str, linear: nn.Linear, value: Value) -> Value:
    """A Linear from a whole (C, H, W) or (C, L) to a whole one.

    Each place of the output is a convolution whose window is the whole input; the places are
    joined. It takes the same spikes through the same weights.
    """
    check_hooks(linear, path)
    builder = walker.builder
    shape = value.shape
    count = math.prod(shape)
    if (linear.in_features, linear.out_features) != (count, count):
        raise UnsupportedError(
            f"{path}: Linear has {linear.in_features} inputs and {linear.out_features} outputs, "
            f"expected {count} of both for a population of shape {shape}"
        )
    weight = array(linear.weight, path, "weight").reshape(*shape, *shape)
    bias = None if linear.bias is None else array(linear.bias, path, "bias").reshape(shape)
    conv = ops.Conv2d if len(shape) == 3 else ops.Conv1d

    def joined(places: tuple[int, ...]) -> Value:
        axis = len(places) + 1
        if axis == len(shape):
            at: Any = (slice(None), *places)
            own = None if bias is None else bias[at]
            name = ".".join([path, *map(str, places)])
            return builder.current(conv(weight[at], own), name, value)
        parts = [joined((*places, place)) for place in range(shape[axis])]
        if len(parts) == 1:
            return parts[0]
        name = ".".join([path, *map(str, places), "cat"])
        return builder.add(ops.Concat(axis=axis), name, *parts)

    return joined(())


# Layers


def _sum_pool(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    torch_nn.check_one_step(walker, module, path, args, kwargs)
    value = walker.single(path, args, kwargs)
    pooling.check_rank(path, value, 2)
    kernel = _pair(module.kernel_size)
    stride = kernel if module.stride is None else _pair(module.stride)
    places = zip(value.shape[1:], kernel, stride, strict=True)
    if module.ceil_mode and any((size - k) % s for size, k, s in places):
        raise UnsupportedError(
            f"{path}: ceil_mode adds windows that are cut off, expected none; Sinabs gives such a "
            "window its mean times the whole window's size"
        )
    pool = ops.SumPool2d(pooling.extent(kernel, 2), stride=pooling.extent(stride, 2))
    return walker.builder.add(pool, path, value)


def _pair(size: Any) -> tuple[int, int]:
    rows, columns = size if isinstance(size, tuple | list) else (size, size)
    return int(rows), int(columns)


def _merge(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    values = [*args, *kwargs.values()]
    if len(values) != 2 or not all(isinstance(item, Value) for item in values):
        raise UnsupportedError(f"{path}: the call is not (data1, data2), expected two outputs")
    first, second = values
    if first.shape != second.shape:
        raise UnsupportedError(
            f"{path}: Merge pads {first.shape} and {second.shape} to one size, expected equal ones"
        )
    if first.name == second.name:
        raise UnsupportedError(
            f"{path}: Merge adds a value to itself, expected two; double the weights instead"
        )
    return walker.builder.add(ops.Add(), path, first, second)


def _crop(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    torch_nn.check_one_step(walker, module, path, args, kwargs)
    value = walker.single(path, args, kwargs)
    if any((module.top_crop, module.bottom_crop, module.left_crop, module.right_crop)):
        raise UnsupportedError(
            f"{path}: Cropping2dLayer cuts places off, expected none; crop the input, or make the "
            "layer before it give what is left"
        )
    return value


def _shift(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    value = walker.single(path, args, kwargs)
    if module.channel_shift:
        raise UnsupportedError(
            f"{path}: ChannelShift moves the channels by {module.channel_shift}, expected 0; move "
            "the weights that follow instead"
        )
    return value


def _quantize(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    value = walker.single(path, args, kwargs)
    if module.quantize:
        raise UnsupportedError(
            f"{path}: QuantizeLayer rounds its input down, expected quantize=False; leave it away "
            "where the input are spikes"
        )
    return value


def _flatten_time(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    value = walker.single(path, args, kwargs)
    _check_lead(walker, module, path, value, 2)
    return replace(value, lead=1, merged=True)


def _unflatten_time(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    value = walker.single(path, args, kwargs)
    _check_lead(walker, module, path, value, 1)
    walker.builder.agree("batch_size", int(module.batch_size), path)
    return replace(value, lead=2, merged=False)


def _check_lead(walker: Walker, module: Any, path: str, value: Value, lead: int) -> None:
    if walker.lead_of(value) != lead:
        takes, given = ("nt", "n*t") if lead == 2 else ("n*t", "nt")
        raise UnsupportedError(
            f"{path}: {type(module).__name__} is given {registry.LAYOUTS[given]}, expected "
            f"{registry.LAYOUTS[takes]}"
        )


def _repeat(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    value = walker.single(path, args, kwargs)
    _check_lead(walker, module, path, value, 2)
    inside = walker.per_step(path)
    name = walker.inside(module, path, "module")
    out = inside.module(module.module, name, (replace(value, lead=None),), {})
    return replace(out, lead=value.lead) if isinstance(out, Value) else out


def _network(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    if module.spiking_model is None:
        raise UnsupportedError(f"{path}: Network has no spiking_model, expected one")
    name = walker.inside(module, path, "spiking_model")
    return walker.module(module.spiking_model, name, args, kwargs)


def _unsupported(
    walker: Walker, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    name = type(module).__name__
    advice = {
        "NeuromorphicReLU": "; convert the model with sinabs.from_torch.from_model first",
        "SpikingMaxPooling2dLayer": "; use SumPool2d or nn.MaxPool2d",
    }
    raise UnsupportedError(
        f"{path}: Sinabs' {name} is not supported, expected a neuron of Sinabs or one of "
        f"{', '.join(READERS)}{advice.get(name, '')}"
    )


READERS: dict[str, Any] = {
    "SumPool2d": _sum_pool,
    "Merge": _merge,
    "Cropping2dLayer": _crop,
    "ChannelShift": _shift,
    "QuantizeLayer": _quantize,
    "FlattenTime": _flatten_time,
    "UnflattenTime": _unflatten_time,
    "Repeat": _repeat,
    "Network": _network,
}
