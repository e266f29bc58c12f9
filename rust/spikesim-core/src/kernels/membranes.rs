//! Membranes that nothing couples until one of them reaches its threshold: each block of neurons
//! runs through many steps at once, its membranes in registers, its weights in the first cache.
//!
//! A row of weights holds one input's weights to all neurons, so an input spike adds one row.
//! Lanes run over neurons and a step's spikes are added in their order, from +0: every level and
//! every chunk of steps gives the same bits.

use super::at_level::at_level;
use super::level::Level;
use super::poisson::Trains;
use super::simd::{LANES, Simd};

/// Some steps of all membranes.
pub struct Task<'a> {
    /// `[input][lane]`, a whole number of vectors a row.
    pub weights: &'a [f32],
    /// Lanes of a row.
    pub stride: usize,
    /// Input spikes.
    pub trains: &'a Trains,
    /// First step.
    pub first: usize,
    /// One after the last step.
    pub last: usize,
    /// What is left of a membrane after a step.
    pub decay: f32,
    /// Membranes before the first step.
    pub v: &'a [f32],
    /// Membranes after the last step that was made.
    pub next: &'a mut [f32],
    /// Thresholds; infinite where a lane is not to fire.
    pub threshold: &'a [f32],
    /// Taken from the membranes in the first step.
    pub inhibition: Option<&'a [f32]>,
}

/// Where [`advance`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The first step that was not made.
    pub step: usize,
    /// Whether a lane is at or above its threshold in the last step that was made.
    pub crossed: bool,
}

impl Task<'_> {
    fn check(&self) {
        let lanes = self.stride;
        assert!(lanes.is_multiple_of(LANES) && self.weights.len().is_multiple_of(lanes.max(1)));
        assert!(self.v.len() == lanes && self.next.len() == lanes);
        assert!(self.threshold.len() == lanes);
        assert!(self.inhibition.is_none_or(|p| p.len() == lanes));
        assert!(self.first < self.last && self.last <= self.trains.steps());
        let (rows, start) = self.trains.parts();
        let spikes = &rows[start[self.first] as usize..start[self.last] as usize];
        let highest = spikes.iter().max().map_or(0, |&i| i as usize + 1);
        assert!(highest * lanes <= self.weights.len());
    }
}

/// Steps `first..limit` of `W` vectors from lane `lane`; where it ended, and whether a lane
/// reached its threshold there.
///
/// # Safety
/// The task was checked; the CPU has what `S` needs.
#[inline(always)]
unsafe fn tile<S: Simd, const W: usize>(
    task: &mut Task<'_>,
    lane: usize,
    limit: usize,
) -> (usize, bool) {
    // SAFETY: `check` compared every slice with the number of lanes and every row with the
    // weights; tiles lie within a row.
    unsafe {
        let zero = S::splat(0.0);
        let decay = S::splat(task.decay);
        let mut v = [zero; W];
        let mut threshold = [zero; W];
        for k in 0..W {
            v[k] = S::load(task.v.as_ptr().add(lane + k * LANES));
            threshold[k] = S::load(task.threshold.as_ptr().add(lane + k * LANES));
        }
        let (rows, start) = task.trains.parts();
        let weights = task.weights.as_ptr().add(lane);
        let mut step = task.first;
        let mut event = *start.get_unchecked(step) as usize;
        let mut crossed = false;
        while step < limit && !crossed {
            let mut sum = [zero; W];
            let end = *start.get_unchecked(step + 1) as usize;
            while event < end {
                let row = weights.add(*rows.get_unchecked(event) as usize * task.stride);
                for (k, sum) in sum.iter_mut().enumerate() {
                    *sum = S::add(*sum, S::load(row.add(k * LANES)));
                }
                event += 1;
            }
            for k in 0..W {
                v[k] = S::add(S::mul(v[k], decay), sum[k]);
            }
            if let (true, Some(inhibition)) = (step == task.first, task.inhibition) {
                for (k, v) in v.iter_mut().enumerate() {
                    *v = S::sub(*v, S::load(inhibition.as_ptr().add(lane + k * LANES)));
                }
            }
            let mut above = S::ge(v[0], threshold[0]);
            for k in 1..W {
                above = S::or(above, S::ge(v[k], threshold[k]));
            }
            crossed = S::bits(above) != 0;
            step += 1;
        }
        for (k, v) in v.into_iter().enumerate() {
            S::store(task.next.as_mut_ptr().add(lane + k * LANES), v);
        }
        (step, crossed)
    }
}

/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn tile_of<S: Simd>(
    width: usize,
    task: &mut Task<'_>,
    lane: usize,
    limit: usize,
) -> (usize, bool) {
    // SAFETY: handed on.
    unsafe {
        match width {
            1 => tile::<S, 1>(task, lane, limit),
            2 => tile::<S, 2>(task, lane, limit),
            3 => tile::<S, 3>(task, lane, limit),
            4 => tile::<S, 4>(task, lane, limit),
            5 => tile::<S, 5>(task, lane, limit),
            _ => tile::<S, 6>(task, lane, limit),
        }
    }
}

