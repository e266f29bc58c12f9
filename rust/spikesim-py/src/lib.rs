//! The Python boundary of spikesim: convert, detach from the interpreter, call the core.
//! `python/spikesim/_core.pyi` is its stub.

mod array;
mod error;
mod graph;
mod learn;
mod simulator;
mod stream;

use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;

/// The compiled part of spikesim.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    if cfg!(debug_assertions) {
        let text = c"spikesim was built without optimisation and is slow; build it with --release";
        PyErr::warn(module.py(), &module.py().get_type::<PyRuntimeWarning>(), text, 2)?;
    }
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<graph::Graph>()?;
    simulator::register(module)?;
    stream::register(module)?;
    learn::register(module)?;
    Ok(())
}
