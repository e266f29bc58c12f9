//! Max pooling of spikes gated by what each place has summed up so far (S2.21 to S2.23).

use super::events::{Event, Events, multiplicity_anew};
use super::listops::Scratch;
use super::window::{Dims, Span, Windows};

/// What a window passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// How much the largest sum of the window has grown.
    Count,
    /// The spike of the place with the largest sum.
    Argmax,
}

/// What one sample's pool remembers. What follows from the sums is kept beside them, so that a
/// step costs what its events cost and takes no memory.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    /// `[pixel][channel]`: the sum of each place of the input.
    places: Vec<f32>,
    /// `[window][channel]`: the largest sum of each window; empty where the gate needs none.
    largest: Vec<f32>,
    /// `[pixel][channel]`: what came in this step, zeros between steps; empty where the gate
    /// needs none.
    now: Vec<f32>,
}

impl Sums {
    /// Before the first step.
    pub fn new(from: Dims, windows: &Windows, gate: Gate) -> Self {
        let (places, all) = (from.len(), windows.y.len() * windows.x.len() * from.c);
        let (largest, now) = if gate == Gate::Count { (all, 0) } else { (0, places) };
        Self { places: vec![0.0; places], largest: vec![0.0; largest], now: vec![0.0; now] }
    }

    /// With `places` as an earlier step left them.
    pub fn restored(places: Vec<f32>, from: Dims, windows: &Windows, gate: Gate) -> Self {
        let mut sums = Self { places, ..Self::new(from, windows, gate) };
        let mut at = 0;
        for wy in &windows.y {
            for wx in &windows.x {
                for c in 0..from.c {
                    if let Some(largest) = sums.largest.get_mut(at) {
                        *largest = sums.places[leader(&sums.places, from, (wy, wx), c)];
                    }
                    at += 1;
                }
            }
        }
        sums
    }

    /// `[pixel][channel]`: the sum of each place.
    pub fn places(&self) -> &[f32] {
        &self.places
    }

    /// Numbers held for an input of `from` and a result of `to`.
    pub fn size(from: Dims, to: Dims, gate: Gate) -> usize {
        let more = if gate == Gate::Count { to.len() } else { from.len() };
        from.len().saturating_add(more)
    }
}

/// The place of the largest sum of channel `c` in a window; of equals the first.
fn leader(places: &[f32], dims: Dims, (wy, wx): (&Span, &Span), c: usize) -> usize {
    let mut best = (wy.start * dims.w + wx.start) * dims.c + c;
    for y in wy.start..wy.end {
        for x in wx.start..wx.end {
            let at = (y * dims.w + x) * dims.c + c;
            if places[at] > places[best] {
                best = at;
            }
        }
    }
    best
}

