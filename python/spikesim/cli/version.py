"""The version, as the installed package has it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _installed


def version() -> str:
    """spikesim's version."""
    return _installed("spikesim")


def version_of(package: str) -> str | None:
    """Version of another package without importing it; None if it is not installed."""
    try:
        return _installed(package)
    except PackageNotFoundError:
        return None
