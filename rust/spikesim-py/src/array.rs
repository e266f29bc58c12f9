//! NumPy arrays to the core's tensors and back: one copy each way, nothing borrowed for longer
//! than a call.

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use spikesim_core::Error;
use spikesim_core::graph::Tensor;

use crate::error::to_py;

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

/// The values of an array in C order. A copy: another Python thread may write to the array while
/// this one is detached.
pub fn copied(
    py: Python<'_>,
    place: &str,
    array: &PyReadonlyArrayDyn<'_, f32>,
) -> PyResult<Vec<f32>> {
    array.as_slice().map(<[f32]>::to_vec).map_err(|_| {
        to_py(py, Error::input(place, "x is not in C order, expected a C-contiguous array"))
    })
}

/// A new float32 array with the tensor's values.
pub fn from_tensor<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    PyArray1::from_slice(py, tensor.data()).reshape(tensor.shape())
}
