"""State dicts: weights by the names of nodes, from and to torch models and safetensors files."""

from __future__ import annotations

import json
import os
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from engines import Reference, Torch, same  # noqa: E402
from spikesim.errors import FormatError, GraphError, InputError, ShapeError  # noqa: E402
from strategies import Case, cases  # noqa: E402
from test_bundle import assert_equal, network  # noqa: E402

# --- networks and modules -----------------------------------------------------------------------


@given(cases(exact=False))
def test_a_network_and_its_module_share_one_state_dict(case: Case) -> None:
    net = case.net
    weights = ss.train.state_dict(net)
    module = ss.to_torch(net)
    assert list_equal(module.state_dict(), weights)
    assert_equal(ss.train.with_weights(net, weights), net)
    other = ss.to_torch(
        ss.train.with_weights(net, {k: other_numbers(k, v) for k, v in weights.items()})
    )
    changed = any(w.abs().max() > 0 for k, w in weights.items() if ".weight" in k)
    assert changed != list_equal(other.state_dict(), weights)
    other.load_state_dict(weights)  # strict: nothing is missing, nothing is left
    assert_equal(ss.from_torch(other, net.input_shape), net)
    assert other.load_state_dict(module.state_dict()).missing_keys == []


def other_numbers(key: str, value: Any) -> Any:
    return 2 * value if ".weight" in key else value


def list_equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return sorted(a) == sorted(b) and all(torch.equal(a[key], b[key]) for key in a)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), ss.train.IF())
        self.block = nn.ModuleDict({"conv": nn.Conv2d(4, 4, 1, bias=False), "if": ss.train.IF()})
        self.head = nn.Linear(4 * 6 * 6, 3)
        self.out = ss.train.LIF([0.5, 1.0, 1.5], alpha_mem=0.5)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        x = x + self.block["if"](self.block["conv"](x))
        return self.out(self.head(torch.flatten(x, 1)))


@pytest.mark.parametrize("seed", range(3))
def test_the_model_that_was_converted_takes_the_weights_back(seed: int) -> None:
    torch.manual_seed(seed)
    model, other = Residual(), Residual()
    for bn in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        bn.running_mean.normal_()
        bn.running_var.uniform_(0.5, 2)
    net = ss.from_torch(model, (2, 6, 6))
    left = other.load_state_dict(ss.train.state_dict(net), strict=False)
    assert left.missing_keys == []
    # Of its neurons the network has two fields more than IF and LIF.
    assert {key.rpartition(".")[2] for key in left.unexpected_keys} == {"spike_amplitude", "i0"}
    assert list_equal(other.state_dict(), model.state_dict())
    assert_equal(ss.from_torch(other, (2, 6, 6)), net)


def test_a_model_with_another_librarys_neurons_takes_its_layers() -> None:
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    snn = pytest.importorskip("snntorch")
    for cell in (neuron.LIFNode(2.0), snn.Leaky(0.5, init_hidden=True)):
        model = nn.Sequential(nn.Linear(3, 2), cell, nn.Linear(2, 2))
        other = nn.Sequential(nn.Linear(3, 2), cell, nn.Linear(2, 2))
        weights = ss.train.state_dict(ss.from_torch(model, (3,)), neurons=False)
        assert sorted(weights) == ["0.bias", "0.weight", "2.bias", "2.weight"]
        assert other.load_state_dict(weights, strict=False).unexpected_keys == []
        assert all(torch.equal(v, model.state_dict()[k]) for k, v in other.state_dict().items())


# --- weights into a network ---------------------------------------------------------------------


