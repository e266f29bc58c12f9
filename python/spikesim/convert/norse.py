"""Norse's cells and their sequence modules (checked against 1.1).

A cell's step is, with x its input, μ = dt·tau_mem_inv and σ = dt·tau_syn_inv::

    IAF      v = v + x
    LIFBox   v = v + μ·(x + v_leak - v)
    LIF      i = i + x;  v = v + μ·(v_leak - v + i);  i = i - σ·i
    LSNN     v = v + μ·(v_leak - v + i);  i = i - σ·i + x;  b = b + dt·tau_adapt_inv·(v_th - b)

then it fires where v > v_th (LSNN: where v > b, and b = b + beta where it fired) and v is v_reset
there; LI and LIBox are LIF and LIFBox that never fire and return v. The synaptic current that a
state shows has decayed already, so a step of ours lets it decay first and adds then. LSNN adds
its input behind the membrane's turn: what arrives acts one step later. LIFRefrac stands still for
`rho_reset` steps after a spike. Recurrent modules weigh their input themselves and add what their
own spikes of the step before weigh. All start at v_leak (IAF: at v_reset).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spikesim import ops
from spikesim.convert.build import Membrane, State, Value, array, population, shared_state
from spikesim.convert.plain import library_class
from spikesim.errors import UnsupportedError
from spikesim.ops.neurons import Model

if TYPE_CHECKING:
    from spikesim.convert.registry import Handler
    from spikesim.convert.walk import Walker

# The surrogates, which all are the Heaviside step in the forward pass.
METHODS = ("heaviside", "super", "triangle", "tanh", "circ", "heavi_erfc")


@dataclass(frozen=True, eq=False)
class Kept(State):
    """A state that the library hands from step to step itself."""


@dataclass(frozen=True)
class Cell:
    """What a class of the library is.

    Attributes:
        read: its fields, by `read(module, path)`.
        steps: the functions that may compute its step; adjoint ones differ in gradients alone.
        sequence: whether it takes all steps.
        weights: "input" if it has input_weights, "recurrent" if recurrent_weights too.
        delay: steps until what arrives acts.
    """

    read: Callable[[Any, str], Fields]
    steps: tuple[str, ...]
    sequence: bool = False
    weights: str = ""
    delay: int = 0


@dataclass
class Fields:
    """A population: its display name, float fields and other fields."""

    model: Model
    numbers: dict[str, Any]
    rules: dict[str, Any]


def handler(module: nn.Module) -> Handler | None:
    """Reads cells and their sequence modules, containers; names what is not supported."""
    from spikesim.convert import norse_containers

    found = norse_containers.handler(module)
    if found is not None:
        return found
    known = cell_of(module)
    if known is not None:
        return _cell
    if any(cls.__module__.startswith("norse.torch.module") for cls in type(module).__mro__):
        return _unsupported
    return None


def step_mode(module: nn.Module) -> str | None:
    """Cells take one step, the modules that wrap them all of them."""
    from norse.torch.module.snn import SNN, SNNCell, SNNRecurrent, SNNRecurrentCell

    from spikesim.convert import norse_containers

    known = cell_of(module)
    if known is not None:
        return "m" if known.sequence else "s"
    if isinstance(module, SNN | SNNRecurrent):
        return "m"
    if isinstance(module, SNNCell | SNNRecurrentCell):
        return "s"
    return norse_containers.step_mode(module)


def cell_of(module: nn.Module) -> Cell | None:
    """What the library's class of a module is, if the module's own class keeps its step."""
    base = library_class(module, CELLS, "norse.torch.module", ("forward", "initial_state"))
    return None if base is None else CELLS[base.__name__]


def _unsupported(
    walker: Walker, module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Value:
    raise UnsupportedError(
        f"{path}: Norse's {type(module).__name__} is not supported, expected one of "
        f"{', '.join(CELLS)}; build the population by hand with ss.Neuron"
    )


def _cell(
    walker: Walker, module: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Value, Membrane]:
    known = cell_of(module)
    assert known is not None
    _check_own(module, known, path)
    value, state = arguments(path, ("input_tensor", "state"), args, kwargs)
    many = known.sequence
    if many and walker.lead_of(value) != 2:
        raise UnsupportedError(
            f"{path}: {type(module).__name__} takes all steps (T, N, …) where one is given, "
            f"expected its cell; use {type(module).__name__}Cell"
        )
    claim(walker, module, path, state, starts=many)
    fields = known.read(module, path)
    builder = walker.builder
    delay = known.delay
    if known.weights:
        _check_row(module, path, value)
        weight = array(module.input_weights, path, "input_weights")
        value = builder.current(ops.Linear(weight), f"{path}.input_weights", value)
    shape = value.shape
    numbers = {name: population(n, shape, path, name) for name, n in fields.numbers.items()}
    meta = {
        "library": "norse",
        "cell": type(module).__name__,
        "dt": float(module.dt),
        "discretisation": "euler",
    }
    out = builder.neuron(fields.model, path, value, numbers, fields.rules, meta, delay)
    if known.weights == "recurrent":
        weight = array(module.recurrent_weights, path, "recurrent_weights")
        back = ops.Linear(weight)
        builder.recurrent(out, back, f"{path}.recurrent_weights", enters=1, leaves=delay)
    return out, Membrane(out)


def _check_own(module: Any, known: Cell, path: str) -> None:
    """The step and the start are functions that a module holds: they must be its class's."""
    if not hasattr(module, "activation"):
        return
    step = getattr(module.activation, "__name__", type(module.activation).__name__)
    origin = getattr(module.activation, "__module__", "")
    if step not in known.steps or not origin.startswith("norse.torch.functional"):
        raise UnsupportedError(
            f"{path}: the activation of this {type(module).__name__} is {step}, expected "
            f"{' or '.join(known.steps)}; use the class whose step it is"
        )
    start = getattr(module.state_fallback, "__func__", None)
    if start is not type(module).initial_state:
        raise UnsupportedError(
            f"{path}: state_fallback was set on this {type(module).__name__}, expected its class's "
            "initial_state; build the population by hand with v0 and i0"
        )


