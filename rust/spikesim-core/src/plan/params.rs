//! A population's parameters in the order in which the neuron kernel reads them.

use crate::graph::Neuron;
use crate::graph::Tensor;
use crate::graph::neuron::{Fires, Order, Reset, ResetTiming, Spikes, Synapse};
use crate::kernels::int::neuron::IntParams;
use crate::kernels::level::Level;
use crate::kernels::neuron::{NeuronParams, Rules};
use crate::kernels::param::Param;
use crate::kernels::window::Dims;

use super::PlanEdge;
use super::pack::{block_width, int_width};
use super::quantise::{PopulationUnits, decay, units};

/// Neurons ready to run.
#[derive(Debug)]
pub(crate) struct Population {
    pub(crate) rules: Rules,
    pub(crate) cells: Cells,
    /// Lanes of a block.
    pub(crate) width: usize,
    /// What is summed, in the order of the edges.
    pub(crate) parents: Vec<ParentSpec>,
    /// Value of one spike; `None` where it is 1 everywhere.
    pub(crate) amplitude: Option<Amplitude>,
}

/// The neurons themselves.
#[derive(Debug)]
pub(crate) enum Cells {
    /// f32.
    Float { params: Box<NeuronParams>, v0: Param, i0: Param },
    /// Integers; units of the summed input are `2^-fraction` of those of the weights.
    Integer { params: Box<IntParams>, v0: Param<i32>, fraction: u32 },
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
        let (v0, i0) = (pack(&neuron.v0, 0.0), pack(&neuron.i0, 0.0));
        let cells = Cells::Float { params: Box::new(params), v0, i0 };
        Self { rules, cells, width, parents: Vec::new(), amplitude: amplitude(neuron, shape) }
    }

    /// The same in integers (S14).
    pub(crate) fn integer(
        neuron: &Neuron,
        shape: &[usize],
        own: &PopulationUnits,
        level: Level,
    ) -> Self {
        let dims = Dims::of(shape);
        let width = int_width(dims.c, level);
        let pixels = dims.pixels();
        let size = (dims.c, pixels, width);
        let pack = |tensor: &Tensor, of: &dyn Fn(usize, f32) -> i32| {
            let per_neuron = tensor.shape().len() > 1;
            Param::pack(size, per_neuron, 0, |c, p| of(c, tensor.value_at(c * pixels + p, shape)))
        };
        let level_of = |c: usize, value: f32| units(value, own.v[c]);
        let option = |tensor: &Option<Tensor>| tensor.as_ref().map(|t| pack(t, &level_of));
        let rules = rules(neuron);
        let decays = neuron.alpha_mem.data().iter().any(|&a| a != 1.0);
        let params = IntParams {
            rules,
            bias: own.bias.as_ref().map(|b| Param::pack(size, false, 0, |c, _| b[c])),
            v_threshold: pack(&neuron.v_threshold, &level_of),
            v_reset: pack(&neuron.v_reset, &level_of),
            v_leak: pack(&neuron.v_leak, &level_of),
            alpha_mem: decays.then(|| pack(&neuron.alpha_mem, &|_, a| decay(a))),
            v_threshold_neg: option(&neuron.v_threshold_neg),
            v_min: option(&neuron.v_min),
            v_unit: Param::pack(size, false, 1.0, |c, _| own.v[c]),
            x_unit: Param::pack(size, false, 1.0, |c, _| own.x[c]),
        };
        let v0 = pack(&neuron.v0, &level_of);
        let cells = Cells::Integer { params: Box::new(params), v0, fraction: own.fraction };
        Self { rules, cells, width, parents: Vec::new(), amplitude: amplitude(neuron, shape) }
    }

    /// The parameters of a population of f32, which a learner and a stream have alone.
    pub(crate) fn params(&self) -> &NeuronParams {
        match &self.cells {
            Cells::Float { params, .. } => params,
            Cells::Integer { .. } => unreachable!("learning and streams are planned in f32"),
        }
    }

    /// Whether its membranes are integers.
    pub(crate) fn is_integer(&self) -> bool {
        matches!(self.cells, Cells::Integer { .. })
    }

    /// Whether its spikes are plain ones: a mask says all.
    pub(crate) fn is_unit(&self) -> bool {
        self.amplitude.is_none() && !self.counts_spikes()
    }

    /// Whether a neuron can emit something else than 0 or 1 in a step.
    pub(crate) fn counts_spikes(&self) -> bool {
        self.rules.multi || self.rules.signed
    }

    /// Whether it spikes at all.
    pub(crate) fn fires(&self) -> bool {
        self.rules.fires
    }
}

fn amplitude(neuron: &Neuron, shape: &[usize]) -> Option<Amplitude> {
    let unit = neuron.spike_amplitude.data().iter().all(|&a| a == 1.0);
    (!unit).then(|| Amplitude {
        tensor: neuron.spike_amplitude.clone(),
        shape: shape.to_vec(),
        pixels: Dims::of(shape).pixels(),
    })
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
