//! Layers with weights and populations: what the block kernel computes, sample by sample.

use std::ops::Range;

use super::blocks::run_floats;
use super::group::{Group, Shared};
use crate::Result;
use crate::graph::NodeId;
use crate::kernels::block::Post;
use crate::kernels::dense;
use crate::kernels::events::Events;
use crate::kernels::fanout::{Cost, Fanout};
use crate::kernels::neuron::{NeuronBlock, NeuronParams};
use crate::plan::{Cells, Layer, Packed, ParentSpec, PlanOp, Population};
use crate::step::blocks::{Extent, Prepared, split};
use crate::step::emit::emit;
use crate::step::sources::{constant, densify, lists, prepare_lists, sparsify};

impl Group<'_> {
    /// What the events that reach layer `id` cost at `steps`.
    fn account(&mut self, id: NodeId, fanout: &Fanout, steps: &Range<usize>) -> Result<()> {
        let edges = &self.shared.plan.nodes[id].edges;
        for s in 0..self.samples() {
            let made = sparsify(&self.values, edges, s, steps);
            let whole = constant(&self.values, edges, s);
            for (e, edge) in edges.iter().enumerate() {
                let fixed = edge.delay == 0 && self.values[edge.src][s].constant;
                let mut known: Option<Cost> = None;
                for t in steps.clone() {
                    self.shared.control.check()?;
                    let cost = match known.filter(|_| fixed) {
                        Some(cost) => cost,
                        None => lists(&self.values, &made, (e, edge), s, (t, steps.start))
                            .map_or_else(Cost::default, |(events, row)| fanout.cost(events, row)),
                    };
                    known = Some(cost);
                    let at = self.first_step + t;
                    self.tallies[s][id].add(at, cost, !whole || at == 0);
                }
            }
        }
        Ok(())
    }

    /// The constant part of layer `id` for each sample, computed once a run.
    fn constants(&mut self, id: NodeId, layer: &Layer) -> Result<()> {
        if self.constants.contains_key(&id) || self.int_constants.contains_key(&id) {
            return Ok(());
        }
        let node = &self.shared.plan.nodes[id];
        let extent = Extent { dims: node.dims, width: layer.width(), steps: 1 };
        match layer {
            Layer::Float(packed) => {
                let rows = self.layer(id, packed, extent, 0..1)?;
                self.constants.insert(id, rows);
            }
            Layer::Integer(layer) => {
                let rows = self.layer_units(id, layer, extent, 0..1)?;
                self.int_constants.insert(id, rows);
            }
        }
        Ok(())
    }

    /// The sums of layer `id`, `[block][t][pixel][lane]` for each sample.
    fn layer(
        &self,
        id: NodeId,
        packed: &Packed,
        extent: Extent,
        steps: Range<usize>,
    ) -> Result<Vec<Vec<f32>>> {
        let edges = &self.shared.plan.nodes[id].edges;
        let samples = self.samples();
        let made: Vec<_> = (0..samples).map(|s| sparsify(&self.values, edges, s, &steps)).collect();
        let prepared: Vec<_> = (0..samples)
            .map(|s| vec![prepare_lists(&self.values, packed, edges, &made[s], s, &steps)])
            .collect();
        let mut out = vec![vec![0.0f32; extent.lanes() * extent.steps]; samples];
        let mut posts: Vec<Vec<Post<'_>>> = (0..extent.blocks()).map(|_| Vec::new()).collect();
        for rows in &mut out {
            for (block, part) in split(rows, extent.blocks()).into_iter().enumerate() {
                posts[block].push(Post::Store(part));
            }
        }
        run_floats(&self.shared, extent, &prepared, posts)?;
        Ok(out)
    }

    /// A Linear or Conv that stands alone: its sums become a dense value.
    pub(super) fn synapse(&mut self, id: NodeId, steps: Range<usize>) -> Result<()> {
        let plan = self.shared.plan;
        let node = &plan.nodes[id];
        let PlanOp::Synapse { layer, fanout, .. } = &node.op else { return Ok(()) };
        self.account(id, fanout, &steps)?;
        let fixed = (0..self.samples()).all(|s| constant(&self.values, &node.edges, s));
        let computed = if fixed { steps.start..steps.start + 1 } else { steps.clone() };
        let extent = Extent { dims: node.dims, width: layer.width(), steps: computed.len() };
        let rows = match layer {
            Layer::Float(packed) => self.layer(id, packed, extent, computed)?,
            Layer::Integer(layer) => self.layer_currents(id, layer, extent, computed)?,
        };
        let step = node.dims.pixels() * extent.width;
        for (value, rows) in self.values[id].iter_mut().zip(rows) {
            value.extend_dense(steps.len(), |out| {
                for (t, out) in out.chunks_exact_mut(node.dims.len().max(1)).enumerate() {
                    let at = if fixed { 0 } else { t * step };
                    dense::unblock(&rows[at..], extent.steps * step, extent.width, node.dims, out);
                }
            });
        }
        Ok(())
    }

    /// A population takes `steps`.
    pub(super) fn population(&mut self, id: NodeId, steps: Range<usize>) -> Result<()> {
        let plan = self.shared.plan;
        let node = &plan.nodes[id];
        let PlanOp::Population(pop) = &node.op else { return Ok(()) };
        for parent in &pop.parents {
            let ParentSpec::Fused(layer) = parent else { continue };
            let PlanOp::Synapse { layer: weights, fanout, .. } = &plan.nodes[*layer].op else {
                continue;
            };
            self.account(*layer, fanout, &steps)?;
            if constant(&self.values, &plan.nodes[*layer].edges, 0) {
                self.constants(*layer, weights)?;
            }
        }
        let extent = Extent { dims: node.dims, width: pop.width, steps: steps.len() };
        let mut outs: Vec<Traces> =
            (0..self.samples()).map(|_| Traces::new(&self.shared, id, pop, extent)).collect();
        match &pop.cells {
            Cells::Float { params, .. } => {
                self.integrate(id, (pop, params), extent, &steps, &mut outs)?;
            }
            Cells::Integer { params, fraction, .. } => {
                self.integrate_units(id, (pop, params, *fraction), extent, &steps, &mut outs)?;
            }
        }
        for (s, out) in outs.iter().enumerate() {
            self.shared.control.check()?;
            self.emit(id, s, pop, extent, &steps, out);
        }
        Ok(())
    }

    /// For each sample and parent the lists that have to be made of analog sources first.
    pub(super) fn lists_made(
        &self,
        pop: &Population,
        steps: &Range<usize>,
    ) -> Vec<Vec<Vec<Option<Events>>>> {
        let of = |s: usize, parent: &ParentSpec| match parent {
            ParentSpec::Fused(layer) => {
                sparsify(&self.values, &self.shared.plan.nodes[*layer].edges, s, steps)
            }
            ParentSpec::Value(_) => Vec::new(),
        };
        (0..self.samples()).map(|s| pop.parents.iter().map(|p| of(s, p)).collect()).collect()
    }

    fn integrate(
        &mut self,
        id: NodeId,
        (pop, params): (&Population, &NeuronParams),
        extent: Extent,
        steps: &Range<usize>,
        outs: &mut [Traces],
    ) -> Result<()> {
        let plan = self.shared.plan;
        let samples = self.samples();
        let values = &self.values;
        let edges_of = |layer: NodeId| &plan.nodes[layer].edges[..];
        // What has to be converted first: lists of analog sources, rows of event sources.
        let made = self.lists_made(pop, steps);
        let rows: Vec<Vec<Vec<f32>>> = (0..samples)
            .map(|s| pop.parents.iter().map(|p| densify(values, p, s, steps)).collect())
            .collect();
        let mut prepared = Vec::with_capacity(samples);
        for s in 0..samples {
            let of = |k: usize, parent: &ParentSpec| match parent {
                ParentSpec::Fused(layer) => match (&self.constants.get(layer), edges_of(*layer)) {
                    (Some(data), edges) if constant(values, edges, s) => {
                        Prepared::Constant { data: &data[s] }
                    }
                    (_, edges) => {
                        let PlanOp::Synapse { layer: Layer::Float(packed), .. } =
                            &plan.nodes[*layer].op
                        else {
                            unreachable!("a fused parent of floats is a layer of floats")
                        };
                        prepare_lists(values, packed, edges, &made[s][k], s, steps)
                    }
                },
                ParentSpec::Value(edge) => {
                    let value = &values[edge.src][s];
                    let len = extent.dims.len();
                    let row = value.row(steps.start, edge.delay);
                    let data = value.dense_from(row).unwrap_or(&rows[s][k]);
                    let t_stride = if value.constant { 0 } else { len };
                    Prepared::Rows { data, t_stride, channels: extent.dims.c }
                }
            };
            prepared.push(pop.parents.iter().enumerate().map(|(k, p)| of(k, p)).collect());
        }
        let blocks = extent.blocks();
        let mut posts: Vec<Vec<Post<'_>>> = (0..blocks).map(|_| Vec::new()).collect();
        for (state, out) in self.states.iter_mut().zip(outs) {
            let state = &mut state.nodes[id];
            let parts = split(&mut state.v, blocks)
                .into_iter()
                .zip(split(&mut state.i, blocks))
                .zip(split(&mut state.n, blocks))
                .zip(split(&mut state.a, blocks))
                .zip(split(&mut state.r, blocks))
                .zip(split(&mut out.masks, blocks))
                .zip(split(&mut out.z, blocks))
                .zip(split(&mut out.v, blocks))
                .zip(split(&mut out.x, blocks));
            for (block, ((((((((v, i), n), a), r), masks), z), v_out), x_out)) in parts.enumerate()
            {
                posts[block].push(Post::Neuron(NeuronBlock {
                    params,
                    lanes: extent.mask(block),
                    v,
                    i,
                    n,
                    a,
                    r,
                    masks,
                    z,
                    v_out,
                    x_out,
                }));
            }
        }
        run_floats(&self.shared, extent, &prepared, posts)
    }

    /// What sample `s` of a population did goes into its value, the records and the counts.
    fn emit(
        &mut self,
        id: NodeId,
        s: usize,
        pop: &Population,
        extent: Extent,
        steps: &Range<usize>,
        out: &Traces,
    ) {
        let (dims, width) = (extent.dims, extent.width);
        let pixels = dims.pixels();
        let mask_stride = extent.steps * pixels;
        let z_stride = mask_stride * width;
        let wanted = self.shared.wanted(id);
        let value = &mut self.values[id][s];
        if !pop.fires() {
            value.extend_dense(extent.steps, |rows| {
                for (t, row) in rows.chunks_exact_mut(dims.len().max(1)).enumerate() {
                    dense::unblock(&out.v[t * pixels * width..], z_stride, width, dims, row);
                }
            });
        }
        for t in 0..if pop.fires() { extent.steps } else { 0 } {
            let masks = &out.masks[t * pixels..];
            let z = if out.z.is_empty() { &[] } else { &out.z[t * pixels * width..] };
            let count = |block: usize, p: usize, lane: usize| match z {
                [] => 1.0,
                z => z[block * z_stride + p * width + lane],
            };
            if let Some(events) = value.events_mut() {
                emit(pop, events, (masks, mask_stride), (z, z_stride));
            }
            let at = self.first_step + steps.start + t;
            let mut spikes = 0u64;
            for block in 0..extent.blocks() {
                let row = &masks[block * mask_stride..][..pixels];
                if z.is_empty() {
                    spikes += row.iter().map(|w| u64::from(w.count_ones())).sum::<u64>();
                    continue;
                }
                for (p, &word) in row.iter().enumerate() {
                    let mut word = word;
                    while word != 0 {
                        let lane = word.trailing_zeros() as usize;
                        word &= word - 1;
                        spikes = spikes.saturating_add(count(block, p, lane).abs() as u64);
                    }
                }
            }
            self.tallies[s][id].spikes[at] += spikes;
            if wanted.spikes {
                let record = self.records[s].spikes.entry(id).or_default();
                record.push_step(dims, masks, mask_stride, width, count);
            }
            if self.shared.plan.output == id {
                let readout = &mut self.readouts[s];
                readout.spikes(at, dims, masks, mask_stride, width, count);
            }
        }
        if wanted.v {
            let raster = self.records[s].v.entry(id).or_default();
            dense::append_raster(raster, &out.v, extent.steps, width, dims);
        }
        if wanted.current {
            let raster = self.records[s].current.entry(id).or_default();
            dense::append_raster(raster, &out.x, extent.steps, width, dims);
        }
        if self.shared.plan.output == id {
            let readout = &mut self.readouts[s];
            readout.membranes(&out.v, extent.steps, width, dims);
        }
    }
}

/// Where a population writes for one sample; parts that nobody wants are empty.
pub(super) struct Traces {
    pub(super) masks: Vec<u64>,
    pub(super) z: Vec<f32>,
    pub(super) v: Vec<f32>,
    pub(super) x: Vec<f32>,
}

impl Traces {
    fn new(shared: &Shared<'_>, id: NodeId, pop: &Population, extent: Extent) -> Self {
        let wanted = shared.wanted(id);
        let record = extent.lanes() * extent.steps;
        let room = |needed: bool| vec![0.0f32; if needed { record } else { 0 }];
        let masks = if pop.fires() { record / extent.width } else { 0 };
        Self {
            masks: vec![0; masks],
            z: room(pop.counts_spikes()),
            v: room(wanted.v || !pop.fires() || shared.reads_membranes(id)),
            x: room(wanted.current),
        }
    }
}
