//! Each node of the folded graph becomes what the runtime executes.

use super::pack::{self, IntLayer, Packed, Source};
use super::params::{ParentSpec, Population};
use super::quantise::{EXACT, Units};
use super::{Delays, Factor, Layer, PlanEdge, PlanNode, PlanOp, PoolMode, delayed};
use crate::graph::kind::{ValueKind, value_kinds};
use crate::graph::node::{self, BatchNorm, Conv, Linear, Pool, PoolKind};
use crate::graph::{Graph, Node, NodeId, Op, Tensor};
use crate::kernels::gated::Gate;
use crate::kernels::level::Level;
use crate::kernels::window::{Dims, Windows, adaptive_axis, pool_axis};
use crate::{Error, Result};

/// With `units`, layers and populations become integers.
pub(super) fn lower(graph: &Graph, level: Level, units: Option<&Units>) -> Result<Vec<PlanNode>> {
    let mut nodes = Vec::with_capacity(graph.nodes().len());
    let kinds = value_kinds(graph);
    let past = looked_back(graph);
    for (id, node) in graph.nodes().iter().enumerate() {
        let edges = graph.incoming(id).map(|e| PlanEdge { src: e.src, delay: e.delay }).collect();
        nodes.push(PlanNode {
            name: node.name.clone(),
            shape: node.shape.clone(),
            dims: Dims::of(&node.shape),
            op: op(graph, id, past[id], (level, units))?,
            edges,
            history: past[id],
            least_delay: node.op.delays()[0],
            dense: kinds[id] == ValueKind::Currents,
        });
    }
    for id in 0..nodes.len() {
        attach_parents(graph, &mut nodes, id);
    }
    for id in 0..nodes.len() {
        merge_pool(graph, &mut nodes, id);
    }
    Ok(nodes)
}

/// Steps of each node's past that some edge looks back to.
fn looked_back(graph: &Graph) -> Vec<usize> {
    let own: Vec<_> = graph.nodes().iter().map(|node| node.op.delays()[1]).collect();
    let mut past = vec![0; own.len()];
    for edge in graph.edges() {
        past[edge.src] = past[edge.src].max(edge.delay + own[edge.dst]);
    }
    past
}

fn op(
    graph: &Graph,
    id: NodeId,
    past: usize,
    (level, units): (Level, Option<&Units>),
) -> Result<PlanOp> {
    let node = &graph.nodes()[id];
    let (input, output) = (Dims::of(&node.in_shape), Dims::of(&node.shape));
    let too_large = |d: Dims| d.c.checked_mul(d.w.max(1)).is_none_or(|n| n > u32::MAX as usize);
    if too_large(output) || too_large(input) {
        let what = format!("a row of {} elements", output.c.saturating_mul(output.w));
        return Err(Error::unsupported(&node.name, what, "use rows below 2^32 elements"));
    }
    // Event offsets are u32: a step and the past that edges look back to must fit.
    if output.len().saturating_mul(past + 1) > u32::MAX as usize {
        let what = format!("a delay of {past} steps over {} values", output.len());
        return Err(Error::unsupported(&node.name, what, "use a shorter delay"));
    }
    Ok(match &node.op {
        Op::Input { .. } => PlanOp::Input,
        Op::Linear(Linear { weight, bias, delay: Some(delay) }) => {
            let geometry = pack::of_linear(input);
            delayed::layer((weight, delay), bias.as_ref(), geometry, (output.c, 1))
        }
        Op::Conv(conv @ Conv { weight, bias, delay: Some(delay), .. }) => {
            let geometry = pack::of_conv(conv, input, output);
            delayed::layer((weight, delay), bias.as_ref(), geometry, (output.c, conv.groups))
        }
        Op::Linear(linear) => {
            synapse(graph, id, Source::linear(linear, input, output), (level, units))
        }
        Op::Conv(conv) => synapse(graph, id, Source::conv(conv, input, output), (level, units)),
        Op::Pool(pool) => pool_op(pool, (input, &node.in_shape), output),
        Op::AdaptiveAvgPool { .. } => {
            let y = adaptive_axis(input.h, output.h);
            let x = adaptive_axis(input.w, output.w);
            PlanOp::Pool { windows: Windows { y, x }, mode: PoolMode::Average, merge: None }
        }
        Op::Flatten { .. } => PlanOp::Reshape,
        Op::BatchNorm(norm) => {
            let (factor, shift) = affine(norm);
            let factor = Factor { values: factor, dims: output };
            PlanOp::Affine { factor, shift: Some(Factor { values: shift, dims: output }) }
        }
        Op::Scale { scale } => {
            PlanOp::Affine { factor: Factor { values: flat(scale), dims: output }, shift: None }
        }
        Op::Delay { delay } => PlanOp::Delay { delays: Delays::new(delay, &node.shape) },
        Op::Concat { axis } => PlanOp::Concat { axis: concat_axis(node, *axis)? },
        Op::Upsample { scale_factor } => PlanOp::Upsample { factor: *scale_factor },
        Op::Add => PlanOp::Add,
        Op::Neuron(neuron) => {
            let units = units.and_then(|units| units.populations.get(&id));
            PlanOp::Population(Box::new(match units {
                None => Population::new(neuron, &node.shape, level),
                Some(units) => Population::integer(neuron, &node.shape, units, level),
            }))
        }
    })
}

