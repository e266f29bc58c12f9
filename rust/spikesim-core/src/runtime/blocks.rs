//! Running the block kernel over all blocks of a node and all samples of a group.

use rayon::prelude::*;

use super::group::Shared;
use crate::Result;
use crate::kernels::block::{BlockTask, Post};
use crate::kernels::dispatch::run_block;
use crate::step::blocks::{Extent, Prepared};

/// Run every block of every sample: `prepared[sample]`, `posts[block][sample]`. Blocks are the
/// outer loop, so that a block's weights serve all samples of the group before the next come.
pub(super) fn run_blocks<P: Sync, Q: Send>(
    shared: &Shared<'_>,
    prepared: &[P],
    posts: Vec<Vec<Q>>,
    run: impl Fn(usize, &P, Q) + Sync,
) -> Result<()> {
    let one = |(block, posts): (usize, Vec<Q>)| -> Result<()> {
        for (parents, post) in prepared.iter().zip(posts) {
            shared.control.check()?;
            run(block, parents, post);
        }
        Ok(())
    };
    if shared.parallel_blocks && posts.len() > 1 {
        posts.into_par_iter().enumerate().try_for_each(one)
    } else {
        posts.into_iter().enumerate().try_for_each(one)
    }
}

/// The same for the kernel of f32.
pub(super) fn run_floats(
    shared: &Shared<'_>,
    extent: Extent,
    prepared: &[Vec<Prepared<'_>>],
    posts: Vec<Vec<Post<'_>>>,
) -> Result<()> {
    let pixels = extent.dims.pixels();
    run_blocks(shared, prepared, posts, |block, parents, post| {
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
    })
}
