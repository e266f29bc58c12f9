"""Reading an ANN: what is found, what is folded, moved or dropped, and that nothing else is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock

import spikesim as ss
from spikesim.convert.ann.graph import Ann
from spikesim.convert.ann.read import check_same, read
from spikesim.errors import UnsupportedError

IMAGE = (2, 6, 6)


class Called(nn.Module):
    """A forward around a function, between two layers."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 7), nn.Linear(7, 3)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


def agrees(module: nn.Module, shape: tuple[int, ...], samples: int = 9) -> Ann:
    """What is read, having compared it with the module."""
    x = torch.randn(samples, *shape)
    ann = read(module, shape)
    was = [(m, m.training) for m in module.modules()]
    module.eval()
    with torch.no_grad():
        truth = module(x).numpy()
    for child, training in was:
        child.training = training
    np.testing.assert_allclose(ann.predict(x.numpy(), 4), truth, rtol=1e-4, atol=1e-5)
    return ann


def norm(channels: int) -> nn.BatchNorm2d:
    """Statistics that matter."""
    made = nn.BatchNorm2d(channels)
    with torch.no_grad():
        made.weight.uniform_(0.5, 2)
        made.bias.uniform_(-0.5, 0.5)
        made.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr]
        made.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return made


@pytest.mark.parametrize(
    ("function", "kind", "number"),
    [
        (functional.relu, "relu", math.inf),
        (torch.relu, "relu", math.inf),
        (lambda x: x.relu(), "relu", math.inf),
        (lambda x: functional.relu(input=x, inplace=True), "relu", math.inf),
        (lambda x: x.clamp(min=0), "relu", math.inf),
        (lambda x: torch.clamp(x, 0), "relu", math.inf),
        (lambda x: x.clamp_min(0.0), "relu", math.inf),
        (lambda x: x.clamp(0, 0.5), "relu", 0.5),
        (functional.relu6, "relu", 6.0),
        (lambda x: functional.hardtanh(x, 0, 2), "relu", 2.0),
        (functional.leaky_relu, "leaky_relu", 0.01),
        (lambda x: functional.leaky_relu(x, 0.25), "leaky_relu", 0.25),
        (lambda x: functional.leaky_relu(x, negative_slope=0.5), "leaky_relu", 0.5),
    ],
)
def test_functions_are_found_with_their_line(function: Any, kind: str, number: float) -> None:
    ann = agrees(Called(function), (5,))
    (one,) = ann.activations.values()
    assert one.kind == kind
    assert (one.slope if kind == "leaky_relu" else one.ceiling) == number
    assert one.module is None
    assert one.where is not None
    assert one.where.startswith("test_convert_read.py:")


@pytest.mark.parametrize(
    ("module", "kind", "number"),
    [
        (nn.ReLU(), "relu", math.inf),
        (nn.ReLU6(), "relu", 6.0),
        (nn.Hardtanh(0, 3), "relu", 3.0),
        (nn.LeakyReLU(0.125), "leaky_relu", 0.125),
        (nn.LeakyReLU(0.0), "relu", math.inf),
        (ss.train.QCFS(L=8, lam=2.0), "qcfs", math.inf),
    ],
)
def test_modules_are_found_with_their_numbers(module: nn.Module, kind: str, number: float) -> None:
    ann = agrees(nn.Sequential(nn.Linear(5, 7), module, nn.Linear(7, 3)), (5,))
    (one,) = ann.activations.values()
    assert (one.name, one.kind, one.module, one.where) == ("1", kind, "1", None)
    assert (one.slope if kind == "leaky_relu" else one.ceiling) == number
    if kind == "qcfs":
        assert (one.scale, one.levels, one.phi, one.most) == (2.0, 8, 0.5, 2.0)


