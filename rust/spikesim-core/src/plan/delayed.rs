//! Layers whose synapses have delays of their own, by source.

use super::PlanOp;
use crate::graph::Tensor;
use crate::kernels::block::Geometry;
use crate::kernels::scatter::{Synapse, Synapses};

/// The layer with `weight` and as many `delay`s, (out, in/groups, ky, kx).
pub(super) fn layer(
    (weight, delay): (&Tensor, &Tensor),
    bias: Option<&Tensor>,
    geometry: Geometry,
    (outputs, groups): (usize, usize),
) -> PlanOp {
    let (in_group, out_group) = (geometry.in_c / groups, outputs / groups);
    let taps = geometry.kh * geometry.kw;
    let (weight, delay) = (weight.data(), delay.data());
    let of = |c: usize, synapses: &mut Vec<Synapse>| {
        let first = c / in_group * out_group;
        for output in first..first + out_group {
            let at = (output * in_group + c % in_group) * taps;
            synapses.extend((0..taps).map(|tap| Synapse {
                delay: delay[at + tap] as usize,
                ky: tap / geometry.kw,
                kx: tap % geometry.kw,
                output,
                weight: weight[at + tap],
            }));
        }
    };
    let synapses = Box::new(Synapses::new(geometry, outputs, of));
    PlanOp::Delayed { synapses, bias: bias.map_or_else(Vec::new, |bias| bias.data().to_vec()) }
}
