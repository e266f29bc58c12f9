"""Energy profiles: constants of one device or process, each with its source, kind and range."""

from __future__ import annotations

import math
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikesim.errors import FormatError, InputError

_FOLDER = Path(__file__).resolve().parent / "profiles"
_SCHEMA = 1
_KINDS = ("measured", "simulated", "derived", "assumed")
_LEVELS = ("compute", "memory", "system")
_UNITS = {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "nJ": 1e-9, "pJ": 1e-12, "fJ": 1e-15}
#: Where a source gives no range and says so, the truth may be this many times off either way.
_UNKNOWN = 3.0

_PROFILE_KEYS = {"id", "name", "process_nm", "level", "kind", "includes", "excludes"}
_CONSTANT_KEYS = {
    *("value", "low", "high", "uncertainty", "unit"),
    *("source", "doi", "kind", "verified"),
}


@dataclass(frozen=True)
class Constant:
    """Joules of one operation, with the range they are known to."""

    value: float
    low: float
    high: float
    kind: str
    source: str
    doi: str | None
    verified: str


@dataclass(frozen=True)
class Profile:
    """A device or process: what its constants include, and the constants by operation."""

    id: str
    name: str
    process_nm: float | None
    level: str
    kind: str
    includes: tuple[str, ...]
    excludes: tuple[str, ...]
    constants: dict[str, Constant]


def profiles() -> tuple[str, ...]:
    """Ids of the profiles that are shipped."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_profile(profile: str | os.PathLike[str]) -> Profile:
    """Loads a shipped profile by its id, or any ``.toml`` by its path.

    Raises:
        InputError: no profile of that id.
        FormatError: the file breaks the schema; a constant without source, kind or range does.
        FileNotFoundError: no such file.
    """
    text = os.fspath(profile)
    path = Path(text)
    if path.suffix == ".toml":
        return _parse(path)
    if text not in profiles():
        raise InputError(
            f"energy: profile is {text!r}, expected one of {', '.join(profiles())} or a .toml file"
        )
    return _parse(_FOLDER / f"{text}.toml")


def _parse(path: Path) -> Profile:
    try:
        root = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: file is not TOML ({error}), expected a profile") from error
    check = _Check(path)
    check.keys("profile file", root, {"schema", "profile", "constants"})
    if root.get("schema") != _SCHEMA:
        raise FormatError(f"{path}: schema is {root.get('schema')!r}, expected {_SCHEMA}")
    head = check.table(root, "profile")
    check.keys("profile", head, _PROFILE_KEYS)
    constants = {
        name: _constant(check, name, check.table(check.table(root, "constants"), name))
        for name in check.table(root, "constants")
    }
    if not constants:
        raise FormatError(f"{path}: constants are none, expected at least one")
    process = head.get("process_nm")
    return Profile(
        id=check.text("profile", head, "id"),
        name=check.text("profile", head, "name"),
        process_nm=None if process is None else check.number("profile", head, "process_nm"),
        level=check.choice("profile", head, "level", _LEVELS),
        kind=check.choice("profile", head, "kind", _KINDS),
        includes=check.texts("profile", head, "includes"),
        excludes=check.texts("profile", head, "excludes"),
        constants=constants,
    )


def _constant(check: _Check, name: str, spec: dict[str, Any]) -> Constant:
    place = f"constants.{name}"
    check.keys(place, spec, _CONSTANT_KEYS)
    unit = _UNITS[check.choice(place, spec, "unit", tuple(_UNITS))]
    value = check.number(place, spec, "value")
    if spec.get("uncertainty") == "unknown" and not {"low", "high"} & set(spec):
        low, high = value / _UNKNOWN, value * _UNKNOWN
    elif "uncertainty" in spec:
        raise FormatError(
            f'{check.path}: {place} has uncertainty {spec["uncertainty"]!r}, expected "unknown" '
            "and then no low and high"
        )
    else:
        low, high = check.number(place, spec, "low"), check.number(place, spec, "high")
    if not 0 <= low <= value <= high:
        raise FormatError(
            f"{check.path}: {place} has the range {low:g} to {high:g}, expected it around {value:g}"
        )
    return Constant(
        value=value * unit,
        low=low * unit,
        high=high * unit,
        kind=check.choice(place, spec, "kind", _KINDS),
        source=check.text(place, spec, "source"),
        doi=check.text(place, spec, "doi") if "doi" in spec else None,
        verified=check.text(place, spec, "verified"),
    )


@dataclass(frozen=True)
class _Check:
    """Reads keys of a table, each failure naming the file and the place."""

    path: Path

    def _wrong(self, place: str, key: str, found: object, expected: str) -> FormatError:
        return FormatError(f"{self.path}: {place} has {key} {found!r}, expected {expected}")

    def keys(self, place: str, table: dict[str, Any], known: set[str]) -> None:
        if unknown := sorted(set(table) - known):
            raise self._wrong(place, "keys", unknown, f"only {', '.join(sorted(known))}")

    def table(self, root: dict[str, Any], key: str) -> dict[str, Any]:
        value = root.get(key)
        if not isinstance(value, dict):
            raise FormatError(f"{self.path}: [{key}] is missing, expected a table")
        return value

    def text(self, place: str, table: dict[str, Any], key: str) -> str:
        value = table.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(place, key, value, "text")
        return value

    def texts(self, place: str, table: dict[str, Any], key: str) -> tuple[str, ...]:
        value = table.get(key)
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self._wrong(place, key, value, "a list of texts")
        return tuple(value)

    def choice(self, place: str, table: dict[str, Any], key: str, choices: tuple[str, ...]) -> str:
        value = table.get(key)
        if not isinstance(value, str) or value not in choices:
            raise self._wrong(place, key, value, f"one of {', '.join(choices)}")
        return value

    def number(self, place: str, table: dict[str, Any], key: str) -> float:
        value = table.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(place, key, value, "a number")
        if not math.isfinite(value) or value < 0:
            raise self._wrong(place, key, value, "a finite number >= 0")
        return float(value)
