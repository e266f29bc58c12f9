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
    assert (model.mem, model.prev) == (None, None)
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
    with pytest.raises(ss.errors.UnsupportedError, match=r"^Kept: forward changes self\.mem"):
        ss.from_torch(Kept(body, leaky).eval(), (4,))


# Neurons: their states and their parameters


def scaled(self: Any, x: Any) -> Any:
    self.lif1.v = self.lif1.v * 0.5
    return rest(self, self.fc1(x))


def threshold_moved(self: Any, x: Any) -> Any:
    out = rest(self, self.fc1(x))
    self.lif1.v_threshold += 0.25
    return out


def threshold_tensor(self: Any, x: Any) -> Any:
    out = rest(self, self.fc1(x))
    self.lif1.threshold.data.mul_(1.25)
    return out


def reads_v(self: Any, x: Any) -> Any:
    return self.lif2(self.fc2(self.lif1(self.fc1(x)) + self.lif1.v))


def reads_mem(self: Any, x: Any) -> Any:
    return self.lif2(self.fc2(self.lif1(self.fc1(x)) + self.lif1.mem * 0.5))


def utils_reset(self: Any, x: Any) -> Any:
    utils.reset(self)
    return rest(self, self.fc1(x))


def loop(step: Any) -> Any:
    def body(self: Any, x: Any) -> Any:
        out = []
        for t in range(3):
            step(self, t)
            out.append(rest(self, self.fc1(x)))
        return torch.stack(out)

    return body


def v_threshold(self: Any, t: int) -> None:
    self.lif1.v_threshold = 0.5 + t / 2


def v_reset(self: Any, t: int) -> None:
    self.lif1.v_reset = None if t == 0 else 0.0


def weight(self: Any, t: int) -> None:
    self.fc1.weight.data.mul_(0.5 if t else 1.0)


def threshold(self: Any, t: int) -> None:
    self.lif1.threshold.data.mul_(1.25 if t else 1.0)


def and_back(self: Any, t: int) -> None:
    self.lif1.v_threshold = 0.75 if t == 1 else 0.5


NEURONS = [
    (scaled, node, "mul: computes with the state that a neuron holds"),
    (threshold_moved, node, "lif1: forward changes v_threshold of this LIFNode"),
    (threshold_tensor, hidden, "lif1: forward changes threshold of this Leaky"),
    (reads_v, node, "add: computes with the state that a neuron holds"),
    (reads_mem, hidden, "mul: computes with the state that a neuron holds"),
    (utils_reset, hidden, "lif1: Leaky has its state set back in forward"),
    (loop(v_threshold), node, "lif1: forward changes v_threshold of this LIFNode"),
    (loop(v_reset), node, "lif1: forward changes v_reset of this LIFNode"),
    (loop(weight), node, "fc1: forward changes weight of this Linear"),
    (loop(threshold), hidden, "lif1: forward changes threshold of this Leaky"),
    (loop(and_back), node, "lif1: forward changes v_threshold of this LIFNode"),
]


@pytest.mark.parametrize("ran", [False, True], ids=["never run", "run before"])
@pytest.mark.parametrize(("body", "make", "message"), NEURONS, ids=[n[2] for n in NEURONS])
def test_a_neuron_or_a_layer_that_forward_changes_is_refused(
    body: Any, make: Any, message: str, ran: bool
):
    model = Net(body, make).eval()
    if ran:
        with torch.no_grad():
            rest(model, model.fc1(torch.ones(1, 4)))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ss.errors.UnsupportedError) as caught:
        ss.from_torch(model, (4,))
    assert str(caught.value).startswith(message), caught.value
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


# Random numbers


def normal(self: Any, x: Any) -> Any:
    return rest(self, self.fc1(x) + torch.zeros(1, 6).normal_())


def uniform(self: Any, x: Any) -> Any:
    return rest(self, self.fc1(x) + torch.zeros(1, 6).uniform_())


def of_numpy(self: Any, x: Any) -> Any:
    drawn = np.random.rand(1, 6).astype(np.float32)  # noqa: NPY002
    return rest(self, self.fc1(x) + torch.from_numpy(drawn))


