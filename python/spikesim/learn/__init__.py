"""Learning from spikes, without gradients: STDP, winner-take-all, and the models made of them.

The learning itself runs in the Rust core; `spikesim.learn.reference` holds plain NumPy twins of
every rule, which are the meaning of it. Names are loaded when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

# name -> module that has it
_LAZY: dict[str, str] = {
    "DiehlCook": "spikesim.learn.diehl_cook",
    "poisson_spikes": "spikesim.learn.poisson",
    "reference": "spikesim.learn.reference",
    "theta_defaults": "spikesim.learn._settings",
}

__all__ = ["DiehlCook", "poisson_spikes", "reference", "theta_defaults"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module = importlib.import_module(_LAZY[name])
        return module if _LAZY[name] == f"{__name__}.{name}" else getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
