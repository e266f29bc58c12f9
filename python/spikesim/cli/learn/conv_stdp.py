"""``spikesim learn conv-stdp DATA``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from spikesim.cli.learn.common import (
    Data,
    Out,
    Plot,
    Resume,
    Seed,
    ShowProgress,
    TestSamples,
    Threads,
    TrainSamples,
    check_targets,
    finish,
    kept,
    labels,
    learned,
    samples,
    timed,
)
from spikesim.cli.output import Json

#: Kernel, radius and threshold of the layer, window and stride of the pool, C of the read-out.
SETTINGS: dict[str, dict[str, Any]] = {
    "": {"kernel": 5, "radius": 2, "threshold": 10.0, "pool": (4, 2), "C": 0.01},
    "digits": {"kernel": 3, "radius": 1, "threshold": 4.0, "pool": (2, 1), "C": 0.01},
}


def conv_stdp(
    data: Data,
    maps: Annotated[int, typer.Option(help="Feature maps of the layer.")] = 64,
    images: Annotated[int, typer.Option(help="Images from which the layer learns.")] = 4000,
    c: Annotated[float | None, typer.Option("--c", help="C of the read-out's LinearSVC.")] = None,
    seed: Seed = 0,
    train_samples: TrainSamples = None,
    test_samples: TestSamples = None,
    threads: Threads = None,
    out: Out = None,
    resume: Resume = None,
    plot: Plot = None,
    progress: ShowProgress = True,
    json: Json = False,
) -> None:
    """A convolution that learns by STDP and k winners, pooled, with a linear read-out."""
    import spikesim as ss

    check_targets(out, plot)
    train, test = samples(data, train_samples, test_samples)
    chosen = SETTINGS.get(data, SETTINGS[""])
    kernel, (window, stride) = chosen["kernel"], chosen["pool"]
    layer = ss.learn.STDPConv(
        maps,
        kernel,
        chosen["threshold"],
        k=5,
        radius=chosen["radius"],
        padding=kernel // 2,
        lateral=True,
        n_images=images,
    )
    network = ss.learn.ConvSTDP(
        [layer, ss.learn.LatencyPool(window, stride=stride)],
        C=chosen["C"] if c is None else c,
        seed=seed,
        warm_start=True,
        threads=threads,
    )
    if resume is not None:
        network.resume(resume)
    before = 0 if resume is None else network.seen_[0]
    with kept(network, out):
        seconds = learned(
            lambda tell: network.fit(train.x, progress=tell), images, before, progress
        )
        _, readout_seconds = timed(lambda: network.fit_readout(train.x, labels(train)))
        accuracy, test_seconds = timed(lambda: network.score(test.x, labels(test)))
    report = {
        "model": "conv-stdp",
        "accuracy": accuracy,
        "seconds": seconds,
        "samples": network.seen_[0],
        "seed": seed,
        "maps": maps,
        "convergence": network.convergence(0),
        "features": int(network.readout_.coef.shape[1]),
        "data": data,
        "train_samples": len(train.x),
        "readout_seconds": readout_seconds,
        "test_seconds": test_seconds,
        "test_samples": len(test.x),
    }
    facts = [
        ("images", f"{network.seen_[0]:,} for the layer, {len(train.x):,} for the read-out"),
        ("time", f"{seconds:.2f} s of learning, {readout_seconds:.2f} s of the read-out"),
        ("convergence index", f"{report['convergence']:.4f}"),
        ("features an image", f"{report['features']:,}"),
    ]
    finish(
        network,
        report,
        facts,
        title=f"conv-stdp, {maps} maps",
        out=out,
        plot=plot,
        picture=lambda: ss.plot.fields(network.weights_[0]),
        json=json,
    )
