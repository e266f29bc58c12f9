"""A report as JSON, and back: nothing is added, left out or believed that does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from spikesim.convert.report.entries import Finding, Unconverted
from spikesim.convert.report.errors import ErrorStats, LayerErrors
from spikesim.convert.report.layers import LayerReport
from spikesim.errors import FormatError, InputError

if TYPE_CHECKING:
    from spikesim.convert.report.report import ConversionReport

FORMAT = "spikesim.conversion_report"
VERSION = 1

_KINDS = ("clipping", "quantisation", "unevenness", "inherited")

_T = TypeVar("_T")


def to_dict(report: ConversionReport) -> dict[str, Any]:
    """As JSON values. A layer's `clipping`, … are the root mean squares of its `errors`."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "method": report.method,
        "n_steps": report.n_steps,
        "n_samples": report.n_samples,
        "ann_accuracy": report.ann_accuracy,
        "accuracy_by_steps": _by_steps(report.accuracy_by_steps),
        "agreement_by_steps": _by_steps(report.agreement_by_steps),
        "intervals": {str(t): list(pair) for t, pair in report.intervals.items()},
        "unconverted": [asdict(entry) for entry in report.unconverted],
        "findings": [asdict(entry) for entry in report.findings],
        "max_pools": dict(report.max_pools),
        "thresholds": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in report.thresholds.items()
        },
        "seconds": report.seconds,
        "layers": [_layer(layer) for layer in report.layers],
    }


def _by_steps(table: Mapping[int, float]) -> dict[str, float]:
    return {str(t): value for t, value in table.items()}


def _layer(layer: LayerReport) -> dict[str, Any]:
    kinds = dict.fromkeys(_KINDS) if layer.errors is None else _rms(layer.errors)
    return {
        "name": layer.name,
        "kind": layer.kind,
        "shape": list(layer.shape),
        "n_neurons": layer.n_neurons,
        "threshold": list(layer.threshold),
        "v0": list(layer.v0),
        "rate": layer.rate,
        "ann_mean": layer.ann_mean,
        "snn_mean": layer.snn_mean,
        **kinds,
        "dead": layer.dead,
        "dead_silent": layer.dead_silent,
        "dead_active": layer.dead_active,
        "saturated": layer.saturated,
        "agreement": layer.agreement,
        "errors": None if layer.errors is None else asdict(layer.errors),
    }


def _rms(errors: LayerErrors) -> dict[str, float | None]:
    kinds = {kind: getattr(errors, kind) for kind in _KINDS}
    return {kind: None if stats is None else stats.rms for kind, stats in kinds.items()}


def from_json(cls: type[ConversionReport], data: str | bytes) -> ConversionReport:
    """Reads what `to_json` wrote; every doubt is a `FormatError`."""
    try:
        found = json.loads(data, object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"report: it is no JSON ({error}), expected a JSON object") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise FormatError(f"report: it is something else, expected an object of format {FORMAT!r}")
    if found.get("version") != VERSION or isinstance(found["version"], bool):
        raise FormatError(f"report: version is {found.get('version')!r}, expected {VERSION}")
    try:
        report = _report(cls, found)
    except InputError as error:
        raise FormatError(f"{error}") from error
    again = to_dict(report)
    for key, value in again.items():
        if value != found[key]:
            raise FormatError(f"report: {key} contradicts the rest, expected {_short(value)}")
    return report


def _report(cls: type[ConversionReport], found: dict[str, Any]) -> ConversionReport:
    _keys("report", found, [*(f.name for f in fields(cls)), "format", "version", "intervals"])
    return cls(
        method=_text("method", found["method"]),
        n_steps=_whole("n_steps", found["n_steps"]),
        n_samples=_whole("n_samples", found["n_samples"]),
        ann_accuracy=_optional(_number, "ann_accuracy", found["ann_accuracy"]),
        accuracy_by_steps=_table("accuracy_by_steps", found["accuracy_by_steps"]),
        agreement_by_steps=_table("agreement_by_steps", found["agreement_by_steps"]),
        layers=[_read_layer(f"layers[{i}]", x) for i, x in _items("layers", found["layers"])],
        unconverted=[
            Unconverted(**_texts(f"unconverted[{i}]", x, Unconverted))
            for i, x in _items("unconverted", found["unconverted"])
        ],
        findings=[
            Finding(**_texts(f"findings[{i}]", x, Finding))
            for i, x in _items("findings", found["findings"])
        ],
        max_pools={
            k: _text(f"max_pools.{k}", v)
            for k, v in _mapping("max_pools", found["max_pools"]).items()
        },
        thresholds={
            k: _numbers(f"thresholds.{k}", v) if isinstance(v, list) else _number(k, v)
            for k, v in _mapping("thresholds", found["thresholds"]).items()
        },
        seconds=_optional(_number, "seconds", found["seconds"]),
    )


