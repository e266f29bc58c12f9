"""from_torch takes the weights once: no copy in another type, no copy in between."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

CODE = """
import gc, pathlib, torch, spikesim as ss

def status(field):
    text = pathlib.Path("/proc/self/status").read_text()
    return int(text.split(field + ":")[1].split()[0]) / 1024

model = torch.nn.Sequential(torch.nn.Linear(4096, 4096), ss.train.IF())
ss.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 2), ss.train.IF()), (2,))
gc.collect()
before = status("VmRSS")
pathlib.Path("/proc/self/clear_refs").write_text("5")
net = ss.from_torch(model, (4096,))
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_loading_takes_the_weights_once():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    weights = 4096 * 4096 * 4 / 2**20
    # Beside torch's own: in all at most 2.5 times the weights.
    assert 0.9 * weights < float(done.stdout) <= 1.5 * weights
