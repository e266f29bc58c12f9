//! What is checked of a node's parameters when it is added, apart from the shape of its output:
//! finite numbers, parameter shapes, and the rules a neuron's fields have to keep together.

use super::build::MAX_DELAY;
use super::neuron::{Neuron, Order, Reset, ResetTiming, Spikes, Synapse};
use super::node::{BatchNorm, Op};
use super::{Tensor, neuron};
use crate::error::{Error, Result, tuple};

/// Checks `op` on an input of `shape` and brings parameters given as (C, 1, 1) to (C,).
pub(super) fn operation(place: &str, op: &mut Op, shape: &[usize]) -> Result<()> {
    match op {
        Op::Linear(linear) => {
            finite(place, "weight", &linear.weight)?;
            synapses(place, &linear.weight, linear.delay.as_ref())?;
            linear.bias.iter().try_for_each(|b| finite(place, "bias", b))
        }
        Op::Conv(conv) => {
            finite(place, "weight", &conv.weight)?;
            synapses(place, &conv.weight, conv.delay.as_ref())?;
            conv.bias.iter().try_for_each(|b| finite(place, "bias", b))
        }
        Op::BatchNorm(norm) => batch_norm(place, norm, shape),
        Op::Scale { scale } => parameter(place, "scale", scale, shape),
        Op::Delay { delay } => {
            parameter(place, "delay", delay, shape)?;
            delays(place, delay)
        }
        Op::Neuron(neuron) => self::neuron(place, neuron, shape),
        Op::Input { .. }
        | Op::Pool(_)
        | Op::AdaptiveAvgPool { .. }
        | Op::Flatten { .. }
        | Op::Concat { .. }
        | Op::Upsample { .. }
        | Op::Add => Ok(()),
    }
}

/// Every value must be a finite number.
fn finite(place: &str, name: &str, tensor: &Tensor) -> Result<()> {
    every(place, name, tensor, "finite numbers", |x| x.is_finite())
}

/// Delays of synapses: one for all, or one each.
fn synapses(place: &str, weight: &Tensor, delay: Option<&Tensor>) -> Result<()> {
    let Some(delay) = delay else { return Ok(()) };
    if !(delay.shape().is_empty() || delay.shape() == weight.shape()) {
        let expected = format!("() or {} as the weight", tuple(weight.shape()));
        return Err(Error::shape(place, "delay", delay.shape(), expected));
    }
    finite(place, "delay", delay)?;
    delays(place, delay)
}

/// Every value must be a number of steps that a delay may have.
fn delays(place: &str, tensor: &Tensor) -> Result<()> {
    let expected = format!("whole numbers from 0 to {MAX_DELAY}");
    every(place, "delay", tensor, &expected, |x| {
        x.fract() == 0.0 && (0.0..=MAX_DELAY as f32).contains(&x)
    })
}

/// Every value must be `good`; the message names the first that is not.
fn every(
    place: &str,
    name: &str,
    tensor: &Tensor,
    expected: &str,
    good: impl Fn(f32) -> bool,
) -> Result<()> {
    let Some(at) = tensor.data().iter().position(|&x| !good(x)) else { return Ok(()) };
    let value = tensor.data()[at];
    let mut rest = at;
    let mut index: Vec<_> = tensor
        .shape()
        .iter()
        .rev()
        .map(|&n| {
            let i = rest % n;
            rest /= n;
            i.to_string()
        })
        .collect();
    index.reverse();
    let at = if index.is_empty() { String::new() } else { format!("[{}]", index.join(", ")) };
    let problem = format!("{name}{at} is {value}, expected {expected}");
    Err(Error::graph(place, problem))
}

/// A parameter of a population of `shape`: scalar, per channel or per element.
fn parameter(place: &str, name: &str, tensor: &mut Tensor, shape: &[usize]) -> Result<()> {
    let found = tensor.shape();
    let channels = shape[0];
    let per_channel = found.len() == shape.len()
        && found[0] == channels
        && found[1..].iter().all(|&n| n == 1)
        && found != shape;
    if per_channel {
        *tensor = tensor.reshaped(vec![channels]).unwrap_or_else(|| tensor.clone());
    } else if !(found.is_empty() || found == [channels] || found == shape) {
        let expected = format!("(), ({channels},) or {}", tuple(shape));
        return Err(Error::shape(place, name, found, expected));
    }
    finite(place, name, tensor)
}

