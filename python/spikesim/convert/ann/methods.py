"""The methods of conversion by name: each chooses settings for the activations of an ANN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from spikesim.convert.ann import thresholds
from spikesim.convert.ann.balance import balanced
from spikesim.convert.ann.data import Samples
from spikesim.convert.ann.emit import Setting, emit
from spikesim.convert.ann.graph import Ann
from spikesim.errors import InputError, UnsupportedError
from spikesim.network import Network

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Task:
    """What a method is given.

    Attributes:
        ann: the ANN.
        data: calibration samples; None where there are none.
        n_steps: the T that is wanted; None: any.
        options: the method's, each with a value.
        tell: is told (done, in all).
    """

    ann: Ann
    data: Samples | None
    n_steps: int | None
    options: Mapping[str, Any]
    tell: Tell | None = None

    @property
    def samples(self) -> Samples:
        """The calibration samples.

        Raises:
            InputError: there are none.
        """
        if self.data is None:
            raise InputError(
                "convert: calibration is missing, expected samples; give calibration=x, of the "
                "data that the ANN was trained on"
            )
        return self.data

    def emit(self, settings: Mapping[str, Setting]) -> Network:
        """The network with the options that concern its form."""
        form = {name: self.options[name] for name in ("reset", "max_pool") if name in self.options}
        return emit(self.ann, settings, **form)


@dataclass(frozen=True)
class Method:
    """A method of conversion.

    Attributes:
        run: gives the network.
        options: their names and defaults.
        source: the paper.
        what: in one line.
    """

    run: Callable[[Task], Network]
    source: str
    what: str
    options: Mapping[str, Any] = field(default_factory=dict)


_FORM = {"v0": 0.0, "reset": "subtract", "max_pool": "count"}


def _uniform(task: Task, found: Mapping[str, Any]) -> Network:
    return task.emit({name: Setting.of(t, task.options["v0"]) for name, t in found.items()})


def _qcfs(task: Task) -> Network:
    """θ = λ, v(0) = φ·θ, soft reset: exactly the activation in expectation."""
    wrong = [one for one in task.ann.activations.values() if one.kind != "qcfs"]
    if wrong:
        named = ", ".join(
            one.name + ("" if one.where is None else f" (a function at {one.where})")
            for one in wrong
        )
        raise UnsupportedError(
            f"{wrong[0].name}: {wrong[0].describe()} has no λ, expected QCFS everywhere; put "
            f"spikesim.train.QCFS in the place of {named} and train, or use another method"
        )
    settings = {name: Setting.of(one.scale, one.phi) for name, one in task.ann.activations.items()}
    return task.emit(settings)


def _percentile(task: Task) -> Network:
    found = thresholds.activations(
        task.ann,
        task.samples,
        task.options["percentile"],
        per_channel=task.options["per_channel"],
    )
    return _uniform(task, found)


def _model(task: Task) -> Network:
    low, high = 0.0, 1.0
    if task.data is not None:
        # Samples that leave [0, 1] widen it.
        low, high = min(low, float(task.data.x.min())), max(high, float(task.data.x.max()))
    return _uniform(task, thresholds.model_based(task.ann, (low, high)))


def _balanced(task: Task) -> Network:
    options = task.options
    found = balanced(
        task.ann,
        task.samples,
        n_steps=options["calibration_steps"],
        alpha=options.get("alpha", 1.0),
        v0=options["v0"],
        encoding=options["encoding"],
        junction=options["junction"],
        seed=options["seed"],
        tell=task.tell,
        reset=options["reset"],
        max_pool=options["max_pool"],
    )
    return _uniform(task, found)


def _calibrated(task: Task) -> Network:
    from spikesim.convert.ann.layerwise import calibrated, with_layers

    options = task.options
    found = calibrated(
        task.ann,
        task.samples.x,
        task.n_steps or 1,
        max_spikes=options["max_spikes"],
        ridge=options["ridge"],
        seed=options["seed"],
        tell=task.tell,
    )
    spikes: Any = "multi" if options["max_spikes"] > 1 else None
    most = options["max_spikes"] if options["max_spikes"] > 1 else None
    settings = {
        name: Setting(theta, found.v0[name], spikes=spikes, max_spikes=most)
        for name, theta in found.threshold.items()
    }
    fitted = replace(task.ann, net=with_layers(task.ann.net, found.layers))
    return emit(fitted, settings, max_pool=options["max_pool"])


def _hybrid(task: Task) -> Network:
    """Spike-Norm's thresholds (or another method's), then STDB."""
    from spikesim.train import hybrid

    data, options = task.samples, task.options
    if data.y is None:
        raise InputError(
            "convert: hybrid needs labels, expected calibration=(x, y): it trains on them"
        )
    # STDB resets by subtraction, whatever the first method would do.
    soft = {"reset": "subtract"} if "reset" in METHODS[options["start"]].options else {}
    start = options_of(options["start"], soft)
    base = replace(task, data=data.spread(START_SAMPLES), options=start, tell=None)
    fine = ("epochs", "lr", "batch_size", "threshold_scale", "weight_decay", "seed")
    return hybrid(
        METHODS[options["start"]].run(base),
        data.x,
        data.y,
        n_steps=task.n_steps or 1,
        progress=task.tell or False,
        **{name: options[name] for name in fine},
    ).net


_BALANCE = {
    **_FORM,
    "calibration_steps": 100,
    "encoding": "constant",
    "junction": "scaled",
    "seed": 0,
}

START_SAMPLES = 256
"""Samples from which "hybrid" has its first thresholds."""

METHODS: dict[str, Method] = {
    "qcfs": Method(
        _qcfs,
        "Bu et al., ICLR 2022",
        "an ANN trained with QCFS: θ = λ, v(0) = φ·θ",
        {"max_pool": "count"},
    ),
    "max": Method(
        _percentile,
        "Diehl et al., IJCNN 2015",
        "thresholds are the largest activations",
        {**_FORM, "percentile": 100.0, "per_channel": False},
    ),
    "percentile": Method(
        _percentile,
        "Rueckauer et al., Frontiers in Neuroscience 2017",
        "thresholds are the 99.9th percentile of the activations",
        {**_FORM, "percentile": 99.9, "per_channel": False},
    ),
    "channel_wise": Method(
        _percentile,
        "Kim et al. (Spiking-YOLO), AAAI 2020",
        "one threshold a channel; signed neurons for leaky ReLU",
        {**_FORM, "percentile": 99.9, "per_channel": True},
    ),
    "model": Method(
        _model,
        "Diehl et al., IJCNN 2015",
        "thresholds from the weights alone, without data",
        _FORM,
    ),
    "spike_norm": Method(
        _balanced,
        "Sengupta et al., Frontiers in Neuroscience 2019",
        "thresholds are the largest weighted spike input, layer by layer",
        {**_BALANCE, "reset": "to_value"},
    ),
    "rmp": Method(
        _balanced,
        "Han et al., CVPR 2020",
        "as spike_norm, with the soft reset and thresholds α times the largest",
        {**_BALANCE, "alpha": 0.8},
    ),
    "spiking_resnet": Method(
        _percentile,
        "Hu et al., Spiking Deep Residual Network",
        "percentiles with compensated shortcuts, gated max pools, membranes at half threshold",
        {**_FORM, "percentile": 99.9, "per_channel": False, "v0": 0.5},
    ),
    "calibrated": Method(
        _calibrated,
        "after Li et al. (A Free Lunch From ANN), ICML 2021",
        "layer by layer for the wanted T: weights, thresholds and biases fitted to the spiking "
        "input",
        {"ridge": 0.1, "max_spikes": 1, "seed": 0, "max_pool": "count"},
    ),
    "hybrid": Method(
        _hybrid,
        "Rathi et al., ICLR 2020",
        "converted thresholds, lowered, then a few epochs of STDB at the wanted T; needs labels",
        {
            "start": "spike_norm",
            "epochs": 3,
            "lr": 1e-4,
            "batch_size": 64,
            "threshold_scale": 0.7,
            "weight_decay": 5e-4,
            "seed": 0,
        },
    ),
}


def options_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A method's options with what was given.

    Raises:
        InputError: a method or an option that there is not, a value that means nothing.
    """
    if not isinstance(name, str) or name not in METHODS:
        known = ", ".join(f'"{method}"' for method in (*METHODS, "auto"))
        raise InputError(f"convert: method is {name!r}, expected one of {known}")
    defaults = METHODS[name].options
    for option in given:
        if option not in defaults:
            raise InputError(
                f"convert: {name} has no option {option!r}, expected some of "
                f"{', '.join(defaults) or 'none'}"
            )
    chosen = {**defaults, **given}
    for option, choices in _CHOICES.items():
        if option in chosen and chosen[option] not in choices:
            raise InputError(
                f"convert: {option} is {chosen[option]!r}, expected one of "
                f"{', '.join(map(repr, choices))}"
            )
    for option, (low, high) in _RANGES.items():
        value = chosen.get(option, high)
        if option == "ridge" and value is None:
            continue
        whole = option in _WHOLE
        if (
            isinstance(value, bool)
            or not isinstance(value, int | np.integer if whole else int | float | np.number)
            or not low <= value <= high
        ):
            raise InputError(
                f"convert: {option} is {value!r}, expected a {'whole ' if whole else ''}number "
                f"from {low:g} to {high:g}"
            )
    return chosen


_CHOICES: dict[str, tuple[Any, ...]] = {
    "reset": ("subtract", "to_value"),
    "max_pool": ("count", "argmax", "or"),
    "encoding": ("constant", "poisson"),
    "junction": ("scaled", "equal_threshold"),
    "per_channel": (False, True),
    "start": ("spike_norm", "rmp", "percentile", "channel_wise", "max", "calibrated"),
}
_RANGES = {
    "v0": (0.0, 1.0),
    "percentile": (1e-3, 100.0),
    "alpha": (1e-3, 1.0),
    "calibration_steps": (1, 2**31 - 1),
    "max_spikes": (1, 255),
    "epochs": (1, 2**31 - 1),
    "threshold_scale": (1e-3, 10.0),
    "ridge": (0.0, 1e12),
    "seed": (0, 2**63 - 1),
    "lr": (0.0, 1e3),
    "batch_size": (1, 2**31 - 1),
    "weight_decay": (0.0, 1e3),
}
_WHOLE = ("calibration_steps", "max_spikes", "epochs", "seed", "batch_size")
