//! What a node of the network can be. Values are per sample, C order, without a batch axis.

use serde::{Deserialize, Serialize};

use super::neuron::Neuron;
use super::tensor::Tensor;

/// Fully connected layer on a 1-d input: `weight` (n_out, n_in), `bias` (n_out). `delay`: steps
/// that each synapse takes, whole numbers; a scalar or of the weight's shape.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Linear {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub delay: Option<Tensor>,
}

/// Cross-correlation over one or two axes: `weight` (out, in/groups, [ky,] kx) as in torch.
/// One-dimensional convolutions use the last entry of each pair; the first is 1 (stride,
/// dilation) or (0, 0) (padding).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Conv {
    /// 1 or 2 spatial axes.
    pub dims: usize,
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    /// As in [`Linear`].
    pub delay: Option<Tensor>,
    /// (y, x).
    pub stride: [usize; 2],
    /// Zeros before and after each axis: [[top, bottom], [left, right]].
    pub padding: [[usize; 2]; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}

/// What a pool does with its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Sum.
    Sum,
    /// Sum over the window, divided by its size.
    Avg {
        /// Whether padding counts in the size.
        count_include_pad: bool,
    },
    /// Largest spike value of the window; the input must be spikes; padding is silent.
    MaxSpikes,
    /// Largest current of the window; the input must be currents; padding never wins.
    MaxCurrents,
    /// What the place of the window with the largest sum so far gives; the input must be spikes;
    /// padding never wins.
    RateMax {
        /// What is passed on.
        gate: Gate,
    },
}

/// What a [`PoolKind::RateMax`] passes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// How much the largest sum of the window has grown.
    #[default]
    Count,
    /// The spike of the place with the largest sum.
    Argmax,
}

/// Pooling over one or two axes (pairs as in [`Conv`]).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Pool {
    pub dims: usize,
    pub kind: PoolKind,
    pub kernel_size: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [[usize; 2]; 2],
    pub ceil_mode: bool,
}

/// Per-channel affine map of fixed statistics, folded into the layer before it where there is one.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct BatchNorm {
    pub weight: Tensor,
    pub bias: Tensor,
    pub running_mean: Tensor,
    pub running_var: Tensor,
    pub eps: f64,
}

/// What a node does.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The network's input.
    Input {
        /// Shape of one sample at one step.
        shape: Vec<usize>,
    },
    /// Fully connected.
    Linear(Linear),
    /// Convolution.
    Conv(Conv),
    /// Pooling.
    Pool(Pool),
    /// Average over torch's adaptive windows; 2-d.
    AdaptiveAvgPool {
        /// (rows, columns) of the result.
        output_size: [usize; 2],
    },
    /// Merge axes `start_dim..=end_dim` (no batch axis; resolved, not negative).
    Flatten {
        /// First axis.
        start_dim: usize,
        /// Last axis, included.
        end_dim: usize,
    },
    /// Batch normalisation in evaluation mode.
    BatchNorm(BatchNorm),
    /// Multiply element by element: scalar, per channel or per element.
    Scale {
        /// The factors.
        scale: Tensor,
    },
    /// Each element arrives its own number of steps later.
    Delay {
        /// Steps, whole numbers of at least 0: scalar, per channel or per element.
        delay: Tensor,
    },
    /// Join along `axis` in the order of the edges.
    Concat {
        /// Axis of one sample.
        axis: usize,
    },
    /// Nearest-neighbour repetition by whole factors.
    Upsample {
        /// (y, x).
        scale_factor: [usize; 2],
    },
    /// The sum of its inputs (what every node does with several edges) and nothing else.
    Add,
    /// A population of neurons.
    Neuron(Box<Neuron>),
}

impl Op {
    /// Steps that what enters the node takes to act in it: the least and the most. A node that
    /// takes at least one sees nothing of its sources in the same step.
    pub fn delays(&self) -> [usize; 2] {
        match self {
            Self::Delay { delay } => bounds(delay),
            Self::Linear(Linear { delay: Some(delay), .. })
            | Self::Conv(Conv { delay: Some(delay), .. }) => bounds(delay),
            _ => [0, 0],
        }
    }
}

/// The least and the largest of whole numbers.
fn bounds(delay: &Tensor) -> [usize; 2] {
    let steps = || delay.data().iter().map(|&d| d as usize);
    [steps().min().unwrap_or(0), steps().max().unwrap_or(0)]
}
