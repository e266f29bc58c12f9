"""The command line: every verb's JSON, and one clear line with exit code 2 for whatever is bad."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikesim as ss
from spikesim._core import levels
from spikesim.cli.app import run

DIGITS = str(ss.data.digits_model())

DEMO = {
    *("n", "accuracy", "agreement", "images_per_s", "speedup_over_dense"),
    *("spikes", "synops", "energy_j", "ann_energy_j"),
}
INFO = {"version", "level", "levels", "threads", "knobs"}
RUN = {
    *("n", "accuracy", "images_per_s", "spikes_per_sample", "synops_per_sample"),
    *("n_steps", "precision", "level", "threads"),
}


@pytest.fixture(autouse=True)
def no_knobs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ss.knobs.DESCRIPTIONS:
        monkeypatch.delenv(name, raising=False)


def answer(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    """The JSON object that a verb prints, which must be all that it prints on stdout."""
    code = run([*args, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    result: dict[str, Any] = json.loads(out)
    assert out.count("\n") == 1
    return result


def complaint(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """The one line on stderr of a call that must fail with exit code 2."""
    code = run(list(args))
    out, err = capsys.readouterr()
    assert code == 2, (out, err)
    assert out == ""
    assert err.startswith("spikesim: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


def test_demo_runs_the_main_job(capsys: pytest.CaptureFixture[str]) -> None:
    result = answer(capsys, "demo")
    assert set(result) >= DEMO
    assert result["n"] == 360
    assert result["accuracy"] >= 0.97
    assert result["agreement"] == 1.0
    assert result["images_per_s"] > 0
    assert result["speedup_over_dense"] > 0
    assert 0 < result["spikes"] < result["synops"]
    assert 0 < result["energy_j"] < result["ann_energy_j"]


def test_demo_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo"]) == 0
    out, _ = capsys.readouterr()
    assert "accuracy" in out
    assert "images/s" in out


def test_demo_without_torch() -> None:
    """Agreement and speed against the reference are null, not an error, where torch is absent."""
    code = (
        "import sys, importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'torch' else find(name, *a)\n"
        "sys.modules['torch'] = None\n"
        "from spikesim.cli.app import run\n"
        "sys.exit(run(['demo', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["agreement"] is None
    assert result["speedup_over_dense"] is None
    assert result["accuracy"] >= 0.97


def test_info_of_the_installation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = answer(capsys, "info")
    assert set(result) >= INFO
    assert result["level"] in result["levels"]
    assert result["knobs"] == dict.fromkeys(ss.knobs.DESCRIPTIONS)
    monkeypatch.setenv("SPIKESIM_THREADS", "1")
    monkeypatch.setenv("SPIKESIM_LEVEL", "baseline")
    result = answer(capsys, "info")
    assert (result["threads"], result["level"]) == (1, "baseline")
    assert result["knobs"]["SPIKESIM_THREADS"] == "1"


def test_info_of_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    layers = {layer["name"]: layer for layer in answer(capsys, "info", DIGITS)["layers"]}
    conv = layers["conv1"]
    assert (conv["kind"], conv["shape"], conv["parameters"]) == ("conv2d", [16, 8, 8], 160)
    assert conv["semantics"] is None
    net = ss.load(DIGITS)
    rules = layers["if1"]["semantics"]
    assert rules == net.node("if1").semantics
    assert "subtract" in rules
    assert run(["info", DIGITS]) == 0
    assert str(net) in capsys.readouterr().out


def test_run_on_a_named_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    result = answer(capsys, "run", DIGITS, "digits")
    assert set(result) >= RUN
    assert result["n"] == 360
    assert result["accuracy"] >= 0.97
    assert (result["n_steps"], result["precision"]) == (4, "f32")
    assert result["preprocessing"] == "x 0.0625"
    assert answer(capsys, "run", DIGITS, "digits", "--n-steps", "2")["n_steps"] == 2
    assert answer(capsys, "run", DIGITS, "digits", "--threads", "1")["threads"] == 1


def test_run_in_integers_says_what_they_cost(capsys: pytest.CaptureFixture[str]) -> None:
    result = answer(capsys, "run", DIGITS, "digits", "--precision", "i8")
    assert result["precision"] == "i8"
    assert result["accuracy"] >= 0.97
    cost = result["quantisation"]
    assert [layer["name"] for layer in cost["layers"]] == ["conv1", "conv2", "fc1", "fc2"]
    assert all(0 < layer["weight_rmse"] < 0.02 for layer in cost["layers"])
    assert all(0.8 < p["agreement"] <= 1 for p in cost["populations"])
    assert run(["run", DIGITS, "digits", "--precision", "i8"]) == 0
    assert "spikes of if3 as f32" in capsys.readouterr().out


def test_run_for_people_says_the_preprocessing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", DIGITS, "digits", "--energy", "horowitz45-fp32"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "preprocessing x 0.0625" in out
    assert "not modelled" in out


def test_run_writes_what_it_computed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    answer(capsys, "run", DIGITS, "digits", "--out", str(out))
    images = ss.data.load("digits")
    result = ss.load(DIGITS).compile().run(images.x / 16, n_steps=4)
    with np.load(out) as written:
        np.testing.assert_array_equal(written["output"], result.output)
        np.testing.assert_array_equal(written["predictions"], result.predictions)
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_run_adds_up_batches(capsys: pytest.CaptureFixture[str]) -> None:
    """360 images go through in pieces; the sums are those of one run, to the unit."""
    images = ss.data.load("digits")
    whole = ss.load(DIGITS).compile().run(images.x / 16, n_steps=4)
    result = answer(capsys, "run", DIGITS, "digits", "--energy", "horowitz45-fp32")
    assert result["synops_per_sample"] == whole.counts.synops / 360
    assert result["spikes_per_sample"] == whole.counts.spikes / 360
    assert result["macs_per_sample"] == whole.counts.macs / 360
    assert result["energy"]["joules"] == whole.energy("horowitz45-fp32").joules


def test_run_layouts_agree(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    images = ss.data.load("digits")
    x = images.x[:1]
    for layout, array in (
        ("N", x),
        ("TN", np.repeat(x[None], 4, 0)),
        ("T", np.repeat(x, 4, 0)),
    ):
        path = tmp_path / f"{layout}.npz"
        ss.data.save_npz(path, {"x": array, "layout": layout})
        result = answer(capsys, "run", DIGITS, str(path))
        assert (result["n"], result["n_steps"], result["accuracy"]) == (1, 4, None)
        spikes = result["spikes_per_sample"]
        assert spikes == answer(capsys, "run", DIGITS, str(tmp_path / "N.npz"))["spikes_per_sample"]
    plain = tmp_path / "plain.npz"
    ss.data.save_npz(plain, {"x": np.repeat(x, 4, 0), "y": [images.y[0]]})
    assert answer(capsys, "run", DIGITS, str(plain), "--layout", "T")["n"] == 1
    assert "1 labels, expected 4" in complaint(capsys, "run", DIGITS, str(plain))


@pytest.mark.data
def test_run_on_mnist(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = ss.Network(input_shape=(1, 28, 28))
    net.add(ss.Flatten())
    net.add(ss.Linear(np.full((10, 784), 1 / 256, np.float32)))
    net.add(ss.IF())
    net.meta = {"preprocessing": {"scale": 1 / 255}, "n_steps": 2}
    net.save(tmp_path / "m.spikesim")
    monkeypatch.setenv("SPIKESIM_DATA", str(data_dir))
    result = answer(capsys, "run", str(tmp_path / "m.spikesim"), "mnist")
    assert result["n"] == 3000
    assert result["spikes_per_sample"] > 0


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"spikesim {ss.__version__}\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "command"),
        (["dance"], "dance"),
        (["demo", "--fast"], "--fast"),
        (["info", "missing.spikesim"], "missing.spikesim"),
        (["run", "missing.spikesim", "digits"], "missing.spikesim"),
        (["run", DIGITS], "DATA"),
        (["run", DIGITS, "missing.npz"], "missing.npz"),
        (["run", DIGITS, "unheard-of"], "unheard-of"),
        (["run", DIGITS, "nmnist"], "nmnist"),
        (["run", DIGITS, "digits", "--split", "validation"], "train"),
        (["run", DIGITS, "digits", "--n-steps", "0"], "n_steps"),
        (["run", DIGITS, "digits", "--n-steps", "many"], "--n-steps"),
        (["run", DIGITS, "digits", "--n-steps", "9" * 23], "n_steps"),
        (["run", DIGITS, "digits", "--precision", "i4"], "i4"),
        (["run", DIGITS, "digits", "--precision", "f8"], "f8"),
        (["run", DIGITS, "digits", "--threads", "0"], "threads"),
        (["run", DIGITS, "digits", "--threads", "9" * 20], "threads"),
        (["run", DIGITS, "digits", "--layout", "NT"], "NT"),
        (["run", DIGITS, "digits", "--layout", "TN"], "shape"),
        (["run", DIGITS, "digits", "--energy", "perpetual"], "perpetual"),
        (["run", DIGITS, "digits", "--out", "nowhere/out.npz"], "nowhere"),
        (["run", DIGITS, "mnist"], "SPIKESIM_DATA"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], args: list[str], says: str
) -> None:
    assert says in complaint(capsys, *args)
    assert says in complaint(capsys, *args, "--json") or not args


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("SPIKESIM_THREADS", value) for value in ("0", "two", "-1", "1025", "9" * 5000)),
        ("SPIKESIM_LEVEL", "mmx"),
    ],
)
def test_bad_knobs_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert name in complaint(capsys, "info")
    assert name in complaint(capsys, "run", DIGITS, "digits")


def test_a_level_that_this_cpu_lacks_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for level in set(ss.knobs.LEVELS) - set(levels()):
        monkeypatch.setenv("SPIKESIM_LEVEL", level)
        for args in (["info"], ["run", DIGITS, "digits"]):
            assert level in complaint(capsys, *args)


@pytest.mark.parametrize("preprocessing", [{"scale": 1e300}, {"std": 1e-300}, {"scale": 3e38}])
def test_preprocessing_that_overflows_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, preprocessing: dict[str, float]
) -> None:
    net = ss.load(DIGITS)
    net.meta["preprocessing"] = preprocessing
    net.save(tmp_path / "m.spikesim")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = complaint(capsys, "run", str(tmp_path / "m.spikesim"), "digits")
    assert "preprocessing" in said


def test_broken_files_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    whole = Path(DIGITS).read_bytes()
    for n in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        model = tmp_path / f"cut{n}.spikesim"
        model.write_bytes(whole[:n])
        assert f"cut{n}.spikesim" in complaint(capsys, "info", str(model))
    data = tmp_path / "x.npz"
    data.write_bytes(b"PK not really")
    assert "x.npz" in complaint(capsys, "run", DIGITS, str(data))
    ss.data.save_npz(data, {"x": np.zeros((3, 1, 9, 9))})
    assert "(3, 1, 9, 9)" in complaint(capsys, "run", DIGITS, str(data))
    ss.data.save_npz(data, {"x": np.full((3, 1, 8, 8), np.nan)})
    assert "nan" in complaint(capsys, "run", DIGITS, str(data))
    assert "directory" in complaint(capsys, "info", str(tmp_path))


def test_nothing_is_left_of_an_output_that_failed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.npz"
    complaint(capsys, "run", DIGITS, "digits", "--out", str(out), "--threads", "0")
    out.mkdir()  # a folder stands where the file should go
    monkeypatch.setattr(ss.Network, "compile", None)  # and that is seen before anything runs
    said = complaint(capsys, "run", DIGITS, "digits", "--out", str(out))
    assert said == f"spikesim: run: --out {out} is a folder, expected the path of a file\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_the_installed_command() -> None:
    """What the other tests call in process, once as a user does."""
    command = [sys.executable, "-m", "spikesim"]
    done = subprocess.run([*command, "info", "--json"], capture_output=True, text=True)
    assert done.returncode == 0
    assert set(json.loads(done.stdout)) >= INFO
    done = subprocess.run([*command, "info", "no.spikesim"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_any_encoding_of_stdout_will_do(encoding: str) -> None:
    """Models are described with θ and the like, which not every terminal or pipe can show."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    for flags in ([], ["--json"]):
        command = [sys.executable, "-m", "spikesim", "info", DIGITS, *flags]
        done = subprocess.run(command, capture_output=True, env=environment)
        assert (done.returncode, done.stderr) == (0, b"")
        text = done.stdout.decode(encoding)
        assert "conv1" in text
        if flags:
            rules = {layer["name"]: layer["semantics"] for layer in json.loads(text)["layers"]}
            assert rules["if1"] == ss.load(DIGITS).node("if1").semantics
