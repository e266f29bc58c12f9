"""Hybrid conversion's second half: a converted network, fine-tuned as a spiking one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from spikesim._inputs import prepare, whole_number
from spikesim.errors import InputError, ShapeError, UnsupportedError
from spikesim.network import Network
from spikesim.simulator import Progress, progress_bar
from spikesim.train.network import TorchNetwork, to_torch
from spikesim.train.surrogate import STDB, Surrogate, named
from spikesim.train.thresholds import firing, latency, with_order, with_thresholds
from spikesim.train.weights import with_weights

READOUTS = ("sum", "mean", "last_v")
#: What of its first value a learned threshold may fall to; at 0 a neuron has no meaning.
LEAST_THRESHOLD = 0.01


@dataclass(frozen=True)
class Epoch:
    """What was seen of the training data while it was trained on: mean loss, share predicted."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class HybridResult:
    """A fine-tuned network and how it came about, epoch by epoch."""

    net: Network
    history: tuple[Epoch, ...]


def hybrid(
    net: Network,
    x: Any,
    y: Any,
    *,
    n_steps: int = 8,
    epochs: int = 3,
    lr: float = 1e-4,
    batch_size: int = 64,
    weight_decay: float = 5e-4,
    dropout: float = 0.0,
    alpha: float = 0.3,
    beta: float = 0.01,
    surrogate: str | Surrogate | None = None,
    order: Literal["A", "B"] = "A",
    threshold_scale: float = 0.7,
    learn_thresholds: bool = False,
    milestones: tuple[float, ...] = (0.6, 0.8, 0.9),
    input: Literal["constant", "poisson"] = "constant",
    seed: int = 0,
    progress: Progress = False,
) -> HybridResult:
    """Fine-tunes a converted network to answer after few steps (Rathi et al., ICLR 2020).

    Conversion gives the start: weights, and thresholds θ in the units of the ANN's activations.
    Lower thresholds make neurons fire earlier; then a few epochs of backpropagation through the
    `n_steps` steps, with the surrogate STDB and Adam (amsgrad), on the cross-entropy of the
    output: the potential that the last layer has accumulated, over T with the readout "mean".

    The authors scale thresholds alone: in their networks, which have no biases, that makes all
    currents larger by one factor a layer, and nothing more. Here the heights of the spikes, folded
    into the weights that hear them, are scaled along, so that biases keep their weight: the
    network approximates the same ANN, clipped at lower activations and in finer steps.

    A BatchNorm keeps its statistics. Weight decay is on weights alone. What is learned by
    `learn_thresholds` is θ and not the membrane before the first step; it stays above a hundredth
    of what it was.

    Args:
        net: a converted network: populations that spike, a last layer without (or with
            `spikes="none"` and the readout "last_v"), one output a class. It is left as it is.
        x: images, (N, *input_shape), as the network takes them.
        y: labels, (N,), whole numbers from 0.
        n_steps: T.
        epochs: how often each image is seen.
        lr: Adam's rate.
        batch_size: images a step of Adam.
        weight_decay: of weights, as Adam has it (a part of the gradient).
        dropout: the share of neurons whose spikes are dropped, in [0, 1): the same neurons of a
            sample at all steps; the others' count 1/(1 - dropout).
        alpha: STDB's.
        beta: STDB's.
        surrogate: another one, as "relative_linear" (the authors' other choice); None: STDB.
        order: of a step (S3.20) of all populations. "A": a spike goes through all layers in the
            step that it is fired in. "B", the authors': a layer answers one step late, so that
            `n_steps` has to be more than the number of layers.
        threshold_scale: factor of all thresholds before training, and of the membranes before the
            first step.
        learn_thresholds: whether thresholds are trained too.
        milestones: shares of all batches after which the rate falls to a tenth, in [0, 1].
        input: "constant": the image as a current at every step; "poisson": at each step ±1 of a
            pixel's sign with its size as the probability, for images within [-1, 1]. The network
            is then to be run on such rasters.
        seed: of the order of images, of dropout, of the spikes of "poisson".
        progress: show a bar on stderr, or call this function with (images done, in all).

    Returns:
        The new network, of the same structure, for the engine or a file; and the history.

    Raises:
        InputError: data, labels or an option that mean nothing; too few steps for an input to
            reach the output; a loss that is no longer finite.
        ShapeError: `x`, `y` or the output do not fit.
        UnsupportedError: a network that never spikes or whose output does not accumulate, a
            population whose rules have no order B.
        GraphError: the network is not valid.

    Example:
        >>> import numpy as np, spikesim as ss
        >>> rng = np.random.default_rng(0)
        >>> net = ss.Network((4,))
        >>> _ = net.add(ss.Linear(np.eye(4)), name="fc1"), net.add(ss.IF(1.0), name="if1")
        >>> _ = net.add(ss.Linear(rng.normal(0, 0.1, (2, 4))), name="fc2")
        >>> net.readout = "mean"
        >>> x = rng.uniform(0, 1, (512, 4)).astype(np.float32)
        >>> y = (x[:, 0] + x[:, 1] > x[:, 2] + x[:, 3]).astype(int)
        >>> tuned = ss.train.hybrid(net, x, y, n_steps=4, lr=0.01, milestones=())
        >>> predictions = tuned.net.compile().run(x, n_steps=4).predictions
        >>> bool(np.mean(predictions == y) > 0.9)
        True
    """
    steps = whole_number("hybrid", "n_steps", n_steps)
    epochs = whole_number("hybrid", "epochs", epochs)
    batch_size = whole_number("hybrid", "batch_size", batch_size)
    _between("lr", lr, 0, math.inf, above=True)
    _between("weight_decay", weight_decay, 0, math.inf)
    _between("dropout", dropout, 0, 1)
    _between("threshold_scale", threshold_scale, 0, math.inf, above=True)
    for share in milestones:
        _between("milestones", share, 0, 1, closed=True)
    for name, value, choices in (
        ("order", order, ("A", "B")),
        ("input", input, ("constant", "poisson")),
    ):
        if value not in choices:
            raise InputError(f"hybrid: {name} is {value!r}, expected one of {choices}")
    slope = STDB(alpha, beta) if surrogate is None else named(surrogate)
    images, labels = _data(net, x, y, input == "poisson")
    start = with_thresholds(with_order(net, order), threshold_scale)
    if steps <= latency(start):
        raise InputError(
            f"hybrid: n_steps is {steps}, expected more than {latency(start)}: the input reaches "
            "the output that many steps late"
        )
    learn = [f"{node.name}.v_threshold" for node in firing(start)] if learn_thresholds else []
    module = to_torch(start, surrogate=slope, detach_reset=True, learn=learn)
    total = epochs * math.ceil(len(images) / batch_size)
    descent = _Descent(module, lr, weight_decay, [round(share * total) for share in milestones])
    generator = torch.Generator().manual_seed(seed)
    history: list[Epoch] = []
    with progress_bar(progress, epochs * len(images)) as tell:
        for epoch in range(epochs):
            seen, loss, right = epoch * len(images), 0.0, 0
            for batch in torch.split(torch.randperm(len(images), generator=generator), batch_size):
                current, wanted = images[batch], labels[batch]
                if input == "poisson":
                    current = _bernoulli(current, steps, generator)
                masks = _masks(start, len(batch), dropout, generator) if dropout else None
                out = module.run(current, steps, masks=masks).output
                entropy = nn.functional.cross_entropy(out, wanted)
                descent.step(entropy)
                loss += entropy.item() * len(batch)
                right += int((out.argmax(1) == wanted).sum())
                seen += len(batch)
                if tell is not None:
                    tell(seen)
            history.append(Epoch(loss / len(images), right / len(images)))
    for path, learned in module.named_parameters():
        # Neurons that hear NaN are silent: no loss need show it.
        if not bool(torch.isfinite(learned).all()):
            raise InputError(
                f"hybrid: {path} is no longer finite, expected finite numbers; lower lr"
            )
    return HybridResult(with_weights(start, module.state_dict()), tuple(history))


