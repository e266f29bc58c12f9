//! The central kernel: one block of output channels, all pixels, all steps of a chunk.
//!
//! Output-stationary: for each output pixel and step the sums of the block stay in registers
//! while the event lists of the receptive field are walked and weight rows are added, in
//! ascending (ky, kx, c_in) order (S2). The neurons of the block then take their step, so the
//! summed input never goes through memory. Time is the innermost loop but one: a pixel's state
//! stays in L1 for all its steps and the block's weights stay in L2 for all pixels.

use super::neuron::{self, NeuronBlock};
use super::simd::{LANES, Simd};
use super::window::Dims;

/// The events of one step: those of pixel `p` are `ptr[p]..ptr[p + 1]` of `idx` and `val`.
/// Only [`super::events::Events`] makes one, so order and bounds hold.
#[derive(Clone, Copy, Debug)]
pub struct ListView<'a> {
    /// Channels, rows, columns.
    pub(super) dims: Dims,
    /// Pixels + 1 ascending offsets into `idx`.
    pub(super) ptr: &'a [u32],
    /// `x · channels + c`, ascending within a row of pixels.
    pub(super) idx: &'a [u32],
    /// Value of each event; empty where all have the same.
    pub(super) val: &'a [f32],
    /// Where `val` is empty: the value of each event is 2 to the power of minus this.
    pub(super) shift: u32,
}

/// The shape of a convolution (a linear layer is one with a single pixel).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Geometry {
    pub in_h: usize,
    pub in_w: usize,
    /// All input channels (the event index counts in them).
    pub in_c: usize,
    pub out_h: usize,
    pub out_w: usize,
    pub kh: usize,
    pub kw: usize,
    pub stride: [usize; 2],
    /// Zeros before the first row and column.
    pub pad: [usize; 2],
    pub dilation: [usize; 2],
}

/// One summand of the block's input.
pub enum Parent<'a> {
    /// A linear or convolutional layer over event lists.
    Lists {
        /// Its shape.
        geometry: &'a Geometry,
        /// This block's rows, `[ky][kx][c in lo..lo+n][lane]`.
        weights: &'a [f32],
        /// One value a lane, or empty.
        bias: &'a [f32],
        /// First input channel the block sees.
        lo: u32,
        /// Input channels the block sees.
        n: u32,
        /// `views[t · edges + e]`; with `constant` one step only.
        views: &'a [ListView<'a>],
        /// Edges into the layer, summed apart and then added in this order.
        edges: usize,
        /// The same lists at every step.
        constant: bool,
    },
    /// Values that exist already: lane 0 of pixel `p` at step `t` is
    /// `data[t · t_stride + p · p_stride]`.
    Dense {
        /// The values, with at least a block of slack behind the last one.
        data: &'a [f32],
        /// Floats from step to step; 0 for a constant.
        t_stride: usize,
        /// Floats from pixel to pixel.
        p_stride: usize,
    },
}

/// What becomes of the sums.
pub enum Post<'a> {
    /// A population steps.
    Neuron(NeuronBlock<'a>),
    /// They are stored, `[t][pixel][lane]`.
    Store(&'a mut [f32]),
}

/// One block of outputs over all pixels and steps.
pub struct BlockTask<'a> {
    /// Steps of this chunk.
    pub steps: usize,
    /// Output rows.
    pub out_h: usize,
    /// Output columns.
    pub out_w: usize,
    /// Index of the block among the population's.
    pub block: usize,
    /// Summands in the order of their edges.
    pub parents: &'a [Parent<'a>],
    /// What becomes of them.
    pub post: Post<'a>,
}

impl BlockTask<'_> {
    /// Check every size the kernel relies on; a mismatch is a bug of the plan and panics here
    /// rather than reading out of bounds there.
    pub(super) fn check(&self, width: usize) {
        assert!(width.is_multiple_of(LANES) && (LANES..=4 * LANES).contains(&width), "block width");
        let pixels = self.out_h * self.out_w;
        let values = self.steps * pixels * width;
        for parent in self.parents {
            match parent {
                Parent::Dense { data, t_stride, p_stride } => {
                    let last = self.steps.saturating_sub(1) * t_stride
                        + pixels.saturating_sub(1) * p_stride;
                    assert!(data.len() >= last + width, "dense parent");
                }
                Parent::Lists { geometry: g, weights, bias, lo, n, views, edges, constant } => {
                    assert!(weights.len() == g.kh * g.kw * *n as usize * width, "weights");
                    assert!(bias.is_empty() || bias.len() == width, "bias");
                    assert!((g.out_h, g.out_w) == (self.out_h, self.out_w), "output size");
                    let steps = if *constant { self.steps.min(1) } else { self.steps };
                    assert!(views.len() == steps * edges, "views");
                    assert!(views.iter().all(|v| v.shift == 0), "event values");
                    check_lists(g, (*lo, *n), views, *edges);
                }
            }
        }
        match &self.post {
            Post::Store(out) => assert!(out.len() == values, "stored sums"),
            Post::Neuron(n) => n.check(self.block, width, pixels, self.steps),
        }
    }
}

