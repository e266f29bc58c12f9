//! One step of a Delay node whose elements have their own delays (each takes its value from its
//! own row of the past) and of a layer whose synapses have.

use super::value::Value;
use crate::kernels::events::Events;
use crate::kernels::fanout::Cost;
use crate::kernels::listops::{self, Scratch};
use crate::kernels::scatter::Synapses;
use crate::plan::{Delays, PlanEdge, PlanNode};

/// What a layer whose synapses have delays gives at step `t`, added to `row`, which is zero; `more`
/// is room for another row where there are several edges.
pub(crate) fn layer_row(
    (node, synapses, bias): (&PlanNode, &Synapses, &[f32]),
    values: &[Vec<Value>],
    (s, t): (usize, usize),
    more: &mut [f32],
    row: &mut [f32],
) -> Cost {
    let mut cost = Cost::default();
    for (e, edge) in node.edges.iter().enumerate() {
        let value = &values[edge.src][s];
        if e == 0 {
            cost += edge_sum(synapses, value, edge, t, row);
            continue;
        }
        more.fill(0.0);
        cost += edge_sum(synapses, value, edge, t, more);
        row.iter_mut().zip(more.iter()).for_each(|(sum, x)| *sum += x);
    }
    if !bias.is_empty() {
        for pixel in row.chunks_exact_mut(bias.len()) {
            pixel.iter_mut().zip(bias).for_each(|(sum, b)| *sum += b);
        }
    }
    cost
}

/// What one edge gives at step `t`, added to `out`, which is zero (S2.20).
fn edge_sum(
    synapses: &Synapses,
    value: &Value,
    edge: &PlanEdge,
    t: usize,
    out: &mut [f32],
) -> Cost {
    let mut cost = Cost::default();
    for &delay in synapses.delays() {
        let row = value.row(t, edge.delay + delay);
        cost += match value.events() {
            Some(events) => synapses.add(events, row, delay, out),
            None => synapses.add_dense(value.dense_from(row).unwrap_or(&[]), delay, out),
        };
    }
    cost
}

/// Append step `t` of `node` to `out`.
pub(crate) fn step(
    (node, delays): (&PlanNode, &Delays),
    values: &[Vec<Value>],
    (s, t): (usize, usize),
    scratch: &mut Scratch,
    out: &mut Value,
) {
    let Some(events) = out.events_mut() else {
        let mut row = vec![0.0; node.dims.len()];
        for edge in &node.edges {
            let value = &values[edge.src][s];
            add(delays, value, |delay| value.row(t, edge.delay + delay), &mut row);
        }
        out.push_dense(&row);
        return;
    };
    let mut rows: Vec<(u32, &Events, usize)> = Vec::new();
    for edge in &node.edges {
        let value = &values[edge.src][s];
        // What has lists has sources with lists only.
        let Some(events) = value.events() else { continue };
        let all = (0..).zip(&delays.steps);
        let all = all.map(|(class, delay)| (class, events, value.row(t, edge.delay + delay)));
        rows.extend(all.filter(|(_, events, row)| !events.range(*row).is_empty()));
    }
    if node.edges.len() > 1 || rows.iter().any(|(_, events, _)| events.is_graded()) {
        events.promote();
    }
    listops::delay(&rows, &delays.class, node.dims, scratch, events);
}

/// Add to each element its value in the row that `row` gives for its delay.
fn add(delays: &Delays, value: &Value, row: impl Fn(usize) -> usize, out: &mut [f32]) {
    let Some(events) = value.events() else {
        let past = |&delay| value.dense_from(row(delay)).unwrap_or(&[]);
        let past: Vec<&[f32]> = delays.steps.iter().map(past).collect();
        for (at, (sum, &class)) in out.iter_mut().zip(&delays.class).enumerate() {
            *sum += past[class as usize][at];
        }
        return;
    };
    let dims = value.dims();
    for (class, &delay) in (0..).zip(&delays.steps) {
        for p in 0..dims.pixels() {
            let first = p * dims.c;
            for event in events.pixel(row(delay), p) {
                if delays.class[first + event.c] == class {
                    out[first + event.c] += event.value;
                }
            }
        }
    }
}
