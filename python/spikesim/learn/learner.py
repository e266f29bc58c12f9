"""`Learner`: a network that learns from spikes, sample by sample and step by step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from spikesim import _core, knobs
from spikesim._inputs import prepare
from spikesim.errors import InputError, ShapeError
from spikesim.learn._files import Arrays, Saved
from spikesim.learn.parts import Rule
from spikesim.learn.wta import AdaptiveThreshold, Part
from spikesim.network import Network, _from_bytes
from spikesim.result import SpikeRaster
from spikesim.simulator import Progress, progress_bar

__all__ = ["LearnResult", "Learner"]

Place = str | tuple[str, str]
"""A layer, or (source, layer): the edge from one to the other."""


@dataclass(frozen=True)
class LearnResult:
    """What a run of a `Learner` leaves beside what was learned.

    Attributes:
        spikes: Of each population, where they were recorded.
        v: Membranes `(T, N, *shape)` after each step, where they were recorded.
        spike_counts: int64 `(N,)` of each population that spikes.
        weight_updates: How often a weight, or what it is eligible for, was changed.
        synops: Weights that events met; those of value zero count, since learning changes which
            these are.
    """

    spikes: dict[str, SpikeRaster]
    v: dict[str, NDArray[np.float32]]
    spike_counts: dict[str, NDArray[np.int64]]
    weight_updates: int
    synops: int


class Learner(Saved):
    """A network whose weights change by its spikes (S11 of docs/semantics.md).

    Membranes, traces and what is under way start anew with each sample unless a run says
    otherwise; weights and adapted thresholds stay. `save` writes everything to a file, the
    network too; from `load`, or `resume` of a learner made of the same arguments, it goes on to
    the same bits.

    Args:
        net: The network; it is not changed. Layers that learn are Linear or Conv whose inputs are
            spikes and that feed one population, directly and without delay. Edges into them may
            have delays: a rule sees a spike when it arrives at the layer.
        rules: A rule for each layer, or for each edge `(source, layer)`.
        wta: Parts of winner-take-all for populations, in the order in which they act.
        homeostasis: Adaptive thresholds for populations.
        seed: Of all random numbers.

    Raises:
        GraphError: An unknown name.
        InputError: A bad value, weights outside the bounds of their rule.
        UnsupportedError: What can't be learned exactly; the message names it.

    Example:
        >>> import numpy as np, spikesim as ss
        >>> net = ss.Network(input_shape=(2,))
        >>> _ = net.add(ss.Linear([[0.5, 0.5]]), name="fc"), net.add(ss.IF(), name="out")
        >>> learner = ss.learn.Learner(net, {"fc": ss.learn.PairSTDP(0.125, 0.0, w_max=2.0)})
        >>> spikes = np.array([[[1, 1]]], dtype=bool)  # (T, N, inputs)
        >>> learner.run(spikes).weight_updates
        2
        >>> learner.network().node("fc").op.weight
        array([[0.625, 0.625]], dtype=float32)
    """

    def __init__(
        self,
        net: Network,
        rules: Mapping[Place, Rule] | None = None,
        wta: Mapping[str, Sequence[Part] | Part] | None = None,
        homeostasis: Mapping[str, AdaptiveThreshold] | None = None,
        seed: int = 0,
    ) -> None:
        net.runnable()
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise InputError(f"learn: seed is {seed!r}, expected a whole number")
        if not 0 <= seed < 2**64:
            raise InputError(f"learn: seed is {seed}, expected 0 to 2^64 − 1")
        spec = {
            "rules": [_on_edge(place, rule) for place, rule in (rules or {}).items()],
            "wta": [_compete(name, parts) for name, parts in (wta or {}).items()],
            "homeostasis": [_adapt(name, rule) for name, rule in (homeostasis or {}).items()],
            "seed": int(seed),
        }
        self._begin(net.copy(), spec)

    def _begin(self, net: Network, spec: dict[str, Any]) -> None:
        """Nothing learned yet, of what the core is told in JSON."""
        text = json.dumps(spec, allow_nan=False)
        self._core = _core.Learner(net._graph, text, knobs.read().level)
        self._net = net
        self._spec: dict[str, Any] = json.loads(text)
        self._input_shape = net.input_shape
        self._shapes = {n.name: n.shape for n in net.nodes if n.kind == "neuron"}

    @property
    def samples(self) -> int:
        """Number of samples that have begun; part of the state."""
        return self._core.samples()

    def run(
        self,
        x: Any,
        n_steps: int | None = None,
        reward: Any = None,
        record: str | Iterable[str] = (),
        layout: str | None = None,
        reset: bool = True,
        progress: Progress | Callable[[int, int], None] = False,
    ) -> LearnResult:
        """Learns from all samples in their order.

        Args:
            x: As `Simulator.run` takes it: `(N, *input_shape)`, `(T, N, *input_shape)`, or
                `(T, *input_shape)` with `layout="T"`. What reaches weights that learn has to be
                spikes: 0 or 1.
            n_steps: T; needed for a constant input.
            reward: None; a number, the reward of every step; `(N,)`, that of each sample, which
                comes in its last step; `(T, N)`.
            record: Any of "spikes" and "v", kept for every population.
            layout: None, "N", "TN" or "T".
            reset: False: each sample goes on where the one before (or the last run) ended.
            progress: A bar on stderr, or a function of (samples done, in all).

        Returns:
            Spikes, membranes and counts.

        Raises:
            InputError: A bad input, values other than 0 and 1 at weights that learn.
            ShapeError: An array does not fit.
            DivergenceError: A weight has left the finite numbers.
            KeyboardInterrupt: Ctrl-C. After this and any other error the state is that after the
                whole samples learned up to a moment ago (`samples` says how many).
        """
        wanted = {record} if isinstance(record, str) else set(record)
        for name in sorted(map(str, wanted)):
            if name not in ("spikes", "v"):
                raise InputError(f"run: record has {name!r}, expected any of spikes, v")
        values, constant, steps, samples = prepare(x, self._input_shape, n_steps, layout)
        rewards, each_step = _rewards(reward, steps, samples)
        with progress_bar(progress, samples) as tell:
            raw = self._core.run(
                values,
                samples,
                steps,
                constant,
                rewards,
                each_step,
                bool(reset),
                "spikes" in wanted,
                "v" in wanted,
                tell,
            )
            if tell is not None:
                tell(samples)
        return self._result(raw, "spikes" in wanted, steps, samples)

    def _result(self, raw: dict[str, Any], spikes: bool, steps: int, samples: int) -> LearnResult:
        rasters = {}
        empty = np.zeros(0, dtype=np.int64)
        for name in raw["counts"] if spikes else ():
            columns = raw["spikes"].get(name, (empty, empty, empty, empty))
            step, sample, neuron, count = columns
            order = np.lexsort((neuron, sample, step))
            shape = (steps, samples, *self._shapes[name])
            rasters[name] = SpikeRaster(
                step[order], sample[order], neuron[order], count[order], shape
            )
        v = {
            name: np.ascontiguousarray(
                array.reshape(samples, steps, *self._shapes[name]).swapaxes(0, 1)
            )
            for name, array in raw["v"].items()
        }
        counts = {name: array.astype(np.int64) for name, array in raw["counts"].items()}
        return LearnResult(rasters, v, counts, int(raw["updates"]), int(raw["synops"]))

    def network(self, thresholds: bool = True) -> Network:
        """The network with the weights as they are now.

        Args:
            thresholds: Adapted thresholds are in it, one a neuron, and stay as they are; False:
                the thresholds are those of the network that was given.

        Returns:
            A network of its own.
        """
        return Network._of(self._core.network(thresholds), like=self._net)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything that learning has changed and where it stands, as new arrays.

        A learner made of the same arguments goes on bit for bit from it.
        """
        state: dict[str, NDArray[Any]] = self._core.state()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes a state that `state_dict` gave; at an error nothing changes.

        Raises:
            InputError: An array is missing, unknown, of another type or not finite.
            ShapeError: An array has another shape.
        """
        arrays = {}
        for name, array in state.items():
            found = np.asarray(array)
            if found.dtype not in (np.dtype(np.float32), np.dtype(np.uint32)):
                raise InputError(
                    f"state_dict: {name} has dtype {found.dtype}, expected float32 or uint32"
                )
            arrays[str(name)] = found
        self._core.load_state(arrays)

    # --- files ----------------------------------------------------------------------------------

    def _params_to_json(self) -> dict[str, Any]:
        graph = self._net._graph
        nodes = graph.nodes()
        return {
            "nodes": [name for name, *_ in nodes],
            "node": {name: json.loads(op) | _digests(graph, name) for name, op, *_ in nodes},
            "edges": [list(edge) for edge in graph.edges()],
            **self._spec,
        }

    @classmethod
    def _made(cls, params: dict[str, Any], arrays: Arrays) -> Self:
        learner = cls.__new__(cls)
        spec = {name: params[name] for name in ("rules", "wta", "homeostasis", "seed")}
        learner._begin(_from_bytes(arrays[_NETWORK].tobytes()), spec)
        return learner

    def _state(self) -> tuple[Arrays, dict[str, Any]]:
        state = {_STATE + name: array for name, array in self.state_dict().items()}
        return {_NETWORK: np.frombuffer(self._net._to_bytes(), np.uint8), **state}, {}

    def _set_state(self, arrays: Arrays, values: dict[str, Any]) -> None:
        self.load_state_dict(
            {name[len(_STATE) :]: a for name, a in arrays.items() if name.startswith(_STATE)}
        )

    def __repr__(self) -> str:
        return f"<Learner: {len(self._shapes)} populations, {self.samples} samples>"


#: Names of the arrays in a file: the network as it was given, as a bundle; what learning changed.
_NETWORK, _STATE = "network", "state/"


def _digests(graph: _core.Graph, name: str) -> dict[str, str]:
    """A node's arrays, short: equal arrays have equal texts."""
    return {
        key: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
        for key, array in graph.arrays(name).items()
    }


