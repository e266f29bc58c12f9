//! A population's parameters in the order in which the neuron kernel reads them.

use crate::graph::Neuron;
use crate::graph::Tensor;
use crate::graph::neuron::{Fires, Order, Reset, ResetTiming, Spikes, Synapse};
use crate::kernels::level::Level;
use crate::kernels::neuron::{NeuronParams, Rules};
use crate::kernels::param::Param;
use crate::kernels::window::Dims;

use super::PlanEdge;
use super::pack::block_width;

/// Neurons ready to run.
#[derive(Debug)]
pub(crate) struct Population {
    pub(crate) params: NeuronParams,
    /// Lanes of a block.
    pub(crate) width: usize,
    /// What is summed, in the order of the edges.
    pub(crate) parents: Vec<ParentSpec>,
    /// Value of one spike; `None` where it is 1 everywhere.
    pub(crate) amplitude: Option<Amplitude>,
    pub(crate) v0: Param,
    pub(crate) i0: Param,
}

/// A summand of the population's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParentSpec {
    /// A layer that only this population reads: computed in the same kernel.
    Fused(usize),
    /// A value that exists already.
    Value(PlanEdge),
}

/// Spike amplitudes that are not all 1.
#[derive(Debug)]
pub(crate) struct Amplitude {
    tensor: Tensor,
    shape: Vec<usize>,
    pixels: usize,
}

impl Amplitude {
    /// The amplitude at channel `c`, pixel `p`.
    pub(crate) fn at(&self, c: usize, p: usize) -> f32 {
        self.tensor.value_at(c * self.pixels + p, &self.shape)
    }
}

impl Population {
    pub(crate) fn new(neuron: &Neuron, shape: &[usize], level: Level) -> Self {
        let dims = Dims::of(shape);
        let width = block_width(dims.c, level);
        let pixels = dims.pixels();
        let pack = |tensor: &Tensor, filler: f32| {
            let per_neuron = tensor.shape().len() > 1;
            Param::pack((dims.c, pixels, width), per_neuron, filler, |c, p| {
                tensor.value_at(c * pixels + p, shape)
            })
        };
        let option = |tensor: &Option<Tensor>, filler| tensor.as_ref().map(|t| pack(t, filler));
        let rules = rules(neuron);
        let five = [
            // Lanes that are no neuron never reach their threshold.
            pack(&neuron.v_threshold, f32::INFINITY),
            pack(&neuron.v_reset, 0.0),
            pack(&neuron.v_leak, 0.0),
            pack(&neuron.alpha_mem, 0.0),
            pack(&neuron.gain, 0.0),
        ];
        let mut params = NeuronParams::new(rules, five);
        params.alpha_syn = option(&neuron.alpha_syn, 0.0);
        params.w_in = option(&neuron.w_in, 0.0);
        params.alpha_inh = option(&neuron.alpha_inh, 0.0);
        params.v_threshold_neg = option(&neuron.v_threshold_neg, f32::NEG_INFINITY);
        params.v_min = option(&neuron.v_min, 0.0);
        params.theta_plus = option(&neuron.theta_plus, 0.0);
        params.alpha_theta = option(&neuron.alpha_theta, 0.0);
        params.max_spikes = neuron.rules.max_spikes.map_or(f32::INFINITY, |n| n as f32);
        params.refractory = neuron.rules.refractory as f32;
        let unit = neuron.spike_amplitude.data().iter().all(|&a| a == 1.0);
        let amplitude = (!unit).then(|| Amplitude {
            tensor: neuron.spike_amplitude.clone(),
            shape: shape.to_vec(),
            pixels,
        });
        let (v0, i0) = (pack(&neuron.v0, 0.0), pack(&neuron.i0, 0.0));
        Self { params, width, parents: Vec::new(), amplitude, v0, i0 }
    }

    /// Whether its spikes are plain ones: a mask says all.
    pub(crate) fn is_unit(&self) -> bool {
        self.amplitude.is_none() && !self.counts_spikes()
    }

    /// Whether a neuron can emit something else than 0 or 1 in a step.
    pub(crate) fn counts_spikes(&self) -> bool {
        self.params.rules.multi || self.params.rules.signed
    }

    /// Whether it spikes at all.
    pub(crate) fn fires(&self) -> bool {
        self.params.rules.fires
    }
}

fn rules(neuron: &Neuron) -> Rules {
    let rules = &neuron.rules;
    let all = |tensor: &Tensor, value: f32| tensor.data().iter().all(|&x| x == value);
    Rules {
        strict: rules.fires == Fires::Above,
        fires: rules.spikes != Spikes::None,
        multi: rules.spikes == Spikes::Multi,
        signed: rules.spikes == Spikes::Signed,
        subtract: rules.reset == Reset::Subtract,
        to_value: rules.reset == Reset::ToValue,
        reset_before: rules.reset_timing == ResetTiming::NextStepBefore,
        reset_after: rules.reset_timing == ResetTiming::NextStepAfter,
        guarded: rules.reset_timing == ResetTiming::SameStepGuarded,
        order_b: rules.order == Order::B,
        decay_first: rules.synapse == Synapse::DecayFirst,
        decay_after: rules.synapse == Synapse::DecayAfter,
        alpha: rules.synapse == Synapse::Alpha,
        refractory: rules.refractory > 0,
        adaptive: neuron.theta_plus.is_some(),
        clamp: neuron.v_min.is_some(),
        plain_if: all(&neuron.alpha_mem, 1.0) && all(&neuron.v_leak, 0.0) && all(&neuron.gain, 1.0),
    }
}
