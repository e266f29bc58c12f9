"""Max pools gated by rates on random spikes: the invariant, and plain twins of the gates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import spikesim as ss
from engines import Engine, Outcome, Reference, Torch, same
from rules import neuron
from spikesim.errors import InputError, ShapeError

torch = pytest.importorskip("torch")

Array = NDArray[np.float32]
Window = list[tuple[int, int]]


class Trains:
    """Spikes for a pool that some geometry has, and its windows by their places."""

    def __init__(self, draw: Any, values: list[int]) -> None:
        pick = lambda *choices: draw(st.sampled_from(choices))  # noqa: E731
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        size, kernel = [pick(2, 3, 5, 6), pick(2, 4, 7)], [pick(1, 2), pick(1, 2)]
        kernel = [min(k + pick(0, 1), n) for k, n in zip(kernel, size, strict=True)]
        stride = [pick(1, k, k + 1) for k in kernel]
        padding = [(pick(0, k - 1), pick(0, 0, k - 1)) for k in kernel]
        self.geometry: dict[str, Any] = {
            "kernel_size": tuple(kernel),
            "stride": tuple(stride),
            "padding": tuple(padding),
            "ceil_mode": pick(True, False),
        }
        self.shape = (pick(1, 2, 5), *size)
        self.samples = pick(1, 2)
        silent = pick(0.3, 0.7, 0.95)
        steps = pick(1, 5, 30, 66)  # more than the engine takes at once
        x = rng.choice(values, (steps, self.samples, *self.shape)).astype(np.float32)
        x[rng.random(x.shape) < silent] = 0
        x[rng.random(steps) < 0.2] = 0
        self.x: Array = x
        self.spans = [
            self.along(n, k, s, p) for n, k, s, p in zip(size, kernel, stride, padding, strict=True)
        ]

    def along(self, n: int, kernel: int, stride: int, padding: tuple[int, int]) -> list[range]:
        """The places inside the input of each window along an axis."""
        before, after = padding
        starts = range(-before, n + after, stride)
        whole = [s for s in starts if s + kernel <= n + after]
        more = starts[len(whole) : len(whole) + 1] if self.geometry["ceil_mode"] else []
        # torch's rule: one more if it begins inside, or in the padding before.
        whole += [s for s in more if s < n and whole[-1] + kernel < n + after]
        return [range(max(s, 0), min(s + kernel, n)) for s in whole]

    def windows(self) -> list[list[Window]]:
        """For each place of the result: the places it looks at, ascending."""
        rows, columns = self.spans
        return [[[(y, x) for y in r for x in c] for c in columns] for r in rows]

    def given(self, run: Any, op: Any) -> Array:
        """(T, N, C, rows, columns) that the pool gives."""
        net = ss.Network(self.shape)
        net.add(op, "pool")
        net.add(neuron(), "n")
        return run(net).run(self.x).current["n"]  # type: ignore[no-any-return]

    def largest(self) -> Array:
        """The largest count of each window after every step."""
        sums = np.cumsum(self.x, 0)
        return np.stack(
            [
                np.stack([np.max([sums[..., y, x] for y, x in w], 0) for w in row], -1)
                for row in self.windows()
            ],
            -2,
        )


@st.composite
def trains(draw: Any, values: list[int]) -> Trains:
    return Trains(draw, values)


@pytest.mark.parametrize("run", [Reference, Engine, Torch])
@pytest.mark.parametrize("values", [[1], [1, -1]], ids=["unit", "signed"])
@given(data=st.data())
def test_what_a_window_gives_adds_up_to_the_largest_count(
    run: Any, values: list[int], data: st.DataObject
) -> None:
    case = data.draw(trains(values))
    given = case.given(run, ss.RateMaxPool2d(**case.geometry))
    assert np.array_equal(np.cumsum(given, 0), case.largest())
    assert set(np.unique(given)) <= {0.0, *values}


def test_the_largest_spike_of_a_step_gives_too_many() -> None:
    rng = np.random.default_rng(3)
    x = (rng.random((64, 2, 3, 4, 4)) < 0.3).astype(np.float32)
    most = np.cumsum(x, 0).reshape(64, 2, 3, 2, 2, 2, 2).max((4, 6))

    def given(op: ss.ops.Op) -> Array:
        net = ss.Network(x.shape[2:])
        net.add(op, "pool")
        return net.compile().run(x).output

    assert np.array_equal(given(ss.RateMaxPool2d(2)), most[-1])
    either = given(ss.SpikeMaxPool2d(2)) / most[-1]
    passed = given(ss.RateMaxPool2d(2, gate="argmax")) / most[-1]
    # Of four places at rate 0.3 one spikes in 76 % of the steps.
    assert either.min() > 1.5
    assert passed.min() >= 1
    assert 1 < passed.mean() < either.mean()


@pytest.mark.parametrize("run", [Reference, Engine, Torch])
@given(case=trains([1, -1, 2]))
def test_argmax_equals_its_plain_twin(run: Any, case: Trains) -> None:
    given = case.given(run, ss.RateMaxPool2d(**case.geometry, gate="argmax"))
    windows = case.windows()
    for n in range(case.samples):
        for c in range(case.shape[0]):
            counts: dict[tuple[int, int], float] = {}
            for t, step in enumerate(case.x[:, n, c].tolist()):
                for y, row in enumerate(step):
                    for x, spike in enumerate(row):
                        counts[y, x] = counts.get((y, x), 0.0) + spike
                for i, across in enumerate(windows):
                    for j, window in enumerate(across):
                        y, x = max(window, key=lambda place: counts[place])  # the first of equals
                        assert given[t, n, c, i, j] == step[y][x]


def hybrid(gate: Any) -> ss.Network:
    """Spikes of different heights into a pool that stands in a cycle, with delays around."""
    rng = np.random.default_rng(5)
    net = ss.Network((2, 6, 6))
    net.add(ss.Conv2d(rng.normal(0.2, 0.4, (5, 2, 3, 3)), padding=1), "conv")
    net.add(ss.IF(0.7, spike_amplitude=rng.uniform(0.5, 1.5, 5)), "if")
    net.add(ss.RateMaxPool2d(3, 2, padding=1, gate=gate), "pool", [("if", 0), ("if", 2)])
    net.add(ss.Conv2d(rng.normal(0.1, 0.3, (5, 5, 3, 3)), padding=1), "conv2", [("pool", 1)])
    net.add(ss.LIF(0.5, alpha_mem=0.75), "lif")
    net.add(ss.Upsample(2), "up")
    net.connect("up", "if", delay=1)
    net.output = "lif"
    return net


@pytest.mark.parametrize("gate", ["count", "argmax"])
def test_pools_in_cycles_in_pieces_on_threads(gate: Any) -> None:
    net = hybrid(gate)
    x = np.random.default_rng(0).random((80, 7, 2, 6, 6)).astype(np.float32)
    runner = Engine(net, threads=1)
    whole = runner.run(x)
    assert 0.02 < whole.spikes["lif"].mean() < 0.9
    same(whole, Reference(net).run(x))
    same(Engine(net, threads=3).run(x), whole)
    same(Engine(net, threads=2, batch_size=3).run(x), whole)
    pieces: list[Outcome] = []
    for first, last in ((0, 1), (1, 66), (66, 80)):
        state = runner.sim.state_dict() if first else None
        runner = Engine(net, threads=2)
        if state is not None:
            runner.sim.load_state_dict(state)
        pieces.append(runner.run(x[first:last], reset=state is None))
    for name in ("if", "lif"):
        joined = np.concatenate([piece.v[name] for piece in pieces])
        assert np.array_equal(joined, whole.v[name])
    runner.sim.reset()
    same(runner.run(x, reset=False), whole)


@pytest.mark.parametrize("gate", ["count", "argmax"])
def test_the_state_is_the_sums_of_the_input(gate: Any) -> None:
    net = ss.Network((1, 3))
    net.add(ss.RateMaxPool1d(2, 1, gate=gate), "a.pool")
    sim = net.compile()
    assert {name: a.tolist() for name, a in sim.state_dict().items()} == {
        "a.pool.sum": [[[0, 0, 0]]]
    }
    sim.run(np.array([[[1, 0, 2]], [[0, 1, 0]]], np.float32), n_steps=3)
    state = sim.state_dict()
    assert state["a.pool.sum"].tolist() == [[[3, 0, 6]], [[0, 3, 0]]]
    # Sums that no run has made are taken as they are.
    sim.load_state_dict({"a.pool.sum": np.array([[[0.5, 4, 0]]], np.float32)})
    x = np.array([[[4, 0.25, 0]]], np.float32)
    expected = [[[0.5, 0.25]]] if gate == "count" else [[[4, 0.25]]]
    assert sim.run(x, n_steps=1, reset=False).output.tolist() == expected
    with pytest.raises(ShapeError, match=r"a.pool.sum.* has shape \(1, 1, 2\)"):
        sim.load_state_dict({"a.pool.sum": np.zeros((1, 1, 2))})
    with pytest.raises(InputError, match="holds NaN"):
        sim.load_state_dict({"a.pool.sum": np.full((1, 1, 3), np.nan)})
    with pytest.raises(InputError, match=r'"a\.pool\.sum" is missing'):
        sim.load_state_dict({})


@pytest.mark.parametrize("gate", ["count", "argmax"])
def test_gradients_go_to_the_winner_of_each_step(gate: Any) -> None:
    net = ss.Network((1, 2))
    net.add(ss.RateMaxPool1d(2, gate=gate), "pool")
    module = ss.to_torch(net)
    # Counts 1 1 1 2 and 0 1 2 2: the first place wins, of equals too, but at the third step.
    spikes = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]
    x = torch.tensor(spikes).reshape(4, 1, 1, 2).requires_grad_()
    state, total = None, torch.zeros(())
    for t, weight in enumerate((1.0, 10.0, 100.0, 1000.0)):
        out, state = module.step(x[t], state)
        total = total + weight * out.sum()
    assert total.item() == (101 if gate == "count" else 1101)
    total.backward()
    assert x.grad is not None
    assert x.grad[:, 0, 0].tolist() == [[1, 0], [10, 0], [0, 100], [1000, 0]]
    assert state is not None
    assert not state.sums["pool"].requires_grad


def test_the_summary_says_the_gate() -> None:
    net = ss.Network((1, 4, 4))
    net.add(ss.RateMaxPool2d(2, gate="argmax"))
    assert "rate_max_pool2d  (1, 2, 2)           0  2×2 stride 2 gate argmax" in str(net)
