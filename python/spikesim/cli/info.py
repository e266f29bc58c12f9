"""``spikesim info [MODEL]``: what this installation is, and what a model is."""

from __future__ import annotations

import os
import platform
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from spikesim import knobs
from spikesim.cli.output import Json, print_facts, print_json, print_table
from spikesim.cli.version import version, version_of

if TYPE_CHECKING:
    from spikesim.network import Network, Node

#: Libraries whose version matters here; found without importing them.
_LIBRARIES = ("numpy", "torch", "h5py", "eventcv", "aedat", "scikit-learn", "matplotlib")


def info(
    model: Annotated[Path | None, typer.Argument(help="A model to describe.")] = None,
    json: Json = False,
) -> None:
    """Show CPU level, threads, versions and knobs; with a model, its layers and their rules."""
    report = _installation()
    if model is not None:
        import spikesim as ss

        report.update(_model(model, ss.load(model)))
    if json:
        print_json(report)
    else:
        _show(report)


def _installation() -> dict[str, Any]:
    from spikesim import _core

    set_to = knobs.read()
    return {
        "version": version(),
        "level": set_to.level or _core.best_level(),
        "levels": list(_core.levels()),
        "threads": set_to.threads or usable_cores(),
        "knobs": {name: os.environ.get(name) or None for name in knobs.DESCRIPTIONS},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "libraries": {name: version_of(name) for name in _LIBRARIES},
    }


def usable_cores() -> int:
    """Cores that this process may use, which a container may have made fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
        "layers": [
            {
                "name": node.name,
                "kind": node.kind,
                "shape": list(node.shape),
                "parameters": _parameters(node),
                "semantics": _semantics(node),
            }
            for node in net.nodes
        ],
        "edges": [{"src": e.src, "dst": e.dst, "delay": e.delay} for e in net.edges],
    }


def _parameters(node: Node) -> int:
    """Numbers that a training would set: weights, biases and norms; a neuron's are its rules."""
    names = ("weight", "bias", "scale", "running_mean", "running_var")
    arrays = (getattr(node.op, name, None) for name in names)
    return sum(int(np.size(array)) for array in arrays if array is not None)


def _semantics(node: Node) -> dict[str, Any] | None:
    """Every field of a neuron's description; arrays of equal values are one number."""
    if node.kind != "neuron":
        return None
    return {f.name: _plain(getattr(node.op, f.name)) for f in fields(node.op)}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.size and bool(np.all(value == value.flat[0])):
            return float(value.flat[0])
        return {
            "shape": list(value.shape),
            "min": float(value.min()),
            "max": float(value.max()),
        }
    if isinstance(value, np.generic):
        return value.item()
    return value


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
    if "layers" not in report:
        return
    rows = [
        (
            layer["name"],
            layer["kind"],
            " x ".join(map(str, layer["shape"])),
            f"{layer['parameters']:,}" if layer["parameters"] else "",
            _rules(layer["semantics"]),
        )
        for layer in report["layers"]
    ]
    print()
    title = f"{report['model']}: readout {report['readout'] or 'default'} of {report['output']}"
    print_table(title, ("layer", "kind", "shape", "parameters", "semantics"), rows)


#: What every neuron's line says, whatever it is.
_ALWAYS = ("v_threshold", "fires", "reset", "alpha_mem", "gain")


def _rules(semantics: dict[str, Any] | None) -> str:
    """A neuron's rules in a line: the main ones, and whatever is not the default."""
    if semantics is None:
        return ""
    from spikesim.ops import Neuron

    default = {f.name: _plain(getattr(Neuron(), f.name)) for f in fields(Neuron)}
    hidden = ("model", "meta")
    shown = {
        name: value
        for name, value in semantics.items()
        if name not in hidden and (name in _ALWAYS or value != default[name])
    }
    text = ", ".join(f"{name} {_short(value)}" for name, value in shown.items())
    return f"{semantics['model']}: {text}"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['min']:g} to {value['max']:g}"
    return f"{value:g}" if isinstance(value, float) else str(value)
