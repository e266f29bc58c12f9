"""Learning from spikes, without gradients: STDP, winner-take-all, and the models made of them.

The learning itself runs in the Rust core; `spikesim.learn.reference` holds plain NumPy twins of
every rule, which are the meaning of it. Names are loaded when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

# name -> module that has it
_LAZY: dict[str, str] = {
    "ConvSTDP": "spikesim.learn.conv_stdp",
    "DoG": "spikesim.learn.conv_layers",
    "LatencyPool": "spikesim.learn.conv_layers",
    "Pixels": "spikesim.learn.conv_layers",
    "SEM": "spikesim.learn.sem",
    "STDPConv": "spikesim.learn.conv_layers",
}

__all__ = ["SEM", "ConvSTDP", "DoG", "LatencyPool", "Pixels", "STDPConv"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
