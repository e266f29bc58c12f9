"""from_torch: Norse's own runs, step by step, are what the network does."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    norse = pytest.importorskip("norse.torch")

from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from libraries import assert_equal, assert_within_margin  # noqa: E402
from norse_sinabs import run_norse  # noqa: E402
from test_from_torch import SEEDS, raster, set_weights  # noqa: E402

Draw = Any
# There are many classes.
HALF = settings(max_examples=settings.default.max_examples // 2)
# Steps of 2^-10: with rates of 2^9 and 2^10 decays are 1/2 and 0, and all sums exact.
DT = 2.0**-10
RESETS = ("reset_value", "reset_subtract")


@st.composite
def parameters(draw: Draw, name: str, exact: bool, vector: bool) -> dict[str, Any]:
    """Fields of the parameters of a class, as tensors of one number, or one a neuron."""

    def number(values: list[float], low: float, high: float) -> Any:
        if exact:
            if vector and draw(st.booleans()):
                return torch.tensor((values * 8)[:8])
            return torch.tensor(draw(st.sampled_from(values)))
        return torch.tensor(draw(st.floats(low, high)))

    p: dict[str, Any] = {}
    if "IAF" not in name:
        p["tau_mem_inv"] = number([512.0, 1024.0], 50.0, 900.0)
        p["v_leak"] = number([0.0, 0.125, -0.25], -0.3, 0.3)
        if "Box" not in name:
            p["tau_syn_inv"] = number([512.0, 1024.0], 50.0, 900.0)
    if name.startswith("LI") and "F" not in name:
        return p
    p["v_th"] = number([0.375, 0.5, 0.75], 0.3, 0.8)
    p["v_reset"] = number([0.0, -0.25, 0.125], -0.3, 0.2)
    p["method"] = draw(st.sampled_from(["super", "heaviside", "triangle", "tanh", "circ"]))
    if "Box" in name:
        p["reset_method"] = getattr(norse, draw(st.sampled_from(RESETS)))
    if "LSNN" in name:
        p["tau_adapt_inv"] = number([512.0, 1024.0], 20.0, 500.0)
        p["beta"] = number([0.25, 0.5, 0.0], 0.0, 1.0)
    return p


def cut(p: dict[str, Any], width: int) -> dict[str, Any]:
    """Vectors as long as the last axis."""
    return {k: v[:width] if isinstance(v, torch.Tensor) and v.ndim else v for k, v in p.items()}


@st.composite
def makers(draw: Draw, name: str, exact: bool) -> Any:
    """`make(shape)` gives a neuron module of the class for a population's shape."""
    # Sequence modules fill their start with one number, and b of LSNN is one.
    sequence = not name.endswith("Cell")
    vector = exact and not sequence and "LSNN" not in name and "Recurrent" not in name
    vector = vector and "Refrac" not in name
    p = draw(parameters(name, exact, vector))
    rho = torch.tensor(draw(st.sampled_from([0.0, 1.0, 2.0, 1.5])))
    dt = DT if exact else 1e-3
    adjoint = draw(st.booleans())
    autapses = draw(st.booleans())

    def make(shape: tuple[int, ...]) -> nn.Module:
        fields = cut(p, shape[-1])
        options: dict[str, Any] = {"dt": dt}
        own = {"IAFCell": "IAF", "LIBoxCell": "LIBox", "LIFBoxCell": "LIFBox"}
        kind = own.get(name, "LIF" if "LIF" in name else "LSNN" if "LSNN" in name else "LI")
        kind = "IAF" if name == "IAF" else kind
        given = getattr(norse, f"{kind}Parameters")(**fields)
        if "Refrac" in name:
            given = norse.LIFRefracParameters(given, rho)
        if "LSNN" in name:
            options["adjoint"] = adjoint
        sizes = ()
        if "Recurrent" in name or "Linear" in name:
            sizes = (shape[-1], shape[-1])
            if "Recurrent" in name:
                options["autapses"] = autapses
        return getattr(norse, name)(*sizes, p=given, **options)

    return make


def fill(model: nn.Module, seed: int, exact: bool) -> nn.Module:
    """Random weights, also of the recurrent modules."""
    set_weights(model, seed, exact)
    rng = np.random.default_rng(seed + 1)
    with torch.no_grad():
        for module in model.modules():
            for name in ("input_weights", "recurrent_weights"):
                weight = getattr(module, name, None)
                if weight is None:
                    continue
                shape = tuple(weight.shape)
                values = rng.integers(-8, 17, shape) / 16 if exact else rng.normal(0.2, 0.6, shape)
                if name == "recurrent_weights" and not module.autapses:
                    np.fill_diagonal(values, 0.0)
                weight.copy_(torch.from_numpy(values.astype(np.float32)))
    return model