fn batch_norm(place: &str, norm: &BatchNorm, shape: &[usize]) -> Result<()> {
    let arrays = [
        ("weight", &norm.weight),
        ("bias", &norm.bias),
        ("running_mean", &norm.running_mean),
        ("running_var", &norm.running_var),
    ];
    for (name, tensor) in arrays {
        if tensor.shape() != [shape[0]] {
            let expected = format!("({},), one value a channel", shape[0]);
            return Err(Error::shape(place, name, tensor.shape(), expected));
        }
        finite(place, name, tensor)?;
    }
    if !norm.eps.is_finite() || norm.eps < 0.0 {
        let problem = format!("eps is {}, expected a finite number of at least 0", norm.eps);
        return Err(Error::graph(place, problem));
    }
    let bad = norm.running_var.data().iter().find(|&&v| v < 0.0 || f64::from(v) + norm.eps <= 0.0);
    if let Some(v) = bad {
        let problem =
            format!("running_var has {v}, expected variances of at least 0, and above it with eps");
        return Err(Error::graph(place, problem));
    }
    Ok(())
}

impl Neuron {
    /// Each parameter the neuron has, by name.
    pub fn parameters(&self) -> Vec<(&'static str, &Tensor)> {
        let mut all = vec![
            ("v_threshold", &self.v_threshold),
            ("v_reset", &self.v_reset),
            ("v_leak", &self.v_leak),
            ("alpha_mem", &self.alpha_mem),
            ("gain", &self.gain),
            ("spike_amplitude", &self.spike_amplitude),
            ("v0", &self.v0),
            ("i0", &self.i0),
        ];
        let optional = [
            ("alpha_syn", &self.alpha_syn),
            ("w_in", &self.w_in),
            ("alpha_inh", &self.alpha_inh),
            ("v_threshold_neg", &self.v_threshold_neg),
            ("v_min", &self.v_min),
            ("theta_plus", &self.theta_plus),
            ("alpha_theta", &self.alpha_theta),
        ];
        all.extend(optional.into_iter().filter_map(|(name, t)| Some((name, t.as_ref()?))));
        all
    }

    fn parameters_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Tensor)> {
        let always = [
            ("v_threshold", &mut self.v_threshold),
            ("v_reset", &mut self.v_reset),
            ("v_leak", &mut self.v_leak),
            ("alpha_mem", &mut self.alpha_mem),
            ("gain", &mut self.gain),
            ("spike_amplitude", &mut self.spike_amplitude),
            ("v0", &mut self.v0),
            ("i0", &mut self.i0),
        ];
        let optional = [
            ("alpha_syn", &mut self.alpha_syn),
            ("w_in", &mut self.w_in),
            ("alpha_inh", &mut self.alpha_inh),
            ("v_threshold_neg", &mut self.v_threshold_neg),
            ("v_min", &mut self.v_min),
            ("theta_plus", &mut self.theta_plus),
            ("alpha_theta", &mut self.alpha_theta),
        ];
        let optional = optional.into_iter().filter_map(|(name, t)| Some((name, t.as_mut()?)));
        always.into_iter().chain(optional)
    }
}

fn neuron(place: &str, n: &mut Neuron, shape: &[usize]) -> Result<()> {
    for (name, tensor) in n.parameters_mut() {
        parameter(place, name, tensor, shape)?;
    }
    fields(place, n)?;
    combinations(place, n)?;
    values(place, n, shape)
}

/// Optional fields are there exactly where something uses them.
fn fields(place: &str, n: &Neuron) -> Result<()> {
    let rules = &n.rules;
    let given = |there: bool, expected: bool, name: &str, with: &str| {
        let problem = match (there, expected) {
            (true, false) => format!("{name} is given without {with}, expected only with it"),
            (false, true) => format!("{name} is missing, expected with {with}"),
            _ => return Ok(()),
        };
        Err(Error::graph(place, problem))
    };
    let synapse = rules.synapse != Synapse::None;
    let with = "synapse \"decay_first\", \"decay_after\" or \"alpha\"";
    given(n.alpha_syn.is_some(), synapse, "alpha_syn", with)?;
    given(n.w_in.is_some(), synapse, "w_in", with)?;
    let alpha = rules.synapse == Synapse::Alpha;
    given(n.alpha_inh.is_some(), alpha, "alpha_inh", "synapse \"alpha\"")?;
    let signed = rules.spikes == Spikes::Signed;
    given(n.v_threshold_neg.is_some(), signed, "v_threshold_neg", "spikes \"signed\"")?;
    let multi = rules.spikes == Spikes::Multi;
    given(
        rules.max_spikes.is_some(),
        multi && rules.max_spikes.is_some(),
        "max_spikes",
        "spikes \"multi\"",
    )?;
    if rules.max_spikes == Some(0) {
        return Err(Error::graph(place, "max_spikes is 0, expected at least 1"));
    }
    given(n.alpha_theta.is_some(), n.theta_plus.is_some(), "alpha_theta", "theta_plus")
}

