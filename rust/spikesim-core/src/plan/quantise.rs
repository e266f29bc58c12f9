//! What a unit is for each layer and population of precision i8 (S14).

use std::collections::BTreeMap;

use crate::graph::neuron::{Spikes, Synapse};
use crate::graph::node::{Conv, Linear};
use crate::graph::{Graph, Neuron, Node, NodeId, Op, Tensor};
use crate::kernels::int::{ONE, PART, WEIGHT};
use crate::{Error, Result};

/// Largest fraction of a weight's unit, as a power of two.
pub(crate) const FRACTION: u32 = 8;

/// Sums of weights stay below this, so that they are exact in f32 as well.
pub(crate) const EXACT: i64 = 1 << 24;

/// A channel's other numbers have at most this magnitude in units of its weights.
const SPAN: f64 = (1 << 20) as f64;

/// What does not come through weights is told up to this multiple of the other numbers.
const ROOM: f64 = 16.0;

/// No unit is smaller: what lies below could not be told from nothing.
const LEAST: f64 = 1e-30;

/// Largest magnitudes that weights keep, one an output channel, by layer: what lies above is cut
/// off. Layers that are not there keep all.
pub type Clips = BTreeMap<String, Vec<f32>>;

/// The units of every node that has any.
#[derive(Debug, Default)]
pub(crate) struct Units {
    pub(crate) layers: BTreeMap<NodeId, LayerUnits>,
    pub(crate) populations: BTreeMap<NodeId, PopulationUnits>,
}

/// A Linear or Conv.
#[derive(Debug)]
pub(crate) struct LayerUnits {
    /// What a weight of 1 is, one value an output channel.
    pub(crate) scale: Vec<f32>,
    /// Units of the sums are `2^-fraction` of it.
    pub(crate) fraction: u32,
    /// Largest sum of magnitudes of weights into one output.
    pub(crate) bound: i64,
}

impl LayerUnits {
    /// A weight of output channel `o` as an integer.
    pub(crate) fn weight(&self, o: usize, w: f32) -> i8 {
        quantise(w, self.scale[o])
    }
}

/// A population.
#[derive(Debug)]
pub(crate) struct PopulationUnits {
    /// What a unit of the summed input is, one value a channel.
    pub(crate) x: Vec<f32>,
    /// What a unit of the membrane is.
    pub(crate) v: Vec<f32>,
    pub(crate) fraction: u32,
    /// What the fused layers add in every step, in units, or nothing.
    pub(crate) bias: Option<Vec<i32>>,
}

/// A parameter of a membrane whose unit is `unit`.
pub(crate) fn units(value: f32, unit: f32) -> i32 {
    let most = f64::from(PART);
    (f64::from(value) / f64::from(unit)).clamp(-most, most).round_ties_even() as i32
}

/// A decay as a multiple of 2⁻³⁰.
pub(crate) fn decay(alpha: f32) -> i32 {
    (f64::from(alpha) * f64::from(ONE)).round_ties_even() as i32
}

fn quantise(w: f32, scale: f32) -> i8 {
    // Added to a number below 2⁵¹, it leaves no room for a fraction: the sum is rounded to the
    // nearest integer, ties to even. A call of `rint` takes five times as long, for every weight.
    const ROUND: f64 = 1.5 * (1u64 << 52) as f64;
    let most = f64::from(WEIGHT);
    let units = (f64::from(w) / f64::from(scale)).clamp(-most, most);
    ((units + ROUND) - ROUND) as i8
}

/// A layer's weights by output channel.
struct Rows<'a> {
    weight: &'a Tensor,
    bias: Option<&'a Tensor>,
    edges: usize,
    clip: Option<&'a [f32]>,
}