@given(cases(exact=False), st.integers(0, 2**32 - 1))
def test_a_network_with_other_weights_is_the_one_made_with_them(case: Case, seed: int) -> None:
    net, rng = case.net, np.random.default_rng(seed)
    weights = {
        key: rng.normal(0, 0.5, value.shape).astype(np.float32)
        for key, value in ss.train.state_dict(net).items()
        if key.endswith((".weight", ".bias", ".scale"))
    }
    before = net.copy()
    changed = ss.train.with_weights(net, weights, strict=False)
    assert_equal(net, before)
    for mine, theirs in zip(changed.nodes, net.nodes, strict=True):
        arrays = {k: weights.get(f"{mine.name}.{k}", a) for k, a in theirs.op.arrays().items()}
        assert mine.op == ss.ops.from_spec(theirs.op.spec(), arrays)
    assert (changed.edges, changed.output, changed.readout) == (net.edges, net.output, net.readout)
    module = ss.to_torch(net)
    module.load_state_dict({k: torch.from_numpy(w) for k, w in weights.items()}, strict=False)
    outcome = Torch(changed, module).run(*case.run_args())
    same(outcome, Reference(changed, sums="torch").run(*case.run_args()))


def test_what_belongs_to_the_network_stays() -> None:
    net = network()
    doubled = ss.train.with_weights(
        net, {k: other_numbers(k, v) for k, v in ss.train.state_dict(net).items()}
    )
    assert np.array_equal(
        doubled.node("features.0").op.weight, 2 * net.node("features.0").op.weight
    )
    assert_equal(
        ss.train.with_weights(doubled, ss.train.state_dict(net)),
        net,
    )
    assert doubled.meta == net.meta
    assert doubled.meta is not net.meta


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"fc.weight": None}, InputError, "fc.weight is missing, expected all of the network's"),
        ({"fc.wieght": 1.0}, InputError, "fc.wieght is no array of the network, expected only"),
        (
            {"fc.weight": np.zeros((9, 2))},
            ShapeError,
            r"fc.weight has shape \(9, 2\), expected \(2, 9\)",
        ),
        ({"lif.gain": np.zeros(3)}, ShapeError, r"lif.gain has shape \(3,\), expected \(\)"),
        ({"fc.weight": np.full((2, 9), np.inf)}, GraphError, "fc.weight is not finite, expected"),
        ({"fc.weight": np.full((2, 9), 1e300)}, GraphError, "fc.weight is not finite, expected"),
        ({"lif.v_threshold": -np.ones(3)}, GraphError, "lif: v_threshold.* is -1, expected above"),
        ({"fc.weight": torch.zeros(2, 9) * 1j}, TypeError, "fc.weight has dtype torch.complex64"),
        ({"fc.weight": np.zeros((2, 9), "U1")}, TypeError, "fc.weight has dtype <U1, expected"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    change: dict[str, Any], error: Any, message: str
) -> None:
    weights: dict[str, Any] = {**ss.train.state_dict(network()), **change}
    weights = {key: value for key, value in weights.items() if value is not None}
    with pytest.raises(error, match=f"^with_weights: {message}"):
        ss.train.with_weights(network(), weights)


def test_without_strict_only_shapes_and_values_are_refused() -> None:
    net = network()
    part = {"fc.weight": torch.ones(2, 9), "fc.mask": torch.ones(2, 9)}
    changed = ss.train.with_weights(net, part, strict=False)
    assert changed.node("fc").op.weight.tolist() == [[1.0] * 9] * 2
    assert changed.node("features.0").op == net.node("features.0").op
    with pytest.raises(ShapeError, match=r"fc\.weight"):
        ss.train.with_weights(net, {"fc.weight": torch.ones(2)}, strict=False)


# --- files --------------------------------------------------------------------------------------


def test_files_are_those_of_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    weights = ss.train.state_dict(network())
    weights |= {
        "empty": torch.zeros(0, 3), "scalar": torch.tensor(2.5), "bool": torch.tensor([True]),
        "half": torch.ones(3, dtype=torch.float16), "brain": torch.ones(1, dtype=torch.bfloat16),
        "int": torch.arange(5), "wide": torch.ones(2, dtype=torch.float64), "ü": torch.ones(1),
        "transposed": torch.arange(6.0).reshape(2, 3).T,
    }  # fmt: skip
    ss.train.save_state_dict(weights, path)
    for read in (safetensors.load_file(path), ss.train.load_state_dict(path)):
        assert list_equal(read, weights)
        assert all(read[key].dtype == value.dtype for key, value in weights.items())
    safetensors.save_file({k: v.contiguous() for k, v in weights.items()}, path, {"format": "pt"})
    assert list_equal(ss.train.load_state_dict(path), weights)


