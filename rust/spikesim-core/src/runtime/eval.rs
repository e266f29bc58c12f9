//! Nodes without weights: pooling, reshaping, joining, adding, scaling.

use std::ops::Range;

use super::group::Group;
use super::value::Value;
use crate::Result;
use crate::graph::NodeId;
use crate::kernels::dense::{self, PoolMode as DensePool};
use crate::kernels::events::{Events, Multiplicity, multiplicity_of};
use crate::kernels::fanout::Cost;
use crate::kernels::listops::{self, Scratch};
use crate::kernels::window::Dims;
use crate::plan::{Factor, PlanEdge, PlanNode, PlanOp, PoolMode};

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
                    step(node, &self.values, s, t, &mut self.scratch, &mut out);
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

/// Append step `t` of `node` to `out`.
fn step(
    node: &PlanNode,
    values: &[Vec<Value>],
    s: usize,
    t: usize,
    scratch: &mut Scratch,
    out: &mut Value,
) {
    if let PlanOp::Delay { delays } = &node.op {
        return super::delay::step((node, delays), values, (s, t), scratch, out);
    }
    let sources: Vec<(&Value, usize)> =
        node.edges.iter().map(|e| (&values[e.src][s], values[e.src][s].row(t, e.delay))).collect();
    let analog =
        matches!(node.op, PlanOp::Affine { .. } | PlanOp::Pool { mode: PoolMode::CurrentMax, .. });
    let lists: Option<Vec<(&Events, usize)>> =
        sources.iter().map(|(value, row)| value.events().map(|e| (e, *row))).collect();
    match (lists, out.events_mut()) {
        (Some(lists), Some(events)) if !analog => on_lists(node, &lists, scratch, events),
        _ => {
            let row = on_dense(node, &sources);
            out.push_dense(&row);
        }
    }
}

fn on_lists(node: &PlanNode, lists: &[(&Events, usize)], scratch: &mut Scratch, out: &mut Events) {
    // Several edges into a node that does not join them: their sum, made first.
    let joins = matches!(node.op, PlanOp::Concat { .. } | PlanOp::Add);
    if lists.len() > 1 && !joins {
        let dims = lists[0].0.dims();
        let mut sum = Events::new(dims, true);
        listops::add(lists, dims, scratch, &mut sum);
        return on_lists(node, &[(&sum, 0)], scratch, out);
    }
    let averages = matches!(&node.op, PlanOp::Pool { mode, .. } if *mode != PoolMode::SpikeMax);
    if averages
        || (lists.len() > 1 && matches!(node.op, PlanOp::Add))
        || lists.iter().any(|l| l.0.is_graded())
    {
        out.promote();
    }
    let &(src, t) = &lists[0];
    match &node.op {
        PlanOp::Pool { windows, mode: PoolMode::SpikeMax } => {
            listops::spike_max_pool(src, t, windows, scratch, out);
        }
        PlanOp::Pool { windows, mode } => {
            listops::pool(src, t, windows, *mode == PoolMode::Average, scratch, out);
        }
        PlanOp::Reshape => listops::reshape(src, t, out),
        PlanOp::Upsample { factor } => listops::upsample(src, t, *factor, out),
        PlanOp::Concat { axis } => listops::concat(lists, *axis, out),
        PlanOp::Add if lists.len() > 1 => listops::add(lists, node.dims, scratch, out),
        _ => out.push_copy(src, t),
    }
}

fn on_dense(node: &PlanNode, sources: &[(&Value, usize)]) -> Vec<f32> {
    let mut out = vec![0.0; node.dims.len()];
    if let PlanOp::Concat { axis } = node.op {
        let mut at = [0; 3];
        for (value, row) in sources {
            let d = value.dims();
            dense::place(&value.copy_row(*row), d, node.dims, at, &mut out);
            at[axis] += [d.c, d.h, d.w][axis];
        }
        return out;
    }
    let Some(((first, row), more)) = sources.split_first() else { return out };
    let from = first.dims();
    let mut x = first.copy_row(*row);
    more.iter().for_each(|(value, row)| value.add_row(*row, &mut x));
    match &node.op {
        PlanOp::Pool { windows, mode } => {
            let mode = match mode {
                PoolMode::Sum => DensePool::Sum,
                PoolMode::Average => DensePool::Average,
                PoolMode::SpikeMax | PoolMode::CurrentMax => DensePool::Max,
            };
            dense::pool(&x, from, windows, mode, &mut out);
        }
        PlanOp::Reshape => dense::reshape(&x, from, node.dims, &mut out),
        PlanOp::Upsample { factor } => dense::upsample(&x, from, node.dims, *factor, &mut out),
        PlanOp::Affine { factor, shift } => {
            affine(&x, node.dims, factor, shift.as_ref(), &mut out);
        }
        _ => out = x,
    }
    out
}

fn affine(x: &[f32], dims: Dims, factor: &Factor, shift: Option<&Factor>, out: &mut [f32]) {
    for p in 0..dims.pixels() {
        for c in 0..dims.c {
            let at = p * dims.c + c;
            out[at] = x[at] * factor.at(c, p);
            if let Some(shift) = shift {
                out[at] += shift.at(c, p);
            }
        }
    }
}
