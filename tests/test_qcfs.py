"""QCFS: the staircase, its straight-through gradients, and its place in a module."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from spikesim.train import QCFS, swap_activations  # noqa: E402


def both(act: QCFS, z: list[float]) -> tuple[list[float], list[float], list[float]]:
    """The activations of points, and each point's own gradients for z and for λ."""
    out, for_z, for_lam = [], [], []
    for point in z:
        x = torch.tensor(point, requires_grad=True)
        act.zero_grad()
        a = act(x)
        a.backward()
        assert x.grad is not None
        assert act.lam.grad is not None
        out.append(a.item())
        for_z.append(x.grad.item())
        for_lam.append(act.lam.grad.item())
    return out, for_z, for_lam


# --- Forward --------------------------------------------------------------------------------------


def test_forward_by_hand():
    # λ = 2, L = 4: heights 0, ½, 1, 1½, 2; with φ = ½ they change at ¼, ¾, 1¼, 1¾.
    z = torch.tensor([-9.0, -0.25, 0.0, 0.24, 0.25, 0.74, 0.75, 1.0, 1.25, 1.74, 1.75, 2.0, 99.0])
    a = [0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0, 2.0]
    for window in ("clip_first", "paper"):
        assert QCFS(4, lam=2.0, window=window)(z).tolist() == a


@pytest.mark.parametrize(
    ("phi", "heights"),
    [
        # At z = -0.5, 0, 0.5, 0.999, 1, 2, 3 with λ = 2, L = 2: steps of 1.
        (0.0, [0, 0, 0, 0, 1, 2, 2]),
        (0.5, [0, 0, 1, 1, 1, 2, 2]),
        # φ = 1 rounds up, and what is below -1 still gives nothing.
        (1.0, [0, 1, 1, 1, 2, 2, 2]),
    ],
)
def test_shifts_by_hand(phi: float, heights: list[float]):
    z = torch.tensor([-0.5, 0.0, 0.5, 0.999, 1.0, 2.0, 3.0])
    assert QCFS(2, phi, 2.0)(z).tolist() == heights
    assert QCFS(2, phi, 2.0)(torch.tensor(-5.0)).item() == 0


def test_one_step_and_infinities():
    z = torch.tensor([-np.inf, 0.49, 0.5, np.inf])
    assert QCFS(1, lam=1.0)(z).tolist() == [0, 0, 1, 1]
    assert QCFS()(torch.tensor(np.nan)).isnan()


def test_shape_and_dtype_are_those_of_the_input():
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        z = torch.rand(2, 3, 4, 4, dtype=dtype, requires_grad=True)
        act = QCFS(4, lam=0.5)
        a = act(z)
        a.sum().backward()
        assert (a.shape, a.dtype) == (z.shape, dtype)
        assert z.grad is not None
        assert z.grad.dtype == dtype
        assert act.lam.grad is not None
        assert act.lam.grad.dtype == torch.float32


# --- Gradients ------------------------------------------------------------------------------------


