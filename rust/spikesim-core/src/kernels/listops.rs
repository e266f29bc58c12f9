//! Layers without weights on event lists: each appends one step to its result.

use super::events::{Event, Events, Multiplicity, multiplicity_anew};
use super::window::{Dims, Span, Windows};

/// Channel-wise accumulator that remembers which channels were touched.
#[derive(Debug, Default)]
pub struct Scratch {
    value: Vec<f32>,
    mult: Vec<Multiplicity>,
    hits: Vec<u64>,
    touched: Vec<u64>,
}

impl Scratch {
    /// Make room for `channels`.
    pub fn fit(&mut self, channels: usize) {
        if self.value.len() < channels {
            self.value.resize(channels, 0.0);
            self.mult.resize(channels, [0, 0]);
            self.hits.resize(channels, 0);
            self.touched.resize(channels.div_ceil(64), 0);
        }
    }

    fn first(&mut self, c: usize) -> bool {
        let (word, bit) = (c / 64, 1u64 << (c % 64));
        let fresh = self.touched[word] & bit == 0;
        self.touched[word] |= bit;
        fresh
    }

    pub(super) fn add(&mut self, event: Event) {
        if self.first(event.c) {
            self.value[event.c] = 0.0;
            self.mult[event.c] = [0, 0];
        }
        self.value[event.c] += event.value;
        let mult = &mut self.mult[event.c];
        let [spikes, analog] = event.mult;
        *mult = [mult[0].saturating_add(spikes), mult[1].saturating_add(analog)];
    }

    /// Touch channel `c`; what `drain` says of it means nothing.
    pub(super) fn mark(&mut self, c: usize) {
        self.first(c);
    }

    fn tally(&mut self, event: Event) {
        if self.first(event.c) {
            self.hits[event.c] = 0;
        }
        self.hits[event.c] += 1;
    }

    fn raise(&mut self, event: Event) {
        if self.first(event.c) {
            self.value[event.c] = event.value;
            self.hits[event.c] = 0;
        }
        self.value[event.c] = self.value[event.c].max(event.value);
        self.hits[event.c] += 1;
    }

    /// Visit the touched channels in ascending order and forget them.
    pub(super) fn drain(&mut self, mut visit: impl FnMut(usize, f32, Multiplicity, u64)) {
        for k in 0..self.touched.len() {
            let mut word = std::mem::take(&mut self.touched[k]);
            while word != 0 {
                let c = k * 64 + word.trailing_zeros() as usize;
                word &= word - 1;
                visit(c, self.value[c], self.mult[c], self.hits[c]);
            }
        }
    }
}

/// Visit the windows in order: each takes its events in (ky, kx) order through `take`, then
/// `give` turns what was gathered into the result's pixel.
fn each_window(
    src: &Events,
    t: usize,
    windows: &Windows,
    (scratch, out): (&mut Scratch, &mut Events),
    take: fn(&mut Scratch, Event),
    give: impl Fn(&Span, &Span, &mut Scratch, &mut dyn FnMut(Event)),
) {
    let dims = src.dims();
    scratch.fit(dims.c);
    for wy in &windows.y {
        for (ox, wx) in windows.x.iter().enumerate() {
            for y in wy.start..wy.end {
                for x in wx.start..wx.end {
                    src.pixel(t, y * dims.w + x).for_each(|e| take(scratch, e));
                }
            }
            give(wy, wx, scratch, &mut |event| out.push(ox, event));
            out.end_pixel();
        }
    }
}

/// Sum or average pooling: values of a window are summed in (ky, kx) order, then divided by the
/// window's size where `average`. Multiplicities add up: pooling costs nothing, each event counts.
pub fn pool(
    src: &Events,
    t: usize,
    windows: &Windows,
    average: bool,
    scratch: &mut Scratch,
    out: &mut Events,
) {
    each_window(src, t, windows, (scratch, out), Scratch::add, |wy, wx, scratch, push| {
        let size = (wy.divisor * wx.divisor) as f32;
        scratch.drain(|c, sum, mult, _| {
            let value = if average { sum / size } else { sum };
            push(Event { c, value, mult });
        });
    });
}

