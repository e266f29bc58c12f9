"""The conversion doctor: what a converted network lost, where, and what to do about it.

Everything here works on plain numbers (NumPy); what reads ANNs and runs networks stands beside it.

- `ErrorMeter`, `LayerMeter`: collect errors and rates of a layer over batches.
- `ConversionReport`: what `spikesim.convert` gives back beside the network.
- `diagnose`: turns numbers into findings with advice.
- `predict_steps`: how many steps are enough for a wanted accuracy.
- `q_t`, `hhat`, `bounded_drive_count`, `mean_drive`, `expected_error`: the theory.
"""

from spikesim.convert.report.entries import Finding, Severity, Unconverted
from spikesim.convert.report.errors import ErrorMeter, ErrorStats, LayerErrors, Parts, split
from spikesim.convert.report.intervals import wilson
from spikesim.convert.report.layers import LayerMeter, LayerReport
from spikesim.convert.report.report import ConversionReport
from spikesim.convert.report.theory import (
    Activation,
    bounded_drive_count,
    expected_error,
    hhat,
    mean_drive,
    q_counts,
    q_t,
)

__all__ = [
    "Activation",
    "ConversionReport",
    "ErrorMeter",
    "ErrorStats",
    "Finding",
    "LayerErrors",
    "LayerMeter",
    "LayerReport",
    "Parts",
    "Severity",
    "Unconverted",
    "bounded_drive_count",
    "expected_error",
    "hhat",
    "mean_drive",
    "q_counts",
    "q_t",
    "split",
    "wilson",
]
