//! What one edge brings to a pixel: rows of i8, summed.
//!
//! Plain events are summed in i16 and widened to i32 before they could overflow; events with
//! values of their own are multiplied and summed in f32, in the order of S2, and rounded once
//! (S14). Where both could be used they agree, since sums of integers below 2²⁴ are exact.

use super::super::block::{Geometry, ListView, Runs, walk};
use super::super::simd::{LANES, Simd};
use super::simd::{IntSimd, WIDE};
use super::{PART, ROWS};

/// `NW` vectors of thirty-two lanes as pairs of sixteen.
pub(super) type Units<S, const NW: usize> = [[<S as IntSimd>::I; 2]; NW];
pub(super) type Floats<S, const NW: usize> = [[<S as Simd>::V; 2]; NW];

/// Sums of plain events: i16, and i32 beside them for lists that are too long for i16.
struct Plain<S: IntSimd, const NW: usize> {
    acc: [S::W; NW],
    /// Rows that `acc` can still take.
    left: usize,
    wide: Units<S, NW>,
    spilled: bool,
    weights: *const i8,
}

impl<S: IntSimd, const NW: usize> Plain<S, NW> {
    /// # Safety
    /// `S`'s instruction set.
    #[inline(always)]
    unsafe fn new(weights: &[i8]) -> Self {
        // SAFETY: by contract.
        unsafe {
            Self {
                acc: [S::none16(); NW],
                left: ROWS,
                wide: [[S::int_splat(0); 2]; NW],
                spilled: false,
                weights: weights.as_ptr(),
            }
        }
    }

    /// Empty the i16 sums into the i32 ones.
    ///
    /// # Safety
    /// `S`'s instruction set.
    #[inline(always)]
    unsafe fn spill(&mut self) {
        // SAFETY: by contract.
        unsafe {
            let mut j = 0;
            while j < NW {
                let [a, b] = S::widen(self.acc[j]);
                self.wide[j] = [S::int_add(self.wide[j][0], a), S::int_add(self.wide[j][1], b)];
                self.acc[j] = S::none16();
                j += 1;
            }
        }
        self.left = ROWS;
        self.spilled = true;
    }

    /// # Safety
    /// `S`'s instruction set.
    #[inline(always)]
    unsafe fn sum(mut self) -> Units<S, NW> {
        // SAFETY: by contract.
        unsafe {
            if self.spilled {
                self.spill();
                return self.wide;
            }
            let mut out = self.wide;
            let mut j = 0;
            while j < NW {
                out[j] = S::widen(self.acc[j]);
                j += 1;
            }
            out
        }
    }
}

impl<S: IntSimd, const NW: usize> Runs for Plain<S, NW> {
    #[inline(always)]
    unsafe fn take(&mut self, row: usize, base: u32, mut idx: &[u32], _: &[f32]) {
        // SAFETY: the rows lie in the weights by the caller's contract.
        unsafe {
            let w = self.weights.add(row * (NW * WIDE));
            while idx.len() > self.left {
                let (now, later) = idx.split_at_unchecked(self.left);
                for &e in now {
                    let row = w.add((e - base) as usize * (NW * WIDE));
                    let mut j = 0;
                    while j < NW {
                        self.acc[j] = S::add_row(self.acc[j], row.add(j * WIDE));
                        j += 1;
                    }
                }
                self.spill();
                idx = later;
            }
            self.left -= idx.len();
            for &e in idx {
                let row = w.add((e - base) as usize * (NW * WIDE));
                let mut j = 0;
                while j < NW {
                    self.acc[j] = S::add_row(self.acc[j], row.add(j * WIDE));
                    j += 1;
                }
            }
        }
    }
}

/// Sums of events with values of their own.
struct Graded<S: IntSimd, const NW: usize> {
    acc: Floats<S, NW>,
    weights: *const i8,
}

