"""Training with gradients, in torch: spikesim's own neuron modules and surrogate gradients.

The modules compute rule S3 in the order of operations of the engine, so a network that was
trained here runs in the engine with the same spikes (`spikesim.from_torch`). `to_torch` goes the
other way: a network as a module to train. State dicts and their files are safetensors.

Example:
    >>> import torch, spikesim as ss
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), ss.train.IF(reset="subtract"))
    >>> spikes = ss.train.unroll(net, torch.rand(2, 4), n_steps=5)  # (T, N, 3)
"""

from spikesim.train.augment import Affine, Augmentations, CropFlip, Cutout
from spikesim.train.files import load_state_dict, save_state_dict
from spikesim.train.fit import FitResult, accuracy, fit
from spikesim.train.hybrid import Epoch, HybridResult, hybrid
from spikesim.train.network import NetworkState, TorchNetwork, TorchRun, to_torch
from spikesim.train.neurons import IF, LIF, Neuron, SpikingModule, reset_states, unroll
from spikesim.train.qcfs import QCFS
from spikesim.train.surrogate import (
    STDB,
    ATan,
    FastSigmoid,
    Gaussian,
    Rectangular,
    RelativeLinear,
    Sigmoid,
    Surrogate,
    Triangular,
)
from spikesim.train.swap import swap_activations
from spikesim.train.weights import state_dict, with_weights

__all__ = [
    "IF",
    "LIF",
    "QCFS",
    "STDB",
    "ATan",
    "Affine",
    "Augmentations",
    "CropFlip",
    "Cutout",
    "Epoch",
    "FastSigmoid",
    "FitResult",
    "Gaussian",
    "HybridResult",
    "NetworkState",
    "Neuron",
    "Rectangular",
    "RelativeLinear",
    "Sigmoid",
    "SpikingModule",
    "Surrogate",
    "TorchNetwork",
    "TorchRun",
    "Triangular",
    "accuracy",
    "fit",
    "hybrid",
    "load_state_dict",
    "reset_states",
    "save_state_dict",
    "state_dict",
    "swap_activations",
    "to_torch",
    "unroll",
    "with_weights",
]
