"""to_torch: the module computes what the network computes, and from_torch gives it back."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
import test_semantics  # noqa: E402
import test_semantics_delays  # noqa: E402
import test_semantics_neurons  # noqa: E402
import test_semantics_pools  # noqa: E402
import test_semantics_sums  # noqa: E402
from engines import Engine, Reference, Torch, same  # noqa: E402
from spikesim.errors import GraphError, InputError, ShapeError, UnsupportedError  # noqa: E402
from strategies import Case, cases  # noqa: E402
from test_bundle import assert_equal  # noqa: E402
from test_bundle import network as every_kind  # noqa: E402
from test_margin import chains, check  # noqa: E402

# --- the same numbers ---------------------------------------------------------------------------


@given(cases(exact=True))
def test_the_module_equals_reference_and_engine_on_exact_sums(case: Case) -> None:
    module = Torch(case.net).run(*case.run_args())
    same(module, Reference(case.net).run(*case.run_args()))
    same(module, Engine(case.net).run(*case.run_args()))


@given(cases(exact=False))
def test_the_module_equals_the_reference_with_the_same_sums_on_any_floats(case: Case) -> None:
    module = Torch(case.net).run(*case.run_args())
    same(module, Reference(case.net, sums="torch").run(*case.run_args()))


@given(chain=chains())
def test_the_module_and_the_engine_differ_only_within_rounding(chain: Any) -> None:
    net, x = chain
    check(net, x, Torch(net).run(x), Engine(net).run(x))


@given(cases(exact=True), st.data())
def test_a_run_in_pieces_equals_the_whole(case: Case, data: Any) -> None:
    whole, pieces = Torch(case.net), Torch(case.net)
    x, n_steps = case.run_args()
    raster = np.repeat(x[None], case.n_steps, 0) if n_steps else x
    all_at_once = whole.run(x, n_steps)
    # Each piece's length drawn; steps one at a time are among them.
    cuts = sorted(data.draw(st.sets(st.integers(1, case.n_steps)), label="cuts") | {case.n_steps})
    parts = [
        pieces.run(raster[start:stop], reset=start == 0)
        for start, stop in zip([0, *cuts], cuts, strict=False)
    ]
    for field in ("spikes", "v", "current"):
        for name, values in getattr(all_at_once, field).items():
            joined = np.concatenate([getattr(part, field)[name] for part in parts])
            assert np.array_equal(joined, values), (field, name)


@given(cases(exact=True))
def test_steps_with_a_state_of_the_callers_equal_a_run(case: Case) -> None:
    case.net.readout = "sum"
    module = ss.to_torch(case.net)
    x = torch.from_numpy(case.x)
    state, total = None, None
    with torch.no_grad():
        for t in range(case.n_steps):
            value, state = module.step(x if case.constant else x[t], state)
            total = value if total is None else total + value
        assert module.state is None
        expected = module(x, case.n_steps if case.constant else None)
    assert torch.equal(total, expected)


# The order of sums is the subject of these, and torch has its own; inputs that are no tensors;
# counts, as all of S10.
NOT_OURS = {
    "test_s1_7_input_values",
    "test_s2_2_linear",
    "test_s2_3_conv",
    "test_s3_12_none",
}
HAND_WORKED = [
    test
    for module in (
        test_semantics,
        test_semantics_delays,
        test_semantics_neurons,
        test_semantics_pools,
        test_semantics_sums,
    )
    for name, test in inspect.getmembers(module, inspect.isfunction)
    if re.match(r"test_s[1-9]_", name)
    and name not in NOT_OURS
    and list(inspect.signature(test).parameters) == ["run"]
]


@pytest.mark.parametrize("test", HAND_WORKED, ids=lambda t: t.__name__)
def test_the_hand_worked_rules_hold(test: Any) -> None:
    test(Torch)


# --- and back -----------------------------------------------------------------------------------


@given(cases(exact=False))
def test_from_torch_gives_the_network_back(case: Case) -> None:
    net = case.net
    net.dt, net.meta = 0.5, {"labels": ["a"]}
    back = ss.from_torch(ss.to_torch(net), net.input_shape)
    assert_equal(back, net)
    assert back.__reduce__() == net.__reduce__()  # the same file, byte for byte


def test_a_network_of_every_kind_comes_back_and_keeps_what_is_not_its_weights() -> None:
    net = every_kind()
    module = ss.to_torch(net)
    assert_equal(ss.from_torch(module, net.input_shape), net)
    changed = ss.from_torch(module, net.input_shape, dt=0.25, readout="last_v")
    assert (changed.dt, changed.readout) == (0.25, "last_v")
    assert (net.dt, net.readout) == (0.1, "first_spike")
    # What was not declared stays so: the output is the last node, wherever that will be.
    plain = ss.Network((2,))
    plain.add(ss.IF(), "if")
    back = ss.from_torch(ss.to_torch(plain), (2,))
    back.add(ss.Scale(2.0), "scale")
    assert (back.output, back.readout) == ("scale", "sum")


def test_names_are_kept_whatever_they_are() -> None:
    net = ss.Network((2,))
    names = ["state", "a.b", "a", "forward", "fc.weight", "fc", "a..c", "network", "output", "ü b"]
    for name in names:
        net.add(ss.Linear(np.eye(2)), name)
        net.add(ss.IF(), f"{name}.state")
    module = ss.to_torch(net)
    x = torch.ones(1, 2)
    expected = torch.from_numpy(net.compile().run(x.numpy(), n_steps=3).output)
    assert torch.equal(module(x, 3), expected)
    ss.train.reset_states(module)
    assert torch.equal(module(x, 3), expected)
    assert set(module.state_dict()) == set(ss.train.state_dict(net))
    assert isinstance(module.get_submodule("a.b"), nn.Linear)
    assert_equal(ss.from_torch(module, (2,)), net)
    net.add(ss.IF(), "x.training")
    with pytest.raises(UnsupportedError, match=r"^x\.training: a node\'s module cannot be called"):
        ss.to_torch(net)


def small(eps: float = 0.0) -> ss.Network:
    net = ss.Network((2,))
    net.add(ss.Linear([[0.5, 0.25], [-0.5, 1.0]], [0.0, 0.125]), "fc")
    net.add(ss.BatchNorm([1, 2], [0, 0], [0, 0], [1, 1], eps=eps), "bn")
    net.add(ss.LIF(alpha_mem=0.5), "lif")
    return net


def replaced(module: Any) -> None:
    module.fc = nn.Linear(2, 2)


def changed(path: str, **attributes: Any) -> Any:
    def change(module: Any) -> None:
        for name, value in attributes.items():
            setattr(module.get_submodule(path), name, value)

    return change


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (replaced, UnsupportedError, "fc: the module is Linear.*expected Linear as to_torch made"),
        (changed("lif", fires=">"), UnsupportedError, "lif: the module is Neuron.*expected"),
        (changed("lif", refractory=1), UnsupportedError, "lif: the module is Neuron"),
        (changed("bn", eps=0.5), UnsupportedError, "bn: the module is BatchNorm"),
        (lambda m: m.fc.register_forward_hook(print), UnsupportedError, "fc: the forward hook"),
        (lambda m: m.register_forward_hook(print), UnsupportedError, "TorchNetwork: the forward"),
        (lambda m: m._modules.pop("fc"), UnsupportedError, "fc: the node's module was taken out"),
        (
            lambda m: nn.utils.parametrizations.weight_norm(m.fc),
            UnsupportedError,
            "fc: the module is ParametrizedLinear",
        ),
        (lambda m: m.lif.v_threshold.fill_(-1), GraphError, "lif: v_threshold is -1, expected"),
        (lambda m: m.fc.weight.data.fill_(np.nan), GraphError, "fc.weight is not finite"),
        (
            lambda m: setattr(m.fc, "weight", nn.Parameter(torch.zeros(3, 2))),
            ShapeError,
            r"fc\.weight has shape \(3, 2\), expected \(2, 2\)",
        ),
        (lambda m: m.add_module("more", nn.Linear(1, 1)), InputError, "more.weight is no array of"),
    ],
)
def test_a_module_that_is_no_longer_the_network_is_refused(
    change: Any, error: Any, message: str
) -> None:
    module = ss.to_torch(small())
    change(module)
    with pytest.raises(error, match=message):
        ss.from_torch(module, (2,))


def test_what_from_torch_refuses_of_it() -> None:
    module = ss.to_torch(small())
    with pytest.raises(ShapeError, match=r"input_shape is \(3,\), expected \(2,\)"):
        ss.from_torch(module, (3,))
    with pytest.raises(UnsupportedError, match="0: TorchNetwork runs over time inside"):
        ss.from_torch(nn.Sequential(module), (2,))
    with pytest.raises(GraphError, match="readout"):
        ss.from_torch(ss.to_torch(layers_only()), (2,), readout="count")


def layers_only() -> ss.Network:
    net = ss.Network((2,))
    net.add(ss.Linear(np.eye(2)), "fc")
    return net


def test_the_neurons_of_a_module_of_ones_own_may_have_any_rule() -> None:
    op = ss.CubaLIF(
        [0.5, 1.0], alpha_mem=0.5, alpha_syn=0.25, spikes="signed", v_threshold_neg=-1.0,
        refractory=1, spike_amplitude=0.5, v_min=-2.0, meta={"tau": 2.0},
    )  # fmt: skip
    model = nn.Sequential(nn.Linear(3, 2), ss.train.Neuron(op))
    net = ss.from_torch(model, (3,))
    assert net.node("1").op == op
    x = torch.randn(9, 4, 3)
    result = net.compile().run(x.numpy(), record=("spikes", "v"))
    assert torch.equal(
        ss.train.unroll(model, x) / 0.5, torch.from_numpy(result.spikes["1"].to_dense())
    )


# --- the module itself --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m(torch.zeros(3)), ShapeError, r"x has shape \(3,\), expected \(N, 2\) with"),
        (lambda m: m(torch.zeros(4, 3), 2), ShapeError, r"x has shape \(4, 3\)"),
        (lambda m: m(torch.zeros(4, 2)), InputError, "n_steps is missing, expected the number"),
        (lambda m: m(torch.zeros(4, 2), 0), InputError, "n_steps is 0, expected at least 1"),
        (lambda m: m(torch.zeros(0, 2), 1), InputError, "x has 0 samples, expected at least 1"),
        (lambda m: m(torch.zeros(0, 1, 2)), InputError, "x has 0 steps, expected at least 1"),
        (lambda m: m(np.zeros((4, 2)), 1), InputError, "x is a ndarray, expected a torch tensor"),
        (lambda m: m(torch.full((4, 2), torch.nan), 1), InputError, "x holds NaN or infinity"),
        (lambda m: m.step(torch.full((4, 2), torch.inf)), InputError, "x holds NaN or infinity"),
        (lambda m: ss.to_torch(3), InputError, "net is a int, expected a Network"),
        (lambda m: m(torch.zeros(2, 1, 2), 3), InputError, "n_steps is 3, expected 2 as the"),
        (lambda m: m.run(torch.zeros(1, 1, 2), record="x"), InputError, "record has 'x', expected"),
        (lambda m: m.step(torch.zeros(2)), ShapeError, r"step: x has shape \(2,\), expected \(N, "),
        (
            lambda m: [m(torch.zeros(1, n, 2), reset=n == 2) for n in (2, 3)],
            ShapeError,
            r"x has 3 samples, expected 2 as the state has; use reset\(\)",
        ),
        (lambda m: ss.to_torch(small(), learn=["tau"]), UnsupportedError, "learn has 'tau', exp"),
        (lambda m: ss.to_torch(small(), surrogate="x"), UnsupportedError, "surrogate: 'x' is not"),
        (lambda m: ss.to_torch(ss.Network((2,))), GraphError, "expected"),
    ],
)  # fmt: skip
def test_what_the_module_refuses(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(ss.to_torch(small()))


def test_the_network_is_left_as_it_is() -> None:
    net = small()
    module = ss.to_torch(net)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.add_(1.0)
    assert_equal(net, small())
    trained = ss.from_torch(module, (2,))
    module.fc.weight.data.zero_()
    assert np.array_equal(trained.node("fc").op.weight, small().node("fc").op.weight + 1)


def late(*delays: float) -> ss.Network:
    """Two neurons that hear each other through synapses with delays, and a Delay."""
    net = ss.Network((2,))
    net.add(ss.Linear(np.eye(2), [0.25, 0.0], delay=np.reshape(delays, (2, 2))), "fc")
    net.add(ss.IF(), "if")
    net.add(ss.Delay([1, 2]), "later")
    net.connect("later", "fc")
    net.output = "if"
    return net


def test_delays_are_those_that_the_module_has_now() -> None:
    net, other = late(0, 1, 2, 3), late(2, 0, 0, 0)
    module = ss.to_torch(net)
    x = np.random.default_rng(0).integers(0, 3, (12, 2, 2)) / 2
    same(Torch(net, module).run(x), Engine(net).run(x))
    module.load_state_dict(ss.train.state_dict(other))
    with pytest.raises(InputError, match="delays have changed since the state, expected a reset"):
        module(torch.ones(1, 2, 2), reset=False)
    same(Torch(other, module).run(x), Engine(other).run(x))
    assert_equal(ss.from_torch(module, (2,)), other)
    module.fc.delay[0, 0] = 0.5
    with pytest.raises(GraphError, match=r"fc: delay has \[0.5, 0.0\], expected whole numbers"):
        module(torch.ones(1, 2), 1)
    module.fc.delay.fill_(0)
    module.later.delay.fill_(0)
    with pytest.raises(GraphError, match="stands in a cycle without delay, expected at least one"):
        module(torch.ones(1, 2), 1)
    with pytest.raises(GraphError, match="cycle"):
        ss.from_torch(module, (2,))


def test_copies_pickles_and_other_types() -> None:
    module = ss.to_torch(small())
    x = torch.tensor([[0.5, 1.0]], requires_grad=True)
    expected = module(x, 4).detach()
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), module.double()):
        assert torch.equal(other(x, 4).float(), expected)
        assert_equal(ss.from_torch(other, (2,)), small())
    # A copy goes on from where the module was.
    module.float()(x, 3)
    assert torch.equal(copy.deepcopy(module)(x, 1, reset=False), module(x, 1, reset=False))


def test_training_mode_normalises_by_the_batch() -> None:
    module = ss.to_torch(small(eps=1e-5))
    assert not module.training
    theirs = nn.BatchNorm1d(2)
    theirs.load_state_dict(
        {k.removeprefix("bn."): v for k, v in module.state_dict().items() if "bn." in k},
        strict=False,
    )
    x = torch.randn(8, 2)
    current = module.train().run(x, 1, record="current").current["lif"][0]
    torch.testing.assert_close(current, theirs(module.fc(x)))
    torch.testing.assert_close(module.bn.running_mean, theirs.running_mean)
    torch.testing.assert_close(module.bn.running_var, theirs.running_var)
    back = ss.from_torch(module, (2,)).node("bn").op
    assert np.array_equal(back.running_var, module.bn.running_var.numpy())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@given(cases(exact=True))
def test_the_module_is_the_same_on_cuda(case: Case) -> None:
    expected = Torch(case.net).run(*case.run_args())
    x, n_steps = case.run_args()
    result = ss.to_torch(case.net).cuda().run(torch.from_numpy(x).cuda(), n_steps, record="spikes")
    for name, spikes in result.spikes.items():
        assert np.array_equal(spikes.detach().cpu().numpy(), expected.spikes[name])
