"""A training loop for classifiers: seeded, and the same twice."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesim._inputs import whole_number
from spikesim.errors import InputError, ShapeError, UnsupportedError
from spikesim.train.augment import Augment

Array = Tensor | NDArray[Any]
Loss = Callable[[Tensor, Tensor], Tensor]

OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("cosine", "one_cycle", "constant")

#: Samples that accuracy is measured on at a time.
_EVALUATED = 500


@dataclass
class FitResult:
    """What a training did, epoch by epoch.

    Attributes:
        losses: mean training loss of each epoch.
        accuracy: fraction of the (augmented) training images that were told rightly, each epoch.
        validation: the same of the validation images after each epoch; empty without them.
        learning_rates: the rate at the end of each epoch.
        epochs: how many.
        seconds: wall time.
        seed: of order, augmentation and dropout.
    """

    losses: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    epochs: int = 0
    seconds: float = 0.0
    seed: int = 0


def fit(
    module: nn.Module,
    x: Array,
    y: Array,
    *,
    epochs: int,
    batch_size: int = 128,
    lr: float = 0.1,
    optimizer: str | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = "sgd",
    weight_decay: float = 5e-4,
    schedule: str = "cosine",
    augment: Augment | None = None,
    prepare: Callable[[Tensor], Tensor] | None = None,
    loss: Loss | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    validation: tuple[Array, Array] | None = None,
) -> FitResult:
    """Trains a classifier in place; the same seed, machine and threads give the same weights.

    Order of the samples and augmentation are drawn from one generator; dropout and whatever else
    asks torch's global one finds it seeded, and it is left as it was. In each epoch the samples
    beyond the last whole batch wait (a batch of one would be none to BatchNorm).

    Args:
        module: (N, …) → (N, classes); trained in train mode, left in eval mode.
        x: samples, (N, …); kept as they are, so images may be uint8 where `prepare` scales them.
        y: labels, (N,), whole numbers from 0.
        epochs: how many times the samples are seen.
        batch_size: samples a step; all of them if there are fewer.
        lr: the rate at the start ("cosine", "constant"), or the largest ("one_cycle").
        optimizer: "sgd" (Nesterov's momentum, 0.9), "adam", or a function of the parameters.
        weight_decay: of all parameters, λ of QCFS included.
        schedule: "cosine" (to zero, by step), "one_cycle" (up over a fifth of the steps, then
            down to nothing), or "constant".
        augment: `augment(x, generator)` on each batch; see `spikesim.train.augment`.
        prepare: what every batch goes through after it, in training and in validation.
        loss: of outputs and labels; default: cross entropy.
        seed: whole number.
        progress: called with (steps done, in all) after each step.
        validation: samples and labels whose accuracy is measured after each epoch. It only
            watches: the weights are those of the last epoch.

    Returns:
        The history.

    Raises:
        InputError: arguments that mean nothing, or a loss that is no finite number any more.
        ShapeError: `x`, `y` and the outputs do not fit each other.
        UnsupportedError: an unknown optimizer or schedule.

    Example:
        >>> net = ss.models.mnist_net(image_size=8, activation="qcfs")
        >>> digits = ss.data.load("digits", "train")
        >>> ss.train.fit(net, digits.x / 16, digits.y, epochs=5).accuracy[-1]  # doctest: +SKIP
        0.97
    """
    samples, labels = _pair("fit", x, y)
    watched = None if validation is None else _pair("fit: validation", *validation)
    epochs = whole_number("fit", "epochs", epochs)
    batch_size = min(whole_number("fit", "batch_size", batch_size), len(samples))
    for name, value in (("lr", lr), ("weight_decay", weight_decay)):
        least = 0 if name == "weight_decay" else math.ulp(0.0)
        if not isinstance(value, int | float) or not least <= value < math.inf:
            expected = "at least 0" if least == 0 else "above 0"
            raise InputError(f"fit: {name} is {value!r}, expected a finite number {expected}")
    batches = len(samples) // batch_size
    steps = epochs * batches
    optimise = _optimizer(module, optimizer, lr, weight_decay)
    schedule_ = _schedule(optimise, schedule, lr, steps)
    measure = loss if loss is not None else nn.functional.cross_entropy
    generator = torch.Generator().manual_seed(seed)
    result = FitResult(seed=seed)
    _lay_out(module, torch.channels_last)
    begun = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(epochs):
            module.train()
            order = torch.randperm(len(samples), generator=generator)
            total, right = 0.0, 0
            whole = order[: batches * batch_size].reshape(batches, batch_size)
            for step, chosen in enumerate(whole):
                batch, wanted = samples[chosen], labels[chosen]
                if augment is not None:
                    batch = augment(batch, generator)
                if prepare is not None:
                    batch = prepare(batch)
                out = module(batch)
                _fits(out, wanted)
                cost = measure(out, wanted)
                if not math.isfinite(value := cost.item()):
                    raise InputError(
                        f"fit: loss is {value} in epoch {epoch + 1}, expected a finite number; "
                        "lower lr, or look for a value that is not finite in x"
                    )
                optimise.zero_grad()
                cost.backward()  # type: ignore[no-untyped-call]
                optimise.step()
                schedule_.step()
                total += value
                right += int((out.argmax(1) == wanted).sum())
                if progress is not None:
                    progress(epoch * batches + step + 1, steps)
            result.losses.append(total / batches)
            result.accuracy.append(right / (batches * batch_size))
            result.learning_rates.append(float(optimise.param_groups[0]["lr"]))
            if watched is not None:
                result.validation.append(accuracy(module, *watched, prepare=prepare))
            result.epochs += 1
    module.eval()
    _lay_out(module, torch.contiguous_format)
    result.seconds = time.perf_counter() - begun
    return result


@torch.no_grad()
def accuracy(
    module: nn.Module,
    x: Array,
    y: Array,
    *,
    prepare: Callable[[Tensor], Tensor] | None = None,
) -> float:
    """Fraction of samples whose largest output is at the label; leaves `module` in eval mode.

    Args:
        module: (N, …) → (N, classes).
        x: samples, (N, …).
        y: labels, (N,).
        prepare: what every batch goes through first.
    """
    samples, labels = _pair("accuracy", x, y)
    module.eval()
    right = 0
    for start in range(0, len(samples), _EVALUATED):
        batch, wanted = (array[start : start + _EVALUATED] for array in (samples, labels))
        out = module(batch if prepare is None else prepare(batch))
        right += int((out.argmax(1) == wanted).sum())
    return right / len(samples)


def _tensor(array: Array) -> Tensor:
    # What is read from files may be read-only, which torch warns of; nothing here writes to it.
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        array = array.copy()
    return torch.as_tensor(array)


def _pair(where: str, x: Array, y: Array) -> tuple[Tensor, Tensor]:
    samples, labels = _tensor(x), _tensor(y)
    if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(
            f"{where}: y has shape {tuple(labels.shape)} and dtype {labels.dtype}, "
            "expected (N,) whole numbers"
        )
    if samples.ndim < 2 or len(samples) != len(labels) or len(labels) == 0:
        raise ShapeError(
            f"{where}: x has shape {tuple(samples.shape)}, expected ({len(labels)}, ...), one "
            "sample a label and at least one"
        )
    if samples.dtype == torch.float64:
        # What NumPy makes of a division; modules have float32.
        samples = samples.float()
    if int(labels.min()) < 0:
        raise InputError(f"{where}: y has label {int(labels.min())}, expected labels from 0")
    return samples, labels.long()


@torch.no_grad()
def _lay_out(module: nn.Module, memory_format: torch.memory_format) -> None:
    """How 2-d convolutions' weights lie in memory: channels last they are a quarter quicker."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)


def _fits(out: Tensor, wanted: Tensor) -> None:
    if out.ndim != 2 or len(out) != len(wanted):
        raise ShapeError(
            f"fit: output has shape {tuple(out.shape)}, expected ({len(wanted)}, classes)"
        )
    if int(wanted.max()) >= out.shape[1]:
        raise ShapeError(
            f"fit: y has label {int(wanted.max())}, expected less than {out.shape[1]}, the "
            "number of outputs"
        )


def _optimizer(
    module: nn.Module,
    optimizer: str | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
    lr: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise InputError(f"fit: {type(module).__name__} has no parameters to train, expected some")
    if callable(optimizer):
        return optimizer(parameters)
    if optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr, momentum=0.9, nesterov=True, weight_decay=weight_decay
        )
    if optimizer == "adam":
        return torch.optim.Adam(parameters, lr, weight_decay=weight_decay)
    raise UnsupportedError(f"fit: optimizer is {optimizer!r}, expected 'sgd', 'adam' or a function")


def _schedule(
    optimizer: torch.optim.Optimizer, schedule: str, lr: float, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    lambdas: dict[str, Callable[[int], float]] = {
        "cosine": lambda step: 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps)),
        "one_cycle": lambda step: _one_cycle(min(step, steps) / steps),
        "constant": lambda step: 1.0,
    }
    if schedule not in lambdas:
        expected = " or ".join(map(repr, SCHEDULES))
        raise UnsupportedError(f"fit: schedule is {schedule!r}, expected {expected}")
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambdas[schedule])


def _one_cycle(done: float, rise: float = 0.2, start: float = 0.04) -> float:
    """From a 25th of the rate up to it, along a cosine, and down to nothing along another."""
    if done < rise:
        return start + (1 - start) * 0.5 * (1 - math.cos(math.pi * done / rise))
    return 0.5 * (1 + math.cos(math.pi * (done - rise) / (1 - rise)))