class _Descent:
    """Adam on all parameters; weights decay, thresholds stay above zero."""

    def __init__(
        self, module: TorchNetwork, lr: float, weight_decay: float, milestones: list[int]
    ) -> None:
        named_ones = dict(module.named_parameters())
        weights = [p for name, p in named_ones.items() if name.endswith(".weight")]
        others = [p for name, p in named_ones.items() if not name.endswith(".weight")]
        groups: list[dict[str, Any]] = [
            {"params": weights, "weight_decay": weight_decay},
            {"params": others},
        ]
        self.adam = torch.optim.Adam([g for g in groups if g["params"]], lr=lr, amsgrad=True)
        self.rate = torch.optim.lr_scheduler.MultiStepLR(self.adam, milestones, gamma=0.1)
        self.floors = [
            (p, p.detach() * LEAST_THRESHOLD)
            for name, p in named_ones.items()
            if name.endswith(".v_threshold")
        ]

    def step(self, loss: Tensor) -> None:
        """One step down."""
        if not bool(torch.isfinite(loss)):
            raise InputError(
                f"hybrid: the loss has become {loss.item()}, expected a finite one; lower lr"
            )
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        self.rate.step()
        with torch.no_grad():
            for threshold, least in self.floors:
                threshold.copy_(torch.maximum(threshold, least))


