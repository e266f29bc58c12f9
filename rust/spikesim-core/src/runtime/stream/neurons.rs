//! A population that is touched where something happens.

use std::collections::BTreeMap;

use super::frame::Frame;
use super::reach::{Places, Reach};
use crate::kernels::gather::SparseParent;
use crate::kernels::neuron::{NeuronBlock, NeuronParams, TINY};
use crate::kernels::param::Param;
use crate::kernels::silence::NEVER;
use crate::kernels::touched::{Rest, Touched, run_touched};
use crate::kernels::window::Dims;
use crate::plan::{Layer, ParentSpec, Plan, PlanNode, PlanOp, Population};
use crate::step::blocks::{Extent, split};
use crate::step::state::NodeState;

/// What a stream knows of a population besides its state.
#[derive(Debug)]
pub(super) struct Neurons {
    extent: Extent,
    /// For each parent; none where values come without weights.
    reach: Vec<Option<Reach>>,
    /// Whether it catches up when it is touched; otherwise it is stepped until it is at rest.
    lazy: bool,
    /// Neurons that may climb over their threshold by themselves.
    driven: Option<Param>,
    /// The summed input of a silent step, `[block][lane]`.
    silent: Vec<f32>,
    /// Steps done, for each pixel.
    done: Vec<u64>,
    /// The step at which each pixel must be looked at even if nothing arrives; the pixels of the
    /// next one and of the later ones. An entry that does not agree with `due` is void.
    due: Vec<u64>,
    next: Vec<u32>,
    later: BTreeMap<u64, Vec<u32>>,
    // What a step works with.
    set: Places,
    pixels: Vec<u32>,
    behind: Vec<u32>,
    struck: Vec<bool>,
    wake: Vec<u32>,
    masks: Vec<u64>,
    z: Vec<f32>,
}

/// No step.
const NOT_DUE: u64 = u64::MAX;

/// What a population did in a step.
#[derive(Debug, Default)]
pub(super) struct Fired {
    /// Spikes of either sign.
    pub(super) spikes: u64,
    /// Neurons touched.
    pub(super) visits: u64,
    /// `pixel · channels + channel` and number of spikes of each neuron that fired, where wanted.
    pub(super) each: Vec<(u32, f32)>,
}

impl Neurons {
    /// The population of node `id`, if all that reaches it are events. Everything is looked at
    /// in the first step.
    pub(super) fn new(plan: &Plan, node: &PlanNode, pop: &Population) -> Option<Self> {
        let dense = |src: usize| plan.nodes[src].dense;
        let mut reach = Vec::new();
        for parent in &pop.parents {
            reach.push(match parent {
                ParentSpec::Fused(layer) => {
                    let layer = &plan.nodes[*layer];
                    let PlanOp::Synapse { layer: Layer::Float(packed), .. } = &layer.op else {
                        return None;
                    };
                    if layer.edges.iter().any(|e| dense(e.src)) {
                        return None;
                    }
                    Some(Reach::of_layer(&packed.geometry))
                }
                ParentSpec::Value(edge) if dense(edge.src) => return None,
                ParentSpec::Value(_) => None,
            });
        }
        if !pop.fires() {
            return None;
        }
        let extent = Extent { dims: node.dims, width: pop.width, steps: 1 };
        let (blocks, pixels) = (extent.blocks(), node.dims.pixels());
        let silent = silent_input(plan, pop, blocks);
        let (lazy, driven) = nature(pop.params(), node.dims, pop.width, &silent);
        let z = if pop.counts_spikes() { extent.lanes() } else { 0 };
        Some(Self {
            extent,
            reach,
            lazy,
            driven,
            silent,
            done: vec![0; pixels],
            due: vec![0; pixels],
            next: (0..pixels as u32).collect(),
            later: BTreeMap::new(),
            set: Places::new(pixels),
            pixels: Vec::new(),
            behind: Vec::new(),
            struck: Vec::new(),
            wake: Vec::new(),
            masks: vec![0; blocks * pixels],
            z: vec![0.0; z],
        })
    }

