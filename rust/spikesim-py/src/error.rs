//! One way for errors to Python: each variant of the core's error becomes its class in
//! `spikesim.errors` (or the builtin it is), and a panic becomes InternalError.

use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError};
use pyo3::prelude::*;
pub use spikesim_core::error::caught;
use spikesim_core::{Error, Result};

/// The Python exception of `error`.
pub fn to_py(py: Python<'_>, error: Error) -> PyErr {
    let class = match &error {
        Error::Graph { .. } => "GraphError",
        Error::Shape { .. } => "ShapeError",
        Error::Unsupported { .. } => "UnsupportedError",
        Error::Format { .. } => "FormatError",
        Error::Input { .. } => "InputError",
        Error::Divergence { .. } => "DivergenceError",
        Error::Io { path, source } => {
            // With an errno, OSError itself picks the subclass (FileNotFoundError, …).
            let path = path.display().to_string();
            return match source.raw_os_error() {
                Some(errno) => {
                    let text = source.to_string();
                    let text = text.split(" (os error").next().unwrap_or_default().to_string();
                    PyOSError::new_err((errno, text, path))
                }
                None => PyOSError::new_err(error.to_string()),
            };
        }
        Error::Interrupted => return PyKeyboardInterrupt::new_err(()),
        _ => "InternalError",
    };
    named(py, class, error.to_string())
}

/// An exception of `spikesim.errors` by the name of its class.
fn named(py: Python<'_>, class: &str, message: String) -> PyErr {
    let made = py
        .import("spikesim.errors")
        .and_then(|errors| errors.getattr(class))
        .and_then(|class| class.call1((message,)));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// Runs `f` while attached to the interpreter; for calls that take no time.
pub fn attached<T>(py: Python<'_>, f: impl FnOnce() -> Result<T>) -> PyResult<T> {
    caught(f).map_err(|error| to_py(py, error))
}

/// Runs `f` detached from the interpreter, so that other Python threads go on meanwhile.
pub fn detached<T: Send>(py: Python<'_>, f: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    py.detach(|| caught(f)).map_err(|error| to_py(py, error))
}
