//! What a run keeps on request: spikes as columns, membranes and currents as rasters.

use crate::kernels::window::Dims;

/// Spikes as columns, sorted by (step, sample, neuron); `neuron` is the C-order index in the
/// node's shape, `count` the number of spikes (negative for negative ones).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SpikeColumns {
    pub step: Vec<i64>,
    pub sample: Vec<i64>,
    pub neuron: Vec<i64>,
    pub count: Vec<i64>,
}

/// Spikes of one sample at one node: `ends[t]` closes step `t`.
#[derive(Clone, Debug, Default)]
pub(super) struct SpikeRecord {
    ends: Vec<usize>,
    neuron: Vec<i64>,
    count: Vec<i64>,
}

impl SpikeRecord {
    /// No spike in `steps` steps.
    pub(super) fn silent(steps: usize) -> Self {
        Self { ends: vec![0; steps], ..Self::default() }
    }

    /// Append a step; `z(block, pixel, lane)` is the number of spikes where a mask bit is set.
    pub(super) fn push_step(
        &mut self,
        dims: Dims,
        masks: &[u64],
        block_stride: usize,
        width: usize,
        z: impl Fn(usize, usize, usize) -> f32,
    ) {
        let pixels = dims.pixels();
        let mut step: Vec<(i64, i64)> = Vec::new();
        for block in 0..dims.c.div_ceil(width) {
            for p in 0..pixels {
                let mut word = masks[block * block_stride + p];
                while word != 0 {
                    let lane = word.trailing_zeros() as usize;
                    word &= word - 1;
                    let neuron = (block * width + lane) * pixels + p;
                    step.push((neuron as i64, z(block, p, lane) as i64));
                }
            }
        }
        step.sort_unstable();
        self.neuron.extend(step.iter().map(|s| s.0));
        self.count.extend(step.iter().map(|s| s.1));
        self.ends.push(self.neuron.len());
    }

    fn step(&self, t: usize) -> std::ops::Range<usize> {
        let start = if t == 0 { 0 } else { self.ends[t - 1] };
        start..self.ends[t]
    }
}

impl SpikeColumns {
    /// The columns of all samples' records.
    pub(super) fn gather(records: &[SpikeRecord], steps: usize) -> Self {
        let total = records.iter().map(|r| r.neuron.len()).sum();
        let mut out = Self {
            step: Vec::with_capacity(total),
            sample: Vec::with_capacity(total),
            neuron: Vec::with_capacity(total),
            count: Vec::with_capacity(total),
        };
        for t in 0..steps {
            for (sample, record) in records.iter().enumerate() {
                let range = record.step(t);
                out.step.extend(std::iter::repeat_n(t as i64, range.len()));
                out.sample.extend(std::iter::repeat_n(sample as i64, range.len()));
                out.neuron.extend_from_slice(&record.neuron[range.clone()]);
                out.count.extend_from_slice(&record.count[range]);
            }
        }
        out
    }
}

/// (T, N, …) from rasters `[sample][step]…`.
pub(super) fn gather_raster(rasters: &[Vec<f32>], steps: usize, len: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(rasters.len() * steps * len);
    for t in 0..steps {
        rasters.iter().for_each(|r| out.extend_from_slice(&r[t * len..(t + 1) * len]));
    }
    out
}
