"""``spikesim convert ANN OUT``: a trained ANN as a spiking network, with a report."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console

from spikesim.cli.output import Json, check_writable, print_json
from spikesim.convert import conversion
from spikesim.errors import FormatError, InputError, SpikesimError

if TYPE_CHECKING:
    from spikesim.data import Preprocessing

#: Samples of the split for tests on which accuracy is measured, unless --n-samples says otherwise.
SAMPLES = 1000


def convert(
    ann: Annotated[
        str,
        typer.Argument(
            metavar="ANN",
            help="A model file of `spikesim train`, or FILE.py:NAME, a function without "
            "arguments (or a module) that gives a torch module with its weights.",
        ),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The network's file: .spikesim or .nir.")
    ],
    method: Annotated[
        str,
        typer.Option(
            help="auto, qcfs, max, percentile, channel_wise, model, spike_norm, rmp, "
            "spiking_resnet, calibrated or hybrid."
        ),
    ] = "auto",
    n_steps: Annotated[
        int | None, typer.Option(help="T that the network is for; default: L of QCFS, else 32.")
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Training data: a data set's name, whose split train is taken, or a .npz; "
            "default: what the model file says it was trained on.",
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Data to measure on; default: the split test."),
    ] = None,
    n_calibration: Annotated[
        int | None, typer.Option(help="Calibration samples at most; default: the method's.")
    ] = None,
    n_samples: Annotated[int, typer.Option(min=1, help="Samples to measure on at most.")] = SAMPLES,
    steps: Annotated[
        str | None, typer.Option(help="Numbers of steps to measure at, as 1,2,4,8.")
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            help="Shape of one sample, as 1,28,28, for the methods model and qcfs without data; "
            "default: the model file's."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the method, as percentile=99.9 or v0=0.5; repeatable."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the report: .html, a page, or .json.")
    ] = None,
    json: Json = False,
) -> None:
    """Convert an ANN into a spiking network and say what it lost."""
    import spikesim as ss

    for what, path, forms in (
        ("OUT", out, (".spikesim", ".nir")),
        ("--report", report, (".html", ".json")),
    ):
        if path is not None and path.suffix.lower() not in forms:
            raise FormatError(
                f"{path}: extension is {path.suffix!r}, expected one of {', '.join(forms)}"
            )
        if path is not None:
            # Before the long work, and before one of two files is written.
            check_writable("convert", what, path)
    options = dict(map(_option, option or []))
    module, meta = _model(ann)
    prepare = ss.data.Preprocessing.of(meta)
    name = calibration or meta.get("data")
    known = str(name) if name is not None else None
    given: Any = None
    if known is not None:
        x, y = _data(known, "train", prepare)
        # A data set's first samples may be of few classes.
        order = np.random.default_rng(0).permutation(len(x))
        given = (x[order], None if y is None else y[order])
    on, judged = validation or known, given
    # A .npz has no split for tests.
    if on is not None and not (validation is None and on.endswith(".npz")):
        judged = _data(on, "test", prepare)
    if judged is not None:
        x, y = judged
        # Evenly from all: a data set may be in the order of its classes.
        chosen = np.arange(min(n_samples, len(x))) * len(x) // min(n_samples, len(x))
        judged = (x[chosen], None if y is None else y[chosen])
    net, found = ss.convert(
        module,
        given,
        method=method,
        n_steps=n_steps,
        input_shape=(
            meta.get("input_shape")
            if input_shape is None
            else _numbers("--input-shape", input_shape)
        ),
        validation=judged,
        steps=None if steps is None else _numbers("--steps", steps),
        n_calibration=n_calibration,
        progress=Console(stderr=True).is_terminal,
        **options,
    )
    for key in ("preprocessing", "labels"):
        if meta.get(key) is not None:
            net.meta[key] = meta[key]
    text = ""
    if report is not None:
        text = found.to_html() if report.suffix.lower() == ".html" else found.to_json(indent=1)
    net.save(out)
    if report is not None:
        report.write_text(text, encoding="utf-8")
    if json:
        print_json(found.to_dict())
    else:
        print(found)
        print(f"\nnetwork: {out}" + ("" if report is None else f"\nreport:  {report}"))


def _model(spec: str) -> tuple[Any, dict[str, Any]]:
    """The module, and what its file says of it."""
    import spikesim as ss

    path, colon, name = spec.rpartition(":")
    if not colon or not path.endswith(".py"):
        module, meta = ss.models.load(spec)
        return module, meta
    if not Path(path).is_file():
        raise FileNotFoundError(2, "No such file or directory", path)
    found = importlib.util.spec_from_file_location("spikesim_user_model", path)
    assert found is not None
    assert found.loader is not None
    code = importlib.util.module_from_spec(found)
    # Its neighbours are its own to import.
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        found.loader.exec_module(code)
        if not hasattr(code, name):
            raise InputError(f"{path}: has no {name!r}, expected a function or module of that name")
        item = getattr(code, name)
        # A module can be called, too, and its class has its names; whether it is one is for
        # `convert` to say.
        made = hasattr(item, "named_modules") and not isinstance(item, type)
        return (item if made else item()), {}
    except SpikesimError:
        raise
    except Exception as error:
        raise InputError(
            f"{_place(path, error)}: {type(error).__name__}: {error}, expected {name} to be a "
            "torch module, or a function without arguments that gives one"
        ) from error
    finally:
        sys.path.pop(0)


def _place(path: str, error: Exception) -> str:
    """The file and the line of it that an error comes from."""
    if isinstance(error, SyntaxError):
        return f"{Path(error.filename or path).name}:{error.lineno}"
    mine = Path(path).resolve()
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == mine]
    return f"{path}:{lines[-1]}" if lines else path


def _data(name: str, split: str, prepare: Preprocessing) -> tuple[Any, Any]:
    """Samples as the ANN takes them, and their labels."""
    import spikesim as ss

    data = ss.data.load(name, None if name.endswith(".npz") else split)
    if data.layout not in (None, "N"):
        raise InputError(
            f"{name}: has layout {data.layout!r}, expected samples without steps, layout 'N'"
        )
    return np.asarray(prepare.apply(data.x, data.x.ndim - 1), np.float32), data.y


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"convert: {option} is {text!r}, expected numbers, as 1,2,4") from None


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise InputError(f"convert: --option is {text!r}, expected name=value, as v0=0.5")
    if name in inspect.signature(conversion.convert).parameters:
        raise InputError(
            f"convert: --option {name} is none of the method, expected one of its own, as v0=0.5"
        )
    for read in (int, float):
        try:
            return name, read(value)
        except ValueError:
            continue
    return name, {"true": True, "false": False}.get(value.lower(), value)
