"""What `DiehlCook`'s parameters come to: checked, defaults filled in, as constants per step."""

from __future__ import annotations

import inspect
import math
import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from spikesim.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from spikesim.learn.diehl_cook import DiehlCook

#: A trace below this is 0.
TRACE_END = 1e-3

#: Most steps of a presentation.
MAX_STEPS = 8 << 16

#: Longest run of the n-gram readout.
MOST_GRAM = 256

#: neurons up to -> (theta_plus for one epoch, for more, tc_theta in ms); docs/learning.md has
#: how they were found.
DEFAULTS: list[tuple[float, tuple[float, float, float | None]]] = [
    (200, (0.05, 0.05, 1e7)),
    (800, (0.1, 0.05, None)),
    (3200, (0.8, 0.2, None)),
    (math.inf, (2.0, 1.2, None)),
]

#: The paper's inhibitory neurons, in mV above their rest and ms, driven by BindsNET's weight.
INHIBITORY = {"tc": 10.0, "threshold": 20.0, "reset": 15.0, "refractory": 2.0, "weight": 22.5}


def theta_defaults(n_neurons: int, epochs: int) -> tuple[float, float | None]:
    """theta_plus (mV) and tc_theta (ms, None: no decay) that suit a size."""
    for most, (once, more, tc) in DEFAULTS:
        if n_neurons <= most:
            return (once if epochs <= 1 else more), tc
    raise AssertionError("the last row has no end")


def configuration(model: DiehlCook) -> dict[str, Any]:
    """The core's configuration: constants per step, floats rounded to float32.

    Raises:
        InputError: a parameter that means nothing.
        UnsupportedError: with `model="conductance"`, a parameter of the other models.
    """
    check(model)
    dt = float(model.dt)
    if model.model == "conductance":
        return _conductance(model)
    theta_plus, tc_theta = theta_defaults(model.n_neurons, model.epochs)
    if model.theta_plus != "auto":
        theta_plus = model.theta_plus
    if model.tc_theta != "auto":
        tc_theta = model.tc_theta
    period = model.n_steps * dt + model.rest
    norm = 0.1 * model.n_inputs if model.norm == "auto" else model.norm
    return {
        "inputs": int(model.n_inputs),
        "neurons": int(model.n_neurons),
        "model": "wta" if model.model == "wta" else {"current": _inhibitory(dt)},
        "steps": int(model.n_steps),
        "seed": int(model.seed),
        "decay": f32(math.exp(-dt / model.tc_v)),
        "threshold": f32(model.v_threshold),
        "reset": f32(model.v_reset),
        "refractory": round(model.refractory / dt),
        "inhibition": f32(model.inhibition),
        "trace_pre": trace(model.tc_pre, dt),
        "trace_post": trace(model.tc_post, dt),
        "eta_pre": f32(model.eta_pre),
        "eta_post": f32(model.eta_post),
        "soft": bool(model.soft_bound),
        "x_tar": None if model.x_tar is None else f32(model.x_tar),
        "w_max": f32(model.w_max),
        "w_init": f32(0.3 * model.w_max),
        "norm": None if norm is None else f32(norm),
        "theta_plus": f32(theta_plus),
        "theta_decay": 1.0 if tc_theta is None else f32(math.exp(-period / tc_theta)),
        "min_spikes": int(model.min_spikes),
        "max_repeats": int(model.max_repeats),
        "rate_step": f32(model.rate_step),
        "chunk": int(model.chunk),
    }


def _conductance(model: DiehlCook) -> dict[str, Any]:
    """The same for `model="conductance"`, whose membranes are the paper's."""
    given = inspect.signature(type(model)).parameters
    others = ("tc_v", "v_threshold", "v_reset", "refractory", "inhibition", "soft_bound", "x_tar")
    for name in (*others, "batch_size"):
        if getattr(model, name) != given[name].default:
            raise UnsupportedError(
                f'DiehlCook: {name} with model "conductance" is not supported; use "wta" or '
                f'"current", or leave it at {given[name].default!r}'
            )
    if model.norm is None:
        raise UnsupportedError(
            'DiehlCook: norm=None with model "conductance" is not supported; give a sum'
        )
    norm = 78.0 * model.n_inputs / 784 if model.norm == "auto" else model.norm
    tc_theta = 1e7 if model.tc_theta == "auto" else model.tc_theta
    return {
        "inputs": int(model.n_inputs),
        "neurons": int(model.n_neurons),
        "steps": int(model.n_steps),
        "rest": round(model.rest / model.dt),
        "seed": int(model.seed),
        "min_spikes": int(model.min_spikes),
        "max_repeats": int(model.max_repeats),
        "rate_step": f32(model.rate_step),
        "params": {
            "dt": float(model.dt),
            "tau_pre": float(model.tc_pre),
            "tau_post": float(model.tc_post),
            "tau_post_slow": 2.0 * model.tc_post,
            "eta_pre": float(model.eta_pre),
            "eta_post": float(model.eta_post),
            "w_max": float(model.w_max),
            "norm": float(norm),
            "theta_plus": 0.05 if model.theta_plus == "auto" else float(model.theta_plus),
            "tau_theta": 1e30 if tc_theta is None else float(tc_theta),
        },
    }