    /// How silence is dealt with, in words.
    pub(super) fn describe(&self) -> &'static str {
        match (self.lazy, &self.driven) {
            (true, None) => "lazy",
            (true, Some(_)) => "lazy, scheduled where it may fire by itself",
            (false, _) => "stepped until at rest",
        }
    }

    /// One step: `frames[parent][edge]`, the step's number, `fired` with room for what is wanted.
    pub(super) fn step(
        &mut self,
        (plan, pop): (&Plan, &Population),
        frames: &[Vec<&Frame>],
        (now, each): (u64, bool),
        state: &mut NodeState,
        out: &mut Frame,
    ) -> Fired {
        out.clear(!pop.is_unit());
        self.choose(frames, now);
        if self.pixels.is_empty() {
            return Fired::default();
        }
        self.run(plan, pop, frames, state, false);
        for (k, &pixel) in self.pixels.iter().enumerate() {
            let p = pixel as usize;
            self.done[p] = now + 1;
            self.due[p] = match self.wake[k] {
                NEVER => NOT_DUE,
                1 => {
                    self.next.push(pixel);
                    now + 1
                }
                steps => {
                    let due = now + u64::from(steps);
                    self.later.entry(due).or_default().push(pixel);
                    due
                }
            };
        }
        self.emit(pop, each, out)
    }

    /// The pixels to be touched: those that events reach and those that are due.
    fn choose(&mut self, frames: &[Vec<&Frame>], now: u64) {
        let mut seen = u32::MAX;
        for (reach, edges) in self.reach.iter().zip(frames) {
            for frame in edges {
                let c = frame.dims().c as u32;
                for &at in frame.places() {
                    let pixel = at / c;
                    if pixel == seen {
                        continue;
                    }
                    seen = pixel;
                    match reach {
                        Some(reach) => reach.of(pixel as usize).for_each(|p| self.set.insert(p)),
                        None => self.set.insert(pixel as usize),
                    }
                }
                seen = u32::MAX;
            }
        }
        let due = std::mem::take(&mut self.next);
        let later = self.later.remove(&now).unwrap_or_default();
        self.struck.clear();
        self.pixels.clear();
        let (struck, pixels) = (&mut self.struck, &mut self.pixels);
        let by_itself = due.iter().chain(&later).filter(|&&p| self.due[p as usize] == now).copied();
        if self.lazy {
            by_itself.for_each(|p| self.set.insert(p as usize));
            self.set.drain(|p| pixels.push(p));
            struck.resize(pixels.len(), true);
        } else {
            // Which of them events have reached decides whether a step was a silent one.
            let mut mine: Vec<u32> =
                by_itself.filter(|&p| !self.set.contains(p as usize)).collect();
            mine.sort_unstable();
            mine.dedup();
            let mut mine = mine.into_iter().peekable();
            self.set.drain(|p| {
                while let Some(q) = mine.next_if(|&q| q < p) {
                    pixels.push(q);
                    struck.push(false);
                }
                pixels.push(p);
                struck.push(true);
            });
            mine.for_each(|q| {
                pixels.push(q);
                struck.push(false);
            });
        }
        let steps = |&p: &u32| now.saturating_sub(self.done[p as usize]).min(u64::from(u32::MAX));
        self.behind.clear();
        self.behind.extend(self.pixels.iter().map(|p| steps(p) as u32));
    }

    /// The kernel over all blocks.
    fn run(
        &mut self,
        plan: &Plan,
        pop: &Population,
        frames: &[Vec<&Frame>],
        state: &mut NodeState,
        idle: bool,
    ) {
        let (blocks, width, dims) = (self.extent.blocks(), self.extent.width, self.extent.dims);
        self.wake.clear();
        self.wake.resize(self.pixels.len(), NEVER);
        let lists: Vec<Vec<_>> =
            frames.iter().map(|edges| edges.iter().map(|f| f.list()).collect()).collect();
        let parts = split(&mut state.v, blocks)
            .into_iter()
            .zip(split(&mut state.i, blocks))
            .zip(split(&mut state.n, blocks))
            .zip(split(&mut state.a, blocks))
            .zip(split(&mut state.r, blocks))
            .zip(split(&mut self.masks, blocks))
            .zip(split(&mut self.z, blocks));
        for (block, ((((((v, i), n), a), r), masks), z)) in parts.enumerate() {
            let parents: Vec<_> = pop
                .parents
                .iter()
                .zip(&lists)
                .filter_map(|(parent, lists)| match parent {
                    ParentSpec::Value(_) => lists.first().map(|&l| SparseParent::Values(l)),
                    ParentSpec::Fused(layer) => match &plan.nodes[*layer].op {
                        PlanOp::Synapse { layer: Layer::Float(packed), .. } => {
                            Some(SparseParent::Lists {
                                geometry: &packed.geometry,
                                weights: packed.rows(block),
                                bias: packed.bias(block),
                                lo: packed.blocks[block].lo,
                                n: packed.blocks[block].n,
                                lists,
                            })
                        }
                        _ => None,
                    },
                })
                .collect();
            let rest = if self.lazy {
                let silent = &self.silent[block * width..(block + 1) * width];
                Rest::Lazy { silent, driven: self.driven.as_ref() }
            } else {
                Rest::Awake
            };
            let mut task = Touched {
                block,
                out: [dims.h, dims.w],
                pixels: &self.pixels,
                behind: &self.behind,
                struck: &self.struck,
                parents: &parents,
                rest,
                idle,
                neurons: NeuronBlock {
                    params: pop.params(),
                    lanes: self.extent.mask(block),
                    v,
                    i,
                    n,
                    a,
                    r,
                    masks,
                    z,
                    v_out: &mut [],
                    x_out: &mut [],
                },
                wake: &mut self.wake,
            };
            run_touched(plan.level(), width, &mut task);
        }
    }

    /// The spikes of the touched pixels.
    fn emit(&self, pop: &Population, wanted: bool, out: &mut Frame) -> Fired {
        let (blocks, width, dims) = (self.extent.blocks(), self.extent.width, self.extent.dims);
        let pixels = dims.pixels();
        let visits = (self.pixels.len() * dims.c) as u64;
        let mut fired = Fired { visits, ..Fired::default() };
        for &pixel in &self.pixels {
            let p = pixel as usize;
            for block in 0..blocks {
                let mut word = self.masks[block * pixels + p];
                while word != 0 {
                    let lane = word.trailing_zeros() as usize;
                    word &= word - 1;
                    let c = block * width + lane;
                    let at = (p * dims.c + c) as u32;
                    let z = match &self.z[..] {
                        [] => 1.0,
                        z => z[(block * pixels + p) * width + lane],
                    };
                    let amplitude = pop.amplitude.as_ref().map_or(1.0, |a| a.at(c, p));
                    out.push(at, z * amplitude, [z.abs() as u64, 0]);
                    fired.spikes = fired.spikes.saturating_add(z.abs() as u64);
                    if wanted {
                        fired.each.push((at, z));
                    }
                }
            }
        }
        out.finish();
        fired
    }

    /// Bring every neuron to the beginning of step `now`.
    pub(super) fn settle(
        &mut self,
        plan: &Plan,
        pop: &Population,
        now: u64,
        state: &mut NodeState,
    ) {
        if !self.lazy {
            return;
        }
        self.pixels.clear();
        self.behind.clear();
        for (p, done) in self.done.iter_mut().enumerate() {
            let behind = now.saturating_sub(*done);
            if behind > 0 {
                self.pixels.push(p as u32);
                self.behind.push(behind.min(u64::from(u32::MAX)) as u32);
                *done = now;
            }
        }
        self.struck.clear();
        self.struck.resize(self.pixels.len(), false);
        self.run(plan, pop, &[], state, true);
    }
}

