//! One written form of an operation, for Python and for files: a JSON object with "kind" and the
//! discrete attributes, and named f32 arrays with everything else.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::attributes::{
    AdaptiveAttributes, ConcatAttributes, ConvAttributes, FlattenAttributes, NoAttributes,
    NormAttributes, PoolAttributes, UpsampleAttributes,
};
use super::neuron::{Neuron, NeuronRules};
use super::node::{BatchNorm, Conv, Gate, Linear, Op, Pool, PoolKind};
use super::{Graph, NodeId, Tensor};
use crate::error::{Error, Result};

/// Arrays by name.
pub type Arrays = BTreeMap<String, Tensor>;

/// Every kind a specification can have.
pub const KINDS: [&str; 23] = [
    "linear",
    "conv1d",
    "conv2d",
    "sum_pool1d",
    "sum_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "spike_max_pool1d",
    "spike_max_pool2d",
    "current_max_pool1d",
    "current_max_pool2d",
    "rate_max_pool1d",
    "rate_max_pool2d",
    "adaptive_avg_pool2d",
    "flatten",
    "batch_norm",
    "scale",
    "delay",
    "concat",
    "upsample",
    "add",
    "neuron",
    "input",
];

/// The operation that `spec` and `arrays` describe, for an input of `axes` axes (negative axes
/// count from its end). `place` names the node in errors.
pub fn parse(place: &str, spec: &Value, mut arrays: Arrays, axes: usize) -> Result<Op> {
    let Value::Object(object) = spec else {
        return Err(Error::graph(place, "the description is no JSON object, expected one"));
    };
    let mut object = object.clone();
    let kind = match object.remove("kind") {
        Some(Value::String(kind)) => kind,
        Some(other) => {
            return Err(Error::graph(place, format!("kind is {other}, expected a string")));
        }
        None => return Err(Error::graph(place, "kind is missing, expected the operation's name")),
    };
    let mut take = Taker { place, kind: &kind, arrays: &mut arrays };
    let op = match kind.as_str() {
        "input" => {
            return Err(Error::graph(place, "is a second input, expected one; it is node 0"));
        }
        "linear" => {
            take.attributes::<NoAttributes>(object)?;
            Op::Linear(Linear {
                weight: take.array("weight")?,
                bias: take.optional("bias"),
                delay: take.optional("delay"),
            })
        }
        "conv1d" => {
            let a = take.attributes::<ConvAttributes<1>>(object)?;
            Op::Conv(Conv {
                dims: 1,
                weight: take.array("weight")?,
                bias: take.optional("bias"),
                delay: take.optional("delay"),
                stride: [1, a.stride[0]],
                padding: [[0, 0], a.padding[0]],
                dilation: [1, a.dilation[0]],
                groups: a.groups,
            })
        }
        "conv2d" => {
            let a = take.attributes::<ConvAttributes<2>>(object)?;
            Op::Conv(Conv {
                dims: 2,
                weight: take.array("weight")?,
                bias: take.optional("bias"),
                delay: take.optional("delay"),
                stride: a.stride,
                padding: a.padding,
                dilation: a.dilation,
                groups: a.groups,
            })
        }
        "adaptive_avg_pool2d" => {
            let a = take.attributes::<AdaptiveAttributes>(object)?;
            Op::AdaptiveAvgPool { output_size: a.output_size }
        }
        "flatten" => {
            let a = take.attributes::<FlattenAttributes>(object)?;
            Op::Flatten {
                start_dim: take.axis("start_dim", a.start_dim, axes)?,
                end_dim: take.axis("end_dim", a.end_dim, axes)?,
            }
        }
        "batch_norm" => {
            let a = take.attributes::<NormAttributes>(object)?;
            Op::BatchNorm(BatchNorm {
                weight: take.array("weight")?,
                bias: take.array("bias")?,
                running_mean: take.array("running_mean")?,
                running_var: take.array("running_var")?,
                eps: a.eps,
            })
        }
        "scale" => {
            take.attributes::<NoAttributes>(object)?;
            Op::Scale { scale: take.array("scale")? }
        }
        "delay" => {
            take.attributes::<NoAttributes>(object)?;
            Op::Delay { delay: take.array("delay")? }
        }
        "concat" => {
            let a = take.attributes::<ConcatAttributes>(object)?;
            Op::Concat { axis: take.axis("axis", a.axis, axes)? }
        }
        "upsample" => {
            let a = take.attributes::<UpsampleAttributes>(object)?;
            Op::Upsample { scale_factor: a.scale_factor }
        }
        "add" => {
            take.attributes::<NoAttributes>(object)?;
            Op::Add
        }
        "neuron" => take.neuron(object)?,
        other => match pool_kind(other) {
            Some((dims, kind)) => take.pool(dims, kind, object)?,
            None => {
                let known = KINDS.join(", ");
                let problem = format!("kind {other:?} is not known, expected one of {known}");
                return Err(Error::graph(place, problem));
            }
        },
    };
    match arrays.keys().next() {
        Some(name) => {
            let problem = format!("array {name:?} has no meaning for {kind}, expected none of it");
            Err(Error::graph(place, problem))
        }
        None => Ok(op),
    }
}

