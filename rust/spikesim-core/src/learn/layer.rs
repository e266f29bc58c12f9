//! The weights that learn, `[block of outputs][tap][input][output of the block]` as the block kernel
//! reads them, so that both directions are cheap. A pre spike meets the outputs of one input: they
//! are contiguous, and what it brings is a sum of whole rows. A post spike meets the inputs of one
//! output: a lane of as many rows, of which only those are touched whose input has a trace, and
//! post spikes are few where winners are. The other way round every pre spike would gather, and
//! they are the many.

use super::rule::{Change, Normalise};
use crate::graph::node::{Conv, Linear};
use crate::graph::{NodeId, Op, Tensor};
use crate::plan::Packed;
use crate::{Error, Result};

/// A Linear or Conv with plastic weights.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) node: NodeId,
    pub(super) name: String,
    pub(super) packed: Packed,
    /// Input and output channels of a group.
    pub(super) in_group: usize,
    pub(super) out_group: usize,
    outputs: usize,
    pub(super) normalise: Option<(Normalise, Change)>,
    /// Outputs of which a weight has changed since they were normalised.
    changed: Vec<bool>,
    /// Whether every weight so far has been a finite number.
    finite: bool,
}

/// The weights of a Linear or Conv, (out, in/groups, taps…).
pub(super) fn weight_of(op: &Op) -> Option<(&Tensor, usize)> {
    match op {
        Op::Linear(Linear { weight, .. }) => Some((weight, 1)),
        Op::Conv(Conv { weight, groups, .. }) => Some((weight, *groups)),
        _ => None,
    }
}

impl Layer {
    pub(super) fn new(
        (node, name): (NodeId, &str),
        packed: &Packed,
        (outputs, groups): (usize, usize),
    ) -> Self {
        Self {
            node,
            name: name.to_string(),
            packed: packed.clone(),
            in_group: packed.geometry.in_c / groups,
            out_group: outputs / groups,
            outputs,
            normalise: None,
            changed: vec![false; outputs],
            finite: true,
        }
    }

    /// The outputs that see input channel `c`.
    pub(super) fn outputs_of(&self, c: usize) -> std::ops::Range<usize> {
        let first = c / self.in_group * self.out_group;
        first..first + self.out_group
    }

    /// The input channels that output `o` sees.
    pub(super) fn inputs_of(&self, o: usize) -> std::ops::Range<usize> {
        let first = o / self.out_group * self.in_group;
        first..first + self.in_group
    }

    fn taps(&self) -> usize {
        self.packed.geometry.kh * self.packed.geometry.kw
    }

    /// The weight at `at`, of output `o`, becomes `w + delta` within the bounds.
    #[inline]
    pub(super) fn add(&mut self, at: usize, o: usize, delta: f32, change: &Change) {
        let w = &mut self.packed.weights_mut()[at];
        let sum = *w + delta;
        self.finite &= sum.is_finite();
        let new = change.bounded(sum);
        self.changed[o] |= new != *w;
        *w = new;
    }

    /// Scales the outputs that have changed (all of them with `all`) to their sum.
    pub(super) fn normalise(&mut self, all: bool) {
        let Some((Normalise { sum: wanted, .. }, change)) = self.normalise else { return };
        for o in 0..self.outputs {
            if !(std::mem::take(&mut self.changed[o]) || all) {
                continue;
            }
            let (packed, inputs) = (&self.packed, self.inputs_of(o));
            let row = |tap| inputs.clone().map(move |c| packed.index(o, tap, c));
            let places: Vec<usize> = (0..self.taps()).flat_map(row).collect();
            let weights = self.packed.weights_mut();
            let sum = places.iter().fold(0.0, |sum, &at| sum + weights[at]);
            // Weights that add up to nothing have no scale.
            if sum <= 0.0 || sum.is_nan() {
                continue;
            }
            let factor = wanted / sum;
            for at in places {
                weights[at] = change.bounded(weights[at] * factor);
            }
        }
    }

    /// An error once a weight has left the finite numbers.
    pub(super) fn check(&self) -> Result<()> {
        if self.finite {
            return Ok(());
        }
        let problem = "a weight has left the finite numbers, expected rates that hold together; \
                       use smaller rates or bounds";
        Err(Error::divergence(&self.name, problem))
    }

    /// For each weight in the order of the graph its place in [`Packed::weights`] and its output.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.outputs).flat_map(move |o| {
            self.inputs_of(o).flat_map(move |c| {
                (0..self.taps()).map(move |tap| (self.packed.index(o, tap, c), o))
            })
        })
    }

    /// The weights in the order of the graph.
    pub(super) fn export(&self) -> Vec<f32> {
        self.places().map(|(at, _)| self.packed.weights()[at]).collect()
    }

    /// Takes weights in the order of the graph.
    pub(super) fn import(&mut self, data: &[f32]) {
        let places: Vec<_> = self.places().map(|(at, _)| at).collect();
        let weights = self.packed.weights_mut();
        places.iter().zip(data).for_each(|(&at, &w)| weights[at] = w);
    }

    /// Which outputs wait for their normalisation.
    pub(super) fn changed(&mut self) -> &mut Vec<bool> {
        &mut self.changed
    }
}
