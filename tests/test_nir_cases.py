"""NIR graphs recorded with other simulators: every spike equal, every membrane within rounding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("h5py")

import spikesim as ss
from engines import Engine, Reference
from libraries import BAR
from spikesim.errors import FormatError, UnsupportedError

PRIMITIVES = (
    *("affine", "avgpool2d_padding", "branch_merge_sum", "conv1d", "conv2d_nonsquare_kernel"),
    *("conv2d_valid", "cubali", "flatten_all", "flatten_partial", "i_gain_dt", "if_gain_dt"),
    *("if_gain_one", "li", "lif", "linear", "scale", "sumpool2d", "threshold"),
)
LIBRARIES = ("snntorch", "spikingjelly")
ENGINES = pytest.mark.parametrize("engine", [Reference, Engine])


def close(ours: Any, theirs: Any) -> None:
    """|Δv| ≤ 2e-5·(1 + max|v|)."""
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= BAR * (1 + np.abs(theirs).max())


def arrays(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def test_every_recorded_graph_is_here(cases_dir: Path) -> None:
    folder = cases_dir / "nir"
    assert {p.stem for p in (folder / "primitives").glob("*.nir")} == set(PRIMITIVES)
    others = {p.parent.name for p in folder.glob("*/*.nir")} - {"primitives", "edge"}
    assert others == {"snntorch_export", "spikingjelly_conv1d_cuba"}


def with_output_recorded(net: ss.Network) -> ss.Network:
    """The network with a population behind its output that only passes it on: values that are no
    neuron's show as its input."""
    net.add(ss.LI(alpha_mem=0.0), name="probe", inputs=net.output)
    net.output = "probe"
    return net


@ENGINES
@pytest.mark.parametrize("name", PRIMITIVES)
def test_primitive(name: str, engine: Any, cases_dir: Path) -> None:
    case = arrays(cases_dir / "nir" / "primitives" / f"{name}.npz")
    gain = {"if_gain": name.rpartition("_")[2]} if "gain" in name else {}
    with pytest.warns(ss.NirAssumption) if needs(name) else no_warning():
        net = ss.load(
            cases_dir / "nir" / "primitives" / f"{name}.nir", nir=ss.NirOptions(dt=1e-3, **gain)
        )
    node = net.output
    x = case["x"].astype(np.float32)[:, None]
    got = engine(with_output_recorded(net)).run(x)
    y = case["y"].astype(np.float32)[:, None]
    spiking = node in got.spikes
    if spiking:
        np.testing.assert_array_equal(got.spikes[node], y)
    else:
        close(got.current["probe"], y)
    if "v" in case:
        close(got.v[node], case["v"].astype(np.float32)[:, None])


def needs(name: str) -> bool:
    """Whether something but dt and the gain has to be assumed."""
    return name in ("cubali", "i_gain_dt", "if_gain_dt", "if_gain_one", "li", "lif", "threshold")


def no_warning() -> Any:
    import contextlib
    import warnings

    stack = contextlib.ExitStack()
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("error")
    return stack


@ENGINES
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.filterwarnings("ignore::spikesim.nir.NirAssumption")
def test_exported_network(library: str, engine: Any, cases_dir: Path) -> None:
    folder = {"snntorch": "snntorch_export", "spikingjelly": "spikingjelly_conv1d_cuba"}[library]
    case = arrays(cases_dir / "nir" / folder / "case.npz")
    net = ss.load(cases_dir / "nir" / folder / "graph.nir", nir=ss.NirOptions(profile=library))
    got = engine(net).run(case["x"].astype(np.float32)[:, None])
    source = {k.removeprefix(f"{library}_source|"): v for k, v in case.items() if "_source|" in k}
    nodes = [key.split("|")[1] for key in source if key.startswith("node|")]
    assert set(nodes) == set(got.spikes)
    for node in nodes:
        spikes = source[f"node|{node}"].astype(np.float32)[:, None]
        assert spikes.sum() > 0
        np.testing.assert_array_equal(got.spikes[node], spikes, node)
        close(got.v[node], source[f"state|{node}|v"].astype(np.float32)[:, None])
    np.testing.assert_array_equal(got.spikes[net.output][:, 0], source["out"])


@pytest.mark.filterwarnings("ignore::spikesim.nir.NirAssumption")
def test_edge_cases_that_load(cases_dir: Path) -> None:
    ok, old = (ss.load(cases_dir / "nir" / "edge" / f"{n}.nir") for n in ("ok", "no_v_reset"))
    x = np.abs(np.random.default_rng(1).normal(size=(20, 2, 3))).astype(np.float32) * 9
    for engine in (Reference, Engine):
        first, second = engine(ok).run(x), engine(old).run(x)
        assert first.spikes["lif"].sum() > 0
        np.testing.assert_array_equal(first.spikes["lif"], second.spikes["lif"])
        np.testing.assert_array_equal(first.v["lif"], second.v["lif"])
    assert float(old.node("lif").op.v_reset) == 0


def test_edge_cases_that_are_refused(cases_dir: Path) -> None:
    folder = cases_dir / "nir" / "edge"
    dangling = folder / "dangling_edge.nir"
    with pytest.raises(FormatError, match="has no node 'nope'") as error:
        ss.load(dangling)
    assert str(error.value).startswith(f"{dangling}: ")
    unknown = folder / "unknown_node.nir"
    with pytest.raises(UnsupportedError, match="node 'lif': type 'Izhikevich' is not sup") as no:
        ss.load(unknown)
    assert str(no.value).startswith(f"{unknown}: ")


def test_cases_name_their_assumptions(cases_dir: Path) -> None:
    path = cases_dir / "nir" / "edge" / "ok.nir"
    with pytest.warns(ss.NirAssumption) as warned:
        net = ss.load(path)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    text = str(warned[0].message)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    assumed = net.meta["nir"]["assumed"]
    for name in ("dt", "integration", "reset", "fires", "spikes", "spike_amplitude", "v0"):
        assert f"{name}={json.dumps(assumed[name])}" in text
        assert f"{name} {assumed[name]}" in str(net)
    assert net.meta["source"]["format"] == "nir"
    assert net.dt == 1e-4
