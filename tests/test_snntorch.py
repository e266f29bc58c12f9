"""from_torch: every neuron of snnTorch, with every option, fires as in snnTorch."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")

from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from libraries import assert_equal, neuron_modules, outcomes, run_library  # noqa: E402
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

# The neurons that are called step by step, and the states that they are given and return.
STATES = {
    "Leaky": ("mem",),
    "Synaptic": ("syn", "mem"),
    "Lapicque": ("mem",),
    "Alpha": ("syn_exc", "syn_inh", "mem"),
    "RLeaky": ("spk", "mem"),
    "RSynaptic": ("spk", "syn", "mem"),
}
pytestmark = pytest.mark.filterwarnings("ignore")


@st.composite
def neurons(draw: Draw, name: str, exact: bool, hidden: bool, steps: int) -> Any:
    """`make(shape)` of a neuron with options drawn; `exact`: whose arithmetic is exact so long."""
    options: dict[str, Any] = {
        "init_hidden": hidden,
        "reset_mechanism": draw(st.sampled_from(["subtract", "zero", "none"])),
        "learn_threshold": draw(st.booleans()),
    }
    if name in ("Leaky", "Synaptic", "RLeaky") or (name == "RSynaptic" and not hidden):
        options["reset_delay"] = draw(st.booleans())
    # Above 1 and below 0 the library clamps. Quarters take two bits of the mantissa a step.
    decays = [0.5, 0.0, 1.0, 1.5, -0.5] + [0.25] * (steps <= 6)
    rates = st.sampled_from(decays) if exact else st.floats(0.05, 0.99)
    beta, alpha = draw(rates), draw(rates)
    factor = draw(st.sampled_from([1.0, 0.5, 2.0]))
    # With the low one membranes often stay above the threshold after a reset.
    threshold = draw(st.sampled_from([0.5, 0.125]))
    vector = draw(st.booleans())
    to_itself = draw(st.booleans())
    bias = draw(st.booleans())

    def spread(value: float, others: list[float], shape: tuple[int, ...]) -> Any:
        # As torch broadcasts: over the last axis; with ones behind it, over channels.
        if not vector:
            return value
        axis = 0 if bias else -1
        values = torch.tensor([value, *others] * 4)[: shape[axis]]
        return values.reshape(-1, *(1 for _ in shape[1:])) if bias else values

    def make(shape: tuple[int, ...]) -> nn.Module:
        given: dict[str, Any] = {**options, "threshold": spread(threshold, [0.75, 0.25], shape)}
        if name == "Lapicque":
            given |= {"R": 2.0, "C": 1.0} if exact else {"R": 1.0 + beta, "C": 1.0 + alpha}
        elif name == "Alpha":
            slow, fast = (0.5, 0.25) if exact else (max(alpha, beta) + 0.005, min(alpha, beta))
            given |= {"alpha": slow, "beta": fast}
        else:
            given["beta"] = spread(beta, [0.5, 0.0], shape)
            given["learn_beta"] = draw(st.booleans())
        if name in ("Synaptic", "RSynaptic"):
            given["alpha"] = spread(alpha, [0.0, 0.5], shape)
            given["learn_alpha"] = bias
        if name in ("RLeaky", "RSynaptic"):
            given["learn_recurrent"] = bias
            if to_itself or len(shape) == 2:
                given |= {"all_to_all": False, "V": spread(-0.5, [0.25, 1.0], shape)}
            elif len(shape) == 1:
                given["linear_features"] = shape[0]
            else:
                given |= {"conv2d_channels": shape[0], "kernel_size": (3, 1) if bias else 3}
        cell = getattr(snn, name)(**given)
        cell.graded_spikes_factor = torch.tensor(factor)
        return cell

    return make


class Threaded(nn.Module):
    """Two layers and their neurons; forward takes and returns the states."""


def threaded(model: nn.Sequential, states: tuple[str, ...]) -> nn.Module:
    """The same model with its states threaded through forward, as snnTorch's users write it."""
    module, layers, source, names = Threaded(), [], ["s = x"], []
    for child in model:
        if not isinstance(child, snn.SpikingNeuron):
            layers.append(child)
            continue
        k = len(names) // len(states)
        setattr(module, f"a{k}", nn.Sequential(*layers))
        setattr(module, f"n{k}", child)
        own = [f"{state}{k}" for state in states]
        got = own if "spk" in states else ["s", *own]
        source.append(f"{', '.join(got)} = self.n{k}(self.a{k}(s), {', '.join(own)})")
        source.append(f"s = {got[0]}")
        names += own
        layers = []
    body = "\n    ".join([*source, f"return s, {', '.join(names)}"])
    space: dict[str, Any] = {}
    exec(f"def forward(self, x, {', '.join(names)}):\n    {body}", space)
    cls = types.new_class("Threaded", (Threaded,), {}, lambda ns: ns.update(space))
    module.__class__ = cls
    return module.eval()


