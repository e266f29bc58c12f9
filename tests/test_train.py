"""spikesim's own neuron modules as torch modules: gradients, state, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from spikesim.train.surrogate import SURROGATES, spike  # noqa: E402


@pytest.mark.parametrize("name", [name for name in SURROGATES if not SURROGATES[name].timed])
def test_surrogates_integrate_to_what_they_say(name: str):
    surrogate = SURROGATES[name]()
    x = torch.linspace(-2000, 2000, 4_000_001, dtype=torch.float64)
    integral = float(torch.trapezoid(surrogate.derivative(x), x))
    says = {"fast_sigmoid": 2.0, "relative_linear": 0.3}
    assert integral == pytest.approx(says.get(name, 1.0), abs=2e-3)
    assert bool((surrogate.derivative(x) >= 0).all())


@pytest.mark.parametrize("fires", [">=", ">"])
def test_a_spike_is_the_test_forward_and_the_surrogate_backward(fires: str):
    v = torch.tensor([0.0, 1.0, 1.25], requires_grad=True)
    z = spike(v, torch.tensor(1.0), fires, ss.train.Triangular(1.0))
    assert z.tolist() == [0.0, 1.0 if fires == ">=" else 0.0, 1.0]
    z.sum().backward()
    assert v.grad is not None
    assert v.grad.tolist() == [0.25, 0.5, 0.4375]


@pytest.mark.parametrize("detached", [False, True])
def test_gradients_through_time_are_the_recursion_of_stbp(detached: bool):
    """u = tau·u·(1 - o) + x, o = H(u - θ): the recursion written out, against autograd."""
    tau, theta, steps = 0.5, 0.75, 12
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(0.5, 0.7, (steps, 3, 5)), requires_grad=True)
    upstream = torch.tensor(rng.normal(0, 1, (steps, 3, 5)))
    lif = ss.train.LIF(
        theta, alpha_mem=tau, reset="to_value", fires=">", detach_reset=detached,
        surrogate="sigmoid", step_mode="m",
    ).double()  # fmt: skip
    (lif(x) * upstream).sum().backward()
    u = torch.zeros(3, 5, dtype=torch.float64)
    o = torch.zeros(3, 5, dtype=torch.float64)
    us, os = [], []
    for now in x.detach():
        u = tau * u * (1 - o) + now
        o = (u > theta).double()
        us.append(u)
        os.append(o)
    after = torch.zeros(3, 5, dtype=torch.float64)
    expected = []
    for u, o, g in zip(us[::-1], os[::-1], upstream.flip(0), strict=True):
        slope = ss.train.Sigmoid().derivative(u - theta)
        through_reset = 0.0 if detached else tau * u * after
        after = slope * (g - through_reset) + tau * (1 - o) * after
        expected.append(after)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.stack(expected[::-1]), rtol=1e-12, atol=1e-12)


def test_single_and_multi_step_agree():
    x = torch.rand(7, 2, 4)
    single = ss.train.LIF(0.4, alpha_mem=0.8, v0=0.1)
    many = ss.train.LIF(0.4, alpha_mem=0.8, v0=0.1, step_mode="m")
    assert torch.equal(ss.train.unroll(single, x), many(x))
    assert single.v is not None
    assert many.v is not None
    assert torch.equal(single.v, many.v)


def test_a_network_learns():
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 32), ss.train.LIF(alpha_mem=0.5), nn.Linear(32, 2))
    x = torch.rand(128, 8, generator=generator)
    y = (x[:, :4].sum(1) > x[:, 4:].sum(1)).long()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        loss = nn.functional.cross_entropy(ss.train.unroll(model, x, n_steps=4).mean(0), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    accuracy = (ss.train.unroll(model, x, n_steps=4).mean(0).argmax(1) == y).float().mean()
    assert float(accuracy) > 0.9


def test_the_state_stays_until_it_is_reset():
    neuron = ss.train.IF()
    half = torch.full((1, 1), 0.5)
    assert [float(neuron(half)) for _ in range(4)] == [0.0, 1.0, 0.0, 1.0]
    neuron(half)
    ss.train.reset_states(nn.Sequential(neuron))
    assert neuron.v is None
    assert "v" not in neuron.state_dict()


def test_parameters_per_channel_and_per_neuron():
    x = torch.ones(1, 2, 1, 3)
    assert ss.train.IF([0.5, 2.0])(x).tolist() == [[[[1.0] * 3], [[0.0] * 3]]]
    each = torch.tensor([[[0.5, 2.0, 0.5]], [[2.0, 2.0, 0.5]]])
    assert ss.train.IF(each)(x).tolist() == [[[[1.0, 0.0, 1.0]], [[0.0, 0.0, 1.0]]]]
    with pytest.raises(ss.errors.ShapeError, match=r"IF: v_threshold has shape \(4,\), expected"):
        ss.train.IF([1.0] * 4)(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ss.train.IF(reset="zero"), "IF: reset is 'zero', expected one of 'subtract'"),
        (lambda: ss.train.IF(fires="<"), "IF: fires is '<', expected one of '>=', '>'"),
        (lambda: ss.train.IF(step_mode="x"), "IF: step_mode is 'x', expected one of 's', 'm'"),
        (lambda: ss.train.IF(surrogate="no"), "surrogate: 'no' is not known, expected one of rec"),
        (lambda: ss.train.IF(float("nan")), "IF: v_threshold is not finite, expected finite"),
    ],
)
def test_bad_options(make: Any, message: str):
    with pytest.raises(ss.errors.SpikesimError, match=message):
        make()


def test_bad_inputs():
    neuron = ss.train.IF()
    neuron(torch.zeros(2, 3))
    with pytest.raises(ss.errors.ShapeError, match=r"input has shape \(1, 3\), expected \(2, 3\)"):
        neuron(torch.zeros(1, 3))
    with pytest.raises(ss.errors.ShapeError, match="expected"):
        ss.train.IF(step_mode="m")(torch.zeros(2, 3))
    with pytest.raises(ss.errors.InputError, match="n_steps is 0, expected at least 1"):
        ss.train.unroll(neuron, torch.zeros(2, 3), n_steps=0)
    with pytest.raises(ss.errors.InputError, match="expected"):
        ss.train.unroll(neuron, torch.zeros(0, 2, 3))
