"""from_torch: whole networks of SpikingJelly's zoo, read as they are and equal to the spike.

Their channels are what their authors fixed or what a test can afford, their images small; the
weights lie on a grid on which every sum is exact, and make every layer fire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")
pytest.importorskip("torchvision")

from spikingjelly.activation_based import functional, layer, neuron  # noqa: E402
from spikingjelly.activation_based.model import (  # noqa: E402
    maxformer,
    ms_resnet,
    parametric_lif_net,
    sew_resnet,
    spikformer,
    spiking_resnet,
    spiking_vgg,
    spiking_vggws_ottt,
)
from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from engines import Engine, Outcome  # noqa: E402
from libraries import BAR, Trace, assert_within_margin, run_library, run_multi_step  # noqa: E402

Array = NDArray[np.float32]
STEPS = 3


def lively(model: nn.Module, seed: int, exact: bool) -> nn.Module:
    """Weights that keep every layer firing, on a dyadic grid or free."""
    rng = np.random.default_rng(seed)

    def fill(tensor: Any, values: Any) -> None:
        grid = np.round(np.asarray(values) * 64) / 64 if exact else values
        tensor.copy_(torch.from_numpy(np.asarray(grid, np.float32)))

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                fan_in = module.weight[0].numel()
                fill(module.weight, rng.normal(0, 2.5 / np.sqrt(fan_in), module.weight.shape))
                if module.bias is not None:
                    fill(module.bias, rng.uniform(0, 1, module.bias.shape))
            elif isinstance(module, nn.BatchNorm2d):
                size = module.running_mean.shape
                if exact:
                    module.eps = 0.0
                fill(module.weight, rng.choice([1.0, 2.0], size))
                fill(module.running_var, rng.choice([1.0, 4.0], size))
                fill(module.running_mean, rng.uniform(-0.5, 0.5, size))
                fill(module.bias, rng.uniform(0, 1, size))
    return model.eval()


def vgg(make: Any) -> nn.Module:
    """VGG-11's layers with BatchNorm and an eighth of its channels; its classifier shrunk alike."""
    channels = [8, "M", 16, "M", 32, 32, "M", 64, 64, "M", 64, 64, "M"]
    model = spiking_vgg.SpikingVGG(channels, batch_norm=True, spiking_neuron=make)
    model.avgpool.output_size = (2, 2)
    for place, sizes in ((0, (256, 64)), (3, (64, 64)), (6, (64, 10))):
        model.classifier[place] = layer.Linear(*sizes)
    return model


def ms(make: Any, kind: type[nn.Module]) -> nn.Module:
    """Channels a quarter of the published ones, a stem of stride 1, all else theirs."""
    return kind(
        num_classes=10, base_channels=16, stem_kernel_size=3, stem_stride=1, spiking_neuron=make
    )


def vgg11_bn(make: Any) -> nn.Module:
    """The function of the library itself, with its own channels and a classifier to train."""
    model = spiking_vgg.spiking_vgg11_bn(spiking_neuron=make)
    model.avgpool.output_size = (1, 1)
    for place, sizes in ((0, (512, 64)), (3, (64, 64)), (6, (64, 10))):
        model.classifier[place] = layer.Linear(*sizes)
    return model


RGB = (3, 32, 32)
ZOO: dict[str, tuple[Callable[[Any], nn.Module], tuple[int, ...]]] = {
    **{
        f"sew_resnet18 {cnf}": (
            lambda make, cnf=cnf: sew_resnet.sew_resnet18(
                cnf=cnf, spiking_neuron=make, num_classes=10
            ),
            RGB,
        )
        for cnf in ("ADD", "AND", "IAND")
    },
    "sew_resnet50 ADD": (
        lambda make: sew_resnet.sew_resnet50(cnf="ADD", spiking_neuron=make, num_classes=10),
        RGB,
    ),
    "spiking_resnet18": (
        lambda make: spiking_resnet.spiking_resnet18(spiking_neuron=make, num_classes=10),
        RGB,
    ),
    "spiking_vgg": (vgg, RGB),
    "spiking_vgg11_bn": (vgg11_bn, RGB),
    "MSResNet": (lambda make: ms(make, ms_resnet.MSResNet), RGB),
    "MaxResNet": (lambda make: ms(make, ms_resnet.MaxResNet), RGB),
    "MNISTNet": (lambda make: parametric_lif_net.MNISTNet(4, make), (1, 28, 28)),
    "NMNISTNet": (lambda make: parametric_lif_net.NMNISTNet(4, make), (2, 34, 34)),
    "CIFAR10Net": (lambda make: parametric_lif_net.CIFAR10Net(6, make), RGB),
    "CIFAR10DVSNet": (lambda make: parametric_lif_net.CIFAR10DVSNet(4, make), (2, 128, 128)),
    "DVSGestureNet": (lambda make: parametric_lif_net.DVSGestureNet(4, make), (2, 128, 128)),
}
NEURONS: dict[str, Callable[..., Any]] = {
    "IF": neuron.IFNode,
    "LIF": lambda **more: neuron.LIFNode(2.0, v_threshold=0.75, **more),
    "ParametricLIF": lambda **more: neuron.ParametricLIFNode(
        2.0, decay_input=False, v_reset=None, **more
    ),
}


