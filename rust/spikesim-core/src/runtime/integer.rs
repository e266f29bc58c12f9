//! Layers and populations of integers (S14): as [`super::population`], in units.

use std::ops::Range;

use super::blocks::run_blocks;
use super::group::Group;
use super::population::Traces;
use crate::Result;
use crate::graph::NodeId;
use crate::kernels::block::ListView;
use crate::kernels::events::Events;
use crate::kernels::int::block::{IntParent, IntPost, IntTask};
use crate::kernels::int::dispatch::run_block;
use crate::kernels::int::neuron::{IntBlock, IntParams};
use crate::plan::{IntLayer, Layer, ParentSpec, PlanOp, Population, units};
use crate::step::blocks::{Extent, split};
use crate::step::sources::{constant, sparsify, views};

/// Numbers behind the last row, so that a kernel may read a whole block at its end.
const SLACK: usize = 64;

/// One summand of a block, before the block is chosen.
enum Prepared<'a> {
    Lists {
        layer: &'a IntLayer,
        views: Vec<ListView<'a>>,
        edges: usize,
    },
    /// `[block][pixel][lane]`, the same at every step.
    Constant(&'a [i32]),
    /// `[t][pixel][channel]` and slack.
    Rows {
        data: Vec<i32>,
        t_stride: usize,
        channels: usize,
    },
}

impl Prepared<'_> {
    fn parent(&self, block: usize, pixels: usize, width: usize) -> IntParent<'_> {
        match self {
            Self::Lists { layer, views, edges } => IntParent::Lists {
                geometry: &layer.packed.geometry,
                weights: layer.packed.rows(block),
                lo: layer.packed.blocks[block].lo,
                n: layer.packed.blocks[block].n,
                views,
                edges: *edges,
            },
            Self::Constant(data) => {
                let len = pixels * width;
                let data = &data[block * len..(block + 1) * len];
                IntParent::Units { data, t_stride: 0, p_stride: width }
            }
            Self::Rows { data, t_stride, channels } => {
                let data = &data[block * width..];
                IntParent::Units { data, t_stride: *t_stride, p_stride: *channels }
            }
        }
    }
}

