"""from_torch: forwards as the libraries' tutorials write them, against the libraries' own runs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")
norse = pytest.importorskip("norse.torch")

from spikingjelly.activation_based import functional, layer, neuron  # noqa: E402
from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from engines import Engine, Reference  # noqa: E402
from libraries import reset  # noqa: E402

T, N = 4, 3
MAP = (1, 8, 8)


def dyadic(model: nn.Module, seed: int = 1) -> nn.Module:
    """Weights on a grid where every sum is exact."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                for parameter in module.parameters():
                    values = rng.integers(-5, 8, tuple(parameter.shape)) / 8
                    parameter.copy_(torch.from_numpy(values.astype(np.float32)))
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.fill_(0.25 - module.eps)
                module.running_mean.fill_(0.125)
    return model.eval()


def own(model: nn.Module, x: Any) -> Any:
    reset(model)
    with torch.no_grad():
        out = model(torch.from_numpy(x))
    reset(model)
    return out


def check(
    model: nn.Module,
    shape: tuple[int, ...],
    x: Any,
    *,
    readout: str | None,
    n_steps: int | None = None,
    engine: Any = Reference,
) -> Any:
    """The library's output: spikes of every step (readout None), or what it makes of them."""
    expected = own(model, x)
    expected = (expected[0] if isinstance(expected, tuple) else expected).numpy()
    assert np.any(expected)
    constant = x.ndim == 1 + len(shape)
    net = ss.from_torch(model, shape, n_steps=n_steps)
    result = engine(net).run(x, T if constant else None)
    if readout is None:
        np.testing.assert_array_equal(result.spikes[net.output], expected)
    else:
        assert net.readout == readout
        np.testing.assert_allclose(result.output, expected, rtol=1e-6, atol=1e-7)
    if constant:
        assert net.meta["source"]["n_steps"] == T
    return net


def images(*lead: int, seed: int = 2, shape: tuple[int, ...] = MAP) -> Any:
    return np.random.default_rng(seed).integers(0, 5, (*lead, *shape)).astype(np.float32) / 4


# SpikingJelly


class Csnn(nn.Module):
    """The input is repeated for every step, before a multi-step network or after a layer."""

    def __init__(self, start: Any) -> None:
        super().__init__()
        self.start = start
        self.T = T
        self.static = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2))
        self.conv = layer.Conv2d(2, 2, 3, padding=1, step_mode="m")
        self.spike = neuron.IFNode(step_mode="m")
        self.rest = nn.Sequential(
            layer.MaxPool2d(2, 2), layer.Flatten(), layer.Linear(32, 5), neuron.IFNode()
        )
        functional.set_step_mode(self.rest, "m")

    def forward(self, x: Any) -> Any:
        return self.rest(self.spike(self.conv(self.start(self, x)))).mean(0)


STARTS: list[Any] = [
    lambda self, x: self.static(x).unsqueeze(0).repeat(self.T, 1, 1, 1, 1),
    lambda self, x: self.static(x).repeat(T, 1, 1, 1, 1),
    lambda self, x: self.static(x).unsqueeze(0).expand(T, -1, -1, -1, -1),
    lambda self, x: self.static(x).unsqueeze(0).expand(self.T, x.shape[0], 2, 8, 8),
    lambda self, x: torch.stack([self.static(x)] * T),
    lambda self, x: functional.seq_to_ann_forward(
        x.unsqueeze(0).repeat(T, 1, 1, 1, 1), self.static
    ),
]


@pytest.mark.parametrize("engine", [Reference, Engine])
@pytest.mark.parametrize("start", STARTS, ids=range(len(STARTS)))
def test_an_input_repeated_for_all_steps(start: Any, engine: Any):
    check(dyadic(Csnn(start)), MAP, images(N), readout="mean", engine=engine)


