"""The literature's plasticity rules, put together from the parts of `spikesim.learn.parts`.

Each constructor gives a `Rule`; a rule of one's own is made of the same parts. What they mean is
S11 of docs/semantics.md. Times are in steps.
"""

from __future__ import annotations

from dataclasses import replace

from spikesim.errors import InputError
from spikesim.learn.parts import Normalise, Reward, Rule, Term, Trace, number, time_constant

__all__ = [
    "MSTDP",
    "MSTDPET",
    "AntiSTDP",
    "DiehlCookSTDP",
    "PairSTDP",
    "RewardSTDP",
    "SimplifiedSTDP",
    "TripletSTDP",
]

Bound = float | None


def PairSTDP(
    a_plus: float = 0.01,
    a_minus: float = 0.01,
    tau_plus: float | None = 20.0,
    tau_minus: float | None = 20.0,
    w_min: Bound = 0.0,
    w_max: Bound = 1.0,
    *,
    nearest: bool = False,
    dependence: str | float = "additive",
    normalise: Normalise | None = None,
) -> Rule:
    """Pair-based STDP (Song, Miller & Abbott 2000; van Rossum et al. 2000 with
    `dependence="multiplicative"`; Gütig et al. 2003 with an exponent).

    A spike behind the synapse adds `a_plus · e^(−Δt/tau_plus)` for each earlier (or simultaneous)
    spike before it, one before the synapse takes `a_minus · e^(−Δt/tau_minus)` for each earlier one
    behind it; with `nearest` for the last one only.

    Args:
        a_plus: Amplitude of what grows.
        a_minus: Amplitude of what shrinks.
        tau_plus: Time constant of the trace before the synapse, in steps.
        tau_minus: Time constant of the trace behind it.
        w_min: Lower bound; None: none.
        w_max: Upper bound; None: none.
        nearest: Only the last spike of the other side counts.
        dependence: Of the weight, as in `Rule`.
        normalise: Of the weights of each output.

    Returns:
        The rule.

    Raises:
        InputError: A bad value.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.PairSTDP(0.01, 0.012, 20.0, 20.0).on_post.pair
        0.01
    """
    return Rule(
        pre=Trace(tau_plus, nearest),
        post=Trace(tau_minus, nearest),
        on_pre=Term(pair=-number("PairSTDP", "a_minus", a_minus)),
        on_post=Term(pair=number("PairSTDP", "a_plus", a_plus)),
        dependence=dependence,
        w_min=w_min,
        w_max=w_max,
        normalise=normalise,
    )


def AntiSTDP(
    a_plus: float = 0.01,
    a_minus: float = 0.01,
    tau_plus: float | None = 20.0,
    tau_minus: float | None = 20.0,
    w_min: Bound = 0.0,
    w_max: Bound = 1.0,
    *,
    nearest: bool = False,
    dependence: str | float = "additive",
    normalise: Normalise | None = None,
) -> Rule:
    """`PairSTDP` with the signs turned (Bell et al. 1997): a spike behind the synapse takes
    `a_plus`, one before it adds `a_minus`. Arguments are those of `PairSTDP`.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.AntiSTDP(0.01).on_post.pair
        -0.01
    """
    # Checked here, so that an error names this rule.
    a_plus, a_minus = number("AntiSTDP", "a_plus", a_plus), number("AntiSTDP", "a_minus", a_minus)
    return PairSTDP(
        -a_plus,
        -a_minus,
        tau_plus,
        tau_minus,
        w_min,
        w_max,
        nearest=nearest,
        dependence=dependence,
        normalise=normalise,
    )


