"""The training loop: seeded, repeatable, its schedules by hand, its complaints; augmentations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import spikesim as ss  # noqa: E402
from spikesim.errors import InputError, ShapeError, UnsupportedError  # noqa: E402
from spikesim.train import Affine, Augmentations, CropFlip, Cutout, accuracy, fit  # noqa: E402


def blobs(n: int = 96) -> tuple[Any, Any]:
    """Three classes that a plane parts."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 3
    return torch.eye(3)[y] * 2 + 0.5 * torch.randn(n, 3, generator=generator), y


def net(seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))


def test_it_learns_and_tells_how():
    x, y = blobs()
    model = net()
    done: list[tuple[int, int]] = []
    result = fit(
        model, x, y, epochs=12, batch_size=20, lr=0.1, progress=lambda *a: done.append(a),
        validation=(x, y),
    )  # fmt: skip
    assert not model.training
    assert result.losses[-1] < 0.3 * result.losses[0]
    assert result.accuracy[-1] > 0.95
    assert (len(result.losses), len(result.accuracy), result.epochs) == (12, 12, 12)
    # Four whole batches of 20 from 96 samples.
    assert done == [(i + 1, 48) for i in range(48)]
    # The last epoch's weights are those that are there.
    assert result.validation[-1] == accuracy(model, x, y)
    assert accuracy(model, x, y) == float((model(x).argmax(1) == y).double().mean())


@pytest.mark.parametrize("seed", [0, 5])
def test_the_same_seed_is_the_same_training(seed: int):
    x, y = blobs()
    draws = iter(range(10))
    noise = lambda x, g: x + torch.rand(x.shape, generator=g)  # noqa: E731

    def weights(seed: int) -> Any:
        model = net(dropout=0.3)
        # Whatever the caller drew before, another each time.
        torch.manual_seed(next(draws))
        state = torch.random.get_rng_state()
        result = fit(model, x, y, epochs=3, batch_size=16, augment=noise, seed=seed)
        assert torch.equal(torch.random.get_rng_state(), state)
        assert result.seed == seed
        return torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    assert torch.equal(weights(seed), weights(seed))
    assert not torch.equal(weights(seed), weights(seed + 1))


def test_one_step_of_sgd_by_hand():
    # Softmax of zeros is ½, ½: the gradient of w is (p - onehot)·x, then Nesterov's 1 + 0.9.
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.zero_()
    fit(model, np.array([[2.0]]), np.array([1]), epochs=1, lr=0.1, schedule="constant")
    # p - onehot = (½, -½), times x = 2: (1, -1); weight decay of zeros is none.
    assert model.weight.flatten().tolist() == pytest.approx([-0.19, 0.19])


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        # At the end of epochs 1, 2, 3 and 4 of 4, one step each.
        ("constant", [0.4, 0.4, 0.4, 0.4]),
        ("cosine", [0.4 * (1 + np.cos(np.pi * e / 4)) / 2 for e in (1, 2, 3, 4)]),
        ("one_cycle", [0.4 * (1 + np.cos(np.pi * (e / 4 - 0.2) / 0.8)) / 2 for e in (1, 2, 3, 4)]),
    ],
)
def test_schedules(schedule: str, rates: list[float]):
    x, y = blobs()
    result = fit(net(), x, y, epochs=4, batch_size=96, lr=0.4, schedule=schedule)
    assert result.learning_rates == pytest.approx(rates)


def test_one_cycle_rises_from_a_twenty_fifth():
    from spikesim.train.fit import _one_cycle

    assert [_one_cycle(d) for d in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0.04, 0.52, 1, 0.5, 0])


def test_images_stay_bytes_until_they_are_prepared():
    digits = ss.data.load("digits", "train")
    assert digits.y is not None
    seen = []

    def prepare(x: Any) -> Any:
        seen.append(x.dtype)
        return x.float() / 16

    model = ss.models.mnist_net(image_size=8, width=0.25, activation="qcfs")
    result = fit(model, digits.x, digits.y, epochs=3, batch_size=64, lr=0.1, prepare=prepare)
    assert set(seen) == {torch.uint8}
    assert result.accuracy[-1] > 0.6
    # Laid out as they came, whatever was quicker in between.
    assert all(p.is_contiguous() for p in model.parameters())
    lams = [m.lam.item() for m in model.modules() if isinstance(m, ss.train.QCFS)]
    assert all(lam != 8.0 for lam in lams)


