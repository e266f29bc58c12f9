"""One row of a scenario, and what every contestant on it has."""

from __future__ import annotations

import importlib.metadata
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import spikesim as ss
from networks import NETWORKS, NeuronFactory, build, calibrated, inputs

Counts = dict[str, int]

# Fraction of the largest output by which a float32 engine may differ from torch on an ANN.
ROUNDING = 1e-4


class Row:
    """A network with its weights, an input, a number of steps."""

    def __init__(self, network: str, rate: float, batch: int, n_steps: int, threads: int) -> None:
        self.network, self.rate, self.batch = network, rate, batch
        self.n_steps, self.threads = n_steps, threads
        self.tolerance = NETWORKS[network].tolerance
        self.model = calibrated(network, rate, n_steps)
        self.x = inputs(network, batch)
        self.calibration = inputs(network, max(batch, NETWORKS[network].calibration))
        self.net = ss.from_torch(self.model, NETWORKS[network].shape)

    def with_neurons(self, neuron: NeuronFactory) -> nn.Sequential:
        """The same weights with other neurons or activations."""
        model = build(self.network, neuron)
        weights = {
            name: value
            for name, value in self.model.state_dict().items()
            if name.endswith(("weight", "bias"))
        }
        model.load_state_dict(weights, strict=False, assign=True)
        return model.eval()

    @cached_property
    def hard(self) -> ss.Network:
        """The network with a reset to 0 and v > 1 for v >= 1: what Norse's IAF is."""
        model = self.with_neurons(lambda: ss.train.IF(reset="to_value", v_reset=0.0, fires=">"))
        return ss.from_torch(model, NETWORKS[self.network].shape)

    @cached_property
    def ann(self) -> nn.Sequential:
        """The network with ReLU in the neurons' place."""
        return self.with_neurons(nn.ReLU)

    @cached_property
    def ann_output(self) -> NDArray[Any]:
        """What torch computes for the ANN."""
        with torch.inference_mode():
            return np.asarray(self.ann(self.x).numpy())

    @cached_property
    def weight_bytes(self) -> int:
        """Of all parameters, in float32."""
        return 4 * sum(p.numel() for p in self.model.parameters())

    @cached_property
    def largest(self) -> int:
        """Elements of the largest value in the network, of one sample."""
        return max(int(np.prod(node.shape)) for node in self.net.nodes)

    @cached_property
    def neurons(self) -> int:
        """Neurons of one sample."""
        return sum(int(np.prod(n.shape)) for n in self.net.nodes if n.kind == "neuron")


class Contestant:
    """One engine on one row."""

    name = ""
    package = ""
    needs: ClassVar[tuple[str, ...]] = ()
    """Modules beside the package's own."""
    precision = "f32"
    spiking = True
    options = ""

    def __init__(self, row: Row) -> None:
        self.row = row

    @classmethod
    def bytes_needed(cls, row: Row) -> int:
        """An estimate: the weights in the engine's layout, values in flight, state."""
        values = 3 * row.largest + (2 * row.neurons if cls.spiking else 0)
        return row.weight_bytes + 4 * row.batch * values

    def settle(self) -> None:
        """Chooses what is fastest here, before anything is measured; and warms up."""
        self.run()

    def run(self) -> NDArray[Any]:
        """The timed call: the readout summed over the steps, (N, n_out)."""
        raise NotImplementedError

    def check(self) -> Counts:
        """Spikes by neuron layer."""
        raise NotImplementedError

    def verify(self, reference: Contestant) -> bool | None:
        """Whether the answer is right; None where nothing says what it should be."""
        if self.check() != reference.check():
            return False
        return close(self.run(), reference.run(), self.row.tolerance)

    def agreement(self, reference: Contestant) -> float | None:
        """Fraction of the samples with the prediction of the same network in float32, where the
        engine is not exact."""
        return None

    @classmethod
    def version(cls) -> str:
        """The version of what is measured."""
        return importlib.metadata.version(cls.package)


def close(mine: NDArray[Any], other: NDArray[Any], tolerance: float) -> bool:
    """Equal, or with a tolerance near in units of the largest value."""
    if mine.shape != other.shape:
        return False
    if tolerance == 0:
        return bool(np.array_equal(mine, other))
    return bool(np.abs(mine - other).max() <= tolerance * np.abs(other).max())


def same_predictions(mine: NDArray[Any], other: NDArray[Any]) -> float:
    """Fraction of the samples with the same largest output."""
    return float((mine.argmax(1) == other.argmax(1)).mean())
