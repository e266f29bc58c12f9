//! What neurons do that nothing reaches: silent steps carried out later, and when to look again.

use super::neuron::{NeuronBlock, flush, passes};
use super::param::Param;
use super::simd::{LANES, Simd};

/// Never again by itself.
pub const NEVER: u32 = u32::MAX;

/// Steps after which a pixel is looked at again at the latest, if it might fire by itself.
const HORIZON: f32 = 1e6;

/// One silent step of sixteen simple neurons that do not fire in it.
///
/// # Safety
/// `S`'s instruction set.
#[inline(always)]
unsafe fn silent_step<S: Simd>(
    plain: bool,
    (leak, alpha, drive): (S::V, S::V, S::V),
    v: S::V,
) -> S::V {
    // SAFETY: by contract. The operations are those of `neuron::simple_step`.
    unsafe {
        if plain {
            S::add(flush::<S>(v), drive)
        } else {
            S::add(S::add(leak, flush::<S>(S::mul(alpha, S::sub(v, leak)))), drive)
        }
    }
}

/// Sixteen neurons of a block: what their silence is made of.
///
/// # Safety
/// Parameters and state cover this block, pixel and lanes.
#[inline(always)]
unsafe fn silence<S: Simd>(
    n: &NeuronBlock<'_>,
    silent: &[f32],
    (block, pixel, j): (usize, usize, usize),
) -> (S::V, S::V, S::V) {
    // SAFETY: parameters cover every block, pixel and vector, `silent` every lane.
    unsafe {
        let x = S::load(silent.as_ptr().add(j * LANES));
        if n.params.rules.plain_if {
            return (x, x, x);
        }
        let leak = n.params.v_leak.load::<S>(block, pixel, j);
        let alpha = n.params.alpha_mem.load::<S>(block, pixel, j);
        (leak, alpha, S::mul(n.params.gain.load::<S>(block, pixel, j), x))
    }
}

/// Carry out `steps` silent steps at `pixel`, or as many as change something. All vectors of the
/// pixel go together: a step is a chain of dependent operations, and one alone would wait for it.
///
/// # Safety
/// Parameters and state cover this block, pixel and lanes.
#[inline(always)]
pub(super) unsafe fn catch_up<S: Simd, const NV: usize>(
    n: &mut NeuronBlock<'_>,
    silent: &[f32],
    (block, pixel): (usize, usize),
    steps: u32,
) {
    let plain = n.params.rules.plain_if;
    // SAFETY: by contract.
    unsafe {
        let zero = S::splat(0.0);
        let (mut v, mut what) = ([zero; NV], [(zero, zero, zero); NV]);
        let mut j = 0;
        while j < NV {
            what[j] = silence::<S>(n, silent, (block, pixel, j));
            v[j] = S::load(n.v.as_ptr().add((pixel * NV + j) * LANES));
            j += 1;
        }
        let mut left = steps;
        while left > 0 {
            // Whether anything still moves is asked every few steps only.
            for _ in 1..left.min(4) {
                let mut j = 0;
                while j < NV {
                    v[j] = silent_step::<S>(plain, what[j], v[j]);
                    j += 1;
                }
            }
            let mut same = 0xffff;
            let mut j = 0;
            while j < NV {
                let next = silent_step::<S>(plain, what[j], v[j]);
                same &= S::bits(S::and(S::ge(next, v[j]), S::ge(v[j], next)));
                v[j] = next;
                j += 1;
            }
            if same == 0xffff {
                break;
            }
            left = left.saturating_sub(4);
        }
        let mut j = 0;
        while j < NV {
            S::store(n.v.as_mut_ptr().add((pixel * NV + j) * LANES), v[j]);
            j += 1;
        }
    }
}

/// Steps until a neuron of `pixel` might fire by itself; never too late.
///
/// A silent step is a monotone map of v (no rounding reverses an order, and alpha is not
/// negative), so what does not climb now never will. What climbs does so by ever smaller steps
/// (alpha is at most 1), give or take roundings: a bound on these tells the earliest step.
///
/// # Safety
/// Parameters and state cover this block, pixel and lanes.
#[inline(always)]
pub(super) unsafe fn wake<S: Simd, const NV: usize>(
    n: &NeuronBlock<'_>,
    silent: &[f32],
    driven: Option<&Param>,
    (block, pixel): (usize, usize),
) -> u32 {
    let strict = n.params.rules.strict;
    let mut above = 0;
    let mut least = [HORIZON; LANES];
    let mut j = 0;
    while j < NV {
        // SAFETY: state and parameters cover every pixel, vector and lane.
        unsafe {
            let v = S::load(n.v.as_ptr().add((pixel * NV + j) * LANES));
            let theta = n.params.v_threshold.load::<S>(block, pixel, j);
            above |= S::bits(passes::<S>(strict, v, theta));
            if let Some(driven) = driven {
                let what = silence::<S>(n, silent, (block, pixel, j));
                let next = silent_step::<S>(n.params.rules.plain_if, what, v);
                let climb = S::sub(next, v);
                let zero = S::splat(0.0);
                let able = S::gt(driven.load::<S>(block, pixel, j), zero);
                let climbs = S::and(able, S::gt(climb, zero));
                let (leak, _, drive) = what;
                let sizes = S::add(S::add(S::abs(v), S::abs(theta)), S::abs(drive));
                let sizes = S::add(sizes, S::add(S::abs(leak), S::abs(leak)));
                // Roundings of a step: a few units of 2⁻²⁴ of the largest operand.
                let slack = S::add(S::mul(sizes, S::splat(2e-6)), S::splat(1e-29));
                let most = S::add(S::mul(climb, S::splat(1.001)), slack);
                let steps = S::floor(S::div(S::sub(theta, v), most));
                let steps = S::select(climbs, steps, S::splat(f32::INFINITY));
                let p = least.as_mut_ptr();
                S::store(p, S::min(S::load(p), steps));
                // Some lane climbs: the horizon itself is a wake-up.
                if S::bits(climbs) != 0 {
                    above |= 1 << 31;
                }
            }
        }
        j += 1;
    }
    if above & 0xffff != 0 {
        1
    } else if above == 0 {
        NEVER
    } else {
        let steps = least.iter().copied().fold(HORIZON, f32::min);
        steps.max(1.0) as u32
    }
}
