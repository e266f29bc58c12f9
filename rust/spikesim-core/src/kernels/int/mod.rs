//! The kernels of precision i8 (S14): rows of i8, sums of i16 and i32, membranes of i32.
//!
//! Siblings of [`super::block`] and [`super::neuron`], over [`simd::IntSimd`]; [`oracle`] holds
//! their naive twins.

pub mod block;
pub mod dispatch;
pub mod neuron;
pub mod oracle;
pub mod simd;
#[cfg(target_arch = "aarch64")]
mod simd_neon;
#[cfg(target_arch = "x86_64")]
mod simd_x86;
mod sums;

/// Largest magnitude of a weight.
pub const WEIGHT: i32 = 127;

/// Rows that an i16 sum takes without overflow.
pub const ROWS: usize = (i16::MAX as i32 / WEIGHT) as usize;

/// Magnitudes of what arrives along one edge and of a neuron's parameters end here, in units.
pub const PART: i32 = 1 << 28;

/// Magnitudes of summed inputs and of membranes end here, in units.
pub const WHOLE: i32 = 1 << 29;

/// A decay of 1.
pub const ONE: i32 = 1 << 30;
