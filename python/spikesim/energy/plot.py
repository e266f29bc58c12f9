"""The picture of a report; the caller brings matplotlib's figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikesim.energy.report import EnergyReport


def draw(report: EnergyReport, figure: Any) -> Any:
    """Bars by layer, stacked by operation, in nJ a sample, with the interval of each layer."""
    axes = figure.add_subplot()
    names = list(report.layers)
    nano = 1e9 / report.n_samples
    bottoms = [0.0] * len(names)
    for term in dict.fromkeys(t for layer in report.layers.values() for t in layer.terms):
        heights = [
            layer.terms[term].joules * nano if term in layer.terms else 0.0
            for layer in report.layers.values()
        ]
        axes.bar(names, heights, bottom=bottoms, label=term)
        bottoms = [b + h for b, h in zip(bottoms, heights, strict=True)]
    layers = list(report.layers.values())
    errors = [
        [(layer.joules - layer.low) * nano for layer in layers],
        [(layer.high - layer.joules) * nano for layer in layers],
    ]
    axes.errorbar(names, bottoms, yerr=errors, fmt="none", ecolor="black", capsize=3)
    axes.set_ylabel("nJ a sample")
    axes.set_title(f"{report.what}, {report.profile.name}")
    axes.legend()
    return figure
