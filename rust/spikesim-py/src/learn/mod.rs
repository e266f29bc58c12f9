//! The boundary of `spikesim.learn`: a file for each model.

mod checkpoint;
mod conductance;
mod conductance_model;
mod conv;
mod diehl_cook;
mod network;
mod samples;
mod sem;

use std::sync::{Mutex, MutexGuard, TryLockError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// What `mutex` guards, unless another call has it: one at a time, says `busy`.
fn exclusive<'a, T>(mutex: &'a Mutex<T>, busy: &'static str) -> PyResult<MutexGuard<'a, T>> {
    match mutex.try_lock() {
        Ok(guard) => Ok(guard),
        Err(TryLockError::Poisoned(guard)) => Ok(guard.into_inner()),
        Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(busy)),
    }
}

/// Add what this module has to `_core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<diehl_cook::DiehlCook>()?;
    module.add_function(wrap_pyfunction!(diehl_cook::poisson_rasters, module)?)?;
    module.add_function(wrap_pyfunction!(checkpoint::save_arrays, module)?)?;
    module.add_function(wrap_pyfunction!(checkpoint::load_arrays, module)?)?;
    module.add_class::<network::Learner>()?;
    module.add_class::<conv::ConvNet>()?;
    module.add_class::<sem::Sem>()?;
    module.add_class::<conductance::Conductance>()?;
    module.add_class::<conductance_model::ConductanceModel>()
}
