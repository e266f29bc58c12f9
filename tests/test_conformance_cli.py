"""``spikesim info MODEL --conformance``: what it prints and its exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("snntorch")

import spikesim as ss
from chains import SNN, chain
from spikesim.cli.app import run
from spikesim.conformance.trace import run_engine

SMALL = ("--steps", "12", "--samples", "2")


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A saved network whose neurons name their library."""
    named = {**SNN, "meta": {"library": "snntorch", "cell": "Leaky"}}
    path = tmp_path / "model.spikesim"
    chain(named, named).save(path)
    return str(path)


def called(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = run(list(args))
    out, err = capsys.readouterr()
    return code, out, err


def test_a_model_that_conforms(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, "info", model, "--conformance", *SMALL)
    assert (code, err) == (0, "")
    assert "conformance against snntorch" in out
    assert "Leaky(beta=0.85" in out
    assert out.rstrip().endswith("ok")
    assert "12 steps, 2 samples, inputs seed 0" in out


def test_json_is_one_object(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, "info", model, "--conformance", "--seed", "5", "--json", *SMALL)
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    found: dict[str, Any] = json.loads(out)
    assert {"version", "layers", "conformance"} <= found.keys()
    report = found["conformance"]
    assert report["ok"] is True
    assert (report["seed"], report["n_steps"], report["samples"]) == (5, 12, 2)
    assert [row["name"] for row in report["layers"]] == ["n0", "n1"]
    plain = json.loads(called(capsys, "info", model, "--json")[1])
    assert "conformance" not in plain


def test_a_model_that_differs(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = chain(SNN, {**SNN, "alpha_mem": 0.851})
    x = (np.random.default_rng(0).random((30, 2, 20)) < 0.4).astype(np.float32)
    trace, _ = run_engine(net, x)
    arrays = {f"{n}|spk": z for n, z in trace.spikes.items()}
    arrays |= {f"{n}|v": v for n, v in trace.v.items()}
    path = str(tmp_path / "io.npz")
    np.savez(path, x=x, **arrays)
    code, out, _ = called(capsys, "info", model, "--conformance", "--against", path)
    assert code == 1
    assert "NOT ok" in out
    assert "n1 parts at step" in out
    code, out, _ = called(capsys, "info", model, "--conformance", "--against", path, "--json")
    assert code == 1
    assert json.loads(out)["conformance"]["layers"][1]["verdict"] == "differs"


def test_a_library_that_has_no_cell(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(
        capsys, "info", model, "--conformance", "--against", "spikingjelly", *SMALL
    )
    assert code == 1
    assert "no cell of spikingjelly has reset_timing" in out or "has fires='>'" in out


BAD = [
    (["--against", "nest"], "expected one of snntorch"),
    (["--against", "missing.npz"], "missing.npz: No such file"),
    (["--steps", "0"], "n_steps is 0"),
    (["--samples", "0"], "samples is 0"),
    (["--seed", "-1"], "seed is -1"),
    (["--traces-of", "a"], "traces_of is given without traces"),
]


@pytest.mark.parametrize(("args", "text"), BAD)
def test_bad_input_is_one_line(
    model: str, args: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = called(capsys, "info", model, "--conformance", *args)
    assert (code, out) == (2, "")
    assert err.startswith("spikesim: ")
    assert err.count("\n") == 1
    assert text in err


def test_options_belong_to_conformance(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, "info", model, "--traces-of", "a")
    assert code == 2
    assert "--traces-of is given alone" in err
    code, _, err = called(capsys, "info", "--conformance")
    assert code == 2
    assert "MODEL is missing" in err


@pytest.mark.parametrize("missing", ["snntorch", "torch"])
def test_a_library_that_is_not_installed(
    model: str, missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    code, _, err = called(capsys, "info", model, "--conformance", "--against", "snntorch")
    assert code == 2
    assert err.count("\n") == 1
    assert f"needs {missing}; install" in err


def test_the_missing_library_is_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sinabs", None)
    with pytest.raises(ss.errors.MissingExtraError, match="needs sinabs; install sinabs"):
        ss.conformance.check(chain(SNN), "sinabs")
