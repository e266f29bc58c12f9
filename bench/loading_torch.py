"""How long reading VGG-16 from torch takes, and the peak of memory while it does.

    python bench/loading_torch.py [--cifar] [--repeat 5]

Each model is read in a process of its own, with torch's weights in place before the clock starts
and the high-water mark of memory is set back (Linux). Prints one JSON object a model: `weights`
(MiB, as float32), `seconds` (median of the repeats), `cpu` (the same of the process alone, for a
busy machine), `peak` (MiB above what was there before
loading), `in_all` ((weights + peak) / weights: torch's weights are there too).
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from memory import MIB, status


def child(image_size: int, num_classes: int, repeat: int) -> None:
    """Reads one model and prints what that took."""
    import torch

    import spikesim as ss

    torch.set_num_threads(1)
    model = ss.models.vgg16(num_classes, image_size=image_size)
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / MIB
    shape = (3, image_size, image_size)
    ss.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 2)), (2,))  # what is imported on first use
    gc.collect()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    seconds, busy = [], []
    peak = 0.0
    for number in range(repeat):
        start, cpu = time.perf_counter(), time.process_time()
        net = ss.from_torch(model, shape)
        seconds.append(time.perf_counter() - start)
        busy.append(time.process_time() - cpu)
        if number == 0:
            peak = status("VmHWM") - before
        del net
    found = {
        "model": f"vgg16 3x{image_size}x{image_size}, {num_classes} classes",
        "weights": round(weights, 1),
        "seconds": round(statistics.median(seconds), 3),
        "cpu": round(statistics.median(busy), 3),
        "peak": round(peak, 1),
        "in_all": round((weights + peak) / weights, 2),
    }
    print(json.dumps(found))


def main() -> None:
    """Runs each model in a child process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--cifar", action="store_true", help="only the model for 32x32 images")
    parser.add_argument("--child", nargs=2, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(*given.child, given.repeat)
        return
    for model in [(32, 10)] if given.cifar else [(32, 10), (224, 1000)]:
        numbers = [str(number) for number in model]
        command = [sys.executable, __file__, "--repeat", str(given.repeat), "--child", *numbers]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