def test_gradients_by_hand():
    # λ = 2, L = 4, φ = ½. Inside: (a - z)/λ. The ends of the window are outside.
    z = [-0.1, 0.0, 0.125, 0.5, 0.875, 1.5, 1.875, 2.0, 2.5]
    out, for_z, for_lam = both(QCFS(4, lam=2.0), z)
    assert out == [0.0, 0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    assert for_z == [0, 0, 1, 1, 1, 1, 1, 0, 0]
    assert for_lam == [0, 0, -0.0625, 0, 0.0625, 0, 0.0625, 1, 1]
    # The paper's window is ¼ lower.
    z = [-0.3, -0.25, -0.125, 0.0, 0.125, 1.625, 1.75, 1.875, 2.5]
    out, for_z, for_lam = both(QCFS(4, lam=2.0, window="paper"), z)
    assert out == [0.0, 0.0, 0.0, 0.0, 0.0, 1.5, 2.0, 2.0, 2.0]
    assert for_z == [0, 0, 1, 1, 1, 1, 0, 0, 0]
    assert for_lam == [0, 0, 0.0625, 0, -0.0625, -0.0625, 1, 1, 1]


def test_the_papers_window_follows_the_shift():
    # φ = 0: it is [0, λ); φ = 1: a whole step lower.
    _, for_z, _ = both(QCFS(2, 0.0, 2.0, "paper"), [-0.01, 0.01, 1.99, 2.01])
    assert for_z == [0, 1, 1, 0]
    _, for_z, _ = both(QCFS(2, 1.0, 2.0, "paper"), [-1.01, -0.99, 0.99, 1.01])
    assert for_z == [0, 1, 1, 0]


@pytest.mark.parametrize("window", ["clip_first", "paper"])
def test_gradients_are_the_finite_differences_of_a_twin(window: str):
    """With the floor frozen at its offset from the identity, the staircase is
    λ·(clip(z/λ + s) - s + d) with d = q - z/λ held: its differences are the gradients."""
    torch.manual_seed(0)
    L, lam, phi = 4, 1.7, 0.5
    z = torch.linspace(-1, 3, 401, dtype=torch.float64) + 1e-4
    upstream = torch.randn(401, dtype=torch.float64)
    act = QCFS(L, phi, lam, window).double()
    x = z.clone().requires_grad_()
    out = act(x)
    out.backward(upstream)
    shift = phi / L if window == "paper" else 0.0
    q = (out / act.lam).detach()
    held = q - ((z / act.lam.item() + shift).clamp(0, 1) - shift)

    def twin(z: Any, lam: float) -> Any:
        return lam * ((z / lam + shift).clamp(0, 1) - shift + held)

    assert torch.allclose(twin(z, act.lam.item()), out, atol=1e-12)
    eps = 1e-6
    start = act.lam.item()
    for_z = (twin(z + eps, start) - twin(z - eps, start)) / (2 * eps)
    for_lam = (twin(z, start + eps) - twin(z, start - eps)) / (2 * eps)
    assert x.grad is not None
    assert act.lam.grad is not None
    assert torch.allclose(x.grad, upstream * for_z, atol=1e-8)
    assert act.lam.grad.item() == pytest.approx((upstream * for_lam).sum().item(), abs=1e-6)
    assert 0 < (x.grad == 0).sum() < 401


@pytest.mark.parametrize("L", [1, 2, 4, 8])
def test_the_gradient_of_lam_is_small_inside_and_averages_to_nothing(L: int):
    n = 200 * L
    z = ((torch.arange(n, dtype=torch.float64) + 0.5) / n * 3.0).tolist()
    act = QCFS(L, lam=3.0).double()
    slopes = []
    for point in z:
        act.zero_grad()
        act(torch.tensor(point, dtype=torch.float64)).backward()
        assert act.lam.grad is not None
        slopes.append(act.lam.grad.item())
    assert max(map(abs, slopes)) <= 1 / (2 * L) + 1e-12
    assert max(map(abs, slopes)) > 0.9 / (2 * L)
    assert abs(sum(slopes) / n) < 1e-12
    # Without the shift it does not: the staircase lies below the identity, by half a step.
    act = QCFS(L, 0.0, 3.0).double()
    act(torch.tensor(z, dtype=torch.float64)).sum().backward()
    assert act.lam.grad is not None
    assert act.lam.grad.item() / n == pytest.approx(-1 / (2 * L), abs=1e-9)


def test_far_above_lam_alone_moves_the_output():
    _, for_z, for_lam = both(QCFS(4, lam=2.0), [1e6, float("inf")])
    assert (for_z, for_lam) == ([0, 0], [1, 1])


def test_gradients_of_gradients_are_refused():
    z = torch.rand(3, requires_grad=True)
    (grad,) = torch.autograd.grad(QCFS(lam=1.0)(z).pow(2).sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


# --- λ --------------------------------------------------------------------------------------------


def test_scale_is_lam_and_never_below_its_guard():
    act = QCFS(lam=3.0)
    assert act.scale().item() == 3.0
    for fallen in (5e-4, 0.0, -2.0):
        with torch.no_grad():
            act.lam.fill_(fallen)
        assert act.scale().item() == pytest.approx(1e-3)
        # An output that should be larger brings λ back; one that should be smaller does nothing.
        for sign, expected in ((-1.0, -1.0), (1.0, 0.0)):
            act.zero_grad()
            (sign * act(torch.tensor(5.0))).backward()
            assert act.lam.grad is not None
            assert act.lam.grad.item() == expected


def test_a_lam_that_fell_below_comes_back():
    act = QCFS(lam=1.0)
    with torch.no_grad():
        act.lam.fill_(-0.05)
    optimizer = torch.optim.SGD(act.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (act(torch.tensor(5.0)) - 2.0).pow(2).backward()
        optimizer.step()
    assert act.scale().item() == pytest.approx(2.0, abs=1e-3)


def test_lam_is_a_parameter_that_copies_and_checkpoints_keep():
    act = QCFS(L=8, phi=0.25, lam=3.0, window="paper")
    assert [name for name, _ in act.named_parameters()] == ["lam"]
    assert act.lam.shape == ()
    twin = copy.deepcopy(act)
    assert (twin.L, twin.phi, twin.window, twin.lam.item()) == (8, 0.25, "paper", 3.0)
    other = QCFS(L=8)
    other.load_state_dict(act.state_dict())
    assert other.lam.item() == 3.0
    assert str(act) == "QCFS(L=8, phi=0.25, lam=3, window='paper')"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"L": 0}, "QCFS: L is 0, expected at least 1"),
        ({"L": 2.5}, "QCFS: L is 2.5, expected a whole number"),
        ({"L": True}, "QCFS: L is True, expected a whole number"),
        ({"phi": -0.1}, "QCFS: phi is -0.1, expected a number from 0 to 1"),
        ({"phi": 1.1}, "QCFS: phi is 1.1, expected a number from 0 to 1"),
        ({"phi": float("nan")}, "QCFS: phi is nan, expected a number"),
        ({"lam": 0}, "QCFS: lam is 0, expected a finite number above 0"),
        ({"lam": -1.0}, "QCFS: lam is -1.0, expected a finite number above 0"),
        ({"lam": float("inf")}, "QCFS: lam is inf, expected a finite number above 0"),
        ({"lam": float("nan")}, "QCFS: lam is nan, expected a number"),
        ({"lam": "8"}, "QCFS: lam is '8', expected a number"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], message: str):
    with pytest.raises(ss.errors.InputError, match=f"^{message}$"):
        QCFS(**options)


