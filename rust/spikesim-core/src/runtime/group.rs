//! A group of samples on its way through the network: chunk of steps by chunk, stage by stage.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::Control;
use super::counts::Tally;
use super::readout::Accumulator;
use super::record::SpikeRecord;
use super::request::{Options, Record};
use crate::Result;
use crate::graph::{NodeId, Readout};
use crate::kernels::listops::Scratch;
use crate::plan::{Plan, PlanNode, PlanOp, Stage};
use crate::step::Input;
use crate::step::SampleState;
use crate::step::Value;

/// Steps taken at once by the feed-forward parts; bounds the spikes in flight.
const CHUNK: usize = 64;

/// Multiplications that one call of the block kernel may stand for if everything spikes; a call
/// can't be interrupted, and this keeps it well under 0.2 s.
const CALL: usize = 1 << 30;

/// Steps of a chunk: fewer where the events of that many steps could overflow their u32 offsets,
/// or where one call of the kernel would take too long to answer Ctrl-C.
fn longest_chunk(plan: &Plan) -> usize {
    let room = |node: &PlanNode| {
        let offsets = (u32::MAX as usize / node.dims.len().max(1)).saturating_sub(node.history);
        let call = match &node.op {
            PlanOp::Synapse { layer, .. } => CALL / layer.call_size().max(1),
            _ => CHUNK,
        };
        offsets.min(call).max(1)
    };
    plan.nodes.iter().map(room).min().unwrap_or(CHUNK).min(CHUNK)
}

/// What all groups of a run share.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) plan: &'a Plan,
    pub(super) input: &'a Input<'a>,
    pub(super) options: &'a Options,
    pub(super) control: &'a Control,
    /// Fewer groups than threads: spread blocks over threads instead.
    pub(super) parallel_blocks: bool,
}

impl Shared<'_> {
    /// What is recorded of node `id`.
    pub(super) fn wanted(&self, id: NodeId) -> Record {
        self.options.record.get(&id).copied().unwrap_or_default()
    }

    /// Whether the readout needs every membrane of node `id`.
    pub(super) fn reads_membranes(&self, id: NodeId) -> bool {
        self.plan.output == id && matches!(self.plan.readout, Readout::MaxV | Readout::LastV)
    }
}

/// Records of one sample.
#[derive(Clone, Debug, Default)]
pub(super) struct SampleRecords {
    pub(super) spikes: BTreeMap<NodeId, SpikeRecord>,
    pub(super) v: BTreeMap<NodeId, Vec<f32>>,
    pub(super) current: BTreeMap<NodeId, Vec<f32>>,
}

/// A group of samples in flight.
pub(super) struct Group<'a> {
    pub(super) shared: Shared<'a>,
    /// Index of the group's first sample in the run.
    pub(super) first_sample: usize,
    pub(super) states: &'a mut [SampleState],
    /// `[node][sample]`.
    pub(super) values: Vec<Vec<Value>>,
    /// Layers that see the same at every step: their sums for each sample.
    pub(super) constants: HashMap<NodeId, Vec<Vec<f32>>>,
    /// The same in units, of layers of integers.
    pub(super) int_constants: HashMap<NodeId, Vec<Vec<i32>>>,
    /// The run's step at which this chunk begins.
    pub(super) first_step: usize,
    /// `[sample][node]`.
    pub(super) tallies: Vec<Vec<Tally>>,
    pub(super) records: Vec<SampleRecords>,
    pub(super) readouts: Vec<Accumulator>,
    pub(super) scratch: Scratch,
}

/// What a group leaves behind.
pub(super) struct GroupResult {
    pub(super) tallies: Vec<Vec<Tally>>,
    pub(super) records: Vec<SampleRecords>,
    pub(super) outputs: Vec<Vec<f32>>,
}

impl<'a> Group<'a> {
    pub(super) fn new(
        shared: Shared<'a>,
        first_sample: usize,
        states: &'a mut [SampleState],
    ) -> Self {
        let (plan, steps, samples) = (shared.plan, shared.input.steps, states.len());
        let tally = |id: NodeId| match &plan.nodes[id].op {
            PlanOp::Synapse { .. }
            | PlanOp::Delayed { .. }
            | PlanOp::Affine { shift: None, .. } => Tally {
                cost: vec![Default::default(); steps],
                executed: vec![0; steps],
                spikes: Vec::new(),
            },
            PlanOp::Population(_) => Tally { spikes: vec![0; steps], ..Tally::default() },
            _ => Tally::default(),
        };
        let tallies: Vec<Tally> = (0..plan.nodes.len()).map(tally).collect();
        Self {
            shared,
            first_sample,
            states,
            values: Vec::new(),
            constants: HashMap::new(),
            int_constants: HashMap::new(),
            first_step: 0,
            tallies: vec![tallies; samples],
            records: vec![SampleRecords::default(); samples],
            readouts: vec![Accumulator::new(plan, steps); samples],
            scratch: Scratch::default(),
        }
    }

    pub(super) fn samples(&self) -> usize {
        self.states.len()
    }

