"""spikesim.train's neurons, and whole networks that `to_torch` made."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from spikesim.convert.build import Value, array
from spikesim.convert.plain import check_plain
from spikesim.errors import ShapeError, UnsupportedError
from spikesim.network import Network
from spikesim.ops.neurons import Model
from spikesim.train.network import TorchNetwork, settings
from spikesim.train.neurons import LIF, Neuron, SpikingModule
from spikesim.train.weights import with_weights

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker


def handler(module: nn.Module) -> Handler | None:
    """Reads IF, LIF and Neuron, and classes of their own making that keep their step."""
    if isinstance(module, TorchNetwork):
        return _network_inside
    if isinstance(module, SpikingModule):
        return _neuron
    if type(module).__name__ == "QCFS":
        return _activation
    return None


def step_mode(module: nn.Module) -> str | None:
    """The mode of a neuron."""
    return module.step_mode if isinstance(module, SpikingModule) else None


def network(
    module: TorchNetwork, input_shape: tuple[int, ...], *, dt: float | None, readout: str | None
) -> Network:
    """The network of a module that `to_torch` made, with the weights that it has now.

    `dt` and `readout` are those of the network that it was made of unless they are given.

    Raises:
        UnsupportedError: a node's module that is no longer what it was made as, or has hooks.
        ShapeError: `input_shape` is another one.
        GraphError: weights that no network may have.
    """
    if input_shape != module.input_shape:
        raise ShapeError(
            f"from_torch: input_shape is {input_shape}, expected {module.input_shape} as the "
            "network of to_torch has"
        )
    check_plain(module, type(module).__name__, leaf=True)
    for name, part in module.modules_by_node().items():
        check_plain(part, name, leaf=True)
        if settings(part) != module.made[name]:
            raise UnsupportedError(
                f"{name}: the module is {part!r}, expected {type(part).__name__} as to_torch made "
                "it, with other weights at most; change the network instead"
            )
    net = with_weights(module.network, module.state_dict())
    if dt is not None:
        net.dt = dt
    if readout is not None:
        net.readout = readout
        net.validate()
    return net


def _network_inside(
    walker: Walker, module: TorchNetwork, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    raise UnsupportedError(
        f"{path}: TorchNetwork runs over time inside a module that computes one step, expected it "
        "by itself; give from_torch the TorchNetwork"
    )


def _activation(
    walker: Walker, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    value, found = walker.single(path, args, kwargs), walker.builder.activations
    made = None if found is None else found.module(walker.builder, module, path, value)
    if made is None:
        raise UnsupportedError(
            f"{path}: QCFS is an activation of an ANN, expected a neuron; make a spiking network "
            "of it with spikesim.convert"
        )
    return made


def _neuron(
    walker: Walker, module: SpikingModule, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    cls = type(module)
    for method in ("forward", "step", "_step"):
        if getattr(cls, method) is not getattr(SpikingModule, method):
            raise UnsupportedError(
                f"{path}: {cls.__name__} changes the step of spikesim.train, expected IF, LIF or "
                "Neuron; build the network by hand with ss.Network"
            )
    value = walker.single(path, args, kwargs)
    whole = isinstance(module, Neuron)
    parameters: dict[str, Any] = {
        field: _parameter(module, field, path, value.shape)
        for field in module.parameter_fields
        if field != "v_reset" or whole or module.rules.reset == "to_value"
    }
    model: Model = "LIF" if isinstance(module, LIF) else "IF"
    meta: dict[str, Any] = {"library": "spikesim.train", "cell": cls.__name__}
    if isinstance(module, Neuron):
        model, meta = module.model, module.meta or meta
    return walker.builder.neuron(model, path, value, parameters, asdict(module.rules), meta)


def _parameter(
    module: SpikingModule, field: str, path: str, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    values = array(getattr(module, field), path, field)
    # (C, 1, 1) means what (C,) means.
    if values.ndim == len(shape) and values.ndim > 1 and values.size == values.shape[0]:
        return values.reshape(-1)
    return values
