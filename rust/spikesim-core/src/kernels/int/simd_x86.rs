//! AVX2 and AVX-512 forms of [`IntSimd`].

use std::arch::x86_64::*;

use super::super::simd::LANES;
use super::super::simd_x86::{Avx2, Avx512};
use super::simd::IntSimd;

macro_rules! halves {
    ($($name:ident($t:ty) = $f:ident;)+) => {$(
        #[inline(always)]
        unsafe fn $name(a: $t, b: $t) -> $t {
            // SAFETY: the trait's contract gives AVX2.
            unsafe { [$f(a[0], b[0]), $f(a[1], b[1])] }
        }
    )+};
}

/// `⌊a·b / 2³⁰⌋` of eight i32 that are not negative.
///
/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn scale_half(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: AVX2 by contract.
    unsafe {
        let even = _mm256_mul_epu32(a, b);
        let odd = _mm256_mul_epu32(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
        // The quotient has 31 bits: up by two puts it into the upper half, where odd lanes belong.
        let even = _mm256_srli_epi64::<30>(even);
        _mm256_blend_epi32::<0b1010_1010>(even, _mm256_slli_epi64::<2>(odd))
    }
}

/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn widen_half(x: __m256i) -> [__m256i; 2] {
    // SAFETY: AVX2 by contract.
    unsafe {
        [
            _mm256_cvtepi16_epi32(_mm256_castsi256_si128(x)),
            _mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(x)),
        ]
    }
}

// SAFETY: every intrinsic below is in AVX2, which the trait's contract demands of the caller.
unsafe impl IntSimd for Avx2 {
    type W = [__m256i; 2];
    type I = [__m256i; 2];
    type B = [__m256i; 2];

    #[inline(always)]
    unsafe fn none16() -> Self::W {
        // SAFETY: the trait's contract gives AVX2.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    unsafe fn add_row(acc: Self::W, p: *const i8) -> Self::W {
        // SAFETY: thirty-two readable i8 by contract; unaligned loads.
        unsafe {
            let low = _mm256_cvtepi8_epi16(_mm_loadu_si128(p.cast()));
            let high = _mm256_cvtepi8_epi16(_mm_loadu_si128(p.add(LANES).cast()));
            [_mm256_add_epi16(acc[0], low), _mm256_add_epi16(acc[1], high)]
        }
    }

    #[inline(always)]
    unsafe fn widen(a: Self::W) -> [Self::I; 2] {
        // SAFETY: the trait's contract gives AVX2.
        unsafe { [widen_half(a[0]), widen_half(a[1])] }
    }

    #[inline(always)]
    unsafe fn int_load(p: *const i32) -> Self::I {
        // SAFETY: sixteen readable i32 by contract; unaligned loads.
        unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(8).cast())] }
    }

    #[inline(always)]
    unsafe fn int_store(p: *mut i32, a: Self::I) {
        // SAFETY: sixteen writable i32 by contract; unaligned stores.
        unsafe {
            _mm256_storeu_si256(p.cast(), a[0]);
            _mm256_storeu_si256(p.add(8).cast(), a[1]);
        }
    }

    #[inline(always)]
    unsafe fn int_splat(x: i32) -> Self::I {
        // SAFETY: the trait's contract gives AVX2.
        unsafe { [_mm256_set1_epi32(x); 2] }
    }

    halves! {
        int_add(Self::I) = _mm256_add_epi32;
        int_sub(Self::I) = _mm256_sub_epi32;
        int_max(Self::I) = _mm256_max_epi32;
        int_min(Self::I) = _mm256_min_epi32;
        scale(Self::I) = scale_half;
        int_gt(Self::I) = _mm256_cmpgt_epi32;
        either(Self::B) = _mm256_or_si256;
    }

    #[inline(always)]
    unsafe fn shl(a: Self::I, bits: u32) -> Self::I {
        // SAFETY: the trait's contract gives AVX2.
        unsafe {
            let n = _mm_cvtsi32_si128(bits as i32);
            [_mm256_sll_epi32(a[0], n), _mm256_sll_epi32(a[1], n)]
        }
    }

    #[inline(always)]
    unsafe fn int_select(m: Self::B, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the trait's contract gives AVX2.
        unsafe { [_mm256_blendv_epi8(b[0], a[0], m[0]), _mm256_blendv_epi8(b[1], a[1], m[1])] }
    }

    #[inline(always)]
    unsafe fn but(a: Self::B, b: Self::B) -> Self::B {
        // SAFETY: the trait's contract gives AVX2.
        unsafe { [_mm256_andnot_si256(b[0], a[0]), _mm256_andnot_si256(b[1], a[1])] }
    }

    #[inline(always)]
    unsafe fn int_bits(m: Self::B) -> u32 {
        // SAFETY: the trait's contract gives AVX2.
        unsafe {
            let low = _mm256_movemask_ps(_mm256_castsi256_ps(m[0])) as u32;
            low | (_mm256_movemask_ps(_mm256_castsi256_ps(m[1])) as u32) << 8
        }
    }

    #[inline(always)]
    unsafe fn row(p: *const i8) -> Self::V {
        // SAFETY: sixteen readable i8 by contract.
        unsafe {
            let row = _mm_loadu_si128(p.cast());
            let low = _mm256_cvtepi8_epi32(row);
            let high = _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(row));
            [_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)]
        }
    }

    #[inline(always)]
    unsafe fn to_f32(a: Self::I) -> Self::V {
        // SAFETY: the trait's contract gives AVX2.
        unsafe { [_mm256_cvtepi32_ps(a[0]), _mm256_cvtepi32_ps(a[1])] }
    }

    #[inline(always)]
    unsafe fn round(a: Self::V) -> Self::I {
        // SAFETY: the trait's contract gives AVX2. The rounding mode is the default one, which
        // Rust takes as given.
        unsafe { [_mm256_cvtps_epi32(a[0]), _mm256_cvtps_epi32(a[1])] }
    }
}

