//! Named arrays and texts in a safetensors file, written whole or not at all: what a model that
//! learned keeps of itself (`Estimator.save`).

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::atomic::write_atomically;
use crate::error::{Error, Result};

/// Element types by the name that NumPy has for them.
const DTYPES: [(&str, Dtype); 8] = [
    ("bool", Dtype::BOOL),
    ("uint8", Dtype::U8),
    ("uint16", Dtype::U16),
    ("uint32", Dtype::U32),
    ("uint64", Dtype::U64),
    ("int64", Dtype::I64),
    ("float32", Dtype::F32),
    ("float64", Dtype::F64),
];

/// An array as bytes, little-endian, in C order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// Its name in the file.
    pub name: String,
    /// NumPy's name of its element type.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements.
    pub data: Vec<u8>,
}

/// Writes arrays and texts in place of the file `path`.
pub fn save(path: &Path, texts: HashMap<String, String>, arrays: &[Bytes]) -> Result<()> {
    let bad = |problem: String| Error::Format { path: path.to_path_buf(), problem };
    let mut views = Vec::with_capacity(arrays.len());
    for array in arrays {
        let dtype = DTYPES.iter().find(|(name, _)| *name == array.dtype);
        let Some((_, dtype)) = dtype else {
            return Err(bad(format!("{} is of {}, which has no place", array.name, array.dtype)));
        };
        let view = TensorView::new(*dtype, array.shape.clone(), &array.data)
            .map_err(|e| bad(format!("{}: {e}", array.name)))?;
        views.push((array.name.as_str(), view));
    }
    let bytes = safetensors::serialize(views, Some(texts)).map_err(|e| bad(e.to_string()))?;
    write_atomically(path, |file| std::io::Write::write_all(file, &bytes))
}

/// The texts and the arrays of a file that [`save`] wrote.
pub fn load(path: &Path) -> Result<(HashMap<String, String>, Vec<Bytes>)> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let bad = |problem: String| Error::Format { path: path.to_path_buf(), problem };
    let damaged = |e: safetensors::SafeTensorError| {
        bad(format!("found no safetensors file or a damaged one ({e}), expected one"))
    };
    if fs::metadata(path).map_err(io)?.is_dir() {
        return Err(bad("found a directory, expected a file that save() wrote".into()));
    }
    let bytes = fs::read(path).map_err(io)?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
    let texts = metadata.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let mut arrays = Vec::new();
    for (name, view) in file.iter() {
        let dtype = DTYPES.iter().find(|(_, dtype)| *dtype == view.dtype());
        let Some((dtype, _)) = dtype else {
            return Err(bad(format!("{name} is of {:?}, expected another type", view.dtype())));
        };
        arrays.push(Bytes {
            name: name.to_string(),
            dtype: (*dtype).to_string(),
            shape: view.shape().to_vec(),
            data: view.data().to_vec(),
        });
    }
    arrays.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((texts, arrays))
}