def dropped(self: Any, x: Any) -> Any:
    return rest(self, F.linear(x, F.dropout(self.fc1.weight, 0.5, True), self.fc1.bias))


@pytest.mark.parametrize("body", [normal, uniform, of_numpy, dropped], ids=lambda b: b.__name__)
def test_random_numbers_are_refused_and_not_used_up(body: Any):
    model = Net(body, node).eval()
    state = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    with pytest.raises(ss.errors.UnsupportedError, match="forward draws random or unset numbers"):
        ss.from_torch(model, (4,))
    assert torch.equal(state[0], torch.get_rng_state())
    np.testing.assert_array_equal(state[1], np.random.get_state()[1])  # noqa: NPY002


# What a neuron returns and keeps


def test_a_recurrent_neurons_spikes_are_its_state():
    def body(self: Any, x: Any) -> Any:
        spk = self.lif1(self.fc1(x))
        spk *= 0.5
        return self.lif2(self.fc2(spk))

    def recurrent() -> Any:
        return snn.RLeaky(0.5, threshold=0.5, all_to_all=False, init_hidden=True)

    with pytest.raises(ss.errors.UnsupportedError, match="what lif1 returned, which is its state"):
        ss.from_torch(Net(body, recurrent).eval(), (4,))
    ss.from_torch(Net(body, hidden).eval(), (4,))


def test_a_membrane_that_is_returned_is_the_state():
    norse = pytest.importorskip("norse.torch")

    class Leaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.li = nn.Linear(4, 3), norse.LICell()

        def forward(self, x: Any, state: Any = None) -> Any:
            v, state = self.li(self.fc(x), state)
            v += 1.0
            return v, state

    with pytest.raises(ss.errors.UnsupportedError, match="what li returned, which is its state"):
        ss.from_torch(Leaks().eval(), (4,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(dtype: Any):
    with pytest.raises(ss.errors.UnsupportedError, match=r"call module.float\(\) first"):
        ss.from_torch(nn.Sequential(nn.Linear(4, 3), hidden()).to(dtype), (4,))


def test_functions_of_images_take_one_step():
    class Images(nn.Module):
        def __init__(self, function: Any) -> None:
            super().__init__()
            self.function, self.lif = function, node()
            self.lif.step_mode = "m"

        def forward(self, x: Any) -> Any:
            return self.lif(self.function(x))

    mean, var = torch.zeros(2), torch.ones(2)
    for function in (
        lambda x: F.interpolate(x, scale_factor=2),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.batch_norm(x, mean, var),
    ):
        with pytest.raises(ss.errors.UnsupportedError, match="is given all steps at once"):
            ss.from_torch(Images(function).eval(), (2, 4, 4))


def test_a_sinabs_layer_that_starts_otherwise_is_refused():
    sinabs = pytest.importorskip("sinabs.layers")

    class Started(sinabs.IAF):  # type: ignore[name-defined, misc]
        def init_state_with_shape(self, shape: Any, randomize: bool = False) -> None:
            super().init_state_with_shape(shape, randomize)
            self.v_mem += 0.5

    with pytest.raises(ss.errors.UnsupportedError, match="Started is not supported"):
        ss.from_torch(nn.Sequential(nn.Linear(4, 3), Started()), (4,))


def test_other_threads_run_their_models_meanwhile():
    started, done, seen = threading.Event(), threading.Event(), []

    def waits(self: Any, x: Any) -> Any:
        started.set()
        assert done.wait(10)
        return rest(self, self.fc1(x))

    def other() -> None:
        assert started.wait(10)
        try:
            seen.append(nn.Linear(4, 6)(torch.ones(1, 4)))
        finally:
            done.set()

    call = nn.Module.__call__
    thread = threading.Thread(target=other)
    thread.start()
    ss.from_torch(Net(waits, node).eval(), (4,))
    thread.join()
    assert isinstance(seen[0], torch.Tensor)
    assert nn.Module.__call__ is call