def check_threaded(
    model: nn.Sequential, name: str, shape: tuple[int, ...], steps: int, seed: int, exact: bool
) -> None:
    """As `check`, with the states passed on by the caller."""
    module = threaded(model, STATES[name])
    net = ss.from_torch(module, shape)
    x = raster(seed, steps, 2, shape)
    state = [
        torch.zeros(2, *net.node(place).shape)
        for place, _ in neuron_modules(module)
        for _ in STATES[name]
    ]

    def step(m: Any, now: Any) -> Any:
        out, *state[:] = m(now, *state)
        return out

    hold(module, shape, x, run_library(module, x, step), exact)


@pytest.mark.parametrize("name", STATES)
@given(st.data(), layouts(), st.booleans(), st.integers(1, 12), SEEDS)
def test_equal_to_the_spike(
    name: str, data: Any, layout: Any, hidden: bool, steps: int, seed: int
) -> None:
    kind, shape = layout
    if name in ("Lapicque", "Alpha"):
        steps = min(steps, 8)
    make = data.draw(neurons(name, exact=True, hidden=hidden, steps=steps))
    model = set_weights(build(kind, make, data.draw), seed, exact=True)
    if hidden:
        check(model, shape, steps, seed, exact=True)
    else:
        check_threaded(model, name, shape, steps, seed, exact=True)


@pytest.mark.parametrize("name", STATES)
@given(st.data(), layouts(), st.booleans(), st.integers(1, 12), SEEDS)
def test_within_the_margin(
    name: str, data: Any, layout: Any, hidden: bool, steps: int, seed: int
) -> None:
    kind, shape = layout
    make = data.draw(neurons(name, exact=False, hidden=hidden, steps=steps))
    model = set_weights(build(kind, make, data.draw), seed, exact=False)
    if hidden:
        check(model, shape, steps, seed, exact=False)
    else:
        check_threaded(model, name, shape, steps, seed, exact=False)


def test_snntorch_output_true_at_the_end_of_a_sequential():
    model = nn.Sequential(
        nn.Linear(5, 6), snn.Leaky(0.5, init_hidden=True), nn.Linear(6, 3),
        snn.Leaky(0.5, init_hidden=True, output=True),
    )  # fmt: skip
    set_weights(model, 2, exact=True)
    x = raster(4, 8, 2, (5,))
    assert_equal(ss.from_torch(model, (5,)), x, run_library(model, x))


def test_a_vector_acts_on_the_last_axis_as_in_torch():
    beta = torch.tensor([0.5, 0.25, 0.0, 1.0])
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), snn.Leaky(beta, init_hidden=True))
    set_weights(model, 6, exact=True)
    op: Any = ss.from_torch(model, (1, 4, 4)).node("1").op
    np.testing.assert_array_equal(op.alpha_mem, np.broadcast_to(beta.numpy(), (4, 4, 4)))
    x = raster(6, 6, 2, (1, 4, 4))
    assert_equal(ss.from_torch(model, (1, 4, 4)), x, run_library(model, x))
    model[1].beta = beta.reshape(1, 4, 1, 1)
    op = ss.from_torch(model, (1, 4, 4)).node("1").op
    np.testing.assert_array_equal(op.alpha_mem, beta.numpy())
    assert_equal(ss.from_torch(model, (1, 4, 4)), x, run_library(model, x))


def rsynaptic_at_once(mechanism: str) -> nn.Module:
    model = nn.Sequential(
        nn.Linear(5, 4),
        snn.RSynaptic(
            0.5, 0.5, linear_features=4, threshold=0.5, reset_delay=False,
            reset_mechanism=mechanism,
        ),
    )  # fmt: skip
    return set_weights(model, 7, exact=True)