def test_a_module_called_twice_is_two_activations() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 2)
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.act(self.b(self.act(self.a(x)))))

    ann = agrees(Twice(), (5,))
    assert [(one.module, one.twice) for one in ann.activations.values()] == [
        ("act", False),
        ("act", True),
    ]
    assert len({*ann.activations}) == 2


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_of_torchvision(stride: int) -> None:
    """Its one ReLU is called before the second convolution and after the sum."""
    shortcut = None if stride == 1 else nn.Sequential(nn.Conv2d(2, 2, 1, 2), norm(2))
    block = BasicBlock(2, 2, stride, shortcut)
    block.bn1, block.bn2 = norm(2), norm(2)
    ann = agrees(nn.Sequential(block, nn.Flatten(), nn.Linear(2 * (6 // stride) ** 2, 3)), IMAGE)
    assert [one.module for one in ann.activations.values()] == ["0.relu", "0.relu"]
    assert not ann.unfolded
    assert len(ann.folded) == (2 if stride == 1 else 3)


def test_norms_are_folded_where_they_follow_a_layer() -> None:
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), norm(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    )
    ann = agrees(module, IMAGE)
    ((layer, name, factor),) = ann.folded
    bn: Any = module[1]
    assert (layer, name) == ("0", "1")
    expected = bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()
    np.testing.assert_allclose(factor, expected.detach().numpy(), rtol=1e-12)
    assert "1" not in {node.name for node in ann.net.nodes}
    assert "1" in {node.name for node in ann.raw.nodes}


def test_a_norm_after_an_activation_stays_and_says_why() -> None:
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), norm(4), nn.Flatten(), nn.Linear(64, 3), nn.ReLU()
    )
    ann = agrees(module, IMAGE)
    assert list(ann.unfolded) == ["2"]
    assert "it stands after 1 (neuron)" in ann.unfolded["2"]


def test_a_pool_before_an_activation_changes_places_with_it() -> None:
    def module(*middle: nn.Module) -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv2d(2, 4, 3), *middle, nn.Flatten(), nn.Linear(16, 3))

    after = agrees(module(nn.ReLU(), nn.MaxPool2d(2)), IMAGE)
    before = agrees(module(nn.MaxPool2d(2), nn.ReLU()), IMAGE)
    leaky = agrees(module(nn.MaxPool2d(2), nn.LeakyReLU(0.1)), IMAGE)
    assert (after.pools, before.pools, leaky.pools) == (
        {"2": "spikes"},
        {"1": "moved"},
        {"1": "moved"},
    )
    # Below zero padding must not win, as silence does over spikes.
    for ann, kind in ((before, "spike_max_pool2d"), (leaky, "rate_max_pool2d")):
        assert ann.inputs_of("1") == ["2"]
        assert ann.inputs_of("2") == ["0"]
        assert ann.net.node("1").kind == kind
    x = np.random.default_rng(0).normal(size=(5, *IMAGE)).astype(np.float32)
    assert np.array_equal(before.predict(x), after.predict(x))


def test_a_moved_pool_may_be_the_last() -> None:
    ann = agrees(nn.Sequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), nn.ReLU()), IMAGE)
    assert ann.net.output == "1"


@pytest.mark.parametrize(
    ("last", "kind"),
    [(nn.Softmax(dim=1), "softmax"), (nn.LogSoftmax(dim=1), "log_softmax")],
)
def test_a_softmax_at_the_end_is_dropped(last: nn.Module, kind: str) -> None:
    body = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    ann = read(nn.Sequential(*body, last), (5,))
    x = torch.randn(6, 5)
    assert ann.softmax == kind
    np.testing.assert_allclose(ann.predict(x.numpy()), body(x).detach().numpy(), rtol=1e-5)
    check_same(ann, nn.Sequential(*body, last), x)


def test_a_softmax_called_as_a_function_is_dropped() -> None:
    class Soft(Called):
        def forward(self, x: Tensor) -> Tensor:
            return functional.softmax(super().forward(x), dim=1)

    module = Soft(functional.relu)
    assert read(module, (5,)).softmax == "softmax"


def test_a_softmax_in_the_middle_is_refused() -> None:
    module = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Softmax(dim=1), nn.Linear(4, 2))
    with pytest.raises(UnsupportedError, match=r"^2: softmax is not supported"):
        read(module, (5,))


def test_concat_add_and_dropout() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 1)
            self.c = nn.Conv2d(6, 3, 3, padding=1, groups=3)
            self.drop, self.fc = nn.Dropout(0.5), nn.Linear(3 * 9, 2)

        def forward(self, x: Tensor) -> Tensor:
            a, b = functional.relu(self.a(x)), self.b(x).relu()
            c = functional.leaky_relu(self.c(torch.cat([a, b], 1)), 0.25)
            c = functional.avg_pool2d(self.drop(a + c), 2)
            return self.fc(functional.dropout(c, 0.5, self.training).flatten(1))

    ann = agrees(Branches(), IMAGE)
    kinds = [node.kind for node in ann.net.nodes]
    assert "concat" in kinds
    assert "add" in kinds
    assert not any("dropout" in kind for kind in kinds)


