"""spikesim.train's neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from spikesim.convert.build import Value, array
from spikesim.errors import UnsupportedError
from spikesim.train.neurons import LIF, SpikingModule

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker


def handler(module: nn.Module) -> Handler | None:
    """Reads IF and LIF, and classes of their own making that keep their step."""
    if isinstance(module, SpikingModule):
        return _neuron
    return None


def step_mode(module: nn.Module) -> str | None:
    """The mode of a neuron."""
    return module.step_mode if isinstance(module, SpikingModule) else None


def _neuron(
    walker: Walker, module: SpikingModule, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    cls = type(module)
    if cls.forward is not SpikingModule.forward or cls._step is not SpikingModule._step:
        raise UnsupportedError(
            f"{path}: {cls.__name__} changes the step of spikesim.train, expected IF or LIF; "
            "build the network by hand with ss.Network"
        )
    value = walker.single(path, args, kwargs)
    parameters: dict[str, Any] = {}
    for field in ("v_threshold", "v_leak", "alpha_mem", "gain", "v0"):
        parameters[field] = _parameter(module, field, path, value.shape)
    if module.reset == "to_value":
        parameters["v_reset"] = _parameter(module, "v_reset", path, value.shape)
    model: Literal["IF", "LIF"] = "LIF" if isinstance(module, LIF) else "IF"
    rules = {"reset": module.reset, "fires": module.fires}
    meta = {"library": "spikesim.train", "cell": cls.__name__}
    return walker.builder.neuron(model, path, value, parameters, rules, meta)


def _parameter(
    module: SpikingModule, field: str, path: str, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    values = array(getattr(module, field), path, field)
    # (C, 1, 1) means what (C,) means.
    if values.ndim == len(shape) and values.ndim > 1 and values.size == values.shape[0]:
        return values.reshape(-1)
    return values