def test_a_bundle_is_a_state_dict_and_a_module_reads_one(tmp_path: Path) -> None:
    net = network()
    net.save(tmp_path / "net.spikesim")
    weights = ss.train.load_state_dict(tmp_path / "net.spikesim")
    assert list_equal(weights, ss.train.state_dict(net))
    module = ss.to_torch(net)
    ss.train.save_state_dict(module.state_dict(), tmp_path / "w.safetensors")
    assert_equal(
        ss.train.with_weights(net, ss.train.load_state_dict(tmp_path / "w.safetensors")), net
    )


def test_a_file_is_replaced_at_once_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    ss.train.save_state_dict({"a": torch.ones(1)}, path)
    os.chmod(path, 0o640)
    with pytest.raises(FormatError, match=r"w\.safetensors: b is of torch.complex64, expected"):
        ss.train.save_state_dict({"b": torch.ones(1) * 1j}, path)
    with pytest.raises(FormatError, match="b is a list, expected a dense tensor"):
        ss.train.save_state_dict({"b": [1]}, path)  # type: ignore[dict-item]
    assert ss.train.load_state_dict(path)["a"].item() == 1
    ss.train.save_state_dict({"a": torch.zeros(1)}, path)
    assert ss.train.load_state_dict(path)["a"].item() == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    with pytest.raises(FileNotFoundError):
        ss.train.load_state_dict(tmp_path / "none")


def file_of(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file has 0 bytes, expected a safetensors file"),
        (b"\x80\x04pickle and more", "header has .* bytes, expected at most"),
        (struct.pack("<Q", 2**63) + b"{}", "header has 9223372036854775808 bytes"),
        (file_of(b"[1]"), "header is damaged .*, expected JSON"),
        (file_of(b"\xff\xfe"), "header is damaged"),
        (file_of(b'{"a": 1}'), "header is damaged"),
        (file_of(b"[" * 100_000), "header is damaged"),
        (file_of({"a": entry("C64")}, b"1234"), "header is damaged .KeyError 'C64'."),
        (file_of({"a": entry(shape=[-1])}, b"1234"), "header is damaged .ValueError -1 where"),
        (file_of({"a": entry(shape=[1.0])}, b"1234"), "header is damaged"),
        (file_of({"a": entry(shape=[True])}, b"1234"), "header is damaged"),
        (file_of({"a": entry(offsets=[0])}, b"1234"), r"a lies at \[0\], expected \[0, 4\]"),
        (file_of({"a": entry(offsets=[0, 8])}, b"12345678"), r"a lies at \[0, 8\], expected"),
        (file_of({"a": entry(offsets=[4, 8])}, b"12345678"), r"a lies at \[4, 8\], expected"),
        (file_of({"a": entry(shape=[2**62, 2**62])}, b"1234"), "a lies at"),
        (file_of({"a": entry(), "b": entry()}, b"1234"), r"b lies at \[0, 4\], expected \[4, 8\]"),
        (file_of({"a": entry()}, b"123"), r"a lies at \[0, 4\], expected \[0, 4\] inside the file"),
        (file_of({"a": entry()}, b"12345"), "file has .* bytes, expected .* as its header says"),
        (
            file_of(b'{"a": {"dtype":"F32","shape":[0],"data_offsets":[0,0]}, "a": 1}'),
            "a key is there twice",
        ),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        ss.train.load_state_dict(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    ss.train.save_state_dict({"a": torch.ones(2), "b": torch.ones(3, 2)}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            ss.train.load_state_dict(path)
