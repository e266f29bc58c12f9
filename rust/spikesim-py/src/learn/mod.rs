//! The boundary of `spikesim.learn`: a file for each model.

mod conductance;

use pyo3::prelude::*;

/// Add what this module has to `_core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<conductance::Conductance>()?;
    Ok(())
}
