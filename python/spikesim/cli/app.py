"""The verbs together, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from spikesim.cli.bench import bench
from spikesim.cli.convert import convert
from spikesim.cli.demo import demo
from spikesim.cli.info import info
from spikesim.cli.learn import learn
from spikesim.cli.run import run as run_verb
from spikesim.cli.train import train
from spikesim.cli.version import version
from spikesim.errors import SpikesimError

BAD_INPUT = 2

app = typer.Typer(
    name="spikesim",
    help="Event-driven simulation of trained spiking neural networks.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(demo)
app.command()(info)
app.command(name="run")(run_verb)
app.command()(convert)
app.command()(train)
app.add_typer(learn, name="learn")
app.command()(bench)


def _version(asked: bool) -> None:
    if asked:
        print(f"spikesim {version()}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def run(args: Sequence[str]) -> int:
    """Runs the command line on ``args`` and returns the exit code; prints no traceback for input
    that is bad, and hides none for a bug."""
    try:
        code = app(list(args), prog_name="spikesim", standalone_mode=False)
    except (SpikesimError, typer.TyperException, OSError, MemoryError) as error:
        print(f"spikesim: {_line(error)}", file=sys.stderr)
        return BAD_INPUT
    except typer.Abort:
        return 130
    return code if isinstance(code, int) else 0


def _line(error: BaseException) -> str:
    """The error in one line, naming the file or option."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    elif isinstance(error, typer.TyperException):
        text = error.format_message()
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())
