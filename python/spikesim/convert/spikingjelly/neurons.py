"""SpikingJelly's neurons whose step is rule S3.

A call is, with r = v_reset (0 for the soft reset, `v_reset=None`)::

    IFNode                       h = v + x
    LIFNode(decay_input=True)    h = v + (x - (v - r)) / tau
    LIFNode(decay_input=False)   h = v - (v - r) / tau + x
    ParametricLIFNode            LIFNode with 1/tau = sigmoid(w)
    CUBALIFNode                  c = c_decay·c + x, h = v_decay·v + c
    KLIFNode                     max(0, k·h) of LIFNode's h

then it fires where h >= v_threshold and, in the same step, v is v_reset or h - v_threshold. The
ternary ones also fire -1 where -h >= v_threshold. A neuron starts from the value that `reset()`
gives its memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from spikesim.convert.build import Value, array, population
from spikesim.convert.surrogate import threshold_test
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker
    from spikesim.ops.neurons import Model

# The methods that make a step; a class that changes one is another neuron.
STEP = (
    "forward",
    "single_step_forward",
    "multi_step_forward",
    "functional_forward",
    "single_step_functional_forward",
    "multi_step_functional_forward",
    "materialize_states",
    "neuronal_charge",
    "neuronal_fire",
    "neuronal_reset",
    "reset",
)


@dataclass
class Fields:
    """What a cell's attributes say in the fields of a population."""

    model: Model
    numbers: dict[str, Any]
    """Float fields: numbers in double precision, rounded once, or arrays."""
    rules: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


# Reads a module's attributes: (module, path, shape of the population).
Cell = Callable[[Any, str, tuple[int, ...]], Fields]


def same_step(cls: type, known: type) -> bool:
    """Whether a class computes its step as `known` does."""
    return all(getattr(cls, name, None) is getattr(known, name, None) for name in STEP)


def number(value: Any, path: str, what: str) -> float:
    """An attribute that must be one number."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value.detach())
    if isinstance(value, int | float):
        return float(value)
    raise UnsupportedError(f"{path}: {what} is a {type(value).__name__}, expected one number")


def start(module: Any, path: str, name: str = "v") -> float:
    """What `reset()` gives a memory."""
    value = module.get_reset_value(name)
    if isinstance(value, float):
        return value
    raise UnsupportedError(f"{path}: {name} is reset to a {type(value).__name__}, expected a float")


def population_of(
    walker: Walker, module: Any, path: str, value: Value, fields: Fields, fires: str | None = None
) -> Value:
    """Adds the population that `fields` describe."""
    rules = {"fires": fires or fires_of(module, path), **fields.rules}
    # Computed in double precision, rounded once.
    numbers = {
        name: item if isinstance(item, np.ndarray) else array(item, path, name)
        for name, item in fields.numbers.items()
    }
    meta = {"library": "spikingjelly", "cell": type(module).__name__, **fields.meta}
    return walker.builder.neuron(fields.model, path, value, numbers, rules, meta)


def fires_of(module: Any, path: str) -> str:
    """The threshold test that the surrogate makes."""
    if not getattr(module.surrogate_function, "spiking", True):
        raise UnsupportedError(
            f"{path}: surrogate_function has spiking=False, expected spikes; set spiking=True"
        )
    return threshold_test(module.surrogate_function, path, "surrogate_function")


def _reader(cell: Cell, fires: str | None = None) -> Handler:
    def handle(
        walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Value:
        if module.step_mode == "m":
            walker.per_step(path)
        if getattr(module, "_neuron_precision", None) is not None:
            raise UnsupportedError(
                f"{path}: its state is kept in {module._neuron_precision[0]}, expected float32"
            )
        value = walker.single(path, args, kwargs)
        fields = cell(module, path, value.shape)
        return population_of(walker, module, path, value, fields, fires)

    return handle


def _base(module: Any, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Threshold, start and reset: (numbers, rules)."""
    numbers = {
        "v_threshold": number(module.v_threshold, path, "v_threshold"),
        "v0": start(module, path),
    }
    if module.v_reset is None:
        return numbers, {"reset": "subtract"}
    numbers["v_reset"] = number(module.v_reset, path, "v_reset")
    return numbers, {"reset": "to_value"}


def _if(module: Any, path: str, shape: tuple[int, ...]) -> Fields:
    return Fields("IF", *_base(module, path))


def _leak(rate: float, module: Any, path: str) -> dict[str, float]:
    """The decay to v_reset with `rate`, the reciprocal of tau."""
    leak = 0.0 if module.v_reset is None else number(module.v_reset, path, "v_reset")
    gain = rate if module.decay_input else 1.0
    return {"alpha_mem": 1.0 - rate, "gain": gain, "v_leak": leak}


def _tau(module: Any, path: str) -> float:
    tau = number(module.tau, path, "tau")
    if not tau > 1.0:
        raise UnsupportedError(f"{path}: tau is {tau}, expected more than 1")
    return tau


