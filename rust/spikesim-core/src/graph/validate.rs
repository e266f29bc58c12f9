//! What can only be said of the whole network: cycles, the order of execution, the readout.

use super::neuron::Spikes;
use super::{Edge, Graph, NodeId, Op, Readout, build, kind};
use crate::error::{Error, Result};

impl Graph {
    /// Checks the network as a whole; what concerns one node was checked when it was added.
    pub fn validate(&self) -> Result<()> {
        if self.nodes.len() < 2 {
            let problem = "there is no node but the input, expected at least one; add() a layer";
            return Err(Error::graph("network", problem));
        }
        cycles(self)?;
        kind::check_pools(self)?;
        build::check_dt(self.dt)?;
        readout(self)
    }

    /// The nodes in an order in which each comes after all that it sees in the same step; of
    /// those that could come next, the one added first.
    pub fn order(&self) -> Result<Vec<NodeId>> {
        let mut waiting = vec![0usize; self.nodes.len()];
        let mut out: Vec<Vec<NodeId>> = vec![Vec::new(); self.nodes.len()];
        let immediate = immediate(self);
        for edge in self.edges.iter().filter(|e| e.delay == 0 && immediate[e.dst]) {
            waiting[edge.dst] += 1;
            out[edge.src].push(edge.dst);
        }
        let mut ready: std::collections::BTreeSet<NodeId> =
            (0..self.nodes.len()).filter(|&id| waiting[id] == 0).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(id) = ready.pop_first() {
            order.push(id);
            for &dst in &out[id] {
                waiting[dst] -= 1;
                if waiting[dst] == 0 {
                    ready.insert(dst);
                }
            }
        }
        if order.len() < self.nodes.len() {
            cycles(self)?;
        }
        Ok(order)
    }
}

/// For each node whether it sees in a step what an edge without delay brings in that step.
fn immediate(graph: &Graph) -> Vec<bool> {
    graph.nodes.iter().map(|node| node.op.delays()[0] == 0).collect()
}

/// Every cycle needs a delay, or a step would need its own result, and a neuron, or it would
/// grow without a rule.
pub(super) fn cycles(graph: &Graph) -> Result<()> {
    let immediate = immediate(graph);
    if let Some(cycle) = find_cycle(graph, |e| e.delay == 0 && immediate[e.dst]) {
        let problem = format!(
            "cycle {cycle} has no delay, expected at least one step in it; give the edge that \
             closes it one: connect(..., delay=1)"
        );
        return Err(Error::graph("network", problem));
    }
    let neuron = |id: NodeId| matches!(graph.nodes[id].op, Op::Neuron(_));
    if let Some(cycle) = find_cycle(graph, |e| !neuron(e.src) && !neuron(e.dst)) {
        let problem =
            format!("cycle {cycle} passes through no neuron, expected one in it; add one");
        return Err(Error::graph("network", problem));
    }
    Ok(())
}

/// A cycle of the edges that `take` takes, as "a -> b -> a".
fn find_cycle(graph: &Graph, take: impl Fn(&Edge) -> bool) -> Option<String> {
    let mut out: Vec<Vec<NodeId>> = vec![Vec::new(); graph.nodes.len()];
    for edge in graph.edges.iter().filter(|e| take(e)) {
        out[edge.src].push(edge.dst);
    }
    // Depth first with an own stack: a network may be deeper than the thread's.
    let mut state = vec![0u8; graph.nodes.len()]; // 0 new, 1 on the path, 2 done
    for start in 0..graph.nodes.len() {
        if state[start] != 0 {
            continue;
        }
        state[start] = 1;
        let mut path = vec![(start, 0usize)];
        while let Some((id, next)) = path.last_mut() {
            let Some(&dst) = out[*id].get(*next) else {
                state[*id] = 2;
                path.pop();
                continue;
            };
            *next += 1;
            match state[dst] {
                0 => {
                    state[dst] = 1;
                    path.push((dst, 0));
                }
                1 => {
                    let from = path.iter().position(|&(id, _)| id == dst).unwrap_or(0);
                    let ids = path[from..].iter().map(|&(id, _)| id).chain([dst]);
                    let names: Vec<_> = ids.map(|id| graph.nodes[id].name.as_str()).collect();
                    return Some(names.join(" -> "));
                }
                _ => {}
            }
        }
    }
    None
}

