"""Another order of the sums moves a spike only where the membrane is within rounding of θ.

The proof is a replay in float64: given the spikes that a run itself put into a layer and the
spikes its neurons fired before, what each membrane would be without rounding, and a bound on how
far float32 can be from it, whatever the order of the additions and whether products are fused.
Every decision of every run has to lie on the right side of the threshold or inside that bound;
and where two runs part, they have to part inside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import spikesim as ss
from engines import Engine, Outcome, Reference

U = 2.0**-24  # unit roundoff of float32
Array = NDArray[np.float64]


@dataclass
class Replay:
    """Of one population in one run, (T, N, *shape), float64."""

    distance: Array
    """h − θ, without rounding."""
    bound: Array
    """How far from it float32 can be."""


def f64(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))


def summed(op: Any, x: NDArray[np.float32]) -> tuple[Array, Array]:
    """The layer's sum over (T, N, …) without rounding, and the bound of its rounding."""
    flat = f64(x.reshape(-1, *x.shape[2:]))

    def apply(weight: torch.Tensor, bias: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        if isinstance(op, ss.Linear):
            return torch.nn.functional.linear(values, weight, bias)
        (top, bottom), (left, right) = op.padding
        values = torch.nn.functional.pad(values, (left, right, top, bottom))
        return torch.nn.functional.conv2d(values, weight, bias, stride=op.stride)

    weight = f64(op.weight)
    bias = torch.zeros(weight.shape[0]).double() if op.bias is None else f64(op.bias)
    terms = weight[0].numel() + 3
    exact = apply(weight, bias, flat)
    magnitude = apply(weight.abs(), bias.abs(), flat.abs())
    bound = magnitude * (terms * U / (1 - terms * U))
    shape = (*x.shape[:2], *exact.shape[1:])
    return exact.numpy().reshape(shape), bound.numpy().reshape(shape)


def replay(
    op: ss.Neuron, layer: Any, x: NDArray[np.float32], outcome: Outcome, name: str
) -> Replay:
    """Follows the population `name` of a run with the layer's input `x` (T, N, …)."""
    total, error = summed(layer, x)
    z, seen = outcome.spikes[name], outcome.v[name]
    alpha, gain, leak, theta, reset = (
        float(getattr(op, key)) for key in ("alpha_mem", "gain", "v_leak", "v_threshold", "v_reset")
    )
    v, e = np.zeros_like(total[0]) + float(op.v0), np.zeros_like(total[0])
    i, ei = np.zeros_like(v), np.zeros_like(v)
    distance, bound = np.zeros_like(total), np.zeros_like(total)
    for t in range(len(total)):
        if op.synapse == "none":
            i, ei = total[t], error[t]
        else:
            decay, w = float(op.alpha_syn), float(op.w_in)
            ei = decay * ei + w * error[t] + 3 * U * (abs(decay * i) + abs(w * total[t])) + 1e-30
            i = decay * i + w * total[t]
        h = leak + alpha * (v - leak) + gain * i
        rounding = 5 * U * (abs(alpha) * (abs(v) + abs(leak)) + abs(leak) + abs(gain * i))
        # Twice: the terms above are themselves of exact values, not of the rounded ones.
        e = alpha * e + gain * ei + 2 * rounding + 1e-30
        distance[t], bound[t] = h - theta, e
        fired = z[t] != 0
        if op.reset == "subtract":
            v, e = np.where(fired, h - theta, h), e + 2 * U * np.abs(h - theta)
        else:
            v, e = np.where(fired, reset, h), np.where(fired, 0, e)
        assert (np.abs(seen[t] - v) <= e).all(), f"{name}: membrane off its bound at step {t}"
    return Replay(distance, bound)


def check(net: ss.Network, x: NDArray[np.float32], a: Outcome, b: Outcome) -> int:
    """Two runs of a chain of layer, population, layer, population …; how many neurons part."""
    parted = 0
    ins = [x, x]
    nodes = list(net.nodes)[1:]
    for layer, population in zip(nodes[::2], nodes[1::2], strict=True):
        name, op = population.name, population.op
        shape = layer.in_shape
        ins = [values.reshape(*values.shape[:2], *shape) for values in ins]
        replays = []
        for values, outcome in zip(ins, (a, b), strict=True):
            r = replay(op, layer.op, values, outcome, name)
            fired = outcome.spikes[name] != 0
            assert (r.distance[fired] >= -r.bound[fired]).all(), f"{name} fired below θ"
            assert (r.distance[~fired] <= r.bound[~fired]).all(), f"{name} missed a spike"
            replays.append(r)
        steps, samples = x.shape[:2]
        unequal = (ins[0] != ins[1]).reshape(steps, samples, -1).any(2)
        same_input = np.cumsum(unequal, axis=0) == 0
        differs = a.spikes[name] != b.spikes[name]
        first = differs & (np.cumsum(differs, axis=0) == 1)
        # Where nothing upstream differed until then, rounding is the only cause there can be.
        roots = first & same_input.reshape(steps, samples, *[1] * (differs.ndim - 2))
        for r in replays:
            assert (np.abs(r.distance[roots]) <= r.bound[roots]).all(), name
        parted += int(roots.sum())
        ins = [a.spikes[name], b.spikes[name]]
    return parted


def decimal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Tenths: ties with the threshold are common and no tenth is a float32."""
    return (rng.integers(-4, 5, shape) / 10).astype(np.float32)


@st.composite
def chains(draw: Any) -> tuple[ss.Network, NDArray[np.float32]]:
    """Layer, population, layer, population …, and a raster."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
    tenths = draw(st.booleans(), label="tenths")

    def weights(*shape: int) -> NDArray[np.float32]:
        if tenths:
            return decimal(rng, *shape)
        return rng.normal(0.1, 0.3, shape).astype(np.float32)

    images = draw(st.booleans(), label="images")
    net = ss.Network((2, 5, 5) if images else (30,))
    for depth in range(draw(st.integers(1, 3), label="layers")):
        shape = net.nodes[-1].shape
        bias = weights(6) if draw(st.booleans()) else None
        if len(shape) == 3:
            net.add(ss.Conv2d(weights(6, shape[0], 3, 3), bias, padding=1), name=f"layer{depth}")
        else:
            net.add(ss.Linear(weights(6, shape[0]), bias), name=f"layer{depth}")
        fields: dict[str, Any] = {
            "v_threshold": draw(st.sampled_from([1.0, 0.7, 1.3])),
            "fires": draw(st.sampled_from([">=", ">"])),
            "reset": draw(st.sampled_from(["subtract", "to_value"])),
            "alpha_mem": draw(st.sampled_from([1.0, 1.0, 0.9])),
            "gain": draw(st.sampled_from([1.0, 0.4])),
            "v_leak": draw(st.sampled_from([0.0, 0.1])),
        }
        if draw(st.booleans()):
            fields |= {"synapse": "decay_first", "alpha_syn": 0.8, "w_in": 1.0}
        net.add(ss.Neuron(**fields), name=f"neuron{depth}")
    steps = draw(st.integers(1, 12), label="T")
    rate = draw(st.sampled_from([0.1, 0.4, 1.0]), label="rate")
    x = (rng.random((steps, 2, *net.input_shape)) < rate).astype(np.float32)
    if tenths and draw(st.booleans()):
        x = x * decimal(rng, *x.shape)
    return net, x.astype(np.float32)


@pytest.mark.parametrize("run", [Reference, Engine])
@given(chain=chains())
def test_spikes_differ_only_within_rounding(run: Any, chain: Any) -> None:
    net, x = chain
    check(net, x, run(net).run(x), Reference(net, sums="torch").run(x))


@pytest.mark.parametrize("run", [Reference, Engine])
def test_the_margin_is_not_empty(run: Any) -> None:
    # So many ties in tenths that another order of the sums does move spikes: the test above
    # would be worth nothing if that could not happen.
    rng = np.random.default_rng(0)
    net = ss.Network((200,))
    net.add(ss.Linear(decimal(rng, 100, 200)), name="layer")
    net.add(ss.IF(v_threshold=1.0), name="neuron")
    x = (rng.random((50, 4, 200)) < 0.1).astype(np.float32)
    assert check(net, x, run(net).run(x), Reference(net, sums="torch").run(x)) > 0


def test_the_proof_fails_where_rounding_is_no_excuse() -> None:
    # A threshold off by a ten-thousandth is far outside the bound.
    rng = np.random.default_rng(0)
    net, other = ss.Network((20,)), ss.Network((20,))
    weight = decimal(rng, 10, 20)
    for n, threshold in ((net, 1.0), (other, 1.0001)):
        n.add(ss.Linear(weight), name="layer")
        n.add(ss.IF(v_threshold=threshold), name="neuron")
    x = (rng.random((20, 4, 20)) < 0.2).astype(np.float32)
    a, b = Reference(net).run(x), Reference(other).run(x)
    assert (a.spikes["neuron"] != b.spikes["neuron"]).any()
    with pytest.raises(AssertionError):
        check(net, x, a, b)
