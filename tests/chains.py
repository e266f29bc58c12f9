"""Small networks in a row, and the torch modules that they are of."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import spikesim as ss

SNN = {"alpha_mem": 0.85, "fires": ">", "reset_timing": "next_step_after"}


def chain(*fields: dict[str, Any], weights: int = 7, size: int = 20, **common: Any) -> ss.Network:
    """Linear layers on the grid k/16 and populations n0, n1, …"""
    rng = np.random.default_rng(weights)
    net = ss.Network((size,))
    for depth, own in enumerate(fields):
        net.add(ss.Linear(rng.integers(-5, 9, (size, size)) / 16), name=f"fc{depth}")
        net.add(ss.Neuron(**{"v_threshold": 0.75, **common, **own}), name=f"n{depth}")
    return net


def leaky(beta: float = 0.85, threshold: float = 0.75, **options: Any) -> Any:
    import snntorch

    return snntorch.Leaky(beta=beta, threshold=threshold, init_hidden=True, **options)


def module_of(net: ss.Network, *neurons: nn.Module) -> nn.Module:
    """A torch module with the weights of `chain`, its neurons called n0, n1, …"""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for depth, neuron in enumerate(neurons):
                weight = net.node(f"fc{depth}").op.weight
                linear = nn.Linear(*weight.shape[::-1], bias=False)
                linear.weight.data = torch.from_numpy(np.array(weight))
                setattr(self, f"fc{depth}", linear)
                setattr(self, f"n{depth}", neuron)

        def forward(self, x: Any) -> Any:
            for depth in range(len(neurons)):
                x = getattr(self, f"n{depth}")(getattr(self, f"fc{depth}")(x))
            return x

    return Model()