/// Average pooling of plain spikes over windows of `2^shift` places, where nothing but sums of
/// integers reads it: the lists of a window's places become one, a channel once for each spike.
pub fn merge(
    src: &Events,
    t: usize,
    windows: &Windows,
    shift: u32,
    scratch: &mut Scratch,
    out: &mut Events,
) {
    out.set_shift(shift);
    each_window(src, t, windows, (scratch, out), Scratch::tally, |_, _, scratch, push| {
        scratch.drain(|c, _, _, hits| {
            (0..hits).for_each(|_| push(Event { c, value: 1.0, mult: [1, 0] }));
        });
    });
}

/// Max pooling of spikes: the largest value of the window, silent places and padding being 0.
pub fn spike_max_pool(
    src: &Events,
    t: usize,
    windows: &Windows,
    scratch: &mut Scratch,
    out: &mut Events,
) {
    each_window(src, t, windows, (scratch, out), Scratch::raise, |wy, wx, scratch, push| {
        let places = (wy.full * wx.full) as u64;
        scratch.drain(|c, largest, _, hits| {
            let value = if hits < places { largest.max(0.0) } else { largest };
            if value != 0.0 {
                push(Event { c, value, mult: multiplicity_anew(value) });
            }
        });
    });
}

/// Several edges into a node without weights: values added in the order of the edges.
pub fn add(sources: &[(&Events, usize)], dims: Dims, scratch: &mut Scratch, out: &mut Events) {
    scratch.fit(dims.c);
    for p in 0..dims.pixels() {
        for &(src, t) in sources {
            src.pixel(t, p).for_each(|e| scratch.add(e));
        }
        scratch.drain(|c, value, mult, _| out.push(p % dims.w, Event { c, value, mult }));
        out.end_pixel();
    }
}

/// Each element from its own row of the past: `rows` are (class, source, row), `class` is
/// `[pixel][channel]`, and an element takes the events of the rows of its class, added in the
/// order of `rows`.
pub fn delay(
    rows: &[(u32, &Events, usize)],
    class: &[u32],
    dims: Dims,
    scratch: &mut Scratch,
    out: &mut Events,
) {
    scratch.fit(dims.c);
    for (p, class) in class.chunks_exact(dims.c).enumerate() {
        for &(k, src, t) in rows {
            src.pixel(t, p).filter(|e| class[e.c] == k).for_each(|e| scratch.add(e));
        }
        scratch.drain(|c, value, mult, _| out.push(p % dims.w, Event { c, value, mult }));
        out.end_pixel();
    }
}

/// The same elements in C order under other dims.
pub fn reshape(src: &Events, t: usize, out: &mut Events) {
    let (from, to) = (src.dims(), out.dims());
    let (pixels, out_pixels) = (from.pixels(), to.pixels());
    if pixels == 1 && out_pixels == 1 || (from.c == to.c && from.w == to.w) {
        out.push_copy(src, t);
        return;
    }
    let mut moved: Vec<(usize, Event)> = Vec::with_capacity(src.range(t).len());
    for p in 0..pixels {
        for event in src.pixel(t, p) {
            let flat = event.c * pixels + p;
            moved.push((flat % out_pixels, Event { c: flat / out_pixels, ..event }));
        }
    }
    moved.sort_unstable_by_key(|&(p, e)| (p, e.c));
    let mut next = moved.into_iter().peekable();
    for p in 0..out_pixels {
        while let Some((_, event)) = next.next_if(|&(at, _)| at == p) {
            out.push(p % to.w, event);
        }
        out.end_pixel();
    }
}

/// Nearest-neighbour repetition.
pub fn upsample(src: &Events, t: usize, [fy, fx]: [usize; 2], out: &mut Events) {
    let (from, to) = (src.dims(), out.dims());
    for y in 0..to.h {
        for x in 0..to.w {
            let p = (y / fy) * from.w + x / fx;
            for event in src.pixel(t, p) {
                out.push(x, event);
            }
            out.end_pixel();
        }
    }
}

/// Join along `axis` of (C, H, W), in the order of the sources.
pub fn concat(sources: &[(&Events, usize)], axis: usize, out: &mut Events) {
    let to = out.dims();
    for y in 0..to.h {
        for x in 0..to.w {
            let mut at = [0usize; 3];
            for &(src, t) in sources {
                let d = src.dims();
                let (y, x) = (y.wrapping_sub(at[1]), x.wrapping_sub(at[2]));
                if y < d.h && x < d.w {
                    for event in src.pixel(t, y * d.w + x) {
                        out.push(x + at[2], Event { c: event.c + at[0], ..event });
                    }
                }
                at[axis] += [d.c, d.h, d.w][axis];
            }
            out.end_pixel();
        }
    }
}
