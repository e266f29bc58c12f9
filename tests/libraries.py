"""Running other libraries' models, and demanding that spikesim makes the same of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import spikesim as ss
from engines import Engine, Outcome, Reference
from spikesim.conformance import BAR as BAR  # for the tests of recorded cases
from spikesim.conformance.compare import compare
from spikesim.conformance.live import recording, sequence, stepwise
from spikesim.conformance.observers import neurons
from spikesim.conformance.report import LayerReport
from spikesim.conformance.trace import Trace

#: Verdicts that no difference but rounding explains.
PASSES = ("equal", "within rounding", "silent")


def neuron_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The neuron modules of a model, whichever library they are of."""
    for name, module, _ in neurons(model):
        yield name, module


def run_library(
    model: nn.Module, x: NDArray[np.float32], call: Callable[..., Any] | None = None
) -> Trace:
    """Runs a single-step model on a raster (T, N, …) from its start, recording every neuron.

    Args:
        model: the model; its state is left as it was.
        x: the input.
        call: how one step is computed, `call(model, x[t])`; default `model(x[t])`.
    """
    return _recorded(
        model, x, lambda m, values: stepwise(m, values, call or (lambda m, now: m(now)))
    )


def run_multi_step(model: nn.Module, x: NDArray[np.float32]) -> Trace:
    """Runs a multi-step model of SpikingJelly or spikesim on (T, N, …)."""
    return _recorded(model, x, sequence)


def _recorded(model: nn.Module, x: NDArray[np.float32], run: Callable[..., torch.Tensor]) -> Trace:
    with recording(model, x.shape[1]) as recorder:
        out = run(model, torch.from_numpy(x))
    trace = Trace(out=out.numpy())
    for name, spikes in recorder.joined("out").items():
        # As numbers of spikes, like everywhere in spikesim's records.
        factor = getattr(model.get_submodule(name), "graded_spikes_factor", 1.0)
        trace.spikes[name] = (spikes / factor).detach().numpy()
    trace.v = {name: v.numpy() for name, v in recorder.joined("v").items()}
    trace.current = {name: v.numpy() for name, v in recorder.joined("current").items()}
    # Some of these cells have their weights inside, and no network is here to say which.
    trace.inner = set(trace.current)
    return trace


def reset(model: nn.Module) -> None:
    """Every neuron of snnTorch, SpikingJelly or spikesim.train back to its start."""
    for _, module in neuron_modules(model):
        if hasattr(module, "reset_mem"):
            module.reset_mem()
            module.mem = torch.zeros(0)
        elif hasattr(module, "reset_state"):
            module.reset_state()
        else:
            module.reset()


def outcomes(net: ss.Network, x: NDArray[np.float32]) -> list[tuple[str, Outcome]]:
    """What the reference and the engine make of a raster."""
    return [("reference", Reference(net).run(x)), ("engine", Engine(net).run(x))]


def assert_equal(net: ss.Network, x: NDArray[np.float32], trace: Trace) -> None:
    """Every spike and membrane equal: for weights whose sums are exact."""
    for engine, got in outcomes(net, x):
        assert got.spikes.keys() == trace.spikes.keys()
        for name, spikes in trace.spikes.items():
            np.testing.assert_array_equal(got.spikes[name], spikes, f"{engine}: spikes of {name}")
        for name, v in trace.v.items():
            np.testing.assert_array_equal(got.v[name], v, f"{engine}: v of {name}")


def _rounded(row: LayerReport) -> bool:
    """Whether spikes are as they should be and membranes within the layer's own bar.

    The report's bar is each neuron's, which a cell that scales its membrane (KLIF) may pass: what
    it rounds is larger than what it shows.
    """
    runs = [run for run in (row.end_to_end, row.alone) if run is not None]
    return all(run.different == 0 and run.max_dv <= run.bar for run in runs)


def assert_within_margin(net: ss.Network, x: NDArray[np.float32], trace: Trace) -> float:
    """Spikes equal but where a membrane lies within rounding of its threshold.

    The package's own comparison: a sample is followed up to its first step with a difference.
    Before that step membranes must be within BAR; in it, every neuron that differs in the first
    layer that does must have been within BAR of its threshold. What follows is another history.

    Returns:
        The fraction of (step, sample) pairs that were held.
    """
    held = 0.0
    for engine, got in outcomes(net, x):
        layers = {n.name for n in net.nodes if n.name in trace.spikes}
        assert got.spikes.keys() == layers
        rows = compare(net, Trace(None, got.spikes, got.v, got.current), trace)
        failed = [row for row in rows if row.verdict not in PASSES and not _rounded(row)]
        assert not failed, f"{engine}: {failed}"
        parted = np.zeros(x.shape[:2], bool)
        for name, spikes in trace.spikes.items():
            parted |= (got.spikes[name] != spikes).reshape(*x.shape[:2], -1).any(2)
        held += float((~np.logical_or.accumulate(parted, axis=0)).mean()) / 2
    return held
