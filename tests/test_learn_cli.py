"""``spikesim learn``: what it prints, saves and refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikesim as ss
from spikesim._core import load_arrays
from spikesim.cli.app import run
from spikesim.learn import SEM, ConvSTDP, DiehlCook

FEW = ["learn", "diehl-cook", "digits", "--neurons", "20", "--epochs", "1"]
FIRST = ["--train-samples", "60", "--test-samples", "40"]
FEW += FIRST
CONV = ["learn", "conv-stdp", "digits", "--maps", "8", "--images", "120", *FIRST]
SEM_FEW = ["learn", "sem", "digits", "--neurons", "20", "--epochs", "2", *FIRST]


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


def test_convolutions_learn_and_go_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    whole, half = tmp_path / "whole", tmp_path / "half"
    report = printed(capsys, [*CONV, "--out", str(whole)])
    assert (report["model"], report["samples"], report["seed"]) == ("conv-stdp", 120, 0)
    assert (report["train_samples"], report["test_samples"], report["maps"]) == (60, 40, 8)
    assert 0 < report["convergence"] < 0.25
    assert report["accuracy"] > 0.5
    model = ConvSTDP.load(whole)
    test = ss.data.load("digits")
    assert model.score(test.x[:40], test.y[:40]) == report["accuracy"]
    part = ConvSTDP(**model.get_params()).partial_fit(_digits()[:50])
    part.save(half)
    resumed = printed(capsys, [*CONV, "--out", str(half), "--resume", str(half)])
    assert resumed["accuracy"] == report["accuracy"]
    assert ConvSTDP.load(half).weights_[0].tobytes() == model.weights_[0].tobytes()
    assert run([*CONV, "--maps", "9", "--resume", str(half)]) == 2
    assert "layers[0].maps is 8, expected 9 as this model" in capsys.readouterr().err


def test_sem_learns_and_goes_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    whole, half = tmp_path / "whole", tmp_path / "half"
    report = printed(capsys, [*SEM_FEW, "--out", str(whole)])
    assert (report["model"], report["samples"], report["seed"]) == ("sem", 120, 0)
    assert (report["spikes"], report["input_spikes"], report["weight_updates"]) == (1, 64, 128)
    assert report["accuracy"] > 0.3
    model = SEM.load(whole)
    part = SEM(**model.get_params()).partial_fit(_digits()[:60]).partial_fit(_digits()[:7])
    part.save(half)
    resumed = printed(capsys, [*SEM_FEW, "--out", str(half), "--resume", str(half)])
    assert resumed["accuracy"] == report["accuracy"]
    finished = printed(capsys, [*SEM_FEW, "--resume", str(half)])
    assert (finished["samples"], finished["us_per_sample"]) == (resumed["samples"], 0)
    again = SEM.load(half)
    assert again.weights_.tobytes() == model.weights_.tobytes()
    assert again.fired_.tolist() == model.fired_.tolist()
    assert run([*SEM_FEW, "--eta", "0.1", "--resume", str(half)]) == 2
    assert "eta is 0.05, expected 0.1" in capsys.readouterr().err


@pytest.mark.parametrize("args", [FEW, CONV, SEM_FEW], ids=["diehl-cook", "conv-stdp", "sem"])
def test_what_was_learned_is_drawn(
    args: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "fields.png"
    assert run([*args, "--plot", str(picture)]) == 0
    assert str(picture) in capsys.readouterr().out.replace("\n", "").replace(" ", "")
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("args", "model"), [(CONV, ConvSTDP), (SEM_FEW, SEM)])
@pytest.mark.parametrize("after", ["learning", "testing"])
def test_ctrl_c_keeps_what_others_learned(
    args: list[str], model: Any, after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"

    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    if after == "testing":
        monkeypatch.setattr(model, "score", stop)
    else:
        monkeypatch.setattr(f"spikesim.learn.{_MODULES[model]}.progress_bar", _stopping(50))
    assert run([*args, "--out", str(path)]) == 130
    seen = model.load(path).seen_
    seen = seen[0] if isinstance(seen, dict) else seen
    assert (seen == 120) if after == "testing" else (0 < seen < 120)
    monkeypatch.undo()
    # And what it kept is what an undisturbed run passes through.
    assert run([*args, "--out", str(path), "--resume", str(path)]) == 0
    assert run([*args, "--out", str(tmp_path / "whole")]) == 0
    assert load_arrays(path) == load_arrays(tmp_path / "whole")


_MODULES = {ConvSTDP: "conv_stdp", SEM: "sem"}


def _stopping(after: int) -> Any:
    """A bar that is interrupted when so many samples are done."""

    @contextmanager
    def bar(_progress: Any, _total: int) -> Iterator[Any]:
        def tell(done: int) -> None:
            if done >= after:
                raise KeyboardInterrupt

        yield tell

    return bar


def test_ctrl_c_while_it_is_tested_keeps_what_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(DiehlCook, "assign", stop)
    assert run([*FEW, "--out", str(tmp_path / "model")]) == 130
    assert DiehlCook.load(tmp_path / "model").samples_seen_ == 60


def test_ctrl_c_before_anything_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(SEM, "fit", stop)
    assert run([*SEM_FEW, "--out", str(tmp_path / "model")]) == 130
    assert not list(tmp_path.iterdir())


def _digits() -> np.ndarray:
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
        (["learn", "nessler", "digits"], "No such command 'nessler'"),
        (["learn", "diehl-cook", "nowhere"], "'nowhere' is not a data set"),
        ([*FEW, "--model", "nonsense"], "one of wta, current, conductance"),
        ([*FEW, "--neurons", "0"], "n_neurons is 0"),
        ([*FEW, "--readout", "x"], "readout is 'x'"),
        ([*FEW, "--train-samples", "0"], "--train-samples is 0"),
        ([*FEW, "--out", "/nowhere/x"], "folder of --out /nowhere/x is not there"),
        ([*FEW, "--resume", "/nowhere/x"], "/nowhere/x: No such file or directory"),
        ([*FEW, "--threads", "0"], "threads is 0"),
        ([*FEW, "--plot", "/nowhere/x.png"], "folder of --plot /nowhere/x.png is not there"),
        ([*FEW, "--plot", "x.gif"], "x.gif is of no known kind, expected one of .png"),
        ([*CONV, "--maps", "0"], "maps is 0"),
        ([*CONV, "--images", "-1"], "n_images is -1"),
        ([*CONV, "--c", "nan"], "C is nan"),
        ([*CONV, "--seed", "-1"], "seed is -1"),
        ([*CONV, "--out", "/"], "--out / is a folder"),
        ([*CONV, "--resume", "/nowhere/x"], "/nowhere/x: No such file or directory"),
        (["learn", "conv-stdp", "nowhere"], "'nowhere' is not a data set"),
        ([*SEM_FEW, "--neurons", "0"], "n_neurons is 0"),
        ([*SEM_FEW, "--eta", "2"], "eta is 2"),
        ([*SEM_FEW, "--epochs", "0"], "epochs is 0"),
        ([*SEM_FEW, "--test-samples", "361"], "--test-samples is 361, expected 1 to 360"),
        ([*SEM_FEW, "--resume", "/nowhere/x"], "/nowhere/x: No such file or directory"),
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
