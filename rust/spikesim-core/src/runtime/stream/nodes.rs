//! Nodes without weights on sparse steps: what `runtime::eval` and `kernels::listops` do, where
//! something is.

use super::frame::{Frame, Mixer, total};
use super::reach::{Places, Reach};
use crate::kernels::events::multiplicity_anew;
use crate::kernels::window::Dims;
use crate::plan::{Delays, PlanNode, PlanOp, PoolMode};

/// One node without weights or state.
#[derive(Debug)]
pub(super) struct Weightless {
    /// Of a pool.
    reach: Option<Reach>,
    /// Elements that are 1: what a maximum of plain spikes gives.
    ones: Places,
}

/// A frame and, for a Delay, the class of the elements that take it.
pub(super) type Source<'a> = (&'a Frame, u32);

impl Weightless {
    /// The node, if it can work on events; `from` has the dims of its first source.
    pub(super) fn new(node: &PlanNode, from: Dims) -> Option<Self> {
        if node.dense {
            return None;
        }
        match &node.op {
            PlanOp::Pool { mode: PoolMode::CurrentMax, .. } => None,
            PlanOp::Pool { windows, .. } => {
                let reach = Some(Reach::of_windows(windows, from.h, from.w));
                Some(Self { reach, ones: Places::new(node.dims.len()) })
            }
            PlanOp::Reshape
            | PlanOp::Concat { .. }
            | PlanOp::Upsample { .. }
            | PlanOp::Delay { .. }
            | PlanOp::Add => Some(Self { reach: None, ones: Places::default() }),
            _ => None,
        }
    }

    /// One step: `sources` in the order of the edges.
    pub(super) fn step(
        &mut self,
        node: &PlanNode,
        sources: &[Source<'_>],
        mixer: &mut Mixer,
        out: &mut Frame,
    ) {
        let joins = matches!(node.op, PlanOp::Concat { .. } | PlanOp::Add | PlanOp::Delay { .. });
        if sources.len() > 1 && !joins {
            let mut sum = Frame::new(sources[0].0.dims());
            for (source, _) in sources {
                source.events().for_each(|(at, value, mult)| mixer.push(at, value, mult));
            }
            mixer.sum(true, &mut sum);
            return self.step(node, &[(&sum, 0)], mixer, out);
        }
        let graded = sources.iter().any(|(source, _)| source.is_graded());
        if sources.iter().all(|(source, _)| source.is_empty()) {
            return out.clear(graded);
        }
        match &node.op {
            PlanOp::Pool { windows, mode, .. } => {
                let Some(reach) = &self.reach else { return out.clear(false) };
                let source = sources[0].0;
                let c = source.dims().c;
                if *mode == PoolMode::SpikeMax && !graded {
                    // The largest of ones and zeros is one.
                    for places in
                        source.places().chunk_by(|a, b| *a as usize / c == *b as usize / c)
                    {
                        let pixel = places[0] as usize / c;
                        for o in reach.of(pixel) {
                            places.iter().for_each(|&at| {
                                self.ones.insert(o * c + (at as usize - pixel * c));
                            });
                        }
                    }
                    out.clear(false);
                    self.ones.drain(|at| out.push(at, 1.0, [1, 0]));
                    return out.finish();
                }
                for (at, value, mult) in source.events() {
                    let (pixel, channel) = (at as usize / c, at as usize % c);
                    for o in reach.of(pixel) {
                        mixer.push((o * c + channel) as u32, value, mult);
                    }
                }
                let spans = |at: u32| {
                    let p = at as usize / c;
                    (&windows.y[p / windows.x.len()], &windows.x[p % windows.x.len()])
                };
                match mode {
                    PoolMode::Sum => mixer.sum(true, out),
                    PoolMode::Average => mixer.join(true, out, |at, events| {
                        let (sum, mult) = total(events);
                        let (wy, wx) = spans(at);
                        Some((sum / (wy.divisor * wx.divisor) as f32, mult))
                    }),
                    PoolMode::SpikeMax | PoolMode::CurrentMax => {
                        mixer.join(graded, out, |at, events| {
                            let (wy, wx) = spans(at);
                            let (mut largest, mut hits) = (f32::NEG_INFINITY, 0);
                            for (value, _) in events {
                                largest = largest.max(value);
                                hits += 1;
                            }
                            let silent = hits < wy.full * wx.full;
                            let value = if silent { largest.max(0.0) } else { largest };
                            (value != 0.0).then(|| (value, multiplicity_anew(value)))
                        });
                    }
                }
            }
            PlanOp::Reshape => {
                let source = sources[0].0;
                let (from, to) = (source.dims(), node.dims);
                let (pixels, out_pixels) = (from.pixels(), to.pixels());
                for (at, value, mult) in source.events() {
                    let flat = at as usize % from.c * pixels + at as usize / from.c;
                    mixer.push((flat % out_pixels * to.c + flat / out_pixels) as u32, value, mult);
                }
                mixer.place(graded, out);
            }
            PlanOp::Upsample { factor: [fy, fx] } => {
                let source = sources[0].0;
                let (from, to) = (source.dims(), node.dims);
                for (at, value, mult) in source.events() {
                    let (p, c) = (at as usize / from.c, at as usize % from.c);
                    let (y, x) = (p / from.w * fy, p % from.w * fx);
                    for oy in y..y + fy {
                        for ox in x..x + fx {
                            mixer.push(((oy * to.w + ox) * to.c + c) as u32, value, mult);
                        }
                    }
                }
                mixer.place(graded, out);
            }
            PlanOp::Concat { axis } => {
                let to = node.dims;
                let mut first = [0usize; 3];
                for (source, _) in sources {
                    let d = source.dims();
                    for (at, value, mult) in source.events() {
                        let (p, c) = (at as usize / d.c, at as usize % d.c);
                        let (y, x) = (p / d.w + first[1], p % d.w + first[2]);
                        mixer.push(((y * to.w + x) * to.c + c + first[0]) as u32, value, mult);
                    }
                    first[*axis] += [d.c, d.h, d.w][*axis];
                }
                mixer.place(graded, out);
            }
            PlanOp::Delay { delays } => {
                for (source, class) in sources {
                    for (at, value, mult) in source.events() {
                        if delays.class[at as usize] == *class {
                            mixer.push(at, value, mult);
                        }
                    }
                }
                mixer.sum(graded || node.edges.len() > 1, out);
            }
            _ => {
                for (source, _) in sources {
                    source.events().for_each(|(at, value, mult)| mixer.push(at, value, mult));
                }
                mixer.sum(graded || sources.len() > 1, out);
            }
        }
    }
}

/// Steps of the past that a node looks at along each of its edges, with the class of the elements
/// that do.
pub(super) fn looks_back(node: &PlanNode) -> Vec<(usize, u32)> {
    match &node.op {
        PlanOp::Delay { delays: Delays { steps, .. } } => {
            steps.iter().zip(0..).map(|(&delay, class)| (delay, class)).collect()
        }
        _ => vec![(0, 0)],
    }
}