impl<S: IntSimd, const NW: usize> Runs for Graded<S, NW> {
    #[inline(always)]
    unsafe fn take(&mut self, row: usize, base: u32, idx: &[u32], val: &[f32]) {
        // SAFETY: the rows lie in the weights by the caller's contract.
        unsafe {
            let w = self.weights.add(row * (NW * WIDE));
            for (&e, &x) in idx.iter().zip(val) {
                let row = w.add((e - base) as usize * (NW * WIDE));
                let x = S::splat(x);
                let mut j = 0;
                while j < NW {
                    let [a, b] = self.acc[j];
                    let p = row.add(j * WIDE);
                    let a = S::add(a, S::mul(x, S::row(p)));
                    let b = S::add(b, S::mul(x, S::row(p.add(LANES))));
                    self.acc[j] = [a, b];
                    j += 1;
                }
            }
        }
    }
}

/// Where one edge's events go and come from.
pub(super) struct Edge<'a> {
    pub(super) g: &'a Geometry,
    pub(super) weights: &'a [i8],
    pub(super) range: (u32, u32),
    pub(super) view: &'a ListView<'a>,
    pub(super) at: (usize, usize),
}

impl Edge<'_> {
    /// # Safety
    /// As [`walk`].
    #[inline(always)]
    unsafe fn plain<S: IntSimd, const NW: usize>(&self) -> Units<S, NW> {
        // SAFETY: by contract.
        unsafe {
            let mut sums = Plain::<S, NW>::new(self.weights);
            walk(self.g, self.range, self.view, self.at, &mut sums);
            sums.sum()
        }
    }

    /// # Safety
    /// As [`walk`].
    #[inline(always)]
    unsafe fn graded<S: IntSimd, const NW: usize>(&self) -> Floats<S, NW> {
        // SAFETY: by contract.
        unsafe {
            let acc = [[S::splat(0.0); 2]; NW];
            let mut sums = Graded::<S, NW> { acc, weights: self.weights.as_ptr() };
            walk(self.g, self.range, self.view, self.at, &mut sums);
            sums.acc
        }
    }

    /// What the edge brings, in units.
    ///
    /// # Safety
    /// As [`walk`].
    #[inline(always)]
    pub(super) unsafe fn units<S: IntSimd, const NW: usize>(&self, fraction: u32) -> Units<S, NW> {
        // SAFETY: by contract.
        unsafe {
            if self.view.val.is_empty() {
                let mut out = self.plain::<S, NW>();
                let bits = fraction - self.view.shift;
                let mut j = 0;
                while j < NW {
                    out[j] = [S::shl(out[j][0], bits), S::shl(out[j][1], bits)];
                    j += 1;
                }
                return out;
            }
            let sums = self.graded::<S, NW>();
            let factor = S::splat((1u32 << fraction) as f32);
            let mut out = [[S::int_splat(0); 2]; NW];
            let mut j = 0;
            while j < NW {
                out[j] = [
                    to_units::<S>(S::mul(sums[j][0], factor)),
                    to_units::<S>(S::mul(sums[j][1], factor)),
                ];
                j += 1;
            }
            out
        }
    }

    /// What the edge brings, in units of the weights, as f32.
    ///
    /// # Safety
    /// As [`walk`].
    #[inline(always)]
    pub(super) unsafe fn floats<S: IntSimd, const NW: usize>(&self) -> Floats<S, NW> {
        // SAFETY: by contract.
        unsafe {
            if !self.view.val.is_empty() {
                return self.graded::<S, NW>();
            }
            let sums = self.plain::<S, NW>();
            let unit = S::splat(1.0 / (1u32 << self.view.shift) as f32);
            let mut out = [[unit; 2]; NW];
            let mut j = 0;
            while j < NW {
                let [a, b] = sums[j];
                out[j] = [S::mul(S::to_f32(a), unit), S::mul(S::to_f32(b), unit)];
                j += 1;
            }
            out
        }
    }
}

/// To the nearest unit; magnitudes end at [`PART`].
///
/// # Safety
/// `S`'s instruction set.
#[inline(always)]
unsafe fn to_units<S: IntSimd>(x: S::V) -> S::I {
    // SAFETY: by contract.
    unsafe {
        let most = PART as f32;
        S::round(S::max(S::min(x, S::splat(most)), S::splat(-most)))
    }
}
