"""``spikesim learn sem DATA``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
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
    image_of,
    kept,
    labels,
    learned,
    per_sample,
    samples,
    timed,
)
from spikesim.cli.output import Json

if TYPE_CHECKING:
    from spikesim.learn import SEM

#: Epochs where the user names none: of small data sets more.
EPOCHS = {"digits": 10}


def sem(
    data: Data,
    neurons: Annotated[int, typer.Option(help="Number of neurons.")] = 100,
    epochs: Annotated[
        int | None, typer.Option(help="Times that the samples are seen; default: 1, digits 10.")
    ] = None,
    eta: Annotated[float, typer.Option(help="Rate of the weights.")] = 0.05,
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
    """A soft winner-take-all that learns the causes of its inputs."""
    import spikesim as ss

    check_targets(out, plot)
    train, test = samples(data, train_samples, test_samples)
    model = ss.learn.SEM(
        neurons,
        eta,
        epochs=EPOCHS.get(data, 1) if epochs is None else epochs,
        seed=seed,
        threads=threads,
    )
    if resume is not None:
        model.resume(resume)
    before = 0 if resume is None else model.seen_
    total = len(train.x) * model.epochs
    with kept(model, out):
        seconds = learned(
            lambda tell: model.fit(train.x, progress=tell, resume=True), total, before, progress
        )
        _, label_seconds = timed(lambda: model.assign(train.x, labels(train)))
        accuracy, test_seconds = timed(lambda: model.score(test.x, labels(test)))
    synapses = model.weights_.shape[1]
    report = {
        "model": "sem",
        "accuracy": accuracy,
        "seconds": seconds,
        "samples": model.seen_,
        "seed": seed,
        # One neuron fires for a sample and moves all its weights; each pixel is on or off.
        "spikes": int(model.fired_.sum()) / model.seen_,
        "input_spikes": synapses // 2,
        "synops": synapses // 2 * neurons,
        "weight_updates": synapses,
        "neurons": neurons,
        "silent": int((model.fired_ == 0).sum()),
        "epochs": model.epochs,
        "us_per_sample": per_sample(seconds, model.seen_ - before),
        "data": data,
        "label_seconds": label_seconds,
        "test_seconds": test_seconds,
        "test_samples": len(test.x),
    }
    facts = [
        ("samples", f"{report['samples']:,} in {report['epochs']} epochs, seed {seed}"),
        ("time", f"{seconds:.2f} s of learning, {label_seconds:.2f} s of labelling"),
        ("weight updates a sample", f"{synapses:,}"),
        ("neurons that never fired", str(report["silent"])),
    ]
    finish(
        model,
        report,
        facts,
        title=f"sem, {neurons} neurons",
        out=out,
        plot=plot,
        picture=lambda: _picture(model, image_of(train.x)),
        json=json,
    )


def _picture(model: SEM, image: tuple[int, int]) -> Any:
    """What a neuron expects: with c = 1 a weight is the log of its input's probability."""
    import spikesim as ss

    figure = ss.plot.weights(np.exp(model.weights_[:, ::2]), image)
    figure.axes[-1].set_ylabel("probability of a pixel to be on")
    return figure
