"""`from_torch`: a torch module as a spikesim network; `load_snntorch_state` on the way to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

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
    of `spikesim.train`, SpikingJelly, snnTorch, Norse and Sinabs (docs/semantics.md lists them). A
    run starts from the neurons' initial state, whatever state the module holds (Sinabs' v_mem).

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
    from spikesim.convert.build import Builder
    from spikesim.convert.plain import check_hooks
    from spikesim.convert.walk import convert

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
    return convert(module, Builder(shape, dt), readout)


def load_snntorch_state(module: nn.Module, state_dict: Mapping[str, Any]) -> list[str]:
    """Loads a state dict of snnTorch 0.8 (or 1.0) into a model built with snnTorch 1.0.

    0.8 saved what its neurons held when they were saved (`mem`, `syn`, `spk`, …), of the shape of
    the last batch; 1.0 does not, and `load_state_dict` stops at them. A network starts from zero
    anyway: exactly these buffers of exactly these neurons are left out. Where a neuron's
    `graded_spikes_factor` or `reset_mechanism_val` is missing, as in versions before 0.7, the
    model's own value stands.

    Args:
        module: the model, in the classes of the installed snnTorch; changed in place.
        state_dict: what `torch.load(..., weights_only=True)` gave.

    Returns:
        The names that were left out.

    Raises:
        InputError: a name that the model has and the dict lacks, or the other way round, a tensor
            of another shape, something that is no tensor, no module; the message names the first.
            The model is as it was then.
        MissingExtraError: torch or snnTorch is not installed.

    Example:
        >>> model = snntorch.Leaky(beta=0.9)
        >>> ss.convert.load_snntorch_state(model, torch.load("leaky08.pt", weights_only=True))
        ['mem']
    """
    try:
        import snntorch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "load_snntorch_state: a model of snnTorch needs it; install snntorch"
        ) from error
    from spikesim.convert.snntorch.state_dict import load

    return load(module, state_dict)