def _check_row(module: Any, path: str, value: Value) -> None:
    if len(value.shape) != 1:
        raise UnsupportedError(
            f"{path}: {type(module).__name__} weighs the last axis of {value.shape}, expected one "
            "axis; flatten before it"
        )


def arguments(
    path: str, names: tuple[str, str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Value, Any]:
    """The input and the state, by the names of forward's arguments."""
    given = dict(zip(names, args, strict=False)) | kwargs
    value = given.get(names[0])
    if len(args) > len(names) or set(given) - set(names) or not isinstance(value, Value):
        raise UnsupportedError(
            f"{path}: the call is not (input, state), expected the output of a layer and at most "
            "the state; take the spikes of a cell out of the pair that it returns"
        )
    return value, given.get(names[1])


def claim(walker: Walker, module: nn.Module, path: str, state: Any, *, starts: bool) -> None:
    """The state passed in must be the module's own of the step before.

    Args:
        walker: where the module stands.
        module: the module.
        path: its name.
        state: its argument.
        starts: whether a call without a state is a run from the start.
    """
    # A module inside the one that is converted is not given what its caller leaves out.
    absent = isinstance(state, State) and state.position is None and not isinstance(state, Kept)
    if state is None or absent:
        if starts or walker.builder.root is module:
            return
        # In a loop over time that is right for the first step; whether there is one shows later.
        walker.builder.anew.append(
            UnsupportedError(
                f"{path}: {type(module).__name__} is called without a state, so that it starts "
                "anew at every step, expected the state of the step before; pass it on through "
                "forward's arguments or put the layers into a SequentialState"
            )
        )
        return
    if isinstance(state, State):
        walker.builder.claim_state(state, path)
        return
    if isinstance(state, Membrane):
        raise shared_state(path, state.neuron.name, state)
    raise UnsupportedError(
        f"{path}: its state is computed in forward, expected that of the step before as it is; "
        "pass it through forward's arguments"
    )


# Fields


def _number(parameters: Any, name: str) -> Tensor:
    """A parameter in double precision, to be rounded once."""
    return torch.as_tensor(getattr(parameters, name)).detach().to("cpu", torch.float64)


def _rate(module: Any, parameters: Any, name: str) -> Tensor:
    return float(module.dt) * _number(parameters, name)


def _check_method(parameters: Any, path: str) -> None:
    if parameters.method not in METHODS:
        raise UnsupportedError(
            f"{path}: method is {parameters.method!r}, expected one of {', '.join(METHODS)}; Norse "
            "itself can run no other"
        )


def _iaf(module: Any, path: str) -> Fields:
    p = module.p
    _check_method(p, path)
    v_reset = _number(p, "v_reset")
    numbers = {"v_threshold": _number(p, "v_th"), "v_reset": v_reset, "v0": v_reset}
    return Fields("IF", numbers, {"fires": ">", "reset": "to_value"})


def _membrane(module: Any, parameters: Any) -> dict[str, Tensor]:
    rate = _rate(module, parameters, "tau_mem_inv")
    leak = _number(parameters, "v_leak")
    return {"alpha_mem": 1 - rate, "gain": rate, "v_leak": leak, "v0": leak}


def _synapse(module: Any, parameters: Any) -> dict[str, Any]:
    decay = 1 - _rate(module, parameters, "tau_syn_inv")
    return {"alpha_syn": decay, "w_in": torch.ones((), dtype=torch.float64)}


def _fires(parameters: Any, path: str) -> dict[str, Tensor]:
    _check_method(parameters, path)
    return {"v_threshold": _number(parameters, "v_th"), "v_reset": _number(parameters, "v_reset")}


def _lif_box(module: Any, path: str) -> Fields:
    from norse.torch.functional.reset import reset_subtract, reset_value

    p = module.p
    numbers = {**_membrane(module, p), **_fires(p, path)}
    if p.reset_method is reset_value:
        return Fields("LIF", numbers, {"fires": ">", "reset": "to_value"})
    if p.reset_method is reset_subtract:
        del numbers["v_reset"]
        return Fields("LIF", numbers, {"fires": ">", "reset": "subtract"})
    name = getattr(p.reset_method, "__name__", type(p.reset_method).__name__)
    raise UnsupportedError(
        f"{path}: reset_method is {name}, expected Norse's reset_value or reset_subtract"
    )


def _li_box(module: Any, path: str) -> Fields:
    return Fields("LI", _membrane(module, module.p), {"spikes": "none"})


def _li(module: Any, path: str) -> Fields:
    numbers = {**_membrane(module, module.p), **_synapse(module, module.p)}
    return Fields("CubaLI", numbers, {"spikes": "none", "synapse": "decay_first"})


def _current_based(module: Any, parameters: Any, path: str) -> Fields:
    numbers = {
        **_membrane(module, parameters),
        **_synapse(module, parameters),
        **_fires(parameters, path),
    }
    rules = {"fires": ">", "reset": "to_value", "synapse": "decay_first"}
    return Fields("CubaLIF", numbers, rules)


def _lif(module: Any, path: str) -> Fields:
    return _current_based(module, module.p, path)


def _lif_refrac(module: Any, path: str) -> Fields:
    fields = _current_based(module, module.p.lif, path)
    rho = torch.unique(_number(module.p, "rho_reset"))
    if rho.numel() != 1 or not bool(torch.isfinite(rho)):
        raise UnsupportedError(
            f"{path}: rho_reset is one number for each neuron, expected one number for all"
        )
    # It counts down in ones to 0 while it is above: a part of a step is a whole one.
    fields.rules["refractory"] = max(0, math.ceil(float(rho)))
    return fields


def _lsnn(module: Any, path: str) -> Fields:
    p = module.p
    fields = _current_based(module, p, path)
    decay = 1 - _rate(module, p, "tau_adapt_inv")
    fields.numbers |= {"theta_plus": _number(p, "beta"), "alpha_theta": decay}
    return fields


LIF_STEPS = ("lif_feed_forward_step", "lif_feed_forward_adjoint_step")
LIF_BACK = ("lif_step", "lif_adjoint_step")
REFRAC_STEPS = ("lif_refrac_feed_forward_step", "lif_refrac_feed_forward_adjoint_step")
REFRAC_BACK = ("lif_refrac_step", "lif_refrac_adjoint_step")
LSNN_STEPS = ("lsnn_feed_forward_step", "lsnn_feed_forward_adjoint_step")
LSNN_BACK = ("lsnn_step", "lsnn_adjoint_step")

CELLS: dict[str, Cell] = {
    "IAFCell": Cell(_iaf, ("iaf_feed_forward_step",)),
    "IAF": Cell(_iaf, ("iaf_feed_forward_step",), sequence=True),
    "LIBoxCell": Cell(_li_box, ("li_box_feed_forward_step",)),
    "LICell": Cell(_li, ("li_feed_forward_step",)),
    "LI": Cell(_li, ("li_feed_forward_step",), sequence=True),
    "LILinearCell": Cell(_li, (), weights="input"),
    "LIFBoxCell": Cell(_lif_box, ("lif_box_feed_forward_step",)),
    "LIFCell": Cell(_lif, LIF_STEPS),
    "LIF": Cell(_lif, LIF_STEPS, sequence=True),
    "LIFRecurrentCell": Cell(_lif, LIF_BACK, weights="recurrent"),
    "LIFRecurrent": Cell(_lif, LIF_BACK, sequence=True, weights="recurrent"),
    "LIFRefracCell": Cell(_lif_refrac, REFRAC_STEPS),
    "LIFRefracRecurrentCell": Cell(_lif_refrac, REFRAC_BACK, weights="recurrent"),
    "LIFRefracRecurrent": Cell(_lif_refrac, REFRAC_BACK, sequence=True, weights="recurrent"),
    "LSNNCell": Cell(_lsnn, LSNN_STEPS, delay=1),
    "LSNN": Cell(_lsnn, LSNN_STEPS, sequence=True, delay=1),
    "LSNNRecurrentCell": Cell(_lsnn, LSNN_BACK, weights="recurrent", delay=1),
    "LSNNRecurrent": Cell(_lsnn, LSNN_BACK, sequence=True, weights="recurrent", delay=1),
}
