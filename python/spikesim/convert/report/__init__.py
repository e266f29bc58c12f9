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
from spikesim.convert.report.findings import (
    Limits,
    diagnose,
    dropped_softmax,
    functional_call,
    max_pool,
    reused_module,
    unfolded_batch_norm,
)
from spikesim.convert.report.intervals import wilson
from spikesim.convert.report.layers import LayerMeter, LayerReport
from spikesim.convert.report.predict import StepsPrediction, predict_steps
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
    "Limits",
    "Parts",
    "Severity",
    "StepsPrediction",
    "Unconverted",
    "bounded_drive_count",
    "diagnose",
    "dropped_softmax",
    "expected_error",
    "functional_call",
    "hhat",
    "max_pool",
    "mean_drive",
    "predict_steps",
    "q_counts",
    "q_t",
    "reused_module",
    "split",
    "unfolded_batch_norm",
    "wilson",
]
