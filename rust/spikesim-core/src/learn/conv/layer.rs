//! Layers that take spikes and give spikes: convolutions of neurons that integrate and fire once
//! (S13.3, S13.4), and pools that pass the earliest spike (S13.5).

use super::volley::{NEVER, Volley};
use super::{Rule, Shape, Spec};
use crate::kernels::level::Level;
use crate::kernels::spread::{Area, Crossing, Potentials, Spike};

/// One layer.
#[derive(Debug)]
pub enum Layer {
    /// Neurons with weights that learn.
    Conv(Conv),
    /// The earliest spike of a window.
    Pool(Pool),
}

/// A convolution of neurons.
#[derive(Debug)]
pub struct Conv {
    pub(super) area: Area,
    pub(super) threshold: f32,
    pub(super) lateral: bool,
    pub(super) k: usize,
    pub(super) radius: usize,
    pub(super) rule: Rule,
    /// As [`Area::row`] lays them out.
    pub(super) packed: Vec<f32>,
    /// Samples learned.
    pub(super) seen: u64,
}

/// A pool.
#[derive(Debug)]
pub struct Pool {
    shape_in: Shape,
    kernel: usize,
    stride: usize,
    pad: usize,
}

/// A layer's work space.
#[derive(Debug)]
pub enum Scratch {
    /// Of a convolution.
    Conv(ConvScratch),
    /// Of a pool: the time of each output, `[y][x][c]`.
    Pool(Vec<u8>),
}

/// The state of a convolution's neurons, and lists that keep their memory.
#[derive(Debug)]
pub struct ConvScratch {
    pub(super) potentials: Potentials,
    pub(super) crossings: Vec<Crossing>,
    /// When each input came, `[y][x][c]`.
    pub(super) times: Vec<u8>,
}

impl Layer {
    /// Maps, rows, columns.
    pub fn shape(&self) -> Shape {
        match self {
            Layer::Conv(conv) => [conv.area.maps, conv.area.out_h(), conv.area.out_w()],
            Layer::Pool(pool) => pool.shape(),
        }
    }

    /// Work space for it.
    pub fn scratch(&self) -> Scratch {
        match self {
            Layer::Conv(conv) => Scratch::Conv(ConvScratch {
                potentials: Potentials::new(conv.area),
                crossings: Vec::new(),
                times: vec![NEVER; conv.area.in_h * conv.area.in_w * conv.area.in_c],
            }),
            Layer::Pool(pool) => Scratch::Pool(vec![NEVER; pool.shape().iter().product()]),
        }
    }

    /// The layer's spikes for `input`.
    pub fn run(&self, level: Level, input: &Volley, scratch: &mut Scratch, out: &mut Volley) {
        match (self, scratch) {
            (Layer::Conv(conv), Scratch::Conv(scratch)) => conv.run(level, input, scratch, out),
            (Layer::Pool(pool), Scratch::Pool(times)) => pool.run(input, times, out),
            _ => {}
        }
    }
}

/// Of the crossings of each place the one of the highest potential, the lowest map of equals.
pub fn best_of_places(crossings: &[Crossing]) -> impl Iterator<Item = Crossing> + '_ {
    crossings.chunk_by(|a, b| a.place == b.place).map(|here| {
        let mut best = here[0];
        for &other in &here[1..] {
            if other.v > best.v {
                best = other;
            }
        }
        best
    })
}

impl Conv {
    /// `spec` is a [`Spec::Conv`].
    pub(super) fn new(area: Area, spec: &Spec) -> Self {
        let packed = vec![0.0; area.packed_len()];
        let mut new = Self {
            area,
            threshold: f32::INFINITY,
            lateral: false,
            k: 0,
            radius: 0,
            rule: Rule::default(),
            packed,
            seen: 0,
        };
        if let Spec::Conv { threshold, lateral, winners, radius, rule, .. } = spec {
            (new.threshold, new.lateral) = (*threshold, *lateral);
            (new.k, new.radius, new.rule) = (*winners, *radius, *rule);
        }
        new
    }

