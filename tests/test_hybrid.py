"""Hybrid conversion: lower thresholds, and fine-tuning with STDB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

import digits_nets as digits  # noqa: E402
import spikesim as ss  # noqa: E402
from engines import Engine, Reference, Torch, same  # noqa: E402
from spikesim.errors import GraphError, InputError, ShapeError, UnsupportedError  # noqa: E402
from spikesim.train.thresholds import latency, with_order, with_thresholds  # noqa: E402

T = 8


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Layers as small as these are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(**fields: Any) -> ss.Network:
    """Two layers of whole numbers over four inputs."""
    rng = np.random.default_rng(0)
    net = ss.Network((4,), dt=1e-3, meta={"labels": ["a", "b", "c"]})
    net.add(ss.Linear(rng.integers(-2, 4, (5, 4)), rng.integers(-1, 2, 5)), name="fc1")
    net.add(ss.IF(2.0, v0=1.0, **fields), name="if1")
    net.add(ss.Linear(rng.integers(-2, 4, (3, 5)) * 2, rng.integers(-1, 2, 3)), name="fc2")
    net.readout = "mean"
    return net


def data(n: int = 40) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return rng.uniform(0, 1, (n, 4)).astype(np.float32), rng.integers(0, 3, n)


# --- thresholds ---------------------------------------------------------------------------------


def test_heights_go_with_thresholds() -> None:
    """By hand: θ = 2 and v0 = 1 halve, and so do the weights that hear the spikes; biases stay."""
    net = small()
    half = with_thresholds(net, 0.5)
    op: Any = half.node("if1").op
    assert (op.v_threshold, op.v0, op.spike_amplitude) == (1.0, 0.5, 1.0)
    for name, factor in (("fc1", 1.0), ("fc2", 0.5)):
        before: Any = net.node(name).op
        after: Any = half.node(name).op
        assert np.array_equal(after.weight, before.weight * np.float32(factor))
        assert np.array_equal(after.bias, before.bias)
    assert half.meta == net.meta
    assert net.node("if1").op == small().node("if1").op


def test_a_long_run_means_what_it_meant() -> None:
    """Rate times height is the activation, whatever θ: both approach the ANN, biases included."""
    net = digits.spike_norm(digits.trained(True), digits.images()[0][:128])
    x = digits.images()[2][:64]
    with torch.no_grad():
        wanted = digits.trained(True)(torch.tensor(x)).numpy()
    size = float(np.abs(wanted).max())
    for scale in (1.0, 0.7):
        got = with_thresholds(net, scale).compile().run(x, n_steps=400).output
        assert float(np.abs(got - wanted).max()) < 0.03 * size
    # The control: thresholds alone make another network of it, which has biases.
    alone = {
        f"if{i}.v_threshold": 0.7 * net.node(f"if{i}").op.arrays()["v_threshold"] for i in (0, 1)
    }
    got = ss.train.with_weights(net, alone, strict=False).compile().run(x, n_steps=400).output
    assert float(np.abs(got - wanted).max()) > 0.3 * size


def test_heights_reach_weights_through_what_stands_between() -> None:
    net = ss.Network((2, 4, 4))
    net.add(ss.IF(1.0), name="a", inputs="input")
    net.add(ss.AvgPool2d(2), name="pool")
    net.add(ss.IF(0.5), name="b")
    net.add(ss.Flatten(), name="flat", inputs=[("b", 1), "pool"])
    net.add(ss.Scale(3.0), name="scale")
    net.add(ss.Linear(np.ones((2, 8))), name="fc")
    low = with_thresholds(net, 0.25)
    assert low.node("b").op.arrays()["gain"] == 0.25
    assert low.node("scale").op.arrays()["scale"] == 0.75
    assert float(low.node("fc").op.arrays()["weight"].max()) == 1.0
    assert all(low.node(n).op.arrays()["spike_amplitude"] == 1.0 for n in "ab")


def test_where_weights_cannot_take_it_spikes_are_smaller() -> None:
    """An image and spikes by the same weights: what is heard of the spikes is the same."""
    net = ss.Network((4,))
    net.add(ss.IF(1.0), name="if")
    net.add(ss.Linear(np.arange(8.0).reshape(2, 4)), name="fc", inputs=["input", "if"])
    low = with_thresholds(net, 0.5)
    assert low.node("if").op.arrays()["spike_amplitude"] == 0.5
    assert low.node("fc").op == net.node("fc").op


def test_another_order_is_the_same_network_otherwise() -> None:
    rng = np.random.default_rng(0)
    net = ss.Network((3,), dt=2e-3, meta={"a": [1]})
    net.add(ss.Linear(rng.integers(-2, 4, (3, 3))), name="fc")
    net.add(ss.IF(2.0), name="if", inputs="fc")
    net.add(ss.Linear(rng.integers(-2, 2, (3, 3))), name="back", inputs=[("if", 2)])
    net.connect("back", "if", 1)
    net.add(ss.Linear(rng.integers(-2, 4, (2, 3))), name="out", inputs=["if"])
    net.readout = "mean"
    late = with_order(net, "B")
    assert late.node("if").op.spec() == {**net.node("if").op.spec(), "order": "B"}
    for node in net.nodes:  # each node's own edges keep their order, in which it sums
        into = [[e for e in n.edges if e.dst == node.name] for n in (net, late)]
        assert into[0] == into[1]
    assert (late.readout, late.output) == ("mean", "out")
    assert (late.dt, late.meta) == (net.dt, net.meta)
    again = with_order(late, "A")
    assert [n.op for n in again.nodes[1:]] == [n.op for n in net.nodes[1:]]
    assert (latency(net), latency(late)) == (0, 1)


# --- fine-tuning --------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["A", "B"])
def test_what_was_tuned_is_the_module_that_was_trained(order: Any) -> None:
    """Engine, reference and torch agree on the new network, on spikes as well: on the grid of
    whole numbers where nothing is learned, and in predictions where something is."""
    x, y = data()
    still = ss.train.hybrid(
        small(), x, y, n_steps=6, epochs=1, lr=1e-30, weight_decay=0, order=order,
        threshold_scale=0.5,
    ).net  # fmt: skip
    raster = np.random.default_rng(2).integers(0, 3, (12, 5, 4)).astype(np.float32)
    same(Engine(still).run(raster), Reference(still).run(raster))
    same(Engine(still).run(raster), Torch(still, ss.to_torch(still, surrogate="stdb")).run(raster))
    assert still.node("if1").op == with_order(with_thresholds(small(), 0.5), order).node("if1").op
    net = small()
    tuned = ss.train.hybrid(net, x, y, n_steps=6, lr=0.01, batch_size=8, order=order)
    assert tuned.net.meta == net.meta
    assert [n.name for n in tuned.net.nodes] == [n.name for n in net.nodes]
    assert net.node("fc2").op == small().node("fc2").op
    assert tuned.net.node("fc2").op != small().node("fc2").op
    out = ss.to_torch(tuned.net)(torch.tensor(x), n_steps=6).detach().numpy()
    np.testing.assert_allclose(tuned.net.compile().run(x, n_steps=6).output, out, atol=1e-4)
    assert len(tuned.history) == 3


@pytest.mark.parametrize("options", [{}, {"input": "poisson", "dropout": 0.3}])
def test_a_seed_tells_all(options: Any) -> None:
    x, y = data()

    def weights(seed: int) -> Any:
        torch.rand(3)  # the global generator has no part in it
        tuned = ss.train.hybrid(
            small(), x, y, epochs=1, lr=0.01, batch_size=8, seed=seed, **options
        )
        return tuned.net.node("fc1").op.arrays()["weight"]

    assert np.array_equal(weights(0), weights(0))
    assert not np.array_equal(weights(0), weights(1))


def test_learned_thresholds_move_and_stay_above_zero() -> None:
    x, y = data()
    fixed = ss.train.hybrid(small(), x, y, lr=0.05, threshold_scale=1.0).net
    assert fixed.node("if1").op.arrays()["v_threshold"] == 2.0
    moved = ss.train.hybrid(small(), x, y, lr=0.05, threshold_scale=1.0, learn_thresholds=True)
    theta = float(moved.net.node("if1").op.arrays()["v_threshold"])
    assert theta != 2.0
    wild = ss.train.hybrid(
        small(), x, y, lr=50.0, threshold_scale=1.0, learn_thresholds=True, epochs=2
    )
    assert float(wild.net.node("if1").op.arrays()["v_threshold"]) >= 0.02 * (1 - 1e-6)


def test_a_mask_is_one_for_all_steps() -> None:
    """Neuron 0 of the first sample is not heard at any step, neuron 1 twice as loud."""
    net = ss.Network((2,))
    net.add(ss.IF(1.0), name="if")
    net.add(ss.Linear(np.eye(2)), name="fc")
    module = ss.to_torch(net)
    mask = torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    run = module.run(torch.ones(2, 2), 5, record="spikes", masks={"if": mask})
    assert run.output.tolist() == [[0, 10], [5, 5]]
    assert run.spikes["if"].sum().item() == 20
    with pytest.raises(InputError, match=r"run: masks has 'fc', expected names of populations"):
        module.run(torch.ones(2, 2), 5, masks={"fc": mask})


def test_progress_counts_images() -> None:
    x, y = data(20)
    seen: list[tuple[int, int]] = []
    ss.train.hybrid(
        small(),
        x,
        y,
        epochs=2,
        batch_size=8,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(n, 40) for n in (8, 16, 20, 28, 36, 40)]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"n_steps": 0}, InputError, "n_steps is 0, expected at least 1"),
        ({"epochs": 1.5}, InputError, "epochs is 1.5, expected a whole number"),
        ({"lr": 0.0}, InputError, "lr is 0.0, expected more than 0"),
        ({"lr": float("nan")}, InputError, "lr is nan, expected more than 0"),
        ({"dropout": 1.0}, InputError, "dropout is 1.0, expected at least 0 and less than 1"),
        ({"milestones": (1.5,)}, InputError, "milestones is 1.5, expected at least 0 and at"),
        ({"threshold_scale": "1"}, InputError, "threshold_scale is '1', expected more than 0"),
        ({"order": "C"}, InputError, "order is 'C', expected one of"),
        ({"input": "latency"}, InputError, "input is 'latency', expected one of"),
        ({"alpha": -1.0}, InputError, "alpha is -1.0, expected a number above 0"),
        ({"surrogate": "none"}, UnsupportedError, "'none' is not known"),
        ({"n_steps": 1, "order": "B"}, InputError, "n_steps is 1, expected more than 1"),
        ({"x": np.zeros((40, 5))}, ShapeError, r"hybrid: x has shape \(40, 5\), expected"),
        ({"x": np.full((40, 4), np.nan)}, InputError, r"hybrid: x\[0, 0\] is nan"),
        ({"x": np.full((40, 4), 2.0), "input": "poisson"}, InputError, r"x reaches 2, expected"),
        ({"y": np.zeros(40)}, InputError, "y has dtype float64, expected whole numbers"),
        ({"y": np.zeros(39, int)}, ShapeError, r"y has shape \(39,\), expected \(40,\)"),
        ({"y": np.full(40, 3)}, InputError, "y has 3, expected labels from 0 to 2"),
        ({"y": np.full(40, -1)}, InputError, "y has -1, expected labels from 0 to 2"),
        ({"x": np.full((40, 4), 3e38), "lr": 1.0}, InputError, "has become|is no longer finite"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_said(change: Any, error: Any, words: str) -> None:
    x, y = data()
    options = {"x": x, "y": y} | change
    with pytest.raises(error, match=words):
        ss.train.hybrid(small(), options.pop("x"), options.pop("y"), **options)


def test_networks_that_cannot_be_tuned_are_refused() -> None:
    x, y = data()
    with pytest.raises(InputError, match="net is a int, expected a Network"):
        ss.train.hybrid(3, x, y)  # type: ignore[arg-type]
    dead = ss.Network((4,))
    dead.add(ss.Linear(np.ones((3, 4))), name="fc")
    with pytest.raises(UnsupportedError, match="net has no population that spikes"):
        ss.train.hybrid(dead, x, y)
    spiking = ss.Network((4,))
    spiking.add(ss.IF(), name="if")
    with pytest.raises(UnsupportedError, match="the output if has the readout 'count'"):
        ss.train.hybrid(spiking, x, y)
    image = ss.Network((1, 2, 2))
    image.add(ss.IF(), name="if")
    image.add(ss.Scale(2.0), name="scale")
    with pytest.raises(ShapeError, match=r"the output has shape \(1, 2, 2\), expected \(K,\)"):
        ss.train.hybrid(image, x.reshape(-1, 1, 2, 2), y)
    with pytest.raises((GraphError, UnsupportedError), match="if1"):
        ss.train.hybrid(small(refractory=2), x, y, order="B")


# --- acceptance ---------------------------------------------------------------------------------


def tuned(net: ss.Network, steps: int, **options: Any) -> ss.Network:
    x, y, *_ = digits.images()
    settings = {"epochs": 6, "batch_size": 32, "input": "poisson"} | options
    return ss.train.hybrid(net, x, y, n_steps=steps, **settings).net


def test_digits_without_biases_reach_the_published_bars() -> None:
    """Spikes in, Spike-Norm, thresholds times 0.7, six epochs: at 12 and 16 steps, and five points
    ahead of the same training from scratch at 8 (mean of three inputs)."""
    x, _, test, labels = digits.images()
    net = digits.spike_norm(digits.trained(False), x[:256])
    scratch = digits.spike_norm(digits.mlp(False, seed=1), x[:256])
    score = {
        steps: digits.on_rasters(tuned(net, steps), test, labels, steps) for steps in (8, 12, 16)
    }
    begun = digits.on_rasters(tuned(scratch, T, lr=1e-3), test, labels, T)
    assert score[12] >= 0.94
    assert score[16] >= 0.95
    assert score[8] >= begun + 0.05
    assert begun > 0.3


def test_digits_with_biases_as_constant_currents_gain_by_tuning() -> None:
    x, _, test, labels = digits.images()
    net = digits.spike_norm(digits.trained(True), x[:256])
    before = digits.accuracy(with_thresholds(net, 0.7), test, labels, T)
    after = digits.accuracy(tuned(net, T, input="constant", epochs=3, lr=1e-3), test, labels, T)
    assert after >= 0.955
    assert after > before
