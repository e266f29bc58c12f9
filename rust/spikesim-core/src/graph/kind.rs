//! What kind of value a node has: spikes or currents. Pooling by maximum means something else on
//! each, so the two are named apart and checked here.

use super::node::{Op, Pool, PoolKind};
use super::{Graph, NodeId, neuron};
use crate::error::{Error, Result};

/// The kind of value of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueKind {
    /// The network's input, or made of it alone without a weight: its data decides.
    Input,
    /// Spikes, and what pooling, joining, adding and reshaping make of them (graded).
    Spikes,
    /// Analog values: what weights make, membranes.
    Currents,
}

/// The kind a node has by itself; `None`: that of its inputs.
fn own(op: &Op) -> Option<ValueKind> {
    match op {
        Op::Input { .. } => Some(ValueKind::Input),
        Op::Linear(_) | Op::Conv(_) | Op::BatchNorm(_) | Op::Scale { .. } => {
            Some(ValueKind::Currents)
        }
        Op::Neuron(n) if n.rules.spikes == neuron::Spikes::None => Some(ValueKind::Currents),
        Op::Neuron(_) => Some(ValueKind::Spikes),
        Op::Pool(_)
        | Op::AdaptiveAvgPool { .. }
        | Op::Flatten { .. }
        | Op::Delay { .. }
        | Op::Concat { .. }
        | Op::Upsample { .. }
        | Op::Add => None,
    }
}

/// The kind of each node's value. Several inputs: currents if any is, else spikes if any is.
pub fn value_kinds(graph: &Graph) -> Vec<ValueKind> {
    let mut kinds: Vec<_> =
        graph.nodes.iter().map(|n| own(&n.op).unwrap_or(ValueKind::Input)).collect();
    // Kinds only rise, in the order of the enum, so this ends; one round suffices where edges
    // go forward, which all but those of connect() do.
    loop {
        let mut changed = false;
        for edge in &graph.edges {
            if own(&graph.nodes[edge.dst].op).is_none() && kinds[edge.dst] < kinds[edge.src] {
                kinds[edge.dst] = kinds[edge.src];
                changed = true;
            }
        }
        if !changed {
            return kinds;
        }
    }
}

/// Checks one node that was just added.
pub(super) fn check_pool(graph: &Graph, id: NodeId) -> Result<()> {
    if is_max(&graph.nodes[id].op) { check(graph, id, &value_kinds(graph)) } else { Ok(()) }
}

/// Checks every maximum pool of the network.
pub(super) fn check_pools(graph: &Graph) -> Result<()> {
    let pools: Vec<_> = (0..graph.nodes.len()).filter(|&id| is_max(&graph.nodes[id].op)).collect();
    if pools.is_empty() {
        return Ok(());
    }
    let kinds = value_kinds(graph);
    pools.into_iter().try_for_each(|id| check(graph, id, &kinds))
}

fn is_max(op: &Op) -> bool {
    let Op::Pool(Pool { kind, .. }) = op else { return false };
    matches!(kind, PoolKind::MaxSpikes | PoolKind::MaxCurrents | PoolKind::RateMax { .. })
}

fn check(graph: &Graph, id: NodeId, kinds: &[ValueKind]) -> Result<()> {
    let node = &graph.nodes[id];
    let (expected, found, instead) = match &node.op {
        Op::Pool(Pool { kind: PoolKind::MaxSpikes | PoolKind::RateMax { .. }, .. })
            if kinds[id] == ValueKind::Currents =>
        {
            ("spikes", "currents", "CurrentMaxPool")
        }
        Op::Pool(Pool { kind: PoolKind::MaxCurrents, .. }) if kinds[id] == ValueKind::Spikes => {
            ("currents", "spikes", "SpikeMaxPool")
        }
        _ => return Ok(()),
    };
    let problem = format!("input is {found}, expected {expected}; use {instead} here");
    Err(Error::graph(&node.name, problem))
}
