"""Networks written as NIR: read back exactly, and read by nir 1.0.8 as the graph they are."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

h5py = pytest.importorskip("h5py")
nir = pytest.importorskip("nir")

import spikesim as ss  # noqa: E402
from engines import Engine, same  # noqa: E402
from spikesim.errors import FormatError, GraphError, InputError, UnsupportedError  # noqa: E402
from spikesim.reference.fold import affine  # noqa: E402
from strategies import Builder, cases, inputs  # noqa: E402


def saved(net: ss.Network, folder: Path) -> Path:
    path = folder / "net.nir"
    net.save(path)
    return path


def back(net: ss.Network, folder: Path) -> ss.Network:
    """Written and read; a file of ours leaves nothing to assume."""
    path = saved(net, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return ss.load(path)


def assert_equal(a: ss.Network, b: ss.Network) -> None:
    """Nodes, edges, numbers, names and all."""
    assert [n.name for n in a.nodes] == [n.name for n in b.nodes]
    for mine, theirs in zip(a.nodes, b.nodes, strict=True):
        assert mine.op == theirs.op, mine.name
        assert (mine.in_shape, mine.shape) == (theirs.in_shape, theirs.shape)
    assert a.edges == b.edges
    assert (a.output, a.readout, a.dt, a.meta) == (b.output, b.readout, b.dt, b.meta)
    assert a.input_shape == b.input_shape


def sayable(net: ss.Network) -> bool:
    """Whether NIR has words for every node, told without sizes and padding."""
    return all(has_words(node) for node in net.fold().nodes)


def has_words(node: ss.Node) -> bool:
    kind = node.kind
    op: Any = node.op
    if kind == "batch_norm":
        return not affine(op)[1].float().any()
    if kind in ("concat", "upsample") or "max_pool" in kind or "pool1d" in kind:
        return False
    if kind == "neuron":
        return bool(op.synapse != "alpha")
    delay = getattr(op, "delay", None) if kind in ("linear", "conv1d", "conv2d") else None
    return delay is None or len(np.unique(delay)) == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nir")


@given(case=cases(exact=False, blocks=5))
def test_random_networks_come_back_exactly(case: Any, folder: Path) -> None:
    net = case.net
    net.meta = {"labels": ["a", "ö"], "n_steps": 4}
    net.dt = 0.003
    try:
        again = back(net, folder)
    except UnsupportedError as error:
        refused: str | None = str(error)
    else:
        refused = None
    if refused is not None:
        named = refused.split(": ")[0]
        assert named in {node.name for node in net.nodes}, refused
        kind = net.node(named).kind
        # What can be said must not be refused.
        assert (
            not sayable(net)
            or kind in ("avg_pool2d", "sum_pool2d", "adaptive_avg_pool2d")
            or (kind.startswith("conv"))
        )
        return
    assert_equal(net.fold(), again)
    x, steps = case.run_args()
    same(Engine(net.fold()).run(x, steps), Engine(again).run(x, steps))


class Sayable(Builder):
    """Only what NIR has words for."""

    def synapses(self, shape: tuple[int, ...], least: int = 0) -> Any:
        if not self.pick(False, least > 0, True):
            return None
        return np.full(self.pick((), shape), self.pick(*range(least, least + 4)))

    def conv(self, shape: tuple[int, ...], out: int) -> Any:
        op = super().conv(shape, out)
        kinds: Any = type(op)
        sides = [op.padding] if isinstance(op, ss.Conv1d) else op.padding
        padding = tuple(before for before, _ in sides)
        one = isinstance(op, ss.Conv1d)
        fits = all(
            n + 2 * p > d * (k - 1)
            for n, p, d, k in zip(
                shape[1:],
                padding,
                (op.dilation,) if one else op.dilation,
                op.weight.shape[2:],
                strict=True,
            )
        )
        padding = padding if fits else tuple(k * 2 for k in op.weight.shape[2:])
        return kinds(
            op.weight,
            op.bias,
            op.stride,
            padding[0] if one else padding,
            op.dilation,
            op.groups,
            op.delay,
        )

    def pool(self, value: Any) -> Any:
        if len(value.shape) != 3:
            return self.scale(value)
        kernel = tuple(min(self.pick(1, 2, 3), n) for n in value.shape[1:])
        padding = tuple(self.pick(0, (k - 1) // 2) for k in kernel)
        stride = tuple(self.pick(1, k) for k in kernel)
        kind: Any = self.pick(ss.SumPool2d, ss.AvgPool2d)
        return self.add(kind(kernel, stride, padding), [value], clean=False)

    def reshape(self, value: Any) -> Any:
        others = self.like(value)
        if others and self.pick(True, False):
            return self.add(ss.Add(), [value, self.draw(st.sampled_from(others))])
        if len(value.shape) > 1:
            return self.add(ss.Flatten(), [value])
        return self.add(ss.Delay(self.rng.integers(0, 3, value.shape)), [value])

    def norm(self, value: Any) -> Any:
        """Of what no layer came before: with shifts of 0, some of them as a difference."""
        n = value.shape[0]
        factor, mean = self.rng.choice([-1, 0, 0.3, 0.5, 2], n), self.rng.choice([0, 0, 0.5], n)
        mean = np.where(factor == 0.3, 0, mean)
        op = ss.BatchNorm(factor, mean * factor, mean, np.ones(n), eps=0.0)
        return self.add(op, [value], spikes=False, clean=False)


@st.composite
def sayable_cases(draw: Any) -> tuple[ss.Network, Any, int, bool]:
    builder = Sayable(draw, exact=False)
    value = builder.start()
    for _ in range(draw(st.integers(1, 5))):
        value = builder.block(value)
    net = builder.net
    net.output = draw(st.sampled_from([v.name for v in builder.values[1:]] + [value.name]))
    # Not every batch norm can be folded; populations have any synapse.
    assume(sayable(net))
    x, steps, constant = inputs(draw, builder, net.input_shape)
    return net, x, steps, constant


@given(case=sayable_cases())
def test_what_nir_can_say_is_written_and_read(case: Any, folder: Path) -> None:
    net, x, steps, constant = case
    again = back(net, folder)
    assert_equal(net.fold(), again)
    n = steps if constant else None
    same(Engine(net.fold()).run(x, n), Engine(again).run(x, n))


@given(case=sayable_cases())
def test_nir_reads_what_it_can_say(case: Any, folder: Path) -> None:
    """The graph, by nir's own reader and its check of shapes (which knows neither groups nor
    kernels of two sizes); values are those of the network."""
    net = case[0].fold()
    path = saved(net, folder)
    convs = [node for node in net.nodes if node.kind.startswith("conv")]
    strict = not any(node.op.groups > 1 or len(set(node.op.weight.shape[2:])) > 1 for node in convs)
    graph = nir.read(path, type_check=strict)
    for node in net.nodes:
        if node.kind in ("linear", "conv1d", "conv2d"):
            theirs = graph.nodes[node.name]
            np.testing.assert_array_equal(theirs.weight, node.op.weight)
        if node.kind == "batch_norm":
            factor, _ = affine(node.op)
            theirs = graph.nodes[node.name].scale
            np.testing.assert_array_equal(theirs, full(factor.float().numpy(), node.shape))
        if node.kind == "neuron":
            theirs = graph.nodes[node.name]
            assert tuple(theirs.input_type["input"]) == node.shape
            held_by_euler(theirs, node.op, node.shape, net.dt or 1e-4)
    assert len(graph.edges) == len(set(graph.edges))


def full(value: Any, shape: tuple[int, ...]) -> Any:
    value = np.asarray(value, np.float64)
    if value.ndim == 1:
        value = value.reshape(-1, *(1 for _ in shape[1:]))
    return np.broadcast_to(value, shape)


def held_by_euler(theirs: Any, op: Any, shape: tuple[int, ...], dt: float) -> None:
    """What Euler's method makes of the file is what the network has."""
    kind = type(theirs).__name__
    if kind == "Threshold":
        np.testing.assert_allclose(
            theirs.threshold * full(op.gain, shape), full(op.v_threshold, shape)
        )
        return
    if kind in ("I", "IF"):
        np.testing.assert_allclose(theirs.r * dt, full(op.gain, shape))
        assert (op.alpha_mem == 1).all()
    else:
        tau = theirs.tau if hasattr(theirs, "tau") else theirs.tau_mem
        np.testing.assert_allclose(1 - dt / tau, full(op.alpha_mem, shape), atol=1e-15)
        np.testing.assert_allclose(theirs.r * dt / tau, full(op.gain, shape), rtol=1e-12)
        np.testing.assert_array_equal(theirs.v_leak, full(op.v_leak, shape))
    if kind.startswith("Cuba"):
        after = full(op.alpha_syn, shape) if op.synapse == "decay_after" else 1.0
        np.testing.assert_allclose(1 - dt / theirs.tau_syn, full(op.alpha_syn, shape), atol=1e-15)
        np.testing.assert_allclose(
            theirs.w_in * dt / theirs.tau_syn, full(op.w_in, shape) * after, rtol=1e-12
        )
    if kind.endswith("IF"):
        np.testing.assert_array_equal(theirs.v_threshold, full(op.v_threshold, shape))
        if op.reset == "to_value":
            np.testing.assert_array_equal(theirs.v_reset, full(op.v_reset, shape))