/// (spatial axes, kind) of a pool's name.
fn pool_kind(name: &str) -> Option<(usize, PoolKind)> {
    let dims = match name.get(name.len().checked_sub(2)?..)? {
        "1d" => 1,
        "2d" => 2,
        _ => return None,
    };
    let kind = match &name[..name.len() - 2] {
        "sum_pool" => PoolKind::Sum,
        "avg_pool" => PoolKind::Avg { count_include_pad: true },
        "spike_max_pool" => PoolKind::MaxSpikes,
        "current_max_pool" => PoolKind::MaxCurrents,
        "rate_max_pool" => PoolKind::RateMax { gate: Gate::default() },
        _ => return None,
    };
    Some((dims, kind))
}

/// Takes the parts of one operation out of its description.
struct Taker<'a> {
    place: &'a str,
    kind: &'a str,
    arrays: &'a mut Arrays,
}

impl Taker<'_> {
    fn attributes<T: DeserializeOwned>(&self, object: Map<String, Value>) -> Result<T> {
        serde_json::from_value(Value::Object(object)).map_err(|error| {
            let problem = format!("the attributes of {} are wrong: {error}", self.kind);
            Error::graph(self.place, problem)
        })
    }

    fn optional(&mut self, name: &str) -> Option<Tensor> {
        self.arrays.remove(name)
    }

    fn array(&mut self, name: &str) -> Result<Tensor> {
        self.optional(name).ok_or_else(|| {
            let problem = format!("array {name:?} is missing, expected it with {}", self.kind);
            Error::graph(self.place, problem)
        })
    }

    fn axis(&self, name: &str, axis: i64, axes: usize) -> Result<usize> {
        let resolved = if axis < 0 { axis + axes as i64 } else { axis };
        usize::try_from(resolved).ok().filter(|&a| a < axes).ok_or_else(|| {
            let problem = format!("{name} is {axis}, expected an axis of an input with {axes}");
            Error::graph(self.place, problem)
        })
    }

    fn pool(&self, dims: usize, kind: PoolKind, object: Map<String, Value>) -> Result<Op> {
        let a = if dims == 1 {
            self.attributes::<PoolAttributes<1>>(object)?.into_image()
        } else {
            self.attributes::<PoolAttributes<2>>(object)?
        };
        let wrong = |problem: String| Err(Error::graph(self.place, problem));
        let without =
            |name: &str| wrong(format!("{name} has no meaning for {}, expected none", self.kind));
        let kind = match (kind, a.count_include_pad, a.gate) {
            (PoolKind::Avg { .. }, _, Some(_)) => return without("gate"),
            (PoolKind::Avg { .. }, Some(count_include_pad), _) => {
                PoolKind::Avg { count_include_pad }
            }
            (PoolKind::Avg { .. }, None, _) => {
                return wrong("count_include_pad is missing, expected true or false".into());
            }
            (_, Some(_), _) => return without("count_include_pad"),
            (PoolKind::RateMax { .. }, _, Some(gate)) => PoolKind::RateMax { gate },
            (PoolKind::RateMax { .. }, _, None) => {
                return wrong("gate is missing, expected \"count\" or \"argmax\"".into());
            }
            (_, _, Some(_)) => return without("gate"),
            (kind, None, None) => kind,
        };
        let PoolAttributes { kernel_size, stride, padding, ceil_mode, .. } = a;
        Ok(Op::Pool(Pool { dims, kind, kernel_size, stride, padding, ceil_mode }))
    }

    fn neuron(&mut self, mut object: Map<String, Value>) -> Result<Op> {
        let meta = match object.remove("meta") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(meta)) => meta,
            Some(other) => {
                let problem = format!("meta is {other}, expected a JSON object");
                return Err(Error::graph(self.place, problem));
            }
        };
        Ok(Op::Neuron(Box::new(Neuron {
            rules: self.attributes::<NeuronRules>(object)?,
            v_threshold: self.array("v_threshold")?,
            v_reset: self.array("v_reset")?,
            v_leak: self.array("v_leak")?,
            alpha_mem: self.array("alpha_mem")?,
            gain: self.array("gain")?,
            alpha_syn: self.optional("alpha_syn"),
            w_in: self.optional("w_in"),
            alpha_inh: self.optional("alpha_inh"),
            v_threshold_neg: self.optional("v_threshold_neg"),
            v_min: self.optional("v_min"),
            spike_amplitude: self.array("spike_amplitude")?,
            theta_plus: self.optional("theta_plus"),
            alpha_theta: self.optional("alpha_theta"),
            v0: self.array("v0")?,
            i0: self.array("i0")?,
            meta,
        })))
    }
}

