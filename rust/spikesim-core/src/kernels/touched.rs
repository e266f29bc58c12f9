//! One step of a block of neurons at a few pixels: what a stream does where something happens.
//!
//! Sums are gathered at each touched pixel from sorted lists of events, so their order is that of
//! the block kernel, (ky, kx, c_in) ascending from zero (S2). A pixel that was left alone for
//! some steps first catches up: the silent steps are carried out one by one, in registers, until
//! they change nothing any more (S4.1). Afterwards the kernel says when the pixel must be looked
//! at again even if nothing arrives.

use super::at_level::at_level;
use super::gather::{SparseParent, parent_sum};
use super::level::Level;
use super::neuron::{self, NeuronBlock};
use super::param::Param;
use super::silence::{NEVER, catch_up, wake};
use super::simd::{LANES, Simd};
use super::window::Dims;

/// Room for the state of one pixel of a block.
const MOST: usize = 4 * LANES;

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
        for parent in self.parents {
            match parent {
                SparseParent::Lists { geometry: g, weights, bias, lo, n, lists } => {
                    assert!((*lo + *n) as usize <= g.in_c, "input channels");
                    assert!(weights.len() == g.kh * g.kw * *n as usize * width, "weights");
                    assert!(bias.is_empty() || bias.len() == width, "bias");
                    assert!([g.out_h, g.out_w] == self.out, "output size");
                    assert!(g.stride[1] > 0 && g.dilation[1] > 0 && !lists.is_empty(), "geometry");
                    let dims = Dims { c: g.in_c, h: g.in_h, w: g.in_w };
                    assert!(lists.iter().all(|l| l.dims == dims && l.is_whole()), "events");
                }
                SparseParent::Values(list) => {
                    let size = [list.dims.h, list.dims.w];
                    assert!(size == self.out && list.is_whole(), "values");
                }
            }
        }
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
        // SAFETY: by this function's contract; a prefetch is a hint.
        unsafe {
            // The state of the pixel after the next: these lie anywhere.
            if let Some(&ahead) = task.pixels.get(k + 2) {
                let mut j = 0;
                while j < NV {
                    S::prefetch(n.v.as_ptr().add((ahead as usize * NV + j) * LANES));
                    j += 1;
                }
            }
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

at_level! {
    /// # Safety
    /// As [`run`]; the CPU has the level.
    unsafe fn touched_at(width: usize, task: &mut Touched<'_>) = by_width;
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
    unsafe { touched_at(level, width, task) }
}
