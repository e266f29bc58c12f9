//! The JSON object that describes the network in a bundle, to a graph and back. Arrays are named
//! `<node>.<array>` and handed in and out by that name.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::json::{self, MAX_DEPTH};
use crate::error::{Error, Result};
use crate::graph::build::{MAX_EDGES, MAX_NODES};
use crate::graph::spec::Arrays;
use crate::graph::{Edge, Graph, Op, Readout, Tensor};

/// The format this version writes and the only one it reads.
pub const FORMAT: u64 = 1;

/// What stands in a file. Everything is there, `null` where it is not declared.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u64,
    #[allow(dead_code, reason = "says who wrote the file; nothing depends on it")]
    version: String,
    nodes: Vec<Map<String, Value>>,
    edges: Vec<(String, String, usize)>,
    output: Option<String>,
    readout: Option<Readout>,
    dt: Option<f64>,
    meta: Map<String, Value>,
}

/// The header of `graph`.
pub fn write(graph: &Graph) -> Value {
    let name = |id: usize| graph.nodes()[id].name.as_str();
    let nodes: Vec<Value> = graph
        .nodes()
        .iter()
        .map(|node| {
            let mut spec = node.op.spec();
            spec["name"] = json!(node.name);
            spec
        })
        .collect();
    let edges: Vec<_> =
        graph.edges().iter().map(|e| json!([name(e.src), name(e.dst), e.delay])).collect();
    json!({
        "format": FORMAT,
        "version": env!("CARGO_PKG_VERSION"),
        "nodes": nodes,
        "edges": edges,
        "output": graph.declared_output().map(name),
        "readout": graph.declared_readout(),
        "dt": graph.dt,
        "meta": graph.meta,
    })
}

/// Whether the free-form objects of `graph` nest no deeper than a header that is read may.
pub fn check_depth(graph: &Graph) -> Result<()> {
    // The object of the header lies around the network's meta; that, the list of nodes and the
    // node's object around a neuron's.
    let check = |place: &str, meta: &Map<String, Value>, around: usize| {
        let levels = MAX_DEPTH - around;
        // The object itself is one of the levels.
        if meta.values().all(|value| json::nests_within(value, levels - 1)) {
            return Ok(());
        }
        let problem = format!("meta is nested deeper than {levels} levels, expected at most those");
        Err(Error::graph(place, problem))
    };
    check("network", &graph.meta, 1)?;
    graph.nodes().iter().try_for_each(|node| match &node.op {
        Op::Neuron(neuron) => check(&node.name, &neuron.meta, 3),
        _ => Ok(()),
    })
}

/// The graph of a header; `arrays` are those of each node by name, and are used up.
pub fn read(header: Value, mut arrays: HashMap<String, Arrays>) -> Result<Graph> {
    let bad = |problem: String| Error::graph("header", problem);
    // The format first: another one may have another header altogether.
    match header.get("format") {
        Some(format) if format.as_u64() == Some(FORMAT) => {}
        Some(format) => {
            let problem = format!(
                "format is {format}, expected {FORMAT}; a later version of spikesim may read it"
            );
            return Err(bad(problem));
        }
        None => return Err(bad("format is missing, expected a number".into())),
    }
    let header: Header = serde_json::from_value(header).map_err(|e| bad(e.to_string()))?;
    debug_assert_eq!(header.format, FORMAT);
    if header.nodes.len() > MAX_NODES || header.edges.len() > MAX_EDGES {
        return Err(bad(format!(
            "there are {} nodes and {} edges, expected at most {MAX_NODES} and {MAX_EDGES}",
            header.nodes.len(),
            header.edges.len()
        )));
    }
    let (ids, specs) = named(header.nodes)?;
    let mut specs = specs.into_iter();
    let mut graph = input(specs.next())?;
    let incoming = edges(&header.edges, &ids)?;
    for (id, (name, spec)) in specs.enumerate().map(|(i, s)| (i + 1, s)) {
        // Concat joins the edges it is made with; any other node is made with its first. What
        // kind of value a node has depends on all of its edges, so that waits for validate().
        let concat = spec.get("kind").and_then(Value::as_str) == Some("concat");
        let mine = &incoming[id];
        let made_with = if concat { mine.len() } else { mine.len().min(1) };
        let sources: Vec<_> = mine[..made_with].iter().map(|e| (e.src, e.delay)).collect();
        if sources.is_empty() || sources.iter().any(|&(src, _)| src >= id) {
            let problem = "its first edge comes from no node before it, expected one that does";
            return Err(Error::graph(&name, problem));
        }
        let own = arrays.remove(&name).unwrap_or_default();
        graph.add_spec_unchecked(&name, &Value::Object(spec), own, &sources)?;
    }
    if let Some((node, own)) = arrays.into_iter().next() {
        let name = own.into_keys().next().unwrap_or_default();
        return Err(bad(format!(
            "array {name:?} belongs to {node:?}, expected a node of the file"
        )));
    }
    graph.set_edges(incoming, header.edges.iter().map(|(_, dst, _)| ids[dst.as_str()]))?;
    if let Some(name) = &header.output {
        graph.set_output(name)?;
    }
    graph.set_readout(header.readout);
    graph.set_dt(header.dt)?;
    graph.meta = header.meta;
    graph.validate()?;
    Ok(graph)
}