/// Check what [`walk`] relies on, as [`BlockTask::check`].
pub(super) fn check_lists(g: &Geometry, (lo, n): (u32, u32), views: &[ListView<'_>], edges: usize) {
    assert!((lo + n) as usize <= g.in_c, "input channels");
    assert!(edges > 0 && g.stride[1] > 0 && g.dilation[1] > 0, "geometry");
    let dims = Dims { c: g.in_c, h: g.in_h, w: g.in_w };
    assert!(views.iter().all(|v| v.dims == dims), "event dims");
    assert!(views.iter().all(|v| v.ptr.len() == dims.pixels() + 1), "offsets");
}

/// Add the rows of one run of events: the row of entry `e` begins at `w + (e − base)·lanes`.
///
/// # Safety
/// `S`'s instruction set; every entry `e` satisfies `e >= base` and its row lies in the weights.
#[inline(always)]
pub(super) unsafe fn add_run<S: Simd, const NV: usize>(
    acc: &mut [S::V; NV],
    w: *const f32,
    base: u32,
    idx: &[u32],
    val: &[f32],
) {
    if val.is_empty() {
        for &e in idx {
            // SAFETY: the row lies in the weights by the caller's contract.
            unsafe {
                let row = w.add((e - base) as usize * (NV * LANES));
                let mut j = 0;
                while j < NV {
                    acc[j] = S::add(acc[j], S::load(row.add(j * LANES)));
                    j += 1;
                }
            }
        }
    } else {
        for (&e, &x) in idx.iter().zip(val) {
            // SAFETY: as above.
            unsafe {
                let row = w.add((e - base) as usize * (NV * LANES));
                let x = S::splat(x);
                let mut j = 0;
                while j < NV {
                    acc[j] = S::add(acc[j], S::mul(x, S::load(row.add(j * LANES))));
                    j += 1;
                }
            }
        }
    }
}

/// What takes the runs of events that lie under a kernel.
pub(super) trait Runs {
    /// Take one run: `row` is the row of the weights that belongs to the entry `base`, the row of
    /// entry `e` is `row + (e − base)`.
    ///
    /// # Safety
    /// The instruction set of the implementor; every entry `e` satisfies `e >= base` and its row
    /// lies in the weights.
    unsafe fn take(&mut self, row: usize, base: u32, idx: &[u32], val: &[f32]);
}

/// Hand over the events under the kernel at one output pixel, in ascending (ky, kx, c_in) order.
///
/// # Safety
/// `R`'s instruction set; its weights hold `kh·kw·n` rows and the view's entries fit `g`.
#[inline(always)]
pub(super) unsafe fn walk<R: Runs>(
    g: &Geometry,
    (lo, n): (u32, u32),
    view: &ListView<'_>,
    (oy, ox): (usize, usize),
    to: &mut R,
) {
    let (y0, x0) = ((oy * g.stride[0]) as isize, (ox * g.stride[1]) as isize);
    let (y0, x0) = (y0 - g.pad[0] as isize, x0 - g.pad[1] as isize);
    // Columns of the kernel that fall inside the input: kx0..kx1.
    let d = g.dilation[1] as isize;
    let kx0 = if x0 < 0 { ((-x0 + d - 1) / d) as usize } else { 0 };
    let room = g.in_w as isize - x0;
    let kx1 = if room <= 0 { 0 } else { (((room + d - 1) / d) as usize).min(g.kw) };
    if kx0 >= kx1 {
        return;
    }
    let whole = n as usize == g.in_c;
    for ky in 0..g.kh {
        let y = y0 + (ky * g.dilation[0]) as isize;
        if y < 0 || y >= g.in_h as isize {
            continue;
        }
        let first = y as usize * g.in_w;
        if whole && d == 1 {
            // The columns are neighbours and so are their lists: one run.
            let ix = (x0 + kx0 as isize) as usize;
            // SAFETY: ix and ix + (kx1 − kx0) are columns of the input or its end, so the
            // offsets exist; the plan made `ptr` ascend within `idx`; rows as by contract.
            unsafe {
                let a = *view.ptr.get_unchecked(first + ix) as usize;
                let b = *view.ptr.get_unchecked(first + ix + kx1 - kx0) as usize;
                let idx = view.idx.get_unchecked(a..b);
                let val = if view.val.is_empty() { view.val } else { view.val.get_unchecked(a..b) };
                to.take((ky * g.kw + kx0) * n as usize, (ix * g.in_c) as u32, idx, val);
            }
            continue;
        }
        for kx in kx0..kx1 {
            let ix = (x0 + kx as isize * d) as usize;
            // SAFETY: ix is a column of the input; otherwise as above.
            unsafe {
                let mut a = *view.ptr.get_unchecked(first + ix) as usize;
                let mut b = *view.ptr.get_unchecked(first + ix + 1) as usize;
                let base = (ix * g.in_c) as u32 + lo;
                if !whole {
                    let list = view.idx.get_unchecked(a..b);
                    b = a + list.partition_point(|&e| e < base + n);
                    a += list.partition_point(|&e| e < base);
                }
                let idx = view.idx.get_unchecked(a..b);
                let val = if view.val.is_empty() { view.val } else { view.val.get_unchecked(a..b) };
                to.take((ky * g.kw + kx) * n as usize, base, idx, val);
            }
        }
    }
}

/// Sums of f32 in registers.
struct Sums<S: Simd, const NV: usize> {
    acc: [S::V; NV],
    weights: *const f32,
}

impl<S: Simd, const NV: usize> Runs for Sums<S, NV> {
    #[inline(always)]
    unsafe fn take(&mut self, row: usize, base: u32, idx: &[u32], val: &[f32]) {
        // SAFETY: the rows lie in the weights by the caller's contract.
        unsafe {
            let w = self.weights.add(row * (NV * LANES));
            add_run::<S, NV>(&mut self.acc, w, base, idx, val);
        }
    }
}

/// The sum of one edge at one output pixel, from zero.
///
/// # Safety
/// As [`walk`], for `weights`.
#[inline(always)]
unsafe fn edge_sum<S: Simd, const NV: usize>(
    g: &Geometry,
    weights: &[f32],
    range: (u32, u32),
    view: &ListView<'_>,
    at: (usize, usize),
) -> [S::V; NV] {
    // SAFETY: by contract.
    unsafe {
        let mut sums: Sums<S, NV> = Sums { acc: [S::splat(0.0); NV], weights: weights.as_ptr() };
        walk(g, range, view, at, &mut sums);
        sums.acc
    }
}

/// The value of one parent at one pixel and step.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn parent_value<S: Simd, const NV: usize>(
    parent: &Parent<'_>,
    t: usize,
    at: (usize, usize),
    pixel: usize,
) -> [S::V; NV] {
    // SAFETY: the plan sized weights, bias and data for this block; S's set by contract.
    unsafe {
        match parent {
            Parent::Dense { data, t_stride, p_stride } => {
                let p = data.as_ptr().add(t * t_stride + pixel * p_stride);
                let mut out = [S::splat(0.0); NV];
                let mut j = 0;
                while j < NV {
                    out[j] = S::load(p.add(j * LANES));
                    j += 1;
                }
                out
            }
            Parent::Lists { geometry, weights, bias, lo, n, views, edges, constant } => {
                let first = if *constant { 0 } else { t * edges };
                let range = (*lo, *n);
                let mut sum =
                    edge_sum::<S, NV>(geometry, weights, range, views.get_unchecked(first), at);
                for e in 1..*edges {
                    let view = views.get_unchecked(first + e);
                    let more = edge_sum::<S, NV>(geometry, weights, range, view, at);
                    let mut j = 0;
                    while j < NV {
                        sum[j] = S::add(sum[j], more[j]);
                        j += 1;
                    }
                }
                if !bias.is_empty() {
                    let mut j = 0;
                    while j < NV {
                        sum[j] = S::add(sum[j], S::load(bias.as_ptr().add(j * LANES)));
                        j += 1;
                    }
                }
                sum
            }
        }
    }
}

