//! Layers and inputs for the benchmarks.

use spikesim_core::graph::node::{Conv, Linear};
use spikesim_core::graph::{Graph, Op, Tensor};

/// A reproducible stream of numbers in 0..1.
pub struct Random(u64);

impl Random {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number.
    pub fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// A layer of `channels` on `size`² pixels (3x3 convolution; linear where `size` is 0), then IF.
pub fn layer(channels: usize, size: usize, seed: u64) -> Option<Graph> {
    let mut random = Random::new(seed);
    let mut weights = |n: usize, fan_in: usize| -> Vec<f32> {
        let scale = 1.0 / (fan_in as f32).sqrt();
        (0..n).map(|_| (random.uniform() - 0.5) * scale).collect()
    };
    let (shape, op) = if size == 0 {
        let weight = weights(channels * channels, channels);
        let weight = Tensor::new(vec![channels, channels], weight)?;
        (vec![channels], Op::Linear(Linear { weight, bias: None, delay: None }))
    } else {
        let weight = weights(channels * channels * 9, channels * 9);
        let weight = Tensor::new(vec![channels, channels, 3, 3], weight)?;
        let conv = Conv {
            dims: 2,
            weight,
            bias: None,
            delay: None,
            stride: [1, 1],
            padding: [[1, 1], [1, 1]],
            dilation: [1, 1],
            groups: 1,
        };
        (vec![channels, size, size], Op::Conv(conv))
    };
    let mut graph = Graph::new(&shape).ok()?;
    graph.add("layer", op, &[]).ok()?;
    graph.add("neuron", Op::Neuron(Box::default()), &[]).ok()?;
    Some(graph)
}

/// Random spikes `(steps, samples, len)` at `rate`.
pub fn spikes(steps: usize, samples: usize, len: usize, rate: f32, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..steps * samples * len).map(|_| f32::from(u8::from(random.uniform() < rate))).collect()
}
