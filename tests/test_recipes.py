"""Recipes and `spikesim train`: on the embedded digits, in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import spikesim as ss  # noqa: E402
from spikesim import recipes  # noqa: E402
from spikesim.cli.app import run  # noqa: E402
from spikesim.data import Preprocessing  # noqa: E402
from spikesim.errors import InputError, ShapeError  # noqa: E402
from spikesim.models.registry import BUILDERS  # noqa: E402

NAMES = {
    *("digits-relu", "digits-qcfs", "digits-resnet", "mnist-relu", "mnist-qcfs", "mnist-resnet8"),
    *("fashion-mnist-qcfs", "cifar10-vgg16-relu", "cifar10-vgg16-qcfs", "cifar10-resnet20-relu"),
    *("cifar10-resnet20-qcfs", "cifar100-vgg16-qcfs"),
}

SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "fashion-mnist": (1, 28, 28)}


def test_all_are_there():
    assert set(recipes.available()) >= NAMES
    assert all(recipes.get(name).name == name and recipes.get(name).about for name in NAMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_one_fits_together(name: str):
    """Data, augmentation, preprocessing and model of a recipe, on two made-up images."""
    recipe: Any = recipes.get(name)
    shape = SHAPES.get(recipe.data, (3, 32, 32))
    classes = 100 if recipe.data == "cifar100" else 10
    assert recipe.data in ss.data.available()
    model = BUILDERS[recipe.builder](**{**recipe.arguments, "width": 1 / 8})
    x = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    raw = recipe.augment(x, torch.Generator().manual_seed(0))
    assert raw.shape == x.shape
    prepared = recipes.recipe._Prepare(recipe.preprocessing)(raw)
    assert model(prepared).shape == (2, classes)
    kinds = {type(m) for m in model.modules()}
    assert (ss.train.QCFS in kinds) == name.endswith("qcfs")
    assert (torch.nn.ReLU in kinds) != name.endswith("qcfs")
    # What is saved as preprocessing is what a network will do.
    numbers = Preprocessing.of({"preprocessing": recipe.preprocessing})
    images = np.ascontiguousarray(raw.numpy())
    np.testing.assert_array_equal(numbers.apply(images, 3), prepared.numpy())


def test_the_papers_settings():
    recipe: Any = recipes.get("cifar100-vgg16-qcfs")
    assert (recipe.epochs, recipe.options["lr"], recipe.options["weight_decay"]) == (
        300,
        0.02,
        5e-4,
    )
    assert recipe.arguments["activation"] == {"kind": "qcfs", "L": 4, "lam": 8.0}
    assert recipes.get("cifar10-vgg16-qcfs").options["lr"] == 0.1  # type: ignore[attr-defined]
    assert "untested here" in recipe.about
    assert "untested here" in recipes.get("fashion-mnist-qcfs").about


def test_a_network_for_digits_learns_them_and_is_the_same_again(tmp_path: Path):
    trained = recipes.train("digits-qcfs", epochs=8, width=0.5)
    assert trained.accuracy >= 0.9
    test = ss.data.load("digits")
    path = tmp_path / "a.safetensors"
    trained.save(path)
    module, meta = ss.models.load(path)
    out = module(torch.from_numpy(Preprocessing.of(meta).apply(test.x, 3)))
    assert float((out.argmax(1).numpy() == test.y).mean()) == trained.accuracy
    assert meta["accuracy"] == trained.accuracy
    assert (meta["recipe"], meta["epochs"], meta["seed"]) == ("digits-qcfs", 8, 0)
    assert (meta["input_shape"], meta["data"], meta["test_samples"]) == ([1, 8, 8], "digits", 360)
    assert meta["labels"] == [str(digit) for digit in range(10)]
    again = recipes.train("digits-qcfs", epochs=1, seed=3, width=0.25).module.state_dict()
    other = recipes.train("digits-qcfs", epochs=1, seed=3, width=0.25).module.state_dict()
    assert all(torch.equal(again[key], other[key]) for key in again)


def test_other_data_and_width(tmp_path: Path):
    test = ss.data.load("digits")
    path = tmp_path / "mine.npz"
    np.savez(path, x=test.x, y=test.y)
    trained = recipes.train("digits-resnet", epochs=1, data=str(path), width=0.5)
    assert trained.meta["test_samples"] == 60
    assert trained.arguments["width"] == 0.5
    assert trained.module.get_submodule("conv1").weight.shape[0] == 8
    with pytest.raises(ShapeError, match=r"mnist-relu: .*mine.npz has samples of shape \(1, 8, 8"):
        recipes.train("mnist-relu", data=str(path))
    np.savez(path, x=test.x)
    with pytest.raises(InputError, match="has no labels"):
        recipes.train("digits-relu", data=str(path))


def test_another_modules_recipe(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path):
    class Detector:
        name = "boxes"
        about = "finds boxes"

        def train(self, *, progress: Any, **options: Any) -> recipes.Trained:
            assert options == {"epochs": 2, "seed": 5, "data": None, "width": None}
            progress(1, 1)
            fit = ss.train.FitResult(losses=[0.5], epochs=2)
            module = ss.models.resnet8(width=0.25)
            return recipes.Trained(module, "resnet8", {"width": 0.25}, {}, 0.75, fit)

    monkeypatch.setattr(recipes, "_RECIPES", dict(recipes._RECIPES))
    recipes.register(Detector())
    with pytest.raises(InputError, match="boxes is there already"):
        recipes.register(Detector())
    out = tmp_path / "b"
    assert run(["train", "boxes", "--epochs", "2", "--seed", "5", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 0.75
    assert type(ss.models.load(out)[0]).__name__ == "Sequential"


# --- The verb -------------------------------------------------------------------------------------


def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.chdir(tmp_path)
    assert run(["train", "digits-relu", "--epochs", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert err == ""
    report = json.loads(out)
    assert set(report) >= {"recipe", "accuracy", "epochs", "seconds", "seed", "model"}
    assert (report["recipe"], report["epochs"], report["seed"]) == ("digits-relu", 1, 0)
    assert report["seconds"] > 0
    _, meta = ss.models.load(report["model"])
    assert report["model"] == "digits-relu.safetensors"
    assert meta["accuracy"] == report["accuracy"]
    args = ["--epochs", "1", "--width", "0.25", "--out", "b"]
    assert run(["train", "digits-resnet", *args]) == 0
    assert "held-out samples" in capsys.readouterr().out
    assert (tmp_path / "b").is_file()


def test_the_list(capsys: Any):
    assert run(["train", "--list"]) == 0
    assert "mnist-qcfs" in capsys.readouterr().out
    assert run(["train", "--list", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["recipes"]) >= NAMES


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "train: RECIPE is missing, expected a name; --list shows them"),
        (["mnist-qcf"], "'mnist-qcf' is not a recipe, expected one of mnist-qcfs"),
        (["zzz"], "'zzz' is not a recipe, expected one of digits-relu"),
        (["digits-relu", "--epochs", "0"], "digits-relu: epochs is 0, expected at least 1"),
        (["digits-relu", "--epochs", "x"], "--epochs"),
        (["digits-relu", "--seed", "-1"], "digits-relu: seed is -1, expected a whole number"),
        (["digits-relu", "--width", "0"], "digits-relu: width is 0.0, expected more than 0"),
        (["digits-relu", "--width", "nan"], "--width is nan, expected a finite number"),
        (["digits-relu", "--data", "moon"], "'moon' is not a data set"),
        (["digits-relu", "--data", "no.npz"], "no.npz"),
        (["digits-relu", "--out", "no/a"], "folder of --out no/a is not there"),
        (["digits-relu", "--out", "."], "--out . is a folder"),
        (["mnist-relu"], "mnist: SPIKESIM_DATA is not set"),
    ],
)
def test_bad_input(
    args: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPIKESIM_DATA", raising=False)
    assert run(["train", *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
