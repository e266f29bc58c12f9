"""The doctor: what is broken is named, with its place; what is not is left alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

import spikesim as ss
from spikesim.errors import InputError, ShapeError

Array = NDArray[Any]


class Net(nn.Module):
    """Convolution with a norm, a functional ReLU, a max pool, a ReLU module."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.pool, self.fc = nn.MaxPool2d(2), nn.Linear(96, 24)
        self.act, self.out = nn.ReLU(), nn.Linear(24, 4)
        with torch.no_grad():
            self.norm.weight.uniform_(0.5, 3)
            self.norm.bias.uniform_(0.0, 0.4)
            self.norm.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
            self.norm.running_var.uniform_(0.2, 2)  # type: ignore[union-attr]
            # Outputs with a mean of 0 each, so that the classes vary.
            hidden = self.eval()._hidden(torch.from_numpy(images()))
            self.out.bias.copy_(-(hidden @ self.out.weight.T).mean(0))

    def _hidden(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.conv(x)))  # the functional one
        return self.act(self.fc(self.pool(x).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self._hidden(x))


def images(samples: int = 80) -> Array:
    return np.random.default_rng(0).random((samples, 1, 8, 8)).astype(np.float32)


def labelled() -> tuple[Array, Array]:
    """With the ANN's own classes: it is always right."""
    x = images()
    with torch.no_grad():
        return x, Net().eval()(torch.from_numpy(x)).argmax(1).numpy()


def changed(net: ss.Network, new: dict[str, Any], left_out: tuple[str, ...] = ()) -> ss.Network:
    """With other operations, or without some nodes."""
    made = ss.Network(net.input_shape, meta=net.meta)
    inputs: dict[str, str] = {}
    for src, dst, _ in net.edges:
        inputs[dst] = src
    for node in net.nodes[1:]:
        if node.name in left_out:
            continue
        source = inputs[node.name]
        while source in left_out:
            source = inputs[source]
        made.add(new.get(node.name, node.op), node.name, source)
    made.output, made.readout = net.output, net.readout
    return made


def good() -> ss.Network:
    net, _ = ss.convert(Net(), calibration=images(), method="max", n_steps=256, v0=0.5)
    return net


def errors(report: ss.convert.ConversionReport) -> list[Any]:
    return [one for one in report.findings if one.severity == "error"]


def test_a_clean_conversion_has_no_error() -> None:
    net, report = ss.convert(
        Net(), calibration=labelled(), method="max", n_steps=256, v0=0.5, steps=[256]
    )
    assert report.ann_accuracy == 1.0
    assert report.accuracy is not None
    assert report.accuracy >= 0.97
    again = ss.convert.doctor(Net(), net, labelled(), steps=[256])
    for one in (report, again):
        assert not errors(one)
        assert not one.unconverted
        assert one.method == "max"
        assert one.n_steps == 256
        (found,) = [f for f in one.findings if "called as a function" in f.what]
        assert found.severity == "info"
        assert "it was found and converted" in found.what
        assert one.max_pools == {"pool": 'RateMaxPool2d (gate "count")'}
        for layer in one.layers:
            assert layer.errors is not None
            assert layer.errors.clipping.rms < 0.001
            assert layer.agreement is not None
            assert layer.agreement > 0.999


def test_a_functional_relu_without_a_population_is_named_with_its_line() -> None:
    """As a tool that looks at modules alone converts: the pool hears currents."""
    net = good()
    max_pool = ss.CurrentMaxPool2d(2)
    fc: Any = net.node("fc").op
    theta = float(net.node("relu").op.v_threshold)  # type: ignore[attr-defined]
    broken = changed(
        net, {"pool": max_pool, "fc": ss.Linear(fc.weight / theta, fc.bias)}, ("relu",)
    )
    report = ss.convert.doctor(Net(), broken, labelled(), n_steps=256, steps=[256])
    (lost,) = report.unconverted
    assert (lost.name, lost.kind) == ("relu", "functional ReLU")
    assert lost.where.startswith("test_convert_doctor.py:")
    line = int(lost.where.split(":")[1])
    with open(__file__, encoding="utf-8") as source:
        assert "# the functional one" in source.readlines()[line - 1]
    found = [one for one in errors(report) if one.name == "relu"]
    assert any(lost.where in one.what and "was not converted" in one.what for one in found)
    assert [layer.name for layer in report.layers] == ["act"]


def test_a_norm_that_was_not_folded_is_named() -> None:
    conv = Net().conv
    weight, bias = (p.detach().numpy() for p in (conv.weight, conv.bias))
    broken = changed(good(), {"conv": ss.Conv2d(weight, bias, padding=1)})
    report = ss.convert.doctor(Net(), broken, labelled(), n_steps=256, steps=[256])
    (found,) = [one for one in errors(report) if one.name == "norm"]
    assert "the batch norm is missing: conv has the weights that stood before it" in found.what
    assert "fold norm into conv" in found.advice


def test_a_norm_that_was_folded_and_normalised_is_not_named() -> None:
    """Weights over a threshold are the folded ones all the same."""
    net = good()
    conv: Any = net.node("conv").op
    half = changed(net, {"conv": ss.Conv2d(conv.weight / 8, conv.bias / 8, padding=1)})
    report = ss.convert.doctor(Net(), half, images(), n_steps=32)
    assert not [one for one in report.findings if one.name == "norm"]


def test_a_pool_that_is_an_or_is_named() -> None:
    broken = changed(good(), {"pool": ss.SpikeMaxPool2d(2)})
    report = ss.convert.doctor(Net(), broken, labelled(), n_steps=64, steps=[64])
    (found,) = [one for one in report.findings if one.name == "pool"]
    assert found.severity == "warning"
    assert "passes a spike whenever any input fires" in found.what
    assert 'max_pool="count"' in found.advice
    assert report.max_pools == {"pool": "SpikeMaxPool2d"}
    _, mine = ss.convert(Net(), calibration=images(), method="max", n_steps=16, max_pool="or")
    assert any("passes a spike whenever any input fires" in one.what for one in mine.findings)


def test_a_pool_that_passes_the_leaders_spikes_is_named() -> None:
    """What a window passes when its leader changes does not add up to the largest rate."""
    _, report = ss.convert(Net(), calibration=images(), method="max", n_steps=8, max_pool="argmax")
    (found,) = [one for one in report.findings if one.name == "pool"]
    assert found.severity == "warning"
    assert "not the largest rate, at any T" in found.what
    assert 'max_pool="count"' in found.advice


def test_neurons_whose_rates_are_no_relu_are_named() -> None:
    net = good()
    theta: Any = net.node("act").op
    for other, what in (
        (ss.IF(theta.v_threshold, reset="to_value"), "throws away what is above the threshold"),
        (ss.LIF(theta.v_threshold, alpha_mem=0.75, gain=1.0), "the membrane leaks"),
    ):
        report = ss.convert.doctor(Net(), changed(net, {"act": other}), images(), n_steps=64)
        found = [one for one in report.findings if one.name == "act" and what in one.what]
        assert [one.severity for one in found] == ["warning"]
        assert "at every T" in found[0].what
    for clean in (net, changed(net, {"act": ss.LIF(theta.v_threshold, alpha_mem=1.0, gain=1.0)})):
        report = ss.convert.doctor(Net(), clean, images(), n_steps=64)
        assert not [one for one in report.findings if "at every T" in one.what]
    _, hard = ss.convert(Net(), calibration=images(), method="spike_norm", n_steps=8)
    named = [one.name for one in hard.findings if "throws away" in one.what]
    assert sorted(named) == ["act", "relu"]


def test_a_threshold_that_is_too_low_is_the_first_layer_that_goes_wrong() -> None:
    """A tenth of the largest activation: the layer fires at every step, and says so."""
    net = good()
    neuron: Any = net.node("act").op
    broken = changed(net, {"act": ss.IF(float(neuron.v_threshold) / 10)})
    report = ss.convert.doctor(Net(), broken, labelled(), n_steps=64, steps=[64])
    assert any("at every step" in one.what for one in report.findings if one.name == "act")
    assert not any("at every step" in one.what for one in report.findings if one.name == "relu")


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_normalised_network_is_measured_in_the_units_of_the_ann(per_channel: bool) -> None:
    """W/θ with thresholds of 1, as others convert, is the same network: the same errors."""
    method = "channel_wise" if per_channel else "max"
    net, mine = ss.convert(
        Net(), calibration=images(), method=method, n_steps=64, v0=0.5, percentile=100.0
    )
    new: dict[str, Any] = {}
    for layer, population in (("conv", "relu"), ("fc", "act")):
        op: Any = net.node(layer).op
        theta: Any = net.node(population).op.v_threshold  # type: ignore[attr-defined]
        by = theta.reshape(-1, *(1,) * (op.weight.ndim - 1))
        kept = {"padding": op.padding} if layer == "conv" else {}
        new[layer] = type(op)(op.weight / by, op.bias / theta.reshape(-1), **kept)
        new[population] = ss.IF(1.0, v0=0.5)
    report = ss.convert.doctor(Net(), changed(net, new), images(), n_steps=64)
    for layer in report.layers:
        other = mine.layer(layer.name)
        assert layer.errors is not None
        assert other.errors is not None
        assert layer.rate == pytest.approx(other.rate, rel=1e-2)
        # A channel that never fires has no scale of its own.
        assert layer.threshold[1] == pytest.approx(other.threshold[1], rel=0.15)
        assert layer.v0[1] == pytest.approx(layer.threshold[1] / 2)
        assert layer.errors.local.rms == pytest.approx(other.errors.local.rms, abs=0.02)
        assert layer.snn_mean == pytest.approx(other.snn_mean, rel=0.1)


def test_several_spikes_a_step_are_measured() -> None:
    """m spikes a step: a layer saturates at m·θ, and says so in fractions of what it can."""
    net, report = ss.convert(
        Net(), calibration=images(40), method="calibrated", max_spikes=4, n_steps=2
    )
    neuron: Any = net.node("act").op
    assert (neuron.spikes, neuron.max_spikes) == ("multi", 4)
    run = net.compile().run(images(40), n_steps=2, record=("spikes",))
    mean = float(run.spikes["act"].to_dense().mean())
    layer = report.layer("act")
    assert layer.rate == pytest.approx(mean / 4)
    assert layer.threshold[1] == pytest.approx(4 * float(neuron.v_threshold.max()))
    assert layer.errors is not None


def test_other_readouts_are_examined() -> None:
    """A network of somebody else that ends in neurons and counts their spikes."""
    net = good()
    made = changed(net, {})
    made.add(ss.IF(0.5, v0=0.25), "last", net.output)
    made.output, made.readout = "last", "count"
    report = ss.convert.doctor(Net(), made, images(), n_steps=32)
    assert report.agreement_by_steps[32] > 0.5
    (found,) = [one for one in report.findings if one.name == "last"]
    assert found.what == "the population stands for no activation of the ANN"


def test_a_report_goes_to_json_html_and_back(tmp_path: Any) -> None:
    broken = changed(good(), {"pool": ss.SpikeMaxPool2d(2)})
    report = ss.convert.doctor(Net(), broken, labelled(), n_steps=16)
    text = report.to_json()
    assert json.loads(text)["max_pools"] == {"pool": "SpikeMaxPool2d"}
    assert ss.convert.ConversionReport.from_json(text) == report
    page = report.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
    assert "SpikeMaxPool2d" in page
    assert "<script" not in page
    assert "SpikeMaxPool2d" in str(report)


def test_notes_of_what_was_read() -> None:
    class Notes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 2, 7, padding=3), nn.Linear(128, 3)
            self.act, self.norm = nn.ReLU(), nn.BatchNorm2d(2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self.act(self.a(x)))
            return self.act(self.b(x.flatten(1))).softmax(1)

    net, report = ss.convert(Notes(), calibration=images(20), method="max", n_steps=4)
    said = {one.name: one for one in reversed(report.findings)}
    assert any(
        (one.name, one.what) == ("act", "the module is called 2 times and became act, act_1")
        for one in report.findings
    )
    assert said["norm"].severity == "warning"
    assert "the batch norm is not folded: it stands after act" in said["norm"].what
    assert "the softmax at the output was dropped" in said["output"].what
    assert "the first convolution is 7x7" in said["a"].what
    assert net.meta["n_steps"] == 4
    assert net.meta["source"]["method"] == "max"


def test_networks_that_are_not_the_anns() -> None:
    other = ss.Network((3,))
    other.add(ss.Linear(np.ones((4, 3))))
    with pytest.raises(ShapeError, match=r"^doctor: the network's input has shape \(3,\)"):
        ss.convert.doctor(Net(), other, images())
    small = ss.Network((1, 8, 8))
    small.add(ss.Flatten())
    small.add(ss.Linear(np.ones((2, 64))))
    with pytest.raises(ShapeError, match=r"^doctor: the network's output has shape \(2,\)"):
        ss.convert.doctor(Net(), small, images())
    with pytest.raises(InputError, match=r"^doctor: net is a Net, expected a Network"):
        ss.convert.doctor(Net(), Net(), images())  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^data: is missing, expected samples"):
        ss.convert.doctor(Net(), good(), None)
