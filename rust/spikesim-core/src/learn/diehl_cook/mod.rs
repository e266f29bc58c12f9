//! Diehl and Cook's network (2015) in event form: Poisson inputs, plastic all-to-all weights, one
//! winner a step, adaptive thresholds. The rules are S12 of docs/semantics.md.
//!
//! Weights lie in rows of an input, `[input][neuron]`, padded to whole vectors. An input spike
//! adds its row to the sums, which is the bulk of the work and goes through memory in order. What
//! learns walks a column, but only of the one or two neurons that fired, and only through the
//! inputs that spiked: a few hundred strided accesses a sample, in rows that the sums have just
//! brought into the cache.

mod batch;
pub mod conductance;
pub mod conductance_model;
pub mod conductance_params;
mod conductance_plasticity;
mod config;
mod plastic;
mod present;

use rayon::prelude::*;

pub use config::{Config, Inhibitory, Model};
use plastic::Column;
pub use present::Scratch;
use present::{Weights, present};

use crate::kernels::aligned::Aligned;
use crate::kernels::level::Level;
use crate::kernels::philox::{philox, unit};
use crate::kernels::poisson::{self, Chances, Stream};
use crate::kernels::simd::LANES;
use crate::{Error, Result};

/// What random numbers are for: the purpose in a stream.
const WEIGHTS: u8 = 1;
/// Spikes while learning; the sample is its number since the beginning.
pub const TRAINING: u8 = 2;
/// Spikes while weights are frozen; the sample is a hash of its values.
pub const FROZEN: u8 = 3;

/// Counts of everything done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Presentations, repeats among them.
    pub presentations: u64,
    /// Spikes of inputs.
    pub input_spikes: u64,
    /// Spikes of excitatory neurons.
    pub spikes: u64,
    /// Spikes that arrived at a neuron.
    pub synops: u64,
    /// Weights changed by a spike.
    pub weight_updates: u64,
}

impl Counts {
    /// The sum of both.
    pub fn add(&mut self, other: &Counts) {
        self.presentations += other.presentations;
        self.input_spikes += other.input_spikes;
        self.spikes += other.spikes;
        self.synops += other.synops;
        self.weight_updates += other.weight_updates;
    }

    fn of(cfg: &Config, s: &Scratch) -> Self {
        let (neurons, inputs) = (cfg.neurons as u64, s.trains.len() as u64);
        let mut synops = inputs * neurons + s.inhibitions * (neurons - 1);
        if matches!(cfg.model, Model::Current(_)) {
            synops += s.spikes.len() as u64;
        }
        Self {
            presentations: 1,
            input_spikes: inputs,
            spikes: s.spikes.len() as u64,
            synops,
            weight_updates: s.updates,
        }
    }
}

