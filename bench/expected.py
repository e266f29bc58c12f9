"""The spikes that scenarios.toml says each cell has: a wrong engine has no time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def key(rate: float, n_steps: int, batch: int, precision: str = "f32") -> str:
    """A cell's name in the table `spikes` of its scenario."""
    tail = "" if precision == "f32" else f", {precision}"
    return f"rate {rate}, T {n_steps}, batch {batch}{tail}"


def complaint(scenario: Mapping[str, Any], cell: str, found: int, own: bool) -> str | None:
    """What is wrong with the spikes that were counted, in one line.

    Args:
        scenario: An entry of scenarios.toml.
        cell: Its `key`.
        found: All spikes of the cell.
        own: Whether the cell is the scenario's own; others, asked for by an option, need no count.
    """
    where = f"{scenario['name']}: {cell}"
    wanted = scenario.get("spikes", {}).get(cell)
    if wanted is None and own:
        return f"{where} has no expected spikes, expected {found}; write it with --record"
    if wanted is not None and wanted != found:
        return f"{where} has {found} spikes, expected {wanted}"
    return None


def record(path: Path, name: str, found: Mapping[str, int]) -> None:
    """Writes the counts into a scenario's table; those of other cells stay."""
    parts = re.split(r"(?m)^(?=\[\[scenario\]\])", path.read_text())
    for index, part in enumerate(parts):
        if not re.search(rf'(?m)^name = "{re.escape(name)}"$', part):
            continue
        body, _, old = part.partition("[scenario.spikes]\n")
        kept = dict(re.findall(r'(?m)^"([^"]+)" = (\d+)$', old))
        kept.update({cell: str(count) for cell, count in found.items()})
        lines = [f'"{cell}" = {count}\n' for cell, count in kept.items()]
        parts[index] = f"{body.rstrip()}\n\n[scenario.spikes]\n{''.join(lines)}\n"
    path.write_text("".join(parts).rstrip() + "\n")