/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn run<S: Simd>(widest: usize, task: &mut Task<'_>, ends: &mut Vec<usize>) -> Reached {
    let vectors = task.stride / LANES;
    // Tiles as equal as they can be: all of one width, or of two that differ by one.
    let tiles = vectors.div_ceil(widest);
    let place = |k: usize| {
        let (begin, end) = (k * vectors / tiles, (k + 1) * vectors / tiles);
        (begin * LANES, end - begin)
    };
    let mut limit = task.last;
    let mut any = false;
    ends.clear();
    for k in 0..tiles {
        let (lane, width) = place(k);
        // SAFETY: handed on.
        let (end, crossed) = unsafe { tile_of::<S>(width, task, lane, limit) };
        limit = end;
        any |= crossed;
        ends.push(end);
    }
    // Those that went further than the first crossing go again, up to it.
    for (k, &end) in ends.iter().enumerate() {
        if end > limit {
            let (lane, width) = place(k);
            // SAFETY: handed on.
            unsafe { tile_of::<S>(width, task, lane, limit) };
        }
    }
    Reached { step: limit, crossed: any }
}

at_level! {
    /// # Safety
    /// As [`tile`]; the CPU has the level.
    unsafe fn run_at(most: usize, task: &mut Task<'_>, ends: &mut Vec<usize>) -> Reached = run;
}

/// Runs all membranes from `first` until `last`, or through the first step in which a lane
/// reaches its threshold. `ends` is scratch.
///
/// # Panics
/// When the level is not this CPU's or a slice has another size than documented: bugs.
pub fn advance(level: Level, task: &mut Task<'_>, ends: &mut Vec<usize>) -> Reached {
    assert!(level.is_available(), "level {} on this CPU", level.name());
    task.check();
    // Vectors whose membranes stay in registers.
    let most = match level {
        Level::Avx512 => 6,
        Level::Avx2 | Level::Neon => 2,
        Level::Baseline => 1,
    };
    // SAFETY: the level is available and the task was checked.
    unsafe { run_at(level, most, task, ends) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::aligned::Aligned;
    use crate::kernels::philox::{philox, unit};

    /// One membrane, one weight at a time.
    fn naive(task: &Task<'_>) -> (Vec<f32>, Reached) {
        let mut v = task.v.to_vec();
        for t in task.first..task.last {
            let mut crossed = false;
            for (j, v) in v.iter_mut().enumerate() {
                let mut sum = 0.0;
                for &i in task.trains.at(t) {
                    sum += task.weights[i as usize * task.stride + j];
                }
                *v = *v * task.decay + sum;
                if let (true, Some(inhibition)) = (t == task.first, task.inhibition) {
                    *v -= inhibition[j];
                }
                crossed |= *v >= task.threshold[j];
            }
            if crossed || t + 1 == task.last {
                return (v, Reached { step: t + 1, crossed });
            }
        }
        unreachable!()
    }

    #[test]
    fn every_level_is_the_naive_one_to_the_bit() {
        let mut word = 0;
        let mut random = || {
            word += 1;
            unit(philox([word, 0, 0, 0], [1, 2])[0])
        };
        let mut crossings = 0;
        for (inputs, stride, steps) in [(1, 16, 1), (9, 48, 20), (30, 112, 40), (20, 400, 25)] {
            for round in 0..12 {
                let raster: Vec<u8> =
                    (0..inputs * steps).map(|_| u8::from(random() < 0.2)).collect();
                let mut trains = Trains::default();
                trains.read(&raster, inputs);
                let mut weights = Aligned::zeros(inputs * stride);
                weights.iter_mut().for_each(|w| *w = random());
                let v: Vec<f32> = (0..stride).map(|_| random()).collect();
                let mut threshold: Vec<f32> =
                    (0..stride).map(|_| random() + 2.0 + round as f32).collect();
                threshold[stride - 1] = f32::INFINITY;
                let push: Vec<f32> = (0..stride).map(|_| random()).collect();
                let mut next = vec![0.0; stride];
                let mut task = Task {
                    weights: &weights,
                    stride,
                    trains: &trains,
                    first: round % steps.min(3),
                    last: steps,
                    decay: 0.9,
                    v: &v,
                    next: &mut next,
                    threshold: &threshold,
                    inhibition: (round % 2 == 0).then_some(&push[..]),
                };
                let (expected, reached) = naive(&task);
                crossings += usize::from(reached.crossed && reached.step < steps);
                for level in Level::available() {
                    task.next.fill(0.0);
                    assert_eq!(advance(level, &mut task, &mut Vec::new()), reached);
                    assert_eq!(task.next, expected, "{level:?}");
                }
            }
        }
        assert!(crossings > 10);
    }
}
