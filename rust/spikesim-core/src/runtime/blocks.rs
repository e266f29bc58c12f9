//! Running the block kernel over all blocks of a node and all samples of a group.

use rayon::prelude::*;

use super::group::Shared;
use super::value::Value;
use crate::Result;
use crate::kernels::block::{BlockTask, ListView, Parent, Post};
use crate::kernels::dispatch::run_block;
use crate::kernels::window::Dims;
use crate::plan::Packed;

/// Values of all nodes, `[node][sample]`.
pub(super) type Values = [Vec<Value>];

/// One summand of a block, before the block is chosen.
pub(super) enum Prepared<'a> {
    Lists {
        packed: &'a Packed,
        views: Vec<ListView<'a>>,
        edges: usize,
        constant: bool,
    },
    /// `[block][pixel][lane]`, the same at every step.
    Constant {
        data: &'a [f32],
    },
    /// `[t][pixel][channel]` and slack.
    Rows {
        data: &'a [f32],
        t_stride: usize,
        channels: usize,
    },
}

impl Prepared<'_> {
    pub(super) fn parent(&self, block: usize, pixels: usize, width: usize) -> Parent<'_> {
        match self {
            Self::Lists { packed, views, edges, constant } => Parent::Lists {
                geometry: &packed.geometry,
                weights: packed.rows(block),
                bias: packed.bias(block),
                lo: packed.blocks[block].lo,
                n: packed.blocks[block].n,
                views,
                edges: *edges,
                constant: *constant,
            },
            Self::Constant { data } => {
                let len = pixels * width;
                let data = &data[block * len..(block + 1) * len];
                Parent::Dense { data, t_stride: 0, p_stride: width }
            }
            Self::Rows { data, t_stride, channels } => {
                let data = &data[block * width..];
                Parent::Dense { data, t_stride: *t_stride, p_stride: *channels }
            }
        }
    }
}

/// Size of what a set of blocks computes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) dims: Dims,
    pub(super) width: usize,
    pub(super) steps: usize,
}

impl Extent {
    pub(super) fn blocks(&self) -> usize {
        self.dims.c.div_ceil(self.width)
    }

    /// Lanes over all blocks and pixels of one step.
    pub(super) fn lanes(&self) -> usize {
        self.blocks() * self.dims.pixels() * self.width
    }

    /// Bits of the lanes of `block` that are neurons.
    pub(super) fn mask(&self, block: usize) -> u64 {
        let n = self.width.min(self.dims.c - block * self.width);
        if n >= 64 { u64::MAX } else { (1 << n) - 1 }
    }
}

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

/// `data` in as many equal parts as there are blocks; empty parts of empty data.
pub(super) fn split<T>(data: &mut [T], blocks: usize) -> Vec<&mut [T]> {
    if data.is_empty() {
        (0..blocks).map(|_| Default::default()).collect()
    } else {
        let len = data.len() / blocks;
        data.chunks_mut(len).collect()
    }
}
