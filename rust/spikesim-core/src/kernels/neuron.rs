//! The step of a population (S3), sixteen neurons at a time.

use super::param::Param;
use super::simd::{LANES, Simd};

/// Magnitudes below this are set to zero where state decays (S8).
pub const TINY: f32 = 1e-30;

/// Which parts of S3 a population uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Rules {
    /// `>` instead of `>=`.
    pub strict: bool,
    pub fires: bool,
    pub multi: bool,
    pub signed: bool,
    pub subtract: bool,
    pub to_value: bool,
    pub reset_before: bool,
    pub reset_after: bool,
    pub guarded: bool,
    pub order_b: bool,
    pub decay_first: bool,
    pub decay_after: bool,
    pub alpha: bool,
    pub refractory: bool,
    pub adaptive: bool,
    pub clamp: bool,
    /// alpha_mem = 1, v_leak = 0, gain = 1 everywhere: the multiplications change nothing.
    pub plain_if: bool,
}

impl Rules {
    /// Single spikes, same-step reset, no synapse, nothing else: the short path.
    fn is_simple(&self) -> bool {
        self.fires
            && !(self.multi
                || self.signed
                || self.reset_before
                || self.reset_after
                || self.guarded
                || self.order_b
                || self.decay_first
                || self.decay_after
                || self.alpha
                || self.refractory
                || self.adaptive
                || self.clamp)
    }
}

/// A population's parameters, packed. Parameters that the rules do not use may be one block of
/// anything.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct NeuronParams {
    pub rules: Rules,
    simple: bool,
    pub v_threshold: Param,
    pub v_reset: Param,
    pub v_leak: Param,
    pub alpha_mem: Param,
    pub gain: Param,
    pub alpha_syn: Option<Param>,
    pub w_in: Option<Param>,
    pub alpha_inh: Option<Param>,
    pub v_threshold_neg: Option<Param>,
    pub v_min: Option<Param>,
    pub theta_plus: Option<Param>,
    pub alpha_theta: Option<Param>,
    /// Largest number of spikes a step with `multi`; infinite without a bound.
    pub max_spikes: f32,
    /// Steps of refractoriness.
    pub refractory: f32,
}

impl NeuronParams {
    /// Whether the short path carries out the step: single spikes, same-step reset, v the only
    /// state.
    pub fn is_simple(&self) -> bool {
        self.simple
    }

    /// Parameters of `rules` with the five every neuron has; the rest unset.
    pub fn new(rules: Rules, five: [Param; 5]) -> Self {
        let [v_threshold, v_reset, v_leak, alpha_mem, gain] = five;
        Self {
            rules,
            simple: rules.is_simple(),
            v_threshold,
            v_reset,
            v_leak,
            alpha_mem,
            gain,
            alpha_syn: None,
            w_in: None,
            alpha_inh: None,
            v_threshold_neg: None,
            v_min: None,
            theta_plus: None,
            alpha_theta: None,
            max_spikes: f32::INFINITY,
            refractory: 0.0,
        }
    }
}

/// One block of a population: its state `[pixel][lane]` and where the step's results go.
/// Slices the rules do not use are empty.
pub struct NeuronBlock<'a> {
    /// Parameters of the whole population.
    pub params: &'a NeuronParams,
    /// Bit `k` set where lane `k` is a neuron.
    pub lanes: u64,
    /// Membrane.
    pub v: &'a mut [f32],
    /// Synaptic current.
    pub i: &'a mut [f32],
    /// Inhibitory current (alpha).
    pub n: &'a mut [f32],
    /// Adaptive part of the threshold.
    pub a: &'a mut [f32],
    /// Refractory steps left.
    pub r: &'a mut [f32],
    /// Spikes, one bit a lane, `[t][pixel]`.
    pub masks: &'a mut [u64],
    /// Numbers of spikes, `[t][pixel][lane]` (multi and signed).
    pub z: &'a mut [f32],
    /// Record of `v` after the step, `[t][pixel][lane]`.
    pub v_out: &'a mut [f32],
    /// Record of the summed input, `[t][pixel][lane]`.
    pub x_out: &'a mut [f32],
}

