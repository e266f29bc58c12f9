"""Running a compiled network step by step on what comes in (rules S15)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim import _core
from spikesim._inputs import step_values, whole_number
from spikesim.errors import GraphError, InputError
from spikesim.events import Events, StepEvents, Steps, is_events
from spikesim.result import COUNTERS, Counts

#: Counters of a layer with weights and of a population; the others cannot apply to it.
_OF_LAYER = {"synops", "synops_with_zeros", "macs", "macs_executed"}

#: What of the Python package stands for "no time": dt in seconds to microseconds.
_MICROSECONDS = 1_000_000


class StreamOutput:
    """What one step of a stream gives.

    Attributes:
        t: The step's number, from 0 where the stream began.
        output: `output_shape` float32: the readout (S7) over the steps since the stream began,
            or over the last `window` ones.
        prediction: Index of the largest output (of the smallest first spike); ties to the lowest.
        counts: Exact counts of this step, T = N = 1.
        age: Seconds from when the step's input had been taken from the source until this output
            was there.
        end_us: With events: the end of the step in microseconds of their clock; else None.
        spikes: With `spikes=True`, by population: `(neuron, count)`, both (n,) int64; neurons as
            ascending C-order indices, counts negative for negative spikes.
    """

    __slots__ = ("_layers", "_table", "age", "end_us", "output", "prediction", "spikes", "t")

    def __init__(
        self,
        t: int,
        output: NDArray[np.float32],
        prediction: int,
        table: NDArray[np.uint64],
        layers: list[tuple[str, bool]],
        age: float,
        end_us: int | None,
        spikes: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]],
    ) -> None:
        self.t = t
        self.output = output
        self.prediction = prediction
        self.age = age
        self.end_us = end_us
        self.spikes = spikes
        self._table = table
        self._layers = layers

    @property
    def counts(self) -> Counts:
        """Exact counts of this step; `neuron_visits` are the neurons that it touched."""
        return Counts(
            {
                layer: {
                    name: row[k].reshape(1, 1)
                    for k, name in enumerate(COUNTERS)
                    if (name in _OF_LAYER) != population
                }
                for (layer, population), row in zip(self._layers, self._table, strict=True)
            }
        )

    def __repr__(self) -> str:
        return f"StreamOutput(t={self.t}, prediction={self.prediction}, age={self.age:.3g} s)"


class Stream(Iterator[StreamOutput]):
    """The steps of a stream: `Simulator.stream`, where the arguments are described.

    Attributes:
        report: By node how it is stepped. "lazy": neurons catch up when they are touched;
            "lazy, scheduled where it may fire by itself"; "stepped until at rest"; "events":
            work in proportion to events; "within its population"; "whole": every element in
            every step, as in `Simulator.run`.
    """

    def __init__(
        self,
        core: _core.Simulator,
        input_shape: tuple[int, ...],
        first_spike: bool,
        source: Any,
        window: int | None,
        dt_us: int | None,
        reset: bool,
        spikes: bool,
        t0: int | None,
    ) -> None:
        self._shape = input_shape
        self._first_spike = first_spike
        self._dt = dt_us
        self._t0 = t0
        self._t = 0
        self._taken = 0.0
        self._items = self._read(source)
        self._core = _core.Stream(core, not reset, window, spikes)
        self._layers = self._core.layers()
        self.report: dict[str, str] = dict(self._core.report)

    def __next__(self) -> StreamOutput:
        end, item = next(self._items)
        taken = self._taken
        if isinstance(item, StepEvents):
            output, table, spikes = self._core.step_events(item.index, item.values)
        else:
            output, table, spikes = self._core.step(item)
        best = output.argmin() if self._first_spike else output.argmax()
        out = StreamOutput(
            self._t,
            output,
            int(best),
            table,
            self._layers,
            time.perf_counter() - taken,
            end,
            spikes,
        )
        self._t += 1
        return out

    def __repr__(self) -> str:
        whole = sum(how == "whole" for how in self.report.values())
        return f"<Stream: step {self._t}, {whole} of {len(self.report)} nodes stepped whole>"

    def _read(self, source: Any) -> Iterator[tuple[int | None, Any]]:
        """(End of the step, its input) of each step."""
        items = iter([source]) if is_events(source) else _iterator(source)
        return self._steps(items)

    def _steps(self, items: Iterator[Any]) -> Iterator[tuple[int | None, Any]]:
        stamped = self._stamped(items)
        first = next(stamped, None)
        if first is None:
            return
        if is_events(first):
            if self._dt is None:
                raise InputError(
                    "stream: dt is missing, expected the seconds of a step; give dt, or a network "
                    "that has one"
                )
            steps = Steps(self._shape, self._dt, self._t0)
            for end, index in steps.cut(_chain(first, stamped)):
                yield end, StepEvents(index)
            return
        for item in _chain(first, stamped):
            yield None, self._step(item)

    def _step(self, item: Any) -> Any:
        if isinstance(item, StepEvents):
            return item
        if isinstance(item, tuple):
            if not 1 <= len(item) <= 2:
                raise InputError(
                    f"stream: a step is a tuple of {len(item)}, expected (index, values)"
                )
            return StepEvents(*item)
        if is_events(item):
            raise InputError("stream: an item is events, expected steps like those before")
        return step_values(item, self._shape).reshape(-1)

    def _stamped(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            self._taken = time.perf_counter()
            yield item


def _iterator(source: Any) -> Iterator[Any]:
    try:
        return iter(source)
    except TypeError:
        raise InputError(
            f"stream: source is {type(source).__name__}, expected Events or an iterable of steps "
            "or of chunks of events"
        ) from None


def _chain(first: Any, rest: Iterable[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def open_stream(
    core: _core.Simulator,
    input_shape: tuple[int, ...],
    first_spike: bool,
    net_dt: float | None,
    source: Any,
    dt: float | None,
    window: int | None,
    reset: bool,
    spikes: bool,
    t0: int | None,
) -> Stream:
    """`Simulator.stream`, its arguments checked."""
    if window is not None:
        window = whole_number("stream", "window", window)
    if dt is not None and net_dt is not None and dt != net_dt:
        raise GraphError(f"stream: dt is {dt}, expected {net_dt} as the network has it")
    step = dt if dt is not None else net_dt
    if t0 is not None and (isinstance(t0, bool) or not isinstance(t0, int | np.integer)):
        raise InputError(f"stream: t0 is {t0!r}, expected whole microseconds")
    dt_us = None if step is None else _microseconds(step, events=dt is not None)
    start = None if t0 is None else int(t0)
    return Stream(
        core, input_shape, first_spike, source, window, dt_us, bool(reset), bool(spikes), start
    )


def _microseconds(dt: Any, events: bool) -> int | None:
    """Seconds as whole microseconds. A network's own dt need not be some, unless it is used."""
    try:
        us = float(dt) * _MICROSECONDS
    except (TypeError, ValueError):
        raise InputError(f"stream: dt is {dt!r}, expected seconds") from None
    whole = round(us) if np.isfinite(us) else 0
    if whole < 1 or abs(us - whole) > 1e-6 * whole:
        if events:
            raise InputError(
                f"stream: dt is {dt} s, expected a whole number of microseconds, at least one"
            )
        return None
    return whole


__all__ = ["Events", "StepEvents", "Stream", "StreamOutput", "open_stream"]