    /// All steps of the run.
    pub(super) fn run(mut self) -> Result<GroupResult> {
        let steps = self.shared.input.steps;
        let most = longest_chunk(self.shared.plan);
        while self.first_step < steps {
            let chunk = most.min(steps - self.first_step);
            self.chunk(chunk)?;
            self.first_step += chunk;
            self.shared.control.advance((chunk * self.samples()) as u64);
        }
        let outputs =
            self.readouts.into_iter().map(|readout| readout.finish(self.shared.plan)).collect();
        Ok(GroupResult { tallies: self.tallies, records: self.records, outputs })
    }

    /// Values of a new chunk: nothing yet but the past.
    pub(super) fn begin(&mut self) {
        let plan = self.shared.plan;
        self.values = (0..plan.nodes.len())
            .map(|id| {
                let node = &plan.nodes[id];
                let start = |state: &mut SampleState| match state.nodes[id].past.take() {
                    Some(past) => past,
                    None => Value::new(node.dims, node.dense, 0),
                };
                self.states.iter_mut().map(start).collect()
            })
            .collect();
    }

    fn chunk(&mut self, steps: usize) -> Result<()> {
        let plan = self.shared.plan;
        self.begin();
        self.fill_input(steps)?;
        // Values that nobody reads any more are dropped at once: what is in flight stays small.
        let last_use = self.last_uses();
        for (k, stage) in plan.stages.iter().enumerate() {
            self.shared.control.check()?;
            match stage {
                Stage::Forward(id) => self.evaluate(*id, 0..steps)?,
                Stage::Recurrent(ids) => {
                    for t in 0..steps {
                        self.shared.control.check()?;
                        for &id in ids {
                            self.evaluate(id, t..t + 1)?;
                        }
                    }
                }
            }
            let ids = match stage {
                Stage::Forward(id) => std::slice::from_ref(id),
                Stage::Recurrent(ids) => ids,
            };
            if ids.contains(&plan.output) {
                self.read_values(steps);
            }
            for (id, _) in last_use.iter().enumerate().filter(|(_, last)| **last == k) {
                self.retire(id);
            }
        }
        Ok(())
    }

    /// For each node the last stage that reads it (or computes it).
    fn last_uses(&self) -> Vec<usize> {
        let plan = self.shared.plan;
        let mut last = vec![0; plan.nodes.len()];
        for (k, stage) in plan.stages.iter().enumerate() {
            let ids = match stage {
                Stage::Forward(id) => std::slice::from_ref(id),
                Stage::Recurrent(ids) => ids,
            };
            for &id in ids {
                last[id] = last[id].max(k);
                let mut read = |src: NodeId| last[src] = last[src].max(k);
                for edge in &plan.nodes[id].edges {
                    read(edge.src);
                    if let PlanOp::Synapse { fused: true, .. } = plan.nodes[edge.src].op {
                        plan.nodes[edge.src].edges.iter().for_each(|e| read(e.src));
                    }
                }
            }
        }
        last
    }

    /// Keep of a node's value what the next chunk looks back to.
    pub(super) fn retire(&mut self, id: NodeId) {
        let node = &self.shared.plan.nodes[id];
        let values = std::mem::take(&mut self.values[id]);
        if node.history > 0 {
            for (state, value) in self.states.iter_mut().zip(&values) {
                state.nodes[id].past = Some(value.tail(node.history));
            }
        }
    }

    /// The chunk's input as events, channels last.
    fn fill_input(&mut self, steps: usize) -> Result<()> {
        let node = &self.shared.plan.nodes[0];
        let input = self.shared.input;
        let constant = input.constant && node.history == 0;
        for s in 0..self.samples() {
            let value = &mut self.values[0][s];
            value.constant = constant;
            let Some(events) = value.events_mut() else { continue };
            for t in 0..if constant { 1 } else { steps } {
                self.shared.control.check()?;
                let sample = self.first_sample + s;
                events.push_c_order(input.at(sample, self.first_step + t, node.dims.len()));
            }
        }
        Ok(())
    }

    /// One node at `steps` of the chunk.
    pub(super) fn evaluate(&mut self, id: NodeId, steps: Range<usize>) -> Result<()> {
        match &self.shared.plan.nodes[id].op {
            PlanOp::Input => Ok(()),
            PlanOp::Synapse { fused: true, .. } => Ok(()),
            PlanOp::Synapse { .. } => self.synapse(id, steps),
            PlanOp::Delayed { .. } => self.delayed(id, steps),
            PlanOp::RatePool { .. } => self.rate_pool(id, steps),
            PlanOp::Population(_) => self.population(id, steps),
            _ => self.weightless(id, steps),
        }
    }

    /// The readout takes the output node's values of this chunk.
    pub(super) fn read_values(&mut self, steps: usize) {
        let id = self.shared.plan.output;
        for (value, readout) in self.values[id].iter().zip(&mut self.readouts) {
            (0..steps).for_each(|t| readout.value(value, value.row(t, 0)));
        }
    }
}
