"""from_torch: what a forward keeps for its next call is a neuron's state, or it is refused.

Whatever else it changes, its second step would be another one; the module is left as it was.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")

import torch.nn.functional as F  # noqa: E402
from snntorch import utils  # noqa: E402
from spikingjelly.activation_based import neuron  # noqa: E402
from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from engines import Engine, Reference  # noqa: E402
from test_from_torch_loops import Net, hidden, leaky, node  # noqa: E402


class Kept(Net):
    """A `Net` with attributes of every sort that a forward may change."""

    def __init__(self, body: Any, make: Any, **more: Any) -> None:
        super().__init__(body, make, **more)
        self.back = nn.Linear(6, 6, bias=False)
        self.t, self.flag, self.prev, self.mem, self.mem2 = 0, False, None, None, None
        self.line: list[Any] = []
        self.book: dict[str, Any] = {"t": 0}
        self.noise = np.ones(1, np.float32)
        self.register_buffer("g", torch.ones(1))
        self.w = nn.Parameter(torch.ones(1))
        with torch.no_grad():
            self.back.weight.copy_(torch.arange(36).reshape(6, 6) % 5 / 8 - 0.25)


def rest(self: Any, x: Any) -> Any:
    return self.lif2(self.fc2(self.lif1(x)))


def previous(self: Any, x: Any) -> Any:
    current = self.fc1(x)
    if self.prev is not None:
        current = current + self.back(self.prev)
    self.prev = self.lif1(current)
    return self.lif2(self.fc2(self.prev))


def previous_buffer(self: Any, x: Any) -> Any:
    spk = self.lif1(self.fc1(x) * self.g)
    self.g = spk.detach()
    return self.lif2(self.fc2(spk))


def counter(self: Any, x: Any) -> Any:
    self.t += 1
    return rest(self, self.fc1(x) * 0.5**self.t)


def flagged(self: Any, x: Any) -> Any:
    scale = 0.5 if self.flag else 1.0
    self.flag = True
    return rest(self, self.fc1(x) * scale)


def first_only(self: Any, x: Any) -> Any:
    scale = 1.0 if self.prev is None else 0.5
    self.prev = 1
    return rest(self, self.fc1(x) * scale)


def in_dict(self: Any, x: Any) -> Any:
    self.book["t"] += 1
    return rest(self, self.fc1(x) * 0.5 ** self.book["t"])


def buffer_in_place(self: Any, x: Any) -> Any:
    out = rest(self, self.fc1(x) * self.g)
    self.g.mul_(0.5)
    return out


def buffer_data(self: Any, x: Any) -> Any:
    out = rest(self, self.fc1(x) * self.g)
    self.g.data.mul_(0.5)
    return out


def parameter(self: Any, x: Any) -> Any:
    out = rest(self, self.fc1(x) * self.w)
    self.w.data.mul_(0.5)
    return out


def numpy_array(self: Any, x: Any) -> Any:
    out = rest(self, self.fc1(x) * float(self.noise[0]))
    self.noise *= 0.5
    return out


def delay_line(self: Any, x: Any) -> Any:
    self.line.append(self.lif1(self.fc1(x)))
    old = self.line[-3] if len(self.line) >= 3 else torch.zeros(1, 6)
    return self.lif2(self.fc2(self.line[-1] + old))


CHANGES = {
    previous: "self.prev",
    previous_buffer: "self.g",
    counter: "self.t",
    flagged: "self.flag",
    first_only: "self.prev",
    in_dict: "self.book",
    buffer_in_place: "self.g",
    buffer_data: "self.g",
    parameter: "self.w",
    numpy_array: "self.noise",
    delay_line: "self.line",
}


@pytest.mark.parametrize("body", CHANGES, ids=lambda body: body.__name__)
def test_what_a_step_leaves_for_the_next_is_refused_and_put_back(body: Any):
    model = Kept(body, hidden).eval()
    with pytest.raises(ss.errors.UnsupportedError) as caught:
        ss.from_torch(model, (4,))
    message = f"Kept: forward changes {CHANGES[body]} and its next call depends on that"
    assert str(caught.value).startswith(message), caught.value
    assert (model.t, model.flag, model.prev, model.line) == (0, False, None, [])
    assert model.book == {"t": 0}
    assert float(model.noise[0]) == float(model.g) == float(model.w.detach()) == 1.0


def test_a_loop_that_changes_a_buffer_is_refused_and_the_buffer_put_back():
    def body(self: Any, x: Any) -> Any:
        return torch.stack([buffer_data(self, x) for _ in range(3)])

    model = Kept(body, hidden).eval()
    with pytest.raises(ss.errors.UnsupportedError, match="lif1: Leaky is called 2 times"):
        ss.from_torch(model, (4,))
    assert float(model.g) == 1.0


# Where it is right


def handed_back(self: Any, x: Any) -> Any:
    spk, self.mem = self.lif1(self.fc1(x), self.mem)
    spk, self.mem2 = self.lif2(self.fc2(spk), self.mem2)
    return spk




def written_alone(self: Any, x: Any) -> Any:
    self.prev = self.lif1(self.fc1(x))
    self.t = x.shape[-1]
    return self.lif2(self.fc2(self.prev))


@pytest.mark.parametrize("engine", [Reference, Engine])
@pytest.mark.parametrize(
    ("body", "make"), [(handed_back, leaky), (written_alone, hidden), (written_alone, node)]
)
def test_states_handed_back_and_records_are_read(engine: Any, body: Any, make: Any):
    model = Kept(body, make).eval()
    x = np.random.default_rng(1).integers(-2, 5, (7, 3, 4)).astype(np.float32) / 4
    net = ss.from_torch(model, (4,))
    assert model.mem is None and model.prev is None
    with torch.no_grad():
        want = torch.stack([model(step) for step in torch.from_numpy(x)]).numpy()
    assert want.any()
    np.testing.assert_array_equal(engine(net).run(x).spikes["lif2"], want)


def swapped(self: Any, x: Any) -> Any:
    spk, mem = self.lif1(self.fc1(x), self.mem)
    spk, self.mem = self.lif2(self.back(spk), self.mem2)
    self.mem2 = mem
    return spk


def added(self: Any, x: Any) -> Any:
    current = self.fc1(x)
    if self.mem is not None:
        current = current + self.mem
    spk, self.mem = self.lif1(current)
    return self.lif2(self.fc2(spk))[0]


@pytest.mark.parametrize("body", [swapped, added], ids=lambda body: body.__name__)
def test_a_state_that_goes_elsewhere_is_refused(body: Any):
    with pytest.raises(ss.errors.UnsupportedError, match="^Kept: forward changes self.mem"):
        ss.from_torch(Kept(body, leaky).eval(), (4,))
