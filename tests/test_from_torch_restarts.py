"""from_torch: a forward that sets its neurons back itself.

In a loop over time that is its start. In a forward of one step the library starts from zero at
every call, which no network does: that is refused, however it is written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")

from spikingjelly.activation_based import functional, layer, neuron  # noqa: E402
from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from engines import Engine, Reference  # noqa: E402
from test_from_torch_loops import Net, hidden, leaky, node, own  # noqa: E402


def cuba() -> Any:
    return neuron.CUBALIFNode(c_decay=0.5, v_decay=0.5, v_threshold=0.5)


def synaptic() -> Any:
    return snn.Synaptic(0.5, 0.5, threshold=0.5)


def alpha() -> Any:
    return snn.Alpha(0.75, 0.5, threshold=0.5)


def recurrent() -> Any:
    return snn.RLeaky(0.5, threshold=0.5, all_to_all=False)


def looped() -> Any:
    return layer.ElementWiseRecurrentContainer(node(), lambda x, y: x + y)


def through(self: Any, x: Any) -> Any:
    return self.lif2(self.fc2(self.lif1(self.fc1(x))))


def init_leaky(self: Any, x: Any) -> Any:
    spk, _ = self.lif1(self.fc1(x), self.lif1.init_leaky())
    return self.lif2(self.fc2(spk))[0]


def reset_mem(self: Any, x: Any) -> Any:
    mem = self.lif1.reset_mem()
    spk, _ = self.lif1(self.fc1(x), mem)
    return self.lif2(self.fc2(spk))[0]


def reset_unused(self: Any, x: Any) -> Any:
    self.lif1.reset_mem()
    return through(self, x)


def reset_twice(self: Any, x: Any) -> Any:
    self.lif1.reset_mem()
    self.lif1.reset_mem()
    return through(self, x)


def zeros(self: Any, x: Any) -> Any:
    spk, _ = self.lif1(self.fc1(x), torch.zeros(x.shape[0], 6))
    return self.lif2(self.fc2(spk))[0]


def init_synaptic(self: Any, x: Any) -> Any:
    spk, *_ = self.lif1(self.fc1(x), *self.lif1.init_synaptic())
    return self.lif2(self.fc2(spk))[0]


def init_alpha(self: Any, x: Any) -> Any:
    spk, *_ = self.lif1(self.fc1(x), *self.lif1.init_alpha())
    return self.lif2(self.fc2(spk))[0]


def init_rleaky(self: Any, x: Any) -> Any:
    spk, mem = self.lif1.init_rleaky()
    spk, _ = self.lif1(self.fc1(x), spk, mem)
    return self.lif2(self.fc2(spk))[0]


def in_place(self: Any, x: Any) -> Any:
    self.lif1.mem.zero_()
    return through(self, x)


def reset_net(self: Any, x: Any) -> Any:
    functional.reset_net(self)
    return through(self, x)


def reset_one(self: Any, x: Any) -> Any:
    self.lif1.reset()
    return through(self, x)


def reset_after(self: Any, x: Any) -> Any:
    out = through(self, x)
    self.lif1.reset()
    return out


def own_after(self: Any, x: Any) -> Any:
    out = through(self, x)
    self.lif1.reset_state()
    return out


def assigned(self: Any, x: Any) -> Any:
    self.lif1.v = 0.0
    return through(self, x)


def reset_states(self: Any, x: Any) -> Any:
    ss.train.reset_states(self)
    return through(self, x)


SET_BACK = "lif1: {} has its state set back in forward, so that it starts anew at every step"
GIVEN = "lif1: {} is given zeros made in forward as its {}, so that it starts anew at every step"
RESTARTS = [
    (init_leaky, leaky, GIVEN.format("Leaky", "membrane")),
    (reset_mem, leaky, GIVEN.format("Leaky", "membrane")),
    (zeros, leaky, GIVEN.format("Leaky", "membrane")),
    (init_synaptic, synaptic, GIVEN.format("Synaptic", "synaptic current")),
    (init_alpha, alpha, GIVEN.format("Alpha", "excitatory current")),
    (init_rleaky, recurrent, GIVEN.format("RLeaky", "spikes")),
    (reset_unused, hidden, SET_BACK.format("Leaky")),
    (reset_twice, hidden, SET_BACK.format("Leaky")),
    (in_place, hidden, SET_BACK.format("Leaky")),
    (reset_net, node, SET_BACK.format("LIFNode")),
    (reset_one, node, SET_BACK.format("LIFNode")),
    (reset_after, node, SET_BACK.format("LIFNode")),
    (assigned, node, SET_BACK.format("LIFNode")),
    (reset_one, cuba, SET_BACK.format("CUBALIFNode")),
    (reset_one, looped, SET_BACK.format("ElementWiseRecurrentContainer")),
    (reset_states, own, SET_BACK.format("LIF")),
    (own_after, own, SET_BACK.format("LIF")),
]


@pytest.mark.parametrize("ran", ["never run", "run before", "run for inference"])
@pytest.mark.parametrize(
    ("body", "make", "message"), RESTARTS, ids=lambda v: getattr(v, "__name__", "")
)
def test_a_single_step_that_starts_anew_is_refused(body: Any, make: Any, message: str, ran: str):
    model = Net(body, make).eval()
    if ran != "never run" and body is not in_place:
        with torch.inference_mode() if ran == "run for inference" else torch.no_grad():
            model(torch.zeros(2, 4))
    with pytest.raises(ss.errors.UnsupportedError) as caught:
        ss.from_torch(model, (4,))
    assert str(caught.value).startswith(message), caught.value
    assert "set it back outside of forward, pass the state on" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "make"), [(through, node), (through, hidden), (through, own), (through, cuba)]
)
def test_a_model_run_for_inference_before_is_read(body: Any, make: Any):
    model = Net(body, make).eval()
    with torch.inference_mode():
        model(torch.zeros(2, 4))
    assert [n.name for n in ss.from_torch(model, (4,)).nodes][1:] == ["fc1", "lif1", "fc2", "lif2"]


def test_a_nested_module_that_is_given_no_state_takes_its_default():
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif = leaky()

        def forward(self, x: Any, mem: Any = None) -> Any:
            if mem is None:
                mem = self.lif.init_leaky()
            return self.lif(x, mem)[0]

    with pytest.raises(ss.errors.UnsupportedError, match=r"^1\.lif: Leaky is given zeros made in"):
        ss.from_torch(nn.Sequential(nn.Linear(4, 6), Inner()), (4,))


# Where it is right


def loop_of_leaky(self: Any, x: Any) -> Any:
    mem, rec = self.lif1.init_leaky(), []
    mem2 = self.lif2.reset_mem()
    for _ in range(self.T):
        spk, mem = self.lif1(self.fc1(x), mem)
        spk, mem2 = self.lif2(self.fc2(spk), mem2)
        rec.append(spk)
    return torch.stack(rec)


def loop_of_hidden(self: Any, x: Any) -> Any:
    self.lif1.reset_mem(), self.lif2.reset_mem()
    return torch.stack([through(self, x) for _ in range(self.T)])


def loop_of_nodes(self: Any, x: Any) -> Any:
    functional.reset_net(self)
    return torch.stack([through(self, x) for _ in range(self.T)])


def loop_and_reset(self: Any, x: Any) -> Any:
    out = torch.stack([through(self, x) for _ in range(self.T)])
    functional.reset_net(self)
    return out


def loop_of_own(self: Any, x: Any) -> Any:
    ss.train.reset_states(self)
    return torch.stack([through(self, x) for _ in range(self.T)])


@pytest.mark.parametrize("engine", [Reference, Engine])
@pytest.mark.parametrize("steps", [1, 2, 6])
@pytest.mark.parametrize(
    ("body", "make"),
    [
        (loop_of_leaky, leaky),
        (loop_of_hidden, hidden),
        (loop_of_nodes, node),
        (loop_of_nodes, cuba),
        (loop_and_reset, node),
        (loop_of_own, own),
    ],
)
def test_in_a_loop_it_is_the_start(engine: Any, body: Any, make: Any, steps: int):
    model = Net(body, make, steps=steps).eval()
    x = np.random.default_rng(1).integers(-2, 5, (3, 4)).astype(np.float32) / 4
    net = ss.from_torch(model, (4,))
    with torch.no_grad():
        model(torch.from_numpy(x))
        again = model(torch.from_numpy(x)).numpy()
    assert steps == 1 or again.any()
    np.testing.assert_array_equal(engine(net).run(x, steps).spikes["lif2"], again)


def test_a_module_that_takes_all_steps_may_set_itself_back():
    class All(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = layer.Linear(4, 6), node()

        def forward(self, x: Any) -> Any:
            functional.reset_net(self)
            return self.lif(self.fc(x))

    model = All().eval()
    functional.set_step_mode(model, "m")
    with torch.no_grad():
        model.fc.weight.copy_(torch.arange(24).reshape(6, 4) / 16)
        model.fc.bias.zero_()
    x = np.random.default_rng(1).integers(0, 5, (7, 3, 4)).astype(np.float32) / 4
    with torch.no_grad():
        want = [model(torch.from_numpy(x)).numpy() for _ in range(2)][1]
    assert want.any()
    np.testing.assert_array_equal(Engine(ss.from_torch(model, (4,))).run(x).spikes["lif"], want)
