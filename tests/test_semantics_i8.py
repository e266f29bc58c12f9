"""Precision i8 by hand: rules S14 of docs/semantics.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikesim as ss
from engines import Engine, Outcome, Reference
from rules import array, network, rule, spikes, v
from spikesim.errors import UnsupportedError

f32 = np.float32


@pytest.fixture(params=["reference", "engine"])
def run(request: pytest.FixtureRequest) -> Any:
    """As `run` of conftest.py, in precision i8."""
    kind = {"reference": Reference, "engine": Engine}[request.param]
    return lambda net, **options: kind(net, precision="i8", **options)


def once(run: Any, net: ss.Network, x: Any, **options: Any) -> Outcome:
    """One step of one sample."""
    return run(net, **options).run(array(x)[0][None], n_steps=1)


def li(**fields: Any) -> ss.Neuron:
    """A membrane that keeps what it gets, so that `v` is the summed input."""
    return ss.Neuron(**{"spikes": "none", **fields})


def weights(run: Any, w: Any, **options: Any) -> np.ndarray:
    """Output 0 of a Linear: input i brings weight i alone, in units of 1/127 of the largest."""
    net = network((len(w),), (ss.Linear(array(w)), "fc"), (li(), "n"))
    out = run(net, **options).run(np.eye(len(w), dtype=f32)[:, None], layout="TN")
    return np.diff(out.v["n"][:, 0, 0], prepend=f32(0))


@rule("S14.1")
def test_s14_1_fused_layers(run: Any) -> None:
    # Two layers into one population share the scale of the larger: 1/127 is 0 in units of 254/127.
    a, b = ss.Linear(array([254.0])), ss.Linear(array([0.9]))
    net = network((1,), (a, "a"), (b, "b", ["input"]), (li(), "n", ["a", "b"]))
    assert v(once(run, net, [1.0])) == [254.0]
    # Read by a second node as well, the layer keeps its own.
    net.add(ss.Scale(1.0), name="s", inputs=["b"])
    net.output = "n"
    assert v(once(run, net, [1.0])) == [f32(254.8984375)]


@rule("S14.2")
def test_s14_2_weights(run: Any) -> None:
    # s = 1: halves go to the even neighbour.
    assert weights(run, [127, 2.5, 3.5, -0.5, -1.5, 0.4]).tolist() == [127, 2, 4, 0, -2, 0]


@rule("S14.3")
def test_s14_3_scales(run: Any) -> None:
    assert weights(run, [254, 3.1]).tolist() == [254, 4]
    clips = {"fc": [127.0]}
    assert weights(run, [254, 3.1], clips=clips).tolist() == [127, 3]
    # A level that is far above the weights coarsens them: p/2^20 = 2 takes the place of 1.
    net = network((1,), (ss.Linear(array([127.0])), "fc"), (li(v0=2.0**21), "n"))
    assert v(once(run, net, [1.0])) == [2.0**21 + 128]
    # Nothing but zeros.
    net = network((1,), (ss.Linear(array([0.0])), "fc"), (li(), "n"))
    assert v(once(run, net, [1.0])) == [0.0]


@rule("S14.4")
def test_s14_4_units(run: Any) -> None:
    # s = 1: a bias of 1/256 is a unit, 1/1024 is nothing, and 2^-9·1.5 rounds to 2^-8.
    w, bias = np.full((3, 1), 127, f32), array(1 / 256, 1 / 1024, 1.5 / 512)
    net = network((1,), (ss.Linear(w, bias), "fc"), (li(), "n"))
    assert v(once(run, net, [0.0])) == [1 / 256, 0, 1 / 256]
    # 2^13·129 rows of 127 leave room for f = 0 only: 2^28/(127·rows) < 2.
    rows = 2**20 // 8 + 16
    wide = network(
        (rows,), (ss.Linear(np.full((1, rows), 127, f32), array(0.25)), "fc"), (li(), "n")
    )
    assert v(run(wide).run(np.zeros((1, rows)), n_steps=1)) == [0.25]
    rows = 2**24 // 127 + 1
    wide = network((rows,), (ss.Linear(np.ones((1, rows))), "fc"), (li(), "n"))
    with pytest.raises(UnsupportedError, match="fc: a sum of weights"):
        run(wide).run(np.zeros((1, rows)), n_steps=1)


@rule("S14.5")
def test_s14_5_parameters(run: Any) -> None:
    # θ = 1.001 is 256 of 1/256 and so is 1: they fire alike. 1.003 is 257.
    for theta, fired in ((1.001, 1), (1.003, 0)):
        fc = ss.Linear(np.array([[127, 1]], f32))
        net = network((2,), (fc, "fc"), (ss.IF(v_threshold=theta), "n"))
        assert spikes(once(run, net, [[0.0, 1.0]])) == [fired]


@rule("S14.6")
def test_s14_6_sums(run: Any) -> None:
    # 300 rows of 127 are more than i16 holds, either way; two edges are added.
    for sign in (1, -1):
        fc = ss.Linear(np.full((1, 300), 127 * sign, f32))
        net = network((300,), (fc, "fc"), (li(), "n"))
        net.connect("input", "fc", delay=1)
        outcome = run(net).run(np.ones((2, 1, 300)))
        assert v(outcome) == [38100 * sign, 38100 * sign * 3]


@rule("S14.6")
def test_s14_6_analog_input(run: Any) -> None:
    # 0.3·100 in f32, rounded to 1/256 in every step.
    net = network((2,), (ss.Linear(np.array([[127, 100]], f32)), "fc"), (li(), "n"))
    outcome = run(net).run(array([0.0, 0.3]), n_steps=3)
    unit = np.rint(f32(0.3) * f32(100) * 256) / 256
    assert v(outcome) == [unit, 2 * unit, 3 * unit]


@rule("S14.6")
def test_s14_6_averages(run: Any) -> None:
    # Three spikes of four, and one, from a population: 127·(3 + 2 of the other channel)/4.
    x = np.zeros((1, 2, 2, 2), f32)
    x[0, 0], x[0, 1, 0] = [[1, 1], [1, 0]], 1
    net = network(
        (2, 2, 2),
        (ss.IF(v_threshold=1.0), "if"),
        (ss.AvgPool2d(2), "pool"),
        (ss.Flatten(), "flat"),
        (ss.Linear(np.array([[127, 101]], f32)), "fc"),
        (li(), "n"),
    )
    outcome = run(net).run(x, n_steps=1)
    assert v(outcome) == [(3 * 127 + 2 * 101) / 4]
    assert outcome.counts["synops"]["fc"].tolist() == [[5]]


@rule("S14.6")
def test_s14_6_other_arrivals(run: Any) -> None:
    # A spike that comes as it is: 1 is 127·256 units of a scale of 1/127; 0.3 is rounded.
    net = network((1,), (ss.Linear(array([1.0])), "fc"), (li(), "n", ["fc", "input"]))
    unit = f32(1 / 127) * f32(1 / 256)
    assert v(once(run, net, [0.3])) == [f32(np.rint(f32(0.3) * 127 * 256) * 2 * unit)]
    assert v(once(run, net, [1.0])) == [f32(f32(127 * 256 * 2) * unit)]
    # Without weights 16 is 2^28 units, or 16 times the largest level; there it ends.
    assert v(once(run, network((1,), (li(), "n")), [1e20])) == [16.0]
    assert v(once(run, network((1,), (li(v_min=-4.0), "n")), [1e20])) == [64.0]


@rule("S14.7")
def test_s14_7_currents(run: Any) -> None:
    fc = ss.Linear(np.array([[254, 3.1], [127, 64.4]], f32), array(0.1, 0.2))
    net = network((2,), (fc, "fc"))
    out = run(net).run(np.ones((1, 2)), n_steps=1).output
    assert out.tolist() == [[f32(258) + f32(0.1), f32(191) + f32(0.2)]]


@rule("S14.8")
def test_s14_8_decay(run: Any) -> None:
    # Units of 1/256 and a decay of a half: 5, 2, 1, 0; −5 the same; around a level of 16.
    op = li(alpha_mem=0.5, v0=array(5 / 256, -5 / 256, 21 / 256), v_leak=array(0, 0, 16 / 256))
    net = network((3,), (ss.Linear(np.diag([127, 127, 127]).astype(f32)), "fc"), (op, "n"))
    units = run(net).run(np.zeros((1, 3)), n_steps=4).v["n"][:, 0] * 256
    assert units.T.tolist() == [[2, 1, 0, 0], [-2, -1, 0, 0], [18, 17, 16, 16]]


@rule("S14.8")
@pytest.mark.parametrize(
    ("fields", "expected", "left"),
    [
        ({}, [0, 1, 1], [75, 50, 25]),
        ({"fires": ">", "v_threshold": 75.0}, [0, 1, 1], [75, 75, 75]),
        ({"reset": "to_value", "v_reset": -10.0}, [0, 1, 0], [75, -10, 65]),
        ({"reset_timing": "next_step_before"}, [0, 1, 1], [75, 150, 125]),
        ({"reset_timing": "next_step_after"}, [0, 1, 1], [75, 150, 125]),
        ({"reset_timing": "same_step_guarded"}, [0, 1, 1], [75, 50, 25]),
        ({"order": "B"}, [0, 0, 1], [75, 150, 125]),
        ({"gain": 2.0}, [1, 1, 1], [50, 100, 150]),
        ({"v_min": 60.0}, [0, 1, 1], [75, 60, 60]),
        ({"reset": "none"}, [0, 1, 1], [75, 150, 225]),
    ],
)
def test_s14_8_resets(
    run: Any, fields: dict[str, Any], expected: list[int], left: list[float]
) -> None:
    op = ss.Neuron(**{"v_threshold": 100.0, **fields})
    net = network((2,), (ss.Linear(np.array([[127, 75]], f32)), "fc"), (op, "n"))
    outcome = run(net).run(array([0.0, 1.0]), n_steps=3)
    assert (spikes(outcome), v(outcome)) == (expected, left)


@rule("S14.9")
def test_s14_9_bounds(run: Any) -> None:
    # 2^28 a step: the membrane stays at 2^29, and comes back from there.
    x = array(1e20, 1e20, 1e20, -1e20).reshape(4, 1, 1)
    outcome = run(network((1,), (li(), "n"))).run(x)
    assert v(outcome) == [16, 32, 32, 16]


@rule("S14.10")
def test_s14_10_shown(run: Any) -> None:
    fc = ss.Linear(array([0.3]))
    net = network((1,), (fc, "fc"), (ss.IF(v_threshold=1.0, gain=0.7), "n"))
    outcome = once(run, net, [1.0])
    s = f32(np.float64(f32(0.3)) / 127)
    assert outcome.current["n"].ravel().tolist() == [f32(127 * 256) * (s * f32(1 / 256))]
    assert v(outcome) == [f32(127 * 256) * (s * f32(0.7) * f32(1 / 256))]
    sim = net.compile(precision="i8")
    sim.run(array([1.0])[None], n_steps=1)
    state = sim.state_dict()
    assert state["n.v"].dtype == np.int32
    assert state["n.v"].tolist() == [[127 * 256]]


@rule("S14.11")
def test_s14_11_the_rest(run: Any) -> None:
    net = network((1,), (ss.Linear(array([12.7])), "fc"), (ss.Scale(0.3), "s"), (li(), "n"))
    x = f32(f32(127) * f32(np.float64(f32(12.7)) / 127)) * f32(0.3)
    assert v(once(run, net, [1.0])) == [np.rint(x * 2.0**24) / 2.0**24]


@rule("S14.12")
def test_s14_12_counts(run: Any) -> None:
    # 0.1 becomes 0 beside 127, and is a weight all the same.
    net = network((2,), (ss.Linear(np.array([[127, 0.1, 0]], f32)[:, :2]), "fc"), (li(), "n"))
    outcome = once(run, net, [[1.0, 1.0]])
    assert v(outcome) == [127]
    assert outcome.counts["synops"]["fc"].tolist() == [[2]]


@rule("S14.13")
@pytest.mark.parametrize(
    ("op", "what"),
    [
        (ss.Neuron(spikes="multi"), "multi"),
        (ss.CubaLIF(alpha_mem=0.5, alpha_syn=0.5), "synaptic current"),
        (ss.Neuron(theta_plus=0.1, alpha_theta=0.5), "adaptive threshold"),
        (ss.Neuron(refractory=1), "refractory"),
        (ss.Neuron(alpha_mem=1.5), "alpha_mem"),
        (ss.Neuron(gain=-1.0), "gain"),
        (ss.Linear(np.eye(2), delay=np.array([[0, 1], [1, 0]])), "delays of synapses"),
    ],
)
def test_s14_13_refused(run: Any, op: Any, what: str) -> None:
    with pytest.raises(UnsupportedError, match=f"^n: .*{what}.*i8"):
        once(run, network((2,), (op, "n")), [[0.0, 0.0]])
