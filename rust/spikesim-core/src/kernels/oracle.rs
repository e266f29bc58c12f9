//! Naive twins of the kernels: one neuron, one weight at a time, in the order of the rules.
//! What every instruction set is tested against to the bit.

use super::block::Geometry;
use super::neuron::{NeuronParams, TINY};

/// The summed input of output channel `o` at `(oy, ox)` from a dense input `[c][y][x]`, weights
/// `(out, in/groups, ky, kx)` of a `layer` with (outputs, groups): from zero, ascending (ky, kx, c_in), one add a weight (S2).
pub fn conv_sum(
    g: &Geometry,
    weight: &[f32],
    layer: (usize, usize),
    input: &[f32],
    o: usize,
    at: (usize, usize),
) -> f32 {
    conv_sum_from(0.0, g, weight, layer, input, o, at)
}

fn conv_sum_from(
    start: f32,
    g: &Geometry,
    weight: &[f32],
    (outputs, groups): (usize, usize),
    input: &[f32],
    o: usize,
    (oy, ox): (usize, usize),
) -> f32 {
    let per_group = g.in_c / groups;
    let first = o / (outputs / groups) * per_group;
    let mut sum = start;
    for ky in 0..g.kh {
        for kx in 0..g.kw {
            let y = (oy * g.stride[0] + ky * g.dilation[0]).checked_sub(g.pad[0]);
            let x = (ox * g.stride[1] + kx * g.dilation[1]).checked_sub(g.pad[1]);
            let (Some(y), Some(x)) = (y, x) else { continue };
            if y >= g.in_h || x >= g.in_w {
                continue;
            }
            for c in 0..per_group {
                let value = input[((first + c) * g.in_h + y) * g.in_w + x];
                let w = weight[((o * per_group + c) * g.kh + ky) * g.kw + kx];
                sum += value * w;
            }
        }
    }
    sum
}

/// As [`conv_sum`] where synapse `k` of `weight` sees the input `delay[k]` steps ago, which is
/// `past[delay[k]]`: in descending order of delays.
pub fn delayed_sum(
    g: &Geometry,
    (weight, delay): (&[f32], &[usize]),
    layer: (usize, usize),
    past: &[Vec<f32>],
    o: usize,
    at: (usize, usize),
) -> f32 {
    let mut sum = 0.0;
    for (d, input) in past.iter().enumerate().rev() {
        let only = |(&w, &late): (&f32, &usize)| if late == d { w } else { 0.0 };
        let weight: Vec<f32> = weight.iter().zip(delay).map(only).collect();
        sum = conv_sum_from(sum, g, &weight, layer, input, o, at);
    }
    sum
}

/// The state of one neuron.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct State {
    pub v: f32,
    pub i: f32,
    pub n: f32,
    pub a: f32,
    pub r: f32,
}

fn flush(y: f32) -> f32 {
    if y.abs() < TINY { 0.0 } else { y }
}

/// One step of the neuron at (block, pixel, lane) with summed input `x`; returns its spikes.
pub fn neuron_step(
    n: &NeuronParams,
    (block, pixel, lane): (usize, usize, usize),
    s: &mut State,
    x: f32,
) -> f32 {
    let rules = &n.rules;
    let at = |p: &super::param::Param| p.at(block, pixel, lane);
    let opt = |p: &Option<super::param::Param>| p.as_ref().map(at);
    let passes = |v: f32, theta: f32| if rules.strict { v > theta } else { v >= theta };
    let mut theta = at(&n.v_threshold);
    let v_reset = at(&n.v_reset);
    if let Some(alpha) = opt(&n.alpha_theta) {
        s.a = flush(alpha * s.a);
        theta += s.a;
    }
    let old = s.v;
    let delayed = rules.reset_before || rules.reset_after;
    let rho = (delayed || rules.guarded || rules.order_b) && passes(old, theta);
    let reset = |v: f32| match (rules.subtract, rules.to_value) {
        (true, _) => v - theta,
        (_, true) => v_reset,
        _ => v,
    };
    let mut v = if rules.reset_before && rho { reset(old) } else { old };
    let mut input = x;
    let inhibition = s.n;
    if let (Some(alpha), Some(w_in)) = (opt(&n.alpha_syn), opt(&n.w_in)) {
        s.i = match rules.decay_after {
            false => flush(alpha * s.i) + w_in * x,
            true => flush(alpha * (s.i + w_in * x)),
        };
        input = s.i;
        if let Some(alpha) = opt(&n.alpha_inh) {
            s.n = flush(alpha * s.n) - w_in * x;
            input = s.i + s.n;
        }
    }
    let leak = at(&n.v_leak);
    let mut h = (leak + flush(at(&n.alpha_mem) * (v - leak))) + at(&n.gain) * input;
    if rules.reset_after && rho {
        h = if rules.alpha && rules.subtract { h + inhibition } else { reset(h) };
        if rules.alpha && (rules.subtract || rules.to_value) {
            s.i = if rules.subtract { s.i - theta } else { 0.0 };
            s.n = 0.0;
        }
    }
    if rules.guarded && rho {
        h -= theta;
    }
    let resting = rules.refractory && s.r > 0.0;
    if resting {
        h = old;
        s.r -= 1.0;
    }
    let mut z = 0.0;
    if rules.fires && !resting {
        if rules.order_b {
            z = f32::from(u8::from(rho));
        } else if rules.multi {
            let many = (h / theta).floor().min(n.max_spikes);
            z = if many >= 1.0 { many } else { 0.0 };
        } else if passes(h, theta) {
            z = 1.0;
        } else if let (true, Some(bound)) = (rules.signed, opt(&n.v_threshold_neg)) {
            z = if passes(bound, h) { -1.0 } else { 0.0 };
        }
    }
    v = h;
    if rules.guarded {
        v = h - (z - f32::from(u8::from(rho))) * theta;
    } else if !delayed && z != 0.0 {
        if rules.subtract {
            let bound = opt(&n.v_threshold_neg).unwrap_or(0.0);
            v = if z < 0.0 { h - bound } else { h - z * theta };
        } else if rules.to_value {
            v = v_reset;
        }
    }
    if let Some(low) = opt(&n.v_min) {
        v = v.max(low);
    }
    if let Some(plus) = opt(&n.theta_plus) {
        s.a += plus * z.abs();
    }
    if rules.refractory && z != 0.0 {
        s.r = n.refractory;
    }
    s.v = v;
    z
}