def _lif(module: Any, path: str, shape: tuple[int, ...]) -> Fields:
    tau = _tau(module, path)
    numbers, rules = _base(module, path)
    meta = {"tau": tau, "decay_input": bool(module.decay_input), "discretisation": "euler"}
    return Fields("LIF", {**numbers, **_leak(1.0 / tau, module, path)}, rules, meta)


def _simple_lif(module: Any, path: str, shape: tuple[int, ...]) -> Fields:
    if module.v_reset is None:
        raise UnsupportedError(
            f"{path}: SimpleLIFNode with v_reset=None fails in SpikingJelly, expected a number; "
            "use LIFNode"
        )
    return _lif(module, path, shape)


def _plif(module: Any, path: str, shape: tuple[int, ...]) -> Fields:
    rate = number(module.w.detach().sigmoid(), path, "w")
    numbers, rules = _base(module, path)
    meta = {
        "tau": 1.0 / rate if rate else None,
        "decay_input": bool(module.decay_input),
        "discretisation": "euler",
    }
    return Fields("LIF", {**numbers, **_leak(rate, module, path)}, rules, meta)


def _cuba(module: Any, path: str, shape: tuple[int, ...]) -> Fields:
    numbers, rules = _base(module, path)
    numbers |= {
        "alpha_syn": number(module.c_decay, path, "c_decay"),
        "alpha_mem": number(module.v_decay, path, "v_decay"),
        "w_in": 1.0,
        "i0": start(module, path, "c"),
    }
    return Fields("CubaLIF", numbers, {**rules, "synapse": "decay_first"})


def _klif(module: Any, path: str, shape: tuple[int, ...]) -> Fields:
    fields = _lif(module, path, shape)
    numbers, k = fields.numbers, number(module.k, path, "k")
    if not k > 0 or not numbers["v_threshold"] > 0:
        raise UnsupportedError(
            f"{path}: k is {k}, v_threshold {numbers['v_threshold']}, expected both above 0, where "
            "cutting the membrane off below 0 changes no spike"
        )
    least = numbers.get("v_reset", 0.0)
    if least < 0 or (least > 0 and not module.scale_reset):
        raise UnsupportedError(
            f"{path}: v_reset is {least}, expected None or 0 (with scale_reset at least 0), which "
            "k and the cut at 0 leave as it is"
        )
    if module.scale_reset:
        numbers["v_threshold"] /= k
    else:
        numbers["alpha_mem"] *= k
        numbers["gain"] *= k
    numbers["v_min"] = 0.0
    fields.meta["k"] = k
    return fields


def _ternary(cell: Cell) -> Cell:
    """A neuron that also fires -1, at the threshold's mirror image."""

    def read(module: Any, path: str, shape: tuple[int, ...]) -> Fields:
        fields = cell(module, path, shape)
        fields.numbers["v_threshold_neg"] = -fields.numbers["v_threshold"]
        fields.rules["spikes"] = "signed"
        return fields

    return read


def _activation_aware(module: Any, path: str, shape: tuple[int, ...]) -> Fields:
    def spread(name: str) -> Any:
        tensor = getattr(module, name)
        if tensor.numel() == 1:
            return population(tensor, shape, path, name)
        axis = module.channel_dim % (len(shape) + 1)
        if axis == 0:
            raise UnsupportedError(f"{path}: channel_dim is the batch axis, expected another")
        sizes = [1] * len(shape)
        sizes[axis - 1] = -1
        return population(tensor.reshape(sizes), shape, path, name)

    threshold, offset = spread("v_threshold"), spread("v_offset")
    numbers: dict[str, Any] = {"v0": start(module, path)}
    rules = {"reset": "subtract"}
    if module.v_reset is not None:
        numbers["v_reset"] = number(module.v_reset, path, "v_reset")
        rules["reset"] = "to_value"
        threshold = threshold - offset
    elif np.any(offset):
        raise UnsupportedError(
            f"{path}: v_offset is not 0 with v_reset=None, where the neuron fires at another "
            "threshold than it subtracts; expected v_offset=0 or a v_reset"
        )
    numbers["v_threshold"] = threshold
    return Fields("IF", numbers, rules)


READERS: dict[str, Handler] = {
    "IFNode": _reader(_if),
    "LIFNode": _reader(_lif),
    "ParametricLIFNode": _reader(_plif),
    "CUBALIFNode": _reader(_cuba),
    "SimpleIFNode": _reader(_if),
    "SimpleLIFNode": _reader(_simple_lif),
    "HalfThresholdIFNode": _reader(_if),
    "ActivationAwareIFNode": _reader(_activation_aware),
    "KLIFNode": _reader(_klif),
    "TernaryIFNode": _reader(_ternary(_if)),
    "TernaryLIFNode": _reader(_ternary(_lif)),
    # In eval mode these two fire with the plain step, whatever their surrogate.
    "OTTTLIFNode": _reader(_lif, ">="),
    "SLTTLIFNode": _reader(_lif, ">="),
}
