//! Bytes to graphs and back.
//!
//! What a file is, its first bytes decide; where they say nothing, its extension.

pub mod arrays;
mod atomic;
pub mod bundle;
mod bundle_header;
pub mod json;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::graph::Graph;

/// The network in the file `path`.
pub fn load(path: &Path) -> Result<Graph> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let metadata = fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a directory" } else { "no regular file" };
        return Err(unexpected(path, found));
    }
    let mut head = [0; 16];
    let mut file = File::open(path).map_err(io)?;
    let mut known = 0;
    while known < head.len() {
        match file.read(&mut head[known..]).map_err(io)? {
            0 => break,
            n => known += n,
        }
    }
    drop(file);
    match &head[..known] {
        [b'\x89', b'H', b'D', b'F', ..] => Err(nir(path)),
        _ if extension(path, "nir") => Err(nir(path)),
        // A length, then a JSON object: safetensors.
        [_, _, _, _, _, _, _, _, b'{', ..] => bundle::load(path),
        [] => Err(unexpected(path, "an empty file")),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Err(unexpected(path, "a zip archive (torch or .npz?)")),
        [0x80, 2..=5, ..] => Err(unexpected(path, "a Python pickle")),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Err(unexpected(path, "a NumPy array")),
        _ if extension(path, "spikesim") => {
            Err(unexpected(path, "no safetensors header (cut off or another file?)"))
        }
        _ => Err(unexpected(path, "a file of unknown format")),
    }
}

/// Writes the network, if it is valid, to `path`; what was there stays whole until then.
pub fn save(graph: &Graph, path: &Path) -> Result<()> {
    if extension(path, "spikesim") {
        return bundle::save(graph, path);
    }
    if extension(path, "nir") {
        return Err(nir(path));
    }
    let problem = "the extension is not known, expected .spikesim";
    Err(Error::Format { path: path.to_path_buf(), problem: problem.into() })
}

fn extension(path: &Path, expected: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(expected))
}

fn unexpected(path: &Path, found: &str) -> Error {
    let problem = format!("found {found}, expected a .spikesim bundle");
    Error::Format { path: path.to_path_buf(), problem }
}

fn nir(path: &Path) -> Error {
    let advice = "the Python package has it: spikesim.load, Network.save";
    Error::unsupported(path.display().to_string(), "reading and writing NIR", advice)
}
