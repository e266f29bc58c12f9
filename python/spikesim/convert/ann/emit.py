"""From an `Ann` and a setting for each activation to the spiking network.

Canonical form: a neuron integrates in the units of the ANN, its threshold θ is the activation that
one spike a step stands for, its spikes are units. Their height θ is a factor of the weights of the
layers that hear them, multiplied in float64 and rounded once. So what the literature calls weight
normalisation, threshold balancing or a trained λ differs in θ alone:
(W·θ_before, θ) ~ (W·θ_before/θ, 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spikesim import ops
from spikesim.convert.ann.graph import Ann
from spikesim.convert.reweigh import with_weights
from spikesim.errors import GraphError, UnsupportedError
from spikesim.network import Network

Doubles = NDArray[np.float64]
Gate = Literal["count", "argmax", "or"]

PASSING = (
    "sum_pool1d",
    "sum_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "adaptive_avg_pool2d",
    "upsample",
)
MAX_POOLS = (
    *("spike_max_pool1d", "spike_max_pool2d"),
    *("rate_max_pool1d", "rate_max_pool2d"),
)
CURRENT_POOLS = ("current_max_pool1d", "current_max_pool2d")
WEIGHTED = ("linear", "conv1d", "conv2d")


@dataclass(frozen=True)
class Setting:
    """How the neurons in the place of one activation are.

    Attributes:
        threshold: θ in the units of the activation: float64, () or (C,), above 0.
        v0: membrane before the first step, in the same units; (), (C,) or one a neuron.
        shift: added to the current at every step, in the same units; () or (C,).
        spikes: "single", "multi" or "signed"; None: what the activation needs: "signed" for a
            leaky ReLU, whose negative threshold is −θ/slope, else "single".
        max_spikes: most spikes a step, with "multi".
    """

    threshold: Doubles
    v0: Doubles
    shift: Doubles | None = None
    spikes: Literal["single", "multi", "signed"] | None = None
    max_spikes: int | None = None

    @classmethod
    def of(cls, threshold: Any, v0_fraction: float = 0.0, **more: Any) -> Setting:
        """With v0 as a fraction of the threshold."""
        theta = np.asarray(threshold, np.float64)
        return cls(theta, theta * v0_fraction, **more)


def emit(
    ann: Ann,
    settings: Mapping[str, Setting],
    *,
    reset: Literal["subtract", "to_value"] = "subtract",
    max_pool: Gate = "count",
    fires: Literal[">=", ">"] = ">=",
) -> Network:
    """The spiking network of an ANN.

    Args:
        ann: the ANN.
        settings: one for each activation.
        reset: "subtract" (soft) or "to_value" 0 (hard).
        max_pool: what a maximum pool of activations becomes: a RateMaxPool with the gate "count"
            or "argmax", or "or", a SpikeMaxPool, which over-counts (for comparison).
        fires: the threshold test.

    Returns:
        A network whose output approaches the ANN's, with the readout "mean".

    Raises:
        UnsupportedError: a maximum pool of currents.
        GraphError: a threshold that is not above 0, or not finite.
    """
    return _Emission(ann, settings, reset, max_pool, fires).network()


class _Emission:
    def __init__(
        self, ann: Ann, settings: Mapping[str, Setting], reset: Any, gate: Gate, fires: Any
    ) -> None:
        self.ann = ann
        self.settings = settings
        self.reset = reset
        self.gate = gate
        self.fires = fires
        self.net = Network(ann.net.input_shape, dt=ann.net.dt)
        # What a value of a node is multiplied with to be in the ANN's units: () or one a channel.
        self.scales: dict[str, Doubles] = {"input": np.float64(1.0) + np.zeros(())}
        self.shifts = self._shifts()
        self._names = {node.name for node in ann.net.nodes}
        # The Scale after a node, where there is one.
        self._heights: dict[str, str] = {}

    def network(self) -> Network:
        for node in self.ann.net.nodes[1:]:
            sources = self.ann.inputs_of(node.name)
            if node.name in self.ann.activations:
                self._neurons(node, sources)
            elif node.kind in WEIGHTED:
                self._weights(node, sources)
            elif node.kind in CURRENT_POOLS and self._of_input(node.name):
                self._pass(node, sources, node.op)
            elif node.kind in CURRENT_POOLS:
                raise UnsupportedError(
                    f"{node.name}: maximum pool is over currents without an activation after it, "
                    "expected one directly before or after; put the ReLU before the pool"
                )
            elif node.kind in MAX_POOLS:
                try:
                    self._pass(node, sources, self._max_pool(node.op))
                except GraphError as error:
                    raise UnsupportedError(
                        f"{node.name}: maximum pool is over spikes of different heights that meet "
                        "before it, expected one population or channels of several; put a ReLU "
                        "before the pool"
                    ) from error
            elif node.kind in PASSING:
                self._pass(node, sources, node.op)
            elif node.kind == "flatten":
                self._flatten(node, sources)
            elif node.kind == "add":
                self._add(node, sources)
            elif node.kind == "concat":
                self._concat(node, sources)
            elif node.kind == "scale":
                self._scale(node, sources)
            elif node.kind == "batch_norm":
                self._norm(node, sources)
            else:
                raise UnsupportedError(
                    f"{node.name}: {node.kind} is not supported in a conversion, expected a layer "
                    "of an ANN"
                )
        last = self.ann.net.output
        # A population is read by its spikes; their mean is that of the node after it.
        self.net.output = self._in_units(last, always=last in self.ann.activations)
        self.net.readout = "mean"
        self.net.validate()
        return self.net

    # --- one kind of node each ---------------------------------------------------------------

    def _neurons(self, node: Any, sources: list[str]) -> None:
        one, setting = self.ann.activations[node.name], self.settings[node.name]
        theta = np.asarray(setting.threshold, np.float64)
        if not (np.isfinite(theta).all() and (theta > 0).all()):
            raise GraphError(
                f"{node.name}: threshold is {np.min(theta):g}, expected finite numbers above 0"
            )
        spikes = setting.spikes or ("signed" if one.kind == "leaky_relu" else "single")
        fields: dict[str, Any] = {"spikes": spikes}
        if spikes == "multi":
            fields["max_spikes"] = setting.max_spikes
        if spikes == "signed":
            fields["v_threshold_neg"] = (-theta / one.slope).astype(np.float32)
        op = ops.Neuron(
            v_threshold=theta.astype(np.float32),
            v0=np.asarray(setting.v0, np.float64).astype(np.float32),
            reset=self.reset,
            fires=self.fires,
            model="IF" if spikes == "single" else "Neuron",
            meta={"activation": one.describe()},
            **fields,
        )
        self.net.add(op, node.name, [self._in_units(src) for src in sources])
        # float32 as the neuron has it: the height of a spike is the threshold that it takes away.
        self.scales[node.name] = op.v_threshold.astype(np.float64)

    def _weights(self, node: Any, sources: list[str]) -> None:
        op, sources, scale = node.op, *self._common(sources, node.name)
        weight = op.weight.astype(np.float64)
        if scale.ndim:
            columns = scale
            if op.weight.ndim > 2 and op.groups > 1:
                # (out, in/groups, …): each output sees the channels of its group.
                per_group = scale.reshape(op.groups, -1)
                columns = np.repeat(per_group, weight.shape[0] // op.groups, axis=0)
                weight = weight * columns.reshape(*columns.shape, *(1,) * (weight.ndim - 2))
            else:
                weight = weight * columns.reshape(1, -1, *(1,) * (weight.ndim - 2))
        else:
            weight = weight * scale
        shift = self.shifts.get(node.name)
        if bool((scale == 1).all()) and shift is None:
            new = op
        else:
            bias = op.bias
            if shift is not None:
                before = 0.0 if bias is None else bias.astype(np.float64)
                bias = np.broadcast_to(before + shift, (weight.shape[0],)).astype(np.float32)
            new = with_weights(op, weight.astype(np.float32), bias)
        self.net.add(new, node.name, sources)
        self.scales[node.name] = np.ones(())

    def _pass(self, node: Any, sources: list[str], op: Any) -> None:
        sources, scale = self._common(sources, node.name)
        self.net.add(op, node.name, sources)
        self.scales[node.name] = scale

    def _flatten(self, node: Any, sources: list[str]) -> None:
        self._pass(node, sources, node.op)
        scale, shape = self.scales[node.name], node.in_shape
        if scale.ndim and node.op.start_dim % len(shape) == 0:
            merged = math.prod(shape[1 : 1 + node.op.end_dim % len(shape)])
            self.scales[node.name] = np.repeat(scale, merged)

    def _add(self, node: Any, sources: list[str]) -> None:
        scales = [self.scales[src] for src in sources]
        if all(np.array_equal(scale, scales[0]) for scale in scales):
            self._pass(node, sources, node.op)
            return
        self.net.add(node.op, node.name, [self._in_units(src) for src in sources])
        self.scales[node.name] = np.ones(())

    def _concat(self, node: Any, sources: list[str]) -> None:
        axis = node.op.axis % len(node.shape)
        scales = [self.scales[src] for src in sources]
        if all(np.array_equal(scale, scales[0]) for scale in scales) and not scales[0].ndim:
            self._pass(node, sources, node.op)
        elif axis == 0:
            self.net.add(node.op, node.name, sources)
            sizes = [self.ann.net.node(src).shape[0] for src in sources]
            self.scales[node.name] = np.concatenate(
                [np.broadcast_to(s, (n,)) for s, n in zip(scales, sizes, strict=True)]
            )
        else:
            self.net.add(node.op, node.name, [self._in_units(src) for src in sources])
            self.scales[node.name] = np.ones(())

    def _scale(self, node: Any, sources: list[str]) -> None:
        sources, scale = self._common(sources, node.name)
        factor = node.op.scale.astype(np.float64)
        if factor.ndim == 1 or not factor.ndim or not scale.ndim:
            factor = factor * scale
        else:
            factor = factor * scale.reshape(-1, *(1,) * (factor.ndim - 1))
        self.net.add(ops.Scale(factor.astype(np.float32)), node.name, sources)
        self.scales[node.name] = np.ones(())

    def _norm(self, node: Any, sources: list[str]) -> None:
        op, sources, scale = node.op, *self._common(sources, node.name)
        # weight·(s·r − mean)/σ = (weight·s)·(r − mean/s)/σ
        shift = self.shifts.get(node.name, 0.0)
        new = ops.BatchNorm(
            op.weight * scale,
            op.bias + shift,
            op.running_mean / scale,
            op.running_var,
            eps=op.eps,
        )
        self.net.add(new, node.name, sources)
        self.scales[node.name] = np.ones(())

    def _max_pool(self, op: Any) -> Any:
        line = op.kind.endswith("1d")
        if self.gate == "or":
            plain = ops.SpikeMaxPool1d if line else ops.SpikeMaxPool2d
            return plain(op.kernel_size, op.stride, op.padding, op.ceil_mode)
        cls = ops.RateMaxPool1d if line else ops.RateMaxPool2d
        return cls(op.kernel_size, op.stride, op.padding, op.ceil_mode, gate=self.gate)

    # --- heights ---------------------------------------------------------------------------------

    def _common(self, sources: list[str], name: str) -> tuple[list[str], Doubles]:
        """Sources with one scale in common; where they differ, each in the ANN's units."""
        scales = [self.scales[src] for src in sources]
        if all(np.array_equal(scale, scales[0]) for scale in scales):
            return sources, scales[0]
        return [self._in_units(src) for src in sources], np.ones(())

    def _in_units(self, name: str, *, always: bool = False) -> str:
        """A node with the values of `name` in the ANN's units: itself, or a Scale after it."""
        scale = self.scales[name]
        if bool((scale == 1).all()) and not always:
            return name
        if name in self._heights:
            return self._heights[name]
        made = f"{name}_height"
        while made in self._names:
            made += "_"
        self._names.add(made)
        self._heights[name] = made
        self.net.add(ops.Scale(scale.astype(np.float32)), made, name)
        self.scales[made] = np.ones(())
        return made

    def _of_input(self, name: str) -> bool:
        """Whether a node depends on the input by nothing but pools and reshapes."""
        todo = [name]
        while todo:
            for src in self.ann.inputs_of(todo.pop()):
                if src != "input" and self.ann.net.node(src).kind in (*WEIGHTED, "neuron"):
                    return False
                todo += [src] if src != "input" else []
        return True

    def _shifts(self) -> dict[str, Doubles]:
        """Which layer's bias takes the shift of which activation."""
        shifts: dict[str, Doubles] = {}
        for name, setting in self.settings.items():
            if setting.shift is None:
                continue
            layer = self._layer_before(name)
            shifts[layer] = np.asarray(setting.shift, np.float64)
        return shifts

    def _layer_before(self, name: str) -> str:
        todo = list(self.ann.inputs_of(name))
        while todo:
            src = todo.pop(0)
            if len(self.ann.consumers_of(src)) == 1:
                kind = self.ann.net.node(src).kind
                if kind in (*WEIGHTED, "batch_norm"):
                    return src
                if kind == "add":
                    todo += self.ann.inputs_of(src)
        raise UnsupportedError(
            f"{name}: has no layer of its own before it, expected a bias that can take a shift"
        )
