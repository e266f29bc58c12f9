"""from_torch: SpikingJelly's neurons, layers and containers compute what they compute there."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")

from spikingjelly.activation_based import functional, layer, neuron, surrogate  # noqa: E402
from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from libraries import (  # noqa: E402
    assert_equal,
    neuron_modules,
    outcomes,
    run_library,
    run_multi_step,
)
from torch_models import (  # noqa: E402
    SEEDS,
    build,
    check,
    hold,
    layouts,
    raster,
    set_weights,
)

Draw = Any
Make = Callable[[tuple[int, ...]], nn.Module]


@st.composite
def neurons(draw: Draw, name: str, exact: bool) -> Make:
    """`make(shape)` of a neuron with options drawn; `exact`: on a grid that sums stay on."""
    v_threshold = draw(st.sampled_from([0.5, 0.75, 1.0]))
    v_reset = draw(st.sampled_from([None, 0.0, -0.25, 0.125]))
    tau = 2.0 if exact else draw(st.floats(1.1, 20.0))
    decay_input = draw(st.booleans())
    rates = st.sampled_from([0.5, 0.0, 1.0]) if exact else st.floats(0.05, 0.95)
    first, second = draw(rates), draw(rates)
    common: dict[str, Any] = {"v_threshold": v_threshold, "v_reset": v_reset}
    cls = getattr(neuron, name)
    options: dict[str, Any]
    if name in ("IFNode", "SimpleIFNode", "TernaryIFNode"):
        options = common
    elif name in ("LIFNode", "TernaryLIFNode", "OTTTLIFNode", "SLTTLIFNode"):
        options = {**common, "tau": tau, "decay_input": decay_input}
    elif name == "SimpleLIFNode":
        options = {**common, "v_reset": v_reset or 0.0, "tau": tau, "decay_input": decay_input}
    elif name == "ParametricLIFNode":
        options = {**common, "init_tau": tau, "decay_input": decay_input}
    elif name == "CUBALIFNode":
        options = {**common, "c_decay": first, "v_decay": second}
    elif name == "HalfThresholdIFNode":
        options = {"v_threshold": v_threshold}
    elif name == "KLIFNode":
        scale = draw(st.booleans())
        floor = 0.0 if v_reset is None or v_reset < 0 or not scale else v_reset
        options = {
            **common, "v_reset": draw(st.sampled_from([None, floor])), "tau": tau,
            "decay_input": decay_input, "scale_reset": scale,
        }  # fmt: skip
    else:
        assert name == "ActivationAwareIFNode"
        # Its own default is the last axis; the first one after the batch is that of channels.
        options = {"channel_dim": draw(st.sampled_from([1, -1])), "v_reset": v_reset}
    k = draw(st.sampled_from([0.5, 1.0, 2.0])) if exact else draw(st.floats(0.3, 2.5))
    start = draw(st.sampled_from([None, 0.25]))

    def make(shape: tuple[int, ...]) -> nn.Module:
        given = dict(options)
        if name == "ActivationAwareIFNode":
            size = shape[0] if options["channel_dim"] == 1 else shape[-1]
            values = torch.tensor([0.5, 0.75, 1.0] * 4)[:size]
            given["v_threshold"] = values if decay_input else 0.5
            if v_reset is not None:
                given["v_offset"] = torch.tensor([0.0, 0.25, -0.25] * 4)[:size]
        node = cls(**given)
        if name == "KLIFNode":
            node.k.data.fill_(k)
        if start is not None and name != "HalfThresholdIFNode":
            node.set_reset_value("v", start)
        return node

    return make


STEPWISE = (
    "IFNode", "LIFNode", "ParametricLIFNode", "CUBALIFNode", "SimpleIFNode", "SimpleLIFNode",
    "HalfThresholdIFNode", "ActivationAwareIFNode", "KLIFNode", "TernaryIFNode",
    "TernaryLIFNode", "OTTTLIFNode", "SLTTLIFNode",
)  # fmt: skip


def in_steps(model: nn.Sequential) -> nn.Sequential:
    """The same model in multi-step mode: what has no state in containers."""
    neurons = {name for name, _ in neuron_modules(model)}
    for name, child in list(model.named_children()):
        if name in neurons:
            child.step_mode = "m"
        else:
            model[int(name)] = layer.SeqToANNContainer(child)
    return model.eval()


def check_in_steps(model: nn.Sequential, shape: Any, steps: int, seed: int, exact: bool) -> None:
    x = raster(seed, steps, 2, shape)
    model = in_steps(model)
    hold(model, shape, x, run_multi_step(model, x), exact)


@pytest.mark.parametrize("name", STEPWISE)
@given(st.data(), layouts(), st.booleans(), st.integers(1, 10), SEEDS)
def test_equal_to_the_spike(
    name: str, data: Any, layout: Any, sequence: bool, steps: int, seed: int
) -> None:
    kind, shape = layout
    make = data.draw(neurons(name, exact=True))
    model = set_weights(build(kind, make, data.draw), seed, exact=True)
    (check_in_steps if sequence else check)(model, shape, steps, seed, exact=True)


@pytest.mark.parametrize("name", STEPWISE)
@given(st.data(), layouts(), st.booleans(), st.integers(1, 12), SEEDS)
def test_within_the_margin(
    name: str, data: Any, layout: Any, sequence: bool, steps: int, seed: int
) -> None:
    kind, shape = layout
    make = data.draw(neurons(name, exact=False))
    model = set_weights(build(kind, make, data.draw), seed, exact=False)
    (check_in_steps if sequence else check)(model, shape, steps, seed, exact=False)


# Neurons that take whole sequences


@pytest.mark.parametrize("name", ["DSRIFNode", "DSRLIFNode"])
@given(st.booleans(), st.sampled_from([0.5, 0.25, 1.0]), st.integers(1, 12), SEEDS)
def test_dsr_neurons(name: str, exact: bool, alpha: float, steps: int, seed: int) -> None:
    exact = exact and name == "DSRIFNode"  # the other decays by an exponential
    options: dict[str, Any] = {"v_threshold": 0.5, "alpha": alpha}
    if name == "DSRLIFNode":
        options |= {"tau": 0.2, "delta_t": 0.25}
    model = nn.Sequential(
        nn.Linear(5, 6), getattr(neuron, name)(**options), nn.Linear(6, 4),
        getattr(neuron, name)(**options),
    )  # fmt: skip
    set_weights(model, seed, exact)
    x = raster(seed, steps, 2, (5,))
    trace = run_multi_step(model, x)
    net = ss.from_torch(model, (5,))
    for place in trace.spikes:
        # What leaves it is θ (or θ/delta_t) for a spike; the record counts spikes.
        op: Any = net.node(place).op
        trace.spikes[place] = np.round(trace.spikes[place] / op.spike_amplitude)
    if not exact:
        # No membrane is shown: what the spikes are within rounding of is our own.
        trace.v = {}
        hold(model, (5,), x, trace, exact=False)
        return
    assert_equal(net, x, trace)


@pytest.mark.parametrize("name", ["NonSpikingIFNode", "NonSpikingLIFNode"])
@pytest.mark.parametrize("decode", ["last_mem", "max-mem", "mean-mem"])
def test_neurons_that_do_not_spike(name: str, decode: str) -> None:
    options = {"tau": 3.0} if name == "NonSpikingLIFNode" else {}
    model = nn.Sequential(
        layer.Linear(5, 6, step_mode="m"), neuron.IFNode(0.5, step_mode="m"),
        layer.Linear(6, 4, step_mode="m"), getattr(neuron, name)(decode=decode, **options),
    )  # fmt: skip
    set_weights(model, 3, exact=False)
    x = raster(3, 9, 3, (5,))
    trace = run_multi_step(model, x)
    net = ss.from_torch(model, (5,))
    assert net.readout == {"last_mem": "last_v", "max-mem": "max_v", "mean-mem": "mean"}[decode]
    for _, got in outcomes(net, x):
        np.testing.assert_allclose(got.output, trace.out, atol=2e-5)


# Layers and containers


@pytest.mark.parametrize("mode", ["s", "m"])
def test_layers_and_step_modes(mode: str):
    model = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1), layer.BatchNorm2d(4), neuron.IFNode(0.5),
        layer.MaxPool2d(2), layer.Conv2d(4, 4, 3, bias=False),
        neuron.LIFNode(2.0, False, 0.5, None), layer.Upsample(scale_factor=2),
        layer.AvgPool2d(2), layer.AdaptiveAvgPool2d((1, 1)), layer.Dropout(0.5), layer.Flatten(),
        layer.Linear(4, 3), neuron.IFNode(0.5, None),
    )  # fmt: skip
    functional.set_step_mode(model, mode)
    set_weights(model, 3, exact=True)
    x = raster(3, 6, 2, (2, 8, 8))
    trace = run_library(model, x) if mode == "s" else run_multi_step(model, x)
    assert trace.spikes["5"].any()
    assert_equal(ss.from_torch(model, (2, 8, 8)), x, trace)


@pytest.mark.parametrize("mode", ["s", "m"])
def test_layers_of_one_axis(mode: str):
    model = nn.Sequential(
        layer.Conv1d(3, 4, 3, padding=1), layer.BatchNorm1d(4), neuron.IFNode(0.5),
        layer.MaxPool1d(2), layer.Dropout2d(0.5), layer.Conv1d(4, 4, 2), neuron.IFNode(0.5),
        layer.AvgPool1d(3), layer.Flatten(), layer.Linear(4, 3), neuron.IFNode(0.5),
    )  # fmt: skip
    if mode == "m":
        model[1] = layer.ThresholdDependentBatchNorm1d(1.0, 0.5, 4)
    functional.set_step_mode(model, mode)
    set_weights(model, 3, exact=False)  # an average of three is no dyadic number
    x = raster(3, 6, 2, (3, 8))
    trace = run_library(model, x) if mode == "s" else run_multi_step(model, x)
    assert trace.spikes["10"].any()
    hold(model, (3, 8), x, trace, exact=False)


class Containers(nn.Module):
    """The multi-step containers, plain torch layers in them, and a readout over time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = layer.SeqToANNContainer(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
        self.spike = neuron.LIFNode(2.0, v_threshold=0.5, step_mode="m")
        self.block = layer.MultiStepContainer(nn.Conv2d(4, 2, 3), neuron.IFNode(0.5))
        self.fc = nn.Linear(2 * 16, 3)

    def forward(self, x: Any) -> Any:
        x = self.block(self.spike(self.stem(x)))
        x = x.view(x.shape[0], x.shape[1], -1)
        return self.fc(x).mean(0)


def test_containers_and_a_mean_over_time():
    model = set_weights(Containers(), 5, exact=True)
    x = raster(5, 4, 2, (1, 8, 8))
    trace = run_multi_step(model, x)
    net = ss.from_torch(model, (1, 8, 8))
    assert net.readout == "mean"
    assert [n.name for n in net.nodes] == [
        "input", "stem.0", "stem.1", "spike", "block.0", "block.1", "view", "fc",
    ]  # fmt: skip
    assert trace.spikes["block.1"].any()
    assert_equal(net, x, trace)
    np.testing.assert_allclose(ss.reference.run(net, x).output, trace.out, atol=1e-6)


class Sum(nn.Module):
    """A loop through a container that adds its own output of the step before."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.fc1 = nn.Linear(5, 4)
        block = nn.Sequential(nn.Linear(4, 4), neuron.IFNode(0.5))
        self.loop = layer.ElementWiseRecurrentContainer(block, function)
        self.fc2 = nn.Linear(4, 3)
        self.last = neuron.IFNode(0.5)

    def forward(self, x: Any) -> Any:
        return self.last(self.fc2(self.loop(self.fc1(x))))


@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("function", [operator.add, torch.add, lambda x, y: x + y])
@given(steps=st.integers(1, 8), seed=SEEDS)
def test_element_wise_recurrence(mode: str, function: Any, steps: int, seed: int) -> None:
    model = set_weights(Sum(function), seed, exact=True)
    x = raster(seed, steps, 2, (5,))
    if mode == "m":
        model.loop.step_mode = model.last.step_mode = "m"
    trace = (run_library if mode == "s" else run_multi_step)(model, x)
    assert_equal(ss.from_torch(model, (5,)), x, trace)


@pytest.mark.parametrize("mode", ["s", "m"])
@given(bias=st.booleans(), steps=st.integers(1, 8), seed=SEEDS)
def test_linear_recurrence(mode: str, bias: bool, steps: int, seed: int) -> None:
    inner = nn.Sequential(nn.Linear(3, 4), neuron.LIFNode(2.0, v_threshold=0.5))
    model = nn.Sequential(
        layer.LinearRecurrentContainer(inner, 3, 4, bias, step_mode=mode), nn.Linear(4, 3),
        neuron.IFNode(0.5, step_mode=mode),
    )  # fmt: skip
    model = nn.Sequential(nn.Linear(5, 3), *model)
    set_weights(model, seed, exact=True)
    x = raster(seed, steps, 2, (5,))
    trace = (run_library if mode == "s" else run_multi_step)(model, x)
    assert_equal(ss.from_torch(model, (5,)), x, trace)


@pytest.mark.parametrize("mode", ["s", "m"])
@given(steps=st.integers(0, 4), seed=SEEDS)
def test_a_delay_layer(mode: str, steps: int, seed: int) -> None:
    model = nn.Sequential(
        layer.Linear(5, 6), neuron.IFNode(0.5), layer.Delay(steps), layer.Linear(6, 3),
        layer.Delay(1), neuron.IFNode(0.5),
    )  # fmt: skip
    functional.set_step_mode(model, mode)
    set_weights(model, seed, exact=True)
    x = raster(seed, 7, 2, (5,))
    trace = (run_library if mode == "s" else run_multi_step)(model, x)
    assert_equal(ss.from_torch(model, (5,)), x, trace)


@pytest.mark.parametrize("size", [2, 3])
def test_votes(size: int) -> None:
    model = nn.Sequential(
        layer.Linear(5, 13), neuron.IFNode(0.5), layer.PrintShapeModule(), layer.VotingLayer(size)
    )
    functional.set_step_mode(model, "m")
    set_weights(model, 1, exact=True)
    x = raster(1, 5, 2, (5,))
    trace = run_multi_step(model, x)
    net = ss.from_torch(model, (5,))
    for _, got in outcomes(net, x):
        np.testing.assert_allclose(got.output, trace.out.sum(0), atol=1e-5)
        assert got.output.any()


@pytest.mark.parametrize("gain", [True, False])
@given(seed=SEEDS)
def test_standardised_weights(gain: bool, seed: int) -> None:
    model = nn.Sequential(
        layer.WSConv2d(2, 4, 3, padding=1, groups=2, gain=gain), neuron.IFNode(0.5),
        layer.Flatten(), layer.WSLinear(4 * 36, 5, gain=gain, bias=False), neuron.IFNode(0.5),
    )  # fmt: skip
    check(set_weights(model, seed, exact=False), (2, 6, 6), 6, seed, exact=False)


# Surrogates


class Strict(nn.Module):
    """Fires above the threshold, not at it."""

    def forward(self, x: Any) -> Any:
        return (x > 0).float()


def test_the_surrogates_own_test_of_the_threshold_counts():
    for function, fires in ((surrogate.ATan(), ">="), (Strict(), ">")):
        model = nn.Sequential(nn.Linear(5, 6), neuron.IFNode(0.5, surrogate_function=function))
        set_weights(model, 4, exact=True)
        op: Any = ss.from_torch(model, (5,)).node("1").op
        assert op.fires == fires
        check(model, (5,), 8, 4, exact=True)


@pytest.mark.parametrize(
    "function",
    [
        name
        for name in sorted(vars(surrogate))
        if isinstance(getattr(surrogate, name), type)
        and issubclass(getattr(surrogate, name), surrogate.SurrogateFunctionBase)
        and getattr(surrogate, name) is not surrogate.SurrogateFunctionBase
    ],
)
def test_every_surrogate_is_a_step_or_refused(function: str):
    options = {"max_spike_count": 4} if function == "MultiLevelSpikeCount" else {}
    node = neuron.IFNode(0.5, surrogate_function=getattr(surrogate, function)(**options))
    model = set_weights(nn.Sequential(nn.Linear(5, 6), node), 4, exact=True)
    if function in ("PoissonPass", "MultiLevelSpikeCount"):
        with pytest.raises(ss.errors.UnsupportedError, match="1: surrogate_function "):
            ss.from_torch(model, (5,))
    else:
        check(model, (5,), 5, 4, exact=True)
