//! Sixteen i32 and thirty-two i16 lanes, whatever the CPU makes of them, and the portable form.

use super::super::simd::{LANES, Portable, Simd, pick};

/// Lanes of a vector of i16.
pub const WIDE: usize = 2 * LANES;

/// Integer lanes on one instruction set, beside its f32 lanes. Additions wrap; every operation is
/// exact otherwise, so all implementations agree to the bit.
///
/// # Safety
/// As [`Simd`]: every function requires the instruction set; `load` and `store` require sixteen
/// i32 at `p`, `add_row` thirty-two readable i8, `row` sixteen.
#[allow(clippy::missing_safety_doc, missing_docs)]
pub unsafe trait IntSimd: Simd {
    /// Thirty-two i16.
    type W: Copy;
    /// Sixteen i32.
    type I: Copy;
    /// A bit for each of sixteen i32.
    type B: Copy;
    /// Thirty-two zeros.
    unsafe fn none16() -> Self::W;
    /// `acc` and the thirty-two i8 at `p`, widened.
    unsafe fn add_row(acc: Self::W, p: *const i8) -> Self::W;
    /// The lanes as i32, in order.
    unsafe fn widen(a: Self::W) -> [Self::I; 2];
    unsafe fn int_load(p: *const i32) -> Self::I;
    unsafe fn int_store(p: *mut i32, a: Self::I);
    unsafe fn int_splat(x: i32) -> Self::I;
    unsafe fn int_add(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn int_sub(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn int_max(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn int_min(a: Self::I, b: Self::I) -> Self::I;
    /// Shift left.
    unsafe fn shl(a: Self::I, bits: u32) -> Self::I;
    /// `⌊a·b / 2³⁰⌋` of `0 <= a` and `0 <= b <= 2³⁰`.
    unsafe fn scale(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn int_gt(a: Self::I, b: Self::I) -> Self::B;
    /// Lanes of `a` where the mask is set, of `b` elsewhere.
    unsafe fn int_select(m: Self::B, a: Self::I, b: Self::I) -> Self::I;
    /// `a` without `b`.
    unsafe fn but(a: Self::B, b: Self::B) -> Self::B;
    unsafe fn either(a: Self::B, b: Self::B) -> Self::B;
    /// Lane `k` as bit `k`.
    unsafe fn int_bits(m: Self::B) -> u32;
    /// The sixteen i8 at `p` as f32.
    unsafe fn row(p: *const i8) -> Self::V;
    /// To the nearest f32, ties to even.
    unsafe fn to_f32(a: Self::I) -> Self::V;
    /// To the nearest integer, ties to even, of magnitudes below 2³¹.
    unsafe fn round(a: Self::V) -> Self::I;
}

macro_rules! lanewise {
    ($($name:ident($($arg:ident),+) = $body:expr;)+) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: Self::I),+) -> Self::I {
            let mut out = [0; LANES];
            let mut k = 0;
            while k < LANES {
                $(let $arg = $arg[k];)+
                out[k] = $body;
                k += 1;
            }
            out
        }
    )+};
}

macro_rules! maskwise {
    ($($name:ident($a:ident, $b:ident: $t:ty) = $body:expr;)+) => {$(
        #[inline(always)]
        unsafe fn $name($a: $t, $b: $t) -> Self::B {
            let mut out = [false; LANES];
            let mut k = 0;
            while k < LANES {
                let ($a, $b) = ($a[k], $b[k]);
                out[k] = $body;
                k += 1;
            }
            out
        }
    )+};
}

// SAFETY: plain Rust, no instruction set needed.
unsafe impl IntSimd for Portable {
    type W = [i16; WIDE];
    type I = [i32; LANES];
    type B = [bool; LANES];

    #[inline(always)]
    unsafe fn none16() -> Self::W {
        [0; WIDE]
    }

    #[inline(always)]
    unsafe fn add_row(acc: Self::W, p: *const i8) -> Self::W {
        // SAFETY: thirty-two readable i8 by contract.
        let row = unsafe { p.cast::<[i8; WIDE]>().read_unaligned() };
        let mut out = acc;
        let mut k = 0;
        while k < WIDE {
            out[k] = out[k].wrapping_add(i16::from(row[k]));
            k += 1;
        }
        out
    }

    #[inline(always)]
    unsafe fn widen(a: Self::W) -> [Self::I; 2] {
        let mut out = [[0; LANES]; 2];
        let mut k = 0;
        while k < LANES {
            out[0][k] = i32::from(a[k]);
            out[1][k] = i32::from(a[k + LANES]);
            k += 1;
        }
        out
    }

    #[inline(always)]
    unsafe fn int_load(p: *const i32) -> Self::I {
        // SAFETY: sixteen readable i32 by contract.
        unsafe { p.cast::<[i32; LANES]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn int_store(p: *mut i32, a: Self::I) {
        // SAFETY: sixteen writable i32 by contract.
        unsafe { p.cast::<[i32; LANES]>().write_unaligned(a) }
    }

    #[inline(always)]
    unsafe fn int_splat(x: i32) -> Self::I {
        [x; LANES]
    }

    lanewise! {
        int_add(a, b) = a.wrapping_add(b);
        int_sub(a, b) = a.wrapping_sub(b);
        int_max(a, b) = a.max(b);
        int_min(a, b) = a.min(b);
        scale(a, b) = ((i64::from(a) * i64::from(b)) >> 30) as i32;
    }

    maskwise! {
        int_gt(a, b: Self::I) = a > b;
        but(a, b: Self::B) = a & !b;
        either(a, b: Self::B) = a | b;
    }

    #[inline(always)]
    unsafe fn shl(a: Self::I, bits: u32) -> Self::I {
        let mut out = a;
        let mut k = 0;
        while k < LANES {
            out[k] = out[k].wrapping_shl(bits);
            k += 1;
        }
        out
    }

    #[inline(always)]
    unsafe fn int_select(m: Self::B, a: Self::I, b: Self::I) -> Self::I {
        pick(m, a, b)
    }

    #[inline(always)]
    unsafe fn int_bits(m: Self::B) -> u32 {
        // SAFETY: plain code, and masks of integers are those of floats.
        unsafe { Self::bits(m) }
    }

    #[inline(always)]
    unsafe fn row(p: *const i8) -> Self::V {
        // SAFETY: sixteen readable i8 by contract.
        let row = unsafe { p.cast::<[i8; LANES]>().read_unaligned() };
        let mut out = [0.0; LANES];
        let mut k = 0;
        while k < LANES {
            out[k] = f32::from(row[k]);
            k += 1;
        }
        out
    }

    #[inline(always)]
    unsafe fn to_f32(a: Self::I) -> Self::V {
        let mut out = [0.0; LANES];
        let mut k = 0;
        while k < LANES {
            out[k] = a[k] as f32;
            k += 1;
        }
        out
    }

    #[inline(always)]
    unsafe fn round(a: Self::V) -> Self::I {
        let mut out = [0; LANES];
        let mut k = 0;
        while k < LANES {
            out[k] = a[k].round_ties_even() as i32;
            k += 1;
        }
        out
    }
}
