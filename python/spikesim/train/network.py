"""`to_torch`: a network as a torch module that computes the same and can be trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from spikesim import ops
from spikesim._inputs import whole_number
from spikesim.errors import InputError, ShapeError, UnsupportedError
from spikesim.network import Network
from spikesim.train.arrivals import added
from spikesim.train.layers import layer
from spikesim.train.neurons import Neuron, SpikingModule
from spikesim.train.plan import Plan, Reads, foldable, lags
from spikesim.train.pools import RateMaxPool
from spikesim.train.step import State
from spikesim.train.surrogate import Surrogate

RECORDS = ("spikes", "v", "current")


def to_torch(
    net: Network,
    *,
    surrogate: str | Surrogate = "rectangular",
    detach_reset: bool = False,
    learn: Sequence[str] = (),
) -> TorchNetwork:
    """The torch module that computes what `net` computes, to be trained.

    Weights and biases are parameters. `spikesim.from_torch` makes a network of it again. It comes
    in eval mode, in which a BatchNorm has its fixed statistics.

    Args:
        net: the network; it is left as it is, arrays are copied.
        surrogate: gradient of the threshold tests, a name or a `Surrogate`.
        detach_reset: whether gradients stop at resets.
        learn: fields of neurons that are parameters, too: "alpha_mem" in all populations that
            have it, "lif1.alpha_mem" in one.

    Returns:
        A `TorchNetwork`.

    Raises:
        GraphError: the network is not valid, or a NIR file left something open that it needs.
        InputError: `net` is no network.
        UnsupportedError: an operation that has no torch module, an unknown option.

    Example:
        >>> import numpy as np, torch, spikesim as ss
        >>> net = ss.Network((2,))
        >>> _ = net.add(ss.Linear(np.eye(2)), name="fc"), net.add(ss.IF(), name="if")
        >>> module = ss.to_torch(net)
        >>> module(torch.tensor([[0.5, 1.0]]), n_steps=4).tolist()
        [[2.0, 4.0]]
        >>> [name for name, _ in module.named_parameters()]
        ['fc.weight']
    """
    if not isinstance(net, Network):
        raise InputError(f"to_torch: net is a {type(net).__name__}, expected a Network")
    return TorchNetwork(net, surrogate=surrogate, detach_reset=detach_reset, learn=learn).eval()


@dataclass(frozen=True)
class NetworkState:
    """What a network carries from one step to the next.

    Attributes:
        samples: N.
        populations: each population's state, by node.
        past: the last values of nodes that delayed edges leave, newest last, by node.
        sums: what the places of the input of a RateMaxPool have summed up, by node.
    """

    samples: int
    populations: dict[str, State]
    past: dict[str, tuple[Tensor, ...]]
    sums: dict[str, Tensor] = field(default_factory=dict)

    def detach(self) -> NetworkState:
        """The same numbers, cut off from the steps that made them."""
        return NetworkState(
            self.samples,
            {name: state.detach() for name, state in self.populations.items()},
            {name: tuple(v.detach() for v in past) for name, past in self.past.items()},
            {name: sums.detach() for name, sums in self.sums.items()},
        )


@dataclass
class TorchRun:
    """What a run gave: the readout, and by population what was recorded, (T, N, *shape)."""

    output: Tensor
    spikes: dict[str, Tensor] = field(default_factory=dict)
    v: dict[str, Tensor] = field(default_factory=dict)
    current: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class _Step:
    """One step of every node."""

    values: dict[str, Tensor]
    spikes: dict[str, Tensor]
    current: dict[str, Tensor]
    state: NetworkState


class TorchNetwork(nn.Module):
    """A network as a torch module: what `to_torch` makes.

    Each node is a submodule under its name (`module.get_submodule("features.0")`): torch's Linear,
    Conv1d and Conv2d, `spikesim.train.Neuron`, and modules of `spikesim.train.layers` and
    `spikesim.train.pools`. So the keys of `state_dict()` are `<node>.<array>`, as in files of
    networks.

    Sums are torch's, in torch's order: where they are exact it equals the engine to the bit,
    elsewhere up to their rounding.
    """

    def __init__(
        self,
        net: Network,
        *,
        surrogate: str | Surrogate,
        detach_reset: bool,
        learn: Sequence[str],
    ) -> None:
        super().__init__()
        net.runnable()
        # The structure that from_torch puts the weights back into.
        self.network = net.copy()
        self.input_shape, self.output_shape = net.input_shape, net.output_shape
        self.output, self.readout = net.output, net.readout
        self._inputs: Reads = {node.name: [] for node in net.nodes[1:]}
        for src, dst, delay in net.edges:
            self._inputs[dst].append((src, delay))
        self._shapes = {node.name: node.shape for node in net.nodes}
        wanted = (learn,) if isinstance(learn, str) else tuple(learn)
        made: dict[str, nn.Module] = {}
        for node in net.nodes[1:]:
            op = node.op
            if isinstance(op, ops.Neuron):
                fields = _learnable(op, op.arrays())
                own = [f for f in fields if f in wanted or f"{node.name}.{f}" in wanted]
                made[node.name] = Neuron(
                    op, surrogate=surrogate, detach_reset=detach_reset, learn=own
                )
            else:
                made[node.name] = layer(op, node.name, node.in_shape)
        _check_learn(made, wanted)
        self._plan: Plan | None
        self._past_names("_plan", None)
        self._folded = foldable(net)
        #: How each node's module was made; whoever changes it afterwards is told.
        self.made = {name: settings(module) for name, module in made.items()}
        _nest(self, made)
        self.state: NetworkState | None
        self._keep(None)

    def forward(self, x: Tensor, n_steps: int | None = None, *, reset: bool = True) -> Tensor:
        """The readout of a run; see `run`."""
        return self.run(x, n_steps, reset=reset).output

    def run(
        self,
        x: Tensor,
        n_steps: int | None = None,
        *,
        reset: bool = True,
        record: str | Iterable[str] = (),
        masks: Mapping[str, Tensor] | None = None,
    ) -> TorchRun:
        """Runs the network, keeping the state that it ends with.

        Args:
            x: constant current (N, *input_shape) with `n_steps`, or (T, N, *input_shape).
            n_steps: T, for a constant current.
            reset: whether it begins at the start; False: where the run before ended.
            record: which of "spikes" (their number, with its sign), "v" and "current" (the sum
                of what arrives) to return of every population.
            masks: by population, what its output is multiplied with at every step, to be broadcast
                against (N, *shape): a dropout that stays the same over time. What is recorded,
                and the readouts that look into a population, are as without.

        Returns:
            The readout, (N, *output_shape) (rule S7; "first_spike" has no gradient), and the
            records, (T, N, *shape).

        Raises:
            InputError: steps, an option, or values that are not finite.
            ShapeError: the shape of `x`; another N than that of the state with `reset=False`.
        """
        wanted = (record,) if isinstance(record, str) else tuple(record)
        for name in wanted:
            if name not in RECORDS:
                raise InputError(f"run: record has {name!r}, expected some of {RECORDS}")
        for name in masks or {}:
            if not isinstance(self.modules_by_node().get(name), SpikingModule):
                raise InputError(f"run: masks has {name!r}, expected names of populations")
        x, constant, steps = self._checked(x, n_steps)
        if reset:
            self.reset()
        plan, calls = self._calls()
        readout = _Readout(self.readout, self.output, steps)
        recorded: dict[str, dict[str, list[Tensor]]] = {key: {} for key in wanted}
        for t in range(steps):
            now = self._advance(x if constant else x[t], self.state, plan, calls, masks or {})
            self._keep(now.state)
            readout.add(t, now)
            by_record = {
                "spikes": now.spikes,
                "v": {name: state.v for name, state in now.state.populations.items()},
                "current": now.current,
            }
            for key in wanted:
                for name, value in by_record[key].items():
                    recorded[key].setdefault(name, []).append(value)
        stacked = {
            key: {name: torch.stack(values) for name, values in by_name.items()}
            for key, by_name in recorded.items()
        }
        return TorchRun(readout.result(), **stacked)

    def step(self, x: Tensor, state: NetworkState | None = None) -> tuple[Tensor, NetworkState]:
        """One step from a state that the caller keeps; the module's own is left as it is.

        Args:
            x: (N, *input_shape).
            state: what the step before returned; None: the start.

        Returns:
            The value of the output node, (N, *output_shape), and the new state.

        Raises:
            ShapeError: the shape of `x`, or another N than that of the state.
        """
        _tensor("step", x)
        if tuple(x.shape[1:]) != self.input_shape or x.ndim == 0 or x.shape[0] == 0:
            raise ShapeError(
                f"step: x has shape {tuple(x.shape)}, expected (N, {_shown(self.input_shape)})"
            )
        now = self._advance(self._cast(x), state, *self._calls(), {})
        return now.values[self.output], now.state

    def reset(self) -> None:
        """Back to the start."""
        self._keep(None)

    def detach(self) -> None:
        """Keeps the state and cuts it off from the steps that made it: between pieces of a
        sequence (`reset=False`) that is longer than gradients are to go back."""
        self._keep(None if self.state is None else self.state.detach())

    def _keep(self, state: NetworkState | None) -> None:
        self._past_names("state", state)

    def _past_names(self, name: str, value: Any) -> None:
        # Past torch's own, which would take it for a submodule of that name if there is one.
        object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: torch copies no tensor that has a history."""
        return {**self.__dict__, "state": None if self.state is None else self.state.detach()}

    def _advance(
        self,
        x: Tensor,
        state: NetworkState | None,
        plan: Plan,
        calls: Mapping[str, Callable[..., Any]],
        masks: Mapping[str, Tensor],
    ) -> _Step:
        """One step of every node, in an order that edges without delay allow (S1.2)."""
        if state is None:
            zeros = {name: x.new_zeros(len(x), *self._shapes[name]) for name in plan.kept}
            past = {name: (zeros[name],) * steps for name, steps in plan.kept.items()}
            state = NetworkState(len(x), {}, past)
        elif state.samples != len(x):
            raise ShapeError(
                f"run: x has {len(x)} samples, expected {state.samples} as the state has; "
                "use reset()"
            )
        elif {name: len(kept) for name, kept in state.past.items()} != plan.kept:
            raise InputError("run: delays have changed since the state, expected a reset()")
        values, spikes, current = {"input": x}, {}, {}
        populations: dict[str, State] = {}
        sums: dict[str, Tensor] = {}
        for name in plan.order:
            arrivals = [
                state.past[src][-ago] if ago else values[src] for src, ago in plan.reads[name]
            ]
            call = calls[name]
            if isinstance(call, SpikingModule):
                total = added(arrivals)
                out, z, populations[name] = call.step(total, state.populations.get(name))
                values[name] = out * masks[name] if name in masks else out
                current[name] = total
                if call.rules.spikes != "none":
                    spikes[name] = z
            elif isinstance(call, RateMaxPool):
                values[name], sums[name] = call(added(arrivals), state.sums.get(name))
            else:
                values[name] = call(*arrivals)
        past = {name: (*kept[1:], values[name]) for name, kept in state.past.items()}
        return _Step(values, spikes, current, NetworkState(len(x), populations, past, sums))

    def _calls(self) -> tuple[Plan, dict[str, Callable[..., Any]]]:
        """The plan, and what is called for each node: its module; where BatchNorms are folded
        into a layer (S2.13), that with weights that are computed here, once for a run."""
        modules = self.modules_by_node()
        reads = {
            name: [(src, delay + lag) for src, delay in edges for lag in lags(modules[name], name)]
            for name, edges in self._inputs.items()
        }
        if self._plan is None or self._plan.reads != reads:
            self._past_names("_plan", Plan(reads))
        assert self._plan is not None
        calls: dict[str, Callable[..., Any]] = dict(modules)
        for name, norms in self._folded.items():
            parts: Any = [modules[norm] for norm in norms]
            if any(norm.training for norm in parts):
                continue
            module: Any = modules[name]
            weight, bias = module.weight, module.bias
            for norm in parts:
                weight, bias = norm.fold(weight, bias)
            calls[name] = partial(module, folded=(weight, bias))
            calls |= {n: partial(modules[n], folded=True) for n in norms}
        return self._plan, calls

    def _checked(self, x: Tensor, n_steps: int | None) -> tuple[Tensor, bool, int]:
        """The input as the weights' type, whether it is constant, and T (S1.6)."""
        _tensor("run", x)
        shape, inner = tuple(x.shape), _shown(self.input_shape)
        extra = len(shape) - len(self.input_shape)
        if extra not in (1, 2) or shape[extra:] != self.input_shape:
            raise ShapeError(
                f"run: x has shape {shape}, expected (N, {inner}) with n_steps, or (T, N, {inner})"
            )
        for axis, what in zip((-1, -2)[:extra], ("samples", "steps"), strict=False):
            if shape[extra + axis] == 0:
                raise InputError(f"run: x has 0 {what}, expected at least 1")
        if extra == 1:
            if n_steps is None:
                raise InputError(
                    "run: n_steps is missing, expected the number of steps of a constant input"
                )
            return self._cast(x), True, whole_number("run", "n_steps", n_steps)
        if n_steps is not None and whole_number("run", "n_steps", n_steps) != shape[0]:
            raise InputError(
                f"run: n_steps is {n_steps}, expected {shape[0]} as the raster has it; leave it out"
            )
        return self._cast(x), False, shape[0]

    def _cast(self, x: Tensor) -> Tensor:
        numbers = [*self.parameters(), *self.buffers()]
        return x.to(numbers[0].dtype if numbers else torch.float32)

    def modules_by_node(self) -> dict[str, nn.Module]:
        """The submodule of each node but the input, as it is now."""
        return {name: _found(self, name) for name in self._inputs}