impl<'a> Rows<'a> {
    fn of(graph: &'a Graph, id: NodeId, clips: &'a Clips) -> Result<Option<Self>> {
        let node = &graph.nodes()[id];
        let (weight, bias) = match &node.op {
            Op::Linear(Linear { weight, bias, .. }) | Op::Conv(Conv { weight, bias, .. }) => {
                (weight, bias.as_ref())
            }
            _ => return Ok(None),
        };
        let clip = clips.get(&node.name).map(Vec::as_slice);
        let outputs = weight.shape()[0];
        if let Some(clip) = clip
            && (clip.len() != outputs || clip.iter().any(|c| !c.is_finite() || *c <= 0.0))
        {
            let problem = format!("clip of {}, expected {outputs} positive numbers", clip.len());
            return Err(Error::input(&node.name, problem));
        }
        Ok(Some(Self { weight, bias, edges: graph.incoming(id).count(), clip }))
    }

    fn outputs(&self) -> usize {
        self.weight.shape()[0]
    }

    fn row(&self, o: usize) -> &[f32] {
        let len = self.weight.data().len() / self.outputs().max(1);
        &self.weight.data()[o * len..(o + 1) * len]
    }

    /// Largest magnitude of output `o` that counts.
    fn largest(&self, o: usize) -> f64 {
        let largest = self.row(o).iter().fold(0.0f32, |m, w| m.max(w.abs()));
        f64::from(self.clip.map_or(largest, |clip| largest.min(clip[o])))
    }

    /// Sum of magnitudes of output `o`, in its units.
    fn bound(&self, o: usize, scale: f32) -> i64 {
        let sum = self.row(o).iter().map(|&w| i64::from(quantise(w, scale)).abs()).sum::<i64>();
        sum * self.edges as i64
    }
}

/// The unit of weights of which the largest is `largest`, where others of magnitude `span` have
/// to be told in it as well.
fn unit(largest: f64, span: f64) -> f32 {
    let unit = (largest / f64::from(WEIGHT)).max(span / SPAN);
    let unit = if unit == 0.0 { 1.0 / f64::from(WEIGHT) } else { unit };
    unit.max(LEAST) as f32
}

/// The units of a folded graph.
pub(crate) fn quantised(
    graph: &Graph,
    clips: &Clips,
    fused: impl Fn(NodeId) -> bool,
) -> Result<Units> {
    let mut found = Units::default();
    for name in clips.keys() {
        let layer = graph.find(name).map(|id| &graph.nodes()[id].op);
        if !matches!(layer, Some(Op::Linear(_) | Op::Conv(_))) {
            return Err(Error::input(name, "clip of something else than a Linear or Conv"));
        }
    }
    graph.nodes().iter().try_for_each(supported)?;
    for (id, node) in graph.nodes().iter().enumerate() {
        if let Op::Neuron(neuron) = &node.op {
            population(graph, id, neuron, clips, &fused, &mut found)?;
        }
    }
    for id in 0..graph.nodes().len() {
        if found.layers.contains_key(&id) {
            continue;
        }
        if let Some(rows) = Rows::of(graph, id, clips)? {
            let scale: Vec<f32> = (0..rows.outputs()).map(|o| unit(rows.largest(o), 0.0)).collect();
            let bound = bound(&graph.nodes()[id], &rows, &scale)?;
            found.layers.insert(id, LayerUnits { scale, fraction: FRACTION, bound });
        }
    }
    Ok(found)
}

fn bound(node: &Node, rows: &Rows<'_>, scale: &[f32]) -> Result<i64> {
    let bound = (0..rows.outputs()).map(|o| rows.bound(o, scale[o])).max().unwrap_or(0);
    if bound >= EXACT {
        return Err(unsupported(node, &format!("a sum of weights up to {bound} units")));
    }
    Ok(bound)
}