def test_rsynaptic_without_a_delay_needs_its_states():
    # In snnTorch its forward uses the arguments, which are None: nothing to be equal to.
    cell = snn.RSynaptic(0.5, 0.5, linear_features=4, reset_delay=False, init_hidden=True)
    with pytest.raises(TypeError):
        cell(torch.zeros(1, 4))
    message = "RSynaptic with reset_delay=False raises a TypeError in snnTorch unless"
    with pytest.raises(ss.errors.UnsupportedError, match=message):
        ss.from_torch(nn.Sequential(cell), (4,))


@pytest.mark.parametrize("mechanism", ["subtract", "zero", "none"])
def test_rsynaptic_without_a_delay_resets_late_all_the_same(mechanism: str):
    # Given its states, it computes a reset and loses it.
    model = rsynaptic_at_once(mechanism)
    module = threaded(model, STATES["RSynaptic"])
    op: Any = ss.from_torch(module, (5,)).node("n0").op
    assert op.meta["reset_delay"] is False
    assert op.reset_timing == ("same_step" if mechanism == "none" else "next_step_after")
    check_threaded(rsynaptic_at_once(mechanism), "RSynaptic", (5,), 8, 7, exact=True)


# States that are not the neuron's own, and options that no rule says

CROSSED = {
    "swapped": (
        "s, syn, mem = self.n(x, mem, syn)",
        "n: its membrane argument is the argument 'syn' of forward that belongs to n as its "
        "synaptic current, expected a state of its own; pass each neuron the membrane that it "
        "returned itself",
    ),
    "one for both": (
        "s, syn, mem = self.n(x, syn, syn)",
        "n: its membrane argument is the argument 'syn' of forward that belongs to n as its "
        "synaptic current, ",
    ),
    "within a step": (
        "s, syn, mem = self.n(x, syn, mem); s, a, b = self.m(s, mem, None)",
        "m: its synaptic current argument is the state that belongs to n as its membrane, ",
    ),
    "computed": (
        "s, syn, mem = self.n(x, x, mem)",
        "n: its synaptic current argument is computed in forward, ",
    ),
    "its own output": (
        "mem = self.r(x, x, mem); s, mem = mem",
        "r: its spikes argument is computed in forward, ",
    ),
    "too many": (
        "s, syn, mem = self.n(x, syn, mem, mem)",
        "n: the call is not (input, syn, mem), expected the output of a layer and at most",
    ),
    "hidden": (
        "s = self.h(x, mem)",
        "h: is given mem with init_hidden=True, which snnTorch raises a TypeError for; expected",
    ),
}


class Crossed(nn.Module):
    """Neurons whose states a forward of its own mixes up."""

    def __init__(self) -> None:
        super().__init__()
        self.n, self.m = snn.Synaptic(0.5, 0.5), snn.Synaptic(0.5, 0.5)
        self.r = snn.RLeaky(0.5, linear_features=4)
        self.h = snn.Leaky(0.5, init_hidden=True)


@pytest.mark.parametrize("case", CROSSED)
def test_states_of_several_kinds_are_not_mixed_up(case: str):
    body, message = CROSSED[case]
    space: dict[str, Any] = {}
    exec(f"def forward(self, x, syn, mem):\n    {body}\n    return s, syn, mem", space)
    cls = types.new_class("Model", (Crossed,), {}, lambda ns: ns.update(space))
    with pytest.raises(ss.errors.UnsupportedError) as caught:
        ss.from_torch(cls(), (4,))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("option", ["inhibition", "state_quant"])
def test_an_option_that_no_rule_says_is_refused(name: str, option: str):
    arguments: dict[str, tuple[Any, ...]] = {"Leaky": (0.5,), "RLeaky": (0.5,), "Lapicque": (0.5,)}
    extra = {"linear_features": 4} if name.startswith("R") else {}
    given = arguments.get(name, (0.5, 0.25))
    cell = getattr(snn, name)(*given, **{option: torch.round}, **extra, init_hidden=True)
    with pytest.raises(ss.errors.UnsupportedError, match=f"0: {option} is set, expected a {name} "):
        ss.from_torch(nn.Sequential(cell), (4,))