impl NeuronBlock<'_> {
    /// As [`super::block::BlockTask::check`], for the population's part.
    pub(super) fn check(&self, block: usize, width: usize, pixels: usize, steps: usize) {
        let params = self.params;
        let rules = &params.rules;
        let five =
            [&params.v_threshold, &params.v_reset, &params.v_leak, &params.alpha_mem, &params.gain];
        let rest = [
            &params.alpha_syn,
            &params.w_in,
            &params.alpha_inh,
            &params.v_threshold_neg,
            &params.v_min,
            &params.theta_plus,
            &params.alpha_theta,
        ];
        let all = five.into_iter().chain(rest.into_iter().flatten());
        assert!(all.into_iter().all(|p| p.covers(block, width, pixels)), "parameters");
        let state = pixels * width;
        let synapse = params.alpha_syn.is_some() && params.w_in.is_some();
        let wanted = rules.decay_first || rules.decay_after || rules.alpha;
        assert!(synapse == wanted, "synapse");
        assert!(params.alpha_inh.is_some() == rules.alpha, "inhibition");
        assert!(self.v.len() == state, "v");
        assert!(!synapse || self.i.len() == state, "i");
        assert!(!rules.alpha || self.n.len() == state, "n");
        assert!(!rules.adaptive || self.a.len() == state, "a");
        assert!(!rules.refractory || self.r.len() == state, "r");
        let record = steps * state;
        assert!(self.masks.is_empty() || self.masks.len() == steps * pixels, "masks");
        for out in [&self.z, &self.v_out, &self.x_out] {
            assert!(out.is_empty() || out.len() == record, "records");
        }
    }
}

/// `y` with magnitudes below [`TINY`] set to +0.
///
/// # Safety
/// `S`'s instruction set.
#[inline(always)]
pub(super) unsafe fn flush<S: Simd>(y: S::V) -> S::V {
    // SAFETY: by contract.
    unsafe { S::select(S::ge(S::abs(y), S::splat(TINY)), y, S::splat(0.0)) }
}

/// # Safety
/// `S`'s instruction set.
#[inline(always)]
pub(super) unsafe fn passes<S: Simd>(strict: bool, v: S::V, theta: S::V) -> S::M {
    // SAFETY: by contract.
    unsafe { if strict { S::gt(v, theta) } else { S::ge(v, theta) } }
}

/// One step of `NV` vectors of neurons at `pixel`.
///
/// # Safety
/// `S`'s instruction set; the slices of `n` have the sizes documented for blocks of `NV · LANES`.
#[inline(always)]
pub unsafe fn step<S: Simd, const NV: usize>(
    n: &mut NeuronBlock<'_>,
    block: usize,
    pixel: usize,
    pixels: usize,
    t: usize,
    x: &[S::V; NV],
) {
    let params = n.params;
    let state = pixel * NV * LANES;
    let record = (t * pixels + pixel) * NV * LANES;
    let mut word = 0u64;
    let mut j = 0;
    while j < NV {
        let at = state + j * LANES;
        // SAFETY: state and records cover every pixel and lane of the block by contract.
        unsafe {
            let bits = if params.simple {
                simple_step::<S>(params, (block, pixel, j), n.v.as_mut_ptr().add(at), x[j])
            } else {
                let z = if n.z.is_empty() {
                    None
                } else {
                    Some(n.z.as_mut_ptr().add(record + j * LANES))
                };
                full_step::<S>(n, (block, pixel, j), at, z, x[j])
            };
            word |= u64::from(bits) << (j * LANES);
            if !n.x_out.is_empty() {
                S::store(n.x_out.as_mut_ptr().add(record + j * LANES), x[j]);
            }
            if !n.v_out.is_empty() {
                let v = S::load(n.v.as_ptr().add(at));
                S::store(n.v_out.as_mut_ptr().add(record + j * LANES), v);
            }
        }
        j += 1;
    }
    if !n.masks.is_empty() {
        n.masks[t * pixels + pixel] = word & n.lanes;
    }
}

