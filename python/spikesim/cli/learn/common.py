"""What the models of ``spikesim learn`` have in common: samples, options, files, the bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from spikesim.cli.output import check_writable, print_facts, print_json, steps
from spikesim.errors import InputError, NotFittedError, ShapeError, UnsupportedError

if TYPE_CHECKING:
    from spikesim.data import Dataset
    from spikesim.learn._estimator import Estimator

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A data set's name, or a .npz with x and y.")
]
Seed = Annotated[int, typer.Option(help="Of weights and spikes.")]
TrainSamples = Annotated[
    int | None, typer.Option(help="Learn from the first samples alone; default: all.")
]
TestSamples = Annotated[
    int | None, typer.Option(help="Test on the first samples alone; default: all.")
]
Threads = Annotated[int | None, typer.Option(help="Of labelling and testing; default: all cores.")]
Out = Annotated[
    Path | None,
    typer.Option(help="Save what was learned; with Ctrl-C, what was learned until then."),
]
Resume = Annotated[Path | None, typer.Option(help="Go on from a file that --out wrote.")]
Plot = Annotated[
    Path | None,
    typer.Option(help="Draw what was learned: a .png, .svg or .pdf; needs spikesim[plot]."),
]
ShowProgress = Annotated[bool, typer.Option(help="Show a bar where stderr is a terminal.")]

#: Of a `.npz`, one sample in this many is held out.
HELD_OUT = 6


def check_targets(out: Path | None, plot: Path | None) -> None:
    """Refuses what can't be written, before the long work begins."""
    if out is not None:
        check_writable("learn", "--out", out)
    if plot is None:
        return
    check_writable("learn", "--plot", plot)
    import spikesim as ss

    ss.plot.check_kind(plot)
    ss.plot.weights([[0.0]], (1, 1))  # the error of a missing library, now


def samples(data: str, train: int | None, test: int | None) -> tuple[Dataset, Dataset]:
    """Samples to learn from and to test on."""
    import spikesim as ss

    if data.endswith(".npz"):
        whole = ss.data.load(data)
        if whole.layout not in (None, "N"):
            raise UnsupportedError(f"learn: layout {whole.layout!r} is not supported; use N")
        y = labels(whole)
        held = np.arange(len(whole.x)) % HELD_OUT == HELD_OUT - 1
        both = [ss.data.Dataset(whole.name, whole.x[part], y[part], "N") for part in (~held, held)]
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
        cut.append(ss.data.Dataset(part.name, part.x[:n], labels(part)[:n], "N"))
    return cut[0], cut[1]


def labels(samples: Dataset) -> Any:
    """The labels of samples, one each."""
    if samples.y is None:
        raise InputError(f"learn: y of {samples.name} is missing, expected labels")
    if samples.y.shape != samples.x.shape[:1]:
        raise ShapeError(
            f"learn: y of {samples.name} has shape {samples.y.shape}, expected ({len(samples.x)},)"
        )
    return samples.y


def image_of(x: Any) -> tuple[int, int]:
    """(rows, columns) of a sample: channels one below the other, a vector in one row."""
    shape = x.shape[1:]
    columns = int(shape[-1])
    return int(np.prod(shape)) // columns, columns


@contextmanager
def kept(model: Estimator, out: Path | None) -> Iterator[None]:
    """With Ctrl-C, what was learned until then is in `out`."""
    try:
        yield
    except KeyboardInterrupt:
        if out is not None:
            with suppress(NotFittedError):  # not even begun: there is nothing to keep
                model.save(out)
        raise typer.Abort from None


def learned(learn: Callable[[Any], object], total: int, before: int, progress: bool) -> float:
    """Seconds of learning, under a bar of `total` samples of which `before` are done."""
    shown = before
    with steps(total if progress else 0, "learning") as bar:
        if progress:
            bar.advance(before)

        def tell(done: int, todo: int) -> None:
            nonlocal shown
            bar.advance(before + done - shown)
            shown = before + done

        begin = time.perf_counter()
        learn(tell if progress else False)
        return time.perf_counter() - begin


def per_sample(seconds: float, samples: int) -> float:
    """Microseconds a sample that was learned from; 0 without any, as a finished run goes on."""
    return seconds / samples * 1e6 if samples else 0.0


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the seconds that it took."""
    begin = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begin


def finish(
    model: Estimator,
    report: dict[str, Any],
    facts: list[tuple[str, str]],
    *,
    title: str,
    out: Path | None,
    plot: Path | None,
    picture: Callable[[], Any],
    json: bool,
) -> None:
    """Writes the files and prints the report."""
    import spikesim as ss

    if out is not None:
        model.save(out)
    if plot is not None:
        ss.plot.save(picture(), plot)
    report |= {
        "out": None if out is None else str(out),
        "plot": None if plot is None else str(plot),
    }
    if json:
        print_json(report)
        return
    accuracy = f"{report['accuracy']:.2%} of {report['test_samples']} held-out samples"
    written = ", ".join(str(path) for path in (out, plot) if path is not None)
    print_facts(
        f"{title}, on {report['data']}",
        [("accuracy", accuracy), *facts, *([("written", written)] if written else [])],
    )
