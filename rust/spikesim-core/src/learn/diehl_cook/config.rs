//! What a network of this kind is: its size, constants per step, and rules.

use serde::Deserialize;

use crate::kernels::poisson::MAX_STEPS;
use crate::{Error, Result};

/// How neurons inhibit each other.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Model {
    /// A winner inhibits the others in the next step (S12.7).
    Wta,
    /// Each neuron drives an inhibitory one, which inhibits the others (S12.8).
    Current(Inhibitory),
}

/// The inhibitory neurons of [`Model::Current`]; potentials are above their rest.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inhibitory {
    /// What is left of a membrane after a step.
    pub decay: f32,
    /// Threshold.
    pub threshold: f32,
    /// Membrane after a spike.
    pub reset: f32,
    /// Steps of silence after a spike.
    pub refractory: u32,
    /// Weight from the excitatory neuron.
    pub weight: f32,
}

/// Everything that does not change while learning.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Number of inputs.
    pub inputs: usize,
    /// Number of excitatory neurons.
    pub neurons: usize,
    /// Kind of inhibition.
    pub model: Model,
    /// Steps of a presentation.
    pub steps: usize,
    /// Seed of all random numbers.
    pub seed: u64,
    /// What is left of a membrane after a step.
    pub decay: f32,
    /// Threshold above rest, without theta.
    pub threshold: f32,
    /// Membrane after a spike, above rest.
    pub reset: f32,
    /// Steps of silence after a spike.
    pub refractory: u32,
    /// Taken from the membranes of the others.
    pub inhibition: f32,
    /// Trace of an input `k` steps after its spike; 0 beyond the end.
    pub trace_pre: Vec<f32>,
    /// The same of a neuron.
    pub trace_post: Vec<f32>,
    /// Rate of depression at an input's spike.
    pub eta_pre: f32,
    /// Rate of potentiation at a neuron's spike.
    pub eta_post: f32,
    /// Soft bounds instead of hard ones.
    pub soft: bool,
    /// Target trace: neurons' spikes alone change weights, of all inputs.
    pub x_tar: Option<f32>,
    /// Largest weight.
    pub w_max: f32,
    /// Initial weights lie below this before they are normalised.
    pub w_init: f32,
    /// Sum of a neuron's weights; none: as they are.
    pub norm: Option<f32>,
    /// A spike raises its neuron's threshold by this.
    pub theta_plus: f32,
    /// What is left of theta after a presentation.
    pub theta_decay: f32,
    /// Fewer spikes present a sample again.
    pub min_spikes: usize,
    /// How often at most.
    pub max_repeats: u8,
    /// Rates rise by this part of themselves with each repeat.
    pub rate_step: f32,
    /// Steps that membranes are run at once; without effect on results.
    pub chunk: usize,
}

impl Config {
    /// Whether inputs' spikes change weights.
    pub(super) fn depresses(&self) -> bool {
        self.x_tar.is_none() && self.eta_pre != 0.0
    }

    /// What is left for the core to check: what its loops and slices stand on.
    pub fn check(&self) -> Result<()> {
        let place = "DiehlCook";
        let range = |name: &str, value: usize, most: usize| {
            let problem = format!("{name} is {value}, expected 1 to {most}");
            if (1..=most).contains(&value) { Ok(()) } else { Err(Error::input(place, problem)) }
        };
        range("n_inputs", self.inputs, 1 << 24)?;
        range("n_neurons", self.neurons, 1 << 24)?;
        range("n_steps", self.steps, MAX_STEPS)?;
        range("chunk", self.chunk, MAX_STEPS)?;
        if self.inputs.checked_mul(self.neurons).is_none_or(|n| n > 1 << 31) {
            let problem = format!("{} weights are too many", self.inputs * self.neurons);
            return Err(Error::input(place, problem));
        }
        if self.trace_pre.is_empty() || self.trace_post.is_empty() {
            return Err(Error::input(place, "a trace has no values, expected some"));
        }
        Ok(())
    }
}