class Merged(nn.Module):
    """Layers of torch.nn between multi-step neurons, on batch and time in one axis."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body
        self.conv, self.bn = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)
        self.lif = neuron.LIFNode(2.0, False, step_mode="m", v_reset=None)
        self.fc = nn.Linear(128, 5)
        self.out = neuron.IFNode(step_mode="m")

    def forward(self, x: Any) -> Any:
        return self.out(self.fc(self.lif(self.body(self, x)).flatten(2)))


def by_shape(self: Any, x: Any) -> Any:
    steps, batch, *_ = x.shape
    y = self.bn(self.conv(x.flatten(0, 1)))
    return y.reshape(steps, batch, *y.shape[1:])


def by_product(self: Any, x: Any) -> Any:
    steps, batch, channels, height, width = x.shape
    y = self.bn(self.conv(x.reshape(steps * batch, channels, height, width)))
    return y.view(steps, batch, -1, height, width).contiguous()


def by_unflatten(self: Any, x: Any) -> Any:
    return self.bn(self.conv(x.flatten(0, 1))).unflatten(0, (x.shape[0], -1))


BETWEEN: list[Any] = [
    by_shape,
    by_product,
    by_unflatten,
    lambda self, x: functional.seq_to_ann_forward(x, [self.conv, self.bn]),
    lambda self, x: functional.seq_to_ann_forward(x, nn.Sequential(self.conv, self.bn)),
    lambda self, x: self.bn(self.conv(x.flatten(0, 1))).view(-1, x.shape[1], 2, 8, 8),
]


@pytest.mark.parametrize("engine", [Reference, Engine])
@pytest.mark.parametrize("body", BETWEEN, ids=range(len(BETWEEN)))
def test_layers_on_batch_and_time_in_one_axis(body: Any, engine: Any):
    check(dyadic(Merged(body)), MAP, images(T, N), readout=None, engine=engine)


def test_a_single_step_network_run_step_by_step_by_the_library():
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(
                [nn.Flatten(), nn.Linear(64, 6), neuron.LIFNode(v_reset=None), nn.Linear(6, 4)]
            )
            self.out = neuron.IFNode()

        def forward(self, x: Any) -> Any:
            return functional.multi_step_forward(x, [*self.parts, self.out])

    check(dyadic(Steps()), MAP, images(T, N), readout=None, n_steps=T)


REFUSED: list[tuple[nn.Module, str]] = [
    # Batch is not time.
    (Merged(lambda self, x: self.conv(x.flatten(0, 1)).reshape(-1, 2, 2, 8, 8)), "reshape: resh"),
    (
        Merged(lambda self, x: self.conv(x.flatten(0, 1)).unflatten(0, (x.shape[1], x.shape[0]))),
        "unflatten: splits batch and time otherwise than they were merged",
    ),
    (Merged(lambda self, x: self.conv(x.flatten(0, 1))), "lif: LIFNode is given batch and time in"),
    (Merged(lambda self, x: self.conv(x)), "conv: Conv2d is given all steps at once, expected one"),
    (
        Merged(lambda self, x: self.conv(x.flatten(0, 1)).view(x.shape[0], -1)),
        "view: reshapes (2, 8, 8) to (), expected as many numbers in a sample",
    ),
    # What has no time axis goes to no multi-step module.
    (Csnn(lambda self, x: self.static(x)), "static.0: Conv2d is given all steps at once"),
    (
        Csnn(lambda self, x: self.conv(self.static(x).repeat(T, 1, 1, 1, 1)) + self.static(x)),
        "add: its inputs have batch and time in one axis and in two, or one has no time",
    ),
    (
        Csnn(lambda self, x: self.static(x).unsqueeze(0).repeat(T, 1, 2, 1, 1)),
        "static.0: Conv2d is given all steps at once",
    ),
    (
        Csnn(lambda self, x: functional.seq_to_ann_forward(x, [self.static, nn.Softmax(1)])),
        "softmax: Softmax is not supported, expected the layer before it as the last",
    ),
]


@pytest.mark.parametrize(("model", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_exact_is_refused_with_the_users_line(model: nn.Module, message: str):
    with pytest.raises(ss.errors.UnsupportedError) as caught:
        ss.from_torch(model, MAP)
    text = str(caught.value)
    assert text.startswith(message), text
    assert re.search(r" \(test_from_torch_tutorials\.py:\d+: .+\)$", text), text


# A sum of what was recorded, divided by the steps


@pytest.mark.parametrize("engine", [Reference, Engine])
def test_a_recorded_sum_divided_by_the_steps_is_a_mean(engine: Any):
    class Rate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(4, 5), snn.Leaky(0.5, threshold=0.5)

        def forward(self, x: Any) -> Any:
            mem, rec = self.lif.init_leaky(), []
            for _ in range(T):
                spk, mem = self.lif(self.fc(x), mem)
                rec.append(spk)
            return torch.stack(rec).sum(0) / T

    check(dyadic(Rate()), (4,), images(N, shape=(4,)), readout="mean", engine=engine)


def test_the_counting_hooks_of_sinabs_change_nothing():
    sinabs = pytest.importorskip("sinabs")
    from sinabs.from_torch import from_model

    plain = dyadic(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3), nn.ReLU()))
    quiet = from_model(plain, batch_size=1, synops=False).spiking_model
    counted = from_model(plain, batch_size=1, synops=True)
    nets = [ss.from_torch(model, (4,)) for model in (quiet, counted.spiking_model)]
    assert sinabs is not None
    assert [node.name for node in nets[0].nodes] == [node.name for node in nets[1].nodes]
    # Any other hook is still refused.
    counted.spiking_model[0].register_forward_hook(lambda module, given, out: out * 2)
    with pytest.raises(ss.errors.UnsupportedError, match="the forward hook <lambda> may change"):
        ss.from_torch(counted.spiking_model, (4,))
