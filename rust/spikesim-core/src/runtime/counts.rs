//! Exact counts, for each layer, step and sample.

use crate::graph::NodeId;
use crate::kernels::fanout::Cost;

/// Counts of one layer, each table `[step][sample]`; tables that cannot apply are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LayerCounts {
    pub synops: Vec<u64>,
    pub synops_with_zeros: Vec<u64>,
    pub macs: Vec<u64>,
    pub macs_executed: Vec<u64>,
    pub spikes: Vec<u64>,
    pub neuron_updates: Vec<u64>,
    pub neuron_visits: Vec<u64>,
}

/// Counts of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// (node, its counts), in the graph's order.
    pub layers: Vec<(NodeId, LayerCounts)>,
}

/// What one sample cost at one node, by step.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) cost: Vec<Cost>,
    pub(super) executed: Vec<u64>,
    pub(super) spikes: Vec<u64>,
}

impl Tally {
    /// Account `cost` at step `t`; `executed` says whether the engine did the work there.
    pub(super) fn add(&mut self, t: usize, cost: Cost, executed: bool) {
        self.cost[t] += cost;
        if executed {
            self.executed[t] += cost.macs;
        }
    }
}

impl Counts {
    /// Tables from tallies `[sample][node]`.
    pub(super) fn gather(
        tallies: &[Vec<Tally>],
        steps: usize,
        layers: impl Iterator<Item = (NodeId, Option<u64>)>,
    ) -> Self {
        let samples = tallies.len();
        let table = |of: &dyn Fn(&Tally, usize) -> u64, id: NodeId| {
            let mut out = Vec::with_capacity(steps * samples);
            for t in 0..steps {
                out.extend(tallies.iter().map(|nodes| of(&nodes[id], t)));
            }
            out
        };
        let layers = layers
            .map(|(id, neurons)| {
                let counts = match neurons {
                    None => LayerCounts {
                        synops: table(&|x, t| x.cost[t].synops, id),
                        synops_with_zeros: table(&|x, t| x.cost[t].synops_with_zeros, id),
                        macs: table(&|x, t| x.cost[t].macs, id),
                        macs_executed: table(&|x, t| x.executed[t], id),
                        ..LayerCounts::default()
                    },
                    Some(neurons) => LayerCounts {
                        spikes: table(&|x, t| x.spikes[t], id),
                        neuron_updates: vec![neurons; steps * samples],
                        neuron_visits: vec![neurons; steps * samples],
                        ..LayerCounts::default()
                    },
                };
                (id, counts)
            })
            .collect();
        Self { layers }
    }
}