/// What arrives in a step without events, `[block][lane]`: the biases, added as the kernel does.
fn silent_input(plan: &Plan, pop: &Population, blocks: usize) -> Vec<f32> {
    let mut sums = vec![0.0f32; blocks * pop.width];
    for parent in &pop.parents {
        let ParentSpec::Fused(layer) = parent else { continue };
        let PlanOp::Synapse { layer: Layer::Float(packed), .. } = &plan.nodes[*layer].op else {
            continue;
        };
        for block in 0..blocks {
            let lanes = &mut sums[block * pop.width..];
            lanes.iter_mut().zip(packed.bias(block)).for_each(|(sum, b)| *sum += b);
        }
    }
    sums
}

/// Whether the neurons may be left alone and catch up later, and which of them may then fire by
/// themselves; a population that may not is stepped while anything moves.
///
/// With `f` the silent step of a membrane, a monotone map as `alpha_mem ≥ 0`, and `c` the largest
/// value that does not fire: where `f(c) ≤ c`, nothing at or below `c` ever rises above it.
fn nature(
    params: &NeuronParams,
    dims: Dims,
    width: usize,
    silent: &[f32],
) -> (bool, Option<Param>) {
    if !params.is_simple() {
        return (false, None);
    }
    let pixels = dims.pixels();
    let five = [&params.v_threshold, &params.v_leak, &params.alpha_mem, &params.gain];
    let per_neuron = five.iter().any(|p| p.is_per_neuron());
    let flush = |y: f32| if y.abs() < TINY { 0.0 } else { y };
    let (mut lazy, mut any) = (true, false);
    let mut drive = |c: usize, p: usize| {
        let at = |param: &Param| param.at(c / width, p, c % width);
        let [theta, leak, alpha, gain] = five.map(at);
        let x = silent[c];
        let quiet = if params.rules.strict { theta } else { theta.next_down() };
        let next = if params.rules.plain_if {
            flush(quiet) + x
        } else {
            (leak + flush(alpha * (quiet - leak))) + gain * x
        };
        let driven = next > quiet;
        any |= driven;
        lazy &= alpha >= 0.0 && (alpha <= 1.0 || !driven);
        driven
    };
    let count = if per_neuron { pixels } else { 1 };
    let flags: Vec<bool> = (0..dims.c)
        .flat_map(|c| (0..count).map(move |p| (c, p)))
        .map(|(c, p)| drive(c, p))
        .collect();
    let driven = any.then(|| {
        let value = |c: usize, p: usize| f32::from(u8::from(flags[c * count + p % count]));
        Param::pack((dims.c, pixels, width), per_neuron, 0.0, value)
    });
    (lazy, driven)
}
