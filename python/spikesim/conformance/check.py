"""`check`: a network against the library it came from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from spikesim._inputs import prepare, whole_number
from spikesim.conformance.compare import compare
from spikesim.conformance.inputs import exciting
from spikesim.conformance.report import UNPROVED, ConformanceReport
from spikesim.conformance.trace import Array, Trace, populations, run_engine
from spikesim.errors import InputError, MissingExtraError
from spikesim.network import Network
from spikesim.ops import Neuron

#: What a population is compared with where nothing says which library it is of.
PLAIN = "torch"


def check(
    net: Network,
    against: Any = None,
    x: Any = None,
    n_steps: int | None = None,
    *,
    samples: int | None = None,
    seed: int | None = None,
    layout: str | None = None,
    traces_of: str | None = None,
    call: Callable[[Any, Any], Any] | None = None,
    allow: Sequence[str] = (),
) -> ConformanceReport:
    """Runs the network and the original on the same input, and says where they part.

    Each population is compared twice: end to end, where each side feeds itself; and alone, our
    population on the input that theirs had, so that a difference is told from one upstream.

    Args:
        net: The network.
        against: "snntorch", "spikingjelly", "norse", "sinabs", "spikesim.train" or "torch"
            (`spikesim.reference`): the network is built anew from that library's own cells, chosen
            by what the fields mean, and torch's own layers. A path of a `.npz`: traces recorded
            from a library. A torch module, whose neurons are found by the names of
            `module.named_modules()`: it is run from its start and left as it was. None: the
            library that each population's `meta` names, the profile as which a NIR file was read,
            else "torch".
        x: The input, as in `Simulator.run`; None: seeded rasters, scaled until the populations
            fire. Traces have their own.
        n_steps: Number of steps; 32 for seeded rasters.
        samples: How many seeded samples; None: 4.
        seed: Of the rasters; None: 0.
        layout: As in `Simulator.run`.
        traces_of: Which source, where a file has traces of several.
        call: How a module is run: `call(module, raster)` takes the tensor (T, N, *input_shape)
            and returns (T, N, *output_shape). None: found out from the module.
        allow: "silent" and "not recorded": populations that prove nothing and are to pass.

    Returns:
        A `ConformanceReport`.

    Raises:
        InputError: An unknown library, bad numbers, traces or a module that do not fit, an option
            that would have no effect.
        ShapeError: The input's or the traces' shape.
        FormatError: A file that is no archive of arrays.
        UnsupportedError: A layer that torch does not have, a module that can't be run.
        MissingExtraError: The library or torch is not installed.

    Example:
        >>> import spikesim as ss
        >>> net = ss.Network((2,))
        >>> _ = net.add(ss.LIF(alpha_mem=0.5, fires=">", reset_timing="next_step_after"))
        >>> ss.conformance.check(net, "snntorch").ok
        True
    """
    net.validate()
    allowed = _allowed(allow)
    if isinstance(against, str | os.PathLike) and os.fspath(against).endswith(".npz"):
        own = {"x": x, "n_steps": n_steps, "samples": samples, "seed": seed, "layout": layout}
        _refused({**own, "call": call}, "with traces", "they have their own input")
        return _recorded(net, against, traces_of, allowed)
    if traces_of is not None:
        raise InputError("conformance: traces_of is given without traces, expected a .npz")
    if against is None or isinstance(against, str):
        _refused({"call": call}, "without a module", "nothing is called")
        runner, name, version, notes = _library(net, against)
    else:
        runner, name, version, notes = _module(net, against, call)
    given = x is not None
    if given:
        _refused({"samples": samples, "seed": seed}, "with x", "nothing is seeded")
        raster, scale = _raster(net, x, n_steps, layout), None
    else:
        _refused({"layout": layout}, "without x", "seeded inputs need none")
        seed = 0 if seed is None else seed
        steps = whole_number("conformance", "n_steps", 32 if n_steps is None else n_steps)
        count = whole_number("conformance", "samples", 4 if samples is None else samples)
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise InputError(f"conformance: seed is {seed!r}, expected a whole number, at least 0")
        raster, scale = exciting(net, steps, count, int(seed))
    ours, _ = run_engine(net, raster)
    return ConformanceReport(
        against=name,
        version=version,
        n_steps=raster.shape[0],
        samples=raster.shape[1],
        seed=None if given or seed is None else int(seed),
        scale=scale,
        layers=compare(net, ours, runner(raster)),
        notes=tuple(notes),
        allow=allowed,
    )


Runner = Callable[[Array], Trace]


def _library(net: Network, against: str | None) -> tuple[Runner, str, str | None, list[str]]:
    """The network rebuilt from a library's cells, or from those that its populations name."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "conformance: comparing with a library needs torch; install spikesim[torch]"
        ) from error
    from spikesim.conformance import cells, rebuild

    # What a NIR file was read as: its exporting library's own network.
    read_as = net.meta.get("nir")
    profile = read_as.get("profile") if isinstance(read_as, dict) else None

    def named(_: str, op: Neuron) -> str:
        noted = op.meta.get("library", profile)
        return noted if noted in cells.LIBRARIES else PLAIN

    choose = named if against is None else (lambda _, op: against)
    used = {choose(name, op) for name, op in populations(net).items()} or {against or PLAIN}
    for library in sorted(used):
        cells.require(library)
    notes = []
    if against is None and PLAIN in used:
        notes.append(
            "some populations name no library and are compared with the dense reference; "
            "name one to compare with its cells"
        )
    version = cells.version(next(iter(used))) if len(used) == 1 else None
    return lambda x: rebuild.run(net, x, choose), ", ".join(sorted(used)), version, notes


def _module(
    net: Network, module: Any, call: Callable[[Any, Any], Any] | None
) -> tuple[Runner, str, str | None, list[str]]:
    try:
        from torch import nn
    except ImportError as error:
        raise MissingExtraError(
            "conformance: comparing with a module needs torch; install spikesim[torch]"
        ) from error
    if not isinstance(module, nn.Module):
        raise InputError(
            f"conformance: against is a {type(module).__name__}, expected a library's name, a "
            "file of traces (.npz) or a torch.nn.Module"
        )
    from spikesim.conformance import live

    return lambda x: live.run(module, x, net, call), type(module).__name__, None, []


def _refused(options: dict[str, Any], when: str, why: str) -> None:
    """No option is without effect."""
    for name, value in options.items():
        if value is not None:
            raise InputError(f"conformance: {name} is given {when}, expected none; {why}")


def _allowed(allow: Sequence[str]) -> tuple[str, ...]:
    found = (allow,) if isinstance(allow, str) else tuple(allow)
    for verdict in found:
        if verdict not in UNPROVED:
            known = ", ".join(UNPROVED)
            raise InputError(f"conformance: allow is {verdict!r}, expected some of {known}")
    return found


def _recorded(
    net: Network, path: Any, source: str | None, allow: tuple[str, ...]
) -> ConformanceReport:
    from spikesim.conformance import traces

    raster, theirs, name = traces.read(path, net, source)
    ours, _ = run_engine(net, raster)
    return ConformanceReport(
        against=name,
        version=None,
        n_steps=raster.shape[0],
        samples=raster.shape[1],
        seed=None,
        scale=None,
        layers=compare(net, ours, theirs),
        allow=allow,
    )


def _raster(net: Network, x: Any, n_steps: int | None, layout: str | None) -> Array:
    """The given input as (T, N, *input_shape)."""
    values, constant, steps, _ = prepare(x, tuple(net.input_shape), n_steps, layout)
    if constant:
        values = np.ascontiguousarray(np.broadcast_to(values, (steps, *values.shape)))
    return values