macro_rules! whole {
    ($($name:ident = $f:ident;)+) => {$(
        #[inline(always)]
        unsafe fn $name(a: Self::I, b: Self::I) -> Self::I {
            // SAFETY: the trait's contract gives AVX-512.
            unsafe { $f(a, b) }
        }
    )+};
}

// SAFETY: every intrinsic below is in AVX-512 F, BW or DQ, which the trait's contract demands.
unsafe impl IntSimd for Avx512 {
    type W = __m512i;
    type I = __m512i;
    type B = __mmask16;

    #[inline(always)]
    unsafe fn none16() -> Self::W {
        // SAFETY: the trait's contract gives AVX-512.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn add_row(acc: Self::W, p: *const i8) -> Self::W {
        // SAFETY: thirty-two readable i8 by contract; unaligned load.
        unsafe { _mm512_add_epi16(acc, _mm512_cvtepi8_epi16(_mm256_loadu_si256(p.cast()))) }
    }

    #[inline(always)]
    unsafe fn widen(a: Self::W) -> [Self::I; 2] {
        // SAFETY: the trait's contract gives AVX-512.
        unsafe {
            [
                _mm512_cvtepi16_epi32(_mm512_castsi512_si256(a)),
                _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64::<1>(a)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn int_load(p: *const i32) -> Self::I {
        // SAFETY: sixteen readable i32 by contract; unaligned load.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }

    #[inline(always)]
    unsafe fn int_store(p: *mut i32, a: Self::I) {
        // SAFETY: sixteen writable i32 by contract; unaligned store.
        unsafe { _mm512_storeu_si512(p.cast(), a) }
    }

    #[inline(always)]
    unsafe fn int_splat(x: i32) -> Self::I {
        // SAFETY: the trait's contract gives AVX-512.
        unsafe { _mm512_set1_epi32(x) }
    }

    whole! {
        int_add = _mm512_add_epi32;
        int_sub = _mm512_sub_epi32;
        int_max = _mm512_max_epi32;
        int_min = _mm512_min_epi32;
    }

    #[inline(always)]
    unsafe fn shl(a: Self::I, bits: u32) -> Self::I {
        // SAFETY: the trait's contract gives AVX-512.
        unsafe { _mm512_sll_epi32(a, _mm_cvtsi32_si128(bits as i32)) }
    }

    #[inline(always)]
    unsafe fn scale(a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the trait's contract gives AVX-512; as for AVX2.
        unsafe {
            let even = _mm512_srli_epi64::<30>(_mm512_mul_epu32(a, b));
            let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(a), _mm512_srli_epi64::<32>(b));
            _mm512_mask_blend_epi32(0b1010_1010_1010_1010, even, _mm512_slli_epi64::<2>(odd))
        }
    }

    #[inline(always)]
    unsafe fn int_gt(a: Self::I, b: Self::I) -> Self::B {
        // SAFETY: the trait's contract gives AVX-512.
        unsafe { _mm512_cmpgt_epi32_mask(a, b) }
    }

    #[inline(always)]
    unsafe fn int_select(m: Self::B, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the trait's contract gives AVX-512.
        unsafe { _mm512_mask_blend_epi32(m, b, a) }
    }

    #[inline(always)]
    unsafe fn but(a: Self::B, b: Self::B) -> Self::B {
        a & !b
    }

    #[inline(always)]
    unsafe fn either(a: Self::B, b: Self::B) -> Self::B {
        a | b
    }

    #[inline(always)]
    unsafe fn int_bits(m: Self::B) -> u32 {
        u32::from(m)
    }

    #[inline(always)]
    unsafe fn row(p: *const i8) -> Self::V {
        // SAFETY: sixteen readable i8 by contract.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))) }
    }

    #[inline(always)]
    unsafe fn to_f32(a: Self::I) -> Self::V {
        // SAFETY: the trait's contract gives AVX-512.
        unsafe { _mm512_cvtepi32_ps(a) }
    }

    #[inline(always)]
    unsafe fn round(a: Self::V) -> Self::I {
        // SAFETY: the trait's contract gives AVX-512; rounding as for AVX2.
        unsafe { _mm512_cvtps_epi32(a) }
    }
}
