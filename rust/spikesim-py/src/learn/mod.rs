//! The boundary of `spikesim.learn`: a file for each model.

use pyo3::prelude::*;

/// Add what this module has to `_core`.
pub fn register(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
