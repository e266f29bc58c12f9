//! Running the block kernel over all blocks of a node and all samples of a group.

use rayon::prelude::*;

use super::group::Shared;
use crate::Result;
use crate::kernels::block::{BlockTask, Post};
use crate::kernels::dispatch::run_block;
use crate::step::blocks::{Extent, Prepared};

/// Run every block of every sample: `prepared[sample]`, `posts[block][sample]`. Blocks are the
/// outer loop, so that a block's weights serve all samples of the group before the next come.
pub(super) fn run_blocks(
    shared: &Shared<'_>,
    extent: Extent,
    prepared: &[Vec<Prepared<'_>>],
    posts: Vec<Vec<Post<'_>>>,
) -> Result<()> {
    let pixels = extent.dims.pixels();
    let one = |(block, posts): (usize, Vec<Post<'_>>)| -> Result<()> {
        for (parents, post) in prepared.iter().zip(posts) {
            shared.control.check()?;
            let parents: Vec<_> =
                parents.iter().map(|p| p.parent(block, pixels, extent.width)).collect();
            let mut task = BlockTask {
                steps: extent.steps,
                out_h: extent.dims.h,
                out_w: extent.dims.w,
                block,
                parents: &parents,
                post,
            };
            run_block(shared.plan.level, extent.width, &mut task);
        }
        Ok(())
    };
    if shared.parallel_blocks && posts.len() > 1 {
        posts.into_par_iter().enumerate().try_for_each(one)
    } else {
        posts.into_iter().enumerate().try_for_each(one)
    }
}
