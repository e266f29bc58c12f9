//! Sums of rows: what spikes bring to neurons whose weights lie in rows, one a synapse's source.

use super::level::Level;
use super::simd::{LANES, Portable, Simd};
#[cfg(target_arch = "aarch64")]
use super::simd_neon::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd_x86::{Avx2, Avx512};

/// `sums[k] += weights[i][k]` for the rows `i` in their order; rows are as long as `sums`, whole
/// vectors.
///
/// # Panics
/// When the level is not this CPU's, a row lies outside, or `sums` is not whole vectors.
pub fn add_rows(level: Level, weights: &[f32], rows: &[u32], sums: &mut [f32]) {
    assert!(level.is_available(), "level {} on this CPU", level.name());
    assert_eq!(sums.len() % LANES, 0);
    assert!(rows.iter().all(|&i| (i as usize + 1) * sums.len() <= weights.len()));
    // SAFETY: the level is available, all rows lie inside, and sums are whole vectors.
    unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => add_avx512(weights, rows, sums),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => add_avx2(weights, rows, sums),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => add_neon(weights, rows, sums),
            _ => add::<Portable>(weights, rows, sums),
        }
    }
}

/// # Safety
/// As `S`; sizes as [`add_rows`] checked them.
#[inline(always)]
unsafe fn add<S: Simd>(weights: &[f32], rows: &[u32], sums: &mut [f32]) {
    let width = sums.len();
    for lane in (0..width).step_by(LANES) {
        // SAFETY: whole vectors within `sums` and within each row.
        unsafe {
            let mut sum = S::load(sums.as_ptr().add(lane));
            for &i in rows {
                sum = S::add(sum, S::load(weights.as_ptr().add(i as usize * width + lane)));
            }
            S::store(sums.as_mut_ptr().add(lane), sum);
        }
    }
}

macro_rules! at_level {
    ($add:ident, $simd:ty, $arch:literal, $features:literal) => {
        /// # Safety
        /// The CPU has the features.
        #[cfg(target_arch = $arch)]
        #[target_feature(enable = $features)]
        unsafe fn $add(weights: &[f32], rows: &[u32], sums: &mut [f32]) {
            // SAFETY: handed on.
            unsafe { add::<$simd>(weights, rows, sums) }
        }
    };
}

at_level!(add_avx2, Avx2, "x86_64", "avx2");
at_level!(add_avx512, Avx512, "x86_64", "avx512f,avx512bw,avx512dq,avx512vl,avx2");
at_level!(add_neon, Neon, "aarch64", "neon");
