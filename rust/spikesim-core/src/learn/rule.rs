//! A plasticity rule as a value: traces, what a spike does on either side, how it depends on the
//! weight, bounds, normalisation and reward.

use serde::Deserialize;

use super::trace::TraceSpec;
use crate::{Error, Result};

/// What a spike does to the synapses of its neuron: the amplitude is `pair + triplet · s`, `s` the
/// slow trace of the neuron that spikes, and meets the fast trace of the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// Amplitude of pairs.
    pub pair: f32,
    /// Amplitude of triplets.
    pub triplet: f32,
    /// What is done to synapses whose other side has no trace at all.
    pub silent: f32,
}

impl Term {
    /// Whether it does anything.
    pub(super) fn acts(&self) -> bool {
        *self != Self::default()
    }
}

/// The factor of a change that the weight itself decides.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Dependence {
    /// 1.
    Additive,
    /// `(w_max − w)^mu` of what grows, `(w − w_min)^mu` of what shrinks; `halves` is `2 · mu`.
    Power {
        /// Twice the exponent, a whole number.
        halves: u32,
    },
    /// `(w − w_min) · (w_max − w)`.
    Product,
}

/// The weights of each output are scaled to one sum.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalise {
    /// What they sum up to.
    pub sum: f32,
    /// Steps from one time to the next; `None`: at the end of each sample.
    pub every: Option<u32>,
}

/// Changes go into an eligibility that only a reward carries into the weights.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reward {
    /// Time constant of the eligibility in steps; 0: of this step alone; `None`: no decay.
    pub tau: Option<f64>,
    /// Factor of what enters the eligibility.
    pub gain: f32,
    /// Factor of what leaves it.
    pub rate: f32,
}

/// A plasticity rule.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Rule {
    pub pre: TraceSpec,
    pub post: TraceSpec,
    pub pre_slow: Option<TraceSpec>,
    pub post_slow: Option<TraceSpec>,
    pub on_pre: Term,
    pub on_post: Term,
    pub dependence: Dependence,
    /// `None`: no bound.
    pub w_min: Option<f32>,
    pub w_max: Option<f32>,
    pub normalise: Option<Normalise>,
    pub reward: Option<Reward>,
}

/// How a weight changes: the part of a rule that is evaluated for each synapse.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    dependence: Dependence,
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Change {
    pub(super) fn of(rule: &Rule) -> Self {
        Self {
            dependence: rule.dependence,
            low: rule.w_min.unwrap_or(f32::NEG_INFINITY),
            high: rule.w_max.unwrap_or(f32::INFINITY),
        }
    }

    /// By how much a weight `w` changes under `m` (S11.5).
    #[inline]
    pub(super) fn by(&self, w: f32, m: f32) -> f32 {
        match self.dependence {
            Dependence::Additive => m,
            Dependence::Power { halves } => {
                let x = if m < 0.0 { w - self.low } else { self.high - w };
                m * power(x, halves)
            }
            Dependence::Product => m * ((w - self.low) * (self.high - w)),
        }
    }

    /// `w` within the bounds.
    #[inline]
    pub(super) fn bounded(&self, w: f32) -> f32 {
        w.max(self.low).min(self.high)
    }
}

/// `x^(halves/2)`: multiplications one after the other from 1, the square root last.
fn power(x: f32, halves: u32) -> f32 {
    let whole = (0..halves / 2).fold(1.0, |p, _| p * x);
    if halves.is_multiple_of(2) { whole } else { whole * x.max(0.0).sqrt() }
}

impl Rule {
    /// What has to hold of a rule wherever it comes from.
    pub(super) fn check(&self, place: &str) -> Result<()> {
        let wrong = |problem: String| Err(Error::input(place, problem));
        let traces = [Some(self.pre), Some(self.post), self.pre_slow, self.post_slow];
        for tau in traces.into_iter().flatten().filter_map(|trace| trace.tau) {
            if !(tau.is_finite() && tau > 0.0) {
                return wrong(format!("a trace has tau {tau}, expected steps above 0"));
            }
        }
        let numbers = [self.on_pre, self.on_post].into_iter();
        let numbers = numbers.flat_map(|t| [t.pair, t.triplet, t.silent]);
        let reward = self.reward.iter().flat_map(|r| [r.gain, r.rate]);
        if let Some(bad) = numbers.chain(reward).find(|x| !x.is_finite()) {
            return wrong(format!("an amplitude is {bad}, expected a finite number"));
        }
        if let Some(tau) = self.reward.and_then(|r| r.tau).filter(|t| t.is_nan() || *t < 0.0) {
            return wrong(format!("the eligibility has tau {tau}, expected steps of at least 0"));
        }
        let change = Change::of(self);
        if change.low.is_nan() || change.high.is_nan() || change.low >= change.high {
            let (low, high) = (change.low, change.high);
            return wrong(format!("w_min is {low} and w_max {high}, expected w_min < w_max"));
        }
        let bounded = change.low.is_finite() && change.high.is_finite();
        if self.dependence != Dependence::Additive && !bounded {
            return wrong("the weights have no bounds, expected w_min and w_max".into());
        }
        match self.normalise {
            Some(n) if !(n.sum.is_finite() && n.sum > 0.0) => {
                wrong(format!("sum is {}, expected a finite number above 0", n.sum))
            }
            Some(Normalise { every: Some(0), .. }) => {
                wrong("every is 0, expected at least 1 step".into())
            }
            _ => Ok(()),
        }
    }
}