impl Group<'_> {
    /// The sums of layer `id`, `[block][t][pixel][lane]` for each sample.
    pub(super) fn layer_units(
        &self,
        id: NodeId,
        layer: &IntLayer,
        extent: Extent,
        steps: Range<usize>,
    ) -> Result<Vec<Vec<i32>>> {
        let mut out = vec![vec![0; extent.lanes() * extent.steps]; self.samples()];
        self.layer_posts(id, layer, extent, steps, &mut out, |_, part| IntPost::Units(part))?;
        Ok(out)
    }

    /// The same as currents.
    pub(super) fn layer_currents(
        &self,
        id: NodeId,
        layer: &IntLayer,
        extent: Extent,
        steps: Range<usize>,
    ) -> Result<Vec<Vec<f32>>> {
        let mut out = vec![vec![0.0; extent.lanes() * extent.steps]; self.samples()];
        self.layer_posts(id, layer, extent, steps, &mut out, |block, out| IntPost::Currents {
            out,
            scale: layer.scale(block),
            bias: layer.packed.bias(block),
        })?;
        Ok(out)
    }

    fn layer_posts<'o, T>(
        &self,
        id: NodeId,
        layer: &'o IntLayer,
        extent: Extent,
        steps: Range<usize>,
        out: &'o mut [Vec<T>],
        post: impl Fn(usize, &'o mut [T]) -> IntPost<'o>,
    ) -> Result<()> {
        let edges = &self.shared.plan.nodes[id].edges;
        let samples = self.samples();
        let made: Vec<_> = (0..samples).map(|s| sparsify(&self.values, edges, s, &steps)).collect();
        let prepared: Vec<_> = (0..samples)
            .map(|s| {
                let views = views(&self.values, edges, &made[s], s, &steps);
                vec![Prepared::Lists { layer, views, edges: edges.len() }]
            })
            .collect();
        let mut posts: Vec<Vec<IntPost<'_>>> = (0..extent.blocks()).map(|_| Vec::new()).collect();
        for rows in out {
            for (block, part) in split(rows, extent.blocks()).into_iter().enumerate() {
                posts[block].push(post(block, part));
            }
        }
        self.run_units(extent, layer.fraction, &prepared, posts)
    }

    fn run_units(
        &self,
        extent: Extent,
        fraction: u32,
        prepared: &[Vec<Prepared<'_>>],
        posts: Vec<Vec<IntPost<'_>>>,
    ) -> Result<()> {
        let pixels = extent.dims.pixels();
        let level = self.shared.plan.level;
        run_blocks(&self.shared, prepared, posts, |block, parents, post| {
            let parents: Vec<_> =
                parents.iter().map(|p| p.parent(block, pixels, extent.width)).collect();
            let mut task = IntTask {
                steps: extent.steps,
                out_h: extent.dims.h,
                out_w: extent.dims.w,
                block,
                fraction,
                parents: &parents,
                post,
            };
            run_block(level, extent.width, &mut task);
        })
    }

    /// The neurons of population `id` take `steps`.
    pub(super) fn integrate_units(
        &mut self,
        id: NodeId,
        (pop, params, fraction): (&Population, &IntParams, u32),
        extent: Extent,
        steps: &Range<usize>,
        outs: &mut [Traces],
    ) -> Result<()> {
        let made = self.lists_made(pop, steps);
        let mut states: Vec<Vec<i32>> =
            self.states.iter_mut().map(|s| std::mem::take(&mut s.nodes[id].units)).collect();
        let mut prepared = Vec::with_capacity(self.samples());
        for (s, made) in made.iter().enumerate() {
            let mut parents = Vec::with_capacity(made.len());
            for (parent, made) in pop.parents.iter().zip(made) {
                parents.push(self.prepare_units(parent, params, (s, made), steps));
            }
            prepared.push(parents);
        }
        let blocks = extent.blocks();
        let mut posts: Vec<Vec<IntPost<'_>>> = (0..blocks).map(|_| Vec::new()).collect();
        for (state, out) in states.iter_mut().zip(outs) {
            let parts = split(state, blocks)
                .into_iter()
                .zip(split(&mut out.masks, blocks))
                .zip(split(&mut out.z, blocks))
                .zip(split(&mut out.v, blocks))
                .zip(split(&mut out.x, blocks));
            for (block, ((((v, masks), z), v_out), x_out)) in parts.enumerate() {
                let lanes = extent.mask(block);
                let block_of = IntBlock { params, lanes, v, masks, z, v_out, x_out };
                posts[block].push(IntPost::Neuron(block_of));
            }
        }
        self.run_units(extent, fraction, &prepared, posts)?;
        drop(prepared);
        for (state, units) in self.states.iter_mut().zip(states) {
            state.nodes[id].units = units;
        }
        Ok(())
    }

    fn prepare_units<'a>(
        &'a self,
        parent: &ParentSpec,
        params: &IntParams,
        (s, made): (usize, &'a [Option<Events>]),
        steps: &Range<usize>,
    ) -> Prepared<'a> {
        let plan = self.shared.plan;
        match parent {
            ParentSpec::Fused(layer) => {
                let edges = &plan.nodes[*layer].edges;
                if let Some(data) = self.int_constants.get(layer)
                    && constant(&self.values, edges, s)
                {
                    return Prepared::Constant(&data[s]);
                }
                let PlanOp::Synapse { layer: Layer::Integer(layer), .. } = &plan.nodes[*layer].op
                else {
                    unreachable!("a fused parent of integers is a layer of integers")
                };
                let views = views(&self.values, edges, made, s, steps);
                Prepared::Lists { layer, views, edges: edges.len() }
            }
            ParentSpec::Value(edge) => {
                let value = &self.values[edge.src][s];
                let dims = value.dims();
                let rows = if value.constant { 1 } else { steps.len() };
                let mut data = Vec::with_capacity(rows * dims.len() + SLACK);
                for t in steps.clone().take(rows) {
                    let row = value.copy_row(value.row(t, edge.delay));
                    let of = |(k, &x): (usize, &f32)| units(x, params.x_unit.channel(k % dims.c));
                    data.extend(row.iter().enumerate().map(of));
                }
                data.resize(rows * dims.len() + SLACK, 0);
                let t_stride = if value.constant { 0 } else { dims.len() };
                Prepared::Rows { data, t_stride, channels: dims.c }
            }
        }
    }
}
