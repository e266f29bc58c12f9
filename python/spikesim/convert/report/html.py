"""A report as one page that needs nothing else: no network, no script, no file beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from spikesim.convert.report import svg
from spikesim.convert.report.entries import SEVERITIES
from spikesim.convert.report.layers import LayerReport
from spikesim.convert.report.style import STYLE
from spikesim.convert.report.text import LAYER_HEAD, layer_cells, percent, steps_rows

if TYPE_CHECKING:
    from spikesim.convert.report.report import ConversionReport

_KINDS = ("clipping", "quantisation", "unevenness", "inherited")


def page(report: ConversionReport) -> str:
    """The whole page."""
    title = f"Conversion report: {report.method}"
    took = "" if report.seconds is None else f", {report.seconds:.1f} s"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{report.n_steps:,} steps, {report.n_samples:,} samples{took}</p>',
        _cards(report),
        _findings(report),
        _unconverted(report),
        _accuracy(report),
        _layers(report),
        _pools(report),
        _thresholds(report),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _cards(report: ConversionReport) -> str:
    cards = [("ANN", percent(report.ann_accuracy))]
    cards.append((f"SNN at T = {report.n_steps:,}", percent(report.accuracy)))
    if report.accuracy is not None and report.ann_accuracy is not None:
        loss = 100 * (report.ann_accuracy - report.accuracy)
        cards.append(("lost", f"{loss:+.2f} points".replace("-", "−")))
    agreed = report.agreement_by_steps.get(report.n_steps)
    if agreed is not None:
        cards.append(("predicted as the ANN", percent(agreed)))
    cards.append(("not converted", str(len(report.unconverted))))
    shown = "".join(
        f'<div><span class="soft">{escape(name)}</span><b>{escape(value)}</b></div>'
        for name, value in cards
    )
    return f'<div class="cards">{shown}</div>'


def _findings(report: ConversionReport) -> str:
    if not report.findings:
        return "<h2>Findings</h2><p>Nothing to report.</p>"
    ranked = sorted(report.findings, key=lambda finding: SEVERITIES.index(finding.severity))
    items = "\n".join(
        f'<li class="{finding.severity}"><span class="badge">{finding.severity}</span>'
        f"<code>{escape(finding.name)}</code> {escape(finding.what)}"
        + (f'<br><span class="soft">{escape(finding.advice)}</span>' if finding.advice else "")
        + "</li>"
        for finding in ranked
    )
    return f'<h2>Findings</h2>\n<ul class="findings">\n{items}\n</ul>'


def _unconverted(report: ConversionReport) -> str:
    if not report.unconverted:
        return ""
    rows = [(e.name, e.kind, e.where or "–", e.why, e.advice) for e in report.unconverted]
    head = (
        ("part", False),
        ("kind", False),
        ("where", False),
        ("why", False),
        ("what to do", False),
    )
    return f"<h2>Not converted</h2>\n{_panel(_table(head, rows, code=(0, 1, 2)))}"


def _accuracy(report: ConversionReport) -> str:
    rows = steps_rows(report)
    if not rows:
        return ""
    curves = {"accuracy": report.accuracy_by_steps, "agreement": report.agreement_by_steps}
    shown = {name: curve for name, curve in curves.items() if curve}
    line = None if report.ann_accuracy is None else ("the ANN", report.ann_accuracy)
    if "accuracy" not in shown:
        line = None
    plot = svg.against_steps(shown, report.intervals, line, "Accuracy in percent against steps")
    key = [(f"s{i}", name) for i, name in enumerate(shown)]
    if "accuracy" in shown:
        key[0] = ("s0", "accuracy, with its 95 % interval")
    if "agreement" in shown:
        key[-1] = (key[-1][0], "predicted as the ANN")
    if line is not None:
        key.append(("line", f"the ANN, {percent(report.ann_accuracy)}"))
    head = (("T", True), ("accuracy", True), ("95 %", True), ("loss", True), ("as the ANN", True))
    both = f'<div class="panel">{plot}{_key(key)}</div>{_panel(_table(head, rows))}'
    return f'<h2>Accuracy against steps</h2>\n<div class="two">{both}</div>'


def _layers(report: ConversionReport) -> str:
    if not report.layers:
        return ""
    parts = [f"<h2>Layers at T = {report.n_steps:,}</h2>"]
    errors = [row for layer in report.layers if (row := _error_row(layer)) is not None]
    if errors:
        plot = svg.bars(
            errors, _KINDS, "root mean square, in units of θ", "Errors of each layer by kind"
        )
        key = _key([*((f"s{i}", kind) for i, kind in enumerate(_KINDS)), ("mark", "all together")])
        note = (
            '<p class="soft">The parts may cancel: a bar is at least as long as its mark, which '
            "is the error of the layer's output.</p>"
        )
        parts.append(f'<div class="panel">{plot}{key}{note}</div>')
    rates = [svg.Row(layer.name, (layer.rate,), _expected_rate(layer)) for layer in report.layers]
    plot = svg.bars(rates, ("rate",), "spikes a neuron and step", "Firing rate of each layer")
    names = [("s0", "rate"), ("mark", "mean activation of the ANN over θ")]
    parts.append("<h2>Rates</h2>")
    marked = any(row.mark for row in rates)
    parts.append(_panel(plot + _key(names if marked else names[:1])))
    table = _table(LAYER_HEAD, [layer_cells(layer) for layer in report.layers], code=(0,))
    parts.append(_panel(table))
    parts.append(
        '<p class="soft">Errors are root mean squares in units of θ. Dead: never fired; "though '
        "active\": the ANN's unit did. Saturated: a spike at every step. Agreement: correlation "
        "of rate and activation.</p>"
    )
    return "\n".join(parts)


def _error_row(layer: LayerReport) -> svg.Row | None:
    errors = layer.errors
    if errors is None:
        return None
    inherited = 0.0 if errors.inherited is None else errors.inherited.rms
    parts = (errors.clipping.rms, errors.quantisation.rms, errors.unevenness.rms, inherited)
    total = errors.local if errors.total is None else errors.total
    return svg.Row(layer.name, parts, svg.Mark(total.rms, "all together"))


def _expected_rate(layer: LayerReport) -> svg.Mark | None:
    low, high = layer.threshold
    # With a threshold a channel the mean activation says nothing about the mean rate.
    if layer.ann_mean is None or low != high or layer.ann_mean < 0:
        return None
    return svg.Mark(layer.ann_mean / low, "mean activation of the ANN over θ")


def _pools(report: ConversionReport) -> str:
    if not report.max_pools:
        return ""
    head = (("max pool", False), ("became", False))
    return f"<h2>Max pools</h2>\n{_panel(_table(head, list(report.max_pools.items()), code=(0,)))}"


def _thresholds(report: ConversionReport) -> str:
    if not report.thresholds:
        return ""
    rows = []
    for name, value in report.thresholds.items():
        values = value if isinstance(value, tuple) else (value,)
        mean = sum(values) / len(values)
        rows.append(
            (name, str(len(values)), *(f"{v:.6g}" for v in (min(values), mean, max(values))))
        )
    head = (("layer", False), ("values", True), ("least", True), ("mean", True), ("largest", True))
    return f"<h2>Thresholds θ</h2>\n{_panel(_table(head, rows, code=(0,)))}"


def _panel(inner: str) -> str:
    return f'<div class="panel">{inner}</div>'


def _key(entries: Sequence[tuple[str, str]]) -> str:
    shown = "".join(f'<span><i class="{cls}"></i>{escape(name)}</span>' for cls, name in entries)
    return f'<div class="key">{shown}</div>'


def _table(
    head: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]], code: Sequence[int] = ()
) -> str:
    right = [' class="n"' if is_right else "" for _, is_right in head]
    cells = "".join(
        f"<th{cls}>{escape(name)}</th>" for (name, _), cls in zip(head, right, strict=True)
    )
    out = [f"<table><thead><tr>{cells}</tr></thead><tbody>"]
    for row in rows:
        shown = [
            f"<code>{escape(cell)}</code>" if i in code else escape(cell)
            for i, cell in enumerate(row)
        ]
        line = "".join(f"<td{cls}>{cell}</td>" for cell, cls in zip(shown, right, strict=True))
        out.append(f"<tr>{line}</tr>")
    return "\n".join([*out, "</tbody></table>"])