def _read_layer(where: str, value: Any) -> LayerReport:
    found = _mapping(where, value)
    names = [f.name for f in fields(LayerReport)]
    _keys(where, found, [*names, "n_neurons", "dead", *_KINDS])
    low, high = _pair(f"{where}.threshold", found["threshold"])
    first, last = _pair(f"{where}.v0", found["v0"])
    shape = [_whole(f"{where}.shape", n) for _, n in _items(f"{where}.shape", found["shape"])]
    must = ("rate", "snn_mean", "dead_silent", "dead_active", "saturated")
    return LayerReport(
        name=_text(f"{where}.name", found["name"]),
        kind=_text(f"{where}.kind", found["kind"]),
        shape=tuple(shape),
        threshold=(low, high),
        v0=(first, last),
        errors=_optional(_errors, f"{where}.errors", found["errors"]),
        **{key: _number(f"{where}.{key}", found[key]) for key in must},
        ann_mean=_optional(_number, f"{where}.ann_mean", found["ann_mean"]),
        agreement=_optional(_number, f"{where}.agreement", found["agreement"]),
    )


def _errors(where: str, value: Any) -> LayerErrors:
    found = _mapping(where, value)
    _keys(where, found, [f.name for f in fields(LayerErrors)])
    kinds = {key: _optional(_stats, f"{where}.{key}", v) for key, v in found.items()}
    for key in ("clipping", "quantisation", "unevenness", "local"):
        if kinds[key] is None:
            _wrong(f"{where}.{key}", None, "an object")
    return LayerErrors(**kinds)  # type: ignore[arg-type]  # the loop above


def _stats(where: str, value: Any) -> ErrorStats:
    found = _mapping(where, value)
    _keys(where, found, [f.name for f in fields(ErrorStats)])
    return ErrorStats(**{key: _number(f"{where}.{key}", v) for key, v in found.items()})


# --- JSON's own types ---------------------------------------------------------------------------


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise FormatError(f"report: key {twice!r} is there twice, expected once")
    return found


def _constant(name: str) -> NoReturn:
    raise FormatError(f"report: it has the number {name}, expected finite numbers")


def _short(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) < 60 else f"{shown[:57]}..."


def _wrong(where: str, value: Any, expected: str) -> NoReturn:
    raise FormatError(f"report: {where} is {_short(value)}, expected {expected}")


def _keys(where: str, found: dict[str, Any], expected: list[str]) -> None:
    missing, unknown = set(expected) - set(found), set(found) - set(expected)
    if missing:
        raise FormatError(f"report: {where} lacks {min(missing)!r}, expected all of its keys")
    if unknown:
        raise FormatError(f"report: {where} has the unknown key {min(unknown)!r}, expected none")


def _mapping(where: str, value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else _wrong(where, value, "an object")


def _items(where: str, value: Any) -> list[tuple[int, Any]]:
    return list(enumerate(value)) if isinstance(value, list) else _wrong(where, value, "a list")


def _text(where: str, value: Any) -> str:
    return value if isinstance(value, str) else _wrong(where, value, "a string")


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _wrong(where, value, "a number")
    try:
        return float(value)
    except OverflowError:
        _wrong(where, "a whole number beyond float64", "a number")


def _whole(where: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        _wrong(where, value, "a whole number")
    return value


def _optional(read: Callable[[str, Any], _T], where: str, value: Any) -> _T | None:
    return None if value is None else read(where, value)


def _numbers(where: str, value: Any) -> tuple[float, ...]:
    return tuple(_number(where, x) for _, x in _items(where, value))


def _pair(where: str, value: Any) -> tuple[float, float]:
    found = _numbers(where, value)
    return found if len(found) == 2 else _wrong(where, value, "two numbers")


def _texts(where: str, value: Any, cls: type) -> dict[str, Any]:
    found = _mapping(where, value)
    _keys(where, found, [f.name for f in fields(cls)])
    return {key: _text(f"{where}.{key}", v) for key, v in found.items()}


def _table(where: str, value: Any) -> dict[int, float]:
    table = {}
    for key, x in _mapping(where, value).items():
        if not (key.isascii() and key.isdigit() and key == str(int(key[:20]))):
            _wrong(where, key, "numbers of steps as keys")
        table[int(key)] = _number(f"{where}.{key}", x)
    return table
