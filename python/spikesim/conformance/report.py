"""What a conformance check gives back: rows, a table, JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal[
    "equal", "within rounding", "follows", "differs", "silent", "no cell", "not recorded"
]

#: What of them a check does not pass: a difference that rounding does not explain, and a
#: population that the library was asked for and has no cell for.
FAILS = ("differs", "no cell")

#: What proves nothing: no pass either, unless it is allowed.
UNPROVED = ("silent", "not recorded")


@dataclass(frozen=True)
class Difference:
    """One entry where two sides part, ours and theirs."""

    step: int
    sample: int
    neuron: int
    """C-order index in the population's shape."""

    spikes: float
    spikes_theirs: float
    v: float
    """Membrane at the end of the step."""

    v_theirs: float | None
    h: float
    """Our membrane as it met the threshold."""

    threshold: float
    margin: float
    """|h − threshold|."""

    rounding: float
    """What counts as rounding: BAR·(1 + the largest of |h| and input so far, of this neuron)."""

    proved: bool = False
    """Whether both sides decided about the same number: that is no rounding at any margin."""

    @property
    def within_rounding(self) -> bool:
        """Whether rounding explains it."""
        return self.margin <= self.rounding and not self.proved

    def __str__(self) -> str:
        theirs = "" if self.v_theirs is None else f", v {self.v_theirs:.8g}"
        word = "within" if self.margin <= self.rounding else "outside"
        same = "; both had the same number" if self.proved else ""
        return (
            f"step {self.step}, sample {self.sample}, neuron {self.neuron}: "
            f"{self.spikes:g} spikes from {self.h:.8g} at θ {self.threshold:.8g}, v {self.v:.8g}; "
            f"theirs {self.spikes_theirs:g}{theirs}; margin {self.margin:.2g}, "
            f"{word} rounding {self.rounding:.2g}{same}"
        )


@dataclass(frozen=True)
class Comparison:
    """Two runs of one population, up to where they part.

    End to end a sample is compared until the first step in which any population of it differs;
    a population alone, neuron by neuron. What comes after is another history, and only counted.
    """

    spikes: int
    spikes_theirs: int
    different: int
    """Entries (step, sample, neuron) with another number of spikes."""

    parted: int
    """Those at which the sides part; the others follow."""

    unexplained: int
    """Those of `parted` that are outside rounding."""

    max_dv: float | None
    """Largest |Δv|; None where the other side shows no membrane."""

    bar: float | None
    """BAR·(1 + max|v|)."""

    beyond: int
    """Entries whose |Δv| is more than rounding, by the size of their own neuron's values."""

    first: Difference | None
    """The first of `parted`, or the first that rounding does not explain."""

    @property
    def verdict(self) -> Verdict:
        """In a word."""
        if self.unexplained or self.beyond:
            return "differs"
        if self.parted:
            return "within rounding"
        return "follows" if self.different else "equal"


@dataclass(frozen=True)
class LayerReport:
    """One population, or the output where that is none."""

    name: str
    cell: str
    """What ran in its place on the other side."""

    neurons: int
    verdict: Verdict
    end_to_end: Comparison | None = None
    """Each side feeds itself."""

    alone: Comparison | None = None
    """Our population, fed with the input that theirs had."""

    ties: Literal["equal", "differs"] | None = None
    """Whether both test a membrane that is the threshold alike; None: it could not be tried."""

    note: str = ""

    @property
    def equal(self) -> bool:
        """Whether every spike is equal."""
        runs = [run for run in (self.end_to_end, self.alone) if run is not None]
        return bool(runs) and not any(run.different for run in runs)


