//! The `.spikesim` bundle: a safetensors file of f32 arrays whose metadata holds the network as
//! JSON under the key "spikesim". docs/formats.md describes it.
//!
//! Nothing in a file is believed: its length, the header's length, every offset, shape and name
//! are checked before memory is taken for them, and no code can be in it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::Value;

use super::atomic::write_atomically;
use super::{bundle_header, json};
use crate::error::{Error, Result};
use crate::graph::spec::Arrays;
use crate::graph::{Graph, Tensor};

/// The metadata key of the network.
const KEY: &str = "spikesim";

/// Longest header, in bytes.
const MAX_HEADER: u64 = 64 << 20;

/// Bytes of a file that are converted at once.
const CHUNK: usize = 1 << 16;

/// Writes the network, if it is valid, in place of the file `path`.
pub fn save(graph: &Graph, path: &Path) -> Result<()> {
    let (header, tensors) = prepare(graph)?;
    write_atomically(path, |file| write(&header, &tensors, file))
}

/// The bytes that [`save`] would write.
pub fn to_bytes(graph: &Graph) -> Result<Vec<u8>> {
    let (header, tensors) = prepare(graph)?;
    let mut bytes = Vec::new();
    let failed = |e: io::Error| Error::Internal { message: e.to_string() };
    write(&header, &tensors, &mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The network that [`to_bytes`] wrote.
pub fn from_bytes(bytes: &[u8]) -> Result<Graph> {
    read(&mut &bytes[..], bytes.len() as u64).map_err(|p| placed(Path::new("bundle"), p))
}

/// Header and arrays of a valid network.
fn prepare(graph: &Graph) -> Result<(String, Vec<(String, Tensor)>)> {
    graph.validate()?;
    bundle_header::check_depth(graph)?;
    let tensors = bundle_header::tensors(graph);
    let header = header(graph, &tensors).map_err(|message| Error::Internal { message })?;
    if header.len() as u64 > MAX_HEADER {
        let problem =
            format!("the header has {} bytes, expected at most {MAX_HEADER}", header.len());
        return Err(Error::graph("network", problem));
    }
    Ok((header, tensors))
}

fn write(header: &str, tensors: &[(String, Tensor)], to: &mut dyn Write) -> io::Result<()> {
    to.write_all(&(header.len() as u64).to_le_bytes())?;
    to.write_all(header.as_bytes())?;
    let mut bytes = Vec::with_capacity(CHUNK);
    for (_, tensor) in tensors {
        for values in tensor.data().chunks(CHUNK / 4) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|x| x.to_le_bytes()));
            to.write_all(&bytes)?;
        }
    }
    Ok(())
}

/// The safetensors header, padded so that the arrays begin at a multiple of 8.
fn header(graph: &Graph, tensors: &[(String, Tensor)]) -> std::result::Result<String, String> {
    let mut end = 0;
    let infos = tensors.iter().map(|(name, tensor)| {
        let start = end;
        end += 4 * tensor.data().len();
        let (dtype, shape) = (Dtype::F32, tensor.shape().to_vec());
        (name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    });
    let network = HashMap::from([(KEY.to_string(), bundle_header::write(graph).to_string())]);
    let metadata = Metadata::new(Some(network), infos.collect()).map_err(|e| e.to_string())?;
    let mut text = serde_json::to_string(&metadata).map_err(|e| e.to_string())?;
    while text.len() % 8 != 0 {
        text.push(' ');
    }
    Ok(text)
}

/// The network in the bundle `path`.
pub fn load(path: &Path) -> Result<Graph> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    read(&mut BufReader::with_capacity(CHUNK, file), length).map_err(|p| placed(path, p))
}

/// A problem with the file's name in front.
fn placed(path: &Path, problem: Problem) -> Error {
    match problem {
        Problem::Io(source) if source.kind() != ErrorKind::UnexpectedEof => {
            Error::Io { path: path.to_path_buf(), source }
        }
        Problem::Io(_) => bad(path, "the file became shorter while it was read".into()),
        Problem::Format(problem) => bad(path, problem),
        // Whatever a network can have wrong, here it is the file that is wrong.
        Problem::Core(error) => bad(path, error.to_string()),
    }
}

fn bad(path: &Path, problem: String) -> Error {
    Error::Format { path: path.to_path_buf(), problem }
}

