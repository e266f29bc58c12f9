"""The package as it is installed: light to import, one version, whole and small as a wheel."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import spikesim as ss
from spikesim import _core

ROOT = Path(__file__).resolve().parent.parent


def toml(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


def test_one_version() -> None:
    version = toml("Cargo.toml")["workspace"]["package"]["version"]
    assert toml("pyproject.toml")["project"]["version"] == version
    assert ss.__version__ == version
    assert _core.__version__ == version
    assert f"[{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_importing_is_cheap() -> None:
    """`import spikesim` adds less than 0.05 s to `import numpy`, the median of nine; CPU time, so
    that other work on the machine does not count."""
    code = (
        "import numpy, time; before = time.process_time(); import spikesim;"
        "print(time.process_time() - before)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
        for _ in range(9)
    ]
    assert statistics.median(times) < 0.05, times


def test_works_where_torch_is_not_installed() -> None:
    """The main job, with every import of an optional library refused."""
    code = """
import sys
for name in ("torch", "h5py", "nir", "sklearn", "matplotlib", "eventcv", "aedat", "safetensors"):
    sys.modules[name] = None
import spikesim as ss
images = ss.data.load("digits")
result = ss.load(ss.data.digits_model()).compile().run(images.x / 16, n_steps=4)
assert (result.predictions == images.y).mean() >= 0.97
for call in (
    lambda: ss.reference.run(ss.Network((1,)), images.x, n_steps=1),
    lambda: ss.from_torch(None, (1,)),
    lambda: ss.to_torch(ss.Network((1,))),
    lambda: ss.train,
    lambda: result.energy("horowitz45-fp32").plot(),
):
    try:
        call()
    except ss.errors.MissingExtraError as error:
        assert "install spikesim[" in str(error), error
    else:
        raise AssertionError("no error")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_embedded_model_is_small_and_on_the_grid() -> None:
    assert ss.data.digits_model().stat().st_size < 300_000
    net = ss.load(ss.data.digits_model())
    for node in net.nodes:
        for name in ("weight", "bias"):
            array = getattr(node.op, name, None)
            if array is not None:
                assert ((array * 256) == (array * 256).round()).all(), f"{node.name}.{name}"
    for key in ("preprocessing", "labels", "source", "n_steps", "data", "license"):
        assert key in net.meta


def test_the_lock_names_public_indexes_alone() -> None:
    urls = re.findall(r'"https?://([^/"]+)', (ROOT / "uv.lock").read_text(encoding="utf-8"))
    assert set(urls) == {"pypi.org", "files.pythonhosted.org"}


def test_the_light_install_has_no_extra() -> None:
    project = toml("pyproject.toml")
    names = {re.match(r"[\w-]+", d)[0] for d in project["project"]["dependencies"]}  # type: ignore[index]
    assert names == {"numpy", "rich", "typer"}
    assert project["tool"]["uv"]["default-groups"] == []
    assert "tonic" not in str(project["project"]["optional-dependencies"]["all"])


def test_wheel_contents() -> None:
    wheels = sorted((ROOT / "dist").glob("*.whl"), key=lambda p: p.stat().st_mtime)
    if not wheels:
        pytest.skip("no wheel in dist/; `uv build --wheel` makes one")
    assert wheels[-1].stat().st_size < 6_000_000
    with zipfile.ZipFile(wheels[-1]) as wheel:
        names = set(wheel.namelist())
    for name in (
        "spikesim/py.typed",
        "spikesim/_core.pyi",
        "spikesim/data/digits.spikesim",
        "spikesim/data/digits_test.npz",
        "spikesim/energy/profiles/horowitz45-fp32.toml",
    ):
        assert name in names
    assert any(re.fullmatch(r"spikesim/_core\.abi3\.(so|pyd)", name) for name in names)
