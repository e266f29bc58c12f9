//! One compiled copy of the kernels for every instruction set, chosen at run time.

use super::block::{self, BlockTask};
use super::level::Level;
use super::simd::{LANES, Portable, Simd};
#[cfg(target_arch = "aarch64")]
use super::simd_neon::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd_x86::{Avx2, Avx512};

/// Choose the block's width in vectors.
///
/// # Safety
/// As [`block::run`].
#[inline(always)]
unsafe fn by_width<S: Simd>(width: usize, task: &mut BlockTask<'_>) {
    // SAFETY: handed on.
    unsafe {
        match width / LANES {
            1 => block::run::<S, 1>(task),
            2 => block::run::<S, 2>(task),
            3 => block::run::<S, 3>(task),
            _ => block::run::<S, 4>(task),
        }
    }
}

/// # Safety
/// As [`block::run`]; the CPU has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn block_avx2(width: usize, task: &mut BlockTask<'_>) {
    // SAFETY: handed on.
    unsafe { by_width::<Avx2>(width, task) }
}

/// # Safety
/// As [`block::run`]; the CPU has AVX-512 F, BW, DQ, VL.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2")]
unsafe fn block_avx512(width: usize, task: &mut BlockTask<'_>) {
    // SAFETY: handed on.
    unsafe { by_width::<Avx512>(width, task) }
}

/// # Safety
/// As [`block::run`]; the CPU has NEON.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn block_neon(width: usize, task: &mut BlockTask<'_>) {
    // SAFETY: handed on.
    unsafe { by_width::<Neon>(width, task) }
}

/// Run one block at `level`; `width` is 16, 32, 48 or 64 lanes.
///
/// # Panics
/// When the level is not this CPU's or a slice of the task has another size than documented:
/// the plan establishes all of it, so either is a bug.
pub fn run_block(level: Level, width: usize, task: &mut BlockTask<'_>) {
    assert!(level.is_available(), "level {} on this CPU", level.name());
    task.check(width);
    // SAFETY: the level is available, `check` compared every slice with its documented size, and
    // event lists are in order and in bounds by construction (`Events`).
    unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => block_avx512(width, task),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => block_avx2(width, task),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => block_neon(width, task),
            _ => by_width::<Portable>(width, task),
        }
    }
}
