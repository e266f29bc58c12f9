//! The naive twin of [`super::conductance`]: one neuron at a time, in the order of S12.c.

use super::conductance::{Membrane, PHI, PHI_BOUND, PHI_DOUBLINGS, PHI_SHORT};

/// φ(z) = (1 − e^−z) / z as S12.c2 defines it.
pub fn phi(z: f32) -> f32 {
    let (mut s, mut n) = (z, 0);
    while s > PHI_BOUND && n < PHI_DOUBLINGS {
        s *= 0.5;
        n += 1;
    }
    let last = if s > PHI_SHORT { 5 } else { 3 };
    let mut p = PHI[last];
    for k in (0..last).rev() {
        p = p * s + PHI[k];
    }
    for _ in 0..n {
        p *= 1.0 - (s * 0.5) * p;
        s *= 2.0;
    }
    p
}

/// The state of one neuron.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct State {
    pub v: f32,
    pub g_e: f32,
    pub g_i: f32,
    pub wait: f32,
}

/// One step; `arrives` is what is added to (g_e, g_i) at its end. Whether it fires.
pub fn step(m: &Membrane, theta: f32, arrives: (f32, f32), s: &mut State) -> bool {
    let g = (1.0 + s.g_e) + s.g_i;
    let drive = (m.v_rest + s.g_i * m.e_inh) - g * s.v;
    let moved = s.v + (m.h * phi(m.h * g)) * drive;
    s.wait = (s.wait - 1.0).max(0.0);
    let free = s.wait <= 0.0;
    if free {
        s.v = moved;
    }
    let fired = free && s.v > m.v_threshold + theta;
    if fired {
        s.v = m.v_reset;
        s.wait = m.refractory;
    }
    s.g_e = s.g_e * m.keep_e + arrives.0;
    s.g_i = s.g_i * m.keep_i + arrives.1;
    fired
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phi_is_within_rounding_of_its_meaning() {
        for k in 1..4000 {
            let z = 1.01f32.powi(k - 2000);
            if z > 4e6 {
                break;
            }
            let exact = -(-f64::from(z)).exp_m1() / f64::from(z);
            let error = (f64::from(phi(z)) - exact).abs() / exact;
            assert!(error < 4e-7, "phi({z}) is off by {error}");
        }
        assert_eq!(phi(0.0), 1.0);
    }
}
