"""Every error of building a network has its class and one clear line, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import spikesim as ss
from spikesim import errors
from spikesim.errors import GraphError, ShapeError, SpikesimError, UnsupportedError


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def network(*shape: int) -> ss.Network:
    return ss.Network(shape)


Build = Callable[[], Any]
NAN, INF = float("nan"), float("inf")


def added(op_of: Callable[[], Any], *shape: int) -> Build:
    """Adds an operation, called "n", to an input of `shape`."""

    def build() -> None:
        network(*shape).add(op_of(), "n")

    return build


def neuron(**fields: Any) -> Build:
    return added(lambda: ss.Neuron(**fields), 3)


def alpha(**fields: Any) -> Build:
    all_of_it = {"alpha_syn": 0.5, "w_in": 1, "alpha_inh": 0.5, "alpha_mem": 0}
    return neuron(**{"synapse": "alpha", **all_of_it, **fields})


def built(*calls: Callable[[ss.Network], Any]) -> Build:
    """Applies `calls` to a network input (3,) -> fc -> if."""

    def build() -> None:
        net = network(3)
        net.add(ss.Linear(ones(3, 3)), "fc")
        net.add(ss.IF(), "if")
        for call in calls:
            call(net)

    return build


GRAPH: list[tuple[str, Build]] = [
    # the network
    ("network: dt is 0, expected a finite number of seconds above 0", lambda: ss.Network((1,), 0)),
    ("network: dt is NaN, expected a finite", lambda: ss.Network((1,), NAN)),
    (
        r"network: there is no node but the input, expected at least one; add\(\) a layer",
        lambda: network(3).validate(),
    ),
    ("network: input_shape is -1, expected at least 0", lambda: network(-1)),
    # names
    (
        'network: the name "fc" is taken, expected each name once',
        built(lambda n: n.add(ss.IF(), "fc")),
    ),
    ("network: the name is empty, expected", built(lambda n: n.add(ss.IF(), ""))),
    (r"the name \"a\\n\" has control characters", built(lambda n: n.add(ss.IF(), "a\n"))),
    ("the name has 300 bytes, expected at most 256", built(lambda n: n.add(ss.IF(), "x" * 300))),
    (
        'n: there is no node "no", expected one of input, fc, if',
        built(lambda n: n.add(ss.IF(), "n", "no")),
    ),
    ('connect: there is no node "no"', built(lambda n: n.connect("no", "fc"))),
    ('output: there is no node "no"', built(lambda n: setattr(n, "output", "no"))),
    ('network: there is no node "no"', built(lambda n: n.node("no"))),
    ("n: inputs is empty, expected at least one", built(lambda n: n.add(ss.IF(), "n", []))),
    # edges
    (
        "network: cycle fc -> if -> fc has no delay, expected at least one step in it; give the "
        r"edge that closes it one: connect\(..., delay=1\)",
        built(lambda n: n.connect("if", "fc")),
    ),
    (
        "network: cycle fc -> fc passes through no neuron, expected one in it",
        built(lambda n: n.connect("fc", "fc", delay=1)),
    ),
    (
        'fc: edge from "input" with delay 0 is there already',
        built(lambda n: n.connect("input", "fc")),
    ),
    (
        'input: edge from "if" enters the input, expected a layer',
        built(lambda n: n.connect("if", "input", 1)),
    ),
    (
        'cat: edge from "fc" comes after a concat was made, expected all its inputs in add',
        built(lambda n: n.add(ss.Concat(), "cat", ["fc", "if"]), lambda n: n.connect("fc", "cat")),
    ),
    (
        "fc: delay is 65537 steps, expected at most 65536",
        built(lambda n: n.connect("if", "fc", 65537)),
    ),
    ("connect: delay is -1, expected at least 0", built(lambda n: n.connect("if", "fc", -1))),
    ("n: delay is -1, expected at least 0", built(lambda n: n.add(ss.IF(), "n", ("fc", -1)))),
    # the readout
    (
        'network: there is no readout "best", expected sum, mean, last_v',
        built(lambda n: setattr(n, "readout", "best")),
    ),
    (
        'network: readout "count" of "fc", expected a neuron that spikes as the output node',
        built(
            lambda n: setattr(n, "output", "fc"),
            lambda n: setattr(n, "readout", "count"),
            lambda n: n.validate(),
        ),
    ),
    # numbers
    (
        r"n: weight\[1, 2\] is NaN, expected finite numbers",
        added(lambda: ss.Linear([[1, 1, 1], [1, 1, NAN]]), 3),
    ),
    (
        r"n: bias\[0\] is inf, expected finite numbers",
        added(lambda: ss.Linear(ones(1, 3), [INF]), 3),
    ),
    (
        r"n: weight\[0, 0, 0, 0\] is inf",
        added(lambda: ss.Conv2d(np.full((1, 1, 1, 1), 1e40)), 1, 2, 2),
    ),
    ("n: scale is NaN, expected finite numbers", added(lambda: ss.Scale(NAN), 3)),
    (
        r"n: running_mean\[2\] is NaN",
        added(lambda: ss.BatchNorm(ones(3), ones(3), [0, 0, NAN], ones(3)), 3),
    ),
    (
        "n: running_var has -1, expected variances of at least 0",
        added(lambda: ss.BatchNorm(ones(3), ones(3), ones(3), -ones(3)), 3),
    ),
    (
        "n: running_var has 0, expected",
        added(lambda: ss.BatchNorm(ones(3), ones(3), ones(3), 0 * ones(3), 0.0), 3),
    ),
    (
        "BatchNorm: eps is nan, expected a finite number of at least 0",
        lambda: ss.BatchNorm(1, 1, 1, 1, NAN),
    ),
    (
        "bn: folded weights are beyond f32",
        built(
            lambda n: n.add(ss.Linear(3e38 * ones(2, 3)), "big"),
            lambda n: n.add(ss.BatchNorm(9 * ones(2), ones(2), ones(2), ones(2)), "bn"),
            lambda n: n.fold(),
        ),
    ),
    # windows
    ("Conv2d: stride is 0, expected at least 1", lambda: ss.Conv2d(ones(1, 1, 1, 1), stride=0)),
    ("Conv1d: dilation is 0, expected at least 1", lambda: ss.Conv1d(ones(1, 1, 1), dilation=0)),
    ("Conv1d: padding is -1, expected at least 0", lambda: ss.Conv1d(ones(1, 1, 1), padding=-1)),
    (
        'Conv2d: padding is "full", expected numbers, "same" or "valid"',
        lambda: ss.Conv2d(ones(1, 1, 1, 1), padding="full"),
    ),
    (
        r'Conv2d: padding "same" with stride \(2, 1\), expected stride 1',
        lambda: ss.Conv2d(ones(1, 1, 1, 1), padding="same", stride=(2, 1)),
    ),
    (
        "Conv2d: padding has 3 entries, expected an integer",
        lambda: ss.Conv2d(ones(1, 1, 1, 1), padding=(1, 1, 1)),
    ),
    (
        "SumPool2d: kernel_size has 3 entries, expected one integer or",
        lambda: ss.SumPool2d((1, 2, 3)),
    ),
    (
        "n: groups is 2, expected a divisor of the 3 input and 2 output channels",
        added(lambda: ss.Conv1d(ones(2, 1, 1), groups=2), 3, 4),
    ),
    (
        r"n: kernel \(3, 3\) with dilation \(2, 1\) is larger than the padded input \(4, 6\)",
        added(lambda: ss.Conv2d(ones(1, 1, 3, 3), padding=(0, 1), dilation=(2, 1)), 1, 4, 4),
    ),
    (
        "n: kernel 5 with dilation 1 is larger than the padded input 4",
        added(lambda: ss.Conv1d(ones(1, 1, 5)), 1, 4),
    ),
    (
        "n: padding is 2, expected less than the window's 2 on each side",
        added(lambda: ss.AvgPool1d(2, padding=2), 1, 4),
    ),
    (
        "n: window 5 is larger than the padded input 4, expected it to fit",
        added(lambda: ss.SumPool1d(5), 1, 4),
    ),
    (
        "n: start_dim 1 and end_dim 0 are no range of the axes of",
        added(lambda: ss.Flatten(1, 0), 1, 4),
    ),
    ("n: end_dim is 2, expected an axis of an input with 2", added(lambda: ss.Flatten(0, 2), 1, 4)),
    ("n: axis is -3, expected an axis of an input with 2", added(lambda: ss.Concat(-3), 1, 4)),
    ("AdaptiveAvgPool2d: output_size is 0, expected at least 1", lambda: ss.AdaptiveAvgPool2d(0)),
    ("Upsample: scale_factor is 0, expected at least 1", lambda: ss.Upsample(0)),
    (
        'RateMaxPool2d: gate is \'max\', expected one of "count", "argmax"',
        lambda: ss.RateMaxPool2d(2, gate="max"),  # type: ignore[arg-type]
    ),
    # kinds of values
    (
        "n: input is currents, expected spikes; use CurrentMaxPool here",
        lambda: _max_pool_of_currents(),
    ),
    ("n: input is spikes, expected currents; use SpikeMaxPool here", lambda: _max_pool_of_spikes()),
    ("pool: input is currents, expected spikes", lambda: _currents_come_later()),
    # neurons
    ('n: v_threshold is 0, expected above 0 with reset "subtract"', neuron(v_threshold=0)),
    (r"n: v_threshold is -1, expected above 0 with reset", neuron(v_threshold=[1, 1, -1])),
    (r"n: v_threshold\[1\] is NaN, expected finite numbers", neuron(v_threshold=[1, NAN, 1])),
    ("n: v_threshold is inf, expected finite numbers", neuron(v_threshold=INF)),
    (
        'n: v_threshold is 0, expected above 0 with spikes "multi"',
        neuron(v_threshold=0, v_reset=-1, reset="to_value", spikes="multi"),
    ),
    (
        "n: v_threshold is 1, expected above v_reset, which is 1",
        neuron(reset="to_value", v_reset=1),
    ),
    (
        "n: v_threshold is 1, expected above v_reset, which is 2",
        neuron(reset="to_value", v_reset=[0, 0, 2]),
    ),
    ("n: v_threshold_neg is 0, expected below 0", neuron(spikes="signed", v_threshold_neg=0)),
    ('n: v_threshold_neg is missing, expected with spikes "signed"', neuron(spikes="signed")),
    ('n: v_threshold_neg is given without spikes "signed"', neuron(v_threshold_neg=-1)),
    ('n: max_spikes is given without spikes "multi"', neuron(max_spikes=2)),
    ("Neuron: max_spikes is 0, expected at least 1", neuron(spikes="multi", max_spikes=0)),
    ("Neuron: refractory is -1, expected at least 0", neuron(refractory=-1)),
    ("Neuron: refractory and max_spikes are counts", neuron(refractory=2**32)),
    ("n: alpha_syn is given without synapse", neuron(alpha_syn=0.5)),
    ("n: w_in is given without synapse", neuron(w_in=0.5)),
    (
        'n: alpha_syn is missing, expected with synapse "decay_first", "decay_after" or "alpha"',
        neuron(synapse="decay_first", w_in=1),
    ),
    ("n: w_in is missing, expected with synapse", neuron(synapse="decay_after", alpha_syn=1)),
    ('n: alpha_inh is given without synapse "alpha"', neuron(alpha_inh=0.5)),
    ('n: alpha_inh is missing, expected with synapse "alpha"', alpha(alpha_inh=None)),
    ('n: alpha_mem is 1, expected 0 with synapse "alpha"', alpha(reset="none", alpha_mem=1)),
    ('n: v_leak is 0.5, expected 0 with synapse "alpha"', alpha(spikes="none", v_leak=0.5)),
    ("n: alpha_theta is missing, expected with theta_plus", neuron(theta_plus=1)),
    ("n: alpha_theta is given without theta_plus", neuron(alpha_theta=1)),
    ("n: theta_plus is -1, expected at least 0", neuron(theta_plus=-1, alpha_theta=1)),
    ("n: alpha_theta is -1, expected at least 0", neuron(theta_plus=1, alpha_theta=-1)),
    ("n: v_min is -inf, expected finite numbers", neuron(v_min=-INF)),
    ('Neuron: fires is \'=\', expected one of ">=", ">"', neuron(fires="=")),
    (
        'Neuron: reset is \'zero\', expected one of "subtract", "to_value", "none"',
        neuron(reset="zero"),
    ),
    ("Neuron: model is 'ALIF', expected one of", neuron(model="ALIF")),
    ("n: meta is no JSON", neuron(meta={"dt": NAN})),
    ("n: meta is no JSON", neuron(meta={"dt": object()})),
]


def _max_pool_of_currents() -> None:
    net = network(1, 4)
    net.add(ss.Conv1d(ones(1, 1, 1)), "c")
    net.add(ss.SumPool1d(2), "s")
    net.add(ss.SpikeMaxPool1d(2), "n")


def _max_pool_of_spikes() -> None:
    net = network(1, 4)
    net.add(ss.IF())
    net.add(ss.SumPool1d(2))
    net.add(ss.CurrentMaxPool1d(2), "n")


def _currents_come_later() -> None:
    net = network(1, 4)
    net.add(ss.Conv1d(ones(1, 1, 1)), "c")
    net.add(ss.IF(), "if")
    net.add(ss.SpikeMaxPool1d(2), "pool")
    net.connect("c", "pool")


SHAPE: list[tuple[str, Build]] = [
    (r"network: input_shape has shape \(\), expected at least one axis", lambda: network()),
    (r"network: input_shape has shape \(2, 0\), expected no empty axis", lambda: network(2, 0)),
    (
        r"network: input_shape has shape \(65536, 65536\), expected at most 2147483647 values",
        lambda: network(2**16, 2**16),
    ),
    (
        r"network: input_shape has shape \(4294967296, 4294967296\), expected at most",
        lambda: network(2**32, 2**32),
    ),
    ("expected at most 8 axes", lambda: network(*[1] * 9)),
    (r"n: weight has shape \(3,\), expected \(n_out, n_in\)", added(lambda: ss.Linear(ones(3)), 3)),
    (r"n: weight has shape \(0, 3\), expected", added(lambda: ss.Linear(ones(0, 3)), 3)),
    (
        r"n: input has shape \(3, 4\), expected one axis; add Flatten\(\) before it",
        added(lambda: ss.Linear(ones(3, 12)), 3, 4),
    ),
    (
        r"n: input has shape \(3,\), expected \(4,\) as the weight \(2, 4\) has it",
        added(lambda: ss.Linear(ones(2, 4)), 3),
    ),
    (
        r"n: bias has shape \(3,\), expected \(2,\)",
        added(lambda: ss.Linear(ones(2, 3), ones(3)), 3),
    ),
    (
        r"n: weight has shape \(1, 1, 1\), expected \(out, in/groups, ky, kx\)",
        added(lambda: ss.Conv2d(ones(1, 1, 1)), 1, 2, 2),
    ),
    (
        r"n: input has shape \(3, 4\), expected 2 channels as the weight",
        added(lambda: ss.Conv1d(ones(1, 2, 1)), 3, 4),
    ),
    (
        r"n: input has shape \(3, 4\), expected \(channels, rows, columns\)",
        added(lambda: ss.Conv2d(ones(1, 3, 1, 1)), 3, 4),
    ),
    (
        r"n: input has shape \(3,\), expected \(channels, length\)",
        added(lambda: ss.SumPool1d(2), 3),
    ),
    (
        r"n: weight has shape \(2,\), expected \(3,\), one value a channel",
        added(lambda: ss.BatchNorm(ones(2), ones(3), ones(3), ones(3)), 3),
    ),
    (
        r"n: scale has shape \(4,\), expected \(\), \(3,\) or \(3,\)",
        added(lambda: ss.Scale(ones(4)), 3),
    ),
    (r"n: v_reset has shape \(3, 4\), expected", added(lambda: ss.IF(v_reset=ones(3, 4)), 3)),
    (
        r"n: output has shape \(1, 1048576, 1048576\), expected at most 2147483647 values",
        added(lambda: ss.Upsample(2**20), 1, 1, 1),
    ),
    (
        r'fc: edge from "two" has shape \(2,\), expected \(3,\) as the input of the node',
        built(lambda n: n.add(ss.Linear(ones(2, 3)), "two"), lambda n: n.connect("two", "fc", 1)),
    ),
    (
        r"sum: input has shape \(2,\), expected \(3,\) as the input before it",
        built(
            lambda n: n.add(ss.Linear(ones(2, 3)), "two"),
            lambda n: n.add(ss.Add(), "sum", ["if", "two"]),
        ),
    ),
    (
        r"cat: input has shape \(3, 1\), expected \(3,\) except along axis 0",
        lambda: _concat_of_other_axes(),
    ),
]


def _concat_of_other_axes() -> None:
    net = network(3, 1)
    net.add(ss.Flatten(), "flat")
    net.add(ss.Concat(), "cat", ["flat", "input"])


UNSUPPORTED: list[tuple[str, Build]] = [
    *[
        (
            f'n: spikes "{spikes}" with reset_timing "{timing}" is not supported; use "same_step"',
            neuron(spikes=spikes, reset_timing=timing, **extra),
        )
        for spikes, extra in (("multi", {}), ("signed", {"v_threshold_neg": -1}))
        for timing in ("next_step_before", "next_step_after", "same_step_guarded")
    ],
    (
        'n: spikes "multi" with order "B" is not supported; use order "A"',
        neuron(spikes="multi", order="B"),
    ),
    ('n: spikes "signed" with order "B"', neuron(spikes="signed", order="B", v_threshold_neg=-1)),
    (
        'n: spikes "multi" with fires ">" is not supported; use fires ">="',
        neuron(spikes="multi", fires=">"),
    ),
    *[
        (
            f'n: reset_timing "same_step_guarded" with reset "{reset}" is not supported',
            neuron(reset_timing="same_step_guarded", reset=reset),
        )
        for reset in ("to_value", "none")
    ],
    (
        'n: order "B" with reset_timing "next_step_after" is not supported',
        neuron(order="B", reset_timing="next_step_after"),
    ),
    ('n: synapse "alpha" with reset "subtract" and reset_timing "same_step" is not', alpha()),
    ('n: order "B" without spikes is not supported', neuron(order="B", spikes="none")),
    (
        'n: reset_timing "next_step_before" without spikes',
        neuron(reset_timing="next_step_before", spikes="none"),
    ),
    *[
        (f"n: {what} with these rules is not supported", neuron(**fields, **rules))
        for what, fields in (
            ("refractory", {"refractory": 1}),
            ("an adaptive threshold", {"theta_plus": 1, "alpha_theta": 1}),
        )
        for rules in (
            {"reset_timing": "next_step_after"},
            {"reset_timing": "same_step_guarded"},
            {"order": "B"},
            {"spikes": "none"},
        )
    ],
    (
        "bad: concat is not supported by NIR; use a .spikesim bundle",
        built(lambda n: (n.add(ss.Concat(), "bad", ["input"]), n.save("x.nir"))),
    ),
]

TYPES: list[tuple[str, Build]] = [
    ("network: input_shape is 3, expected a sequence of integers", lambda: ss.Network(3)),  # type: ignore[arg-type]
    ("network: input_shape is 3.0, expected an integer", lambda: ss.Network((3.0,))),  # type: ignore[arg-type]
    ("add: op is 'IF', expected an operation", built(lambda n: n.add("IF"))),
    ("add: name is 3, expected a string", built(lambda n: n.add(ss.IF(), 3))),
    ("n: an input is 3, expected a name", built(lambda n: n.add(ss.IF(), "n", [3]))),
    ("connect: delay is 1.0, expected an integer", built(lambda n: n.connect("if", "fc", 1.0))),
    ("connect: delay is True, expected an integer", built(lambda n: n.connect("if", "fc", True))),
    ("Linear: weight has dtype complex128, expected real numbers", lambda: ss.Linear([[1j]])),
    ("Linear: weight has dtype <U1, expected real numbers", lambda: ss.Linear([["a"]])),
    ("Conv1d: stride is 1.5, expected an integer", lambda: ss.Conv1d(ones(1, 1, 1), stride=1.5)),  # type: ignore[arg-type]
    ("SumPool1d: ceil_mode is 1, expected True or False", lambda: ss.SumPool1d(1, ceil_mode=1)),  # type: ignore[arg-type]
    ("Flatten: start_dim is None, expected an integer", lambda: ss.Flatten(None)),  # type: ignore[arg-type]
]


def check(error: type[BaseException], message: str, build: Build) -> None:
    with pytest.raises(error, match=message) as found:
        build()
    assert type(found.value) is error
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(("message", "build"), GRAPH, ids=[m for m, _ in GRAPH])
def test_a_network_that_means_nothing(message: str, build: Build) -> None:
    check(GraphError, message, build)


@pytest.mark.parametrize(("message", "build"), SHAPE, ids=[m for m, _ in SHAPE])
def test_shapes_that_do_not_fit(message: str, build: Build) -> None:
    check(ShapeError, message, build)


@pytest.mark.parametrize(("message", "build"), UNSUPPORTED, ids=[m for m, _ in UNSUPPORTED])
def test_what_this_version_can_not_do(message: str, build: Build) -> None:
    check(UnsupportedError, message, build)


@pytest.mark.parametrize(("message", "build"), TYPES, ids=[m for m, _ in TYPES])
def test_things_of_the_wrong_type(message: str, build: Build) -> None:
    check(TypeError, message, build)


def test_each_error_is_the_builtin_it_is() -> None:
    builtins = {
        "GraphError": ValueError,
        "ShapeError": ValueError,
        "UnsupportedError": NotImplementedError,
        "FormatError": ValueError,
        "EventError": ValueError,
        "InputError": ValueError,
        "DivergenceError": ArithmeticError,
        "MissingExtraError": ImportError,
        "NotFittedError": AttributeError,
        "InternalError": RuntimeError,
    }
    assert set(errors.__all__) == {*builtins, "SpikesimError"}
    for name, builtin in builtins.items():
        error = getattr(errors, name)
        assert issubclass(error, SpikesimError)
        assert issubclass(error, builtin)
