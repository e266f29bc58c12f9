"""from_torch: single calls of a forward, each against torch's own run, and what is refused."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import spikesim as ss  # noqa: E402
from libraries import assert_equal, run_library  # noqa: E402

MAP = (2, 6, 4)


class Model(nn.Module):
    """A map of spikes, `body` on it, and a population behind."""

    def __init__(self, body: Any, shape: tuple[int, ...] = MAP, behind: bool = True) -> None:
        super().__init__()
        self.body = body
        self.behind = behind
        make: Callable[..., Any] = {1: nn.Linear, 2: nn.Conv1d, 3: nn.Conv2d}[len(shape)]
        self.conv = make(shape[0], 2, *([1] if len(shape) > 1 else []))
        self.spike = ss.train.IF(0.5)
        self.more = make(2, 2, *([3] if len(shape) > 1 else []))
        self.pool = (nn.MaxPool1d if len(shape) == 2 else nn.MaxPool2d)(2)
        self.flag, self.pair = True, [1, 2]
        self.gain = nn.Parameter(torch.zeros(2, *[1] * (len(shape) - 1)))
        self.row = nn.Parameter(torch.zeros(shape[-1]))
        self.register_buffer("factor", torch.tensor(0.5))
        self.last = ss.train.IF(0.5)

    def forward(self, x: Any, *args: Any, scale: float = 2.0, **kwargs: Any) -> Any:
        y = self.body(self, self.spike(self.conv(x)))
        return self.last(y) if self.behind else y


def weighted(model: nn.Module, seed: int = 1) -> nn.Module:
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = rng.integers(-4, 7, tuple(parameter.shape)) / 8
            if name == "row":
                values = np.full(tuple(parameter.shape), 0.25)
            parameter.copy_(torch.from_numpy(np.asarray(values, np.float32)))
    return model.eval()


def branch(self: Any, y: Any) -> Any:
    return y * 2 if self.flag and y.shape[1] == 2 and y.dim() == 4 and not self.training else y[0]


def aliased(self: Any, y: Any) -> Any:
    other = y
    y += self.more(F.pad(y, (1, 1, 1, 1)))
    return y + other


def in_place(self: Any, y: Any) -> Any:
    z = y.clone()
    z.mul_(2).add_(self.gain)
    z -= y
    z *= 0.5
    z /= 2
    return z + y


def shared(self: Any, y: Any) -> Any:
    z = self.more(F.pad(y, (1, 1, 1, 1)))
    return z + self.more(F.pad(self.pool(F.interpolate(y, scale_factor=2)), [1] * 4))


def looped(self: Any, y: Any) -> Any:
    for factor in self.pair:
        y = y * factor + y
    return y


def squeezed(self: Any, y: Any) -> Any:
    return F.adaptive_avg_pool2d(y, 1).squeeze(-1).squeeze(2)


def reordered(self: Any, y: Any) -> Any:
    z = y.sum((2, 3), keepdim=True)
    return z.permute(0, 2, 1, 3).reshape(z.size(0), -1) if z.shape[2] > 1 else z.transpose(2, 3)


BODIES: list[Any] = [
    branch,
    aliased,
    in_place,
    shared,
    looped,
    squeezed,
    reordered,
    lambda self, y: y + y,
    lambda self, y: F.relu(y).relu() + torch.relu(y),
    lambda self, y: y - y * 0.5 + self.factor,
    lambda self, y: y * self.factor * self.gain + self.gain.squeeze().reshape(1, 2, 1, 1),
    lambda self, y: y * self.row + self.row,
    lambda self, y: y / self.factor,
    lambda self, y: torch.sub(y, self.more(F.pad(y, (1, 1, 1, 1))), alpha=2),
    lambda self, y: torch.stack([y, y * 2]).mean(0),
    lambda self, y: y.mean((2, 3), keepdim=True) * 24 + y,
    lambda self, y: y.sum(-1),
    lambda self, y: y.amax(dim=(2, 3)),
    lambda self, y: self.more(y).sum(2),
    lambda self, y: F.pad(y, (0, 0)),
    lambda self, y: F.max_pool2d(F.pad(y, (1, 1, 0, 0)), (2, 2)),
    lambda self, y: F.avg_pool2d(F.pad(y, (1, 1, 0, 0)), 2),
    lambda self, y: F.adaptive_max_pool2d(y, (3, 1)),
    lambda self, y: F.adaptive_avg_pool2d(y, (3, 2)),
    lambda self, y: F.upsample(y, scale_factor=2),
    lambda self, y: y.flatten(2).flatten(1).view(y.shape[0], -1),
    lambda self, y: y.reshape(y.shape[0], 2, -1),
    lambda self, y: y.view(-1, 2 * 6 * 4),
    lambda self, y: y[:],
    lambda self, y: y[..., :].to(y.dtype).to(y.device).float().contiguous().type_as(y),
    lambda self, y: torch.zeros(y.size(0), 2, 1, 1) + y + torch.zeros_like(y),
    lambda self, y: y * torch.ones(y.shape[0], 1, 1, 1) * 2,
    lambda self, y: y + self.more(y).mean((2, 3), keepdim=True) * 8,
    lambda self, y: torch.dropout(y, 0.5, self.training),
    lambda self, y: F.batch_norm(y, self.gain.flatten(), torch.ones(2), eps=0.0),
    lambda self, y: checkpoint(lambda z: z * 2, y, use_reentrant=False),
    lambda self, y: checkpoint(lambda z: z * 2, y, use_reentrant=True),
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_call_is_what_torch_makes_of_it(body: Any):
    model = weighted(Model(body))
    rng = np.random.default_rng(5)
    x = (rng.random((5, 3, *MAP)) < 0.4).astype(np.float32)
    trace = run_library(model, x)
    assert trace.spikes["spike"].any()
    assert trace.spikes["last"].any()
    assert_equal(ss.from_torch(model, MAP), x, trace)


ONE_AXIS: list[Any] = [
    lambda self, y: F.adaptive_avg_pool1d(y, 2),
    lambda self, y: F.adaptive_max_pool1d(y, 1),
    lambda self, y: F.max_pool1d(F.pad(y, (1, 1)), 2),
    lambda self, y: F.conv1d(F.pad(y, (2, 0)), self.more.weight, self.more.bias, padding=1),
    lambda self, y: F.conv1d(y, self.more.weight, None, 1, "same", 2),
    lambda self, y: y.mean(2),
    lambda self, y: y * self.row + self.row,
]


@pytest.mark.parametrize("body", ONE_AXIS, ids=range(len(ONE_AXIS)))
def test_a_call_on_one_axis(body: Any):
    model = weighted(Model(body, (2, 8)))
    x = (np.random.default_rng(5).random((5, 3, 2, 8)) < 0.4).astype(np.float32)
    trace = run_library(model, x)
    assert trace.spikes["last"].any()
    assert_equal(ss.from_torch(model, (2, 8)), x, trace)


LAYERS: list[tuple[Any, tuple[int, ...]]] = [
    (nn.Sequential(nn.ZeroPad2d((1, 0, 2, 1)), nn.Dropout2d(), nn.Conv2d(2, 3, 3)), MAP),
    (nn.Sequential(nn.ConstantPad1d(2, 0.0), nn.Conv1d(2, 3, 3, padding=1)), (2, 8)),
    (nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(2)), MAP),
    (nn.AdaptiveMaxPool2d(1), MAP),
    (nn.AdaptiveMaxPool1d(4), (2, 8)),
    (nn.AdaptiveAvgPool1d(2), (2, 8)),
    (nn.UpsamplingNearest2d(scale_factor=2), MAP),
    (nn.SyncBatchNorm(2, eps=0.0), MAP),
    (nn.BatchNorm2d(2, affine=False, eps=0.0), MAP),
    (nn.Sequential(nn.Flatten(1, 2), nn.Unflatten(1, (12,))), MAP),
    (nn.FeatureAlphaDropout(), MAP),
    (nn.utils.parametrizations.spectral_norm(nn.Conv2d(2, 2, 1)), MAP),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda item: type(item).__name__)
def test_a_layer_of_torch(layer: nn.Module, shape: tuple[int, ...]):
    model = weighted(nn.Sequential(ss.train.IF(0.5), layer, ss.train.IF(0.5)))
    x = (np.random.default_rng(5).random((5, 3, *shape)) < 0.4).astype(np.float32)
    trace = run_library(model, x)
    assert trace.spikes["2"].any()
    assert_equal(ss.from_torch(model, shape), x, trace)


def test_weights_in_double_precision_are_rounded_once():
    layer = nn.Linear(4, 3).to(torch.float64)
    net = ss.from_torch(nn.Sequential(layer), (4,))
    op: Any = net.node("0").op
    np.testing.assert_array_equal(op.weight, layer.weight.detach().double().numpy().astype("f4"))


def test_weights_are_copied_once_and_then_their_own():
    layer = nn.Linear(4, 3)
    net = ss.from_torch(nn.Sequential(layer), (4,))
    before = np.array(net.node("0").op.weight)  # type: ignore[attr-defined]
    with torch.no_grad():
        layer.weight.fill_(7.0)
    np.testing.assert_array_equal(net.node("0").op.weight, before)  # type: ignore[attr-defined]


def test_wrappers_are_looked_through():
    inner = nn.Sequential(nn.Linear(4, 3), ss.train.IF(0.5))
    for wrapped in (nn.DataParallel(inner), torch.compile(inner)):
        net = ss.from_torch(wrapped, (4,))
        assert [node.name for node in net.nodes] == ["input", "0", "1"]
        outer = nn.Sequential(wrapped, nn.Linear(3, 2))
        assert [node.name for node in ss.from_torch(outer, (4,)).nodes][1:3] == ["0.0", "0.1"]


def test_layers_that_no_module_registers():
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = [nn.Linear(4, 3), nn.Linear(3, 2)]

        def forward(self, x: Any) -> Any:
            for part in self.parts:
                x = part(x)
            return x

    assert [node.name for node in ss.from_torch(Plain(), (4,)).nodes] == [
        "input", "linear", "linear_1",
    ]  # fmt: skip


# What is refused, by its line


def after_a_view(self: Any, y: Any) -> Any:
    flat = y.flatten(1)
    y += 1
    return flat


def lines_off(self: Any, y: Any) -> Any:
    z = y * 2
    return z.sort()


REFUSED: list[tuple[Any, str]] = [
    (lambda self, y: y.chunk(2, dim=1)[0], "chunk: takes a part of a value, expected it whole"),
    (lambda self, y: y[:, :1], "getitem: indexes the output of a layer, expected it whole"),
    (lambda self, y: y[:, 0], "getitem: indexes the output of a layer along a leading axis"),
    (lambda self, y: (y + y) * y, "mul: multiplies two values"),
    (lambda self, y: y / 0, "truediv: divides by 0"),
    (lambda self, y: y + torch.rand(1), "rand: forward draws random or unset numbers"),
    (lambda self, y: torch.rand_like(y) + y, "rand_like: forward draws random or unset numbers"),
    (lambda self, y: y.permute(0, 1, 3, 2), "permute: moves an axis of (2, 6, 4)"),
    (lambda self, y: y.transpose(0, 1), "transpose: moves an axis of (2, 6, 4)"),
    (lambda self, y: y.unsqueeze(2), "unsqueeze: adds an axis to (2, 6, 4)"),
    (lambda self, y: y.squeeze(), "squeeze: squeezes every axis, the batch of one sample too"),
    (lambda self, y: y.view(y.shape[0], 4, 3, 4), "view: reshapes (2, 6, 4) to (4, 3, 4)"),
    (lambda self, y: y.view(y.shape[0] * 2, -1), "forward: computes with the size of the batch"),
    (lambda self, y: y if y.shape[0] == 1 else y * 2, "forward: computes with the size of the "),
    (lambda self, y: y.mean(1), "mean: mean() is over the channels of (2, 6, 4)"),
    (lambda self, y: y.mean(), "mean: mean() is over all axes"),
    (lambda self, y: F.pad(y, (1, 1), value=1.0), "pad: pads with the value 1.0, expected zeros"),
    (lambda self, y: F.pad(y, (1, 1), mode="reflect"), 'pad: pads with mode "reflect"'),
    (lambda self, y: F.pad(y, (-1, 1)), "pad: pads by (-1, 1), expected numbers of at least 0"),
    (lambda self, y: F.pad(y, (1, 1)), "last: is given a padded value, expected a convolution or"),
    (lambda self, y: F.max_pool2d(F.pad(y * 2, (1, 1)), 2), "max_pool2d: maximum pool is given cu"),
    (lambda self, y: F.adaptive_max_pool2d(y, 4), "adaptive_max_pool2d: adaptive pool from (6, 4)"),
    (lambda self, y: y + torch.arange(4.0), "add: adds a constant of shape (2, 6, 4), expected on"),
    (lambda self, y: y * torch.ones(3, 1, 1, 1), "mul: has a factor of shape (3, 1, 1, 1), expec"),
    (lambda self, y: F.batch_norm(y, None, None, training=True), "batch_norm: batch_norm() takes"),
    (lambda self, y: y.double(), "double: double() is not supported"),
    (lambda self, y: y.to(torch.float64), "to: changes the type to torch.float64"),
    (lambda self, y: (y > 0.5).float(), "gt: gt() is not supported, expected a layer; use a neur"),
    (lambda self, y: y + y.T, "forward: reads the attribute 'T' of a tensor"),
    (lambda self, y: F.softmax(y, 1), "softmax: softmax() is not supported, expected a layer; lea"),
    (after_a_view, "forward: uses a tensor after another view of it was changed in place"),
    (lines_off, "sort: sort() is not supported"),
    (lambda self, y: F.relu(y * 2), "relu: relu() is not supported, expected a layer; it is no "),
    (lambda self, y: undefined(y), "Model: forward cannot be traced (name 'undefined' is not"),  # noqa: F821
    (lambda self, y: self.last(y) + self.last(y * 2), "last: IF is called 2 times in one forward"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED, ids=range(len(REFUSED)))
def test_a_call_is_refused_with_its_line(body: Any, message: str):
    with pytest.raises(ss.errors.UnsupportedError) as caught:
        ss.from_torch(Model(body), MAP)
    text = str(caught.value)
    assert text.startswith(message), text
    assert "\n" not in text
    found = re.search(r" \(test_from_torch_forward\.py:(\d+): (.+)\)$", text)
    assert found, text
    # The line of the body, or of the layer behind it that cannot take what it gives.
    first = body.__code__.co_firstlineno
    within = range(first, first + 4) if body.__name__ != "<lambda>" else [first]
    behind = Model.forward.__code__.co_firstlineno
    assert int(found[1]) in within or int(found[1]) in range(behind, behind + 3), text


def test_the_input_is_not_changed_in_place():
    class Changes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            x += 1
            return self.fc(x)

    with pytest.raises(ss.errors.UnsupportedError, match="add_: changes the input in place"):
        ss.from_torch(Changes(), (4,))


MODULES: list[tuple[Any, tuple[int, ...], str]] = [
    (nn.ConvTranspose2d(2, 2, 3), MAP, "0: ConvTranspose2d is not supported, expected one of"),
    (nn.GroupNorm(1, 2), MAP, "0: GroupNorm takes the statistics of each sample, expected fixed"),
    (nn.LayerNorm(4), (4,), "0: LayerNorm takes the statistics of each sample"),
    (nn.InstanceNorm2d(2), MAP, "0: InstanceNorm2d takes the statistics of each sample"),
    (nn.LPPool2d(2, 2), MAP, "0: LPPool2d is not supported"),
    (nn.PixelShuffle(1), MAP, "0: PixelShuffle is not supported"),
    (nn.Softmax(1), (4,), "0: Softmax is not supported, expected the layer before it as the last"),
    (nn.LazyBatchNorm2d(), MAP, "0: LazyBatchNorm2d has no statistics yet"),
    (nn.Unflatten(1, (2, 2)), (4,), "0: reshapes (4,) to (2, 2)"),
    (nn.ConstantPad2d(1, 0.5), MAP, "0: pads with the value 0.5, expected zeros"),
    (nn.Conv2d(2, 2, 3, padding_mode="circular", padding=1), MAP, '0: padding_mode "circular" is'),
    (nn.Linear(4, 2, device="meta"), (4,), "0: weight is on the meta device, expected numbers"),
    (nn.Linear(4, 2, dtype=torch.complex64), (4,), "0: weight has dtype torch.complex64"),
    (
        torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 2)))[0],
        (4,),
        "0: Linear is quantised, expected weights in floating point",
    ),
    (torch.jit.script(nn.Linear(4, 2)), (4,), "0: Linear is compiled to a script, expected a Py"),
]


@pytest.mark.parametrize(("layer", "shape", "message"), MODULES, ids=lambda item: None)
def test_a_module_that_is_refused(layer: nn.Module, shape: tuple[int, ...], message: str):
    with pytest.raises(ss.errors.UnsupportedError) as caught:
        ss.from_torch(nn.Sequential(layer), shape)
    assert str(caught.value).startswith(message), caught.value


def test_a_forward_set_as_a_partial_is_refused():
    model = nn.Sequential(nn.Linear(4, 2))
    model.forward = functools.partial(model.forward)  # type: ignore[method-assign]
    with pytest.raises(ss.errors.UnsupportedError, match="forward was set on this Sequential"):
        ss.from_torch(model, (4,))
