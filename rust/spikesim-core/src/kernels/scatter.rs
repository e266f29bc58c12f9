//! Layers whose synapses have delays of their own: each event goes along its own synapses.
//!
//! Input-stationary and sparse: memory is in proportion to the synapses that are not zero (and
//! the delays that those of weight zero have, which are counted), work to the events times their
//! fan-out. An event of a step reaches each output at most once, and events are walked in the
//! order of rows, columns and channels, so each output adds up in ascending (ky, kx, c_in).

use super::block::Geometry;
use super::events::{Events, Multiplicity, multiplicity_of};
use super::fanout::Cost;

/// The synapses of a layer by source channel, delay and place in the kernel. Each table ends with
/// an entry that marks where the one before ends.
#[derive(Debug)]
pub struct Synapses {
    geometry: Geometry,
    /// Output channels.
    channels: usize,
    /// Steps, descending, each once.
    delays: Vec<usize>,
    /// For each source channel its first entry of `groups`.
    sources: Vec<usize>,
    groups: Vec<Group>,
    taps: Vec<Tap>,
    outputs: Vec<u32>,
    weights: Vec<f32>,
}

/// The synapses of one source with one delay; ascending delays.
#[derive(Debug)]
struct Group {
    delay: usize,
    /// First entry of `taps`.
    first: usize,
}

/// The synapses of a group at one place of the kernel.
#[derive(Debug)]
struct Tap {
    ky: usize,
    kx: usize,
    /// Synapses, those of weight zero as well.
    all: u64,
    /// First entry of `outputs` and `weights`, which leave those out.
    first: usize,
}

/// One synapse of a source channel.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Synapse {
    pub delay: usize,
    pub ky: usize,
    pub kx: usize,
    pub output: usize,
    pub weight: f32,
}

/// Where a step's sums go, `[pixel][channel]`, and what they cost.
struct Sums<'a> {
    out: &'a mut [f32],
    cost: Cost,
}

impl Synapses {
    /// The synapses of `geometry.in_c` sources; `of` gives those of a channel in any order.
    pub fn new(geometry: Geometry, channels: usize, of: impl Fn(usize, &mut Vec<Synapse>)) -> Self {
        let mut new = Self {
            geometry,
            channels,
            delays: Vec::new(),
            sources: Vec::with_capacity(geometry.in_c + 1),
            groups: Vec::new(),
            taps: Vec::new(),
            outputs: Vec::new(),
            weights: Vec::new(),
        };
        let mut mine = Vec::new();
        for c in 0..geometry.in_c {
            mine.clear();
            of(c, &mut mine);
            mine.sort_unstable_by_key(|s| (s.delay, s.ky, s.kx, s.output));
            new.sources.push(new.groups.len());
            for same_delay in mine.chunk_by(|a, b| a.delay == b.delay) {
                new.groups.push(Group { delay: same_delay[0].delay, first: new.taps.len() });
                for tap in same_delay.chunk_by(|a, b| (a.ky, a.kx) == (b.ky, b.kx)) {
                    new.push_tap(tap);
                }
            }
        }
        new.delays = new.groups.iter().map(|group| group.delay).collect();
        new.delays.sort_unstable_by(|a, b| b.cmp(a));
        new.delays.dedup();
        new.sources.push(new.groups.len());
        new.groups.push(Group { delay: 0, first: new.taps.len() });
        new.taps.push(Tap { ky: 0, kx: 0, all: 0, first: new.outputs.len() });
        new
    }

    fn push_tap(&mut self, synapses: &[Synapse]) {
        let Synapse { ky, kx, .. } = synapses[0];
        self.taps.push(Tap { ky, kx, all: synapses.len() as u64, first: self.outputs.len() });
        for synapse in synapses.iter().filter(|s| s.weight != 0.0) {
            self.outputs.push(synapse.output as u32);
            self.weights.push(synapse.weight);
        }
    }

    /// The delays that synapses have, in the order in which their sums are made (S2.20).
    pub fn delays(&self) -> &[usize] {
        &self.delays
    }

    /// Synapses that are not zero.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.sources.len() * size_of::<usize>()
            + self.groups.len() * size_of::<Group>()
            + self.taps.len() * size_of::<Tap>()
            + self.weights.len() * (size_of::<f32>() + size_of::<u32>())
    }

    /// Add to `out`, `[pixel][channel]`, what the events of step `t` give that is `delay` steps
    /// later.
    pub fn add(&self, events: &Events, t: usize, delay: usize, out: &mut [f32]) -> Cost {
        let mut sums = Sums { out, cost: Cost::default() };
        if !events.range(t).is_empty() {
            let g = &self.geometry;
            for (p, y, x) in pixels(g) {
                for event in events.pixel(t, p) {
                    let source = (y, x, event.c);
                    self.deliver(source, delay, event.value, event.mult, &mut sums);
                }
            }
        }
        sums.cost
    }

    /// As [`Self::add`] for a row of analog values, `[pixel][channel]`.
    pub fn add_dense(&self, values: &[f32], delay: usize, out: &mut [f32]) -> Cost {
        let mut sums = Sums { out, cost: Cost::default() };
        let g = &self.geometry;
        for (p, y, x) in pixels(g) {
            for (c, &value) in values[p * g.in_c..][..g.in_c].iter().enumerate() {
                if value != 0.0 {
                    self.deliver((y, x, c), delay, value, multiplicity_of(value), &mut sums);
                }
            }
        }
        sums.cost
    }

    /// One event along its synapses of one delay.
    fn deliver(
        &self,
        (y, x, c): (usize, usize, usize),
        delay: usize,
        value: f32,
        [spikes, analog]: Multiplicity,
        sums: &mut Sums<'_>,
    ) {
        let (from, to) = (self.sources[c], self.sources[c + 1]);
        let Ok(at) = self.groups[from..to].binary_search_by_key(&delay, |group| group.delay) else {
            return;
        };
        let taps = self.groups[from + at].first..=self.groups[from + at + 1].first;
        let (mut met, mut all) = (0, 0);
        for pair in self.taps[taps].windows(2) {
            let (tap, next) = (&pair[0], &pair[1]);
            let Some(pixel) = self.lands((y, x), tap) else { continue };
            let out = &mut sums.out[pixel * self.channels..][..self.channels];
            let synapses = tap.first..next.first;
            let weights = &self.weights[synapses.clone()];
            for (&o, &w) in self.outputs[synapses].iter().zip(weights) {
                out[o as usize] += w * value;
            }
            met += weights.len() as u64;
            all += tap.all;
        }
        sums.cost += Cost {
            synops: spikes.saturating_mul(met),
            synops_with_zeros: spikes.saturating_mul(all),
            macs: analog.saturating_mul(met),
        };
    }

    /// The output pixel that sees input place `(y, x)` under `tap`, if there is one.
    fn lands(&self, (y, x): (usize, usize), tap: &Tap) -> Option<usize> {
        let g = &self.geometry;
        let axis = |i: usize, k: usize, a: usize, out: usize| {
            let at = (i + g.pad[a]).checked_sub(k * g.dilation[a])?;
            let place = at / g.stride[a];
            (place * g.stride[a] == at && place < out).then_some(place)
        };
        Some(axis(y, tap.ky, 0, g.out_h)? * g.out_w + axis(x, tap.kx, 1, g.out_w)?)
    }
}

/// The input's pixels in their order, with row and column.
fn pixels(g: &Geometry) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
    let width = g.in_w;
    (0..g.in_h).flat_map(move |y| (0..width).map(move |x| (y * width + x, y, x)))
}
