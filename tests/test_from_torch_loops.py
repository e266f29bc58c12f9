"""from_torch: forwards that loop over time fold into one step, and only where that is certain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")

from spikingjelly.activation_based import functional, neuron  # noqa: E402
from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from engines import Engine, Reference  # noqa: E402
from libraries import reset  # noqa: E402

Draw = Any
T = 5


class Net(nn.Module):
    """Two layers of neurons whose forward is `body`; weights on a grid where sums are exact."""

    def __init__(self, body: Any, make: Any, seed: int = 3, steps: int = T) -> None:
        super().__init__()
        self.body = body
        self.T = steps
        self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 3)
        self.lif1, self.lif2 = make(), make()
        rng = np.random.default_rng(seed)
        with torch.no_grad():
            for parameter in [*self.fc1.parameters(), *self.fc2.parameters()]:
                values = rng.integers(-6, 9, tuple(parameter.shape)) / 8
                parameter.copy_(torch.from_numpy(values.astype(np.float32)))

    def forward(self, x: Any) -> Any:
        return self.body(self, x)


def leaky() -> Any:
    return snn.Leaky(0.5, threshold=0.5)


def hidden() -> Any:
    return snn.Leaky(0.5, threshold=0.5, init_hidden=True)


def node() -> Any:
    return neuron.LIFNode(2.0, False, 0.5, None)


def own() -> Any:
    return ss.train.LIF(0.5, alpha_mem=0.5)


# The usual forms. Each says what its input is: "constant" (N, 4), "TN" or "NT".


def snntorch_tutorial(self: Any, x: Any) -> Any:
    mem1, mem2 = self.lif1.reset_mem(), self.lif2.init_leaky()
    spk_rec, mem_rec = [], []
    for _step in range(self.T):
        cur1 = self.fc1(x)
        spk1, mem1 = self.lif1(cur1, mem1)
        cur2 = self.fc2(spk1)
        spk2, mem2 = self.lif2(cur2, mem2)
        spk_rec.append(spk2)
        mem_rec.append(mem2)
    return torch.stack(spk_rec, dim=0), torch.stack(mem_rec, dim=0)


def over_input(self: Any, x: Any) -> Any:
    mem1 = torch.zeros(x.size(1), 6, device=x.device)
    mem2 = torch.zeros_like(mem1)[:, :3]
    rec = []
    for t in range(x.size(0)):
        spk1, mem1 = self.lif1(self.fc1(x[t].flatten(1)), mem1)
        spk2, mem2 = self.lif2(self.fc2(spk1), mem=mem2)
        rec += [spk2]
    return {"spikes": torch.stack(rec), "mem": mem2}


def over_second_axis(self: Any, x: Any) -> Any:
    batch, steps = x.shape[:2]
    rec = [self.lif2(self.fc2(self.lif1(self.fc1(x[:, t])))) for t in range(steps)]
    out = torch.stack(rec, dim=1)
    assert out.shape == (batch, steps, 3)
    return out


def iterated(self: Any, x: Any) -> Any:
    return torch.stack([self.lif2(self.fc2(self.lif1(self.fc1(now)))) for now in x])


def swapped(self: Any, x: Any) -> Any:
    rec = []
    for _t, now in enumerate(x.transpose(0, 1).unbind(0)):
        rec.append(self.lif2(self.fc2(self.lif1(self.fc1(now)))).unsqueeze(0))
    return torch.cat(rec, dim=0)


def summed(self: Any, x: Any) -> Any:
    total = 0
    for _ in range(self.T):
        total = total + self.lif2(self.fc2(self.lif1(self.fc1(x))))
    return total


def added_in_place(self: Any, x: Any) -> Any:
    x = self.fc1(x)
    out = self.lif2(self.fc2(self.lif1(x)))
    for _ in range(1, self.T):
        out += self.lif2(self.fc2(self.lif1(x)))
    return out / self.T


def listed(self: Any, x: Any) -> Any:
    return sum([self.lif2(self.fc2(self.lif1(self.fc1(x)))) for _ in range(self.T)]) / self.T


def meaned(self: Any, x: Any) -> Any:
    steps = [self.fc2(self.lif1(self.fc1(x))) for _ in range(self.T)]
    self.lif2(steps[0]) if self.T == 1 else [self.lif2(item) for item in steps]
    return torch.stack(steps).mean(0)


def last_membrane(self: Any, x: Any) -> Any:
    mem1, mem2 = None, None
    for _ in range(self.T):
        spk1, mem1 = self.lif1(self.fc1(x), mem1)
        _, mem2 = self.lif2(self.fc2(spk1), mem2)
    return mem2


def largest_membrane(self: Any, x: Any) -> Any:
    mem1, mem2, rec = self.lif1.init_leaky(), self.lif2.init_leaky(), []
    for _ in range(self.T):
        spk1, mem1 = self.lif1(self.fc1(x), mem1)
        _, mem2 = self.lif2(self.fc2(spk1), mem2)
        rec.append(mem2)
    return torch.stack(rec).max(0)[0]


FORMS = [
    (snntorch_tutorial, leaky, "constant", "count", "rec"),
    (over_input, leaky, "TN", "count", "rec"),
    (over_second_axis, hidden, "NT", "count", "rec1"),
    (over_second_axis, own, "NT", "count", "rec1"),
    (iterated, node, "TN", "count", "rec"),
    (swapped, own, "NT", "count", "rec"),
    (summed, hidden, "constant", "sum", "out"),
    (added_in_place, node, "constant", "mean", "out"),
    (listed, own, "constant", "mean", "out"),
    (meaned, own, "constant", "mean", "out"),
    (last_membrane, leaky, "constant", "last_v", "out"),
    (largest_membrane, leaky, "constant", "max_v", "out"),
]


@pytest.mark.parametrize("engine", [Reference, Engine])
@pytest.mark.parametrize(
    ("body", "make", "layout", "readout", "gives"), FORMS, ids=lambda v: getattr(v, "__name__", "")
)
@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_a_loop_is_what_the_network_runs(
    engine: Any, body: Any, make: Any, layout: str, readout: str, gives: str, steps: int, seed: int
):
    model = Net(body, make, seed, steps).eval()
    rng = np.random.default_rng(seed)
    size = {"constant": (2, 4), "TN": (steps, 2, 4), "NT": (2, steps, 4)}[layout]
    x = rng.integers(-2, 5, size).astype(np.float32) / 4
    reset(model)
    with torch.no_grad():
        out = model(torch.from_numpy(x))
    reset(model)
    net = ss.from_torch(model, (4,), n_steps=None if layout == "constant" else steps)
    assert [node.name for node in net.nodes][1:5] == ["fc1", "lif1", "fc2", "lif2"]
    assert len(net.nodes) == 5
    assert net.readout == readout
    assert net.meta["source"]["n_steps"] == steps
    result = engine(net).run(x.swapaxes(0, 1) if layout == "NT" else x,
                             steps if layout == "constant" else None)  # fmt: skip
    if gives == "out":
        np.testing.assert_allclose(result.output, out.numpy(), rtol=1e-6)
        return
    first = next(iter(out.values())) if isinstance(out, dict) else out
    recorded = first[0] if isinstance(first, tuple) else first
    recorded = recorded.swapaxes(0, 1) if gives == "rec1" else recorded
    np.testing.assert_array_equal(result.spikes["lif2"], recorded.numpy())
    if isinstance(first, tuple):
        np.testing.assert_array_equal(result.v["lif2"], first[1].numpy())


def test_one_step_is_a_loop_too():
    net = ss.from_torch(Net(snntorch_tutorial, leaky, steps=1), (4,))
    assert net.output == "lif2"
    assert net.readout == "count"


def test_a_library_reset_before_the_loop_and_a_nested_module():
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 3), node())

        def forward(self, x: Any) -> Any:
            return self.net(x)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def forward(self, x: Any) -> Any:
            functional.reset_net(self)
            return torch.stack([self.inner(x) for _ in range(4)]).mean(0)

    net = ss.from_torch(Outer(), (4,))
    assert [node.name for node in net.nodes] == ["input", "inner.net.0", "inner.net.1"]
    assert net.readout == "mean"


# What is not certain


def every_other(self: Any, x: Any) -> Any:
    rec = []
    for t in range(self.T):
        spk = self.lif1(self.fc1(x))
        if t % 2 == 0:
            spk2 = self.lif2(self.fc2(spk))
        rec.append(spk2)
    return torch.stack(rec)


def late(self: Any, x: Any) -> Any:
    for t in range(self.T):
        spk = self.lif1(self.fc1(x))
        if t >= 1:
            spk = self.lif2(self.fc2(spk))
    return spk


def other_weights(self: Any, x: Any) -> Any:
    rec = []
    for t in range(self.T):
        cur = self.fc1(x) if t < 3 else self.fc1(x * 2)
        rec.append(self.lif2(self.fc2(self.lif1(cur))))
    return torch.stack(rec)


def starts_anew(self: Any, x: Any) -> Any:
    rec = []
    for _ in range(self.T):
        self.lif1.reset() if hasattr(self.lif1, "reset_net") else functional.reset_net(self.lif1)
        rec.append(self.lif2(self.fc2(self.lif1(self.fc1(x)))))
    return torch.stack(rec)


def resets_own(self: Any, x: Any) -> Any:
    rec = []
    for _ in range(self.T):
        ss.train.reset_states(self)
        rec.append(self.lif2(self.fc2(self.lif1(self.fc1(x)))))
    return torch.stack(rec)


def resets_membrane(self: Any, x: Any) -> Any:
    rec = []
    for _ in range(self.T):
        mem = self.lif1.reset_mem()
        rec.append(self.lif2(self.fc2(self.lif1(self.fc1(x), mem)[0]))[0])
    return torch.stack(rec)


def crossed(self: Any, x: Any) -> Any:
    mem1, mem2, rec = self.lif1.init_leaky(), self.lif2.init_leaky(), []
    for _ in range(self.T):
        spk1, new = self.lif1(self.fc1(x), mem1)
        spk2, mem1 = self.lif2(self.fc2(spk1), mem2)
        mem2 = new
        rec.append(spk2)
    return torch.stack(rec)


def feedback(self: Any, x: Any) -> Any:
    rec, spk2 = [], torch.zeros(1, 3)
    for _ in range(self.T):
        spk2 = self.lif2(self.fc2(self.lif1(self.fc1(x)) + (spk2.sum() if rec == [] else 0)))
        rec.append(spk2 + rec[-1] if rec else spk2)
    return torch.stack(rec)


def skips(self: Any, x: Any) -> Any:
    rec = [self.lif2(self.fc2(self.lif1(self.fc1(x)))) for _ in range(self.T)]
    return torch.stack(rec[1:])


def shuffles(self: Any, x: Any) -> Any:
    rec = [self.lif2(self.fc2(self.lif1(self.fc1(x)))) for _ in range(self.T)]
    return torch.stack(rec[::-1])


def wrong_mean(self: Any, x: Any) -> Any:
    rec = [self.lif2(self.fc2(self.lif1(self.fc1(x)))) for _ in range(self.T)]
    return sum(rec) / (self.T + 1)


def layer_on_all(self: Any, x: Any) -> Any:
    rec = [self.lif1(self.fc1(x)) for _ in range(self.T)]
    return self.fc2(torch.stack(rec))


def of_the_last(self: Any, x: Any) -> Any:
    for _ in range(self.T):
        spk = self.lif2(self.fc2(self.lif1(self.fc1(x))))
    return spk


REFUSED = [
    (every_other, own, "lif2: LIF is called 2 times in one forward, the last time on another"),
    (late, own, "lif2: LIF is called first in step 1 of a loop, expected a call in every step"),
    (other_weights, own, "lif1: LIF is called 4 times in one forward, the last time on another"),
    (starts_anew, node, "lif1: LIFNode is called 2 times in one forward, the last time after a"),
    (resets_own, own, "lif1: LIF is called 2 times in one forward, the last time after a reset"),
    (
        resets_membrane,
        leaky,
        "lif1: Leaky is called 2 times in one forward, the last time with a state that is not",
    ),
    (crossed, leaky, "lif1: Leaky is called 2 times in one forward, the last time with a state"),
    (feedback, own, "add: adds values of different steps, expected a running sum of one value"),
    (skips, own, "stack: records the steps 1, 2, 3, 4, expected every step once and in order"),
    (shuffles, own, "stack: records the steps 4, 3, 2, 1, 0, expected every step once and in"),
    (wrong_mean, own, "truediv: divides what belongs to several steps, expected a sum over all"),
    (layer_on_all, own, "fc2: the call has all steps at once, expected the output of one layer"),
    (of_the_last, own, "Net: forward returns lif2 of one step of 5, expected every step; record"),
]


@pytest.mark.parametrize(
    ("body", "make", "message"), REFUSED, ids=lambda v: getattr(v, "__name__", "")
)
def test_what_is_not_certain_is_refused(body: Any, make: Any, message: str):
    with pytest.raises(ss.errors.UnsupportedError) as caught:
        ss.from_torch(Net(body, make), (4,))
    assert str(caught.value).startswith(message), caught.value


def test_a_loop_over_an_input_needs_the_number_of_steps():
    with pytest.raises(ss.errors.UnsupportedError, match="name the steps of a loop over time by n"):
        ss.from_torch(Net(over_input, leaky), (4,))
    with pytest.raises(ss.errors.UnsupportedError, match="if that axis is time, name the number"):
        ss.from_torch(Net(iterated, own), (4,))
    with pytest.raises(ss.errors.InputError, match="n_steps is 0, expected a number of at least 1"):
        ss.from_torch(Net(iterated, own), (4,), n_steps=0)


def test_a_loop_must_take_every_step_of_its_input():
    def half(self: Any, x: Any) -> Any:
        rec = [self.lif2(self.fc2(self.lif1(self.fc1(x[t])))) for t in range(3)]
        return torch.stack(rec)

    with pytest.raises(ss.errors.UnsupportedError, match="makes 3 steps of an input with 5"):
        ss.from_torch(Net(half, own), (4,), n_steps=5)
    assert ss.from_torch(Net(half, own), (4,), n_steps=3).meta["source"]["n_steps"] == 3
