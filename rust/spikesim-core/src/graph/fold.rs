//! Batch normalisation directly after a Linear or Conv is *defined* as that layer with other
//! weights: this makes the graph that says so.

use super::node::{BatchNorm, Op};
use super::{Edge, Graph, Node, NodeId, Tensor};
use crate::error::{Error, Result};

impl Graph {
    /// The same network with each BatchNorm folded that directly follows a Linear or Conv: it is
    /// the layer's only consumer, the layer its only input, no delay between them, and the layer
    /// itself is not the output. The node disappears; its consumers and the output are rewired to
    /// the layer. Other BatchNorms stay. Folding goes from front to back, so a second BatchNorm
    /// after a folded one is folded too.
    ///
    /// With s = weight / sqrt(running_var + eps) in f64, a layer's W and b (0 where it has none)
    /// become f32(W·s) and f32((b − running_mean)·s + bias).
    pub fn fold(&self) -> Result<Self> {
        let mut graph = self.clone();
        let mut gone = vec![false; graph.nodes.len()];
        for (id, gone) in gone.iter_mut().enumerate() {
            let Op::BatchNorm(norm) = &graph.nodes[id].op else { continue };
            let Some(before) = graph.folds_into(id) else { continue };
            let op = folded(&graph.nodes[id].name, &graph.nodes[before].op, norm)?;
            graph.nodes[before].op = op;
            graph.edges.retain(|e| e.dst != id);
            for edge in graph.edges.iter_mut().filter(|e| e.src == id) {
                edge.src = before;
            }
            if graph.output() == id {
                graph.output = Some(before);
            }
            *gone = true;
        }
        graph.drop_nodes(&gone);
        Ok(graph)
    }

    /// The layer that the BatchNorm `id` is folded into, if it is.
    fn folds_into(&self, id: NodeId) -> Option<NodeId> {
        let mut incoming = self.incoming(id);
        let (edge, None) = (incoming.next()?, incoming.next()) else { return None };
        let layer = matches!(self.nodes[edge.src].op, Op::Linear(_) | Op::Conv(_));
        let sole = self.outgoing(edge.src).count() == 1;
        (layer && sole && edge.delay == 0 && self.output() != edge.src).then_some(edge.src)
    }

    /// Removes nodes that no edge and no output refers to any more.
    pub(super) fn drop_nodes(&mut self, gone: &[bool]) {
        let mut new_id = Vec::with_capacity(gone.len());
        let mut kept = 0;
        for &gone in gone {
            new_id.push(kept);
            kept += usize::from(!gone);
        }
        // Where the last node is the output by default it is still there: one that was folded
        // has handed the output on by name.
        self.output = self.output.map(|id| new_id[id]);
        let nodes: Vec<Node> = std::mem::take(&mut self.nodes);
        self.nodes = nodes.into_iter().zip(gone).filter(|(_, g)| !**g).map(|(n, _)| n).collect();
        for Edge { src, dst, .. } in &mut self.edges {
            (*src, *dst) = (new_id[*src], new_id[*dst]);
        }
    }
}

/// `layer` with `norm` in its weights; `place` names the BatchNorm in errors.
fn folded(place: &str, layer: &Op, norm: &BatchNorm) -> Result<Op> {
    let scale: Vec<f64> = std::iter::zip(norm.weight.data(), norm.running_var.data())
        .map(|(&w, &var)| f64::from(w) / (f64::from(var) + norm.eps).sqrt())
        .collect();
    let weights = |weight: &Tensor| {
        let fan_in = weight.data().len() / scale.len();
        let scaled = weight.data().chunks_exact(fan_in).zip(&scale);
        let data: Vec<f32> = scaled
            .flat_map(|(row, s)| row.iter().map(move |&w| (f64::from(w) * s) as f32))
            .collect();
        finite(place, weight.shape().to_vec(), data)
    };
    let biases = |bias: &Option<Tensor>| {
        let data: Vec<f32> = (0..scale.len())
            .map(|c| {
                let b = bias.as_ref().map_or(0.0, |b| f64::from(b.data()[c]));
                let mean = f64::from(norm.running_mean.data()[c]);
                ((b - mean) * scale[c] + f64::from(norm.bias.data()[c])) as f32
            })
            .collect();
        finite(place, vec![scale.len()], data).map(Some)
    };
    let mut op = layer.clone();
    match &mut op {
        Op::Linear(l) => (l.weight, l.bias) = (weights(&l.weight)?, biases(&l.bias)?),
        Op::Conv(c) => (c.weight, c.bias) = (weights(&c.weight)?, biases(&c.bias)?),
        _ => {}
    }
    Ok(op)
}

