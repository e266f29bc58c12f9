//! The conductance network as a model that draws its own spikes: presentations with rests
//! between them, repeated at higher rates until there are spikes enough (S12.c10).

use rayon::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;

use super::conductance::{Activity, Conductance, Spikes};
use super::conductance_params::ConductanceParams;
use super::{Counts, FROZEN, Response, Sample, Samples, TRAINING, draw_row, key};
use crate::kernels::level::Level;
use crate::kernels::poisson::{Chances, MAX_STEPS, Stream, Trains, draw};
use crate::{Error, Result};

/// What the network is; `params` are those that are not the paper's.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct ConductanceConfig {
    pub inputs: usize,
    pub neurons: usize,
    /// Steps of a presentation, and of the rest after it.
    pub steps: usize,
    pub rest: usize,
    pub seed: u64,
    pub min_spikes: usize,
    pub max_repeats: u8,
    pub rate_step: f32,
    pub params: BTreeMap<String, f64>,
}

/// The network and what it has learned.
#[derive(Debug)]
pub struct ConductanceModel {
    cfg: ConductanceConfig,
    params: ConductanceParams,
    level: Level,
    net: Conductance,
    seen: u64,
    counts: Counts,
    source: Source,
}

/// Where a presentation's spikes are made.
#[derive(Debug, Default)]
struct Source {
    chances: Chances,
    trains: Trains,
}

impl Source {
    fn spikes(&self, n_inputs: usize) -> Result<Spikes<'_>> {
        // What is drawn may have room behind it.
        let (rows, start) = self.trains.parts();
        Spikes::new(start, &rows[..self.trains.len()], n_inputs)
    }

    /// The spikes of an attempt; whether there may be another.
    fn fill(
        &mut self,
        (cfg, level): (&ConductanceConfig, Level),
        sample: Sample<'_>,
        who: Stream,
    ) -> bool {
        match sample {
            Sample::Chances(p) => {
                self.chances.fill(p, 1.0 + cfg.rate_step * f32::from(who.attempt));
                draw(level, &who, &self.chances, cfg.steps, &mut self.trains);
                who.attempt < cfg.max_repeats
            }
            Sample::Raster(raster) => {
                self.trains.read(raster, cfg.inputs);
                false
            }
        }
    }
}

impl ConductanceConfig {
    fn params(&self) -> Result<ConductanceParams> {
        let params = ConductanceParams::with(&self.params)?;
        for (name, steps) in [("n_steps", self.steps), ("rest", self.rest + 1)] {
            if steps == 0 || steps > MAX_STEPS {
                return Err(Error::input(name, format!("{steps} steps, at most {MAX_STEPS}")));
            }
        }
        if self.inputs.checked_mul(self.neurons).is_none_or(|n| n == 0 || n > 1 << 31) {
            return Err(Error::input("DiehlCook", "the number of weights is out of range"));
        }
        Ok(params)
    }

    fn samples<'a>(&self, samples: Samples<'a>) -> Vec<Sample<'a>> {
        match samples {
            Samples::Chances(p) => p.chunks_exact(self.inputs).map(Sample::Chances).collect(),
            Samples::Rasters(r) => {
                r.chunks_exact(self.inputs * self.steps).map(Sample::Raster).collect()
            }
        }
    }

    fn counts(&self, activity: &Activity, presentations: u64) -> Counts {
        let n = self.neurons as u64;
        let spikes = activity.counts.iter().map(|&c| u64::from(c)).sum();
        Counts {
            presentations,
            input_spikes: activity.inputs,
            spikes,
            synops: activity.inputs * n + spikes + activity.inhibitory * (n - 1),
            weight_updates: activity.updates,
        }
    }
}

impl ConductanceModel {
    /// A network with random weights, normalised.
    pub fn new(cfg: ConductanceConfig, level: Level) -> Result<Self> {
        let params = cfg.params()?;
        let mut weights = vec![0.0; cfg.inputs * cfg.neurons];
        for (i, row) in weights.chunks_exact_mut(cfg.neurons).enumerate() {
            draw_row(cfg.seed, i, row, |u| 0.3 * (u + 0.01));
        }
        let theta = vec![params.theta_init as f32; cfg.neurons];
        let mut net = Conductance::new(&params, cfg.inputs, &weights, &theta, level)?;
        net.normalize(true);
        let (counts, source) = (Counts::default(), Source::default());
        Ok(Self { cfg, params, level, net, seen: 0, counts, source })
    }

