"""`spikesim convert`: what it writes, and bad input in one line with nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import spikesim as ss
from spikesim.cli.app import run

MODELS = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))

made = net()

def fails():
    raise RuntimeError("first line\\nsecond line")

def needs(width):
    return nn.ReLU()

def other():
    return 3

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        return self.net(x)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MODELS)
    (tmp_path / "syntax.py").write_text("x = 1\ndef (\n")
    (tmp_path / "lacks.py").write_text("import not_there_at_all\n")
    rng = np.random.default_rng(0)
    x = rng.random((40, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(40) % 10)
    return tmp_path


def convert(*args: str) -> int:
    return run(["convert", *args, "--calibration", "data.npz", "--method", "max"])


def test_without_data_the_shape_is_told(folder: Path, capsys: Any) -> None:
    bare = ["convert", "mine.py:net", "a.spikesim", "--method", "model"]
    assert run(bare) != 0
    assert "calibration is missing" in capsys.readouterr().err
    assert run([*bare, "--input-shape", "1,8,x"]) != 0
    assert "--input-shape is '1,8,x', expected numbers" in capsys.readouterr().err
    assert run([*bare, "--input-shape", "1,8,8", "--n-steps", "4"]) == 0
    assert ss.load(folder / "a.spikesim").nodes[0].shape == (1, 8, 8)


def test_what_it_writes(folder: Path, capsys: Any) -> None:
    for ann in ("mine.py:net", "mine.py:made", "mine.py:Net"):
        assert convert(ann, "a.spikesim", "--report", "a.json", "--n-steps", "4", "--json") == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed == json.loads((folder / "a.json").read_text())
        assert printed["method"] == "max"
        assert printed["n_samples"] == 40
    net = ss.load(folder / "a.spikesim")
    assert net.meta["n_steps"] == 4
    assert convert("mine.py:net", "a.spikesim", "--report", "a.html", "--n-samples", "30") == 0
    assert "30 samples" in capsys.readouterr().out
    assert (folder / "a.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("mine.py:fails",), "mine.py:12: RuntimeError: first line second line, expected fails"),
        (("mine.py:needs",), "mine.py: TypeError: needs() missing 1 required"),
        (("mine.py:torch",), "mine.py: TypeError: 'module' object is not callable"),
        (("mine.py:nothing",), "mine.py: has no 'nothing', expected a function or module"),
        (("mine.py:other",), "ann is a int, expected a torch.nn.Module"),
        (("syntax.py:x",), "syntax.py:2: SyntaxError"),
        (("lacks.py:x",), "lacks.py:1: ModuleNotFoundError: No module named 'not_there_at_all'"),
        (("nowhere.py:x",), "nowhere.py: No such file"),
        (("mine.py:net", "--option", "progress=1"), "--option progress is none of the method"),
        (("mine.py:net", "--option", "n_steps=4"), "--option n_steps is none of the method"),
        (("mine.py:net", "--option", "ann=4"), "--option ann is none of the method"),
        (("mine.py:net", "--option", "v0"), "--option is 'v0', expected name=value"),
        (("mine.py:net", "--option", "v0=7"), "v0 is 7, expected a number from 0 to 1"),
        (("mine.py:net", "--n-samples", "-5"), "'--n-samples'"),
        (("mine.py:net", "--n-samples", "0"), "'--n-samples'"),
        (("mine.py:net", "--steps", "1,x"), "--steps is '1,x', expected numbers"),
        (("mine.py:net", "--report", "no/r.html"), "folder of --report no/r.html is not there"),
        (("mine.py:net", "--report", "r.pdf"), "r.pdf: extension is '.pdf', expected one of"),
    ],
)
def test_bad_input(folder: Path, capsys: Any, args: tuple[str, ...], message: str) -> None:
    ann, *more = args
    assert convert(ann, "out.spikesim", *more) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert not (folder / "out.spikesim").exists()


def test_folders_are_no_files(folder: Path, capsys: Any) -> None:
    (folder / "out.spikesim").mkdir()
    (folder / "r.html").mkdir()
    assert convert("mine.py:net", "out.spikesim") == 2
    assert "OUT out.spikesim is a folder" in capsys.readouterr().err
    assert convert("mine.py:net", "a.spikesim", "--report", "r.html") == 2
    assert "--report r.html is a folder" in capsys.readouterr().err
    assert convert("mine.py:net", "no/a.spikesim") == 2
    assert "folder of OUT no/a.spikesim is not there" in capsys.readouterr().err
    assert not (folder / "a.spikesim").exists()


def test_samples_that_are_measured_are_of_all_classes(folder: Path, capsys: Any) -> None:
    """Images of class k are brightest at pixel k, and so says the ANN; they come sorted."""
    x = np.zeros((400, 1, 8, 8), np.float32)
    y = np.repeat(np.arange(10), 40)
    x.reshape(400, 64)[np.arange(400), y] = 1
    y[200:] = 0  # the ANN is right on the first half alone
    np.savez(folder / "sorted.npz", x=x, y=y)
    (folder / "same.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def net():\n"
        "    layer = nn.Linear(64, 10, bias=False)\n"
        "    layer.weight.data = torch.eye(10, 64)\n"
        "    return nn.Sequential(nn.Flatten(), layer, nn.ReLU())\n"
    )
    args = ["same.py:net", "a.spikesim", "--validation", "sorted.npz", "--n-samples", "100"]
    assert convert(*args, "--json") == 0
    assert json.loads(capsys.readouterr().out)["ann_accuracy"] == 0.5
