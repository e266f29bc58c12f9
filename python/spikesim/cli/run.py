"""``spikesim run MODEL DATA``: accuracy or outputs, speed, spikes and synaptic operations."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from spikesim.cli.output import Json, Nir, joules, load_model, print_facts, print_json, steps
from spikesim.errors import FormatError, InputError, ShapeError

if TYPE_CHECKING:
    from spikesim.data import Dataset, Preprocessing
    from spikesim.network import Network
    from spikesim.result import Result
    from spikesim.simulator import Simulator

#: Samples taken through the network at a time: bounds memory, and moves the progress bar.
BATCH = 256


def run(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A .spikesim bundle or a NIR file.")
    ],
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="A data set's name (digits, mnist) or a .npz file."),
    ],
    n_steps: Annotated[
        int | None, typer.Option(help="Steps for constant input; default: the model's own.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="f32, or i8: integer weights and membranes.")
    ] = "f32",
    threads: Annotated[int | None, typer.Option(help="Default: SPIKESIM_THREADS, or all.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Part of a named data set; default: test.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="Leading axes of x: N, TN or T; default: the file's own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write output and predictions to this .npz.")
    ] = None,
    energy: Annotated[
        str | None, typer.Option(help="Energy profile (horowitz45-fp32, or a .toml).")
    ] = None,
    nir: Nir = None,
    json: Json = False,
) -> None:
    """Run a model on data, with the preprocessing that the model asks for."""
    from spikesim import data as datasets
    from spikesim.energy import leaky_layers, load_profile
    from spikesim.energy import report as price

    # What can be wrong is found before the long work begins.
    if energy is not None:
        load_profile(energy)
    if out is not None:
        _writable(out)
    net = load_model(model, nir)
    samples = datasets.load(data, split)
    arranged = _layout(layout or samples.layout, samples, net)
    labels = _labels(samples, arranged)
    preprocessing = datasets.Preprocessing.of(net.meta)
    planned = _steps(n_steps, arranged, samples, net)
    sim = net.compile(precision=precision, threads=threads)
    total = _simulate(sim, net, samples, arranged, planned, preprocessing)

    n = len(total.predictions)
    report: dict[str, Any] = {
        "n": n,
        "accuracy": None if labels is None else float(np.mean(total.predictions == labels)),
        "images_per_s": n / total.seconds,
        "spikes_per_sample": total.sums["spikes"] / n,
        "synops_per_sample": total.sums["synops"] / n,
        "n_steps": planned,
        "precision": precision,
        "level": sim.level,
        "threads": sim.threads,
        "macs_per_sample": total.sums["macs"] / n,
        "neuron_updates_per_sample": total.sums["neuron_updates"] / n,
        "preprocessing": str(preprocessing),
        "out": None if out is None else str(out),
    }
    if precision == "i8":
        report["quantisation"] = _beside_f32(net, samples, arranged, planned, preprocessing)
    if energy is not None:
        spent = price(total.by_layer, energy, n, leaky_layers(net))
        report["energy"] = {**spent.to_dict(), "joules_per_sample": spent.joules_per_sample}
    if out is not None:
        arrays = {"output": total.output, "predictions": total.predictions}
        datasets.save_npz(out, arrays if labels is None else {**arrays, "y": labels})
    if json:
        print_json(report)
    else:
        _show(str(model), samples.name, report)


#: Samples on which precision i8 is held beside f32.
BESIDE = 64


def _beside_f32(
    net: Network, samples: Dataset, arranged: str, n_steps: int, preprocessing: Preprocessing
) -> dict[str, Any]:
    """What integers cost by layer, on the first samples."""
    from spikesim.quantisation import quantise

    x = preprocessing.apply(_part(samples.x, arranged, 0, BESIDE), len(net.input_shape))
    return quantise(net, x, n_steps, layout=arranged).to_dict()


def _part(x: NDArray[Any], layout: str, first: int, last: int) -> NDArray[Any]:
    """Some of the samples; where the layout is "T", one sample is all there is."""
    if layout == "T":
        return x
    return x[first:last] if layout == "N" else x[:, first:last]


@dataclass
class _Total:
    """What the batches add up to."""

    output: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    predictions: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    sums: Counter[str] = field(default_factory=Counter)
    by_layer: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, result: Result) -> None:
        for name, counts in result.counts.by_layer().items():
            self.by_layer.setdefault(name, Counter()).update(counts)
            self.sums.update(counts)


def _simulate(
    sim: Simulator,
    net: Network,
    samples: Dataset,
    layout: str,
    n_steps: int,
    preprocessing: Preprocessing,
) -> _Total:
    total = _Total()
    outputs, predictions = [], []
    n = samples.n_samples(layout)
    with steps(n, "running") as progress:
        for first in range(0, n, BATCH):
            last = min(first + BATCH, n)
            x = _part(samples.x, layout, first, last)
            before = time.perf_counter()
            x = preprocessing.apply(x, sample_ndim=len(net.input_shape))
            result = sim.run(x, n_steps=n_steps, layout=layout)
            total.seconds += time.perf_counter() - before
            total.add(result)
            outputs.append(result.output)
            predictions.append(result.predictions)
            progress.advance(last - first)
    total.output = np.concatenate(outputs)
    total.predictions = np.concatenate(predictions)
    return total


def _writable(out: Path) -> None:
    """Refuses what can't become the result's file, before anything has run."""
    folder = out.absolute().parent
    if not folder.is_dir():
        raise InputError(f"run: folder of --out {out} is not there, expected an existing folder")
    if out.is_dir():
        raise InputError(f"run: --out {out} is a folder, expected the path of a file")
    if not os.access(folder, os.W_OK):
        raise InputError(f"run: folder of --out {out} can't be written to, expected one that can")


def _layout(given: str | None, samples: Dataset, net: Network) -> str:
    """The layout, told by the number of axes where neither user nor file names it."""
    shape = tuple(net.input_shape)
    extra = samples.x.ndim - len(shape)
    if given not in (None, "N", "TN", "T"):
        raise InputError(f"run: layout is {given!r}, expected N, TN or T")
    layout = given or {1: "N", 2: "TN"}.get(extra)
    if layout is None or extra != len(layout) or samples.x.shape[extra:] != shape:
        raise ShapeError(
            f"run: x of {samples.name} has shape {samples.x.shape}, expected "
            f"({', '.join([*(given or 'N'), *map(str, shape)])})"
        )
    return layout


def _labels(samples: Dataset, layout: str) -> NDArray[np.int64] | None:
    n = samples.n_samples(layout)
    if samples.y is not None and len(samples.y) != n:
        raise InputError(f"run: y of {samples.name} has {len(samples.y)} labels, expected {n}")
    return samples.y


def _steps(given: int | None, layout: str, samples: Dataset, net: Network) -> int:
    """Steps of the run: the raster's own, or what the user or the model says."""
    if layout != "N":
        steps = samples.x.shape[0]
        if given is not None and given != steps:
            raise InputError(f"run: n_steps is {given}, expected {steps} as the raster has it")
        return int(steps)
    if given is None:
        given = net.meta.get("n_steps")
        if given is None:
            raise InputError("run: n_steps is missing, expected --n-steps; the model names none")
        if isinstance(given, bool) or not isinstance(given, int):
            raise FormatError(f"meta: n_steps is {given!r}, expected a whole number")
    if given < 1:
        raise InputError(f"run: n_steps is {given}, expected at least 1")
    return given


