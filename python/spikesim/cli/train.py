"""``spikesim train RECIPE``: an ANN by one of the recipes, into a file."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from spikesim.cli.output import Json, check_writable, print_facts, print_json, steps
from spikesim.errors import InputError

#: The bar's parts: a recipe tells how many steps it has when it begins.
PARTS = 1000


def train(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="A recipe's name; see --list.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the model to this file; default: RECIPE.safetensors."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Times that the samples are seen; default: the recipe's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    data: Annotated[
        str | None,
        typer.Option(
            help="Other samples of the same shape: a data set's name, or a .npz with x and y, of "
            "which one in six is held out."
        ),
    ] = None,
    width: Annotated[
        float | None, typer.Option(help="Factor of the model's channels; default: the recipe's.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the recipes.")] = False,
    json: Json = False,
) -> None:
    """Train an ANN by a recipe and save it, ready to be converted."""
    import spikesim as ss

    recipes = ss.recipes
    if listed:
        about = {name: recipes.get(name).about for name in recipes.available()}
        if json:
            print_json({"recipes": about})
        else:
            print_facts("Recipes", list(about.items()))
        return
    if recipe is None:
        raise InputError("train: RECIPE is missing, expected a name; --list shows them")
    # What can be wrong is found before the long work begins.
    chosen = recipes.get(recipe)
    path = out if out is not None else Path(f"{chosen.name}.safetensors")
    check_writable("train", "--out", path)
    if width is not None and not math.isfinite(width):
        raise InputError(f"train: --width is {width}, expected a finite number")
    begun = time.perf_counter()
    with steps(PARTS, chosen.name) as bar:
        shown = 0

        def progress(done: int, total: int) -> None:
            nonlocal shown
            reached = PARTS * done // total
            bar.advance(reached - shown)
            shown = reached

        trained = recipes.train(
            recipe, epochs=epochs, seed=seed, data=data, width=width, progress=progress
        )
    trained.save(path)
    report: dict[str, Any] = {
        "recipe": recipe,
        "accuracy": trained.accuracy,
        "epochs": trained.fit.epochs,
        "seconds": time.perf_counter() - begun,
        "seed": seed,
        "model": str(path),
        "data": trained.meta.get("data"),
        "test_samples": trained.meta.get("test_samples"),
        "losses": trained.fit.losses,
    }
    if json:
        print_json(report)
        return
    print_facts(
        recipe,
        [
            ("accuracy", f"{report['accuracy']:.2%} of {report['test_samples']} held-out samples"),
            ("data", str(report["data"])),
            ("epochs", _epochs(trained.fit)),
            ("time", f"{report['seconds']:.0f} s"),
            ("model", str(path)),
        ],
    )


def _epochs(fit: Any) -> str:
    last = f", loss {fit.losses[-1]:.4f} in the last" if fit.losses else ""
    return f"{fit.epochs}{last}"
