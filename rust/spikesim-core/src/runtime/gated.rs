//! Max pools of spikes that remember what each place of their input has summed up.

use std::ops::Range;

use super::group::Group;
use crate::Result;
use crate::graph::NodeId;
use crate::kernels::gated;
use crate::plan::PlanOp;

impl Group<'_> {
    /// A rate-gated pool at `steps`. Its value is never constant, whatever its input is.
    pub(super) fn rate_pool(&mut self, id: NodeId, steps: Range<usize>) -> Result<()> {
        let node = &self.shared.plan.nodes[id];
        let PlanOp::RatePool { windows, gate, .. } = &node.op else { return Ok(()) };
        // No cycle is without a population, so it reads other nodes' values only.
        let mut outs = std::mem::take(&mut self.values[id]);
        for (s, (out, state)) in outs.iter_mut().zip(self.states.iter_mut()).enumerate() {
            let sums = &mut state.nodes[id].sums;
            let Some(out) = out.events_mut() else { continue };
            for t in steps.clone() {
                self.shared.control.check()?;
                // Its input is spikes, so there are lists.
                let lists = node.edges.iter().filter_map(|edge| {
                    let value = &self.values[edge.src][s];
                    value.events().map(|events| (events, value.row(t, edge.delay)))
                });
                gated::pool(lists, (windows, *gate), sums, &mut self.scratch, out);
            }
        }
        self.values[id] = outs;
        Ok(())
    }
}
