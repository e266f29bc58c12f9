//! A plan and one state: what a user runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::Control;
use super::counts::{Counts, Tally};
use super::group::{Group, GroupResult, SampleRecords, Shared};
use super::record::{SpikeColumns, SpikeRecord, gather_raster};
use super::request::Options;
use super::stream::{StepInput, StepOutput, Stream, StreamOptions};
use crate::graph::NodeId;
use crate::kernels::fanout::Cost;
use crate::kernels::gated::Sums;
use crate::plan::{Plan, PlanNode, PlanOp, Precision};
use crate::step::{Input, SampleState, StateArray, state};
use crate::{Error, Result};

/// Samples that one thread takes through the network together, so that a block of weights is
/// read once for all of them.
const GROUP: usize = 16;

/// What a run gives.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// (N, …): the readout.
    pub values: Vec<f32>,
    /// Spikes of the recorded populations.
    pub spikes: BTreeMap<NodeId, SpikeColumns>,
    /// Membranes (T, N, …) of the recorded populations.
    pub v: BTreeMap<NodeId, Vec<f32>>,
    /// Summed inputs (T, N, …) of the recorded populations.
    pub current: BTreeMap<NodeId, Vec<f32>>,
    /// Exact counts.
    pub counts: Counts,
}

/// A plan and the state of some samples.
#[derive(Debug)]
pub struct Simulator {
    plan: Arc<Plan>,
    states: Vec<SampleState>,
    /// The stream under way; `states` is what it left where it was last touched.
    stream: Option<Stream>,
}

impl Simulator {
    /// A simulator at rest.
    pub fn new(plan: Arc<Plan>) -> Self {
        Self { plan, states: Vec::new(), stream: None }
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Run on the threads of the current rayon pool. After an error the state is what it was
    /// before a run that resumed, the initial one after any other.
    pub fn run(
        &mut self,
        input: &Input<'_>,
        options: &Options,
        control: &Control,
    ) -> Result<Output> {
        self.check(input, options)?;
        self.end_stream();
        let before = options.resume.then(|| self.states.clone());
        if !options.resume || self.states.is_empty() {
            self.states = vec![SampleState::initial(&self.plan); input.samples];
        }
        let result = self.groups(input, options, control);
        if result.is_err() {
            self.states = before.unwrap_or_default();
        }
        let results = result?;
        Ok(self.gather(results, input, options))
    }

    fn check(&self, input: &Input<'_>, options: &Options) -> Result<()> {
        let len: usize = self.plan.input_shape().iter().product();
        let rows = if input.constant { input.samples } else { input.samples * input.steps };
        if input.steps == 0 {
            return Err(Error::input("run", "n_steps is 0, expected at least 1"));
        }
        if input.samples == 0 {
            return Err(Error::input("run", "x has no samples, expected at least 1"));
        }
        if input.data.len() != rows * len {
            let expected = format!("{rows} samples of {:?}", self.plan.input_shape());
            return Err(Error::shape("run", "x", &[input.data.len()], expected));
        }
        if options.batch_size == Some(0) {
            return Err(Error::input("run", "batch_size is 0, expected at least 1"));
        }
        self.check_memory(input, options)?;
        let held = self.states.len();
        if options.resume && held != 0 && held != input.samples {
            let expected = format!("{held} samples as the state has; run with reset=True");
            return Err(Error::shape("run", "x", &[input.samples], expected));
        }
        Ok(())
    }

    /// A run that can't have its memory is refused before it begins: what would fail later ends
    /// the process.
    fn check_memory(&self, input: &Input<'_>, options: &Options) -> Result<()> {
        let each_step = |(id, node): (usize, &PlanNode)| {
            let len = node.dims.len();
            let record = options.record.get(&id).copied().unwrap_or_default();
            let rasters = 2 * (usize::from(record.v) + usize::from(record.current));
            size_of::<Cost>() + size_of::<u64>() + rasters * len * size_of::<f32>()
        };
        let nodes = || self.plan.nodes.iter().enumerate();
        let rows: usize = nodes().map(each_step).fold(0, usize::saturating_add);
        // Membranes, sums of pools, and of the past what is there without any event: values, or offsets of lists.
        let held = |node: &PlanNode| {
            let own = match &node.op {
                PlanOp::Population(_) => node.dims.len(),
                PlanOp::RatePool { gate, from, .. } => Sums::size(*from, node.dims, *gate),
                _ => 0,
            };
            let past = if node.dense { node.dims.len() } else { node.dims.pixels() };
            let values = own.saturating_add(node.history.saturating_mul(past));
            values.saturating_mul(size_of::<f32>())
        };
        let state = nodes().map(|(_, node)| held(node)).fold(0, usize::saturating_add);
        let sample = rows.saturating_mul(input.steps).saturating_add(state);
        let bytes = sample.saturating_mul(input.samples);
        Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| {
            let gib = bytes as f64 / (1u64 << 30) as f64;
            let problem = format!(
                "{} steps of {} samples need {gib:.0} GiB, expected what this machine has; run \
                 fewer at once (reset=False goes on) or record less",
                input.steps, input.samples
            );
            Error::input("run", problem)
        })
    }

