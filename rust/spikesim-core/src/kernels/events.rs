//! Event lists: what spikes travel in between layers.
//!
//! The events of a step lie pixel by pixel, channels ascending, all steps of one sample behind
//! one another. An event carries its position in its row of pixels (`x · channels + c`), so that
//! the horizontal neighbours under a kernel are one contiguous run. Fields are private: the
//! kernels rely on the order and the bounds that this module establishes.

use super::block::ListView;
use super::window::Dims;

/// How an event is counted at the next weights: `[synops, macs]` for each weight it meets.
pub type Multiplicity = [u64; 2];

/// The multiplicity of a value that is no neuron's spike: ±1 is a spike, anything else analog.
pub fn multiplicity_of(value: f32) -> Multiplicity {
    if value.abs() == 1.0 { [1, 0] } else { [0, 1] }
}

/// The multiplicity of what leaves a maximum of spikes: a whole number is as many spikes.
pub fn multiplicity_anew(value: f32) -> Multiplicity {
    if value.fract() == 0.0 { [value.abs() as u64, 0] } else { [0, 1] }
}

/// The events of one sample over some steps. Unless `graded`, every event has value 1 (or what
/// [`Events::set_shift`] says) and counts as one spike.
#[derive(Clone, Debug, Default)]
pub struct Events {
    dims: Option<Dims>,
    graded: bool,
    shift: u32,
    ptr: Vec<u32>,
    idx: Vec<u32>,
    val: Vec<f32>,
    mult: Vec<Multiplicity>,
}

/// One event as the slow paths see it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Event {
    pub c: usize,
    pub value: f32,
    pub mult: Multiplicity,
}

impl Events {
    /// No steps yet.
    pub fn new(dims: Dims, graded: bool) -> Self {
        Self { dims: Some(dims), graded, ptr: vec![0], ..Self::default() }
    }

    /// Channels, rows and columns.
    pub fn dims(&self) -> Dims {
        self.dims.unwrap_or(Dims { c: 0, h: 0, w: 0 })
    }

    /// Whether events carry values and multiplicities of their own.
    pub fn is_graded(&self) -> bool {
        self.graded
    }

    /// Steps held.
    pub fn steps(&self) -> usize {
        let pixels = self.dims().pixels();
        (self.ptr.len() - 1).checked_div(pixels).unwrap_or(0)
    }

    /// Events held.
    pub fn len(&self) -> usize {
        self.idx.len()
    }

    /// Whether no event is held.
    pub fn is_empty(&self) -> bool {
        self.idx.is_empty()
    }

    /// Plain events stand for 2 to the power of minus this each.
    pub fn shift(&self) -> u32 {
        self.shift
    }

    /// Let plain events stand for 2 to the power of `-shift` each; a channel may then have
    /// several events at a pixel. For lists without events so far.
    pub fn set_shift(&mut self, shift: u32) {
        debug_assert!(self.shift == shift || self.is_empty() && !self.graded);
        self.shift = shift;
    }

    /// The value of a plain event.
    fn unit(&self) -> f32 {
        1.0 / (1u64 << self.shift) as f32
    }

    /// Give every event its value and multiplicity explicitly.
    pub fn promote(&mut self) {
        if !self.graded {
            self.graded = true;
            self.val = vec![self.unit(); self.idx.len()];
            self.mult = vec![[1, 0]; self.idx.len()];
        }
    }

    /// Append an event to the pixel being filled (column `x` of its row); channels must ascend.
    pub fn push(&mut self, x: usize, event: Event) {
        let dims = self.dims();
        debug_assert!(event.c < dims.c && x < dims.w);
        self.idx.push((x * dims.c + event.c.min(dims.c - 1)) as u32);
        if self.graded {
            self.val.push(event.value);
            self.mult.push(event.mult);
        }
    }

    /// Close the pixel being filled.
    pub fn end_pixel(&mut self) {
        self.ptr.push(self.idx.len() as u32);
    }

    /// Append a step without events.
    pub fn push_silence(&mut self) {
        let end = self.idx.len() as u32;
        self.ptr.extend(std::iter::repeat_n(end, self.dims().pixels()));
    }

    /// Append a step from spike masks, `masks[block · block_stride + pixel]`, bit `k` of a block
    /// of `width` lanes being channel `block · width + k`. Unit events only.
    pub fn push_masks(&mut self, masks: &[u64], block_stride: usize, width: usize) {
        let dims = self.dims();
        debug_assert!(!self.graded);
        let blocks = dims.c.div_ceil(width);
        let mut p = 0;
        for _ in 0..dims.h {
            for x in 0..dims.w {
                for block in 0..blocks {
                    let mut word = masks[block * block_stride + p];
                    let base = (x * dims.c + block * width) as u32;
                    while word != 0 {
                        self.idx.push(base + word.trailing_zeros());
                        word &= word - 1;
                    }
                }
                self.end_pixel();
                p += 1;
            }
        }
    }

