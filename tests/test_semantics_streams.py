"""Streams, by hand: what section S15 of docs/semantics.md says of them."""

from __future__ import annotations

import collections
import gc
import itertools
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import spikesim as ss
from rules import NEVER, array, f32, network, neuron, rule
from spikesim.errors import EventError, GraphError, InputError, ShapeError


def sensor(rows: int = 2, columns: int = 3, channels: int = 2) -> ss.Network:
    """One silent neuron a pixel and polarity; the readout sums the membranes' input."""
    net = ss.Network((channels, rows, columns))
    net.add(ss.Neuron(v_threshold=NEVER, reset="none"), name="n")
    net.readout = "last_v"
    return net


def outputs(net: ss.Network, source: Any, **options: Any) -> list[Any]:
    return [out.output.tolist() for out in net.compile().stream(source, **options)]


def counter() -> ss.Network:
    """A neuron that spikes for every input of 1."""
    return network((1,), (ss.IF(v_threshold=1.0), "n"))


@rule("S15.1")
def test_s15_1_a_stream_is_a_run() -> None:
    net = network((1,), (ss.LIF(v_threshold=1.0, alpha_mem=0.5, gain=1.0), "n"))
    x = array(0.75, 0.0, 0.75, 0.5)[:, None]
    sim = net.compile()
    seen = [(out.t, float(sim.state_dict()["n.v"][0, 0])) for out in sim.stream(x)]
    # v: .75; .375; .1875 + .75; .46875 + .5
    assert seen == [(0, 0.75), (1, 0.375), (2, 0.9375), (3, 0.96875)]
    run = net.compile().run(x, layout="T", record="v")
    assert run.v["n"].ravel().tolist() == [v for _, v in seen]
    # And a run goes on from a stream, a stream from a run.
    again = sim.run(array([0.515625]), n_steps=1, reset=False)
    assert again.output.tolist() == [[1.0]]
    assert [out.output.item() for out in sim.stream([array(1.0)], reset=False)] == [1.0]


@rule("S15.2")
def test_s15_2_forms_of_a_step() -> None:
    net = sensor(1, 3, 1)
    dense = array([[0, 1, 0.5]])
    forms = [
        dense,
        dense.tolist(),
        ss.StepEvents([1, 2], [1, 0.5]),
        ([2, 1], [0.5, 1.0]),
        # What comes several times adds up.
        ([1, 2, 1], [0.25, 0.5, 0.75]),
    ]
    for form in forms:
        assert outputs(net, [form]) == [[[[0.0, 1.0, 0.5]]]], form
    assert outputs(net, [([0, 2],)]) == [[[[1.0, 0.0, 1.0]]]]
    assert outputs(net, [([1, 1], [0.5, -0.5])]) == [[[[0.0, 0.0, 0.0]]]]
    # Items are taken as they are needed, and there may be no end to them.
    endless = net.compile().stream(ss.StepEvents([0]) for _ in itertools.count())
    assert [out.output[0, 0, 0] for out in itertools.islice(endless, 3)] == [1.0, 2.0, 3.0]
    assert list(net.compile().stream([])) == []