def _show(model: str, data: str, report: dict[str, Any]) -> None:
    accuracy = report["accuracy"]
    facts = [
        ("samples", f"{report['n']}, {report['n_steps']} steps each"),
        ("preprocessing", report["preprocessing"]),
        ("accuracy", "no labels" if accuracy is None else f"{accuracy:.2%}"),
        (
            "speed",
            f"{report['images_per_s']:,.0f} samples/s "
            f"({report['precision']}, {report['level']}, {report['threads']} threads)",
        ),
        ("spikes a sample", f"{report['spikes_per_sample']:,.1f}"),
        ("synaptic operations a sample", f"{report['synops_per_sample']:,.1f}"),
        ("MACs a sample", f"{report['macs_per_sample']:,.1f}"),
    ]
    if energy := report.get("energy"):
        n = report["n"]
        facts.append(
            (
                "energy a sample",
                f"{joules(energy['joules'] / n)} "
                f"({joules(energy['low'] / n)} to {joules(energy['high'] / n)}), "
                f"{energy['profile']['id']}; not modelled: {', '.join(energy['not_modelled'])}",
            )
        )
    if quantisation := report.get("quantisation"):
        agree = f"{quantisation['predictions_agree']:.2%} of the first {BESIDE} samples"
        facts.append(("predictions as f32", agree))
        for p in quantisation["populations"]:
            if p["agreement"] is not None:
                facts.append((f"spikes of {p['name']} as f32", f"{p['agreement']:.2%}"))
        for layer in quantisation["layers"]:
            facts.append((f"weights of {layer['name']}", f"rmse {layer['weight_rmse']:.3%}"))
    if report["out"] is not None:
        facts.append(("written", report["out"]))
    print_facts(f"{model} on {data}", facts)
