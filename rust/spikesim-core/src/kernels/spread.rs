//! Convolution of single spikes: each spike is added to the potentials of its neighbours, over
//! all maps at once, and only places that were touched are tested against the threshold.
//!
//! A spike meets the outputs of one row of the kernel in ascending x when the kernel's columns
//! are stored in descending x. Both are then contiguous, and a spike costs one long add for each
//! row of the kernel.

use super::at_level::at_level;
use super::level::Level;
use super::simd::{LANES, Simd};

/// Where a spike is: row, column, channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Spike {
    pub y: u16,
    pub x: u16,
    pub c: u16,
}

/// A convolution of stride 1 with a square kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Area {
    pub in_h: usize,
    pub in_w: usize,
    pub in_c: usize,
    pub kernel: usize,
    pub pad: usize,
    /// Output maps.
    pub maps: usize,
}

impl Area {
    /// Output rows.
    pub fn out_h(&self) -> usize {
        (self.in_h + 2 * self.pad + 1).saturating_sub(self.kernel)
    }

    /// Output columns.
    pub fn out_w(&self) -> usize {
        (self.in_w + 2 * self.pad + 1).saturating_sub(self.kernel)
    }

    /// Output places.
    pub fn places(&self) -> usize {
        self.out_h() * self.out_w()
    }

    /// Maps with their padding: whole vectors.
    pub fn lanes(&self) -> usize {
        self.maps.next_multiple_of(LANES)
    }

    /// Words of the bits of one output row.
    fn row_words(&self) -> usize {
        self.out_w().div_ceil(64)
    }

    /// Where the packed weights of `(c, ky, kx)` begin: `[c][ky][kx descending][map]`.
    pub fn row(&self, c: usize, ky: usize, kx: usize) -> usize {
        ((c * self.kernel + ky) * self.kernel + (self.kernel - 1 - kx)) * self.lanes()
    }

    /// Packed weights in all.
    pub fn packed_len(&self) -> usize {
        self.in_c * self.kernel * self.kernel * self.lanes()
    }
}

/// A neuron that reached its threshold: place, map, and its potential then.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Crossing {
    pub place: u32,
    pub map: u16,
    pub v: f32,
}

/// The neurons of one layer and sample: potentials `[place][lane]`, who has fired, and which
/// places the spikes since the last [`crossings`] touched.
#[derive(Debug)]
pub struct Potentials {
    area: Area,
    v: super::aligned::Aligned,
    fired: Vec<u16>,
    touched: Vec<u64>,
}

impl Potentials {
    /// All at rest.
    pub fn new(area: Area) -> Self {
        Self {
            area,
            v: super::aligned::Aligned::zeros(area.places() * area.lanes()),
            fired: vec![0; area.places() * area.lanes() / LANES],
            touched: vec![0; area.out_h() * area.row_words()],
        }
    }

    /// Back to rest.
    pub fn reset(&mut self) {
        self.v.fill(0.0);
        self.fired.fill(0);
        self.touched.fill(0);
    }

    /// The potentials of a place, one a map.
    pub fn at(&self, place: usize) -> &[f32] {
        &self.v[place * self.area.lanes()..][..self.area.maps]
    }

    /// No neuron of this place fires any more.
    pub fn close(&mut self, place: usize) {
        let n = self.area.lanes() / LANES;
        self.fired[place * n..][..n].fill(u16::MAX);
    }

    /// Add `spikes` in their order.
    ///
    /// # Panics
    /// When the level is not this CPU's, a slice has another size, or a spike lies outside.
    pub fn spread(&mut self, level: Level, packed: &[f32], spikes: &[Spike]) {
        assert!(level.is_available(), "level {} on this CPU", level.name());
        let g = &self.area;
        assert_eq!(packed.len(), g.packed_len());
        let inside = |s: &Spike| {
            usize::from(s.y) < g.in_h && usize::from(s.x) < g.in_w && usize::from(s.c) < g.in_c
        };
        assert!(spikes.iter().all(inside));
        // SAFETY: the level is available; the sizes of potentials and weights follow from the
        // area, and all spikes lie inside it.
        unsafe { spread_at(level, self, packed, spikes) }
    }

    /// The neurons whose potential is now `>= threshold` and that had not fired, in ascending
    /// (place, map); they have fired from here on.
    ///
    /// # Panics
    /// When the level is not this CPU's.
    pub fn crossings(&mut self, level: Level, threshold: f32, out: &mut Vec<Crossing>) {
        assert!(level.is_available(), "level {} on this CPU", level.name());
        // SAFETY: the level is available; sizes follow from the area.
        unsafe { crossings_at(level, self, threshold, out) }
    }
}

/// # Safety
/// As `S`; sizes and spikes as [`Potentials::spread`] checked them.
#[inline(always)]
unsafe fn spread<S: Simd>(to: &mut Potentials, packed: &[f32], spikes: &[Spike]) {
    let g = to.area;
    let (k, lanes, out_h, out_w) = (g.kernel, g.lanes(), g.out_h(), g.out_w());
    let words = g.row_words();
    for spike in spikes {
        let (y, x) = (usize::from(spike.y) + g.pad, usize::from(spike.x) + g.pad);
        let first = (x + 1).saturating_sub(k);
        let end = out_w.min(x + 1);
        if first >= end {
            continue;
        }
        let length = (end - first) * lanes;
        for ky in (y + 1).saturating_sub(out_h)..k.min(y + 1) {
            let row = y - ky;
            let w = &packed[g.row(usize::from(spike.c), ky, x - first)..][..length];
            let v = &mut to.v[(row * out_w + first) * lanes..][..length];
            let (w, v) = (w.as_ptr(), v.as_mut_ptr());
            let mut i = 0;
            while i < length {
                // SAFETY: `length` is a multiple of LANES and both slices have that length.
                unsafe { S::store(v.add(i), S::add(S::load(v.add(i)), S::load(w.add(i)))) };
                i += LANES;
            }
            mark(&mut to.touched[row * words..][..words], first, end);
        }
    }
}

