"""Plasticity rules as values of one small set of parts: traces, what a spike does on either side,
how a change depends on the weight, bounds, normalisation, reward.

`spikesim.learn.rules` has the literature's rules put together from them. What they mean is S11 of
docs/semantics.md. Times are in steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spikesim.errors import InputError, UnsupportedError

__all__ = ["Normalise", "Reward", "Rule", "Term", "Trace"]


def _float(place: str, name: str, value: Any, expected: str) -> float:
    try:
        if isinstance(value, bool | str | bytes):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{place}: {name} is {value!r}, expected {expected}") from None


def number(place: str, name: str, value: Any, least: float | None = None) -> float:
    """A finite number that float32 holds, at least `least`.

    Raises:
        InputError: It is none.
    """
    found = _float(place, name, value, "a number")
    if not math.isfinite(found) or abs(found) > float(np.finfo(np.float32).max):
        raise InputError(f"{place}: {name} is {found}, expected a finite float32")
    if least is not None and found < least:
        raise InputError(f"{place}: {name} is {found}, expected at least {least}")
    return found


def time_constant(place: str, name: str, value: Any, zero: bool = False) -> float | None:
    """Steps above 0 (or, with `zero`, 0); infinity or None: no decay, given as None.

    Raises:
        InputError: It is none of these.
    """
    if value is None:
        return None
    found = _float(place, name, value, "steps")
    if found == math.inf:
        return None
    if not math.isfinite(found) or found < 0 or (found == 0 and not zero):
        least = "of at least 0" if zero else "above 0"
        raise InputError(f"{place}: {name} is {found}, expected steps {least}")
    return found


@dataclass(frozen=True)
class Trace:
    """What a neuron's spikes leave behind (S11.3).

    Args:
        tau: Time constant in steps; None: no decay.
        nearest: A spike sets the trace to 1, so that only the last one counts ("nearest
            neighbour"); otherwise it adds 1 ("all to all").

    Raises:
        InputError: `tau` is not above 0.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.Trace(20)
        Trace(tau=20.0, nearest=False)
    """

    tau: float | None
    nearest: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "tau", time_constant("Trace", "tau", self.tau))
        if not isinstance(self.nearest, bool):
            raise InputError(f"Trace: nearest is {self.nearest!r}, expected True or False")


@dataclass(frozen=True)
class Term:
    """What a spike does to the synapses of its neuron (S11.4).

    Args:
        pair: Amplitude with which it meets the fast trace of the other side.
        triplet: The same, times the slow trace of the neuron that spikes.
        silent: What is done to synapses whose other side has no trace (on post spikes only).

    Raises:
        InputError: An amplitude is not finite.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.Term(pair=0.01).triplet
        0.0
    """

    pair: float = 0.0
    triplet: float = 0.0
    silent: float = 0.0

    def __post_init__(self) -> None:
        for name in ("pair", "triplet", "silent"):
            number("Term", name, getattr(self, name))


@dataclass(frozen=True)
class Normalise:
    """The weights of each output are scaled so that they sum up to `sum` (S11.8).

    Args:
        sum: The sum, above 0.
        every: Steps from one time to the next; None: at the end of each sample.

    Raises:
        InputError: `sum` is not above 0, or `every` no whole number of at least 1.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.Normalise(78.4)
        Normalise(sum=78.4, every=None)
    """

    sum: float
    every: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sum", number("Normalise", "sum", self.sum))
        if self.sum <= 0:
            raise InputError(f"Normalise: sum is {self.sum}, expected above 0")
        whole = isinstance(self.every, int | np.integer) and not isinstance(self.every, bool)
        if self.every is not None and not (whole and 1 <= self.every < 2**32):
            raise InputError(f"Normalise: every is {self.every!r}, expected whole steps or None")
        object.__setattr__(self, "every", None if self.every is None else int(self.every))


@dataclass(frozen=True)
class Reward:
    """Changes go into an eligibility that only a reward carries into the weights (S11.7).

    Args:
        tau: Time constant of the eligibility in steps; 0: it is that of the step alone; None: no
            decay.
        gain: Factor of what enters.
        rate: Factor of what leaves: a reward `r` adds `rate · r · eligibility` to the weight.

    Raises:
        InputError: A bad value.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.Reward(200.0)
        Reward(tau=200.0, gain=1.0, rate=1.0)
    """

    tau: float | None
    gain: float = 1.0
    rate: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "tau", time_constant("Reward", "tau", self.tau, zero=True))
        object.__setattr__(self, "gain", number("Reward", "gain", self.gain))
        object.__setattr__(self, "rate", number("Reward", "rate", self.rate))


@dataclass(frozen=True)
class Rule:
    """A plasticity rule (S11).

    Args:
        pre: Trace of the neuron before the synapse.
        post: Trace of the neuron behind it.
        on_pre: What a spike before the synapse does; it meets `post`.
        on_post: What a spike behind it does; it meets `pre`.
        pre_slow: Slow trace of the neuron before, for `on_pre.triplet`.
        post_slow: Slow trace of the neuron behind, for `on_post.triplet`.
        dependence: Factor of a change (S11.5): "additive", 1; a number `mu` (a multiple of 1/2),
            `(w_max − w)^mu` of what grows and `(w − w_min)^mu` of what shrinks;
            "multiplicative", the same with `mu=1`; "product", `(w − w_min)(w_max − w)`.
        w_min: Lower bound; None: none.
        w_max: Upper bound; None: none.
        normalise: The weights of each output are scaled to one sum.
        reward: Only a reward carries changes into the weights.

    Raises:
        InputError: Bounds that are none, a dependence on bounds that are not there.
        UnsupportedError: An exponent that is no multiple of 1/2 up to 8.

    Example:
        >>> import spikesim as ss
        >>> trace = ss.learn.Trace(20.0)
        >>> ss.learn.Rule(trace, trace, on_post=ss.learn.Term(pair=0.01), dependence=0.5).w_max
        1.0
    """

    pre: Trace
    post: Trace
    on_pre: Term = field(default_factory=Term)
    on_post: Term = field(default_factory=Term)
    pre_slow: Trace | None = None
    post_slow: Trace | None = None
    dependence: str | float = "additive"
    w_min: float | None = 0.0
    w_max: float | None = 1.0
    normalise: Normalise | None = None
    reward: Reward | None = None

    def __post_init__(self) -> None:
        for names, kind, optional in _FIELDS:
            for name in names:
                value = getattr(self, name)
                if not (isinstance(value, kind) or (optional and value is None)):
                    raise InputError(f"Rule: {name} is {value!r}, expected a {kind.__name__}")
        for name in ("w_min", "w_max"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, number("Rule", name, getattr(self, name)))
        if self.w_min is not None and self.w_max is not None and not self.w_min < self.w_max:
            raise InputError(
                f"Rule: w_min is {self.w_min} and w_max {self.w_max}, expected w_min < w_max"
            )
        if self.on_pre.silent:
            raise InputError("Rule: on_pre.silent is given, expected it on post spikes only")
        for term, slow, side in (
            (self.on_pre, self.pre_slow, "pre"),
            (self.on_post, self.post_slow, "post"),
        ):
            if term.triplet and slow is None:
                raise InputError(f"Rule: on_{side}.triplet needs {side}_slow, expected a Trace")
        if self._dependence() != "additive" and (self.w_min is None or self.w_max is None):
            raise InputError(
                f"Rule: dependence {self.dependence!r} without w_min or w_max, expected both"
            )

    def _dependence(self) -> str | dict[str, Any]:
        if self.dependence in ("additive", "product"):
            return str(self.dependence)
        if self.dependence == "multiplicative":
            return {"power": {"halves": 2}}
        if isinstance(self.dependence, str):
            raise InputError(
                f"Rule: dependence is {self.dependence!r}, expected 'additive', 'multiplicative', "
                "'product' or an exponent"
            )
        halves = 2 * number("Rule", "dependence", self.dependence, 0.0)
        if halves != int(halves) or halves > 16:
            raise UnsupportedError(
                f"Rule: an exponent of {self.dependence} is not supported; use a multiple of 1/2 "
                "up to 8"
            )
        return {"power": {"halves": int(halves)}}

    def spec(self) -> dict[str, Any]:
        """The rule as JSON values."""
        normalise, reward = self.normalise, self.reward
        return {
            "pre": _trace(self.pre),
            "post": _trace(self.post),
            "pre_slow": _trace(self.pre_slow),
            "post_slow": _trace(self.post_slow),
            "on_pre": _term(self.on_pre),
            "on_post": _term(self.on_post),
            "dependence": self._dependence(),
            "w_min": self.w_min,
            "w_max": self.w_max,
            "normalise": normalise and {"sum": normalise.sum, "every": normalise.every},
            "reward": reward and {"tau": reward.tau, "gain": reward.gain, "rate": reward.rate},
        }


#: Fields of a rule, what they are, and whether they may be None.
_FIELDS: list[tuple[tuple[str, ...], type, bool]] = [
    (("pre", "post"), Trace, False),
    (("pre_slow", "post_slow"), Trace, True),
    (("on_pre", "on_post"), Term, False),
    (("normalise",), Normalise, True),
    (("reward",), Reward, True),
]


def _trace(trace: Trace | None) -> dict[str, Any] | None:
    return None if trace is None else {"tau": trace.tau, "nearest": trace.nearest}


def _term(term: Term) -> dict[str, float]:
    return {name: float(getattr(term, name)) for name in ("pair", "triplet", "silent")}