/// Append one step: `lists` are the edges' events, whose values add up.
pub fn pool<'a>(
    lists: impl Iterator<Item = (&'a Events, usize)> + Clone,
    (windows, gate): (&Windows, Gate),
    sums: &mut Sums,
    scratch: &mut Scratch,
    out: &mut Events,
) {
    let Some(dims) = lists.clone().next().map(|(src, _)| src.dims()) else { return };
    if lists.clone().all(|(src, t)| src.range(t).is_empty()) {
        // Nothing has grown, nothing can be passed on.
        return out.push_silence();
    }
    scratch.fit(dims.c);
    for p in 0..dims.pixels() {
        for (src, t) in lists.clone() {
            src.pixel(t, p).for_each(|event| scratch.add(event));
        }
        scratch.drain(|c, value, _, _| {
            let at = p * dims.c + c;
            sums.places[at] += value;
            if gate == Gate::Argmax {
                sums.now[at] = value;
            }
        });
    }
    let mut window = 0;
    for wy in &windows.y {
        for (ox, wx) in windows.x.iter().enumerate() {
            for y in wy.start..wy.end {
                for x in wx.start..wx.end {
                    for (src, t) in lists.clone() {
                        src.pixel(t, y * dims.w + x).for_each(|event| scratch.mark(event.c));
                    }
                }
            }
            // Where nothing came in, no sum has changed.
            scratch.drain(|c, _, _, _| {
                let first = leader(&sums.places, dims, (wy, wx), c);
                let value = match gate {
                    Gate::Argmax => sums.now[first],
                    Gate::Count => {
                        let before = &mut sums.largest[window * dims.c + c];
                        let grown = sums.places[first] - *before;
                        *before = sums.places[first];
                        grown
                    }
                };
                if value != 0.0 {
                    if value != 1.0 {
                        out.promote();
                    }
                    out.push(ox, Event { c, value, mult: multiplicity_anew(value) });
                }
            });
            out.end_pixel();
            window += 1;
        }
    }
    if gate == Gate::Argmax {
        for p in 0..dims.pixels() {
            for (src, t) in lists.clone() {
                src.pixel(t, p).for_each(|event| sums.now[p * dims.c + event.c] = 0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::window::pool_axis;

    /// Steps of `dims`, each value drawn from `values` by a small generator.
    fn raster(dims: Dims, steps: usize, values: &[f32]) -> Vec<Vec<f32>> {
        let mut seed = 7_u32;
        let mut draw = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            values[(seed >> 16) as usize % values.len()]
        };
        (0..steps).map(|_| (0..dims.len()).map(|_| draw()).collect()).collect()
    }

    fn run(steps: &[Vec<f32>], dims: Dims, windows: &Windows, gate: Gate) -> Vec<Vec<f32>> {
        let mut src = Events::new(dims, false);
        steps.iter().for_each(|step| src.push_dense(step));
        let to = Dims { c: dims.c, h: windows.y.len(), w: windows.x.len() };
        let mut out = Events::new(to, false);
        let (mut sums, mut scratch) = (Sums::new(dims, windows, gate), Scratch::default());
        for t in 0..steps.len() {
            // In the middle it goes on from what is saved.
            if t == steps.len() / 2 {
                sums = Sums::restored(sums.places().to_vec(), dims, windows, gate);
            }
            pool(std::iter::once((&src, t)), (windows, gate), &mut sums, &mut scratch, &mut out);
        }
        let row = |t| {
            let mut row = vec![0.0; to.len()];
            out.scatter(t, &mut row);
            row
        };
        (0..steps.len()).map(row).collect()
    }

    #[test]
    fn both_gates_are_what_the_rules_say() {
        let dims = Dims { c: 3, h: 5, w: 4 };
        let windows = Windows {
            y: pool_axis(5, 3, 3, 2, [1, 1], true),
            x: pool_axis(4, 4, 2, 1, [1, 0], true),
        };
        for values in [&[0.0, 0.0, 1.0][..], &[-1.0, 0.0, 1.0], &[0.0, 0.3, -0.7, 2.0]] {
            let steps = raster(dims, 40, values);
            let counted = run(&steps, dims, &windows, Gate::Count);
            let passed = run(&steps, dims, &windows, Gate::Argmax);
            let mut sums = vec![0.0; dims.len()];
            let mut before = vec![0.0; counted[0].len()];
            for (t, step) in steps.iter().enumerate() {
                sums.iter_mut().zip(step).for_each(|(sum, x)| *sum += x);
                let mut at = 0;
                for (wy, wx) in
                    windows.y.iter().flat_map(|wy| windows.x.iter().map(move |wx| (wy, wx)))
                {
                    for c in 0..dims.c {
                        let (mut most, mut x) = (f32::NEG_INFINITY, 0.0);
                        for k in wy.start..wy.end {
                            for l in wx.start..wx.end {
                                let place = (k * dims.w + l) * dims.c + c;
                                if sums[place] > most {
                                    (most, x) = (sums[place], step[place]);
                                }
                            }
                        }
                        assert_eq!(counted[t][at], most - before[at], "step {t}, {values:?}");
                        assert_eq!(passed[t][at], x, "step {t}, {values:?}");
                        before[at] = most;
                        at += 1;
                    }
                }
            }
        }
    }
}
