"""``spikesim learn diehl-cook DATA``."""

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
    from spikesim.learn import DiehlCook

#: Parameters that suit a data set: small images need higher rates and larger weights.
SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {
        "x_max": 16.0,
        "max_rate": 200.0,
        "norm": 12.0,
        "theta_plus": 0.2,
        "tc_theta": None,
    }
}

#: Epochs where the user names none: of small data sets more.
EPOCHS = {"digits": 3}


def diehl_cook(
    data: Data,
    neurons: Annotated[int, typer.Option(help="Number of excitatory neurons.")] = 400,
    epochs: Annotated[
        int | None, typer.Option(help="Times that the samples are seen; default: 1, digits 3.")
    ] = None,
    seed: Seed = 0,
    model: Annotated[
        str, typer.Option(help="Kind of inhibition: wta, current or conductance.")
    ] = "wta",
    readout: Annotated[str, typer.Option(help="all, proportion or ngram.")] = "all",
    train_samples: TrainSamples = None,
    test_samples: TestSamples = None,
    threads: Threads = None,
    out: Out = None,
    resume: Resume = None,
    plot: Plot = None,
    progress: ShowProgress = True,
    json: Json = False,
) -> None:
    """Diehl and Cook's network: STDP, winner-take-all, adaptive thresholds."""
    import spikesim as ss

    check_targets(out, plot)
    train, test = samples(data, train_samples, test_samples)
    network = ss.learn.DiehlCook(
        int(np.prod(train.x.shape[1:])),
        neurons,
        model,
        seed,
        epochs=EPOCHS.get(data, 1) if epochs is None else epochs,
        readout=readout,
        threads=threads,
        **SETTINGS.get(data, {}),
    )
    if resume is not None:
        network.resume(resume)
    before = 0 if resume is None else network.samples_seen_
    with kept(network, out):
        seconds = learned(
            lambda tell: network.fit(train.x, progress=tell, resume=resume is not None),
            len(train.x) * network.epochs,
            before,
            progress,
        )
        _, label_seconds = timed(lambda: network.assign(train.x, labels(train)))
        accuracy, test_seconds = timed(lambda: network.score(test.x, labels(test)))
    report = _report(network, accuracy, seconds) | {
        "us_per_sample": per_sample(seconds, network.samples_seen_ - before),
        "data": data,
        "label_seconds": label_seconds,
        "test_seconds": test_seconds,
        "test_samples": len(test.x),
    }
    finish(
        network,
        report,
        _facts(report),
        title=f"{report['model']}, {neurons} neurons",
        out=out,
        plot=plot,
        picture=lambda: ss.plot.weights(network.weights_, image_of(train.x)),
        json=json,
    )


def _report(network: DiehlCook, accuracy: float, seconds: float) -> dict[str, Any]:
    """Sums while learning, and means of a sample."""
    counts, seen = network.counts_, network.samples_seen_
    return {
        "model": f"diehl-cook {network.model}",
        "accuracy": accuracy,
        "seconds": seconds,
        "samples": seen,
        "seed": network.seed,
        "spikes": counts["spikes"] / seen,
        "synops": counts["synops"] / seen,
        "weight_updates": counts["weight_updates"] / seen,
        "input_spikes": counts["input_spikes"] / seen,
        "presentations": counts["presentations"] / seen,
        "neurons": network.n_neurons,
        "unlabelled": int((network.labels_ < 0).sum()),
        "epochs": network.epochs,
        "readout": network.readout,
    }


def _facts(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("samples", f"{report['samples']:,} in {report['epochs']} epochs, seed {report['seed']}"),
        (
            "time",
            f"{report['seconds']:.2f} s of learning ({report['us_per_sample']:.0f} µs a "
            f"sample), {report['label_seconds']:.2f} s of labelling",
        ),
        ("spikes a sample", f"{report['spikes']:,.1f}"),
        ("synaptic operations a sample", f"{report['synops']:,.0f}"),
        ("weight updates a sample", f"{report['weight_updates']:,.0f}"),
        ("unlabelled neurons", str(report["unlabelled"])),
    ]