/// Folding may overflow f32 even where all that goes in is finite.
fn finite(place: &str, shape: Vec<usize>, data: Vec<f32>) -> Result<Tensor> {
    if !data.iter().all(|x| x.is_finite()) {
        let problem = "folded weights are beyond f32, expected finite ones; check weight, \
                       running_var and eps";
        return Err(Error::graph(place, problem));
    }
    Tensor::new(shape, data).ok_or_else(|| Error::graph(place, "folded weights lost their shape"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::graph::node::Linear;
    use crate::graph::{Neuron, Readout};

    fn tensor(shape: &[usize], data: &[f32]) -> Tensor {
        Tensor::new(shape.to_vec(), data.to_vec()).unwrap()
    }

    fn linear() -> Op {
        let weight = tensor(&[2, 3], &[1., 2., 3., 4., 5., 6.]);
        Op::Linear(Linear { weight, bias: None, delay: None })
    }

    fn norm() -> Op {
        Op::BatchNorm(BatchNorm {
            weight: tensor(&[2], &[2.0, 1.0]),
            bias: tensor(&[2], &[0.5, 0.25]),
            running_mean: tensor(&[2], &[1.0, -1.0]),
            running_var: tensor(&[2], &[4.0, 1.0]),
            eps: 0.0,
        })
    }

    #[test]
    fn folds_into_the_layer_before_it() {
        let mut graph = Graph::new(&[3]).unwrap();
        graph.add("fc", linear(), &[]).unwrap();
        graph.add("bn", norm(), &[]).unwrap();
        graph.add("if", Op::Neuron(Box::default()), &[]).unwrap();
        graph.connect("bn", "if", 2).unwrap();
        let folded = graph.fold().unwrap();
        assert_eq!(
            folded.nodes.iter().map(|n| &*n.name).collect::<Vec<_>>(),
            ["input", "fc", "if"]
        );
        assert_eq!(
            folded.edges,
            [(0, 1, 0), (1, 2, 0), (1, 2, 2)].map(|(src, dst, delay)| Edge { src, dst, delay })
        );
        let Op::Linear(layer) = &folded.nodes[1].op else { panic!() };
        assert_eq!(layer.weight.data(), [1., 2., 3., 4., 5., 6.]);
        assert_eq!(layer.bias.as_ref().unwrap().data(), [-0.5, 1.25]);
        assert_eq!((folded.output(), folded.readout()), (2, Readout::Count));
        folded.validate().unwrap();
    }

    #[test]
    fn an_output_that_is_folded_moves_to_the_layer() {
        let mut graph = Graph::new(&[3]).unwrap();
        graph.add("fc", linear(), &[]).unwrap();
        graph.add("bn", norm(), &[]).unwrap();
        graph.add("bn2", norm(), &[]).unwrap();
        let folded = graph.fold().unwrap();
        assert_eq!((folded.nodes.len(), folded.output()), (2, 1));
        // A declared output before other nodes keeps its node.
        graph.add("if", Op::Neuron(Box::default()), &[]).unwrap();
        graph.set_output("bn2").unwrap();
        let folded = graph.fold().unwrap();
        assert_eq!(folded.nodes[folded.output()].name, "fc");
    }

    #[test]
    fn stays_where_the_layer_has_another_consumer_or_is_the_output() {
        let mut graph = Graph::new(&[3]).unwrap();
        graph.add("fc", linear(), &[]).unwrap();
        graph.add("bn", norm(), &[]).unwrap();
        graph.set_output("fc").unwrap();
        assert_eq!(graph.fold().unwrap(), graph);
        let mut graph = Graph::new(&[3]).unwrap();
        graph.add("fc", linear(), &[]).unwrap();
        graph.add("bn", norm(), &[]).unwrap();
        graph.add("if", Op::Neuron(Box::<Neuron>::default()), &["fc"]).unwrap();
        assert_eq!(graph.fold().unwrap(), graph);
        let mut graph = Graph::new(&[3]).unwrap();
        graph.add("fc", linear(), &[]).unwrap();
        graph.add_delayed("bn", norm(), &[("fc", 1)]).unwrap();
        assert_eq!(graph.fold().unwrap(), graph);
    }
}
