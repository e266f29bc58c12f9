//! A network that is stepped one `dt` at a time, touching what events reach and nothing else.
//!
//! Nodes that can work on events alone do; all others take the step that a run of one step takes
//! (`runtime::group`), and the report says which. Both work on the same state: a population that
//! was left alone catches up when it is touched, and before anybody looks at the state.

mod frame;
mod input;
mod neurons;
mod nodes;
mod reach;
mod window;

use std::collections::{BTreeMap, VecDeque};

pub use input::StepInput;

use frame::{Frame, Mixer};
use neurons::Neurons;
use nodes::Weightless;
use window::Window;

use super::counts::Tally;
use super::group::{Group, Shared};
use super::record::SpikeColumns;
use super::request::{Options, Record};
use super::{Control, LayerCounts};
use crate::Result;
use crate::graph::{NodeId, Readout};
use crate::kernels::fanout::{Cost, Fanout};
use crate::plan::{ParentSpec, Plan, PlanNode, PlanOp, Population, Stage};
use crate::step::{Input, SampleState, Value};

/// What is asked of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamOptions {
    /// Steps that the readout looks back over; all since the beginning where there is none.
    pub window: Option<usize>,
    /// Whether every step gives its spikes.
    pub spikes: bool,
}

/// What one step of a stream gives.
#[derive(Clone, Debug, Default)]
pub struct StepOutput {
    /// The readout, C order.
    pub values: Vec<f32>,
    /// Counts of this step, for each layer that counts, as a run gives them.
    pub counts: Vec<(NodeId, LayerCounts)>,
    /// Where wanted: neurons (C order, ascending) that fired, and how many spikes.
    pub spikes: BTreeMap<NodeId, (Vec<i64>, Vec<i64>)>,
}

/// How a node is stepped.
#[derive(Debug)]
enum Way {
    /// The input.
    Input,
    /// Where something happens.
    Neurons(Box<Neurons>),
    /// Where something is.
    Weightless(Weightless),
    /// By its population.
    Fused,
    /// As a run of one step does.
    Whole,
}

/// What a stream carries besides the state.
#[derive(Debug)]
pub(super) struct Stream {
    options: StreamOptions,
    ways: Vec<Way>,
    order: Vec<NodeId>,
    /// Nodes whose value is needed as a run has it.
    values: Vec<bool>,
    /// Nodes whose events are needed.
    wanted: Vec<bool>,
    frames: Vec<Frame>,
    /// Events of the last steps, latest first, of nodes that delayed edges look back to.
    past: Vec<VecDeque<Frame>>,
    mixer: Mixer,
    window: Window,
    /// Steps done.
    now: u64,
}

impl Stream {
    /// A stream that goes on from `state`.
    pub(super) fn new(plan: &Plan, state: &SampleState, options: StreamOptions) -> Self {
        let order: Vec<NodeId> = plan
            .stages
            .iter()
            .flat_map(|stage| match stage {
                Stage::Forward(id) => vec![*id],
                Stage::Recurrent(ids) => ids.clone(),
            })
            .collect();
        let ways: Vec<Way> = (0..plan.nodes.len()).map(|id| way(plan, id)).collect();
        let (mut values, mut wanted) = (vec![false; ways.len()], vec![false; ways.len()]);
        for (id, way) in ways.iter().enumerate() {
            let needed = match way {
                Way::Whole => &mut values,
                _ => &mut wanted,
            };
            sources(plan, id).for_each(|src| needed[src] = true);
        }
        let past = plan
            .nodes
            .iter()
            .enumerate()
            .map(|(id, node)| match &state.nodes[id].past {
                Some(past) if wanted[id] => rows_of(past, node),
                _ => VecDeque::new(),
            })
            .collect();
        let len = plan.nodes[plan.output].dims.len();
        Self {
            options,
            order,
            values,
            wanted,
            frames: plan.nodes.iter().map(|node| Frame::new(node.dims)).collect(),
            past,
            mixer: Mixer::default(),
            window: Window::new(plan.readout, len, options.window),
            now: 0,
            ways,
        }
    }

    /// How each node is stepped: its name, and in words.
    pub(super) fn report(&self, plan: &Plan) -> Vec<(String, &'static str)> {
        let how = |(id, way): (NodeId, &Way)| {
            let how = match way {
                Way::Input => return None,
                Way::Neurons(neurons) => neurons.describe(),
                Way::Weightless(_) => "events",
                Way::Fused => "within its population",
                Way::Whole => "whole",
            };
            Some((plan.nodes[id].name.clone(), how))
        };
        self.ways.iter().enumerate().filter_map(how).collect()
    }

