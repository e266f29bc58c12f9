//! One neuron description for every library: each thing they silently disagree on is a field.
//!
//! The step it describes is S3 of docs/semantics.md; nothing about it is assumed elsewhere.

use serde::{Deserialize, Serialize};

use super::tensor::Tensor;

/// The threshold test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fires {
    /// `v >= v_threshold`.
    #[serde(rename = ">=")]
    AtOrAbove,
    /// `v > v_threshold`.
    #[serde(rename = ">")]
    Above,
}

/// What a spike does to the membrane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// `v -= spikes · v_threshold`.
    Subtract,
    /// `v = v_reset`.
    ToValue,
    /// Nothing.
    None,
}

/// When the reset acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetTiming {
    /// In the step of the spike, after it.
    SameStep,
    /// At the beginning of the next step, before the leak (snnTorch Leaky "zero").
    NextStepBefore,
    /// In the next step, after leak and integration, before the threshold test
    /// (snnTorch Leaky "subtract", Synaptic).
    NextStepAfter,
    /// snnTorch's `reset_delay=False` with "subtract": a membrane that its reset left above the
    /// threshold meets the next test lowered by one threshold, which is given back afterwards
    /// unless it fires.
    SameStepGuarded,
}

/// How many spikes a neuron can emit in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spikes {
    /// Never fires; its output is `v` (LI).
    None,
    /// At most one.
    Single,
    /// `floor(v / v_threshold)`, at most `max_spikes` where that is given.
    Multi,
    /// +1 at `v_threshold`, −1 at `v_threshold_neg`.
    Signed,
}

/// How the synaptic current decays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Synapse {
    /// No synapse: the membrane sees the summed input itself.
    None,
    /// `i = alpha_syn·i + w_in·x`; the membrane sees the new `i`.
    DecayFirst,
    /// `i = alpha_syn·(i + w_in·x)`; the membrane sees the new `i`.
    DecayAfter,
    /// Two currents, `i = alpha_syn·i + w_in·x` and `n = alpha_inh·n − w_in·x`; the membrane is
    /// `gain·(i + n)` (snnTorch Alpha).
    Alpha,
}

/// The order of firing and integrating in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Integrate, then fire ("sweep").
    A,
    /// Fire from the membrane of the step before, then integrate ("fire first").
    B,
}

/// The name a population is shown under; it carries no meaning of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Model {
    IF,
    LIF,
    CubaLIF,
    LI,
    CubaLI,
    Neuron,
}

/// The discrete part of a neuron's description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeuronRules {
    /// Display name.
    pub model: Model,
    /// Threshold test.
    pub fires: Fires,
    /// What a spike does.
    pub reset: Reset,
    /// When it does it.
    pub reset_timing: ResetTiming,
    /// How many spikes a step.
    pub spikes: Spikes,
    /// Upper bound of [`Spikes::Multi`]; `None`: no bound.
    pub max_spikes: Option<u32>,
    /// Synaptic current.
    pub synapse: Synapse,
    /// Order in a step.
    pub order: Order,
    /// Steps after a spike in which `v` keeps its value and no spike is emitted.
    pub refractory: u32,
}

/// A population of neurons. Every parameter is a scalar (shape `[]`), per channel (`[C]`), or
/// per neuron (the population's shape).
#[derive(Clone, Debug, PartialEq)]
pub struct Neuron {
    /// The discrete part.
    pub rules: NeuronRules,
    /// Firing threshold (unused by [`Spikes::None`]).
    pub v_threshold: Tensor,
    /// Value of [`Reset::ToValue`].
    pub v_reset: Tensor,
    /// Resting value.
    pub v_leak: Tensor,
    /// Membrane decay a step; 1 for IF.
    pub alpha_mem: Tensor,
    /// Input gain of the membrane.
    pub gain: Tensor,
    /// Synaptic decay a step; `Some` exactly where there is a synapse.
    pub alpha_syn: Option<Tensor>,
    /// Input weight of the synapse; `Some` exactly where there is a synapse.
    pub w_in: Option<Tensor>,
    /// Decay a step of the inhibitory current; `Some` exactly with [`Synapse::Alpha`].
    pub alpha_inh: Option<Tensor>,
    /// Threshold of negative spikes, negative; `Some` exactly with [`Spikes::Signed`].
    pub v_threshold_neg: Option<Tensor>,
    /// Lower clamp of `v` after the reset.
    pub v_min: Option<Tensor>,
    /// Value of one spike.
    pub spike_amplitude: Tensor,
    /// Adaptive threshold: what a spike adds; `Some` together with `alpha_theta`.
    pub theta_plus: Option<Tensor>,
    /// Adaptive threshold: decay a step.
    pub alpha_theta: Option<Tensor>,
    /// Membrane before the first step.
    pub v0: Tensor,
    /// Synaptic current before the first step.
    pub i0: Tensor,
    /// Where the numbers came from (tau, dt, discretisation); nothing computes with it.
    pub meta: serde_json::Map<String, serde_json::Value>,
}

/// The name a value has in JSON and in messages.
macro_rules! names {
    ($type:ty { $($variant:ident => $name:literal),* $(,)? }) => {
        impl $type {
            /// The value's name in Python and in JSON.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),*
                }
            }
        }
    };
}

names!(Fires { AtOrAbove => ">=", Above => ">" });
names!(Reset { Subtract => "subtract", ToValue => "to_value", None => "none" });
names!(ResetTiming {
    SameStep => "same_step",
    NextStepBefore => "next_step_before",
    NextStepAfter => "next_step_after",
    SameStepGuarded => "same_step_guarded",
});
names!(Spikes { None => "none", Single => "single", Multi => "multi", Signed => "signed" });
names!(Synapse {
    None => "none",
    DecayFirst => "decay_first",
    DecayAfter => "decay_after",
    Alpha => "alpha",
});
names!(Order { A => "A", B => "B" });

impl Default for NeuronRules {
    fn default() -> Self {
        Self {
            model: Model::Neuron,
            fires: Fires::AtOrAbove,
            reset: Reset::Subtract,
            reset_timing: ResetTiming::SameStep,
            spikes: Spikes::Single,
            max_spikes: None,
            synapse: Synapse::None,
            order: Order::A,
            refractory: 0,
        }
    }
}

/// An IF neuron: threshold 1, no leak, reset by subtraction.
impl Default for Neuron {
    fn default() -> Self {
        let (zero, one) = (Tensor::scalar(0.0), Tensor::scalar(1.0));
        Self {
            rules: NeuronRules::default(),
            v_threshold: one.clone(),
            v_reset: zero.clone(),
            v_leak: zero.clone(),
            alpha_mem: one.clone(),
            gain: one.clone(),
            alpha_syn: None,
            w_in: None,
            alpha_inh: None,
            v_threshold_neg: None,
            v_min: None,
            spike_amplitude: one,
            theta_plus: None,
            alpha_theta: None,
            v0: zero.clone(),
            i0: zero,
            meta: serde_json::Map::new(),
        }
    }
}
