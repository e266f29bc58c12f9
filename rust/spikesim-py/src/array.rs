//! NumPy arrays to the core's tensors and back: one copy each way, nothing borrowed for longer
//! than a call.

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use spikesim_core::graph::Tensor;

/// A float32 array in C order, copied.
pub fn to_tensor(name: &str, array: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    let wrong = || {
        let found = array.get_type().name().map(|n| n.to_string()).unwrap_or_default();
        PyTypeError::new_err(format!("{name}: found {found}, expected a float32 array in C order"))
    };
    let array: PyReadonlyArrayDyn<'_, f32> = array.extract().map_err(|_| wrong())?;
    if !array.is_c_contiguous() {
        return Err(wrong());
    }
    let shape = array.shape().to_vec();
    let data = array.as_slice().map_err(|_| wrong())?;
    Tensor::new(shape, data).ok_or_else(wrong)
}

/// A new float32 array with the tensor's values.
pub fn from_tensor<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    PyArray1::from_slice(py, tensor.data()).reshape(tensor.shape())
}
