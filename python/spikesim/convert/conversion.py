"""`convert`: a trained ANN as a spiking network, with a report of what it lost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from spikesim._inputs import whole_number
from spikesim.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from torch import nn

    from spikesim.convert.ann.data import Samples
    from spikesim.convert.ann.graph import Ann
    from spikesim.convert.report import ConversionReport
    from spikesim.network import Network

CALIBRATION = 512
"""Calibration samples that are used at most, unless `n_calibration` says otherwise."""

TRAINING = ("hybrid",)
"""Methods that train on the calibration data."""


def convert(
    ann: nn.Module,
    calibration: Any = None,
    *,
    method: str = "auto",
    n_steps: int | None = None,
    input_shape: Sequence[int] | None = None,
    validation: Any = None,
    steps: Iterable[int] | None = None,
    n_calibration: int | None = None,
    progress: Any = False,
    **options: Any,
) -> tuple[Network, ConversionReport]:
    """Converts an ANN with ReLU, leaky ReLU or QCFS activations into a spiking network.

    Neurons integrate in the units of the ANN: a threshold is the activation that one spike a step
    stands for, and the height of spikes is part of the weights that hear them. Batch
    normalisations are folded. The input is the sample itself, as a constant current at every
    step; the output is the mean over the steps of the last layer, which approaches the ANN's.

    Args:
        ann: the trained model, in eval meaning; it is left as it was. Functional ReLUs are found,
            too.
        calibration: samples of the training data, scaled as the ANN takes them: an array or
            tensor (N, *input_shape), a pair (x, y) with labels, an `spikesim.data.Dataset`, or an
            iterable of batches, as a DataLoader.
        method: "qcfs", "max", "percentile", "channel_wise", "model", "spike_norm", "rmp",
            "spiking_resnet", "calibrated", "hybrid" (needs labels; trains on the calibration
            data), or "auto": the one that does best on the calibration data at `n_steps`.
        n_steps: T that the network is for; None: L for QCFS, else 32. `run` takes it as the
            network's own (`net.meta["n_steps"]`).
        input_shape: of one sample; needed without calibration data.
        validation: samples, with labels at best, on which accuracy and agreement are measured;
            None: the calibration data.
        steps: numbers of steps at which they are; None: powers of two up to `n_steps`, and 32.
        n_calibration: calibration samples that are used at most, evenly from all of an array's,
            the first of an iterable's; None: 512, with "hybrid" all.
        progress: show a bar on stderr, or call this function with (stage, done, in all).
        options: of the method: `v0` (membranes before the first step, as a part of the threshold),
            `reset` ("subtract", "to_value"), `max_pool` ("count", "argmax", "or"), `percentile`,
            `per_channel`, `alpha`, `calibration_steps`, `encoding`, `junction`, `seed`; see
            docs/conversion.md.

    Returns:
        The network, and a `ConversionReport`.

    Raises:
        InputError: no calibration data, NaN in it, activations that are all zero on it, a method
            or an option that there is not.
        ShapeError: samples that do not fit the ANN.
        UnsupportedError: a module that can't be traced, an activation that no neuron stands for,
            ReLU with the method "qcfs".
        MissingExtraError: torch is not installed.

    Example:
        >>> net, report = ss.convert(ann, calibration=images, method="percentile", n_steps=32)
        >>> print(report)
        >>> net.compile().run(test_images, n_steps=32).predictions
    """
    started = time.perf_counter()
    if n_calibration is not None:
        n_calibration = whole_number("convert", "n_calibration", n_calibration)
    elif method not in TRAINING:
        n_calibration = CALIBRATION
    graph, data = _read(ann, calibration, "calibration", input_shape, n_calibration)
    from spikesim.convert.ann.data import samples
    from spikesim.convert.ann.doctor import converted
    from spikesim.convert.ann.progress import Stages

    with Stages(progress) as stages:
        return converted(
            graph,
            data,
            None if validation is None else samples(validation, "validation"),
            method=method,
            n_steps=n_steps,
            steps=_steps("convert", steps),
            options=options,
            stages=stages,
            started=started,
        )


def doctor(
    ann: nn.Module,
    net: Network,
    data: Any,
    *,
    n_steps: int | None = None,
    steps: Iterable[int] | None = None,
    progress: Any = False,
) -> ConversionReport:
    """Examines a spiking network that is said to be an ANN's, whoever converted it.

    It looks for activations that no population stands for (functional ReLUs, with their line),
    batch normalisations that were not folded, maximum pools that count too much, dead and
    saturated populations and the first layer that goes wrong. What a spike of a population stands
    for is found from the data.

    Args:
        ann: the model.
        net: the network; populations carry the names of the ANN's activations, as those of
            `convert` and `from_torch` do.
        data: samples, with labels at best, in any form that `convert` takes.
        n_steps: T; None: the network's own, else that of `convert`.
        steps: further numbers of steps for accuracy and agreement.
        progress: show a bar on stderr.

    Returns:
        A `ConversionReport`.

    Raises:
        InputError, ShapeError, UnsupportedError, MissingExtraError: as `convert`.

    Example:
        >>> print(ss.convert.doctor(ann, ss.load("theirs.nir"), (images, labels)))
    """
    started = time.perf_counter()
    from spikesim.network import Network

    if not isinstance(net, Network):
        raise InputError(f"doctor: net is a {type(net).__name__}, expected a Network")
    graph, checked = _read(ann, data, "data", None, None)
    from spikesim.convert.ann.doctor import diagnosed
    from spikesim.convert.ann.progress import Stages

    assert checked is not None
    with Stages(progress) as stages:
        return diagnosed(
            graph,
            net,
            checked,
            n_steps=n_steps,
            steps=_steps("doctor", steps),
            stages=stages,
            started=started,
        )


def _steps(where: str, steps: Any) -> list[int] | None:
    """Numbers of steps, checked."""
    if steps is None:
        return None
    if not isinstance(steps, Iterable):
        raise InputError(f"{where}: steps is {steps!r}, expected several numbers of steps")
    return [whole_number(where, "steps", n) for n in steps]


def _read(
    module: Any,
    data: Any,
    where: str,
    input_shape: Sequence[int] | None,
    at_most: int | None,
) -> tuple[Ann, Samples | None]:
    """The graph of an ANN, held against the module, and the samples."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            "convert: reading an ANN needs torch; install spikesim[torch]"
        ) from error
    from spikesim.convert.ann.data import samples
    from spikesim.convert.ann.read import check_same, read

    if not isinstance(module, torch.nn.Module):
        raise InputError(f"convert: ann is a {type(module).__name__}, expected a torch.nn.Module")
    # A conversion may do without, the doctor can't.
    missing = data is None and where == "calibration"
    checked = None if missing else samples(data, where, at_most)
    if input_shape is None:
        if checked is None:
            raise InputError(
                "convert: calibration is missing, expected samples; give calibration=x, of the "
                'data that the ANN was trained on, or input_shape with the method "model" or "qcfs"'
            )
        input_shape = checked.shape
    if not isinstance(input_shape, Sequence) or isinstance(input_shape, str | bytes):
        raise InputError(f"convert: input_shape is {input_shape!r}, expected a tuple of numbers")
    graph = read(module, tuple(whole_number("convert", "input_shape", n) for n in input_shape))
    if checked is None:
        # Any numbers tell whether a forward does what was read of it.
        example = torch.rand((4, *graph.input_shape), generator=torch.Generator().manual_seed(0))
        check_same(graph, module, example)
    elif checked.shape == graph.input_shape:
        check_same(graph, module, torch.from_numpy(checked.x[:8]))
    return graph, checked
