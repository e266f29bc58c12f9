//! How weights change: depression, potentiation, normalisation; one neuron's column at a time,
//! of which only the inputs that matter are touched.

use super::config::Config;
use crate::{Error, Result};

/// The step of a spike that has not been.
pub(super) const NEVER: u32 = u32::MAX;

/// A neuron's weights in rows of `stride`.
pub(super) struct Column<'a> {
    pub weights: &'a mut [f32],
    pub stride: usize,
    pub neuron: usize,
}

impl Column<'_> {
    #[inline(always)]
    fn at(&mut self, input: u32) -> &mut f32 {
        &mut self.weights[input as usize * self.stride + self.neuron]
    }

    /// The inputs' spikes meet a neuron whose trace is `x` (S12.10).
    #[inline(always)]
    pub fn depress(&mut self, cfg: &Config, inputs: &[u32], eta: f32, x: f32) {
        let amount = eta * x;
        for &i in inputs {
            let w = self.at(i);
            let change = if cfg.soft { amount * *w } else { amount };
            *w = (*w - change).max(0.0);
        }
    }

    /// The neuron's spike meets the inputs' traces (S12.11); how many weights it touched.
    /// `last` is the step of each input's last spike, or NEVER; `step` the neuron's.
    pub fn potentiate(
        &mut self,
        cfg: &Config,
        inputs: impl Iterator<Item = u32>,
        (last, step): (&[u32], u32),
        eta: f32,
    ) -> u64 {
        let target = cfg.x_tar.unwrap_or(0.0);
        let mut touched = 0;
        for i in inputs {
            let spike = last[i as usize];
            // Before the first spike the difference is beyond every table.
            let ago = if spike == NEVER { usize::MAX } else { (step - spike) as usize };
            let x = cfg.trace_pre.get(ago).copied().unwrap_or(0.0);
            if x == 0.0 && cfg.x_tar.is_none() {
                continue;
            }
            let w = self.at(i);
            let amount = eta * (x - target);
            let change = if cfg.soft { amount * (cfg.w_max - *w) } else { amount };
            *w = (*w + change).clamp(0.0, cfg.w_max);
            touched += 1;
        }
        touched
    }

    /// Brings the sum to `norm` (S12.12).
    pub fn normalise(&mut self, cfg: &Config) -> Result<()> {
        let Some(norm) = cfg.norm else { return Ok(()) };
        let mut sum = 0.0;
        for i in 0..cfg.inputs as u32 {
            sum += *self.at(i);
        }
        let factor = norm / sum;
        if !(sum > 0.0 && factor.is_finite()) {
            let problem = format!(
                "weights of neuron {} sum up to {sum}, expected more than 0; lower the learning \
                 rates",
                self.neuron
            );
            return Err(Error::divergence("DiehlCook", problem));
        }
        for i in 0..cfg.inputs as u32 {
            let w = self.at(i);
            *w = (*w * factor).min(cfg.w_max);
        }
        Ok(())
    }
}
