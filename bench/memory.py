"""Peak memory of a run beyond the caller's network, measured in a process of its own.

    python bench/memory.py NETWORK.spikesim INPUT.npy N_STEPS THREADS PRECISION

prints a JSON object in MiB: `network` (what loading it took), `run` (the peak of compiling and
running above that), `weights` (the parameters as float32).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MIB = 1024 * 1024


def measure(
    net: Any, x: Any, n_steps: int, threads: int, precision: str = "f32"
) -> dict[str, float] | None:
    """Runs `main` in a child process; None where the system has no /proc."""
    import numpy as np

    if not Path("/proc/self/clear_refs").exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        bundle, data = Path(folder, "net.spikesim"), Path(folder, "x.npy")
        net.save(bundle)
        np.save(data, x)
        given = [str(bundle), str(data), str(n_steps), str(threads), precision]
        command = [sys.executable, __file__, *given]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def status(field: str) -> float:
    """A field of /proc/self/status, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / MIB
    raise OSError(f"/proc/self/status has no {field}")


def main() -> None:
    """The child."""
    import dataclasses

    import numpy as np

    import spikesim as ss

    bundle, data, n_steps, threads, precision = sys.argv[1:]
    x = np.load(data)
    before = status("VmRSS")
    net = ss.load(bundle)
    loaded = status("VmRSS")
    # From here on the high-water mark counts anew.
    Path("/proc/self/clear_refs").write_text("5")
    net.compile(precision, threads=int(threads)).run(x, n_steps=int(n_steps))
    peak = status("VmHWM")
    weights = sum(
        getattr(node.op, field.name).nbytes
        for node in net.nodes
        if dataclasses.is_dataclass(node.op)
        for field in dataclasses.fields(node.op)
        if isinstance(getattr(node.op, field.name), np.ndarray)
    )
    found = {"network": loaded - before, "run": peak - loaded, "weights": weights / MIB}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