def test_an_unknown_window():
    with pytest.raises(ss.errors.UnsupportedError, match="window is 'floor', expected 'clip_f"):
        QCFS(window="floor")


# --- In a module ----------------------------------------------------------------------------------


class Twice(nn.Module):
    """One activation that is called twice, one under two names, and one in a shared block."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.act = nn.ReLU()
        self.a = nn.ReLU()
        self.b = self.a
        self.block = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        self.again = self.block

    def forward(self, x: Any) -> Any:
        x = self.act(self.fc(self.act(x)))
        return self.again(self.block(self.b(self.a(x))))


def test_every_relu_is_swapped_in_a_copy():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Sequential(nn.Linear(5, 2), nn.ReLU()))
    swapped, names = swap_activations(net, lambda: QCFS(L=1024, lam=4.0))
    assert names == ["1", "2.1"]
    assert isinstance(net[1], nn.ReLU)
    assert isinstance(swapped[1], QCFS)
    assert swapped[1].lam is not swapped[2][1].lam
    # Fine stairs under a high ceiling are a ReLU.
    x = torch.rand(7, 3)
    assert torch.allclose(swapped(x), net(x), atol=0.02)
    swapped(x).sum().backward()
    assert net[0].weight.grad is None


def test_the_default_is_qcfs_of_four_steps():
    swapped, names = swap_activations(nn.ReLU())
    assert isinstance(swapped, QCFS)
    assert (swapped.L, swapped.lam.item(), names) == (4, 8.0, [""])


def test_shared_activations():
    swapped, names = swap_activations(Twice())
    assert names == ["act", "a", "b", "block.1"]
    assert swapped.a is not swapped.b
    assert swapped.again is swapped.block
    assert sum(isinstance(m, QCFS) for m in swapped.modules()) == 4
    assert swapped(torch.rand(2, 3)).shape == (2, 3)


def test_only_the_named_classes_and_none_derived():
    class Mine(nn.ReLU):
        pass

    net = nn.Sequential(Mine(), nn.ReLU6(), nn.LeakyReLU())
    assert swap_activations(net, of=nn.ReLU6)[1] == ["1"]
    assert swap_activations(net, of=(Mine, nn.LeakyReLU))[1] == ["0", "2"]
    with pytest.raises(ss.errors.InputError, match="Sequential has no ReLU module, expected at l"):
        swap_activations(net)


def test_mode_and_dtype_are_those_of_the_module():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).double().eval()
    swapped, _ = swap_activations(net)
    assert swapped[1].lam.dtype == torch.float64
    assert not swapped[1].training


def test_max_pools_become_averages_of_what_they_saw():
    net = nn.Sequential(
        nn.ReLU(), nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), nn.AdaptiveMaxPool2d(1)
    )
    swapped, names = swap_activations(net, max_pools="avg")
    assert names == ["0", "1", "2"]
    x = torch.rand(2, 3, 8, 8)
    assert swapped[1](x).shape == net[1](x).shape
    # An even image stays even, at the padded edge too.
    assert torch.equal(swapped[1](torch.ones(1, 1, 8, 8)), torch.ones(1, 1, 5, 5))
    assert torch.allclose(swapped[2](x), x.mean((2, 3), keepdim=True))
    assert isinstance(swap_activations(net)[0][1], nn.MaxPool2d)


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (nn.MaxPool2d(2, dilation=2), "0: dilation is 2, expected 1"),
        (nn.MaxPool1d(2, return_indices=True), "0: return_indices is True, expected False"),
    ],
)
def test_max_pools_that_no_average_stands_for(pool: nn.Module, message: str):
    with pytest.raises(ss.errors.UnsupportedError, match=message):
        swap_activations(nn.Sequential(pool, nn.ReLU()), max_pools="avg")


def test_bad_swaps():
    net = nn.Sequential(nn.ReLU(), nn.ReLU())
    one = QCFS()
    with pytest.raises(ss.errors.InputError, match="make gave the same module again for 1, exp"):
        swap_activations(net, lambda: one)
    with pytest.raises(ss.errors.InputError, match="make gave a Tensor for 0, expected a new mod"):
        swap_activations(net, lambda: torch.zeros(1))  # type: ignore[arg-type]
    with pytest.raises(ss.errors.UnsupportedError, match="max_pools is 'sum', expected None or"):
        swap_activations(net, max_pools="sum")


def test_a_swapped_network_trains():
    torch.manual_seed(0)
    x = torch.rand(64, 4)
    y = (x.sum(1) > 2).long()
    net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    net, _ = swap_activations(net, lambda: QCFS(L=4, lam=2.0))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert net[1].lam.item() != 2.0
