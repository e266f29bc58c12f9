//! The order of execution: strongly connected parts step by step, everything else layer by layer.

use super::params::ParentSpec;
use super::{PlanNode, PlanOp, Stage};
use crate::graph::NodeId;

/// The stages of a network. A layer computed by its population stands for nothing of its own.
pub(super) fn schedule(nodes: &[PlanNode]) -> Vec<Stage> {
    let sources: Vec<Vec<(NodeId, usize)>> = nodes.iter().map(|n| sources(nodes, n)).collect();
    components(&sources)
        .into_iter()
        .filter_map(|mut part| {
            let fused = |id: NodeId| matches!(nodes[id].op, PlanOp::Synapse { fused: true, .. });
            part.retain(|&id| !fused(id));
            match part[..] {
                [] => None,
                [id] if !sources[id].iter().any(|&(src, _)| src == id) => Some(Stage::Forward(id)),
                _ => Some(Stage::Recurrent(in_step_order(part, &sources))),
            }
        })
        .collect()
}

/// Nodes whose values `node` reads, through the layers fused into it.
fn sources(nodes: &[PlanNode], node: &PlanNode) -> Vec<(NodeId, usize)> {
    match &node.op {
        PlanOp::Population(p) => p
            .parents
            .iter()
            .flat_map(|parent| match parent {
                ParentSpec::Fused(id) => nodes[*id].edges.clone(),
                ParentSpec::Value(edge) => vec![*edge],
            })
            .map(|e| (e.src, e.delay))
            .collect(),
        PlanOp::Synapse { fused: true, .. } => Vec::new(),
        _ => node.edges.iter().map(|e| (e.src, e.delay + node.least_delay)).collect(),
    }
}

/// Strongly connected components, each after those it reads from (Tarjan, without recursion:
/// a network may be deeper than the thread's stack).
fn components(sources: &[Vec<(NodeId, usize)>]) -> Vec<Vec<NodeId>> {
    const NEW: usize = usize::MAX;
    let n = sources.len();
    let (mut index, mut low) = (vec![NEW; n], vec![0; n]);
    let (mut on_stack, mut stack) = (vec![false; n], Vec::new());
    let mut next = 0;
    let mut parts = Vec::new();
    for start in 0..n {
        if index[start] != NEW {
            continue;
        }
        let mut path = vec![(start, 0)];
        while let Some(&mut (id, ref mut edge)) = path.last_mut() {
            if *edge == 0 {
                (index[id], low[id]) = (next, next);
                next += 1;
                stack.push(id);
                on_stack[id] = true;
            }
            if let Some(&(src, _)) = sources[id].get(*edge) {
                *edge += 1;
                if index[src] == NEW {
                    path.push((src, 0));
                } else if on_stack[src] {
                    low[id] = low[id].min(index[src]);
                }
                continue;
            }
            path.pop();
            if let Some(&(parent, _)) = path.last() {
                low[parent] = low[parent].min(low[id]);
            }
            if low[id] == index[id] {
                let at = stack.iter().rposition(|&other| other == id).unwrap_or(0);
                let mut part = stack.split_off(at);
                part.iter().for_each(|&member| on_stack[member] = false);
                part.sort_unstable();
                parts.push(part);
            }
        }
    }
    parts
}

/// The nodes of a cycle in an order in which edges without delay go forward; the plan was
/// validated, so there is one.
fn in_step_order(part: Vec<NodeId>, sources: &[Vec<(NodeId, usize)>]) -> Vec<NodeId> {
    let mut order: Vec<NodeId> = Vec::with_capacity(part.len());
    let mut left = part.clone();
    while !left.is_empty() {
        let ready = |id: NodeId| {
            sources[id]
                .iter()
                .all(|&(src, delay)| delay > 0 || !part.contains(&src) || order.contains(&src))
        };
        let Some(at) = left.iter().position(|&id| ready(id)) else { break };
        order.push(left.remove(at));
    }
    order
}
