"""from_torch: random forwards made of torch's modules, functions, operators and methods.

Each forward is a program that hypothesis draws: modules and functional calls with parameters and
buffers, joins, sums, differences, constants, reductions, changes in place, layers called twice.
What torch makes of it, step by step, is what the network does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import spikesim as ss  # noqa: E402
from libraries import assert_equal, assert_within_margin, run_library  # noqa: E402

Draw = Any
Tensor = Any
Step = Callable[["Program", list[Tensor]], Tensor]


class Program(nn.Module):
    """A forward that is a list of steps, each of which makes one value of those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        self.weights = nn.ParameterDict()
        self.steps: list[Step] = []
        self.made_of: list[str] = []

    def forward(self, x: Tensor, *, debug: bool = False) -> dict[str, Tensor]:
        values = [x]
        for step in self.steps:
            values.append(step(self, values))
        if debug:
            raise AssertionError("the default is not taken")
        return {"out": values[-1]}


class Author:
    """Draws a program, following the shapes with a tensor of its own."""

    def __init__(self, draw: Draw, exact: bool) -> None:
        self.draw = draw
        self.exact = exact
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
        self.axes = draw(st.sampled_from([1, 2, 2]), label="axes")
        self.program = Program().eval()
        self.shape = (2, 8) if self.axes == 1 else (2, 6, 4)
        self.values: list[Tensor] = [torch.zeros(1, *self.shape)]
        # Values of few bits: whatever else would not stay exact in the next layer.
        self.coarse = [True]

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def numbers(self, *shape: int, scale: float = 0.4) -> Tensor:
        if self.exact:
            found = self.rng.integers(-6, 7, shape) / 8
        else:
            found = self.rng.normal(0.05, scale, shape)
        return torch.from_numpy(np.asarray(found, np.float32))

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.program.weights)}"
        self.program.weights[name] = nn.Parameter(self.numbers(*shape))
        return name

    def layer(self, module: nn.Module) -> str:
        """Adds a module with weights of its own choice."""
        name = f"m{len(self.program.layers)}"
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(self.numbers(*parameter.shape))
        self.program.layers[name] = module.eval()
        return name

    def neuron(self) -> str:
        options = {
            "reset": self.pick("subtract", "to_value", "none"),
            "fires": self.pick(">=", ">"),
            "v0": self.pick(0.0, 0.25),
        }
        if self.pick(True, False):
            return self.layer(ss.train.IF(0.5, **options))
        alpha = 0.5 if self.exact else 0.85
        return self.layer(ss.train.LIF(0.5, alpha_mem=alpha, **options))

    def step(self, text: str, step: Step, coarse: bool = False) -> int:
        with torch.no_grad():
            self.values.append(step(self.program, self.values))
        ss.train.reset_states(self.program)
        self.program.steps.append(step)
        self.program.made_of.append(text)
        self.coarse.append(coarse)
        return len(self.values) - 1

    def any_map(self, coarse: bool = False) -> int:
        maps = [
            i
            for i, value in enumerate(self.values)
            if value.ndim == self.axes + 2 and (self.coarse[i] or not coarse)
        ]
        return int(self.draw(st.sampled_from(maps[::-1])))

    def spiking(self, i: int) -> int:
        name = self.neuron()
        return self.step(f"{name}({i})", lambda m, v: m.layers[name](v[i]), coarse=True)

    # Steps; `i` is a value that may enter weights.

    def conv(self, i: int) -> int:
        channels, out = self.values[i].shape[1], self.pick(1, 2, 3)
        make = nn.Conv1d if self.axes == 1 else nn.Conv2d
        kernel, bias, same = self.pick(1, 2, 3), self.pick(True, False), self.pick(True, False)
        if same or min(self.values[i].shape[2:]) < kernel:
            name = self.layer(make(channels, out, kernel, padding="same", bias=bias))
        else:
            groups = channels if self.pick(True, False) else 1
            name = self.layer(
                make(channels, out * groups, kernel, stride=self.pick(1, 2), groups=groups)
            )
        j = self.step(f"{name}({i})", lambda m, v: m.layers[name](v[i]))
        twins = [k for k, value in enumerate(self.values) if value.shape == self.values[i].shape]
        twins = [k for k in twins if k != i and self.coarse[k]]
        if twins and self.pick(True, False):
            # The same weights on something else.
            k = self.draw(st.sampled_from(twins))
            self.spiking(self.step(f"{name}({k})", lambda m, v: m.layers[name](v[k])))
        return j

    def functional_conv(self, i: int) -> int:
        channels = self.values[i].shape[1]
        call = F.conv1d if self.axes == 1 else F.conv2d
        w, b = self.weight(2, channels, *[3] * self.axes), self.weight(2)
        pads = tuple(self.pick(1, 2) for _ in range(2 * self.axes))
        if self.pick(True, False):
            return self.step(
                f"conv({i}, {w}, padding=1)",
                lambda m, v: call(v[i], m.weights[w], m.weights[b], padding=1),
            )
        return self.step(
            f"conv(pad({i}, {pads}), {w})", lambda m, v: call(F.pad(v[i], pads), m.weights[w])
        )

    def norm(self, i: int) -> int:
        count = self.values[i].shape[1]
        module: Any = (nn.BatchNorm1d if self.axes == 1 else nn.BatchNorm2d)(
            count, affine=self.pick(True, False)
        )
        with torch.no_grad():
            module.running_mean.copy_(self.numbers(count))
            if self.exact:
                module.eps = 0.0
                module.running_var.copy_(torch.from_numpy(self.rng.choice([1.0, 4.0], count)))
            else:
                module.running_var.copy_(torch.from_numpy(self.rng.uniform(0.5, 2, count)))
        name = self.layer(module)
        if self.pick(True, False):
            return self.step(f"{name}({i})", lambda m, v: m.layers[name](v[i]))

        def call(m: Program, v: list[Tensor]) -> Tensor:
            n: Any = m.layers[name]
            return F.batch_norm(
                v[i], n.running_mean, n.running_var, n.weight, n.bias, m.training, eps=n.eps
            )

        return self.step(f"batch_norm({i})", call)

    def pool(self, i: int) -> int:
        one = self.axes == 1
        calls = {
            "max": F.max_pool1d if one else F.max_pool2d,
            "avg": F.avg_pool1d if one else F.avg_pool2d,
            "adaptive_avg": F.adaptive_avg_pool1d if one else F.adaptive_avg_pool2d,
            "adaptive_max": F.adaptive_max_pool1d if one else F.adaptive_max_pool2d,
        }
        which = self.pick(*calls)
        sizes = self.values[i].shape[2:]
        if min(sizes) < 2:
            return i
        size: Any = 2
        if which.startswith("adaptive"):
            even = all(n % 2 == 0 and n & (n - 1) == 0 for n in sizes)
            size = tuple(n // 2 for n in sizes) if even else sizes
            size = size[0] if one else tuple(size)
        call = calls[which]
        # A quarter more bits; the neurons that follow take them away.
        return self.step(f"{which}({i}, {size})", lambda m, v: call(v[i], size))

    def both(self, i: int) -> int:
        """Two values of one shape, or a value and itself."""
        same = [k for k, value in enumerate(self.values) if value.shape == self.values[i].shape]
        k = self.draw(st.sampled_from(same))
        how = self.pick("+", "-", "torch.add", "+=", "stack", "sum", "sub")

        def call(m: Program, v: list[Tensor]) -> Tensor:
            if how == "+=":
                out = v[i].clone()
                out += v[k]
                return out
            if how == "stack":
                return torch.stack([v[i], v[k]]).sum(0)
            if how == "torch.add":
                return torch.add(v[i], v[k], alpha=0.5)
            if how == "sum":
                return sum([v[i], v[k]])
            return v[i] + v[k] if how == "+" else v[i] - v[k] if how == "-" else v[i].sub(v[k])

        return self.step(f"{i} {how} {k}", call)

    def constant(self, i: int) -> int:
        channels = self.values[i].shape[1]
        name = self.weight(channels, *[1] * self.axes)
        full = self.weight(*self.values[i].shape[1:])
        # torch aligns the last axes: one number a column, and one a row and column.
        last = self.weight(self.values[i].shape[-1])
        space = self.weight(*self.values[i].shape[2:])
        how = self.pick(
            *("* c", "/ 2", "c - x", "+ c", "* w", "+ w", "* full", "neg", "w - x"),
            *("* last", "* space"),
        )

        def call(m: Program, v: list[Tensor]) -> Tensor:
            w, x = m.weights[name], v[i]
            return {
                "* c": lambda: 0.5 * x * 3,
                "/ 2": lambda: x / 2,
                "c - x": lambda: 1 - x,
                "+ c": lambda: x + 0.25,
                "* w": lambda: torch.mul(w, x),
                "+ w": lambda: x.add(w),
                "* full": lambda: x * m.weights[full],
                "* last": lambda: m.weights[last] * x,
                "* space": lambda: x * m.weights[space],
                "neg": lambda: -x,
                "w - x": lambda: w - x,
            }[how]()

        return self.step(f"{how} of {i}", call)

    def join(self, i: int) -> int:
        size = self.values[i].shape[2:]
        others = [k for k, v in enumerate(self.values) if v.shape[2:] == size and v.shape[1] <= 4]
        k = self.draw(st.sampled_from(others)) if others else i
        return self.step(f"cat({i}, {k})", lambda m, v: torch.cat([v[i], v[k]], dim=1))

    def same(self, i: int) -> int:
        """What changes nothing, or the shape alone."""
        how = self.pick("dropout", "view", "contiguous", "repeat")

        def call(m: Program, v: list[Tensor]) -> Tensor:
            x = v[i]
            if how == "dropout":
                return F.dropout(x, 0.5, training=m.training)
            if how == "view":
                return x.view(x.size(0), *x.shape[1:]).detach()
            if how == "repeat" and m.weights is not None and x.ndim == 4 and x.shape[-1] < 5:
                return F.interpolate(x, scale_factor=2, mode="nearest")
            return x.contiguous().to(x.device)

        return self.step(f"{how} {i}", call, coarse=self.coarse[i])

    def write(self, blocks: int) -> Program:
        """The program, whose last value is a population's."""
        for _ in range(blocks):
            free = ["conv", "functional_conv"]
            loose = ["norm", "pool", "both", "constant", "join", "same"]
            kind = self.pick(*free, *loose)
            i = self.any_map(coarse=True)
            made = getattr(self, kind)(i)
            if self.pick(True, False) and kind in loose and made != i:
                made = getattr(self, self.pick("both", "constant", "join", "same"))(made)
            self.spiking(made)
        last = self.any_map(coarse=True)
        how = self.pick("mean", "flatten", "sum")
        if how == "flatten":
            flat = self.step("flatten", lambda m, v: torch.flatten(v[last], 1))
        else:
            # The mean over six places is not exact.
            call = "sum" if self.exact else how
            dims = tuple(range(2, 2 + self.axes))
            flat = self.step(call, lambda m, v: getattr(v[last], call)(dim=dims))
        features = self.values[flat].shape[1]
        w, b = self.weight(3, features), self.weight(3)
        head = self.step("linear", lambda m, v: F.linear(v[flat], m.weights[w], m.weights[b]))
        self.spiking(head)
        return self.program


@st.composite
def programs(draw: Draw, exact: bool) -> tuple[Program, tuple[int, ...]]:
    author = Author(draw, exact)
    return author.write(draw(st.integers(1, 4), label="blocks")), author.shape


def raster(seed: int, steps: int, shape: tuple[int, ...]) -> Any:
    rng = np.random.default_rng(seed)
    return (rng.random((steps, 2, *shape)) < 0.4).astype(np.float32)


def step(model: Any, now: Any) -> Any:
    return model(now)["out"]


@given(programs(exact=True), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_random_forward_equals_torch_to_the_bit(drawn: Any, steps: int, seed: int):
    model, shape = drawn
    x = raster(seed, steps, shape)
    assert_equal(ss.from_torch(model, shape), x, run_library(model, x, step))


@given(programs(exact=False), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_a_random_forward_on_free_weights(drawn: Any, steps: int, seed: int):
    model, shape = drawn
    x = raster(seed, steps, shape)
    trace = run_library(model, x, step)
    assert assert_within_margin(ss.from_torch(model, shape), x, trace) > 0.5


def test_the_random_forwards_fire():
    """A property of silent networks would hold nothing."""
    rates = []

    @given(programs(exact=True))
    def collect(drawn: Any) -> None:
        model, shape = drawn
        trace = run_library(model, raster(1, 4, shape), step)
        rates.append(np.mean([spikes.mean() for spikes in trace.spikes.values()]))

    collect()
    assert np.mean(np.asarray(rates) > 0.05) > 0.5
