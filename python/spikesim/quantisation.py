"""What precision i8 does to a network's numbers, and what it costs on data (S14)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim import ops
from spikesim.errors import InputError
from spikesim.network import Network
from spikesim.reference.quantised import (
    Folded,
    Layer,
    LayerUnits,
    PopulationUnits,
    in_units,
    run_edges,
    spread,
    supported,
    units,
)
from spikesim.result import Result

#: Shares of a channel's largest weight that calibration tries.
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True)
class LayerQuantisation:
    """A Linear or Conv in precision i8."""

    name: str
    weight_rmse: float
    """Root mean square error of the weights, as a fraction of their root mean square."""
    zeroed: float
    """Fraction of the weights that became 0."""
    clipped: float
    """Fraction of the weights that were cut off."""


@dataclass(frozen=True)
class PopulationQuantisation:
    """A population in precision i8, and beside f32 on the data that were given."""

    name: str
    fraction: int
    """Units of the sums are 2 to the power of minus this of the weights' units."""
    threshold_error: float
    """Largest error of a threshold, as a fraction of it."""
    rate_f32: float | None
    """Spikes a neuron and step in f32; None without data."""
    rate_i8: float | None
    agreement: float | None
    """|A∩B| / |A∪B| over all spikes (step, sample, neuron); 1 if both are silent."""


@dataclass(frozen=True)
class QuantisationReport:
    """What precision i8 does to each layer and population."""

    layers: tuple[LayerQuantisation, ...]
    populations: tuple[PopulationQuantisation, ...]
    clips: dict[str, NDArray[np.float32]]
    """What to give to `Network.compile(precision="i8", clips=…)`; empty: nothing is cut off."""
    predictions_agree: float | None
    """Fraction of the samples with the same prediction in both precisions; None without data."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values, without the clips."""
        return {
            "layers": [asdict(layer) for layer in self.layers],
            "populations": [asdict(population) for population in self.populations],
            "predictions_agree": self.predictions_agree,
        }

    def __str__(self) -> str:
        lines = [f"{'layer':<16}{'weight rmse':>12}{'zeroed':>9}{'clipped':>9}"]
        lines += [
            f"{x.name:<16}{x.weight_rmse:>11.3%} {x.zeroed:>8.2%} {x.clipped:>8.2%}"
            for x in self.layers
        ]
        lines += [f"{'population':<16}{'θ error':>12}{'f32':>9}{'i8':>9}{'agreement':>11}"]
        for p in self.populations:
            line = f"{p.name:<16}{p.threshold_error:>12.1e}"
            if p.agreement is not None:
                line += f"{p.rate_f32:>9.4f}{p.rate_i8:>9.4f}{p.agreement:>11.4f}"
            lines.append(line)
        return "\n".join(lines)


def quantise(
    net: Network,
    x: Any = None,
    n_steps: int | None = None,
    *,
    layout: str | None = None,
    calibrate: bool = False,
) -> QuantisationReport:
    """Says what precision i8 does to `net`, and beside f32 on data.

    Args:
        net: The network; it is not changed.
        x: Data to run both precisions on, as in `Simulator.run`; None: only the numbers.
        n_steps: T, for constant data.
        layout: As in `Simulator.run`.
        calibrate: Choose for each output channel how far its weights are clipped, by the mean
            square error of the summed input of the population behind the layer on `x`: the best
            of a few shares of its largest weight, of all layers at once. Layers that are not
            fused into a population (S14.1) keep all.

    Returns:
        The report; its `clips` are for `Network.compile`.

    Raises:
        InputError: `calibrate` without data, or bad data.
        UnsupportedError: The network has something that integers have no rule for (S14.13).

    Example:
        >>> import numpy as np, spikesim as ss
        >>> net = ss.Network((2,))
        >>> _ = net.add(ss.Linear(np.array([[1.27, 0.5]])), name="fc")
        >>> _ = net.add(ss.IF(v_threshold=1.0), name="if")
        >>> report = ss.quantise(net, np.array([[1.0, 0.0]]), n_steps=4)
        >>> report.populations[0].agreement
        1.0
    """
    net.runnable()
    supported(net.nodes)
    folded = Network._of(net._graph.fold())
    if calibrate and x is None:
        raise InputError("quantise: calibrate is True without data, expected x")
    clips = _clips(net, folded, x, n_steps, layout) if calibrate else {}
    layers = _layers(folded, clips)
    own, populations = units(folded, layers, *run_edges(folded, {}))
    results = None
    if x is not None:
        results = tuple(
            sim.run(x, n_steps=n_steps, layout=layout, record="spikes")
            for sim in (net.compile(), net.compile(precision="i8", clips=clips))
        )
    agree = None
    if results is not None:
        agree = float(np.mean(results[0].predictions == results[1].predictions))
    return QuantisationReport(
        layers=tuple(_layer(name, layer, own[name]) for name, layer in layers.items()),
        populations=tuple(
            _population(node, populations[node.name], results)
            for node in folded.nodes
            if isinstance(node.op, ops.Neuron)
        ),
        clips=clips,
        predictions_agree=agree,
    )


