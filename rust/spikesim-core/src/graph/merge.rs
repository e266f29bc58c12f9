//! Delays that are the same for all elements or synapses: nothing but longer edges.

use super::node::{Conv, Linear, Op};
use super::{Edge, Graph};

impl Graph {
    /// Takes delays that all elements share into the edges: a Delay with one edge into it
    /// disappears unless it is the output, and what it fed is fed by its source, later; a layer
    /// whose synapses all have one delay has none. The network means the same; edges may become
    /// longer than a single one may be declared.
    pub(crate) fn merge_delays(&mut self) {
        for (id, node) in self.nodes.iter_mut().enumerate() {
            let (Op::Linear(Linear { delay, .. }) | Op::Conv(Conv { delay, .. })) = &mut node.op
            else {
                continue;
            };
            let Some(steps) = delay.as_ref().and_then(|delay| delay.uniform()) else { continue };
            *delay = None;
            for edge in self.edges.iter_mut().filter(|e| e.dst == id) {
                edge.delay += steps as usize;
            }
        }
        let output = self.output();
        let mut gone = vec![false; self.nodes.len()];
        for (id, gone) in gone.iter_mut().enumerate() {
            let Op::Delay { delay } = &self.nodes[id].op else { continue };
            let (Some(steps), true) = (delay.uniform(), id != output) else { continue };
            let incoming: Vec<Edge> = self.incoming(id).copied().collect();
            let [before] = incoming[..] else { continue };
            for edge in self.edges.iter_mut().filter(|e| e.src == id) {
                let delay = before.delay + steps as usize + edge.delay;
                *edge = Edge { src: before.src, delay, ..*edge };
            }
            self.edges.retain(|e| e.dst != id);
            *gone = true;
        }
        self.drop_nodes(&gone);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::graph::Tensor;

    fn delay(values: &[f32]) -> Op {
        let tensor = match values {
            [one] => Tensor::scalar(*one),
            many => Tensor::new(vec![many.len()], many.to_vec()).unwrap(),
        };
        Op::Delay { delay: tensor }
    }

    fn edges(graph: &Graph) -> Vec<(&str, &str, usize)> {
        let name = |id: usize| graph.nodes()[id].name.as_str();
        graph.edges().iter().map(|e| (name(e.src), name(e.dst), e.delay)).collect()
    }

    #[test]
    fn chains_of_equal_delays_become_one_edge() {
        let mut graph = Graph::new(&[2]).unwrap();
        graph.add("a", delay(&[2.0]), &[]).unwrap();
        graph.add_delayed("b", delay(&[3.0, 3.0]), &[("a", 1)]).unwrap();
        graph.add("if", Op::Neuron(Box::default()), &["b", "input", "a"]).unwrap();
        graph.merge_delays();
        let expected = [("input", "if", 6), ("input", "if", 0), ("input", "if", 2)];
        assert_eq!(edges(&graph), expected);
    }

    #[test]
    fn synapses_that_are_all_equally_late_have_no_delay() {
        let layer = |delay: &[f32]| {
            let delay = Tensor::new(vec![1, 2], delay.to_vec());
            Op::Linear(Linear {
                weight: Tensor::new(vec![1, 2], [1.0; 2]).unwrap(),
                bias: None,
                delay,
            })
        };
        let mut graph = Graph::new(&[2]).unwrap();
        graph.add_delayed("same", layer(&[3.0, 3.0]), &[("input", 1)]).unwrap();
        graph.connect("input", "same", 0).unwrap();
        graph.add("own", layer(&[3.0, 2.0]), &["input"]).unwrap();
        let own = graph.nodes[2].op.clone();
        graph.merge_delays();
        let expected = [("input", "same", 4), ("input", "same", 3), ("input", "own", 0)];
        assert_eq!(edges(&graph), expected);
        assert_eq!([1, 2].map(|id| graph.nodes[id].op.delays()), [[0, 0], [2, 3]]);
        assert_eq!(graph.nodes[2].op, own);
    }

    #[test]
    fn delays_of_their_own_and_outputs_stay() {
        for (values, sources) in [(&[1.0, 2.0][..], &["input"][..]), (&[1.0], &["input", "if"])] {
            let mut graph = Graph::new(&[2]).unwrap();
            graph.add("if", Op::Neuron(Box::default()), &[]).unwrap();
            graph.add("d", delay(values), sources).unwrap();
            graph.add("li", Op::Neuron(Box::default()), &[]).unwrap();
            let before = graph.clone();
            graph.merge_delays();
            assert_eq!(graph, before);
        }
        let mut graph = Graph::new(&[2]).unwrap();
        graph.add("d", delay(&[1.0]), &[]).unwrap();
        let before = graph.clone();
        graph.merge_delays();
        assert_eq!(graph, before);
    }
}
