//! Sums of rows: what spikes bring to neurons whose weights lie in rows, one a synapse's source.

use super::at_level::at_level;
use super::level::Level;
use super::simd::{LANES, Simd};

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
    unsafe { add_at(level, weights, rows, sums) }
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

at_level! {
    /// # Safety
    /// The CPU has the level; sizes as [`add_rows`] checked them.
    unsafe fn add_at(weights: &[f32], rows: &[u32], sums: &mut [f32]) = add;
}