@st.composite
def modules(draw: Any) -> nn.Module:
    """Convolutions with norms, activations and pools in any order, then linear layers."""
    torch.manual_seed(draw(st.integers(0, 2**31), label="seed"))

    def activation() -> nn.Module:
        return draw(
            st.sampled_from([nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.1), nn.Hardtanh(0.0, 1.0)])
        )

    layers: list[nn.Module] = []
    channels, side = 2, 8
    for _ in range(draw(st.integers(1, 2))):
        after = draw(st.sampled_from([2, 4]))
        groups = draw(st.sampled_from([1, 2]))
        layers.append(nn.Conv2d(channels, after, 3, padding=1, groups=groups))
        channels = after
        block = [activation()]
        if draw(st.booleans()):
            layers.append(norm(channels))
        if draw(st.booleans()):
            pool = draw(st.sampled_from([nn.MaxPool2d(2), nn.AvgPool2d(2)]))
            block.insert(draw(st.integers(0, 1)), pool)
            side //= 2
        if draw(st.booleans()):
            block.append(norm(channels))
        layers += [*block, nn.Dropout(0.3)]
    layers += [nn.Flatten(), nn.Linear(channels * side * side, 5), activation(), nn.Linear(5, 3)]
    return nn.Sequential(*layers)


@given(modules(), st.booleans())
def test_predict_is_the_module(module: nn.Module, training: bool) -> None:
    module.train(training)
    module[0].train(not training)  # type: ignore[index]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    ann = agrees(module, (2, 8, 8), 5)
    check_same(ann, module, torch.randn(3, 2, 8, 8))
    assert [m.training for m in module] == [not training] + [training] * (len(module) - 1)  # type: ignore[arg-type, call-overload]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(m._forward_hooks for m in module.modules())


def test_a_graph_that_is_not_the_module_is_refused() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    ann = read(module, (4,))
    with torch.no_grad():
        module[0].weight.mul_(1.1)
    with pytest.raises(UnsupportedError, match="gives other outputs than the module"):
        check_same(ann, module, torch.randn(4, 4))


def test_edges_of_stairs_are_no_difference() -> None:
    """z = 3·0.3 lies within rounding of an edge of the stairs, where BN is folded and not."""
    module = nn.Sequential(nn.Linear(1, 64, bias=False), nn.BatchNorm1d(64), ss.train.QCFS(4))
    module.append(nn.Linear(64, 1))
    bn, act = module[1], module[2]
    with torch.no_grad():
        bn.running_var.uniform_(0.5, 2)
        bn.weight.uniform_(0.5, 2)
        factor = bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()
        # Every one of the 64 on an edge, with x = 1: z = λ/L/2.
        module[0].weight[:, 0] = (act.lam.double() / 4 / 2 / factor).float()
        module[3].weight.fill_(1.0)
    module.eval()
    x = torch.ones(2, 1)
    ann = read(module, (1,))
    assert np.abs(ann.predict(x.numpy()) - module(x).detach().numpy()).max() > 0.1
    check_same(ann, module, x)
    assert not act._forward_hooks


def test_double_precision_is_compared_in_double() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    x = torch.randn(8, 4)
    net, _ = ss.convert(module, calibration=x, method="max", n_steps=4)
    assert net.node("0").op.weight.dtype == np.float32  # type: ignore[attr-defined]


def test_from_torch_refuses_what_convert_reads() -> None:
    with pytest.raises(UnsupportedError, match="ReLU is not supported"):
        ss.convert.from_torch(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (4,))
    with pytest.raises(UnsupportedError, match="relu"):
        ss.convert.from_torch(Called(functional.relu), (5,))


def test_activations_without_neurons_are_named_all_at_once() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.gelu, self.b = nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4)
            self.prelu, self.ok = nn.PReLU(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.ok(torch.sigmoid(self.prelu(self.b(self.gelu(self.a(x))))).clamp(0.5, 1))

    with pytest.raises(UnsupportedError) as caught:
        read(Mixed(), (4,))
    text = str(caught.value)
    assert "\n" not in text
    for part in ("gelu (gelu)", "prelu (prelu)", "sigmoid (sigmoid at test_convert_read.py:"):
        assert part in text
    assert "clamp (clamp at" in text


def test_a_network_without_activations_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="has no activation, expected at least one ReLU"):
        read(nn.Sequential(nn.Linear(4, 3)), (4,))


@pytest.mark.parametrize("slope", [-0.5, 1.0, 2.0])
def test_a_slope_that_no_neuron_has_is_refused(slope: float) -> None:
    with pytest.raises(UnsupportedError, match="at least 0 and below 1"):
        read(nn.Sequential(nn.Linear(4, 3), nn.LeakyReLU(slope)), (4,))


def test_a_forward_that_branches_on_values_is_refused() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return y.relu() if bool((y[:, 0] > 0).all()) else y

    with pytest.raises(UnsupportedError) as caught:
        read(Branching(), (4,))
    assert "\n" not in str(caught.value)
