//! Everything a simulator carries from step to step, in one place: nothing else outlives a run.

use super::value::Value;
use crate::graph::NodeId;
use crate::kernels::dense;
use crate::kernels::events::Event;
use crate::kernels::gated::Sums;
use crate::kernels::int::WHOLE;
use crate::plan::{Cells, Plan, PlanNode, PlanOp, Population};
use crate::{Error, Result};

/// State of one node for one sample. Arrays are `[block][pixel][lane]`; those the rules do not
/// use are empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeState {
    pub(crate) v: Vec<f32>,
    /// Membranes of a population of integers, in its units.
    pub(crate) units: Vec<i32>,
    pub(crate) i: Vec<f32>,
    pub(crate) n: Vec<f32>,
    pub(crate) a: Vec<f32>,
    pub(crate) r: Vec<f32>,
    /// What a rate-gated pool has summed up.
    pub(crate) sums: Sums,
    /// The past that delayed edges look back to.
    pub(crate) past: Option<Value>,
}

/// State of one sample, by node.
#[derive(Clone, Debug)]
pub(crate) struct SampleState {
    pub(crate) nodes: Vec<NodeState>,
}

/// A named array of a saved state, C order.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct StateArray {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: StateData,
}

/// The values of a [`StateArray`].
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum StateData {
    F32(Vec<f32>),
    I32(Vec<i32>),
}

impl StateData {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::I32(values) => values.len(),
        }
    }

    /// The f32, or nothing.
    fn floats(&self) -> &[f32] {
        match self {
            Self::F32(values) => values,
            Self::I32(_) => &[],
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::F32(_) => "float32",
            Self::I32(_) => "int32",
        }
    }
}

impl SampleState {
    /// The state before step 0.
    pub(crate) fn initial(plan: &Plan) -> Self {
        let nodes = plan
            .nodes
            .iter()
            .map(|node| {
                let mut state = NodeState::default();
                if let PlanOp::Population(pop) = &node.op {
                    start(pop, node, &mut state);
                }
                if let PlanOp::RatePool { windows, gate, from, .. } = &node.op {
                    state.sums = Sums::new(*from, windows, *gate);
                }
                if node.history > 0 {
                    state.past = Some(Value::new(node.dims, node.dense, node.history));
                }
                state
            })
            .collect();
        Self { nodes }
    }
}

/// A population's state before step 0.
fn start(pop: &Population, node: &PlanNode, state: &mut NodeState) {
    let (blocks, pixels) = (node.dims.c.div_ceil(pop.width), node.dims.pixels());
    let zeros = || vec![0.0; blocks * pixels * pop.width];
    let (v0, i0) = match &pop.cells {
        Cells::Integer { v0, .. } => {
            state.units = v0.expand(blocks, pixels, pop.width);
            return;
        }
        Cells::Float { v0, i0, .. } => (v0, i0),
    };
    state.v = v0.expand(blocks, pixels, pop.width);
    if pop.rules.decay_first || pop.rules.decay_after || pop.rules.alpha {
        state.i = i0.expand(blocks, pixels, pop.width);
    }
    if pop.rules.alpha {
        state.n = zeros();
    }
    if pop.rules.adaptive {
        state.a = zeros();
    }
    if pop.rules.refractory {
        state.r = zeros();
    }
}

