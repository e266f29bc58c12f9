"""The README's example runs as it stands and prints what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_readme_begins_with_the_two_commands() -> None:
    first = blocks("sh")[0]
    assert "uv run spikesim demo" in first
    assert "uv run --group dev pytest" in first


def test_the_readme_example_runs(tmp_path: Path) -> None:
    example = blocks("python")[0]
    assert len(example.splitlines()) <= 20
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == blocks("text")[0]