@rule("S15.3")
def test_s15_3_steps_of_events() -> None:
    # Half-open steps of 10 us from the first event on; step 1 is empty, and is there.
    events = ss.Events(
        t=[100, 109, 109, 120, 129, 130],
        x=[0, 2, 2, 1, 1, 0],
        y=[0, 1, 1, 0, 0, 0],
        p=[0, 1, 1, 0, 1, 1],
    )
    sim = sensor().compile()
    before = np.zeros((2, 2, 3), f32)
    steps = []
    for out in sim.stream(events, dt=1e-5):
        steps.append((out.end_us, (out.output - before).nonzero(), out.output.sum()))
        before = out.output
    assert [(end, float(total)) for end, _, total in steps] == [
        (110, 3.0),
        (120, 3.0),
        (130, 5.0),
        (140, 6.0),
    ]
    assert [np.transpose(places).tolist() for _, places, _ in steps] == [
        [[0, 0, 0], [1, 1, 2]],
        [],
        [[0, 0, 1], [1, 0, 1]],
        [[1, 0, 0]],
    ]
    # The two events of one place count 2: a graded value (S10.3).
    assert next(iter(sim.stream(events, dt=1e-5))).output[1, 1, 2] == 2.0
    # However it is cut, and whatever holds it.
    whole = outputs(sensor(), events, dt=1e-5)
    for cuts in ([1], [2], [1, 3, 5]):
        edges = zip([0, *cuts], [*cuts, len(events)], strict=True)
        chunks = [
            ss.Events(events.t[a:b], events.x[a:b], events.y[a:b], events.p[a:b]) for a, b in edges
        ]
        assert outputs(sensor(), chunks, dt=1e-5) == whole
    fields = [("x", "u2"), ("y", "u2"), ("p", "?"), ("t", "i8")]
    table = np.zeros(len(events), fields)
    for name in "txyp":
        table[name] = getattr(events, name)
    assert outputs(sensor(), table, dt=1e-5) == whole
    # t0 moves the steps; one channel takes both polarities; the network's own dt serves.
    net = sensor(channels=1)
    net.dt = 1e-5
    stream = list(net.compile().stream(events, t0=95))
    assert [out.end_us for out in stream] == [105, 115, 125, 135]
    assert [float(out.output.sum()) for out in stream] == [1.0, 3.0, 4.0, 6.0]


@rule("S15.4")
def test_s15_4_windows() -> None:
    x = array(1, 0, 1, 1, 0, 0)[:, None]
    net = counter()
    assert outputs(net, x) == [[1], [1], [2], [3], [3], [3]]
    assert outputs(net, x, window=2) == [[1], [1], [1], [2], [1], [0]]
    net.readout = "first_spike"
    # The steps count from the beginning of the window; never is its length.
    assert outputs(net, x[1:]) == [[1], [1], [1], [1], [1]]
    assert outputs(net, x, window=2) == [[0], [0], [1], [0], [0], [2]]
    net.readout = "mean"
    assert outputs(net, x, window=4) == [[1], [0.5], [f32(2) / f32(3)], [0.75], [0.5], [0.5]]
    net = network((1,), (neuron(reset="none"), "n"))
    net.readout = "max_v"
    down = array(2, -1, -1, 3)[:, None]
    assert outputs(net, down) == [[2], [2], [2], [3]]
    assert outputs(net, down, window=2) == [[2], [2], [1], [3]]
    # A sum over the last steps is summed anew, in their order: what has left it leaves no rounding.
    net = network((1,), (ss.Linear(array([1.0])), "fc"))
    big = array(2.0**24, 1, 1)[:, None]
    assert outputs(net, big) == [[2.0**24]] * 3
    assert outputs(net, big, window=2) == [[2.0**24], [2.0**24], [2]]


@rule("S15.5")
def test_s15_5_silence_is_caught_up_with() -> None:
    # Decay by 0.7 a step, each product rounded: not 0.7 to the power of 50.
    net = network((2,), (neuron(alpha_mem=0.7, gain=1.0), "n"))
    sim = net.compile()
    steps: list[Any] = [([0, 1],), *[([],)] * 49, ([1],)]
    visits = [out.counts.neuron_visits for out in sim.stream(steps)]
    assert visits == [2, *[0] * 49, 2]
    v = f32(1)
    for _ in range(50):
        v *= f32(0.7)
    assert v != f32(0.7) ** f32(50)
    assert sim.state_dict()["n.v"][0].tolist() == [v, v + 1]
    # Below 1e-30 it is zero (S8.1), and nothing more happens in ever so many steps.
    sim = net.compile()
    list(sim.stream([([0],), *[([],)] * 300]))
    assert sim.state_dict()["n.v"][0].tolist() == [0.0, 0.0]