SINGLE = (
    "IAFCell",
    "LIFBoxCell",
    "LIBoxCell",
    "LIFCell",
    "LICell",
    "LILinearCell",
    "LIFRecurrentCell",
    "LIFRefracCell",
    "LIFRefracRecurrentCell",
    "LSNNCell",
    "LSNNRecurrentCell",
)
SEQUENCE = ("IAF", "LIF", "LI", "LIFRecurrent", "LIFRefracRecurrent", "LSNN", "LSNNRecurrent")


def build(name: str, make: Any, kind: str) -> tuple[nn.Module, tuple[int, ...]]:
    """Two layers of neurons of a class, and the shape of the input."""
    sequence = not name.endswith("Cell")
    fires = "LI" not in name or "F" in name
    lift = norse.Lift if sequence else (lambda module: module)
    last = make((3,)) if fires else nn.Identity()
    if kind == "linear" or "Recurrent" in name or "Linear" in name:
        model = norse.SequentialState(nn.Linear(6, 5), make((5,)), nn.Linear(5, 3), last)
        return model, (6,)
    model = norse.SequentialState(
        lift(nn.Conv2d(2, 3, 3, padding=1)), make((3, 4, 4)), lift(nn.AvgPool2d(2)),
        nn.Flatten(2 if sequence else 1), nn.Linear(12, 3), last,
    )  # fmt: skip
    return model, (2, 4, 4)


def check(name: str, data: Any, kind: str, steps: int, seed: int, exact: bool) -> float:
    """The library's own run against the network's, by the reference and by the engine."""
    model, shape = build(name, data.draw(makers(name, exact)), kind)
    fill(model, seed, exact)
    x = raster(seed, steps, 2, shape)
    trace = run_norse(model, x, sequence=name in SEQUENCE)
    net = ss.from_torch(model, shape)
    if exact:
        assert_equal(net, x, trace)
        return 1.0
    return assert_within_margin(net, x, trace)


KINDS = st.sampled_from(["linear", "conv"])


def plain(name: str) -> Any:
    """A neuron of the class with a low threshold."""
    kind = "LSNN" if "LSNN" in name else "IAF" if "IAF" in name else "LIF"
    kind = "LIFBox" if name == "LIFBoxCell" else "LIBox" if name == "LIBoxCell" else kind
    kind = kind if name.startswith(("LIF", "LIB", "LSNN", "IAF")) else "LI"
    fields = {} if kind in ("LI", "LIBox") else {"v_th": torch.tensor(0.25)}
    if kind != "IAF":
        fields["tau_mem_inv"] = torch.tensor(512.0)
    if kind in ("LI", "LIF", "LSNN"):
        fields["tau_syn_inv"] = torch.tensor(512.0)
    given = getattr(norse, f"{kind}Parameters")(**fields)
    if "Refrac" in name:
        given = norse.LIFRefracParameters(given, torch.tensor(2.0))
    sized = "Recurrent" in name or "Linear" in name
    return lambda shape: getattr(norse, name)(*([shape[-1]] * 2 if sized else []), p=given, dt=DT)


@pytest.mark.parametrize("name", SINGLE + SEQUENCE)
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_what_is_held_fires(name: str, kind: str):
    model, shape = build(name, plain(name), kind)
    fill(model, 3, exact=True)
    x = raster(3, 12, 2, shape)
    trace = run_norse(model, x, sequence=name in SEQUENCE)
    assert all(0 < (spikes != 0).mean() < 1 for spikes in trace.spikes.values())
    assert len(trace.spikes) == 2 or np.unique(trace.v["1"]).size > 10


@pytest.mark.parametrize("name", SINGLE + SEQUENCE)
@HALF
@given(data=st.data(), kind=KINDS, steps=st.integers(1, 8), seed=SEEDS)
def test_norse_equal(name: str, data: Any, kind: str, steps: int, seed: int):
    check(name, data, kind, steps, seed, exact=True)


@pytest.mark.parametrize("name", SINGLE + SEQUENCE)
@HALF
@given(data=st.data(), kind=KINDS, steps=st.integers(1, 12), seed=SEEDS)
def test_norse_within_the_margin(name: str, data: Any, kind: str, steps: int, seed: int):
    assert check(name, data, kind, steps, seed, exact=False) > 0.8