fn population(
    graph: &Graph,
    id: NodeId,
    neuron: &Neuron,
    clips: &Clips,
    fused: &impl Fn(NodeId) -> bool,
    found: &mut Units,
) -> Result<()> {
    let node = &graph.nodes()[id];
    let channels = node.shape[0];
    let pixels: usize = node.shape[1..].iter().product();
    let mut layers = Vec::new();
    let mut direct = false;
    for edge in graph.incoming(id) {
        match Rows::of(graph, edge.src, clips)? {
            Some(rows) if fused(edge.src) => layers.push((edge.src, rows)),
            _ => direct = true,
        }
    }
    let gain = |c: usize| neuron.gain.value_at(c * pixels, &node.shape);
    let biases = |c: usize| {
        let each = layers.iter().filter_map(|(_, rows)| rows.bias);
        each.map(|b| f64::from(b.data()[c])).sum::<f64>()
    };
    let scale: Vec<f32> = (0..channels)
        .map(|c| {
            let largest = layers.iter().map(|(_, rows)| rows.largest(c)).fold(0.0, f64::max);
            let own = parameters(neuron).map(|p| {
                let values = (0..pixels).map(|p_| p.value_at(c * pixels + p_, &node.shape));
                f64::from(values.fold(0.0f32, |m, x| m.max(x.abs()))) / f64::from(gain(c))
            });
            let span = own.fold(biases(c).abs(), f64::max);
            unit(largest, if direct { ROOM * span.max(1.0) } else { span })
        })
        .collect();
    let mut total = 0;
    let mut bounds = Vec::new();
    for (layer, rows) in &layers {
        let bound = bound(&graph.nodes()[*layer], rows, &scale)?;
        total = total.max(bound);
        bounds.push((*layer, bound));
    }
    let fits = |f: &u32| total << f <= i64::from(PART);
    let fraction = (0..=FRACTION).rev().find(fits).unwrap_or(0);
    let part = 1.0 / (1u32 << fraction) as f32;
    let x: Vec<f32> = scale.iter().map(|s| s * part).collect();
    let v = scale.iter().enumerate().map(|(c, s)| s * gain(c) * part).collect();
    let most = f64::from(PART);
    let bias = layers.iter().any(|(_, rows)| rows.bias.is_some()).then(|| {
        let of = |c: usize| (biases(c) / f64::from(x[c])).clamp(-most, most).round_ties_even();
        (0..channels).map(|c| of(c) as i32).collect()
    });
    for (layer, bound) in bounds {
        let units = LayerUnits { scale: scale.clone(), fraction, bound };
        found.layers.insert(layer, units);
    }
    found.populations.insert(id, PopulationUnits { x, v, fraction, bias });
    Ok(())
}

/// The parameters that are levels of a membrane and matter.
fn parameters(neuron: &Neuron) -> impl Iterator<Item = &Tensor> {
    let fires = neuron.rules.spikes != Spikes::None;
    let firing =
        [Some(&neuron.v_threshold), Some(&neuron.v_reset), neuron.v_threshold_neg.as_ref()];
    let always = [Some(&neuron.v_leak), Some(&neuron.v0), neuron.v_min.as_ref()];
    firing.into_iter().filter(move |_| fires).chain(always).flatten()
}

fn unsupported(node: &Node, what: &str) -> Error {
    let what = format!("{what} with precision \"i8\"");
    Error::unsupported(&node.name, what, "use precision \"f32\"")
}

/// Refuse what integers have no rule for.
fn supported(node: &Node) -> Result<()> {
    let neuron = match &node.op {
        Op::Linear(Linear { delay: Some(_), .. }) | Op::Conv(Conv { delay: Some(_), .. }) => {
            return Err(unsupported(node, "delays of synapses"));
        }
        Op::Neuron(neuron) => neuron,
        _ => return Ok(()),
    };
    let rules = &neuron.rules;
    let within = |t: &Tensor| t.data().iter().all(|a| (0.0..=1.0).contains(a));
    let by_channel = |t: &Tensor| t.shape().len() <= 1 || node.shape.len() <= 1;
    let refused = [
        (rules.spikes == Spikes::Multi, "spikes=\"multi\""),
        (rules.synapse != Synapse::None, "a synaptic current"),
        (neuron.theta_plus.is_some(), "an adaptive threshold"),
        (rules.refractory > 0, "a refractory period"),
        (!within(&neuron.alpha_mem), "alpha_mem outside 0…1"),
        (neuron.gain.data().iter().any(|&g| g <= 0.0), "a gain of 0 or less"),
        (!by_channel(&neuron.gain), "a gain for each neuron"),
    ];
    match refused.iter().find(|(found, _)| *found) {
        Some((_, what)) => Err(unsupported(node, what)),
        None => Ok(()),
    }
}
