//! One filter over an image, every output summed in ascending (ky, kx).

use super::at_level::at_level;
use super::level::Level;
use super::simd::{LANES, Simd};

/// An image with the zeros that a filter of `size` (odd) needs around it, and the room that whole
/// vectors need at the end of a row.
#[derive(Debug)]
pub struct Canvas {
    h: usize,
    w: usize,
    size: usize,
    stride: usize,
    data: Vec<f32>,
}

impl Canvas {
    /// All zeros.
    pub fn new(h: usize, w: usize, size: usize) -> Self {
        let stride = w.next_multiple_of(LANES) + size - 1;
        Self { h, w, size, stride, data: vec![0.0; (h + size - 1) * stride] }
    }

    /// Take the image `[y][x]`.
    pub fn set(&mut self, image: &[f32]) {
        let half = self.size / 2;
        for (y, row) in image.chunks_exact(self.w).enumerate() {
            self.data[(y + half) * self.stride + half..][..self.w].copy_from_slice(row);
        }
    }

    /// Values of a row of [`Canvas::filter`]'s output: whole vectors.
    pub fn out_width(&self) -> usize {
        self.w.next_multiple_of(LANES)
    }

    /// The image under `kernel` `[ky][kx]`, `[y][out_width]`; what lies beyond the image's width
    /// means nothing.
    ///
    /// # Panics
    /// When the level is not this CPU's or a slice has another size.
    pub fn filter(&self, level: Level, kernel: &[f32], out: &mut [f32]) {
        assert!(level.is_available(), "level {} on this CPU", level.name());
        assert_eq!(kernel.len(), self.size * self.size);
        assert_eq!(out.len(), self.h * self.out_width());
        // SAFETY: the level is available and the sizes are as above.
        unsafe { filter_at(level, self, kernel, out) }
    }
}

/// # Safety
/// As `S`; sizes as [`Canvas::filter`] checked them.
#[inline(always)]
unsafe fn filter<S: Simd>(canvas: &Canvas, kernel: &[f32], out: &mut [f32]) {
    let (size, width) = (canvas.size, canvas.out_width());
    for (y, out) in out.chunks_exact_mut(width).enumerate() {
        for x in (0..width).step_by(LANES) {
            // SAFETY: `x + kx + LANES` stays within a row of the canvas (its stride), and
            // `x + LANES` within a row of `out`.
            unsafe {
                let mut sum = S::splat(0.0);
                for ky in 0..size {
                    let row = canvas.data[(y + ky) * canvas.stride..][..canvas.stride].as_ptr();
                    for kx in 0..size {
                        let weight = S::splat(kernel[ky * size + kx]);
                        sum = S::add(sum, S::mul(weight, S::load(row.add(x + kx))));
                    }
                }
                S::store(out.as_mut_ptr().add(x), sum);
            }
        }
    }
}

at_level! {
    /// # Safety
    /// The CPU has the level; sizes as [`Canvas::filter`] checked them.
    unsafe fn filter_at(canvas: &Canvas, kernel: &[f32], out: &mut [f32]) = filter;
}
