"""Spikes over time: a raster, and the rates of a population."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import InputError
from spikesim.plot._figure import new_figure

if TYPE_CHECKING:
    from spikesim.result import SpikeRaster


def raster(spikes: SpikeRaster, *, sample: int = 0, dt: float | None = None) -> Any:
    """One sample's spikes, a dot each: time along, neuron up; negative spikes in a second colour.

    Args:
        spikes: of one population, as `Result.spikes` has them.
        sample: which one.
        dt: seconds a step; the axis is in steps where it is None, else in ms.

    Returns:
        matplotlib's Figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InputError: there is no such sample, or dt is not positive.
    """
    step, neuron, count = _of(spikes, sample)
    scale, unit = _time(dt)
    figure = new_figure((8.0, 4.0))
    axes = figure.add_subplot()
    for part, colour in ((count > 0, "#0b67b2"), (count < 0, "#b3261e")):
        axes.scatter(step[part] * scale, neuron[part], s=4, c=colour, linewidths=0)
    axes.set_xlim(-0.5 * scale, (spikes.shape[0] - 0.5) * scale)
    axes.set_ylim(-0.5, int(np.prod(spikes.shape[2:], dtype=np.int64)) - 0.5)
    axes.set_xlabel(f"time ({unit})")
    axes.set_ylabel("neuron")
    return figure


def rates(spikes: SpikeRaster, *, sample: int | None = None, dt: float | None = None) -> Any:
    """Spikes a neuron and step over time, of one sample or the mean of all.

    Args:
        spikes: of one population, as `Result.spikes` has them.
        sample: which one; None is the mean over samples.
        dt: seconds a step; with it the axes are ms and Hz.

    Returns:
        matplotlib's Figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InputError: there is no such sample, or dt is not positive.
    """
    scale, unit = _time(dt)
    steps, samples = spikes.shape[:2]
    if sample is None:
        step, count = spikes.step, spikes.count
    else:
        step, _, count = _of(spikes, sample)
        samples = 1
    neurons = int(np.prod(spikes.shape[2:], dtype=np.int64))
    rate = np.bincount(step, weights=np.abs(count), minlength=steps) / (samples * neurons)
    figure = new_figure((8.0, 3.0))
    axes = figure.add_subplot()
    axes.step(np.arange(steps) * scale, rate if dt is None else rate / dt, where="mid")
    axes.set_xlabel(f"time ({unit})")
    axes.set_ylabel("spikes a neuron and step" if dt is None else "rate (Hz)")
    axes.set_ylim(bottom=0)
    return figure


def _of(
    spikes: SpikeRaster, sample: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    if not 0 <= sample < spikes.shape[1]:
        raise InputError(
            f"plot: sample {sample} is out of range, expected 0 to {spikes.shape[1] - 1}"
        )
    mine = spikes.sample == sample
    return spikes.step[mine], spikes.neuron[mine], spikes.count[mine]


def _time(dt: float | None) -> tuple[float, str]:
    if dt is None:
        return 1.0, "steps"
    if not (np.isfinite(dt) and dt > 0):
        raise InputError(f"plot: dt is {dt}, expected a positive number of seconds")
    return dt * 1e3, "ms"