/// Run one block; blocks are `NV` vectors wide.
///
/// # Safety
/// `S`'s instruction set is there; every slice of the task has the size its documentation says
/// for `NV · LANES` lanes, and every event lies inside its parent's geometry.
#[inline(always)]
pub unsafe fn run<S: Simd, const NV: usize>(task: &mut BlockTask<'_>) {
    let width = NV * LANES;
    let pixels = task.out_h * task.out_w;
    for oy in 0..task.out_h {
        for ox in 0..task.out_w {
            let pixel = oy * task.out_w + ox;
            for t in 0..task.steps {
                // SAFETY: by this function's contract.
                unsafe {
                    let mut sum = [S::splat(0.0); NV];
                    for (k, parent) in task.parents.iter().enumerate() {
                        let value = parent_value::<S, NV>(parent, t, (oy, ox), pixel);
                        if k == 0 {
                            sum = value;
                        } else {
                            let mut j = 0;
                            while j < NV {
                                sum[j] = S::add(sum[j], value[j]);
                                j += 1;
                            }
                        }
                    }
                    match &mut task.post {
                        Post::Store(out) => {
                            let p = out.as_mut_ptr().add((t * pixels + pixel) * width);
                            let mut j = 0;
                            while j < NV {
                                S::store(p.add(j * LANES), sum[j]);
                                j += 1;
                            }
                        }
                        Post::Neuron(n) => {
                            neuron::step::<S, NV>(n, task.block, pixel, pixels, t, &sum);
                        }
                    }
                }
            }
        }
    }
}