/// Name and specification of each node.
type Specs = Vec<(String, Map<String, Value>)>;

/// The index of each name, and the nodes with their names taken out.
fn named(nodes: Vec<Map<String, Value>>) -> Result<(HashMap<String, usize>, Specs)> {
    let mut ids = HashMap::with_capacity(nodes.len());
    let mut specs = Vec::with_capacity(nodes.len());
    for (id, mut node) in nodes.into_iter().enumerate() {
        let Some(Value::String(name)) = node.remove("name") else {
            let problem = format!("node {id} has no name, expected a string");
            return Err(Error::graph("header", problem));
        };
        if ids.insert(name.clone(), id).is_some() {
            let problem = format!("the node {name:?} is there twice, expected each name once");
            return Err(Error::graph("header", problem));
        }
        specs.push((name, node));
    }
    Ok((ids, specs))
}

/// The edges into each node, in the order of the file.
fn edges(list: &[(String, String, usize)], ids: &HashMap<String, usize>) -> Result<Vec<Vec<Edge>>> {
    let mut incoming = vec![Vec::new(); ids.len()];
    for (src, dst, delay) in list {
        let find = |name: &String| {
            ids.get(name).copied().ok_or_else(|| {
                let problem = format!("an edge names {name:?}, expected a node of the file");
                Error::graph("header", problem)
            })
        };
        let (src, dst) = (find(src)?, find(dst)?);
        incoming[dst].push(Edge { src, dst, delay: *delay });
    }
    Ok(incoming)
}

/// The network with nothing but its input, which the first node must be.
fn input(first: Option<(String, Map<String, Value>)>) -> Result<Graph> {
    let problem = "the first node is no input, expected {\"name\": \"input\", \"kind\": \"input\", \
                   \"shape\": […]}";
    let wrong = || Error::graph("header", problem);
    let (name, mut spec) = first.ok_or_else(wrong)?;
    let kind = spec.remove("kind");
    let shape = spec.remove("shape").and_then(|s| serde_json::from_value::<Vec<usize>>(s).ok());
    match (name.as_str(), kind, shape, spec.is_empty()) {
        ("input", Some(Value::String(kind)), Some(shape), true) if kind == "input" => {
            Graph::new(&shape)
        }
        _ => Err(wrong()),
    }
}

/// The names and tensors of a graph, in the order of its nodes.
pub fn tensors(graph: &Graph) -> Vec<(String, Tensor)> {
    let of_node = |node: &crate::graph::Node| {
        let name = node.name.clone();
        let arrays: Vec<_> = node.op.arrays().into_iter().map(|(n, t)| (n, t.clone())).collect();
        arrays.into_iter().map(move |(array, tensor)| (format!("{name}.{array}"), tensor))
    };
    graph.nodes().iter().flat_map(of_node).collect()
}
