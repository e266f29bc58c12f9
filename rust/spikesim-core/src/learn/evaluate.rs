//! What each node makes of a step while weights learn: the meaning of [`crate::runtime`], one
//! sample and one step at a time.

use std::ops::Range;

use super::layer::Layer;
use super::population::{self, Competition, Inputs, Outcome};
use super::wta::{Draw, Memory};
use crate::graph::NodeId;
use crate::kernels::block::{BlockTask, Post};
use crate::kernels::dispatch::run_block;
use crate::kernels::listops::Scratch;
use crate::kernels::{dense, gated};
use crate::plan::{Layer as Planned, Packed, ParentSpec, Plan, PlanOp, Population};
use crate::step::blocks::{Extent, Prepared};
use crate::step::sources::{densify, prepare_lists, sparsify};
use crate::step::state::NodeState;
use crate::step::{Value, delay, emit, weightless};

/// What a step reads and what it may change.
pub(super) struct Work<'a> {
    pub(super) plan: &'a Plan,
    pub(super) layers: &'a [Layer],
    pub(super) competitions: &'a [Competition],
    pub(super) memories: &'a mut [Memory],
    pub(super) states: &'a mut [NodeState],
    /// `[node][0]`: there is one sample.
    pub(super) values: &'a mut [Vec<Value>],
    pub(super) scratch: &'a mut Scratch,
    pub(super) draw: Draw,
    /// Steps since the state began.
    pub(super) clock: u32,
    /// Weights that events met.
    pub(super) synops: u64,
    /// By node, who fired in this step: neurons in C order and their numbers of spikes.
    pub(super) fired: &'a mut [Vec<(i64, i64)>],
}

