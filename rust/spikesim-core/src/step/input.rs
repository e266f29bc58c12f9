//! What a run is given.

/// The input of a run, C order: (N, …) where `constant`, else (T, N, …).
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The values.
    pub data: &'a [f32],
    /// N.
    pub samples: usize,
    /// T.
    pub steps: usize,
    /// The same at every step.
    pub constant: bool,
}

impl Input<'_> {
    /// The values of one sample of `len` values at one step, C order.
    pub(crate) fn at(&self, sample: usize, step: usize, len: usize) -> &[f32] {
        let step = if self.constant { 0 } else { step };
        let at = (step * self.samples + sample) * len;
        &self.data[at..at + len]
    }
}
