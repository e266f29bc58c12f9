//! Winner-take-all as expectation maximisation after Nessler et al. (2013), with the homeostasis
//! of Habenschuss et al. (2012): rules S13.11 – S13.14.

use rayon::prelude::*;

use crate::kernels::exp::exp;
use crate::kernels::level::Level;
use crate::kernels::philox::{philox, unit};
use crate::kernels::rows::add_rows;
use crate::kernels::simd::LANES;

/// What the counter of the random numbers is for.
const DRAW: u32 = 0x5345_4d00;

/// Rates and bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Params {
    pub eta: f32,
    pub eta_bias: f32,
    /// c of the rule.
    pub c: f32,
    pub w_min: f32,
    pub w_max: f32,
    pub seed: u64,
}

/// Neurons of which one fires for each sample.
#[derive(Debug)]
pub struct Sem {
    params: Params,
    neurons: usize,
    inputs: usize,
    lanes: usize,
    /// `[2·input + (0 on | 1 off)][lane]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
    seen: u64,
    level: Level,
}

impl Sem {
    /// Weights and biases are zero.
    pub fn new(neurons: usize, inputs: usize, params: Params, level: Level) -> Self {
        let lanes = neurons.next_multiple_of(LANES);
        let (weight, bias) = (vec![0.0; 2 * inputs * lanes], vec![0.0; lanes]);
        Self { params, neurons, inputs, lanes, weight, bias, seen: 0, level }
    }

    /// Pixels of a sample.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Neurons.
    pub fn neurons(&self) -> usize {
        self.neurons
    }

    /// Weights `(neuron, 2·input)`, biases, samples seen.
    pub fn state(&self) -> (Vec<f32>, Vec<f32>, u64) {
        let rows = 2 * self.inputs;
        let at = |i: usize| self.weight[i % rows * self.lanes + i / rows];
        let weight = (0..self.neurons * rows).map(at).collect();
        (weight, self.bias[..self.neurons].to_vec(), self.seen)
    }

    /// Take what [`Sem::state`] gave.
    pub fn set_state(&mut self, weight: &[f32], bias: &[f32], seen: u64) {
        let rows = 2 * self.inputs;
        for (i, &w) in weight.iter().enumerate() {
            self.weight[i % rows * self.lanes + i / rows] = w;
        }
        self.bias[..self.neurons].copy_from_slice(bias);
        self.seen = seen;
    }

    /// The rows that spike: on where the pixel is set, off elsewhere.
    fn active(pixels: &[bool], rows: &mut Vec<u32>) {
        rows.clear();
        rows.extend(pixels.iter().enumerate().map(|(i, &on)| 2 * i as u32 + u32::from(!on)));
    }

    /// `e^(u − max u)` of each neuron into `out`, and their sum.
    fn weigh(&self, rows: &[u32], out: &mut Vec<f32>) -> f32 {
        out.clear();
        out.extend_from_slice(&self.bias);
        add_rows(self.level, &self.weight, rows, out);
        out.truncate(self.neurons);
        let most = out.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        out.iter_mut().for_each(|u| *u = exp(*u - most));
        out.iter().fold(0.0, |sum, e| sum + e)
    }

    /// Learn from samples of pixels, in their order; gives the neuron that fired for each.
    pub fn learn(&mut self, samples: &[bool]) -> Vec<u32> {
        let Params { eta, eta_bias, c, w_min, w_max, seed } = self.params;
        let key = [seed as u32, (seed >> 32) as u32];
        let (mut rows, mut odds) = (Vec::new(), Vec::new());
        let mut fired = Vec::new();
        let share = 1.0 / self.neurons as f32;
        for pixels in samples.chunks_exact(self.inputs) {
            Self::active(pixels, &mut rows);
            let sum = self.weigh(&rows, &mut odds);
            let counter = [self.seen as u32, (self.seen >> 32) as u32, 0, DRAW];
            let target = unit(philox(counter, key)[0]) * sum;
            let mut below = 0.0;
            let winner = odds
                .iter()
                .position(|e| {
                    below += e;
                    below > target
                })
                .unwrap_or(self.neurons - 1);
            for (i, &on) in pixels.iter().enumerate() {
                for (row, active) in [(2 * i, on), (2 * i + 1, !on)] {
                    let w = &mut self.weight[row * self.lanes + winner];
                    let push = if active { c * exp(-*w) } else { 0.0 };
                    *w = (*w + eta * (push - 1.0)).clamp(w_min, w_max);
                }
            }
            for (k, b) in self.bias[..self.neurons].iter_mut().enumerate() {
                *b += eta_bias * (share - f32::from(u8::from(k == winner)));
            }
            self.seen += 1;
            fired.push(winner as u32);
        }
        fired
    }

    /// The probability of each neuron to fire, sample by sample.
    pub fn transform(&self, samples: &[bool], out: &mut [f32]) {
        let samples = samples.par_chunks(self.inputs);
        samples.zip(out.par_chunks_mut(self.neurons)).for_each_init(
            || (Vec::new(), Vec::new()),
            |(rows, odds), (pixels, out)| {
                Self::active(pixels, rows);
                let sum = self.weigh(rows, odds);
                for (p, e) in out.iter_mut().zip(odds.iter()) {
                    *p = e / sum;
                }
            },
        );
    }
}
