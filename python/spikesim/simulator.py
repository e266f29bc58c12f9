"""Running a compiled network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikesim import _core, knobs
from spikesim._inputs import prepare, whole_number
from spikesim.errors import InputError
from spikesim.result import Counts, Result, SpikeRaster
from spikesim.stream import Stream, open_stream

if TYPE_CHECKING:
    from spikesim.network import Network

_RECORDABLE = ("spikes", "v", "current")

#: `progress`: off, a bar on stderr, or a function of (sample-steps done, in all).
Progress = bool | Callable[[int, int], None]


def compile_network(
    net: Network,
    precision: str = "f32",
    threads: int | None = None,
    level: str | None = None,
    clips: Mapping[str, Any] | None = None,
) -> Simulator:
    """Plans `net`: `Network.compile`, where the arguments are described."""
    if precision not in ("f32", "i8"):
        raise InputError(f'compile: precision is {precision!r}, expected "f32" or "i8"')
    knob = knobs.read()
    threads = threads if threads is not None else knob.threads
    if threads is not None:
        threads = whole_number("compile", "threads", threads, knobs.MOST_THREADS)
    level = level if level is not None else knob.level
    if level is not None and not isinstance(level, str):
        raise InputError(f"compile: level is {level!r}, expected a name or None")
    return Simulator(net, _core.Simulator(net._graph, level, threads, _clips(precision, clips)))


def _clips(precision: str, clips: Mapping[str, Any] | None) -> dict[str, list[float]] | None:
    if precision == "f32":
        if clips is not None:
            raise InputError('compile: clips are given for precision "f32", expected None')
        return None
    try:
        found = {str(k): np.asarray(c, np.float32) for k, c in (clips or {}).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"compile: clips are no arrays by layer ({error})") from error
    return {name: clip.reshape(-1).tolist() for name, clip in found.items()}


class Simulator:
    """A compiled network and the state of its last run.

    Made by `Network.compile`; compiling is cheap and simulators share the network. A simulator
    runs in one thread at a time (RuntimeError otherwise); its own threads are another matter
    and never change a bit of the result.
    """

    def __init__(self, net: Network, core: _core.Simulator) -> None:
        self._core = core
        self._input_shape = net.input_shape
        self._output = net.output
        self._dt = net.dt
        self._first_spike = net.readout == "first_spike"
        self._shapes = {name: tuple(shape) for name, shape in core.populations()}
        # What Result.energy prices depends on the network as it was compiled.
        self._leaky = _leaky(net)

    @property
    def level(self) -> str:
        """SIMD level in use."""
        return self._core.level

    @property
    def precision(self) -> str:
        """Precision in use: "f32" or "i8"."""
        return self._core.precision

    @property
    def threads(self) -> int:
        """Number of threads."""
        return self._core.threads

    @property
    def weight_bytes(self) -> int:
        """Bytes of packed weights."""
        return self._core.weight_bytes

    def __repr__(self) -> str:
        return f"<Simulator: {len(self._shapes)} populations, {self.level}, {self.threads} threads>"

    def run(
        self,
        x: Any,
        n_steps: int | None = None,
        record: str | Iterable[str] = (),
        layout: str | None = None,
        reset: bool = True,
        batch_size: int | None = None,
        progress: Progress = False,
    ) -> Result:
        """Runs the network.

        Args:
            x: `(N, *input_shape)`, the same at every step (a constant current); or a raster
                `(T, N, *input_shape)`; or, with `layout="T"`, one sample's `(T, *input_shape)`.
                bool, integers and floats are cast to float32 without scaling.
            n_steps: T; needed for a constant input.
            record: Any of "spikes", "v" (membrane after the step) and "current" (summed input),
                kept for every population.
            layout: None (told by the number of axes), "N", "TN" or "T".
            reset: False goes on from the last run's state.
            batch_size: Samples in flight at most; bounds the memory that a run works with. The
                state of every sample is kept beside it (four bytes a neuron) for `reset=False`.
            progress: Show a bar on stderr, or call this function with (sample-steps done, in
                all) every now and then.

        Returns:
            Output, predictions, counts and what was recorded.

        Raises:
            InputError: A bad type, value or number of steps.
            ShapeError: `x` does not fit the network, or `reset=False` with another N.
            RuntimeError: This simulator is running in another thread.
            KeyboardInterrupt: Ctrl-C; the state is what it was before a run with `reset=False`,
                and the initial one after any other.
        """
        wanted = _record(record)
        values, constant, steps, samples = prepare(x, self._input_shape, n_steps, layout)
        if batch_size is not None:
            batch_size = min(whole_number("run", "batch_size", batch_size), samples)
        flags = ("spikes" in wanted, "v" in wanted, "current" in wanted)
        each = dict.fromkeys(self._shapes, flags) if any(flags) else {}
        with progress_bar(progress, samples * steps) as tell:
            raw = self._core.run(
                values, samples, steps, constant, each, batch_size, not reset, tell
            )
        return self._result(raw, wanted, steps, samples)

    def _result(self, raw: dict[str, Any], wanted: set[str], steps: int, samples: int) -> Result:
        output: NDArray[np.float32] = raw["output"]
        flat = output.reshape(samples, -1)
        best = flat.argmin(axis=1) if self._first_spike else flat.argmax(axis=1)
        spikes = {
            name: SpikeRaster(step, sample, neuron, count, (steps, samples, *self._shapes[name]))
            for name, (step, sample, neuron, count) in raw["spikes"].items()
        }
        return Result(
            output=output,
            predictions=best.astype(np.int64),
            counts=Counts(raw["counts"]),
            n_steps=steps,
            recorded=frozenset(wanted),
            spikes=spikes,
            v=raw["v"],
            current=raw["current"],
            leaky=self._leaky,
        )

    def stream(
        self,
        source: Any,
        dt: float | None = None,
        window: int | None = None,
        *,
        reset: bool = True,
        spikes: bool = False,
        t0: int | None = None,
    ) -> Stream:
        """Runs the network step by step on one sample, as the input comes (rules S15).

        Each step touches what events reach: neurons that nothing reaches are left alone and catch
        up later. Every number is the one that `run` over the same steps gives, to the bit.

        Args:
            source: Steps: an iterable, each item the input of one step: an array `(*input_shape)`,
                a `StepEvents`, or a tuple `(index, values)` of its arguments. Or events: an
                `Events`, a structured array with fields t (microseconds), x, y and p, or an
                iterable of these, in the order of time. Events need an input `(2, H, W)`, channel
                `p`, or `(1, H, W)` where both polarities are one; the value of a place is the
                number of its events. Step k holds those with `t0 + k·dt <= t < t0 + (k+1)·dt`;
                steps without any are stepped too, up to that of the last event, and a step is
                complete when a later event or the end of the source is seen.
            dt: Seconds of a step, a whole number of microseconds; the network's own where it has
                one. Needed for events only.
            window: None: the readout over all steps since the stream began. A number of steps:
                the readout over the last so many (fewer at the beginning), at every step.
            reset: False goes on from the last state, which must be one sample's. The readout
                begins anew (S1.5).
            spikes: Give the spikes of each step.
            t0: Microseconds at which step 0 begins; that of the first event unless given.

        Returns:
            An iterator of `StreamOutput`, one a step. Its `report` says by node how it is stepped.
            Between two steps `state_dict` is the state that `run` would have; `run`, `reset`,
            `load_state_dict` and another `stream` of this simulator end it.

        Raises:
            GraphError: `dt` is another one than the network's.
            InputError: A bad argument, a bad type or value of a step, or the stream has ended.
            UnsupportedError: The simulator was compiled with `precision="i8"`.
            EventError: Events out of order or outside the input.
            ShapeError: A step of another shape, or `reset=False` with a state of several samples.
            RuntimeError: This simulator is running in another thread, or another stream has begun.

        Example:
            >>> import numpy as np, spikesim as ss
            >>> net = ss.Network((2,))
            >>> _ = net.add(ss.IF(v_threshold=2.0), name="if1")
            >>> [int(out.output[0]) for out in net.compile().stream(np.ones((4, 2)))]
            [0, 1, 1, 2]
        """
        return open_stream(
            self._core,
            tuple(self._input_shape),
            self._first_spike,
            self._dt,
            source,
            dt,
            window,
            reset,
            spikes,
            t0,
        )

    def reset(self) -> None:
        """Restores the initial state."""
        self._core.reset()

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The whole state: `<node>.v` and, where there is one, `.i`, `.i_inh`, `.theta`,
        `.refractory` `(N, *shape)`; `<node>.sum` `(N, *in_shape)` of a RateMaxPool; and
        `<node>.history*` `(D, N, *shape)`: what delayed edges look back to.

        `run(..., reset=False)` after `load_state_dict` goes on bit for bit. Before the first run
        it is the initial state of one sample. All arrays are float32, except that with precision
        "i8" `<node>.v` is int32, in units of the population (docs/semantics.md, S14).
        """
        state: dict[str, NDArray[Any]] = self._core.state()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes a state that `state_dict` gave; arrays are copied.

        Raises:
            InputError: An array is missing, unknown or not finite.
            ShapeError: An array has another shape.
        """
        arrays = {}
        for name, array in state.items():
            try:
                integers = np.asarray(array).dtype == np.int32
                arrays[str(name)] = np.asarray(array, np.int32 if integers else np.float32)
            except (TypeError, ValueError) as error:
                raise InputError(f"state_dict: {name} is no array of numbers ({error})") from error
        self._core.load_state(arrays)


def _record(record: str | Iterable[str]) -> set[str]:
    try:
        names = {record} if isinstance(record, str) else set(record)
    except TypeError:
        raise InputError(
            f"run: record is {record!r}, expected any of {', '.join(_RECORDABLE)}"
        ) from None
    for name in sorted(map(str, names)):
        if name not in _RECORDABLE:
            raise InputError(f"run: record has {name!r}, expected any of {', '.join(_RECORDABLE)}")
    return names


def _leaky(net: Network) -> frozenset[str]:
    from spikesim.energy import leaky_layers

    return frozenset(leaky_layers(net))


def progress_bar(
    progress: Progress, total: int
) -> AbstractContextManager[Callable[[int], None] | None]:
    """What is to be told how much of `total` is done, while it is entered; None: nobody asks."""
    if progress is False or progress is None:
        return nullcontext()
    if callable(progress):
        return nullcontext(lambda done: progress(done, total))
    return _Bar(total)


class _Bar(AbstractContextManager[Callable[[int], None]]):
    """A rich bar on stderr."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import Progress as Rich

        self._total = total
        self._rich = Rich(console=Console(stderr=True), transient=True)
        self._task = self._rich.add_task("running", total=total)

    def __enter__(self) -> Callable[[int], None]:
        self._rich.start()
        return lambda done: self._rich.update(self._task, completed=done)

    def __exit__(self, *_: object) -> None:
        self._rich.stop()