/// # Safety
/// As [`step`]; `v` points at sixteen membranes.
#[inline(always)]
unsafe fn simple_step<S: Simd>(
    params: &NeuronParams,
    (block, pixel, j): (usize, usize, usize),
    v: *mut f32,
    x: S::V,
) -> u32 {
    // SAFETY: by contract.
    unsafe {
        let rules = &params.rules;
        let theta = params.v_threshold.load::<S>(block, pixel, j);
        let old = S::load(v);
        let h = if rules.plain_if {
            S::add(flush::<S>(old), x)
        } else {
            let leak = params.v_leak.load::<S>(block, pixel, j);
            let alpha = params.alpha_mem.load::<S>(block, pixel, j);
            let gain = params.gain.load::<S>(block, pixel, j);
            let decayed = flush::<S>(S::mul(alpha, S::sub(old, leak)));
            S::add(S::add(leak, decayed), S::mul(gain, x))
        };
        let fired = passes::<S>(rules.strict, h, theta);
        let new = if rules.subtract {
            S::select(fired, S::sub(h, theta), h)
        } else if rules.to_value {
            S::select(fired, params.v_reset.load::<S>(block, pixel, j), h)
        } else {
            h
        };
        S::store(v, new);
        S::bits(fired)
    }
}

/// # Safety
/// As [`step`]; `z` points at sixteen writable f32 where it is given.
#[inline(always)]
unsafe fn full_step<S: Simd>(
    n: &mut NeuronBlock<'_>,
    (block, pixel, j): (usize, usize, usize),
    at: usize,
    z_out: Option<*mut f32>,
    x: S::V,
) -> u32 {
    let params = n.params;
    let rules = &params.rules;
    // SAFETY: every optional parameter and state below is there when its rule is set (the plan
    // builds both together), and covers this block, pixel and vector.
    unsafe {
        let zero = S::splat(0.0);
        let none = S::gt(zero, zero);
        let old = S::load(n.v.as_ptr().add(at));
        let mut v = old;
        let mut theta = params.v_threshold.load::<S>(block, pixel, j);
        let v_reset = params.v_reset.load::<S>(block, pixel, j);
        let mut adapt = zero;
        if let (true, Some(alpha)) = (rules.adaptive, &params.alpha_theta) {
            let alpha = alpha.load::<S>(block, pixel, j);
            adapt = flush::<S>(S::mul(alpha, S::load(n.a.as_ptr().add(at))));
            theta = S::add(theta, adapt);
        }
        let rho = if rules.reset_before || rules.reset_after || rules.guarded || rules.order_b {
            passes::<S>(rules.strict, v, theta)
        } else {
            none
        };
        if rules.reset_before {
            v = reset::<S>(rules, rho, v, theta, v_reset);
        }
        let mut input = x;
        // The inhibitory current of the step before, which an alpha synapse's reset gives back.
        let mut inhibition = zero;
        if let (Some(alpha), Some(w_in)) = (&params.alpha_syn, &params.w_in) {
            let alpha = alpha.load::<S>(block, pixel, j);
            let arrived = S::mul(w_in.load::<S>(block, pixel, j), x);
            let i = S::load(n.i.as_ptr().add(at));
            let mut next = if rules.decay_after {
                flush::<S>(S::mul(alpha, S::add(i, arrived)))
            } else {
                S::add(flush::<S>(S::mul(alpha, i)), arrived)
            };
            input = next;
            if let (true, Some(alpha)) = (rules.alpha, &params.alpha_inh) {
                let alpha = alpha.load::<S>(block, pixel, j);
                inhibition = S::load(n.n.as_ptr().add(at));
                let mut other = S::sub(flush::<S>(S::mul(alpha, inhibition)), arrived);
                input = S::add(next, other);
                if rules.reset_after && rules.subtract {
                    next = S::select(rho, S::sub(next, theta), next);
                    other = S::select(rho, zero, other);
                } else if rules.reset_after && rules.to_value {
                    next = S::select(rho, zero, next);
                    other = S::select(rho, zero, other);
                }
                S::store(n.n.as_mut_ptr().add(at), other);
            }
            S::store(n.i.as_mut_ptr().add(at), next);
        }
        let leak = params.v_leak.load::<S>(block, pixel, j);
        let alpha = params.alpha_mem.load::<S>(block, pixel, j);
        let gain = params.gain.load::<S>(block, pixel, j);
        let decayed = flush::<S>(S::mul(alpha, S::sub(v, leak)));
        let mut h = S::add(S::add(leak, decayed), S::mul(gain, input));
        if rules.reset_after && rules.alpha && rules.subtract {
            h = S::select(rho, S::add(h, inhibition), h);
        } else if rules.reset_after {
            h = reset::<S>(rules, rho, h, theta, v_reset);
        }
        if rules.guarded {
            h = S::select(rho, S::sub(h, theta), h);
        }
        let mut resting = none;
        let mut left = zero;
        if rules.refractory {
            left = S::load(n.r.as_ptr().add(at));
            resting = S::gt(left, zero);
            h = S::select(resting, old, h);
            left = S::select(resting, S::sub(left, S::splat(1.0)), left);
        }
        let mut count = zero;
        let mut fired = none;
        if !rules.fires {
            // LI: nothing to test.
        } else if rules.order_b {
            fired = rho;
        } else if rules.multi {
            let many = S::min(S::floor(S::div(h, theta)), S::splat(params.max_spikes));
            fired = S::and_not(S::ge(many, S::splat(1.0)), resting);
            count = S::select(fired, many, zero);
        } else {
            fired = S::and_not(passes::<S>(rules.strict, h, theta), resting);
        }
        if !rules.multi {
            count = S::select(fired, S::splat(1.0), zero);
        }
        let mut new = h;
        if rules.guarded {
            // h already carries −rho·θ: give back what was not fired, take what newly was.
            let owed = S::sub(count, S::select(rho, S::splat(1.0), zero));
            new = S::sub(h, S::mul(owed, theta));
        } else if !(rules.reset_before || rules.reset_after) {
            if rules.subtract {
                new = S::select(fired, S::sub(h, S::mul(count, theta)), h);
            } else if rules.to_value {
                new = S::select(fired, v_reset, h);
            }
        }
        if let (true, Some(negative)) = (rules.signed, &params.v_threshold_neg) {
            let bound = negative.load::<S>(block, pixel, j);
            // Where both tests hold, the upper one decides.
            let below = S::and_not(passes::<S>(rules.strict, bound, h), S::or(fired, resting));
            count = S::select(below, S::splat(-1.0), count);
            if rules.subtract {
                new = S::select(below, S::sub(h, bound), new);
            } else if rules.to_value {
                new = S::select(below, v_reset, new);
            }
            fired = S::or(fired, below);
        }
        if let (true, Some(low)) = (rules.clamp, &params.v_min) {
            new = S::max(new, low.load::<S>(block, pixel, j));
        }
        if let (true, Some(plus)) = (rules.adaptive, &params.theta_plus) {
            let grown = S::mul(plus.load::<S>(block, pixel, j), S::abs(count));
            S::store(n.a.as_mut_ptr().add(at), S::add(adapt, grown));
        }
        if rules.refractory {
            left = S::select(fired, S::splat(params.refractory), left);
            S::store(n.r.as_mut_ptr().add(at), left);
        }
        S::store(n.v.as_mut_ptr().add(at), new);
        if let Some(p) = z_out {
            S::store(p, count);
        }
        S::bits(fired)
    }
}

/// The reset of a single spike where `rho` is set.
///
/// # Safety
/// `S`'s instruction set.
#[inline(always)]
unsafe fn reset<S: Simd>(rules: &Rules, rho: S::M, v: S::V, theta: S::V, to: S::V) -> S::V {
    // SAFETY: by contract.
    unsafe {
        if rules.subtract {
            S::select(rho, S::sub(v, theta), v)
        } else if rules.to_value {
            S::select(rho, to, v)
        } else {
            v
        }
    }
}
