//! The step of a population in integers (S14), sixteen neurons at a time.

use super::super::neuron::Rules;
use super::super::param::Param;
use super::super::simd::LANES;
use super::block::{add_within, within};
use super::simd::IntSimd;

/// A population's parameters, packed, in units of its membranes.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct IntParams {
    pub rules: Rules,
    /// What the layers in front of it add in every step.
    pub bias: Option<Param<i32>>,
    pub v_threshold: Param<i32>,
    pub v_reset: Param<i32>,
    pub v_leak: Param<i32>,
    /// Of 2³⁰; without it membranes do not decay.
    pub alpha_mem: Option<Param<i32>>,
    pub v_threshold_neg: Option<Param<i32>>,
    pub v_min: Option<Param<i32>>,
    /// What a unit of the membrane is.
    pub v_unit: Param,
    /// What a unit of the summed input is.
    pub x_unit: Param,
}

impl IntParams {
    /// Single spikes and nothing but a reset in the same step: the short path.
    fn is_simple(&self) -> bool {
        let r = &self.rules;
        r.fires
            && !(r.signed || r.reset_before || r.reset_after || r.guarded || r.order_b)
            && self.v_min.is_none()
    }
}

/// One block of a population: its state `[pixel][lane]` and where the step's results go.
/// Slices that nobody wants are empty.
pub struct IntBlock<'a> {
    /// Parameters of the whole population.
    pub params: &'a IntParams,
    /// Bit `k` set where lane `k` is a neuron.
    pub lanes: u64,
    /// Membrane, in units.
    pub v: &'a mut [i32],
    /// Spikes, one bit a lane, `[t][pixel]`.
    pub masks: &'a mut [u64],
    /// Numbers of spikes, `[t][pixel][lane]` (signed).
    pub z: &'a mut [f32],
    /// Record of `v` after the step as f32, `[t][pixel][lane]`.
    pub v_out: &'a mut [f32],
    /// Record of the summed input as f32, `[t][pixel][lane]`.
    pub x_out: &'a mut [f32],
}

impl IntBlock<'_> {
    /// As [`super::block::IntTask::check`], for the population's part.
    pub(super) fn check(&self, block: usize, width: usize, pixels: usize, steps: usize) {
        let p = self.params;
        let always = [&p.v_threshold, &p.v_reset, &p.v_leak];
        let rest = [&p.bias, &p.alpha_mem, &p.v_threshold_neg, &p.v_min];
        let all = always.into_iter().chain(rest.into_iter().flatten());
        assert!(all.into_iter().all(|p| p.covers(block, width, pixels)), "parameters");
        let units = [&p.v_unit, &p.x_unit];
        assert!(units.iter().all(|p| p.covers(block, width, pixels)), "units");
        assert!(p.rules.signed == p.v_threshold_neg.is_some(), "negative threshold");
        let state = pixels * width;
        assert!(self.v.len() == state, "v");
        assert!(self.masks.is_empty() || self.masks.len() == steps * pixels, "masks");
        for out in [&self.z, &self.v_out, &self.x_out] {
            assert!(out.is_empty() || out.len() == steps * state, "records");
        }
    }
}

/// Where sixteen neurons lie.
#[derive(Clone, Copy)]
struct At {
    block: usize,
    pixel: usize,
    j: usize,
}

/// # Safety
/// `S`'s instruction set; block, pixel and vector exist.
#[inline(always)]
unsafe fn load<S: IntSimd>(param: &Param<i32>, at: At) -> S::I {
    // SAFETY: by contract.
    unsafe { S::int_load(param.at_vector(at.block, at.pixel, at.j)) }
}

/// One step of `NW` vectors of thirty-two neurons at `pixel`.
///
/// # Safety
/// `S`'s instruction set; the slices of `n` have the sizes documented for blocks of `NW · WIDE`.
#[inline(always)]
pub unsafe fn step<S: IntSimd, const NW: usize>(
    n: &mut IntBlock<'_>,
    block: usize,
    pixel: usize,
    pixels: usize,
    t: usize,
    x: &[[S::I; 2]; NW],
) {
    let params = n.params;
    let width = 2 * NW * LANES;
    let simple = params.is_simple();
    let mut word = 0u64;
    let mut j = 0;
    while j < 2 * NW {
        let at = At { block, pixel, j };
        let record = (t * pixels + pixel) * width + j * LANES;
        // SAFETY: parameters, state and records cover every pixel and lane of the block.
        unsafe {
            let mut x = x[j / 2][j % 2];
            if let Some(bias) = &params.bias {
                x = add_within::<S>(x, load::<S>(bias, at));
            }
            let place = n.v.as_mut_ptr().add(pixel * width + j * LANES);
            let v = S::int_load(place);
            let (new, fired, count) = if simple {
                let (new, fired) = simple_step::<S>(params, at, v, x);
                (new, fired, None)
            } else {
                full_step::<S>(params, at, v, x)
            };
            S::int_store(place, new);
            word |= u64::from(S::int_bits(fired)) << (j * LANES);
            if let (false, Some(count)) = (n.z.is_empty(), count) {
                S::store(n.z.as_mut_ptr().add(record), S::to_f32(count));
            }
            if !n.v_out.is_empty() {
                let unit = S::load(params.v_unit.at_vector(block, pixel, j));
                S::store(n.v_out.as_mut_ptr().add(record), S::mul(S::to_f32(new), unit));
            }
            if !n.x_out.is_empty() {
                let unit = S::load(params.x_unit.at_vector(block, pixel, j));
                S::store(n.x_out.as_mut_ptr().add(record), S::mul(S::to_f32(x), unit));
            }
        }
        j += 1;
    }
    if !n.masks.is_empty() {
        n.masks[t * pixels + pixel] = word & n.lanes;
    }
}