impl Op {
    /// The operation's kind, as in [`KINDS`].
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Input { .. } => "input",
            Self::Linear(_) => "linear",
            Self::Conv(conv) if conv.dims == 1 => "conv1d",
            Self::Conv(_) => "conv2d",
            Self::Pool(pool) => match (pool.kind, pool.dims) {
                (PoolKind::Sum, 1) => "sum_pool1d",
                (PoolKind::Sum, _) => "sum_pool2d",
                (PoolKind::Avg { .. }, 1) => "avg_pool1d",
                (PoolKind::Avg { .. }, _) => "avg_pool2d",
                (PoolKind::MaxSpikes, 1) => "spike_max_pool1d",
                (PoolKind::MaxSpikes, _) => "spike_max_pool2d",
                (PoolKind::MaxCurrents, 1) => "current_max_pool1d",
                (PoolKind::MaxCurrents, _) => "current_max_pool2d",
                (PoolKind::RateMax { .. }, 1) => "rate_max_pool1d",
                (PoolKind::RateMax { .. }, _) => "rate_max_pool2d",
            },
            Self::AdaptiveAvgPool { .. } => "adaptive_avg_pool2d",
            Self::Flatten { .. } => "flatten",
            Self::BatchNorm(_) => "batch_norm",
            Self::Scale { .. } => "scale",
            Self::Delay { .. } => "delay",
            Self::Concat { .. } => "concat",
            Self::Upsample { .. } => "upsample",
            Self::Add => "add",
            Self::Neuron(_) => "neuron",
        }
    }

    /// The JSON object of [`parse`].
    pub fn spec(&self) -> Value {
        let mut spec = match self {
            Self::Input { shape } => json!({"shape": shape}),
            Self::Linear(_) | Self::Scale { .. } | Self::Delay { .. } | Self::Add => json!({}),
            Self::Conv(conv) => {
                let from = 2 - conv.dims;
                json!({
                    "stride": conv.stride[from..],
                    "padding": conv.padding[from..],
                    "dilation": conv.dilation[from..],
                    "groups": conv.groups,
                })
            }
            Self::Pool(pool) => {
                let from = 2 - pool.dims;
                let mut spec = json!({
                    "kernel_size": pool.kernel_size[from..],
                    "stride": pool.stride[from..],
                    "padding": pool.padding[from..],
                    "ceil_mode": pool.ceil_mode,
                });
                if let PoolKind::Avg { count_include_pad } = pool.kind {
                    spec["count_include_pad"] = json!(count_include_pad);
                }
                if let PoolKind::RateMax { gate } = pool.kind {
                    spec["gate"] = json!(gate);
                }
                spec
            }
            Self::AdaptiveAvgPool { output_size } => json!({"output_size": output_size}),
            Self::Flatten { start_dim, end_dim } => {
                json!({"start_dim": start_dim, "end_dim": end_dim})
            }
            Self::BatchNorm(norm) => json!({"eps": norm.eps}),
            Self::Concat { axis } => json!({"axis": axis}),
            Self::Upsample { scale_factor } => json!({"scale_factor": scale_factor}),
            Self::Neuron(neuron) => {
                let mut spec = json!(neuron.rules);
                if !neuron.meta.is_empty() {
                    spec["meta"] = Value::Object(neuron.meta.clone());
                }
                spec
            }
        };
        spec["kind"] = json!(self.kind());
        spec
    }

    /// The operation's arrays by name, sharing their memory.
    pub fn arrays(&self) -> Vec<(&'static str, &Tensor)> {
        match self {
            Self::Linear(l) => of_layer(&l.weight, &l.bias, &l.delay),
            Self::Conv(c) => of_layer(&c.weight, &c.bias, &c.delay),
            Self::BatchNorm(n) => vec![
                ("weight", &n.weight),
                ("bias", &n.bias),
                ("running_mean", &n.running_mean),
                ("running_var", &n.running_var),
            ],
            Self::Scale { scale } => vec![("scale", scale)],
            Self::Delay { delay } => vec![("delay", delay)],
            Self::Neuron(n) => n.parameters(),
            Self::Input { .. }
            | Self::Pool(_)
            | Self::AdaptiveAvgPool { .. }
            | Self::Flatten { .. }
            | Self::Concat { .. }
            | Self::Upsample { .. }
            | Self::Add => Vec::new(),
        }
    }
}

