//! What reaches a layer or a population along its edges: lists where there are some, made where
//! the source is analog; rows where no weights stand in between.

use std::ops::Range;

use super::blocks::{Prepared, Values};
use crate::kernels::block::ListView;
use crate::kernels::events::Events;
use crate::plan::{Packed, ParentSpec, PlanEdge};

/// Event lists made for edges whose source is analog; `None` where the source has lists.
pub(crate) fn sparsify(
    values: &Values,
    edges: &[PlanEdge],
    s: usize,
    steps: &Range<usize>,
) -> Vec<Option<Events>> {
    edges
        .iter()
        .map(|edge| {
            let value = &values[edge.src][s];
            if value.events().is_some() {
                return None;
            }
            let mut events = Events::new(value.dims(), true);
            for t in steps.clone() {
                events.push_dense(&value.copy_row(value.row(t, edge.delay)));
            }
            Some(events)
        })
        .collect()
}

/// The lists an edge delivers at step `t`, and the step they have in there.
pub(crate) fn lists<'a>(
    values: &'a Values,
    made: &'a [Option<Events>],
    (e, edge): (usize, &PlanEdge),
    s: usize,
    (t, first): (usize, usize),
) -> Option<(&'a Events, usize)> {
    let value = &values[edge.src][s];
    match &made[e] {
        Some(events) => Some((events, t - first)),
        None => value.events().map(|events| (events, value.row(t, edge.delay))),
    }
}

/// Whether all edges deliver the same at every step.
pub(crate) fn constant(values: &Values, edges: &[PlanEdge], s: usize) -> bool {
    edges.iter().all(|e| e.delay == 0 && values[e.src][s].constant)
}

/// What the edges deliver at `steps`, `[t · edges + e]`.
pub(crate) fn views<'a>(
    values: &'a Values,
    edges: &[PlanEdge],
    made: &'a [Option<Events>],
    s: usize,
    steps: &Range<usize>,
) -> Vec<ListView<'a>> {
    let mut views = Vec::with_capacity(edges.len() * steps.len());
    for t in steps.clone() {
        for edge in edges.iter().enumerate() {
            if let Some((events, row)) = lists(values, made, edge, s, (t, steps.start)) {
                views.push(events.view(row));
            }
        }
    }
    views
}

/// A layer of f32 as a summand.
pub(crate) fn prepare_lists<'a>(
    values: &'a Values,
    packed: &'a Packed,
    edges: &[PlanEdge],
    made: &'a [Option<Events>],
    s: usize,
    steps: &Range<usize>,
) -> Prepared<'a> {
    let views = views(values, edges, made, s, steps);
    Prepared::Lists { packed, views, edges: edges.len() }
}

/// Rows of an event value that feeds a population without weights in between.
pub(crate) fn densify(
    values: &Values,
    parent: &ParentSpec,
    s: usize,
    steps: &Range<usize>,
) -> Vec<f32> {
    let ParentSpec::Value(edge) = parent else { return Vec::new() };
    let value = &values[edge.src][s];
    if value.events().is_none() {
        return Vec::new();
    }
    let len = value.dims().len();
    let rows = if value.constant { 1 } else { steps.len() };
    let mut out = vec![0.0; rows * len + 64];
    for (k, t) in steps.clone().take(rows).enumerate() {
        value.add_row(value.row(t, edge.delay), &mut out[k * len..(k + 1) * len]);
    }
    out
}
