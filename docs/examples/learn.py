"""Digits without labels: learn, score, stop and go on, look at what was learned.

    python docs/examples/learn.py [FOLDER]

Diehl and Cook's network on the 8x8 digits that come with spikesim: nothing is downloaded, and a
second is enough. FOLDER (default: the current one) gets model.spikesim-learn and fields.png.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import spikesim as ss


def network() -> ss.learn.DiehlCook:
    return ss.learn.DiehlCook(
        n_inputs=64,
        n_neurons=100,
        epochs=3,
        seed=0,
        x_max=16.0,  # the digits' pixels are 0 to 16,
        max_rate=200.0,  # and so few that they have to spike often
        norm=12.0,
        theta_plus=0.2,
        tc_theta=None,
    )


def main(folder: Path) -> None:
    train, test = ss.data.load("digits", split="train"), ss.data.load("digits")

    # Labels only name what the neurons have learned.
    whole = network().fit(train.x, train.y)
    print(f"accuracy on {len(test.x)} digits never seen: {whole.score(test.x, test.y):.1%}")

    # The same in two parts, with a file between them, comes to the same bits.
    file = folder / "model.spikesim-learn"
    network().partial_fit(train.x[:1000], total=3 * len(train.x)).save(file)
    resumed = network().resume(file).fit(train.x, train.y, resume=True)
    print(f"resumed after 1,000 digits, equal: {np.array_equal(resumed.weights_, whole.weights_)}")
    whole.save(file)

    # A file holds the labels too.
    loaded = ss.learn.DiehlCook.load(file)
    figure = ss.plot.weights(loaded.weights_, (8, 8), labels=list(loaded.labels_))
    ss.plot.save(figure, folder / "fields.png")
    print("the weights of each neuron, and its class: fields.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
