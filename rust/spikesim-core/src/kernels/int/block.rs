//! The block kernel over rows of i8: [`super::super::block`] says how it goes.

use super::super::block::{Geometry, ListView, check_lists};
use super::super::simd::LANES;
use super::WHOLE;
use super::neuron::{self, IntBlock};
use super::simd::{IntSimd, WIDE};
use super::sums::{Edge, Floats, Units};

/// One summand of the block's input.
pub enum IntParent<'a> {
    /// A linear or convolutional layer over event lists.
    Lists {
        /// Its shape.
        geometry: &'a Geometry,
        /// This block's rows, `[ky][kx][c in lo..lo+n][lane]`, magnitudes up to 127.
        weights: &'a [i8],
        /// First input channel the block sees.
        lo: u32,
        /// Input channels the block sees.
        n: u32,
        /// `views[t · edges + e]`.
        views: &'a [ListView<'a>],
        /// Edges into the layer.
        edges: usize,
    },
    /// Units that exist already: lane 0 of pixel `p` at step `t` is
    /// `data[t · t_stride + p · p_stride]`.
    Units {
        /// The values, with at least a block of slack behind the last one.
        data: &'a [i32],
        /// Numbers from step to step; 0 for a constant.
        t_stride: usize,
        /// Numbers from pixel to pixel.
        p_stride: usize,
    },
}

/// What becomes of the sums.
pub enum IntPost<'a> {
    /// A population steps.
    Neuron(IntBlock<'a>),
    /// They are stored in units, `[t][pixel][lane]`.
    Units(&'a mut [i32]),
    /// They are stored as currents, `[t][pixel][lane]`: times `scale`, plus `bias` (a value a
    /// lane, or empty). Of one parent.
    Currents {
        /// Where to.
        out: &'a mut [f32],
        /// A value a lane.
        scale: &'a [f32],
        /// A value a lane, or empty.
        bias: &'a [f32],
    },
}

/// One block of outputs over all pixels and steps.
pub struct IntTask<'a> {
    /// Steps of this chunk.
    pub steps: usize,
    /// Output rows.
    pub out_h: usize,
    /// Output columns.
    pub out_w: usize,
    /// Index of the block among the population's.
    pub block: usize,
    /// Units are `2^-fraction` of a weight's unit.
    pub fraction: u32,
    /// Summands in the order of their edges.
    pub parents: &'a [IntParent<'a>],
    /// What becomes of them.
    pub post: IntPost<'a>,
}

impl IntTask<'_> {
    /// As [`super::super::block::BlockTask::check`].
    pub(super) fn check(&self, width: usize) {
        assert!(width == WIDE || width == 2 * WIDE, "block width");
        assert!(self.fraction <= 8, "fraction");
        let pixels = self.out_h * self.out_w;
        let values = self.steps * pixels * width;
        let currents = matches!(self.post, IntPost::Currents { .. });
        for parent in self.parents {
            match parent {
                IntParent::Units { data, t_stride, p_stride } => {
                    let last = self.steps.saturating_sub(1) * t_stride
                        + pixels.saturating_sub(1) * p_stride;
                    assert!(data.len() >= last + width && !currents, "units");
                }
                IntParent::Lists { geometry: g, weights, lo, n, views, edges } => {
                    assert!(weights.len() == g.kh * g.kw * *n as usize * width, "weights");
                    assert!((g.out_h, g.out_w) == (self.out_h, self.out_w), "output size");
                    assert!(views.len() == self.steps * edges, "views");
                    let most = if currents { 8 } else { self.fraction };
                    assert!(views.iter().all(|v| v.shift <= most), "event values");
                    check_lists(g, (*lo, *n), views, *edges);
                }
            }
        }
        match &self.post {
            IntPost::Units(out) => assert!(out.len() == values, "stored units"),
            IntPost::Currents { out, scale, bias } => {
                assert!(out.len() == values && scale.len() == width, "stored currents");
                assert!(bias.is_empty() || bias.len() == width, "bias");
                assert!(self.parents.len() == 1, "one layer");
            }
            IntPost::Neuron(n) => n.check(self.block, width, pixels, self.steps),
        }
    }
}

/// `a + b`; magnitudes end at [`WHOLE`].
///
/// # Safety
/// `S`'s instruction set.
#[inline(always)]
pub(super) unsafe fn add_within<S: IntSimd>(a: S::I, b: S::I) -> S::I {
    // SAFETY: by contract.
    unsafe { within::<S>(S::int_add(a, b)) }
}

/// [`add_within`], lane by lane.
///
/// # Safety
/// `S`'s instruction set.
#[inline(always)]
unsafe fn add_each<S: IntSimd, const NW: usize>(sum: &mut Units<S, NW>, part: &Units<S, NW>) {
    let mut j = 0;
    while j < NW {
        // SAFETY: by contract.
        unsafe {
            sum[j] =
                [add_within::<S>(sum[j][0], part[j][0]), add_within::<S>(sum[j][1], part[j][1])];
        }
        j += 1;
    }
}