    /// The kernels' view of step `t`.
    pub fn view(&self, t: usize) -> ListView<'_> {
        let pixels = self.dims().pixels();
        ListView {
            dims: self.dims(),
            ptr: &self.ptr[t * pixels..=(t + 1) * pixels],
            idx: &self.idx,
            val: if self.graded { &self.val } else { &[] },
            shift: if self.graded { 0 } else { self.shift },
        }
    }

    /// Events of step `t`: a range of [`Self::multiplicities`].
    pub fn range(&self, t: usize) -> std::ops::Range<usize> {
        let pixels = self.dims().pixels();
        self.ptr[t * pixels] as usize..self.ptr[(t + 1) * pixels] as usize
    }

    /// Range of the events of pixel `p` at step `t`.
    pub fn pixel_range(&self, t: usize, p: usize) -> std::ops::Range<usize> {
        let at = t * self.dims().pixels() + p;
        self.ptr[at] as usize..self.ptr[at + 1] as usize
    }

    /// Channel of event `k`, which lies in column `x`.
    pub fn channel(&self, k: usize, x: usize) -> usize {
        self.idx[k] as usize - x * self.dims().c
    }

    /// Multiplicities, or `None` where every event is one spike.
    pub fn multiplicities(&self) -> Option<&[Multiplicity]> {
        self.graded.then_some(&self.mult[..])
    }

    /// The events of one pixel of step `t`, channels ascending.
    pub fn pixel(&self, t: usize, p: usize) -> impl Iterator<Item = Event> + '_ {
        let base = (p % self.dims().w) * self.dims().c;
        let unit = self.unit();
        self.pixel_range(t, p).map(move |k| Event {
            c: self.idx[k] as usize - base,
            value: if self.graded { self.val[k] } else { unit },
            mult: if self.graded { self.mult[k] } else { [1, 0] },
        })
    }

    /// Add the values of step `t` into `out`, `[pixel][channel]`.
    pub fn scatter(&self, t: usize, out: &mut [f32]) {
        let dims = self.dims();
        for p in 0..dims.pixels() {
            for event in self.pixel(t, p) {
                out[p * dims.c + event.c] += event.value;
            }
        }
    }

    /// Append a step with the nonzero values of `values` in C order, as the caller gives input:
    /// plain events where every value is 0 or 1. Counts, then places: one pass each over memory
    /// in its own order, and stretches of silence cost a comparison.
    pub fn push_c_order(&mut self, values: &[f32]) {
        const STRETCH: usize = 16;
        let dims = self.dims();
        let pixels = dims.pixels();
        if !self.graded && values.iter().any(|&x| x != 0.0 && x != 1.0) {
            self.promote();
        }
        if pixels == 1 {
            // A vector: what lies in memory is in order already.
            for (k, stretch) in values.chunks(STRETCH).enumerate() {
                if stretch.iter().all(|&x| x == 0.0) {
                    continue;
                }
                for (c, &value) in (k * STRETCH..).zip(stretch).filter(|(_, x)| **x != 0.0) {
                    self.push(0, Event { c, value, mult: multiplicity_of(value) });
                }
            }
            return self.end_pixel();
        }
        let mut next = vec![0u32; pixels];
        for plane in values.chunks_exact(pixels.max(1)) {
            next.iter_mut().zip(plane).for_each(|(n, &x)| *n += u32::from(x != 0.0));
        }
        let mut end = self.idx.len() as u32;
        for n in &mut next {
            let start = end;
            end += *n;
            *n = start;
            self.ptr.push(end);
        }
        self.idx.resize(end as usize, 0);
        if self.graded {
            self.val.resize(end as usize, 0.0);
            self.mult.resize(end as usize, [0, 0]);
        }
        for (c, plane) in values.chunks_exact(pixels.max(1)).enumerate() {
            for (k, stretch) in plane.chunks(STRETCH).enumerate() {
                if stretch.iter().all(|&x| x == 0.0) {
                    continue;
                }
                for (p, &value) in (k * STRETCH..).zip(stretch).filter(|(_, x)| **x != 0.0) {
                    let at = next[p] as usize;
                    next[p] += 1;
                    self.idx[at] = (p % dims.w * dims.c + c) as u32;
                    if self.graded {
                        self.val[at] = value;
                        self.mult[at] = multiplicity_of(value);
                    }
                }
            }
        }
    }

    /// Append a step with the nonzero values of `dense`, `[pixel][channel]`.
    pub fn push_dense(&mut self, dense: &[f32]) {
        self.promote();
        let dims = self.dims();
        for p in 0..dims.pixels() {
            for (c, &value) in dense[p * dims.c..(p + 1) * dims.c].iter().enumerate() {
                if value != 0.0 {
                    self.push(p % dims.w, Event { c, value, mult: multiplicity_of(value) });
                }
            }
            self.end_pixel();
        }
    }

    /// Append step `t` of `other`, which has the same dims.
    pub fn push_copy(&mut self, other: &Events, t: usize) {
        if other.graded {
            self.promote();
        }
        let width = self.dims().w;
        for p in 0..self.dims().pixels() {
            for event in other.pixel(t, p) {
                self.push(p % width, event);
            }
            self.end_pixel();
        }
    }
}

/// The values a population emitted, ready for the lists.
pub struct Emission<'a> {
    /// Numbers of spikes `z[block · block_stride + pixel · width + lane]`, or empty where each
    /// mask bit is one spike.
    pub z: &'a [f32],
    /// Floats from block to block in `z`.
    pub z_stride: usize,
    /// Spike amplitude by channel and pixel.
    pub amplitude: &'a dyn Fn(usize, usize) -> f32,
}

impl Events {
    /// Append a step of graded spikes: as [`Self::push_masks`], with values `z · amplitude`.
    pub fn push_graded_masks(
        &mut self,
        masks: &[u64],
        block_stride: usize,
        width: usize,
        emission: &Emission<'_>,
    ) {
        self.promote();
        let dims = self.dims();
        for p in 0..dims.pixels() {
            for block in 0..dims.c.div_ceil(width) {
                let mut word = masks[block * block_stride + p];
                while word != 0 {
                    let lane = word.trailing_zeros() as usize;
                    word &= word - 1;
                    let z = match emission.z {
                        [] => 1.0,
                        z => z[block * emission.z_stride + p * width + lane],
                    };
                    let c = block * width + lane;
                    let value = z * (emission.amplitude)(c, p);
                    self.push(p % dims.w, Event { c, value, mult: [z.abs() as u64, 0] });
                }
            }
            self.end_pixel();
        }
    }
}
