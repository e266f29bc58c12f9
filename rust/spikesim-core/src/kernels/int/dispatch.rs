//! As [`super::super::dispatch`], for blocks of integers.

use super::super::at_level::at_level;
use super::super::level::Level;
use super::block::{self, IntTask};
use super::simd::{IntSimd, WIDE};

/// Choose the block's width in vectors.
///
/// # Safety
/// As [`block::run`].
#[inline(always)]
unsafe fn by_width<S: IntSimd>(width: usize, task: &mut IntTask<'_>) {
    // SAFETY: handed on.
    unsafe {
        match width / WIDE {
            1 => block::run::<S, 1>(task),
            _ => block::run::<S, 2>(task),
        }
    }
}

at_level! {
    /// # Safety
    /// As [`block::run`]; the level is available.
    unsafe fn at(width: usize, task: &mut IntTask<'_>) = by_width;
}

/// Run one block at `level`; `width` is 32 or 64 lanes.
///
/// # Panics
/// As [`super::super::dispatch::run_block`].
pub fn run_block(level: Level, width: usize, task: &mut IntTask<'_>) {
    assert!(level.is_available(), "level {} on this CPU", level.name());
    task.check(width);
    // SAFETY: the level is available, `check` compared every slice with its documented size, and
    // event lists are in order and in bounds by construction (`Events`).
    unsafe { at(level, width, task) }
}
