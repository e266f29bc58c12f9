"""Every library cell and option that `from_torch` reads: what bench/conformance.py compares.

A cell is one entry of CELLS: add a line, and the table has a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

THETA, LEAK, RESET, TAU, BETA, ALPHA = 0.75, 0.125, -0.25, 4.0, 0.75, 0.5


@dataclass(frozen=True)
class Cell:
    """One row of the table."""

    library: str
    cell: str
    options: str
    make: Callable[[int], nn.Module]
    """Makes the neuron for a number of neurons."""

    container: Callable[..., nn.Module] = nn.Sequential
    """Takes Linear, neuron, Linear, neuron."""

    @property
    def name(self) -> str:
        """Library, cell and options in one."""
        return " ".join(part for part in (self.library, self.cell, self.options) if part)


def snntorch(cell: str, text: str = "", sized: bool = False, **options: Any) -> Cell:
    """snnTorch's, with hidden states."""

    def make(n: int) -> nn.Module:
        import snntorch as snn

        decays: dict[str, Any] = {"beta": BETA}
        if "Synaptic" in cell:
            decays["alpha"] = ALPHA
        if cell == "Lapicque":
            decays = {"R": 4.0, "C": 1.0, "time_step": 1.0}
        if cell == "Alpha":
            decays = {"alpha": 0.875, "beta": 0.625}
        given = {k: v(n) if callable(v) else v for k, v in options.items()}
        size = {"linear_features": n} if sized else {}
        return getattr(snn, cell)(
            **{"threshold": THETA, "init_hidden": True, **decays, **size, **given}
        )

    shown = ", ".join(f"{k}={v!r}" for k, v in options.items() if not callable(v))
    return Cell("snnTorch", cell, text or shown, make)


def parallel(cell: str, **options: Any) -> Cell:
    """snnTorch's that take a whole sequence; those with weights stand behind none of their own."""

    def make(n: int) -> nn.Module:
        import snntorch as snn
        from snntorch._neurons.leakykernel import LeakyKernel

        if cell in ("LinearLeaky", "StateLeaky"):
            sizes = (n, n) if cell == "LinearLeaky" else (n,)
            # With its membrane, which only the last may return.
            module = getattr(snn, cell)(BETA, *sizes, threshold=THETA, **options)
            return Spikes(module)
        kind = LeakyKernel if cell == "LeakyKernel" else snn.LeakyParallel
        module = kind(n, n, beta=BETA, threshold=THETA, **options)
        with torch.no_grad():
            module.rnn.weight_hh_l0.copy_(BETA * torch.eye(n))
        return module

    return Cell("snnTorch", cell, "a sequence", make)


class Spikes(nn.Module):
    """The spikes of a neuron that returns its membrane too."""

    def __init__(self, neuron: nn.Module) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The first of what the neuron returns."""
        spikes: torch.Tensor = self.neuron(x)[0]
        return spikes


def looped(cell: str) -> Cell:
    """A SpikingJelly container that hears its own output."""

    def make(n: int) -> nn.Module:
        from spikingjelly.activation_based import layer, neuron

        inner = neuron.IFNode(THETA, RESET)
        if cell == "LinearRecurrentContainer":
            return layer.LinearRecurrentContainer(inner, n, n)
        return layer.ElementWiseRecurrentContainer(inner, lambda x, y: x + y)

    return Cell("SpikingJelly", cell, "of an IFNode", make)


def spikingjelly(cell: str, **options: Any) -> Cell:
    """SpikingJelly's, single-step unless told otherwise."""

    def make(n: int) -> nn.Module:
        from spikingjelly.activation_based import neuron

        # Those that have no threshold of their own to choose.
        fixed = cell in ("HalfThresholdIFNode", "ActivationAwareIFNode")
        if cell.startswith("NonSpiking"):
            fixed = True
        if cell.startswith("DSR"):
            return getattr(neuron, cell)(**{"v_threshold": THETA, **options})
        given = options if fixed else {"v_threshold": THETA, **options}
        module = getattr(neuron, cell)(**given)
        if getattr(module, "step_mode", "s") == "m":
            module.store_v_seq = True
        return module

    return Cell("SpikingJelly", cell, ", ".join(f"{k}={v!r}" for k, v in options.items()), make)