    /// One step of `state`.
    pub(super) fn step(
        &mut self,
        plan: &Plan,
        states: &mut [SampleState],
        input: &StepInput<'_>,
    ) -> Result<StepOutput> {
        let mut first = std::mem::replace(&mut self.frames[0], Frame::new(plan.nodes[0].dims));
        let read = input.read(plan.input_shape(), &mut self.mixer, &mut first);
        self.frames[0] = first;
        read?;
        let record = Record { spikes: self.options.spikes, ..Record::default() };
        let all = plan.populations().map(|(id, ..)| (id, record));
        let options = Options { record: all.collect(), batch_size: None, resume: true };
        let nothing = Input { data: &[], samples: 1, steps: 1, constant: false };
        let control = Control::default();
        let shared = Shared {
            plan,
            input: &nothing,
            options: &options,
            control: &control,
            parallel_blocks: false,
        };
        let mut done = Done::new(plan, self.options.spikes);
        if self.ways.iter().any(|way| matches!(way, Way::Whole)) {
            let mut group = Group::new(shared, 0, states);
            group.begin();
            for at in 0..self.order.len() {
                self.node(plan, self.order[at], Some(&mut group), None, &mut done)?;
            }
            let whole = matches!(self.ways[plan.output], Way::Whole);
            done.take(plan, whole, &mut group);
            for (id, node) in plan.nodes.iter().enumerate() {
                if node.history > 0 && (self.values[id] || matches!(self.ways[id], Way::Whole)) {
                    group.retire(id);
                }
            }
        } else {
            for at in 0..self.order.len() {
                self.node(plan, self.order[at], None, states.first_mut(), &mut done)?;
            }
        }
        self.remember(plan);
        self.now += 1;
        let row = match done.row.take() {
            Some(row) => row,
            None => self.answer(plan, &done),
        };
        let mut out = done.finish(plan, &self.ways);
        out.values = self.window.push(row);
        Ok(out)
    }

    /// One node; its state is the group's or `state`.
    fn node(
        &mut self,
        plan: &Plan,
        id: NodeId,
        mut group: Option<&mut Group<'_>>,
        state: Option<&mut SampleState>,
        done: &mut Done,
    ) -> Result<()> {
        let node = &plan.nodes[id];
        let mut out = std::mem::replace(&mut self.frames[id], Frame::new(node.dims));
        match &mut self.ways[id] {
            Way::Input | Way::Fused => {}
            Way::Weightless(weightless) => {
                let look = Look { frames: &self.frames, past: &self.past };
                let mut sources = Vec::with_capacity(node.edges.len());
                for edge in &node.edges {
                    for (delay, class) in nodes::looks_back(node) {
                        sources.push((look.at(edge.src, edge.delay + delay), class));
                    }
                }
                weightless.step(node, &sources, &mut self.mixer, &mut out);
            }
            Way::Neurons(neurons) => {
                let PlanOp::Population(pop) = &node.op else { return Ok(()) };
                let look = Look { frames: &self.frames, past: &self.past };
                let frames = look.parents(plan, pop);
                for (parent, frames) in pop.parents.iter().zip(&frames) {
                    let ParentSpec::Fused(layer) = parent else { continue };
                    let PlanOp::Synapse { fanout, .. } = &plan.nodes[*layer].op else { continue };
                    frames.iter().for_each(|f| done.costs[*layer] += cost(fanout, f));
                }
                let states = group.as_mut().and_then(|g| g.states.first_mut());
                let Some(state) = states.or(state) else { return Ok(()) };
                let each = done.spikes || id == plan.output;
                let when = (self.now, each);
                let fired =
                    neurons.step((plan, pop), &frames, when, &mut state.nodes[id], &mut out);
                done.fired[id] = fired;
            }
            Way::Whole => {
                let Some(group) = group.as_mut() else { return Ok(()) };
                group.evaluate(id, 0..1)?;
                if id == plan.output {
                    group.read_values(1);
                }
                let value = &group.values[id][0];
                if let (true, Some(events)) = (self.wanted[id], value.events()) {
                    out.read(events, value.row(0, 0));
                }
            }
        }
        self.frames[id] = out;
        if let (true, Some(group)) = (self.values[id], group)
            && !matches!(self.ways[id], Way::Whole)
            && let Some(events) = group.values[id][0].events_mut()
        {
            self.frames[id].append_to(events);
        }
        Ok(())
    }

