//! How many weights an event meets: exact counts without touching the weights again.

use super::block::Geometry;
use super::events::{Events, Multiplicity};

/// Weights met by an event at each input position of one synaptic layer. Positions that see the
/// same part of the kernel share a class, so the table is small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fanout {
    class_y: Vec<u32>,
    class_x: Vec<u32>,
    classes_x: usize,
    channels: usize,
    /// `[class][channel]`: nonzero weights.
    nonzero: Vec<u32>,
    /// `[class]`: all weights.
    all: Vec<u32>,
    /// `[class]`: whether every channel has the same number of nonzero weights.
    uniform: Vec<bool>,
}

/// What one step of events costs at one layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Cost {
    pub synops: u64,
    pub synops_with_zeros: u64,
    pub macs: u64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        // Saturating: a membrane that overflowed to infinity spikes without bound.
        self.synops = self.synops.saturating_add(other.synops);
        self.synops_with_zeros = self.synops_with_zeros.saturating_add(other.synops_with_zeros);
        self.macs = self.macs.saturating_add(other.macs);
    }
}

/// The kernel positions under which input position `i` lands inside the output, by class.
fn classes(
    n: usize,
    out: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
    dilation: usize,
) -> (Vec<u32>, Vec<Vec<usize>>) {
    let mut kinds: Vec<Vec<usize>> = Vec::new();
    let class = (0..n)
        .map(|i| {
            let taps: Vec<usize> = (0..kernel)
                .filter(|k| match (i + pad).checked_sub(k * dilation) {
                    Some(at) => at % stride == 0 && at / stride < out,
                    None => false,
                })
                .collect();
            let known = kinds.iter().position(|k| *k == taps);
            known.unwrap_or_else(|| {
                kinds.push(taps);
                kinds.len() - 1
            }) as u32
        })
        .collect();
    (class, kinds)
}

impl Fanout {
    /// The table of a layer. `nonzero(tap, c)` is the number of nonzero weights that input
    /// channel `c` has at kernel position `tap = ky · kw + kx`, `outputs` that of all of them.
    pub fn new(g: &Geometry, outputs: usize, nonzero: impl Fn(usize, usize) -> u32) -> Self {
        let (class_y, taps_y) =
            classes(g.in_h, g.out_h, g.kh, g.stride[0], g.pad[0], g.dilation[0]);
        let (class_x, taps_x) =
            classes(g.in_w, g.out_w, g.kw, g.stride[1], g.pad[1], g.dilation[1]);
        let mut table = Vec::with_capacity(taps_y.len() * taps_x.len() * g.in_c);
        let mut all = Vec::new();
        let mut uniform = Vec::new();
        for ty in &taps_y {
            for tx in &taps_x {
                let first = table.len();
                for c in 0..g.in_c {
                    let reach =
                        |ky: &usize| tx.iter().map(|kx| nonzero(ky * g.kw + kx, c)).sum::<u32>();
                    table.push(ty.iter().map(reach).sum());
                }
                all.push((ty.len() * tx.len() * outputs) as u32);
                let row = &table[first..];
                uniform.push(row.windows(2).all(|w| w[0] == w[1]));
            }
        }
        let classes_x = taps_x.len();
        Self { class_y, class_x, classes_x, channels: g.in_c, nonzero: table, all, uniform }
    }

    /// What one event at `pixel`, channel `c`, costs.
    pub fn cost_at(&self, pixel: usize, c: usize, [spikes, analog]: Multiplicity) -> Cost {
        let width = self.class_x.len();
        let class = self.class_y[pixel / width] as usize * self.classes_x
            + self.class_x[pixel % width] as usize;
        let fan = u64::from(self.nonzero[class * self.channels + c]);
        Cost {
            synops: spikes.saturating_mul(fan),
            synops_with_zeros: spikes.saturating_mul(u64::from(self.all[class])),
            macs: analog.saturating_mul(fan),
        }
    }

    /// What the events of step `t` cost.
    pub fn cost(&self, events: &Events, t: usize) -> Cost {
        let mut cost = Cost::default();
        let width = self.class_x.len();
        for (y, &cy) in self.class_y.iter().enumerate() {
            for (x, &cx) in self.class_x.iter().enumerate() {
                let range = events.pixel_range(t, y * width + x);
                if range.is_empty() {
                    continue;
                }
                let class = cy as usize * self.classes_x + cx as usize;
                let row = &self.nonzero[class * self.channels..(class + 1) * self.channels];
                let all = u64::from(self.all[class]);
                match events.multiplicities() {
                    None if self.uniform[class] => {
                        cost.synops += range.len() as u64 * u64::from(row[0]);
                        cost.synops_with_zeros += range.len() as u64 * all;
                    }
                    None => {
                        cost.synops_with_zeros += range.len() as u64 * all;
                        for k in range {
                            cost.synops += u64::from(row[events.channel(k, x)]);
                        }
                    }
                    Some(mult) => {
                        for k in range {
                            let fan = u64::from(row[events.channel(k, x)]);
                            let [spikes, analog] = mult[k];
                            cost += Cost {
                                synops: spikes.saturating_mul(fan),
                                synops_with_zeros: spikes.saturating_mul(all),
                                macs: analog.saturating_mul(fan),
                            };
                        }
                    }
                }
            }
        }
        cost
    }
}