def test_a_recurrent_layer_of_ones_own_is_refused():
    cell = snn.RLeaky(0.5, linear_features=4, init_hidden=True)
    cell.recurrent = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    message = "0.recurrent: Sequential is not supported as a recurrent layer, expected Linear"
    with pytest.raises(ss.errors.UnsupportedError, match=message):
        ss.from_torch(nn.Sequential(cell), (4,))
    # The library fails on an even kernel, which changes the size of its map.
    even = snn.RLeaky(0.5, conv2d_channels=2, kernel_size=2, init_hidden=True)
    with pytest.raises(ss.errors.ShapeError):
        ss.from_torch(nn.Sequential(even), (2, 4, 4))


# Neurons that take the whole sequence


def run_sequence(model: nn.Module, x: Any) -> tuple[Any, Any]:
    """Spikes and membranes (or None) of a model that takes (T, N, …)."""
    with torch.no_grad():
        out = model(torch.from_numpy(x))
    spikes, v = out if isinstance(out, tuple) else (out, None)
    return spikes.numpy(), None if v is None else v.numpy()


@given(st.booleans(), st.booleans(), st.floats(0.0, 0.95), st.integers(1, 12), SEEDS)
def test_state_leaky_and_linear_leaky(
    linear: bool, vector: bool, beta: float, steps: int, seed: int
):
    # Its weights exp(-k/tau) are no powers of anything dyadic: by the margin alone.
    decay: Any = torch.linspace(beta, 0.9, 4) if vector else beta
    options: dict[str, Any] = {"threshold": 0.7, "graded_spikes_factor": 0.5}
    if linear:
        cell = snn.LinearLeaky(decay, 5, 4, **options)
        model = nn.Sequential(cell)
    else:
        cell = snn.StateLeaky(decay, 4, **options)
        model = nn.Sequential(nn.Linear(5, 4), cell)
    set_weights(model, seed, exact=False)
    x = raster(seed, steps, 3, (5,))
    spikes, v = run_sequence(model, x)
    net = ss.from_torch(model, (5,))
    name = net.output
    assert name is not None
    assert net.nodes[1].name == ("0.linear" if linear else "0")
    # The factor acts twice. Without a reset no spike changes what comes after it.
    close = np.abs(v - np.float32(0.7)) <= 2e-5 * (1 + np.abs(v).max())
    for _, got in outcomes(net, x):
        np.testing.assert_allclose(got.v[name], v, atol=2e-5 * (1 + np.abs(v).max()))
        assert np.all((got.spikes[name] * 0.25 == spikes) | close)


def test_state_leaky_without_spikes_gives_its_membrane():
    model = nn.Sequential(nn.Linear(5, 4), snn.StateLeaky(0.5, 4, output=False), nn.Linear(4, 2))
    set_weights(model, 3, exact=False)
    x = raster(3, 9, 2, (5,))
    out, _ = run_sequence(model, x)
    got = ss.from_torch(model, (5,)).compile().run(x)
    np.testing.assert_allclose(got.output, out.sum(0), atol=1e-4)


@pytest.mark.parametrize("name", ["LeakyParallel", "LeakyKernel"])
@given(st.booleans(), st.booleans(), st.integers(1, 12), SEEDS)
def test_leaky_parallel(name: str, bias: bool, vector: bool, steps: int, seed: int):
    from snntorch._neurons import leakykernel

    cls = snn.LeakyParallel if name == "LeakyParallel" else leakykernel.LeakyKernel
    cell = cls(5, 4, beta=0.5, bias=bias, threshold=0.5, graded_spikes_factor=2.0)
    model = set_weights(nn.Sequential(cell, nn.Linear(4, 3)), seed, exact=True)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in cell.rnn.parameters():
            parameter.copy_(torch.from_numpy(rng.integers(-8, 9, tuple(parameter.shape)) / 16))
        decays = torch.tensor([0.5, 0.0, 1.0, 0.5] if vector else [0.5] * 4)
        cell.rnn.weight_hh_l0.copy_(torch.diag(decays))
    x = raster(seed, steps, 2, (5,))
    spikes, _ = run_sequence(model[0], x)
    net = ss.from_torch(model, (5,))
    assert [n.name for n in net.nodes] == ["input", "0.rnn", "0", "1"]
    for run in (ss.reference.run(net, x, record=("spikes",)).spikes["0"],
                net.compile().run(x, record=("spikes",)).spikes["0"].to_dense()):  # fmt: skip
        np.testing.assert_array_equal(run * 2.0, spikes)


