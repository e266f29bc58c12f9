//! Poisson trains with AVX-512: sixteen inputs at once, the spikes of a step packed together.

use std::arch::x86_64::*;

use super::philox::{M, W};
use super::poisson::{BLOCK, Chances, GROUP, Stream};

/// High and low words of `x·m`.
///
/// # Safety
/// The CPU has AVX-512 F.
#[inline(always)]
unsafe fn wide(x: __m512i, m: __m512i, high: __m512i, low: __m512i) -> (__m512i, __m512i) {
    // SAFETY: AVX-512 F by contract.
    unsafe {
        let even = _mm512_mul_epu32(x, m);
        let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(x), m);
        (_mm512_permutex2var_epi32(even, high, odd), _mm512_permutex2var_epi32(even, low, odd))
    }
}

/// `a ^ b ^ c`.
///
/// # Safety
/// The CPU has AVX-512 F.
#[inline(always)]
unsafe fn xor3(a: __m512i, b: __m512i, c: u32) -> __m512i {
    // SAFETY: AVX-512 F by contract.
    unsafe { _mm512_ternarylogic_epi32::<0x96>(a, b, _mm512_set1_epi32(c as i32)) }
}

/// As `poisson::draw` says; `start` holds its first entry already.
///
/// # Safety
/// The CPU has AVX-512 F; inputs and chances are whole groups of the same number.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,popcnt")]
pub unsafe fn draw(
    stream: &Stream,
    chances: &Chances,
    steps: usize,
    rows: &mut Vec<u32>,
    start: &mut Vec<u32>,
) {
    let groups = chances.inputs.len() / GROUP;
    let [k0, k1] = stream.key;
    let mut masks = vec![[0u16; BLOCK]; groups];
    let mut len = 0;
    // SAFETY: AVX-512 by contract; loads stay in whole groups, and stores within what is
    // reserved: a block's spikes and one vector beyond.
    unsafe {
        let high = _mm512_setr_epi32(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
        let low = _mm512_setr_epi32(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
        let m0 = _mm512_set1_epi64(i64::from(M[0]));
        let m1 = _mm512_set1_epi64(i64::from(M[1]));
        let half = _mm512_set1_epi32(0xffff);
        for block in 0..steps.div_ceil(BLOCK) {
            // The first round by hand: three of the counter's words are the same in all lanes.
            let c = stream.counter(block as u32, 0);
            let a = u64::from(M[0]) * u64::from(c[0]);
            let b = u64::from(M[1]) * u64::from(c[2]);
            let c1 = _mm512_set1_epi32(b as i32);
            let c2 = _mm512_set1_epi32(((a >> 32) as u32 ^ c[3] ^ k1) as i32);
            let c3 = _mm512_set1_epi32(a as i32);
            for (group, masks) in masks.iter_mut().enumerate() {
                let inputs = _mm512_loadu_si512(chances.inputs.as_ptr().add(group * GROUP).cast());
                let chance = _mm512_loadu_si512(chances.chances.as_ptr().add(group * GROUP).cast());
                let mut x =
                    [xor3(inputs, _mm512_set1_epi32(k0 as i32), (b >> 32) as u32), c1, c2, c3];
                let (mut k0, mut k1) = (k0, k1);
                for _ in 1..10 {
                    k0 = k0.wrapping_add(W[0]);
                    k1 = k1.wrapping_add(W[1]);
                    let (a_high, a_low) = wide(x[0], m0, high, low);
                    let (b_high, b_low) = wide(x[2], m1, high, low);
                    x = [xor3(b_high, x[1], k0), b_low, xor3(a_high, x[3], k1), a_low];
                }
                for (k, word) in x.into_iter().enumerate() {
                    let even = _mm512_and_si512(word, half);
                    masks[2 * k] = _mm512_cmplt_epu32_mask(even, chance);
                    masks[2 * k + 1] =
                        _mm512_cmplt_epu32_mask(_mm512_srli_epi32::<16>(word), chance);
                }
            }
            let here = BLOCK.min(steps - block * BLOCK);
            let needed = len + here * chances.inputs.len() + GROUP;
            if rows.len() < needed {
                rows.resize(needed, 0);
            }
            for k in 0..here {
                for (group, masks) in masks.iter().enumerate() {
                    let inputs =
                        _mm512_loadu_si512(chances.inputs.as_ptr().add(group * GROUP).cast());
                    let packed = _mm512_maskz_compress_epi32(masks[k], inputs);
                    _mm512_storeu_si512(rows.as_mut_ptr().add(len).cast(), packed);
                    len += masks[k].count_ones() as usize;
                }
                start.push(len as u32);
            }
        }
    }
}