/// Samples: what each is made of.
#[derive(Clone, Copy)]
pub enum Samples<'a> {
    /// `[sample][input]`: chance of a spike in a step.
    Chances(&'a [f32]),
    /// `[sample][step][input]`: spikes, everything but zero; never repeated.
    Rasters(&'a [u8]),
}

/// The network and what it has learned.
pub struct DiehlCook {
    cfg: Config,
    level: Level,
    stride: usize,
    weights: Aligned,
    theta: Vec<f32>,
    seen: u64,
    counts: Counts,
    scratch: Scratch,
    chances: Chances,
    workers: Vec<batch::Worker>,
}

/// What frozen samples gave: their counts, and the neurons that spiked in the order of time.
pub type Response = (Counts, Vec<u32>);

impl DiehlCook {
    /// A network with random weights, normalised.
    pub fn new(cfg: Config, level: Level) -> Result<Self> {
        cfg.check()?;
        let stride = cfg.neurons.next_multiple_of(LANES);
        let mut weights = Aligned::zeros(cfg.inputs * stride);
        for (i, row) in weights.chunks_exact_mut(stride).enumerate() {
            draw_row(cfg.seed, i, &mut row[..cfg.neurons], |u| cfg.w_init * u);
        }
        for neuron in 0..cfg.neurons {
            Column { weights: &mut weights, stride, neuron }.normalise(&cfg)?;
        }
        Ok(Self {
            theta: vec![0.0; cfg.neurons],
            scratch: Scratch::new(stride, cfg.inputs),
            level,
            stride,
            weights,
            seen: 0,
            counts: Counts::default(),
            chances: Chances::default(),
            workers: Vec::new(),
            cfg,
        })
    }

    /// What the network is.
    pub fn config(&self) -> &Config {
        &self.cfg
    }

    /// Samples learned from.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Counts of all samples learned from.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The thresholds' adaptations.
    pub fn theta(&self) -> &[f32] {
        &self.theta
    }

    /// The weights, `[input][neuron]`.
    pub fn weights(&self) -> Vec<f32> {
        let rows = self.weights.chunks_exact(self.stride);
        rows.flat_map(|row| &row[..self.cfg.neurons]).copied().collect()
    }

    /// Goes on from what another network of this configuration has learned.
    pub fn restore(
        &mut self,
        weights: &[f32],
        theta: &[f32],
        seen: u64,
        counts: Counts,
    ) -> Result<()> {
        let place = "DiehlCook";
        if weights.len() != self.cfg.inputs * self.cfg.neurons || theta.len() != self.cfg.neurons {
            let expected = format!("({}, {})", self.cfg.inputs, self.cfg.neurons);
            return Err(Error::shape(place, "weights or theta", &[weights.len()], expected));
        }
        if let Some(w) = weights.iter().find(|w| !(0.0..=self.cfg.w_max).contains(*w)) {
            let problem = format!("a weight is {w}, expected 0 to w_max = {}", self.cfg.w_max);
            return Err(Error::input(place, problem));
        }
        if let Some(t) = theta.iter().find(|t| !(t.is_finite() && **t >= 0.0)) {
            return Err(Error::input(place, format!("theta is {t}, expected at least 0")));
        }
        let rows = self.weights.chunks_exact_mut(self.stride);
        for (row, values) in rows.zip(weights.chunks_exact(self.cfg.neurons)) {
            row[..self.cfg.neurons].copy_from_slice(values);
        }
        self.theta.copy_from_slice(theta);
        (self.seen, self.counts) = (seen, counts);
        self.workers.clear();
        Ok(())
    }

    /// Learns from samples, each with its learning rates scaled by a factor. The neurons that
    /// spiked in the last presentation of each are given to `tell`.
    pub fn train(
        &mut self,
        samples: Samples<'_>,
        factors: &[f32],
        mut tell: impl FnMut(&[u32]),
    ) -> Result<()> {
        self.workers.clear();
        for (n, &factor) in factors.iter().enumerate() {
            let mut net =
                Weights::Learning { weights: &mut self.weights, theta: &mut self.theta, factor };
            let who = Stream {
                key: key(self.cfg.seed),
                purpose: TRAINING,
                attempt: 0,
                sample: self.seen,
            };
            let (cfg, chances) = (&self.cfg, &mut self.chances);
            let each = |s: &Scratch, net: &mut Weights<'_>| settle(cfg, s, net);
            let counts = show(
                (cfg, self.level),
                &mut self.scratch,
                chances,
                samples.get(cfg, n),
                who,
                &mut net,
                each,
            );
            self.counts.add(&counts?);
            self.seen += 1;
            tell(&self.scratch.spikes);
        }
        Ok(())
    }

    /// What the network answers to samples while nothing is learned; over the threads of the
    /// pool this is called in.
    pub fn respond(&self, samples: Samples<'_>) -> Vec<Response> {
        let n = samples.len(&self.cfg);
        let scratch = || (Scratch::new(self.stride, self.cfg.inputs), Chances::default());
        let one = |(s, chances): &mut (Scratch, Chances), n: usize| {
            let sample = samples.get(&self.cfg, n);
            let who = Stream {
                key: key(self.cfg.seed),
                purpose: FROZEN,
                attempt: 0,
                sample: sample.identity(),
            };
            let mut net = Weights::Frozen(&self.weights, &self.theta);
            let quiet = |_: &Scratch, _: &mut Weights<'_>| Ok(());
            let counts = show((&self.cfg, self.level), s, chances, sample, who, &mut net, quiet);
            (counts.unwrap_or_default(), s.spikes.clone())
        };
        (0..n).into_par_iter().with_min_len(4).map_init(scratch, one).collect()
    }
}

/// The weights that input `i` begins with, of numbers in [0, 1) (S12.20).
fn draw_row(seed: u64, i: usize, row: &mut [f32], weight: impl Fn(f32) -> f32) {
    let stream = Stream { key: key(seed), purpose: WEIGHTS, attempt: 0, sample: 0 };
    for (k, four) in row.chunks_mut(4).enumerate() {
        let counter = Stream { sample: k as u64, ..stream }.counter(0, i as u32);
        for (w, word) in four.iter_mut().zip(philox(counter, stream.key)) {
            *w = weight(unit(word));
        }
    }
}

/// The seed's two halves.
fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// The spikes of samples as they are drawn in the first attempt: rasters `[sample][step][input]`
/// of 0 and 1. `first` is the number of the first sample while learning; none: frozen.
pub fn rasters(
    level: Level,
    seed: u64,
    (inputs, steps): (usize, usize),
    chances: &[f32],
    first: Option<u64>,
) -> Vec<u8> {
    let samples = chances.len() / inputs;
    let mut out = vec![0; samples * steps * inputs];
    let (mut groups, mut trains) = (Chances::default(), poisson::Trains::default());
    for (n, (p, raster)) in
        chances.chunks_exact(inputs).zip(out.chunks_exact_mut(steps * inputs)).enumerate()
    {
        let (purpose, sample) = match first {
            Some(first) => (TRAINING, first + n as u64),
            None => (FROZEN, Sample::Chances(p).identity()),
        };
        let stream = Stream { key: key(seed), purpose, attempt: 0, sample };
        groups.fill(p, 1.0);
        poisson::draw(level, &stream, &groups, steps, &mut trains);
        for (t, step) in raster.chunks_exact_mut(inputs).enumerate() {
            trains.at(t).iter().for_each(|&i| step[i as usize] = 1);
        }
    }
    out
}

/// One of [`Samples`].
#[derive(Clone, Copy)]
enum Sample<'a> {
    Chances(&'a [f32]),
    Raster(&'a [u8]),
}

impl<'a> Samples<'a> {
    fn size(cfg: &Config, raster: bool) -> usize {
        if raster { cfg.steps * cfg.inputs } else { cfg.inputs }
    }

    /// How many.
    pub fn len(&self, cfg: &Config) -> usize {
        match self {
            Self::Chances(p) => p.len() / Self::size(cfg, false),
            Self::Rasters(r) => r.len() / Self::size(cfg, true),
        }
    }

    fn get(&self, cfg: &Config, n: usize) -> Sample<'a> {
        match self {
            Self::Chances(p) => {
                let size = Self::size(cfg, false);
                Sample::Chances(&p[n * size..(n + 1) * size])
            }
            Self::Rasters(r) => {
                let size = Self::size(cfg, true);
                Sample::Raster(&r[n * size..(n + 1) * size])
            }
        }
    }
}

impl Sample<'_> {
    /// FNV-1a over the numbers of the inputs that can spike and the bits of their chances.
    fn identity(&self) -> u64 {
        let Self::Chances(p) = self else { return 0 };
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for (i, p) in p.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            for word in [i as u64, u64::from(p.to_bits())] {
                hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        hash
    }
}

/// Presents a sample until it has spikes enough (S12.4); `each` follows every presentation.
fn show(
    (cfg, level): (&Config, Level),
    s: &mut Scratch,
    chances: &mut Chances,
    sample: Sample<'_>,
    mut who: Stream,
    net: &mut Weights<'_>,
    each: impl Fn(&Scratch, &mut Weights<'_>) -> Result<()>,
) -> Result<Counts> {
    let mut counts = Counts::default();
    loop {
        let repeats = match sample {
            Sample::Chances(p) => {
                chances.fill(p, 1.0 + cfg.rate_step * f32::from(who.attempt));
                poisson::draw(level, &who, chances, cfg.steps, &mut s.trains);
                cfg.max_repeats
            }
            Sample::Raster(raster) => {
                s.trains.read(raster, cfg.inputs);
                chances.keep(s.trains.inputs(cfg.inputs));
                0
            }
        };
        present(cfg, level, s, chances.real(), net);
        counts.add(&Counts::of(cfg, s));
        each(s, net)?;
        if s.spikes.len() >= cfg.min_spikes || who.attempt >= repeats {
            return Ok(counts);
        }
        who.attempt += 1;
    }
}

/// What follows a presentation from which was learned: sums of weights, the decay of theta.
fn settle(cfg: &Config, s: &Scratch, net: &mut Weights<'_>) -> Result<()> {
    let Weights::Learning { weights, theta, .. } = net else { return Ok(()) };
    let stride = cfg.neurons.next_multiple_of(LANES);
    for &j in &s.touched {
        Column { weights, stride, neuron: j as usize }.normalise(cfg)?;
    }
    if cfg.theta_decay != 1.0 {
        theta.iter_mut().for_each(|t| *t *= cfg.theta_decay);
    }
    Ok(())
}
