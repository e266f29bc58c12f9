"""STDB: a surrogate told by the time since the last spike, and the two orders of a step."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import spikesim as ss  # noqa: E402
from engines import Engine, Torch, same  # noqa: E402
from spikesim.errors import InputError  # noqa: E402
from spikesim.train import STDB, RelativeLinear  # noqa: E402

# alpha·e^(-beta·Δt) for the authors' alpha 0.3 and beta 0.01, computed apart to seven digits.
TABLE = {
    1: 0.2970150,
    2: 0.2940596,
    10: 0.2714512,
    100: 0.1103638,
    104: 0.1060364,
    500: 2.0213841e-3,
    1000: 1.3619979e-5,
}


def drive(op: ss.Neuron, xs: Any, **options: Any) -> tuple[Any, Any, Any]:
    """One neuron with the inputs xs[t]: the leaf, the outputs and the cell."""
    options = {"surrogate": STDB(), "step_mode": "m"} | options
    cell = ss.train.Neuron(op, **options)
    x = torch.tensor(xs).reshape(-1, 1, 1).requires_grad_()
    return x, cell(x).ravel(), cell


def slope(dt: float, alpha: float = 0.3, beta: float = 0.01) -> Any:
    return alpha * torch.exp(torch.tensor(-beta * dt))


# --- the value ----------------------------------------------------------------------------------


def test_the_value_is_the_table_s() -> None:
    dt = torch.tensor([float(n) for n in TABLE])
    got = STDB().slope(torch.linspace(-9, 9, len(dt)), dt)
    torch.testing.assert_close(got, torch.tensor(list(TABLE.values())), rtol=1e-6, atol=0)
    assert (
        STDB(0.5, 0.0).slope(torch.zeros(3), torch.tensor([1.0, 99.0, 1e6])).tolist() == [0.5] * 3
    )


def test_it_does_not_underflow_where_the_power_of_an_exponential_does() -> None:
    dt = torch.arange(100.0, 1100.0)
    assert bool((torch.exp(-dt) ** 0.01)[dt >= 104].eq(0).all())
    got = STDB().slope(dt, dt)
    assert bool((got >= 0.3 * math.exp(-11)).all())
    assert bool((got.diff() < 0).all())


def test_the_linear_one_is_a_tent_in_thresholds() -> None:
    x = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0])
    expected = torch.tensor([0, 0, 0.5, 1.0, 0.75, 0, 0]) * 0.3
    torch.testing.assert_close(RelativeLinear().derivative(x), expected, rtol=0, atol=0)
    theta = torch.tensor(2.0, requires_grad=True)
    v = torch.tensor([1.0, 2.0, 3.5], requires_grad=True)
    ss.train.surrogate.spike(v, theta, ">=", RelativeLinear(0.5)).sum().backward()
    # At v/θ − 1 = −1/2, 0, 3/4: α·(1/2, 1, 1/4), by v over θ, by θ times −v/θ².
    assert v.grad.tolist() == [0.125, 0.25, 0.0625]
    assert theta.grad.item() == -(0.25 * 1 + 0.5 * 2 + 0.125 * 3.5) / 4


@pytest.mark.parametrize("theta", [1.0, 3.0, 0.7])
@pytest.mark.parametrize("order", ["A", "B"])
def test_autograd_gives_g_alpha_exp_over_theta(theta: float, order: Any) -> None:
    """Without memory of the membrane (α = 0) a spike's gradient is its own step's alone."""
    xs = [0.0, 2 * theta, 0.0, 0.0, theta, theta, 0.0, 9 * theta, 0.0, 0.0]
    op = ss.LIF(theta, alpha_mem=0.0, order=order)
    raster = np.array(xs, np.float32).reshape(-1, 1, 1)
    spikes = ss.reference.run(ss_net(op), raster, record="spikes").spikes["n"].ravel()
    late = order == "B"
    cell = ss.train.Neuron(op, surrogate=STDB(), step_mode="m").double()
    x = torch.tensor(raster, dtype=torch.float64).requires_grad_()
    out = cell(x).ravel()
    assert out.tolist() == spikes.tolist()
    assert spikes.sum() >= 3
    g = np.random.default_rng(0).normal(0, 1, len(xs))
    (out * torch.tensor(g)).sum().backward()
    expected, last = [0.0] * len(xs), -1000
    for t, spiked in enumerate(spikes):
        if t >= late:
            # What float32 made of θ.
            held = cell.v_threshold.item()
            expected[t - late] = g[t] * 0.3 * math.exp(-0.01 * (t - last)) / held
        last = t if spiked else last
    torch.testing.assert_close(x.grad.ravel().tolist(), expected, rtol=1e-14, atol=0)


def ss_net(op: ss.Neuron) -> ss.Network:
    net = ss.Network((1,))
    net.add(op, name="n")
    return net


def test_time_counts_from_the_last_spike_and_a_reset_has_no_gradient() -> None:
    """IF, θ = 1, x = 1/2 at eight steps: spikes at 1, 3, 5, 7, of gradients 1, 10, 100, …

    dz_t/dx_s = slope(t)/θ for every s ≤ t, since the reset passes everything: nothing of the
    threshold's own, hard spike. Δt is 1000 more than t before the first spike, then 1, 2, 1, 2, …
    """
    x, out, cell = drive(ss.IF(), [0.5] * 8)
    assert out.tolist() == [0, 1] * 4
    g = torch.tensor([1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7])
    dt = [1000, 1001, 1, 2, 1, 2, 1, 2]
    terms = torch.stack([gain * slope(n) for gain, n in zip(g, dt, strict=True)])
    (out * g).sum().backward()
    torch.testing.assert_close(x.grad.ravel(), terms.flip(0).cumsum(0).flip(0), rtol=1e-6, atol=0)
    assert cell.state.since.item() == 1


@pytest.mark.parametrize("order", ["A", "B"])
def test_a_silent_network_has_gradients_of_almost_nothing(order: Any) -> None:
    rng = np.random.default_rng(1)
    net = ss.Network((6,))
    for depth in range(3):
        net.add(ss.Linear(rng.uniform(-0.01, 0.01, (6, 6))), name=f"fc{depth}")
        net.add(ss.IF(50.0, order=order), name=f"if{depth}")
    module = ss.to_torch(net, surrogate=STDB())
    x = torch.ones(4, 6)
    out = module(x, n_steps=120)
    assert out.abs().max() == 0
    out.sum().backward()
    grads = {name: p.grad for name, p in module.named_parameters()}
    assert all(bool(torch.isfinite(grad).all()) for grad in grads.values())
    last = grads["fc0.weight"].abs().max()
    # Every path meets one slope a layer; layers that hear silence have no gradient of weights.
    assert 0 < last < 0.3 * math.exp(-10)
    assert float(grads["fc2.weight"].abs().max()) == 0.0
    one = ss.Network((6,))
    one.add(ss.Linear(rng.uniform(-0.01, 0.01, (6, 6))), name="fc")
    one.add(ss.IF(50.0, order=order), name="if")
    module = ss.to_torch(one, surrogate=STDB())
    module(x, n_steps=120).sum().backward()
    grad = module.get_submodule("fc").weight.grad / len(x)
    # Σ over t of (t + 1 − late) inputs that the membrane holds, each of α·e^(-β(1001 + t))/θ.
    late = order == "B"
    terms = [(t + 1 - late) * 0.3 * math.exp(-0.01 * (1000 + t)) / 50 for t in range(120)]
    torch.testing.assert_close(grad, torch.full((6, 6), sum(terms)), rtol=1e-5, atol=0)


# --- state --------------------------------------------------------------------------------------


def test_pieces_copies_and_resets_keep_count() -> None:
    rng = np.random.default_rng(2)
    net = ss.Network((5,))
    net.add(ss.Linear(rng.integers(-3, 5, (5, 5)) / 8), name="fc")
    net.add(ss.LIF(alpha_mem=0.75, refractory=1), name="lif")
    x = torch.tensor(rng.integers(0, 3, (12, 2, 5)) / 2, dtype=torch.float32)
    whole = ss.to_torch(net, surrogate=STDB())
    whole(x)
    pieces = ss.to_torch(net, surrogate=STDB())
    pieces(x[:5])
    pieces.detach()
    pieces = copy.deepcopy(pieces)
    pieces(x[5:], reset=False)
    since = whole.state.populations["lif"].since
    assert torch.equal(since, pieces.state.populations["lif"].since)
    spikes = whole.run(x, record="spikes").spikes["lif"]
    steps = torch.arange(12.0).reshape(-1, 1, 1)
    last = torch.where(spikes != 0, steps, torch.full_like(steps, -1000.0)).amax(0)
    assert torch.equal(since, 12 - last)
    assert not since.requires_grad
    whole.reset()
    assert whole.state is None


def test_others_carry_no_count() -> None:
    module = ss.to_torch(ss_net(ss.IF()), surrogate="atan")
    module(torch.ones(1, 1), n_steps=2)
    assert module.state.populations["n"].since is None
    _, _, cell = drive(ss.LIF(alpha_mem=0.5, spikes="none"), [1.0, 1.0])
    assert cell.state.since is None


@pytest.mark.parametrize("kind", ["signed", "multi"])
def test_several_spikes_and_negative_ones_count(kind: Any) -> None:
    more = {"v_threshold_neg": -0.5} if kind == "signed" else {"max_spikes": 3}
    op = ss.Neuron(v_threshold=0.5, spikes=kind, **more)
    x, out, cell = drive(op, [-0.5, 0.0, 1.75, 0.0] if kind == "signed" else [1.75, 0.0, 0.0])
    assert out.tolist() == ([-1, 0, 1, 1] if kind == "signed" else [3, 0, 0])
    assert cell.state.since.item() == (1 if kind == "signed" else 3)
    out.sum().backward()
    dt = [1000, 1, 2, 1] if kind == "signed" else [1000, 1, 2]
    # Negative spikes have a slope of their own, around v_threshold_neg: 1/θ and 1/0.5.
    each = 4.0 if kind == "signed" else 2.0
    terms = torch.stack([slope(n) for n in dt]) * each
    torch.testing.assert_close(x.grad.ravel(), terms.flip(0).cumsum(0).flip(0), rtol=1e-6, atol=0)


def test_what_is_no_stdb() -> None:
    for bad in ({"alpha": 0.0}, {"alpha": math.nan}, {"beta": -1.0}, {"beta": math.inf}):
        with pytest.raises(InputError, match=r"STDB: (alpha|beta) is .*, expected"):
            STDB(**bad)


def test_spikes_are_the_engine_s() -> None:
    rng = np.random.default_rng(3)
    for order in ("A", "B"):
        net = three_layers(rng, 1.0, order)
        x = rng.integers(-2, 4, (16, 3, 8)).astype(np.float32)
        module = Torch(net, ss.to_torch(net, surrogate=STDB()))
        same(Engine(net).run(x), module.run(x))


# --- the orders ---------------------------------------------------------------------------------


def three_layers(rng: Any, tau: float, order: Any) -> ss.Network:
    net = ss.Network((8,))
    for depth, size in enumerate((7, 6, 5)):
        weight = rng.integers(-4, 8, (size, net.output_shape[0] if depth else 8))
        net.add(ss.Linear(weight), name=f"fc{depth}")
        theta = rng.integers(4, 12, size)
        fires = (">=", ">")[int(rng.integers(2))]
        op = ss.LIF(theta, alpha_mem=tau, reset="subtract", fires=fires, order=order)
        net.add(op, name=f"if{depth}")
    return net


def shifted(spikes: dict[str, Any]) -> dict[str, Any]:
    """s_l[t - 1 - l], silence before."""
    out = {}
    for depth in range(3):
        late = np.zeros_like(spikes[f"if{depth}"])
        late[1 + depth :] = spikes[f"if{depth}"][: -1 - depth]
        out[f"if{depth}"] = late
    return out


def orders(seed: int, tau: float) -> tuple[Any, Any, Any]:
    """The same random network in both orders, and an input on a grid."""
    a, b = (three_layers(np.random.default_rng(seed), tau, order) for order in ("A", "B"))
    x = np.random.default_rng(seed + 10**6).integers(-1, 3, (14, 2, 8)).astype(np.float32)
    return a, b, x


@pytest.mark.parametrize("side", [Engine, Torch])
def test_order_b_is_order_a_a_step_later_a_layer(side: Any) -> None:
    """IF, soft reset, whole numbers: s_l of B at t is s_l of A at t - 1 - l (200 networks)."""
    fired = [0, 0, 0]
    for seed in range(200):
        a, b, x = orders(seed, 1.0)
        first, second = side(a).run(x).spikes, side(b).run(x).spikes
        for depth, (name, late) in enumerate(shifted(first).items()):
            assert np.array_equal(second[name], late), (seed, name)
            fired[depth] += bool(late.any())
    assert min(fired) > 150


@pytest.mark.parametrize("side", [Engine, Torch])
def test_with_a_leak_it_is_not(side: Any) -> None:
    """A leaks what the reset left, B what was there before it."""
    broken = 0
    for seed in range(40):
        a, b, x = orders(seed, 0.5)
        first, second = side(a).run(x).spikes, side(b).run(x).spikes
        broken += any(not np.array_equal(second[name], s) for name, s in shifted(first).items())
    assert broken >= 35


def test_the_orders_count_the_same_time() -> None:
    """The gradient of a shifted spike train is the shifted gradient, but for Δt before a first
    spike, which in order B is one step more."""
    xs = [0.5, 0.75, 0.0, 1.0, 0.25, 0.5, 1.0, 0.0]
    xa, a, _ = drive(ss.IF(), xs)
    xb, b, _ = drive(ss.IF(order="B"), [*xs, 0.0])
    assert b.tolist() == [0, *a.tolist()]
    first = a.tolist().index(1)
    a[first + 1 :].sum().backward()
    b[first + 2 :].sum().backward()
    assert torch.equal(xa.grad, xb.grad[:-1])
    assert xa.grad.abs().min() > 0
