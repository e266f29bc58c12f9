//! Mini-batches (S12.14): every sample of a batch is presented with the weights and thetas that
//! the batch began with; what each would change is added in the order of the samples.

use rayon::prelude::*;

use super::plastic::Column;
use super::present::{Scratch, Weights};
use super::{Counts, DiehlCook, Sample, Samples, TRAINING, key, show};
use crate::Result;
use crate::kernels::aligned::Aligned;
use crate::kernels::poisson::{Chances, Stream};

/// A network of its own for a thread: as the batch begins, after each sample.
pub(super) struct Worker {
    weights: Aligned,
    theta: Vec<f32>,
    scratch: Scratch,
    chances: Chances,
}

/// What a sample would change.
struct Change {
    counts: Counts,
    /// A neuron, its theta's rise, its weights' changes of all inputs.
    columns: Vec<(u32, f32, Vec<f32>)>,
    spikes: Vec<u32>,
}

impl Worker {
    fn new(net: &DiehlCook) -> Self {
        let mut weights = Aligned::zeros(net.weights.len());
        weights.copy_from_slice(&net.weights);
        Self {
            weights,
            theta: net.theta.clone(),
            scratch: Scratch::new(net.stride, net.cfg.inputs),
            chances: Chances::default(),
        }
    }

    /// Presents a sample; leaves the worker's weights as they were.
    fn sample(
        &mut self,
        net: &DiehlCook,
        sample: Sample<'_>,
        factor: f32,
        number: u64,
    ) -> Result<Change> {
        let (cfg, stride) = (&net.cfg, net.stride);
        let stream = Stream { key: key(cfg.seed), purpose: TRAINING, attempt: 0, sample: number };
        let mut touched: Vec<u32> = Vec::new();
        let all = std::cell::RefCell::new(&mut touched);
        let note = |s: &Scratch, _: &mut Weights<'_>| {
            let mut all = all.borrow_mut();
            for &j in &s.touched {
                if !all.contains(&j) {
                    all.push(j);
                }
            }
            Ok(())
        };
        let (scratch, chances) = (&mut self.scratch, &mut self.chances);
        let mut weights =
            Weights::Learning { weights: &mut self.weights, theta: &mut self.theta, factor };
        let counts = show((cfg, net.level), scratch, chances, sample, stream, &mut weights, note)?;
        let columns = touched
            .iter()
            .map(|&j| {
                let k = j as usize;
                let theta = self.theta[k] - net.theta[k];
                self.theta[k] = net.theta[k];
                let change = (0..cfg.inputs).map(|i| i * stride + k).map(|at| {
                    let change = self.weights[at] - net.weights[at];
                    self.weights[at] = net.weights[at];
                    change
                });
                (j, theta, change.collect())
            })
            .collect();
        Ok(Change { counts, columns, spikes: self.scratch.spikes.clone() })
    }

    /// Takes over what a batch changed.
    fn follow(&mut self, net: &DiehlCook, touched: &[u32]) {
        self.theta.copy_from_slice(&net.theta);
        for &j in touched {
            for i in 0..net.cfg.inputs {
                let at = i * net.stride + j as usize;
                self.weights[at] = net.weights[at];
            }
        }
    }
}

impl DiehlCook {
    /// Learns from one batch, over the threads of the pool this is called in.
    pub fn train_batch(
        &mut self,
        samples: Samples<'_>,
        factors: &[f32],
        mut tell: impl FnMut(&[u32]),
    ) -> Result<()> {
        let threads = rayon::current_num_threads().min(factors.len()).max(1);
        let mut workers = std::mem::take(&mut self.workers);
        while workers.len() < threads {
            workers.push(Worker::new(self));
        }
        let share = factors.len().div_ceil(threads);
        let net = &*self;
        let changes: Vec<Result<Change>> = workers[..threads]
            .par_iter_mut()
            .enumerate()
            .flat_map_iter(|(k, worker)| {
                let mine = (k * share).min(factors.len())..((k + 1) * share).min(factors.len());
                mine.map(move |n| {
                    let sample = samples.get(&net.cfg, n);
                    worker.sample(net, sample, factors[n], net.seen + n as u64)
                })
                .collect::<Vec<_>>()
            })
            .collect();
        let changes: Vec<Change> = changes.into_iter().collect::<Result<_>>()?;
        let mut touched: Vec<u32> = Vec::new();
        let mut presentations = 0;
        for change in &changes {
            presentations += change.counts.presentations;
            for (j, theta, weights) in &change.columns {
                if !touched.contains(j) {
                    touched.push(*j);
                }
                self.theta[*j as usize] += theta;
                let column = self.weights[*j as usize..].iter_mut().step_by(self.stride);
                for (w, change) in column.zip(weights) {
                    *w = (*w + change).clamp(0.0, self.cfg.w_max);
                }
            }
            self.counts.add(&change.counts);
            tell(&change.spikes);
        }
        for &j in &touched {
            let (weights, stride) = (&mut self.weights, self.stride);
            Column { weights, stride, neuron: j as usize }.normalise(&self.cfg)?;
        }
        self.decay_theta(presentations);
        self.seen += factors.len() as u64;
        workers.iter_mut().for_each(|w| w.follow(self, &touched));
        self.workers = workers;
        Ok(())
    }

    /// One decay for each presentation.
    fn decay_theta(&mut self, presentations: u64) {
        let decay = self.cfg.theta_decay;
        if decay != 1.0 {
            for _ in 0..presentations {
                self.theta.iter_mut().for_each(|t| *t *= decay);
            }
        }
    }
}
