"""Recorded traces: what a library's network did, in a .npz file."""

from __future__ import annotations

import os
import zipfile

import numpy as np
from numpy.typing import NDArray

from spikesim.conformance.trace import (
    Array,
    Trace,
    as_counts,
    heard_late,
    heard_through_delays,
    populations,
)
from spikesim.errors import FormatError, InputError, ShapeError
from spikesim.network import Network
from spikesim.ops import Neuron

#: Names under which libraries keep the membrane.
MEMBRANES = ("v", "mem", "v_mem")


def read(
    path: str | os.PathLike[str], net: Network, source: str | None
) -> tuple[Array, Trace, str]:
    """Reads a file of arrays with a time axis first, and a sample axis unless it is one sample.

    Known schemes: `<layer>|in`, `<layer>|spk`, `<layer>|<state>` with `x` and `out`;
    `<source>|node|<layer>`, `<source>|state|<layer>|v`, `<source>|out` with `x`, where several
    sources may be in one file; and `x`, `y`, `v` of a network of one population.

    Args:
        path: The file.
        net: The network whose populations the layers are.
        source: Which of several sources.

    Returns:
        The input (T, N, *input_shape), the trace, and what it is of.

    Raises:
        FormatError: The file is no archive of arrays.
        InputError: It has no `x`, no such source, or layers that the network does not have.
        ShapeError: Arrays that do not fit the network.
        OSError: It can't be read.
    """
    where = os.fspath(path)
    arrays = _arrays(where)
    if "x" not in arrays:
        raise InputError(f"{where}: x is missing, expected the recorded input")
    shape = tuple(net.input_shape)
    x = _timed(where, "x", arrays.pop("x"), shape)
    sources = sorted({k.split("|")[0] for k in arrays if k.count("|") >= 2})
    if source is not None and source not in sources:
        known = ", ".join(sources) or "none: the file has one source"
        raise InputError(f"{where}: traces of {source!r} are missing, expected one of {known}")
    if sources and source is None:
        if len(sources) > 1:
            raise InputError(
                f"{where}: there are traces of {', '.join(sources)}, expected which of them; "
                "name one (traces_of, --traces-of)"
            )
        source = sources[0]
    if sources:
        named = _of_source(arrays, source or "")
    elif any("|" in key for key in arrays):
        named = arrays
    else:
        named = _of_one(where, arrays, net)
    return x, _trace(where, named, net, x.shape[:2]), source or os.path.basename(where)


def _arrays(where: str) -> dict[str, NDArray[np.generic]]:
    try:
        with np.load(where, allow_pickle=False) as archive:
            if not hasattr(archive, "files"):
                raise FormatError(f"{where}: file is one array, expected a .npz archive")
            return {name: archive[name] for name in archive.files}
    except FormatError:
        raise
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError, NotImplementedError) as error:
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        raise FormatError(f"{where}: file can't be read ({reason}), expected a .npz") from error


def _of_source(
    arrays: dict[str, NDArray[np.generic]], source: str
) -> dict[str, NDArray[np.generic]]:
    """`<source>|node|<layer>` and `<source>|state|<layer>|<state>` as `<layer>|…`."""
    named = {}
    for key, array in arrays.items():
        parts = key.split("|")
        if parts[0] != source:
            continue
        if parts[1] == "node" and len(parts) == 3:
            named[f"{parts[2]}|spk"] = array
        elif parts[1] == "state" and len(parts) == 4:
            named[f"{parts[2]}|{parts[3]}"] = array
        elif parts[1:] == ["out"]:
            named["out"] = array
    return named


def _of_one(
    where: str, arrays: dict[str, NDArray[np.generic]], net: Network
) -> dict[str, NDArray[np.generic]]:
    """`y` and `v` of the only population, or of a network without one."""
    names = list(populations(net))
    if "y" not in arrays:
        raise InputError(f"{where}: y is missing, expected y, or <layer>|spk for each layer")
    if not names:
        return {"out": arrays["y"]}
    if len(names) > 1:
        raise InputError(
            f"{where}: y stands for one population, expected a network with one, not {len(names)}"
        )
    named = {"out": arrays["y"]}
    if net.output == names[0]:
        named[f"{names[0]}|spk"] = arrays["y"]
    if "v" in arrays:
        named[f"{names[0]}|v"] = arrays["v"]
    return named


def _trace(
    where: str, named: dict[str, NDArray[np.generic]], net: Network, lead: tuple[int, ...]
) -> Trace:
    trace = Trace(inner=heard_through_delays(net) | heard_late(net))
    neurons = populations(net)
    for key, array in named.items():
        layer, _, what = key.rpartition("|")
        if not layer:
            if key == "out":
                trace.out = _timed(where, key, array, tuple(net.node(net.output).shape))
                _same_lead(where, key, trace.out, lead)
            continue
        if layer not in neurons:
            raise InputError(
                f"{where}: {key} is of a layer that the network does not have, expected some of "
                f"{', '.join(neurons) or '(no populations)'}"
            )
        values = _timed(where, key, array, tuple(net.node(layer).shape))
        _same_lead(where, key, values, lead)
        op = neurons[layer]
        if what == "spk" and op.spikes == "none":
            trace.v.setdefault(layer, values)
        elif what == "spk":
            trace.spikes[layer] = as_counts(op, values)
        elif what in MEMBRANES:
            trace.v[layer] = values
        elif what == "in":
            trace.current[layer] = values
    if net.output in neurons and trace.out is not None:
        _output(where, trace, net.output, neurons[net.output])
    return trace


def _output(where: str, trace: Trace, name: str, op: Neuron) -> None:
    """Takes `out` as what the output population gave."""
    out = trace.out
    assert out is not None
    if op.spikes == "none":
        known = trace.v.setdefault(name, out)
    else:
        out = as_counts(op, out)
        known = trace.spikes.setdefault(name, out)
    if not np.array_equal(known, out):
        raise InputError(
            f"{where}: out is not what {name} gave, expected the output of the network, "
            "which is that population"
        )


def _same_lead(where: str, key: str, values: Array, lead: tuple[int, ...]) -> None:
    if values.shape[:2] != tuple(lead):
        raise ShapeError(
            f"{where}: {key} has {values.shape[:2]} steps and samples, "
            f"expected {tuple(lead)} as x has"
        )


def _timed(where: str, name: str, array: NDArray[np.generic], shape: tuple[int, ...]) -> Array:
    """As float32 (T, N, *shape); one sample's recording gets its axis."""
    if array.dtype.kind not in "biuf":
        raise FormatError(f"{where}: {name} has dtype {array.dtype}, expected numbers")
    if array.ndim == len(shape) + 1:
        array = array[:, None]
    if array.shape[2:] != shape or 0 in array.shape:
        raise ShapeError(
            f"{where}: {name} has shape {array.shape}, expected (T, N, "
            f"{', '.join(map(str, shape))}) or without N"
        )
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise FormatError(f"{where}: {name} has values that are not finite, expected numbers")
    return values
