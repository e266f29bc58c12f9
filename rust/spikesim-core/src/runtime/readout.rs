//! What a run answers with (S7).

use crate::graph::Readout;
use crate::kernels::dense;
use crate::kernels::window::Dims;
use crate::plan::Plan;
use crate::step::Value;

/// The readout of one sample while the run goes on; `[pixel][channel]` until it is finished.
#[derive(Clone, Debug)]
pub(super) struct Accumulator {
    readout: Readout,
    steps: usize,
    values: Vec<f32>,
}

impl Accumulator {
    pub(super) fn new(plan: &Plan, steps: usize) -> Self {
        let start = match plan.readout {
            Readout::FirstSpike => steps as f32,
            Readout::MaxV => f32::NEG_INFINITY,
            _ => 0.0,
        };
        let len = plan.nodes[plan.output].dims.len();
        Self { readout: plan.readout, steps, values: vec![start; len] }
    }

    /// One step's value of the output node.
    pub(super) fn value(&mut self, value: &Value, row: usize) {
        if matches!(self.readout, Readout::Sum | Readout::Mean) {
            value.add_row(row, &mut self.values);
        }
    }

    /// One step's spikes of the output node.
    pub(super) fn spikes(
        &mut self,
        step: usize,
        dims: Dims,
        masks: &[u64],
        block_stride: usize,
        width: usize,
        z: impl Fn(usize, usize, usize) -> f32,
    ) {
        if !matches!(self.readout, Readout::Count | Readout::FirstSpike) {
            return;
        }
        for block in 0..dims.c.div_ceil(width) {
            for p in 0..dims.pixels() {
                let mut word = masks[block * block_stride + p];
                while word != 0 {
                    let lane = word.trailing_zeros() as usize;
                    word &= word - 1;
                    let at = &mut self.values[p * dims.c + block * width + lane];
                    *at = match self.readout {
                        Readout::Count => *at + z(block, p, lane),
                        _ => at.min(step as f32),
                    };
                }
            }
        }
    }

    /// The membranes at each step of a chunk.
    pub(super) fn membranes(&mut self, trace: &[f32], steps: usize, width: usize, dims: Dims) {
        let step = dims.pixels() * width;
        match self.readout {
            Readout::LastV => {
                let last = &trace[(steps - 1) * step..];
                dense::unblock(last, steps * step, width, dims, &mut self.values);
            }
            Readout::MaxV => {
                let mut row = vec![0.0; dims.len()];
                for t in 0..steps {
                    dense::unblock(&trace[t * step..], steps * step, width, dims, &mut row);
                    self.values.iter_mut().zip(&row).for_each(|(m, v)| *m = m.max(*v));
                }
            }
            _ => {}
        }
    }

    /// The answer in C order.
    pub(super) fn finish(mut self, plan: &Plan) -> Vec<f32> {
        if self.readout == Readout::Mean {
            let n = self.steps as f32;
            self.values.iter_mut().for_each(|x| *x /= n);
        }
        let dims = plan.nodes[plan.output].dims;
        let mut out = vec![0.0; dims.len()];
        dense::to_c_order(&self.values, dims, &mut out);
        out
    }
}
