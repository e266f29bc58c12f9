//! Learning sample by sample, step by step (S11.2).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::evaluate::Work;
use super::network::{Learner, Live};
use super::plastic::{Plasticity, Spikes};
use super::wta::{Draw, Memory};
use crate::graph::NodeId;
use crate::kernels::dense;
use crate::kernels::events::Events;
use crate::kernels::listops::Scratch;
use crate::plan::{Plan, PlanNode, PlanOp};
use crate::step::{Input, SampleState, Value};
use crate::{Error, Result};

/// Steps after which values that nobody looks back to are dropped.
const CHUNK: usize = 64;

/// How long learning goes on before the caller is asked whether it may.
const PIECE: Duration = Duration::from_millis(50);

/// The reward of a run.
#[derive(Clone, Copy, Debug)]
pub enum Rewards<'a> {
    /// None at all.
    None,
    /// (N): that of each sample, in its last step.
    Samples(&'a [f32]),
    /// (T, N): that of each step.
    Steps(&'a [f32]),
}

impl Rewards<'_> {
    fn at(&self, input: &Input<'_>, sample: usize, step: usize) -> f32 {
        match self {
            Self::None => 0.0,
            Self::Samples(values) if step + 1 == input.steps => values[sample],
            Self::Samples(_) => 0.0,
            Self::Steps(values) => values[step * input.samples + sample],
        }
    }
}

/// How to learn.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Options<'a> {
    /// Every sample starts from the initial state.
    pub reset: bool,
    pub rewards: Rewards<'a>,
    /// Whether spikes and membranes of the populations are kept.
    pub spikes: bool,
    pub v: bool,
}

/// Spikes of a population as columns, sorted by (sample, step, neuron in C order).
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Columns {
    pub step: Vec<i64>,
    pub sample: Vec<i64>,
    pub neuron: Vec<i64>,
    pub count: Vec<i64>,
}

/// What learning leaves beside what was learned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learned {
    /// By population, where they are kept.
    pub columns: BTreeMap<NodeId, Columns>,
    /// (N, T, …) by population, where they are kept.
    pub v: BTreeMap<NodeId, Vec<f32>>,
    /// Spikes of each population, (N).
    pub spikes: BTreeMap<NodeId, Vec<u64>>,
    /// How often a weight, or what it is eligible for, was changed.
    pub updates: u64,
    /// Weights that events met, those that are zero as well.
    pub synops: u64,
}

