"""A bar on stderr for what takes long: calibration, evaluation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

Tell = Callable[[int, int], None]
Progress = bool | Callable[[str, int, int], None]


class Stages(AbstractContextManager["Stages"]):
    """Named stages of a long task, each with what is done of it.

    Args:
        progress: True: a bar on stderr; a function: called with (stage, done, in all).
    """

    def __init__(self, progress: Progress) -> None:
        self._tell = progress if callable(progress) else None
        self._rich: Any = None
        self._tasks: dict[str, Any] = {}
        if progress is True:
            from rich.console import Console
            from rich.progress import Progress as Rich

            self._rich = Rich(console=Console(stderr=True), transient=True)

    def __enter__(self) -> Stages:
        if self._rich is not None:
            self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._rich is not None:
            self._rich.stop()

    def stage(self, name: str) -> Tell:
        """What is told of the stage `name`."""

        def tell(done: int, total: int) -> None:
            if self._tell is not None:
                self._tell(name, done, total)
            if self._rich is not None:
                if name not in self._tasks:
                    self._tasks[name] = self._rich.add_task(name, total=total)
                self._rich.update(self._tasks[name], completed=done, total=total)

        return tell
