//! One rule on some edges of a layer: what the spikes of a step do to its weights (S11.2).

use super::layer::Layer;
use super::rule::{Change, Reward, Rule, Term};
use super::trace::{Decay, Trace};
use crate::graph::NodeId;
use crate::kernels::block::Geometry;
use crate::kernels::events::Events;
use crate::kernels::window::Dims;

/// The spikes of one step: lists and the row they have there.
#[derive(Clone, Copy)]
pub(super) struct Spikes<'a> {
    pub(super) events: &'a Events,
    pub(super) row: usize,
}

impl Spikes<'_> {
    /// (pixel, channel) in the order of rows, columns and channels.
    fn each(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let pixels = self.events.dims().pixels();
        (0..pixels).flat_map(|p| self.events.pixel(self.row, p).map(move |e| (p, e.c)))
    }

    fn any(&self) -> bool {
        !self.events.range(self.row).is_empty()
    }
}

/// Changes that wait for a reward; as traces they decay when they are touched.
#[derive(Clone, Debug)]
pub(super) struct Eligibility {
    decay: Decay,
    gain: f32,
    rate: f32,
    /// Like the weights.
    pub(super) value: Vec<f32>,
    pub(super) last: Vec<u32>,
    /// Weights (and their outputs) that may be eligible.
    active: Vec<(u32, u32)>,
    /// Like the weights: whether it is among them.
    listed: Vec<bool>,
}

impl Eligibility {
    fn new(reward: &Reward, len: usize) -> Self {
        Self {
            decay: Decay::new(reward.tau),
            gain: reward.gain,
            rate: reward.rate,
            value: vec![0.0; len],
            last: vec![0; len],
            active: Vec::new(),
            listed: vec![false; len],
        }
    }

    fn at(&self, at: usize, t: u32) -> f32 {
        if self.value[at] == 0.0 {
            0.0
        } else {
            self.value[at] * self.decay.over(t - self.last[at])
        }
    }

    fn add(&mut self, at: usize, o: usize, delta: f32, t: u32) {
        let old = self.at(at, t);
        if !std::mem::replace(&mut self.listed[at], true) {
            self.active.push((at as u32, o as u32));
        }
        self.value[at] = old + self.gain * delta;
        self.last[at] = t;
    }

    /// The reward `r` of step `t` carries what is eligible into the weights.
    fn pay(&mut self, r: f32, layer: &mut Layer, change: &Change, t: u32) -> u64 {
        let factor = self.rate * r;
        let mut active = std::mem::take(&mut self.active);
        active.retain(|&(at, o)| {
            let eligible = self.at(at as usize, t);
            if eligible == 0.0 {
                (self.value[at as usize], self.listed[at as usize]) = (0.0, false);
                return false;
            }
            layer.add(at as usize, o as usize, factor * eligible, change);
            true
        });
        self.active = active;
        self.active.len() as u64
    }

    fn clear(&mut self) {
        for (at, _) in self.active.drain(..) {
            (self.value[at as usize], self.listed[at as usize]) = (0.0, false);
        }
    }

    /// Takes what a saved state holds of the weight at `at`, of output `o`.
    pub(super) fn restore(&mut self, (at, o): (usize, usize), value: f32, last: u32) {
        (self.value[at], self.last[at]) = (value, last);
        if value != 0.0 && !std::mem::replace(&mut self.listed[at], true) {
            self.active.push((at as u32, o as u32));
        }
    }
}

/// What one edge remembers.
#[derive(Clone, Debug)]
pub(super) struct PlasticEdge {
    /// Index among the layer's edges.
    pub(super) edge: usize,
    pub(super) pre: Trace,
    pub(super) pre_slow: Option<Trace>,
    pub(super) eligible: Option<Eligibility>,
}

