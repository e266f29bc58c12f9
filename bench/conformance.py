"""The table of docs/conformance.md: every library cell against its library, on random models.

    uv run --group dev python bench/conformance.py [NAME ...] [--write] [--json] [--models N]

For each cell of bench/cells.py random models are made in the library itself, read by
`ss.from_torch`, and run side by side with `ss.conformance.check`: half of them with weights on a
grid on which sums are exact, half with free ones. Recorded networks and NIR graphs are compared
where `SPIKESIM_CASES` (or ../shared/cases) has them. All is drawn from seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from cells import CELLS, Cell  # noqa: E402
from spikesim.conformance import ConformanceReport, check  # noqa: E402

DOCUMENT = ROOT / "docs" / "conformance.md"
BEGIN, END = "<!-- table of bench/conformance.py --write -->", "<!-- end of the table -->"

#: Distribution of each library of the table.
PACKAGES = {
    "snnTorch": "snntorch",
    "SpikingJelly": "spikingjelly",
    "Norse": "norse",
    "Sinabs": "sinabs",
    "spikesim.train": "spikesim",
}
WORST = ("equal", "silent", "within rounding", "follows", "not recorded", "no cell", "differs")


@dataclass
class Row:
    """One line of the table."""

    name: str
    version: str
    populations: int = 0
    spikes: int = 0
    different: int = 0
    max_dv: float | None = None
    ties: str | None = None
    verdict: str = "equal"
    note: str = ""

    def add(self, report: ConformanceReport) -> None:
        """Takes in the populations of one model."""
        for layer in report.layers:
            runs = [run for run in (layer.end_to_end, layer.alone) if run is not None]
            self.populations += 1
            if layer.end_to_end is not None:
                self.spikes += layer.end_to_end.spikes_theirs
                self.different += layer.end_to_end.different
            for run in runs:
                if run.max_dv is not None:
                    self.max_dv = max(self.max_dv or 0.0, run.max_dv)
            if layer.ties == "differs" or self.ties is None:
                self.ties = layer.ties
            self.verdict = max(self.verdict, layer.verdict, key=WORST.index)

    def markdown(self) -> str:
        """The line."""
        dv = "–" if self.max_dv is None else f"{self.max_dv:.1e}"
        cells = (
            self.name,
            self.version,
            f"{self.populations}",
            f"{self.spikes:,}",
            f"{self.different:,}",
            dv,
            self.ties or "–",
            self.note or self.verdict,
        )
        return f"| {' | '.join(cells)} |"


HEAD = (
    "| cell and options | version | populations | spikes | different | largest \\|Δv\\| | at θ "
    "| verdict |\n|---|---|---:|---:|---:|---:|---|---|"
)


def model(cell: Cell, seed: int, exact: bool) -> nn.Module:
    """A random model of two layers of a cell."""
    torch.manual_seed(seed)
    # One that never fires has currents, and is the last.
    layers = [nn.Linear(12, 24), cell.make(24), nn.Linear(24, 16, bias=False), cell.make(16)]
    module = cell.container(*layers)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not name.endswith(("weight", "bias", "_weights")):
                continue
            shape = tuple(parameter.shape)
            values = rng.integers(-4, 9, shape) / 16 if exact else rng.normal(0.12, 0.35, shape)
            if name.endswith("recurrent_weights"):
                np.fill_diagonal(values, 0)
            parameter.copy_(torch.from_numpy(np.asarray(values, np.float32)))
    return module.eval()


def of_cell(cell: Cell, models: int) -> Row:
    """The row of a cell: random models of the library against what `from_torch` makes of them."""
    row = Row(cell.name, metadata.version(PACKAGES[cell.library]))
    for seed in range(models):
        module = model(cell, seed, exact=seed % 2 == 0)
        try:
            net = ss.from_torch(module, (12,))
        except ss.errors.SpikesimError as error:
            row.verdict, row.note = "no cell", f"not read: {error}"
            return row
        row.add(check(net, module, n_steps=32, samples=4, seed=seed))
    return row


def recorded() -> Iterator[Row]:
    """The recorded networks and graphs, where they are."""
    from conftest import CASES as folder

    if not folder.is_dir():
        return
    import test_cases

    for path in sorted((folder / "torch").iterdir()):
        case = test_cases.Case(path)
        shape = case.arrays["x"].shape[2:]
        versions = case.meta["versions"]
        library = case.meta["library"]
        row = Row(f"recorded {path.name}", f"{library} {versions[library]}")
        row.add(check(test_cases.CASES[path.name](case, shape), path / "io.npz"))
        yield row
    yield from graphs(folder / "nir")


def graphs(folder: Path) -> Iterator[Row]:
    """The recorded NIR graphs, once `ss.load` reads them."""
    if not hasattr(ss, "NirOptions"):
        return
    for path in sorted((folder / "primitives").glob("*.nir")):
        gain = "one" if "gain_one" in path.stem else "dt"
        options = ss.NirOptions(dt=1e-3, if_gain=gain)
        row = Row(f"NIR {path.stem}", "recorded")
        row.add(check(ss.load(path, nir=options), path.with_suffix(".npz")))
        yield row
    for name, profile in (
        ("snntorch_export", "snntorch"),
        ("spikingjelly_conv1d_cuba", "spikingjelly"),
    ):
        path = folder / name
        net = ss.load(path / "graph.nir", nir=ss.NirOptions(profile=profile))
        row = Row(f"NIR {name}", "recorded")
        row.add(check(net, path / "case.npz", traces_of=f"{profile}_source"))
        yield row


def rows(names: list[str], models: int) -> Iterator[Row]:
    """All rows whose name has one of `names` in it."""

    def wanted(name: str) -> bool:
        return not names or any(n.lower() in name.lower() for n in names)

    for cell in CELLS:
        if wanted(cell.name):
            yield of_cell(cell, models)
    if not names or wanted("recorded") or wanted("NIR"):
        yield from (row for row in recorded() if wanted(row.name))


def table(found: list[Row]) -> str:
    """Markdown."""
    return "\n".join([HEAD, *(row.markdown() for row in found)])


def write(found: list[Row]) -> None:
    """Puts the table into the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{after}", encoding="utf-8")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", nargs="*", help="rows whose name has this in it; default: all")
    parser.add_argument("--write", action="store_true", help="put the table into its document")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--models", type=int, default=4, help="random models of each cell")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    found = []
    for row in rows(asked.name, asked.models):
        found.append(row)
        if not asked.json and sys.stdout.isatty():
            print(row.markdown(), flush=True)
    if asked.json:
        print(json.dumps({"rows": [asdict(row) for row in found]}))
    else:
        print(table(found))
        print("\n" + ", ".join(f"{n} {v}" for v, n in Counter(r.verdict for r in found).items()))
    if asked.write and not asked.name:
        write(found)
    return int(any(row.verdict in ("differs", "no cell", "follows") for row in found))


if __name__ == "__main__":
    sys.exit(main())