# State dicts of 0.8


def layers_of_every_kind() -> nn.Sequential:
    """One of each neuron whose state 0.8 saved."""
    return nn.Sequential(
        nn.Linear(5, 4), snn.Leaky(0.5, init_hidden=True, learn_beta=True),
        snn.Synaptic(0.5, 0.25, init_hidden=True), snn.Lapicque(R=2.0, C=1.0, init_hidden=True),
        snn.RLeaky(0.5, linear_features=4, init_hidden=True),
        snn.RSynaptic(0.5, 0.5, all_to_all=False, V=0.5, init_hidden=True),
        snn.Alpha(0.5, 0.25, init_hidden=True),
    )  # fmt: skip


# As 0.8.0 and 0.8.1 save them: buffers of the last batch's shape beside what 1.0 saves.
SAVED = {1: ["mem"], 2: ["syn", "mem"], 3: ["mem"], 4: ["spk", "mem"], 5: ["spk", "syn", "mem"],
         6: ["syn_exc", "syn_inh", "mem"]}  # fmt: skip


def state_of_0_8() -> dict[str, Any]:
    """Of a model with other numbers than `layers_of_every_kind` begins with."""
    model = set_weights(layers_of_every_kind(), 11, exact=True)
    model[1].threshold = torch.tensor(0.25)
    state = dict(model.state_dict())
    for place, names in SAVED.items():
        for name in names:
            state[f"{place}.{name}"] = torch.ones(3, 4) if name == "mem" else torch.ones(1)
    return state


def test_a_state_dict_of_0_8_is_loaded_without_its_states():
    model, state = layers_of_every_kind(), state_of_0_8()
    with pytest.raises(RuntimeError, match="Unexpected key"):
        model.load_state_dict(state)
    left_out = ss.convert.load_snntorch_state(model, state)
    assert left_out == [f"{place}.{name}" for place, names in SAVED.items() for name in names]
    assert {k: v.tolist() for k, v in model.state_dict().items()} == {
        k: v.tolist() for k, v in state.items() if k not in left_out
    }
    # What 1.0 saves goes in as it is.
    again = layers_of_every_kind()
    assert ss.convert.load_snntorch_state(again, model.state_dict()) == []
    assert float(again[1].threshold) == 0.25


def test_buffers_that_old_versions_lacked_stay_the_models_own():
    lif = snn.Leaky(0.5, graded_spikes_factor=3.0, reset_mechanism="zero")
    old = {"beta": torch.tensor(0.75), "threshold": torch.tensor(2.0), "mem": torch.zeros(1)}
    assert ss.convert.load_snntorch_state(lif, old) == ["mem"]
    numbers = [float(lif.state_dict()[name]) for name in ("beta", "threshold")]
    assert numbers == [0.75, 2.0]
    assert float(lif.graded_spikes_factor) == 3.0
    assert int(lif.reset_mechanism_val) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update({"0.mem": torch.zeros(1)}), "0.mem is in the state dict and not in"),
        (lambda s: s.update({"1.syn": torch.zeros(1)}), "1.syn is in the state dict and not in"),
        (lambda s: s.update({"7.mem": torch.zeros(1)}), "7.mem is in the state dict and not in"),
        (lambda s: s.pop("1.beta"), "1.beta is missing in the state dict, expected it there"),
        (lambda s: s.update({"0.bias": torch.zeros(2)}), "0.bias has shape (2,), expected (4,)"),
        (lambda s: s.update({"0.bias": 1.0}), "0.bias is a float, expected a tensor"),
    ],
)
def test_any_other_difference_is_refused_by_name(change: Any, message: str):
    model, state = layers_of_every_kind(), state_of_0_8()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    change(state)
    with pytest.raises(ss.errors.InputError) as caught:
        ss.convert.load_snntorch_state(model, state)
    assert str(caught.value).startswith(f"load_snntorch_state: {message}")
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_what_is_no_model_or_no_state_dict():
    for module, state in ((3, {}), (snn.Leaky(0.5), [1])):
        with pytest.raises(ss.errors.InputError, match=r"^load_snntorch_state: "):
            ss.convert.load_snntorch_state(module, state)  # type: ignore[arg-type]
