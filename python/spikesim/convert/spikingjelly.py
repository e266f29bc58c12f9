"""SpikingJelly's IFNode and LIFNode, its layers and containers (checked against 2.0).

A call is, with r = v_reset (0 for the soft reset, `v_reset=None`)::

    IFNode                       h = v + x
    LIFNode(decay_input=True)    h = v + (x - (v - r)) / tau
    LIFNode(decay_input=False)   h = v - (v - r) / tau + x

then it fires where h >= v_threshold and, in the same step, v is v_reset or h - v_threshold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from spikesim.convert import torch_nn
from spikesim.convert.build import Value, array
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker

# Layers that are torch.nn's in eval mode, with a step mode.
LAYERS = (
    "Linear",
    "Conv1d",
    "Conv2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "ThresholdDependentBatchNorm1d",
    "ThresholdDependentBatchNorm2d",
    "AvgPool1d",
    "AvgPool2d",
    "MaxPool1d",
    "MaxPool2d",
    "AdaptiveAvgPool2d",
    "Flatten",
    "Upsample",
)


def handler(module: nn.Module) -> Handler | None:
    """Reads neurons and containers; its stateless layers are torch.nn's in both step modes."""
    from spikingjelly.activation_based import base, layer, neuron

    cls = type(module)
    if isinstance(module, neuron.BaseNode | neuron.SimpleBaseNode):
        for known, read in ((neuron.IFNode, _if), (neuron.LIFNode, _lif)):
            if isinstance(module, known) and _same_step(cls, known):
                return read
        return _unsupported_neuron
    if isinstance(module, layer.Dropout | layer.Dropout2d):
        return _dropout
    for known in (layer.SeqToANNContainer, layer.MultiStepContainer, layer.StepModeContainer):
        if isinstance(module, known):
            return _container if cls.forward is known.forward else _unsupported_layer
    for known in (getattr(layer, name) for name in LAYERS):
        if isinstance(module, known) and cls.forward is known.forward:
            return _per_step(torch_nn.reader(module))
    if isinstance(module, base.MemoryModule) or cls.__module__.startswith(layer.__name__):
        return _unsupported_layer
    return None


def step_mode(module: nn.Module) -> str | None:
    """The mode of a neuron or a container; None for its stateless layers."""
    from spikingjelly.activation_based import base, layer, neuron

    if isinstance(module, layer.SeqToANNContainer | layer.MultiStepContainer):
        return "m"
    nodes = neuron.BaseNode | neuron.SimpleBaseNode | base.MemoryModule | layer.StepModeContainer
    if isinstance(module, nodes):
        return str(module.step_mode)
    return None


def _same_step(cls: type, known: type) -> bool:
    methods = (
        "forward",
        "single_step_forward",
        "multi_step_forward",
        "single_step_functional_forward",
        "multi_step_functional_forward",
    )
    return all(getattr(cls, method) is getattr(known, method) for method in methods)


def _if(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    meta = {"library": "spikingjelly", "cell": "IFNode"}
    return _spiking(walker, module, path, args, kwargs, "IF", {}, meta)


def _lif(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    tau = _number(module.tau, path, "tau")
    if not tau > 1.0:
        raise UnsupportedError(f"{path}: tau is {tau}, expected more than 1")
    leak = 0.0 if module.v_reset is None else _number(module.v_reset, path, "v_reset")
    parameters = {
        "alpha_mem": 1.0 - 1.0 / tau,
        "gain": 1.0 / tau if module.decay_input else 1.0,
        "v_leak": leak,
    }
    meta = {
        "library": "spikingjelly",
        "cell": "LIFNode",
        "tau": tau,
        "decay_input": bool(module.decay_input),
        "discretisation": "euler",
    }
    return _spiking(walker, module, path, args, kwargs, "LIF", parameters, meta)


def _spiking(
    walker: Walker,
    module: Any,
    path: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    model: Literal["IF", "LIF"],
    parameters: dict[str, float],
    meta: dict[str, Any],
) -> Value:
    if not getattr(module.surrogate_function, "spiking", True):
        raise UnsupportedError(
            f"{path}: surrogate_function has spiking=False, expected spikes; set spiking=True"
        )
    value = walker.single(path, args, kwargs)
    numbers = dict(parameters)
    numbers["v_threshold"] = _number(module.v_threshold, path, "v_threshold")
    rules = {"fires": ">=", "reset": "subtract"}
    if module.v_reset is not None:
        v_reset = _number(module.v_reset, path, "v_reset")
        numbers |= {"v_reset": v_reset, "v0": v_reset}
        rules["reset"] = "to_value"
    # Computed in double precision, rounded once.
    rounded = {field: array(number, path, field) for field, number in numbers.items()}
    return walker.builder.neuron(model, path, value, rounded, rules, meta)


def _number(value: Any, path: str, what: str) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value.detach())
    if isinstance(value, int | float):
        return float(value)
    raise UnsupportedError(f"{path}: {what} is a {type(value).__name__}, expected one number")


def _per_step(read: Handler) -> Handler:
    """In mode "m" a layer of the library acts on each step by itself."""

    def handle(
        walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if module.step_mode == "m":
            walker = walker.per_step(path)
        return read(walker, module, path, args, kwargs)

    return handle


def _container(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
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


def _dropout(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    return walker.single(path, args, kwargs)


def _unsupported_neuron(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    raise UnsupportedError(
        f"{path}: SpikingJelly's {type(module).__name__} is not supported, expected IFNode or "
        "LIFNode; build the population by hand with ss.Neuron"
    )


def _unsupported_layer(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    raise UnsupportedError(
        f"{path}: SpikingJelly's {type(module).__name__} is not supported; use layers that "
        "torch.nn has too, and the containers SeqToANN, MultiStep and StepMode"
    )