    /// What delayed edges will look back to.
    fn remember(&mut self, plan: &Plan) {
        for (id, node) in plan.nodes.iter().enumerate() {
            if node.history > 0 && self.wanted[id] {
                let past = &mut self.past[id];
                let spare = if past.len() == node.history { past.pop_back() } else { None };
                let spare = spare.unwrap_or_else(|| Frame::new(node.dims));
                past.push_front(std::mem::replace(&mut self.frames[id], spare));
            }
        }
    }

    /// What this step alone answers, where the output node works on events.
    fn answer(&self, plan: &Plan, done: &Done) -> Vec<f32> {
        let node = &plan.nodes[plan.output];
        let dims = node.dims;
        let mut row = vec![if plan.readout == Readout::FirstSpike { 1.0 } else { 0.0 }; dims.len()];
        let place = |at: u32| at as usize % dims.c * dims.pixels() + at as usize / dims.c;
        match plan.readout {
            Readout::Count => {
                done.fired[plan.output].each.iter().for_each(|&(at, z)| row[place(at)] += z);
            }
            Readout::FirstSpike => {
                done.fired[plan.output].each.iter().for_each(|&(at, _)| row[place(at)] = 0.0);
            }
            _ => {
                let remembered = self.wanted[plan.output] && node.history > 0;
                let frame = match self.past[plan.output].front() {
                    Some(frame) if remembered => frame,
                    _ => &self.frames[plan.output],
                };
                frame.events().for_each(|(at, value, _)| row[place(at)] += value);
            }
        }
        row
    }

    /// Bring `state` to where the steps done have left it.
    pub(super) fn settle(&mut self, plan: &Plan, state: &mut SampleState) {
        for (id, node) in plan.nodes.iter().enumerate() {
            if let (Way::Neurons(neurons), PlanOp::Population(pop)) = (&mut self.ways[id], &node.op)
            {
                neurons.settle(plan, pop, self.now, &mut state.nodes[id]);
            }
            let kept = self.values[id] || matches!(self.ways[id], Way::Whole);
            if node.history > 0 && !kept {
                let mut past = Value::new(node.dims, false, 0);
                if let Some(events) = past.events_mut() {
                    self.past[id].iter().rev().for_each(|frame| frame.append_to(events));
                }
                state.nodes[id].past = Some(past.tail(node.history));
            }
        }
    }
}

/// The frames of this step and of those before.
struct Look<'a> {
    frames: &'a [Frame],
    past: &'a [VecDeque<Frame>],
}

impl<'a> Look<'a> {
    fn at(&self, src: NodeId, delay: usize) -> &'a Frame {
        if delay == 0 { &self.frames[src] } else { &self.past[src][delay - 1] }
    }

    /// For each parent of a population the frames of its edges.
    fn parents(&self, plan: &Plan, pop: &Population) -> Vec<Vec<&'a Frame>> {
        let of = |parent: &ParentSpec| match parent {
            ParentSpec::Value(edge) => vec![self.at(edge.src, edge.delay)],
            ParentSpec::Fused(layer) => {
                plan.nodes[*layer].edges.iter().map(|e| self.at(e.src, e.delay)).collect()
            }
        };
        pop.parents.iter().map(of).collect()
    }
}

/// How node `id` is stepped.
fn way(plan: &Plan, id: NodeId) -> Way {
    let node = &plan.nodes[id];
    let membranes = matches!(plan.readout, Readout::LastV | Readout::MaxV) && id == plan.output;
    let way = match &node.op {
        PlanOp::Input => Some(Way::Input),
        PlanOp::Synapse { fused: true, .. } => Some(Way::Fused),
        PlanOp::Population(pop) if !membranes => {
            Neurons::new(plan, node, pop).map(|n| Way::Neurons(Box::new(n)))
        }
        _ => {
            let from = node.edges.first().map(|e| plan.nodes[e.src].dims);
            from.and_then(|from| Weightless::new(node, from)).map(Way::Weightless)
        }
    };
    way.unwrap_or(Way::Whole)
}