/// A rule at work.
#[derive(Clone, Debug)]
pub(super) struct Plasticity {
    /// Index among the plastic layers.
    pub(super) layer: usize,
    /// The population it feeds.
    pub(super) target: NodeId,
    pub(super) edges: Vec<PlasticEdge>,
    pub(super) post: Trace,
    pub(super) post_slow: Option<Trace>,
    on_pre: Term,
    on_post: Term,
    pub(super) change: Change,
}

impl Plasticity {
    pub(super) fn new(
        rule: &Rule,
        (index, layer): (usize, &Layer),
        edges: &[usize],
        (from, to): (Dims, Dims),
        target: NodeId,
    ) -> Self {
        let weights = layer.packed.weights().len();
        let edge = |&edge: &usize| PlasticEdge {
            edge,
            pre: Trace::new(&rule.pre, from),
            pre_slow: rule.pre_slow.as_ref().map(|spec| Trace::new(spec, from)),
            eligible: rule.reward.as_ref().map(|reward| Eligibility::new(reward, weights)),
        };
        Self {
            layer: index,
            target,
            edges: edges.iter().map(edge).collect(),
            post: Trace::new(&rule.post, to),
            post_slow: rule.post_slow.as_ref().map(|spec| Trace::new(spec, to)),
            on_pre: rule.on_pre,
            on_post: rule.on_post,
            change: Change::of(rule),
        }
    }