/// Set the bits `first..end`.
#[inline(always)]
fn mark(words: &mut [u64], first: usize, end: usize) {
    let mut at = first;
    while at < end {
        let upto = end.min((at / 64 + 1) * 64);
        words[at / 64] |= (u64::MAX >> (64 - (upto - at))) << (at % 64);
        at = upto;
    }
}

/// # Safety
/// As `S`.
#[inline(always)]
unsafe fn crossings<S: Simd>(of: &mut Potentials, threshold: f32, out: &mut Vec<Crossing>) {
    let g = of.area;
    let (lanes, out_w, words) = (g.lanes(), g.out_w(), g.row_words());
    // SAFETY: any f32 may be splat.
    let theta = unsafe { S::splat(threshold) };
    for row in 0..g.out_h() {
        for word in 0..words {
            let mut bits = std::mem::take(&mut of.touched[row * words + word]);
            while bits != 0 {
                let place = row * out_w + word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let v = &of.v[place * lanes..][..lanes];
                let fired = &mut of.fired[place * lanes / LANES..][..lanes / LANES];
                for (n, fired) in fired.iter_mut().enumerate() {
                    // SAFETY: `v` has `lanes` values, a multiple of LANES.
                    let now = unsafe { S::bits(S::ge(S::load(v.as_ptr().add(n * LANES)), theta)) };
                    let mut new = now & !u32::from(*fired);
                    *fired |= new as u16;
                    while new != 0 {
                        let map = n * LANES + new.trailing_zeros() as usize;
                        new &= new - 1;
                        out.push(Crossing { place: place as u32, map: map as u16, v: v[map] });
                    }
                }
            }
        }
    }
}

at_level! {
    /// # Safety
    /// The CPU has the level; sizes and spikes as [`Potentials::spread`] checked them.
    unsafe fn spread_at(to: &mut Potentials, packed: &[f32], spikes: &[Spike]) = spread;
}

at_level! {
    /// # Safety
    /// The CPU has the level.
    unsafe fn crossings_at(of: &mut Potentials, threshold: f32, out: &mut Vec<Crossing>) = crossings;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::philox::{philox, unit};

    fn draw(k: usize, of: u32) -> f32 {
        unit(philox([k as u32, of, 0, 0], [7, 7])[0])
    }

    /// The potential of one neuron, one spike after the other.
    fn potential(g: &Area, weight: &[f32], spikes: &[Spike], place: usize, map: usize) -> f32 {
        let (oy, ox) = (place / g.out_w(), place % g.out_w());
        let mut v = 0.0;
        for s in spikes {
            let ky = (usize::from(s.y) + g.pad).checked_sub(oy).filter(|&k| k < g.kernel);
            let kx = (usize::from(s.x) + g.pad).checked_sub(ox).filter(|&k| k < g.kernel);
            if let (Some(ky), Some(kx)) = (ky, kx) {
                v += weight[g.row(usize::from(s.c), ky, kx) + map];
            }
        }
        v
    }

    #[test]
    fn every_level_equals_the_naive_sum() {
        for (case, &(h, w, kernel, pad, maps)) in
            [(7, 9, 3, 1, 5), (5, 70, 5, 2, 33), (4, 4, 4, 0, 16), (3, 3, 2, 1, 1)]
                .iter()
                .enumerate()
        {
            let g = Area { in_h: h, in_w: w, in_c: 2, kernel, pad, maps };
            let mut weight = vec![0.0; g.packed_len()];
            for (i, x) in weight.iter_mut().enumerate() {
                *x = if i % g.lanes() < maps { draw(i, case as u32) } else { 0.0 };
            }
            let all = (0..h * w * 2).map(|i| Spike {
                y: (i / 2 / w) as u16,
                x: (i / 2 % w) as u16,
                c: (i % 2) as u16,
            });
            let spikes: Vec<Spike> =
                all.enumerate().filter(|(i, _)| draw(*i, 99) < 0.4).map(|(_, s)| s).collect();
            for level in Level::available() {
                let mut v = Potentials::new(g);
                v.spread(level, &weight, &spikes);
                let mut expected = Vec::new();
                for place in 0..g.places() {
                    for (map, &found) in v.at(place).iter().enumerate() {
                        let naive = potential(&g, &weight, &spikes, place, map);
                        assert_eq!(found.to_bits(), naive.to_bits());
                        if naive >= 1.5 {
                            expected.push(Crossing {
                                place: place as u32,
                                map: map as u16,
                                v: naive,
                            });
                        }
                    }
                }
                assert!(!expected.is_empty());
                let mut found = Vec::new();
                v.crossings(level, 1.5, &mut found);
                assert_eq!(found, expected);
                found.clear();
                v.spread(level, &weight, &spikes);
                v.crossings(level, 1.5, &mut found);
                let fired =
                    |c: &Crossing| expected.iter().any(|e| (e.place, e.map) == (c.place, c.map));
                assert!(!found.iter().any(fired), "a neuron fires twice");
            }
        }
    }
}