@rule("S15.6")
def test_s15_6_firing_by_itself() -> None:
    def times(net: ss.Network, steps: int, first: Any = ([],)) -> tuple[list[int], list[int]]:
        outs = list(net.compile().stream([first, *[([],)] * (steps - 1)], spikes=True))
        fired = [out.t for out in outs if len(out.spikes["n"][0])]
        return fired, [out.counts.neuron_visits for out in outs]

    weight = array([1.0])
    # A bias of 1/8 crosses 1 every eight steps; in between it is hardly looked at.
    net = network((1,), (ss.Linear(weight, array(0.125)), "fc"), (ss.IF(v_threshold=1.0), "n"))
    fired, visits = times(net, 40)
    assert fired == [7, 15, 23, 31, 39]
    assert sum(visits) < 30
    # A leaky one that settles below its threshold never fires, and is left alone from the start.
    lif = ss.LIF(v_threshold=1.0, alpha_mem=0.5, gain=1.0)
    net = network((1,), (ss.Linear(weight, array(0.4375)), "fc"), (lif, "n"))
    assert times(net, 100) == ([], [1] + [0] * 99)
    # What is left above the threshold fires in the steps after it.
    net = network((1,), (ss.IF(v_threshold=1.0), "n"))
    assert times(net, 6, ([0], [3.5]))[0] == [0, 1, 2]
    # v_leak above the threshold; v0 above the threshold; and a current that goes on.
    net = network((1,), (ss.LIF(v_threshold=1.0, alpha_mem=0.5, gain=1.0, v_leak=1.125), "n"))
    assert times(net, 9)[0] == _fires(net, 9)
    net = network((1,), (ss.IF(v_threshold=1.0, v0=2.0), "n"))
    assert times(net, 4)[0] == [0, 1]
    cuba = ss.CubaLIF(v_threshold=1.0, alpha_mem=0.5, alpha_syn=0.5, gain=1.0, w_in=1.0)
    net = network((1,), (cuba, "n"))
    assert times(net, 6, ([0], [1.75]))[0] == [0, 1]
    # Stepped until at rest: then silence costs nothing.
    assert times(net, 1000, ([0], [0.25]))[1][-1] == 0


def _fires(net: ss.Network, steps: int) -> list[int]:
    return net.compile().run(np.zeros((1, 1)), steps, record="spikes").spikes["n"].step.tolist()


@rule("S15.7")
def test_s15_7_counts_of_a_step() -> None:
    net = network((3,), (ss.Linear(array([1, 0, 1], [1, 1, 0])), "fc"), (ss.IF(2.0), "n"))
    [out] = net.compile().stream([([0, 2], [1.0, 0.5])])
    layers = out.counts.by_layer()
    assert layers["fc"]["synops"] == 2
    assert layers["fc"]["synops_with_zeros"] == 2
    assert layers["fc"]["macs"] == layers["fc"]["macs_executed"] == 1
    assert layers["n"]["neuron_updates"] == layers["n"]["neuron_visits"] == 2
    assert layers["n"]["spikes"] == 0
    # A pixel far from the events is not visited: 9 of 64 places of one channel see this one.
    conv = ss.Conv2d(np.ones((1, 1, 3, 3), f32), padding=1)
    net = network((1, 8, 8), (conv, "conv"), (ss.IF(10.0), "n"))
    stream = net.compile().stream([([27],), ([27],), ([0],), ([],)])
    assert [out.counts.neuron_visits for out in stream] == [64, 9, 4, 0]


@rule("S15.8")
def test_s15_8_state_within_a_stream() -> None:
    net = network((1,), (neuron(alpha_mem=0.5, gain=1.0), "n"))
    sim = net.compile()
    stream = sim.stream([([0],), ([],), ([0],)])
    next(stream), next(stream)
    saved = sim.state_dict()
    assert saved["n.v"].tolist() == [[0.5]]
    next(stream)
    assert sim.state_dict()["n.v"].tolist() == [[1.25]]
    other = net.compile()
    other.load_state_dict(saved)
    assert [out.t for out in other.stream([([0],)], reset=False)] == [0]
    assert other.state_dict()["n.v"].tolist() == [[1.25]]
    # Whatever else changes the state ends the stream.
    endless = [([0],)] * 9
    for change in (
        sim.reset,
        lambda: sim.load_state_dict(saved),
        lambda: sim.run(array([0]), n_steps=1),
    ):
        stream = sim.stream(endless)
        next(stream)
        change()
        with pytest.raises(InputError, match=r"^stream: the stream has ended, expected no run"):
            next(stream)
    first, _ = sim.stream(endless), sim.stream(endless)
    with pytest.raises(RuntimeError, match="another stream has begun"):
        next(first)


