"""A network put together from the parts learns digits without labels: the whole of it at work."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import spikesim as ss
from spikesim import learn

STEPS, NEURONS, TRAINED = 50, 100, 1437
INHIBITION = [learn.HardWTA(), learn.LateralInhibition(8.0)]


def test_digits_without_labels() -> None:
    """One winner a step, traces set to 1, normalised weights, thresholds that adapt. Labels come
    from training data only. With the signs of the rule turned, a fifth of the neurons dies."""
    rng = np.random.default_rng(0)
    images, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(images))
    images, labels = images[order] / 16, labels[order]
    net = ss.Network((64,))
    net.add(ss.Linear(rng.uniform(0, 0.3, (NEURONS, 64))), name="fc")
    neuron = ss.LIF(v_threshold=4.0, alpha_mem=0.98, reset="to_value", refractory=2)
    net.add(neuron, name="out")
    rule = learn.PairSTDP(0.02, 0.0, nearest=True, normalise=learn.Normalise(8.0))
    adapt = {"out": learn.AdaptiveThreshold(0.05)}
    learner = learn.Learner(net, {"fc": rule}, {"out": INHIBITION}, adapt)

    def spikes(of: np.ndarray) -> np.ndarray:
        return rng.random((STEPS, *of.shape)) < of / 4

    for _ in range(2):
        learner.run(spikes(images[:TRAINED]))
    frozen = learn.Learner(learner.network(), wta={"out": INHIBITION})

    def responses(of: np.ndarray) -> np.ndarray:
        return frozen.run(spikes(of), record="spikes").spikes["out"].to_dense().sum(axis=0)

    seen, y = responses(images[:TRAINED]), labels[:TRAINED]
    assigned = np.stack([seen[y == k].mean(axis=0) for k in range(10)]).argmax(axis=0)
    assert (seen.sum(axis=0) > 0).mean() > 0.95, "dead neurons"
    assert set(assigned) == set(range(10))
    unseen = responses(images[TRAINED:])
    votes = np.stack([unseen[:, assigned == k].mean(axis=1) for k in range(10)], axis=1)
    assert (votes.argmax(axis=1) == labels[TRAINED:]).mean() > 0.78
