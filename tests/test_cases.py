"""Networks recorded from other libraries: every spike equal, every membrane within rounding.

Those that `from_torch` reads are built with their library; the others by hand, which shows that
one neuron description holds them all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.numpy")

from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from engines import Engine, Reference  # noqa: E402
from libraries import BAR  # noqa: E402

State = dict[str, Any]


class Case:
    """One recorded model: its numbers and what it did."""

    def __init__(self, folder: Path) -> None:
        self.meta = json.loads((folder / "meta.json").read_text())
        self.state: State = safetensors.load_file(folder / "model.safetensors")
        with np.load(folder / "io.npz") as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}

    def scalar(self, name: str) -> float:
        """A number of the state dict."""
        return float(self.state[name])

    def into(self, model: nn.Module) -> nn.Module:
        """The library's model with the recorded weights."""
        tensors = {name: torch.from_numpy(np.array(v)) for name, v in self.state.items()}
        model.load_state_dict(tensors)
        return model.eval()


# What from_torch reads


def spikingjelly_if(case: Case, shape: Any, v_reset: float | None) -> ss.Network:
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    theta = 1.0 if v_reset is not None else 0.8
    model = nn.Sequential(
        nn.Linear(16, 24), neuron.IFNode(theta, v_reset), nn.Linear(24, 8, bias=False),
        neuron.IFNode(theta, v_reset),
    )  # fmt: skip
    return ss.from_torch(case.into(model), shape)


def spikingjelly_lif(case: Case, shape: Any) -> ss.Network:
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    model = nn.Sequential(
        nn.Linear(16, 24), neuron.LIFNode(2.0, True, 0.5, 0.0), nn.Linear(24, 8, bias=False),
        neuron.LIFNode(2.0, True, 0.5, 0.0),
    )  # fmt: skip
    return ss.from_torch(case.into(model), shape)


def spikingjelly_sew(case: Case, shape: Any) -> ss.Network:
    activation_based = pytest.importorskip("spikingjelly.activation_based")
    pytest.importorskip("torchvision")
    from spikingjelly.activation_based.model import sew_resnet

    layer, neuron = activation_based.layer, activation_based.neuron
    shortcut = nn.Sequential(layer.Conv2d(6, 10, 1, 2, bias=False), layer.BatchNorm2d(10))
    block = sew_resnet.BasicBlock
    # The blocks' threshold is not in meta.json; their spikes and membranes show it.
    options = {"spiking_neuron": neuron.IFNode, "cnf": "ADD", "v_threshold": 0.6}
    model = nn.Sequential(
        layer.Conv2d(2, 6, 3, padding=1, bias=False), layer.BatchNorm2d(6), neuron.IFNode(),
        block(6, 6, **options), block(6, 10, 2, shortcut, **options),
        layer.AdaptiveAvgPool2d((1, 1)), layer.Flatten(), layer.Linear(10, 5),
    )  # fmt: skip
    activation_based.functional.set_step_mode(model, "m")
    return ss.from_torch(case.into(model), shape)


def snntorch_leaky(case: Case, shape: Any, mechanism: str, delay: bool) -> ss.Network:
    snn = pytest.importorskip("snntorch")

    def leaky() -> Any:
        return snn.Leaky(0.85, threshold=0.7, reset_mechanism=mechanism, reset_delay=delay)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.lif1 = nn.Linear(16, 24), leaky()
            self.fc2, self.lif2 = nn.Linear(24, 8, bias=False), leaky()

        def forward(self, x: Any, mem1: Any, mem2: Any) -> Any:
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            return spk2, mem1, mem2

    return ss.from_torch(case.into(Model()), shape)


def spikingjelly_plif(case: Case, shape: Any) -> ss.Network:
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")

    def plif() -> Any:
        # The threshold is not in meta.json; spikes and membranes show it.
        return neuron.ParametricLIFNode(2.0, True, 0.4, 0.0)

    model = nn.Sequential(nn.Linear(16, 24), plif(), nn.Linear(24, 8, bias=False), plif())
    return ss.from_torch(case.into(model), shape)


