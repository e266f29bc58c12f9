//! A network that learns: its plan, its rules, and everything that changes while it runs.

use serde::Deserialize;

use super::layer::{Layer, weight_of};
use super::plastic::Plasticity;
use super::population::Competition;
use super::rule::{Change, Rule};
use super::wta::{Memory, Part};
use crate::graph::neuron::{Order, ResetTiming, Spikes};
use crate::graph::{Graph, NodeId, Op, Tensor};
use crate::kernels::level::Level;
use crate::plan::{Layer as Planned, ParentSpec, Plan, PlanOp, Precision, Stage};
use crate::step::SampleState;
use crate::{Error, Result};

/// A rule on a layer, or on the edge into it from `source`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct OnEdge {
    pub layer: String,
    pub source: Option<String>,
    pub rule: Rule,
}

/// Winner-take-all in a population.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Compete {
    pub population: String,
    pub parts: Vec<Part>,
}

/// Thresholds that rise with each spike of their neuron and outlast the sample.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Adapt {
    pub population: String,
    pub theta_plus: f32,
    /// Decay a step.
    pub alpha: f32,
}

/// What a network learns by.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Spec {
    pub rules: Vec<OnEdge>,
    pub wta: Vec<Compete>,
    pub homeostasis: Vec<Adapt>,
    pub seed: u64,
}

/// Everything that a run changes; a copy of it is a point to come back to.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) layers: Vec<Layer>,
    pub(super) plasticities: Vec<Plasticity>,
    pub(super) state: SampleState,
    /// One for each of [`Learner::competitions`].
    pub(super) memories: Vec<Memory>,
    /// Steps since the state began.
    pub(super) step: u32,
    /// Samples that have begun.
    pub(super) samples: u32,
}

/// A network and the rules by which its weights change.
#[derive(Debug)]
pub struct Learner {
    /// As its author made it.
    pub(super) graph: Graph,
    pub(super) plan: Plan,
    /// Nodes in the order of a step.
    pub(super) order: Vec<NodeId>,
    pub(super) competitions: Vec<Competition>,
    /// Populations whose thresholds outlast the sample.
    pub(super) adaptive: Vec<NodeId>,
    pub(super) seed: u64,
    /// The state before step 0.
    pub(super) initial: SampleState,
    pub(super) live: Live,
}

impl Learner {
    /// `graph` learning by `spec`.
    pub fn new(graph: &Graph, spec: &Spec, level: Level) -> Result<Self> {
        let mut adapted = graph.clone();
        for adapt in &spec.homeostasis {
            adaptive(&mut adapted, adapt)?;
        }
        let plan = Plan::new(&adapted, level, &Precision::F32)?;
        let node_of = |name: &str| plan.nodes.iter().position(|node| node.name == name);
        let order = plan.stages.iter().flat_map(|stage| match stage {
            Stage::Forward(id) => std::slice::from_ref(id).to_vec(),
            Stage::Recurrent(ids) => ids.clone(),
        });
        let order = order.collect();
        let mut competitions: Vec<Competition> = Vec::new();
        for Compete { population, parts } in &spec.wta {
            check_population(&adapted, population, parts)?;
            let Some(id) = node_of(population) else { continue };
            let PlanOp::Population(pop) = &plan.nodes[id].op else { continue };
            let dims = plan.nodes[id].dims;
            let ids = (id, graph.node_id("learn", population)?);
            competitions.push(Competition::new(ids, parts.clone(), pop, dims));
        }
        let adaptive =
            spec.homeostasis.iter().filter_map(|adapt| node_of(&adapt.population)).collect();
        let initial = SampleState::initial(&plan);
        let live = Live {
            layers: Vec::new(),
            plasticities: Vec::new(),
            state: initial.clone(),
            memories: vec![Memory::default(); competitions.len()],
            step: 0,
            samples: 0,
        };
        let (graph, seed) = (graph.clone(), spec.seed);
        let mut learner = Self { graph, plan, order, competitions, adaptive, seed, initial, live };
        for on_edge in &spec.rules {
            learner.add_rule(on_edge)?;
        }
        learner.live.layers.iter_mut().for_each(|layer| layer.normalise(true));
        Ok(learner)
    }

