"""How long a model takes to load, and how much memory beside its weights.

    python bench/loading.py [--model FILE]

saves VGG-16 as a bundle and as NIR (or takes FILE), loads each in processes of their own, and
prints for each: median of five in milliseconds, the weights in MiB as float32, and the peak of
memory while loading, above the process before it, as a multiple of the weights.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from memory import MIB, status

REPEATS = 5


def main() -> None:
    """Prints the table."""
    if len(sys.argv) > 2 and sys.argv[1] == "--child":
        child(sys.argv[2])
        return
    with tempfile.TemporaryDirectory() as folder:
        given = sys.argv[2:] if sys.argv[1:2] == ["--model"] else saved(Path(folder))
        print(f"{'file':<16} {'ms':>8} {'weights MiB':>12} {'peak/weights':>13}")
        for path in given:
            row = measure(path)
            print(
                f"{Path(path).name:<16} {row['ms']:>8.0f} {row['weights']:>12.1f} "
                f"{row['peak'] / row['weights']:>13.2f}"
            )


def saved(folder: Path) -> list[str]:
    """VGG-16 in every format."""
    import spikesim as ss

    net = ss.from_torch(ss.models.vgg16(), input_shape=(3, 32, 32))
    paths = [str(folder / f"vgg16{extension}") for extension in (".spikesim", ".nir")]
    for path in paths:
        net.save(path)
    return paths


def measure(path: str) -> dict[str, float]:
    """The median time of several processes, the largest peak."""
    command = [sys.executable, __file__, "--child", path]
    rows = [
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(REPEATS)
    ]
    return {
        "ms": statistics.median(row["ms"] for row in rows),
        "weights": rows[0]["weights"],
        "peak": max(row["peak"] for row in rows),
    }


def child(path: str) -> None:
    """Loads once."""
    import spikesim as ss

    if path.endswith(".nir"):
        import h5py  # noqa: F401  # a library's import is no part of loading a file

        ss.NirOptions()
    # From here on the high-water mark counts anew.
    Path("/proc/self/clear_refs").write_text("5")
    base = status("VmRSS")
    before, cpu = time.perf_counter(), time.process_time()
    net = ss.load(path)
    seconds, cpu = time.perf_counter() - before, time.process_time() - cpu
    values = sum(node.parameters for node in net.nodes)
    print(
        json.dumps(
            {
                "ms": 1000 * seconds,
                "cpu_ms": 1000 * cpu,
                "weights": values * 4 / MIB,
                "peak": status("VmHWM") - base,
            }
        )
    )


if __name__ == "__main__":
    main()