class SynapticModel(nn.Module):
    """As it was recorded: states are given to each call and returned by it."""

    def __init__(self) -> None:
        super().__init__()
        snn = pytest.importorskip("snntorch")
        self.fc1, self.lif1 = nn.Linear(16, 24), snn.Synaptic(0.5, 0.5)
        self.fc2, self.lif2 = nn.Linear(24, 8, bias=False), snn.Synaptic(0.5, 0.5)

    def forward(self, x: Any, syn1: Any, mem1: Any, syn2: Any, mem2: Any) -> Any:
        spk1, syn1, mem1 = self.lif1(self.fc1(x), syn1, mem1)
        spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
        return spk2, syn1, mem1, syn2, mem2


def snntorch_synaptic(case: Case, shape: Any) -> ss.Network:
    return ss.from_torch(case.into(SynapticModel()), shape)


class RLeakyModel(nn.Module):
    """As it was recorded."""

    def __init__(self) -> None:
        super().__init__()
        snn = pytest.importorskip("snntorch")
        self.fc1, self.lif1 = nn.Linear(10, 12), snn.RLeaky(0.5, linear_features=12)
        self.fc2 = nn.Linear(12, 4)

    def forward(self, x: Any, spk1: Any, mem1: Any) -> Any:
        spk1, mem1 = self.lif1(self.fc1(x), spk1, mem1)
        return self.fc2(spk1), spk1, mem1


def snntorch_rleaky(case: Case, shape: Any) -> ss.Network:
    return ss.from_torch(case.into(RLeakyModel()), shape)


# Built by hand


def two_layers(case: Case, shape: Any, names: tuple[str, ...], first: Any, second: Any) -> Any:
    net = ss.Network(shape)
    fc1, n1, fc2, n2 = names
    net.add(ss.Linear(case.state[f"{fc1}.weight"], case.state[f"{fc1}.bias"]), name=fc1)
    net.add(first, name=n1)
    net.add(ss.Linear(case.state[f"{fc2}.weight"]), name=fc2)
    net.add(second, name=n2)
    return net


NUMBERS = ("0", "1", "2", "3")
NORSE = ("fc1", "n1", "fc2", "n2")


def norse_box(case: Case, shape: Any) -> ss.Network:
    dt, p1, p2 = case.meta["dt"], case.meta["params"]["n1"], case.meta["params"]["n2"]
    rate1, rate2 = dt * p1["tau_mem_inv"], dt * p2["tau_mem_inv"]
    lif = ss.LIF(
        p1["v_th"], alpha_mem=1 - rate1, gain=rate1, v_leak=p1["v_leak"], v0=p1["v_leak"],
        fires=">", reset="to_value", v_reset=p1["v_reset"],
    )  # fmt: skip
    li = ss.LI(alpha_mem=1 - rate2, gain=rate2, v_leak=p2["v_leak"], v0=p2["v_leak"])
    return two_layers(case, shape, NORSE, lif, li)


def norse_cell(case: Case, shape: Any) -> ss.Network:
    # The cell adds the input to its current, uses the sum, then lets it decay: the same as
    # letting the sum of the step before decay first and adding then.
    dt, p1, p2 = case.meta["dt"], case.meta["params"]["n1"], case.meta["params"]["n2"]

    def common(p: dict[str, float]) -> dict[str, Any]:
        rate = dt * p["tau_mem_inv"]
        decay = {"alpha_mem": 1 - rate, "gain": rate, "alpha_syn": 1 - dt * p["tau_syn_inv"]}
        return {**decay, "v_leak": p["v_leak"], "v0": p["v_leak"]}

    lif = ss.CubaLIF(p1["v_th"], **common(p1), fires=">", reset="to_value", v_reset=p1["v_reset"])
    return two_layers(case, shape, NORSE, lif, ss.CubaLI(**common(p2)))


