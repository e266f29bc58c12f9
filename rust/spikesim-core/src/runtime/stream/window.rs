//! What a stream answers with: the readout (S7) over all its steps so far, or over the last few.

use std::collections::VecDeque;

use crate::graph::Readout;

/// The readout of a stream, from what each step alone would answer.
#[derive(Clone, Debug)]
pub(super) struct Window {
    readout: Readout,
    /// Steps of the window, or all.
    most: Option<usize>,
    /// The answers of the window's steps, oldest first.
    rows: VecDeque<Vec<f32>>,
    /// All steps so far.
    steps: u64,
    sum: Vec<f32>,
}

impl Window {
    pub(super) fn new(readout: Readout, len: usize, most: Option<usize>) -> Self {
        let start = if readout == Readout::MaxV { f32::NEG_INFINITY } else { 0.0 };
        Self { readout, most, rows: VecDeque::new(), steps: 0, sum: vec![start; len] }
    }

    /// One more step: what it alone answers, C order (with `first_spike` 0 for a spike, else 1).
    pub(super) fn push(&mut self, row: Vec<f32>) -> Vec<f32> {
        let step = self.steps;
        self.steps += 1;
        let Some(most) = self.most else {
            take(self.readout, &mut self.sum, &row, step, step == 0);
            return finish(self.readout, self.sum.clone(), self.steps);
        };
        let spare = if self.rows.len() == most { self.rows.pop_front() } else { None };
        self.rows.push_back(row);
        let mut sum = spare.unwrap_or_else(|| vec![0.0; self.sum.len()]);
        sum.copy_from_slice(&self.sum);
        for (k, row) in self.rows.iter().enumerate() {
            take(self.readout, &mut sum, row, k as u64, k == 0);
        }
        finish(self.readout, sum, self.rows.len() as u64)
    }
}

/// Step `step` of a window joins the steps before it.
fn take(readout: Readout, sum: &mut [f32], row: &[f32], step: u64, first: bool) {
    let pairs = sum.iter_mut().zip(row);
    match readout {
        Readout::Sum | Readout::Mean | Readout::Count => pairs.for_each(|(s, x)| *s += x),
        Readout::LastV => sum.copy_from_slice(row),
        Readout::MaxV => pairs.for_each(|(s, x)| *s = s.max(*x)),
        // Infinite until it has fired.
        Readout::FirstSpike => pairs.for_each(|(s, x)| {
            if first {
                *s = f32::INFINITY;
            }
            if *x == 0.0 {
                *s = s.min(step as f32);
            }
        }),
    }
}

fn finish(readout: Readout, mut sum: Vec<f32>, steps: u64) -> Vec<f32> {
    let n = steps as f32;
    match readout {
        Readout::Mean => sum.iter_mut().for_each(|s| *s /= n),
        Readout::FirstSpike => sum.iter_mut().for_each(|s| *s = s.min(n)),
        _ => {}
    }
    sum
}
