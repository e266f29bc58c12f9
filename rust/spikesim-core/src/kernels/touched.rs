//! One step of a block of neurons at a few pixels: what a stream does where something happens.
//!
//! Sums are gathered at each touched pixel from sorted lists of events, so their order is that of
//! the block kernel, (ky, kx, c_in) ascending from zero (S2). A pixel that was left alone for
//! some steps first catches up: the silent steps are carried out one by one, in registers, until
//! they change nothing any more (S4.1). Afterwards the kernel says when the pixel must be looked
//! at again even if nothing arrives.

use super::block::{Geometry, add_run};
use super::level::Level;
use super::neuron::{self, NeuronBlock, flush, passes};
use super::param::Param;
use super::simd::{LANES, Portable, Simd};
#[cfg(target_arch = "aarch64")]
use super::simd_neon::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd_x86::{Avx2, Avx512};
use super::window::Dims;

/// Never again by itself.
pub const NEVER: u32 = u32::MAX;

/// Steps after which a pixel is looked at again at the latest, if it might fire by itself.
const HORIZON: f32 = 1e6;

/// Room for the state of one pixel of a block.
const MOST: usize = 4 * LANES;

/// The events of one step.
#[derive(Clone, Copy, Debug)]
pub struct SparseList<'a> {
    /// Channels, rows, columns.
    pub dims: Dims,
    /// `pixel · channels + channel`, ascending, each once.
    pub at: &'a [u32],
    /// Value of each event; empty where every value is 1.
    pub val: &'a [f32],
    /// Rows + 1 offsets into `at`.
    pub rows: &'a [u32],
}

/// One summand of the neurons' input.
pub enum SparseParent<'a> {
    /// A linear or convolutional layer.
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
        /// The events of each edge.
        lists: &'a [SparseList<'a>],
    },
    /// Values without weights in between.
    Values(SparseList<'a>),
}

/// How the pixels of a population are left alone.
#[derive(Clone, Copy, Debug)]
pub enum Rest<'a> {
    /// They catch up when they are touched. Holds what a silent step brings, a value a lane, and
    /// 1 for each neuron that can climb over its threshold by itself (where there are any).
    Lazy {
        /// The summed input of a silent step, a value a lane.
        silent: &'a [f32],
        /// 1 where a neuron may climb over its threshold by itself.
        driven: Option<&'a Param>,
    },
    /// They are stepped until a silent step changes nothing.
    Awake,
}

/// One block of neurons at some pixels.
pub struct Touched<'a> {
    /// Index of the block among the population's.
    pub block: usize,
    /// Output rows and columns.
    pub out: [usize; 2],
    /// The pixels.
    pub pixels: &'a [u32],
    /// Silent steps that each has to catch up with.
    pub behind: &'a [u32],
    /// Whether each got an event in this step.
    pub struck: &'a [bool],
    /// Summands in the order of their edges.
    pub parents: &'a [SparseParent<'a>],
    /// What silence does.
    pub rest: Rest<'a>,
    /// Only catch up.
    pub idle: bool,
    /// The block's neurons; masks and numbers of spikes have room for one step of all pixels.
    pub neurons: NeuronBlock<'a>,
    /// For each of `pixels` the steps until it must be looked at again, lowered where needed.
    pub wake: &'a mut [u32],
}

