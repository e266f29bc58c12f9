//! From a graph to something that can be run: folded, packed, scheduled, immutable. All checks
//! end here; what runs afterwards trusts the plan.

mod delayed;
mod lower;
mod pack;
mod params;
mod quantise;
mod schedule;

use std::fmt;

use crate::graph::{Graph, NodeId, Readout, Tensor};
use crate::kernels::fanout::Fanout;
use crate::kernels::gated::Gate;
use crate::kernels::level::Level;
use crate::kernels::scatter::Synapses;
use crate::kernels::window::{Dims, Windows};
use crate::{Error, Result};

pub(crate) use pack::{IntLayer, Packed};
pub(crate) use params::{Cells, ParentSpec, Population};
pub use quantise::Clips;
pub(crate) use quantise::units;

/// An executable network. Made once, shared by every simulator and thread.
#[derive(Debug)]
pub struct Plan {
    pub(crate) level: Level,
    precision: Precision,
    pub(crate) nodes: Vec<PlanNode>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) output: NodeId,
    pub(crate) readout: Readout,
}

/// What is executed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// One node, all steps of a chunk at once.
    Forward(NodeId),
    /// The nodes of a cycle, step by step, in this order.
    Recurrent(Vec<NodeId>),
}

/// A node ready to run.
#[derive(Debug)]
pub(crate) struct PlanNode {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) dims: Dims,
    pub(crate) op: PlanOp,
    /// Incoming edges in the order of declaration.
    pub(crate) edges: Vec<PlanEdge>,
    /// Steps of this node's past that some edge looks back to.
    pub(crate) history: usize,
    /// Steps after which what its edges bring acts here at the earliest.
    pub(crate) least_delay: usize,
    /// Whether its value is analog (else event lists).
    pub(crate) dense: bool,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlanEdge {
    pub(crate) src: NodeId,
    pub(crate) delay: usize,
}

/// What a node does.
#[derive(Debug)]
pub(crate) enum PlanOp {
    /// The network's input.
    Input,
    /// A Linear or Conv. `fused`: it has no value of its own, its population computes it.
    Synapse { layer: Layer, fanout: Fanout, fused: bool },
    /// A Linear or Conv whose synapses have delays of their own; one value of `bias` a channel,
    /// or none.
    Delayed { synapses: Box<Synapses>, bias: Vec<f32> },
    /// Neurons.
    Population(Box<Population>),
    /// Sum, average or maximum over windows.
    /// `merge`: an average of plain spikes becomes plain events of 2 to the power of minus this.
    Pool { windows: Windows, mode: PoolMode, merge: Option<u32> },
    /// Maximum over windows, gated by the sums of the places of the input, which has `from`.
    RatePool { windows: Windows, gate: Gate, from: Dims, from_shape: Vec<usize> },
    /// Other dims, same C order (Flatten).
    Reshape,
    /// `x · factor (+ shift)`, one value a channel or an element; BatchNorm that could not be
    /// folded has a shift.
    Affine { factor: Factor, shift: Option<Factor> },
    /// Each element from its own step of the past.
    Delay { delays: Delays },
    /// Join along an axis of (C, H, W).
    Concat { axis: usize },
    /// Nearest-neighbour repetition.
    Upsample { factor: [usize; 2] },
    /// The sum of the edges.
    Add,
}

/// The weights of a Linear or Conv.
#[derive(Debug)]
pub(crate) enum Layer {
    Float(Box<Packed>),
    Integer(Box<IntLayer>),
}

impl Layer {
    /// Lanes of a block.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Float(packed) => packed.width,
            Self::Integer(layer) => layer.packed.width,
        }
    }

    /// As [`Packed::call_size`].
    pub(crate) fn call_size(&self) -> usize {
        match self {
            Self::Float(packed) => packed.call_size(),
            Self::Integer(layer) => layer.packed.call_size(),
        }
    }

    /// Bytes held.
    fn bytes(&self) -> usize {
        match self {
            Self::Float(packed) => packed.bytes(),
            Self::Integer(layer) => layer.packed.bytes(),
        }
    }
}

/// What a pool does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolMode {
    /// Sum.
    Sum,
    /// Sum divided by the window's size.
    Average,
    /// Largest spike value, silence being 0.
    SpikeMax,
    /// Largest current.
    CurrentMax,
}

/// A factor for each element: one for all, a channel, or an element.
#[derive(Debug)]
pub(crate) struct Factor {
    values: Vec<f32>,
    dims: Dims,
}

impl Factor {
    /// The factor of channel `c` at pixel `p`.
    pub(crate) fn at(&self, c: usize, p: usize) -> f32 {
        match self.values.len() {
            1 => self.values[0],
            n if n == self.dims.c => self.values[c],
            _ => self.values[c * self.dims.pixels() + p],
        }
    }
}

/// The delay of each element.
#[derive(Debug)]
pub(crate) struct Delays {
    /// Steps, ascending, each once.
    pub(crate) steps: Vec<usize>,
    /// `[pixel][channel]`: which of them the element has.
    pub(crate) class: Vec<u32>,
}

impl Delays {
    fn new(delay: &Tensor, shape: &[usize]) -> Self {
        let dims = Dims::of(shape);
        let mut steps: Vec<usize> = delay.data().iter().map(|&d| d as usize).collect();
        steps.sort_unstable();
        steps.dedup();
        let class_of = |d: f32| steps.partition_point(|&s| s < d as usize) as u32;
        let pixels = dims.pixels();
        let class = (0..pixels)
            .flat_map(|p| (0..dims.c).map(move |c| c * pixels + p))
            .map(|at| class_of(delay.value_at(at, shape)))
            .collect();
        Self { steps, class }
    }
}

