"""Whether a network does what its library's own does: spike by spike, layer by layer.

`check` runs seeded inputs through the network and through the original (the library's own cells,
a live torch module, recorded traces) and reports, for each population, whether spikes are equal,
how far membranes are apart, and where the first difference is and whether rounding explains it.
torch and the libraries are imported when a comparison needs them.
"""

from spikesim.conformance.check import check
from spikesim.conformance.report import Comparison, ConformanceReport, Difference, LayerReport
from spikesim.conformance.rounding import BAR

__all__ = ["BAR", "Comparison", "ConformanceReport", "Difference", "LayerReport", "check"]
