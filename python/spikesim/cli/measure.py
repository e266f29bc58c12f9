"""Timing: the median of repeated runs, after one that warms up."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def median_seconds(work: Callable[[], object], repeats: int, at_most: float) -> float:
    """Median wall time of ``work``: ``repeats`` runs, fewer once ``at_most`` seconds are spent."""
    work()
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < repeats and (not times or time.perf_counter() - start < at_most):
        before = time.perf_counter()
        work()
        times.append(time.perf_counter() - before)
    return statistics.median(times)
