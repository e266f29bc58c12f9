//! Adds of weight rows at random places: what one core can do, in adds a second.
//!
//! Compiled and run by bench/roofline.py; prints `name outputs bytes adds_per_second` a line.

use std::hint::black_box;
use std::mem::size_of;
use std::time::Instant;

/// Lists of rows, as many as spikes that a pixel's neighbourhood has; few, so that they stay in L1.
const LISTS: usize = 64;
const SHORTEST: u64 = 4;
const LONGEST: u64 = 56;

/// Adds of one measurement, short enough for no other program to come in between, and how many of
/// them the best is taken from.
const ADDS: usize = 20_000_000;
const TRIES: usize = 100;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Row<E, const W: usize>([E; W]);

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn measure<E: Copy, A: Copy + Default, const W: usize>(
    name: &str,
    bytes: usize,
    weight: impl Fn(u64) -> E,
    add: impl Fn(A, E) -> A,
) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let rows = bytes / (W * size_of::<E>());
    let table: Vec<Row<E, W>> =
        (0..rows).map(|_| Row(std::array::from_fn(|_| weight(random.below(15))))).collect();
    let lists: Vec<Vec<u16>> = (0..LISTS)
        .map(|_| {
            let length = SHORTEST + random.below(LONGEST - SHORTEST + 1);
            (0..length).map(|_| random.below(rows as u64) as u16).collect()
        })
        .collect();
    let once = W * lists.iter().map(Vec::len).sum::<usize>();
    let repeats = (ADDS / once).max(1);
    let best = (0..TRIES)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..repeats {
                for list in black_box(&lists) {
                    let mut sums = [A::default(); W];
                    for &row in list {
                        let row = &table[row as usize].0;
                        for lane in 0..W {
                            sums[lane] = add(sums[lane], row[lane]);
                        }
                    }
                    // A copy: the address of the sums themselves would keep them in memory.
                    let out = Row(sums);
                    black_box(&out);
                }
            }
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    println!("{name} {W} {bytes} {}", (once * repeats) as f64 / best);
}

fn main() {
    for bytes in [24 * 1024, 300 * 1024] {
        let wide = |a: i16, e: i8| a.wrapping_add(i16::from(e));
        measure::<i8, i16, 64>("i8", bytes, |k| k as i8 - 7, wide);
        measure::<i8, i16, 128>("i8", bytes, |k| k as i8 - 7, wide);
        measure::<i16, i16, 64>("i16", bytes, |k| k as i16 - 7, i16::wrapping_add);
        measure::<i16, i16, 128>("i16", bytes, |k| k as i16 - 7, i16::wrapping_add);
        measure::<f32, f32, 64>("f32", bytes, |k| k as f32 - 7.0, |a, e| a + e);
    }
}
