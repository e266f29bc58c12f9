//! Conductance-based LIF populations, one step at a time (S12.c): exponential Euler with the
//! conductances frozen for the step, lanes over neurons.

use super::at_level::at_level;
use super::level::Level;
use super::simd::{LANES, Simd};

/// Up to this argument φ is its first four terms.
pub const PHI_SHORT: f32 = 0.03125;
/// Up to this argument φ is six terms, above it is reached by doubling.
pub const PHI_BOUND: f32 = 0.25;
/// Doublings at most; arguments stay below `PHI_BOUND · 2^PHI_DOUBLINGS`.
pub const PHI_DOUBLINGS: usize = 24;
/// `(−1)^k / (k + 1)!`, the first terms of φ(z) = (1 − e^−z) / z.
pub const PHI: [f32; 6] = [1.0, -1.0 / 2.0, 1.0 / 6.0, -1.0 / 24.0, 1.0 / 120.0, -1.0 / 720.0];

/// Constants of one population, in mV, rounded once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Membrane {
    /// `dt / tau`.
    pub h: f32,
    /// Where v rests.
    pub v_rest: f32,
    /// Where v goes after a spike.
    pub v_reset: f32,
    /// It fires above this (plus theta).
    pub v_threshold: f32,
    /// Reversal potential of inhibition; that of excitation is 0 mV.
    pub e_inh: f32,
    /// What an excitatory conductance keeps over one step.
    pub keep_e: f32,
    /// What an inhibitory conductance keeps over one step.
    pub keep_i: f32,
    /// Steps from a spike to the next step that integrates.
    pub refractory: f32,
}

/// One step of the excitatory population. Every array of neurons is padded to whole vectors.
pub struct ExcitatoryTask<'a> {
    /// Constants.
    pub membrane: &'a Membrane,
    /// `[input][neuron]`, rows of `v.len()`.
    pub weights: &'a [f32],
    /// Inputs that spike in this step, ascending.
    pub inputs: &'a [u32],
    /// Inhibitory spikes of this step.
    pub inhibitory: u32,
    /// Which inhibitory neurons those are, a bit a lane.
    pub own: &'a [u16],
    /// Weight of one inhibitory spike.
    pub w_inh: f32,
    /// Potentials.
    pub v: &'a mut [f32],
    /// Excitatory conductances, in units of the leak.
    pub g_e: &'a mut [f32],
    /// Inhibitory conductances.
    pub g_i: &'a mut [f32],
    /// Steps left of the refractory time.
    pub wait: &'a mut [f32],
    /// Vectors of `wait` that are not all 0.
    pub waiting: &'a mut [bool],
    /// Whether some g_e is not 0.
    pub driven: bool,
    /// Whether some g_i is not 0.
    pub inhibited: bool,
    /// Thresholds with their adaptive part; infinite in padding.
    pub threshold: &'a [f32],
    /// Out: who fires, a bit a lane.
    pub fired: &'a mut [u16],
}

/// One step of the inhibitory population.
pub struct InhibitoryTask<'a> {
    /// Constants.
    pub membrane: &'a Membrane,
    /// Potentials.
    pub v: &'a mut [f32],
    /// Excitatory conductances.
    pub g_e: &'a mut [f32],
    /// Steps left of the refractory time.
    pub wait: &'a mut [f32],
    /// Vectors that may change in a step; cleared where a step changes nothing any more.
    pub awake: &'a mut [bool],
    /// Out: who fires, a bit a lane.
    pub fired: &'a mut [u16],
}

impl ExcitatoryTask<'_> {
    fn check(&self) {
        let n = self.v.len();
        assert!(n.is_multiple_of(LANES) && n > 0, "neurons in whole vectors");
        assert!(self.g_e.len() == n && self.g_i.len() == n && self.wait.len() == n);
        assert!(self.threshold.len() == n && self.own.len() == n / LANES);
        assert!(self.fired.len() == n / LANES && self.waiting.len() == n / LANES);
        let rows = self.weights.len() / n;
        assert!(self.inputs.iter().all(|&i| (i as usize) < rows), "an input has its row");
    }
}

impl InhibitoryTask<'_> {
    fn check(&self) {
        let n = self.v.len();
        assert!(n.is_multiple_of(LANES), "neurons in whole vectors");
        assert!(self.g_e.len() == n && self.wait.len() == n);
        assert!(self.awake.len() == n / LANES && self.fired.len() == n / LANES);
    }
}

/// `N` terms of φ.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn terms<S: Simd, const N: usize>(z: S::V) -> S::V {
    // SAFETY: the caller's contract.
    unsafe {
        let mut p = S::splat(PHI[N - 1]);
        let mut k = N - 1;
        while k > 0 {
            k -= 1;
            p = S::add(S::mul(p, z), S::splat(PHI[k]));
        }
        p
    }
}

