//! NEON form of [`Simd`].

use std::arch::aarch64::*;

use super::simd::Simd;

/// Four 128-bit quarters.
#[derive(Clone, Copy)]
pub struct Neon;

macro_rules! quarters {
    ($($name:ident($($arg:ident: $t:ty),+) -> $out:ty = $f:ident;)+) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: $t),+) -> $out {
            // SAFETY: the trait's contract gives NEON.
            unsafe { [$f($($arg[0]),+), $f($($arg[1]),+), $f($($arg[2]),+), $f($($arg[3]),+)] }
        }
    )+};
}

#[inline(always)]
unsafe fn max_quarter(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    // SAFETY: NEON by the caller's contract.
    unsafe { vbslq_f32(vcltq_f32(a, b), b, a) }
}

#[inline(always)]
unsafe fn min_quarter(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    // SAFETY: NEON by the caller's contract.
    unsafe { vbslq_f32(vcgtq_f32(a, b), b, a) }
}

// SAFETY: every intrinsic below is in NEON, which the trait's contract demands of the caller.
unsafe impl Simd for Neon {
    type V = [float32x4_t; 4];
    type M = [uint32x4_t; 4];

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        // SAFETY: sixteen readable f32 by contract.
        unsafe { [vld1q_f32(p), vld1q_f32(p.add(4)), vld1q_f32(p.add(8)), vld1q_f32(p.add(12))] }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, a: Self::V) {
        // SAFETY: sixteen writable f32 by contract.
        unsafe {
            vst1q_f32(p, a[0]);
            vst1q_f32(p.add(4), a[1]);
            vst1q_f32(p.add(8), a[2]);
            vst1q_f32(p.add(12), a[3]);
        }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        // SAFETY: the trait's contract gives NEON.
        unsafe { [vdupq_n_f32(x); 4] }
    }

    quarters! {
        add(a: Self::V, b: Self::V) -> Self::V = vaddq_f32;
        sub(a: Self::V, b: Self::V) -> Self::V = vsubq_f32;
        mul(a: Self::V, b: Self::V) -> Self::V = vmulq_f32;
        div(a: Self::V, b: Self::V) -> Self::V = vdivq_f32;
        floor(a: Self::V) -> Self::V = vrndmq_f32;
        abs(a: Self::V) -> Self::V = vabsq_f32;
        max(a: Self::V, b: Self::V) -> Self::V = max_quarter;
        min(a: Self::V, b: Self::V) -> Self::V = min_quarter;
        ge(a: Self::V, b: Self::V) -> Self::M = vcgeq_f32;
        gt(a: Self::V, b: Self::V) -> Self::M = vcgtq_f32;
        select(m: Self::M, a: Self::V, b: Self::V) -> Self::V = vbslq_f32;
        and(a: Self::M, b: Self::M) -> Self::M = vandq_u32;
        or(a: Self::M, b: Self::M) -> Self::M = vorrq_u32;
        and_not(a: Self::M, b: Self::M) -> Self::M = vbicq_u32;
    }

    #[inline(always)]
    unsafe fn bits(m: Self::M) -> u32 {
        const WEIGHTS: [u32; 4] = [1, 2, 4, 8];
        // SAFETY: the trait's contract gives NEON; WEIGHTS holds four u32.
        unsafe {
            let w = vld1q_u32(WEIGHTS.as_ptr());
            vaddvq_u32(vandq_u32(m[0], w))
                | (vaddvq_u32(vandq_u32(m[1], w)) << 4)
                | (vaddvq_u32(vandq_u32(m[2], w)) << 8)
                | (vaddvq_u32(vandq_u32(m[3], w)) << 12)
        }
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
}
