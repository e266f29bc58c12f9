"""Learning from spikes, without gradients: STDP, winner-take-all, and the models made of them.

The learning itself runs in the Rust core; `spikesim.learn.reference` holds plain NumPy twins of
every rule, which are the meaning of it. Names are loaded when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

# name -> module that has it (or is it)
_LAZY: dict[str, str] = {
    "AdaptiveThreshold": "spikesim.learn.wta",
    "AntiSTDP": "spikesim.learn.rules",
    "ConvSTDP": "spikesim.learn.conv_stdp",
    "DiehlCook": "spikesim.learn.diehl_cook",
    "DiehlCookSTDP": "spikesim.learn.rules",
    "DoG": "spikesim.learn.conv_layers",
    "HardWTA": "spikesim.learn.wta",
    "KWTA": "spikesim.learn.wta",
    "LatencyPool": "spikesim.learn.conv_layers",
    "LateralInhibition": "spikesim.learn.wta",
    "LearnResult": "spikesim.learn.learner",
    "Learner": "spikesim.learn.learner",
    "MSTDP": "spikesim.learn.rules",
    "MSTDPET": "spikesim.learn.rules",
    "MapInhibition": "spikesim.learn.wta",
    "Normalise": "spikesim.learn.parts",
    "PairSTDP": "spikesim.learn.rules",
    "Pixels": "spikesim.learn.conv_layers",
    "Reward": "spikesim.learn.parts",
    "RewardSTDP": "spikesim.learn.rules",
    "Rule": "spikesim.learn.parts",
    "SEM": "spikesim.learn.sem",
    "STDPConv": "spikesim.learn.conv_layers",
    "SimplifiedSTDP": "spikesim.learn.rules",
    "SoftWTA": "spikesim.learn.wta",
    "Term": "spikesim.learn.parts",
    "Trace": "spikesim.learn.parts",
    "TripletSTDP": "spikesim.learn.rules",
    "poisson_spikes": "spikesim.learn.poisson",
    "reference": "spikesim.learn.reference",
    "theta_defaults": "spikesim.learn._settings",
}

__all__ = [
    "KWTA",
    "MSTDP",
    "MSTDPET",
    "SEM",
    "AdaptiveThreshold",
    "AntiSTDP",
    "ConvSTDP",
    "DiehlCook",
    "DiehlCookSTDP",
    "DoG",
    "HardWTA",
    "LatencyPool",
    "LateralInhibition",
    "LearnResult",
    "Learner",
    "MapInhibition",
    "Normalise",
    "PairSTDP",
    "Pixels",
    "Reward",
    "RewardSTDP",
    "Rule",
    "STDPConv",
    "SimplifiedSTDP",
    "SoftWTA",
    "Term",
    "Trace",
    "TripletSTDP",
    "poisson_spikes",
    "reference",
    "theta_defaults",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module = importlib.import_module(_LAZY[name])
        return module if _LAZY[name] == f"{__name__}.{name}" else getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
