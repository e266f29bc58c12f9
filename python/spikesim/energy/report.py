"""The report: joules with their interval, by layer and by operation; formatted only at the edge."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from typing import Any

from spikesim.energy.profile import Constant, Profile
from spikesim.errors import MissingExtraError


@dataclass(frozen=True)
class Energy:
    """One operation of one layer: how often, and what that costs in joules."""

    count: int
    joules: float
    low: float
    high: float

    @classmethod
    def of(cls, count: int, *constants: Constant) -> Energy:
        """``count`` operations, each costing all of ``constants``."""
        return cls(
            count=count,
            joules=count * math.fsum(c.value for c in constants),
            low=count * math.fsum(c.low for c in constants),
            high=count * math.fsum(c.high for c in constants),
        )


@dataclass(frozen=True)
class LayerEnergy:
    """One layer; its joules are the sum of its terms."""

    terms: dict[str, Energy]

    @property
    def joules(self) -> float:
        """Best estimate, J."""
        return math.fsum(t.joules for t in self.terms.values())

    @property
    def low(self) -> float:
        """Lower end of the interval, J."""
        return math.fsum(t.low for t in self.terms.values())

    @property
    def high(self) -> float:
        """Upper end of the interval, J."""
        return math.fsum(t.high for t in self.terms.values())


@dataclass(frozen=True)
class EnergyReport:
    """Energy of a run of ``n_samples`` samples under one profile.

    ``joules``, ``low`` and ``high`` are sums over the layers (``math.fsum``: exact, whatever the
    order) for the whole run; ``joules_per_sample`` divides by the number of samples.
    """

    what: str
    profile: Profile
    n_samples: int
    layers: dict[str, LayerEnergy]
    not_modelled: tuple[str, ...]

    @property
    def joules(self) -> float:
        """Best estimate for the whole run, J."""
        return math.fsum(layer.joules for layer in self.layers.values())

    @property
    def low(self) -> float:
        """Lower end of the interval, J."""
        return math.fsum(layer.low for layer in self.layers.values())

    @property
    def high(self) -> float:
        """Upper end of the interval, J."""
        return math.fsum(layer.high for layer in self.layers.values())

    @property
    def joules_per_sample(self) -> float:
        """Best estimate for one sample, J."""
        return self.joules / self.n_samples

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data; energies in joules."""
        return {
            "what": self.what,
            "profile": {
                "id": self.profile.id,
                "name": self.profile.name,
                "level": self.profile.level,
                "kind": self.profile.kind,
                "includes": list(self.profile.includes),
                "excludes": list(self.profile.excludes),
                "constants": {
                    name: {
                        "joules": c.value,
                        "low": c.low,
                        "high": c.high,
                        "kind": c.kind,
                        "source": c.source,
                        "doi": c.doi,
                        "verified": c.verified,
                    }
                    for name, c in self.profile.constants.items()
                },
            },
            "n_samples": self.n_samples,
            "joules": self.joules,
            "low": self.low,
            "high": self.high,
            "layers": {
                name: {
                    "joules": layer.joules,
                    "low": layer.low,
                    "high": layer.high,
                    "terms": {
                        term: {"count": e.count, "joules": e.joules, "low": e.low, "high": e.high}
                        for term, e in layer.terms.items()
                    },
                }
                for name, layer in self.layers.items()
            },
            "not_modelled": list(self.not_modelled),
        }

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON; every number comes back as it was."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_csv(self) -> str:
        """Long form, a line for each layer and operation: layer,term,count,joules,low,high."""
        out = io.StringIO()
        # Text in quotes: a node may have any name. Numbers as repr, which reads back exactly.
        writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(["layer", "term", "count", "joules", "low", "high"])
        for name, layer in self.layers.items():
            for term, e in layer.terms.items():
                writer.writerow([name, term, e.count, e.joules, e.low, e.high])
        return out.getvalue()

    def plot(self) -> Any:
        """Stacked bars, one a layer, with the interval; returns matplotlib's Figure.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingExtraError(
                "energy: plotting needs matplotlib; install spikesim[plot]"
            ) from error
        from spikesim.energy.plot import draw

        return draw(self, Figure(figsize=(7, 4), layout="constrained"))