    /// Shape of [`Conv::weight`]: maps, channels, rows, columns.
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.area.maps, self.area.in_c, self.area.kernel, self.area.kernel]
    }

    /// `(packed, plain)` index of each weight.
    fn indices(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let area = self.area;
        let k = area.kernel;
        (0..area.maps * area.in_c * k * k).map(move |plain| {
            let (kx, ky) = (plain % k, plain / k % k);
            let (c, m) = (plain / (k * k) % area.in_c, plain / (k * k * area.in_c));
            (area.row(c, ky, kx) + m, plain)
        })
    }

    /// The weights in C order.
    pub fn weight(&self) -> Vec<f32> {
        self.indices().map(|(packed, _)| self.packed[packed]).collect()
    }

    /// Take weights in C order, and the number of samples they have learned from.
    pub fn set(&mut self, weight: &[f32], seen: u64) {
        for (packed, plain) in self.indices() {
            self.packed[packed] = weight[plain];
        }
        self.seen = seen;
    }

    /// Samples learned.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    fn run(&self, level: Level, input: &Volley, at: &mut ConvScratch, out: &mut Volley) {
        at.potentials.reset();
        out.clear();
        let width = self.area.out_w();
        let spike = |c: &Crossing| {
            let place = c.place as usize;
            Spike { y: (place / width) as u16, x: (place % width) as u16, c: c.map }
        };
        for t in 0..input.bins() {
            at.potentials.spread(level, &self.packed, input.at(t));
            at.crossings.clear();
            at.potentials.crossings(level, self.threshold, &mut at.crossings);
            if self.lateral {
                for best in best_of_places(&at.crossings) {
                    at.potentials.close(best.place as usize);
                    out.push(spike(&best));
                }
            } else {
                at.crossings.iter().for_each(|c| out.push(spike(c)));
            }
            out.close_bin();
        }
    }

    /// The potentials in `(map, row, column)`.
    pub(super) fn potentials(&self, of: &Potentials) -> Vec<f32> {
        let places = self.area.places();
        let mut out = vec![0.0; self.area.maps * places];
        for place in 0..places {
            for (m, &v) in of.at(place).iter().enumerate() {
                out[m * places + place] = v;
            }
        }
        out
    }
}

impl Pool {
    pub(super) fn new(shape_in: Shape, kernel: usize, stride: usize, pad: usize) -> Self {
        Self { shape_in, kernel, stride, pad }
    }

    fn shape(&self) -> Shape {
        let axis = |n: usize| (n + 2 * self.pad - self.kernel) / self.stride + 1;
        let [c, h, w] = self.shape_in;
        [c, axis(h), axis(w)]
    }

    /// Windows of an axis of `n` outputs that see place `i`.
    fn windows(&self, i: usize, n: usize) -> std::ops::Range<usize> {
        let at = i + self.pad;
        let first = (at + 1).saturating_sub(self.kernel).div_ceil(self.stride);
        first..n.min(at / self.stride + 1)
    }

    fn run(&self, input: &Volley, times: &mut [u8], out: &mut Volley) {
        let [channels, h, w] = self.shape();
        times.fill(NEVER);
        for t in 0..input.bins() {
            for s in input.at(t) {
                for y in self.windows(usize::from(s.y), h) {
                    for x in self.windows(usize::from(s.x), w) {
                        let time = &mut times[(y * w + x) * channels + usize::from(s.c)];
                        *time = (*time).min(t as u8);
                    }
                }
            }
        }
        out.set(times, w, channels, input.bins());
    }

    /// The largest value of each window of `(map, row, column)`; padding never wins.
    pub(super) fn largest(&self, values: &[f32]) -> Vec<f32> {
        let [channels, h, w] = self.shape();
        let [_, in_h, in_w] = self.shape_in;
        let mut out = vec![f32::NEG_INFINITY; channels * h * w];
        for (i, &value) in values.iter().enumerate() {
            let (c, y, x) = (i / (in_h * in_w), i / in_w % in_h, i % in_w);
            for oy in self.windows(y, h) {
                for ox in self.windows(x, w) {
                    let to = &mut out[(c * h + oy) * w + ox];
                    *to = to.max(value);
                }
            }
        }
        out
    }
}