def _tensor(where: str, x: Any) -> None:
    if not isinstance(x, Tensor):
        raise InputError(f"{where}: x is a {type(x).__name__}, expected a torch tensor")
    if not bool(torch.isfinite(x.detach()).all()):
        raise InputError(f"{where}: x holds NaN or infinity, expected finite values")


def settings(module: nn.Module) -> tuple[Any, ...]:
    """What a node's module does, apart from its numbers."""
    how = module.rules if isinstance(module, SpikingModule) else module.extra_repr()
    return type(module), how


class _Readout:
    """S7, as it grows."""

    def __init__(self, kind: str, output: str, steps: int) -> None:
        self.kind = kind
        self.output = output
        self.steps = steps
        self.value: Tensor | None = None

    def add(self, t: int, now: _Step) -> None:
        """One more step."""
        kind, before = self.kind, self.value
        if kind in ("last_v", "max_v"):
            v = now.state.populations[self.output].v
            self.value = v if kind == "last_v" or before is None else torch.maximum(before, v)
        elif kind == "first_spike":
            z = now.spikes[self.output].detach()
            before = torch.full_like(z, self.steps) if before is None else before
            first = (z != 0) & (before == self.steps)
            self.value = torch.where(first, torch.full_like(z, t), before)
        else:
            value = now.spikes[self.output] if kind == "count" else now.values[self.output]
            self.value = value if before is None else before + value

    def result(self) -> Tensor:
        """After the last step."""
        assert self.value is not None
        return self.value / float(self.steps) if self.kind == "mean" else self.value


