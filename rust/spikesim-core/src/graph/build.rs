//! Making a network: nodes one after the other, then further edges. A call that fails leaves the
//! network as it was.

use super::{Edge, Graph, Node, NodeId, Op, Readout, check, kind, shape, validate};
use crate::error::{Error, Result, tuple};

/// Longest node name, in bytes.
pub const MAX_NAME: usize = 256;

/// Most nodes of a network.
pub const MAX_NODES: usize = 16_384;

/// Most edges of a network.
pub const MAX_EDGES: usize = 4 * MAX_NODES;

/// Most steps a delay may have: what is in flight has to be kept.
pub const MAX_DELAY: usize = 65_536;

impl Graph {
    /// A network with an input of `input_shape` (one sample at one step) and nothing else; the
    /// input's node is called "input".
    pub fn new(input_shape: &[usize]) -> Result<Self> {
        shape::check_shape("network", "input_shape", input_shape)?;
        let shape = input_shape.to_vec();
        let input = Node {
            name: "input".into(),
            op: Op::Input { shape: shape.clone() },
            in_shape: shape.clone(),
            shape,
        };
        Ok(Self {
            nodes: vec![input],
            edges: Vec::new(),
            output: None,
            readout: None,
            dt: None,
            meta: serde_json::Map::new(),
        })
    }

    /// Adds a node fed by the nodes called `inputs`, without delay, in this order; by the node
    /// added before when there are none. Returns its index.
    pub fn add(&mut self, name: &str, op: Op, inputs: &[&str]) -> Result<NodeId> {
        let inputs: Vec<_> = inputs.iter().map(|&name| (name, 0)).collect();
        self.add_delayed(name, op, &inputs)
    }

    /// As [`Graph::add`], each input with a delay in steps.
    pub fn add_delayed(&mut self, name: &str, op: Op, inputs: &[(&str, usize)]) -> Result<NodeId> {
        let sources = self.resolve(name, inputs)?;
        self.add_from(name, op, &sources)
    }

    /// The nodes called `inputs`, or the one added before when there are none.
    pub fn resolve(&self, place: &str, inputs: &[(&str, usize)]) -> Result<Vec<(NodeId, usize)>> {
        if inputs.is_empty() {
            return Ok(vec![(self.nodes.len() - 1, 0)]);
        }
        inputs.iter().map(|&(name, delay)| Ok((self.node_id(place, name)?, delay))).collect()
    }

    /// As [`Graph::add_delayed`] with the indices of the sources.
    pub(crate) fn add_from(
        &mut self,
        name: &str,
        op: Op,
        sources: &[(NodeId, usize)],
    ) -> Result<NodeId> {
        let id = self.add_unchecked(name, op, sources)?;
        if let Err(error) = kind::check_pool(self, id) {
            self.nodes.truncate(id);
            self.edges.truncate(self.edges.len() - sources.len());
            return Err(error);
        }
        Ok(id)
    }

    /// As [`Graph::add_from`] without the check of the kinds of values, which depends on all the
    /// edges of the network: for a caller that adds some of them later and then validates.
    pub(crate) fn add_unchecked(
        &mut self,
        name: &str,
        mut op: Op,
        sources: &[(NodeId, usize)],
    ) -> Result<NodeId> {
        self.check_name(name)?;
        if self.nodes.len() >= MAX_NODES {
            let problem = format!("has {MAX_NODES} nodes already, expected no more");
            return Err(Error::graph("network", problem));
        }
        if matches!(op, Op::Input { .. }) {
            let problem = "is a second input, expected one; it is made with the network";
            return Err(Error::graph(name, problem));
        }
        self.check_room(name, sources.len())?;
        for &(_, delay) in sources {
            check_delay(name, delay)?;
        }
        let shapes: Vec<&[usize]> =
            sources.iter().map(|&(id, _)| self.nodes[id].shape.as_slice()).collect();
        check::operation(name, &mut op, shapes[0])?;
        let shape = shape::infer(name, &op, &shapes)?;
        let in_shape = shapes[0].to_vec();
        let id = self.nodes.len();
        self.nodes.push(Node { name: name.to_string(), op, in_shape, shape });
        self.edges.extend(sources.iter().map(|&(src, delay)| Edge { src, dst: id, delay }));
        Ok(id)
    }

    /// Adds an edge from `src` to `dst` that acts `delay` steps later, after the edges `dst` has.
    pub fn connect(&mut self, src: &str, dst: &str, delay: usize) -> Result<()> {
        let src = self.node_id("connect", src)?;
        let dst = self.node_id("connect", dst)?;
        let edge = Edge { src, dst, delay };
        let (source, target) = (&self.nodes[src].name, &self.nodes[dst]);
        if matches!(target.op, Op::Concat { .. }) {
            let problem = format!(
                "edge from {source:?} comes after a concat was made, expected all its inputs in \
                 add()"
            );
            return Err(Error::graph(&target.name, problem));
        }
        if self.edges.contains(&edge) {
            let problem = format!(
                "edge from {source:?} with delay {delay} is there already, expected it once"
            );
            return Err(Error::graph(&target.name, problem));
        }
        self.check_room(&target.name, 1)?;
        self.check_edge(edge)?;
        self.edges.push(edge);
        if let Err(error) = validate::cycles(self).and_then(|()| kind::check_pools(self)) {
            self.edges.pop();
            return Err(error);
        }
        Ok(())
    }

