//! Sixteen f32 lanes, whatever the CPU makes of them, and the portable form.

/// Lanes of one vector.
pub const LANES: usize = 16;

/// Sixteen f32 lanes on one instruction set. Every operation is the IEEE-754 one of its name,
/// lane by lane: no fused multiply-add, no reduction across lanes, so all implementations agree
/// to the bit.
///
/// # Safety
/// Every function requires the instruction set of the implementor; `load` and `store` require
/// sixteen readable or writable f32 at `p` (any alignment).
#[allow(clippy::missing_safety_doc, missing_docs)]
pub unsafe trait Simd: Copy {
    type V: Copy;
    type M: Copy;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, a: Self::V);
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn floor(a: Self::V) -> Self::V;
    unsafe fn abs(a: Self::V) -> Self::V;
    /// `a < b ? b : a` (a where they are equal).
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// `a > b ? b : a` (a where they are equal).
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn ge(a: Self::V, b: Self::V) -> Self::M;
    unsafe fn gt(a: Self::V, b: Self::V) -> Self::M;
    /// Lanes of `a` where the mask is set, of `b` elsewhere.
    unsafe fn select(m: Self::M, a: Self::V, b: Self::V) -> Self::V;
    unsafe fn and(a: Self::M, b: Self::M) -> Self::M;
    unsafe fn or(a: Self::M, b: Self::M) -> Self::M;
    /// `a` without `b`.
    unsafe fn and_not(a: Self::M, b: Self::M) -> Self::M;
    /// Lane `k` as bit `k`.
    unsafe fn bits(m: Self::M) -> u32;
    /// Ask for the cache line at `p`; a hint.
    unsafe fn prefetch(p: *const f32);
}

/// Plain arrays: the compiler makes what it can of them.
#[derive(Clone, Copy)]
pub struct Portable;

macro_rules! lanewise {
    ($($name:ident($($arg:ident),+) = $body:expr;)+) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: Self::V),+) -> Self::V {
            let mut out = [0.0; LANES];
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
    ($($name:ident($a:ident: $t:ty, $b:ident) = $body:expr;)+) => {$(
        #[inline(always)]
        unsafe fn $name($a: $t, $b: $t) -> Self::M {
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
unsafe impl Simd for Portable {
    type V = [f32; LANES];
    type M = [bool; LANES];

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        // SAFETY: the caller promises sixteen readable f32; arrays of f32 have its alignment.
        unsafe { p.cast::<[f32; LANES]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, a: Self::V) {
        // SAFETY: the caller promises sixteen writable f32.
        unsafe { p.cast::<[f32; LANES]>().write_unaligned(a) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; LANES]
    }

    lanewise! {
        add(a, b) = a + b;
        sub(a, b) = a - b;
        mul(a, b) = a * b;
        div(a, b) = a / b;
        floor(a) = a.floor();
        abs(a) = a.abs();
        max(a, b) = if a < b { b } else { a };
        min(a, b) = if a > b { b } else { a };
    }

    maskwise! {
        ge(a: Self::V, b) = a >= b;
        gt(a: Self::V, b) = a > b;
        and(a: Self::M, b) = a & b;
        or(a: Self::M, b) = a | b;
        and_not(a: Self::M, b) = a & !b;
    }

    #[inline(always)]
    unsafe fn select(m: Self::M, a: Self::V, b: Self::V) -> Self::V {
        pick(m, a, b)
    }

    #[inline(always)]
    unsafe fn bits(m: Self::M) -> u32 {
        let mut out = 0;
        let mut k = 0;
        while k < LANES {
            out |= u32::from(m[k]) << k;
            k += 1;
        }
        out
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
}

/// `a` where `m`, else `b`, lane by lane.
#[inline(always)]
pub(super) fn pick<T: Copy>(m: [bool; LANES], a: [T; LANES], b: [T; LANES]) -> [T; LANES] {
    let mut out = b;
    let mut k = 0;
    while k < LANES {
        if m[k] {
            out[k] = a[k];
        }
        k += 1;
    }
    out
}