def _nest(root: nn.Module, made: Mapping[str, nn.Module]) -> None:
    """Puts each module at the path that is its node's name.

    Straight into the tables of submodules: names are the network's, and one that torch's
    `add_module` would refuse (an empty part, the name of a method) is a name all the same.
    """
    places: dict[str, nn.Module] = dict(made)
    for name in made:
        parts = name.split(".")
        if "training" in parts:  # what eval() and train() set in every module
            raise UnsupportedError(
                f'{name}: a node\'s module cannot be called "training", expected another name'
            )
        parent = root
        for depth in range(1, len(parts) + 1):
            path = ".".join(parts[:depth])
            child = places.setdefault(path, nn.Module())
            parent._modules[parts[depth - 1]] = child
            parent = child


def _found(root: nn.Module, name: str) -> nn.Module:
    module = root
    for part in name.split("."):
        child = module._modules.get(part)
        if child is None:
            raise UnsupportedError(
                f"{name}: the node's module was taken out, expected it at its place"
            )
        module = child
    return module


def _learnable(rules: Any, fields: Iterable[str]) -> list[str]:
    """The fields that may have other values: an alpha synapse makes the membrane alone (S3.26)."""
    fixed = ("alpha_mem", "v_leak") if rules.synapse == "alpha" else ()
    return [field for field in fields if field not in fixed]


def _check_learn(made: Mapping[str, nn.Module], wanted: Iterable[str]) -> None:
    fields = {
        key
        for name, module in made.items()
        if isinstance(module, Neuron)
        for f in _learnable(module.rules, module.parameter_fields)
        for key in (f, f"{name}.{f}")
    }
    for key in wanted:
        if key not in fields:
            expected = "a float field of a population, as 'alpha_mem' or '<node>.alpha_mem'"
            raise UnsupportedError(f"to_torch: learn has {key!r}, expected {expected}")


def _shown(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
