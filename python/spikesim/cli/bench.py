"""``spikesim bench``: runs the benchmark of a checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

import spikesim
from spikesim.errors import InputError


def bench(
    scenario: Annotated[
        list[str] | None, typer.Argument(help="Names of bench/scenarios.toml; default: all main.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List the scenarios and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    batch: Annotated[
        list[int] | None, typer.Option(help="Instead of the scenario's; repeatable.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Instead of the scenario's.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Contestants with this in the name; repeatable.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Measuring time of a row.")] = None,
) -> None:
    """Measure spikesim and every installed rival on the same networks; in a checkout only.

    Exit code 1 where a spike count or an engine is wrong.
    """
    command = [sys.executable, str(script()), *(scenario or [])]
    command += ["--list"] * show + ["--json"] * as_json
    for name, values in (("batch", batch), ("only", only)):
        for value in values or []:
            command += [f"--{name}", str(value)]
    for name, number in (("threads", threads), ("seconds", seconds)):
        if number is not None:
            command += [f"--{name}", str(number)]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def script() -> Path:
    """bench/run.py of the checkout that this package or the working directory belongs to.

    Raises:
        InputError: There is none; an installed package comes without it.
    """
    for place in (Path(spikesim.__file__).resolve(), Path.cwd().resolve() / "here"):
        for folder in place.parents:
            found = folder / "bench" / "run.py"
            if found.is_file() and (folder / "bench" / "scenarios.toml").is_file():
                return found
    raise InputError(
        "bench: bench/run.py is not here, expected a checkout of spikesim; clone the repository "
        "and run `uv run --group bench spikesim bench` in it"
    )