/// What weights, sums and membranes are.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// Weights of i8, membranes of i32 (S14).
    I8(Clips),
}

impl Precision {
    /// The name used in Python.
    pub fn name(&self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::I8(_) => "i8",
        }
    }
}

impl Plan {
    /// Plan `graph` for `level`.
    pub fn new(graph: &Graph, level: Level, precision: &Precision) -> Result<Self> {
        graph.validate()?;
        if !level.is_available() {
            let what = format!("\"{}\" on this CPU", level.name());
            return Err(Error::unsupported("level", what, ""));
        }
        let mut graph = graph.fold()?;
        graph.merge_delays();
        let units = match precision {
            Precision::F32 => None,
            Precision::I8(clips) => {
                Some(quantise::quantised(&graph, clips, |id| lower::fused(&graph, id))?)
            }
        };
        let nodes = lower::lower(&graph, level, units.as_ref())?;
        let stages = schedule::schedule(&nodes);
        let (output, readout) = (graph.output(), graph.readout());
        Ok(Self { level, precision: precision.clone(), nodes, stages, output, readout })
    }

    /// The instruction set it runs on.
    pub fn level(&self) -> Level {
        self.level
    }

    /// What weights, sums and membranes are.
    pub fn precision(&self) -> &Precision {
        &self.precision
    }

    /// Shape of one sample at one step.
    pub fn input_shape(&self) -> &[usize] {
        &self.nodes[0].shape
    }

    /// Shape of the output node's value.
    pub fn output_shape(&self) -> &[usize] {
        &self.nodes[self.output].shape
    }

    /// What a run answers with.
    pub fn readout(&self) -> Readout {
        self.readout
    }

    /// The order of execution.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Names and shapes of the populations, in the graph's order.
    pub fn populations(&self) -> impl Iterator<Item = (NodeId, &str, &[usize])> {
        self.nodes
            .iter()
            .enumerate()
            .filter(|(_, n)| matches!(n.op, PlanOp::Population(_)))
            .map(|(id, n)| (id, n.name.as_str(), n.shape.as_slice()))
    }

    /// The layers that a run counts, in the graph's order: name, and whether it is a population.
    pub fn counted(&self) -> Vec<(String, bool)> {
        let kind = |node: &PlanNode| match &node.op {
            PlanOp::Synapse { .. }
            | PlanOp::Delayed { .. }
            | PlanOp::Affine { shift: None, .. } => Some((node.name.clone(), false)),
            PlanOp::Population(_) => Some((node.name.clone(), true)),
            _ => None,
        };
        self.nodes.iter().filter_map(kind).collect()
    }

    /// Name of a node.
    pub fn name(&self, id: NodeId) -> &str {
        &self.nodes[id].name
    }

    /// Bytes of packed weights and parameters.
    pub fn weight_bytes(&self) -> usize {
        let of = |n: &PlanNode| match &n.op {
            PlanOp::Synapse { layer, .. } => layer.bytes(),
            PlanOp::Delayed { synapses, bias } => synapses.bytes() + size_of_val(&bias[..]),
            _ => 0,
        };
        self.nodes.iter().map(of).sum()
    }
}

/// One line a stage: what is executed, in which order, on what.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "level {}, readout {:?} of {}",
            self.level.name(),
            self.readout,
            self.name(self.output)
        )?;
        for stage in &self.stages {
            let (ids, how) = match stage {
                Stage::Forward(id) => (std::slice::from_ref(id), "all steps"),
                Stage::Recurrent(ids) => (&ids[..], "step by step"),
            };
            for &id in ids {
                writeln!(
                    f,
                    "  {} {:?}: {}, {how}",
                    self.name(id),
                    self.nodes[id].shape,
                    self.what(id)
                )?;
            }
        }
        Ok(())
    }
}

impl Plan {
    fn what(&self, id: NodeId) -> String {
        match &self.nodes[id].op {
            PlanOp::Input => "input".into(),
            PlanOp::Synapse { layer, .. } => {
                let what = if matches!(layer, Layer::Integer(_)) { "integer sums" } else { "sums" };
                format!("{what} in blocks of {}", layer.width())
            }
            PlanOp::Delayed { synapses, .. } => {
                format!("{} synapses of {} delays", synapses.len(), synapses.delays().len())
            }
            PlanOp::Population(p) => {
                let parents = p.parents.iter().map(|parent| match parent {
                    ParentSpec::Fused(layer) => format!("{} fused", self.name(*layer)),
                    ParentSpec::Value(edge) => self.name(edge.src).to_string(),
                });
                let parents = parents.collect::<Vec<_>>().join(" + ");
                let what = if p.is_integer() { "integer neurons" } else { "neurons" };
                format!("{what} in blocks of {} on {parents}", p.width)
            }
            PlanOp::Pool { merge: Some(_), .. } => "lists put together".into(),
            PlanOp::Pool { mode, .. } => format!("{mode:?} pool"),
            PlanOp::RatePool { gate, .. } => format!("max pool gated by {gate:?}"),
            PlanOp::Reshape => "reshape".into(),
            PlanOp::Affine { .. } => "scale".into(),
            PlanOp::Delay { delays } => format!("{} delays", delays.steps.len()),
            PlanOp::Concat { .. } => "concat".into(),
            PlanOp::Upsample { .. } => "upsample".into(),
            PlanOp::Add => "add".into(),
        }
    }
}
