"""What a network is compared with: live modules and recorded traces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")

from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from chains import SNN, chain, leaky  # noqa: E402
from spikesim.conformance import check  # noqa: E402
from spikesim.conformance.trace import run_engine  # noqa: E402

# Live modules


class Stepwise(nn.Module):
    """snnTorch with states passed by hand."""

    def __init__(self) -> None:
        super().__init__()
        import snntorch

        self.fc1, self.lif1 = nn.Linear(6, 9), snntorch.Leaky(0.8)
        self.fc2, self.lif2 = nn.Linear(9, 5), snntorch.Leaky(0.7, reset_mechanism="zero")

    def forward(self, x: Any, mem1: Any = None, mem2: Any = None) -> Any:
        spikes, mem1 = self.lif1(self.fc1(x), mem1)
        spikes, mem2 = self.lif2(self.fc2(spikes), mem2)
        return spikes, mem1, mem2


def test_a_module_is_run_as_its_library_runs_it_and_left_as_it_was() -> None:
    from spikingjelly.activation_based import functional, neuron

    torch.manual_seed(0)
    parts = [nn.Linear(6, 9), neuron.IFNode(v_reset=None), nn.Linear(9, 5), neuron.LIFNode(2.0)]
    single, many = nn.Sequential(*parts), nn.Sequential(*parts)
    own = nn.Sequential(nn.Linear(6, 9), ss.train.LIF(alpha_mem=0.5))
    for module, mode in ((Stepwise(), None), (single, "s"), (many, "m"), (own, None)):
        for parameter in module.parameters():
            parameter.data *= 3
        if mode is not None:
            functional.set_step_mode(module, mode)
        module.train()
        before = {k: v.clone() for k, v in module.state_dict().items()}
        net = ss.from_torch(module, (6,))
        report = check(net, module)
        assert report.ok, str(report)
        assert all(row.verdict in ("equal", "within rounding") for row in report.layers)
        assert all(row.alone is not None for row in report.layers)
        assert report.against == type(module).__name__
        assert all(child.training for child in module.modules())
        after = module.state_dict()
        assert all(torch.equal(before[k], after[k]) for k in before)
        assert not any(m._forward_hooks for m in module.modules())
        # From its start each time.
        assert check(net, module) == report


def test_norse_and_sinabs_modules() -> None:
    norse = pytest.importorskip("norse.torch")
    layers = pytest.importorskip("sinabs.layers")
    torch.manual_seed(0)
    a, b = nn.Linear(6, 9), nn.Linear(9, 5)
    for linear in (a, b):
        linear.weight.data *= 6
    model = norse.SequentialState(a, norse.LIFBoxCell(dt=0.01), b, norse.LIBoxCell(dt=0.01))
    weights = [linear.weight.detach().numpy() for linear in (a, b)]
    biases = [linear.bias.detach().numpy() for linear in (a, b)]
    net = ss.Network((6,))
    net.add(ss.Linear(weights[0], biases[0]), name="0")
    lif = ss.LIF(alpha_mem=0.0, gain=1.0, fires=">", reset="to_value")
    net.add(lif, name="1")
    net.add(ss.Linear(weights[1], biases[1]), name="2")
    net.add(ss.LI(alpha_mem=0.0, gain=1.0), name="3")
    report = check(net, model)
    assert report.ok, str(report)
    assert [row.name for row in report.layers] == ["1", "3"]
    assert report.layer("3").end_to_end.max_dv is not None

    for squeezed in (False, True):
        neurons = [
            layers.IAFSqueeze(batch_size=1) if squeezed else layers.IAF(),
            layers.LIFSqueeze(tau_mem=4.0, batch_size=1) if squeezed else layers.LIF(tau_mem=4.0),
        ]
        net = ss.Network((6,))
        net.add(ss.Linear(weights[0], biases[0]), name="0")
        net.add(ss.IF(spikes="multi", v_min=neurons[0].min_v_mem), name="1")
        net.add(ss.Linear(weights[1], biases[1]), name="2")
        alpha = float(np.exp(-0.25))
        net.add(ss.LIF(alpha_mem=alpha, gain=1 - alpha, spikes="multi"), name="3")
        model = nn.Sequential(a, neurons[0], b, neurons[1])
        report = check(net, model)
        assert report.ok, str(report)
        assert report.layer("3").end_to_end.max_dv is not None
        assert check(net, model) == report


def test_a_module_of_another_network_is_refused() -> None:
    with pytest.raises(ss.errors.InputError, match="has no neurons called n0"):
        check(chain(SNN), nn.Sequential(nn.Linear(20, 20), leaky()))
    with pytest.raises(ss.errors.InputError, match="against is a int"):
        check(chain(SNN), 3)


# Recorded traces


def save_trace(path: Path, net: ss.Network, x: Any, **changed: Any) -> None:
    """What the network does, in the scheme of recorded models."""
    trace, _ = run_engine(net, x)
    arrays = {"x": x.astype(np.uint8)}
    for name in trace.v:
        arrays[f"{name}|spk"] = trace.spikes[name].astype(np.uint8)
        arrays[f"{name}|mem"] = trace.v[name]
        arrays[f"{name}|in"] = trace.current[name]
    np.savez(path, **(arrays | changed))


def test_recorded_traces(tmp_path: Path) -> None:
    net = chain(SNN, SNN)
    x = (np.random.default_rng(0).random((30, 2, 20)) < 0.4).astype(np.float32)
    path = tmp_path / "io.npz"
    save_trace(path, net, x)
    report = check(net, path)
    assert report.ok
    assert {row.verdict for row in report.layers} == {"equal"}
    assert (report.n_steps, report.samples, report.against) == (30, 2, "io.npz")
    wrong = chain(SNN, {**SNN, "alpha_mem": 0.851})
    row = check(wrong, str(path)).layer("n1")
    assert row.verdict == "differs"


def test_sources_and_schemes_of_traces(tmp_path: Path) -> None:
    net = chain(SNN)
    x = (np.random.default_rng(0).random((30, 1, 20)) < 0.4).astype(np.float32)
    trace, _ = run_engine(net, x)
    z, v = trace.spikes["n0"][:, 0], trace.v["n0"][:, 0]
    path = tmp_path / "case.npz"
    arrays = {"a|node|n0": z, "a|state|n0|v": v, "a|out": z, "b|node|n0": 1 - z}
    np.savez(path, x=x[:, 0], **arrays)
    assert check(net, path, traces_of="a").layer("n0").verdict == "equal"
    report = check(net, path, traces_of="b")
    assert report.layer("n0").verdict == "differs"
    assert report.layer("n0").end_to_end.max_dv is None
    with pytest.raises(ss.errors.InputError, match="traces of a, b, expected which"):
        check(net, path)
    with pytest.raises(ss.errors.InputError, match="'c' are missing, expected one of a, b"):
        check(net, path, traces_of="c")
    np.savez(path, x=x[:, 0], y=z, v=v)
    assert check(net, path).layer("n0").verdict == "equal"


BAD_TRACES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no x": ({"n0|spk": np.zeros((3, 1, 20))}, ss.errors.InputError, "x is missing"),
    "layer": (
        {"x": np.zeros((3, 1, 20)), "n9|spk": np.zeros((3, 1, 20))},
        ss.errors.InputError,
        "a layer that the network does not have",
    ),
    "shape": (
        {"x": np.zeros((3, 1, 20)), "n0|spk": np.zeros((3, 1, 19))},
        ss.errors.ShapeError,
        "n0|spk has shape",
    ),
    "steps": (
        {"x": np.zeros((3, 1, 20)), "n0|spk": np.zeros((4, 1, 20))},
        ss.errors.ShapeError,
        "4, 1",
    ),
    "nan": (
        {"x": np.zeros((3, 1, 20)), "n0|v": np.full((3, 1, 20), np.nan)},
        ss.errors.FormatError,
        "not finite",
    ),
    "text": ({"x": np.array(["a"])}, ss.errors.FormatError, "dtype"),
}


@pytest.mark.parametrize("bad", BAD_TRACES)
def test_bad_traces_are_refused(tmp_path: Path, bad: str) -> None:
    arrays, error, text = BAD_TRACES[bad]
    path = tmp_path / "t.npz"
    np.savez(path, **arrays)
    with pytest.raises(error, match=text) as raised:
        check(chain(SNN), path)
    assert "\n" not in str(raised.value)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ss.errors.FormatError):
        check(chain(SNN), path)


# The project's own table


def documented() -> dict[str, list[str]]:
    """Name -> cells of the rows of docs/conformance.md."""
    root = Path(__file__).resolve().parent.parent
    text = (root / "docs" / "conformance.md").read_text(encoding="utf-8")
    table = text.split("<!-- table of bench/conformance.py --write -->")[1]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    return {row[0]: row for row in cells}


def script() -> Any:
    """bench/conformance.py as a module."""
    import importlib.util
    import sys

    path = Path(__file__).resolve().parent.parent / "bench" / "conformance.py"
    spec = importlib.util.spec_from_file_location("bench_conformance", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_table_in_the_docs_is_the_scripts() -> None:
    names = [cell.name for cell in script().CELLS]
    assert len(set(names)) == len(names)
    written = documented()
    cells = {name for name in written if not name.startswith(("recorded ", "NIR "))}
    assert cells == set(names)


def test_the_table_has_every_recorded_case(cases_dir: Path) -> None:
    written = documented()
    folders = {f"recorded {path.name}" for path in (cases_dir / "torch").iterdir()}
    assert {name for name in written if name.startswith("recorded ")} == folders


@pytest.mark.filterwarnings("ignore")
def test_a_row_of_the_table_is_what_the_script_finds() -> None:
    bench = script()
    for name in ("snnTorch Leaky reset_mechanism='zero'", "spikesim.train IF"):
        cell = next(cell for cell in bench.CELLS if cell.name == name)
        row = bench.of_cell(cell, models=2)
        assert row.verdict == "equal"
        assert row.spikes > 100
        assert row.name in row.markdown()
        assert documented()[name][-1] == "equal"
