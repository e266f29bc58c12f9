"""Makes the embedded model and the embedded images: ``python -m spikesim.data.make_digits``.

Needs torch and scikit-learn (``uv run --group dev``); takes a minute or two on two cores. Reads
scikit-learn's ``load_digits`` (UCI "Optical Recognition of Handwritten Digits", E. Alpaydin and
C. Kaynak, CC BY 4.0), sets 360 images aside, trains a convolutional network of integrate-and-fire
neurons on the others alone, and saves all three. Weights and biases are rounded to the grid of
k/256 during training, so that every sum in the network is exact in float32, in any order.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn.utils import parametrize

import spikesim as ss
from spikesim.data import save_npz
from spikesim.data.digits import images_path, model_path, training_images_path
from spikesim.train import IF, ATan, unroll

HELD_OUT = 360
N_STEPS = 4
SEED = 0
EPOCHS = 120
BATCH = 64
PEAK_RATE = 6e-3
#: Weight of the mean number of spikes a sample, in thousands: what keeps the network quiet.
SPIKE_COST = 0.1
GRID = 256.0
#: Ink of a pixel is 0..16; the network sees 0..1.
SCALE = 1 / 16


class Grid(nn.Module):
    """Rounds to k/256; the gradient passes as if it had not."""

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weight, same shape."""
        return weight + (torch.round(weight * GRID) / GRID - weight).detach()


def build() -> nn.Sequential:
    """Two convolutions and a hidden layer, about 20,000 parameters; the output is a current."""

    def neurons() -> IF:
        return IF(v_threshold=1.0, surrogate=ATan(2.0), detach_reset=True)

    net = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 16, 3, padding=1),
            if1=neurons(),
            pool1=nn.AvgPool2d(2),
            conv2=nn.Conv2d(16, 48, 3, padding=1),
            if2=neurons(),
            pool2=nn.AvgPool2d(2),
            flat=nn.Flatten(),
            fc1=nn.Linear(48 * 2 * 2, 64),
            if3=neurons(),
            fc2=nn.Linear(64, 10),
        )
    )
    with torch.no_grad():
        # torch's initial weights expect dense inputs; few spikes need more to reach a threshold.
        for name, factor in (("conv1", 2.0), ("conv2", 3.0), ("fc1", 3.0)):
            net.get_submodule(name).weight.mul_(factor)  # type: ignore[operator]
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            parametrize.register_parametrization(layer, "weight", Grid())
            parametrize.register_parametrization(layer, "bias", Grid())
    return net


def augment(x: Tensor, random: torch.Generator) -> Tensor:
    """Small turns, stretches and shifts of (N, 1, 8, 8) images."""
    n = len(x)
    angle = (torch.rand(n, generator=random) - 0.5) * 0.4
    stretch = 1 + (torch.rand(n, 2, generator=random) - 0.5) * 0.25
    shift = (torch.rand(n, 2, generator=random) - 0.5) * 0.25
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([cos * stretch[:, 0], -sin, shift[:, 0]], 1),
        torch.stack([sin, cos * stretch[:, 1], shift[:, 1]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def train(net: nn.Sequential, x: Tensor, y: Tensor) -> None:
    """Adam with one cycle of the learning rate, on augmented images."""
    random = torch.Generator().manual_seed(SEED)
    batches = len(x) // BATCH
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, total_steps=EPOCHS * batches, pct_start=0.15
    )
    spikes: list[Tensor] = []
    for layer in net:
        if isinstance(layer, IF):
            layer.register_forward_hook(lambda _layer, _x, out: spikes.append(out.sum()))
    for epoch in range(EPOCHS):
        order = torch.randperm(len(x), generator=random)
        for b in range(batches):
            chosen = order[b * BATCH : (b + 1) * BATCH]
            spikes.clear()
            out = unroll(net, augment(x[chosen], random), n_steps=N_STEPS).mean(0)
            # The mean current is small, and a softmax wants differences of some size.
            loss = F.cross_entropy(2 * out, y[chosen], label_smoothing=0.05)
            cost = torch.stack(spikes).sum() / len(chosen) / 1000
            optimizer.zero_grad()
            (loss + SPIKE_COST * cost).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        if epoch % 20 == 19:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}, {1000 * cost.item():.0f} spikes")


def accuracy(net: nn.Sequential, x: Tensor, y: Tensor) -> float:
    """Fraction of images whose summed output is largest at the label."""
    with torch.no_grad():
        out = unroll(net, x, n_steps=N_STEPS).sum(0)
    return (out.argmax(1) == y).double().mean().item()


def settle(net: nn.Sequential) -> None:
    """Replaces each trained tensor by its rounded value, for good, and checks that it is."""
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            for name in ("weight", "bias"):
                parametrize.remove_parametrizations(layer, name)
                scaled = getattr(layer, name).detach() * GRID
                assert torch.equal(scaled, scaled.round()), f"{layer}.{name} is off the grid"


def main(model: Path | None = None, images: Path | None = None, others: Path | None = None) -> None:
    """Trains, prints the accuracy, and writes the model, the held-out images and the others."""
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    start = time.perf_counter()
    digits = load_digits()
    pixels = digits.images.astype(np.uint8)[:, None]
    x_train, x_test, y_train, y_test = train_test_split(
        pixels, digits.target, test_size=HELD_OUT, random_state=0, stratify=digits.target
    )
    x, y = torch.from_numpy(x_train.astype(np.float32) * SCALE), torch.from_numpy(y_train)
    net = build()
    train(net, x, y)
    settle(net)
    held_out = torch.from_numpy(x_test.astype(np.float32) * SCALE), torch.from_numpy(y_test)
    score = accuracy(net, *held_out)
    print(f"training images {accuracy(net, x, y):.4f}, held-out images {score:.4f}")

    network = ss.from_torch(net.eval(), input_shape=(1, 8, 8))
    network.meta.update(
        {
            "name": "digits",
            "preprocessing": {"scale": SCALE},
            "n_steps": N_STEPS,
            "labels": [str(digit) for digit in range(10)],
            "accuracy": score,
            "source": "spikesim.data.make_digits",
            "data": "UCI Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, "
            "1998, https://doi.org/10.24432/C50P49, CC BY 4.0, as scikit-learn ships it",
            "license": "MIT OR Apache-2.0",
        }
    )
    network.save(model or model_path())
    save_npz(images or images_path(), {"x": x_test, "y": y_test, "layout": "N"})
    save_npz(others or training_images_path(), {"x": x_train, "y": y_train, "layout": "N"})
    print(f"done in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
