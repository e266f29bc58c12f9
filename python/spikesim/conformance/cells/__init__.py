"""Each library's cells, chosen by what the fields of a population mean."""

from __future__ import annotations

import importlib
from importlib import metadata

from spikesim.conformance.cells.base import Cell, Fields, Unsayable
from spikesim.errors import InputError, MissingExtraError
from spikesim.ops import Neuron

__all__ = ["LIBRARIES", "Cell", "Unsayable", "cell", "require", "version"]

#: Library -> (the module that must be there, the distribution, where its cells are chosen).
LIBRARIES = {
    "snntorch": ("snntorch", "snntorch", "snntorch"),
    "spikingjelly": ("spikingjelly", "spikingjelly", "spikingjelly"),
    "norse": ("norse", "norse", "norse"),
    "sinabs": ("sinabs", "sinabs", "sinabs"),
    "spikesim.train": ("torch", "spikesim", "own"),
    "torch": ("torch", "torch", "dense"),
}


def require(library: str) -> None:
    """Refuses a library that is not known or not installed.

    Raises:
        InputError: No such library.
        MissingExtraError: It is not here.
    """
    if library not in LIBRARIES:
        raise InputError(
            f"conformance: against is {library!r}, expected one of {', '.join(LIBRARIES)}, or a "
            "file of traces (.npz)"
        )
    for name in ("torch", LIBRARIES[library][0]):
        try:
            importlib.import_module(name)
        except ImportError as error:
            how = "install spikesim[torch]" if name == "torch" else f"install {name}"
            raise MissingExtraError(
                f"conformance: comparing with {library} needs {name}; {how}"
            ) from error


def version(library: str) -> str | None:
    """Of the installed library."""
    try:
        return metadata.version(LIBRARIES[library][1])
    except metadata.PackageNotFoundError:
        return None


def cell(library: str, op: Neuron, shape: tuple[int, ...]) -> Cell:
    """The library's own cell for a population.

    Raises:
        Unsayable: It has none.
    """
    module = importlib.import_module(f"spikesim.conformance.cells.{LIBRARIES[library][2]}")
    made: Cell = module.cell(Fields(op, shape))
    return made