def _layers(net: Network, clips: Mapping[str, NDArray[np.float32]]) -> dict[str, Folded]:
    return {
        node.name: Folded(node.op.weight, node.op.bias, clips.get(node.name))
        for node in net.nodes
        if isinstance(node.op, Layer)
    }


def _layer(name: str, layer: Folded, own: LayerUnits) -> LayerQuantisation:
    scale = own.scale.reshape(-1, *(1,) * (own.weight.ndim - 1)).astype(np.float64)
    weight = layer.weight.astype(np.float64)
    error = own.weight * scale - weight
    size = float(np.sqrt(np.mean(weight**2)))
    return LayerQuantisation(
        name=name,
        weight_rmse=float(np.sqrt(np.mean(error**2))) / size if size else 0.0,
        zeroed=float(np.mean((own.weight == 0) & (weight != 0))),
        clipped=float(np.mean(np.abs(weight) > 127.5 * scale)),
    )


def _population(
    node: Any, own: PopulationUnits, results: tuple[Result, ...] | None
) -> PopulationQuantisation:
    shape = tuple(node.shape)
    error = 0.0
    if node.op.spikes != "none":
        theta = spread(node.op.v_threshold, shape).astype(np.float64)
        unit = spread(own.v, shape).astype(np.float64)
        off = np.abs(in_units(theta, unit) * unit - theta)
        error = float(np.max(off / np.where(theta == 0, 1, np.abs(theta))))
    rates: tuple[float | None, float | None] = (None, None)
    agreement = None
    if results is not None and node.op.spikes != "none":
        a, b = (result.spikes[node.name].to_dense() for result in results)
        rates = (float(np.abs(a).mean()), float(np.abs(b).mean()))
        union = np.count_nonzero((a != 0) | (b != 0))
        agreement = np.count_nonzero((a == b) & (a != 0)) / union if union else 1.0
    return PopulationQuantisation(node.name, own.fraction, error, *rates, agreement)


def _clips(
    net: Network, folded: Network, x: Any, n_steps: int | None, layout: str | None
) -> dict[str, NDArray[np.float32]]:
    """The clip of each channel of the fused layers."""
    layers = _layers(folded, {})
    edges, output = run_edges(folded, {})
    own, _ = units(folded, layers, edges, output)
    into = {src: dst for src, dst, _ in edges if src in own and own[src].fused}
    wanted = net.compile().run(x, n_steps=n_steps, layout=layout, record="current").current
    largest = {name: layers[name].largest().astype(np.float32) for name in into}
    tiny = np.float32(np.finfo(np.float32).tiny)
    best = {name: np.full(len(big), np.inf) for name, big in largest.items()}
    chosen = {name: np.maximum(big, tiny) for name, big in largest.items()}
    for share in SHARES:
        clips = {name: np.maximum(big * np.float32(share), tiny) for name, big in largest.items()}
        sim = net.compile(precision="i8", clips=clips)
        found = sim.run(x, n_steps=n_steps, layout=layout, record="current").current
        for name, population in into.items():
            error = (found[population] - wanted[population]).astype(np.float64) ** 2
            by_channel = error.mean(axis=(0, 1, *range(3, error.ndim)))
            # A share has to be clearly better: spikes that moved are noise in both.
            better = by_channel < 0.99 * best[name]
            best[name] = np.where(better, by_channel, best[name])
            chosen[name] = np.where(better, clips[name], chosen[name])
    return chosen
