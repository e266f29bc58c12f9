"""Where the recorded cases and data sets are, and how hard hypothesis tries.

`SPIKESIM_CASES` and `SPIKESIM_DATA` name the folders; without them they are looked for beside the
project. Tests that need what is not there are skipped and say so.
`SPIKESIM_HYPOTHESIS=deep` draws many more examples.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
CASES = Path(os.environ.get("SPIKESIM_CASES", ROOT.parent / "shared" / "cases"))
DATA = Path(os.environ.get("SPIKESIM_DATA", ROOT.parent / "shared" / "data"))

_COMMON = {
    "deadline": None,  # the first run of torch takes long, others share the machine
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("ci", max_examples=40, **_COMMON)
settings.register_profile("deep", max_examples=2000, **_COMMON)
settings.load_profile(os.environ.get("SPIKESIM_HYPOTHESIS", "ci"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `data` are skipped where the data is not."""
    if DATA.is_dir():
        return
    skip = pytest.mark.skip(reason=f"no data at {DATA}; set SPIKESIM_DATA")
    for item in items:
        if item.get_closest_marker("data"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def root_dir() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture(scope="session")
def cases_dir() -> Path:
    """The networks recorded from other libraries."""
    if not CASES.is_dir():
        pytest.skip(f"no recorded cases at {CASES}; set SPIKESIM_CASES")
    return CASES


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The data sets."""
    if not DATA.is_dir():
        pytest.skip(f"no data at {DATA}; set SPIKESIM_DATA")
    return DATA


@pytest.fixture(params=["reference", "engine"])
def run(request: pytest.FixtureRequest) -> Any:
    """`run(net)` gives something that runs it: by the reference and by the engine."""
    import engines

    return {"reference": engines.Reference, "engine": engines.Engine}[request.param]
