//! NEON form of [`IntSimd`].

use std::arch::aarch64::*;

use super::super::simd::LANES;
use super::super::simd_neon::Neon;
use super::simd::IntSimd;

macro_rules! quarters {
    ($($name:ident($($arg:ident: $t:ty),+) -> $out:ty = $f:ident;)+) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: $t),+) -> $out {
            // SAFETY: the trait's contract gives NEON.
            unsafe { [$f($($arg[0]),+), $f($($arg[1]),+), $f($($arg[2]),+), $f($($arg[3]),+)] }
        }
    )+};
}

/// `⌊a·b / 2³⁰⌋`.
///
/// # Safety
/// NEON.
#[inline(always)]
unsafe fn scale_quarter(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    // SAFETY: NEON by contract.
    unsafe {
        let low = vmull_s32(vget_low_s32(a), vget_low_s32(b));
        vcombine_s32(vshrn_n_s64::<30>(low), vshrn_n_s64::<30>(vmull_high_s32(a, b)))
    }
}

/// # Safety
/// NEON.
#[inline(always)]
unsafe fn widen_half(x: int16x8_t, y: int16x8_t) -> [int32x4_t; 4] {
    // SAFETY: NEON by contract.
    unsafe {
        [
            vmovl_s16(vget_low_s16(x)),
            vmovl_high_s16(x),
            vmovl_s16(vget_low_s16(y)),
            vmovl_high_s16(y),
        ]
    }
}

// SAFETY: every intrinsic below is in NEON, which the trait's contract demands of the caller.
unsafe impl IntSimd for Neon {
    type W = [int16x8_t; 4];
    type I = [int32x4_t; 4];
    type B = [uint32x4_t; 4];

    #[inline(always)]
    unsafe fn none16() -> Self::W {
        // SAFETY: the trait's contract gives NEON.
        unsafe { [vdupq_n_s16(0); 4] }
    }

    #[inline(always)]
    unsafe fn add_row(acc: Self::W, p: *const i8) -> Self::W {
        // SAFETY: thirty-two readable i8 by contract.
        unsafe {
            let (a, b) = (vld1q_s8(p), vld1q_s8(p.add(LANES)));
            [
                vaddw_s8(acc[0], vget_low_s8(a)),
                vaddw_high_s8(acc[1], a),
                vaddw_s8(acc[2], vget_low_s8(b)),
                vaddw_high_s8(acc[3], b),
            ]
        }
    }

    #[inline(always)]
    unsafe fn widen(a: Self::W) -> [Self::I; 2] {
        // SAFETY: the trait's contract gives NEON.
        unsafe { [widen_half(a[0], a[1]), widen_half(a[2], a[3])] }
    }

    #[inline(always)]
    unsafe fn int_load(p: *const i32) -> Self::I {
        // SAFETY: sixteen readable i32 by contract.
        unsafe { [vld1q_s32(p), vld1q_s32(p.add(4)), vld1q_s32(p.add(8)), vld1q_s32(p.add(12))] }
    }

    #[inline(always)]
    unsafe fn int_store(p: *mut i32, a: Self::I) {
        // SAFETY: sixteen writable i32 by contract.
        unsafe {
            vst1q_s32(p, a[0]);
            vst1q_s32(p.add(4), a[1]);
            vst1q_s32(p.add(8), a[2]);
            vst1q_s32(p.add(12), a[3]);
        }
    }

    #[inline(always)]
    unsafe fn int_splat(x: i32) -> Self::I {
        // SAFETY: the trait's contract gives NEON.
        unsafe { [vdupq_n_s32(x); 4] }
    }

    quarters! {
        int_add(a: Self::I, b: Self::I) -> Self::I = vaddq_s32;
        int_sub(a: Self::I, b: Self::I) -> Self::I = vsubq_s32;
        int_max(a: Self::I, b: Self::I) -> Self::I = vmaxq_s32;
        int_min(a: Self::I, b: Self::I) -> Self::I = vminq_s32;
        scale(a: Self::I, b: Self::I) -> Self::I = scale_quarter;
        int_gt(a: Self::I, b: Self::I) -> Self::B = vcgtq_s32;
        int_select(m: Self::B, a: Self::I, b: Self::I) -> Self::I = vbslq_s32;
        but(a: Self::B, b: Self::B) -> Self::B = vbicq_u32;
        either(a: Self::B, b: Self::B) -> Self::B = vorrq_u32;
        to_f32(a: Self::I) -> Self::V = vcvtq_f32_s32;
        round(a: Self::V) -> Self::I = vcvtnq_s32_f32;
    }

    #[inline(always)]
    unsafe fn shl(a: Self::I, bits: u32) -> Self::I {
        // SAFETY: the trait's contract gives NEON.
        unsafe {
            let n = vdupq_n_s32(bits as i32);
            [vshlq_s32(a[0], n), vshlq_s32(a[1], n), vshlq_s32(a[2], n), vshlq_s32(a[3], n)]
        }
    }

    #[inline(always)]
    unsafe fn int_bits(m: Self::B) -> u32 {
        const WEIGHTS: [u32; 4] = [1, 2, 4, 8];
        // SAFETY: the trait's contract gives NEON; WEIGHTS holds four u32.
        unsafe {
            let w = vld1q_u32(WEIGHTS.as_ptr());
            vaddvq_u32(vandq_u32(m[0], w))
                | vaddvq_u32(vandq_u32(m[1], w)) << 4
                | vaddvq_u32(vandq_u32(m[2], w)) << 8
                | vaddvq_u32(vandq_u32(m[3], w)) << 12
        }
    }

    #[inline(always)]
    unsafe fn row(p: *const i8) -> Self::V {
        // SAFETY: sixteen readable i8 by contract.
        unsafe {
            let row = vld1q_s8(p);
            let (low, high) = (vmovl_s8(vget_low_s8(row)), vmovl_high_s8(row));
            [
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_high_s16(low)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_high_s16(high)),
            ]
        }
    }
}
