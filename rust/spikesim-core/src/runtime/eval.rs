//! Nodes without weights: pooling, reshaping, joining, adding, scaling.

use std::ops::Range;

use super::group::Group;
use crate::Result;
use crate::graph::NodeId;
use crate::kernels::events::{Multiplicity, multiplicity_of};
use crate::kernels::fanout::Cost;
use crate::plan::{PlanEdge, PlanNode, PlanOp};
use crate::step::{Value, weightless};

impl Group<'_> {
    /// Node `id`, which has no weights of its own, at `steps`.
    pub(super) fn weightless(&mut self, id: NodeId, steps: Range<usize>) -> Result<()> {
        let plan = self.shared.plan;
        let node = &plan.nodes[id];
        for s in 0..self.samples() {
            let mut out =
                std::mem::replace(&mut self.values[id][s], Value::new(node.dims, true, 0));
            let fixed = |e: &PlanEdge| e.delay == 0 && self.values[e.src][s].constant;
            out.constant =
                node.history == 0 && !node.edges.is_empty() && node.edges.iter().all(fixed);
            for t in steps.clone() {
                self.shared.control.check()?;
                if !out.constant || out.rows() == 0 {
                    weightless::step(node, &self.values, s, t, &mut self.scratch, &mut out);
                }
                if let Some(cost) = self.scale_cost(node, s, t) {
                    let at = self.first_step + t;
                    self.tallies[s][id].add(at, cost, !out.constant || at == 0);
                }
            }
            self.values[id][s] = out;
        }
        Ok(())
    }

    /// A Scale is a layer with one weight for each element: what reached it is counted.
    fn scale_cost(&self, node: &PlanNode, s: usize, t: usize) -> Option<Cost> {
        let PlanOp::Affine { factor, shift: None } = &node.op else { return None };
        let mut cost = Cost::default();
        for edge in &node.edges {
            let value = &self.values[edge.src][s];
            let row = value.row(t, edge.delay);
            let mut count = |c: usize, p: usize, [spikes, analog]: Multiplicity| {
                let weight = u64::from(factor.at(c, p) != 0.0);
                cost += Cost {
                    synops: spikes * weight,
                    synops_with_zeros: spikes,
                    macs: analog * weight,
                };
            };
            for p in 0..node.dims.pixels() {
                match value.events() {
                    Some(events) => events.pixel(row, p).for_each(|e| count(e.c, p, e.mult)),
                    None => {
                        let values = value.dense_from(row).unwrap_or(&[]);
                        for c in 0..node.dims.c {
                            let x = values[p * node.dims.c + c];
                            if x != 0.0 {
                                count(c, p, multiplicity_of(x));
                            }
                        }
                    }
                }
            }
        }
        Some(cost)
    }
}