impl Touched<'_> {
    /// As [`super::block::BlockTask::check`].
    fn check(&self, width: usize) {
        assert!(width.is_multiple_of(LANES) && (LANES..=MOST).contains(&width), "block width");
        let [out_h, out_w] = self.out;
        let pixels = out_h * out_w;
        assert!(self.pixels.iter().all(|&p| (p as usize) < pixels), "pixels");
        assert!(self.behind.len() == self.pixels.len(), "steps behind");
        assert!(self.struck.len() == self.pixels.len(), "struck");
        assert!(self.wake.len() == self.pixels.len(), "wake");
        self.neurons.check(self.block, width, pixels, 1);
        if let Rest::Lazy { silent, driven } = self.rest {
            assert!(silent.len() == width, "silent input");
            assert!(driven.is_none_or(|d| d.covers(self.block, width, pixels)), "driven");
        }
        let fits = |list: &SparseList<'_>| {
            let sorted = list.at.last().is_none_or(|&last| (last as usize) < list.dims.len());
            let rows = list.rows.len() == list.dims.h + 1
                && list.rows.last().is_none_or(|&end| end as usize == list.at.len())
                && list.rows.is_sorted();
            sorted
                && list.at.is_sorted()
                && rows
                && (list.val.is_empty() || list.val.len() == list.at.len())
        };
        for parent in self.parents {
            match parent {
                SparseParent::Lists { geometry: g, weights, bias, lo, n, lists } => {
                    assert!((*lo + *n) as usize <= g.in_c, "input channels");
                    assert!(weights.len() == g.kh * g.kw * *n as usize * width, "weights");
                    assert!(bias.is_empty() || bias.len() == width, "bias");
                    assert!([g.out_h, g.out_w] == self.out, "output size");
                    assert!(g.stride[1] > 0 && g.dilation[1] > 0 && !lists.is_empty(), "geometry");
                    let dims = Dims { c: g.in_c, h: g.in_h, w: g.in_w };
                    assert!(lists.iter().all(|l| l.dims == dims && fits(l)), "events");
                }
                SparseParent::Values(list) => {
                    let size = [list.dims.h, list.dims.w];
                    assert!(size == self.out && fits(list), "values");
                }
            }
        }
    }
}

/// The part of `row` (sorted) that lies in `from..to`.
#[inline(always)]
fn between(row: &[u32], from: u32, to: u32) -> (usize, usize) {
    if row.len() <= 16 {
        let a = row.iter().filter(|&&e| e < from).count();
        let b = row.iter().filter(|&&e| e < to).count();
        return (a, b);
    }
    let a = row.partition_point(|&e| e < from);
    (a, a + row[a..].partition_point(|&e| e < to))
}

/// The sum of one edge at one output pixel, from zero, in ascending (ky, kx, c_in) order.
///
/// # Safety
/// `S`'s instruction set; `weights` holds `kh·kw·n` rows of `NV · LANES`, the list fits `g`.
#[inline(always)]
unsafe fn edge_sum<S: Simd, const NV: usize>(
    g: &Geometry,
    weights: &[f32],
    (lo, n): (u32, u32),
    list: &SparseList<'_>,
    (oy, ox): (usize, usize),
) -> [S::V; NV] {
    // SAFETY: S's instruction set by contract.
    let mut acc = unsafe { [S::splat(0.0); NV] };
    let y0 = (oy * g.stride[0]) as isize - g.pad[0] as isize;
    let x0 = (ox * g.stride[1]) as isize - g.pad[1] as isize;
    let d = g.dilation[1] as isize;
    let kx0 = if x0 < 0 { ((-x0 + d - 1) / d) as usize } else { 0 };
    let room = g.in_w as isize - x0;
    let kx1 = if room <= 0 { 0 } else { (((room + d - 1) / d) as usize).min(g.kw) };
    if kx0 >= kx1 {
        return acc;
    }
    let whole = n as usize == g.in_c && d == 1;
    for ky in 0..g.kh {
        let y = y0 + (ky * g.dilation[0]) as isize;
        if y < 0 || y >= g.in_h as isize {
            continue;
        }
        let y = y as usize;
        let (first, end) = (list.rows[y] as usize, list.rows[y + 1] as usize);
        if first == end {
            continue;
        }
        let row = &list.at[first..end];
        let values = |a: usize, b: usize| match list.val {
            [] => list.val,
            val => &val[first + a..first + b],
        };
        if whole {
            let ix = (x0 + kx0 as isize) as usize;
            let base = ((y * g.in_w + ix) * g.in_c) as u32;
            let to = base + ((kx1 - kx0) * g.in_c) as u32;
            let (a, b) = between(row, base, to);
            // SAFETY: entries lie in base..to, so their rows do in the kernel's row `ky` from
            // column `kx0` on.
            unsafe {
                let w = weights.as_ptr().add((ky * g.kw + kx0) * n as usize * NV * LANES);
                add_run::<S, NV>(&mut acc, w, base, &row[a..b], values(a, b));
            }
            continue;
        }
        for kx in kx0..kx1 {
            let ix = (x0 + kx as isize * d) as usize;
            let base = ((y * g.in_w + ix) * g.in_c) as u32 + lo;
            let (a, b) = between(row, base, base + n);
            // SAFETY: as above, for one column and the channels that the block sees.
            unsafe {
                let w = weights.as_ptr().add((ky * g.kw + kx) * n as usize * NV * LANES);
                add_run::<S, NV>(&mut acc, w, base, &row[a..b], values(a, b));
            }
        }
    }
    acc
}