    /// The spikes of step `t`: `arrived[k]` along edge `k`, `fired` by the population. Returns how
    /// often a weight or an eligibility was changed.
    pub(super) fn step(
        &mut self,
        layer: &mut Layer,
        arrived: &[Spikes<'_>],
        fired: Spikes<'_>,
        (t, reward): (u32, f32),
    ) -> u64 {
        let mut updates = 0;
        for (edge, spikes) in self.edges.iter_mut().zip(arrived) {
            if self.on_pre.acts() {
                let sides = (&self.post, &self.on_pre, &self.change);
                updates += on_pre(layer, edge, *spikes, sides, t);
            }
            for (pixel, c) in spikes.each() {
                edge.pre.spike(pixel, c, t);
                if let Some(slow) = &mut edge.pre_slow {
                    slow.spike(pixel, c, t);
                }
            }
        }
        if fired.any() {
            for edge in self.edges.iter_mut().filter(|_| self.on_post.acts()) {
                let sides = (self.post_slow.as_ref(), &self.on_post, &self.change);
                updates += on_post(layer, edge, fired, sides, t);
            }
            for (pixel, o) in fired.each() {
                self.post.spike(pixel, o, t);
                if let Some(slow) = &mut self.post_slow {
                    slow.spike(pixel, o, t);
                }
            }
        }
        if reward != 0.0 {
            for eligible in self.edges.iter_mut().filter_map(|edge| edge.eligible.as_mut()) {
                updates += eligible.pay(reward, layer, &self.change, t);
            }
        }
        updates
    }

    /// Nothing is remembered.
    pub(super) fn clear(&mut self) {
        self.post.clear();
        self.post_slow.iter_mut().for_each(Trace::clear);
        for edge in &mut self.edges {
            edge.pre.clear();
            edge.pre_slow.iter_mut().for_each(Trace::clear);
            edge.eligible.iter_mut().for_each(Eligibility::clear);
        }
    }
}

/// Change one synapse by `m`, or what it is eligible for.
#[inline]
fn apply(
    layer: &mut Layer,
    eligible: &mut Option<Eligibility>,
    change: &Change,
    (at, o): (usize, usize),
    (m, t): (f32, u32),
) {
    let delta = change.by(layer.packed.weights()[at], m);
    match eligible {
        Some(eligible) => eligible.add(at, o, delta, t),
        None => layer.add(at, o, delta, change),
    }
}

/// Output pixels that input pixel `pixel` reaches, each with its place in the kernel, in the order
/// of the kernel.
fn reached(g: &Geometry, pixel: usize) -> impl Iterator<Item = (usize, usize)> {
    let g = *g;
    let (y, x) = (pixel / g.in_w, pixel % g.in_w);
    let along = move |n: usize, k: usize, axis: usize, out: usize| {
        let from = (n + g.pad[axis]).checked_sub(k * g.dilation[axis])?;
        let at = from / g.stride[axis];
        (from.is_multiple_of(g.stride[axis]) && at < out).then_some(at)
    };
    (0..g.kh).filter_map(move |ky| Some((ky, along(y, ky, 0, g.out_h)?))).flat_map(
        move |(ky, oy)| {
            (0..g.kw).filter_map(move |kx| {
                let ox = along(x, kx, 1, g.out_w)?;
                Some((ky * g.kw + kx, oy * g.out_w + ox))
            })
        },
    )
}

/// Input pixels that output pixel `pixel` sees, each with its place in the kernel.
fn seen(g: &Geometry, pixel: usize) -> impl Iterator<Item = (usize, usize)> {
    let g = *g;
    let (oy, ox) = (pixel / g.out_w, pixel % g.out_w);
    let along = move |o: usize, k: usize, axis: usize, n: usize| {
        let at = (o * g.stride[axis] + k * g.dilation[axis]).checked_sub(g.pad[axis])?;
        (at < n).then_some(at)
    };
    (0..g.kh).filter_map(move |ky| Some((ky, along(oy, ky, 0, g.in_h)?))).flat_map(
        move |(ky, y)| {
            (0..g.kw).filter_map(move |kx| {
                let x = along(ox, kx, 1, g.in_w)?;
                Some((ky * g.kw + kx, y * g.in_w + x))
            })
        },
    )
}

fn on_pre(
    layer: &mut Layer,
    edge: &mut PlasticEdge,
    spikes: Spikes<'_>,
    (post, term, change): (&Trace, &Term, &Change),
    t: u32,
) -> u64 {
    let mut updates = 0;
    let geometry = layer.packed.geometry;
    for (pixel, c) in spikes.each() {
        let slow = edge.pre_slow.as_ref().map_or(0.0, |slow| slow.at(pixel, c, t));
        let amplitude = term.pair + term.triplet * slow;
        let outputs = layer.outputs_of(c);
        for (tap, place) in reached(&geometry, pixel) {
            for &o in post.active(place) {
                let o = o as usize;
                let trace = post.at(place, o, t);
                if trace == 0.0 || !outputs.contains(&o) {
                    continue;
                }
                let at = layer.packed.index(o, tap, c);
                apply(layer, &mut edge.eligible, change, (at, o), (amplitude * trace, t));
                updates += 1;
            }
        }
    }
    updates
}

fn on_post(
    layer: &mut Layer,
    edge: &mut PlasticEdge,
    spikes: Spikes<'_>,
    (post_slow, term, change): (Option<&Trace>, &Term, &Change),
    t: u32,
) -> u64 {
    let mut updates = 0;
    let geometry = layer.packed.geometry;
    for (pixel, o) in spikes.each() {
        let slow = post_slow.map_or(0.0, |slow| slow.at(pixel, o, t));
        let amplitude = term.pair + term.triplet * slow;
        let inputs = layer.inputs_of(o);
        for (tap, place) in seen(&geometry, pixel) {
            for &c in edge.pre.active(place) {
                let c = c as usize;
                let trace = edge.pre.at(place, c, t);
                if trace == 0.0 || !inputs.contains(&c) {
                    continue;
                }
                let at = layer.packed.index(o, tap, c);
                apply(layer, &mut edge.eligible, change, (at, o), (amplitude * trace, t));
                updates += 1;
            }
            if term.silent == 0.0 {
                continue;
            }
            for c in inputs.clone().filter(|&c| edge.pre.at(place, c, t) == 0.0) {
                let at = layer.packed.index(o, tap, c);
                apply(layer, &mut edge.eligible, change, (at, o), (term.silent, t));
                updates += 1;
            }
        }
    }
    updates
}
