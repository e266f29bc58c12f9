"""The other simulators of bench/learn_speed.py: processes that take turns with this one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


class Worker:
    """A rival in its own interpreter: one request a line, one answer a line.

    It inherits this process's CPUs, so nothing else runs while it does.
    """

    def __init__(self, name: str, python: str, script: str, *args: str, threads: int = 1) -> None:
        self.name = name
        env = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [python, str(HERE / script), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**_environment(), **env},
        )
        self.versions: dict[str, str] = self._answer()["versions"]

    def ask(self, **request: Any) -> dict[str, Any]:
        pipe = self.process.stdin
        if pipe is None:
            raise RuntimeError(f"{self.name}: no pipe")
        pipe.write(json.dumps(request) + "\n")
        pipe.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        pipe = self.process.stdout
        for line in pipe or ():
            if line.startswith("{"):
                return dict(json.loads(line))
        raise RuntimeError(f"{self.name}: ended without an answer (code {self.process.wait()})")

    def close(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait(timeout=60)


def _environment() -> dict[str, str]:
    import os

    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}


def start(name: str, python: str | None, script: str, *args: str, threads: int = 1) -> Worker | str:
    """The worker, or one line that says why there is none."""
    if python is None:
        return f"{name}: skipped, no interpreter was given"
    try:
        return Worker(name, python, script, *args, threads=threads)
    except (OSError, RuntimeError) as error:
        return f"{name}: skipped, {error}"
