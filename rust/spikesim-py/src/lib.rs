//! The Python boundary of spikesim: convert, detach from the interpreter, call the core.

use pyo3::prelude::*;

/// The compiled part of spikesim.
#[pymodule(gil_used = false)]
fn _core(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