/// Combinations of fields for which no rule says what they mean.
fn combinations(place: &str, n: &Neuron) -> Result<()> {
    let r = &n.rules;
    let same_step = r.reset_timing == ResetTiming::SameStep;
    let plain = same_step && r.order == Order::A && r.spikes != Spikes::None;
    let several = matches!(r.spikes, Spikes::Multi | Spikes::Signed);
    let spikes = r.spikes.name();
    let timing = r.reset_timing.name();
    let alpha = r.synapse == Synapse::Alpha;
    let resets = r.reset != Reset::None && r.spikes != Spikes::None;
    let (what, advice) = if alpha && r.order == Order::B {
        ("synapse \"alpha\" with order \"B\"".into(), "use order \"A\"")
    } else if alpha && resets && r.reset_timing != ResetTiming::NextStepAfter {
        let reset = r.reset.name();
        let what = format!("synapse \"alpha\" with reset {reset:?} and reset_timing {timing:?}");
        (what, "use reset_timing \"next_step_after\"")
    } else if several && !same_step {
        (format!("spikes {spikes:?} with reset_timing {timing:?}"), "use \"same_step\"")
    } else if several && r.order == Order::B {
        (format!("spikes {spikes:?} with order \"B\""), "use order \"A\"")
    } else if r.spikes == Spikes::Multi && r.fires == neuron::Fires::Above {
        ("spikes \"multi\" with fires \">\"".into(), "use fires \">=\"")
    } else if r.reset_timing == ResetTiming::SameStepGuarded && r.reset != Reset::Subtract {
        let reset = r.reset.name();
        (format!("reset_timing {timing:?} with reset {reset:?}"), "use reset \"subtract\"")
    } else if r.order == Order::B && !same_step {
        (format!("order \"B\" with reset_timing {timing:?}"), "use \"same_step\"")
    } else if r.spikes == Spikes::None && (!same_step || r.order == Order::B) {
        let what =
            if same_step { "order \"B\"".into() } else { format!("reset_timing {timing:?}") };
        (format!("{what} without spikes"), "leave it at its default")
    } else if r.refractory > 0 && !plain {
        let advice = "use reset_timing \"same_step\", order \"A\" and a neuron that spikes";
        ("refractory with these rules".into(), advice)
    } else if n.theta_plus.is_some() && !plain {
        let advice = "use reset_timing \"same_step\", order \"A\" and a neuron that spikes";
        ("an adaptive threshold with these rules".into(), advice)
    } else {
        return Ok(());
    };
    Err(Error::unsupported(place, what, advice))
}

/// What the numbers themselves have to keep.
fn values(place: &str, n: &Neuron, shape: &[usize]) -> Result<()> {
    let wrong = |name: &str, value: f32, expected: String| {
        Err(Error::graph(place, format!("{name} is {value}, expected {expected}")))
    };
    let r = &n.rules;
    if r.synapse == Synapse::Alpha {
        for (name, tensor) in [("alpha_mem", &n.alpha_mem), ("v_leak", &n.v_leak)] {
            if let Some(&v) = tensor.data().iter().find(|&&v| v != 0.0) {
                let why = "0 with synapse \"alpha\", whose membrane is made of its currents alone";
                return wrong(name, v, why.into());
            }
        }
    }
    if r.spikes == Spikes::None {
        return Ok(());
    }
    let subtract = r.reset == Reset::Subtract;
    if (subtract || r.spikes == Spikes::Multi)
        && let Some(&v) = n.v_threshold.data().iter().find(|&&v| v <= 0.0)
    {
        let why = if subtract { "reset \"subtract\"" } else { "spikes \"multi\"" };
        return wrong("v_threshold", v, format!("above 0 with {why}"));
    }
    let bad = |v: f32, reset: f32| v <= reset;
    if r.reset == Reset::ToValue
        && let Some((v, reset)) = first_pair(&n.v_threshold, &n.v_reset, shape, bad)
    {
        return wrong("v_threshold", v, format!("above v_reset, which is {reset}"));
    }
    let at_least_0 = [("theta_plus", &n.theta_plus), ("alpha_theta", &n.alpha_theta)];
    for (name, tensor) in at_least_0 {
        if let Some(&v) = tensor.iter().flat_map(|t| t.data()).find(|&&v| v < 0.0) {
            return wrong(name, v, "at least 0".into());
        }
    }
    match n.v_threshold_neg.iter().flat_map(|t| t.data()).find(|&&v| v >= 0.0) {
        Some(&v) => wrong("v_threshold_neg", v, "below 0".into()),
        None => Ok(()),
    }
}

/// The first pair of values, neuron by neuron, for which `bad` holds.
fn first_pair(
    a: &Tensor,
    b: &Tensor,
    shape: &[usize],
    bad: impl Fn(f32, f32) -> bool,
) -> Option<(f32, f32)> {
    let all: usize = shape.iter().product();
    let per_channel = all / shape[0];
    // One value a channel suffices unless one of the two differs inside a channel.
    let len = a.data().len().max(b.data().len());
    (0..len)
        .map(|i| {
            let neuron = if len == all { i } else { i * per_channel };
            (a.value_at(neuron, shape), b.value_at(neuron, shape))
        })
        .find(|&(x, y)| bad(x, y))
}
