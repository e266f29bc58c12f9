//! One step of a population that learns: the neurons of S3, and who of those that reached their
//! threshold fires.
//!
//! A neuron that loses is a neuron whose threshold was out of reach in this step: it integrates,
//! leaks and rests as ever, and neither fires nor is reset.

use super::wta::{self, Candidate, Draw, Memory, Part};
use crate::graph::NodeId;
use crate::kernels::block::{BlockTask, Parent, Post};
use crate::kernels::dispatch::run_block;
use crate::kernels::level::Level;
use crate::kernels::neuron::{NeuronBlock, NeuronParams};
use crate::kernels::param::Param;
use crate::kernels::window::Dims;
use crate::plan::Population;
use crate::step::blocks::{Extent, Prepared, split};
use crate::step::state::NodeState;

/// Winner-take-all of one population, and its parameters with thresholds out of reach.
#[derive(Clone, Debug)]
pub(super) struct Competition {
    pub(super) node: NodeId,
    /// Index in the network as its author made it: what its draws are told apart by.
    pub(super) stream: u32,
    pub(super) parts: Vec<Part>,
    unreachable: NeuronParams,
}

impl Competition {
    pub(super) fn new(
        (node, original): (NodeId, NodeId),
        parts: Vec<Part>,
        pop: &Population,
        dims: Dims,
    ) -> Self {
        let mut unreachable = pop.params().clone();
        let (size, never) = ((dims.c, dims.pixels(), pop.width), f32::INFINITY);
        unreachable.v_threshold = Param::pack(size, false, never, |_, _| never);
        Self { node, stream: original as u32, parts, unreachable }
    }
}

/// What a step of neurons leaves beside their state.
pub(super) struct Outcome {
    /// `[block][pixel]`.
    pub(super) masks: Vec<u64>,
    /// `[block][pixel][lane]`, empty where a mask says all.
    pub(super) z: Vec<f32>,
}

/// What is the same for all blocks of a step.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) level: Level,
    pub(super) prepared: &'a [Prepared<'a>],
    /// `[pixel][channel]` and room for a block, added last.
    pub(super) inhibition: Option<&'a [f32]>,
}

/// All neurons take one step.
pub(super) fn integrate(
    pop: &Population,
    params: &NeuronParams,
    dims: Dims,
    inputs: Inputs<'_>,
    state: &mut NodeState,
) -> Outcome {
    let extent = Extent { dims, width: pop.width, steps: 1 };
    let (blocks, pixels) = (extent.blocks(), dims.pixels());
    let mut masks = vec![0; if pop.fires() { blocks * pixels } else { 0 }];
    let mut z = vec![0.0; if pop.counts_spikes() { extent.lanes() } else { 0 }];
    let parts = split(&mut state.v, blocks)
        .into_iter()
        .zip(split(&mut state.i, blocks))
        .zip(split(&mut state.n, blocks))
        .zip(split(&mut state.a, blocks))
        .zip(split(&mut state.r, blocks))
        .zip(split(&mut masks, blocks))
        .zip(split(&mut z, blocks));
    for (block, ((((((v, i), n), a), r), masks), z)) in parts.enumerate() {
        let mut parents: Vec<Parent<'_>> =
            inputs.prepared.iter().map(|p| p.parent(block, pixels, pop.width)).collect();
        if let Some(values) = inputs.inhibition {
            let data = &values[block * pop.width..];
            parents.push(Parent::Dense { data, t_stride: 0, p_stride: dims.c });
        }
        let lanes = extent.mask(block);
        let (v_out, x_out) = (&mut [][..], &mut [][..]);
        let post = NeuronBlock { params, lanes, v, i, n, a, r, masks, z, v_out, x_out };
        let mut task = BlockTask {
            steps: 1,
            out_h: dims.h,
            out_w: dims.w,
            block,
            parents: &parents,
            post: Post::Neuron(post),
        };
        run_block(inputs.level, pop.width, &mut task);
    }
    Outcome { masks, z }
}

/// As [`integrate`], and the parts of `competition` choose who fires.
pub(super) fn compete(
    competition: &Competition,
    memory: &mut Memory,
    (pop, dims): (&Population, Dims),
    inputs: Inputs<'_>,
    state: &mut NodeState,
    (t, draw): (u32, Draw),
) -> Outcome {
    let parts = &competition.parts;
    let inhibition = wta::inhibition(parts, memory, dims);
    let inputs = Inputs { inhibition: inhibition.as_deref(), ..inputs };
    let before = wta::selects(parts).then(|| neurons_of(state));
    let mut outcome = integrate(pop, pop.params(), dims, inputs, state);
    let mut fired = each(&outcome.masks, pop.width, dims);
    if let (Some(mut lost), false) = (before, fired.is_empty()) {
        integrate(pop, &competition.unreachable, dims, inputs, &mut lost);
        let (width, pixels) = (pop.width, dims.pixels());
        let place = |pixel: usize, c: usize| (c / width * pixels + pixel) * width + c % width;
        let candidates = fired.iter().map(|&(pixel, c)| {
            let at = place(pixel, c);
            let threshold = pop.params().v_threshold.at(c / width, pixel, c % width);
            let theta = threshold + lost.a.get(at).copied().unwrap_or(0.0);
            Candidate { pixel, c, margin: lost.v[at] - theta }
        });
        let winners = wta::select(parts, candidates.collect(), memory, dims, (t, draw));
        let won = |&(pixel, c): &(usize, usize)| {
            winners.iter().any(|one| (one.pixel, one.c) == (pixel, c))
        };
        for &(pixel, c) in fired.iter().filter(|one| !won(one)) {
            let at = place(pixel, c);
            outcome.masks[c / width * pixels + pixel] &= !(1 << (c % width));
            for (to, from) in arrays(state).into_iter().zip(arrays(&mut lost)) {
                if let (Some(to), Some(from)) = (to.get_mut(at), from.get(at)) {
                    *to = *from;
                }
            }
        }
        fired.retain(won);
    }
    wta::hear(parts, memory, &fired, dims, t);
    outcome
}

/// The neurons' state without the past of their spikes.
fn neurons_of(state: &NodeState) -> NodeState {
    NodeState {
        v: state.v.clone(),
        i: state.i.clone(),
        n: state.n.clone(),
        a: state.a.clone(),
        r: state.r.clone(),
        ..NodeState::default()
    }
}

fn arrays(state: &mut NodeState) -> [&mut Vec<f32>; 5] {
    let NodeState { v, i, n, a, r, .. } = state;
    [v, i, n, a, r]
}

/// (pixel, channel) of each spike, in the order of pixels and channels.
pub(super) fn each(masks: &[u64], width: usize, dims: Dims) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let pixels = dims.pixels();
    for pixel in 0..pixels {
        for (block, mask) in masks[pixel..].iter().step_by(pixels).enumerate() {
            let mut word = *mask;
            while word != 0 {
                out.push((pixel, block * width + word.trailing_zeros() as usize));
                word &= word - 1;
            }
        }
    }
    out
}
