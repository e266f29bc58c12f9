//! A population's parameters where the kernel reads them.

use super::simd::{LANES, Simd};

/// A parameter laid out for blocks: per channel `[block][lane]`, per neuron `[block][pixel][lane]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Param<T = f32> {
    data: Vec<T>,
    block_stride: usize,
    pixel_stride: usize,
}

impl<T: Copy> Param<T> {
    /// `value(channel, pixel)` laid out for blocks of `width`; lanes past the last channel hold
    /// `filler`. One value a channel unless `per_neuron`.
    pub fn pack(
        (channels, pixels, width): (usize, usize, usize),
        per_neuron: bool,
        filler: T,
        value: impl Fn(usize, usize) -> T,
    ) -> Self {
        let blocks = channels.div_ceil(width);
        let reps = if per_neuron { pixels } else { 1 };
        let mut data = Vec::with_capacity(blocks * reps * width);
        for block in 0..blocks {
            for pixel in 0..reps {
                data.extend((0..width).map(|lane| {
                    let c = block * width + lane;
                    if c < channels { value(c, pixel) } else { filler }
                }));
            }
        }
        let pixel_stride = if per_neuron { width } else { 0 };
        Self { data, block_stride: reps * width, pixel_stride }
    }

    /// The value at one lane: what the oracle reads.
    pub fn at(&self, block: usize, pixel: usize, lane: usize) -> T {
        self.data[block * self.block_stride + pixel * self.pixel_stride + lane]
    }

    /// The value of channel `c` of a parameter that is the same at all its pixels.
    pub fn channel(&self, c: usize) -> T {
        let width = self.block_stride;
        self.at(c / width, 0, c % width)
    }

    /// Whether every neuron has a value of its own, not every channel.
    pub fn is_per_neuron(&self) -> bool {
        self.pixel_stride > 0
    }

    /// The value of every neuron, `[block][pixel][lane]`: a state to start from.
    pub fn expand(&self, blocks: usize, pixels: usize, width: usize) -> Vec<T> {
        let mut out = Vec::with_capacity(blocks * pixels * width);
        for block in 0..blocks {
            for pixel in 0..pixels {
                let at = block * self.block_stride + pixel * self.pixel_stride;
                out.extend_from_slice(&self.data[at..at + width]);
            }
        }
        out
    }

    /// Whether the parameter covers `width` lanes of every pixel of `block`.
    pub(super) fn covers(&self, block: usize, width: usize, pixels: usize) -> bool {
        let last = block * self.block_stride + pixels.saturating_sub(1) * self.pixel_stride;
        self.data.len() >= last + width
    }

    /// Where the sixteen values of vector `j` begin.
    ///
    /// # Safety
    /// Block, pixel and vector exist.
    #[inline(always)]
    pub(super) unsafe fn at_vector(&self, block: usize, pixel: usize, j: usize) -> *const T {
        let at = block * self.block_stride + pixel * self.pixel_stride + j * LANES;
        // SAFETY: `pack` laid out every block, pixel and lane.
        unsafe { self.data.as_ptr().add(at) }
    }
}

impl Param {
    /// # Safety
    /// `S`'s instruction set; block, pixel and vector exist.
    #[inline(always)]
    pub(super) unsafe fn load<S: Simd>(&self, block: usize, pixel: usize, j: usize) -> S::V {
        // SAFETY: by contract.
        unsafe { S::load(self.at_vector(block, pixel, j)) }
    }
}
