"""`from_torch`: a torch module as a spikesim network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spikesim.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from torch import nn

    from spikesim.network import Network


def from_torch(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    dt: float | None = None,
    readout: str | None = None,
) -> Network:
    """The network that a torch module computes, with every weight and neuron as it is.

    The module is read in its eval meaning (running statistics, no dropout) and is left as it
    was; weights are copied. It must describe one step (or, for libraries with a multi-step mode,
    a sequence of them), not loop over time itself. Nodes carry the names of
    `module.named_modules()`. Supported: Linear, Conv1d/2d, BatchNorm1d/2d, Avg-, Max- and
    adaptive average pooling, Flatten, Upsample (nearest), Dropout, Identity, Sequential; in a
    forward also additions, torch.cat on channels and the functional forms of the pools; neurons
    of `spikesim.train`, SpikingJelly (IFNode, LIFNode) and snnTorch (Leaky).

    Args:
        module: the model.
        input_shape: shape of one sample at one step, without batch and time axes.
        dt: length of a step in seconds, if it has one.
        readout: "sum", "mean", "last_v", "max_v", "count" or "first_spike"; None: "count" if
            the output node spikes, else "sum".

    Returns:
        A `Network`.

    Raises:
        UnsupportedError: a layer, an option or a forward that has no exact counterpart; the
            message names the module and what to do.
        GraphError, ShapeError: the layers do not fit together or to `input_shape`, or have
            parameters that no network may have.
        MissingExtraError: torch is not installed.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), ss.train.IF())
        >>> net = ss.from_torch(model, input_shape=(4,))
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            "from_torch: reading torch modules needs torch; install spikesim[torch]"
        ) from error
    from spikesim.convert import own
    from spikesim.convert.build import Builder
    from spikesim.convert.plain import check_hooks
    from spikesim.convert.walk import convert
    from spikesim.train.network import TorchNetwork

    if not isinstance(module, torch.nn.Module):
        raise InputError(
            f"from_torch: module is a {type(module).__name__}, expected a torch.nn.Module"
        )
    # torch.compile wraps the module that is meant.
    wrapped = getattr(module, "_orig_mod", None)
    if wrapped is not None:
        check_hooks(module, type(wrapped).__name__)
        module = wrapped
    shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    if isinstance(module, TorchNetwork):
        return own.network(module, shape, dt=dt, readout=readout)
    return convert(module, Builder(shape, dt), readout)
