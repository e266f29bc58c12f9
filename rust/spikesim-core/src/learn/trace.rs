//! What a neuron's spikes leave behind: traces, decayed when they are touched and not before.

use crate::kernels::exp64::exp_of_negative;
use crate::kernels::window::Dims;

/// Decays below this are none: 2⁻²⁴, half a rounding of 1.
const LEAST: f64 = 1.0 / 16_777_216.0;

/// Decays kept in a table; later ones are worked out when they are asked for.
const TABLE: usize = 4096;

/// The decay over `n` steps, `f32(e^(−n/tau))`, cut to 0 below 2⁻²⁴ (S11.3).
#[derive(Clone, Debug)]
pub(super) struct Decay {
    /// Steps; infinite: none; 0: all of it in one step.
    tau: f64,
    table: Vec<f32>,
}

impl Decay {
    /// `tau` in steps; `None`: no decay.
    pub(super) fn new(tau: Option<f64>) -> Self {
        let tau = tau.unwrap_or(f64::INFINITY);
        let table = match tau.is_finite() {
            true => (0..TABLE).map(|n| decay(tau, n)).take_while(|&d| d > 0.0).collect(),
            false => Vec::new(),
        };
        Self { tau, table }
    }

    /// The factor over `n` steps.
    #[inline]
    pub(super) fn over(&self, n: u32) -> f32 {
        match self.table.get(n as usize) {
            Some(&d) => d,
            None if self.table.len() < TABLE && self.tau.is_finite() => 0.0,
            None => decay(self.tau, n as usize),
        }
    }
}

fn decay(tau: f64, n: usize) -> f32 {
    if n == 0 {
        return 1.0;
    }
    let d = exp_of_negative(-(n as f64) / tau);
    if d < LEAST { 0.0 } else { d as f32 }
}

/// How a trace remembers.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceSpec {
    /// Time constant in steps; `None`: it does not decay.
    pub tau: Option<f64>,
    /// A spike sets it to 1 (nearest neighbour) instead of adding 1 (all to all).
    pub nearest: bool,
}

/// One trace a neuron, `[pixel][channel]`.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    nearest: bool,
    decay: Decay,
    channels: usize,
    /// Value after the last spike; 0 before the first.
    value: Vec<f32>,
    /// Step of the last spike.
    last: Vec<u32>,
    /// Channels with a trace, by pixel.
    active: Vec<Vec<u32>>,
}

impl Trace {
    pub(super) fn new(spec: &TraceSpec, dims: Dims) -> Self {
        Self {
            nearest: spec.nearest,
            decay: Decay::new(spec.tau),
            channels: dims.c,
            value: vec![0.0; dims.len()],
            last: vec![0; dims.len()],
            active: vec![Vec::new(); dims.pixels()],
        }
    }

    /// The trace of a neuron at step `t`.
    #[inline]
    pub(super) fn at(&self, pixel: usize, c: usize, t: u32) -> f32 {
        let k = pixel * self.channels + c;
        if self.value[k] == 0.0 { 0.0 } else { self.value[k] * self.decay.over(t - self.last[k]) }
    }

    /// The neuron spikes at step `t`.
    pub(super) fn spike(&mut self, pixel: usize, c: usize, t: u32) {
        let k = pixel * self.channels + c;
        let old = self.at(pixel, c, t);
        if self.value[k] == 0.0 {
            self.forget(pixel, t);
            self.active[pixel].push(c as u32);
        }
        self.value[k] = if self.nearest { 1.0 } else { old + 1.0 };
        self.last[k] = t;
    }

    /// The channels of a pixel that may have a trace: those that do are among them.
    pub(super) fn active(&self, pixel: usize) -> &[u32] {
        &self.active[pixel]
    }

    /// Channels whose trace is gone are no longer among the active ones.
    fn forget(&mut self, pixel: usize, t: u32) {
        let (value, last, decay) = (&mut self.value, &self.last, &self.decay);
        let first = pixel * self.channels;
        self.active[pixel].retain(|&c| {
            let k = first + c as usize;
            let alive = value[k] * decay.over(t - last[k]) != 0.0;
            if !alive {
                value[k] = 0.0;
            }
            alive
        });
    }

    /// Nothing is remembered.
    pub(super) fn clear(&mut self) {
        for (pixel, active) in self.active.iter_mut().enumerate() {
            for c in active.drain(..) {
                self.value[pixel * self.channels + c as usize] = 0.0;
            }
        }
    }

    /// Values and steps of all neurons: what a saved state holds.
    pub(super) fn export(&self) -> (&[f32], &[u32]) {
        (&self.value, &self.last)
    }

    /// What `export` gave.
    pub(super) fn restore(&mut self, value: &[f32], last: &[u32]) {
        self.value.copy_from_slice(value);
        self.last.copy_from_slice(last);
        for (pixel, active) in self.active.iter_mut().enumerate() {
            active.clear();
            let row = &value[pixel * self.channels..(pixel + 1) * self.channels];
            active.extend((0..).zip(row).filter(|(_, v)| **v != 0.0).map(|(c, _)| c));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMS: Dims = Dims { c: 2, h: 1, w: 1 };

    #[test]
    fn decays_by_the_steps_since_the_last_spike() {
        let tau = Some(1.0 / std::f64::consts::LN_2);
        let mut all = Trace::new(&TraceSpec { tau, nearest: false }, DIMS);
        let mut nearest = Trace::new(&TraceSpec { tau, nearest: true }, DIMS);
        for trace in [&mut all, &mut nearest] {
            trace.spike(0, 1, 3);
            assert_eq!(trace.at(0, 1, 5), 0.25);
            trace.spike(0, 1, 5);
            assert_eq!(trace.at(0, 0, 5), 0.0);
        }
        assert_eq!((all.at(0, 1, 6), nearest.at(0, 1, 6)), (0.625, 0.5));
        assert_eq!(all.at(0, 1, 60), 0.0);
        assert_eq!(all.active(0), [1]);
        all.spike(0, 0, 60);
        assert_eq!(all.active(0), [0]);
    }

    #[test]
    fn long_and_short_times() {
        assert_eq!(Decay::new(None).over(u32::MAX), 1.0);
        assert_eq!([0, 1].map(|n| Decay::new(Some(0.0)).over(n)), [1.0, 0.0]);
        let slow = Decay::new(Some(1e6));
        assert_eq!(slow.over(1_000_000), (-1.0f64).exp() as f32);
        assert_eq!(slow.over(20_000_000), 0.0);
    }
}
