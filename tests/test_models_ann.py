"""The architectures as ANNs and as spiking networks: layouts by hand, options, what converts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from spikesim.models import (  # noqa: E402
    mnist_net,
    resnet8,
    resnet18,
    resnet20,
    resnet34,
    vgg11,
    vgg16,
)

#: Every builder with options that make it small, and the shape of its image.
SMALL: list[tuple[Callable[..., nn.Module], dict[str, Any], tuple[int, int, int]]] = [
    (vgg11, {"width": 1 / 16, "head": (16,)}, (3, 32, 32)),
    (vgg16, {"width": 1 / 16, "head": (16,)}, (3, 32, 32)),
    (resnet8, {"width": 0.25}, (1, 28, 28)),
    (resnet18, {"width": 1 / 16}, (3, 32, 32)),
    (resnet20, {"width": 0.25}, (3, 32, 32)),
    (resnet34, {"width": 1 / 16, "image_size": 64, "stem": "three3x3"}, (3, 64, 64)),
    (mnist_net, {"width": 0.25}, (1, 28, 28)),
]
IDS = [build.__name__ for build, _, _ in SMALL]


def macs(model: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """Multiply-accumulates of one image by hooks, and the number of weighted layers."""
    found: list[int] = []

    def count(module: Any, _: Any, out: Any) -> None:
        found.append(module.weight[0].numel() * out[0].numel())

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, *shape))
    return sum(found), len(found)


@pytest.mark.parametrize(
    ("build", "options", "shape", "millions", "weighted"),
    [
        # 0.226 + 3.613 + 1.806 convolutions, 0.401 + 0.001 dense.
        (mnist_net, {}, (1, 28, 28), 6.05, 5),
        # Published: ResNet-20 41 M, ResNet-18 on CIFAR 556 M, ResNet-34 3.66 G.
        (resnet20, {}, (3, 32, 32), 40.8, 22),
        (resnet18, {}, (3, 32, 32), 556, 21),
        (resnet34, {"num_classes": 1000, "image_size": 224}, (3, 224, 224), 3664, 37),
        # 153 convolutions, 2.1 + 16.8 + 0.04 dense.
        (vgg11, {"activation": "relu"}, (3, 32, 32), 171.6, 11),
        # 0.113 stem; 0.903, 0.702 and 0.918 the blocks at 14x14, 7x7 and 4x4 pixels.
        (resnet8, {}, (1, 28, 28), 2.637, 10),
    ],
)
def test_layouts_are_the_papers(
    build: Callable[..., nn.Module],
    options: dict[str, Any],
    shape: tuple[int, ...],
    millions: float,
    weighted: int,
):
    total, layers = macs(build(**options), shape)
    assert layers == weighted
    assert total / 1e6 == pytest.approx(millions, rel=0.01)


@pytest.mark.parametrize(("build", "options", "shape"), SMALL, ids=IDS)
def test_activations_are_modules_and_can_be_chosen(
    build: Callable[..., nn.Module], options: dict[str, Any], shape: tuple[int, ...]
):
    relu = build(5, activation="relu", **options)
    assert relu(torch.rand(2, *shape)).shape == (2, 5)
    assert not relu.training
    swapped, names = ss.train.swap_activations(relu)
    qcfs = build(5, activation={"kind": "qcfs", "L": 4}, **options)
    assert names == [name for name, m in qcfs.named_modules() if isinstance(m, ss.train.QCFS)]
    assert list(swapped.state_dict()) == list(qcfs.state_dict())
    # Same seed, same weights, whatever stands between the layers.
    assert torch.equal(
        next(iter(relu.parameters())), next(p for n, p in qcfs.named_parameters() if "lam" not in n)
    )
    traced = torch.fx.symbolic_trace(relu)
    functional = [node.target for node in traced.graph.nodes if node.op == "call_function"]
    assert {target.__name__ for target in functional} <= {"add"}


@pytest.mark.parametrize(("build", "options", "shape"), SMALL, ids=IDS)
def test_spiking_ones_run_in_the_engine(
    build: Callable[..., nn.Module], options: dict[str, Any], shape: tuple[int, ...]
):
    model = build(5, neuron=lambda: ss.train.IF(0.5), **options)
    net = ss.from_torch(model, shape)
    assert net.output_shape == (5,)
    x = torch.rand(1, *shape).numpy()
    result = net.compile().run(x, n_steps=2)
    assert result.counts.spikes > 0


def test_seeds():
    state = torch.random.get_rng_state()
    one, same, other = (resnet8(seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])


def test_stems_and_pools():
    def stem(**options: Any) -> list[tuple[str, Any]]:
        net = resnet18(image_size=options.pop("image_size", 224), width=1 / 16, **options)
        return [
            (name, getattr(m, "stride", None))
            for name, m in net.named_children()
            if isinstance(m, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d)
        ]

    assert stem() == [("conv1", (2, 2)), ("pool1", 2)]
    assert stem(stem="three3x3") == [
        *(("conv1", (2, 2)), ("conv2", (1, 1)), ("conv3", (1, 1)), ("pool1", 2))
    ]
    assert stem(image_size=32) == [("conv1", (1, 1))]
    assert stem(image_size=32, pool="avg") == [("conv1", (1, 1)), ("pool1", 2)]
    assert isinstance(resnet18(image_size=224, width=1 / 16).get_submodule("pool1"), nn.MaxPool2d)
    average = resnet18(image_size=224, width=1 / 16, pool="avg")
    assert isinstance(average.get_submodule("pool1"), nn.AvgPool2d)
    assert isinstance(resnet8().get_submodule("pool1"), nn.MaxPool2d)
    assert isinstance(mnist_net(pool="max").get_submodule("pool2"), nn.MaxPool2d)


def test_the_residual_network_that_spike_norm_wants():
    net = resnet20(batch_norm=False, junction=True, width=0.25)
    kinds = [type(m) for m in net.modules()]
    assert nn.BatchNorm2d not in kinds
    assert all(getattr(m, "bias", None) is None for m in net.modules())
    # Stem, and four a block: after each convolution, on the shortcut, after the sum.
    assert kinds.count(nn.ReLU) == 1 + 4 * 9
    block: Any = net.get_submodule("layer2.0")
    x = torch.randn(1, 4, 8, 8)
    branch = torch.relu(block.conv2(torch.relu(block.conv1(x))))
    assert torch.equal(block(x), branch + torch.relu(block.shortcut.conv(x)))


def test_a_block_adds_before_its_activation():
    block: Any = resnet8(width=0.25).get_submodule("layer1.0")
    x = torch.randn(1, 4, 6, 6)
    inner = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
    assert torch.equal(block(x), torch.relu(inner + x))


def test_dropout_and_names():
    net = vgg16(activation="qcfs", batch_norm=True, dropout=0.5, width=1 / 16, head=(8, 8))
    names = [name for name, _ in net.named_children()]
    assert names[:4] == ["conv1", "bn1", "act1", "conv2"]
    assert names[-7:] == ["fc1", "act14", "dropout1", "fc2", "act15", "dropout2", "fc3"]


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: resnet8(stem="5x5"), "Unsupported", "resnet8: stem is '5x5', expected '3x3' or"),
        (lambda: resnet18(pool="sum"), "Unsupported", "resnet18: pool is 'sum', expected 'avg' o"),
        (lambda: resnet20(0), "Input", "resnet20: num_classes is 0, expected at least 1"),
        (lambda: resnet20(width=0), "Input", "resnet20: width is 0, expected more than 0"),
        (lambda: resnet34(image_size=2.5), "Input", "resnet34: image_size is 2.5, expected a wh"),
        (lambda: vgg11(image_size=48), "Input", "vgg11: image_size is 48, expected a multiple"),
        (lambda: mnist_net(image_size=30), "Input", "mnist_net: image_size is 30, expected a mul"),
        (lambda: mnist_net(activation="gelu"), "Unsupported", "activation is 'gelu', expected on"),
        (
            lambda: mnist_net(activation="relu", neuron=ss.train.IF),
            *("Input", "mnist_net: activation and neuron are given, expected one of them"),
        ),
        (
            lambda: mnist_net(activation={"kind": "qcfs", "levels": 4}),
            *("Input", r"mnist_net: activation 'qcfs' has options \['levels'\], expected its own"),
        ),
        (lambda: vgg16(activation={"kind": "qcfs", "L": 0}), "Input", "QCFS: L is 0, expected at"),
    ],
)
def test_bad_options(build: Callable[[], Any], error: str, message: str):
    with pytest.raises(getattr(ss.errors, f"{error}Error"), match=message):
        build()
