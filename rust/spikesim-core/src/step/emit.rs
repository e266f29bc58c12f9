//! What a population emits in a step goes into its value.

use crate::kernels::events::{Emission, Events};
use crate::plan::Population;

/// Append a step of spikes: masks (and, where neurons emit more than one, their numbers) of blocks
/// that lie the given number of words (floats) apart.
pub(crate) fn emit(
    pop: &Population,
    events: &mut Events,
    (masks, mask_stride): (&[u64], usize),
    (z, z_stride): (&[f32], usize),
) {
    if pop.is_unit() && !events.is_graded() {
        events.push_masks(masks, mask_stride, pop.width);
    } else {
        let amplitude = |c, p| pop.amplitude.as_ref().map_or(1.0, |a| a.at(c, p));
        let emission = Emission { z, z_stride, amplitude: &amplitude };
        events.push_graded_masks(masks, mask_stride, pop.width, &emission);
    }
}