/// The arrays of a population's state that are in use, with their names.
fn parts(state: &NodeState) -> [(&'static str, &Vec<f32>); 5] {
    let NodeState { v, i, n, a, r, .. } = state;
    [("v", v), ("i", i), ("i_inh", n), ("theta", a), ("refractory", r)]
}

fn parts_mut(state: &mut NodeState) -> [(&'static str, &mut Vec<f32>); 5] {
    let NodeState { v, i, n, a, r, .. } = state;
    [("v", v), ("i", i), ("i_inh", n), ("theta", a), ("refractory", r)]
}

fn full_shape(front: &[usize], node: &PlanNode) -> Vec<usize> {
    front.iter().chain(&node.shape).copied().collect()
}

/// The whole state as named arrays: `<node>.v` and the like (N, …), `<node>.sum` (N, …) of a
/// pool's input, `<node>.history` (D, N, …).
pub(crate) fn export(plan: &Plan, samples: &[SampleState]) -> Vec<StateArray> {
    let mut out = Vec::new();
    for (id, node) in plan.nodes.iter().enumerate() {
        if let PlanOp::Population(pop) = &node.op {
            for (k, (name, first)) in parts(&samples[0].nodes[id]).into_iter().enumerate() {
                if first.is_empty() {
                    continue;
                }
                let mut data = Vec::new();
                for sample in samples {
                    let values = parts(&sample.nodes[id])[k].1;
                    dense::append_raster(&mut data, values, 1, pop.width, node.dims);
                }
                let shape = full_shape(&[samples.len()], node);
                let name = format!("{}.{name}", node.name);
                out.push(StateArray { name, shape, data: StateData::F32(data) });
            }
            if pop.is_integer() {
                let mut data = vec![0; samples.len() * node.dims.len()];
                for (sample, row) in samples.iter().zip(data.chunks_exact_mut(node.dims.len())) {
                    let units = &sample.nodes[id].units;
                    each_neuron(node, pop.width, |at, blocked| row[at] = units[blocked]);
                }
                let shape = full_shape(&[samples.len()], node);
                let name = format!("{}.v", node.name);
                out.push(StateArray { name, shape, data: StateData::I32(data) });
            }
        }
        if let PlanOp::RatePool { from, from_shape, .. } = &node.op {
            let mut data = vec![0.0; samples.len() * from.len()];
            for (sample, row) in samples.iter().zip(data.chunks_exact_mut(from.len())) {
                dense::to_c_order(sample.nodes[id].sums.places(), *from, row);
            }
            let shape = [&[samples.len()], &from_shape[..]].concat();
            let name = format!("{}.sum", node.name);
            out.push(StateArray { name, shape, data: StateData::F32(data) });
        }
        if node.history > 0 {
            out.extend(export_past(node, id, samples));
        }
    }
    out
}

/// The past of a node: its values and, where it is events, how each is counted.
fn export_past(node: &PlanNode, id: NodeId, samples: &[SampleState]) -> Vec<StateArray> {
    let (len, dims) = (node.dims.len(), node.dims);
    let mut arrays = [Vec::new(), Vec::new(), Vec::new()];
    for row in 0..node.history {
        for sample in samples {
            let Some(past) = &sample.nodes[id].past else { continue };
            let mut rows = [past.copy_row(row), Vec::new(), Vec::new()];
            if let Some(events) = past.events() {
                rows[1] = vec![0.0; len];
                rows[2] = vec![0.0; len];
                for p in 0..dims.pixels() {
                    for e in events.pixel(row, p) {
                        rows[1][p * dims.c + e.c] = e.mult[0] as f32;
                        rows[2][p * dims.c + e.c] = e.mult[1] as f32;
                    }
                }
            }
            for (array, row) in arrays.iter_mut().zip(&rows).filter(|(_, row)| !row.is_empty()) {
                let at = array.len();
                array.resize(at + len, 0.0);
                dense::to_c_order(row, dims, &mut array[at..]);
            }
        }
    }
    let names = ["history", "history_spikes", "history_analog"];
    let shape = full_shape(&[node.history, samples.len()], node);
    names
        .iter()
        .zip(arrays)
        .filter(|(_, data)| !data.is_empty())
        .map(|(name, data)| StateArray {
            name: format!("{}.{name}", node.name),
            shape: shape.clone(),
            data: StateData::F32(data),
        })
        .collect()
}

/// The axis of samples: histories have one of steps before it. Node names may have dots of their
/// own; the part's name stands behind the last one.
fn sample_axis(array: &StateArray) -> usize {
    let part = array.name.rsplit('.').next().unwrap_or_default();
    usize::from(part.starts_with("history"))
}

/// The states that `arrays` describe; all names and shapes must be this plan's.
pub(crate) fn import(plan: &Plan, arrays: &[StateArray]) -> Result<Vec<SampleState>> {
    const PLACE: &str = "state_dict";
    let template = SampleState::initial(plan);
    let expected = export(plan, std::slice::from_ref(&template));
    // The number of samples is told by the first array; everything is checked before memory is
    // taken for it.
    let samples = expected.first().and_then(|want| {
        let found = arrays.iter().find(|a| a.name == want.name)?;
        found.shape.get(sample_axis(want)).copied()
    });
    for want in &expected {
        if !arrays.iter().any(|a| a.name == want.name) {
            let problem =
                format!("\"{}\" is missing, expected every array of state_dict()", want.name);
            return Err(Error::input(PLACE, problem));
        }
    }
    let samples = samples.unwrap_or(0);
    for array in arrays {
        let Some(want) = expected.iter().find(|w| w.name == array.name) else {
            let problem = format!("\"{}\" is no state of this network", array.name);
            return Err(Error::input(PLACE, problem));
        };
        let mut shape = want.shape.clone();
        shape[sample_axis(want)] = samples.max(1);
        if array.shape != shape || array.data.len() != shape.iter().product::<usize>() {
            return Err(Error::shape(PLACE, &array.name, &array.shape, format!("{shape:?}")));
        }
        if array.data.type_name() != want.data.type_name() {
            let problem = format!(
                "\"{}\" is {}, expected {}; states are of one precision",
                array.name,
                array.data.type_name(),
                want.data.type_name()
            );
            return Err(Error::input(PLACE, problem));
        }
        if array.data.floats().iter().any(|x| !x.is_finite()) {
            let problem =
                format!("\"{}\" holds NaN or infinity, expected finite values", array.name);
            return Err(Error::input(PLACE, problem));
        }
    }
    // A network without state: whatever number of samples comes next is right.
    let mut states = vec![template; samples];
    for (id, node) in plan.nodes.iter().enumerate() {
        let find = |name: &str| {
            let full = format!("{}.{name}", node.name);
            arrays.iter().find(|a| a.name == full)
        };
        if let PlanOp::Population(pop) = &node.op {
            for (s, state) in states.iter_mut().enumerate() {
                for (name, values) in parts_mut(&mut state.nodes[id]) {
                    let Some(array) = find(name).filter(|_| !values.is_empty()) else { continue };
                    let row = &array.data.floats()[s * node.dims.len()..][..node.dims.len()];
                    each_neuron(node, pop.width, |at, blocked| values[blocked] = row[at]);
                }
                if let (true, Some(StateData::I32(data))) =
                    (pop.is_integer(), find("v").map(|array| &array.data))
                {
                    let row = &data[s * node.dims.len()..][..node.dims.len()];
                    let units = &mut state.nodes[id].units;
                    let most = WHOLE;
                    each_neuron(node, pop.width, |at, blocked| {
                        units[blocked] = row[at].clamp(-most, most);
                    });
                }
            }
        }
        if let (PlanOp::RatePool { windows, gate, from, .. }, Some(array)) = (&node.op, find("sum"))
        {
            for (state, row) in states.iter_mut().zip(array.data.floats().chunks_exact(from.len()))
            {
                let mut places = vec![0.0; from.len()];
                dense::from_c_order(row, *from, &mut places);
                state.nodes[id].sums = Sums::restored(places, *from, windows, *gate);
            }
        }
        if node.history > 0 {
            import_past(node, id, find, &mut states);
        }
    }
    Ok(states)
}

/// Visit every neuron: its place in C order, and in `[block][pixel][lane]`.
fn each_neuron(node: &PlanNode, width: usize, mut visit: impl FnMut(usize, usize)) {
    let pixels = node.dims.pixels();
    for c in 0..node.dims.c {
        for p in 0..pixels {
            visit(c * pixels + p, (c / width * pixels + p) * width + c % width);
        }
    }
}

fn import_past<'a>(
    node: &PlanNode,
    id: NodeId,
    find: impl Fn(&str) -> Option<&'a StateArray>,
    states: &mut [SampleState],
) {
    let (dims, len) = (node.dims, node.dims.len());
    let arrays = ["history", "history_spikes", "history_analog"].map(find);
    let samples = states.len();
    for (s, state) in states.iter_mut().enumerate() {
        let mut past = Value::new(dims, node.dense, 0);
        for row in 0..node.history {
            let [values, spikes, analog] = arrays.map(|array| {
                let mut out = vec![0.0; len];
                if let Some(array) = array {
                    let at = (row * samples + s) * len;
                    dense::from_c_order(&array.data.floats()[at..at + len], dims, &mut out);
                }
                out
            });
            match past.events_mut() {
                None => past.push_dense(&values),
                Some(events) => {
                    events.promote();
                    for p in 0..dims.pixels() {
                        for c in 0..dims.c {
                            let at = p * dims.c + c;
                            let mult = [spikes[at] as u64, analog[at] as u64];
                            if mult != [0, 0] {
                                let event = Event { c, value: values[at], mult };
                                events.push(p % dims.w, event);
                            }
                        }
                        events.end_pixel();
                    }
                }
            }
        }
        state.nodes[id].past = Some(past.tail(node.history));
    }
}
