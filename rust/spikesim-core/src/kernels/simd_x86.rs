//! AVX2 and AVX-512 forms of [`Simd`].

use std::arch::x86_64::*;

use super::simd::Simd;

/// Two 256-bit halves.
#[derive(Clone, Copy)]
pub struct Avx2;

/// One 512-bit register.
#[derive(Clone, Copy)]
pub struct Avx512;

macro_rules! halves {
    ($($name:ident = $f:ident;)+) => {$(
        #[inline(always)]
        unsafe fn $name(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: the trait's contract gives AVX2.
            unsafe { [$f(a[0], b[0]), $f(a[1], b[1])] }
        }
    )+};
}

// SAFETY: every intrinsic below is in AVX2, which the trait's contract demands of the caller.
unsafe impl Simd for Avx2 {
    type V = [__m256; 2];
    type M = [__m256; 2];

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        // SAFETY: sixteen readable f32 by contract; unaligned loads.
        unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, a: Self::V) {
        // SAFETY: sixteen writable f32 by contract; unaligned stores.
        unsafe {
            _mm256_storeu_ps(p, a[0]);
            _mm256_storeu_ps(p.add(8), a[1]);
        }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        // SAFETY: the trait's contract gives AVX2.
        unsafe { [_mm256_set1_ps(x); 2] }
    }

    halves! {
        add = _mm256_add_ps;
        sub = _mm256_sub_ps;
        mul = _mm256_mul_ps;
        div = _mm256_div_ps;
        and = _mm256_and_ps;
        or = _mm256_or_ps;
    }

    #[inline(always)]
    unsafe fn floor(a: Self::V) -> Self::V {
        // SAFETY: the trait's contract gives AVX2.
        unsafe { [_mm256_floor_ps(a[0]), _mm256_floor_ps(a[1])] }
    }

    #[inline(always)]
    unsafe fn abs(a: Self::V) -> Self::V {
        // SAFETY: the trait's contract gives AVX2.
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            [_mm256_andnot_ps(sign, a[0]), _mm256_andnot_ps(sign, a[1])]
        }
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the trait's contract gives AVX2. (b, a): maxps returns its second operand on ties.
        unsafe { [_mm256_max_ps(b[0], a[0]), _mm256_max_ps(b[1], a[1])] }
    }

    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: as max.
        unsafe { [_mm256_min_ps(b[0], a[0]), _mm256_min_ps(b[1], a[1])] }
    }

    #[inline(always)]
    unsafe fn ge(a: Self::V, b: Self::V) -> Self::M {
        // SAFETY: the trait's contract gives AVX2.
        unsafe {
            [_mm256_cmp_ps::<_CMP_GE_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_GE_OQ>(a[1], b[1])]
        }
    }

    #[inline(always)]
    unsafe fn gt(a: Self::V, b: Self::V) -> Self::M {
        // SAFETY: the trait's contract gives AVX2.
        unsafe {
            [_mm256_cmp_ps::<_CMP_GT_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_GT_OQ>(a[1], b[1])]
        }
    }

    #[inline(always)]
    unsafe fn select(m: Self::M, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the trait's contract gives AVX2.
        unsafe { [_mm256_blendv_ps(b[0], a[0], m[0]), _mm256_blendv_ps(b[1], a[1], m[1])] }
    }

    #[inline(always)]
    unsafe fn and_not(a: Self::M, b: Self::M) -> Self::M {
        // SAFETY: the trait's contract gives AVX2.
        unsafe { [_mm256_andnot_ps(b[0], a[0]), _mm256_andnot_ps(b[1], a[1])] }
    }

    #[inline(always)]
    unsafe fn bits(m: Self::M) -> u32 {
        // SAFETY: the trait's contract gives AVX2.
        unsafe { (_mm256_movemask_ps(m[0]) as u32) | ((_mm256_movemask_ps(m[1]) as u32) << 8) }
    }

    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        // SAFETY: a prefetch may name any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}

macro_rules! whole {
    ($($name:ident = $f:ident;)+) => {$(
        #[inline(always)]
        unsafe fn $name(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: the trait's contract gives AVX-512.
            unsafe { $f(a, b) }
        }
    )+};
}

// SAFETY: every intrinsic below is in AVX-512 F or DQ, which the trait's contract demands.
unsafe impl Simd for Avx512 {
    type V = __m512;
    type M = __mmask16;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        // SAFETY: sixteen readable f32 by contract; unaligned load.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, a: Self::V) {
        // SAFETY: sixteen writable f32 by contract; unaligned store.
        unsafe { _mm512_storeu_ps(p, a) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        // SAFETY: the trait's contract gives AVX-512.
        unsafe { _mm512_set1_ps(x) }
    }

    whole! {
        add = _mm512_add_ps;
        sub = _mm512_sub_ps;
        mul = _mm512_mul_ps;
        div = _mm512_div_ps;
    }

    #[inline(always)]
    unsafe fn floor(a: Self::V) -> Self::V {
        // SAFETY: the trait's contract gives AVX-512.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a) }
    }

    #[inline(always)]
    unsafe fn abs(a: Self::V) -> Self::V {
        // SAFETY: the trait's contract gives AVX-512.
        unsafe { _mm512_abs_ps(a) }
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the trait's contract gives AVX-512. (b, a): maxps returns its second operand on ties.
        unsafe { _mm512_max_ps(b, a) }
    }

    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: as max.
        unsafe { _mm512_min_ps(b, a) }
    }

    #[inline(always)]
    unsafe fn ge(a: Self::V, b: Self::V) -> Self::M {
        // SAFETY: the trait's contract gives AVX-512.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b) }
    }

    #[inline(always)]
    unsafe fn gt(a: Self::V, b: Self::V) -> Self::M {
        // SAFETY: the trait's contract gives AVX-512.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) }
    }

    #[inline(always)]
    unsafe fn select(m: Self::M, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the trait's contract gives AVX-512.
        unsafe { _mm512_mask_blend_ps(m, b, a) }
    }

    #[inline(always)]
    unsafe fn and(a: Self::M, b: Self::M) -> Self::M {
        a & b
    }

    #[inline(always)]
    unsafe fn or(a: Self::M, b: Self::M) -> Self::M {
        a | b
    }

    #[inline(always)]
    unsafe fn and_not(a: Self::M, b: Self::M) -> Self::M {
        a & !b
    }

    #[inline(always)]
    unsafe fn bits(m: Self::M) -> u32 {
        u32::from(m)
    }

    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        // SAFETY: a prefetch may name any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}