impl Readout {
    /// The readout's name in Python and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::LastV => "last_v",
            Self::MaxV => "max_v",
            Self::Count => "count",
            Self::FirstSpike => "first_spike",
        }
    }

    /// The readout called `name`.
    pub fn from_name(name: &str) -> Result<Self> {
        let all = [Self::Sum, Self::Mean, Self::LastV, Self::MaxV, Self::Count, Self::FirstSpike];
        all.into_iter().find(|r| r.name() == name).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|r| r.name()).collect();
            let problem = format!("there is no readout {name:?}, expected {}", names.join(", "));
            Error::graph("network", problem)
        })
    }
}

fn readout(graph: &Graph) -> Result<()> {
    let node = &graph.nodes[graph.output()];
    let readout = graph.readout();
    let (fits, expected) = match (readout, &node.op) {
        (Readout::Sum | Readout::Mean, _) => (true, ""),
        (Readout::LastV | Readout::MaxV, op) => (matches!(op, Op::Neuron(_)), "a neuron"),
        (Readout::Count | Readout::FirstSpike, op) => {
            (matches!(op, Op::Neuron(n) if n.rules.spikes != Spikes::None), "a neuron that spikes")
        }
    };
    if fits {
        return Ok(());
    }
    let problem = format!(
        "readout {:?} of {:?}, expected {expected} as the output node; set another output or \
         readout",
        readout.name(),
        node.name
    );
    Err(Error::graph("network", problem))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::graph::ValueKind;

    /// input -> a -> b -> c, `a` and `c` neurons.
    fn chain() -> Graph {
        let mut graph = Graph::new(&[2]).unwrap();
        graph.add("a", Op::Neuron(Box::default()), &[]).unwrap();
        graph.add("b", Op::Add, &[]).unwrap();
        graph.add("c", Op::Neuron(Box::default()), &[]).unwrap();
        graph
    }

    #[test]
    fn nodes_are_ordered_by_their_edges() {
        let mut graph = chain();
        assert_eq!(graph.order().unwrap(), [0, 1, 2, 3]);
        graph.add_delayed("d", Op::Add, &[("c", 1)]).unwrap();
        graph.connect("d", "a", 0).unwrap();
        assert_eq!(graph.order().unwrap(), [0, 4, 1, 2, 3]);
    }

    #[test]
    fn a_cycle_is_named() {
        let mut graph = chain();
        let error = graph.connect("c", "b", 0).unwrap_err().to_string();
        assert!(error.starts_with("network: cycle b -> c -> b has no delay"), "{error}");
        assert_eq!(graph.edges.len(), 3);
        graph.connect("c", "b", 1).unwrap();
        let error = graph.connect("b", "b", 1).unwrap_err().to_string();
        assert!(error.starts_with("network: cycle b -> b passes through no neuron"), "{error}");
        // As it can only come from a file.
        graph.edges.push(Edge { src: 3, dst: 1, delay: 0 });
        assert!(graph.validate().is_err());
        assert!(graph.order().is_err());
    }

    #[test]
    fn deep_networks_do_not_need_a_deep_stack() {
        let mut graph = Graph::new(&[1]).unwrap();
        for id in 1..4000 {
            graph.add(&id.to_string(), Op::Add, &[]).unwrap();
        }
        graph.validate().unwrap();
        assert_eq!(graph.order().unwrap().len(), 4000);
    }

    #[test]
    fn kinds_follow_the_edges() {
        use ValueKind::{Currents, Input, Spikes};
        let mut graph = chain();
        graph.add("in", Op::Add, &["input"]).unwrap();
        graph.add("mixed", Op::Add, &["input", "a"]).unwrap();
        let scale = Op::Scale { scale: crate::graph::Tensor::scalar(2.0) };
        graph.add("scale", scale, &["a"]).unwrap();
        let expected = [Input, Spikes, Spikes, Spikes, Input, Spikes, Currents];
        assert_eq!(crate::graph::value_kinds(&graph), expected);
        graph.connect("scale", "b", 1).unwrap();
        assert_eq!(crate::graph::value_kinds(&graph)[2], Currents);
        assert_eq!(crate::graph::value_kinds(&graph)[3], Spikes);
    }
}
