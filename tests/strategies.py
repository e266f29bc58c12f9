"""Hypothesis strategies that draw networks and inputs.

Structure and options are drawn by hypothesis, so that a failure shrinks to a small network; the
many numbers of the weights come from a NumPy generator whose seed is drawn.

Two kinds of numbers. *exact*: whatever enters a Linear or Conv, and its weights, lie on a dyadic
grid with few bits, so that its sums are exact in any order, and neurons often sit right on their
threshold. *free*: any floats, sums round at every addition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

import spikesim as ss
from populations import population

# Around the widths that vector registers and blocks of outputs have.
CHANNELS = [1, 2, 3, 4, 5, 8, 15, 16, 17, 33]
WIDE = [64, 65, 70, 130]

Draw = Any


@dataclass
class Value:
    """A node while a network is drawn."""

    name: str
    shape: tuple[int, ...]
    spikes: bool
    """Not a current: maximum pools of spikes may follow."""
    currents: bool
    """Not spikes: maximum pools of currents may follow."""
    clean: bool
    """On a coarse dyadic grid: may enter a sum that has to be exact."""


@dataclass
class Case:
    """A network with an input for it."""

    net: ss.Network
    x: NDArray[np.float32]
    n_steps: int
    constant: bool
    exact: bool
    made_of: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        edges = ", ".join(
            f"{e.src}->{e.dst}" + (f"+{e.delay}" if e.delay else "") for e in self.net.edges
        )
        return (
            f"Case({'; '.join(self.made_of)}; edges {edges}; output {self.net.output}, readout "
            f"{self.net.readout}; x {self.x.shape} {'constant' if self.constant else 'raster'}, "
            f"T={self.n_steps})"
        )

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # what hypothesis shows

    def run_args(self) -> tuple[NDArray[np.float32], int | None]:
        return self.x, self.n_steps if self.constant else None


class Builder:
    """Draws one network, node by node."""

    def __init__(
        self, draw: Draw, exact: bool, recurrent: bool = True, integers: bool = False
    ) -> None:
        self.draw = draw
        self.integers = integers
        """Only what precision i8 has rules for."""
        self.exact = exact
        self.recurrent = recurrent
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
        self.made_of: list[str] = []
        self.values: list[Value] = []

    # numbers

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def weights(self, *shape: int) -> NDArray[np.float32]:
        """Some zeros, some alike, some large."""
        size = 1.0 / np.sqrt(max(1, int(np.prod(shape[1:])) / 3))
        if self.exact:
            w = np.round(self.rng.normal(0.15, size, shape) * 256) / 256
        else:
            w = self.rng.normal(0.15, size, shape)
        w[self.rng.random(shape) < self.pick(0.0, 0.0, 0.3, 0.9)] = 0
        return w.astype(np.float32)

    def bias(self, n: int) -> NDArray[np.float32] | None:
        if self.pick(True, False):
            return None
        b = self.rng.normal(0.05, 0.2, n)
        return (np.round(b * 256) / 256 if self.exact else b).astype(np.float32)

    def parameter(self, shape: tuple[int, ...], low: float, high: float) -> Any:
        """A scalar, one a channel, or one a neuron; on a grid of 1/16 or anywhere."""
        form = self.pick((), (), shape[:1], shape)
        values = self.rng.uniform(low, high, form)
        if self.exact or self.pick(True, False):
            values = np.clip(np.round(values * 16) / 16, low, high)
        return values.astype(np.float32)

    # nodes

    def add(self, op: Any, sources: list[Value], **properties: Any) -> Value:
        name = self.net.add(op, inputs=[s.name for s in sources])
        self.made_of.append(f"{name}: {described(op)}")
        value = Value(
            name=name,
            shape=tuple(self.net.node(name).shape),
            spikes=properties.get("spikes", all(s.spikes for s in sources)),
            currents=properties.get("currents", _currents(sources)),
            clean=properties.get("clean", all(s.clean for s in sources)),
        )
        self.values.append(value)
        return value

    def start(self, shape: tuple[int, ...] | None = None) -> Value:
        shape = shape or self.pick(
            (1, 4, 4), (2, 5, 6), (3, 7, 5), (17, 3, 3), (2, 6), (5, 9), (1,), (6,), (20,)
        )
        self.net = ss.Network(shape)
        self.made_of.append(f"input {shape}")
        value = Value("input", shape, spikes=True, currents=True, clean=True)
        self.values.append(value)
        return value

    def like(self, value: Value) -> list[Value]:
        """Earlier values of the same shape."""
        return [o for o in self.values if o.shape == value.shape and o.name != value.name]

    def layer(self, value: Value) -> Value:
        """Linear or Conv, maybe of two edges, maybe with BatchNorm, maybe with a loop."""
        sources = [value]
        others = [o for o in self.like(value) if o.clean or not self.exact]
        if others and self.pick(True, False, False):
            sources.append(self.draw(st.sampled_from(others)))
        out = self.pick(*CHANNELS, self.pick(*WIDE))
        dims = len(value.shape) - 1
        if dims == 0:
            w = self.weights(out, value.shape[0])
            op: Any = ss.Linear(w, self.bias(out), self.synapses(w.shape))
        else:
            op = self.conv(value.shape, out)
        layer = self.add(op, sources, spikes=False, currents=True, clean=False)
        delayed = [o for o in others if o not in sources]
        if delayed and self.pick(True, False, False, False):
            extra = self.draw(st.sampled_from(delayed))
            self.connect(extra.name, layer.name, self.pick(1, 2, 3))
        if self.pick(True, False, False):
            layer = self.add(self.batch_norm(layer.shape[0]), [layer], spikes=False, clean=False)
        return layer

    def conv(self, shape: tuple[int, ...], out: int) -> Any:
        dims = len(shape) - 1
        groups = self.pick(*[g for g in (1, 1, 1, 2, shape[0]) if shape[0] % g == 0])
        out = max(groups, out - out % groups)
        dilation = [self.pick(1, 1, 2) for _ in range(dims)]
        padding = [(self.pick(0, 1, 2), self.pick(0, 1)) for _ in range(dims)]
        kernel = []
        for length, (before, after), step in zip(shape[1:], padding, dilation, strict=True):
            room = (length + before + after - 1) // step + 1
            kernel.append(min(self.pick(1, 2, 3, 3), room))
        stride = [self.pick(1, 1, 2, 3) for _ in range(dims)]
        w = self.weights(out, shape[0] // groups, *kernel)
        if dims == 1:
            return ss.Conv1d(
                w,
                self.bias(out),
                stride=stride[0],
                padding=padding[0],
                dilation=dilation[0],
                groups=groups,
                delay=self.synapses(w.shape),
            )
        return ss.Conv2d(
            w,
            self.bias(out),
            stride=tuple(stride),
            padding=tuple(padding),
            dilation=tuple(dilation),
            groups=groups,
            delay=self.synapses(w.shape),
        )

    def batch_norm(self, channels: int) -> Any:
        rng = self.rng
        if self.exact:  # s is a power of two
            gamma, var = (
                rng.choice([0.5, 1, 2, -1, 0], channels),
                rng.choice([0.25, 1, 4], channels),
            )
            beta, mean = rng.integers(-64, 65, (2, channels)) / 256
            return ss.BatchNorm(gamma, beta, mean, var, eps=0.0)
        gamma, beta, mean = rng.normal(0.5, 0.5, (3, channels))
        return ss.BatchNorm(gamma, beta, mean, rng.uniform(0.1, 2, channels), eps=1e-5)

    def neuron(self, value: Value) -> Value:
        sources = [value]
        others = self.like(value)
        if others and self.pick(True, False, False):
            sources.append(self.draw(st.sampled_from(others)))
        op = population(self, value.shape)
        fires = op.spikes != "none"
        neuron = self.add(op, sources, spikes=fires, currents=not fires, clean=fires)
        if others and self.pick(True, False, False, False):
            extra = self.draw(st.sampled_from(others))
            self.connect(extra.name, neuron.name, self.pick(1, 2))
        if self.recurrent and self.pick(True, False, False):
            self.loop(neuron)
        return neuron

    def loop(self, neuron: Value) -> None:
        """What it gives comes back: as it is, through weights, or into the layer before."""
        ways = ["itself", "scale"]
        ways += ["weights"] * 2 if neuron.clean or not self.exact else []
        way = self.pick(*ways)
        if way == "weights":
            self.weights_back(neuron, neuron.name)
        else:
            self.close(self.scale(neuron) if way == "scale" else neuron, neuron.name)
        before = [e.src for e in self.net.edges if e.dst == neuron.name]
        layers = [name for name in before if self.takes(self.net.node(name), neuron)]
        if layers and self.pick(True, False):
            self.close(neuron, layers[0])

    def weights_back(self, neuron: Value, name: str) -> None:
        """A layer from a population to its own shape; if all its synapses are late, no edge and
        no Delay need be."""
        n = neuron.shape[0]
        least = self.pick(0, 1)
        if len(neuron.shape) == 1:
            w = self.weights(n, n)
            op: Any = ss.Linear(w, self.bias(n), self.synapses(w.shape, least))
        else:
            dims = len(neuron.shape) - 1
            groups = self.pick(1, n)
            w = self.weights(n, n // groups, *[self.pick(1, 3) for _ in range(dims)])
            conv = ss.Conv1d if dims == 1 else ss.Conv2d
            late = self.synapses(w.shape, least)
            op = conv(w, self.bias(n), padding="same", groups=groups, delay=late)
        back = self.add(op, [neuron], spikes=False, currents=True, clean=False)
        if least and op.delay is not None:
            self.connect(back.name, name, 0)
        else:
            self.close(back, name)

    def takes(self, node: ss.Node, value: Value) -> bool:
        """Whether an edge from `value` may enter `node`, and close a cycle there."""
        if node.kind == "input" or node.in_shape != value.shape:
            return False
        if isinstance(node.op, ss.Neuron):
            return True
        op: Any = self.net.node(value.name).op
        fires = isinstance(op, ss.Neuron) and op.spikes != "none"
        return fires and isinstance(node.op, ss.Linear | ss.Conv1d | ss.Conv2d | ss.Scale)

    def close(self, value: Value, name: str) -> None:
        """Closes a cycle, with the step it needs on the edge or in a Delay."""
        if self.pick(True, True, False):
            self.connect(value.name, name, self.pick(1, 1, 2, 3))
        else:
            late = self.add(ss.Delay(self.delays(value.shape, 1)), [value])
            self.connect(late.name, name, self.pick(0, 0, 1))

    def cycles(self) -> None:
        """Longer cycles: what comes late in the network enters an early node; they may share
        nodes, and lie inside each other."""
        nodes = self.net.nodes
        place = {node.name: i for i, node in enumerate(nodes)}
        pairs = [
            (value, node.name)
            for value in self.values[1:]
            for node in nodes
            if place[node.name] < place[value.name] and self.takes(node, value)
        ]
        for _ in range(self.pick(0, 0, 1, 2, 3)):
            if pairs:
                self.close(*self.draw(st.sampled_from(pairs)))

    def connect(self, src: str, dst: str, delay: int) -> None:
        while (src, dst, delay) in self.net.edges:
            delay += 1
        self.net.connect(src, dst, delay=delay)
        self.made_of.append(f"{src}->{dst}+{delay}")

    def pool(self, value: Value) -> Value:
        dims = len(value.shape) - 1
        kernel = [min(self.pick(1, 2, 2, 3), n) for n in value.shape[1:]]
        stride = [self.pick(1, k, k) for k in kernel]
        padding = [(self.pick(0, 0, k - 1), self.pick(0, k - 1)) for k in kernel]
        geometry = {
            "kernel_size": tuple(kernel) if dims == 2 else kernel[0],
            "stride": tuple(stride) if dims == 2 else stride[0],
            "padding": tuple(padding) if dims == 2 else padding[0],
            "ceil_mode": self.pick(True, False),
        }
        kinds = ["sum", "avg"]
        kinds += ["spike_max", "rate_max", "rate_max"] if value.spikes else []
        kinds += ["current_max", "current_max"] if value.currents else []
        kind = self.pick(*kinds)
        if kind == "avg":
            include = self.pick(True, False)
            op = (ss.AvgPool2d if dims == 2 else ss.AvgPool1d)(
                **geometry, count_include_pad=include
            )
            powers_of_two = all(k != 3 for k in kernel)
            return self.add(op, [value], clean=value.clean and powers_of_two)
        if kind == "rate_max":
            rate = ss.RateMaxPool2d if dims == 2 else ss.RateMaxPool1d
            return self.add(rate(**geometry, gate=self.pick("count", "argmax")), [value])
        one_axis = {
            "sum": ss.SumPool1d,
            "spike_max": ss.SpikeMaxPool1d,
            "current_max": ss.CurrentMaxPool1d,
        }
        two_axes = {
            "sum": ss.SumPool2d,
            "spike_max": ss.SpikeMaxPool2d,
            "current_max": ss.CurrentMaxPool2d,
        }
        return self.add((two_axes if dims == 2 else one_axis)[kind](**geometry), [value])

    def reshape(self, value: Value) -> Value:
        """Flatten, adaptive pool, upsample, concat, add."""
        rank = len(value.shape)
        others = self.like(value)
        ways = ["flatten"] if rank > 1 else []
        ways += ["adaptive"] if rank == 3 else []
        ways += ["upsample"] if rank == 3 and np.prod(value.shape) < 300 else []
        ways += ["add", "concat"] if others else ["concat self"]
        way = self.pick(*ways)
        if way == "flatten":
            return self.add(ss.Flatten(), [value])
        if way == "adaptive":
            size = (self.pick(1, 2, 3), self.pick(1, 2))
            return self.add(ss.AdaptiveAvgPool2d(size), [value], clean=False)
        if way == "upsample":
            return self.add(ss.Upsample((self.pick(1, 2), self.pick(1, 2, 3))), [value])
        other = self.draw(st.sampled_from(others)) if others else value
        if way == "add":
            return self.add(ss.Add(), [value, other])
        return self.add(ss.Concat(axis=self.pick(*range(rank))), [value, other])

    def scale(self, value: Value) -> Value:
        op = ss.Scale(self.parameter(value.shape, -1, 2))
        return self.add(op, [value], spikes=False, currents=True, clean=False)

    def delay(self, value: Value) -> Value:
        """Each element later; now and then the sum of two, or one that feeds back."""
        others = self.like(value)
        sources = [value]
        if others and self.pick(True, False, False):
            sources.append(self.draw(st.sampled_from(others)))
        return self.add(ss.Delay(self.delays(value.shape, 0)), sources)

    def delays(self, shape: tuple[int, ...], least: int) -> Any:
        """Steps: one for all, one a channel, or one an element."""
        form = self.pick((), shape[:1], shape)
        return self.rng.integers(least, least + self.pick(1, 2, 4), form)

    def synapses(self, shape: tuple[int, ...], least: int = 0) -> Any:
        """Steps that synapses take: mostly none; one for all, or one each."""
        if not self.pick(False, False, least > 0, True):
            return None
        if self.integers:
            return least + self.pick(0, 1, 3)
        return self.rng.integers(least, least + self.pick(1, 2, 4), self.pick((), shape, shape))

    def norm(self, value: Value) -> Value:
        op = self.batch_norm(value.shape[0])
        return self.add(op, [value], spikes=False, currents=True, clean=False)

    def block(self, value: Value) -> Value:
        """The next node or two."""
        ways = ["neuron", "reshape", "scale", "norm", "delay"]
        ways += ["layer"] * 4 if value.clean or not self.exact else ["neuron"] * 4
        ways += ["pool"] * 2 if len(value.shape) > 1 else []
        way = self.pick(*ways)
        if way == "layer":
            value = self.layer(value)
            return self.neuron(value) if self.pick(True, True, True, False) else value
        return getattr(self, way)(value)


def _currents(sources: list[Value]) -> bool:
    """Whether a maximum pool of currents may follow the sum of `sources` (S2.12)."""
    return any(not s.spikes for s in sources) or all(s.currents for s in sources)


def described(op: Any) -> str:
    """An operation without its arrays."""
    spec = {k: w for k, w in op.spec().items() if k not in ("kind", "meta")}
    shapes = {k: a.tolist() if a.ndim == 0 else a.shape for k, a in op.arrays().items()}
    return f"{op.kind} {spec} {shapes}"


def inputs(draw: Draw, builder: Builder, shape: tuple[int, ...]) -> tuple[Any, int, bool]:
    """Values, steps, whether they are constant."""
    rng = builder.rng
    steps = draw(st.integers(1, 6), label="T")
    samples = draw(st.integers(1, 3), label="N")
    kind = builder.pick("constant", "binary", "signed", "graded", "silent")
    size = (samples, *shape) if kind == "constant" else (steps, samples, *shape)
    if kind == "silent":
        x = np.zeros(size)
    elif kind == "binary":
        x = rng.random(size) < builder.pick(0.05, 0.3, 1.0)
    elif kind == "signed":
        x = rng.choice([-1, 0, 0, 1], size)
    else:
        x = (
            np.round(rng.normal(0.3, 0.8, size) * 8) / 8
            if builder.exact
            else rng.normal(0.3, 1, size)
        )
        x = np.where(rng.random(size) < 0.4, np.round(x), x)
    return x.astype(np.float32), steps, kind == "constant"


@st.composite
def cases(
    draw: Draw, exact: bool, recurrent: bool = True, blocks: int = 4, integers: bool = False
) -> Case:
    """A network and its input."""
    builder = Builder(draw, exact, recurrent, integers)
    value = builder.start()
    for _ in range(draw(st.integers(1, blocks), label="blocks")):
        value = builder.block(value)
    if recurrent:
        builder.cycles()
    net = builder.net
    net.output = draw(st.sampled_from([v.name for v in builder.values[1:]] + [value.name] * 3))
    op = net.node(net.output).op
    readouts = [None, "sum", "mean"]
    if isinstance(op, ss.Neuron):
        readouts += ["last_v", "max_v"]
        readouts += ["count", "first_spike"] if op.spikes != "none" else []
    net.readout = builder.pick(*readouts)
    x, steps, constant = inputs(draw, builder, tuple(net.input_shape))
    return Case(net, x, steps, constant, exact, builder.made_of)