/// Magnitudes end at [`WHOLE`].
///
/// # Safety
/// `S`'s instruction set.
#[inline(always)]
pub(super) unsafe fn within<S: IntSimd>(a: S::I) -> S::I {
    // SAFETY: by contract.
    unsafe { S::int_max(S::int_min(a, S::int_splat(WHOLE)), S::int_splat(-WHOLE)) }
}

/// The input of the block at one pixel and step, in units.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn input<S: IntSimd, const NW: usize>(
    task: &IntTask<'_>,
    t: usize,
    at: (usize, usize),
    pixel: usize,
) -> Units<S, NW> {
    // SAFETY: `check` compared every slice with the block; S's set by contract.
    unsafe {
        let mut sum = [[S::int_splat(0); 2]; NW];
        for parent in task.parents {
            match parent {
                IntParent::Units { data, t_stride, p_stride } => {
                    let p = data.as_ptr().add(t * t_stride + pixel * p_stride);
                    let mut j = 0;
                    while j < NW {
                        let q = p.add(j * WIDE);
                        sum[j] = [
                            add_within::<S>(sum[j][0], S::int_load(q)),
                            add_within::<S>(sum[j][1], S::int_load(q.add(LANES))),
                        ];
                        j += 1;
                    }
                }
                IntParent::Lists { geometry: g, weights, lo, n, views, edges } => {
                    // A layer's edges first, then the layers: S2.4.
                    let mut layer = [[S::int_splat(0); 2]; NW];
                    for e in 0..*edges {
                        let view = views.get_unchecked(t * edges + e);
                        let edge = Edge { g, weights, range: (*lo, *n), view, at };
                        let part = edge.units::<S, NW>(task.fraction);
                        add_each::<S, NW>(&mut layer, &part);
                    }
                    add_each::<S, NW>(&mut sum, &layer);
                }
            }
        }
        sum
    }
}

/// The currents of the block's one layer at one pixel and step.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn currents<S: IntSimd, const NW: usize>(
    parent: &IntParent<'_>,
    (scale, bias): (&[f32], &[f32]),
    t: usize,
    at: (usize, usize),
) -> Floats<S, NW> {
    // SAFETY: `check` compared every slice with the block; S's set by contract.
    unsafe {
        let mut sum = [[S::splat(0.0); 2]; NW];
        let IntParent::Lists { geometry: g, weights, lo, n, views, edges } = parent else {
            return sum;
        };
        for e in 0..*edges {
            let view = views.get_unchecked(t * edges + e);
            let part = Edge { g, weights, range: (*lo, *n), view, at }.floats::<S, NW>();
            let mut j = 0;
            while j < NW {
                sum[j] = [S::add(sum[j][0], part[j][0]), S::add(sum[j][1], part[j][1])];
                j += 1;
            }
        }
        let mut j = 0;
        while j < 2 * NW {
            let value = &mut sum[j / 2][j % 2];
            *value = S::mul(*value, S::load(scale.as_ptr().add(j * LANES)));
            if !bias.is_empty() {
                *value = S::add(*value, S::load(bias.as_ptr().add(j * LANES)));
            }
            j += 1;
        }
        sum
    }
}

/// Run one block; blocks are `NW` vectors of thirty-two lanes wide.
///
/// # Safety
/// `S`'s instruction set is there; every slice of the task has the size its documentation says
/// for `NW · WIDE` lanes, and every event lies inside its parent's geometry.
#[inline(always)]
pub unsafe fn run<S: IntSimd, const NW: usize>(task: &mut IntTask<'_>) {
    let width = NW * WIDE;
    let pixels = task.out_h * task.out_w;
    for oy in 0..task.out_h {
        for ox in 0..task.out_w {
            let pixel = oy * task.out_w + ox;
            for t in 0..task.steps {
                let at = (t * pixels + pixel) * width;
                // SAFETY: by this function's contract.
                unsafe {
                    if let IntPost::Currents { out, scale, bias } = &mut task.post {
                        let sum = currents::<S, NW>(&task.parents[0], (scale, bias), t, (oy, ox));
                        let p = out.as_mut_ptr().add(at);
                        let mut j = 0;
                        while j < 2 * NW {
                            S::store(p.add(j * LANES), sum[j / 2][j % 2]);
                            j += 1;
                        }
                        continue;
                    }
                    let sum = input::<S, NW>(task, t, (oy, ox), pixel);
                    match &mut task.post {
                        IntPost::Neuron(n) => {
                            neuron::step::<S, NW>(n, task.block, pixel, pixels, t, &sum);
                        }
                        IntPost::Units(out) => {
                            let p = out.as_mut_ptr().add(at);
                            let mut j = 0;
                            while j < 2 * NW {
                                S::int_store(p.add(j * LANES), sum[j / 2][j % 2]);
                                j += 1;
                            }
                        }
                        IntPost::Currents { .. } => {}
                    }
                }
            }
        }
    }
}
