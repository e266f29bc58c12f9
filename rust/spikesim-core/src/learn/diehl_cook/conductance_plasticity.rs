//! Triplet STDP with traces that a spike sets to 1 (S12.c6, S12.c7), and normalisation.
//!
//! A trace of that kind is a function of the steps since the last spike, so nothing decays: a
//! table is read when a spike comes. Weights are rows of inputs; both ways are cheap because the
//! neurons that fired lately (for an input's spike) and the inputs that did (for a neuron's
//! spike) are short lists.

use super::conductance_params::ConductanceParams;

const NEVER: i64 = -1;

/// Who spiked when last, and who did so lately.
#[derive(Debug)]
struct Recent {
    last: Vec<i64>,
    listed: Vec<bool>,
    list: Vec<u32>,
    /// Steps after which every trace is 0.
    window: usize,
}

impl Recent {
    fn new(n: usize, window: usize) -> Self {
        Self { last: vec![NEVER; n], listed: vec![false; n], list: Vec::new(), window }
    }

    /// Steps since the last spike of `k`, if a trace is left of it.
    fn age(&self, k: usize, step: u64) -> Option<usize> {
        let last = self.last[k];
        let age = (step as i64 - last) as usize;
        (last >= 0 && age < self.window).then_some(age)
    }

    fn spike(&mut self, k: usize, step: u64) {
        self.last[k] = step as i64;
        if !self.listed[k] {
            self.listed[k] = true;
            self.list.push(k as u32);
        }
    }

    fn forget(&mut self, step: u64) {
        let (last, listed, window) = (&self.last, &mut self.listed, self.window);
        self.list.retain(|&k| {
            let recent = ((step as i64 - last[k as usize]) as usize) < window;
            listed[k as usize] = recent;
            recent
        });
    }

    fn restore(&mut self, last: &[i64], step: u64) {
        *self = Self::new(last.len(), self.window);
        for (k, &t) in last.iter().enumerate() {
            if t >= 0 {
                self.spike(k, t as u64);
            }
        }
        self.forget(step);
    }
}

/// Traces, rates and bounds, and which columns changed.
#[derive(Debug)]
pub(super) struct Plasticity {
    pre: Vec<f32>,
    post: Vec<f32>,
    post_slow: Vec<f32>,
    /// Rates of depression and potentiation: at first, and now.
    rates: (f32, f32),
    eta_pre: f32,
    eta_post: f32,
    w_max: f32,
    norm: f32,
    inputs: Recent,
    neurons: Recent,
    changed: Vec<bool>,
    /// (neuron, what an input's spike takes from its weight) in this step.
    falls: Vec<(u32, f32)>,
}

impl Plasticity {
    pub(super) fn new(params: &ConductanceParams, n_inputs: usize, n: usize) -> Self {
        let pre = params.trace(params.tau_pre);
        let post = params.trace(params.tau_post);
        let post_slow = params.trace(params.tau_post_slow);
        Self {
            rates: (params.eta_pre as f32, params.eta_post as f32),
            eta_pre: params.eta_pre as f32,
            eta_post: params.eta_post as f32,
            w_max: params.w_max as f32,
            norm: params.norm as f32,
            inputs: Recent::new(n_inputs, pre.len()),
            neurons: Recent::new(n, post.len().max(post_slow.len())),
            changed: vec![true; n],
            falls: Vec::new(),
            pre,
            post,
            post_slow,
        }
    }

    pub(super) fn last_spikes(&self) -> (Vec<i64>, Vec<i64>) {
        (self.inputs.last.clone(), self.neurons.last.clone())
    }

    pub(super) fn restore(&mut self, inputs: &[i64], neurons: &[i64], step: u64) {
        self.inputs.restore(inputs, step);
        self.neurons.restore(neurons, step);
        self.changed.fill(true);
    }

    pub(super) fn settled(&mut self) {
        self.changed.fill(false);
    }

    pub(super) fn scale_rates(&mut self, factor: f32) {
        (self.eta_pre, self.eta_post) = (factor * self.rates.0, factor * self.rates.1);
    }

    fn bounded(&self, w: f32) -> f32 {
        if w < 0.0 {
            0.0
        } else if w > self.w_max {
            self.w_max
        } else {
            w
        }
    }

    /// Input spikes of a step: `w -= eta_pre · post`, with the traces that its beginning had.
    pub(super) fn depress(
        &mut self,
        weights: &mut [f32],
        lanes: usize,
        spikes: &[u32],
        step: u64,
    ) -> u64 {
        if step.is_multiple_of(64) {
            self.inputs.forget(step);
            self.neurons.forget(step);
        }
        if spikes.is_empty() {
            return 0;
        }
        self.falls.clear();
        for &j in &self.neurons.list {
            let age = self.neurons.age(j as usize, step);
            if let Some(&trace) = age.and_then(|age| self.post.get(age)) {
                self.falls.push((j, self.eta_pre * trace));
                self.changed[j as usize] = true;
            }
        }
        for &i in spikes {
            let row = &mut weights[i as usize * lanes..][..lanes];
            for &(j, fall) in &self.falls {
                row[j as usize] = self.bounded(row[j as usize] - fall);
            }
            self.inputs.spike(i as usize, step);
        }
        (spikes.len() * self.falls.len()) as u64
    }

    /// A spike of neuron `j`: `w += eta_post · post_slow · pre`, then its traces are 1.
    pub(super) fn potentiate(
        &mut self,
        weights: &mut [f32],
        lanes: usize,
        j: usize,
        step: u64,
    ) -> u64 {
        let mut updates = 0;
        let slow = self.neurons.age(j, step).and_then(|age| self.post_slow.get(age));
        if let Some(slow) = slow {
            let rate = self.eta_post * slow;
            for &i in &self.inputs.list {
                if let Some(age) = self.inputs.age(i as usize, step) {
                    let w = &mut weights[i as usize * lanes + j];
                    *w = self.bounded(*w + rate * self.pre[age]);
                    updates += 1;
                }
            }
            self.changed[j] = true;
        }
        self.neurons.spike(j, step);
        updates
    }

    /// Scale each changed column to the sum `norm`, added up over ascending inputs.
    pub(super) fn normalize(&mut self, weights: &mut [f32], lanes: usize, all: bool) {
        for (j, changed) in self.changed.iter_mut().enumerate() {
            if !(*changed || all) {
                continue;
            }
            *changed = false;
            let mut sum = 0.0;
            for row in weights.chunks_exact(lanes) {
                sum += row[j];
            }
            if sum > 0.0 {
                let scale = self.norm / sum;
                for row in weights.chunks_exact_mut(lanes) {
                    row[j] *= scale;
                }
            }
        }
    }
}
