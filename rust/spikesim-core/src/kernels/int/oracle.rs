//! Naive twins of the integer kernels: one neuron, one weight at a time, in i64 and f32.

use super::super::block::Geometry;
use super::neuron::IntParams;
use super::{ONE, PART, WHOLE};

/// The input of output channel `o` at `(oy, ox)` from a dense `[c][y][x]`, i8 weights
/// `(out, in/groups, ky, kx)` of a `layer` with (outputs, groups), in units of `2^-fraction`.
pub fn conv_units(
    g: &Geometry,
    weight: &[i8],
    layer: (usize, usize),
    input: &[f32],
    (o, fraction): (usize, u32),
    at: (usize, usize),
) -> i64 {
    let weight: Vec<f32> = weight.iter().map(|&w| f32::from(w)).collect();
    let sum = super::super::oracle::conv_sum(g, &weight, layer, input, o, at);
    let most = f64::from(PART);
    let units = f64::from(sum * (1u32 << fraction) as f32).clamp(-most, most);
    units.round_ties_even() as i64
}

/// `a + b`, magnitudes up to [`WHOLE`].
pub fn add_within(a: i64, b: i64) -> i64 {
    (a + b).clamp(-i64::from(WHOLE), i64::from(WHOLE))
}

/// One step of the neuron at (block, pixel, lane) with input `x`, before its bias, in units;
/// returns its spikes.
pub fn neuron_step(
    n: &IntParams,
    (block, pixel, lane): (usize, usize, usize),
    v: &mut i64,
    x: i64,
) -> i64 {
    let rules = &n.rules;
    let at = |p: &super::super::param::Param<i32>| i64::from(p.at(block, pixel, lane));
    let x = n.bias.as_ref().map_or(x, |b| add_within(x, at(b)));
    let (theta, v_reset, leak) = (at(&n.v_threshold), at(&n.v_reset), at(&n.v_leak));
    let passes = |v: i64, bound: i64| if rules.strict { v > bound } else { v >= bound };
    let reset = |v: i64| match (rules.subtract, rules.to_value) {
        (true, _) => v - theta,
        (_, true) => v_reset,
        _ => v,
    };
    let late = rules.reset_before || rules.reset_after || rules.guarded;
    let rho = (late || rules.order_b) && passes(*v, theta);
    let start = if rules.reset_before && rho { reset(*v) } else { *v };
    let alpha = n.alpha_mem.as_ref().map_or(i64::from(ONE), at);
    // Division in Rust cuts off towards zero.
    let mut h = leak + (start - leak) * alpha / i64::from(ONE) + x;
    if (rules.reset_after || rules.guarded) && rho {
        h = reset(h);
    }
    let mut z = match (rules.order_b, rules.fires) {
        (true, _) => i64::from(rho),
        (_, true) => i64::from(passes(h, theta)),
        _ => 0,
    };
    let mut new = h;
    if rules.guarded {
        new = h - (z - i64::from(rho)) * theta;
    } else if !late && z > 0 {
        new = reset(h);
    }
    if let (0, Some(bound)) = (z, n.v_threshold_neg.as_ref().map(at))
        && passes(bound, h)
    {
        z = -1;
        new = if rules.subtract { h - bound } else { reset(h) };
    }
    if let Some(low) = &n.v_min {
        new = new.max(at(low));
    }
    *v = new.clamp(-i64::from(WHOLE), i64::from(WHOLE));
    z
}