def norse(
    cell: str, parameters: str, text: str = "", weights: bool = False, **options: Any
) -> Cell:
    """Norse's, in a SequentialState."""

    def make(n: int) -> nn.Module:
        import norse.torch as library
        from norse.torch.functional.reset import reset_subtract

        given = {k: torch.tensor(v) if isinstance(v, float) else v for k, v in options.items()}
        if given.get("reset_method") == "reset_subtract":
            given["reset_method"] = reset_subtract
        p = getattr(library, parameters)(**given)
        if "Refrac" in cell:
            p = library.LIFRefracParameters(p, torch.tensor(2.0))
        return getattr(library, cell)(*((n, n) if weights else ()), p=p, dt=2.0**-10)

    def container(*modules: nn.Module) -> nn.Module:
        import norse.torch as library

        if not cell.endswith("Cell"):
            # Over a whole sequence, as its neurons.
            lifted = (library.Lift(m) if isinstance(m, nn.Linear) else m for m in modules)
            return library.SequentialState(*lifted)
        return library.SequentialState(*modules)

    return Cell("Norse", cell, text, make, container)


def sinabs(cell: str, text: str = "", recurrent: bool = False, **options: Any) -> Cell:
    """Sinabs'."""

    def make(n: int) -> nn.Module:
        from sinabs import activation, layers

        given = dict(options)
        if "reset_fn" in given:
            given["reset_fn"] = getattr(activation, given["reset_fn"])()
        if given.get("spike_fn") == "SingleSpike":
            given["spike_fn"] = activation.SingleSpike
        elif "spike_fn" in given:
            given["spike_fn"] = activation.MaxSpike(2)
        if recurrent:
            given["rec_connect"] = nn.Linear(n, n)
        if not cell.startswith("ExpLeak"):
            given["spike_threshold"] = torch.tensor(THETA)
        return getattr(layers, cell)(**given)

    shown = ", ".join(f"{k}={v!r}" for k, v in options.items() if k != "batch_size")
    return Cell("Sinabs", cell, text or shown, make)


def own(cell: str, **options: Any) -> Cell:
    """spikesim.train's."""

    def make(n: int) -> nn.Module:
        import spikesim as ss

        return getattr(ss.train, cell)(**{"v_threshold": THETA, **options})

    text = ", ".join(f"{k}={v!r}" for k, v in options.items())
    return Cell("spikesim.train", cell, text, make)


def vector(n: int) -> torch.Tensor:
    """A decay for each neuron."""
    return torch.linspace(0.25, 0.875, n)


RESETS = ("subtract", "zero", "none")
INVERSE = {"tau_mem_inv": 256.0, "v_leak": LEAK}
SYNAPSE = {"tau_syn_inv": 512.0}
FIRING = {"v_th": 0.5, "v_reset": RESET}