    fn add_rule(&mut self, on_edge: &OnEdge) -> Result<()> {
        let OnEdge { layer: name, source, rule } = on_edge;
        rule.check(name)?;
        let id = self.graph.node_id("learn", name)?;
        let node = &self.graph.nodes()[id];
        let Some((weight, groups)) = weight_of(&node.op) else {
            let what = "a rule on a node without weights";
            return Err(Error::unsupported(name, what, "name a Linear or Conv"));
        };
        check_weights(name, weight, rule)?;
        let edges = self.edges_of(id, source.as_deref())?;
        let missing = || Error::input(name, "the layer is not in the plan, expected it there");
        let planned = self.plan.nodes.iter().position(|n| n.name == *name).ok_or_else(missing)?;
        let PlanOp::Synapse { layer: Planned::Float(packed), .. } = &self.plan.nodes[planned].op
        else {
            let what = "a rule on synapses that have delays of their own";
            return Err(Error::unsupported(name, what, "give the edge into the layer one delay"));
        };
        let target = self.target_of(id)?;
        for &edge in &edges {
            let from = &self.plan.nodes[self.plan.nodes[planned].edges[edge].src];
            if from.dense {
                let what =
                    format!("a rule on what comes from {:?}, which is no spikes,", from.name);
                return Err(Error::unsupported(name, what, "put a population in between"));
            }
        }
        let dims = self.plan.nodes[planned].dims;
        let index = self.live.layers.iter().position(|l| l.node == planned).unwrap_or_else(|| {
            self.live.layers.push(Layer::new((planned, name), packed, (dims.c, groups)));
            self.live.layers.len() - 1
        });
        let taken = |p: &Plasticity| {
            p.layer == index && p.edges.iter().any(|one| edges.contains(&one.edge))
        };
        if self.live.plasticities.iter().any(taken) {
            return Err(Error::input(name, "an edge has two rules, expected one"));
        }
        let layer = &mut self.live.layers[index];
        if let Some(normalise) = rule.normalise {
            if layer.normalise.is_some() {
                return Err(Error::input(name, "two rules normalise the layer, expected one"));
            }
            layer.normalise = Some((normalise, Change::of(rule)));
        }
        let from = self.plan.nodes[self.plan.nodes[planned].edges[0].src].dims;
        let dims = (from, self.plan.nodes[target].dims);
        let plasticity = Plasticity::new(rule, (index, layer), &edges, dims, target);
        self.live.plasticities.push(plasticity);
        Ok(())
    }

    /// Which of the edges into layer `id` a rule acts on.
    fn edges_of(&self, id: NodeId, source: Option<&str>) -> Result<Vec<usize>> {
        let name = &self.graph.nodes()[id].name;
        let edges: Vec<_> = self.graph.incoming(id).collect();
        let Some(source) = source else { return Ok((0..edges.len()).collect()) };
        let src = self.graph.node_id("learn", source)?;
        let found: Vec<usize> = (0..edges.len()).filter(|&k| edges[k].src == src).collect();
        if found.is_empty() {
            let problem = format!("there is no edge from {source:?}, expected one");
            return Err(Error::input(name, problem));
        }
        Ok(found)
    }

    /// The population (in the plan) that the currents of layer `id` (in the graph) reach.
    fn target_of(&self, id: NodeId) -> Result<NodeId> {
        let name = &self.graph.nodes()[id].name;
        let refused = |what: &str| {
            let advice = "let it feed one population, directly and without delay";
            Err(Error::unsupported(name, what, advice))
        };
        let mut out = self.graph.outgoing(id);
        let (Some(edge), None) = (out.next(), out.next()) else {
            return refused("a rule on a layer that does not feed exactly one node");
        };
        let post = &self.graph.nodes()[edge.dst];
        let Op::Neuron(neuron) = &post.op else {
            return refused("a rule on a layer that does not feed a population");
        };
        if edge.delay > 0 {
            return refused("a rule on a layer whose currents are late");
        }
        if self.graph.output() == id {
            let what = "a rule on the layer that is the network's output";
            return Err(Error::unsupported(name, what, "make a population the output"));
        }
        if neuron.rules.spikes != Spikes::Single {
            let what = format!("a rule before {:?}, whose spikes are not single ones,", post.name);
            return Err(Error::unsupported(name, what, "use spikes=\"single\""));
        }
        let node = self.plan.nodes.iter().position(|n| n.name == post.name);
        let missing = || Error::input(name, "its population is not in the plan, expected it");
        let node = node.ok_or_else(missing)?;
        let PlanOp::Population(pop) = &self.plan.nodes[node].op else { return Err(missing()) };
        let fused = |parent: &ParentSpec| match parent {
            ParentSpec::Fused(layer) => self.plan.nodes[*layer].name == *name,
            ParentSpec::Value(_) => false,
        };
        if !pop.parents.iter().any(fused) {
            return refused("a rule on a layer that is not summed by its population");
        }
        Ok(node)
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Names of the layers that learn.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.live.layers.iter().map(|layer| layer.name.as_str())
    }

    /// Samples that have begun so far.
    pub fn samples(&self) -> u32 {
        self.live.samples
    }