    /// The network itself.
    pub fn net(&self) -> &Conductance {
        &self.net
    }

    /// Samples learned from.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Counts of all samples learned from.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Go on from what another network of this configuration has learned, at rest.
    pub fn restore(
        &mut self,
        weights: &[f32],
        theta: &[f32],
        seen: u64,
        counts: Counts,
    ) -> Result<()> {
        if theta.len() != self.cfg.neurons {
            return Err(Error::input("theta", "it is of a network of another size"));
        }
        let inputs = self.cfg.inputs;
        self.net = Conductance::new(&self.params, inputs, weights, theta, self.level)?;
        let rest = (self.net.state(), self.net.last_spikes());
        self.net.restore_settled(&rest.0, (&rest.1.0, &rest.1.1), 0)?;
        (self.seen, self.counts) = (seen, counts);
        Ok(())
    }

    /// After [`Self::restore`]: the state between two samples.
    pub fn restore_state(
        &mut self,
        state: &[f32],
        last: (&[i64], &[i64]),
        step: u64,
    ) -> Result<()> {
        self.net.restore_settled(state, last, step)
    }

    /// Learn from samples, each at rates scaled by its factor. The neurons that spiked in the
    /// last presentation of each are given to `tell`.
    pub fn train(
        &mut self,
        samples: Samples<'_>,
        factors: &[f32],
        mut tell: impl FnMut(&[u32]),
    ) -> Result<()> {
        let samples = self.cfg.samples(samples);
        if samples.len() != factors.len() {
            return Err(Error::input("DiehlCook", "factors are not one a sample"));
        }
        let silence = vec![0; self.cfg.rest + 1];
        for (sample, &factor) in samples.into_iter().zip(factors) {
            self.net.scale_rates(factor);
            let (key, sample_number) = (key(self.cfg.seed), self.seen);
            let mut who = Stream { key, purpose: TRAINING, attempt: 0, sample: sample_number };
            loop {
                let more = self.source.fill((&self.cfg, self.level), sample, who);
                let spikes = self.source.spikes(self.cfg.inputs)?;
                let seen = self.net.run(&spikes, true, true);
                let rest = Spikes::new(&silence, &[], self.cfg.inputs)?;
                let after = self.net.run(&rest, true, false);
                self.net.normalize(false);
                self.counts.add(&self.cfg.counts(&seen, 1));
                self.counts.add(&self.cfg.counts(&after, 0));
                if !more || seen.spikes.len() >= self.cfg.min_spikes {
                    tell(&seen.spikes.iter().map(|&(_, j)| j).collect::<Vec<_>>());
                    break;
                }
                who.attempt += 1;
            }
            self.seen += 1;
        }
        Ok(())
    }

    /// What the network answers to samples from rest while nothing is learned; over the threads
    /// of the pool this is called in.
    pub fn respond(&self, samples: Samples<'_>) -> Result<Vec<Response>> {
        let one = |source: &mut Source, sample: Sample<'_>| {
            let (key, sample_number) = (key(self.cfg.seed), sample.identity());
            let mut who = Stream { key, purpose: FROZEN, attempt: 0, sample: sample_number };
            let mut counts = Counts::default();
            loop {
                let more = source.fill((&self.cfg, self.level), sample, who);
                let seen = self.net.respond(&source.spikes(self.cfg.inputs)?);
                counts.add(&self.cfg.counts(&seen, 1));
                if !more || seen.spikes.len() >= self.cfg.min_spikes {
                    return Ok((counts, seen.spikes.iter().map(|&(_, j)| j).collect()));
                }
                who.attempt += 1;
            }
        };
        self.cfg.samples(samples).into_par_iter().map_init(Source::default, one).collect()
    }
}