CELLS: list[Cell] = [
    *(
        snntorch(cell, reset_mechanism=reset, **({} if delay else {"reset_delay": False}))
        for cell in ("Leaky", "Synaptic")
        for reset in RESETS
        for delay in (True, False)
    ),
    snntorch("Leaky", "a beta and a threshold for each neuron", beta=vector, threshold=vector),
    snntorch("Leaky", graded_spikes_factor=0.5),
    *(snntorch("Lapicque", reset_mechanism=reset) for reset in RESETS),
    *(snntorch("Alpha", reset_mechanism=reset) for reset in RESETS),
    *(
        snntorch(cell, f"all to all, {reset!r}", sized=True, reset_mechanism=reset)
        for cell in ("RLeaky", "RSynaptic")
        for reset in RESETS
    ),
    snntorch("RLeaky", "one to one", all_to_all=False, V=-0.25),
    *(parallel(cell) for cell in ("StateLeaky", "LinearLeaky", "LeakyParallel", "LeakyKernel")),
    *(spikingjelly("IFNode", v_reset=r) for r in (None, RESET)),
    *(
        spikingjelly("LIFNode", tau=TAU, decay_input=decay, v_reset=r)
        for decay in (True, False)
        for r in (None, RESET)
    ),
    spikingjelly("LIFNode", tau=TAU, step_mode="m"),
    *(
        spikingjelly("ParametricLIFNode", init_tau=TAU, decay_input=decay, v_reset=r)
        for decay in (True, False)
        for r in (None, RESET)
    ),
    *(spikingjelly("CUBALIFNode", c_decay=ALPHA, v_decay=BETA, v_reset=r) for r in (None, RESET)),
    spikingjelly("SimpleIFNode", v_reset=RESET),
    spikingjelly("HalfThresholdIFNode"),
    spikingjelly("SimpleLIFNode", tau=TAU, decay_input=False, v_reset=RESET),
    spikingjelly("KLIFNode", tau=TAU),
    *(spikingjelly(cell) for cell in ("ActivationAwareIFNode", "TernaryIFNode")),
    spikingjelly("TernaryLIFNode", tau=TAU),
    *(spikingjelly(cell, tau=TAU) for cell in ("OTTTLIFNode", "SLTTLIFNode")),
    spikingjelly("SimpleIFNode", v_reset=None),
    spikingjelly("SimpleLIFNode", tau=TAU, decay_input=True, v_reset=0.0),
    *(
        spikingjelly("KLIFNode", tau=TAU, scale_reset=scale, v_reset=r)
        for scale, r in ((True, 0.0), (False, None))
    ),
    *(spikingjelly(cell, v_reset=RESET) for cell in ("ActivationAwareIFNode", "TernaryIFNode")),
    spikingjelly("DSRIFNode", T=32),
    spikingjelly("DSRLIFNode", T=32, tau=TAU, delta_t=0.5),
    *(looped(f"{kind}RecurrentContainer") for kind in ("ElementWise", "Linear")),
    norse("IAFCell", "IAFParameters", v_th=THETA, v_reset=RESET),
    norse("LIFBoxCell", "LIFBoxParameters", "reset_value", **INVERSE, **FIRING),
    norse(
        "LIFBoxCell",
        "LIFBoxParameters",
        "reset_subtract",
        reset_method="reset_subtract",
        **INVERSE,
        **FIRING,
    ),
    norse("LIFCell", "LIFParameters", **INVERSE, **SYNAPSE, **FIRING),
    norse("LIBoxCell", "LIBoxParameters", **INVERSE),
    norse("LICell", "LIParameters", **INVERSE, **SYNAPSE),
    norse("LILinearCell", "LIParameters", weights=True, **INVERSE, **SYNAPSE),
    *(
        norse(
            f"LIF{kind}",
            "LIFParameters",
            weights="Recurrent" in kind,
            **INVERSE,
            **SYNAPSE,
            **FIRING,
        )
        for kind in ("RecurrentCell", "RefracCell", "RefracRecurrentCell")
    ),
    *(
        norse(
            f"LSNN{kind}",
            "LSNNParameters",
            weights="Recurrent" in kind,
            tau_adapt_inv=512.0,
            beta=0.25,
            **INVERSE,
            **SYNAPSE,
            **FIRING,
        )
        for kind in ("Cell", "RecurrentCell")
    ),
    norse("IAF", "IAFParameters", "a sequence", v_th=THETA, v_reset=RESET),
    norse("LIF", "LIFParameters", "a sequence", **INVERSE, **SYNAPSE, **FIRING),
    norse("LI", "LIParameters", "a sequence", **INVERSE, **SYNAPSE),
    norse(
        "LIFRecurrent", "LIFParameters", "a sequence", weights=True, **INVERSE, **SYNAPSE, **FIRING
    ),
    norse(
        "LIFRefracRecurrent",
        "LIFParameters",
        "a sequence",
        weights=True,
        **INVERSE,
        **SYNAPSE,
        **FIRING,
    ),
    *(
        norse(
            cell,
            "LSNNParameters",
            "a sequence",
            weights="Recurrent" in cell,
            tau_adapt_inv=512.0,
            beta=0.25,
            **INVERSE,
            **SYNAPSE,
            **FIRING,
        )
        for cell in ("LSNN", "LSNNRecurrent")
    ),
    sinabs("IAF", "MultiSpike"),
    sinabs("IAF", spike_fn="SingleSpike"),
    sinabs("IAF", spike_fn="MaxSpike(2)"),
    sinabs("IAF", min_v_mem=-0.5),
    sinabs("IAF", reset_fn="MembraneReset"),
    sinabs("IAFSqueeze", "MultiSpike", batch_size=1),
    sinabs("LIF", tau_mem=TAU),
    sinabs("LIF", tau_mem=TAU, norm_input=False),
    sinabs("LIF", tau_mem=TAU, tau_syn=2.0),
    sinabs("LIF", tau_mem=TAU, train_alphas=True),
    sinabs("ExpLeak", tau_mem=TAU),
    sinabs("ALIF", tau_mem=TAU, tau_adapt=8.0, adapt_scale=0.5),
    sinabs("LIFSqueeze", "tau_mem=4.0", tau_mem=TAU, batch_size=1),
    sinabs("ExpLeakSqueeze", "tau_mem=4.0", tau_mem=TAU, batch_size=1),
    sinabs("IAFRecurrent", recurrent=True, spike_fn="SingleSpike"),
    sinabs("LIFRecurrent", tau_mem=TAU, recurrent=True),
    sinabs("ALIFRecurrent", tau_mem=TAU, tau_adapt=8.0, adapt_scale=0.5, recurrent=True),
    own("IF"),
    own("IF", reset="to_value", v_reset=RESET),
    own("LIF", alpha_mem=BETA, fires=">"),
    own("LIF", alpha_mem=BETA, v_leak=LEAK, step_mode="m"),
]
