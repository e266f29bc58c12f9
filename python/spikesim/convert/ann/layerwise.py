"""Calibration layer by layer: each is fitted to what the layers before it really send.

For a wanted T, in the order of the graph:

1. A layer with weights that hears neurons is fitted anew (`refit`): with the mean over T steps of
   its spiking input it is to give what the ANN's layer gives with the ANN's input.
2. The neurons after it take, for each channel, the threshold of least squared error between rate
   and activation (`Search`), simulated over T steps, with v(0) = θ/2.
3. The bias is raised by the mean of what is missing, `CORRECTIONS` times, simulated each time.

The last layer has no neurons and is fitted to the ANN's output. No labels are needed. `calibrated`
takes the `Ann` that `read` gives, or anything with its `net` and `activations`, and leaves it as
it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spikesim import ops
from spikesim.convert.ann import calibrate
from spikesim.convert.reweigh import with_weights
from spikesim.errors import InputError, UnsupportedError
from spikesim.network import Network
from spikesim.train.arrivals import added
from spikesim.train.layers import layer

CORRECTIONS = 2
BATCH = 64
MAX_POOLS = ("spike_max_pool1d", "spike_max_pool2d")
WEIGHTED = ("linear", "conv1d", "conv2d")

# Numbers that the inputs of a fit may hold, and the currents of a search; both are samples of
# the calibration data where that gives more.
FIT_NUMBERS = 50_000_000
FIT_ROWS = 60_000
SEARCH_NUMBERS = 2**26


class AnnLike(Protocol):
    """What is needed of an ANN: its graph, with an IF in the place of each activation."""

    @property
    def net(self) -> Network:
        """The graph."""

    @property
    def activations(self) -> Mapping[str, Any]:
        """By node: called with the pre-activation; `kind` says what it is."""


@dataclass(frozen=True)
class Calibrated:
    """What was found.

    Attributes:
        layers: by node, the layers that changed, in the ANN's units.
        threshold: θ by activation, float64 (C,), in the units of the activation.
        v0: membrane before the first step by activation, float64 (C,).
        max_spikes: most spikes a step; 1: single.
    """

    layers: Mapping[str, Any]
    threshold: Mapping[str, NDArray[np.float64]]
    v0: Mapping[str, NDArray[np.float64]]
    max_spikes: int


def calibrated(
    ann: AnnLike,
    x: NDArray[np.float32],
    n_steps: int,
    *,
    max_spikes: int = 1,
    ridge: float | None = 0.1,
    phis: Sequence[float] = (0.5,),
    seed: int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> Calibrated:
    """Thresholds, membranes and weights for a number of steps.

    Args:
        ann: a network of ReLU or QCFS, read.
        x: calibration samples (N, *input_shape); 256 do.
        n_steps: T, for which it is best.
        max_spikes: most spikes of a neuron in a step; above 1 for neurons with spikes="multi".
        ridge: of `refit`; None: weights stay, biases alone are corrected.
        phis: candidates of v(0)/θ.
        seed: of the rows that are drawn for a fit.
        tell: is told (activations done, in all).

    Raises:
        InputError: T or max_spikes below 1; activations that are all zero.
        UnsupportedError: a leaky ReLU, a maximum pool over what is no activation.
    """
    if n_steps < 1:
        raise InputError(f"convert: n_steps is {n_steps}, expected at least 1")
    if not 1 <= max_spikes <= 255:
        raise InputError(f"convert: max_spikes is {max_spikes}, expected 1 to 255")
    with torch.no_grad():
        work = _Work(ann, torch.from_numpy(np.asarray(x, np.float32)), n_steps, max_spikes)
        generator = torch.Generator().manual_seed(seed)
        done = 0
        for node in work.nodes:
            if node.kind in WEIGHTED and ridge is not None and work.heard(node.name):
                work.fit(node, ridge, generator)
            elif node.name in ann.activations:
                work.settle(node, phis)
                done += 1
                if tell is not None:
                    tell(done, len(ann.activations))
        if ridge is None:
            work.correct_output()
    return work.result()


class _Work:
    def __init__(self, ann: AnnLike, x: Tensor, n_steps: int, max_spikes: int) -> None:
        self.ann, self.x, self.n_steps, self.max_spikes = ann, x, n_steps, max_spikes
        self.nodes = ann.net.nodes[1:]
        self.kinds = {node.name: node.kind for node in self.nodes}
        self.sources: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        self.consumers: dict[str, list[str]] = {node.name: [] for node in ann.net.nodes}
        for src, dst, _ in ann.net.edges:
            self.sources[dst].append(src)
            self.consumers[src].append(dst)
        self._refuse()
        self.trained = {
            node.name: layer(node.op, node.name, node.in_shape).eval()
            for node in self.nodes
            if node.name not in ann.activations
        }
        self.ops: dict[str, Any] = {node.name: node.op for node in self.nodes}
        self.fitted = dict(self.trained)
        self.changed: dict[str, Any] = {}
        # Of the activations that are done: the ANN's values, θ, v(0), spikes (T, N, ...).
        self.said: dict[str, Tensor] = {}
        self.theta: dict[str, Tensor] = {}
        self.v0: dict[str, Tensor] = {}
        self.fired: dict[str, Tensor] = {}

    def _refuse(self) -> None:
        for name, one in self.ann.activations.items():
            if one.kind not in ("relu", "qcfs"):
                raise UnsupportedError(
                    f"{name}: {one.kind} can't be calibrated, expected ReLU or QCFS; use "
                    'method="channel_wise"'
                )
        for name, kind in self.kinds.items():
            over = [src for src in self.sources[name] if src not in self.ann.activations]
            if kind in MAX_POOLS and over and self.heard(name):
                raise UnsupportedError(
                    f"{name}: maximum pool is over {over[0]}, expected an activation before it"
                )

    def heard(self, name: str) -> bool:
        """Whether neurons stand anywhere before a node."""
        todo, seen = list(self.sources[name]), set()
        while todo:
            src = todo.pop()
            if src in self.ann.activations:
                return True
            if src != "input" and src not in seen:
                seen.add(src)
                todo += self.sources[src]
        return False

    # --- values ----------------------------------------------------------------------------------

    def _value(
        self, name: str, modules: Mapping[str, Any], leaf: Callable[[str], Tensor | None]
    ) -> Tensor:
        """A node's value, from those of the activations before it."""
        known = leaf(name)
        if known is not None:
            return known
        return self._of(name, modules, [self._value(s, modules, leaf) for s in self.sources[name]])

    def _of(self, name: str, modules: Mapping[str, Any], arrivals: list[Tensor]) -> Tensor:
        out: Tensor = added(arrivals) if name in self.ann.activations else modules[name](*arrivals)
        return out

    def arrivals(self, name: str, part: slice, step: int | None, trained: bool) -> Tensor:
        """The sum of what a node hears: in the ANN (`trained`), in one step, or (None) the mean."""

        def spiking(node: str, first: int, last: int) -> Tensor:
            counts = self.fired[node][first:last, part].sum(0, dtype=torch.float32)
            return counts * calibrate.along(self.theta[node], counts)

        def leaf(node: str) -> Tensor | None:
            if node == "input":
                return self.x[part]
            if trained:
                return self.said[node][part] if node in self.said else None
            if node in self.fired:
                if step is None:
                    return spiking(node, 0, self.n_steps) / self.n_steps
                return spiking(node, step, step + 1)
            if step is not None and self.kinds[node] in MAX_POOLS and self.heard(node):
                # S2.22: by how much the largest sum so far has grown.
                pool, (src,) = self.trained[node], self.sources[node]
                before = pool(spiking(src, 0, step)) if step else 0.0
                grown: Tensor = pool(spiking(src, 0, step + 1)) - before
                return grown
            return None

        modules = self.trained if trained else self.fitted
        return added([self._value(src, modules, leaf) for src in self.sources[name]])

    def drive(self, name: str, part: slice) -> list[Tensor]:
        """The current of each step."""
        if not self.heard(name):
            return [self.arrivals(name, part, None, False)] * self.n_steps
        return [self.arrivals(name, part, step, False) for step in range(self.n_steps)]

    def parts(self, count: int | None = None) -> Iterator[slice]:
        """Batches of samples."""
        n = len(self.x) if count is None else min(count, len(self.x))
        for start in range(0, n, BATCH):
            yield slice(start, min(start + BATCH, n))

    # --- a layer with weights --------------------------------------------------------------------

    def fit(self, node: Any, ridge: float, generator: torch.Generator) -> None:
        """Weights for the mean of the spiking input."""
        op = node.op
        groups = getattr(op, "groups", 1)
        weight = torch.from_numpy(np.array(op.weight))
        bias = torch.zeros(len(weight)) if op.bias is None else torch.from_numpy(np.array(op.bias))
        width = weight[0].numel()
        rows = min(FIT_ROWS, max(FIT_NUMBERS // (width * groups), 2 * width))
        inputs, wanted = [], []
        for part in self.parts():
            rate = self.arrivals(node.name, part, None, False)
            z = self.trained[node.name](self.arrivals(node.name, part, None, True))
            patches, values = _rows(op, rate), calibrate.by_channel(z).T
            share = max(1, round(rows * len(rate) / len(self.x)))
            drawn = torch.randperm(len(values), generator=generator)[:share]
            inputs.append(patches[:, drawn])
            wanted.append(values[drawn])
        x, z = torch.cat(inputs, 1), torch.cat(wanted)
        (only,) = self.consumers[node.name] if len(self.consumers[node.name]) == 1 else (None,)
        after = None if only is None or len(self.sources[only]) > 1 else only
        found = [
            calibrate.refit(
                patch, target, w, b, ridge=ridge, rectified=after in self.ann.activations
            )
            for patch, target, w, b in zip(
                x,
                z.chunk(groups, 1),
                weight.flatten(1).chunk(groups),
                bias.chunk(groups),
                strict=True,
            )
        ]
        self._put(
            node,
            torch.cat([w for w, _ in found]).reshape(weight.shape),
            torch.cat([b for _, b in found]),
        )

    def _put(self, node: Any, weight: Tensor | None, bias: Tensor) -> None:
        op = self.ops[node.name]
        new = with_weights(
            op, op.weight if weight is None else weight.float().numpy(), bias.float().numpy()
        )
        self.ops[node.name] = self.changed[node.name] = new
        self.fitted[node.name] = layer(new, node.name, node.in_shape).eval()

    def _raise_bias(self, name: str, by: Tensor) -> bool:
        """Adds to the bias of the layer of a node, if it has one of its own."""
        todo = list(self.sources[name])
        for src in todo:
            if src == "input" or len(self.consumers[src]) != 1:
                continue
            if self.kinds[src] in WEIGHTED:
                old = self.ops[src].bias
                bias = torch.zeros(len(by)) if old is None else torch.from_numpy(np.array(old))
                node = next(node for node in self.nodes if node.name == src)
                self._put(node, None, bias.double() + by)
                return True
            if self.kinds[src] == "add":
                todo += self.sources[src]
        return False

    # --- neurons ---------------------------------------------------------------------------------

    def settle(self, node: Any, phis: Sequence[float]) -> None:
        """Threshold, membrane and bias, and the spikes that they give."""
        name = node.name
        self.said[name] = torch.cat(
            [
                self.ann.activations[name](self.arrivals(name, part, None, True))
                for part in self.parts()
            ]
        )
        largest = calibrate.by_channel(self.said[name]).amax(1)
        if not largest.max() > 0:
            raise InputError(
                f"{name}: activations are all zero on the calibration data, expected some above 0"
            )
        # A channel that never says anything is as hard to wake as the loudest.
        largest = torch.where(largest > 0, largest, largest.max())
        search = calibrate.Search(largest, phis, self.max_spikes)
        numbers = self.n_steps * self.said[name][0].numel()
        for part in self.parts(max(BATCH, SEARCH_NUMBERS // numbers)):
            drive = self.drive(name, part)
            if self.heard(name):
                search.show(drive, self.said[name][part])
            else:
                search.show_constant(drive[0], self.said[name][part], self.n_steps)
        self.theta[name], self.v0[name] = search.best()
        for _ in range(CORRECTIONS):
            said = self._run(name).sum(0, dtype=torch.float32) / self.n_steps
            said = said * calibrate.along(self.theta[name], said)
            if not self._raise_bias(name, calibrate.bias_correction(said, self.said[name])):
                break
        self.fired[name] = self._run(name)

    def _run(self, name: str) -> Tensor:
        """Spikes of all samples, uint8 (T, N, ...)."""
        theta, v0 = self.theta[name], self.v0[name]
        return torch.cat(
            [
                torch.stack(
                    calibrate.spikes(self.drive(name, part), theta, v0, self.max_spikes)
                ).to(torch.uint8)
                for part in self.parts()
            ],
            1,
        )

    def correct_output(self) -> None:
        """The bias of the last layer, where its weights stay."""
        name = self.ann.net.output
        node = next(node for node in self.nodes if node.name == name)
        if node.kind not in WEIGHTED or not self.heard(name):
            return
        said, wanted = [], []
        for part in self.parts():
            said.append(self.fitted[name](self.arrivals(name, part, None, False)))
            wanted.append(self.trained[name](self.arrivals(name, part, None, True)))
        by = calibrate.bias_correction(torch.cat(said), torch.cat(wanted))
        old = self.ops[name].bias
        bias = torch.zeros(len(by)) if old is None else torch.from_numpy(np.array(old))
        self._put(node, None, bias.double() + by)

    def result(self) -> Calibrated:
        """For the caller."""
        return Calibrated(
            self.changed,
            {name: value.double().numpy() for name, value in self.theta.items()},
            {name: value.double().numpy() for name, value in self.v0.items()},
            self.max_spikes,
        )


def with_layers(net: Network, layers: Mapping[str, Any]) -> Network:
    """The same network with other operations at some nodes."""
    made = Network(net.input_shape, dt=net.dt)
    for node in net.nodes[1:]:
        sources = [src for src, dst, _ in net.edges if dst == node.name]
        made.add(layers.get(node.name, node.op), node.name, sources)
    made.output, made.readout = net.output, net.readout
    return made


def _rows(op: Any, x: Tensor) -> Tensor:
    """Inputs of a layer as (groups, rows, inputs of a weight)."""
    if isinstance(op, ops.Linear):
        return x[None]
    (top, bottom), (left, right) = _sides(op)
    if x.ndim == 3:
        x = x[:, :, None]
    padded = functional.pad(x, (left, right, top, bottom))
    return calibrate.unfolded(
        padded, _two(op.weight.shape[2:]), _two(op.stride), _two(op.dilation, 1), op.groups
    )


def _two(value: Any, other: int = 1) -> tuple[int, int]:
    """(rows, columns) of what has one or two axes."""
    values = tuple(int(v) for v in np.atleast_1d(value))
    return (other, values[0]) if len(values) == 1 else (values[0], values[1])


def _sides(op: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padding ((top, bottom), (left, right)) of a convolution."""
    return ((0, 0), op.padding) if isinstance(op, ops.Conv1d) else op.padding
