"""What the verbs print: one JSON object, or tables for people; progress goes to stderr."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from spikesim.errors import InputError

if TYPE_CHECKING:
    from spikesim.network import Network

#: Every verb's ``--json``.
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def check_writable(verb: str, name: str, out: Path) -> None:
    """Refuses a path to which nothing can be written, before the long work begins."""
    folder = out.absolute().parent
    if not folder.is_dir():
        raise InputError(
            f"{verb}: folder of {name} {out} is not there, expected an existing folder"
        )
    if out.is_dir():
        raise InputError(f"{verb}: {name} {out} is a folder, expected the path of a file")
    if not os.access(folder, os.W_OK):
        raise InputError(
            f"{verb}: folder of {name} {out} can't be written to, expected one that can"
        )


def print_json(result: Mapping[str, Any]) -> None:
    """The verb's only output with ``--json``. A NaN would not be JSON: it raises.

    In ASCII, with escapes: the same object whatever encoding stdout has.
    """
    print(json.dumps(result, ensure_ascii=True, allow_nan=False))


def print_facts(title: str, facts: Iterable[tuple[str, str]]) -> None:
    """Names and values, a line each."""
    table = Table(title=title, show_header=False, title_justify="left", box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value)
    Console().print(table, markup=False)


class Steps:
    """Counts work done; shows it where a person looks at stderr."""

    def __init__(self, progress: Progress, total: int, text: str) -> None:
        self._progress = progress
        self._task = progress.add_task(text, total=total)

    def advance(self, n: int = 1) -> None:
        """``n`` more are done."""
        self._progress.advance(self._task, n)


@contextmanager
def steps(total: int, text: str) -> Iterator[Steps]:
    """A progress bar on stderr, gone when the work is done; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield Steps(progress, total, text)


def joules(value: float) -> str:
    """Joules with a unit that suits: 1.23 µJ."""
    for factor, unit in ((1.0, "J"), (1e3, "mJ"), (1e6, "µJ"), (1e9, "nJ")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e12:.3g} pJ"


#: What to take for what a NIR file does not say.
Nir = Annotated[
    str | None,
    typer.Option(
        "--nir",
        metavar="PROFILE[,key=value…]",
        help="What a NIR file does not say: nir, snntorch, spikingjelly, norse, sinabs or nengo, "
        "then options, as in norse,dt=0.002.",
    ),
]


def load_model(model: Path, nir: str | None) -> Network:
    """The network in a file; what was assumed about it is a line on stderr."""
    import spikesim as ss

    options = None if nir is None else ss.NirOptions.parse(nir)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net = ss.load(model, nir=options)
    for warning in caught:
        if isinstance(warning.message, ss.NirAssumption):
            print(f"spikesim: {warning.message}", file=sys.stderr)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return net
