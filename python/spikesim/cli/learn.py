"""``spikesim learn MODEL DATA``: learning from spikes, without gradients."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from spikesim.cli.output import Json, print_facts, print_json, steps
from spikesim.errors import InputError, ShapeError, UnsupportedError

if TYPE_CHECKING:
    from spikesim.data import Dataset
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

#: Of a `.npz`, one sample in this many is held out.
HELD_OUT = 6


def learn(
    kind: Annotated[str, typer.Argument(metavar="MODEL", help="diehl-cook.")],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A data set's name, or a .npz with x and y.")
    ],
    neurons: Annotated[int, typer.Option(help="Number of excitatory neurons.")] = 400,
    epochs: Annotated[
        int | None, typer.Option(help="Times that the samples are seen; default: 1, digits 3.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights and spikes.")] = 0,
    model: Annotated[str, typer.Option(help="Kind of inhibition: wta or current.")] = "wta",
    readout: Annotated[str, typer.Option(help="all, proportion or ngram.")] = "all",
    train_samples: Annotated[
        int | None, typer.Option(help="Learn from the first samples alone; default: all.")
    ] = None,
    test_samples: Annotated[
        int | None, typer.Option(help="Test on the first samples alone; default: all.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Of labelling and testing; default: all cores.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Save what was learned; with Ctrl-C, what was learned until then."),
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on from a file that --out wrote.")] = None,
    progress: Annotated[bool, typer.Option(help="Show a bar where stderr is a terminal.")] = True,
    json: Json = False,
) -> None:
    """Learn from a data set by STDP and winner-take-all, and test on what was held out."""
    import spikesim as ss

    if kind != "diehl-cook":
        raise UnsupportedError(f"learn: MODEL {kind!r} is not supported, expected diehl-cook")
    if out is not None:
        _writable(out)
    train, test = _samples(data, train_samples, test_samples)
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
    clock = time.perf_counter()
    _fit(network, train.x, out, resume is not None, progress)
    seconds = time.perf_counter() - clock
    network.assign(train.x, _labels(train))
    labelled = time.perf_counter() - clock
    accuracy = network.score(test.x, _labels(test))
    tested = time.perf_counter() - clock
    if out is not None:
        network.save(out)
    report = _report(network, accuracy, seconds)
    report |= {
        "data": data,
        "label_seconds": labelled - seconds,
        "test_seconds": tested - labelled,
        "test_samples": len(test.x),
        "out": None if out is None else str(out),
    }
    if json:
        print_json(report)
    else:
        _show(report)


def _fit(network: DiehlCook, x: Any, out: Path | None, resume: bool, progress: bool) -> None:
    total = len(x) * network.epochs
    shown = network.samples_seen_ if resume else 0
    before = shown
    with steps(total if progress else 0, "learning") as bar:
        if progress:
            bar.advance(shown)

        def tell(done: int, todo: int) -> None:
            nonlocal shown
            bar.advance(before + done - shown)
            shown = before + done

        try:
            network.fit(x, progress=tell if progress else False, resume=resume)
        except KeyboardInterrupt:
            if out is not None:
                network.save(out)
            raise typer.Abort from None


def _report(network: DiehlCook, accuracy: float, seconds: float) -> dict[str, Any]:
    """Sums while learning, and means of a sample."""
    counts, samples = network.counts_, network.samples_seen_
    return {
        "model": f"diehl-cook {network.model}",
        "accuracy": accuracy,
        "seconds": seconds,
        "samples": samples,
        "seed": network.seed,
        "spikes": counts["spikes"] / samples,
        "synops": counts["synops"] / samples,
        "weight_updates": counts["weight_updates"] / samples,
        "input_spikes": counts["input_spikes"] / samples,
        "presentations": counts["presentations"] / samples,
        "neurons": network.n_neurons,
        "unlabelled": int((network.labels_ < 0).sum()),
        "epochs": network.epochs,
        "readout": network.readout,
        "us_per_sample": seconds / samples * 1e6,
    }


def _samples(data: str, train: int | None, test: int | None) -> tuple[Dataset, Dataset]:
    """Samples to learn from and to test on."""
    import spikesim as ss

    if data.endswith(".npz"):
        whole = ss.data.load(data)
        if whole.layout not in (None, "N"):
            raise UnsupportedError(f"learn: layout {whole.layout!r} is not supported; use N")
        labels = _labels(whole)
        held = np.arange(len(whole.x)) % HELD_OUT == HELD_OUT - 1
        both = [
            ss.data.Dataset(whole.name, whole.x[part], labels[part], "N") for part in (~held, held)
        ]
    else:
        both = [ss.data.load(data, split=split) for split in ("train", "test")]
    cut = []
    for part, n, name in zip(
        both, (train, test), ("--train-samples", "--test-samples"), strict=True
    ):
        if n is not None and not 1 <= n <= len(part.x):
            raise InputError(f"learn: {name} is {n}, expected 1 to {len(part.x)}")
        if not len(part.x):
            raise InputError(f"learn: {data} has too few samples, expected at least {HELD_OUT}")
        cut.append(ss.data.Dataset(part.name, part.x[:n], _labels(part)[:n], "N"))
    return cut[0], cut[1]


def _labels(samples: Dataset) -> Any:
    if samples.y is None:
        raise InputError(f"learn: y of {samples.name} is missing, expected labels")
    if samples.y.shape != samples.x.shape[:1]:
        raise ShapeError(
            f"learn: y of {samples.name} has shape {samples.y.shape}, expected ({len(samples.x)},)"
        )
    return samples.y


def _writable(out: Path) -> None:
    folder = out.absolute().parent
    if out.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(
            f"learn: --out {out} can't be written, expected a file in a folder that can"
        )


def _show(report: dict[str, Any]) -> None:
    print_facts(
        f"{report['model']}, {report['neurons']} neurons, on {report['data']}",
        [
            ("accuracy", f"{report['accuracy']:.2%} of {report['test_samples']} held-out samples"),
            (
                "samples",
                f"{report['samples']:,} in {report['epochs']} epochs, seed {report['seed']}",
            ),
            (
                "time",
                f"{report['seconds']:.2f} s of learning ({report['us_per_sample']:.0f} µs a "
                f"sample), {report['label_seconds']:.2f} s of labelling",
            ),
            ("spikes a sample", f"{report['spikes']:,.1f}"),
            ("synaptic operations a sample", f"{report['synops']:,.0f}"),
            ("weight updates a sample", f"{report['weight_updates']:,.0f}"),
            ("unlabelled neurons", str(report["unlabelled"])),
            *([("written", report["out"])] if report["out"] else []),
        ],
    )