impl Learner {
    /// Learns from all samples of `input`, in their order. `control` is told every now and then
    /// how many samples are done; where it answers with an error, and at any other error, what was
    /// learned is that of the whole samples up to a moment ago.
    pub fn run(
        &mut self,
        input: &Input<'_>,
        options: &Options<'_>,
        control: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<Learned> {
        self.check(input, options)?;
        let mut learned = Learned::default();
        let mut values = Vec::new();
        let mut saved = self.live.clone();
        let mut since = Instant::now();
        for sample in 0..input.samples {
            if options.reset {
                self.live.reset(&self.adaptive, &self.initial);
            }
            // A short sample is not stopped on its way: nothing of it would be lost.
            let mut asked = Instant::now();
            let mut go_on = || match asked.elapsed() > PIECE {
                true => {
                    asked = Instant::now();
                    control(sample)
                }
                false => Ok(()),
            };
            let done = self.sample(input, options, sample, &mut values, &mut learned, &mut go_on);
            if let Err(error) = done {
                self.live = saved;
                return Err(error);
            }
            if since.elapsed() > PIECE {
                control(sample + 1)?;
                since = Instant::now();
                saved = self.live.clone();
            }
        }
        Ok(learned)
    }

    fn check(&self, input: &Input<'_>, options: &Options<'_>) -> Result<()> {
        let len: usize = self.plan.input_shape().iter().product();
        let rows = if input.constant { input.samples } else { input.samples * input.steps };
        if input.steps == 0 || input.samples == 0 {
            return Err(Error::input("run", "x is empty, expected at least one sample and step"));
        }
        if input.data.len() != rows * len {
            let expected = format!("{rows} samples of {:?}", self.plan.input_shape());
            return Err(Error::shape("run", "x", &[input.data.len()], expected));
        }
        let (found, expected) = match options.rewards {
            Rewards::None => return Ok(()),
            Rewards::Samples(values) => (values.len(), input.samples),
            Rewards::Steps(values) => (values.len(), input.samples * input.steps),
        };
        if found != expected {
            return Err(Error::shape("run", "reward", &[found], format!("{expected} values")));
        }
        Ok(())
    }

    /// One sample.
    fn sample(
        &mut self,
        input: &Input<'_>,
        options: &Options<'_>,
        sample: usize,
        values: &mut Vec<Vec<Value>>,
        learned: &mut Learned,
        go_on: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let fits = u32::try_from(input.steps).ok().and_then(|t| self.live.step.checked_add(t));
        if fits.is_none() || self.live.samples == u32::MAX {
            let problem = "the state has seen 2^32 steps or samples, expected fewer; reset it";
            return Err(Error::input("run", problem));
        }
        let draw = Draw { seed: self.seed, sample: self.live.samples, population: 0 };
        self.live.samples += 1;
        let mut scratch = Scratch::default();
        let mut fired = vec![Vec::new(); self.plan.nodes.len()];
        let mut first = 0;
        while first < input.steps {
            let steps = self.chunk().min(input.steps - first);
            self.live.begin(&self.plan, values);
            for t in 0..steps {
                go_on()?;
                let len = self.plan.nodes[0].dims.len();
                let row = input.at(sample, first + t, len);
                if let Some(events) = values[0][0].events_mut() {
                    events.push_c_order(row);
                }
                let live = &mut self.live;
                let mut work = Work {
                    plan: &self.plan,
                    layers: &live.layers,
                    competitions: &self.competitions,
                    memories: &mut live.memories,
                    states: &mut live.state.nodes,
                    values,
                    scratch: &mut scratch,
                    draw,
                    clock: live.step,
                    synops: 0,
                    fired: &mut fired,
                };
                self.order.iter().for_each(|&id| work.node(id, t));
                learned.synops += work.synops;
                let reward = options.rewards.at(input, sample, first + t);
                learned.updates += self.learn(values, t, reward)?;
                self.keep(&mut fired, (sample, first + t), options, learned);
            }
            self.live.end(&self.plan, values);
            first += steps;
        }
        for layer in &mut self.live.layers {
            if layer.normalise.is_some_and(|(n, _)| n.every.is_none()) {
                layer.normalise(false);
            }
            layer.check()?;
        }
        Ok(())
    }

    /// Steps of a chunk: fewer where their events could overflow the u32 offsets.
    fn chunk(&self) -> usize {
        let room = |node: &PlanNode| {
            let rows = u32::MAX as usize / node.dims.len().max(1);
            rows.saturating_sub(node.history).clamp(1, CHUNK)
        };
        self.plan.nodes.iter().map(room).min().unwrap_or(1)
    }

    /// What the spikes of a step do to the weights.
    fn learn(&mut self, values: &[Vec<Value>], t: usize, reward: f32) -> Result<u64> {
        let clock = self.live.step;
        let mut updates = 0;
        for plasticity in &mut self.live.plasticities {
            let layer = &mut self.live.layers[plasticity.layer];
            let node = &self.plan.nodes[layer.node];
            let mut arrived = Vec::with_capacity(plasticity.edges.len());
            for one in &plasticity.edges {
                let edge = node.edges[one.edge];
                let value = &values[edge.src][0];
                let Some(events) = value.events() else { continue };
                let row = value.row(t, edge.delay);
                check_spikes(&layer.name, events, row)?;
                arrived.push(Spikes { events, row });
            }
            let target = &values[plasticity.target][0];
            let Some(events) = target.events() else { continue };
            let fired = Spikes { events, row: target.row(t, 0) };
            updates += plasticity.step(layer, &arrived, fired, (clock, reward));
        }
        self.live.step += 1;
        for layer in &mut self.live.layers {
            let every = layer.normalise.and_then(|(n, _)| n.every);
            if every.is_some_and(|n| self.live.step.is_multiple_of(n)) {
                layer.normalise(false);
            }
        }
        Ok(updates)
    }

    /// What is kept of a step.
    fn keep(
        &self,
        fired: &mut [Vec<(i64, i64)>],
        (sample, step): (usize, usize),
        options: &Options<'_>,
        learned: &mut Learned,
    ) {
        for (id, node) in self.plan.nodes.iter().enumerate() {
            let PlanOp::Population(pop) = &node.op else { continue };
            if options.v {
                let raster = learned.v.entry(id).or_default();
                let v = &self.live.state.nodes[id].v;
                dense::append_raster(raster, v, 1, pop.width, node.dims);
            }
            if !pop.fires() {
                continue;
            }
            let spikes = &mut fired[id];
            let counts = learned.spikes.entry(id).or_default();
            counts.resize(sample + 1, 0);
            counts[sample] += spikes.iter().map(|(_, many)| many.unsigned_abs()).sum::<u64>();
            if !options.spikes {
                continue;
            }
            spikes.sort_unstable();
            let columns = learned.columns.entry(id).or_default();
            for &(neuron, count) in spikes.iter() {
                columns.step.push(step as i64);
                columns.sample.push(sample as i64);
                columns.neuron.push(neuron);
                columns.count.push(count);
            }
        }
    }
}

/// A rule knows spikes only: what arrives is 0 or 1.
fn check_spikes(layer: &str, events: &Events, row: usize) -> Result<()> {
    if !events.is_graded() {
        return Ok(());
    }
    for pixel in 0..events.dims().pixels() {
        if let Some(event) = events.pixel(row, pixel).find(|event| event.value != 1.0) {
            let problem = format!(
                "the value {} arrives at its plastic weights, expected spikes: 0 or 1",
                event.value
            );
            return Err(Error::input(layer, problem));
        }
    }
    Ok(())
}

impl Live {
    /// The state before step 0; weights, adapted thresholds and the number of samples stay.
    pub(super) fn reset(&mut self, adaptive: &[NodeId], initial: &SampleState) {
        let old = std::mem::replace(&mut self.state, initial.clone());
        for &id in adaptive {
            self.state.nodes[id].a.clone_from(&old.nodes[id].a);
        }
        self.plasticities.iter_mut().for_each(Plasticity::clear);
        self.memories.iter_mut().for_each(Memory::clear);
        self.step = 0;
    }

    /// Values of a chunk: nothing yet but the past that delayed edges look back to.
    fn begin(&mut self, plan: &Plan, values: &mut Vec<Vec<Value>>) {
        values.clear();
        values.extend(plan.nodes.iter().zip(&mut self.state.nodes).map(|(node, state)| {
            vec![state.past.take().unwrap_or_else(|| Value::new(node.dims, node.dense, 0))]
        }));
    }

    fn end(&mut self, plan: &Plan, values: &mut [Vec<Value>]) {
        for ((node, state), value) in plan.nodes.iter().zip(&mut self.state.nodes).zip(values) {
            if node.history > 0 {
                state.past = Some(value[0].tail(node.history));
            }
        }
    }
}
