"""SpikingJelly's layers and containers.

Most are torch.nn's with a step mode: in "m" they act on each step of a sequence by itself.
"""

from __future__ import annotations

import inspect
import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx, nn

from spikesim import ops
from spikesim.convert import layers as sums
from spikesim.convert import torch_nn
from spikesim.convert.build import Kind, Value, array
from spikesim.convert.plain import check_plain
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def _per_step(read: Handler) -> Handler:
    """In mode "m" a layer of the library acts on each step by itself."""

    def handle(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Any:
        if module.step_mode == "m":
            walker = walker.per_step(path)
        return read(walker, module, path, args, kwargs)

    return handle


def _like_torch(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Any:
    return torch_nn.reader(module)(walker, module, path, args, kwargs)


def _threshold_norm(like: nn.Module) -> Handler:
    """A BatchNorm whose weight begins at alpha·v_th; in eval mode it is a BatchNorm."""
    read: Handler = torch_nn.reader(like)
    return _per_step(read)


def _same(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Value:
    return walker.single(path, args, kwargs)


def _container(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Any:
    from spikingjelly.activation_based import layer

    if isinstance(module, layer.StepModeContainer):
        mode, stateful = module.step_mode, module.stateful
    else:
        mode, stateful = "m", isinstance(module, layer.MultiStepContainer)
    if mode == "m":
        walker = walker.per_step(path)
        if not stateful:
            walker.refuse_neurons(module, path)
    return walker.sequence(module, path, walker.single(path, args, kwargs))


def _standardised(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Value:
    """A layer whose weight is standardised in each call: the same in all of them."""
    weight, bias = module.get_weight().detach(), module.bias
    if isinstance(module, nn.Linear):
        value = walker.single(path, args, kwargs)
        return sums.linear(walker.builder, path, value, weight, bias)
    if module.padding_mode != "zeros":
        raise UnsupportedError(
            f'{path}: padding_mode "{module.padding_mode}" is not supported; use "zeros"'
        )
    return sums.convolution(
        2,
        walker.builder,
        path,
        walker.padded(path, args, kwargs),
        weight,
        bias,
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        groups=module.groups,
    )


def _voting(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Value:
    """The mean over groups of `voting_size` neighbours; what is left over at the end is lost."""
    value = walker.single(path, args, kwargs)
    size = module.voting_size
    if len(value.shape) != 1 or value.shape[0] < size:
        raise UnsupportedError(
            f"{path}: input has shape {value.shape}, expected one axis of at least {size}"
        )
    groups = value.shape[0] // size
    weight = np.zeros((groups, value.shape[0]), np.float32)
    for group in range(groups):
        weight[group, group * size : (group + 1) * size] = 1 / size
    return walker.builder.current(ops.Linear(weight), path, value)


def _delay(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Value:
    value = walker.single(path, args, kwargs)
    steps = int(module.delay_steps)
    return walker.builder.delayed(path, value, steps) if steps else value


def _inner(walker: Walker, module: Any, path: str, value: Value) -> Value:
    """What a recurrent container makes of a step."""
    out = walker.module(module.sub_module, f"{path}.sub_module", (value,), {})
    if isinstance(out, Value):
        return out
    raise UnsupportedError(f"{path}.sub_module: gives more than one value, expected its output")


def _recurrent_sum(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Value:
    """y = sub_module(x + y), y of the step before and 0 before the first."""
    value = walker.single(path, args, kwargs)
    if not _adds(module.element_wise_function):
        raise UnsupportedError(
            f"{path}: element_wise_function is not the sum of its two arguments, expected "
            "lambda x, y: x + y"
        )
    builder = walker.builder
    total = builder.add(
        ops.Add(), f"{path}.sum", value, kind=max(value.kind, Kind.SPIKES), signed=True
    )
    out = _inner(walker, module, path, total)
    builder.net.connect(out.name, total.name, 1)
    return out


def _adds(function: Any) -> bool:
    """Whether a function of two arguments is their sum, found by tracing it."""
    sums = (operator.add, torch.add)
    if function in sums:
        return True
    if not inspect.isfunction(function):
        return False
    try:
        nodes = list(fx.Tracer().trace(function).nodes)
    except Exception:
        return False
    *given, call, out = nodes
    return (
        len(given) == 2
        and all(node.op == "placeholder" for node in given)
        and call.target in (*sums, "add")
        and set(call.args) == set(given)
        and not call.kwargs
        and out.args == (call,)
    )


def _recurrent_linear(walker: Walker, module: Any, path: str, args: Args, kwargs: Kwargs) -> Value:
    """y = sub_module(rc(x joined with y)), y of the step before and 0 before the first."""
    value = walker.single(path, args, kwargs)
    layer, builder = module.rc, walker.builder
    check_plain(layer, f"{path}.rc", leaf=True)
    if type(layer) is not nn.Linear or len(value.shape) != 1:
        raise UnsupportedError(
            f"{path}: rc is a {type(layer).__name__} on {value.shape}, expected a Linear on one "
            "axis"
        )
    weight = array(layer.weight, path, "weight")
    bias = None if layer.bias is None else array(layer.bias, path, "bias")
    own, heard = weight[:, : value.shape[0]], weight[:, value.shape[0] :]
    current = builder.current(ops.Linear(own, bias), f"{path}.rc", value)
    total = builder.add(ops.Add(), f"{path}.sum", current)
    out = _inner(walker, module, path, total)
    builder.recurrent(out, ops.Linear(heard), f"{path}.rc_y", into=total)
    return out


READERS: dict[str, Handler] = {
    # Weights that are computed come before the classes that they derive from.
    "WSConv2d": _per_step(_standardised),
    "WSLinear": _standardised,
    **dict.fromkeys(
        (
            "Linear",
            "Conv1d",
            "Conv2d",
            "BatchNorm1d",
            "BatchNorm2d",
            "AvgPool1d",
            "AvgPool2d",
            "MaxPool1d",
            "MaxPool2d",
            "AdaptiveAvgPool2d",
            "Flatten",
            "Upsample",
        ),
        _per_step(_like_torch),
    ),
    "ThresholdDependentBatchNorm1d": _threshold_norm(nn.BatchNorm1d(1)),
    "ThresholdDependentBatchNorm2d": _threshold_norm(nn.BatchNorm2d(1)),
    "Dropout": _same,
    "Dropout2d": _same,
    "PrintShapeModule": _same,
    "VotingLayer": _per_step(_voting),
    "Delay": _per_step(_delay),
    "SeqToANNContainer": _container,
    "MultiStepContainer": _container,
    "StepModeContainer": _container,
    "ElementWiseRecurrentContainer": _per_step(_recurrent_sum),
    "LinearRecurrentContainer": _per_step(_recurrent_linear),
}
