"""`Ann`: an ANN as a graph with its activations, evaluated for calibration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from spikesim import ops
from spikesim.convert.ann.activation import Activation
from spikesim.errors import ShapeError
from spikesim.network import Network
from spikesim.train.arrivals import added
from spikesim.train.layers import layer

BATCH = 256
"""Samples that are evaluated at a time."""


@dataclass(frozen=True)
class Ann:
    """An ANN, its batch normalisations folded into the layers before them where that can be.

    Attributes:
        net: its graph: layers with float32 weights; an IF stands in for each activation.
        activations: by node, in the order of the graph.
        unfolded: BatchNorm nodes that stand by themselves, and why.
        softmax: the softmax that was left out at the end, as it was called; None: there was none.
        pools: maximum pools by node: "spikes" after an activation, "moved" where the activation
            stood after the pool (the two change places: an increasing function keeps the
            largest), "currents" where there is none to change with.
        raw: the graph before its batch normalisations were folded.
        folded: (layer, batch normalisation, its factors float64 (C,)) of those that were.
    """

    net: Network
    activations: Mapping[str, Activation]
    unfolded: Mapping[str, str] = field(default_factory=dict)
    softmax: str | None = None
    pools: Mapping[str, str] = field(default_factory=dict)
    raw: Any = None
    folded: tuple[tuple[str, str, Any], ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.net.input_shape

    def inputs_of(self, name: str) -> list[str]:
        """The nodes that feed a node, in the order of its edges."""
        return [src for src, dst, _ in self.net.edges if dst == name]

    def consumers_of(self, name: str) -> list[str]:
        """The nodes that a node feeds."""
        return [dst for src, dst, _ in self.net.edges if src == name]

    def evaluator(self) -> Evaluator:
        """The ANN in torch."""
        return Evaluator(self)

    def predict(self, x: ArrayLike, batch_size: int = BATCH) -> np.ndarray[Any, Any]:
        """The output (N, *output_shape) of samples (N, *input_shape), float32."""
        run = self.evaluator()
        parts = [
            values[self.net.output] for values in run.batches(x, [self.net.output], batch_size)
        ]
        return torch.cat(parts).numpy()


class Evaluator:
    """Evaluates an ANN, batch by batch; the operations are torch's, float32."""

    def __init__(self, ann: Ann) -> None:
        self.ann = ann
        nodes = ann.net.nodes[1:]
        self._inputs = {node.name: ann.inputs_of(node.name) for node in nodes}
        self._calls: dict[str, Any] = {}
        for node in nodes:
            if node.name in ann.activations:
                one = ann.activations[node.name]
                self._calls[node.name] = lambda *xs, _one=one: _one(added(xs))
            else:
                self._calls[node.name] = layer(stateless(node.op), node.name, node.in_shape).eval()
        # The last node that needs a value, after which it can go.
        self._last = {src: name for name, sources in self._inputs.items() for src in sources}

    @torch.no_grad()
    def __call__(self, x: Tensor, wanted: Iterable[str]) -> dict[str, Tensor]:
        """Values of nodes for samples (N, *input_shape); "pre:NAME" is the sum of what a node
        is given."""
        wanted = set(wanted)
        values: dict[str, Tensor] = {"input": x}
        kept: dict[str, Tensor] = {"input": x} if "input" in wanted else {}
        for name, sources in self._inputs.items():
            arrivals = [values[src] for src in sources]
            if f"pre:{name}" in wanted:
                kept[f"pre:{name}"] = added(arrivals)
            values[name] = self._calls[name](*arrivals)
            if name in wanted:
                kept[name] = values[name]
            for src in set(sources):
                if self._last[src] == name:
                    del values[src]
        return kept

    def batches(
        self, x: ArrayLike, wanted: Iterable[str], batch_size: int = BATCH
    ) -> Iterator[dict[str, Tensor]]:
        """The values for each batch of samples."""
        names = list(wanted)
        for batch in split(x, self.ann.input_shape, batch_size):
            yield self(batch, names)


def stateless(op: ops.Op) -> ops.Op:
    """A gated maximum pool as the maximum of rates that it is in the mean: padding never wins."""
    if isinstance(op, ops.RateMaxPool1d | ops.RateMaxPool2d):
        line = isinstance(op, ops.RateMaxPool1d)
        cls: Any = ops.CurrentMaxPool1d if line else ops.CurrentMaxPool2d
        plain: ops.Op = cls(op.kernel_size, op.stride, op.padding, op.ceil_mode)
        return plain
    return op


def split(x: ArrayLike, shape: tuple[int, ...], batch_size: int) -> Iterator[Tensor]:
    """Samples as float32 tensors, batch by batch."""
    array = np.asarray(x, np.float32)
    if array.shape[1:] != shape:
        raise ShapeError(
            f"convert: samples have shape {array.shape}, expected (N, {', '.join(map(str, shape))})"
        )
    for start in range(0, len(array), batch_size):
        yield torch.from_numpy(np.ascontiguousarray(array[start : start + batch_size]))
