"""What must not change a result: order of neurons, batch, cuts in time, threads, levels, types.

The equalities are to the bit.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import spikesim as ss
from engines import ARRAYS, TABLES, Engine, Outcome, Reference, in_turn, same
from spikesim._core import levels
from strategies import Case, cases

RUNS = [Reference, Engine]


def small_net() -> ss.Network:
    """A convolutional network with a loop, on any floats."""
    rng = np.random.default_rng(7)
    net = ss.Network((2, 8, 8))
    net.add(ss.Conv2d(rng.normal(0.1, 0.3, (20, 2, 3, 3)), padding=1), name="conv")
    net.add(ss.LIF(v_threshold=0.7, alpha_mem=0.9), name="lif")
    net.add(ss.AvgPool2d(2), name="pool")
    net.add(ss.Flatten(), name="flat")
    net.add(ss.Linear(rng.normal(0.02, 0.1, (40, 320)), rng.normal(0, 0.1, 40)), name="fc")
    net.add(ss.IF(v_threshold=1.0), name="if")
    net.add(ss.Linear(rng.normal(0, 0.2, (10, 40))), name="out")
    net.add(ss.LI(alpha_mem=0.8), name="li")
    net.connect("if", "if", delay=1)
    return net


def small_input(steps: int = 8, samples: int = 5, rate: float = 0.3) -> NDArray[np.float32]:
    rng = np.random.default_rng(11)
    return (rng.random((steps, samples, 2, 8, 8)) < rate).astype(np.float32)


# neurons


@pytest.mark.parametrize("run", RUNS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_permuting_neurons_permutes_the_result(run: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = [
        (rng.integers(-128, 256, shape) / 256).astype(np.float32)
        for shape in ((18, 2, 3, 3), (18,), (21, 18 * 9), (21,), (4, 21))
    ]
    theta = (rng.integers(64, 512, 18) / 256).astype(np.float32)
    alpha = rng.random(21).astype(np.float32)
    channels, neurons = rng.permutation(18), rng.permutation(21)

    def built(c: Any, n: Any) -> ss.Network:
        w1, b1, w2, b2, w3 = grid
        net = ss.Network((2, 3, 3))
        net.add(ss.Conv2d(w1[c], b1[c], padding=1), name="conv")
        net.add(ss.IF(v_threshold=theta[c]), name="if")
        net.add(ss.Flatten(), name="flat")
        by_channel = w2.reshape(21, 18, 9)[n][:, c].reshape(21, -1)
        net.add(ss.Linear(by_channel, b2[n]), name="fc")
        net.add(ss.LIF(v_threshold=1.0, alpha_mem=alpha[n]), name="lif")
        net.add(ss.Linear(w3[:, n]), name="out")
        return net

    x = (rng.random((5, 2, 2, 3, 3)) < 0.4).astype(np.float32)
    straight = run(built(slice(None), slice(None))).run(x)
    permuted = run(built(channels, neurons)).run(x)
    assert np.array_equal(straight.output, permuted.output)
    for field in ARRAYS:
        a, b = getattr(straight, field), getattr(permuted, field)
        for name, order in (("if", channels), ("lif", neurons)):
            if name in a:
                assert np.array_equal(a[name][:, :, order], b[name])
    for table in TABLES:
        for name, counts in straight.counts[table].items():
            assert np.array_equal(counts, permuted.counts[table][name])


@pytest.mark.parametrize("run", RUNS)
def test_silence_costs_nothing(run: Any) -> None:
    net = small_net()
    weights = {node.name: node.op for node in net.nodes}
    quiet = ss.Network((2, 8, 8))
    for node in net.nodes[1:]:
        op = ss.Linear(weights["fc"].weight) if node.name == "fc" else node.op
        quiet.add(op, name=node.name)
    for x, steps in ((np.zeros((6, 2, 2, 8, 8)), None), (np.zeros((2, 2, 8, 8)), 6)):
        outcome = run(quiet).run(x, steps)
        for table in ("synops", "synops_with_zeros", "macs", "spikes"):
            for counts in outcome.counts[table].values():
                assert counts.shape == (6, 2)
                assert not counts.any()
        assert all((u > 0).all() for u in outcome.counts["neuron_updates"].values())


# samples


@pytest.mark.parametrize("run", RUNS)
@given(case=cases(exact=False))
@settings(max_examples=15)
def test_a_batch_equals_its_samples_alone(run: Any, case: Case) -> None:
    x, steps = case.run_args()
    together = run(case.net).run(x, steps)
    axis = 0 if case.constant else 1
    alone = [run(case.net).run(np.take(x, [n], axis=axis), steps) for n in range(x.shape[axis])]
    same(together, in_turn(alone, axis=1))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 100])
def test_batch_size_changes_nothing(batch_size: int) -> None:
    net, x = small_net(), small_input()
    same(Engine(net, batch_size=batch_size).run(x), Engine(net).run(x))
    constant = x[0] * np.float32(0.3)
    same(
        Engine(net, batch_size=batch_size).run(constant, n_steps=5),
        Engine(net).run(constant, n_steps=5),
    )


def test_batch_size_keeps_the_state() -> None:
    net, x = small_net(), small_input()
    whole = Engine(net).run(x)
    runner = Engine(net, batch_size=2)
    parts = [runner.run(x[:3]), runner.run(x[3:], reset=False)]
    joined = in_turn(parts, axis=0)
    for field in ("spikes", "v"):
        for name, values in getattr(whole, field).items():
            assert np.array_equal(getattr(joined, field)[name], values)


# time


def cut(run: Any, case: Case, at: int, through_state_dict: bool = False) -> Outcome:
    """The case run in two pieces."""
    x, _ = case.run_args()
    first, second = run(case.net), run(case.net)
    pieces = (
        [(x, at), (x, case.n_steps - at)] if case.constant else [(x[:at], None), (x[at:], None)]
    )
    before = first.run(*pieces[0])
    if not through_state_dict:
        second = first
    elif isinstance(first, Engine):
        second.sim.load_state_dict(first.sim.state_dict())
    else:
        second.state = first.state
    return in_turn([before, second.run(*pieces[1], reset=False)], axis=0)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("through_state_dict", [False, True])
@given(case=cases(exact=False))
@settings(max_examples=12)
def test_a_run_split_in_time_equals_the_whole(
    run: Any, through_state_dict: bool, case: Case
) -> None:
    whole = run(case.net).run(*case.run_args())
    for at in range(1, case.n_steps):
        pieces = cut(run, case, at, through_state_dict)
        if case.net.readout != "last_v":  # the others are of a run, not of the state
            pieces.output, pieces.predictions = whole.output, whole.predictions
        same(pieces, whole)


def test_a_state_outlives_the_run_that_made_it() -> None:
    net, x = small_net(), small_input()
    runner = Engine(net)
    runner.run(x[:4])
    state = runner.sim.state_dict()
    kept = {name: np.array(values) for name, values in state.items()}
    first = runner.run(x[4:], reset=False)
    for name, values in state.items():
        assert np.array_equal(np.asarray(values), kept[name]), f"{name} changed under its owner"
    runner.sim.load_state_dict(state)
    same(runner.run(x[4:], reset=False), first)


@pytest.mark.parametrize("run", RUNS)
@given(case=cases(exact=False))
@settings(max_examples=15)
def test_a_constant_input_equals_itself_repeated(run: Any, case: Case) -> None:
    x = case.x if case.constant else case.x[0]
    raster = np.repeat(x[None], case.n_steps, axis=0)
    same(run(case.net).run(x, case.n_steps), run(case.net).run(raster))


# threads, levels, memory layouts


@given(case=cases(exact=False))
@settings(max_examples=20)
def test_threads_and_levels_change_no_bit(case: Case) -> None:
    first = Engine(case.net, threads=1).run(*case.run_args())
    for threads in (2, 3, 4):
        same(Engine(case.net, threads=threads).run(*case.run_args()), first)
    for level in levels():
        same(Engine(case.net, level=level, threads=1).run(*case.run_args()), first)


def test_threads_change_no_bit_on_a_larger_network() -> None:
    net = small_net()
    for x in (small_input(samples=1), small_input(samples=7), small_input(rate=0.9)):
        first = Engine(net, threads=1).run(x)
        for threads in (2, 3, 4):
            same(Engine(net, threads=threads).run(x), first)


@given(case=cases(exact=False))
@settings(max_examples=10)
def test_memory_layout_of_the_input_does_not_matter(case: Case) -> None:
    x, steps = case.run_args()
    expected = Engine(case.net).run(x, steps)
    same(Engine(case.net).run(np.asfortranarray(x), steps), expected)
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), dtype=np.float32)
    wide[..., ::2] = x
    same(Engine(case.net).run(wide[..., ::2], steps), expected)
    readonly = x.copy()
    readonly.flags.writeable = False
    same(Engine(case.net).run(readonly, steps), expected)


# types


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2", "i4", "u8", "f2", "f8", ">f4", ">i2"])
def test_types_are_cast_without_scaling(run: Any, dtype: str) -> None:
    net = small_net()
    x = (small_input() * (1 if dtype == "?" else 3)).astype(dtype)
    same(run(net).run(x), run(net).run(x.astype(np.float32)))


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.uint8, torch.bool, torch.int64]
)
def test_torch_tensors_are_taken(run: Any, dtype: torch.dtype) -> None:
    net, x = small_net(), small_input()
    tensor = torch.from_numpy(x).to(dtype)
    same(run(net).run(tensor), run(net).run(x))
    if dtype.is_floating_point:
        same(run(net).run(tensor.requires_grad_()), run(net).run(x))


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(3, 2, 2, 8, 8, dtype=torch.complex64),
        torch.zeros(3, 2, 2, 8, 8, dtype=torch.bfloat16),
        torch.zeros(3, 2, 2, 8, 8).to_sparse(),
        np.full((3, 2, 2, 8, 8), np.nan),
        np.full((3, 2, 2, 8, 8), "1"),
        np.zeros((3, 2, 2, 8, 8), dtype=object),
        np.zeros((3, 2, 2, 8, 8), dtype="M8[s]"),
        [[1, 2], [3]],
        None,
        "x.npy",
        np.zeros((0, 2, 2, 8, 8)),
        np.zeros((3, 0, 2, 8, 8)),
    ],
    ids=str,
)
def test_what_is_no_input_is_refused(run: Any, x: Any) -> None:
    runner = run(small_net())
    with pytest.raises(ss.errors.InputError) as error:
        runner.run(x)
    assert "\n" not in str(error.value)


# processes, threads, signals

LONG_RUN = """
import numpy as np, spikesim as ss
rng = np.random.default_rng(0)
net = ss.Network((256,))
net.add(ss.Linear(rng.normal(0.02, 0.2, (1024, 256))), name="fc1")
net.add(ss.IF(v_threshold=1.0), name="if1")
net.add(ss.Linear(rng.normal(0.0, 0.1, (1024, 1024))), name="fc2")
net.add(ss.IF(v_threshold=1.0), name="if2")
if LOOP:
    net.connect("if2", "if2", delay=1)