def _on_edge(place: Any, rule: Any) -> dict[str, Any]:
    pair = isinstance(place, tuple) and len(place) == 2
    names = place if pair else (None, place)
    if not all(isinstance(name, str) for name in names[1 - pair :]):
        raise InputError(f"learn: a rule is for {place!r}, expected a layer or (source, layer)")
    if not isinstance(rule, Rule):
        raise InputError(f"learn: the rule of {place!r} is {rule!r}, expected a Rule")
    return {"layer": names[1], "source": names[0], "rule": rule.spec()}


def _compete(name: Any, parts: Any) -> dict[str, Any]:
    listed = [parts] if isinstance(parts, Part) else parts
    good = isinstance(listed, Sequence) and all(isinstance(part, Part) for part in listed)
    if not isinstance(name, str) or not good:
        raise InputError(f"learn: wta has {name!r}: {parts!r}, expected a population and its parts")
    return {"population": name, "parts": [part.spec() for part in listed]}


def _adapt(name: Any, rule: Any) -> dict[str, Any]:
    if not isinstance(name, str) or not isinstance(rule, AdaptiveThreshold):
        raise InputError(
            f"learn: homeostasis has {name!r}: {rule!r}, expected a population and an "
            "AdaptiveThreshold"
        )
    return {"population": name, **rule.spec()}


def _rewards(reward: Any, steps: int, samples: int) -> tuple[NDArray[np.float32] | None, bool]:
    """The reward as an array, and whether it is one for each step."""
    if reward is None:
        return None, False
    try:
        array = np.asarray(reward, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"run: reward is no array of numbers ({error})") from error
    if not np.isfinite(array).all():
        raise InputError("run: reward has NaN or infinity, expected finite numbers")
    if array.ndim == 0:
        return np.full((steps, samples), array, dtype=np.float32), True
    if array.shape not in ((samples,), (steps, samples)):
        raise ShapeError(
            f"run: reward has shape {array.shape}, expected ({samples},) or ({steps}, {samples})"
        )
    return np.ascontiguousarray(array), array.ndim == 2
