"""Damaged and forged `.spikesim` files: nothing in a file is believed."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikesim as ss
from spikesim.errors import FormatError
from test_bundle import assert_equal, bundle, network

__all__ = ["bundle"]  # a fixture

Header = dict[str, Any]


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    net = ss.Network((2,))
    net.add(ss.Linear([[0.5, 1.0]]), "fc")
    path = tmp_path / "net.spikesim"
    net.save(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"net\.spikesim: "):
            ss.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(FormatError, match="the arrays should have 8 bytes, found 9"):
        ss.load(path)
    path.write_bytes(whole)
    ss.load(path)


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_is_an_error_or_another_network(
    position: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("changed") / "net.spikesim"
    network().save(path)
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(data)
    with contextlib.suppress(FormatError):
        ss.load(path).validate()


def split(data: bytes) -> tuple[Header, Header, bytes]:
    """The table of arrays, the network, the arrays."""
    (length,) = struct.unpack("<Q", data[:8])
    table = json.loads(data[8 : 8 + length])
    net = json.loads(table.pop("__metadata__")["spikesim"])
    return table, net, data[8 + length :]


def join(table: Header, net: Any, arrays: bytes) -> bytes:
    metadata = {"__metadata__": {"spikesim": net if isinstance(net, str) else json.dumps(net)}}
    header = json.dumps({**metadata, **table}).encode()
    return struct.pack("<Q", len(header)) + header + arrays


Change = Callable[[Header, Header], Any]


def node(net: Header, name: str) -> Header:
    found: Header = next(n for n in net["nodes"] if n["name"] == name)
    return found


def rate(net: Header, kind: str, **attributes: Any) -> None:
    """Makes another pool of "pool"."""
    del node(net, "pool")["count_include_pad"]
    node(net, "pool").update(kind=kind, **attributes)


def put(*keys: Any) -> Change:
    """Sets `net[keys[0]][keys[1]]… = keys[-1]`."""

    def change(table: Header, net: Header) -> None:
        place: Any = net
        for key in keys[:-2]:
            place = place[key]
        place[keys[-2]] = keys[-1]

    return change


CHANGES: list[tuple[str, Change]] = [
    # the header
    ("format is 2, expected 1; a later version of spikesim may read it", put("format", 2)),
    ('format is "1", expected 1', put("format", "1")),
    ("format is missing, expected a number", lambda t, n: n.pop("format")),
    ("unknown field `code`", put("code", "import os")),
    ("missing field `edges`", lambda t, n: n.pop("edges")),
    ("invalid type: string", put("nodes", "all")),
    ("the first node is no input", lambda t, n: n["nodes"].pop(0)),
    ("the first node is no input", put("nodes", [])),
    ("the first node is no input", put("nodes", 0, "shape", [2.5])),
    ("input_shape has shape (0,), expected no empty axis", put("nodes", 0, "shape", [0])),
    ("expected at most 2147483647 values", put("nodes", 0, "shape", [2**40, 2**40])),
    ("node 1 has no name, expected a string", lambda t, n: n["nodes"][1].pop("name")),
    ('the node "lif" is there twice', lambda t, n: node(n, "out").update(name="lif")),
    ("the name is empty", lambda t, n: rename(n, "flat", "")),
    ("control characters", lambda t, n: rename(n, "flat", "a\x00")),
    ("second input", lambda t, n: node(n, "flat").update(kind="input")),
    (
        'kind "pickle" is not known, expected one of linear',
        lambda t, n: node(n, "flat").update(kind="pickle"),
    ),
    ("kind is missing", lambda t, n: node(n, "flat").pop("kind")),
    ("kind is 3, expected a string", lambda t, n: node(n, "flat").update(kind=3)),
    ("unknown field `extra`", lambda t, n: node(n, "fc").update(extra=1)),
    ("missing field `stride`", lambda t, n: node(n, "pool").pop("stride")),
    ("count_include_pad is missing", lambda t, n: node(n, "pool").pop("count_include_pad")),
    ("count_include_pad has no meaning", lambda t, n: node(n, "pool").update(kind="sum_pool2d")),
    ("gate has no meaning for avg_pool2d", lambda t, n: node(n, "pool").update(gate="count")),
    ("gate has no meaning for sum_pool2d", lambda t, n: rate(n, "sum_pool2d", gate="count")),
    ('gate is missing, expected "count" or "argmax"', lambda t, n: rate(n, "rate_max_pool2d")),
    ("unknown variant `max`", lambda t, n: rate(n, "rate_max_pool2d", gate="max")),
    ("invalid value: integer `-1`", lambda t, n: node(n, "pool").update(stride=[-1, 1])),
    ("stride is (0, 1), expected at least 1", lambda t, n: node(n, "pool").update(stride=[0, 1])),
    ("invalid length 3, expected 2 entries", lambda t, n: node(n, "pool").update(stride=[1, 1, 1])),
    ("unknown variant `=`", lambda t, n: node(n, "lif").update(fires="=")),
    ("meta is 3, expected a JSON object", lambda t, n: node(n, "lif").update(meta=3)),
    ("is not supported", lambda t, n: node(n, "lif").update(spikes="multi", order="B")),
    ("eps is -1, expected", lambda t, n: node(n, "bn").update(eps=-1.0)),
    # edges
    ('an edge names "no", expected a node of the file', put("edges", 0, ["no", "lif", 0])),
    (
        "fc: its first edge comes from no node before it",
        lambda t, n: n["edges"].remove(["flat", "fc", 0]),
    ),
    (
        "lif: its first edge comes from no node before it",
        lambda t, n: n["edges"].insert(0, ["out", "lif", 1]),
    ),
    ("has no delay, expected at least one step in it", put("edges", -1, ["out", "out", 0])),
    ("enters the input", put("edges", -1, ["out", "input", 1])),
    ('edge from "out" has shape (2,), expected (9,)', put("edges", -1, ["out", "fc", 1])),
    ("delay is 1000000 steps, expected at most", put("edges", -1, ["out", "out", 10**6])),
    ("invalid type: floating point `1.5`", put("edges", -1, ["out", "out", 1.5])),
    ("at most 16384 and 65536", lambda t, n: n.update(edges=n["edges"] * 10_000)),
    ("expected at most 16384 and 65536", lambda t, n: n.update(nodes=n["nodes"] * 2_000)),
    # readout, output, dt
    ('output: there is no node "no"', put("output", "no")),
    ("unknown variant `best`", put("readout", "best")),
    ("expected a neuron that spikes as the output node", put("output", "fc")),
    ("dt is -1, expected a finite number of seconds above 0", put("dt", -1)),
    ("invalid type: string", put("meta", "text")),
    # arrays
    ('dtype "F64", expected "F32"', lambda t, n: t["fc.weight"].update(dtype="F64")),
    ('dtype "BF16", expected "F32"', lambda t, n: t["fc.weight"].update(dtype="BF16")),
    ('dtype null, expected "F32"', lambda t, n: t["fc.weight"].pop("dtype")),
    ("the table of arrays is wrong", lambda t, n: t["fc.weight"].pop("shape")),
    ("the table of arrays is wrong", lambda t, n: t["fc.weight"].update(shape=[2, 10])),
    ("the table of arrays is wrong", lambda t, n: t["fc.weight"].update(shape=[2**62, 2**62])),
    ("the table of arrays is wrong", lambda t, n: t["fc.weight"].update(data_offsets=[0, 72])),
    ("the table of arrays is wrong", lambda t, n: t["fc.weight"].update(data_offsets=[72, 0])),
    (
        "fc: weight has shape (18,), expected (n_out, n_in)",
        lambda t, n: t["fc.weight"].update(shape=[18]),
    ),
    ("fc: input has shape (9,), expected (2,)", lambda t, n: t["fc.weight"].update(shape=[9, 2])),
    ('fc: array "weight" is missing', lambda t, n: move(t, "fc.weight", "fc.bias")),
    (
        'fc: array "more" has no meaning for linear',
        lambda t, n: move(t, "features.0.bias", "fc.more"),
    ),
    (
        '"weight" belongs to "no", expected a node of the file',
        lambda t, n: move(t, "features.0.bias", "no.weight"),
    ),
    ('array "weight" names no node', lambda t, n: move(t, "fc.weight", "weight")),
]


def rename(net: Header, old: str, new: str) -> None:
    node(net, old)["name"] = new
    net["edges"] = [[new if e == old else e for e in edge] for edge in net["edges"]]


def move(table: Header, old: str, new: str) -> None:
    table[new] = table.pop(old)


@pytest.mark.parametrize(("message", "change"), CHANGES, ids=[m for m, _ in CHANGES])
def test_a_changed_header_is_refused(message: str, change: Change, bundle: Path) -> None:
    table, net, arrays = split(bundle.read_bytes())
    change(table, net)
    bundle.write_bytes(join(table, net, arrays))
    with pytest.raises(FormatError) as found:
        ss.load(bundle)
    text = str(found.value)
    assert message in text
    assert text.startswith(f"{bundle}: ")
    assert "\n" not in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_arrays_with_nan_are_refused(value: float, bundle: Path) -> None:
    table, net, arrays = split(bundle.read_bytes())
    start = table["fc.weight"]["data_offsets"][0]
    arrays = arrays[: start + 4] + struct.pack("<f", value) + arrays[start + 8 :]
    bundle.write_bytes(join(table, net, arrays))
    with pytest.raises(FormatError, match=r"fc: weight\[0, 1\] is (NaN|inf), expected finite"):
        ss.load(bundle)


@pytest.mark.parametrize(
    ("message", "network"),
    [
        (
            'the network is no proper JSON: the key "format" is there twice',
            '{"format":1,"format":1}',
        ),
        ("the network is no proper JSON: nested deeper than 64 levels", "[" * 100 + "]" * 100),
        ("the network is no proper JSON", "{"),
        ("the network is no proper JSON: number out of range", '{"format":1e999}'),
        ("format is missing", "[]"),
    ],
)
def test_a_network_that_is_no_json(message: str, network: str, bundle: Path) -> None:
    table, _, arrays = split(bundle.read_bytes())
    bundle.write_bytes(join(table, network, arrays))
    with pytest.raises(FormatError) as found:
        ss.load(bundle)
    assert message in str(found.value)


def raw(header: bytes, length: int | None = None, arrays: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + arrays


@pytest.mark.parametrize(
    ("message", "data"),
    [
        ("found an empty file, expected a .spikesim bundle", b""),
        ("found a zip archive (torch or .npz?), expected", b"PK\x03\x04" + b"\0" * 30),
        ("found a Python pickle, expected", b"\x80\x04\x95\x0a\0\0\0\0\0\0\0."),
        ("found a NumPy array, expected", b"\x93NUMPY\x01\x00v\x00{"[:9] + b"\0" * 9),
        ("found no safetensors header", b'{"nodes": []}'),
        ("found no safetensors header", b"\0" * 8),
        ("the header should have 18446744073709551615 bytes", raw(b"{}", 2**64 - 1)),
        ("the header should have 67108865 bytes, expected at most 67108864", raw(b"{}", 2**26 + 1)),
        ("the header should have 3 bytes, expected at most", raw(b"{}", 3)),
        ("found a safetensors file without a network", raw(b"{}")),
        ("found a safetensors file without a network", raw(b'{"__metadata__":{"format":"pt"}}')),
        ("found a safetensors file without a network", raw(b'{"__metadata__":{"spikesim":1}}')),
        ('the header is no proper JSON: the key "a" is there twice', raw(b'{"a":1,"a":2}')),
        ("the header is no proper JSON", raw(b'{"a":')),
        ("the header is no UTF-8", raw(b'{"\xff":1}')),
    ],
)
def test_other_files_are_told_apart(message: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.spikesim"
    path.write_bytes(data)
    with pytest.raises(FormatError) as found:
        ss.load(path)
    assert message in str(found.value)


def test_a_header_that_promises_much_takes_no_memory(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    info = {"dtype": "F32", "shape": [2**33], "data_offsets": [0, 2**35]}
    path = tmp_path / "net.spikesim"
    net = {"format": 1, "version": "0", "nodes": [], "edges": [], "meta": {}}
    path.write_bytes(join({"a.weight": info}, {**net, "output": None}, b""))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FormatError, match="the arrays should have 34359738368 bytes, found 0"):
        ss.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000


def test_the_order_of_the_arrays_does_not_matter(bundle: Path) -> None:
    table, net, arrays = split(bundle.read_bytes())
    blocks, end = b"", 0
    for info in reversed(table.values()):
        start, stop = info["data_offsets"]
        blocks += arrays[start:stop]
        info["data_offsets"] = [end, end + stop - start]
        end += stop - start
    bundle.write_bytes(join(table, net, blocks))
    assert_equal(ss.load(bundle), network())
