//! One filter over an image, every output summed in ascending (ky, kx).

use super::level::Level;
use super::simd::{LANES, Portable, Simd};
#[cfg(target_arch = "aarch64")]
use super::simd_neon::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd_x86::{Avx2, Avx512};

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
        unsafe {
            match level {
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => filter_avx512(self, kernel, out),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => filter_avx2(self, kernel, out),
                #[cfg(target_arch = "aarch64")]
                Level::Neon => filter_neon(self, kernel, out),
                _ => filter::<Portable>(self, kernel, out),
            }
        }
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

macro_rules! at_level {
    ($filter:ident, $simd:ty, $arch:literal, $features:literal) => {
        /// # Safety
        /// The CPU has the features.
        #[cfg(target_arch = $arch)]
        #[target_feature(enable = $features)]
        unsafe fn $filter(canvas: &Canvas, kernel: &[f32], out: &mut [f32]) {
            // SAFETY: handed on.
            unsafe { filter::<$simd>(canvas, kernel, out) }
        }
    };
}

at_level!(filter_avx2, Avx2, "x86_64", "avx2");
at_level!(filter_avx512, Avx512, "x86_64", "avx512f,avx512bw,avx512dq,avx512vl,avx2");
at_level!(filter_neon, Neon, "aarch64", "neon");
