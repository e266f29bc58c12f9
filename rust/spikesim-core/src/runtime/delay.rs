//! Layers whose synapses have delays of their own. (One delay for all is part of the edges, see
//! `graph::merge`.)

use std::ops::Range;

use super::group::Group;
use crate::Result;
use crate::graph::NodeId;
use crate::plan::PlanOp;
use crate::step::delay::layer_row;

impl Group<'_> {
    /// A Linear or Conv whose synapses have their own delays, at `steps`.
    pub(super) fn delayed(&mut self, id: NodeId, steps: Range<usize>) -> Result<()> {
        let node = &self.shared.plan.nodes[id];
        let PlanOp::Delayed { synapses, bias } = &node.op else { return Ok(()) };
        let len = node.dims.len();
        for s in 0..self.samples() {
            let mut rows = vec![0.0; len * steps.len()];
            let mut more = vec![0.0; if node.edges.len() > 1 { len } else { 0 }];
            for (t, row) in steps.clone().zip(rows.chunks_exact_mut(len)) {
                self.shared.control.check()?;
                let layer = (node, &**synapses, &bias[..]);
                let cost = layer_row(layer, &self.values, (s, t), &mut more, row);
                self.tallies[s][id].add(self.first_step + t, cost, true);
            }
            self.values[id][s].extend_dense(steps.len(), |out| out.copy_from_slice(&rows));
        }
        Ok(())
    }
}