    fn groups(
        &mut self,
        input: &Input<'_>,
        options: &Options,
        control: &Control,
    ) -> Result<Vec<GroupResult>> {
        let threads = rayon::current_num_threads();
        let batch = options.batch_size.unwrap_or(input.samples).min(input.samples);
        let rounds = batch.div_ceil(threads * GROUP);
        let size = batch.div_ceil(rounds * threads).max(1);
        let shared = Shared {
            plan: &self.plan,
            input,
            options,
            control,
            parallel_blocks: batch.div_ceil(size) < threads,
        };
        let mut results = Vec::new();
        for (k, states) in self.states.chunks_mut(batch).enumerate() {
            let part: Result<Vec<GroupResult>> = states
                .par_chunks_mut(size)
                .enumerate()
                .map(|(j, states)| Group::new(shared, k * batch + j * size, states).run())
                .collect();
            results.extend(part?);
        }
        Ok(results)
    }

    fn gather(&self, results: Vec<GroupResult>, input: &Input<'_>, options: &Options) -> Output {
        let steps = input.steps;
        let mut out = Output::default();
        let mut tallies: Vec<Vec<Tally>> = Vec::with_capacity(input.samples);
        let mut records: Vec<SampleRecords> = Vec::with_capacity(input.samples);
        for result in results {
            tallies.extend(result.tallies);
            records.extend(result.records);
            result.outputs.iter().for_each(|values| out.values.extend_from_slice(values));
        }
        let counted = self.plan.nodes.iter().enumerate().filter_map(|(id, node)| match &node.op {
            PlanOp::Synapse { .. }
            | PlanOp::Delayed { .. }
            | PlanOp::Affine { shift: None, .. } => Some((id, None)),
            PlanOp::Population(_) => Some((id, Some(node.dims.len() as u64))),
            _ => None,
        });
        out.counts = Counts::gather(&tallies, steps, counted);
        for (&id, wanted) in &options.record {
            let len = self.plan.nodes[id].dims.len();
            let fires = matches!(&self.plan.nodes[id].op, PlanOp::Population(p) if p.fires());
            if wanted.spikes && fires {
                let columns: Vec<SpikeRecord> = records
                    .iter_mut()
                    .map(|r| r.spikes.remove(&id).unwrap_or_else(|| SpikeRecord::silent(steps)))
                    .collect();
                out.spikes.insert(id, SpikeColumns::gather(&columns, steps));
            }
            let mut rasters = |of: fn(&mut SampleRecords) -> &mut BTreeMap<NodeId, Vec<f32>>| {
                let rows: Vec<Vec<f32>> =
                    records.iter_mut().map(|r| of(r).remove(&id).unwrap_or_default()).collect();
                gather_raster(&rows, steps, len)
            };
            if wanted.v {
                out.v.insert(id, rasters(|r| &mut r.v));
            }
            if wanted.current {
                out.current.insert(id, rasters(|r| &mut r.current));
            }
        }
        out
    }

    /// Begin a stream of one sample, from the initial state or (`resume`) from the last one.
    /// Whatever else changes the state ends it.
    pub fn begin_stream(&mut self, options: StreamOptions, resume: bool) -> Result<()> {
        if options.window == Some(0) {
            return Err(Error::input("stream", "window is 0, expected at least 1 step"));
        }
        if *self.plan.precision() != Precision::F32 {
            let what = format!("precision \"{}\"", self.plan.precision().name());
            return Err(Error::unsupported(
                "stream",
                what,
                "compile() without precision, or run()",
            ));
        }
        self.end_stream();
        if !resume || self.states.is_empty() {
            self.states = vec![SampleState::initial(&self.plan)];
        }
        let [state] = &self.states[..] else {
            let expected = "1 sample as a stream has; start it with reset=True";
            return Err(Error::shape("stream", "state", &[self.states.len()], expected));
        };
        self.stream = Some(Stream::new(&self.plan, state, options));
        Ok(())
    }

    /// The next step of the stream. A step that can't be read leaves the stream as it was.
    pub fn stream_step(&mut self, input: &StepInput<'_>) -> Result<StepOutput> {
        let Some(stream) = &mut self.stream else {
            let problem = "the stream has ended, expected no run, reset or load_state_dict since \
                           it began; start another one";
            return Err(Error::input("stream", problem));
        };
        stream.step(&self.plan, &mut self.states, input)
    }

    /// How each node of the stream under way is stepped.
    pub fn stream_report(&self) -> Vec<(String, &'static str)> {
        self.stream.as_ref().map(|stream| stream.report(&self.plan)).unwrap_or_default()
    }

    /// Leave the state as the stream's last step left it, and the stream.
    pub fn end_stream(&mut self) {
        self.settle();
        self.stream = None;
    }

    /// Bring the state to where the stream is.
    fn settle(&mut self) {
        if let (Some(stream), Some(state)) = (&mut self.stream, self.states.first_mut()) {
            stream.settle(&self.plan, state);
        }
    }

    /// Restore the initial state.
    pub fn reset(&mut self) {
        self.stream = None;
        self.states.clear();
    }

    /// The whole state as named arrays; one sample's initial state before the first run.
    pub fn state(&mut self) -> Vec<StateArray> {
        self.settle();
        if self.states.is_empty() {
            state::export(&self.plan, &[SampleState::initial(&self.plan)])
        } else {
            state::export(&self.plan, &self.states)
        }
    }

    /// Go on from a saved state.
    pub fn load_state(&mut self, arrays: &[StateArray]) -> Result<()> {
        self.states = state::import(&self.plan, arrays)?;
        self.stream = None;
        Ok(())
    }
}
