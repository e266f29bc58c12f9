"""What the conformance report must not pass: near misses, another step, missing evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("snntorch")

from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from chains import chain, leaky, module_of  # noqa: E402
from spikesim.conformance import check  # noqa: E402
from spikesim.conformance.trace import run_engine  # noqa: E402

GRID = {"alpha_mem": 0.5, "v_threshold": 0.75}


def raster(shape: tuple[int, ...], steps: int = 30, samples: int = 2) -> Any:
    """Zeros and ones."""
    return (np.random.default_rng(0).random((steps, samples, *shape)) < 0.4).astype(np.float32)


def traces(path: Path, net: ss.Network, x: Any, *what: str, only: Any = None) -> Path:
    """What the network does: "spk", "v", "in" of `only` these populations, and "out"."""
    trace, _ = run_engine(net, x)
    arrays = {"x": x}
    for key, values in (("spk", trace.spikes), ("v", trace.v), ("in", trace.current)):
        if key in what:
            arrays |= {f"{n}|{key}": v for n, v in values.items() if only is None or n in only}
    np.savez(path, **arrays)
    return path


# A comparison is right at the threshold itself


@pytest.mark.parametrize("shown", [("spk",), ("spk", "v"), ("spk", "v", "in")])
@pytest.mark.parametrize("reset", ["subtract", "to_value", "none"])
def test_a_wrong_comparison_is_found_without_inputs(
    tmp_path: Path, shown: tuple[str, ...], reset: str
) -> None:
    fields = [{**GRID, "reset": reset, "fires": fires} for fires in (">=", ">")]
    right, wrong = chain(fields[0]), chain(fields[1])
    path = traces(tmp_path / "t.npz", right, raster((20,)), *shown)
    assert check(right, path).layer("n0").verdict == "equal"
    row = check(wrong, path).layer("n0")
    assert row.verdict == "differs"
    assert row.end_to_end is not None
    assert row.end_to_end.first is not None
    assert row.end_to_end.first.margin == 0


def test_a_wrong_comparison_is_found_in_a_recorded_graph(cases_dir: Path) -> None:
    path = cases_dir / "nir" / "primitives" / "threshold"
    for fires, ok in ((">", True), (">=", False)):
        net = ss.load(path.with_suffix(".nir"), nir=ss.NirOptions(dt=1e-3, fires=fires))
        assert check(net, path.with_suffix(".npz")).ok is ok


def test_a_wrong_comparison_is_found_in_a_recurrent_cell() -> None:
    import snntorch

    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), snntorch.RLeaky(0.5, linear_features=8))
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim:
                parameter.copy_(torch.round(parameter * 16) / 16)
        module[1].beta.fill_(0.5)
    net = ss.from_torch(module, (6,))
    assert check(net, module).ok
    assert not check(_with(net, fires=">="), module).ok


def _with(net: ss.Network, **fields: Any) -> ss.Network:
    """The same network with other fields of its populations."""
    import dataclasses

    made = ss.Network(net.input_shape)
    late = []
    for node in net.nodes:
        if node.name == "input":
            continue
        op = node.op
        if isinstance(op, ss.Neuron):
            op = dataclasses.replace(op, **fields)
        edges = [e for e in net.edges if e.dst == node.name]
        known = [(e.src, e.delay) for e in edges if e.src in {n.name for n in made.nodes}]
        made.add(op, name=node.name, inputs=known)
        late += [e for e in edges if (e.src, e.delay) not in known]
    for edge in late:
        made.connect(*edge)
    return made


@pytest.mark.parametrize("off", [1e-5, 1e-6, 1e-7, -1e-7, -1e-6, -1e-5])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_a_threshold_beside_the_right_one_is_found(off: float, reset: str) -> None:
    net = chain(GRID | {"fires": ">", "reset_timing": "next_step_after"})
    if reset == "zero":
        net = chain(GRID | {"fires": ">", "reset": "to_value", "reset_timing": "next_step_before"})
    for threshold, verdict in ((0.75, "equal"), (0.75 + off, "differs")):
        neuron = leaky(0.5, threshold, reset_mechanism=reset)
        report = check(net, module_of(net, neuron))
        assert report.layer("n0").verdict == verdict, str(report)


BESIDE: dict[str, tuple[dict[str, Any], float]] = {
    "theirs stayed silent, and shows it": ({"fires": ">"}, 0.75 - 1e-6),
    "theirs fired, and its reset comes later": ({"reset_timing": "next_step_before"}, 0.75 + 1e-6),
    "theirs fired, and has no reset": ({"reset": "none"}, 0.75 + 1e-6),
}


@pytest.mark.parametrize("why", BESIDE)
def test_a_threshold_beside_the_right_one_is_found_in_traces(tmp_path: Path, why: str) -> None:
    fields, theta = BESIDE[why]
    right = chain(GRID | fields)
    path = traces(tmp_path / "t.npz", right, raster((20,)), "spk", "v")
    assert check(right, path).layer("n0").verdict == "equal"
    found = check(chain(GRID | fields | {"v_threshold": theta}), path).layer("n0").end_to_end
    assert found is not None
    assert found.unexplained > 0
    assert found.first is not None
    assert 0 < found.first.margin < found.first.rounding


# Layers


@pytest.mark.parametrize("kind", ["SumPool2d", "AvgPool2d", "SpikeMaxPool2d", "CurrentMaxPool2d"])
def test_a_pool_that_pads_more_than_half_its_window(kind: str) -> None:
    net = ss.Network((2, 6, 6))
    net.add(getattr(ss, kind)(3, padding=2))
    net.add(ss.IF(v_threshold=0.75), name="n")
    report = check(net, "torch", x=raster((2, 6, 6)))
    assert report.layer("n").verdict in ("equal", "within rounding"), str(report)


# An output that is no population, every step of it


@pytest.mark.parametrize("wrong", [0, 1, 5])
def test_another_delay_is_another_output(tmp_path: Path, wrong: int) -> None:
    def delayed(steps: int) -> ss.Network:
        net = ss.Network((4,))
        net.add(ss.Delay(steps), name="d")
        net.add(ss.Linear(np.eye(4)), name="fc")
        return net

    x = raster((4,))
    x[-6:] = 0  # so that all arrives, and every delay has the same sum
    y = np.concatenate([np.zeros_like(x[:3]), x[:-3]])
    np.savez(tmp_path / "t.npz", x=x, y=y)
    assert check(delayed(3), tmp_path / "t.npz").layer("fc").verdict == "equal"
    report = check(delayed(wrong), tmp_path / "t.npz")
    assert report.layer("fc").verdict == "differs"
    assert not report.ok


# Another input is a difference


def test_recorded_inputs_that_differ_are_told(tmp_path: Path) -> None:
    net = chain(GRID)
    x = raster((20,))
    trace, _ = run_engine(net, x)
    given = trace.current["n0"] * (1 + 1e-3)
    np.savez(tmp_path / "t.npz", **{"x": x, "n0|spk": trace.spikes["n0"], "n0|in": given})
    row = check(net, tmp_path / "t.npz").layer("n0")
    assert row.verdict == "differs"
    assert "its input differs by" in row.note or row.alone.verdict == "differs"
    # Far from every threshold no spike tells.
    far = ss.Network((20,))
    far.add(ss.IF(v_threshold=1.0, reset="to_value"), name="n")
    x = x * 3
    np.savez(tmp_path / "t.npz", **{"x": x, "n|spk": (x > 0) * 1.0, "n|in": x * (1 + 1e-3)})
    row = check(far, tmp_path / "t.npz").layer("n")
    assert row.verdict == "differs"
    assert row.note.startswith("its input differs by 0.003")


# What is not shown is not passed


def test_populations_that_are_not_recorded_are_no_pass(tmp_path: Path) -> None:
    net = chain(GRID, GRID)
    path = traces(tmp_path / "t.npz", net, raster((20,)), "spk", "v", only=("n1",))
    report = check(net, path)
    assert [row.verdict for row in report.layers] == ["not recorded", "equal"]
    assert (report.ok, report.unproved) == (False, ("n0",))
    assert check(net, path, allow=("not recorded",)).ok
    assert not check(net, path, allow=("silent",)).ok
    with pytest.raises(ss.errors.InputError, match="allow is 'differs', expected some of"):
        check(net, path, allow=("differs",))


def test_a_membrane_or_an_output_of_zeros_is_silent(tmp_path: Path) -> None:
    x = raster((4,))
    for op in (ss.LI(alpha_mem=0.5), ss.Add()):
        net = ss.Network((4,))
        net.add(ss.Linear(np.zeros((4, 4))), name="fc")
        net.add(op, name="out")
        report = check(net, "torch", x=x)
        assert report.layer("out").verdict == "silent"
        assert not report.ok


def test_the_output_in_a_file_is_the_output_populations(tmp_path: Path) -> None:
    net = chain(GRID)
    x = raster((20,))
    z = run_engine(net, x)[0].spikes["n0"]
    np.savez(tmp_path / "t.npz", **{"x": x, "a|node|n0": z, "a|out": 1 - z})
    with pytest.raises(ss.errors.InputError, match="out is not what n0 gave"):
        check(net, tmp_path / "t.npz")
    for out, verdict in ((z, "equal"), (1 - z, "differs")):
        given = x @ net.node("fc0").op.weight.T
        np.savez(tmp_path / "t.npz", **{"x": x, "n0|in": given, "out": out})
        assert check(net, tmp_path / "t.npz").layer("n0").verdict == verdict


# Options without effect, modules that do not fit


def test_options_without_effect_are_refused(tmp_path: Path) -> None:
    net = chain(GRID)
    x = raster((20,))
    path = traces(tmp_path / "t.npz", net, x, "spk")
    for name, value in {"n_steps": 3, "samples": 1, "seed": 0, "layout": "TN", "x": x}.items():
        with pytest.raises(ss.errors.InputError, match=f"{name} is given with traces"):
            check(net, path, **{name: value})
    with pytest.raises(ss.errors.InputError, match="layout is given without x"):
        check(net, "torch", layout="TN")
    with pytest.raises(ss.errors.InputError, match="seed is given with x"):
        check(net, "torch", x=x, seed=1)
    with pytest.raises(ss.errors.InputError, match="call is given without a module"):
        check(net, "torch", call=lambda m, x: x)


def test_a_module_that_the_input_does_not_fit_is_refused() -> None:
    net = ss.Network((4,))
    net.add(ss.Linear(np.eye(4)), name="fc")
    with pytest.raises(ss.errors.InputError, match="Sequential can't be run on") as raised:
        check(net, nn.Sequential(nn.Linear(5, 3)))
    assert "\n" not in str(raised.value)
    with pytest.raises(ss.errors.InputError, match="output of the other side has shape"):
        check(net, nn.Sequential(nn.Linear(4, 3)))


def test_the_command_says_what_was_not_proved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from spikesim.cli.app import run

    net = chain(GRID, GRID)
    model = str(tmp_path / "m.spikesim")
    net.save(model)
    path = str(traces(tmp_path / "t.npz", net, raster((20,)), "spk", only=("n1",)))
    asked = ["info", model, "--conformance", "--against", path]
    assert run(asked) == 1
    assert "not proved: n0\nNOT ok" in capsys.readouterr().out
    assert run([*asked, "--allow", "not-recorded"]) == 0
    assert run([*asked, "--seed", "1"]) == 2


def test_the_examples_of_the_document_run(tmp_path: Path, monkeypatch: Any) -> None:
    text = (Path(__file__).resolve().parent.parent / "docs" / "conformance.md").read_text("utf-8")
    blocks = text.split("```python\n")[1:]
    assert blocks
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(block.split("```")[0], {})