/// φ up to `PHI_BOUND`.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn phi_small<S: Simd>(z: S::V) -> S::V {
    // SAFETY: the caller's contract.
    unsafe { S::select(S::gt(z, S::splat(PHI_SHORT)), terms::<S, 6>(z), terms::<S, 4>(z)) }
}

/// φ(2z) = φ(z) · (1 − z/2 · φ(z)), from the lane's argument halved until it is small.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn phi_large<S: Simd>(z: S::V) -> S::V {
    // SAFETY: the caller's contract.
    unsafe {
        let (half, two) = (S::splat(0.5), S::splat(2.0));
        let mut s = z;
        let mut halved = [S::gt(z, S::splat(PHI_BOUND)); PHI_DOUBLINGS];
        let mut n = 0;
        while n < PHI_DOUBLINGS {
            let large = S::gt(s, S::splat(PHI_BOUND));
            if S::bits(large) == 0 {
                break;
            }
            halved[n] = large;
            s = S::select(large, S::mul(s, half), s);
            n += 1;
        }
        let mut p = phi_small::<S>(s);
        while n > 0 {
            n -= 1;
            let doubled = S::mul(p, S::sub(S::splat(1.0), S::mul(S::mul(s, half), p)));
            p = S::select(halved[n], doubled, p);
            s = S::select(halved[n], S::mul(s, two), s);
        }
        p
    }
}

/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn phi<S: Simd>(z: S::V) -> S::V {
    // SAFETY: the caller's contract.
    unsafe {
        if S::bits(S::gt(z, S::splat(PHI_SHORT))) == 0 {
            terms::<S, 4>(z)
        } else if S::bits(S::gt(z, S::splat(PHI_BOUND))) == 0 {
            phi_small::<S>(z)
        } else {
            phi_large::<S>(z)
        }
    }
}

/// One step, with what is known to be 0 left out, which changes no bit: `DRIVEN` where some g_e
/// is not or input arrives, `INHIBITED` where some g_i is not or inhibition arrives.
///
/// # Safety
/// As [`Simd`]; the task was checked.
#[inline(always)]
unsafe fn step<S: Simd, const DRIVEN: bool, const INHIBITED: bool>(
    task: &mut ExcitatoryTask<'_>,
) -> u32 {
    let m = task.membrane;
    let n = task.v.len();
    let all = task.w_inh * task.inhibitory as f32;
    let others = task.w_inh * task.inhibitory.saturating_sub(1) as f32;
    let weights = task.weights.as_ptr();
    let mut any = 0;
    // SAFETY: every array has n lanes, every input a row of n weights, as `check` compared.
    unsafe {
        let (zero, one) = (S::splat(0.0), S::splat(1.0));
        let (h, rest, reset) = (S::splat(m.h), S::splat(m.v_rest), S::splat(m.v_reset));
        let e_inh = S::splat(m.e_inh);
        let (keep_e, keep_i) = (S::splat(m.keep_e), S::splat(m.keep_i));
        let resting = S::mul(h, phi::<S>(h));
        for tile in 0..n / LANES {
            let at = tile * LANES;
            let before = S::load(task.v.as_ptr().add(at));
            let (mut g, mut target, mut gain) = (one, rest, resting);
            if DRIVEN {
                let g_e = S::load(task.g_e.as_ptr().add(at));
                g = S::add(g, g_e);
                let mut sum = zero;
                for &i in task.inputs {
                    sum = S::add(sum, S::load(weights.add(i as usize * n + at)));
                }
                S::store(task.g_e.as_mut_ptr().add(at), S::add(S::mul(g_e, keep_e), sum));
            }
            if INHIBITED {
                let g_i = S::load(task.g_i.as_ptr().add(at));
                g = S::add(g, g_i);
                target = S::add(rest, S::mul(g_i, e_inh));
                let kept = S::mul(g_i, keep_i);
                S::store(task.g_i.as_mut_ptr().add(at), S::add(kept, S::splat(all)));
                let own = task.own[tile];
                if own != 0 {
                    let mut lanes = [0.0; LANES];
                    S::store(lanes.as_mut_ptr(), S::add(kept, S::splat(others)));
                    for (k, &lane) in lanes.iter().enumerate().filter(|(k, _)| own >> k & 1 == 1) {
                        task.g_i[at + k] = lane;
                    }
                }
            }
            if DRIVEN || INHIBITED {
                gain = S::mul(h, phi::<S>(S::mul(h, g)));
            }
            let drive = S::sub(target, S::mul(g, before));
            let mut v = S::add(before, S::mul(gain, drive));
            let threshold = S::load(task.threshold.as_ptr().add(at));
            let bits = if task.waiting[tile] {
                let wait = S::max(S::sub(S::load(task.wait.as_ptr().add(at)), one), zero);
                let free = S::ge(zero, wait);
                v = S::select(free, v, before);
                let fired = S::and(free, S::gt(v, threshold));
                v = S::select(fired, reset, v);
                let wait = S::select(fired, S::splat(m.refractory), wait);
                S::store(task.wait.as_mut_ptr().add(at), wait);
                task.waiting[tile] = S::bits(S::gt(wait, zero)) != 0;
                S::bits(fired)
            } else {
                let fired = S::gt(v, threshold);
                let bits = S::bits(fired);
                if bits != 0 {
                    v = S::select(fired, reset, v);
                    let wait = S::select(fired, S::splat(m.refractory), zero);
                    S::store(task.wait.as_mut_ptr().add(at), wait);
                    task.waiting[tile] = true;
                }
                bits
            };
            S::store(task.v.as_mut_ptr().add(at), v);
            task.fired[tile] = bits as u16;
            any |= bits;
        }
    }
    any
}

