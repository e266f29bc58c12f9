"""The environment variables that spikesim listens to, read in this one place.

A knob is a default, never an override: an argument given in code or on the command line wins.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from spikesim.errors import InputError

#: Names of the SIMD levels that exist; which of them this CPU has, ``spikesim info`` says.
LEVELS = ("baseline", "avx2", "avx512", "neon")

#: More threads than any machine gains from; what a slip of the keyboard asks for is refused.
MOST_THREADS = 1024

#: name → what it does, as ``spikesim info`` prints it.
DESCRIPTIONS = {
    "SPIKESIM_LEVEL": f"SIMD level to use ({', '.join(LEVELS)}); default: the best this CPU has",
    "SPIKESIM_THREADS": "number of threads; default: one for each core this process may use",
    "SPIKESIM_DATA": "folder of data sets (MNIST/raw/*.gz, …); no default",
}


@dataclass(frozen=True)
class Knobs:
    """What the environment says; None where it says nothing."""

    level: str | None
    threads: int | None
    data: Path | None


def read() -> Knobs:
    """Reads all knobs now (not at import, so that a test or a caller may set them).

    Raises:
        InputError: a knob is set to something that it can't mean.
    """
    return Knobs(level=_level(), threads=_threads(), data=_data())


def _raw(name: str) -> str | None:
    """The variable's text; an empty one counts as not set, as shells make it."""
    return os.environ.get(name, "").strip() or None


def _level() -> str | None:
    raw = _raw("SPIKESIM_LEVEL")
    if raw is not None and raw not in LEVELS:
        raise InputError(f"SPIKESIM_LEVEL: level is {raw!r}, expected one of {', '.join(LEVELS)}")
    return raw


def _threads() -> int | None:
    raw = _raw("SPIKESIM_THREADS")
    if raw is None:
        return None
    # Lengths first: Python itself refuses to read a number of thousands of digits.
    digits = raw.lstrip("0") if raw.isascii() and raw.isdigit() else ""
    if not 0 < len(digits) <= len(str(MOST_THREADS)) or int(digits) > MOST_THREADS:
        raise InputError(
            f"SPIKESIM_THREADS: number of threads is {raw!r}, "
            f"expected a whole number from 1 to {MOST_THREADS}"
        )
    return int(digits)


def _data() -> Path | None:
    raw = _raw("SPIKESIM_DATA")
    return None if raw is None else Path(raw)
