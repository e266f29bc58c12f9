//! One step of a node without weights: pooling, reshaping, joining, adding, scaling.

use super::value::Value;
use crate::kernels::dense::{self, PoolMode as DensePool};
use crate::kernels::events::Events;
use crate::kernels::listops::{self, Scratch};
use crate::kernels::window::Dims;
use crate::plan::{Factor, PlanNode, PlanOp, PoolMode};

/// Append step `t` of `node` to `out`.
pub(crate) fn step(
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
    if let (PlanOp::Pool { windows, merge: Some(shift), .. }, [(src, t)]) = (&node.op, lists)
        && !src.is_graded()
    {
        return listops::merge(src, *t, windows, *shift, scratch, out);
    }
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
        PlanOp::Pool { windows, mode: PoolMode::SpikeMax, .. } => {
            listops::spike_max_pool(src, t, windows, scratch, out);
        }
        PlanOp::Pool { windows, mode, .. } => {
            listops::pool(src, t, windows, *mode == PoolMode::Average, scratch, out);
        }
        PlanOp::Reshape => {
            if !out.is_graded() {
                out.set_shift(src.shift());
            }
            listops::reshape(src, t, out);
        }
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
        PlanOp::Pool { windows, mode, .. } => {
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
