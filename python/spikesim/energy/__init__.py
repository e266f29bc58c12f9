"""What a run would cost in joules on given hardware, from exact counts and sourced constants.

Counts come from the engine (``result.counts``); constants come from profiles, TOML files in which
each number has its source, its kind and its range. A total is therefore an interval, and what a
profile has no constant for is listed in ``not_modelled``, never priced at zero.
"""

from __future__ import annotations

from spikesim.energy.baseline import ann_baseline, dense_macs
from spikesim.energy.estimate import leaky_layers, report
from spikesim.energy.profile import Constant, Profile, load_profile, profiles
from spikesim.energy.report import Energy, EnergyReport

__all__ = [
    "Constant",
    "Energy",
    "EnergyReport",
    "Profile",
    "ann_baseline",
    "dense_macs",
    "leaky_layers",
    "load_profile",
    "profiles",
    "report",
]
