//! A shaped, shared, read-only array of f32: what weights and parameters are held in.

use std::sync::Arc;

/// An f32 array in C order. Cloning shares the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Arc<[f32]>,
}

impl Tensor {
    /// `data` in C order; `None` when its length is not the product of `shape`.
    pub fn new(shape: Vec<usize>, data: impl Into<Arc<[f32]>>) -> Option<Self> {
        let data = data.into();
        let len = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        (len == data.len()).then_some(Self { shape, data })
    }

    /// A 0-d array.
    pub fn scalar(value: f32) -> Self {
        Self { shape: Vec::new(), data: Arc::from([value]) }
    }

    /// The shape; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values in C order.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The value of a 0-d (or one-element) array.
    pub fn as_scalar(&self) -> Option<f32> {
        (self.data.len() == 1).then(|| self.data[0])
    }

    /// The value that all elements have, if they have the same.
    pub fn uniform(&self) -> Option<f32> {
        let (&first, rest) = self.data.split_first()?;
        rest.iter().all(|&x| x == first).then_some(first)
    }

    /// The same values under another shape; `None` when it has not as many.
    pub fn reshaped(&self, shape: Vec<usize>) -> Option<Self> {
        Self::new(shape, self.data.clone())
    }

    /// A parameter's value for one neuron (C-order index) of a population of `shape`: the tensor
    /// holds one value, one a channel, or one a neuron.
    pub fn value_at(&self, neuron: usize, shape: &[usize]) -> f32 {
        let per_channel = shape.iter().skip(1).product::<usize>().max(1);
        match self.shape.len() {
            0 => self.data[0],
            1 if shape.len() > 1 => self.data[neuron / per_channel],
            _ => self.data[neuron],
        }
    }

    /// A tensor whose values `fill` writes into its own memory: no second copy on the way.
    pub fn filled<E>(
        shape: Vec<usize>,
        fill: impl FnOnce(&mut [f32]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let len = shape.iter().product();
        let mut data: Arc<[f32]> = std::iter::repeat_n(0.0, len).collect();
        match Arc::get_mut(&mut data) {
            Some(values) => fill(values)?,
            None => unreachable!("a new Arc has one owner"),
        }
        Ok(Self { shape, data })
    }
}