def small() -> ss.Network:
    net = ss.Network((2,), dt=1e-3, meta={"labels": ["no", "yes"]})
    net.add(ss.Linear([[0.5, 1.0], [0.25, -1.0]], [0.5, 0.0]), "fc")
    net.add(ss.LIF(alpha_mem=0.5, v0=0.25), "lif")
    return net


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    small().save(tmp_path / "a.nir")
    small().save(tmp_path / "b.nir")
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(small(), tmp_path)
    os.chmod(path, 0o640)
    before = path.read_bytes()
    net = small()
    net.meta = {"other": 1}

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for broken in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, broken, full_disk)
            with pytest.raises(OSError, match="No space left"):
                net.save(path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["net.nir"]
    net.save(path)
    assert ss.load(path).meta == {"other": 1}
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.nir"
    link.symlink_to(tmp_path / "real" / "net.nir")
    small().save(link)
    assert link.is_symlink()
    assert_equal(ss.load(link), small())


def test_a_graph_that_was_changed_is_not_read_as_it_was(tmp_path: Path) -> None:
    """nir keeps metadata, whatever it changes beside it."""
    path = saved(small(), tmp_path)
    graph = nir.read(path)
    nir.write(tmp_path / "same.nir", graph)
    assert_equal(ss.load(tmp_path / "same.nir"), small())
    graph.nodes["fc"].weight[0, 0] = 7
    nir.write(tmp_path / "weights.nir", graph)
    assert ss.load(tmp_path / "weights.nir").node("fc").op.weight[0, 0] == 7
    graph.nodes["lif"].tau[0] *= 2
    nir.write(tmp_path / "tau.nir", graph)
    with pytest.raises(FormatError, match="node 'lif' differs from what the metadata says"):
        ss.load(tmp_path / "tau.nir")


def test_options_can_not_contradict_a_file_of_ours(tmp_path: Path) -> None:
    path = saved(small(), tmp_path)
    assert_equal(ss.load(path, nir=ss.NirOptions("snntorch", dt=1e-3)), small())
    for contrary in ({"dt": 1e-4}, {"reset": "to_value"}):
        with pytest.raises(
            InputError, match=f"nir says {next(iter(contrary))} for a file that says"
        ):
            ss.load(path, nir=ss.NirOptions(**contrary))  # type: ignore[arg-type]


def test_metadata_that_lies_is_refused(tmp_path: Path) -> None:
    path = saved(small(), tmp_path)

    def forged(change: Any) -> None:
        with h5py.File(path, "r+") as file:
            entry = file["node/metadata/spikesim"]
            said = json.loads(entry[()])
            said = change(said) or said
            del file["node/metadata/spikesim"]
            text = said if isinstance(said, str) else json.dumps(said)
            file["node/metadata"].create_dataset("spikesim", data=text)

    changes: list[Any] = [
        lambda said: "{",
        lambda said: "[" * 100_000,
        lambda said: said.update(format=2),
        lambda said: said.update(more=1),
        lambda said: said.pop("dt") and None,
        lambda said: said["nodes"].pop(),
        lambda said: said["nodes"].append(said["nodes"][0]),
        lambda said: said["nodes"][0].update(kind="nonsense"),
        lambda said: said["nodes"][1].update(fires="?"),
        lambda said: said["nodes"][1].update(nir="fc"),
        lambda said: said["edges"].pop(),
        lambda said: said["edges"].append(["lif", "nope", 0]),
        lambda said: said["edges"].append(["lif", "fc", 1.5]),
        lambda said: said["edges"].append(["lif", "fc", 1]),
        lambda said: said.update(output="nope"),
        lambda said: said.update(output=3),
        lambda said: said.update(readout="nope"),
        lambda said: said.update(dt=-1),
        lambda said: said.update(dt="x"),
        lambda said: said.update(meta=[1]),
        lambda said: said["nodes"][0].update(bias=False),
        lambda said: said["nodes"][0].update(delay=True),
    ]
    for change in changes:
        small().save(path)
        forged(change)
        with pytest.raises((FormatError, UnsupportedError), match=r"net\.nir: "):
            ss.load(path)


def test_an_invalid_network_is_not_written(tmp_path: Path) -> None:
    net = small()
    net.readout = "last_v"
    net.output = "fc"
    with pytest.raises(GraphError, match="readout"):
        net.save(tmp_path / "x.nir")
    net = small()
    net.meta = {"x": float("nan")}
    with pytest.raises(GraphError, match="meta is no JSON"):
        net.save(tmp_path / "x.nir")
    assert os.listdir(tmp_path) == []