    /// Whether `more` edges, into `place`, are still within the limit.
    fn check_room(&self, place: &str, more: usize) -> Result<()> {
        let edges = self.edges.len().saturating_add(more);
        if edges > MAX_EDGES {
            let problem =
                format!("the network would have {edges} edges, expected at most {MAX_EDGES}");
            return Err(Error::graph(place, problem));
        }
        Ok(())
    }

    /// What has to hold of any edge, into a node that stands already.
    fn check_edge(&self, edge: Edge) -> Result<()> {
        let (source, target) = (&self.nodes[edge.src], &self.nodes[edge.dst]);
        let name = &target.name;
        check_delay(name, edge.delay)?;
        if matches!(target.op, Op::Input { .. }) {
            let problem = format!("edge from {:?} enters the input, expected a layer", source.name);
            return Err(Error::graph(name, problem));
        }
        // A concat's edges were checked against each other when it was made.
        if source.shape != target.in_shape && !matches!(target.op, Op::Concat { .. }) {
            let from = format!("edge from {:?}", source.name);
            let expected = format!("{} as the input of the node", tuple(&target.in_shape));
            return Err(Error::shape(name, from, &source.shape, expected));
        }
        Ok(())
    }

    /// Declares the output node.
    pub fn set_output(&mut self, name: &str) -> Result<()> {
        self.output = Some(self.node_id("output", name)?);
        Ok(())
    }

    /// Declares the readout; `None`: the default of the output node.
    pub fn set_readout(&mut self, readout: Option<Readout>) {
        self.readout = readout;
    }

    /// Declares the length of a step in seconds.
    pub fn set_dt(&mut self, dt: Option<f64>) -> Result<()> {
        check_dt(dt)?;
        self.dt = dt;
        Ok(())
    }

    /// The readout as declared, `None` where it is left to the output node.
    pub fn declared_readout(&self) -> Option<Readout> {
        self.readout
    }

    /// The output as declared, `None` where it is the last node added.
    pub fn declared_output(&self) -> Option<NodeId> {
        self.output
    }

    /// Shape of one sample at one step.
    pub fn input_shape(&self) -> &[usize] {
        &self.nodes[0].shape
    }

    /// The index of the node called `name`, or an error that lists what there is.
    pub fn node_id(&self, place: &str, name: &str) -> Result<NodeId> {
        self.find(name).ok_or_else(|| {
            let mut known: Vec<_> = self.nodes.iter().map(|n| n.name.as_str()).take(8).collect();
            if self.nodes.len() > known.len() {
                known.push("…");
            }
            let problem =
                format!("there is no node {name:?}, expected one of {}", known.join(", "));
            Error::graph(place, problem)
        })
    }

    fn check_name(&self, name: &str) -> Result<()> {
        let problem = if name.is_empty() {
            "the name is empty, expected at least one character".to_string()
        } else if name.len() > MAX_NAME {
            format!("the name has {} bytes, expected at most {MAX_NAME}", name.len())
        } else if name.chars().any(char::is_control) {
            format!("the name {name:?} has control characters, expected none")
        } else if self.find(name).is_some() {
            format!("the name {name:?} is taken, expected each name once; choose another")
        } else {
            return Ok(());
        };
        Err(Error::graph("network", problem))
    }
}

pub(super) fn check_dt(dt: Option<f64>) -> Result<()> {
    match dt {
        Some(dt) if !(dt.is_finite() && dt > 0.0) => {
            let problem = format!("dt is {dt}, expected a finite number of seconds above 0");
            Err(Error::graph("network", problem))
        }
        _ => Ok(()),
    }
}

fn check_delay(place: &str, delay: usize) -> Result<()> {
    if delay > MAX_DELAY {
        let problem = format!("delay is {delay} steps, expected at most {MAX_DELAY}");
        return Err(Error::graph(place, problem));
    }
    Ok(())
}

impl Graph {
    /// Puts the edges in place of those that the nodes were made with: `incoming` are the edges
    /// of each node in their order, `targets` the target of each edge in the order of declaration.
    /// For files, which hold edges of both origins in one list.
    pub(crate) fn set_edges(
        &mut self,
        incoming: Vec<Vec<Edge>>,
        targets: impl Iterator<Item = NodeId>,
    ) -> Result<()> {
        let mut next: Vec<_> = incoming.into_iter().map(Vec::into_iter).collect();
        let mut edges = Vec::new();
        for edge in targets.filter_map(|dst| next[dst].next()) {
            self.check_edge(edge)?;
            edges.push(edge);
        }
        self.edges = edges;
        Ok(())
    }
}
