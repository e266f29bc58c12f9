"""from_torch: Sinabs' own runs, step by step, are what the network does."""

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
    layers = pytest.importorskip("sinabs.layers")

from sinabs.activation import (  # noqa: E402
    MaxSpike,
    MembraneReset,
    MembraneSubtract,
    MultiSpike,
    SingleSpike,
)
from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from libraries import assert_equal, assert_within_margin  # noqa: E402
from norse_sinabs import run_sinabs  # noqa: E402
from test_from_torch import SEEDS, raster, set_weights  # noqa: E402

Draw = Any
# There are many classes.
HALF = settings(max_examples=settings.default.max_examples // 2)
SAMPLES = 2
NEURONS = ("IAF", "LIF", "ExpLeak", "ALIF", "IAFRecurrent", "LIFRecurrent", "ALIFRecurrent")


@st.composite
def options(draw: Draw, name: str, exact: bool) -> Any:
    """`given(shape)` is what a neuron of the class is made with for a population's shape.

    Exponential decays are no dyadic numbers, but the library and the network decay alike, in the
    same order: with exact sums all is equal to the bit. ALIF's threshold is made in another
    order, there decays are 1/2.
    """
    scalars: dict[str, Any] = {}
    vectors: dict[str, Any] = {}

    def number(key: str, values: list[float], low: float, high: float) -> None:
        if draw(st.booleans()):
            vectors[key] = values
        elif exact:
            scalars[key] = draw(st.sampled_from(values))
        else:
            scalars[key] = draw(st.floats(low, high))

    halves = exact and "ALIF" in name
    if "IAF" not in name:
        taus = [-1 / float(np.log(0.5))] if halves else [2.0, 5.0, 0.75, 20.0]
        number("tau_mem", taus, 1.0, 30.0)
        scalars["norm_input"] = draw(st.booleans())
        scalars["train_alphas"] = draw(st.booleans())
        if "ALIF" in name:
            number("tau_adapt", taus, 1.0, 30.0)
            number("adapt_scale", [0.5, 1.0, 0.25], 0.0, 2.0)
        if name != "ExpLeak" and draw(st.booleans()):
            number("tau_syn", taus, 1.0, 20.0)
            if "ALIF" in name and "tau_syn" in vectors:
                # The library asks a tau_syn of its own for its truth.
                scalars["train_alphas"] = True
    elif draw(st.booleans()):
        number("tau_syn", [2.0, 5.0], 1.0, 20.0)
    if name != "ExpLeak":
        number("spike_threshold", [0.5, 0.75, 1.0], 0.4, 1.2)
        scalars["spike_fn"] = draw(
            st.sampled_from([MultiSpike, SingleSpike, MaxSpike(2), MaxSpike(), MaxSpike(1)])
        )
        subtract = MembraneSubtract(scalars.get("spike_threshold") if "ALIF" not in name else None)
        scalars["reset_fn"] = draw(st.sampled_from([MembraneSubtract(), MembraneReset(), subtract]))
        if draw(st.booleans()):
            # relu(v - m) + m is exact on the grid alone.
            grid = not exact or ("IAF" in name and "tau_syn" not in (scalars | vectors)) or halves
            if grid:
                number("min_v_mem", [-0.25, -1.0, 0.0], -1.0, 0.0)
                if "ALIF" in name and "min_v_mem" in vectors:
                    vectors["min_v_mem"] = torch.tensor(vectors["min_v_mem"])
    if halves:
        scalars["train_alphas"] = True
    per_channel = draw(st.booleans())

    def given_to(shape: tuple[int, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in scalars.items():
            made[key] = torch.tensor(value) if isinstance(value, float) else value
            if key == "adapt_scale":
                made[key] = value
        for key, values in vectors.items():
            if per_channel and len(shape) > 1:
                count, axes = shape[0], (-1, 1, 1)
            else:
                count, axes = shape[-1], (-1,)
            made[key] = torch.tensor((list(values) * 8)[:count]).reshape(axes)
        return made

    return given_to


def neuron(name: str, given_to: Any, shape: tuple[int, ...], squeeze: Any = None) -> nn.Module:
    """A neuron of the class."""
    made = given_to(shape)
    if squeeze is not None:
        made |= squeeze
        from sinabs.layers import alif

        return getattr(alif if name == "ALIF" else layers, f"{name}Squeeze")(**made)
    if "Recurrent" in name:
        count = int(np.prod(shape))
        made["rec_connect"] = (
            nn.Linear(count, count, bias=count % 2 == 0)
            if len(shape) == 1
            else nn.Sequential(nn.Flatten(), nn.Linear(count, count), nn.Unflatten(1, shape))
            if shape[1] == 2
            else nn.Conv2d(shape[0], shape[0], 3, padding=1)
        )
    module = getattr(layers, name)(**made)
    halve(module)
    return module


def halve(module: Any) -> None:
    """exp(-1/τ) is 1/2 but for its rounding."""
    for key in ("alpha_mem", "alpha_syn", "alpha_adapt"):
        alpha = getattr(module, key, None)
        if alpha is not None and bool((alpha - 0.5).abs().max() < 1e-6):
            with torch.no_grad():
                alpha.fill_(0.5)


def build(name: str, given_to: Any, kind: str) -> tuple[nn.Module, tuple[int, ...]]:
    """Two layers of neurons of a class in (N, T, …), and the shape of the input."""
    last = neuron(name, given_to, (3,)) if name != "ExpLeak" else nn.Identity()
    if kind == "linear":
        model = nn.Sequential(nn.Linear(6, 4), neuron(name, given_to, (4,)), nn.Linear(4, 3), last)
        return model, (6,)
    size = 2 if kind == "small" else 4
    model = nn.Sequential(
        layers.Repeat(nn.Conv2d(2, 3, 3, padding=1)), neuron(name, given_to, (3, size, size)),
        layers.Repeat(nn.Sequential(layers.SumPool2d(2), nn.Flatten())),
        nn.Linear(3 * (size // 2) ** 2, 3), last,
    )  # fmt: skip
    return model, (2, size, size)


def squeezed(name: str, given_to: Any, squeeze: Any) -> tuple[nn.Module, tuple[int, ...]]:
    """The same in (N·T, …), with layers of images between the neurons."""
    last = neuron(name, given_to, (3,), squeeze) if name != "ExpLeak" else nn.Identity()
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), neuron(name, given_to, (3, 4, 4), squeeze),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 3), last,
    )  # fmt: skip
    return model, (2, 4, 4)


def hold(model: nn.Module, shape: Any, steps: int, seed: int, exact: bool, folded: bool) -> float:
    set_weights(model, seed, exact)
    with torch.no_grad():
        # Or a membrane that fires many times a step feeds itself beyond what float32 resolves.
        for path, weight in model.named_parameters():
            if "rec_connect" in path:
                weight.mul_(4).round_().div_(16) if exact else weight.mul_(0.3)
    x = raster(seed, steps, SAMPLES, shape)
    trace = run_sinabs(model, x, folded)
    net = ss.from_torch(model, shape)
    if exact:
        assert_equal(net, x, trace)
        return 1.0
    return assert_within_margin(net, x, trace)


KINDS = st.sampled_from(["linear", "conv", "small"])


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("kind", ["linear", "conv", "small"])
def test_what_is_held_fires(name: str, kind: str):
    plain = {"tau_mem": torch.tensor(2.0)} if "IAF" not in name else {}
    plain |= {"norm_input": False} if "IAF" not in name else {}
    plain |= {"tau_adapt": torch.tensor(3.0)} if "ALIF" in name else {}
    plain |= {"spike_threshold": torch.tensor(0.25)} if name != "ExpLeak" else {}
    model, shape = build(name, lambda _: dict(plain), kind)
    traces = []
    for seed in range(6):
        set_weights(model, seed, exact=True)
        traces.append(run_sinabs(model, raster(seed, 10, SAMPLES, shape)))
    active = [all(0 < (z != 0).mean() < 1 for z in trace.spikes.values()) for trace in traces]
    assert any(active)
    assert traces[0].spikes or np.unique(traces[0].v["1"]).size > 10


@pytest.mark.parametrize("name", NEURONS)
@HALF
@given(data=st.data(), kind=KINDS, steps=st.integers(1, 8), seed=SEEDS)
def test_sinabs_equal(name: str, data: Any, kind: str, steps: int, seed: int):
    model, shape = build(name, data.draw(options(name, exact=True)), kind)
    hold(model, shape, steps, seed, exact=True, folded=False)


@pytest.mark.parametrize("name", NEURONS)
@HALF
@given(data=st.data(), kind=KINDS, steps=st.integers(1, 12), seed=SEEDS)
def test_sinabs_within_the_margin(name: str, data: Any, kind: str, steps: int, seed: int):
    model, shape = build(name, data.draw(options(name, exact=False)), kind)
    assert hold(model, shape, steps, seed, exact=False, folded=False) > 0.8


SQUEEZED = ("IAF", "LIF", "ExpLeak", "ALIF")


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", SQUEEZED)
@HALF
@given(data=st.data(), steps=st.integers(1, 8), seed=SEEDS)
def test_sinabs_squeezed(name: str, data: Any, exact: bool, steps: int, seed: int):
    by_time = data.draw(st.booleans())
    squeeze = {"num_timesteps": steps} if by_time else {"batch_size": SAMPLES}
    model, shape = squeezed(name, data.draw(options(name, exact)), squeeze)
    for module in model:
        halve(module)
    assert hold(model, shape, steps, seed, exact, folded=True) > 0.8