impl Work<'_> {
    /// Node `id` at step `t` of the chunk.
    pub(super) fn node(&mut self, id: NodeId, t: usize) {
        let plan = self.plan;
        let node = &plan.nodes[id];
        match &node.op {
            PlanOp::Input | PlanOp::Synapse { fused: true, .. } => {}
            PlanOp::Synapse { layer: Planned::Float(packed), .. } => self.layer(id, packed, t),
            PlanOp::Delayed { synapses, bias } => {
                let mut row = vec![0.0; node.dims.len()];
                let mut more = row.clone();
                let layer = (node, &**synapses, &bias[..]);
                let cost = delay::layer_row(layer, self.values, (0, t), &mut more, &mut row);
                self.synops += cost.synops_with_zeros;
                self.values[id][0].push_dense(&row);
            }
            PlanOp::RatePool { windows, gate, .. } => {
                let mut out =
                    std::mem::replace(&mut self.values[id][0], Value::new(node.dims, false, 0));
                if let Some(out) = out.events_mut() {
                    let lists = node.edges.iter().filter_map(|edge| {
                        let value = &self.values[edge.src][0];
                        value.events().map(|events| (events, value.row(t, edge.delay)))
                    });
                    let sums = &mut self.states[id].sums;
                    gated::pool(lists, (windows, *gate), sums, self.scratch, out);
                }
                self.values[id][0] = out;
            }
            PlanOp::Population(pop) => self.population(id, pop, t),
            _ => {
                let mut out =
                    std::mem::replace(&mut self.values[id][0], Value::new(node.dims, true, 0));
                weightless::step(node, self.values, 0, t, self.scratch, &mut out);
                self.values[id][0] = out;
            }
        }
    }

    /// A Linear or Conv that no population takes into its own sums.
    fn layer(&mut self, id: NodeId, planned: &Packed, t: usize) {
        let node = &self.plan.nodes[id];
        let packed = weights_of(self.layers, id, planned);
        let extent = Extent { dims: node.dims, width: packed.width, steps: 1 };
        let steps = t..t + 1;
        let made = sparsify(self.values, &node.edges, 0, &steps);
        let lists = prepare_lists(self.values, packed, &node.edges, &made, 0, &steps);
        let mut sums = vec![0.0; extent.lanes()];
        let len = extent.lanes() / extent.blocks();
        for (block, out) in sums.chunks_mut(len).enumerate() {
            let parents = [lists.parent(block, node.dims.pixels(), extent.width)];
            let mut task = BlockTask {
                steps: 1,
                out_h: node.dims.h,
                out_w: node.dims.w,
                block,
                parents: &parents,
                post: Post::Store(out),
            };
            run_block(self.plan.level, extent.width, &mut task);
        }
        let mut row = vec![0.0; node.dims.len()];
        dense::unblock(&sums, len, extent.width, node.dims, &mut row);
        self.count(id, &made, &steps);
        self.values[id][0].push_dense(&row);
    }

    /// The weights that the events of a step met, those that are zero as well.
    fn count(
        &mut self,
        layer: NodeId,
        made: &[Option<crate::kernels::events::Events>],
        steps: &Range<usize>,
    ) {
        let node = &self.plan.nodes[layer];
        let PlanOp::Synapse { fanout, .. } = &node.op else { return };
        for (edge, made) in node.edges.iter().zip(made) {
            let value = &self.values[edge.src][0];
            let cost = match (made, value.events()) {
                (Some(events), _) => fanout.cost(events, 0),
                (None, Some(events)) => fanout.cost(events, value.row(steps.start, edge.delay)),
                (None, None) => continue,
            };
            self.synops += cost.synops_with_zeros;
        }
    }

    fn population(&mut self, id: NodeId, pop: &Population, t: usize) {
        let plan = self.plan;
        let (dims, steps) = (plan.nodes[id].dims, t..t + 1);
        let edges_of = |parent: &ParentSpec| match parent {
            ParentSpec::Fused(layer) => &plan.nodes[*layer].edges[..],
            ParentSpec::Value(_) => &[],
        };
        let made: Vec<_> =
            pop.parents.iter().map(|p| sparsify(self.values, edges_of(p), 0, &steps)).collect();
        let rows: Vec<Vec<f32>> =
            pop.parents.iter().map(|p| densify(self.values, p, 0, &steps)).collect();
        let (layers, values) = (self.layers, &*self.values);
        let of = |(k, parent): (usize, &ParentSpec)| match parent {
            ParentSpec::Fused(layer) => {
                let PlanOp::Synapse { layer: Planned::Float(packed), .. } = &plan.nodes[*layer].op
                else {
                    unreachable!("a fused parent is a layer with weights")
                };
                let packed = weights_of(layers, *layer, packed);
                prepare_lists(values, packed, edges_of(parent), &made[k], 0, &steps)
            }
            ParentSpec::Value(edge) => {
                let value = &values[edge.src][0];
                let data = value.dense_from(value.row(t, edge.delay)).unwrap_or(&rows[k]);
                Prepared::Rows { data, t_stride: 0, channels: dims.c }
            }
        };
        let prepared: Vec<Prepared<'_>> = pop.parents.iter().enumerate().map(of).collect();
        let inputs = Inputs { level: plan.level, prepared: &prepared, inhibition: None };
        let state = &mut self.states[id];
        let competition = self.competitions.iter().position(|one| one.node == id);
        let outcome = match competition {
            Some(k) => {
                let (one, memory) = (&self.competitions[k], &mut self.memories[k]);
                let draw = (self.clock, Draw { population: one.stream, ..self.draw });
                population::compete(one, memory, (pop, dims), inputs, state, draw)
            }
            None => population::integrate(pop, pop.params(), dims, inputs, state),
        };
        drop(prepared);
        for (parent, made) in pop.parents.iter().zip(&made) {
            if let ParentSpec::Fused(layer) = parent {
                self.count(*layer, made, &steps);
            }
        }
        self.emit(id, pop, &outcome);
    }

    fn emit(&mut self, id: NodeId, pop: &Population, outcome: &Outcome) {
        let dims = self.plan.nodes[id].dims;
        let pixels = dims.pixels();
        let value = &mut self.values[id][0];
        if pop.fires() {
            let many = |pixel: usize, c: usize| match &outcome.z[..] {
                [] => 1,
                z => z[(c / pop.width * pixels + pixel) * pop.width + c % pop.width] as i64,
            };
            self.fired[id] = population::each(&outcome.masks, pop.width, dims)
                .into_iter()
                .map(|(pixel, c)| ((c * pixels + pixel) as i64, many(pixel, c)))
                .collect();
            if let Some(events) = value.events_mut() {
                let z = (&outcome.z[..], pixels * pop.width);
                emit::emit(pop, events, (&outcome.masks, pixels), z);
            }
            return;
        }
        let mut row = vec![0.0; dims.len()];
        dense::unblock(&self.states[id].v, pixels * pop.width, pop.width, dims, &mut row);
        value.push_dense(&row);
    }
}

/// The weights of a layer as they are now.
fn weights_of<'a>(layers: &'a [Layer], id: NodeId, planned: &'a Packed) -> &'a Packed {
    layers.iter().find(|layer| layer.node == id).map_or(planned, |layer| &layer.packed)
}
