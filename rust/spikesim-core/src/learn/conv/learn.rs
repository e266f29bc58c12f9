//! Who wins, and what the winners learn (S13.6 – S13.9).

use super::layer::{Conv, ConvScratch, best_of_places};
use super::volley::{NEVER, Volley};
use crate::kernels::level::Level;
use crate::kernels::spread::{Crossing, Spike};

/// The simplified rule of Kheradpisheh et al. and how its rates grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Rate of potentiation at the start.
    pub a_plus: f64,
    /// Rate of depression at the start; their ratio stays.
    pub a_minus: f64,
    /// What the rate of potentiation grows to.
    pub a_max: f64,
    /// Samples after which it doubles; 0 for never.
    pub double_every: u64,
}

impl Rule {
    /// The rates after `seen` samples, computed in f64 and rounded once.
    pub fn rates(&self, seen: u64) -> (f32, f32) {
        if self.double_every == 0 {
            return (self.a_plus as f32, self.a_minus as f32);
        }
        let doublings = (seen / self.double_every).min(1000) as i32;
        let a_plus = (self.a_plus * 2f64.powi(doublings)).min(self.a_max);
        let a_minus = a_plus * (self.a_minus / self.a_plus);
        (a_plus as f32, a_minus as f32)
    }
}

/// A neuron that learns from one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Winner {
    pub t: u16,
    pub map: u16,
    pub y: u16,
    pub x: u16,
    /// The potential with which it fired.
    pub v: f32,
}

/// A winner and which of its synapses had a spike by then, `[ky][kx][c]`.
#[derive(Debug)]
pub struct Lesson {
    pub(super) winner: Winner,
    early: Vec<bool>,
}

impl Conv {
    /// The winners of one sample, as S13.6 and S13.7 say.
    pub(super) fn winners(
        &self,
        level: Level,
        input: &Volley,
        at: &mut ConvScratch,
    ) -> Vec<Lesson> {
        let (width, channels) = (self.area.out_w(), self.area.in_c);
        at.potentials.reset();
        let mut lessons: Vec<Lesson> = Vec::with_capacity(self.k);
        let index = |s: &Spike| {
            (usize::from(s.y) * self.area.in_w + usize::from(s.x)) * channels + usize::from(s.c)
        };
        let mut bins = 0;
        while bins < input.bins() && lessons.len() < self.k {
            let t = bins;
            bins += 1;
            for s in input.at(t) {
                at.times[index(s)] = t as u8;
            }
            at.potentials.spread(level, &self.packed, input.at(t));
            at.crossings.clear();
            at.potentials.crossings(level, self.threshold, &mut at.crossings);
            // Only the first neuron of a place takes part, whatever becomes of it.
            let mut candidates: Vec<Crossing> = best_of_places(&at.crossings).collect();
            for candidate in &candidates {
                at.potentials.close(candidate.place as usize);
            }
            candidates
                .sort_by(|a, b| b.v.total_cmp(&a.v).then((a.place, a.map).cmp(&(b.place, b.map))));
            for candidate in candidates {
                if lessons.len() == self.k {
                    break;
                }
                let place = candidate.place as usize;
                let winner = Winner {
                    t: t as u16,
                    map: candidate.map,
                    y: (place / width) as u16,
                    x: (place % width) as u16,
                    v: candidate.v,
                };
                if lessons.iter().all(|other| self.apart(&winner, &other.winner)) {
                    lessons.push(Lesson { early: self.early(&winner, &at.times), winner });
                }
            }
        }
        for t in 0..bins {
            for s in input.at(t) {
                at.times[index(s)] = NEVER;
            }
        }
        lessons
    }

    /// Whether both may win: other maps, and farther apart than the radius on some axis.
    fn apart(&self, a: &Winner, b: &Winner) -> bool {
        let far = |a: u16, b: u16| usize::from(a.abs_diff(b)) > self.radius;
        a.map != b.map && (far(a.y, b.y) || far(a.x, b.x))
    }

    /// Which inputs of the winner have spiked so far; padding never does.
    fn early(&self, winner: &Winner, times: &[u8]) -> Vec<bool> {
        let g = &self.area;
        let mut out = Vec::with_capacity(g.kernel * g.kernel * g.in_c);
        for ky in 0..g.kernel {
            for kx in 0..g.kernel {
                let y = (usize::from(winner.y) + ky).checked_sub(g.pad).filter(|&y| y < g.in_h);
                let x = (usize::from(winner.x) + kx).checked_sub(g.pad).filter(|&x| x < g.in_w);
                match (y, x) {
                    (Some(y), Some(x)) => {
                        let times = &times[(y * g.in_w + x) * g.in_c..][..g.in_c];
                        out.extend(times.iter().map(|&t| t != NEVER));
                    }
                    _ => out.resize(out.len() + g.in_c, false),
                }
            }
        }
        out
    }

    /// What one sample's winners learn.
    pub(super) fn update(&mut self, lessons: &[Lesson]) {
        let (a_plus, a_minus) = self.rule.rates(self.seen);
        let g = self.area;
        for Lesson { winner, early } in lessons {
            let mut early = early.iter();
            for ky in 0..g.kernel {
                for kx in 0..g.kernel {
                    for c in 0..g.in_c {
                        let w = &mut self.packed[g.row(c, ky, kx) + usize::from(winner.map)];
                        let rate = if early.next() == Some(&true) { a_plus } else { -a_minus };
                        *w += (rate * *w) * (1.0 - *w);
                    }
                }
            }
        }
        self.seen += 1;
    }
}
