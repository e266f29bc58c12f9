"""The benchmark refuses a time to what is wrong: counts, engines, questions."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from spikesim.cli import bench as cli
from spikesim.errors import InputError

BENCH = Path(__file__).resolve().parent.parent / "bench"
SCENARIOS = BENCH / "scenarios.toml"
COUNT = '"rate 0.1, T 4, batch 4" = '


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Runs the tiny scenario once: exit code, stdout, stderr."""
    monkeypatch.syspath_prepend(str(BENCH))
    main = importlib.import_module("run").main
    threads = torch.get_num_threads()

    def run(*args: object) -> tuple[int, str, str]:
        code = main(["tiny", "--seconds", "0", "--repeats", "1", *map(str, args)])
        out, err = capsys.readouterr()
        return code, out, err

    yield run
    torch.set_num_threads(threads)


def verb(*args: object) -> Any:
    """`spikesim bench` as a user runs it."""
    command = [sys.executable, "-m", "spikesim", "bench", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = SCENARIOS.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    path = tmp_path / "scenarios.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def tiny_count() -> int:
    part = SCENARIOS.read_text(encoding="utf-8").partition('name = "tiny"')[2]
    return int(part.partition(COUNT)[2].split()[0])


def test_every_library_fires_the_expected_spikes(quick: Any) -> None:
    libraries = ("spikingjelly", "snntorch", "sinabs", "norse", "torch ANN")
    code, out, err = quick("--json", *(word for name in libraries for word in ("--only", name)))
    assert code == 0, err
    rows = {row["engine"]: row for row in json.loads(out)["rows"]}
    assert len(rows) == 7
    assert rows["spikesim"]["spikes_per_sample"] == tiny_count() / 4
    for name, row in rows.items():
        assert row["status"] == "measured", row
        assert row["median_ms_per_sample"] > 0
        assert row["checked"] is (None if name == "torch ANN (one pass)" else True)


def test_a_changed_count_fails_and_has_no_time(quick: Any, tmp_path: Path) -> None:
    count = tiny_count()
    path = changed(tmp_path, f"{COUNT}{count}\n", f"{COUNT}{count + 1}\n")
    code, out, err = quick("--scenarios", path, "--only", "none", "--json")
    assert code == 1
    wanted = f"tiny: rate 0.1, T 4, batch 4 has {count} spikes, expected {count + 1}"
    assert f"bench: {wanted}" in err
    found = json.loads(out)
    assert found["wrong"] == [wanted]
    assert [row["median_ms_per_sample"] for row in found["rows"]] == [None]


def test_a_missing_count_fails_and_is_written_by_record(quick: Any, tmp_path: Path) -> None:
    count = tiny_count()
    path = changed(tmp_path, f"{COUNT}{count}\n", "")
    code, _, err = quick("--scenarios", path, "--only", "none")
    assert code == 1
    assert f"has no expected spikes, expected {count}" in err
    code, _, err = quick("--scenarios", path, "--only", "none", "--record")
    assert code == 0, err
    # What is new stands last.
    now, before = (sorted(p.read_text(encoding="utf-8").splitlines()) for p in (path, SCENARIOS))
    assert now == before


def test_a_wrong_engine_fails(quick: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """snnTorch with another threshold: other spikes."""
    import snntorch

    libraries = importlib.import_module("snn_libraries")

    def neuron(self: object) -> object:
        return snntorch.Leaky(beta=1.0, threshold=0.75, init_hidden=True)

    monkeypatch.setattr(libraries.SnnTorch, "neuron", neuron)
    code, out, err = quick("--only", "snntorch", "--json")
    assert code == 1
    rows = {row["engine"]: row for row in json.loads(out)["rows"]}
    assert rows["snntorch"]["status"] == "wrong"
    assert rows["snntorch"]["median_ms_per_sample"] is None
    assert "tiny: snntorch is wrong on rate 0.1" in err


def test_what_is_absent_or_too_large_is_named(quick: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = importlib.import_module("snn_libraries")
    monkeypatch.setattr(libraries.Sinabs, "package", "no_such_library")
    large = classmethod(lambda cls, row: 9 * 2**30)
    monkeypatch.setattr(libraries.Norse, "bytes_needed", large)
    code, out, err = quick("--only", "sinabs", "--only", "norse")
    assert code == 0, err
    assert "sinabs squeeze: not installed: no_such_library (tiny batch 4)" in out
    assert "norse (reset to 0): skipped: needs 9.0 GiB, more than 8" in out


def test_the_verb_lists_without_measuring_and_passes_its_options() -> None:
    done = verb("--list")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()][:2] == ["vgg16", "resnet18"]
    done = verb("nothing", "--json", "--batch", 2)
    assert done.returncode == 2
    assert done.stderr.startswith("bench: nothing is unknown, expected one of vgg16")
    done = verb("tiny", "--threads", 0)
    assert done.returncode == 2
    assert "--threads is [0], expected at least 1" in done.stderr


def test_outside_a_checkout_the_verb_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.spikesim, "__file__", os.fspath(tmp_path / "spikesim/__init__.py"))
    with pytest.raises(InputError, match=r"bench/run\.py is not here, expected a checkout"):
        cli.script()
