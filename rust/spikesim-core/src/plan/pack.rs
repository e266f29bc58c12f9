//! Weights in the order in which the block kernel reads them.

use crate::graph::Tensor;
use crate::graph::node::{Conv, Linear};
use crate::kernels::aligned::Aligned;
use crate::kernels::block::Geometry;
use crate::kernels::fanout::Fanout;
use crate::kernels::level::Level;
use crate::kernels::simd::LANES;
use crate::kernels::window::Dims;

/// The weights of one layer, `[block][ky][kx][c_in][lane]`.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    pub(crate) geometry: Geometry,
    /// Lanes of a block.
    pub(crate) width: usize,
    pub(crate) blocks: Vec<Block>,
    weights: Aligned,
    /// One value a lane of every block, or empty.
    bias: Vec<f32>,
}

/// Where a block's rows lie and which input channels they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    first: usize,
    len: usize,
    /// First input channel.
    pub(crate) lo: u32,
    /// Input channels.
    pub(crate) n: u32,
}

/// Lanes of a block for `channels` outputs: wide blocks walk the lists less often, narrow ones
/// waste fewer lanes.
pub(crate) fn block_width(channels: usize, level: Level) -> usize {
    let cost = |v: usize| channels.div_ceil(v * LANES) * (v + 1);
    let best = (1..=level.max_vectors()).rev().min_by_key(|&v| cost(v)).unwrap_or(1);
    best * LANES
}

impl Packed {
    /// A convolution from `input` to `output`.
    pub(crate) fn conv(conv: &Conv, input: Dims, output: Dims, level: Level) -> (Self, Fanout) {
        let geometry = of_conv(conv, input, output);
        pack(&conv.weight, conv.bias.as_ref(), geometry, (output.c, conv.groups), level)
    }

    /// A fully connected layer.
    pub(crate) fn linear(
        linear: &Linear,
        input: Dims,
        output: Dims,
        level: Level,
    ) -> (Self, Fanout) {
        let geometry = of_linear(input);
        pack(&linear.weight, linear.bias.as_ref(), geometry, (output.c, 1), level)
    }

    /// The rows of block `b`.
    pub(crate) fn rows(&self, b: usize) -> &[f32] {
        let block = &self.blocks[b];
        &self.weights[block.first..block.first + block.len]
    }

    /// Where the weight from input channel `c` to output `o` at kernel place `tap` lies in
    /// [`Self::weights`]; `c` is one of the channels that `o` sees.
    pub(crate) fn index(&self, o: usize, tap: usize, c: usize) -> usize {
        let block = &self.blocks[o / self.width];
        let row = tap * block.n as usize + c - block.lo as usize;
        block.first + row * self.width + o % self.width
    }

    /// All weights.
    pub(crate) fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// All weights, to change those that [`Self::index`] names.
    pub(crate) fn weights_mut(&mut self) -> &mut [f32] {
        &mut self.weights
    }

    /// The biases of block `b`, or nothing.
    pub(crate) fn bias(&self, b: usize) -> &[f32] {
        if self.bias.is_empty() { &[] } else { &self.bias[b * self.width..(b + 1) * self.width] }
    }

    /// Multiplications of one block over all pixels at one step, if every input were there.
    pub(crate) fn call_size(&self) -> usize {
        let widest = self.blocks.iter().map(|b| b.len).max().unwrap_or(0);
        widest.saturating_mul(self.geometry.out_h * self.geometry.out_w)
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        (self.weights.len() + self.bias.len()) * size_of::<f32>()
    }
}

/// The geometry of a convolution.
pub(super) fn of_conv(conv: &Conv, input: Dims, output: Dims) -> Geometry {
    let [kh, kw] = conv.kernel_size();
    Geometry {
        in_h: input.h,
        in_w: input.w,
        in_c: input.c,
        out_h: output.h,
        out_w: output.w,
        kh,
        kw,
        stride: conv.stride,
        pad: [conv.padding[0][0], conv.padding[1][0]],
        dilation: conv.dilation,
    }
}

/// A fully connected layer is a convolution of one pixel.
pub(super) fn of_linear(input: Dims) -> Geometry {
    Geometry {
        in_h: 1,
        in_w: 1,
        in_c: input.c,
        out_h: 1,
        out_w: 1,
        kh: 1,
        kw: 1,
        stride: [1, 1],
        pad: [0, 0],
        dilation: [1, 1],
    }
}

fn pack(
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: Geometry,
    (outputs, groups): (usize, usize),
    level: Level,
) -> (Packed, Fanout) {
    let width = block_width(outputs, level);
    let taps = geometry.kh * geometry.kw;
    let (in_group, out_group) = (geometry.in_c / groups, outputs / groups);
    let count = outputs.div_ceil(width);
    let blocks: Vec<Block> = (0..count)
        .scan(0, |first, b| {
            // A block that spans groups sees the channels of all of them; rows hold zeros where
            // an output does not belong to its channel's group.
            let (from, to) = (b * width, ((b + 1) * width).min(outputs));
            let lo = from / out_group * in_group;
            let n = (to - 1) / out_group * in_group + in_group - lo;
            let len = taps * n * width;
            let block = Block { first: *first, len, lo: lo as u32, n: n as u32 };
            *first += len;
            Some(block)
        })
        .collect();
    let total = blocks.last().map_or(0, |b| b.first + b.len);
    let mut weights = Aligned::zeros(total);
    let mut nonzero = vec![0u32; taps * geometry.in_c];
    let data = weight.data();
    for (b, block) in blocks.iter().enumerate() {
        let rows = &mut weights[block.first..block.first + block.len];
        let n = block.n as usize;
        for o in b * width..((b + 1) * width).min(outputs) {
            let lane = o - b * width;
            let channel0 = o / out_group * in_group;
            for c in 0..in_group {
                let source = &data[(o * in_group + c) * taps..][..taps];
                for (tap, &w) in source.iter().enumerate() {
                    rows[(tap * n + channel0 + c - block.lo as usize) * width + lane] = w;
                    nonzero[tap * geometry.in_c + channel0 + c] += u32::from(w != 0.0);
                }
            }
        }
    }
    let bias = bias.map_or_else(Vec::new, |bias| {
        let mut padded = bias.data().to_vec();
        padded.resize(count * width, 0.0);
        padded
    });
    let fanout = Fanout::new(&geometry, out_group, |tap, c| nonzero[tap * geometry.in_c + c]);
    (Packed { geometry, width, blocks, weights, bias }, fanout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_trade_waste_against_walks() {
        let width = |c| block_width(c, Level::Avx512);
        assert_eq!([width(10), width(64), width(96), width(512)], [16, 64, 48, 64]);
        assert_eq!(block_width(512, Level::Baseline), 32);
    }
}
