"""Small STDP networks against Brian2's own simulation of them (recorded, see
make_stdp_oracle.py): the same spikes, the same weights within float32's rounding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikesim as ss
from spikesim import learn

ORACLE: dict[str, Any] = json.loads(
    Path(__file__).with_name("stdp_oracle.json").read_text(encoding="utf-8")
)


def rule_of(name: str, constants: dict[str, float]) -> learn.Rule:
    if name == "triplet":
        return learn.TripletSTDP(**constants)
    return learn.PairSTDP(**constants, nearest=name == "nearest")


@pytest.mark.parametrize("name", sorted(ORACLE["cases"]))
def test_brian2_sees_the_same_spikes_and_weights(name: str) -> None:
    case = ORACLE["cases"][name]
    assert case["nearest_to_threshold"] > 1e-5, "spikes could differ by rounding alone"
    net = ss.Network((ORACLE["inputs"],))
    net.add(ss.Linear(case["weights"]), name="fc")
    alpha = np.exp(-1 / case["tau_m"])
    neuron = ss.LIF(v_threshold=case["threshold"], alpha_mem=alpha, reset="to_value")
    net.add(neuron, name="out")
    x = np.zeros((ORACLE["steps"], 1, ORACLE["inputs"]), dtype=bool)
    x[case["input_steps"], 0, case["input_neurons"]] = True
    learner = learn.Learner(net, {"fc": rule_of(name, case["constants"])})
    raster = learner.run(x, record="spikes").spikes["out"]
    assert raster.step.tolist() == case["output_steps"]
    assert raster.neuron.tolist() == case["output_neurons"]
    assert len(raster) > 50
    weight = learner.network().node("fc").op.weight
    np.testing.assert_allclose(weight, case["learned"], atol=1e-5)
    assert np.abs(weight - np.array(case["weights"])).max() > 0.1
