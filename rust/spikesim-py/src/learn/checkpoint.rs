//! Named arrays in a file: what `spikesim.learn`'s estimators save and load.

use std::collections::HashMap;
use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use spikesim_core::formats::arrays::{self, Bytes};

use crate::error::detached;

/// A name, NumPy's name of the type, a shape, bytes.
type Entry = (String, String, Vec<usize>, Vec<u8>);
/// The same with bytes of Python's.
type Found<'py> = (String, String, Vec<usize>, Bound<'py, PyBytes>);

/// Write texts and arrays in place of the file `path`, whole or not at all.
#[pyfunction]
pub fn save_arrays(
    py: Python<'_>,
    path: PathBuf,
    texts: HashMap<String, String>,
    entries: Vec<Entry>,
) -> PyResult<()> {
    detached(py, || {
        let make = |(name, dtype, shape, data)| Bytes { name, dtype, shape, data };
        let entries: Vec<Bytes> = entries.into_iter().map(make).collect();
        arrays::save(&path, texts, &entries)
    })
}

/// The texts and the arrays of such a file.
#[pyfunction]
pub fn load_arrays(
    py: Python<'_>,
    path: PathBuf,
) -> PyResult<(HashMap<String, String>, Vec<Found<'_>>)> {
    let (texts, found) = detached(py, || arrays::load(&path))?;
    let give = |a: Bytes| (a.name, a.dtype, a.shape, PyBytes::new(py, &a.data));
    Ok((texts, found.into_iter().map(give).collect()))
}