def TripletSTDP(
    a2_plus: float = 5e-10,
    a2_minus: float = 7e-3,
    a3_plus: float = 6.2e-3,
    a3_minus: float = 2.3e-4,
    tau_plus: float = 16.8,
    tau_minus: float = 33.7,
    tau_x: float = 101.0,
    tau_y: float = 125.0,
    w_min: Bound = 0.0,
    w_max: Bound = 1.0,
    *,
    nearest: bool = False,
    dependence: str | float = "additive",
    normalise: Normalise | None = None,
) -> Rule:
    """Triplet STDP (Pfister & Gerstner 2006, J. Neurosci. 26:9673; its defaults are those fitted
    to visual cortex, all to all, with a step of 1 ms).

    A spike behind the synapse adds `r1 · (a2_plus + a3_plus · o2)`, one before it takes
    `o1 · (a2_minus + a3_minus · r2)`; the slow traces `o2` (`tau_y`) and `r2` (`tau_x`) are taken
    before the spike that is being made enters them.

    Args:
        a2_plus: Pair amplitude of what grows.
        a2_minus: Pair amplitude of what shrinks.
        a3_plus: Triplet amplitude of what grows.
        a3_minus: Triplet amplitude of what shrinks.
        tau_plus: Of r1, the fast trace before the synapse, in steps.
        tau_minus: Of o1, the fast trace behind it.
        tau_x: Of r2, the slow trace before it.
        tau_y: Of o2, the slow trace behind it.
        w_min: Lower bound; None: none.
        w_max: Upper bound; None: none.
        nearest: Spikes set traces to 1 instead of adding 1.
        dependence: Of the weight, as in `Rule`.
        normalise: Of the weights of each output.

    Returns:
        The rule.

    Raises:
        InputError: A bad value.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.TripletSTDP().post_slow.tau
        125.0
    """
    place = "TripletSTDP"
    return Rule(
        pre=Trace(tau_plus, nearest),
        post=Trace(tau_minus, nearest),
        pre_slow=Trace(tau_x, nearest),
        post_slow=Trace(tau_y, nearest),
        on_pre=Term(-number(place, "a2_minus", a2_minus), -number(place, "a3_minus", a3_minus)),
        on_post=Term(number(place, "a2_plus", a2_plus), number(place, "a3_plus", a3_plus)),
        dependence=dependence,
        w_min=w_min,
        w_max=w_max,
        normalise=normalise,
    )


def DiehlCookSTDP(
    nu_pre: float = 1e-4,
    nu_post: float = 1e-2,
    tau_pre: float = 20.0,
    tau_post1: float = 20.0,
    tau_post2: float = 40.0,
    w_min: Bound = 0.0,
    w_max: Bound = 1.0,
    *,
    dependence: str | float = "additive",
    normalise: Normalise | None = None,
) -> Rule:
    """The triplet rule of Diehl & Cook (2015, Front. Comput. Neurosci. 9:99), traces set to 1.

    A spike before the synapse takes `nu_pre · post1`, one behind it adds `nu_post · pre · post2`
    with `post2` as it was before this spike set it.

    Args:
        nu_pre: Amplitude of what shrinks.
        nu_post: Amplitude of what grows.
        tau_pre: Of the trace before the synapse, in steps.
        tau_post1: Of the fast trace behind it.
        tau_post2: Of the slow trace behind it.
        w_min: Lower bound; None: none.
        w_max: Upper bound; None: none.
        dependence: Of the weight, as in `Rule`.
        normalise: Of the weights of each output: `Normalise(78.4)` for 784 inputs.

    Returns:
        The rule.

    Raises:
        InputError: A bad value.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.DiehlCookSTDP(normalise=ss.learn.Normalise(78.4)).post.nearest
        True
    """
    return Rule(
        pre=Trace(tau_pre, nearest=True),
        post=Trace(tau_post1, nearest=True),
        post_slow=Trace(tau_post2, nearest=True),
        on_pre=Term(pair=-number("DiehlCookSTDP", "nu_pre", nu_pre)),
        on_post=Term(triplet=number("DiehlCookSTDP", "nu_post", nu_post)),
        dependence=dependence,
        w_min=w_min,
        w_max=w_max,
        normalise=normalise,
    )


def SimplifiedSTDP(
    a_plus: float = 0.004,
    a_minus: float = 0.003,
    w_min: float = 0.0,
    w_max: float = 1.0,
    *,
    window: float | None = None,
    dependence: str | float = "product",
) -> Rule:
    """The simplified rule of Kheradpisheh et al. (2018, Neural Networks 99:56).

    A spike behind the synapse adds `a_plus · (w − w_min)(w_max − w)` where the neuron before it has
    spiked in this sample (in this step as well), and takes `a_minus` times the same where it has
    not yet.

    Args:
        a_plus: Amplitude of what grows.
        a_minus: Amplitude of what shrinks.
        w_min: Lower bound.
        w_max: Upper bound.
        window: Time constant in steps of what an earlier spike still counts; None: it counts in
            full for the whole sample, as in the paper.
        dependence: Of the weight, as in `Rule`.

    Returns:
        The rule.

    Raises:
        InputError: A bad value.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.SimplifiedSTDP(0.004, 0.003).on_post
        Term(pair=0.004, triplet=0.0, silent=-0.003)
    """
    place = "SimplifiedSTDP"
    return Rule(
        pre=Trace(window, nearest=True),
        post=Trace(1.0, nearest=True),
        on_post=Term(
            pair=number(place, "a_plus", a_plus), silent=-number(place, "a_minus", a_minus)
        ),
        dependence=dependence,
        w_min=w_min,
        w_max=w_max,
    )