fn synapse(
    graph: &Graph,
    id: NodeId,
    source: Source<'_>,
    (level, units): (Level, Option<&Units>),
) -> PlanOp {
    let (layer, fanout) = match units.and_then(|units| units.layers.get(&id)) {
        None => {
            let (packed, fanout) = Packed::new(source, level);
            (Layer::Float(Box::new(packed)), fanout)
        }
        Some(units) => {
            let (layer, fanout) = IntLayer::new(source, units, level);
            (Layer::Integer(Box::new(layer)), fanout)
        }
    };
    PlanOp::Synapse { layer, fanout, fused: fused(graph, id) }
}

/// A BatchNorm that no layer takes: `y = x·s + t`, worked out in f64 and rounded once.
fn affine(norm: &BatchNorm) -> (Vec<f32>, Vec<f32>) {
    let parts = norm.weight.data().iter().zip(norm.running_var.data());
    let s: Vec<f64> =
        parts.map(|(&w, &var)| f64::from(w) / (f64::from(var) + norm.eps).sqrt()).collect();
    let shift =
        |((&b, &mean), s): ((&f32, &f32), &f64)| (f64::from(b) - f64::from(mean) * s) as f32;
    let t = norm.bias.data().iter().zip(norm.running_mean.data()).zip(&s).map(shift).collect();
    (s.iter().map(|&s| s as f32).collect(), t)
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.data().to_vec()
}

fn pool_op(pool: &Pool, (input, in_shape): (Dims, &[usize]), output: Dims) -> PlanOp {
    let include_pad = match pool.kind {
        PoolKind::Avg { count_include_pad } => count_include_pad,
        _ => true,
    };
    let axis = |n, out, a: usize| {
        let padding = pool.padding[a];
        pool_axis(n, out, pool.kernel_size[a], pool.stride[a], padding, include_pad)
    };
    let windows = Windows { y: axis(input.h, output.h, 0), x: axis(input.w, output.w, 1) };
    let mode = match pool.kind {
        PoolKind::Sum => PoolMode::Sum,
        PoolKind::Avg { .. } => PoolMode::Average,
        PoolKind::MaxSpikes => PoolMode::SpikeMax,
        PoolKind::MaxCurrents => PoolMode::CurrentMax,
        PoolKind::RateMax { gate } => {
            let gate = match gate {
                node::Gate::Count => Gate::Count,
                node::Gate::Argmax => Gate::Argmax,
            };
            return PlanOp::RatePool { windows, gate, from: input, from_shape: in_shape.to_vec() };
        }
    };
    PlanOp::Pool { windows, mode, merge: None }
}

/// The axis of (C, H, W) that `axis` of the node's shape is.
fn concat_axis(node: &Node, axis: usize) -> Result<usize> {
    match (node.shape.len(), axis) {
        (_, 0) => Ok(0),
        (2, 1) => Ok(2),
        (3, 1 | 2) => Ok(axis),
        (rank, _) => {
            let what = format!("axis {axis} of {rank} axes");
            Err(Error::unsupported(&node.name, what, "join along axis 0"))
        }
    }
}

/// An average of plain spikes that only sums of integers read is no more than its lists put
/// together, where its divisor is a power of two.
fn merge_pool(graph: &Graph, nodes: &mut [PlanNode], id: NodeId) {
    let PlanOp::Pool { windows, mode: PoolMode::Average, .. } = &nodes[id].op else { return };
    let size =
        |w: &Windows| w.y.first().map_or(0, |y| y.divisor) * w.x.first().map_or(0, |x| x.divisor);
    let size = size(windows);
    let same = windows.y.iter().all(|y| windows.x.iter().all(|x| y.divisor * x.divisor == size));
    let plain = match &nodes[id].edges[..] {
        [edge] => matches!(&nodes[edge.src].op, PlanOp::Population(p) if p.fires() && p.is_unit()),
        _ => false,
    };
    let shift = size.trailing_zeros();
    if same
        && plain
        && size.is_power_of_two()
        && only_sums(graph, nodes, id, shift)
        && let PlanOp::Pool { merge, .. } = &mut nodes[id].op
    {
        *merge = Some(shift);
    }
}

/// Whether nothing but sums of integers reads node `id`, and takes events of `2^-shift`.
fn only_sums(graph: &Graph, nodes: &[PlanNode], id: NodeId, shift: u32) -> bool {
    let takes = |reader: NodeId| match &nodes[reader].op {
        PlanOp::Synapse { layer: Layer::Integer(layer), .. } => {
            shift <= layer.fraction && layer.bound << shift < EXACT
        }
        PlanOp::Reshape => nodes[reader].edges.len() == 1 && only_sums(graph, nodes, reader, shift),
        _ => false,
    };
    nodes[id].history == 0 && graph.output() != id && graph.outgoing(id).all(|e| takes(e.dst))
}

/// Whether a synaptic layer is read by one population only, at once: then that computes it.
pub(super) fn fused(graph: &Graph, id: NodeId) -> bool {
    let mut out = graph.outgoing(id);
    match (out.next(), out.next()) {
        (Some(edge), None) => {
            edge.delay == 0
                && graph.output() != id
                && matches!(graph.nodes()[edge.dst].op, Op::Neuron(_))
        }
        _ => false,
    }
}

fn attach_parents(graph: &Graph, nodes: &mut [PlanNode], id: NodeId) {
    let parents = graph
        .incoming(id)
        .map(|e| match &nodes[e.src].op {
            PlanOp::Synapse { fused: true, .. } => ParentSpec::Fused(e.src),
            _ => ParentSpec::Value(PlanEdge { src: e.src, delay: e.delay }),
        })
        .collect();
    if let PlanOp::Population(population) = &mut nodes[id].op {
        population.parents = parents;
    }
}
