"""Thresholds of one: the same network in the form that weight normalisation gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim import ops
from spikesim.convert.reweigh import with_weights
from spikesim.errors import UnsupportedError
from spikesim.network import Network

# Fields of a neuron in the units of its membrane.
_MEMBRANE = (
    "v_threshold",
    "v_reset",
    "v_leak",
    "v_threshold_neg",
    "v_min",
    "theta_plus",
    "v0",
    "i0",
)
_LAYERS = ("linear", "conv1d", "conv2d", "batch_norm")


def unit_thresholds(net: Network) -> Network:
    """The network with every threshold 1: the layers before divided by it, row by row.

    Threshold balancing and weight normalisation are two forms of one network: (W, θ) fires as
    (W/θ, 1) does (Diehl et al. 2015; Rueckauer et al. 2017). Where θ is a power of two the spikes
    are the same to the bit; elsewhere each weight is rounded once more, and a membrane within
    rounding of its threshold may fall on the other side.

    Args:
        net: a network, converted or not; it is left as it was.

    Returns:
        A network whose neurons have the threshold 1. What feeds a neuron and nothing else (layers,
        batch normalisations, sums of them) takes the factor; anything else gets a `Scale` after
        it, called as the neuron with "_unit" behind.

    Raises:
        UnsupportedError: a threshold that is not above 0, or differs within a channel.

    Example:
        >>> net, report = ss.convert(ann, images, method="percentile")
        >>> ss.convert.unit_thresholds(net).save("normalised.nir")
    """
    return _Unit(net).network()


@dataclass(frozen=True)
class _Factor:
    """1/θ of a population: () or one a channel."""

    value: NDArray[np.float64]

    def rows(self, axes: int) -> NDArray[np.float64]:
        return self.value.reshape(-1, *(1,) * (axes - 1)) if self.value.ndim else self.value


class _Unit:
    def __init__(self, net: Network) -> None:
        self.net = net
        self.nodes = {node.name: node for node in net.nodes}
        self.edges = net.edges
        self.factors: dict[str, _Factor] = {}
        # Neurons whose input needs a Scale.
        self.scaled: dict[str, _Factor] = {}
        for node in net.nodes:
            if node.kind == "neuron" and node.op.spikes != "none":  # type: ignore[attr-defined]
                self._plan(node)

    def _plan(self, node: Any) -> None:
        factor = _Factor(1.0 / _by_channel(node))
        self.factors[node.name] = factor
        if (factor.value == 1).all():
            return
        layers = list(self._feeding(node.name))
        if any(name is None for name in layers):
            self.scaled[node.name] = factor
        else:
            self.factors.update({str(name): factor for name in layers})

    def _feeding(self, name: str) -> Iterator[str | None]:
        """The layers before a population that feed it alone; None for whatever else feeds it."""
        for edge in self.edges:
            if edge.dst != name:
                continue
            src = self.nodes[edge.src]
            alone = sum(e.src == src.name for e in self.edges) == 1 and src.name != self.net.output
            if alone and src.kind in _LAYERS:
                yield src.name
            elif alone and src.kind == "add":
                yield from self._feeding(src.name)
            else:
                yield None

    def network(self) -> Network:
        old, new = self.net, Network(self.net.input_shape, dt=self.net.dt, meta=self.net.meta)
        later, there = [], {"input"}
        for node in old.nodes[1:]:
            sources = [(e.src, e.delay) for e in self.edges if e.dst == node.name]
            # Edges from nodes that come later follow in their order, after those added here.
            first = next((i for i, (s, _) in enumerate(sources) if s not in there), len(sources))
            entry = node.name
            if node.name in self.scaled:
                entry = self._free(f"{node.name}_unit")
                factor = self.scaled[node.name]
                new.add(ops.Scale(factor.value.astype(np.float32)), entry, sources[:first])
                new.add(self._op(node), node.name, entry)
            else:
                new.add(self._op(node), node.name, sources[:first])
            later += [(src, entry, delay) for src, delay in sources[first:]]
            there.add(node.name)
        for edge in later:
            new.connect(*edge)
        new.output, new.readout = old.output, old.readout
        new.unsettled = old.unsettled
        return new

    def _op(self, node: Any) -> Any:
        op, factor = node.op, self.factors.get(node.name)
        if factor is None or bool((factor.value == 1).all()):
            return op
        if node.kind == "neuron":
            return _neuron(op, factor, len(node.shape))
        if node.kind == "batch_norm":
            return ops.BatchNorm(
                op.weight * factor.value,
                op.bias * factor.value,
                op.running_mean,
                op.running_var,
                eps=op.eps,
            )
        weight = op.weight.astype(np.float64) * factor.rows(op.weight.ndim)
        bias = None if op.bias is None else (op.bias * factor.value).astype(np.float32)
        return with_weights(op, weight.astype(np.float32), bias)

    def _free(self, name: str) -> str:
        while name in self.nodes:
            name += "_"
        return name


def _by_channel(node: Any) -> NDArray[np.float64]:
    """θ as float64, () or (C,)."""
    theta = np.asarray(node.op.v_threshold, np.float64)
    if not (np.isfinite(theta).all() and (theta > 0).all()):
        raise UnsupportedError(
            f"{node.name}: v_threshold is {theta.min():g}, expected finite numbers above 0 to "
            "divide by"
        )
    if theta.ndim > 1:
        flat = theta.reshape(theta.shape[0], -1)
        if not (flat == flat[:, :1]).all():
            raise UnsupportedError(
                f"{node.name}: v_threshold differs within a channel, expected one a channel, which "
                "the layer's rows can take"
            )
        theta = flat[:, 0]
    return theta


def _neuron(op: ops.Neuron, factor: _Factor, axes: int) -> ops.Neuron:
    fields = {name: getattr(op, name) for name in op.__dataclass_fields__ if name != "kind"}
    for name in _MEMBRANE:
        value = fields[name]
        if value is not None:
            value = value.astype(np.float64)
            wide = factor.rows(axes) if value.ndim > 1 else factor.value
            fields[name] = (value * wide).astype(np.float32)
    # θ·(1/θ) may round to a neighbour of one.
    fields["v_threshold"] = np.ones_like(fields["v_threshold"])
    return ops.Neuron(**fields)
