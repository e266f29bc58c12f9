//! Which places of a layer's output see a place of its input.

use crate::kernels::block::Geometry;
use crate::kernels::window::{Span, Windows};

/// For each position on one axis of the input the positions of the output that see it, ascending.
#[derive(Debug)]
struct Axis {
    first: Vec<u32>,
    outs: Vec<u32>,
}

impl Axis {
    fn new(n: usize, sees: impl Fn(usize) -> Vec<u32>) -> Self {
        let mut axis = Self { first: vec![0], outs: Vec::new() };
        for i in 0..n {
            axis.outs.extend(sees(i));
            axis.first.push(axis.outs.len() as u32);
        }
        axis
    }

    fn at(&self, i: usize) -> &[u32] {
        &self.outs[self.first[i] as usize..self.first[i + 1] as usize]
    }
}

/// Both axes of a layer.
#[derive(Debug)]
pub(super) struct Reach {
    y: Axis,
    x: Axis,
    in_w: usize,
    out_w: usize,
}

impl Reach {
    /// Of a convolution.
    pub(super) fn of_layer(g: &Geometry) -> Self {
        let axis = |a: usize, n: usize, kernel: usize, out: usize| {
            Axis::new(n, |i| {
                // Ascending outputs are descending places of the kernel.
                let lands = |k: usize| {
                    let at = (i + g.pad[a]).checked_sub(k * g.dilation[a])?;
                    let o = at / g.stride[a];
                    (o * g.stride[a] == at && o < out).then_some(o as u32)
                };
                (0..kernel).rev().filter_map(lands).collect()
            })
        };
        let y = axis(0, g.in_h, g.kh, g.out_h);
        let x = axis(1, g.in_w, g.kw, g.out_w);
        Self { y, x, in_w: g.in_w, out_w: g.out_w }
    }

    /// Of a pool over an input of `in_h` rows and `in_w` columns.
    pub(super) fn of_windows(windows: &Windows, in_h: usize, in_w: usize) -> Self {
        let axis = |spans: &[Span], n: usize| {
            Axis::new(n, |i| {
                let sees = |(o, span): (usize, &Span)| {
                    (span.start <= i && i < span.end).then_some(o as u32)
                };
                spans.iter().enumerate().filter_map(sees).collect()
            })
        };
        let (y, x) = (axis(&windows.y, in_h), axis(&windows.x, in_w));
        Self { y, x, in_w, out_w: windows.x.len() }
    }

    /// The pixels of the output that see `pixel`, ascending.
    pub(super) fn of(&self, pixel: usize) -> impl Iterator<Item = usize> + '_ {
        let (rows, columns) = (self.y.at(pixel / self.in_w), self.x.at(pixel % self.in_w));
        rows.iter()
            .flat_map(move |&y| columns.iter().map(move |&x| y as usize * self.out_w + x as usize))
    }
}

/// A set of small numbers (pixels, elements) that is emptied as it is read, in time proportional
/// to what is in it.
#[derive(Debug, Default)]
pub(super) struct Places {
    words: Vec<u64>,
    /// A bit for each word that is not zero.
    upper: Vec<u64>,
    /// Words of `upper` that may not be zero.
    lo: usize,
    hi: usize,
}

impl Places {
    pub(super) fn new(places: usize) -> Self {
        let words = places.div_ceil(64);
        Self { words: vec![0; words], upper: vec![0; words.div_ceil(64)], lo: usize::MAX, hi: 0 }
    }

    pub(super) fn insert(&mut self, place: usize) {
        let word = place / 64;
        self.words[word] |= 1 << (place % 64);
        self.upper[word / 64] |= 1 << (word % 64);
        self.lo = self.lo.min(word / 64);
        self.hi = self.hi.max(word / 64 + 1);
    }

    pub(super) fn contains(&self, place: usize) -> bool {
        self.words[place / 64] >> (place % 64) & 1 == 1
    }

    /// Visit what is in the set in ascending order and forget it.
    pub(super) fn drain(&mut self, mut visit: impl FnMut(u32)) {
        for k in self.lo.min(self.hi)..self.hi {
            let mut upper = std::mem::take(&mut self.upper[k]);
            while upper != 0 {
                let at = k * 64 + upper.trailing_zeros() as usize;
                upper &= upper - 1;
                let mut word = std::mem::take(&mut self.words[at]);
                while word != 0 {
                    visit((at * 64) as u32 + word.trailing_zeros());
                    word &= word - 1;
                }
            }
        }
        (self.lo, self.hi) = (usize::MAX, 0);
    }
}