def sinabs_iaf(case: Case, shape: Any) -> ss.Network:
    def iaf(name: str) -> Any:
        return ss.IF(case.scalar(f"{name}.spike_threshold"), spikes="multi")

    return two_layers(case, shape, NUMBERS, iaf("1"), iaf("3"))


def sinabs_lif(case: Case, shape: Any) -> ss.Network:
    def lif(name: str) -> Any:
        alpha = np.exp(-1 / case.scalar(f"{name}.tau_mem"))
        theta = case.scalar(f"{name}.spike_threshold")
        return ss.LIF(theta, alpha_mem=alpha, gain=1 - alpha, spikes="multi")

    return two_layers(case, shape, NUMBERS, lif("1"), lif("3"))


CASES: dict[str, Callable[[Case, Any], ss.Network]] = {
    "sj_if_hard": lambda case, shape: spikingjelly_if(case, shape, 0.0),
    "sj_if_soft": lambda case, shape: spikingjelly_if(case, shape, None),
    "sj_lif_hard_decayinput": spikingjelly_lif,
    "sj_sew_add_hard": spikingjelly_sew,
    "snn_leaky_subtract_delay": lambda c, s: snntorch_leaky(c, s, "subtract", True),
    "snn_leaky_subtract_nodelay": lambda c, s: snntorch_leaky(c, s, "subtract", False),
    "snn_leaky_zero_delay": lambda c, s: snntorch_leaky(c, s, "zero", True),
    "sj_plif_hard": spikingjelly_plif,
    "norse_lifbox_libox": norse_box,
    "norse_lifcell_licell": norse_cell,
    "sinabs_iaf_multi": sinabs_iaf,
    "sinabs_lif_norm": sinabs_lif,
    "snn_synaptic_subtract_delay": snntorch_synaptic,
    "snn_rleaky_all2all_subtract_delay": snntorch_rleaky,
}


def test_every_recorded_case_is_here(cases_dir: Path):
    assert {folder.name for folder in (cases_dir / "torch").iterdir()} == set(CASES)


@pytest.mark.parametrize("engine", [Reference, Engine])
@pytest.mark.parametrize("name", CASES)
def test_case(name: str, engine: Any, cases_dir: Path):
    case = Case(cases_dir / "torch" / name)
    x = case.arrays["x"].astype(np.float32)
    net = CASES[name](case, x.shape[2:])
    got = engine(net).run(x)
    populations = {key.split("|")[0] for key in case.arrays if "|" in key}
    assert populations == {n.name for n in net.nodes if isinstance(n.op, ss.Neuron)}
    for layer in sorted(populations):
        if layer in got.spikes:
            spikes = case.arrays[f"{layer}|spk"].astype(np.float32)
            np.testing.assert_array_equal(got.spikes[layer], spikes, f"spikes of {layer}")
        else:
            close(got.v[layer], case.arrays[f"{layer}|spk"])
        v = case.arrays.get(f"{layer}|v", case.arrays.get(f"{layer}|mem"))
        close(got.v[layer], v)
        if "lif1.recurrent" not in {node.name for node in net.nodes}:
            # Of the recurrent cell only the input from before it was recorded.
            close(got.current[layer], case.arrays[f"{layer}|in"])


def close(ours: Any, theirs: Any) -> None:
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= BAR * (1 + np.abs(theirs).max())


@pytest.mark.parametrize("name", ["sinabs_iaf_multi", "sinabs_lif_norm"])
def test_sinabs_counts_the_same_synaptic_operations(name: str, cases_dir: Path):
    case = Case(cases_dir / "torch" / name)
    x = case.arrays["x"].astype(np.float32)
    result = ss.reference.run(CASES[name](case, x.shape[2:]), x)
    for layer, theirs in case.meta["synops"]["parameter"].items():
        # Summed over time, averaged over samples.
        ours = result.counts["synops"][layer].sum() / x.shape[1]
        assert ours == pytest.approx(theirs["synops"], rel=1e-6)
