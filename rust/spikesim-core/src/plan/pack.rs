//! Weights in the order in which the block kernel reads them.

use crate::graph::Tensor;
use crate::graph::node::{Conv, Linear};
use crate::kernels::aligned::Aligned;
use crate::kernels::block::Geometry;
use crate::kernels::fanout::Fanout;
use crate::kernels::int::simd::WIDE;
use crate::kernels::level::Level;
use crate::kernels::simd::LANES;
use crate::kernels::window::Dims;

use super::quantise::LayerUnits;

/// The weights of one layer, `[block][ky][kx][c_in][lane]`.
#[derive(Clone, Debug)]
pub(crate) struct Packed<T: Copy + Default = f32> {
    pub(crate) geometry: Geometry,
    /// Lanes of a block.
    pub(crate) width: usize,
    pub(crate) blocks: Vec<Block>,
    weights: Aligned<T>,
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

/// As [`block_width`] for integers, whose vectors are twice as long.
pub(crate) fn int_width(channels: usize, level: Level) -> usize {
    let cost = |v: usize| channels.div_ceil(v * WIDE) * (v + 1);
    let best = (1..=level.max_vectors() / 2).rev().min_by_key(|&v| cost(v)).unwrap_or(1);
    best * WIDE
}

/// A layer of integers, fused into a population or alone.
#[derive(Debug)]
pub(crate) struct IntLayer {
    pub(crate) packed: Packed<i8>,
    /// What a weight of 1 is: one value a lane of every block.
    scale: Vec<f32>,
    /// Units of its sums are `2^-fraction` of it.
    pub(crate) fraction: u32,
    /// Largest sum of magnitudes of weights into one output.
    pub(crate) bound: i64,
}

impl IntLayer {
    /// `of` with the weights of `units`.
    pub(crate) fn new(of: Source<'_>, units: &LayerUnits, level: Level) -> (Self, Fanout) {
        let width = int_width(of.outputs, level);
        let (packed, fanout) = pack(of, width, |o, w| units.weight(o, w));
        let mut scale = units.scale.clone();
        scale.resize(packed.blocks.len() * width, 1.0);
        (Self { packed, scale, fraction: units.fraction, bound: units.bound }, fanout)
    }

    /// The scales of block `b`.
    pub(crate) fn scale(&self, b: usize) -> &[f32] {
        &self.scale[b * self.packed.width..(b + 1) * self.packed.width]
    }
}

/// The layer that is packed.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    weight: &'a Tensor,
    bias: Option<&'a Tensor>,
    geometry: Geometry,
    outputs: usize,
    groups: usize,
}

impl<'a> Source<'a> {
    /// A convolution from `input` to `output`.
    pub(crate) fn conv(conv: &'a Conv, input: Dims, output: Dims) -> Self {
        let geometry = of_conv(conv, input, output);
        let (weight, bias) = (&conv.weight, conv.bias.as_ref());
        Self { weight, bias, geometry, outputs: output.c, groups: conv.groups }
    }

    /// A fully connected layer.
    pub(crate) fn linear(linear: &'a Linear, input: Dims, output: Dims) -> Self {
        let geometry = of_linear(input);
        let (weight, bias) = (&linear.weight, linear.bias.as_ref());
        Self { weight, bias, geometry, outputs: output.c, groups: 1 }
    }
}

impl Packed {
    /// `of` as it is.
    pub(crate) fn new(of: Source<'_>, level: Level) -> (Self, Fanout) {
        pack(of, block_width(of.outputs, level), |_, w| w)
    }
}

impl<T: Copy + Default> Packed<T> {
    /// The rows of block `b`.
    pub(crate) fn rows(&self, b: usize) -> &[T] {
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
    pub(crate) fn weights(&self) -> &[T] {
        &self.weights
    }

    /// All weights, to change those that [`Self::index`] names.
    pub(crate) fn weights_mut(&mut self) -> &mut [T] {
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
        size_of_val(&self.weights[..]) + size_of_val(&self.bias[..])
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

/// `of` in blocks of `width`, its weights as `value(output, weight)` says.
fn pack<T: Copy + Default>(
    Source { weight, bias, geometry, outputs, groups }: Source<'_>,
    width: usize,
    value: impl Fn(usize, f32) -> T,
) -> (Packed<T>, Fanout) {
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
    let mut weights = Aligned::<T>::zeros(total);
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
                    rows[(tap * n + channel0 + c - block.lo as usize) * width + lane] = value(o, w);
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
        let width = |c| int_width(c, Level::Avx512);
        assert_eq!([width(10), width(64), width(96), width(512)], [32, 64, 64, 64]);
        assert_eq!(int_width(512, Level::Baseline), 32);
    }
}