def _data(net: Any, x: Any, y: Any, unit: bool) -> tuple[Tensor, Tensor]:
    """The images and labels as tensors, if the network can be trained on them at all."""
    if not isinstance(net, Network):
        raise InputError(f"hybrid: net is a {type(net).__name__}, expected a Network")
    net.runnable()
    if not firing(net):
        raise UnsupportedError(
            "hybrid: net has no population that spikes, expected a converted network"
        )
    last = net.node(net.output).op
    if net.readout not in READOUTS or getattr(last, "spikes", "none") != "none":
        raise UnsupportedError(
            f"hybrid: the output {net.output} has the readout {net.readout!r}, expected a last "
            f"layer that does not spike, with one of {READOUTS}"
        )
    if len(net.output_shape) != 1:
        raise ShapeError(
            f"hybrid: the output has shape {net.output_shape}, expected (K,), one a class"
        )
    try:
        array, *_ = prepare(x, net.input_shape, 1, "N")
    except (InputError, ShapeError) as error:
        raise type(error)(f"hybrid: {str(error).removeprefix('run: ')}") from error
    largest = np.abs(array).max()
    if unit and largest > 1:
        raise InputError(
            f'hybrid: x reaches {largest:g}, expected values within [-1, 1] with input "poisson"'
        )
    labels = np.asarray(y)
    if labels.dtype.kind not in "iu":
        raise InputError(f"hybrid: y has dtype {labels.dtype}, expected whole numbers")
    if labels.shape != array.shape[:1]:
        raise ShapeError(f"hybrid: y has shape {labels.shape}, expected ({len(array)},) as x has")
    classes = net.output_shape[0]
    if labels.min() < 0 or labels.max() >= classes:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise InputError(f"hybrid: y has {wrong}, expected labels from 0 to {classes - 1}")
    # Copies: torch would share what may be read-only.
    return torch.tensor(array), torch.tensor(labels.astype(np.int64))


def _between(
    name: str,
    value: Any,
    low: float,
    high: float,
    *,
    above: bool = False,
    closed: bool = False,
) -> None:
    """low <= value < high (`above`: low < value; `closed`: value <= high), or an InputError."""
    try:
        fits = (low < value if above else low <= value) and (
            value <= high if closed else value < high
        )
    except TypeError:
        fits = False
    if not fits:
        least = "more than" if above else "at least"
        most = "" if math.isinf(high) else f" and {'at most' if closed else 'less than'} {high:g}"
        raise InputError(f"hybrid: {name} is {value!r}, expected {least} {low:g}{most}")


def _masks(
    net: Network, samples: int, dropout: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Which neurons of each sample go on to be heard, and how much more that counts."""
    shapes = {node.name: (samples, *node.shape) for node in firing(net)}
    return {
        name: (torch.rand(shape, generator=generator) >= dropout).float() / (1 - dropout)
        for name, shape in shapes.items()
    }


def _bernoulli(x: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """Spikes of the sign of x, each step anew with the probability |x|: (T, *x.shape)."""
    chance = torch.rand((steps, *x.shape), generator=generator)
    return (chance < x.abs()).to(x.dtype) * x.sign()