/// What can be wrong with a file, before its name is put in front.
enum Problem {
    Io(io::Error),
    Format(String),
    Core(Error),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::Format(problem)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

/// The network in `length` bytes.
fn read(from: &mut impl Read, length: u64) -> std::result::Result<Graph, Problem> {
    if length < 8 {
        let problem = format!("the file has {length} bytes, expected a header; is it cut off?");
        return Err(problem.into());
    }
    let mut eight = [0; 8];
    from.read_exact(&mut eight)?;
    let header_length = u64::from_le_bytes(eight);
    if header_length > MAX_HEADER || header_length > length - 8 {
        return Err(format!(
            "the header should have {header_length} bytes, expected at most {MAX_HEADER} and no \
             more than the {} that follow; is the file cut off?",
            length - 8
        )
        .into());
    }
    let mut text = vec![0; header_length as usize];
    from.read_exact(&mut text)?;
    let text = String::from_utf8(text).map_err(|e| format!("the header is no UTF-8: {e}"))?;
    let (network, metadata) = parse(&text)?;
    drop(text);

    let present = length - 8 - header_length;
    if metadata.data_len() as u64 != present {
        return Err(format!(
            "the arrays should have {} bytes, found {present}; is the file cut off?",
            metadata.data_len()
        )
        .into());
    }
    let mut arrays: HashMap<String, Arrays> = HashMap::new();
    for name in metadata.offset_keys() {
        let Some((node, array)) = name.rsplit_once('.') else {
            return Err(format!("array {name:?} names no node, expected <node>.<array>").into());
        };
        let shape = metadata.info(&name).map(|info| info.shape.clone()).unwrap_or_default();
        let tensor = Tensor::filled(shape, |values| read_values(from, values))?;
        arrays.entry(node.to_string()).or_default().insert(array.to_string(), tensor);
    }
    Ok(bundle_header::read(network, arrays)?)
}

/// The network's description and the checked table of arrays. The crate checks that arrays
/// neither overlap nor leave holes, and that shapes fit their bytes without overflow.
fn parse(text: &str) -> std::result::Result<(Value, Metadata), Problem> {
    let header = json::strict(text).map_err(|e| format!("the header is no proper JSON: {e}"))?;
    let network = header.get("__metadata__").and_then(|m| m.get(KEY)).and_then(Value::as_str);
    let network = network.ok_or_else(|| {
        "found a safetensors file without a network, expected a .spikesim bundle".to_string()
    })?;
    let network =
        json::strict(network).map_err(|e| format!("the network is no proper JSON: {e}"))?;
    for (name, info) in
        header.as_object().into_iter().flatten().filter(|(n, _)| *n != "__metadata__")
    {
        let dtype = info.get("dtype").unwrap_or(&Value::Null);
        if dtype.as_str() != Some("F32") {
            return Err(format!("array {name:?} has dtype {dtype}, expected \"F32\"").into());
        }
    }
    let metadata =
        serde_json::from_value(header).map_err(|e| format!("the table of arrays is wrong: {e}"))?;
    Ok((network, metadata))
}

/// Fills `values` with little-endian f32.
fn read_values(from: &mut impl Read, values: &mut [f32]) -> io::Result<()> {
    let mut bytes = [0; 4096];
    for values in values.chunks_mut(bytes.len() / 4) {
        let bytes = &mut bytes[..4 * values.len()];
        from.read_exact(bytes)?;
        for (value, four) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *value = f32::from_le_bytes(*four);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::graph::Op;
    use crate::graph::node::Linear;

    fn network() -> Graph {
        let mut graph = Graph::new(&[3]).unwrap();
        let weight = Tensor::new(vec![2, 3], vec![1.0, -2.5, 3e-39, 4.0, 5.0, f32::MAX]).unwrap();
        graph.add("a.b", Op::Linear(Linear { weight, bias: None, delay: None }), &[]).unwrap();
        graph.add("if", Op::Neuron(Box::default()), &[]).unwrap();
        graph.connect("if", "if", 2).unwrap();
        graph.set_output("if").unwrap();
        graph.dt = Some(0.1);
        graph
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = std::env::temp_dir().join(format!("spikesim-test-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("net.spikesim");
        save(&network(), &path).unwrap();
        let loaded = crate::formats::load(&path).unwrap();
        assert_eq!(loaded, network());
        // A save that fails leaves the file and nothing beside it.
        assert!(save(&Graph::new(&[3]).unwrap(), &path).is_err());
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        assert_eq!(load(&path).unwrap(), network());
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn every_prefix_is_an_error() {
        let (graph, mut bytes) = (network(), Vec::new());
        let header = header(&graph, &bundle_header::tensors(&graph)).unwrap();
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header.as_bytes());
        for (_, tensor) in bundle_header::tensors(&graph) {
            bytes.extend(tensor.data().iter().flat_map(|x| x.to_le_bytes()));
        }
        for n in 0..bytes.len() {
            let cut = read(&mut &bytes[..n], n as u64);
            assert!(matches!(cut, Err(Problem::Format(_))), "{n} bytes");
            // Cut while it is read: the length was another one a moment ago.
            let shrunk = read(&mut &bytes[..n], bytes.len() as u64);
            assert!(matches!(shrunk, Err(Problem::Io(_))), "{n} bytes");
        }
        assert!(read(&mut &*bytes, bytes.len() as u64).is_ok());
    }
}
