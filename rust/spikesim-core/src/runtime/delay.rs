//! Delay nodes whose elements have their own delays: each takes its value from its own row of
//! the past. (A node with one delay for all is part of its edges, see `graph::merge`.)

use super::value::Value;
use crate::kernels::events::Events;
use crate::kernels::listops::{self, Scratch};
use crate::plan::{Delays, PlanNode};

/// Append step `t` of `node` to `out`.
pub(super) fn step(
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
