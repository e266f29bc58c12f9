"""State dicts of snnTorch 0.8, which hold the neurons' states beside their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from spikesim.errors import InputError

# States that neurons of 0.8 registered as buffers of the state dict, and 1.0 does not.
STATES = {
    "Leaky": ("mem",),
    "Lapicque": ("mem",),
    "Synaptic": ("syn", "mem"),
    "RLeaky": ("spk", "mem"),
    "RSynaptic": ("spk", "syn", "mem"),
    "Alpha": ("syn_exc", "syn_inh", "mem"),
    "SLSTM": ("syn", "mem"),
    "SConv2dLSTM": ("syn", "mem"),
}
# Buffers that the neurons of old versions lacked: the model's own values stand.
ADDED = ("graded_spikes_factor", "reset_mechanism_val")


def load(module: nn.Module, state_dict: Mapping[str, Any]) -> list[str]:
    """`spikesim.convert.load_snntorch_state`, which says what it does."""
    where = "load_snntorch_state"
    if not isinstance(module, nn.Module):
        raise InputError(
            f"{where}: module is a {type(module).__name__}, expected a torch.nn.Module"
        )
    if not isinstance(state_dict, Mapping):
        raise InputError(
            f"{where}: state_dict is a {type(state_dict).__name__}, expected a mapping of tensors"
        )
    for name, tensor in state_dict.items():
        if not isinstance(tensor, Tensor):
            raise InputError(f"{where}: {name} is a {type(tensor).__name__}, expected a tensor")
    own = module.state_dict()
    dropped, added = _states(module)
    dropped &= state_dict.keys() - own.keys()
    kept = {name: tensor for name, tensor in state_dict.items() if name not in dropped}
    for name in own.keys() & added:
        kept.setdefault(name, own[name])
    for name in kept:
        if name not in own:
            raise InputError(
                f"{where}: {name} is in the state dict and not in the model, expected the names "
                "of the model; build the model as it was saved"
            )
    for name, tensor in own.items():
        if name not in kept:
            raise InputError(f"{where}: {name} is missing in the state dict, expected it there")
        if kept[name].shape != tensor.shape:
            raise InputError(
                f"{where}: {name} has shape {tuple(kept[name].shape)}, expected "
                f"{tuple(tensor.shape)}; build the model as it was saved"
            )
    module.load_state_dict(kept)
    return [name for name in state_dict if name in dropped]


def _states(module: nn.Module) -> tuple[set[str], set[str]]:
    """The names of states that 0.8 saved, and of buffers that old versions lacked."""
    import snntorch

    states: set[str] = set()
    added: set[str] = set()
    for place, child in module.named_modules():
        prefix = f"{place}." if place else ""
        if isinstance(child, snntorch.SpikingNeuron):
            added |= {prefix + name for name in ADDED}
        for cls, names in STATES.items():
            if isinstance(child, getattr(snntorch, cls)):
                states |= {prefix + name for name in names}
    return states, added
