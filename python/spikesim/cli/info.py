"""``spikesim info [MODEL]``: what this installation is, and what a model is."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikesim import knobs
from spikesim.cli import conformance as with_library
from spikesim.cli.output import Json, Nir, load_model, print_facts, print_json
from spikesim.cli.version import version, version_of
from spikesim.errors import UnsupportedError

if TYPE_CHECKING:
    from spikesim.network import Network

#: Libraries whose version matters here; found without importing them.
_LIBRARIES = ("numpy", "torch", "h5py", "eventcv", "aedat", "scikit-learn", "matplotlib")


def info(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="A model to describe.")
    ] = None,
    nir: Nir = None,
    conformance: with_library.Asked = False,
    against: with_library.Against = None,
    traces_of: with_library.TracesOf = None,
    steps: with_library.Steps = None,
    samples: with_library.Samples = None,
    seed: with_library.Seed = None,
    allow: with_library.Allow = None,
    json: Json = False,
) -> None:
    """Show CPU level, threads, versions and knobs; with a model, its layers and their rules.

    With --conformance the exit code is 1 where model and original differ beyond rounding, or
    a population was not proved.
    """
    report = _installation()
    net = None
    if model is not None:
        net = load_model(model, nir)
        report.update(_model(model, net))
    options = with_library.Options(against, traces_of, steps, samples, seed, allow)
    found = options.check(conformance, net)
    if json:
        print_json(report if found is None else {**report, "conformance": found.to_dict()})
    else:
        _show(report)
        if net is not None:
            print(f"\n{model}\n{net}")
        if found is not None:
            print(f"\n{found}")
    if found is not None and not found.ok:
        raise typer.Exit(with_library.DIFFERS)


def _installation() -> dict[str, Any]:
    from spikesim import _core

    set_to = knobs.read()
    levels = _core.levels()  # plainest first
    if set_to.level is not None and set_to.level not in levels:
        raise UnsupportedError(
            f"SPIKESIM_LEVEL: level {set_to.level!r} is not supported on this CPU, "
            f"expected one of {', '.join(levels)}"
        )
    return {
        "version": version(),
        "level": set_to.level or levels[-1],
        "levels": levels,
        "threads": set_to.threads or _core.available_threads(),
        "knobs": {name: os.environ.get(name) or None for name in knobs.DESCRIPTIONS},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "libraries": {name: version_of(name) for name in _LIBRARIES},
    }


def _model(path: Path, net: Network) -> dict[str, Any]:
    net.validate()
    return {
        "model": str(path),
        "input_shape": list(net.input_shape),
        "output_shape": list(net.output_shape),
        "output": net.output,
        "readout": net.readout,
        "dt": net.dt,
        "meta": dict(net.meta),
        # Questions that a file leaves open: with any, the model can't be run.
        "unsettled": list(net.unsettled),
        "layers": [
            {
                "name": node.name,
                "kind": node.kind,
                "shape": list(node.shape),
                "parameters": node.parameters,
                # What a neuron does, in a line; other kinds are what their name says.
                "semantics": node.semantics or None,
            }
            for node in net.nodes
        ],
        "edges": [{"src": e.src, "dst": e.dst, "delay": e.delay} for e in net.edges],
    }


def _show(report: dict[str, Any]) -> None:
    libraries = report["libraries"].items()
    print_facts(
        f"spikesim {report['version']}",
        [
            ("level", f"{report['level']} (this CPU has {', '.join(report['levels'])})"),
            ("threads", str(report["threads"])),
            ("python", f"{report['python']}, {report['platform']}"),
            *((name, found or "not installed") for name, found in libraries),
            *(
                (name, f"{report['knobs'][name] or 'not set'}: {text}")
                for name, text in knobs.DESCRIPTIONS.items()
            ),
        ],
    )