/// `v_leak + alpha_mem·(v − v_leak) + x`, the product cut off towards zero.
///
/// # Safety
/// As [`step`].
#[inline(always)]
unsafe fn integrate<S: IntSimd>(params: &IntParams, at: At, v: S::I, x: S::I) -> S::I {
    // SAFETY: by contract.
    unsafe {
        let Some(alpha) = &params.alpha_mem else { return S::int_add(v, x) };
        let (leak, alpha) = (load::<S>(&params.v_leak, at), load::<S>(alpha, at));
        let zero = S::int_splat(0);
        let d = S::int_sub(v, leak);
        let back = S::int_sub(zero, d);
        let size = S::scale(S::int_max(d, back), alpha);
        let decayed = S::int_select(S::int_gt(zero, d), S::int_sub(zero, size), size);
        S::int_add(S::int_add(leak, decayed), x)
    }
}

/// # Safety
/// `S`'s instruction set.
#[inline(always)]
unsafe fn passes<S: IntSimd>(strict: bool, v: S::I, theta: S::I) -> S::B {
    // SAFETY: by contract.
    unsafe {
        let bound = if strict { theta } else { S::int_sub(theta, S::int_splat(1)) };
        S::int_gt(v, bound)
    }
}

/// # Safety
/// As [`step`].
#[inline(always)]
unsafe fn simple_step<S: IntSimd>(params: &IntParams, at: At, v: S::I, x: S::I) -> (S::I, S::B) {
    // SAFETY: by contract.
    unsafe {
        let rules = &params.rules;
        let theta = load::<S>(&params.v_threshold, at);
        let h = integrate::<S>(params, at, v, x);
        let fired = passes::<S>(rules.strict, h, theta);
        let new = reset::<S>(rules, fired, h, (theta, load::<S>(&params.v_reset, at)));
        (within::<S>(new), fired)
    }
}

/// The reset of a single spike where `on` is set, by a threshold or to a value.
///
/// # Safety
/// `S`'s instruction set.
#[inline(always)]
unsafe fn reset<S: IntSimd>(
    rules: &Rules,
    on: S::B,
    v: S::I,
    (theta, v_reset): (S::I, S::I),
) -> S::I {
    // SAFETY: by contract.
    unsafe {
        if rules.subtract {
            S::int_select(on, S::int_sub(v, theta), v)
        } else if rules.to_value {
            S::int_select(on, v_reset, v)
        } else {
            v
        }
    }
}

/// # Safety
/// As [`step`].
#[inline(always)]
unsafe fn full_step<S: IntSimd>(
    params: &IntParams,
    at: At,
    old: S::I,
    x: S::I,
) -> (S::I, S::B, Option<S::I>) {
    // SAFETY: by contract.
    unsafe {
        let rules = &params.rules;
        let (zero, one) = (S::int_splat(0), S::int_splat(1));
        let none = S::int_gt(zero, zero);
        let theta = load::<S>(&params.v_threshold, at);
        let v_reset = load::<S>(&params.v_reset, at);
        let to = (theta, v_reset);
        let late = rules.reset_before || rules.reset_after || rules.guarded;
        let rho = if late || rules.order_b { passes::<S>(rules.strict, old, theta) } else { none };
        let v = if rules.reset_before { reset::<S>(rules, rho, old, to) } else { old };
        let mut h = integrate::<S>(params, at, v, x);
        if rules.reset_after || rules.guarded {
            h = reset::<S>(rules, rho, h, to);
        }
        let mut fired = none;
        if rules.order_b {
            fired = rho;
        } else if rules.fires {
            fired = passes::<S>(rules.strict, h, theta);
        }
        let mut count = S::int_select(fired, one, zero);
        let mut new = h;
        if rules.guarded {
            // h already carries −ρ·θ: take what newly fired, give back what did not.
            new = S::int_select(S::but(fired, rho), S::int_sub(h, theta), h);
            new = S::int_select(S::but(rho, fired), S::int_add(h, theta), new);
        } else if !late {
            new = reset::<S>(rules, fired, h, to);
        }
        if let Some(negative) = &params.v_threshold_neg {
            let bound = load::<S>(negative, at);
            // Where both tests hold, the upper one decides.
            let below = S::but(passes::<S>(rules.strict, bound, h), fired);
            count = S::int_select(below, S::int_splat(-1), count);
            if rules.subtract {
                new = S::int_select(below, S::int_sub(h, bound), new);
            } else {
                new = reset::<S>(rules, below, new, to);
            }
            fired = S::either(fired, below);
        }
        if let Some(low) = &params.v_min {
            new = S::int_max(new, load::<S>(low, at));
        }
        (within::<S>(new), fired, Some(count))
    }
}