/// The values of block `block` at `pixel`; silence is zero.
///
/// # Safety
/// `S`'s instruction set; the list has a pixel of that number.
#[inline(always)]
unsafe fn values_at<S: Simd, const NV: usize>(
    list: &SparseList<'_>,
    block: usize,
    pixel: usize,
) -> [S::V; NV] {
    let width = NV * LANES;
    let y = pixel / list.dims.w;
    let first = list.rows[y] as usize;
    let row = &list.at[first..list.rows[y + 1] as usize];
    let base = (pixel * list.dims.c + block * width) as u32;
    let room = (list.dims.c - block * width).min(width) as u32;
    let (a, b) = between(row, base, base + room);
    let mut lanes = [0.0f32; MOST];
    for k in a..b {
        lanes[(row[k] - base) as usize] += list.val.get(first + k).copied().unwrap_or(1.0);
    }
    // SAFETY: `lanes` has room for four vectors, NV is at most four.
    unsafe {
        let mut out = [S::splat(0.0); NV];
        let mut j = 0;
        while j < NV {
            out[j] = S::load(lanes.as_ptr().add(j * LANES));
            j += 1;
        }
        out
    }
}

/// The value of one parent at one pixel.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn parent_sum<S: Simd, const NV: usize>(
    parent: &SparseParent<'_>,
    block: usize,
    pixel: usize,
    at: (usize, usize),
) -> [S::V; NV] {
    // SAFETY: `check` compared every size by contract; S's set too.
    unsafe {
        match parent {
            SparseParent::Values(list) => values_at::<S, NV>(list, block, pixel),
            SparseParent::Lists { geometry, weights, bias, lo, n, lists } => {
                let mut sum = edge_sum::<S, NV>(geometry, weights, (*lo, *n), &lists[0], at);
                for list in &lists[1..] {
                    let more = edge_sum::<S, NV>(geometry, weights, (*lo, *n), list, at);
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

/// One silent step of sixteen simple neurons that do not fire in it.
///
/// # Safety
/// `S`'s instruction set.
#[inline(always)]
unsafe fn silent_step<S: Simd>(
    plain: bool,
    (leak, alpha, drive): (S::V, S::V, S::V),
    v: S::V,
) -> S::V {
    // SAFETY: by contract. The operations are those of `neuron::simple_step`.
    unsafe {
        if plain {
            S::add(flush::<S>(v), drive)
        } else {
            S::add(S::add(leak, flush::<S>(S::mul(alpha, S::sub(v, leak)))), drive)
        }
    }
}

/// Sixteen neurons of a block: what their silence is made of.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn silence<S: Simd>(
    n: &NeuronBlock<'_>,
    silent: &[f32],
    (block, pixel, j): (usize, usize, usize),
) -> (S::V, S::V, S::V) {
    // SAFETY: parameters cover every block, pixel and vector, `silent` every lane.
    unsafe {
        let x = S::load(silent.as_ptr().add(j * LANES));
        if n.params.rules.plain_if {
            return (x, x, x);
        }
        let leak = n.params.v_leak.load::<S>(block, pixel, j);
        let alpha = n.params.alpha_mem.load::<S>(block, pixel, j);
        (leak, alpha, S::mul(n.params.gain.load::<S>(block, pixel, j), x))
    }
}

/// Carry out `steps` silent steps at `pixel`, or as many as change something.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn catch_up<S: Simd, const NV: usize>(
    n: &mut NeuronBlock<'_>,
    silent: &[f32],
    (block, pixel): (usize, usize),
    steps: u32,
) {
    let plain = n.params.rules.plain_if;
    let mut j = 0;
    while j < NV {
        // SAFETY: the state covers every pixel and lane.
        unsafe {
            let what = silence::<S>(n, silent, (block, pixel, j));
            let p = n.v.as_mut_ptr().add((pixel * NV + j) * LANES);
            let mut v = S::load(p);
            for _ in 0..steps {
                let next = silent_step::<S>(plain, what, v);
                let same = S::bits(S::and(S::ge(next, v), S::ge(v, next))) == 0xffff;
                v = next;
                if same {
                    break;
                }
            }
            S::store(p, v);
        }
        j += 1;
    }
}

/// Steps until a neuron of `pixel` might fire by itself; never too late.
///
/// A silent step is a monotone map of v (no rounding reverses an order, and alpha is not
/// negative), so what does not climb now never will. What climbs does so by ever smaller steps
/// (alpha is at most 1), give or take roundings: a bound on these tells the earliest step.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn wake<S: Simd, const NV: usize>(
    n: &NeuronBlock<'_>,
    silent: &[f32],
    driven: Option<&Param>,
    (block, pixel): (usize, usize),
) -> u32 {
    let strict = n.params.rules.strict;
    let mut above = 0;
    let mut least = [HORIZON; LANES];
    let mut j = 0;
    while j < NV {
        // SAFETY: state and parameters cover every pixel, vector and lane.
        unsafe {
            let v = S::load(n.v.as_ptr().add((pixel * NV + j) * LANES));
            let theta = n.params.v_threshold.load::<S>(block, pixel, j);
            above |= S::bits(passes::<S>(strict, v, theta));
            if let Some(driven) = driven {
                let what = silence::<S>(n, silent, (block, pixel, j));
                let next = silent_step::<S>(n.params.rules.plain_if, what, v);
                let climb = S::sub(next, v);
                let zero = S::splat(0.0);
                let able = S::gt(driven.load::<S>(block, pixel, j), zero);
                let climbs = S::and(able, S::gt(climb, zero));
                let (leak, _, drive) = what;
                let sizes = S::add(S::add(S::abs(v), S::abs(theta)), S::abs(drive));
                let sizes = S::add(sizes, S::add(S::abs(leak), S::abs(leak)));
                // Roundings of a step: a few units of 2⁻²⁴ of the largest operand.
                let slack = S::add(S::mul(sizes, S::splat(2e-6)), S::splat(1e-29));
                let most = S::add(S::mul(climb, S::splat(1.001)), slack);
                let steps = S::floor(S::div(S::sub(theta, v), most));
                let steps = S::select(climbs, steps, S::splat(f32::INFINITY));
                let p = least.as_mut_ptr();
                S::store(p, S::min(S::load(p), steps));
                // Some lane climbs: the horizon itself is a wake-up.
                if S::bits(climbs) != 0 {
                    above |= 1 << 31;
                }
            }
        }
        j += 1;
    }
    if above & 0xffff != 0 {
        1
    } else if above == 0 {
        NEVER
    } else {
        let steps = least.iter().copied().fold(HORIZON, f32::min);
        steps.max(1.0) as u32
    }
}

/// The state of one pixel of the block, and whether it is still the same.
struct Snapshot([[f32; MOST]; 5]);

impl Snapshot {
    fn take(n: &NeuronBlock<'_>, at: std::ops::Range<usize>) -> Self {
        let mut copy = [[0.0; MOST]; 5];
        for (part, copy) in [&n.v, &n.i, &n.n, &n.a, &n.r].into_iter().zip(&mut copy) {
            if let Some(values) = part.get(at.clone()) {
                copy[..values.len()].copy_from_slice(values);
            }
        }
        Self(copy)
    }

    fn holds(&self, n: &NeuronBlock<'_>, at: std::ops::Range<usize>) -> bool {
        let parts = [&n.v, &n.i, &n.n, &n.a, &n.r];
        parts.into_iter().zip(&self.0).all(|(part, copy)| match part.get(at.clone()) {
            Some(values) => values == &copy[..values.len()],
            None => true,
        })
    }
}

/// Run one block; blocks are `NV` vectors wide.
///
/// # Safety
/// `S`'s instruction set is there and `check` has passed.
#[inline(always)]
unsafe fn run<S: Simd, const NV: usize>(task: &mut Touched<'_>) {
    let width = NV * LANES;
    let [out_h, out_w] = task.out;
    let pixels = out_h * out_w;
    let n = &mut task.neurons;
    for (k, &pixel) in task.pixels.iter().enumerate() {
        let pixel = pixel as usize;
        let unit = (task.block, pixel);
        let lanes = pixel * width..(pixel + 1) * width;
        // SAFETY: by this function's contract.
        unsafe {
            if let (Rest::Lazy { silent, .. }, true) = (task.rest, task.behind[k] > 0) {
                catch_up::<S, NV>(n, silent, unit, task.behind[k]);
            }
            if task.idle {
                continue;
            }
            let at = (pixel / out_w, pixel % out_w);
            let mut sum = [S::splat(0.0); NV];
            for (k, parent) in task.parents.iter().enumerate() {
                let value = parent_sum::<S, NV>(parent, task.block, pixel, at);
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
            let again = match task.rest {
                Rest::Lazy { silent, driven } => {
                    neuron::step::<S, NV>(n, task.block, pixel, pixels, 0, &sum);
                    wake::<S, NV>(n, silent, driven, unit)
                }
                Rest::Awake => {
                    let before = Snapshot::take(n, lanes.clone());
                    neuron::step::<S, NV>(n, task.block, pixel, pixels, 0, &sum);
                    let quiet = !task.struck[k] && n.masks[pixel] == 0;
                    if quiet && before.holds(n, lanes) { NEVER } else { 1 }
                }
            };
            task.wake[k] = task.wake[k].min(again);
        }
    }
}

/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn by_width<S: Simd>(width: usize, task: &mut Touched<'_>) {
    // SAFETY: handed on.
    unsafe {
        match width / LANES {
            1 => run::<S, 1>(task),
            2 => run::<S, 2>(task),
            3 => run::<S, 3>(task),
            _ => run::<S, 4>(task),
        }
    }
}

/// # Safety
/// As [`run`]; the CPU has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn touched_avx2(width: usize, task: &mut Touched<'_>) {
    // SAFETY: handed on.
    unsafe { by_width::<Avx2>(width, task) }
}

/// # Safety
/// As [`run`]; the CPU has AVX-512 F, BW, DQ, VL.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2")]
unsafe fn touched_avx512(width: usize, task: &mut Touched<'_>) {
    // SAFETY: handed on.
    unsafe { by_width::<Avx512>(width, task) }
}

/// # Safety
/// As [`run`]; the CPU has NEON.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn touched_neon(width: usize, task: &mut Touched<'_>) {
    // SAFETY: handed on.
    unsafe { by_width::<Neon>(width, task) }
}

/// Run one block at `level`; `width` is 16, 32, 48 or 64 lanes.
///
/// # Panics
/// When the level is not this CPU's or a slice of the task has another size than documented:
/// the plan establishes all of it, so either is a bug.
pub fn run_touched(level: Level, width: usize, task: &mut Touched<'_>) {
    assert!(level.is_available(), "level {} on this CPU", level.name());
    task.check(width);
    // SAFETY: the level is available and `check` compared every slice with its documented size.
    unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => touched_avx512(width, task),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => touched_avx2(width, task),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => touched_neon(width, task),
            _ => by_width::<Portable>(width, task),
        }
    }
}
