//! Sums at one pixel from sorted lists of events, in the order of the block kernel: (ky, kx, c_in)
//! ascending from zero (S2).

use super::block::{Geometry, add_run};
use super::simd::{LANES, Simd};
use super::window::Dims;

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

impl SparseList<'_> {
    /// Whether offsets and places hold together.
    pub(super) fn is_whole(&self) -> bool {
        let inside = self.at.last().is_none_or(|&last| (last as usize) < self.dims.len());
        let rows = self.rows.len() == self.dims.h + 1
            && self.rows.last().is_none_or(|&end| end as usize == self.at.len())
            && self.rows.is_sorted();
        let values = self.val.is_empty() || self.val.len() == self.at.len();
        inside && rows && values && self.at.is_sorted()
    }
}

/// The part of `row` (sorted) that lies in `from..to`.
#[inline(always)]
fn between(row: &[u32], from: u32, to: u32) -> (usize, usize) {
    // Counting short rows has no branch to guess.
    if row.len() <= 96 {
        let (mut a, mut b) = (0u32, 0u32);
        for &e in row {
            a += u32::from(e < from);
            b += u32::from(e < to);
        }
        return (a as usize, b as usize);
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
    let mut lanes = [0.0f32; 4 * LANES];
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
pub(super) unsafe fn parent_sum<S: Simd, const NV: usize>(
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