impl Graph {
    /// Adds the node that `spec` and `arrays` describe; `sources` as [`Graph::resolve`] gives them.
    pub fn add_spec(
        &mut self,
        name: &str,
        spec: &Value,
        arrays: Arrays,
        sources: &[(NodeId, usize)],
    ) -> Result<NodeId> {
        let op = self.parse_fed_by(name, spec, arrays, sources)?;
        self.add_from(name, op, sources)
    }

    /// As [`Graph::add_spec`], but as [`Graph::add_unchecked`].
    pub(crate) fn add_spec_unchecked(
        &mut self,
        name: &str,
        spec: &Value,
        arrays: Arrays,
        sources: &[(NodeId, usize)],
    ) -> Result<NodeId> {
        let op = self.parse_fed_by(name, spec, arrays, sources)?;
        self.add_unchecked(name, op, sources)
    }
}

impl Graph {
    /// What `spec` describes as a node fed by `sources`: its axes are those of the first one.
    fn parse_fed_by(
        &self,
        name: &str,
        spec: &Value,
        arrays: Arrays,
        sources: &[(NodeId, usize)],
    ) -> Result<Op> {
        parse(name, spec, arrays, self.nodes[sources[0].0].shape.len())
    }
}

fn of_layer<'a>(
    weight: &'a Tensor,
    bias: &'a Option<Tensor>,
    delay: &'a Option<Tensor>,
) -> Vec<(&'static str, &'a Tensor)> {
    let optional = [("bias", bias), ("delay", delay)];
    let there = optional.into_iter().filter_map(|(name, t)| Some((name, t.as_ref()?)));
    std::iter::once(("weight", weight)).chain(there).collect()
}
