"""``spikesim learn``: what it prints, saves and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesim.cli.app import run
from spikesim.learn import DiehlCook

FEW = ["learn", "diehl-cook", "digits", "--neurons", "20", "--epochs", "1"]
FEW += ["--train-samples", "60", "--test-samples", "40"]


def printed(capsys: pytest.CaptureFixture[str], args: list[str]) -> dict[str, Any]:
    assert run([*args, "--json"]) == 0
    out = capsys.readouterr().out
    report: dict[str, Any] = json.loads(out)
    return report


def test_json_has_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    report = printed(capsys, FEW)
    assert {
        *("model", "accuracy", "seconds", "samples", "seed", "spikes", "synops", "weight_updates")
    } <= report.keys()
    assert report["model"] == "diehl-cook wta"
    assert (report["samples"], report["test_samples"], report["seed"]) == (60, 40, 0)
    assert 0 <= report["accuracy"] <= 1
    assert report["spikes"] > 0
    assert report["synops"] >= report["input_spikes"] * 20
    again = printed(capsys, FEW)
    for key in ("accuracy", "spikes", "synops", "weight_updates"):
        assert again[key] == report[key]


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*FEW, "--model", "current", "--readout", "ngram"]) == 0
    out = capsys.readouterr().out
    assert "diehl-cook current, 20 neurons, on digits" in out
    assert "of 40 held-out samples" in out


def test_it_goes_on_from_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    half, whole = tmp_path / "half", tmp_path / "whole"
    args = ["--epochs", "2", "--out"]
    report = printed(capsys, [*FEW, *args, str(whole)])
    model = DiehlCook.load(whole)
    assert model.samples_seen_ == 120
    part = DiehlCook(**model.get_params())
    train = _digits()
    part.partial_fit(train[:60], total=120).partial_fit(train[:9], total=120)
    part.save(half)
    resumed = printed(capsys, [*FEW, *args, str(half), "--resume", str(half)])
    assert resumed["accuracy"] == report["accuracy"]
    assert resumed["spikes"] == report["spikes"]
    assert (DiehlCook.load(half).weights_ == model.weights_).all()


def _digits() -> np.ndarray:
    import spikesim as ss

    return ss.data.load("digits", split="train").x


def test_a_file_of_samples(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.integers(0, 256, (36, 9), dtype=np.uint8), y=np.arange(36) % 2)
    report = printed(capsys, ["learn", "diehl-cook", str(path), "--neurons", "8"])
    assert (report["samples"], report["test_samples"]) == (30, 6)
    np.savez(path, x=np.zeros((36, 9)))
    assert run(["learn", "diehl-cook", str(path)]) == 2
    assert "y of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["learn", "nessler", "digits"], "MODEL 'nessler' is not supported"),
        (["learn", "diehl-cook", "nowhere"], "'nowhere' is not a data set"),
        ([*FEW, "--model", "nonsense"], "one of wta, current, conductance"),
        ([*FEW, "--neurons", "0"], "n_neurons is 0"),
        ([*FEW, "--readout", "x"], "readout is 'x'"),
        ([*FEW, "--train-samples", "0"], "--train-samples is 0"),
        ([*FEW, "--out", "/nowhere/x"], "--out /nowhere/x can't be written"),
        ([*FEW, "--resume", "/nowhere/x"], "/nowhere/x: No such file or directory"),
        ([*FEW, "--threads", "0"], "threads is 0"),
    ],
)
def test_bad_input_is_one_line(
    args: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(args) == 2
    err = capsys.readouterr().err
    assert problem in err
    assert err.count("\n") == 1


def test_another_configuration_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "model"
    printed(capsys, [*FEW, "--out", str(path)])
    assert run([*FEW, "--neurons", "30", "--resume", str(path)]) == 2
    assert "n_neurons is 20, expected 30" in capsys.readouterr().err
    path.write_bytes(b"nothing")
    assert run([*FEW, "--resume", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_ctrl_c_saves_whole_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    factors = DiehlCook._factors

    def stop(self: DiehlCook, first: int, n: int, total: int | None) -> Any:
        if first > 20:
            raise KeyboardInterrupt
        return factors(self, first, n, total)

    monkeypatch.setattr(DiehlCook, "_factors", stop)
    assert run([*FEW, "--out", str(path)]) == 130
    assert 20 < DiehlCook.load(path).samples_seen_ < 60
