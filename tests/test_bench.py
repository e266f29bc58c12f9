"""The benchmark refuses a time to what is wrong: counts, engines, questions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spikesim.cli import bench as cli
from spikesim.errors import InputError

BENCH = Path(__file__).resolve().parent.parent / "bench"
SCENARIOS = BENCH / "scenarios.toml"
COUNT = '"rate 0.1, T 4, batch 4" = '


def run(*args: object, program: tuple[object, ...] = (BENCH / "run.py",)) -> Any:
    """The benchmark as a user runs it."""
    command = [sys.executable, *map(str, program), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def quick(*args: object) -> Any:
    return run("tiny", "--seconds", 0, "--repeats", 1, *args)


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = SCENARIOS.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    path = tmp_path / "scenarios.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def tiny_count() -> int:
    part = SCENARIOS.read_text(encoding="utf-8").partition('name = "tiny"')[2]
    return int(part.partition(COUNT)[2].split()[0])


def test_every_library_fires_the_expected_spikes() -> None:
    libraries = ("spikingjelly", "snntorch", "sinabs", "norse", "torch ANN")
    done = quick("--json", *(word for name in libraries for word in ("--only", name)))
    assert done.returncode == 0, done.stderr
    rows = {row["engine"]: row for row in json.loads(done.stdout)["rows"]}
    assert len(rows) == 7
    assert rows["spikesim"]["spikes_per_sample"] == tiny_count() / 4
    for name, row in rows.items():
        assert row["status"] == "measured", row
        assert row["median_ms_per_sample"] > 0
        assert row["checked"] is (None if name == "torch ANN (one pass)" else True)


def test_a_changed_count_fails_and_has_no_time(tmp_path: Path) -> None:
    count = tiny_count()
    path = changed(tmp_path, f"{COUNT}{count}\n", f"{COUNT}{count + 1}\n")
    done = quick("--scenarios", path, "--only", "none", "--json")
    assert done.returncode == 1
    wanted = f"tiny: rate 0.1, T 4, batch 4 has {count} spikes, expected {count + 1}"
    assert f"bench: {wanted}" in done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == [wanted]
    assert [row["median_ms_per_sample"] for row in found["rows"]] == [None]


def test_a_missing_count_fails_and_is_written_by_record(tmp_path: Path) -> None:
    count = tiny_count()
    path = changed(tmp_path, f"{COUNT}{count}\n", "")
    done = quick("--scenarios", path, "--only", "none")
    assert done.returncode == 1
    assert f"has no expected spikes, expected {count}" in done.stderr
    done = quick("--scenarios", path, "--only", "none", "--record")
    assert done.returncode == 0, done.stderr
    assert path.read_text(encoding="utf-8") == SCENARIOS.read_text(encoding="utf-8")


def test_a_wrong_engine_fails(tmp_path: Path) -> None:
    """snnTorch's threshold moved by one step of the weights' grid: other spikes."""
    script = tmp_path / "wrong.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(BENCH)!r})\n"
        "import snntorch, libraries, run\n"
        "def neuron(self):\n"
        "    return snntorch.Leaky(beta=1.0, threshold=0.75, init_hidden=True)\n"
        "libraries.SnnTorch.neuron = neuron\n"
        "raise SystemExit(run.main())\n",
        encoding="utf-8",
    )
    given = ("tiny", "--seconds", 0, "--repeats", 1, "--only", "snntorch", "--json")
    done = run(*given, program=(script,))
    assert done.returncode == 1
    rows = {row["engine"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["snntorch"]["status"] == "wrong"
    assert rows["snntorch"]["median_ms_per_sample"] is None
    assert "tiny: snntorch is wrong on rate 0.1" in done.stderr


def test_what_is_absent_or_too_large_is_named(tmp_path: Path) -> None:
    script = tmp_path / "absent.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(BENCH)!r})\n"
        "import libraries, measure, run\n"
        "libraries.Sinabs.package = 'no_such_library'\n"
        "libraries.Norse.bytes_needed = classmethod(lambda cls, row: 9 * 2**30)\n"
        "raise SystemExit(run.main())\n",
        encoding="utf-8",
    )
    given = ("tiny", "--seconds", 0, "--repeats", 1, "--only", "sinabs", "--only", "norse")
    done = run(*given, program=(script,))
    assert done.returncode == 0, done.stderr
    assert "sinabs squeeze: not installed: no_such_library (tiny batch 4)" in done.stdout
    assert "norse (reset to 0): skipped: needs 9.0 GiB, more than 8" in done.stdout


def test_the_verb_lists_without_measuring_and_passes_its_options() -> None:
    done = run("bench", "--list", program=("-m", "spikesim"))
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()][:2] == ["vgg16", "resnet18"]
    done = run("bench", "nothing", "--json", "--batch", 2, program=("-m", "spikesim"))
    assert done.returncode == 2
    assert done.stderr.startswith("bench: nothing is unknown, expected one of vgg16")
    done = run("bench", "tiny", "--threads", 0, program=("-m", "spikesim"))
    assert done.returncode == 2
    assert "--threads is [0], expected at least 1" in done.stderr


def test_outside_a_checkout_the_verb_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.spikesim, "__file__", os.fspath(tmp_path / "spikesim/__init__.py"))
    with pytest.raises(InputError, match=r"bench/run\.py is not here, expected a checkout"):
        cli.script()
