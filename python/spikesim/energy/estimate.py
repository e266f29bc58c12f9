"""Counts × constants: the spiking network's side."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from spikesim.energy.profile import Constant, Profile, load_profile
from spikesim.energy.report import Energy, EnergyReport, LayerEnergy
from spikesim.errors import InputError
from spikesim.ops import Neuron

if TYPE_CHECKING:
    from spikesim.network import Network

#: What no profile of level "compute" prices; said in every report rather than counted as zero.
NOT_MODELLED = (
    "threshold comparisons and resets",
    "bias additions",
    "pooling",
    "memory access",
    "spike communication",
    "static power",
)


def report(
    counts_by_layer: Mapping[str, Mapping[str, int]],
    profile: str | os.PathLike[str],
    n_samples: int,
    leaky: set[str] | frozenset[str] = frozenset(),
) -> EnergyReport:
    """Prices the counts of a run.

    A synaptic operation (a spike meets a weight) is an addition; a MAC (a graded or analog value
    meets a weight) is a multiplication and an addition; a neuron's update is an addition, and a
    multiplication more where the neuron leaks.

    Args:
        counts_by_layer: Layer → ``synops``, ``macs``, ``neuron_updates`` of the whole run, as
            ``result.counts.by_layer()`` gives them; other keys are ignored.
        profile: Id of a shipped profile or path of a ``.toml``.
        n_samples: Samples in the run.
        leaky: Names of neuron layers whose state decays (:func:`leaky_layers`).

    Raises:
        InputError: no such profile, or no sample.
        FormatError: the profile's file is broken, or lacks a constant that is needed.
    """
    prices = load_profile(profile)
    _positive(n_samples)
    add, mul = constant(prices, "add"), constant(prices, "mul")
    layers: dict[str, LayerEnergy] = {}
    for name, counts in counts_by_layer.items():
        update = (add, mul) if name in leaky else (add,)
        terms = {
            "synops": Energy.of(counts.get("synops", 0), add),
            "macs": Energy.of(counts.get("macs", 0), mul, add),
            "neuron_updates": Energy.of(counts.get("neuron_updates", 0), *update),
        }
        layers[name] = LayerEnergy({term: energy for term, energy in terms.items() if energy.count})
    return EnergyReport("spiking network", prices, n_samples, layers, NOT_MODELLED)


def leaky_layers(net: Network) -> set[str]:
    """Populations whose update multiplies: a membrane that decays, or a synaptic current."""
    return {
        node.name
        for node in net.nodes
        # The kind first: asking a layer with weights for its op copies them.
        if node.kind == "neuron"
        and isinstance(node.op, Neuron)
        and (node.op.synapse != "none" or bool(np.any(node.op.alpha_mem != 1.0)))
    }


def constant(profile: Profile, name: str) -> Constant:
    """A constant that the model can't do without."""
    if name not in profile.constants:
        raise InputError(
            f"energy: profile {profile.id} has no constant {name}, expected one; "
            "a missing price is not zero"
        )
    return profile.constants[name]


def _positive(n_samples: int) -> None:
    if n_samples < 1:
        raise InputError(f"energy: n_samples is {n_samples}, expected at least 1")
