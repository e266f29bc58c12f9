"""Small plots as inline SVG: colours are the page's (CSS classes), numbers are rounded, text is
escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Mark:
    """A tick across a row, with what it says."""

    value: float
    label: str


@dataclass(frozen=True)
class Row:
    """One bar of :func:`bars`: its parts, one for each series, and maybe a mark."""

    name: str
    parts: Sequence[float]
    mark: Mark | None = None


def f(value: float) -> str:
    """A coordinate."""
    return f"{value:.1f}".removesuffix(".0")


def nice_step(span: float, most: int) -> float:
    """1, 2 or 5 times a power of ten, at most `most` of which fit into `span`."""
    least = span / most
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= least * (1 - 1e-9))


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers within low … high."""
    step = nice_step(high - low, most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def against_steps(
    curves: Mapping[str, Mapping[int, float]],
    band: Mapping[int, tuple[float, float]],
    line: tuple[str, float] | None,
    label: str,
) -> str:
    """Fractions in percent over T, log2.

    Args:
        curves: Name → T → fraction; the first is the main one.
        band: T → (low, high) around the main one.
        line: Name and value of a level to compare with.
        label: What the plot shows, for who cannot see it.
    """
    width, height, left, right, top, bottom = 640.0, 300.0, 52.0, 16.0, 14.0, 40.0
    times = sorted({t for curve in curves.values() for t in curve})
    values = [a for curve in curves.values() for a in curve.values()]
    values += [x for pair in band.values() for x in pair] + ([line[1]] if line else [])
    low, high = min(values), max(values)
    room = max(0.06 * (high - low), 0.005)
    low, high = max(0.0, low - room), min(1.0, high + room)
    first, last = math.log2(times[0]), math.log2(times[-1])
    wide = max(last - first, 1.0)
    if last == first:
        first -= 0.5

    def x(t: float) -> float:
        return left + (math.log2(t) - first) / wide * (width - left - right)

    def y(a: float) -> float:
        return top + (high - a) / (high - low) * (height - top - bottom)

    out = [_open(width, height, label)]
    for tick in ticks(100 * low, 100 * high):
        at = f(y(tick / 100))
        out.append(
            f'<line class="grid" x1="{f(left)}" x2="{f(width - right)}" y1="{at}" y2="{at}"/>'
        )
        out.append(_text(left - 8, y(tick / 100) + 4, f"{tick:.10g}", "end"))
    for t in _labelled(times):
        out.append(_text(x(t), height - bottom + 18, f"{t:,}", "middle"))
    out.append(_text((left + width - right) / 2, height - 4, "steps T", "middle"))
    out.append(_text(4, 11, "%", "start"))
    if len(band) > 1:
        upper = [f"{f(x(t))},{f(y(pair[1]))}" for t, pair in sorted(band.items())]
        lower = [f"{f(x(t))},{f(y(pair[0]))}" for t, pair in sorted(band.items(), reverse=True)]
        out.append(f'<polygon class="band" points="{" ".join(upper + lower)}"/>')
    if line is not None:
        at = f(y(line[1]))
        out.append(
            f'<line class="level" x1="{f(left)}" x2="{f(width - right)}" y1="{at}" y2="{at}">'
            f"<title>{escape(line[0])}: {100 * line[1]:.2f} %</title></line>"
        )
    for i, (name, curve) in enumerate(curves.items()):
        points = [(t, x(t), y(a), a) for t, a in sorted(curve.items())]
        path = " ".join(f"{f(px)},{f(py)}" for _, px, py, _ in points)
        out.append(f'<polyline class="curve s{i}" points="{path}"/>')
        out += [
            f'<circle class="dot s{i}" cx="{f(px)}" cy="{f(py)}" r="3.5">'
            f"<title>{escape(name)}, T = {t}: {100 * a:.2f} %</title></circle>"
            for t, px, py, a in points
        ]
    return "\n".join([*out, "</svg>"])


def bars(rows: Sequence[Row], series: Sequence[str], unit: str, label: str) -> str:
    """Horizontal bars, stacked, a row each.

    Args:
        rows: Top to bottom.
        series: Name of each part.
        unit: Under the axis.
        label: What the plot shows, for who cannot see it.
    """
    name_width = min(240.0, 7.2 * max(len(_short(row.name)) for row in rows) + 14)
    width, pitch, bar, top, bottom = 640.0, 24.0, 14.0, 6.0, 38.0
    height = top + pitch * len(rows) + bottom
    largest = max(max(sum(row.parts), row.mark.value if row.mark else 0.0) for row in rows)
    high = largest if largest > 0 else 1.0
    place = width - name_width - 20

    def x(value: float) -> float:
        return name_width + value / high * place

    floor = top + pitch * len(rows)
    out = [_open(width, height, label)]
    for tick in ticks(0.0, high):
        at = f(x(tick))
        out.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{f(top)}" y2="{f(floor)}"/>')
        out.append(_text(x(tick), floor + 16, f"{tick:.6g}", "middle"))
    out.append(_text(name_width + place / 2, height - 4, unit, "middle"))
    for i, row in enumerate(rows):
        y = top + pitch * i + (pitch - bar) / 2
        out.append(_text(name_width - 8, y + bar - 3, _short(row.name), "end", row.name))
        start = 0.0
        for j, (name, part) in enumerate(zip(series, row.parts, strict=True)):
            if part > 0:
                out.append(
                    f'<rect class="bar s{j}" x="{f(x(start))}" y="{f(y)}" height="{f(bar)}" '
                    f'width="{f(max(x(start + part) - x(start), 0.5))}">'
                    f"<title>{escape(row.name)}, {escape(name)}: {part:.4g}</title></rect>"
                )
            start += part
        if row.mark is not None:
            at = f(x(row.mark.value))
            out.append(
                f'<line class="mark" x1="{at}" x2="{at}" y1="{f(y - 3)}" y2="{f(y + bar + 3)}">'
                f"<title>{escape(row.name)}, {escape(row.mark.label)}: {row.mark.value:.4g}"
                "</title></line>"
            )
    return "\n".join([*out, "</svg>"])


def _open(width: float, height: float, label: str) -> str:
    said = escape(label, quote=True)
    return f'<svg viewBox="0 0 {f(width)} {f(height)}" role="img" aria-label="{said}">'


def _text(x: float, y: float, text: str, anchor: str, title: str = "") -> str:
    more = f"<title>{escape(title)}</title>" if title and title != text else ""
    return f'<text x="{f(x)}" y="{f(y)}" text-anchor="{anchor}">{escape(text)}{more}</text>'


def _short(name: str) -> str:
    return name if len(name) <= 30 else f"{name[:12]}…{name[-17:]}"


def _labelled(times: Sequence[int]) -> list[int]:
    """All of a few T; of many the powers of two, and the ends."""
    if len(times) <= 10:
        return list(times)
    inner = [t for t in times[1:-1] if t & (t - 1) == 0 and 2 * t <= times[-1] * 1.5]
    return [times[0], *inner, times[-1]]
