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


def norse_cells(case: Case, shape: Any, first: str, second: str) -> ss.Network:
    norse = pytest.importorskip("norse.torch")

    def cell(name: str, layer: str) -> Any:
        numbers = {key: torch.tensor(value) for key, value in case.meta["params"][layer].items()}
        kind = name.removesuffix("Cell")
        return getattr(norse, name)(
            getattr(norse, f"{kind}Parameters")(**numbers), dt=case.meta["dt"]
        )

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.n1 = nn.Linear(16, 24), cell(first, "n1")
            self.fc2, self.n2 = nn.Linear(24, 8, bias=False), cell(second, "n2")

        def forward(self, x: Any, s1: Any = None, s2: Any = None) -> Any:
            z, s1 = self.n1(self.fc1(x), s1)
            v, s2 = self.n2(self.fc2(z), s2)
            return v, s1, s2

    return ss.from_torch(case.into(Model()), shape)


def sinabs_layers(case: Case, shape: Any, name: str, **options: Any) -> ss.Network:
    layers = pytest.importorskip("sinabs.layers")

    def layer(key: str) -> Any:
        # The recorded state has the membranes of the last call; they are of no account.
        return getattr(layers, name)(shape=case.state[f"{key}.v_mem"].shape, **options)

    model = nn.Sequential(
        nn.Linear(16, 24), layer("1"), nn.Linear(24, 8, bias=False), layer("3"),
    )  # fmt: skip
    return ss.from_torch(case.into(model), shape)


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
LIFS = ("fc1", "lif1", "fc2", "lif2")


def spikingjelly_plif(case: Case, shape: Any) -> ss.Network:
    def plif(name: str) -> Any:
        rate = 1 / (1 + np.exp(-case.scalar(f"{name}.w")))
        # The threshold is not in meta.json; spikes and membranes show it.
        return ss.LIF(0.4, alpha_mem=1 - rate, gain=rate, reset="to_value", v_reset=0.0)

    return two_layers(case, shape, NUMBERS, plif("1"), plif("3"))


def snntorch_synaptic(case: Case, shape: Any) -> ss.Network:
    def synaptic(name: str) -> Any:
        return ss.CubaLIF(
            case.scalar(f"{name}.threshold"), alpha_mem=case.scalar(f"{name}.beta"),
            alpha_syn=case.scalar(f"{name}.alpha"), fires=">", reset_timing="next_step_after",
        )  # fmt: skip

    return two_layers(case, shape, LIFS, synaptic("lif1"), synaptic("lif2"))


def snntorch_rleaky(case: Case, shape: Any) -> ss.Network:
    state = case.state
    net = ss.Network(shape)
    net.add(ss.Linear(state["fc1.weight"], state["fc1.bias"]), name="fc1")
    lif = ss.LIF(
        case.scalar("lif1.threshold"), alpha_mem=case.scalar("lif1.beta"), fires=">",
        reset_timing="next_step_after",
    )  # fmt: skip
    net.add(lif, name="lif1")
    # The edge that leaves the neuron is the delayed one: the recurrent bias acts from the start.
    recurrent = ss.Linear(state["lif1.recurrent.weight"], state["lif1.recurrent.bias"])
    net.add(recurrent, name="recurrent", inputs=[("lif1", 1)])
    net.connect("recurrent", "lif1")
    net.add(ss.Linear(state["fc2.weight"], state["fc2.bias"]), name="fc2", inputs="lif1")
    net.output = "fc2"
    return net


CASES: dict[str, Callable[[Case, Any], ss.Network]] = {
    "sj_if_hard": lambda case, shape: spikingjelly_if(case, shape, 0.0),
    "sj_if_soft": lambda case, shape: spikingjelly_if(case, shape, None),
    "sj_lif_hard_decayinput": spikingjelly_lif,
    "sj_sew_add_hard": spikingjelly_sew,
    "snn_leaky_subtract_delay": lambda c, s: snntorch_leaky(c, s, "subtract", True),
    "snn_leaky_subtract_nodelay": lambda c, s: snntorch_leaky(c, s, "subtract", False),
    "snn_leaky_zero_delay": lambda c, s: snntorch_leaky(c, s, "zero", True),
    "sj_plif_hard": spikingjelly_plif,
    "norse_lifbox_libox": lambda c, s: norse_cells(c, s, "LIFBoxCell", "LIBoxCell"),
    "norse_lifcell_licell": lambda c, s: norse_cells(c, s, "LIFCell", "LICell"),
    "sinabs_iaf_multi": lambda c, s: sinabs_layers(c, s, "IAF"),
    "sinabs_lif_norm": lambda c, s: sinabs_layers(c, s, "LIF", tau_mem=10.0),
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
        if "recurrent" not in {node.name for node in net.nodes}:
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
