"""The conductance network against Brian2's own simulation of the same equations.

`tests/fixtures/conductance_brian2.npz` holds what Brian2 gave; bench/brian2_conductance.py made it.
Brian2 computes in float64 with exp, theta's decay step by step, here float32 and once a run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conductance_nets import packed
from spikesim import _core
from spikesim.learn.reference import conductance as twin

FIXTURE = Path(__file__).parent / "fixtures" / "conductance_brian2.npz"
CASES = ["small", "stdp", "large", "large_stdp"]


@pytest.fixture(scope="module")
def brian2():
    with np.load(FIXTURE) as data:
        return dict(data)


def case(brian2, name):
    get = {k.split("/")[1]: v for k, v in brian2.items() if k.startswith(f"{name}/")}
    spikes = [get["input"][get["input_step"] == t].tolist() for t in range(int(get["steps"]))]
    return get, spikes


@pytest.mark.parametrize("name", CASES)
def test_spikes_and_weights_are_brian2s(brian2, name):
    get, spikes = case(brian2, name)
    assert len(get["exc"]) >= 8, "nothing to compare"
    net = _core.Conductance(get["weights"], get["theta"], {})
    out = net.run(*packed(spikes), bool(get["learn"]), True)
    mine = {(int(t), int(j)) for t, j in out["spikes"]}
    theirs = set(zip(get["exc_step"].tolist(), get["exc"].tolist(), strict=True))
    assert mine == theirs
    assert out["inhibitory"] == len(get["inh"])
    assert np.abs(net.weights() - get["weights_after"]).max() < 2e-6
    assert np.abs(net.theta() - get["theta_after"]).max() < 1e-3
    v = net.state()[0][[0, 4]]
    assert np.abs(v - np.stack([get["exc_v"], get["inh_v"]])).max() < 5e-3
    changed = np.abs(get["weights_after"] - get["weights"]).max()
    assert changed > 1e-2 if get["learn"] else changed < 1e-7


def test_another_integration_would_be_seen(brian2, monkeypatch):
    """Forward Euler (phi = 1) is another model: the comparison tells them apart."""
    get, spikes = case(brian2, "large")
    monkeypatch.setattr(twin, "phi", np.ones_like)
    out = twin.Conductance(get["weights"], get["theta"]).run(spikes, False)
    theirs = list(zip(get["exc_step"].tolist(), get["exc"].tolist(), strict=True))
    assert sorted(out.spikes) != sorted(theirs)