def _inhibitory(dt: float) -> dict[str, Any]:
    return {
        "decay": f32(math.exp(-dt / INHIBITORY["tc"])),
        "threshold": INHIBITORY["threshold"],
        "reset": INHIBITORY["reset"],
        "refractory": round(INHIBITORY["refractory"] / dt),
        "weight": INHIBITORY["weight"],
    }


def f32(value: float) -> float:
    """Rounded to float32."""
    return float(np.float32(value))


def trace(tc: float, dt: float) -> list[float]:
    """A trace's value k steps after its spike, while it is at least TRACE_END."""
    values: list[float] = []
    while (value := math.exp(-len(values) * dt / tc)) >= TRACE_END and len(values) < MAX_STEPS:
        values.append(f32(value))
    return values


def check(model: DiehlCook) -> None:
    """Refuses parameters that mean nothing."""
    _one_of(model, "model", ("wta", "current", "conductance"))
    _one_of(model, "readout", ("all", "proportion", "ngram"))
    for name, least in (
        *(("n_inputs", 1), ("n_neurons", 1), ("epochs", 1), ("n_steps", 1), ("seed", 0)),
        *(("min_spikes", 0), ("max_repeats", 0), ("batch_size", 1), ("n_gram", 1), ("chunk", 1)),
    ):
        _whole(model, name, least)
    for name in ("dt", "tc_v", "tc_pre", "tc_post", "v_threshold", "w_max"):
        _number(model, name, above=0.0)
    for name in (
        *("max_rate", "refractory", "inhibition", "eta_pre", "eta_post", "rest", "rate_step"),
    ):
        _number(model, name, least=0.0)
    _number(model, "v_reset")
    for name, free in (("theta_plus", "auto"), ("lr_end", "auto"), ("x_tar", None)):
        if getattr(model, name) != free:
            _number(model, name, least=0.0)
    for name, words in (("tc_theta", ("auto",)), ("norm", ("auto",)), ("x_max", ())):
        if getattr(model, name) not in (None, *words):
            _number(model, name, above=0.0)
    if model.n_steps > MAX_STEPS:
        _refuse("n_steps", model.n_steps, f"1 to {MAX_STEPS}")
    if model.n_gram > MOST_GRAM:
        _refuse("n_gram", model.n_gram, f"1 to {MOST_GRAM}")
    for name in ("refractory", "rest"):
        if getattr(model, name) / model.dt > MAX_STEPS and (
            name == "refractory" or model.model == "conductance"
        ):
            _refuse(name, getattr(model, name), f"at most {MAX_STEPS} steps of dt = {model.dt}")
    if model.max_repeats > 255:
        _refuse("max_repeats", model.max_repeats, "0 to 255")
    if model.seed >= 1 << 64:
        _refuse("seed", model.seed, "0 to 2^64 - 1")
    if model.v_reset >= model.v_threshold:
        _refuse("v_reset", model.v_reset, f"less than v_threshold = {model.v_threshold}")
    norm = model.norm
    if not isinstance(norm, str) and norm is not None and norm > model.n_inputs * model.w_max:
        _refuse("norm", norm, f"at most n_inputs * w_max = {model.n_inputs * model.w_max}")


def _refuse(name: str, value: Any, expected: str) -> None:
    raise InputError(f"DiehlCook: {name} is {value!r}, expected {expected}")


def _one_of(model: DiehlCook, name: str, values: tuple[str, ...]) -> None:
    value = getattr(model, name)
    if not isinstance(value, str) or value not in values:
        _refuse(name, value, f"one of {', '.join(values)}")


def _whole(model: DiehlCook, name: str, least: int) -> None:
    value = getattr(model, name)
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        _refuse(name, value, f"a whole number of at least {least}")


def _number(
    model: DiehlCook, name: str, least: float | None = None, above: float | None = None
) -> None:
    value: Any = getattr(model, name)
    bound = "" if least is None else f" of at least {least:g}"
    bound = bound if above is None else f" above {above:g}"
    fits = (
        not isinstance(value, (bool, np.bool_))
        and isinstance(value, numbers.Real)
        and abs(float(value)) <= float(np.finfo(np.float32).max)
        and (least is None or float(value) >= least)
        and (above is None or float(value) > above)
    )
    if not fits:
        _refuse(name, value, f"a finite number{bound}")
