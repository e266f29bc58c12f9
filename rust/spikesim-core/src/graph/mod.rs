//! The network as its author means it: nodes, edges with delays, a readout. Plain values that
//! can be printed, saved, validated and run naively.

mod attributes;
pub mod build;
mod check;
pub mod fold;
pub mod kind;
mod merge;
pub mod neuron;
pub mod node;
pub mod shape;
pub mod spec;
pub mod tensor;
pub mod validate;

use serde::{Deserialize, Serialize};

pub use kind::{ValueKind, value_kinds};
pub use neuron::Neuron;
pub use node::Op;
pub use tensor::Tensor;

/// Index of a node in [`Graph::nodes`].
pub type NodeId = usize;

/// A node: its name, what it does, and the shapes inferred when it was added.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique name.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// Shape of the sum of its incoming edges (of each edge for Concat: the first one's).
    pub in_shape: Vec<usize>,
    /// Shape of its output, one sample at one step.
    pub shape: Vec<usize>,
}

/// A connection; `delay` in steps. Edges into one node act in the order of declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Edge {
    pub src: NodeId,
    pub dst: NodeId,
    pub delay: usize,
}

/// What a run answers with (S7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Readout {
    Sum,
    Mean,
    LastV,
    MaxV,
    Count,
    FirstSpike,
}

/// A network. Node 0 is the input. Nodes stand in an order in which every edge without delay
/// goes forward unless it was added by [`Graph::connect`].
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) output: Option<NodeId>,
    pub(crate) readout: Option<Readout>,
    /// Length of a step in seconds, where known.
    pub dt: Option<f64>,
    /// Free-form metadata (preprocessing, labels, source, options); a JSON object.
    pub meta: serde_json::Map<String, serde_json::Value>,
}

impl Graph {
    /// The nodes; index = [`NodeId`].
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The edges in the order of declaration.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The output node: the one declared, else the last one added.
    pub fn output(&self) -> NodeId {
        self.output.unwrap_or(self.nodes.len() - 1)
    }

    /// The node called `name`.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|n| n.name == name)
    }

    /// Incoming edges of a node in the order of declaration.
    pub fn incoming(&self, dst: NodeId) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |e| e.dst == dst)
    }

    /// Outgoing edges of a node in the order of declaration.
    pub fn outgoing(&self, src: NodeId) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |e| e.src == src)
    }

    /// The readout declared, else `Count` where the output node spikes, else `Sum`.
    pub fn readout(&self) -> Readout {
        self.readout.unwrap_or_else(|| match &self.nodes[self.output()].op {
            Op::Neuron(n) if n.rules.spikes != neuron::Spikes::None => Readout::Count,
            _ => Readout::Sum,
        })
    }
}
