"""The conversion report: its checks, its text, JSON there and back, the page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikesim.convert.report import (
    ConversionReport,
    ErrorStats,
    Finding,
    LayerErrors,
    LayerReport,
    Unconverted,
    svg,
    wilson,
)
from spikesim.errors import FormatError, InputError

EVIL = """<script>alert("x")</script> & 'y' </style>"""


def stats(rms: float) -> ErrorStats:
    return ErrorStats(mean=-rms / 2, rms=rms, max=2 * rms, nonzero=0.25)


def layer(name: str, **changes: Any) -> LayerReport:
    errors = LayerErrors(
        stats(0.01), stats(0.06), stats(0.02), stats(0.07), stats(0.03), stats(0.08)
    )
    basic = LayerReport(
        name,
        "ReLU",
        (8, 4, 4),
        threshold=(1.0, 2.5),
        v0=(0.5, 1.25),
        rate=0.125,
        snn_mean=0.2,
        ann_mean=0.21,
        errors=errors,
        dead_silent=0.02,
        dead_active=0.01,
        saturated=0.03,
        agreement=0.98,
    )
    return replace(basic, **changes)


def full() -> ConversionReport:
    return ConversionReport(
        method="percentile",
        n_steps=8,
        n_samples=3000,
        ann_accuracy=0.99,
        accuracy_by_steps={32: 0.989, 1: 0.5, 8: 0.98},
        agreement_by_steps={1: 0.5, 8: 0.985, 32: 0.998},
        layers=[
            layer("conv1"),
            layer("fc", shape=(10,), errors=None, ann_mean=None, agreement=None),
        ],
        unconverted=[Unconverted("act2", "torch.relu", "model.py:31", "no module", "use nn.ReLU")],
        findings=[
            Finding("info", "pool1", "became an average pool"),
            Finding("error", "act2", "torch.relu was not converted", "use nn.ReLU"),
        ],
        max_pools={"pool1": "AvgPool2d"},
        thresholds={"conv1": [1.0, 2.5], "fc": np.float32(0.5)},
        seconds=1.5,
    )


# --- The report itself --------------------------------------------------------------------------


def test_tables_are_sorted_and_plain() -> None:
    report = full()
    assert list(report.accuracy_by_steps) == [1, 8, 32]
    assert report.thresholds == {"conv1": (1.0, 2.5), "fc": 0.5}
    assert type(report.thresholds["fc"]) is float
    assert isinstance(report.layers, tuple)
    assert report.accuracy == 0.98
    assert report.layer("fc").shape == (10,)
    with pytest.raises(InputError, match="layer 'x' is unknown, expected one of conv1, fc"):
        report.layer("x")


def test_wilson_by_hand() -> None:
    # 8 of 10: (0.8 + 0.1921 ± 1.96·√(0.016 + 0.0096)) / 1.3841
    low, high = wilson(0.8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert wilson(0.0, 10)[0] == 0.0
    assert wilson(1.0, 10)[1] == 1.0
    assert wilson(1.0, 10)[0] == pytest.approx(1 / (1 + 3.8414588 / 10), abs=1e-6)
    with pytest.raises(InputError, match="an interval of 0 samples"):
        wilson(0.5, 0)
    with pytest.raises(InputError, match="fraction is nan"):
        wilson(float("nan"), 10)


@given(st.integers(1, 5000), st.data())
def test_the_interval_holds_its_fraction(n: int, data: Any) -> None:
    fraction = data.draw(st.integers(0, n)) / n
    low, high = wilson(fraction, n)
    assert 0 <= low <= fraction <= high <= 1


def test_intervals_are_those_of_the_table() -> None:
    report = full()
    assert report.intervals == {t: wilson(a, 3000) for t, a in report.accuracy_by_steps.items()}
    assert report.ann_interval == wilson(0.99, 3000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_steps": 0}, "n_steps is 0, expected at least 1"),
        ({"n_samples": 0}, "n_samples is 0, expected at least 1"),
        ({"ann_accuracy": float("nan")}, "ann_accuracy is nan, expected 0 to 1"),
        ({"ann_accuracy": 99.0}, "ann_accuracy is 99.0, expected 0 to 1"),
        ({"accuracy_by_steps": {4: float("nan")}}, "accuracy_by_steps is nan, expected 0 to 1"),
        ({"agreement_by_steps": {0: 0.5}}, "n_steps is 0, expected at least 1"),
        ({"thresholds": {"a": -1.0}}, "threshold of 'a' is -1.0"),
        ({"thresholds": {"a": []}}, r"threshold of 'a' is \[\]"),
        ({"thresholds": {"a": [float("nan")]}}, r"threshold of 'a' is \[nan\]"),
        ({"seconds": float("inf")}, "seconds is inf"),
    ],
)
def test_bad_reports_are_typed_errors(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(full(), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": float("nan")}, "rate of 'a' is nan, expected 0 to 1"),
        ({"saturated": 1.5}, "saturated of 'a' is 1.5, expected 0 to 1"),
        ({"snn_mean": float("inf")}, "snn_mean of 'a' is inf, expected finite"),
        ({"threshold": (2.0, 1.0)}, r"threshold of 'a' is \(2.0, 1.0\)"),
        ({"v0": (0.0, float("nan"))}, "v0 of 'a' is"),
    ],
)
def test_bad_layers_are_typed_errors(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        layer("a", **changes)
    with pytest.raises(InputError, match="is not finite"):
        stats(float("nan"))
    with pytest.raises(InputError, match="severity is 'fatal', expected error, warning, info"):
        Finding("fatal", "a", "b")  # type: ignore[arg-type]


# --- Text ---------------------------------------------------------------------------------------


def test_text_says_it_all() -> None:
    lines = str(full()).splitlines()
    assert lines[0] == "conversion by percentile: 8 steps, 3,000 samples, 1.5 s"
    assert lines[1] == "the ANN's accuracy: 99.00 % (98.58 to 99.30, 95 %)"
    assert lines[3].split() == ["T", "accuracy", "95", "%", "loss", "as", "the", "ANN"]
    assert lines[5].split() == ["8", "98.00", "%", "97.43", "to", "98.44", "+1.00", "98.50", "%"]
    assert lines[8] == "layers at T = 8 (errors: root mean square, in units of θ)"
    cells = lines[10].split()
    assert cells[:5] == ["conv1", "ReLU", "128", "1–2.5", "0.1250"]
    assert cells[5:9] == ["0.0100", "0.0600", "0.0200", "0.0300"]
    assert lines[11].split()[5:9] == ["–"] * 4
    text = "\n".join(lines)
    assert "pool1  became  AvgPool2d" in text
    assert "act2 (torch.relu) at model.py:31: no module; use nn.ReLU" in text
    errors = [line for line in lines if line.startswith(("  error", "  info"))]
    assert errors == [
        "  error: act2: torch.relu was not converted; use nn.ReLU",
        "  info: pool1: became an average pool",
    ]


def test_text_without_labels_or_layers() -> None:
    assert str(ConversionReport("max", 4, 10)) == "conversion by max: 4 steps, 10 samples"
    text = str(ConversionReport("max", 4, 10, agreement_by_steps={4: 0.9}))
    assert text.splitlines()[-1].split() == ["4", "–", "–", "–", "90.00", "%"]


# --- JSON ---------------------------------------------------------------------------------------


def test_json_there_and_back() -> None:
    report = full()
    assert ConversionReport.from_json(report.to_json()) == report
    assert ConversionReport.from_json(report.to_json(indent=2).encode()) == report
    empty = ConversionReport("max", 4, 10)
    assert ConversionReport.from_json(empty.to_json()) == empty


fraction = st.floats(0, 1)


@given(
    st.text(max_size=8),
    st.dictionaries(st.integers(1, 2**40), fraction, max_size=4),
    st.none() | fraction,
    st.floats(1e-300, 1e300),
    st.lists(fraction, min_size=4, max_size=4),
)
def test_any_report_there_and_back(
    name: str,
    table: dict[int, float],
    ann: float | None,
    theta: float,
    numbers: list[float],
) -> None:
    rate, rms, dead, agreement = numbers
    errors = LayerErrors(*(stats(rms) for _ in range(4)))
    report = ConversionReport(
        name,
        7,
        11,
        ann,
        table,
        layers=[
            LayerReport(name, name, (3,), (theta, theta), (0, theta), rate, theta, None, errors),
            LayerReport(name, name, (), (theta, theta), (0, 0), rate, -theta, 0, dead_active=dead),
            layer(name, agreement=agreement),
        ],
        thresholds={name: theta},
    )
    assert ConversionReport.from_json(report.to_json()) == report


def test_json_has_the_keys_of_the_command_line() -> None:
    found = json.loads(full().to_json())
    keys = {"method", "ann_accuracy", "accuracy_by_steps", "unconverted", "layers"}
    assert keys <= set(found)
    assert found["accuracy_by_steps"] == {"1": 0.5, "8": 0.98, "32": 0.989}
    first, second = found["layers"]
    assert (first["rate"], first["dead"], first["saturated"]) == (0.125, 0.03, 0.03)
    kinds = ("clipping", "quantisation", "unevenness", "inherited")
    assert [first[kind] for kind in kinds] == [0.01, 0.06, 0.02, 0.03]
    assert [second[kind] for kind in kinds] == [None] * 4
    assert first["errors"]["clipping"] == {
        "mean": -0.005,
        "rms": 0.01,
        "max": 0.02,
        "nonzero": 0.25,
    }


def changed(path: str, value: Any) -> str:
    found = json.loads(full().to_json())
    *way, last = path.split(".")
    place = found
    for key in way:
        place = place[int(key) if isinstance(place, list) else key]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return json.dumps(found)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", "other", "it is something else, expected an object of format"),
        ("version", 0, "version is 0, expected 1"),
        ("version", True, "version is True, expected 1"),
        ("version", KeyError, "version is None, expected 1"),
        ("extra", 1, "report has the unknown key 'extra'"),
        ("seconds", KeyError, "report lacks 'seconds'"),
        ("layers.0.spikes", 1, r"layers\[0\] has the unknown key 'spikes'"),
        ("layers.0.dead", KeyError, r"layers\[0\] lacks 'dead'"),
        ("layers.0.errors.other", 1, r"layers\[0\].errors has the unknown key 'other'"),
        ("layers.0.errors.local", None, r"layers\[0\].errors.local is null, expected an object"),
        ("layers.0.errors.local.std", 1, r"errors.local has the unknown key 'std'"),
        ("layers.0.errors.local.rms", "x", r'errors.local.rms is "x", expected a number'),
        ("layers.0.shape", [1.5], r"shape is 1.5, expected a whole number"),
        ("layers.0.threshold", [1.0], r"threshold is \[1.0\], expected two numbers"),
        ("layers.0.rate", 2, "rate of 'conv1' is 2.0, expected 0 to 1"),
        ("layers.0.rate", True, "rate is true, expected a number"),
        ("layers.0.dead", 0.5, "layers contradicts the rest"),
        ("layers.0.clipping", 0.5, "layers contradicts the rest"),
        ("layers", {}, r"layers is \{\}, expected a list"),
        ("intervals.8", [0, 1], "intervals contradicts the rest"),
        ("accuracy_by_steps.eight", 0.5, 'accuracy_by_steps is "eight", expected numbers'),
        ("accuracy_by_steps.08", 0.5, 'accuracy_by_steps is "08", expected numbers'),
        ("accuracy_by_steps.8", 99, "accuracy_by_steps is 99.0, expected 0 to 1"),
        ("findings.0.severity", "fatal", "severity is 'fatal'"),
        ("findings.0.advice", None, r"findings\[0\].advice is null, expected a string"),
        ("unconverted.0.line", 31, r"unconverted\[0\] has the unknown key 'line'"),
        ("thresholds.fc", "x", 'fc is "x", expected a number'),
        ("n_steps", 8.5, "n_steps is 8.5, expected a whole number"),
        ("n_samples", 10**400, "n_samples is beyond 2"),
        ("seconds", 10**400, "seconds is .*beyond float64.*, expected a number"),
    ],
)
def test_what_does_not_fit_is_refused(path: str, value: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        ConversionReport.from_json(changed(path, value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is no JSON"),
        ("[]", "it is something else"),
        (b"\xff\xfe\xfa", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ('{"a": 1, "a": 2}', "key 'a' is there twice"),
        ('{"a": NaN}', "it has the number NaN"),
    ],
)
def test_what_is_no_report_is_refused(text: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        ConversionReport.from_json(text)


# --- The page -----------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Holds a page to be well-formed: what is opened is closed, in order."""

    VOID = frozenset({"meta", "br"})
    EMPTY_SVG = frozenset({"line", "circle", "rect", "polygon", "polyline"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: dict[str, int] = {}
        self.text: list[str] = []
        self.values: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.values += [value or "" for _, value in attrs]
        assert len({name for name, _ in attrs}) == len(attrs)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.EMPTY_SVG, tag
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open
    return reader


def test_the_page_is_well_formed_and_whole(tmp_path: Path) -> None:
    page = full().to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
    reader = read(page)
    assert page.startswith("<!DOCTYPE html>")
    assert reader.tags["svg"] == 3
    assert reader.tags["polyline"] == 2
    assert reader.tags["polygon"] == 1
    text = " ".join(reader.text)
    for word in ("98.00 %", "97.43 to 98.44", "model.py:31", "AvgPool2d", "conv1", "+1.00 points"):
        assert word in text
    assert "prefers-color-scheme: dark" in page


def test_the_page_needs_nothing_else() -> None:
    page = full().to_html()
    reader = read(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    assert not re.search(r"https?:|url\(|@import|\bsrc=|\bhref=", page)


def test_text_on_the_page_is_escaped() -> None:
    bad = replace(
        full(),
        method=EVIL,
        layers=[layer(EVIL, kind=EVIL)],
        unconverted=[Unconverted(EVIL, EVIL, EVIL, EVIL, EVIL)],
        findings=[Finding("error", EVIL, EVIL, EVIL)],
        max_pools={EVIL: EVIL},
        thresholds={EVIL: 1.0},
    )
    page = bad.to_html()
    reader = read(page)
    assert "script" not in reader.tags
    assert reader.tags["style"] == 1
    assert "<script" not in page
    assert sum(EVIL in text for text in reader.text) >= 12


@pytest.mark.parametrize(
    "changes",
    [
        {"accuracy_by_steps": {}, "ann_accuracy": None},
        {"accuracy_by_steps": {}, "agreement_by_steps": {}},
        {"accuracy_by_steps": {4: 1.0}, "agreement_by_steps": {}, "ann_accuracy": 1.0},
        {"accuracy_by_steps": dict.fromkeys(range(1, 300), 0.5)},
        {"layers": [layer("a", rate=0.0, errors=LayerErrors(*(stats(0.0) for _ in range(4))))]},
        {"layers": [], "findings": [], "unconverted": [], "max_pools": {}, "thresholds": {}},
    ],
)
def test_the_page_of_what_is_thin(changes: dict[str, Any]) -> None:
    page = replace(full(), **changes).to_html()
    read(page)
    assert "nan" not in re.sub(r"<style>.*</style>", "", page, flags=re.DOTALL).lower()


def test_accuracy_is_drawn_where_it_belongs() -> None:
    curve = {1: 0.0, 2: 0.5, 4: 1.0}
    drawn = svg.against_steps({"a": curve}, {}, ("ann", 0.5), "plot")
    points = re.findall(r'<circle class="dot s0" cx="([\d.]+)" cy="([\d.]+)"', drawn)
    x, y = ([float(p[i]) for p in points] for i in (0, 1))
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)  # log2
    assert y[0] - y[1] == pytest.approx(y[1] - y[2], abs=0.2)
    assert y[2] < y[0]  # up is better
    level = re.search(r'<line class="level"[^>]*y1="([\d.]+)"', drawn)
    assert level is not None
    assert float(level[1]) == pytest.approx(y[1], abs=0.1)


def test_bars_stack_to_their_sum() -> None:
    rows = [svg.Row("a", (0.1, 0.3), svg.Mark(0.2, "m")), svg.Row("b", (0.0, 0.2))]
    drawn = svg.bars(rows, ("one", "two"), "unit", "plot")
    bars = re.findall(r'x="([\d.]+)" y="[\d.]+" height="14" width="([\d.]+)"', drawn)
    (x0, w0), (x1, w1), (_, w2) = [(float(x), float(w)) for x, w in bars]
    assert w1 == pytest.approx(3 * w0, abs=0.3)
    assert w2 == pytest.approx(2 * w0, abs=0.3)
    assert x1 == pytest.approx(x0 + w0, abs=0.2)
    mark = re.search(r'<line class="mark" x1="([\d.]+)"', drawn)
    assert mark is not None
    assert float(mark[1]) == pytest.approx(x0 + 2 * w0, abs=0.2)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (97.3, 99.4, [97.5, 98, 98.5, 99]),
        (0, 7, [0, 2, 4, 6]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert svg.ticks(low, high) == pytest.approx(expected)


def test_the_report_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from spikesim.convert.report import ConversionReport\n"
        "ConversionReport('max', 4, 10, 0.9, {4: 0.8}).to_html()\n"
        "print([m for m in ('torch', 'matplotlib', 'scipy') if sys.modules.get(m)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