def RewardSTDP(
    a_plus: float = 0.01,
    a_minus: float = 0.01,
    tau_plus: float = 20.0,
    tau_minus: float = 20.0,
    tau_eligibility: float | None = 1000.0,
    w_min: Bound = 0.0,
    w_max: Bound = 1.0,
    *,
    nearest: bool = False,
    dependence: str | float = "additive",
    normalise: Normalise | None = None,
) -> Rule:
    """STDP modulated by reward through an eligibility trace (Izhikevich 2007, Cereb. Cortex
    17:2443): the changes of `PairSTDP` are summed up in a trace of `tau_eligibility` steps, and a
    reward `r` adds `r` times that trace to the weight. Other arguments are those of `PairSTDP`.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.RewardSTDP(tau_eligibility=200.0).reward
        Reward(tau=200.0, gain=1.0, rate=1.0)
    """
    rule = PairSTDP(
        a_plus,
        a_minus,
        tau_plus,
        tau_minus,
        w_min,
        w_max,
        nearest=nearest,
        dependence=dependence,
        normalise=normalise,
    )
    return replace(rule, reward=Reward(tau_eligibility))


def MSTDP(
    gamma: float = 0.01,
    a_plus: float = 1.0,
    a_minus: float = 1.0,
    tau_plus: float = 20.0,
    tau_minus: float = 20.0,
    w_min: Bound = 0.0,
    w_max: Bound = 1.0,
) -> Rule:
    """Reward-modulated STDP of Florian (2007, Neural Comput. 19:1468): what the spikes of a step
    change is multiplied by `gamma` and the reward of the same step, and forgotten.

    Florian's reward comes a step later; give a reward that is as much earlier.

    Args:
        gamma: Learning rate.
        a_plus: Amplitude of pre before post.
        a_minus: Amplitude of post before pre (taken).
        tau_plus: Of the trace before the synapse, in steps.
        tau_minus: Of the trace behind it.
        w_min: Lower bound; None: none.
        w_max: Upper bound; None: none.

    Returns:
        The rule.

    Raises:
        InputError: A bad value.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.MSTDP(0.1).reward
        Reward(tau=0.0, gain=1.0, rate=0.1)
    """
    rule = PairSTDP(a_plus, a_minus, tau_plus, tau_minus, w_min, w_max)
    return replace(rule, reward=Reward(0.0, rate=number("MSTDP", "gamma", gamma)))


def MSTDPET(
    gamma: float = 0.01,
    a_plus: float = 1.0,
    a_minus: float = 1.0,
    tau_plus: float = 20.0,
    tau_minus: float = 20.0,
    tau_eligibility: float = 25.0,
    w_min: Bound = 0.0,
    w_max: Bound = 1.0,
) -> Rule:
    """`MSTDP` with an eligibility trace (Florian 2007): `z ← z·e^(−1/tau) + ζ/tau` of the changes
    `ζ`, and a reward adds `gamma · r · z`. Arguments as there, and:

    Args:
        gamma: Learning rate.
        a_plus: Amplitude of pre before post.
        a_minus: Amplitude of post before pre (taken).
        tau_plus: Of the trace before the synapse, in steps.
        tau_minus: Of the trace behind it.
        tau_eligibility: Of the eligibility trace, in steps.
        w_min: Lower bound; None: none.
        w_max: Upper bound; None: none.

    Returns:
        The rule.

    Raises:
        InputError: A bad value.

    Example:
        >>> import spikesim as ss
        >>> ss.learn.MSTDPET(0.1, tau_eligibility=4.0).reward
        Reward(tau=4.0, gain=0.25, rate=0.1)
    """
    tau = time_constant("MSTDPET", "tau_eligibility", tau_eligibility)
    if tau is None:
        raise InputError("MSTDPET: tau_eligibility is infinite, expected finite steps")
    rule = PairSTDP(a_plus, a_minus, tau_plus, tau_minus, w_min, w_max)
    rate = number("MSTDPET", "gamma", gamma)
    return replace(rule, reward=Reward(tau, gain=1 / tau, rate=rate))