def test_adam_and_an_optimizer_of_ones_own():
    x, y = blobs()
    assert fit(net(), x, y, epochs=20, lr=0.01, optimizer="adam").accuracy[-1] > 0.9
    model = net()
    before = [p.detach().clone() for p in model.parameters()]
    fit(model, x, y, epochs=1, optimizer=lambda p: torch.optim.SGD(p, 0.0))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_weight_decay_pulls_lam_too():
    x, y = blobs()
    ends = []
    for decay in (0.0, 0.5):
        model = nn.Sequential(nn.Linear(3, 8), ss.train.QCFS(lam=8.0), nn.Linear(8, 3))
        fit(model, x, y, epochs=5, lr=0.01, weight_decay=decay)
        ends.append(model[1].lam.item())
    assert ends[1] < ends[0] - 0.05


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"epochs": 0}, InputError, "fit: epochs is 0, expected at least 1"),
        ({"batch_size": 0}, InputError, "fit: batch_size is 0, expected at least 1"),
        ({"lr": 0.0}, InputError, "fit: lr is 0.0, expected a finite number above 0"),
        ({"lr": float("nan")}, InputError, "fit: lr is nan, expected a finite number"),
        ({"weight_decay": -1.0}, InputError, "fit: weight_decay is -1.0, expected .* at least 0"),
        ({"optimizer": "lamb"}, UnsupportedError, "fit: optimizer is 'lamb', expected 'sgd', "),
        ({"schedule": "step"}, UnsupportedError, "fit: schedule is 'step', expected 'cosine' or"),
        ({"y": torch.rand(96)}, InputError, "fit: y has shape .* expected .N,. whole numbers"),
        ({"y": torch.zeros(95, dtype=torch.long)}, ShapeError, r"fit: x has shape \(96, 3\), exp"),
        ({"y": torch.full((96,), -1)}, InputError, "fit: y has label -1, expected labels from 0"),
        ({"y": torch.full((96,), 3)}, ShapeError, "fit: y has label 3, expected less than 3"),
        ({"module": nn.ReLU()}, InputError, "fit: ReLU has no parameters to train"),
        ({"module": nn.Conv1d(96, 3, 1)}, ShapeError, "fit: output has shape"),
        ({"x": torch.full((96, 3), torch.inf)}, InputError, "fit: loss is nan in epoch 1, expec"),
        ({"validation": (torch.rand(2, 3), torch.ones(3, dtype=torch.long))}, ShapeError, "fit: v"),
    ],
)
def test_what_can_not_be_trained(changes: dict[str, Any], error: type[Exception], message: str):
    x, y = blobs()
    options: dict[str, Any] = {"module": net(), "x": x, "y": y, "epochs": 1, **changes}
    with pytest.raises(error, match=message) as caught:
        fit(options.pop("module"), options.pop("x"), options.pop("y"), **options)
    assert "\n" not in str(caught.value)


# --- Augmentations --------------------------------------------------------------------------------


def generator(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def test_affine_of_nothing_is_nothing():
    x = torch.rand(4, 2, 9, 9)
    assert torch.allclose(Affine(0, 0, 0)(x, generator()), x, atol=1e-5)
    assert Affine()((x * 255).byte(), generator()).dtype == torch.float32


def test_affine_moves_within_its_bounds():
    x = torch.zeros(200, 1, 21, 21)
    x[:, :, 10, 10] = 1
    moved = Affine(0, 0, 0.1)(x, generator())
    rows = (moved.sum((1, 3)) * torch.arange(21)).sum(1) / moved.sum((1, 2, 3))
    assert (rows - 10).abs().max() <= 2.1 + 1e-4
    assert (rows - 10).abs().max() > 1.8
    assert rows.std() > 0.8
    # A turn keeps the centre, and takes a point on the edge of it along a circle.
    turned = Affine(90, 0, 0)(x, generator())
    assert torch.allclose(turned[:, 0, 10, 10], torch.ones(200), atol=1e-4)


def test_elastic_moves_parts_against_each_other_within_its_bound():
    # Coordinates as the image's values: what comes out says where each pixel was taken from.
    side, most = 21, 0.1
    column = torch.arange(side, dtype=torch.float32).expand(side, side)
    x = torch.stack([column, column.T]).expand(100, 2, side, side)
    at = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    moved = (Affine(0, 0, 0, elastic=most)(x, generator()) - x)[at]
    # Cubic curves overshoot their knots, by less than half.
    assert most * side < moved.abs().max() < 1.5 * most * side
    assert moved.std((2, 3)).min() > 0.1  # no mere shift
    steps = moved.diff(dim=3).abs().max()
    assert steps < moved.abs().max() / 2  # smooth
    assert torch.equal(Affine(5)(x, generator()), Affine(5, elastic=0.0)(x, generator()))


def test_crops_are_windows_of_the_padded_image():
    x = torch.arange(1, 26, dtype=torch.uint8).reshape(1, 1, 5, 5).repeat(300, 2, 1, 1)
    out = CropFlip(1)(x, generator())
    assert (out.dtype, out.shape) == (torch.uint8, x.shape)
    padded = nn.functional.pad(x[0, 0], (1, 1, 1, 1))
    windows = [padded[i : i + 5, j : j + 5] for i in range(3) for j in range(3)]
    windows += [window.flip(1) for window in windows]
    which = [[torch.equal(image[0], w) for w in windows].index(True) for image in out]
    assert set(which) == set(range(18))
    assert torch.equal(out[:, 0], out[:, 1])
    unflipped = CropFlip(0, flip=False)(x, generator())
    assert torch.equal(unflipped, x)


def test_cutout_blots_out_one_square():
    x = torch.full((400, 3, 8, 8), 7, dtype=torch.uint8)
    out = Cutout(4, fill=(1, 2, 3))(x, generator())
    holes = out[:, 0] == 1
    # From a quarter of a square at a corner to a whole one.
    assert sorted(set(holes.sum((1, 2)).tolist())) == [4, 6, 8, 9, 12, 16]
    assert torch.equal(out[:, 2] == 3, holes)
    assert ((out[:, 1] == 7) | (out[:, 1] == 2)).all()
    # Every pixel can be hit.
    assert holes.any(0).all()


def test_several_in_order():
    double = lambda x, g: x * 2  # noqa: E731
    plus = lambda x, g: x + 1  # noqa: E731
    assert Augmentations([double, plus])(torch.ones(1), generator()).item() == 3
