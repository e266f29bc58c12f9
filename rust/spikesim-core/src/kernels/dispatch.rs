//! The block kernel at the width of the block and the instruction set of the plan.

use super::at_level::at_level;
use super::block::{self, BlockTask};
use super::level::Level;
use super::simd::{LANES, Simd};

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

at_level! {
    /// # Safety
    /// As [`block::run`]; the CPU has the level.
    unsafe fn block_at(width: usize, task: &mut BlockTask<'_>) = by_width;
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
    unsafe { block_at(level, width, task) }
}