x = (rng.random((8, 256)) < 0.5).astype(np.float32)
"""


def script(body: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(body)]


def test_works_after_fork() -> None:
    # A thread pool that ran in the parent does not exist in the child.
    code = script("""
        import os, sys
        import numpy as np, spikesim as ss
        rng = np.random.default_rng(0)
        net = ss.Network((1, 16, 16))
        net.add(ss.Conv2d(rng.normal(0.1, 0.3, (32, 1, 3, 3))), name="conv")
        net.add(ss.IF(v_threshold=1.0), name="if")
        x = (rng.random((6, 8, 1, 16, 16)) < 0.5).astype(np.float32)
        sim = net.compile(threads=4)
        expected = sim.run(x).output
        child = os.fork()
        if child == 0:
            ok = False
            try:
                again = np.array_equal(sim.run(x).output, expected)
                fresh = np.array_equal(net.compile(threads=4).run(x).output, expected)
                ok = again and fresh
            finally:
                os._exit(0 if ok else 3)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert np.array_equal(sim.run(x).output, expected)
        sys.exit(status)
    """)
    assert subprocess.run(code, timeout=120, check=False).returncode == 0


def test_two_threads_with_their_own_simulators() -> None:
    net, x = small_net(), small_input(steps=20, samples=8)
    expected = Engine(net).run(x)
    outcomes: list[Outcome] = []

    def work() -> None:
        runner = Engine(net, threads=2)
        outcomes.extend(runner.run(x) for _ in range(5))

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(outcomes) == 10
    for outcome in outcomes:
        same(outcome, expected)


@pytest.mark.parametrize("loop", [False, True])
def test_one_simulator_in_two_threads_is_refused(loop: bool) -> None:
    scope: dict[str, Any] = {"LOOP": loop}
    exec(LONG_RUN, scope)  # the network of the next test
    sim, x = scope["net"].compile(), scope["x"]
    running, seen = threading.Event(), threading.Event()

    class Enough(Exception):
        pass

    def hold(done: int, total: int) -> None:
        running.set()
        seen.wait(30)
        raise Enough  # ends the run: it is many times as long as it takes until the first call

    def work() -> None:
        with contextlib.suppress(Enough):
            sim.run(x, n_steps=20_000, progress=hold)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert running.wait(30)
        with pytest.raises(RuntimeError, match="another thread"):
            sim.run(x, n_steps=1)
    finally:
        seen.set()
        worker.join()
    sim.run(x, n_steps=1)  # and works again afterwards


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT reaches the parent too")
def test_ctrl_c_stops_a_long_run(loop: bool) -> None:
    code = script(
        f"LOOP = {loop}\n"
        + LONG_RUN
        + textwrap.dedent("""
        sim = net.compile()
        sim.run(x, n_steps=1)
        print("ready", flush=True)
        try:
            sim.run(x, n_steps=20_000)
        except KeyboardInterrupt:
            sim.run(x, n_steps=1)
            print("interrupted", flush=True)
        else:
            print("finished", flush=True)
        """)
    )
    with subprocess.Popen(code, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().strip() == "ready"
            time.sleep(0.5)
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            line = process.stdout.readline().strip()
            waited = time.monotonic() - sent
        finally:
            process.kill()
    assert line == "interrupted"
    assert waited < 1.5  # 0.2 s is what is meant; other work may share the machine