    /// The network with the weights that were learned; `thresholds`: adapted thresholds are in it,
    /// one a neuron, as they are now.
    pub fn network(&self, thresholds: bool) -> Graph {
        let mut graph = self.graph.clone();
        for layer in &self.live.layers {
            let node = graph.nodes.iter_mut().find(|node| node.name == layer.name);
            match node.map(|node| &mut node.op) {
                Some(Op::Linear(linear)) => {
                    let shape = linear.weight.shape().to_vec();
                    linear.weight = tensor(shape, layer.export());
                }
                Some(Op::Conv(conv)) => {
                    let shape = conv.weight.shape().to_vec();
                    conv.weight = tensor(shape, layer.export());
                }
                _ => {}
            }
        }
        for &id in self.adaptive.iter().filter(|_| thresholds) {
            let planned = &self.plan.nodes[id];
            let theta = self.thetas(id);
            let node = graph.nodes.iter_mut().find(|node| node.name == planned.name);
            if let Some(Op::Neuron(neuron)) = node.map(|node| &mut node.op) {
                let at = |(k, a): (usize, &f32)| neuron.v_threshold.value_at(k, &planned.shape) + a;
                let all = theta.iter().enumerate().map(at).collect();
                neuron.v_threshold = tensor(planned.shape.clone(), all);
            }
        }
        graph
    }

    /// By how much the thresholds of a population have risen, C order.
    pub(super) fn thetas(&self, id: NodeId) -> Vec<f32> {
        let node = &self.plan.nodes[id];
        let PlanOp::Population(pop) = &node.op else { return Vec::new() };
        let mut out = Vec::new();
        let a = &self.live.state.nodes[id].a;
        crate::kernels::dense::append_raster(&mut out, a, 1, pop.width, node.dims);
        out
    }
}

fn tensor(shape: Vec<usize>, data: Vec<f32>) -> Tensor {
    match Tensor::new(shape, data) {
        Some(tensor) => tensor,
        None => unreachable!("as many values as the shape has"),
    }
}

/// Weights have to lie within the bounds of their rule.
fn check_weights(name: &str, weight: &Tensor, rule: &Rule) -> Result<()> {
    let Change { low, high, .. } = Change::of(rule);
    match weight.data().iter().find(|w| !(**w >= low && **w <= high)) {
        Some(w) => {
            let problem = format!("a weight is {w}, expected {low} to {high} as the rule says");
            Err(Error::input(name, problem))
        }
        None => Ok(()),
    }
}

/// The population gets the adaptation of S3.8.
fn adaptive(graph: &mut Graph, adapt: &Adapt) -> Result<()> {
    let Adapt { population: name, theta_plus, alpha } = adapt;
    let id = graph.node_id("learn", name)?;
    let Op::Neuron(neuron) = &mut graph.nodes[id].op else {
        let what = "an adaptive threshold of a node that is no population";
        return Err(Error::unsupported(name, what, ""));
    };
    let finite = theta_plus.is_finite() && *theta_plus >= 0.0;
    if !finite || !(0.0..=1.0).contains(alpha) {
        let problem = format!("theta_plus is {theta_plus} and its decay {alpha}, expected finite");
        return Err(Error::input(name, problem));
    }
    let rules = &neuron.rules;
    if neuron.theta_plus.is_some()
        || rules.spikes == Spikes::None
        || rules.reset_timing != ResetTiming::SameStep
        || rules.order != Order::A
    {
        let what = "an adaptive threshold on top of theta_plus, late resets, order B or no spikes";
        return Err(Error::unsupported(name, what, "use a neuron without them"));
    }
    neuron.theta_plus = Some(Tensor::scalar(*theta_plus));
    neuron.alpha_theta = Some(Tensor::scalar(*alpha));
    Ok(())
}

/// Whether winner-take-all has a meaning in the population.
fn check_population(graph: &Graph, name: &str, parts: &[Part]) -> Result<()> {
    let id = graph.node_id("learn", name)?;
    let Op::Neuron(neuron) = &graph.nodes()[id].op else {
        let what = "winner-take-all of a node that is no population";
        return Err(Error::unsupported(name, what, ""));
    };
    let rules = &neuron.rules;
    let plain = rules.spikes == Spikes::Single
        && rules.reset_timing == ResetTiming::SameStep
        && rules.order == Order::A;
    if !plain {
        let what = "winner-take-all of neurons with several spikes, late resets or order B";
        return Err(Error::unsupported(name, what, "use single spikes and same-step resets"));
    }
    let laterals = parts.iter().filter(|p| matches!(p, Part::Lateral { .. })).count();
    let bad = parts.iter().any(|part| match part {
        Part::Soft { temperature } => !(temperature.is_finite() && *temperature > 0.0),
        Part::Lateral { strength, duration } => !strength.is_finite() || *duration == 0,
        Part::KWinners { k, .. } => *k == 0,
        _ => false,
    });
    if bad || laterals > 1 {
        let problem = "a part of its winner-take-all has a bad value or is there twice, expected \
                       temperature > 0, k and duration >= 1, finite strengths";
        return Err(Error::input(name, problem));
    }
    Ok(())
}