/// The nodes whose values node `id` reads, through layers that belong to it.
fn sources(plan: &Plan, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
    let node = &plan.nodes[id];
    let fused = matches!(node.op, PlanOp::Synapse { fused: true, .. });
    let edges = if fused { &[][..] } else { &node.edges[..] };
    edges.iter().flat_map(|edge| match &plan.nodes[edge.src].op {
        PlanOp::Synapse { fused: true, .. } => {
            plan.nodes[edge.src].edges.iter().map(|e| e.src).collect()
        }
        _ => vec![edge.src],
    })
}

/// The rows of a saved past, latest first.
fn rows_of(past: &Value, node: &PlanNode) -> VecDeque<Frame> {
    let read = |delay: usize| {
        let mut frame = Frame::new(node.dims);
        if let Some(events) = past.events() {
            frame.read(events, past.row(0, delay));
        }
        frame
    };
    (1..=node.history).map(read).collect()
}

fn cost(fanout: &Fanout, frame: &Frame) -> Cost {
    let c = frame.dims().c;
    let mut cost = Cost::default();
    for (at, _, mult) in frame.events() {
        cost += fanout.cost_at(at as usize / c, at as usize % c, mult);
    }
    cost
}

/// What the nodes of a step have done.
struct Done {
    spikes: bool,
    costs: Vec<Cost>,
    fired: Vec<neurons::Fired>,
    /// Of nodes that took the step whole; empty where none does.
    tallies: Vec<Tally>,
    columns: BTreeMap<NodeId, SpikeColumns>,
    /// What the output node answers, where it took the step whole.
    row: Option<Vec<f32>>,
}

impl Done {
    fn new(plan: &Plan, spikes: bool) -> Self {
        let n = plan.nodes.len();
        Self {
            spikes,
            costs: vec![Cost::default(); n],
            fired: (0..n).map(|_| neurons::Fired::default()).collect(),
            tallies: Vec::new(),
            columns: BTreeMap::new(),
            row: None,
        }
    }

    /// What the group of a step has counted.
    fn take(&mut self, plan: &Plan, whole: bool, group: &mut Group<'_>) {
        self.tallies = std::mem::take(&mut group.tallies[0]);
        for (id, record) in &group.records[0].spikes {
            self.columns.insert(*id, SpikeColumns::gather(std::slice::from_ref(record), 1));
        }
        if whole {
            self.row = group.readouts.pop().map(|readout| readout.finish(plan));
        }
    }

    fn finish(self, plan: &Plan, ways: &[Way]) -> StepOutput {
        let mut out = StepOutput::default();
        for (id, node) in plan.nodes.iter().enumerate() {
            let tally = self.tallies.get(id);
            match &node.op {
                PlanOp::Synapse { .. }
                | PlanOp::Delayed { .. }
                | PlanOp::Affine { shift: None, .. } => {
                    let mut cost = self.costs[id];
                    cost += tally.map_or_else(Cost::default, |t| t.cost[0]);
                    let counts = LayerCounts {
                        synops: vec![cost.synops],
                        synops_with_zeros: vec![cost.synops_with_zeros],
                        macs: vec![cost.macs],
                        macs_executed: vec![cost.macs],
                        ..LayerCounts::default()
                    };
                    out.counts.push((id, counts));
                }
                PlanOp::Population(pop) => {
                    let neurons = node.dims.len() as u64;
                    let fired = &self.fired[id];
                    let (spikes, visits) = match (&ways[id], tally) {
                        (Way::Whole, Some(tally)) => (tally.spikes[0], neurons),
                        _ => (fired.spikes, fired.visits),
                    };
                    let counts = LayerCounts {
                        spikes: vec![spikes],
                        neuron_updates: vec![neurons],
                        neuron_visits: vec![visits],
                        ..LayerCounts::default()
                    };
                    out.counts.push((id, counts));
                    if self.spikes && pop.fires() {
                        out.spikes.insert(id, self.spikes_of(id, node));
                    }
                }
                _ => {}
            }
        }
        out
    }

    /// The neurons of a population that fired, and how often.
    fn spikes_of(&self, id: NodeId, node: &PlanNode) -> (Vec<i64>, Vec<i64>) {
        if let Some(columns) = self.columns.get(&id) {
            return (columns.neuron.clone(), columns.count.clone());
        }
        let (c, pixels) = (node.dims.c, node.dims.pixels());
        let index = |at: usize| (at % c * pixels + at / c) as i64;
        let mut all: Vec<(i64, i64)> =
            self.fired[id].each.iter().map(|&(at, z)| (index(at as usize), z as i64)).collect();
        all.sort_unstable();
        all.into_iter().unzip()
    }
}
