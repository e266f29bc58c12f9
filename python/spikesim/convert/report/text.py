"""A report as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spikesim.convert.report.entries import SEVERITIES
from spikesim.convert.report.layers import LayerReport

if TYPE_CHECKING:
    from spikesim.convert.report.report import ConversionReport

#: Text or numbers, one column: heading, whether it stands right.
LAYER_HEAD: tuple[tuple[str, bool], ...] = (
    ("layer", False),
    ("activation", False),
    ("neurons", True),
    ("θ", True),
    ("rate", True),
    ("clipping", True),
    ("quantisation", True),
    ("unevenness", True),
    ("inherited", True),
    ("dead", True),
    ("though active", True),
    ("saturated", True),
    ("agreement", True),
)


def table(report: ConversionReport) -> str:
    """What `print(report)` shows."""
    took = "" if report.seconds is None else f", {report.seconds:.1f} s"
    lines = [
        f"conversion by {report.method}: {report.n_steps} steps, {report.n_samples:,} samples{took}"
    ]
    lines += _accuracy(report)
    if report.layers:
        lines += ["", f"layers at T = {report.n_steps} (errors: root mean square, in units of θ)"]
        head = tuple(name for name, _ in LAYER_HEAD)
        rows = [head, *(layer_cells(layer) for layer in report.layers)]
        lines += aligned(rows, [right for _, right in LAYER_HEAD])
    if report.max_pools:
        lines += ["", "max pools"]
        lines += aligned([(n, "became", what) for n, what in report.max_pools.items()], [False] * 3)
    if report.unconverted:
        lines += ["", f"not converted ({len(report.unconverted)})"]
        lines += [f"  {entry}" for entry in report.unconverted]
    if report.findings:
        lines += ["", f"findings ({len(report.findings)})"]
        ranked = sorted(report.findings, key=lambda f: SEVERITIES.index(f.severity))
        lines += [f"  {finding}" for finding in ranked]
    return "\n".join(lines)


def _accuracy(report: ConversionReport) -> list[str]:
    lines = []
    if report.ann_accuracy is not None and report.ann_interval is not None:
        low, high = report.ann_interval
        lines.append(
            f"the ANN's accuracy: {percent(report.ann_accuracy)} "
            f"({100 * low:.2f} to {100 * high:.2f}, 95 %)"
        )
    rows = steps_rows(report)
    if rows:
        shown = ("T", "accuracy", "95 %", "loss", "as the ANN")
        lines += ["", *aligned([shown, *rows], [True] * len(shown))]
    return lines


def steps_rows(report: ConversionReport) -> list[tuple[str, ...]]:
    """T, accuracy, interval, loss in points, agreement; one row for each T measured."""
    rows: list[tuple[str, ...]] = []
    for t in sorted({*report.accuracy_by_steps, *report.agreement_by_steps}):
        accuracy = report.accuracy_by_steps.get(t)
        loss = interval = "–"
        if accuracy is not None:
            low, high = report.intervals[t]
            interval = f"{100 * low:.2f} to {100 * high:.2f}"
            if report.ann_accuracy is not None:
                loss = f"{100 * (report.ann_accuracy - accuracy):+.2f}"
        agreed = percent(report.agreement_by_steps.get(t))
        rows.append((f"{t:,}", percent(accuracy), interval, loss, agreed))
    return rows


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction in percent, or a dash."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def number(value: float | None, digits: int = 4) -> str:
    """A number with a fixed count of decimals, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def span(pair: tuple[float, float]) -> str:
    """One number, or the least and the largest."""
    low, high = pair
    return f"{low:.4g}" if low == high else f"{low:.3g}–{high:.3g}"


def layer_cells(layer: LayerReport) -> tuple[str, ...]:
    """The cells under :data:`LAYER_HEAD`."""
    errors = layer.errors
    inherited = None if errors is None or errors.inherited is None else errors.inherited.rms
    kinds = (
        (None, None, None)
        if errors is None
        else (errors.clipping.rms, errors.quantisation.rms, errors.unevenness.rms)
    )
    return (
        layer.name,
        layer.kind,
        f"{layer.n_neurons:,}",
        span(layer.threshold),
        number(layer.rate),
        *(number(kind) for kind in kinds),
        number(inherited),
        percent(layer.dead, 1),
        percent(layer.dead_active, 1),
        percent(layer.saturated, 1),
        number(layer.agreement),
    )


def aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Rows of cells as lines; the columns flagged stand right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(right))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines
