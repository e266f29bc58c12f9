//! Winner-take-all as parts that any population may have: who of those that reached their
//! threshold in a step fires (S11.10 to S11.15).

use serde::Deserialize;

use crate::kernels::exp64::exp_of_negative;
use crate::kernels::philox::{philox, unit};
use crate::kernels::window::Dims;

/// A declared part.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// One neuron a step.
    Hard {},
    /// The best `k`, no two of them within `radius` places of each other.
    KWinners {
        /// Winners at most.
        k: usize,
        /// Places; `None`: anywhere.
        radius: Option<usize>,
        /// No two of one map.
        one_per_map: bool,
        /// The winners of the whole sample count, not those of the step alone.
        per_sample: bool,
    },
    /// One map at each place; the others there rest for `duration` more steps, `None`: for the
    /// rest of the sample.
    Map {
        /// Steps.
        duration: Option<u32>,
    },
    /// One neuron a step, drawn: the larger its margin, the likelier.
    Soft {
        /// Units of the margin.
        temperature: f64,
    },
    /// A spike takes `strength` from the input of all others in the `duration` steps after it.
    Lateral {
        /// Units of the input.
        strength: f32,
        /// Steps.
        duration: u32,
    },
}

/// A neuron that reached its threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) pixel: usize,
    pub(super) c: usize,
    /// How far above.
    pub(super) margin: f32,
}

impl Candidate {
    /// C-order index.
    fn index(&self, dims: Dims) -> usize {
        self.c * dims.pixels() + self.pixel
    }
}

/// What the parts of a population remember.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// Winners of the sample, (pixel, channel): what [`Part::KWinners`] counts.
    pub(super) winners: Vec<(u32, u32)>,
    /// For each place the map that fired there last, and when; `u32::MAX` maps: none.
    pub(super) maps: Vec<(u32, u32)>,
    /// Spikes of the last steps, the newest last: what [`Part::Lateral`] counts.
    pub(super) recent: std::collections::VecDeque<Vec<u32>>,
}

impl Memory {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What a draw depends on.
#[derive(Clone, Copy)]
pub(super) struct Draw {
    pub(super) seed: u64,
    pub(super) sample: u32,
    pub(super) population: u32,
}

const NO_MAP: u32 = u32::MAX;

/// What the draws of [`Part::Soft`] are for, among all random numbers.
const SOFT: u32 = 0x736f_6674;

/// Those of `candidates` that fire, in the order of their margin.
pub(super) fn select(
    parts: &[Part],
    mut candidates: Vec<Candidate>,
    memory: &mut Memory,
    dims: Dims,
    (t, draw): (u32, Draw),
) -> Vec<Candidate> {
    // Largest margin first, of equals the lowest index (S11.10).
    candidates.sort_unstable_by(|a, b| {
        b.margin.total_cmp(&a.margin).then(a.index(dims).cmp(&b.index(dims)))
    });
    for part in parts {
        match part {
            Part::Hard {} => candidates.truncate(1),
            Part::KWinners { k, radius, one_per_map, per_sample } => {
                let bounds = (*k, *radius, *one_per_map);
                candidates = k_winners(bounds, *per_sample, candidates, memory, dims);
            }
            Part::Map { duration } => candidates = by_place(*duration, candidates, memory, dims, t),
            Part::Soft { temperature } => {
                candidates = drawn(*temperature, candidates, dims, (t, draw));
            }
            Part::Lateral { .. } => {}
        }
    }
    candidates
}

fn k_winners(
    (k, radius, one_per_map): (usize, Option<usize>, bool),
    per_sample: bool,
    candidates: Vec<Candidate>,
    memory: &mut Memory,
    dims: Dims,
) -> Vec<Candidate> {
    let before = if per_sample { std::mem::take(&mut memory.winners) } else { Vec::new() };
    let mut winners = before.clone();
    // Of a vector each neuron is its own place.
    let place = |pixel: usize, c: usize| match dims.pixels() {
        1 => (0, c),
        _ => (pixel / dims.w, pixel % dims.w),
    };
    let mut chosen = Vec::new();
    for one in candidates {
        let key = (one.pixel as u32, one.c as u32);
        if before.contains(&key) {
            chosen.push(one);
            continue;
        }
        let (y, x) = place(one.pixel, one.c);
        let close = |&(pixel, c): &(u32, u32)| {
            let (oy, ox) = place(pixel as usize, c as usize);
            let near = |r: usize| y.abs_diff(oy) <= r && x.abs_diff(ox) <= r;
            radius.is_some_and(near) || (one_per_map && c as usize == one.c)
        };
        if winners.len() < k && !winners.iter().any(close) {
            winners.push(key);
            chosen.push(one);
        }
    }
    if per_sample {
        memory.winners = winners;
    }
    chosen
}

fn by_place(
    duration: Option<u32>,
    candidates: Vec<Candidate>,
    memory: &mut Memory,
    dims: Dims,
    t: u32,
) -> Vec<Candidate> {
    if memory.maps.is_empty() {
        memory.maps = vec![(NO_MAP, 0); dims.pixels()];
    }
    let mut taken = vec![false; dims.pixels()];
    let mut chosen = Vec::new();
    for one in candidates {
        let (map, when) = memory.maps[one.pixel];
        let rests = map != NO_MAP
            && map as usize != one.c
            && duration.is_none_or(|steps| t - when <= steps);
        if rests || std::mem::replace(&mut taken[one.pixel], true) {
            continue;
        }
        chosen.push(one);
    }
    chosen
}

fn drawn(
    temperature: f64,
    mut candidates: Vec<Candidate>,
    dims: Dims,
    (t, draw): (u32, Draw),
) -> Vec<Candidate> {
    let Some(largest) = candidates.first().map(|one| f64::from(one.margin)) else {
        return candidates;
    };
    candidates.sort_unstable_by_key(|one| one.index(dims));
    let weights: Vec<f64> = candidates
        .iter()
        .map(|one| exp_of_negative((f64::from(one.margin) - largest) / temperature))
        .collect();
    let total = weights.iter().fold(0.0, |sum, w| sum + w);
    let key = [draw.seed as u32, (draw.seed >> 32) as u32];
    let words = philox([SOFT, draw.sample, draw.population, t], key);
    let mark = f64::from(unit(words[0])) * total;
    let mut sum = 0.0;
    let winner = weights.iter().position(|w| {
        sum += w;
        sum > mark
    });
    vec![candidates[winner.unwrap_or(candidates.len() - 1)]]
}

/// The parts hear who fired in step `t`.
pub(super) fn hear(
    parts: &[Part],
    memory: &mut Memory,
    fired: &[(usize, usize)],
    dims: Dims,
    t: u32,
) {
    for part in parts {
        match part {
            Part::Map { .. } => {
                if memory.maps.is_empty() && !fired.is_empty() {
                    memory.maps = vec![(NO_MAP, 0); dims.pixels()];
                }
                fired.iter().for_each(|&(pixel, c)| memory.maps[pixel] = (c as u32, t));
            }
            Part::Lateral { duration, .. } => {
                let flat = |&(pixel, c): &(usize, usize)| (pixel * dims.c + c) as u32;
                memory.recent.push_back(fired.iter().map(flat).collect());
                while memory.recent.len() > *duration as usize {
                    memory.recent.pop_front();
                }
            }
            _ => {}
        }
    }
}

/// What lateral inhibition adds to the input of each neuron, `[pixel][channel]` and room behind
/// for a block; `None`: nothing to nobody.
pub(super) fn inhibition(parts: &[Part], memory: &Memory, dims: Dims) -> Option<Vec<f32>> {
    let strength = parts.iter().find_map(|part| match part {
        Part::Lateral { strength, .. } => Some(*strength),
        _ => None,
    })?;
    let all: usize = memory.recent.iter().map(Vec::len).sum();
    if all == 0 {
        return None;
    }
    let mut own = vec![0usize; dims.len()];
    memory.recent.iter().flatten().for_each(|&k| own[k as usize] += 1);
    let mut out: Vec<f32> = own.iter().map(|n| -(strength * (all - n) as f32)).collect();
    out.resize(dims.len() + 64, 0.0);
    Some(out)
}

/// Whether some part decides who fires.
pub(super) fn selects(parts: &[Part]) -> bool {
    parts.iter().any(|part| !matches!(part, Part::Lateral { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMS: Dims = Dims { c: 2, h: 3, w: 3 };

    fn at(pixel: usize, c: usize, margin: f32) -> Candidate {
        Candidate { pixel, c, margin }
    }

    fn chosen(part: Part, candidates: &[Candidate], memory: &mut Memory, t: u32) -> Vec<Candidate> {
        let draw = Draw { seed: 1, sample: 0, population: 2 };
        select(&[part], candidates.to_vec(), memory, DIMS, (t, draw))
    }

    #[test]
    fn largest_margin_then_lowest_index() {
        let all = [at(1, 1, 0.5), at(2, 0, 0.5), at(0, 0, 0.25)];
        let first = chosen(Part::Hard {}, &all, &mut Memory::default(), 0);
        assert_eq!(first, [at(2, 0, 0.5)]);
    }

    #[test]
    fn winners_keep_their_distance_and_the_sample_remembers() {
        let part =
            |per_sample| Part::KWinners { k: 2, radius: Some(1), one_per_map: false, per_sample };
        let all = [at(4, 0, 3.0), at(3, 1, 2.0), at(0, 0, 1.0)];
        let mut memory = Memory::default();
        assert_eq!(chosen(part(true), &all, &mut memory, 0), [at(4, 0, 3.0)]);
        assert_eq!(chosen(part(true), &[at(8, 1, 9.0)], &mut memory, 1), []);
        let far = [at(0, 1, 1.0), at(2, 0, 2.0), at(8, 1, 0.5)];
        assert_eq!(chosen(part(false), &far, &mut memory, 1), [at(2, 0, 2.0), at(0, 1, 1.0)]);
    }

    #[test]
    fn maps_rest_where_another_fired() {
        let part = |duration| Part::Map { duration };
        let mut memory = Memory::default();
        let both = [at(4, 0, 1.0), at(4, 1, 2.0), at(5, 0, 0.0)];
        assert_eq!(chosen(part(Some(2)), &both, &mut memory, 0), [at(4, 1, 2.0), at(5, 0, 0.0)]);
        hear(&[part(Some(2))], &mut memory, &[(4, 1), (5, 0)], DIMS, 0);
        assert_eq!(chosen(part(Some(2)), &[at(4, 0, 1.0)], &mut memory, 2), []);
        assert_eq!(chosen(part(Some(2)), &[at(4, 0, 1.0)], &mut memory, 3), [at(4, 0, 1.0)]);
        assert_eq!(chosen(part(None), &[at(4, 0, 1.0)], &mut memory, 99), []);
    }

    #[test]
    fn draws_follow_the_margins() {
        let two = [at(0, 0, 0.0), at(0, 1, 1.0)];
        let part = || Part::Soft { temperature: 1.0 };
        let mut memory = Memory::default();
        let wins = (0..4000).filter(|&t| chosen(part(), &two, &mut memory, t)[0].c == 1).count();
        let expected = 4000.0 / (1.0 + (-1.0f64).exp());
        assert!((wins as f64 - expected).abs() < 100.0, "{wins} of {expected}");
    }
}
