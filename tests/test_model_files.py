"""Files of models: what is written comes back, and what is damaged is named."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

import spikesim as ss  # noqa: E402
from spikesim.errors import FormatError, InputError  # noqa: E402
from spikesim.models import mnist_net, resnet8, vgg11  # noqa: E402

KWARGS: dict[str, Any] = {
    "image_size": 8,
    "width": 0.125,
    "activation": {"kind": "qcfs", "L": 8, "phi": 0.25},
}
META = {"preprocessing": {"scale": 0.0625}, "labels": ["0", "é"], "accuracy": 0.97}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    net = mnist_net(**KWARGS)
    with torch.no_grad():
        net.get_submodule("act1").lam.fill_(1.25)  # type: ignore[operator]
    ss.models.save(tmp_path / "a.safetensors", net, "mnist_net", KWARGS, META)
    return tmp_path / "a.safetensors"


def rewrite(path: Path, **changes: Any) -> None:
    """The same file with other entries in spikesim's header; None takes one out."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    entry = json.loads(header["__metadata__"]["spikesim.model"])
    entry = {key: value for key, value in {**entry, **changes}.items() if value is not None}
    header["__metadata__"]["spikesim.model"] = json.dumps(entry)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def test_a_model_comes_back(saved: Path) -> None:
    net, meta = ss.models.load(saved)
    original = mnist_net(**KWARGS)
    act: Any = net.get_submodule("act1")
    assert (act.L, act.phi, act.lam.item()) == (8, 0.25, 1.25)
    assert meta == META
    assert not net.training
    with torch.no_grad():
        original.get_submodule("act1").lam.fill_(1.25)  # type: ignore[operator]
    assert str(net) == str(original)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(net(x), original(x))
    assert all(p.requires_grad for p in net.parameters())
    assert not any(t.is_meta for t in net.state_dict().values())


def test_others_read_its_tensors(saved: Path) -> None:
    theirs = safetensors.load_file(saved)
    ours = ss.models.load(saved)[0].state_dict()
    assert sorted(theirs) == sorted(ours)
    assert all(torch.equal(theirs[key], ours[key]) for key in ours)
    assert "act1.lam" in ss.train.load_state_dict(saved)


def test_spiking_and_residual_models(tmp_path: Path) -> None:
    path = tmp_path / "b"
    options: dict[str, Any] = {"width": 1 / 16, "head": (8,)}
    spiking = vgg11(rate=0.1, **options)
    ss.models.save(path, spiking, "vgg11", {"rate": 0.1, **options})
    again, meta = ss.models.load(path)
    assert meta == {}
    assert torch.equal(again.get_submodule("fc1").weight, spiking.get_submodule("fc1").weight)
    double = resnet8(width=0.25, activation="qcfs").double()
    ss.models.save(path, double, "resnet8", {"width": 0.25, "activation": "qcfs"})
    again, _ = ss.models.load(path)
    assert {p.dtype for p in again.parameters()} == {torch.float64}
    x = torch.rand(1, 1, 28, 28, dtype=torch.float64)
    assert torch.equal(again(x), double(x))


