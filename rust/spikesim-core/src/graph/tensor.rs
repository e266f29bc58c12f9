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
}
