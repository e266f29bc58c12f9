//! What a caller asks of a run.

use std::collections::BTreeMap;

use crate::graph::NodeId;

/// What is recorded of a population.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Record {
    pub spikes: bool,
    pub v: bool,
    pub current: bool,
}

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What is recorded, by population.
    pub record: BTreeMap<NodeId, Record>,
    /// Samples in flight at most.
    pub batch_size: Option<usize>,
    /// Go on from the last state instead of starting anew.
    pub resume: bool,
}