@rule("S15.9")
def test_s15_9_what_is_no_stream() -> None:
    net = sensor()
    sim = net.compile()
    events = ss.Events([0, 5], [0, 1], [0, 1], [0, 1])
    for error, source, options in [
        (InputError, 3, {}),
        (InputError, [events.t.astype(complex).reshape(1, 1, 2)], {}),
        (ShapeError, [np.zeros((2, 3))], {}),
        (InputError, [np.full((2, 2, 3), np.nan)], {}),
        (InputError, [([12],)], {}),
        (InputError, [([-1],)], {}),
        (InputError, [([0.5],)], {}),
        (InputError, [([0], [np.inf])], {}),
        (InputError, [([0], ["a"])], {}),
        (ShapeError, [([0], [1, 2])], {}),
        (ShapeError, [([[0]],)], {}),
        (InputError, [()], {}),
        (InputError, events, {}),
        (InputError, [events, ([0],)], {"dt": 1e-3}),
        (InputError, [([0],), events], {"dt": 1e-3}),
        (InputError, events, {"dt": 1.5e-6}),
        (InputError, events, {"dt": 0}),
        (InputError, events, {"dt": "1ms"}),
        (InputError, events, {"dt": 1e-3, "t0": 0.5}),
        (InputError, [], {"window": 0}),
        (InputError, [], {"window": 1.5}),
        (EventError, events, {"dt": 1e-3, "t0": 1}),
        (EventError, [events, events], {"dt": 1e-3}),
        (EventError, ss.Events([0], [3], [0], [0]), {"dt": 1e-3}),
        (EventError, ss.Events([0], [0], [-1], [0]), {"dt": 1e-3}),
        (EventError, np.zeros(1, [("t", "i8"), ("x", "i8")]), {"dt": 1e-3}),
    ]:
        with pytest.raises(error, match=r"^(stream|events): [^\n]*expected[^\n]*$"):
            list(sim.stream(source, **options))
    for columns in ([1, 0], [0.5, 1], [[0, 1]]):
        with pytest.raises(EventError, match=r"^events: [^\n]*expected"):
            ss.Events(columns, [0, 0], [0, 0], [0, 0])
    with pytest.raises(EventError, match="expected one length"):
        ss.Events([0], [0, 0], [0], [0])
    with pytest.raises(ShapeError, match=r"expected \(2, H, W\)"):
        list(counter().compile().stream(events, dt=1e-3))
    net.dt = 1e-3
    with pytest.raises(GraphError, match=r"^stream: dt is 0\.002, expected 0\.001"):
        net.compile().stream(events, dt=2e-3)
    # Several samples have no one state to go on from.
    sim.run(np.zeros((2, 2, 2, 3)), n_steps=1)
    with pytest.raises(ShapeError, match=r"start it with reset=True"):
        sim.stream([], reset=False)
    # A step that can't be read is as if it had not come.
    sim = counter().compile()
    stream = sim.stream([array(1.0), array(1.0)])
    next(stream)
    broken = sim.stream([([0],), ([7],)], reset=False)
    next(broken)
    with pytest.raises(InputError):
        next(broken)
    assert sim.state_dict()["n.v"].tolist() == [[0.0]]


def test_ages_are_from_the_taking_of_the_input() -> None:
    def slow() -> Iterator[Any]:
        time.sleep(0.05)
        yield ([0],)

    [out] = counter().compile().stream(slow())
    assert 0 <= out.age < 0.05


def test_ctrl_c_ends_a_stream_between_steps() -> None:
    sim = counter().compile()
    stream = sim.stream(([0],) for _ in itertools.repeat(None, 10_000_000))
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    # Python drops what a signal raises while a garbage collection calls back.
    gc.collect()
    gc.disable()
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            collections.deque(stream, maxlen=0)
    finally:
        gc.enable()
    timer.join()
    # The state is that of a step's end: each input has become a spike.
    assert sim.state_dict()["n.v"].tolist() == [[0.0]]
    assert [out.output.item() for out in sim.stream([([0],)], reset=False)] == [1.0]