@dataclass(frozen=True)
class ConformanceReport:
    """What `check` found."""

    against: str
    """The other side: a library, a module, a file."""

    version: str | None
    """Of the library, where one ran."""

    n_steps: int
    samples: int
    seed: int | None
    """Of the inputs; None: they were given."""

    scale: float | None
    """Factor of the seeded inputs."""

    layers: tuple[LayerReport, ...]
    notes: tuple[str, ...] = field(default=())
    allow: tuple[str, ...] = ()
    """Which of UNPROVED pass."""

    @property
    def ok(self) -> bool:
        """Nothing differs beyond rounding, every population had a cell and was proved.

        What proves nothing may be allowed, but not of all.
        """
        shown = [row for row in self.layers if row.verdict not in UNPROVED]
        fails = any(row.verdict in FAILS for row in self.layers)
        return bool(shown) and not fails and not self.unproved

    @property
    def unproved(self) -> tuple[str, ...]:
        """Names of the rows that proved nothing, and are not allowed to."""
        found = set(UNPROVED) - set(self.allow)
        return tuple(row.name for row in self.layers if row.verdict in found)

    def layer(self, name: str) -> LayerReport:
        """The row called `name`."""
        return next(row for row in self.layers if row.name == name)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "against": self.against,
            "version": self.version,
            "ok": self.ok,
            "n_steps": self.n_steps,
            "samples": self.samples,
            "seed": self.seed,
            "scale": self.scale,
            "notes": list(self.notes),
            "allow": list(self.allow),
            "unproved": list(self.unproved),
            "layers": [_row(row) for row in self.layers],
        }

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def __str__(self) -> str:
        return _table(self)


def _row(row: LayerReport) -> dict[str, Any]:
    return {
        "name": row.name,
        "cell": row.cell,
        "neurons": row.neurons,
        "verdict": row.verdict,
        "spikes_equal": row.equal,
        "end_to_end": _comparison(row.end_to_end),
        "alone": _comparison(row.alone),
        "ties": row.ties,
        "note": row.note,
    }


def _comparison(run: Comparison | None) -> dict[str, Any] | None:
    if run is None:
        return None
    values = asdict(run)
    if run.first is not None:
        values["first"]["within_rounding"] = run.first.within_rounding
    return {**values, "verdict": run.verdict}


_HEAD = (
    "layer",
    "against",
    "neurons",
    "spikes",
    "different",
    "max |Δv|",
    "bar",
    "alone",
    "ties",
    "verdict",
)


def _table(report: ConformanceReport) -> str:
    version = f" {report.version}" if report.version else ""
    inputs = "given" if report.seed is None else f"seed {report.seed}, scale {report.scale:g}"
    lines = [
        f"conformance against {report.against}{version}: {report.n_steps} steps, "
        f"{report.samples} samples, inputs {inputs}"
    ]
    rows = [_HEAD, *(_cells(row) for row in report.layers)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    for row in rows:
        shown = [
            text.rjust(width) if 2 <= i <= 6 else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(shown).rstrip())
    for layer in report.layers:
        for name, run in (("", layer.end_to_end), (" alone", layer.alone)):
            if run is not None and run.first is not None:
                lines.append(f"{layer.name}{name} parts at {run.first}")
        if layer.note:
            lines.append(f"{layer.name}: {layer.note}")
    lines += report.notes
    if report.unproved:
        lines.append(f"not proved: {', '.join(report.unproved)}")
    lines.append("ok" if report.ok else "NOT ok")
    return "\n".join(lines)


def _cells(row: LayerReport) -> tuple[str, ...]:
    run = row.end_to_end or row.alone
    empty = ("",) * 4
    numbers = empty
    if run is not None:
        spikes = (
            f"{run.spikes:,}"
            if run.spikes == run.spikes_theirs
            else f"{run.spikes:,} / {run.spikes_theirs:,}"
        )
        dv = "–" if run.max_dv is None else f"{run.max_dv:.2g}"
        numbers = (spikes, f"{run.different:,}", dv, "–" if run.bar is None else f"{run.bar:.2g}")
    how = ("–" if row.alone is None else row.alone.verdict, row.ties or "–", row.verdict)
    return (row.name, row.cell, f"{row.neurons:,}", *numbers, *how)
