"""What Spyker does in bench/learn_conv.py; run by its own interpreter (numpy, spyker).

Its two-layer MNIST network in its event-driven ("sparse") form, batches of 64, on images and
weights of a file; writes weights, features and seconds to another.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import spyker
from spyker import sparse

THRESHOLDS = (10.0, 1.0)
BATCH = 64


def layers(weights: tuple[Any, Any]) -> tuple[Any, Any]:
    made = (spyker.Conv(2, 32, 5, pad=2), spyker.Conv(32, 150, 2, pad=1))
    for conv, weight in zip(made, weights, strict=True):
        conv.stdpconfig = [spyker.STDPConfig(0.004, -0.003)]
        spyker.to_tensor(weight).to(conv.kernel)
    return made


def main(source: str, target: str) -> None:
    given = np.load(source)
    images = given["images"][:, None]
    spyker.set_max_threads(1)
    dog = spyker.DoG(3, [spyker.DoGFilter(1, 2), spyker.DoGFilter(2, 1)], pad=3)
    batches = [images[k : k + BATCH] for k in range(0, len(images), BATCH)]

    def coded(batch: Any) -> Any:
        return sparse.code(spyker.threshold(dog(batch), 0.01), 15)

    def first(conv: Any) -> None:
        for batch in batches:
            spikes = coded(batch)
            output = sparse.inhibit(conv(spikes, THRESHOLDS[0]))
            conv.stdp(spikes, sparse.convwta(output, 2, 5))

    def second(one: Any, two: Any) -> None:
        for batch in batches:
            spikes = sparse.pool(one(coded(batch), THRESHOLDS[0]), 2, pad=1)
            output = sparse.inhibit(two(sparse.inhibit(spikes), THRESHOLDS[1]))
            two.stdp(spikes, sparse.convwta(output, 1, 8))

    def features(one: Any, two: Any) -> Any:
        rows = []
        for batch in batches:
            spikes = sparse.pool(one(coded(batch), THRESHOLDS[0]), 2, pad=1)
            spikes = sparse.pool(two(spikes, THRESHOLDS[1]), 2, pad=1)
            rows.append(spyker.to_numpy(sparse.gather(spikes)) != 15)
        return np.concatenate(rows).reshape(len(images), -1)

    seconds: dict[str, float] = {}
    for _ in range(int(given["repeats"])):
        one, two = layers((given["weight1"], given["weight2"]))
        steps: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
            ("first", first, (one,)),
            ("second", second, (one, two)),
            ("features", features, (one, two)),
        )
        for name, work, of in steps:
            begin = time.process_time()
            work(*of)
            spent = time.process_time() - begin
            seconds[name] = min(spent, seconds.get(name, spent))
    # For the check: features with the weights as given.
    one, two = layers((given["weight1"], given["weight2"]))
    checked = features(one, two)
    np.savez(target, checked=checked, **seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