@pytest.mark.parametrize(
    ("name", "kwargs", "meta", "message"),
    [
        ("net", {}, {}, "builder is 'net', expected one of resnet18"),
        ("save", {}, {}, "builder is 'save', expected one of"),
        ("mnist_net", {}, {}, "act1.lam is there, expected no such tensor, as mnist_net has it"),
        ("mnist_net", {"activation": "qcfs"}, {}, "fc1.weight has shape"),
        ("resnet8", {"activation": "qcfs"}, {}, "as resnet8 has it with these arguments"),
        ("mnist_net", {"activation": ss.train.QCFS}, {}, "what is not JSON"),
        ("mnist_net", {"size": 8}, {}, "can't be built with {'size': 8}"),
        ("mnist_net", KWARGS, {"accuracy": float("nan")}, "what is not JSON"),
    ],
)
def test_what_can_not_be_saved(
    tmp_path: Path, name: str, kwargs: Any, meta: Any, message: str
) -> None:
    net = mnist_net(**{**KWARGS, "width": 0.25})
    kwargs = {**kwargs, "width": 0.25} if kwargs is not KWARGS else {**KWARGS, "width": 0.25}
    kwargs = {"size": 8} if "size" in kwargs else kwargs
    with pytest.raises(InputError, match=message.replace("{", r"\{")) as caught:
        ss.models.save(tmp_path / "a", net, name, kwargs, meta)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("built", "said", "message"),
    [
        ({}, {"activation": "leaky_relu"}, "act1 is a ReLU, expected a LeakyReLU"),
        (
            {"activation": {"kind": "leaky_relu", "negative_slope": 0.1}},
            {"activation": "leaky_relu"},
            "act1.negative_slope is 0.1, expected 0.01",
        ),
        ({"pool": "max"}, {}, "pool1 is a MaxPool2d, expected a AvgPool2d"),
        ({"activation": {"kind": "qcfs", "L": 8}}, {"activation": "qcfs"}, "act1.L is 8, expected"),
    ],
)
def test_arguments_that_build_another_module_with_the_same_tensors(
    tmp_path: Path, built: Any, said: Any, message: str
) -> None:
    """Read again it would compute something else, and nothing would tell."""
    size: dict[str, Any] = {"image_size": 8, "width": 0.125}
    with pytest.raises(InputError, match=message):
        ss.models.save(tmp_path / "a", mnist_net(**size, **built), "mnist_net", {**size, **said})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"builder": "eval"}, "builder is 'eval', expected one of"),
        ({"builder": ["vgg16"]}, "builder is"),
        ({"builder": None}, "spikesim.model is damaged"),
        ({"format": 2}, "format is 2, expected 1"),
        ({"arguments": [1]}, "arguments and meta are damaged"),
        ({"meta": "x"}, "arguments and meta are damaged"),
        ({"arguments": {"width": 0.125}}, "expected .* as mnist_net has it with the file's"),
        ({"arguments": {"depth": 3}}, "can't be built with its arguments"),
        ({"arguments": {"width": 1e9}}, "expected"),
        ({"arguments": {"num_classes": 10**30}}, "expected"),
        ({"arguments": {"activation": {"kind": "exec"}}}, "activation is 'exec', expected one"),
        ({"crc32": 1}, "tensors are damaged"),
    ],
)
def test_a_header_that_means_nothing(saved: Path, changes: Any, message: str) -> None:
    rewrite(saved, **changes)
    with pytest.raises(FormatError, match=message) as caught:
        ss.models.load(saved)
    assert "a.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    ss.train.save_state_dict({"a": torch.zeros(3)}, path)
    with pytest.raises(FormatError, match=r"header has no 'spikesim\.model'"):
        ss.models.load(path)
    with pytest.raises(FormatError, match=r"header has no 'spikesim\.model'"):
        ss.models.load(ss.data.digits_model())
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="0 bytes"):
        ss.models.load(path)
    with pytest.raises(FileNotFoundError):
        ss.models.load(tmp_path / "nowhere")


def test_every_flipped_byte_is_found(saved: Path) -> None:
    whole = saved.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    original = ss.models.load(saved)[0].state_dict()
    # All of spikesim's own entry would take long: a part of everything.
    for n in [*range(0, 8 + length, 23), *range(8 + length, len(whole), 997)]:
        saved.write_bytes(whole[:n] + bytes([whole[n] ^ 0x11]) + whole[n + 1 :])
        try:
            net, _ = ss.models.load(saved)
        except FormatError:
            continue
        # In a space, a seed or a text of meta: nothing of the model's.
        assert n < 8 + length
        found = net.state_dict()
        assert all(torch.equal(found[key], original[key]) for key in original), n


def test_every_truncation_is_found(saved: Path) -> None:
    whole = saved.read_bytes()
    for n in range(0, len(whole), 1009):
        saved.write_bytes(whole[:n])
        with pytest.raises(FormatError):
            ss.models.load(saved)
