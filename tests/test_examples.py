"""The examples of the README and of docs run as they stand and print what is said there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def blocks(language: str, page: str = "README.md") -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_readme_begins_with_the_two_commands() -> None:
    first = blocks("sh")[0]
    assert "uv run spikesim demo" in first
    assert "uv run --group dev pytest" in first


def test_the_readme_example_runs(tmp_path: Path) -> None:
    assert len(blocks("python")[0].splitlines()) <= 20
    runs("README.md", tmp_path)


def test_the_example_of_torch_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    runs("docs/torch.md", tmp_path)


def test_the_script_that_learns_runs(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    script = ROOT / "docs" / "examples" / "learn.py"
    assert len(script.read_text(encoding="utf-8").splitlines()) < 60
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    score, resumed, _ = done.stdout.splitlines()
    assert float(score.split()[-1].rstrip("%")) > 80
    assert resumed == "resumed after 1,000 digits, equal: True"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fields.png", "model.spikesim-learn"]


def runs(page: str, folder: Path) -> None:
    """The page's program prints the page's text."""
    example = blocks("python", page)[0]
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == blocks("text", page)[0]