def run(name: str, kind: str, mode: str, exact: bool) -> tuple[ss.Network, Array, Trace]:
    make, shape = ZOO[name]
    model = lively(make(NEURONS[kind]), 5, exact)
    functional.set_step_mode(model, mode)
    rng = np.random.default_rng(1)
    x = (rng.random((STEPS, 1, *shape)) < 0.3).astype(np.float32)
    trace = run_multi_step(model, x) if mode == "m" else run_library(model, x)
    return ss.from_torch(model, shape), x, trace


def own(got: Outcome, trace: Trace) -> Outcome:
    """Without the populations that products of spikes are made of."""
    got.spikes = {name: got.spikes[name] for name in trace.spikes}
    return got


# What a test can run once alone, and what takes all steps at once, whatever its neurons' mode.
LARGE = ("sew_resnet50 ADD", "spiking_vgg11_bn")
ALL_STEPS = ("MSResNet", "MaxResNet")
RUNS = [
    (name, kind, mode)
    for name in ZOO
    for kind in NEURONS
    for mode in ("s", "m")
    if (mode == "m" or name not in ALL_STEPS) and (name not in LARGE or (kind, mode) == ("IF", "m"))
]


@pytest.mark.parametrize(("name", "kind", "mode"), RUNS)
def test_equal_to_the_spike(name: str, kind: str, mode: str) -> None:
    net, x, trace = run(name, kind, mode, exact=True)
    got = own(Engine(net).run(x), trace)
    for place, spikes in trace.spikes.items():
        np.testing.assert_array_equal(got.spikes[place], spikes, place)
    for place, v in trace.v.items():
        assert np.abs(got.v[place] - v).max() <= BAR * (1 + np.abs(v).max()), place
    firing = [float((spikes != 0).mean()) for spikes in trace.spikes.values()]
    assert np.mean(np.array(firing) > 0.005) > 0.8, f"too quiet to show anything: {firing}"
    total = trace.out.sum(0)
    if net.readout == "mean":
        assert np.abs(got.output - trace.out).max() <= BAR * (1 + np.abs(trace.out).max())
    elif net.readout is None:
        assert np.abs(got.output - total).max() <= BAR * (1 + np.abs(total).max())


@pytest.mark.parametrize("name", ["sew_resnet18 ADD", "spiking_vgg", "MNISTNet"])
def test_within_the_margin(name: str) -> None:
    net, x, trace = run(name, "LIF", "m", exact=False)
    assert assert_within_margin(net, x, trace) > 0.3


@pytest.mark.parametrize("cnf", ["AND", "IAND"])
def test_a_product_of_other_values_is_refused(cnf: str) -> None:
    # After a block that adds, x is a count of spikes and no truth value.
    block = sew_resnet.BasicBlock
    model = nn.Sequential(
        neuron.IFNode(), block(3, 3, cnf="ADD", spiking_neuron=neuron.IFNode),
        block(3, 3, cnf=cnf, spiking_neuron=neuron.IFNode),
    )  # fmt: skip
    with pytest.raises(
        ss.errors.UnsupportedError, match=r"^2\.mul: (multiplies two values|mul\(\) is not)"
    ):
        ss.from_torch(model, (3, 8, 8))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: maxformer.maxformer_cifar(T=2), RGB),
        (lambda: spikformer.spikformer_ti(T=2, img_size_h=32, img_size_w=32), RGB),
        (lambda: spiking_vggws_ottt.ottt_spiking_vggws(spiking_neuron=neuron.OTTTLIFNode), RGB),
    ],
)
def test_networks_without_a_counterpart_are_refused(make: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ss.errors.UnsupportedError):
        ss.from_torch(make().eval(), shape)
