//! A node in blocks of output channels: what each block sums up, and how large everything is.

use super::value::Value;
use crate::kernels::block::{ListView, Parent};
use crate::kernels::window::Dims;
use crate::plan::Packed;

/// Values of all nodes, `[node][sample]`.
pub(crate) type Values = [Vec<Value>];

/// One summand of a block, before the block is chosen.
pub(crate) enum Prepared<'a> {
    Lists {
        packed: &'a Packed,
        views: Vec<ListView<'a>>,
        edges: usize,
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
    pub(crate) fn parent(&self, block: usize, pixels: usize, width: usize) -> Parent<'_> {
        match self {
            Self::Lists { packed, views, edges } => Parent::Lists {
                geometry: &packed.geometry,
                weights: packed.rows(block),
                bias: packed.bias(block),
                lo: packed.blocks[block].lo,
                n: packed.blocks[block].n,
                views,
                edges: *edges,
                constant: false,
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
pub(crate) struct Extent {
    pub(crate) dims: Dims,
    pub(crate) width: usize,
    pub(crate) steps: usize,
}

impl Extent {
    pub(crate) fn blocks(&self) -> usize {
        self.dims.c.div_ceil(self.width)
    }

    /// Lanes over all blocks and pixels of one step.
    pub(crate) fn lanes(&self) -> usize {
        self.blocks() * self.dims.pixels() * self.width
    }

    /// Bits of the lanes of `block` that are neurons.
    pub(crate) fn mask(&self, block: usize) -> u64 {
        let n = self.width.min(self.dims.c - block * self.width);
        if n >= 64 { u64::MAX } else { (1 << n) - 1 }
    }
}

/// `data` in as many equal parts as there are blocks; empty parts of empty data.
pub(crate) fn split<T>(data: &mut [T], blocks: usize) -> Vec<&mut [T]> {
    if data.is_empty() {
        (0..blocks).map(|_| Default::default()).collect()
    } else {
        let len = data.len() / blocks;
        data.chunks_mut(len).collect()
    }
}