/// One step; not 0 if some neuron fires.
///
/// # Safety
/// As [`Simd`]; the task was checked.
#[inline(always)]
unsafe fn excitatory<S: Simd>(task: &mut ExcitatoryTask<'_>) -> u32 {
    let driven = task.driven || !task.inputs.is_empty();
    let inhibited = task.inhibited || task.inhibitory > 0;
    // SAFETY: handed on.
    unsafe {
        match (driven, inhibited) {
            (false, false) => step::<S, false, false>(task),
            (true, false) => step::<S, true, false>(task),
            (false, true) => step::<S, false, true>(task),
            (true, true) => step::<S, true, true>(task),
        }
    }
}

/// # Safety
/// As [`Simd`]; the task was checked.
#[inline(always)]
unsafe fn inhibitory<S: Simd>(task: &mut InhibitoryTask<'_>) -> u32 {
    let m = task.membrane;
    let mut count = 0;
    // SAFETY: every array has the lanes of `v`, as `check` compared.
    unsafe {
        let (zero, one) = (S::splat(0.0), S::splat(1.0));
        for tile in 0..task.awake.len() {
            if !task.awake[tile] {
                task.fired[tile] = 0;
                continue;
            }
            let at = tile * LANES;
            let before = S::load(task.v.as_ptr().add(at));
            let g_e = S::load(task.g_e.as_ptr().add(at));
            let g = S::add(one, g_e);
            let drive = S::sub(S::splat(m.v_rest), S::mul(g, before));
            let h = S::splat(m.h);
            let moved = S::add(before, S::mul(S::mul(h, phi::<S>(S::mul(h, g))), drive));
            let wait = S::max(S::sub(S::load(task.wait.as_ptr().add(at)), one), zero);
            let free = S::ge(zero, wait);
            let v = S::select(free, moved, before);
            let fired = S::and(free, S::gt(v, S::splat(m.v_threshold)));
            let bits = S::bits(fired);
            task.fired[tile] = bits as u16;
            count += bits.count_ones();
            // A step that changed nothing, with nothing left to decay, changes nothing ever after.
            let busy = S::or(S::gt(g_e, zero), S::gt(wait, zero));
            let still = S::bits(S::and(S::ge(v, before), S::ge(before, v)));
            task.awake[tile] = bits != 0 || S::bits(busy) != 0 || still != 0xffff;
            S::store(task.v.as_mut_ptr().add(at), S::select(fired, S::splat(m.v_reset), v));
            let wait = S::select(fired, S::splat(m.refractory), wait);
            S::store(task.wait.as_mut_ptr().add(at), wait);
            S::store(task.g_e.as_mut_ptr().add(at), S::mul(g_e, S::splat(m.keep_e)));
        }
    }
    count
}

at_level! {
    /// # Safety
    /// The task was checked; the CPU has the level.
    unsafe fn excitatory_at(task: &mut ExcitatoryTask<'_>) -> u32 = excitatory;
}

at_level! {
    /// # Safety
    /// The task was checked; the CPU has the level.
    unsafe fn inhibitory_at(task: &mut InhibitoryTask<'_>) -> u32 = inhibitory;
}

/// One step of the excitatory neurons at `level`; how many fired.
///
/// # Panics
/// When the level is not this CPU's or the arrays do not fit each other: bugs.
pub fn step_excitatory(level: Level, task: &mut ExcitatoryTask<'_>) -> u32 {
    assert!(level.is_available(), "level {} on this CPU", level.name());
    task.check();
    // SAFETY: the level is available and `check` compared every length.
    unsafe { excitatory_at(level, task) }
}

/// One step of the inhibitory neurons at `level`; how many fired.
///
/// # Panics
/// As [`step_excitatory`].
pub fn step_inhibitory(level: Level, task: &mut InhibitoryTask<'_>) -> u32 {
    assert!(level.is_available(), "level {} on this CPU", level.name());
    task.check();
    // SAFETY: the level is available and `check` compared every length.
    unsafe { inhibitory_at(level, task) }
}
