"""Training with gradients, in torch: spikesim's own neuron modules and surrogate gradients.

The modules compute rule S3 in the order of operations of the engine, so a network that was
trained here runs in the engine with the same spikes (`spikesim.from_torch`).

Example:
    >>> import torch, spikesim as ss
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), ss.train.IF(reset="subtract"))
    >>> spikes = ss.train.unroll(net, torch.rand(2, 4), n_steps=5)  # (T, N, 3)
"""

from spikesim.train.neurons import IF, LIF, SpikingModule, reset_states, unroll
from spikesim.train.surrogate import (
    ATan,
    FastSigmoid,
    Gaussian,
    Rectangular,
    Sigmoid,
    Surrogate,
    Triangular,
)

__all__ = [
    "IF",
    "LIF",
    "ATan",
    "FastSigmoid",
    "Gaussian",
    "Rectangular",
    "Sigmoid",
    "SpikingModule",
    "Surrogate",
    "Triangular",
    "reset_states",
    "unroll",
]
