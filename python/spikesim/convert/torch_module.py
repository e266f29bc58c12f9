"""`from_torch`: a torch module as a spikesim network; `load_snntorch_state` on the way to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from spikesim.errors import InputError, MissingExtraError, SpikesimError, UnsupportedError

if TYPE_CHECKING:
    from torch import nn

    from spikesim.network import Network


def from_torch(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    dt: float | None = None,
    readout: str | None = None,
    n_steps: int | None = None,
) -> Network:
    """The network that a torch module computes, with every weight and neuron as it is.

    The module is read in its eval meaning (running statistics, no dropout) and is left as it
    was; weights are copied. It describes one step, or, for libraries with a multi-step mode, a
    sequence of them, or it loops over time itself: then every iteration must do the same, each
    neuron go on from its own state, and what is returned be recorded in every step (torch.stack
    of a list), or summed or averaged over the steps. Nodes carry the names of
    `module.named_modules()`. Supported: Linear, Conv1d/2d, BatchNorm1d/2d, average, maximum and
    adaptive pools, zero padding before a convolution or a pool, Flatten, Upsample (nearest),
    Dropout, Identity, Sequential; in a forward also their functional forms with any parameter or
    buffer, sums and differences, constant factors and summands, torch.cat on channels, sums and
    means over space, reshapes that merge axes, and control flow that does not depend on data;
    neurons of `spikesim.train`, SpikingJelly, snnTorch, Norse and Sinabs (docs/semantics.md lists
    them). A run starts from the neurons' initial state, whatever state the module holds (Sinabs'
    v_mem).

    Args:
        module: the model.
        input_shape: shape of one sample at one step, without batch and time axes.
        dt: length of a step in seconds, if it has one.
        readout: "sum", "mean", "last_v", "max_v", "count" or "first_spike"; None: what forward
            returns if it reduces time, else "count" if the output node spikes, else "sum".
        n_steps: for a forward that loops over an input (T, N, …) or (N, T, …): the T that it is
            read for. None: the input is (N, …), or (T, N, …) of a multi-step module.

    Returns:
        A `Network`.

    Raises:
        UnsupportedError: a layer, an option or a forward that has no exact counterpart; the
            message names the module, the line of the forward and what to do.
        InputError: `module` is no module, `input_shape` no shape, `dt` no number, or `n_steps`
            none of at least 1.
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
    from spikesim.convert.plain import unwrapped
    from spikesim.convert.walk import convert, takes_steps
    from spikesim.train.network import TorchNetwork

    if not isinstance(module, torch.nn.Module):
        raise InputError(
            f"from_torch: module is a {type(module).__name__}, expected a torch.nn.Module"
        )
    shape = _sample_shape(input_shape)
    _check_seconds(dt)
    whole = unwrapped(module, "")
    if isinstance(whole, TorchNetwork):
        return own.network(whole, shape, dt=dt, readout=readout)
    if n_steps is None:
        try:
            return convert(module, Builder(shape, dt), readout)
        except UnsupportedError as error:
            # A multi-step module may take (N, …) and repeat it for its steps itself.
            builder = Builder(shape, dt)
            if not takes_steps(whole):
                raise
            try:
                return convert(module, builder, readout, still=True)
            except SpikesimError as other:
                raise (error if builder.repeats is None else other) from None
    if isinstance(n_steps, bool) or not isinstance(n_steps, int) or n_steps < 1:
        raise InputError(f"from_torch: n_steps is {n_steps!r}, expected a number of at least 1")
    try:
        return convert(module, Builder(shape, dt), readout, n_steps)
    except UnsupportedError as error:
        # How forward indexes its input says which axis is time; at most one of the two fits.
        try:
            return convert(module, Builder(shape, dt), readout, n_steps, axis=1)
        except SpikesimError:
            raise error from None


def _sample_shape(given: Any) -> tuple[Any, ...]:
    if isinstance(given, int):
        return (given,)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(
            f"from_torch: input_shape is {given!r}, expected the sizes of one sample's axes"
        )
    return tuple(given)


def _check_seconds(given: Any) -> None:
    if given is not None and (isinstance(given, bool) or not isinstance(given, Real)):
        raise InputError(f"from_torch: dt is {given!r}, expected a number of seconds, or None")


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
